//! The fuzz target `domains`: programs over several simulated domains. Without `cargo fuzz` this binary checks the files it is given.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(difference) = matou_fuzz::domains::check(&matou_fuzz::domains::Program::decode(bytes)) {
        panic!("{difference}");
    }
});

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    matou_fuzz::each_file(|bytes| matou_fuzz::domains::check(&matou_fuzz::domains::Program::decode(bytes)))
}
