//! The C library's start-up code calls `main`; nothing else of the system is linked.

fn main() {
    println!("cargo::rustc-link-arg-bins=-lc");
    println!("cargo::rerun-if-changed=build.rs");
}
