//! The fuzz target `reactor`: sockets over a kernel that does as it is told. Without `cargo fuzz` this binary checks the files it is given.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(difference) = matou_fuzz::sockets::check(bytes) {
        panic!("{difference}");
    }
});

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    matou_fuzz::each_file(matou_fuzz::sockets::check)
}
