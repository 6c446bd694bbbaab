//! Where the memory of the board is.

use std::{env, fs, path::Path};

fn main() {
    let memory = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
        Ok("riscv32") => include_str!("memory/virt.x"),
        _ => include_str!("memory/lm3s6965.x"),
    };
    let out = env::var("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("memory.x"), memory).expect("the linker script is written");
    println!("cargo:rustc-link-search={out}");
    println!("cargo:rerun-if-changed={}", file!());
}
