//! The fuzz target `echo`: the echo servers over sockets that follow a script. Without `cargo fuzz` this binary checks the files it is given.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(difference) = matou_fuzz::echo::check(bytes) {
        panic!("{difference}");
    }
});

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    matou_fuzz::each_file(matou_fuzz::echo::check)
}
