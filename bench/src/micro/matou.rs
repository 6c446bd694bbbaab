//! matou: domain 0 alone, and for calls one worker domain or several.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use matou_unix::{Builder, Plain, Promise, call, parallel, spawn, time, yield_now};

use super::calls::Tally;
use super::executor::{Executor, Far, Orphans, Others, Spinner};
use super::meter::Figures;
use super::{one, step_aside};
use crate::Failure;
use crate::kernel;

/// With `spawn` and `call`.
#[derive(Debug)]
pub struct Matou;

/// A promise whose task only counts: were it cancelled or did it panic, the figures would mean nothing.
#[derive(Debug)]
pub struct Counted(Promise<u64>);

impl Future for Counted {
    type Output = u64;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        Pin::new(&mut self.0).poll(context).map(|result| result.expect("a task that only counts"))
    }
}

impl Executor for Matou {
    type Task = Counted;
    type Far = Worker;
    type Orphans = Children;
    const CANCELS: bool = true;
    const SPREADS: bool = true;

    fn run(measure: impl Future<Output = Figures> + 'static) -> Result<Figures, Failure> {
        within(0, measure)
    }

    fn spawn(future: impl Future<Output = u64> + 'static) -> Counted {
        Counted(spawn(future))
    }

    async fn cancel(task: Counted) {
        task.0.cancel().await;
    }

    fn yield_now() -> impl Future<Output = ()> {
        yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        time::sleep(duration)
    }

    fn elsewhere<F>(others: Others, measure: impl FnOnce(Worker) -> F + 'static) -> Result<Figures, Failure>
    where
        F: Future<Output = Figures> + 'static,
    {
        let workers = match others {
            Others::Spread(workers) => workers,
            Others::One | Others::Awake => 1,
        };
        within(workers, async move {
            // The workers start on the core of the thread that made them.
            on_each(workers, |place| async move { step_aside(place) }).await;
            let stop = Arc::new(AtomicBool::new(!others.awake()));
            let stopped = Arc::clone(&stop);
            let spins = far(move || async move {
                while !stopped.load(Relaxed) {
                    yield_now().await;
                }
                0
            });
            let spinner = others.awake().then(Spinner::<Self>::start);
            let figures = measure(Worker).await;
            stop.store(true, Relaxed);
            spins.await;
            if let Some(spinner) = spinner {
                spinner.stop().await;
            }
            figures
        })
    }
}

/// The worker domains.
#[derive(Debug)]
pub struct Worker;

impl Far for Worker {
    type Call = Counted;

    fn call(&self) -> Counted {
        far(one)
    }

    fn all_call(&self, tally: &Arc<Tally>) -> impl Future<Output = ()> + 'static {
        let tally = Arc::clone(tally);
        on_each(tally.threads(), move |place| {
            let tally = Arc::clone(&tally);
            async move { tally.calls(place, || far(one)).await }
        })
    }
}

/// `Orphans`.
#[derive(Debug, Default)]
pub struct Children(matou_unix::Orphans<u64>);

impl Orphans for Children {
    fn spawn(&mut self, future: impl Future<Output = u64> + 'static) {
        self.0.spawn(future);
    }

    async fn next(&mut self) -> u64 {
        self.0.next().await.expect("there is a child").expect("a task that only counts")
    }
}

/// Begins something on each worker, as [`parallel`] spreads it: one place each.
fn on_each<F>(workers: usize, work: impl Fn(usize) -> F + Clone + Send + 'static) -> impl Future<Output = ()>
where
    F: Future<Output = ()> + 'static,
{
    let all = parallel(work, 0..workers);
    async {
        let ended = all.await.unwrap_or_else(|_| unreachable!("there is a worker"));
        assert!(ended.into_iter().all(|ended| ended.is_ok()), "a worker that only calls has failed");
    }
}

fn far<F: Future<Output = u64> + 'static>(make: impl FnOnce() -> F + Send + 'static) -> Counted {
    Counted(call(make).unwrap_or_else(|_| unreachable!("there is a worker")))
}

fn within(workers: usize, figures: impl Future<Output = Figures>) -> Result<Figures, Failure> {
    // The default, where there are as many processors as domains: what it sees is that the benchmark has pinned this thread to one.
    let spin = if kernel::processors() > workers { Duration::from_micros(20) } else { Duration::ZERO };
    Builder::new().domains(workers).spin(spin).run(async { Plain(figures.await) }).map_err(|error| error.to_string().into())
}
