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
    let mut failed = false;
    for path in std::env::args_os().skip(1) {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                failed = true;
                continue;
            }
        };
        let program = matou_fuzz::program::Program::decode(&bytes);
        match matou_fuzz::check(&program) {
            Ok((observed, _)) => {
                println!("{}: {program:#?}", path.display());
                for event in observed.events {
                    println!("  {event:?}");
                }
                println!("  {:?}", observed.end);
            }
            Err(difference) => {
                eprintln!("{}: {difference}", path.display());
                failed = true;
            }
        }
    }
    std::process::ExitCode::from(u8::from(failed))
}
