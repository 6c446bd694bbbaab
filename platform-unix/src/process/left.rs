//! Children that run on though nobody holds them.
//!
//! They are the process's, not a run's, and may outlive it. Whenever another child is started or left, those that have ended are reaped: so there
//! are at most as many zombies as have ended since then. When the process ends the system takes over what is left.

use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};

static LEFT: Mutex<Vec<Child>> = Mutex::new(Vec::new());

fn left() -> MutexGuard<'static, Vec<Child>> {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a child run on.
pub(super) fn leave(child: Child) {
    left().push(child);
    reap();
}

/// Reaps those that have ended.
pub(super) fn reap() {
    left().retain_mut(|child| matches!(child.try_wait(), Ok(None)));
}
