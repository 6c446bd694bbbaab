//! Three tasks and a timer on embassy-executor.

#![no_std]
#![no_main]

#[path = "../board/mod.rs"]
mod board;

use core::cell::RefCell;
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::Waker;

use critical_section::Mutex;
use embassy_executor::Executor;
use embassy_time::Timer;
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;

/// Nobody awaits an embassy task: the last one ends the program.
static LEFT: AtomicU32 = AtomicU32::new(board::TASKS.len() as u32);

#[embassy_executor::task(pool_size = 3)]
async fn every(letter: u8, period: u64, times: u32) {
    for _ in 0..times {
        Timer::after_millis(period).await;
        board::write(letter);
    }
    if board::add(&LEFT, u32::MAX) == 0 {
        board::finish();
    }
}

fn main() -> ! {
    static mut EXECUTOR: MaybeUninit<Executor> = MaybeUninit::uninit();
    board::start();
    // SAFETY: `main` is called once.
    let executor = unsafe { (*ptr::addr_of_mut!(EXECUTOR)).write(Executor::new()) };
    executor.run(|spawner| {
        for (letter, period, times) in board::TASKS {
            let Ok(task) = every(letter, period, times) else { panic!("there are three places") };
            spawner.spawn(task);
        }
    })
}

/// Wakes whose time has come.
fn ticked() {
    if DRIVER.next.load(Ordering::Relaxed) <= board::ticks() {
        critical_section::with(|section| DRIVER.look(&mut DRIVER.queue.borrow_ref_mut(section)));
    }
}

/// The clock, as embassy wants it: the earliest of its timers is looked for when a tick passes it.
struct Ticks {
    queue: Mutex<RefCell<Queue>>,
    next: AtomicU32,
}

embassy_time_driver::time_driver_impl!(static DRIVER: Ticks = Ticks { queue: Mutex::new(RefCell::new(Queue::new())), next: AtomicU32::new(u32::MAX) });

impl Ticks {
    fn look(&self, queue: &mut Queue) {
        let next = queue.next_expiration(self.now());
        self.next.store(u32::try_from(next).unwrap_or(u32::MAX), Ordering::Relaxed);
    }
}

impl Driver for Ticks {
    fn now(&self) -> u64 {
        board::ticks().into()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|section| {
            let mut queue = self.queue.borrow_ref_mut(section);
            if queue.schedule_wake(at, waker) {
                self.look(&mut queue);
            }
        });
    }
}
