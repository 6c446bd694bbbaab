//! What a board brings: a clock, a sleep that an interrupt ends, and a serial line whose interrupt handler puts bytes into a queue.
//!
//! It is the whole of a platform for one core: an [`Events`] whose `select` looks at the queue and waits for an interrupt, an [`Interrupt`] that is
//! a flag, and a [`Platform`] that calls `main`.

#[cfg(target_arch = "arm")]
#[path = "lm3s6965.rs"]
mod chip;
#[cfg(target_arch = "riscv32")]
#[path = "virt.rs"]
mod chip;

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::task::Waker;

use critical_section::Mutex;
use heapless::Deque;
use matou_core::platform::{Events, Interrupt, Platform, Signals, Wait};
use matou_core::suspension::{Point, PointError};
use matou_core::sync::Channel;
use matou_core::time::Instant;
use matou_core::{DomainId, PointId};

pub use chip::{raise, send};

/// Bytes that came, and were not read.
static QUEUE: Mutex<RefCell<Deque<u8, 64>>> = Mutex::new(RefCell::new(Deque::new()));
/// The same bytes once more, for who receives from a channel that the handler sends to.
pub static BYTES: Channel<u8, 64> = Channel::new();
/// Something happened since `select` last looked.
static EVENT: AtomicBool = AtomicBool::new(false);
/// Who waits for a byte.
static READER: Mutex<Cell<Option<PointId>>> = Mutex::new(Cell::new(None));
/// What the handler of a raised interrupt wakes.
static ON_RAISE: Mutex<RefCell<Option<Waker>>> = Mutex::new(RefCell::new(None));
static SLEEPS: AtomicU32 = AtomicU32::new(0);
static GIVEN_UP: AtomicU32 = AtomicU32::new(0);

/// How often the processor was put to sleep.
pub fn sleeps() -> u32 {
    SLEEPS.load(Ordering::Relaxed)
}

/// How many points were given up and told so.
pub fn given_up() -> u32 {
    GIVEN_UP.load(Ordering::Relaxed)
}

/// A counter with one writer, on processors that cannot add in one step, too.
fn count(counter: &AtomicU32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// A byte came. In an interrupt handler.
fn received(byte: u8) {
    critical_section::with(|section| {
        // A byte for which there is no room is lost, as the hardware's own queue would lose it.
        let _ = QUEUE.borrow_ref_mut(section).push_back(byte);
    });
    let _ = BYTES.try_send(byte);
}

/// An interrupt was handled.
fn raised() {
    EVENT.store(true, Ordering::Relaxed);
    if let Some(waker) = critical_section::with(|section| ON_RAISE.borrow_ref_mut(section).take()) {
        waker.wake();
    }
}

/// Has the next interrupt's handler wake this.
pub fn wake_on_raise(waker: Waker) {
    let old = critical_section::with(|section| ON_RAISE.borrow_ref_mut(section).replace(waker));
    drop(old);
}

/// Waits for the next byte.
pub async fn read() -> Result<u8, PointError> {
    loop {
        if let Some(byte) = critical_section::with(|section| QUEUE.borrow_ref_mut(section).pop_front()) {
            return Ok(byte);
        }
        let register = |point| {
            critical_section::with(|section| READER.borrow(section).set(Some(point)));
            Ok::<_, PointError>(())
        };
        Point::new()?.suspend(register).await?;
    }
}

pub struct Board;

pub struct Source;

pub struct Flag;

impl Interrupt for Flag {
    fn interrupt(&self) {
        // On one core nobody sleeps while this runs, but in a handler: the sleep looks once more before it begins.
        EVENT.store(true, Ordering::Relaxed);
    }
}

impl Events for Source {
    type Interrupt = Flag;
    type Error = Infallible;

    fn interrupter(&self) -> Flag {
        Flag
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(chip::ticks() * chip::TICK)
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), Infallible> {
        critical_section::with(|section| {
            let reader = READER.borrow(section);
            for point in cancelled {
                count(&GIVEN_UP);
                if reader.get() == Some(*point) {
                    reader.set(None);
                }
            }
        });
        let deadline = match wait {
            Wait::No => None,
            Wait::Until(deadline) => Some(deadline.as_nanos().div_ceil(chip::TICK)),
            Wait::Forever => Some(u64::MAX),
        };
        if let Some(deadline) = deadline {
            chip::wake_at(deadline);
            while chip::ticks() < deadline {
                // With interrupts off, so that none comes between the look and the sleep. A pending one ends the sleep all the same.
                let happened = critical_section::with(|section| {
                    let readable = !QUEUE.borrow_ref(section).is_empty() && READER.borrow(section).get().is_some();
                    let happened = readable || EVENT.load(Ordering::Relaxed);
                    if !happened {
                        count(&SLEEPS);
                        chip::sleep();
                    }
                    happened
                });
                if happened {
                    break;
                }
            }
        }
        EVENT.store(false, Ordering::Relaxed);
        let reader = critical_section::with(|section| {
            let arrived = !QUEUE.borrow_ref(section).is_empty();
            if arrived { READER.borrow(section).take() } else { None }
        });
        if let Some(point) = reader {
            signals.resume(point);
        }
        Ok(())
    }
}

impl Platform for Board {
    type Error = Infallible;
    type Events = Source;

    fn events(&self, _: DomainId) -> Result<Source, Infallible> {
        chip::start();
        Ok(Source)
    }

    fn domains(&self, _: usize, _: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), Infallible> {
        main();
        Ok(())
    }
}
