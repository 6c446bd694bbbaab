//! The hand-over of one piece of blocking work, between the future that awaits it and the thread that does it.
//!
//! ```text
//!              thread (1)              thread (2)            future (3)
//!   Waiting ───────────────▶ Running ───────────────▶ Ended ───────────▶ Taken
//!      │                        │                                          ▲
//!      └───── future (3) ───────┴────────────── future (3) ────────────────┘
//! ```
//!
//! 1. [`begin`](Stages::begin): the thread takes the closure out, and runs it with no lock held.
//! 2. [`end`](Stages::end): it leaves the result, or is given it back where nobody wants it.
//! 3. [`take`](Stages::take): the future takes what is there: at its end the result, when it is dropped early whatever it finds.
//!
//! The stage is under a lock that is held only to exchange it: closures, values and wakers are called and dropped outside.
//!
//! `loom-tests` models this file.

use std::mem;
use std::sync::PoisonError;

use matou_core::sync::Trigger;

use crate::checked::{Mutex, fault};

/// See the [module](self).
pub(crate) struct Stages<F, T> {
    stage: Mutex<Stage<F, T>>,
    /// Signalled when there is something for the future to take.
    over: Trigger,
}

/// Where the work is.
pub(crate) enum Stage<F, T> {
    Waiting(F),
    Running,
    Ended(T),
    Taken,
}

impl<F, T> Stages<F, T> {
    pub(crate) fn new(work: F) -> Self {
        Stages { stage: Mutex::new(Stage::Waiting(work)), over: Trigger::new() }
    }

    fn with<R>(&self, f: impl FnOnce(&mut Stage<F, T>) -> R) -> R {
        f(&mut self.stage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The closure, for the thread to run; none if its future was dropped meanwhile.
    pub(crate) fn begin(&self) -> Option<F> {
        self.with(|stage| match mem::replace(stage, Stage::Running) {
            Stage::Waiting(work) => Some(work),
            other => {
                *stage = other;
                None
            }
        })
    }

    /// The thread leaves the result for the future; given back where there is none any more.
    pub(crate) fn end(&self, result: T) -> Option<T> {
        if fault("job_over_before_its_end") {
            self.over.signal();
        }
        let unwanted = self.with(|stage| match *stage {
            Stage::Taken if !fault("job_end_not_looked_at") => Some(result),
            _ => {
                *stage = Stage::Ended(result);
                None
            }
        });
        self.over.signal();
        unwanted
    }

    /// What is there. Nobody else wants it any more.
    pub(crate) fn take(&self) -> Stage<F, T> {
        self.with(|stage| mem::replace(stage, Stage::Taken))
    }

    /// There will be no thread: what is there, and who waits is told.
    pub(crate) fn discard(&self) -> Stage<F, T> {
        let left = self.take();
        self.over.signal();
        left
    }

    /// Waits until there is something to take.
    pub(crate) async fn wait(&self) {
        self.over.wait().await;
    }
}
