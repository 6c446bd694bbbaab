//! The operations.

use std::future::{Future, pending, poll_fn};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use matou_core::suspension::Point;
use matou_core::sync::{Mutex, Notify, channel};
use matou_core::time::{Sleep, sleep};
use matou_core::{Care, Config, Orphans, Promise, run, spawn, yield_now};

use crate::Kind;
use crate::platform::{Manual, register};

/// Tasks that exist at once, where there are many.
const MANY: usize = 1_000;

/// Something to be counted.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// What it is called in the tables.
    pub name: &'static str,
    /// How often it is done; and twice as often, for the difference.
    pub times: usize,
    /// How many timers there are at once, of an operation that must not cost more than their logarithm.
    pub timers: Option<usize>,
    work: Work,
}

#[derive(Clone, Copy, Debug)]
enum Work {
    SpawnAwait,
    SpawnAwaitMany,
    Yield(usize),
    Notify,
    Channel,
    SpawnCancel,
    SpawnRunCancel,
    Timers(usize),
    Care,
    Next,
    Mutex,
    Point,
}

const fn operation(name: &'static str, work: Work) -> Operation {
    Operation { name, times: 2 * MANY, timers: None, work }
}

const fn timers(name: &'static str, count: usize) -> Operation {
    let times = if count < MANY { MANY } else { count };
    Operation { name, times, timers: Some(count), work: Work::Timers(count) }
}

/// What is done beside anything.
pub const OPERATIONS: [Operation; 12] = [
    operation("spawn + await", Work::SpawnAwait),
    operation("spawn + await, 1000 at once", Work::SpawnAwaitMany),
    operation("yield, 2 tasks", Work::Yield(2)),
    operation("yield, 1000 tasks", Work::Yield(MANY)),
    operation("hand-off, Notify", Work::Notify),
    operation("hand-off, channel", Work::Channel),
    operation("spawn + cancel", Work::SpawnCancel),
    operation("spawn, run, cancel", Work::SpawnRunCancel),
    operation("Orphans: spawn, care, await", Work::Care),
    operation("Orphans: spawn, next", Work::Next),
    operation("lock, unlock", Work::Mutex),
    operation("suspend, resume", Work::Point),
];

/// Timers of 1 to 50 ms, a task each, so many at once; per timer.
pub const TIMERS: [Operation; 4] = [
    timers("timers, 100 at once", 100),
    timers("timers, 1000 at once", 1_000),
    timers("timers, 10000 at once", 10_000),
    timers("timers, 100000 at once", 100_000),
];

/// What `--full` adds to [`TIMERS`].
pub const MORE_TIMERS: Operation = timers("timers, 1000000 at once", 1_000_000);

/// A child of those that are kept beside.
type Kept = Promise<u64>;

/// What is beside the operations.
#[derive(Debug, Default)]
pub struct Beside {
    orphans: Orphans<u64>,
    tasks: Vec<Kept>,
    timers: Vec<Pin<Box<Sleep>>>,
}

impl Beside {
    /// So many of this kind, all waiting.
    pub async fn new(kind: Kind, count: usize) -> Beside {
        let mut beside = Beside::default();
        match kind {
            Kind::Tasks => beside.tasks.extend((0..count).map(|_| spawn(pending::<u64>()))),
            Kind::Orphans => (0..count).for_each(|_| {
                beside.orphans.spawn(pending::<u64>());
            }),
            Kind::Timers => {
                let mut random = Random(1);
                for _ in 0..count {
                    let mut timer = Box::pin(sleep(Duration::from_secs(3600 + random.below(3600))));
                    poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx).is_pending())).await;
                    beside.timers.push(timer);
                }
            }
        }
        // They have run, and wait.
        yield_now().await;
        beside
    }
}

/// Runs this as the main task.
pub fn within<T>(main: impl Future<Output = T>) -> T {
    run(&Manual, Config::new(), async { matou_core::Plain(main.await) }).unwrap_or_else(|error| panic!("{error}"))
}

impl Operation {
    /// Does it so many times, in a task of its own where it can: one that does nothing else.
    pub async fn run(self, times: usize, beside: &Beside) {
        match self.work {
            Work::SpawnAwait => ended(spawn(spawn_await(times))).await,
            Work::SpawnAwaitMany => ended(spawn(spawn_await_many(times))).await,
            Work::Yield(tasks) => {
                let tasks: Vec<_> = (0..tasks).map(|_| spawn(turns(times / tasks))).collect();
                for task in tasks {
                    ended(task).await;
                }
            }
            Work::Notify => ended(spawn(notify(times))).await,
            Work::Channel => ended(spawn(exchange(times))).await,
            Work::SpawnCancel => ended(spawn(spawn_cancel(times))).await,
            Work::SpawnRunCancel => ended(spawn(spawn_run_cancel(times))).await,
            Work::Timers(count) => ended(spawn(timers_at_once(count, times / count))).await,
            Work::Care => care(times, &beside.orphans).await,
            Work::Next => next(times, &beside.orphans).await,
            Work::Mutex => ended(spawn(lock(times))).await,
            Work::Point => ended(spawn(suspend(times))).await,
        }
    }
}

async fn spawn_await(times: usize) {
    for _ in 0..times {
        black_box(ended(spawn(one())).await);
    }
}

async fn spawn_await_many(times: usize) {
    let mut tasks = Vec::with_capacity(MANY);
    for _ in 0..times / MANY {
        tasks.extend((0..MANY).map(|_| spawn(one())));
        for task in tasks.drain(..) {
            black_box(ended(task).await);
        }
    }
}

async fn turns(count: usize) {
    for _ in 0..count {
        yield_now().await;
    }
}

async fn spawn_cancel(times: usize) {
    for _ in 0..times {
        spawn(pending::<u64>()).cancel().await;
    }
}

async fn spawn_run_cancel(times: usize) {
    for _ in 0..times {
        let task = spawn(pending::<u64>());
        yield_now().await;
        task.cancel().await;
    }
}

async fn timers_at_once(count: usize, rounds: usize) {
    let mut random = Random(2);
    for _ in 0..rounds {
        let tasks: Vec<_> = (0..count).map(|_| spawn(sleep(Duration::from_nanos(1_000_000 + random.below(49_000_000))))).collect();
        for task in tasks {
            ended(task).await;
        }
    }
}

async fn care(times: usize, orphans: &Orphans<u64>) {
    for _ in 0..times {
        orphans.spawn(one());
        yield_now().await;
        match orphans.care() {
            Care::Ready(promise) => black_box(ended(promise).await),
            Care::Pending | Care::Empty => panic!("it has ended"),
        };
    }
}

async fn next(times: usize, orphans: &Orphans<u64>) {
    for _ in 0..times {
        orphans.spawn(one());
        black_box(orphans.next().await.expect("there is one").expect("it ends"));
    }
}

async fn lock(times: usize) {
    let mutex = Mutex::new(0);
    for _ in 0..times {
        *mutex.lock().await += 1;
    }
    assert_eq!(mutex.into_inner(), times);
}

async fn suspend(times: usize) {
    for _ in 0..times {
        let point = Point::new().expect("there are events");
        let suspended = point.suspend(|id| {
            register(id);
            Ok::<(), ()>(())
        });
        pin!(suspended).await.expect("it is registered");
    }
}

async fn one() -> u64 {
    black_box(1)
}

async fn ended<T>(promise: Promise<T>) -> T {
    promise.await.expect("a task that ends normally")
}

/// Two tasks that wake each other in turn, so often in all.
async fn notify(times: usize) {
    static THERE: Notify = Notify::new();
    static HERE: Notify = Notify::new();
    let other = spawn(async move {
        for _ in 0..times / 2 {
            THERE.notified().await;
            HERE.notify_one();
        }
    });
    for _ in 0..times / 2 {
        THERE.notify_one();
        HERE.notified().await;
    }
    ended(other).await;
}

/// Two tasks that send each other a value in turn, so often in all.
async fn exchange(times: usize) {
    let (to, mut there) = channel(1);
    let (back, mut here) = channel(1);
    let other = spawn(async move {
        for _ in 0..times / 2 {
            let value: u64 = there.receive().await.expect("it is sent");
            back.send(value).await.expect("it is received");
        }
    });
    for number in 0..times as u64 / 2 {
        to.send(number).await.expect("it is received");
        assert_eq!(here.receive().await.expect("it is sent"), number);
    }
    ended(other).await;
}

/// Marsaglia's xorshift: the same numbers each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
