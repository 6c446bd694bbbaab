//! The fuzz target. Under `cargo fuzz` each input is a program that is checked; without it, this binary checks the files it is given, and
//! shows what it saw:
//!
//! ```sh
//! cargo +nightly fuzz run programs -- -max_total_time=60
//! cargo run --bin programs -- artifacts/programs/crash-…
//! ```

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|program: matou_fuzz::program::Program| {
    if let Err(difference) = matou_fuzz::check(&program) {
        panic!("{difference}");
    }
});

#[cfg(not(fuzzing))]
fn main() -> std::process::ExitCode {
    matou_fuzz::each_file(|bytes| {
        let program = matou_fuzz::program::Program::decode(bytes);
        let (observed, _) = matou_fuzz::check(&program)?;
        println!("{program:#?}");
        for event in observed.events {
            println!("  {event:?}");
        }
        println!("  {:?}", observed.end);
        Ok(())
    })
}
