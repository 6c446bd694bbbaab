//! The operations on tokio: one thread, tasks that may move ([`send`]) and tasks that may not ([`local`], a `LocalSet`).
//! A call goes to a second runtime of one thread, through its handle.

use std::hint::black_box;
use std::pin::Pin;
use std::thread;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local, yield_now};

use super::{BATCH, Figures, MANY, Meter, Operation, TURNS, step_aside};
use crate::Failure;

/// With `tokio::spawn`.
pub fn send(operation: Operation, meter: Meter) -> Result<Figures, Failure> {
    let run = |figures: Send| runtime()?.block_on(async { Ok(tokio::spawn(figures).await?) });
    match operation {
        Operation::SpawnAwait => run(Box::pin(spawn_await(meter, || tokio::spawn(one())))),
        Operation::SpawnAwaitMany => run(Box::pin(spawn_await_many(meter, || tokio::spawn(one())))),
        Operation::YieldTwo => run(Box::pin(take_turns(meter, 2, |n| tokio::spawn(turns(n))))),
        Operation::YieldMany => run(Box::pin(take_turns(meter, MANY, |n| tokio::spawn(turns(n))))),
        Operation::Call => elsewhere(|far| run(Box::pin(spawn_await(meter, move || far.spawn(one()))))),
        Operation::CallMany => elsewhere(|far| run(Box::pin(spawn_await_many(meter, move || far.spawn(one()))))),
    }
}

/// With `spawn_local`.
pub fn local(operation: Operation, meter: Meter) -> Result<Figures, Failure> {
    let run = |figures: Local| LocalSet::new().block_on(&runtime()?, async { Ok(spawn_local(figures).await?) });
    match operation {
        Operation::SpawnAwait => run(Box::pin(spawn_await(meter, || spawn_local(one())))),
        Operation::SpawnAwaitMany => run(Box::pin(spawn_await_many(meter, || spawn_local(one())))),
        Operation::YieldTwo => run(Box::pin(take_turns(meter, 2, |n| spawn_local(turns(n))))),
        Operation::YieldMany => run(Box::pin(take_turns(meter, MANY, |n| spawn_local(turns(n))))),
        Operation::Call => elsewhere(|far| run(Box::pin(spawn_await(meter, move || far.spawn(one()))))),
        Operation::CallMany => elsewhere(|far| run(Box::pin(spawn_await_many(meter, move || far.spawn(one()))))),
    }
}

// The measuring itself is a task, because that is where a program does its work: the future given to `block_on` is served
// worse than tasks, with a system call each time it has waited.
type Send = Pin<Box<dyn Future<Output = Figures> + std::marker::Send>>;
type Local = Pin<Box<dyn Future<Output = Figures>>>;

fn runtime() -> Result<Runtime, Failure> {
    // With I/O, as whoever serves anything has it: without, an idle runtime waits on a condition variable instead.
    Ok(Builder::new_current_thread().enable_io().build()?)
}

async fn one() -> u64 {
    black_box(1)
}

async fn turns(count: usize) -> u64 {
    for _ in 0..count {
        yield_now().await;
    }
    0
}

async fn spawn_await(meter: Meter, spawn: impl Fn() -> JoinHandle<u64>) -> Figures {
    let mut watch = meter.start();
    loop {
        for _ in 0..BATCH {
            black_box(result(spawn()).await);
        }
        if let Some(figures) = watch.lap(BATCH) {
            return figures;
        }
    }
}

async fn spawn_await_many(meter: Meter, spawn: impl Fn() -> JoinHandle<u64>) -> Figures {
    let mut tasks = Vec::with_capacity(MANY);
    let mut watch = meter.start();
    loop {
        tasks.extend((0..MANY).map(|_| spawn()));
        for task in tasks.drain(..) {
            black_box(result(task).await);
        }
        if let Some(figures) = watch.lap(MANY) {
            return figures;
        }
    }
}

async fn take_turns(meter: Meter, tasks: usize, spawn: impl Fn(usize) -> JoinHandle<u64>) -> Figures {
    let turns = TURNS / tasks;
    let mut handles = Vec::with_capacity(tasks);
    let mut watch = meter.start();
    loop {
        handles.extend((0..tasks).map(|_| spawn(turns)));
        for handle in handles.drain(..) {
            result(handle).await;
        }
        if let Some(figures) = watch.lap(TURNS) {
            return figures;
        }
    }
}

/// Runs a second runtime on another thread meanwhile.
fn elsewhere(measure: impl FnOnce(Handle) -> Result<Figures, Failure>) -> Result<Figures, Failure> {
    let far = runtime()?;
    let handle = far.handle().clone();
    let (stop, stopped) = oneshot::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            step_aside();
            // Ends with an error when `stop` is dropped, which is as good.
            let _ = far.block_on(stopped);
        });
        let figures = measure(handle);
        drop(stop);
        figures
    })
}

/// The tasks here neither panic nor are aborted; should one, the figures would mean nothing.
async fn result(task: JoinHandle<u64>) -> u64 {
    task.await.expect("a task that only counts")
}
