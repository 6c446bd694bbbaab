//! The tests of `tests/simulated.rs` are those of other files, run once more in a simulation, with many seeds.
//!
//! A helper that runs a test asks whether it is [`SIMULATED`]; one that blocks the thread [may not](may_block) in a simulation, where it is
//! the thread of all domains.

use std::cell::Cell;

use matou_core::{Outcome, Report, RunError};

use super::family::{Error, Value};

/// Whether these are the tests of `tests/simulated.rs`.
pub const SIMULATED: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"simulated");

/// How often a test that names no seeds is repeated: on threads the system adds chance of its own.
const ROUNDS: u64 = if SIMULATED { 25 } else { 1 };

thread_local! {
    static SIMULATING: Cell<bool> = const { Cell::new(false) };
    static ROUND: Cell<u64> = const { Cell::new(0) };
}

/// The rounds of a test: each has seeds of its own.
pub fn rounds() -> impl Iterator<Item = u64> {
    (0..ROUNDS).inspect(|round| ROUND.set(*round))
}

/// What this test is to use where it names a seed.
pub fn seed_of_round(seed: u64) -> u64 {
    seed + 1_000 * ROUND.get()
}

/// Fails a test that blocks a simulation, instead of hanging it.
pub fn may_block() {
    assert!(!SIMULATING.get(), "it blocks the thread of all domains: leave the test out where they are SIMULATED");
}

/// A run in a simulation. Time passes while tasks run, since some of them look at something in a loop until it is so.
#[cfg(feature = "simulation")]
#[track_caller]
pub fn simulate<F: Future<Output: Outcome>>(
    workers: usize,
    seed: u64,
    on_report: Option<fn(&Report)>,
    main: F,
) -> Result<Value<F>, RunError<Error<F>, &'static str>> {
    use std::time::Duration;

    use matou_core::EventsError;
    use matou_core::simulation::Simulation;

    use super::family::Told;

    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            SIMULATING.set(false);
        }
    }
    let _told = Told(format!("simulated with seed {seed}"));
    let mut simulation = Simulation::new(seed).domains(workers).pace(Duration::from_nanos(100)).limit(1_000_000);
    if let Some(on_report) = on_report {
        simulation = simulation.on_report(on_report);
    }
    SIMULATING.set(true);
    let _over = Over;
    simulation.run(main).map_err(|error| match error {
        RunError::Failed(error) => RunError::Failed(error),
        RunError::Panicked(panic) => RunError::Panicked(panic),
        RunError::Violation(violation) => RunError::Violation(violation),
        RunError::Nested => RunError::Nested,
        RunError::Events(_, EventsError::Failed(stopped)) => panic!("{stopped}"),
        _ => panic!("the simulation could not be begun"),
    })
}

#[cfg(not(feature = "simulation"))]
pub fn simulate<F: Future<Output: Outcome>>(
    _: usize,
    _: u64,
    _: Option<fn(&Report)>,
    _: F,
) -> Result<Value<F>, RunError<Error<F>, &'static str>> {
    unreachable!("`tests/simulated.rs` requires the feature `simulation`")
}
