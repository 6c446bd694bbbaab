//! Says to the files that are included here from elsewhere that the kernel below them is a scripted one: it has no io_uring.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(matou_scripted_kernel)");
    println!("cargo::rustc-cfg=matou_scripted_kernel");
}
