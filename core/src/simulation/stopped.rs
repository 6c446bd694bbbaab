//! Why a simulation stopped a run that would not have ended.

use alloc::vec::Vec;
use core::fmt;
use core::panic::Location;

use super::world::Name;
use crate::domain::alive::Alive;
use crate::id::{DomainId, TaskId};
use crate::time::Instant;

/// Why a simulation stopped a run, in order, that would not have ended. In a [`RunError::Events`](crate::RunError::Events).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    pub(super) seed: u64,
    pub(super) at: Instant,
    pub(super) reason: Reason,
    pub(super) waiting: Vec<Waiting>,
    pub(super) awaited: Vec<(DomainId, Name, usize)>,
}

/// What kept a run from ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// No task is runnable, no timer is set, and no event is to come: nothing can ever happen.
    Deadlock,
    /// It took more steps than [`Simulation::limit`](super::Simulation::limit) allows: its tasks run for ever.
    Endless,
}

/// A task that had not ended when the simulation was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The task.
    pub task: TaskId,
    /// The name it was given.
    pub name: Option<&'static str>,
    /// The domain it lives on.
    pub domain: DomainId,
    /// Where it was made.
    pub born: &'static Location<'static>,
    /// Its future is gone: it waits for the ends of its children alone.
    pub for_children: bool,
}

impl From<Alive> for Waiting {
    fn from(alive: Alive) -> Waiting {
        let Alive { task, name, domain, born, closed } = alive;
        Waiting { task, name, domain, born, for_children: closed }
    }
}

impl Stopped {
    /// What kept the run from ending.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The seed with which it happens again.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The virtual time at which the run was stopped.
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The tasks that had not ended, parents before their children.
    pub fn waiting(&self) -> &[Waiting] {
        &self.waiting
    }

    /// The events that were waited for: on which domain, their names, and by how many tasks.
    pub fn awaited(&self) -> impl ExactSizeIterator<Item = (DomainId, &str, usize)> {
        self.awaited.iter().map(|(domain, name, tasks)| (*domain, &**name, *tasks))
    }
}

/// How many tasks the text names.
const NAMED: usize = 16;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, at) = (self.seed, self.at.as_nanos());
        match self.reason {
            Reason::Deadlock => {
                write!(f, "deadlock at {at} ns with seed {seed}: no task is runnable, no timer is set and no event is to come")?
            }
            Reason::Endless => write!(
                f,
                "no end in sight at {at} ns with seed {seed}: the run took more steps than its limit (where tasks \
                 look at the clock in a loop, give the simulation a pace)"
            )?,
        }
        write!(f, "; {} tasks have not ended", self.waiting.len())?;
        for (number, waiting) in self.waiting.iter().take(NAMED).enumerate() {
            write!(f, "{} {waiting}", if number == 0 { ":" } else { ";" })?;
        }
        if self.waiting.len() > NAMED {
            write!(f, "; and {} more", self.waiting.len() - NAMED)?;
        }
        for (domain, name, tasks) in self.awaited() {
            write!(f, "; event {name:?} is waited for on domain {domain}, by {tasks} of them")?;
        }
        Ok(())
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.task)?;
        if let Some(name) = self.name {
            write!(f, " ({name})")?;
        }
        write!(f, " on domain {}, made at {}", self.domain, self.born)?;
        if self.for_children { f.write_str(", which waits for its children") } else { Ok(()) }
    }
}

impl core::error::Error for Stopped {}
