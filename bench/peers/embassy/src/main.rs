//! embassy-executor on one thread of a system with threads. Its tasks are static and have no results, so that a task that ends
//! tells its parent by a slot; it has no sockets, so that it is no echo server.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Poll, Waker};

use embassy_executor::{Executor, Spawner, task};
use matou_bench::Failure;
use matou_bench::counting::Counting;
use matou_bench::micro::{BATCH, Figures, Kind, MANY, Meter, Operation, TURNS, one};
use matou_bench::peer;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    peer::main(None, Some(measure))
}

/// No cancelling, no heap: there is none. Timers and calls are not its own matter, but its drivers'.
fn measure(operation: Operation, meter: Meter) -> Result<Option<Figures>, Failure> {
    if !matches!(operation.kind, Kind::SpawnAwait | Kind::SpawnAwaitMany | Kind::YieldTwo | Kind::YieldMany | Kind::HandOff) {
        return Ok(None);
    }
    let figures: Rc<Cell<Option<Figures>>> = Rc::default();
    let there = Rc::clone(&figures);
    // An executor is for ever: one for each window is left behind.
    let executor = Box::leak(Box::new(Executor::new()));
    executor.run_until(
        |spawner| spawner.spawn(main_task(spawner, operation.kind, meter, there).unwrap_or_else(|_| panic!("it has ended before"))),
        || figures.get().is_some(),
    );
    Ok(figures.get())
}

#[task]
async fn main_task(spawner: Spawner, kind: Kind, meter: Meter, there: Rc<Cell<Option<Figures>>>) {
    let mut watch = meter.start();
    let figures = loop {
        let operations = match kind {
            Kind::SpawnAwait => {
                for _ in 0..BATCH {
                    let done = Rc::<Slot>::default();
                    spawner.spawn(quick(Rc::clone(&done)).expect("one at a time"));
                    done.wait().await;
                }
                BATCH
            }
            Kind::SpawnAwaitMany => {
                let all: Vec<Rc<Slot>> = (0..MANY).map(|_| Rc::default()).collect();
                for done in &all {
                    spawner.spawn(quick(Rc::clone(done)).expect("the pool has room for them"));
                }
                for done in all {
                    done.wait().await;
                }
                MANY
            }
            Kind::HandOff => {
                let slots: Rc<[Slot; 3]> = Rc::default();
                for me in 0..2 {
                    spawner.spawn(hand_off(me, Rc::clone(&slots)).expect("two at a time"));
                }
                slots[2].wait().await;
                TURNS
            }
            kind => {
                let count = if kind == Kind::YieldTwo { 2 } else { MANY };
                let all: Vec<Rc<Slot>> = (0..count).map(|_| Rc::default()).collect();
                for done in &all {
                    spawner.spawn(turns(TURNS / count, Rc::clone(done)).expect("the pool has room for them"));
                }
                for done in all {
                    done.wait().await;
                }
                TURNS
            }
        };
        if let Some(figures) = watch.lap(operations) {
            break figures;
        }
    };
    there.set(Some(figures));
}

#[task(pool_size = 1000)]
async fn quick(done: Rc<Slot>) {
    one().await;
    done.release();
}

#[task(pool_size = 1000)]
async fn turns(count: usize, done: Rc<Slot>) {
    for _ in 0..count {
        let mut yielded = false;
        poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
    done.release();
}

/// The same as for the other executors; the second one's end is the end.
#[task(pool_size = 2)]
async fn hand_off(me: usize, slots: Rc<[Slot; 3]>) {
    for _ in 0..TURNS / 2 {
        if me == 1 {
            slots[me].wait().await;
        }
        slots[1 - me].release();
        if me == 0 {
            slots[me].wait().await;
        }
    }
    if me == 0 {
        // Its wait ended after the other's last release.
        slots[2].release();
    }
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

    async fn wait(&self) {
        poll_fn(|context| {
            if self.go.replace(false) {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
