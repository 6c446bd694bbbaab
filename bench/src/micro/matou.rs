//! The operations on matou: domain 0 alone, and for calls one worker domain.

use std::hint::black_box;
use std::time::Duration;

use matou_unix::{Builder, Plain, Promise, call, spawn, yield_now};

use super::{BATCH, Figures, MANY, Meter, Operation, TURNS, step_aside};
use crate::Failure;
use crate::kernel;

/// With `spawn` and `call`.
pub fn run(operation: Operation, meter: Meter) -> Result<Figures, Failure> {
    match operation {
        Operation::SpawnAwait => within(0, spawn_await(meter, || spawn(one()))),
        Operation::SpawnAwaitMany => within(0, spawn_await_many(meter, || spawn(one()))),
        Operation::YieldTwo => within(0, take_turns(meter, 2)),
        Operation::YieldMany => within(0, take_turns(meter, MANY)),
        Operation::Call => within(1, async move {
            clear_the_way().await;
            spawn_await(meter, far).await
        }),
        Operation::CallMany => within(1, async move {
            clear_the_way().await;
            spawn_await_many(meter, far).await
        }),
    }
}

fn within(workers: usize, figures: impl Future<Output = Figures>) -> Result<Figures, Failure> {
    // The default, where the process may use as many processors as it has domains: the benchmark has pinned this thread to one.
    let spin = if kernel::processors() > 1 { Duration::from_micros(20) } else { Duration::ZERO };
    Builder::new().domains(workers).spin(spin).run(async { Plain(figures.await) }).map_err(|error| error.to_string().into())
}

/// The worker starts on the core of the thread that made it.
async fn clear_the_way() {
    let moved = call(|| async { step_aside() }).unwrap_or_else(|_| unreachable!("there is a worker"));
    result(moved).await;
}

fn far() -> Promise<u64> {
    call(one).unwrap_or_else(|_| unreachable!("there is a worker"))
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

async fn spawn_await(meter: Meter, spawn: impl Fn() -> Promise<u64>) -> Figures {
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

async fn spawn_await_many(meter: Meter, spawn: impl Fn() -> Promise<u64>) -> Figures {
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

async fn take_turns(meter: Meter, tasks: usize) -> Figures {
    let each = TURNS / tasks;
    let mut promises = Vec::with_capacity(tasks);
    let mut watch = meter.start();
    loop {
        promises.extend((0..tasks).map(|_| spawn(turns(each))));
        for promise in promises.drain(..) {
            result(promise).await;
        }
        if let Some(figures) = watch.lap(TURNS) {
            return figures;
        }
    }
}

/// The tasks here neither panic nor are cancelled; should one, the figures would mean nothing.
async fn result<T>(promise: Promise<T>) -> T {
    promise.await.expect("a task that only counts")
}
