//! Three tasks and a timer on matou.

#![no_std]
#![no_main]

#[path = "../board/mod.rs"]
mod board;

use core::convert::Infallible;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use core::time::Duration;

use matou_core::platform::{Events, Interrupt, Platform, Signals, Wait};
use matou_core::time::{self, Instant};
use matou_core::{Config, DomainId, PointId, TaskPool, run};

static TASKS: TaskPool<3, 128> = TaskPool::new();

async fn every(letter: u8, period: Duration, times: u32) {
    for _ in 0..times {
        time::sleep(period).await;
        board::write(letter);
    }
}

/// As a constant, so that no program divides to make a duration: embassy's are ticks.
const fn task(index: usize) -> (u8, Duration, u32) {
    let (letter, period, times) = board::TASKS[index];
    (letter, Duration::from_millis(period), times)
}

fn main() -> ! {
    board::start();
    let ended = run(&Board, Config::new(), async {
        let tasks = [const { task(0) }, const { task(1) }, const { task(2) }].map(|(letter, period, times)| {
            let Ok(task) = TASKS.spawn(every(letter, period, times)) else { panic!("there are three places") };
            task
        });
        for task in tasks {
            let _ = task.await;
        }
    });
    assert!(ended.is_ok());
    board::finish()
}

/// The handler of an interrupt that is pending ends the sleep: that of a tick need say no more.
fn ticked() {}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

struct Board;

struct Clock;

struct Flag;

impl Interrupt for Flag {
    fn interrupt(&self) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
}

impl Events for Clock {
    type Interrupt = Flag;
    type Error = Infallible;

    fn interrupter(&self) -> Flag {
        Flag
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::from(board::ticks()) * 1_000_000)
    }

    fn select(&mut self, wait: Wait, _: &[PointId], _: &mut Signals<'_>) -> Result<(), Infallible> {
        let deadline = match wait {
            Wait::No => Instant::from_nanos(0),
            Wait::Until(deadline) => deadline,
            Wait::Forever => Instant::MAX,
        };
        while self.now() < deadline {
            // With interrupts off, so that none comes between the look and the sleep. A pending one ends the sleep all the same.
            let interrupted = critical_section::with(|_| {
                let interrupted = INTERRUPTED.load(Ordering::Relaxed);
                if !interrupted {
                    board::sleep();
                }
                interrupted
            });
            if interrupted {
                break;
            }
        }
        INTERRUPTED.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl Platform for Board {
    type Error = Infallible;
    type Events = Clock;

    fn events(&self, _: DomainId) -> Result<Clock, Infallible> {
        Ok(Clock)
    }

    fn domains(&self, _: usize, _: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), Infallible> {
        main();
        Ok(())
    }
}

struct OneThread;

static CURRENT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

// SAFETY: one thread of execution beside the handlers, and in a handler it is null.
unsafe impl matou_core::Context for OneThread {
    fn get() -> *mut () {
        if board::in_a_handler() { ptr::null_mut() } else { CURRENT.load(Ordering::Relaxed) }
    }

    fn set(value: *mut ()) {
        CURRENT.store(value, Ordering::Relaxed);
    }
}

matou_core::set_context!(OneThread);
