//! Builds and runs `tests/link`: the core without any feature, in a program without `std`.
//!
//! It has no global allocator, so had the core used one, it would not link; and no `std`, which this test looks for in the result.

use std::path::Path;
use std::process::Command;

#[test]
fn the_core_without_features_links_and_runs_without_std() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/link");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("link");
    let cargo = |verb: &str| {
        let mut command = Command::new(env!("CARGO"));
        // What this test was built with is not for that program.
        command.current_dir(&source).env_remove("RUSTFLAGS").env("CARGO_TARGET_DIR", &target).arg(verb).arg("--quiet");
        command
    };

    let tree = cargo("tree").args(["--edges", "normal,features"]).output().expect("cargo");
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    assert!(tree.contains("matou-core"), "{tree}");
    for feature in ["\"alloc\"", "\"std\""] {
        assert!(!tree.contains(&format!("matou-core feature {feature}")), "{tree}");
    }

    let built = cargo("build").args(["--bin", "link"]).output().expect("cargo");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let binary = target.join("debug/link");
    let contents = std::fs::read(&binary).expect("the binary");
    for symbol in ["std9panicking", "__rust_alloc", "__rdl_alloc"] {
        assert!(!contents.windows(symbol.len()).any(|window| window == symbol.as_bytes()), "{symbol} is linked");
    }

    let ran = Command::new(&binary).status().expect("the binary runs");
    assert_eq!(ran.code(), Some(0), "exit status: 1 + the line of the check that failed in tests/link/src/main.rs, modulo 254");
}
