//! Synchronisation between tasks, across domains, and from outside the runtime.
//!
//! | type | what it is | who may complete it |
//! | --- | --- | --- |
//! | [`Trigger`] | a signal for one waiter, given once | any thread, an interrupt handler |
//! | [`Computation`] | a value set once, for any number of waiters | any thread; with the feature `critical-section`, an interrupt handler |
//! | [`Mutex`] | a value for one task at a time, in the order of arrival | who holds it |
//! | [`Condition`] | where those wait who hold a mutex in vain | any thread |
//! | [`Lazy`] | a value computed once, by who asks first | who asks |
//! | [`Semaphore`] | a number of permits, in the order of arrival | any thread |
//! | [`Notify`] | "look again" | any thread |
//! | [`Channel`]; with `alloc` also `channel` | bounded queues of values | any thread, without waiting |
//!
//! A future that waits may be dropped at any moment: it leaves the queue, and what was already its own goes to the next. They work under any
//! executor; in a task of matou they are effects, and those who wait on another domain are woken there. (Another executor that is run *inside* a task,
//! as by a `block_on`, is no way around the task's budget: once that is used up nothing there is ready before the task is polled again.)
//!
//! A future that is leaked (`mem::forget`) while it waits keeps its place: what is granted to it is lost to the others.
//!
//! None of them runs foreign code under a lock: wakers are moved out, then woken. None allocates, but for `channel` when it is made.

mod channel;
mod computation;
mod condition;
mod lazy;
mod mutex;
mod notify;
mod semaphore;
mod trigger;
mod waiters;

pub use self::channel::{Channel, SendError, TryReceiveError, TrySendError};
#[cfg(feature = "alloc")]
pub use self::channel::{Receiver, Reserved, Sender, channel};
pub use self::computation::Computation;
pub use self::condition::Condition;
pub use self::lazy::{Lazy, LazyError};
pub use self::mutex::{Mutex, MutexGuard};
pub use self::notify::Notify;
pub use self::semaphore::{Closed, Permit, Semaphore, TryAcquireError};
pub use self::trigger::{Trigger, Wait as TriggerWait};
