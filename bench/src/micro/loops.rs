//! The operations, each a loop inside a running executor.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::calls::Tally;
use super::executor::{Executor, Far, Orphans, Others};
use super::meter::{Figures, Meter};
use super::{BATCH, Kind, MANY, Operation, REST, TIMERS, TURNS, one, shuffled};
use crate::{Failure, counting};

/// Any of them; `None` if the executor has no such thing.
pub fn measure<E: Executor>(operation: Operation, meter: Meter) -> Result<Option<Figures>, Failure> {
    let count = operation.count;
    match operation.kind {
        Kind::SpawnAwait => E::run(spawn_await(meter, || E::spawn(one()))),
        Kind::SpawnAwaitMany => E::run(spawn_await_many(meter, || E::spawn(one()))),
        Kind::YieldTwo => E::run(take_turns::<E>(meter, 2)),
        Kind::YieldMany => E::run(take_turns::<E>(meter, MANY)),
        Kind::HandOff => E::run(hand_off::<E>(meter)),
        Kind::SpawnCancel if !E::CANCELS => return Ok(None),
        Kind::SpawnCancel => E::run(spawn_cancel::<E>(meter)),
        Kind::Timers => E::run(timers::<E>(meter)),
        Kind::Heap => E::run(heap::<E>(MANY * 10)),
        Kind::Call => E::elsewhere(Others::One, move |far| spawn_await(meter, move || far.call())),
        Kind::CallRested => E::elsewhere(Others::One, move |far| call_rested(meter, far)),
        Kind::CallAwake if !E::HEARS => return Ok(None),
        Kind::CallAwake => E::elsewhere(Others::Awake, move |far| spawn_await(meter, move || far.call())),
        Kind::CallMany => E::elsewhere(Others::One, move |far| spawn_await_many(meter, move || far.call())),
        Kind::CallsByOne if !E::SPREADS => return Ok(None),
        Kind::CallsByOne => E::elsewhere(Others::Spread(count), move |far| spawn_await_many(meter, move || far.call())),
        // One alone has nobody to call.
        Kind::CallsByAll if !E::SPREADS || count < 2 => return Ok(None),
        Kind::CallsByAll => E::elsewhere(Others::Spread(count), move |far| calls_by_all::<E>(meter, far, count)),
        Kind::WakeAmong => E::run(wake_among::<E>(meter, count)),
        Kind::SpawnAmong => E::run(spawn_among::<E>(meter, count)),
        Kind::TimerAmong => E::run(timer_among::<E>(meter, count)),
        Kind::OrphanAmong if !E::Orphans::THERE => return Ok(None),
        Kind::OrphanAmong => E::run(orphan_among::<E>(meter, count)),
    }
    .map(Some)
}

async fn spawn_await<T: Future<Output = u64>>(meter: Meter, spawn: impl Fn() -> T) -> Figures {
    let mut watch = meter.start();
    loop {
        for _ in 0..BATCH {
            black_box(spawn().await);
        }
        if let Some(figures) = watch.lap(BATCH) {
            return figures;
        }
    }
}

async fn spawn_await_many<T: Future<Output = u64>>(meter: Meter, spawn: impl Fn() -> T) -> Figures {
    let mut tasks = Vec::with_capacity(MANY);
    let mut watch = meter.start();
    loop {
        tasks.extend((0..MANY).map(|_| spawn()));
        for task in tasks.drain(..) {
            black_box(task.await);
        }
        if let Some(figures) = watch.lap(MANY) {
            return figures;
        }
    }
}

/// The others call each other; this thread only looks at how far they are.
async fn calls_by_all<E: Executor>(meter: Meter, far: E::Far, threads: usize) -> Figures {
    let tally = Arc::new(Tally::new(threads));
    let ended = far.all_call(&tally);
    let mut before = tally.sum();
    let mut watch = meter.start();
    loop {
        E::sleep(REST).await;
        let now = tally.sum();
        if now == before {
            continue;
        }
        if let Some(figures) = watch.lap(now - before) {
            tally.stop();
            ended.await;
            return figures;
        }
        before = now;
    }
}

/// Calls with so long a rest before each that the other thread has gone to sleep.
async fn call_rested(meter: Meter, far: impl Far) -> Figures {
    let mut watch = meter.start();
    loop {
        let rest = Instant::now();
        while rest.elapsed() < REST {
            std::hint::spin_loop();
        }
        let start = Instant::now();
        black_box(far.call().await);
        if let Some(figures) = watch.lap_of(1, Some(start.elapsed())) {
            return figures;
        }
    }
}

async fn take_turns<E: Executor>(meter: Meter, tasks: usize) -> Figures {
    let each = TURNS / tasks;
    let mut handles = Vec::with_capacity(tasks);
    let mut watch = meter.start();
    loop {
        handles.extend((0..tasks).map(|_| {
            E::spawn(async move {
                for _ in 0..each {
                    E::yield_now().await;
                }
                0
            })
        }));
        for handle in handles.drain(..) {
            handle.await;
        }
        if let Some(figures) = watch.lap(TURNS) {
            return figures;
        }
    }
}

/// Two tasks, of which each wakes the other and then waits to be woken.
async fn hand_off<E: Executor>(meter: Meter) -> Figures {
    let mut watch = meter.start();
    loop {
        let slots: Rc<[Slot; 2]> = Rc::default();
        let [first, second] = [0, 1].map(|me| {
            let slots = Rc::clone(&slots);
            E::spawn(async move {
                for _ in 0..TURNS / 2 {
                    // The second one begins by waiting.
                    if me == 1 {
                        wait(&slots[..], me).await;
                    }
                    slots[1 - me].release();
                    if me == 0 {
                        wait(&slots[..], me).await;
                    }
                }
                0
            })
        });
        first.await;
        second.await;
        if let Some(figures) = watch.lap(TURNS) {
            return figures;
        }
    }
}

/// A task that waits for nothing that will come is made, run once, and cancelled.
async fn spawn_cancel<E: Executor>(meter: Meter) -> Figures {
    let slots: Rc<[Slot; 1]> = Rc::default();
    let mut watch = meter.start();
    loop {
        for _ in 0..BATCH {
            let slots = Rc::clone(&slots);
            let task = E::spawn(async move {
                wait(&slots[..], 0).await;
                0
            });
            E::yield_now().await;
            E::cancel(task).await;
        }
        if let Some(figures) = watch.lap(BATCH) {
            return figures;
        }
    }
}

/// So many tasks that each sleep once, for 1 to 50 ms.
async fn timers<E: Executor>(meter: Meter) -> Figures {
    let times = shuffled(TIMERS);
    let mut tasks = Vec::with_capacity(TIMERS);
    let mut watch = meter.start();
    loop {
        tasks.extend(times.iter().map(|place| {
            let time = Duration::from_millis(1) + Duration::from_millis(49) * *place / TIMERS as u32;
            E::spawn(async move {
                E::sleep(time).await;
                0
            })
        }));
        for task in tasks.drain(..) {
            task.await;
        }
        if let Some(figures) = watch.lap(TIMERS) {
            return figures;
        }
    }
}

/// What is on the heap for each task that has begun to wait.
async fn heap<E: Executor>(count: usize) -> Figures {
    let mut waiting = Waiting::<E>::new(count);
    counting::start();
    waiting.fill().await;
    let live = counting::stop().live as f64 / count as f64;
    waiting.finish().await;
    Figures { live, ..Figures::default() }
}

/// One of so many waiting tasks is woken, runs, and waits again; they are woken in an order that has nothing to do with where
/// they are.
async fn wake_among<E: Executor>(meter: Meter, count: usize) -> Figures {
    let mut waiting = Waiting::<E>::new(count);
    if meter.counting {
        counting::start();
    }
    waiting.fill().await;
    // What is on the heap for each task: the counting window is that of making them.
    let live = if meter.counting { counting::stop().live as f64 / count as f64 } else { 0.0 };
    let batch = count.min(BATCH);
    let mut next = 0;
    let mut watch = Meter { counting: false, ..meter }.start();
    let figures = loop {
        let ran = waiting.shared.ran.get();
        for _ in 0..batch {
            waiting.shared.slots[next].release();
            next = (next + 1) % count;
        }
        while waiting.shared.ran.get() - ran < batch {
            E::yield_now().await;
        }
        if let Some(figures) = watch.lap(batch) {
            break figures;
        }
    };
    waiting.finish().await;
    Figures { live, ..figures }
}

async fn spawn_among<E: Executor>(meter: Meter, count: usize) -> Figures {
    let mut waiting = Waiting::<E>::new(count);
    waiting.fill().await;
    let figures = spawn_await(meter, || E::spawn(one())).await;
    waiting.finish().await;
    figures
}

/// A timer is set and given up while so many wait.
async fn timer_among<E: Executor>(meter: Meter, count: usize) -> Figures {
    let mut context = Context::from_waker(Waker::noop());
    let hour = |place: u32| E::sleep(Duration::from_secs(3600) + Duration::from_millis(u64::from(place)));
    let places = shuffled(count);
    let mut pending: Vec<_> = places.iter().map(|place| Box::pin(hour(*place))).collect();
    for sleep in &mut pending {
        assert!(sleep.as_mut().poll(&mut context).is_pending());
    }
    let mut next = 0;
    let mut watch = meter.start();
    let figures = loop {
        for _ in 0..BATCH {
            let mut sleep = pin!(hour(places[next]));
            assert!(sleep.as_mut().poll(&mut context).is_pending());
            next = (next + 1) % count;
        }
        if let Some(figures) = watch.lap(BATCH) {
            break figures;
        }
        // The executor has its turn, too: one that puts off what was given up does it now.
        E::yield_now().await;
    };
    drop(pending);
    figures
}

/// A child is made and collected while so many others of the same collector wait.
async fn orphan_among<E: Executor>(meter: Meter, count: usize) -> Figures {
    let slots: Rc<[Slot]> = (0..count).map(|_| Slot::default()).collect();
    let mut orphans = E::Orphans::default();
    for index in 0..count {
        let slots = Rc::clone(&slots);
        orphans.spawn(async move {
            wait(&slots, index).await;
            0
        });
    }
    E::yield_now().await;
    let mut watch = meter.start();
    let figures = loop {
        for _ in 0..BATCH {
            orphans.spawn(one());
            black_box(orphans.next().await);
        }
        if let Some(figures) = watch.lap(BATCH) {
            break figures;
        }
    };
    slots.iter().for_each(Slot::release);
    for _ in 0..count {
        orphans.next().await;
    }
    figures
}

/// Where one task waits.
#[derive(Default)]
struct Slot {
    go: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    fn release(&self) {
        self.go.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Until the slot is released, once.
async fn wait(slots: &[Slot], index: usize) {
    std::future::poll_fn(|context| {
        if slots[index].go.replace(false) {
            return Poll::Ready(());
        }
        *slots[index].waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Tasks that wait, each in a slot of its own.
struct Waiting<E: Executor> {
    shared: Rc<Shared>,
    /// Slots in the order in which their tasks are made.
    order: Vec<u32>,
    tasks: Vec<E::Task>,
}

struct Shared {
    slots: Vec<Slot>,
    /// How often one of them was woken.
    ran: Cell<usize>,
    ended: Cell<bool>,
}

/// What each of them is: 16 bytes.
struct Waiter {
    shared: Rc<Shared>,
    place: u32,
}

impl Future for Waiter {
    type Output = u64;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        let Shared { slots, ran, ended } = &*self.shared;
        let slot = &slots[self.place as usize];
        if slot.go.replace(false) {
            ran.set(ran.get() + 1);
            if ended.get() {
                return Poll::Ready(0);
            }
        }
        *slot.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<E: Executor> Waiting<E> {
    /// Room for them: what follows allocates nothing but the tasks.
    fn new(count: usize) -> Self {
        let slots = (0..count).map(|_| Slot::default()).collect();
        let shared = Rc::new(Shared { slots, ran: Cell::new(0), ended: Cell::new(false) });
        Self { shared, order: shuffled(count), tasks: Vec::with_capacity(count) }
    }

    /// Makes them, and waits until all wait.
    async fn fill(&mut self) {
        for &place in &self.order {
            self.tasks.push(E::spawn(Waiter { shared: Rc::clone(&self.shared), place }));
        }
        while self.shared.slots.iter().any(|slot| slot.waker.borrow().is_none()) {
            E::yield_now().await;
        }
    }

    /// Ends them.
    async fn finish(self) {
        self.shared.ended.set(true);
        self.shared.slots.iter().for_each(Slot::release);
        for task in self.tasks {
            task.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LocalTokio, Matou};
    use super::*;

    /// Each operation runs to its end on executors of both kinds, and gives a figure.
    #[test]
    fn every_operation_ends() {
        let meter = Meter { window: Duration::ZERO, counting: false };
        for kind in Kind::ALL {
            let operation = Operation { kind, count: 10 };
            // With two of them, who call each other.
            let operation = if kind == Kind::CallsByAll { Operation { count: 2, ..operation } } else { operation };
            for figures in [measure::<Matou>(operation, meter), measure::<LocalTokio>(operation, meter)] {
                let figures = figures.unwrap().unwrap();
                assert!((figures.time > 0.0 && figures.time.is_finite()) || kind == Kind::Heap, "{kind:?}: {figures}");
            }
        }
    }
}
