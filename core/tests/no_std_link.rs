//! Builds and runs `tests/link`: the core without any feature, in a program without `std`.
//!
//! That program has a panic handler of its own, and no global allocator. Had the core used `alloc` or `std`, it would not build; that this is so is
//! tested by switching them on. What was built is searched for their traces all the same.

#![cfg(all(target_os = "linux", not(loom), not(miri)))]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Paths and symbols of the standard library, as a program that links it carries them.
const TRACES: [&str; 4] = ["library/std/src", "library/alloc/src", "std9panicking", "__rust_alloc"];

/// Where the program that builds goes.
const LINKED: &str = "link";
/// Where those go that do not.
const REFUSED: &str = "link-refused";

fn target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn cargo(name: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/link")).args(arguments).arg("--quiet");
    // What this test was built with and for is not meant for that program.
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WORKSPACE_WRAPPER"] {
        command.env_remove(variable);
    }
    command.env("CARGO_TARGET_DIR", target(name)).output().expect("cargo starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn traces(program: &Path) -> Vec<&'static str> {
    let contents = std::fs::read(program).expect("the program is there");
    TRACES.into_iter().filter(|trace| contents.windows(trace.len()).any(|window| window == trace.as_bytes())).collect()
}

#[test]
fn the_core_without_features_links_and_runs_without_std() {
    let tree = text(&cargo(LINKED, &["tree", "--edges", "normal,features"]).stdout);
    assert!(tree.contains("matou-core"), "{tree}");
    assert!(!tree.contains("feature \"alloc\"") && !tree.contains("feature \"std\""), "{tree}");

    for profile in ["dev", "release"] {
        let built = cargo(LINKED, &["build", "--profile", profile]);
        assert!(built.status.success(), "{}", text(&built.stderr));
        let program = target(LINKED).join(if profile == "dev" { "debug/link" } else { "release/link" });
        assert_eq!(traces(&program), [""; 0], "of the standard library in {}", program.display());
        let ran = Command::new(&program).output().expect("the program starts");
        // 1 + the line of the failed check, modulo 254.
        assert_eq!(ran.status.code(), Some(0), "{profile}: {}", text(&ran.stderr));
    }
}

#[test]
fn with_alloc_or_std_it_would_not_link() {
    for (feature, message) in [("alloc", "no global memory allocator found"), ("std", "duplicate lang item")] {
        let built = cargo(REFUSED, &["build", "--features", feature]);
        let said = text(&built.stderr);
        assert!(!built.status.success() && said.contains(message), "with `{feature}`: {said}");
    }
    let this = std::env::current_exe().expect("this program has a path");
    assert_eq!(traces(&this), TRACES, "this program has what the other has not");
}
