//! Blocking work, kept away from the domains.
//!
//! A domain that waits for a disk, a name server or a long computation lets all its tasks wait. [`blocking`] runs a closure on a thread of
//! the run's own pool, and suspends only the task that asked for it.
//!
//! # A job is like a child
//!
//! A job belongs to the future that awaits it, as a child belongs to its parent:
//!
//! | the future is dropped | what becomes of the job |
//! | --- | --- |
//! | before it was polled | there is none: the closure is dropped with the future |
//! | while the job waits for a thread | it is taken off the queue, and its closure is dropped there and then |
//! | while it runs | nothing can stop it: it is let finish, and its result is dropped on the pool's thread |
//! | after it has ended | its result is dropped with the future |
//!
//! So a job may outlive its future, but never its run: `run` returns after the last job has ended and every thread of the pool is joined, also
//! after a violation. A job that never ends is the program's fault, as is a poll that never ends.
//!
//! # The queue
//!
//! Jobs begin in the order in which they were asked for, whichever domain asked. There are at most
//! [`blocking_threads`](crate::Builder::blocking_threads) threads. They are started when a job finds none that is idle, and end when they have
//! been idle for some seconds; a run that never asks has none.
//!
//! A job that waits costs one allocation, with its closure, and there are at most as many as there are futures awaiting one: who bounds its
//! tasks has bounded the queue.
//!
//! A job must not wait for another job: with every thread taken by one that waits, there would be none for the other.

mod job;
mod pool;
mod stage;

use std::fmt;
use std::future::poll_fn;
use std::io;

use matou_core::effect::poll_budget;

use self::job::Begun;
pub(crate) use self::pool::{Closing, DEFAULT_THREADS, Entered, MOST_THREADS, Pool, finish};

/// Runs `work` on a thread of the run's pool, and gives its value. From any domain.
///
/// A panic of `work` goes on in the awaiting task, with its message. `work` runs in no task: it can neither spawn nor use a socket.
/// See [`Builder::blocking_threads`](crate::Builder::blocking_threads) for how many run at the same time, in the order they were asked for.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lines = matou_unix::run(async {
///     let text = matou_unix::blocking(|| std::fs::read_to_string("Cargo.toml")).await??;
///     Ok::<usize, std::io::Error>(text.lines().count())
/// })?;
/// assert!(lines > 1);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If `work` cannot be run: outside a run, or when no thread can be started and there is none yet. The closure is given back; `?` makes
/// an [`io::Error`] of it.
///
/// # Panics
/// When `work` does, and when it is polled after the end of the run it began in.
///
/// # Cancellation
/// Dropped before `work` began, `work` never runs and is dropped. One that has begun is let finish, and what it gives is dropped on the
/// pool's thread; `run` waits for it before it returns. So when the future is dropped, what `work` does may have happened, in whole or in part, or
/// may still happen.
pub async fn blocking<F, T>(work: F) -> Result<T, BlockingError<F>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    poll_fn(poll_budget).await;
    submit(work).await
}

/// As [`blocking`], of whose budget the caller has taken: its first poll puts the job into the queue.
pub(crate) async fn submit<F, T>(work: F) -> Result<T, BlockingError<F>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let Some(pool) = pool::current() else { return Err(BlockingError { work, reason: BlockingRefusal::Outside }) };
    let begun = Begun::new(pool, work)?;
    begun.wait().await;
    Ok(begun.finish())
}

/// Why [`blocking`] did not run its closure, which is given back.
pub struct BlockingError<F> {
    /// The closure.
    pub work: F,
    /// The reason.
    pub reason: BlockingRefusal,
}

/// The reasons for which [`blocking`] does not run its closure.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlockingRefusal {
    /// There is no run on this thread.
    Outside,
    /// There is no thread to run it, and the system refuses to start one.
    NoThread(io::Error),
}

impl fmt::Display for BlockingRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockingRefusal::Outside => f.write_str("blocking work was asked for outside `matou_unix::run`: await it inside, from a task"),
            BlockingRefusal::NoThread(error) => {
                write!(f, "no thread could be started for blocking work, and there is none yet: {error}")
            }
        }
    }
}

impl<F> fmt::Debug for BlockingError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<F> fmt::Display for BlockingError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl<F> std::error::Error for BlockingError<F> {}

impl<F> From<BlockingError<F>> for io::Error {
    fn from(error: BlockingError<F>) -> io::Error {
        // Not of the system's kind: it refuses a thread with `WouldBlock`, by which callers know what is worth a wait for readiness.
        io::Error::other(error.to_string())
    }
}
