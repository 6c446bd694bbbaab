//! The fuzz target `streams`: streams over the system's own sockets. Without `cargo fuzz` this binary checks the files it is given.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(difference) = matou_fuzz::streams::check(bytes) {
        panic!("{difference}");
    }
});

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    matou_fuzz::each_file(|bytes| {
        println!("{:#?}", matou_fuzz::streams::Program::decode(bytes));
        matou_fuzz::streams::check(bytes)
    })
}
