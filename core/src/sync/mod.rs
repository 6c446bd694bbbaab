//! Synchronisation between tasks, across domains, and from outside the runtime.
//!
//! | type | what it is | who may complete it |
//! | --- | --- | --- |
//! | [`Trigger`] | a signal for one waiter, given once | any thread, an interrupt handler |
//! | [`Computation`] | a value set once, for any number of waiters | any thread; with the feature `critical-section`, an interrupt handler |
//!
//! None of them runs foreign code under a lock: wakers are moved out, then woken.

mod computation;
mod trigger;
mod waiters;

pub use self::computation::{Computation, Wait as ComputationWait};
pub use self::trigger::{Trigger, Wait as TriggerWait};
