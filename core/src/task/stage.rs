//! How far a task is: what its payload holds.

use core::cell::Cell;

use crate::domain::run_queue::Brood;

/// What the payload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The closure that makes the future.
    Closure,
    /// The future.
    Future,
    /// The result.
    Result,
    /// Nothing: never finished, or taken.
    Empty,
}

/// The stage, and the brood of a task that is not closed: both are its home's, and there is no byte to spare.
pub(super) struct StageCell(Cell<u8>);

impl StageCell {
    const STAGES: [Stage; 4] = [Stage::Closure, Stage::Future, Stage::Result, Stage::Empty];

    pub(super) const fn new(stage: Stage) -> StageCell {
        StageCell(Cell::new(stage as u8))
    }

    pub(super) fn get(&self) -> Stage {
        StageCell::STAGES[(self.0.get() & 3) as usize]
    }

    pub(super) fn set(&self, stage: Stage) {
        self.0.set(self.0.get() & !3 | stage as u8);
    }

    /// Sets the stage of a task that is closed: it has no brood.
    pub(super) fn close(&self, stage: Stage) {
        self.0.set(stage as u8);
    }

    /// The same, and what it was.
    pub(super) fn replace(&self, stage: Stage) -> Stage {
        let before = self.get();
        self.close(stage);
        before
    }

    pub(super) fn brood(&self) -> Brood {
        Brood::from_bits(self.0.get() >> 2)
    }

    pub(super) fn set_brood(&self, brood: Brood) {
        self.0.set(self.0.get() & 3 | brood.to_bits() << 2);
    }
}
