//! What an executor has to bring to be measured. The operations themselves are the same code for all: [`super::loops`].

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::calls::Tally;
use super::meter::Figures;
use super::{one, step_aside};
use crate::Failure;

/// One thread that runs tasks.
pub trait Executor: Sized + 'static {
    /// What a spawned task's parent keeps, and awaits.
    type Task: Future<Output = u64> + 'static;
    /// Another thread's executor, as this one sees it.
    type Far: Far;
    /// What collects children whose order of ending is not known.
    type Orphans: Orphans;
    /// Whether a task can be cancelled.
    const CANCELS: bool;
    /// Whether another thread is heard while there is always something to run.
    const HEARS: bool = true;
    /// Whether calls can be spread over several threads.
    const SPREADS: bool = false;

    /// Runs something as a task, because that is where a program does its work: a future given to `block_on` may be served
    /// worse.
    fn run(measure: impl Future<Output = Figures> + 'static) -> Result<Figures, Failure>;

    /// Makes a task.
    fn spawn(future: impl Future<Output = u64> + 'static) -> Self::Task;

    /// Leaves a task to itself.
    fn detach(task: Self::Task) {
        drop(task);
    }

    /// Cancels a task that has not ended, and waits until it is gone.
    fn cancel(task: Self::Task) -> impl Future<Output = ()>;

    /// Lets the others run. By default what anyone can write: be woken at once.
    fn yield_now() -> impl Future<Output = ()> {
        let mut yielded = false;
        poll_fn(move |context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Waits for a time.
    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static;

    /// Runs `measure` while other threads run the same executor.
    fn elsewhere<F>(others: Others, measure: impl FnOnce(Self::Far) -> F + 'static) -> Result<Figures, Failure>
    where
        F: Future<Output = Figures> + 'static;
}

/// The other threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// One, which sleeps while nothing is asked of it.
    One,
    /// One; it and the one that measures have a task that does nothing but yield, so that neither ever sleeps.
    Awake,
    /// So many, among which calls are spread; of an executor that [`SPREADS`](Executor::SPREADS).
    Spread(usize),
}

impl Others {
    /// Whether nobody is to sleep.
    pub fn awake(self) -> bool {
        self == Self::Awake
    }
}

/// Another thread, on which tasks can be made.
pub trait Far: 'static {
    /// A call under way.
    type Call: Future<Output = u64> + 'static;
    /// Makes a task there that returns a number, which is waited for.
    fn call(&self) -> Self::Call;

    /// Has all the other threads call each other until [`Tally::stop`]; of an executor that [`SPREADS`](Executor::SPREADS).
    fn all_call(&self, _: &Arc<Tally>) -> impl Future<Output = ()> + 'static {
        async {}
    }
}

/// Children that are collected as they end.
pub trait Orphans: Default + 'static {
    /// Whether there is such a thing.
    const THERE: bool = true;
    /// One more.
    fn spawn(&mut self, future: impl Future<Output = u64> + 'static);
    /// The next one that ends.
    fn next(&mut self) -> impl Future<Output = u64>;
}

/// Of an executor that has none.
#[derive(Debug, Default)]
pub struct NoOrphans;

impl Orphans for NoOrphans {
    const THERE: bool = false;

    fn spawn(&mut self, _: impl Future<Output = u64> + 'static) {}

    async fn next(&mut self) -> u64 {
        0
    }
}

/// A thread that is asked by a channel, and answers by another: for executors that cannot make a task on another thread.
#[derive(Clone, Debug)]
pub struct ByChannel(mpsc::UnboundedSender<oneshot::Sender<u64>>);

/// Its answer.
#[derive(Debug)]
pub struct Answer(oneshot::Receiver<u64>);

impl Future for Answer {
    type Output = u64;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.expect("the other thread answers"))
    }
}

impl Far for ByChannel {
    type Call = Answer;

    fn call(&self) -> Answer {
        let (reply, answer) = oneshot::channel();
        // One that is gone shows when the answer does not come.
        let _ = self.0.send(reply);
        Answer(answer)
    }
}

/// [`Executor::elsewhere`] with such a thread.
pub fn by_channel<E, F>(others: Others, measure: impl FnOnce(ByChannel) -> F + 'static) -> Result<Figures, Failure>
where
    E: Executor<Far = ByChannel>,
    F: Future<Output = Figures> + 'static,
{
    let (sender, mut questions) = mpsc::unbounded_channel::<oneshot::Sender<u64>>();
    let far = move || async move {
        let spinner = others.awake().then(Spinner::<E>::start);
        while let Some(reply) = questions.recv().await {
            E::detach(E::spawn(async move {
                let number = one().await;
                // Whoever asked is there until the answer has come.
                let _ = reply.send(number);
                number
            }));
        }
        if let Some(spinner) = spinner {
            spinner.stop().await;
        }
        Figures::default()
    };
    thread::scope(|scope| {
        let thread = scope.spawn(move || {
            step_aside(0);
            E::run(far()).map(drop).map_err(|error| error.to_string())
        });
        let figures = E::run(async move {
            let spinner = others.awake().then(Spinner::<E>::start);
            let figures = measure(ByChannel(sender)).await;
            if let Some(spinner) = spinner {
                spinner.stop().await;
            }
            figures
        });
        thread.join().map_err(|_| "the other thread panicked")??;
        figures
    })
}

/// A task that keeps its thread awake.
#[derive(Debug)]
pub struct Spinner<E: Executor> {
    task: Pin<Box<E::Task>>,
    stop: std::rc::Rc<std::cell::Cell<bool>>,
}

impl<E: Executor> Spinner<E> {
    /// From now on.
    pub fn start() -> Self {
        let stop = std::rc::Rc::new(std::cell::Cell::new(false));
        let stopped = std::rc::Rc::clone(&stop);
        let task = E::spawn(async move {
            while !stopped.get() {
                E::yield_now().await;
            }
            0
        });
        Self { task: Box::pin(task), stop }
    }

    /// Until now.
    pub async fn stop(self) {
        self.stop.set(true);
        self.task.await;
    }
}
