//! One piece of blocking work, between the future that awaits it and the thread that does it.
//!
//! ```text
//!              thread (1)              thread (2)            future (3)
//!   Waiting ───────────────▶ Running ───────────────▶ Ended ───────────▶ Taken
//!      │                        │                                          ▲
//!      └───── future (3) ───────┴────────────── future (3) ────────────────┘
//! ```
//!
//! 1. The thread takes the closure out, and runs it with no lock held.
//! 2. It leaves the result, or finds that nobody wants it and drops it.
//! 3. The future takes what is there: at its end the result, when it is dropped early whatever it finds.
//!
//! The stage is under a lock that is held only to exchange it: closures, values and wakers are called and dropped outside.
//!
//! A job that its run's end finds in the queue belongs to a future that was forgotten, or kept beyond its run. Its closure is dropped, and what it
//! has borrowed comes back; the future, should somebody poll it, panics.

use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use matou_core::sync::Trigger;

use super::BlockingError;
use super::pool::{Pool, Queued, Ticket};

/// See the [module](self).
struct Job<F, T> {
    stage: Mutex<Stage<F, T>>,
    /// Signalled when there is something for the future to take.
    over: Trigger,
}

enum Stage<F, T> {
    Waiting(F),
    Running,
    Ended(thread::Result<T>),
    Taken,
}

impl<F, T> Job<F, T> {
    /// Puts `next` there and gives what was.
    fn exchange(&self, next: Stage<F, T>) -> Stage<F, T> {
        mem::replace(&mut *self.stage.lock().unwrap_or_else(PoisonError::into_inner), next)
    }

    /// Leaves the result for the future; gives it back where there is none any more.
    fn end(&self, result: thread::Result<T>) -> Option<thread::Result<T>> {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        match *stage {
            Stage::Running => {
                *stage = Stage::Ended(result);
                None
            }
            _ => Some(result),
        }
    }
}

impl<F, T> Queued for Job<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn run(self: Arc<Self>) {
        let Stage::Waiting(work) = self.exchange(Stage::Running) else {
            // Its future was dropped just now.
            self.exchange(Stage::Taken);
            return;
        };
        let result = catch_unwind(AssertUnwindSafe(work));
        let unwanted = self.end(result);
        quietly(|| drop(unwanted));
        self.over.signal();
    }

    fn discard(self: Arc<Self>) {
        quietly(|| drop(self.exchange(Stage::Taken)));
        self.over.signal();
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
        let job = Arc::new(Job { stage: Mutex::new(Stage::Waiting(work)), over: Trigger::new() });
        match pool.submit(Arc::clone(&job) as Arc<dyn Queued>) {
            Ok(ticket) => Ok(Begun { pool, ticket, job }),
            Err(reason) => {
                let Stage::Waiting(work) = job.exchange(Stage::Taken) else { unreachable!("it was refused, and nobody else has it") };
                Err(BlockingError { work, reason })
            }
        }
    }

    /// Waits until there is something to take.
    pub(super) async fn wait(&self) {
        self.job.over.wait().await;
    }

    /// What came of it. After [`wait`](Begun::wait).
    pub(super) fn finish(self) -> T {
        match self.job.exchange(Stage::Taken) {
            Stage::Ended(Ok(value)) => value,
            Stage::Ended(Err(panic)) => resume_unwind(panic),
            Stage::Taken => panic!("the run that was to do this blocking work has ended"),
            Stage::Waiting(_) | Stage::Running => unreachable!("it is signalled when it is over"),
        }
    }
}

impl<F, T> Drop for Begun<F, T> {
    fn drop(&mut self) {
        let left = self.job.exchange(Stage::Taken); // Of a job that runs this takes nothing.
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
