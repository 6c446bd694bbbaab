//! Simulated runs, for tests: virtual time, scripted events, and several domains on one thread, interleaved by a seed.
//!
//! The tasks are those of the program, run by the same scheduler as everywhere. What is simulated is what is around it:
//!
//! - **Time** is virtual. While anything can run, it stands still; when all domains sleep, it jumps to the next timer or event. A year of
//!   sleeps takes milliseconds, and `now()` is exact.
//! - **Domains** take turns on the thread that called [`Simulation::run`]: a step of one domain (a poll, a look into its inbox), then one of another. Which
//!   is next, and which domain a `call` goes to, is decided by the seed. Another seed is another order, and the same seed is the same
//!   run, to the last step.
//! - **Events** are written into a script beforehand ([`Simulation::at`]) or by tasks ([`fire`], [`fire_after`]), and awaited by their name
//!   ([`event()`]): they stand for packets, signals, replies of a device.
//! - **Deadlocks** end. Where a real run would sleep for ever, a simulation stops, cancels everything in order, and names the tasks that
//!   wait, with the lines that made them.
//!
//! # A test
//!
//! Switch on the feature `simulation` for the tests alone (`[dev-dependencies] matou-core = { .., features = ["simulation"] }`), and have [`check`] run
//! the test with many seeds:
//!
//! ```
//! use core::time::Duration;
//! use matou_core::simulation::{self, Event, event};
//! use matou_core::{DomainId, Exit, call, time};
//!
//! // The program: a worker that answers a packet, unless it takes too long.
//! async fn answer() -> Option<usize> {
//!     let answered = time::timeout(Duration::from_secs(1), async { Ok::<_, Exit>(event("packet").await.len()) });
//!     answered.await.ok().and_then(Result::ok)
//! }
//!
//! let worker = DomainId::new(1);
//! let answers = simulation::check(0..100, |simulation| {
//!     // For half of the seeds the packet comes too late.
//!     let delay = Duration::from_millis(500 + simulation.seed() * 10);
//!     let simulation = simulation.domains(1).at(delay, worker, Event::new("packet", "abc"));
//!     simulation.run(async { call(answer).unwrap().await })
//! });
//! answers.reaches("an answer", |answer| *answer == Some(3));
//! answers.reaches("no answer", Option::is_none);
//! ```
//!
//! A test that fails says with which seed: `seed = 17: replay with MATOU_SEED=17: …`. Run it again with that variable to see that seed alone,
//! under a debugger or with more output: it is the same run.
//!
//! # What a simulation sees, and what it does not
//!
//! It reaches every order of the *steps* of the domains, and so every race between tasks, wakes, cancellations and ends that can be seen from
//! tasks. Within a poll nothing else happens: races between single instructions (of atomics, of locks that tasks share by
//! themselves) are for a model checker.
//!
//! The same seed gives the same run as long as the program takes chance, time and events from the simulation alone: not from the
//! clock of the machine, other threads, or the order of a `HashMap`. [`Simulation::record`] shows where two runs part.
//!
//! All domains share one thread. A task that blocks the thread blocks all of them: it must not wait for another domain but by `.await`. And
//! what is thread-local is common to all domains.
//!
//! A waker may be sent to another thread, and is as valid there as in any run; but a simulation whose domains all sleep does not wait for
//! one that has not begun to wake: that is a deadlock.

mod events;
mod explore;
mod recording;
mod schedule;
mod stopped;
mod world;

use alloc::vec::Vec;
use core::future::Future;
use core::panic::Location;
use core::time::Duration;

pub use self::events::{Event, event, fire, fire_after};
pub use self::explore::{Explored, check};
pub use self::recording::{Recording, Step, What};
pub use self::stopped::{Reason, Stopped, Waiting};

use crate::error::RunError;
use crate::id::DomainId;
use crate::outcome::Outcome;
use crate::run::Config;
use crate::time::Instant;
use crate::violation::Report;

/// A simulated run, and its settings.
///
/// ```
/// use core::time::Duration;
/// use matou_core::simulation::Simulation;
/// use matou_core::time::{now, sleep};
///
/// let year = Duration::from_secs(365 * 24 * 60 * 60);
/// let later = Simulation::new(42).run(async move {
///     sleep(year).await;
///     now().as_nanos()
/// });
/// assert_eq!(later.ok(), Some(year.as_nanos() as u64));
/// ```
#[derive(Clone, Debug)]
#[must_use = "it runs nothing by itself"]
pub struct Simulation {
    config: Config,
    script: Vec<(Instant, DomainId, Event)>,
    /// In nanoseconds.
    latency: u64,
    /// In nanoseconds.
    pace: u64,
    limit: u64,
}

impl Simulation {
    /// A simulation with this seed, without workers, and with nothing in its script.
    pub const fn new(seed: u64) -> Simulation {
        Simulation { config: Config::new().seed(seed), script: Vec::new(), latency: 0, pace: 0, limit: 10_000_000 }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.config.seed
    }

    /// How many worker domains there are beside domain 0.
    pub const fn domains(mut self, workers: usize) -> Simulation {
        self.config = self.config.domains(workers);
        self
    }

    /// As [`Config::quanta`].
    pub const fn quanta(mut self, quanta: u32) -> Simulation {
        self.config = self.config.quanta(quanta);
        self
    }

    /// As [`Config::on_report`].
    pub const fn on_report(mut self, on_report: fn(&Report)) -> Simulation {
        self.config = self.config.on_report(on_report);
        self
    }

    /// Writes into the script: after this time from the beginning the event occurs on this domain.
    ///
    /// Events of one instant occur in the order in which they were written.
    pub fn at(mut self, time: Duration, domain: DomainId, event: impl Into<Event>) -> Simulation {
        self.script.push((Instant::from_nanos(0) + time, domain, event.into()));
        self
    }

    /// How long, at most, it takes until a domain that sleeps notices that another has something for it; each time as long as chance has it.
    /// None by default.
    pub fn latency(mut self, most: Duration) -> Simulation {
        self.latency = nanos(most);
        self
    }

    /// How long a poll takes. Nothing by default: while tasks run, time stands still.
    ///
    /// With a pace, timers and events fall into the middle of what tasks do, and a task that looks at the clock in a loop gets on.
    pub fn pace(mut self, poll: Duration) -> Simulation {
        self.pace = nanos(poll);
        self
    }

    /// How many steps the run may take, 10,000,000 by default: one that takes more is stopped as [`Reason::Endless`].
    pub const fn limit(mut self, steps: u64) -> Simulation {
        self.limit = steps;
        self
    }

    /// Runs `main` as [`run`](crate::run) does, in the simulation.
    ///
    /// # Errors
    /// As [`run`](crate::run). A deadlock, and more steps than the [limit](Simulation::limit), are `RunError::Events` with a [`Stopped`].
    ///
    /// # Panics
    /// If the script names a domain that there is not.
    #[track_caller]
    pub fn run<F>(&self, main: F) -> Result<<F::Output as Outcome>::Value, RunError<<F::Output as Outcome>::Error, Stopped>>
    where
        F: Future<Output: Outcome>,
    {
        schedule::run(self, main, Location::caller(), None)
    }

    /// As [`run`](Simulation::run), and gives every step that was done.
    ///
    /// ```
    /// use matou_core::simulation::Simulation;
    /// use matou_core::{await_all, call};
    ///
    /// async fn program() {
    ///     let calls = (0..10).map(|_| call(|| async {}).unwrap()).collect();
    ///     await_all(calls).await;
    /// }
    /// let recorded = |seed| Simulation::new(seed).domains(3).record(program()).1;
    /// assert_eq!(recorded(1).difference(&recorded(1)), None);
    /// assert_ne!(recorded(1), recorded(2));
    /// ```
    ///
    /// # Panics
    /// As [`run`](Simulation::run).
    #[track_caller]
    pub fn record<F>(&self, main: F) -> (Result<<F::Output as Outcome>::Value, RunError<<F::Output as Outcome>::Error, Stopped>>, Recording)
    where
        F: Future<Output: Outcome>,
    {
        let mut recording = Recording::default();
        let ended = schedule::run(self, main, Location::caller(), Some(&mut recording));
        (ended, recording)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
