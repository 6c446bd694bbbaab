//! One piece of blocking work, between the future that awaits it and the thread that does it.
//!
//! How it goes from one to the other is `stage`'s.
//!
//! A job that its run's end finds in the queue belongs to a future that was forgotten, or kept beyond its run. Its closure is dropped, and what it
//! has borrowed comes back; the future, should somebody poll it, panics.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread;

use super::BlockingError;
use super::pool::{Pool, Queued, Ticket};
use super::stage::{Stage, Stages};

/// See the [module](self).
struct Job<F, T>(Stages<F, thread::Result<T>>);

impl<F, T> Queued for Job<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(self: Arc<Self>) {
        let Some(work) = self.0.begin() else { return };
        let unwanted = self.0.end(catch_unwind(AssertUnwindSafe(work)));
        quietly(|| drop(unwanted));
    }

    fn discard(self: Arc<Self>) {
        quietly(|| drop(self.0.discard()));
    }
}

/// A job, as its future has it.
pub(super) struct Begun<F, T> {
    pool: Arc<Pool>,
    ticket: Ticket,
    job: Arc<Job<F, T>>,
}

impl<F, T> Begun<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    /// Puts it into the pool's queue.
    pub(super) fn new(pool: Arc<Pool>, work: F) -> Result<Begun<F, T>, BlockingError<F>> {
        let job = Arc::new(Job(Stages::new(work)));
        match pool.submit(Arc::clone(&job) as Arc<dyn Queued>) {
            Ok(ticket) => Ok(Begun { pool, ticket, job }),
            Err(reason) => {
                let Stage::Waiting(work) = job.0.take() else { unreachable!("it was refused, and nobody else has it") };
                Err(BlockingError { work, reason })
            }
        }
    }

    /// Waits until there is something to take.
    pub(super) async fn wait(&self) {
        self.job.0.wait().await;
    }

    /// What came of it. After [`wait`](Begun::wait).
    pub(super) fn finish(self) -> T {
        match self.job.0.take() {
            Stage::Ended(Ok(value)) => value,
            Stage::Ended(Err(panic)) => resume_unwind(panic),
            Stage::Taken => panic!("the run that was to do this blocking work has ended"),
            Stage::Waiting(_) | Stage::Running => unreachable!("it is signalled when it is over"),
        }
    }
}

impl<F, T> Drop for Begun<F, T> {
    fn drop(&mut self) {
        let left = self.job.0.take(); // Of a job that runs this takes nothing.
        if let Stage::Waiting(_) = left {
            self.pool.withdraw(self.ticket);
        }
    }
}

/// Runs a destructor of the program's on a thread of the pool, which must survive it. The panic hook has told of what panics.
pub(super) fn quietly(f: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(f))
        && let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(panic)))
    {
        mem::forget(second); // A payload whose destructor panics with such a payload has no end.
    }
}
