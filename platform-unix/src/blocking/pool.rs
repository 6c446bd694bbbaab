//! The threads of a run that do its blocking work, and the queue before them.
//!
//! # Invariants
//!
//! - *Served*: while the queue holds a job there is a thread that has not decided to end. A job is accepted only if there is one or one was just
//!   started, and a thread decides to end only when it finds the queue empty, both under the lock.
//! - *Enough*: a job that finds more jobs than idle threads starts one more, up to the most. An idle thread that was told of one job is thus not
//!   counted on for a second.
//! - *Joined*: a thread that ends by itself leaves its handle to the next one that ends, or to [`Pool::close`].
//!
//! Nothing of the program's is called under the lock: a job is run, and dropped, after it was taken out.
//!
//! # Who calls what
//!
//! The pool belongs to one run. Its domains reach it through a thread-local ([`Entered`]), and the thread that called `run` closes it when the
//! domains are gone ([`Closing`]). Threads of the pool reach none.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::mem::{self, ManuallyDrop};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use super::BlockingRefusal;
use super::job::quietly;

/// How many threads a pool may have, unless something else was said.
pub(crate) const DEFAULT_THREADS: usize = 64;

/// How many threads may be asked for.
pub(crate) const MOST_THREADS: usize = 4096;

/// How long a thread waits for work before it ends.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can stand in the queue.
pub(super) trait Queued: Send + Sync {
    /// Does the work. It does not panic.
    fn run(self: Arc<Self>);

    /// The run has ended, and the work was not begun. It does not panic.
    fn discard(self: Arc<Self>);
}

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// See the [module](self).
pub(crate) struct Pool {
    most: usize,
    stack_size: Option<usize>,
    patience: Duration,
    state: Mutex<State>,
    /// A job has come, or the pool is closed.
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// By ticket: the first is the next, and one that is withdrawn is found.
    queue: BTreeMap<Ticket, Arc<dyn Queued>>,
    tickets: u64,
    idle: usize,
    /// Those that have not decided to end.
    threads: HashMap<ThreadId, JoinHandle<()>>,
    /// The last one that decided to.
    ended: Option<JoinHandle<()>>,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(most: usize, stack_size: Option<usize>) -> Arc<Pool> {
        Arc::new(Pool { most, stack_size, patience: PATIENCE, state: Mutex::default(), news: Condvar::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job at the end of the queue.
    pub(super) fn submit(self: &Arc<Self>, job: Arc<dyn Queued>) -> Result<Ticket, BlockingRefusal> {
        let mut state = self.state();
        if state.closed {
            return Err(BlockingRefusal::Outside); // There is no run any more.
        }
        if state.queue.len() >= state.idle && state.threads.len() < self.most {
            match self.start() {
                Ok(thread) => _ = state.threads.insert(thread.thread().id(), thread),
                // *Served*.
                Err(error) if state.threads.is_empty() => return Err(BlockingRefusal::NoThread(error)),
                Err(_it_waits_for_a_thread_there_is) => {}
            }
        }
        let ticket = Ticket(state.tickets);
        state.tickets += 1;
        state.queue.insert(ticket, job);
        drop(state);
        self.news.notify_one();
        Ok(ticket)
    }

    /// Takes a job off the queue, if it is still there.
    pub(super) fn withdraw(&self, ticket: Ticket) {
        let job = self.state().queue.remove(&ticket);
        drop(job); // Not under the lock.
    }

    fn start(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let thread = thread::Builder::new().name("matou-blocking".into());
        let thread = match self.stack_size {
            Some(bytes) => thread.stack_size(bytes),
            None => thread,
        };
        let pool = Arc::clone(self);
        thread.spawn(move || pool.work())
    }

    /// What each thread does.
    fn work(&self) {
        let mut state = self.state();
        loop {
            if let Some((_, job)) = state.queue.pop_first() {
                drop(state);
                job.run();
                state = self.state();
            } else if state.closed {
                break;
            } else {
                state.idle += 1;
                let (woken, waited) = self.news.wait_timeout(state, self.patience).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                state.idle -= 1;
                if waited.timed_out() && state.queue.is_empty() {
                    break;
                }
            }
        }
        // *Joined*. Where `close` has our handle, it joins us.
        let ours = state.threads.remove(&thread::current().id());
        let before_us = ours.and_then(|ours| state.ended.replace(ours));
        drop(state);
        before_us.into_iter().for_each(join);
    }

    /// Begins no job any more, and waits for those that run.
    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let (queue, threads, ended) = (mem::take(&mut state.queue), mem::take(&mut state.threads), state.ended.take());
        drop(state);
        self.news.notify_all();
        queue.into_values().for_each(Queued::discard);
        threads.into_values().chain(ended).for_each(join);
    }
}

fn join(thread: JoinHandle<()>) {
    // It catches what jobs do: this is a fault of the runtime, which the panic hook has told of.
    quietly(|| drop(thread.join()));
}

/// Closes a run's pool when it is dropped, whatever happens.
pub(crate) struct Closing(pub(crate) Arc<Pool>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

thread_local! {
    /// It has no destructor, so that a run may begin also while the thread's locals are destroyed: [`Entered`] takes out what is here.
    static CURRENT: Cell<Option<ManuallyDrop<Arc<Pool>>>> = const { Cell::new(None) };
}

/// The pool of the run whose domain this thread is.
pub(super) fn current() -> Option<Arc<Pool>> {
    let current = CURRENT.take();
    let held = current.as_deref().cloned();
    CURRENT.set(current);
    held
}

/// This thread is a domain of the pool's run, for as long as this lives.
pub(crate) struct Entered(());

impl Entered {
    pub(crate) fn new(pool: &Arc<Pool>) -> Entered {
        CURRENT.set(Some(ManuallyDrop::new(Arc::clone(pool))));
        Entered(())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(CURRENT.take().map(ManuallyDrop::into_inner));
    }
}

/// Has `work` done by somebody, no later than at the end of the run: by the current run's pool, else here and now. From any thread.
pub(crate) fn finish(work: impl FnOnce() + Send + 'static) {
    /// Work that nobody awaits, and that must not be left undone.
    struct Duty<F>(Mutex<Option<F>>);

    impl<F: FnOnce() + Send> Queued for Duty<F> {
        fn run(self: Arc<Self>) {
            let work = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            work.into_iter().for_each(|work| quietly(work));
        }

        fn discard(self: Arc<Self>) {
            self.run();
        }
    }

    let duty = Arc::new(Duty(Mutex::new(Some(work))));
    let submitted = current().map(|pool| pool.submit(Arc::clone(&duty) as Arc<dyn Queued>));
    if !matches!(submitted, Some(Ok(_))) {
        duty.run();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    struct Says(std::sync::mpsc::Sender<ThreadId>);

    impl Queued for Says {
        fn run(self: Arc<Self>) {
            self.0.send(thread::current().id()).unwrap();
        }

        fn discard(self: Arc<Self>) {}
    }

    fn impatient(most: usize) -> Arc<Pool> {
        let mut pool = Pool::new(most, None);
        Arc::get_mut(&mut pool).unwrap().patience = Duration::from_millis(1);
        pool
    }

    #[test]
    fn r20_idle_threads_end_and_others_are_started() {
        let pool = impatient(2);
        let (says, said) = channel();
        for _ in 0..20 {
            pool.submit(Arc::new(Says(says.clone()))).unwrap();
            said.recv().unwrap();
            while !pool.state().threads.is_empty() {
                thread::yield_now();
            }
            assert!(pool.state().ended.is_some(), "the last one waits to be joined");
        }
        pool.close();
        assert!(pool.state().ended.is_none());
    }

    #[test]
    fn no_job_is_lost_to_a_thread_that_loses_patience() {
        let pool = impatient(3);
        let (says, said) = channel();
        for round in 0..300 {
            pool.submit(Arc::new(Says(says.clone()))).unwrap();
            said.recv().unwrap();
            if round % 10 == 0 {
                thread::sleep(Duration::from_micros(900 + round)); // About when it ends.
            }
        }
        pool.close();
    }

    struct Waits(Mutex<std::sync::mpsc::Receiver<()>>);

    impl Queued for Waits {
        fn run(self: Arc<Self>) {
            let _released = self.0.lock().unwrap().recv();
        }

        fn discard(self: Arc<Self>) {}
    }

    #[test]
    fn a_job_that_is_given_up_leaves_the_queue() {
        let pool = Pool::new(1, None);
        let (release, held) = channel();
        pool.submit(Arc::new(Waits(Mutex::new(held)))).unwrap();
        while !pool.state().queue.is_empty() {
            thread::yield_now();
        }
        let [one, two, three] = [1, 2, 3].map(|number| super::super::job::Begun::new(Arc::clone(&pool), move || number).unwrap());
        drop(two);
        assert_eq!(pool.state().queue.len(), 2);
        drop((one, three));
        assert_eq!(pool.state().queue.len(), 0);
        drop(release);
        pool.close();
    }

    #[test]
    fn there_are_never_more_than_the_most() {
        let pool = Pool::new(3, None);
        let threads = |jobs: usize| {
            let (releases, jobs): (Vec<_>, Vec<_>) = (0..jobs).map(|_| channel::<()>()).map(|(tx, rx)| (tx, Waits(Mutex::new(rx)))).unzip();
            jobs.into_iter().for_each(|job| _ = pool.submit(Arc::new(job)).unwrap());
            (pool.state().threads.len(), releases)
        };
        let (two, first) = threads(2);
        let (three, then) = threads(3);
        assert_eq!((two, three), (2, 3));
        drop((first, then));
        pool.close();
    }

    #[test]
    fn an_idle_thread_is_used_again() {
        let pool = Pool::new(8, None);
        let (says, said) = channel();
        let used: std::collections::HashSet<_> = (0..10)
            .map(|_| {
                let all_idle = |state: MutexGuard<'_, State>| state.idle == state.threads.len();
                while !all_idle(pool.state()) {
                    thread::yield_now();
                }
                pool.submit(Arc::new(Says(says.clone()))).unwrap();
                said.recv().unwrap()
            })
            .collect();
        assert_eq!(used.len(), 1);
        pool.close();
        assert!(matches!(pool.submit(Arc::new(Says(says))), Err(BlockingRefusal::Outside)));
    }
}
