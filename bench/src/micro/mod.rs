//! The executors alone: what one operation costs, in time, CPU and allocations.
//!
//! Each executor is a process of its own that answers questions, one for each window: `micro` and `growth` start them, put the
//! windows of one after the other's as [`crate::commands`] says, and divide figures of the same round.

pub mod calls;
pub mod executor;
pub mod growth;
mod loops;
mod matou;
mod meter;
pub(crate) mod run;
mod tokio;
mod walk;

use std::hint::black_box;
use std::io;
use std::time::Duration;

pub use self::loops::measure;
pub use self::matou::Matou;
pub use self::meter::{Figures, Meter};
pub use self::run::{run, usage};
pub use self::tokio::{LocalTokio, Tokio};
use crate::Failure;
use crate::args::Args;
use crate::kernel;

/// Tasks that exist at once, where there are many.
pub const MANY: usize = 1000;
/// How often the loop around single operations runs between two looks at the clock.
pub const BATCH: usize = 1000;
/// Turns that all tasks together take before they end: so many that making the tasks hardly shows.
pub const TURNS: usize = 100 * MANY;
/// Timers at once; the tests, which are not optimised, have time for fewer.
pub const TIMERS: usize = if cfg!(test) { 1000 } else { 100_000 };
/// How long a thread has nothing to do until it surely sleeps.
pub const REST: Duration = Duration::from_millis(1);
/// The core of the thread that measures.
const CPU: usize = 0;
/// The core of the first of the others, where there is another one.
const OTHER_CPU: usize = 1;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A task is made, and awaited at once.
    SpawnAwait,
    /// [`MANY`] tasks are made, then awaited in order.
    SpawnAwaitMany,
    /// Two tasks take turns by yielding.
    YieldTwo,
    /// [`MANY`] tasks do.
    YieldMany,
    /// Two tasks wake each other in turn.
    HandOff,
    /// A task that waits is made and cancelled.
    SpawnCancel,
    /// [`TIMERS`] tasks sleep for 1 to 50 ms.
    Timers,
    /// The heap of a task that waits.
    Heap,
    /// A task is made on another thread, and its result comes back; then the next.
    Call,
    /// The same, after a rest in which the other thread has gone to sleep.
    CallRested,
    /// The same between two threads that never sleep.
    CallAwake,
    /// The same with [`MANY`] on their way at once.
    CallMany,
    /// The same with as many on their way to so many threads.
    CallsByOne,
    /// So many threads call each other, with [`MANY`] on their way all together.
    CallsByAll,
    /// One of so many waiting tasks is woken, and waits again.
    WakeAmong,
    /// A task is made and awaited while so many wait.
    SpawnAmong,
    /// A timer is set and given up while so many wait.
    TimerAmong,
    /// A child is collected while so many wait.
    OrphanAmong,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::SpawnAwait,
        Self::SpawnAwaitMany,
        Self::YieldTwo,
        Self::YieldMany,
        Self::HandOff,
        Self::SpawnCancel,
        Self::Timers,
        Self::Heap,
        Self::Call,
        Self::CallRested,
        Self::CallAwake,
        Self::CallMany,
        Self::CallsByOne,
        Self::CallsByAll,
        Self::WakeAmong,
        Self::SpawnAmong,
        Self::TimerAmong,
        Self::OrphanAmong,
    ];

    /// What the tables call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SpawnAwait => "spawn + await",
            Self::SpawnAwaitMany => "spawn + await, 1000 at once",
            Self::YieldTwo => "yield, 2 tasks",
            Self::YieldMany => "yield, 1000 tasks",
            Self::HandOff => "hand-off, 2 tasks",
            Self::SpawnCancel => "spawn + cancel",
            Self::Timers => "100000 timers of 1 to 50 ms",
            Self::Heap => "a suspended task",
            Self::Call => "call + await",
            Self::CallRested => "call + await, after 1 ms of rest",
            Self::CallAwake => "call + await, both awake",
            Self::CallMany => "call + await, 1000 at once",
            Self::CallsByOne => "one thread calls",
            Self::CallsByAll => "all threads call",
            Self::WakeAmong => "wake one of so many",
            Self::SpawnAmong => "spawn + await among so many",
            Self::TimerAmong => "set and drop a timer among so many",
            Self::OrphanAmong => "collect a child among so many",
        }
    }
}

/// An operation, and among how many where that is asked.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// Which.
    pub kind: Kind,
    /// Among how many.
    pub count: usize,
}

/// An executor that measures one window of itself; `None` where it has no such operation.
pub type Measured = fn(Operation, Meter) -> Result<Option<Figures>, Failure>;

/// Answers questions on the standard input: the operation's place in [`Kind::ALL`], how many, nanoseconds, and whether to count.
pub fn answer(measured: Measured) -> Result<(), Failure> {
    // The others step aside.
    kernel::pin(&[CPU])?;
    for line in io::stdin().lines() {
        let line = line?;
        println!("{}", answered(&line, measured)?);
    }
    Ok(())
}

/// The answer of one that has no such operation.
const NONE: &str = "none";

/// The answer to one question.
pub fn answered(question: &str, measured: Measured) -> Result<String, Failure> {
    let numbers: Vec<u64> = question.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [kind, count, window, counting] = numbers[..] else { return Err(format!("not understood: {question}").into()) };
    let kind = *Kind::ALL.get(kind as usize).ok_or("no such operation")?;
    let meter = Meter { window: Duration::from_nanos(window), counting: counting == 1 };
    let figures = measured(Operation { kind, count: count as usize }, meter)?;
    Ok(figures.map_or_else(|| NONE.to_owned(), |figures| figures.to_string()))
}

/// What `measure NAME` does: answers for an executor that is part of this program.
pub fn own(mut args: Args) -> Result<(), Failure> {
    let name = args.next("a name")?;
    args.finish()?;
    match name.as_str() {
        "tokio" => answer(measure::<Tokio>),
        "tokio-local" => answer(measure::<LocalTokio>),
        "matou" => answer(measure::<Matou>),
        "walk" => answer(walk::measure),
        _ => Err(format!("no executor is called {name}").into()),
    }
}

/// What a task gives that has nothing to do.
pub async fn one() -> u64 {
    black_box(1)
}

/// Moves the calling thread, of the others the one at this place, away from the one that measures, to a core of its own as long as
/// there are cores. Without a second one they share the one there is.
pub fn step_aside(place: usize) {
    let others = kernel::processors().saturating_sub(OTHER_CPU).max(1);
    let _ = kernel::pin(&[OTHER_CPU + place % others]);
}

/// The numbers below `count` in an order without an order, the same each time (Fisher and Yates, xorshift).
pub fn shuffled(count: usize) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..count as u32).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..count).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        numbers.swap(last, (state % (last as u64 + 1)) as usize);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shuffling_loses_nothing() {
        let mut numbers = shuffled(1000);
        assert!(!numbers.is_sorted());
        numbers.sort_unstable();
        assert_eq!(numbers, (0..1000).collect::<Vec<u32>>());
    }

    #[test]
    fn questions_and_answers() {
        let measured: Measured = |operation, meter| {
            assert_eq!((operation.kind, operation.count), (Kind::HandOff, 7));
            assert!(meter.counting && meter.window == Duration::from_nanos(500));
            Ok(Some(Figures { time: 1.5, cpu: 2.0, sleeps: 0.5, allocations: 0.0, live: -8.0 }))
        };
        let answer = answered("4 7 500 1", measured).unwrap();
        assert_eq!(answer, "1.5 2 0.5 0 -8");
        assert_eq!(answer.parse::<Figures>().unwrap().to_string(), answer);
        assert_eq!(answered("4 7 500 1", |_, _| Ok(None)).unwrap(), "none");
        assert!(answered("4 7 500", measured).is_err() && answered("99 7 500 1", measured).is_err());
    }
}
