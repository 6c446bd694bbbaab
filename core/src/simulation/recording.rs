//! What a simulation did, step by step: two runs of one seed can be compared to the last.

use alloc::vec::Vec;
use core::fmt;

use crate::id::{DomainId, TaskId};
use crate::platform::Wait;
use crate::time::Instant;

/// One step of one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The virtual time.
    pub at: Instant,
    /// The domain.
    pub domain: DomainId,
    /// What it did.
    pub what: What,
}

/// What a domain did in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// It looked at what others had sent, and dropped what was cancelled.
    Attended,
    /// It took this task from its run queue: polled it, or ended it.
    Ran(TaskId),
    /// It asked its event source while tasks were runnable.
    Looked,
    /// It found nothing to do.
    Rested,
    /// It fell asleep.
    Slept(Wait),
    /// Something had come meanwhile: it did not fall asleep.
    StayedAwake,
    /// It woke up.
    Woke,
    /// Its part of the run was over.
    Left,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ns, domain {}: ", self.at.as_nanos(), self.domain)?;
        match self.what {
            What::Ran(task) => write!(f, "ran task {task}"),
            What::Attended => f.write_str("looked into its inbox"),
            What::Rested => f.write_str("found nothing to do"),
            What::Looked => f.write_str("looked for events"),
            What::Slept(Wait::Until(until)) => write!(f, "slept until {} ns", until.as_nanos()),
            What::Slept(_) => f.write_str("slept"),
            What::StayedAwake => f.write_str("stayed awake"),
            What::Woke => f.write_str("woke"),
            What::Left => f.write_str("left"),
        }
    }
}

/// Everything a simulation did. Two runs of the same program with the same seed have equal recordings; where they have not, the program
/// depends on something that is not in the simulation, and [`difference`](Recording::difference) says from where on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    pub(super) steps: Vec<Step>,
}

impl Recording {
    /// The steps, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The first step in which the two differ: its number, and what each did then, if anything.
    pub fn difference(&self, other: &Recording) -> Option<(usize, Option<Step>, Option<Step>)> {
        let step = |recording: &Recording, number: usize| recording.steps.get(number).copied();
        (0..self.steps.len().max(other.steps.len()))
            .map(|number| (number, step(self, number), step(other, number)))
            .find(|(_, one, other)| one != other)
    }
}

impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}
