//! The executor alone: what one operation costs, in time and in allocations.
//!
//! Each operation is a loop inside a running executor; the clock is read, and the allocator asked, from inside, when the
//! executor has warmed up. As in [`crate::compare`] the time is cut into short windows that go to one executor after the
//! other, and each figure is divided by the first executor's of the same round.

pub mod matou;
pub mod tokio;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::Args;
use crate::counting;
use crate::kernel;
use crate::table::{Row, markdown, paired, values};

/// Tasks that exist at once, where there are many.
pub const MANY: usize = 1000;
/// How often the loop around single operations runs between two looks at the clock.
pub const BATCH: usize = 1000;
/// Turns that all tasks together take before they end: so many that making the tasks hardly shows.
pub const TURNS: usize = 100 * MANY;
/// The core of the thread that measures.
const CPU: usize = 0;
/// The core of the other one, where there is another one.
const OTHER_CPU: usize = 1;

/// What `micro` accepts.
pub const USAGE: &str = "\
micro: measures single operations of executors against each other and prints one table

  --only LIST   operations whose name contains one of these
  --rounds N    windows for each executor and operation (41)
  --window MS   duration of one (50)
  --out FILE    the table as tab-separated values";

/// Something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A task is made, and awaited at once.
    SpawnAwait,
    /// [`MANY`] tasks are made, then awaited in order.
    SpawnAwaitMany,
    /// Two tasks take turns.
    YieldTwo,
    /// [`MANY`] tasks take turns.
    YieldMany,
    /// A task is made on another thread, and its result comes back; meanwhile there is nothing to do.
    Call,
    /// The same with [`MANY`] on their way at once.
    CallMany,
}

impl Operation {
    const ALL: [Self; 6] = [Self::SpawnAwait, Self::SpawnAwaitMany, Self::YieldTwo, Self::YieldMany, Self::Call, Self::CallMany];

    const fn name(self) -> &'static str {
        match self {
            Self::SpawnAwait => "spawn + await",
            Self::SpawnAwaitMany => "spawn + await, 1000 at once",
            Self::YieldTwo => "yield, 2 tasks",
            Self::YieldMany => "yield, 1000 tasks",
            Self::Call => "call + await",
            Self::CallMany => "call + await, 1000 at once",
        }
    }
}

/// An executor: runs an operation for as long as the meter wants.
pub type Executor = fn(Operation, Meter) -> Result<Figures, Failure>;

/// What one operation cost on average.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Nanoseconds.
    pub time: f64,
    /// Allocations.
    pub allocations: f64,
    /// Bytes allocated.
    pub bytes: f64,
}

/// How to measure: for how long, and whether the time or the allocations.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    window: Duration,
    counting: bool,
}

impl Meter {
    /// Begins with the warm-up, a tenth of the window, in which nothing is counted.
    pub fn start(self) -> Watch {
        Watch { meter: self, start: Instant::now(), operations: None }
    }
}

/// A measurement in progress.
#[derive(Debug)]
pub struct Watch {
    meter: Meter,
    start: Instant,
    /// So many so far; `None` during the warm-up.
    operations: Option<usize>,
}

impl Watch {
    /// So many operations have been done since the last time. Gives the figures when the window is over.
    pub fn lap(&mut self, operations: usize) -> Option<Figures> {
        let elapsed = self.start.elapsed();
        match &mut self.operations {
            None if elapsed < self.meter.window / 10 => None,
            None => {
                self.operations = Some(0);
                if self.meter.counting {
                    counting::start();
                }
                self.start = Instant::now();
                None
            }
            Some(sum) => {
                *sum += operations;
                if elapsed < self.meter.window {
                    return None;
                }
                let count = if self.meter.counting { counting::stop() } else { counting::Count::default() };
                let operations = *sum as f64;
                Some(Figures {
                    time: elapsed.as_nanos() as f64 / operations,
                    allocations: count.allocations as f64 / operations,
                    bytes: count.bytes as f64 / operations,
                })
            }
        }
    }
}

/// Moves the calling thread away from the one that measures. Without a second core they share the one there is.
pub fn step_aside() {
    let _ = kernel::pin(OTHER_CPU);
}

/// What `micro` does.
pub fn run(mut args: Args, executors: &[(&str, Executor)]) -> Result<(), Failure> {
    let only: Vec<String> = args.list("--only")?.unwrap_or_else(|| vec![String::new()]);
    let rounds = args.option("--rounds")?.unwrap_or(41_usize).max(1);
    let window = Duration::from_millis(args.option("--window")?.unwrap_or(50));
    let out: Option<PathBuf> = args.option("--out")?;
    args.finish()?;

    println!("{}", kernel::machine());
    println!("{rounds} rounds of {} ms\n", window.as_millis());
    kernel::pin(CPU)?;

    let mut rows = Vec::new();
    for operation in Operation::ALL {
        if only.iter().all(|part| !operation.name().contains(part)) {
            continue;
        }
        eprintln!("{}", operation.name());
        // The allocations do not change from window to window: one is enough.
        let mut counts = Vec::new();
        for (_, executor) in executors {
            let counting = true;
            counts.push(executor(operation, Meter { window, counting })?);
        }
        let mut times = vec![Vec::new(); executors.len()];
        for round in 0..rounds {
            for turn in 0..executors.len() {
                let turn = (round + turn) % executors.len();
                let counting = false;
                let figures = (executors[turn].1)(operation, Meter { window, counting })?;
                times[turn].push(figures.time);
            }
        }
        let allocations: Vec<_> = counts.iter().map(|of| vec![of.allocations]).collect();
        let bytes: Vec<_> = counts.iter().map(|of| vec![of.bytes]).collect();
        for (what, digits, cells) in [
            ("time, ns", 1, paired(&times, 1.0, true)),
            ("allocations", 3, paired(&allocations, 1.0, false)),
            ("bytes allocated", 1, paired(&bytes, 1.0, false)),
        ] {
            rows.push(Row { subject: operation.name().to_owned(), what: what.to_owned(), digits, cells });
        }
    }
    let names: Vec<&str> = executors.iter().map(|(name, _)| *name).collect();
    print!("{}", markdown("operation", &names, &rows));
    if let Some(path) = out {
        fs::write(&path, values("operation", &names, &rows)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}
