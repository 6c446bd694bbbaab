//! tokio on one thread: tasks that may move ([`Tokio`]) and tasks that may not ([`LocalTokio`], a `LocalSet`). A call goes to a
//! second runtime of one thread, or to one of several (`new_multi_thread`), through its handle.

// `tokio::spawn` wants futures that are `Send`; see `OneThread`.
#![allow(unsafe_code)]

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet, LocalSet, spawn_local, yield_now};

use super::calls::Tally;
use super::executor::{Executor, Far, Orphans, Others, Spinner};
use super::meter::Figures;
use super::{one, step_aside};
use crate::Failure;

/// With `tokio::spawn`.
#[derive(Debug)]
pub struct Tokio;

/// With `spawn_local`.
#[derive(Debug)]
pub struct LocalTokio;

/// A handle whose task only counts: were it aborted or did it panic, the figures would mean nothing.
#[derive(Debug)]
pub struct Counted(JoinHandle<u64>);

impl Future for Counted {
    type Output = u64;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        Pin::new(&mut self.0).poll(context).map(|result| result.expect("a task that only counts"))
    }
}

/// A future, or what comes of it, that does not leave the thread it was made on.
struct OneThread<T>(T);

// SAFETY: "stays here". Only this file makes one, and gives it to a current-thread runtime that is inside `block_on` on the
// calling thread: such a runtime polls and drops its tasks on the thread of `block_on`, and is itself dropped there.
unsafe impl<T> Send for OneThread<T> {}

impl<F: Future> Future for OneThread<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: the field is pinned as the whole is; there is no `Drop`, and nothing moves it out.
        unsafe { self.map_unchecked_mut(|this| &mut this.0) }.poll(context)
    }
}

fn runtime() -> Result<Runtime, Failure> {
    // With I/O, as whoever serves anything has it: without, an idle runtime waits on a condition variable instead.
    Ok(Builder::new_current_thread().enable_io().enable_time().build()?)
}

/// The multi-thread runtime, each thread on a core of its own as long as there are cores.
fn pool(threads: usize) -> Result<Runtime, Failure> {
    let places = AtomicUsize::new(0);
    Ok(Builder::new_multi_thread()
        .worker_threads(threads)
        .on_thread_start(move || step_aside(places.fetch_add(1, Relaxed)))
        .enable_io()
        .enable_time()
        .build()?)
}

impl Executor for Tokio {
    type Task = Counted;
    type Far = Handle;
    type Orphans = Children;
    const CANCELS: bool = true;
    const SPREADS: bool = true;

    fn run(measure: impl Future<Output = Figures> + 'static) -> Result<Figures, Failure> {
        let measure = OneThread(measure);
        runtime()?.block_on(async { Ok(tokio::spawn(measure).await?) })
    }

    fn spawn(future: impl Future<Output = u64> + 'static) -> Counted {
        Counted(tokio::spawn(OneThread(future)))
    }

    async fn cancel(task: Counted) {
        cancel(task).await;
    }

    fn yield_now() -> impl Future<Output = ()> {
        yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }

    fn elsewhere<F>(others: Others, measure: impl FnOnce(Handle) -> F + 'static) -> Result<Figures, Failure>
    where
        F: Future<Output = Figures> + 'static,
    {
        elsewhere::<Self, F>(others, measure)
    }
}

impl Executor for LocalTokio {
    type Task = Counted;
    type Far = Handle;
    type Orphans = LocalChildren;
    const CANCELS: bool = true;
    const SPREADS: bool = true;

    fn run(measure: impl Future<Output = Figures> + 'static) -> Result<Figures, Failure> {
        LocalSet::new().block_on(&runtime()?, async { Ok(spawn_local(measure).await?) })
    }

    fn spawn(future: impl Future<Output = u64> + 'static) -> Counted {
        Counted(spawn_local(future))
    }

    async fn cancel(task: Counted) {
        cancel(task).await;
    }

    fn yield_now() -> impl Future<Output = ()> {
        yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }

    fn elsewhere<F>(others: Others, measure: impl FnOnce(Handle) -> F + 'static) -> Result<Figures, Failure>
    where
        F: Future<Output = Figures> + 'static,
    {
        elsewhere::<Self, F>(others, measure)
    }
}

impl Far for Handle {
    type Call = Counted;

    fn call(&self) -> Counted {
        Counted(self.spawn(one()))
    }

    fn all_call(&self, tally: &Arc<Tally>) -> impl Future<Output = ()> + 'static {
        let call = |place| {
            let (tally, pool) = (Arc::clone(tally), self.clone());
            self.spawn(async move { tally.calls(place, || pool.call()).await })
        };
        let callers: Vec<JoinHandle<()>> = (0..tally.threads()).map(call).collect();
        async move {
            for caller in callers {
                caller.await.expect("a task that only calls");
            }
        }
    }
}

async fn cancel(task: Counted) {
    task.0.abort();
    assert!(task.0.await.is_err_and(|error| error.is_cancelled()), "a task that was to be cancelled has ended");
}

/// `JoinSet`.
#[derive(Debug, Default)]
pub struct Children(JoinSet<u64>);

impl Orphans for Children {
    fn spawn(&mut self, future: impl Future<Output = u64> + 'static) {
        self.0.spawn(OneThread(future));
    }

    async fn next(&mut self) -> u64 {
        next(&mut self.0).await
    }
}

/// The same, with tasks that may not move.
#[derive(Debug, Default)]
pub struct LocalChildren(JoinSet<u64>);

impl Orphans for LocalChildren {
    fn spawn(&mut self, future: impl Future<Output = u64> + 'static) {
        self.0.spawn_local(future);
    }

    async fn next(&mut self) -> u64 {
        next(&mut self.0).await
    }
}

async fn next(children: &mut JoinSet<u64>) -> u64 {
    children.join_next().await.expect("there is a child").expect("a task that only counts")
}

/// Runs a second runtime on other threads meanwhile.
fn elsewhere<E, F>(others: Others, measure: impl FnOnce(Handle) -> F + 'static) -> Result<Figures, Failure>
where
    E: Executor<Far = Handle>,
    F: Future<Output = Figures> + 'static,
{
    let far = match others {
        Others::Spread(threads) => pool(threads)?,
        Others::One | Others::Awake => runtime()?,
    };
    let handle = far.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            step_aside(0);
            if others.awake() {
                // Dropped with the runtime.
                drop(far.spawn(async {
                    loop {
                        yield_now().await;
                    }
                }));
            }
            // Ends with an error when `stop` is dropped, which is as good.
            let _ = far.block_on(stopped);
        });
        let figures = E::run(async move {
            let spinner = others.awake().then(Spinner::<E>::start);
            let figures = measure(handle).await;
            if let Some(spinner) = spinner {
                spinner.stop().await;
            }
            figures
        });
        drop(stop);
        figures
    })
}
