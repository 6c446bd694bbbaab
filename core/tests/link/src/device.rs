//! A machine made by hand: a clock that moves only when everybody sleeps, a device whose events come in the order of a script, and a line
//! that an interrupt handler raises.
//!
//! It is what a board brings: an [`Events`] of a page, an [`Interrupt`], a [`Platform`] with one domain, and the slot of the one
//! thread of execution there is. All of it lies in cells, as nothing else runs beside.

use core::cell::{Cell, RefCell};
use core::pin::Pin;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use core::task::{Context, Poll, Waker};

use matou_core::platform::{Events, Interrupt, Platform, Signals, Wait};
use matou_core::suspension::{Point, PointError};
use matou_core::time::Instant;
use matou_core::{DomainId, PointId};

/// One thread of execution: one slot.
struct OneThread;

static CURRENT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

// SAFETY: this program has one thread of execution, and `in_a_handler` empties the slot as long as it plays an interrupt handler.
unsafe impl matou_core::Context for OneThread {
    fn get() -> *mut () {
        CURRENT.load(Ordering::Relaxed)
    }

    fn set(value: *mut ()) {
        CURRENT.store(value, Ordering::Relaxed);
    }
}

matou_core::set_context!(OneThread);

/// Does what an interrupt handler would: there, no domain is current.
fn in_a_handler(handler: impl FnOnce()) {
    let interrupted = CURRENT.swap(ptr::null_mut(), Ordering::Relaxed);
    handler();
    CURRENT.store(interrupted, Ordering::Relaxed);
}

/// What the device and the runtime tell each other.
#[derive(Default)]
pub struct Device {
    now: Cell<u64>,
    /// Who waits for the device, by channel.
    waiting: RefCell<[Option<PointId>; 4]>,
    /// The channels whose events are still to come, in that order.
    script: Cell<&'static [usize]>,
    /// Who waits for the line; and whether it was raised.
    handler: Cell<Option<Waker>>,
    raised: Cell<bool>,
    /// How often a point was told to be given up, and how often the domain slept.
    pub given_up: Cell<u32>,
    pub sleeps: Cell<u32>,
}

/// How often the runtime interrupted the sleep. An `Interrupt` may be called from anywhere, so this is an atomic.
static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

pub fn interrupts() -> u32 {
    INTERRUPTS.load(Ordering::Relaxed)
}

pub struct Line;

impl Interrupt for Line {
    fn interrupt(&self) {
        INTERRUPTS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why a wait for the device failed.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no suspension point.
    NoPoint(PointError),
    /// Somebody waits for that channel already.
    Taken,
}

impl Device {
    /// Sets the order in which events come from now on.
    pub fn play(&self, script: &'static [usize]) {
        self.script.set(script);
    }

    /// Waits for the next event of a channel.
    pub async fn event(&self, channel: usize) -> Result<(), Refused> {
        let point = Point::new().map_err(Refused::NoPoint)?;
        point
            .suspend(|id| {
                let place = &mut self.waiting.borrow_mut()[channel];
                if place.is_some() {
                    return Err(Refused::Taken);
                }
                *place = Some(id);
                Ok(())
            })
            .await
    }

    /// Waits until the interrupt handler has raised the line.
    pub fn line(&self) -> impl Future<Output = ()> {
        Raised(self)
    }
}

struct Raised<'a>(&'a Device);

impl Future for Raised<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.raised.take() {
            return Poll::Ready(());
        }
        self.0.handler.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

pub struct Source<'a>(&'a Device);

impl Events for Source<'_> {
    type Interrupt = Line;
    type Error = &'static str;

    fn interrupter(&self) -> Line {
        Line
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.now.get())
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), &'static str> {
        let device = self.0;
        for id in cancelled {
            device.given_up.set(device.given_up.get() + 1);
            for place in device.waiting.borrow_mut().iter_mut().filter(|place| **place == Some(*id)) {
                *place = None;
            }
        }
        if wait == Wait::No {
            return Ok(());
        }
        device.sleeps.set(device.sleeps.get() + 1);
        if let Some(waker) = device.handler.take() {
            in_a_handler(|| {
                device.raised.set(true);
                waker.wake_by_ref();
                // It finds the first on its way.
                waker.wake();
            });
            return Ok(());
        }
        // What is waited for comes before the time is over.
        if let [channel, later @ ..] = device.script.get()
            && let Some(id) = device.waiting.borrow_mut()[*channel].take()
        {
            device.script.set(later);
            signals.resume(id);
            return Ok(());
        }
        match wait {
            Wait::Until(deadline) => {
                device.now.set(deadline.as_nanos());
                Ok(())
            }
            Wait::No | Wait::Forever => Err("everybody waits for nothing"),
        }
    }
}

/// A `Platform` is shared between the threads it starts; this one starts none.
pub struct Board<'a>(pub &'a Device);

// SAFETY: `domains` calls `main` on the one thread there is.
unsafe impl Sync for Board<'_> {}

impl<'a> Platform for Board<'a> {
    type Error = &'static str;
    type Events = Source<'a>;

    fn events(&self, _: DomainId) -> Result<Source<'a>, &'static str> {
        Ok(Source(self.0))
    }

    fn domains(&self, _: usize, _: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        main();
        Ok(())
    }
}
