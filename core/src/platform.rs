//! What a platform brings: threads for domains, and for each domain a source of events.
//!
//! The core knows no operating system. A [`Platform`] starts the domains; on each of them the core asks an [`Events`]
//! what happened, lets it sleep when nothing is runnable, and ends that sleep from elsewhere through its [`Interrupt`].
//!
//! How the three fit together:
//!
//! 1. [`run`](crate::run) calls [`Platform::domains`], which starts one thread per worker and calls back on each.
//! 2. On each of these threads the core calls [`Platform::events`] and keeps what it returns for the whole run.
//! 3. A task that must wait makes a [`Point`](crate::suspension::Point), tells the event source its id, and suspends.
//! 4. The core calls [`Events::select`]; the source names the points whose event has come, with [`Signals::resume`].
//! 5. A point given up meanwhile (its task was cancelled) is named to the next `select` in `cancelled`, exactly once.
//!
//! A whole platform, a machine with one button and a clock, and the effect that waits for the button:
//!
//! ```
//! # #[cfg(feature = "std")] {
//! use std::cell::RefCell;
//! use std::convert::Infallible;
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::thread::{self, Thread};
//!
//! use matou_core::platform::{Events, Interrupt, Platform, Signals, Wait};
//! use matou_core::suspension::{Point, PointError};
//! use matou_core::time::{self, Instant};
//! use matou_core::{Config, DomainId, PointId, run, spawn};
//!
//! static PRESSED: AtomicBool = AtomicBool::new(false);
//!
//! thread_local! {
//!     /// Who waits for the button.
//!     static WAITING: RefCell<Vec<PointId>> = const { RefCell::new(Vec::new()) };
//! }
//!
//! async fn pressed() -> Result<(), PointError> {
//!     Point::new()?.suspend(|id| Ok(WAITING.with_borrow_mut(|waiting| waiting.push(id)))).await
//! }
//!
//! struct Machine;
//!
//! impl Platform for Machine {
//!     type Error = Infallible;
//!     type Events = Button;
//!
//!     fn events(&self, _: DomainId) -> Result<Button, Infallible> {
//!         Ok(Button { started: std::time::Instant::now() })
//!     }
//!
//!     fn domains(&self, _no_workers: usize, _: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), Infallible> {
//!         Ok(main())
//!     }
//! }
//!
//! struct Button {
//!     started: std::time::Instant,
//! }
//!
//! struct Unpark(Thread);
//!
//! impl Interrupt for Unpark {
//!     fn interrupt(&self) {
//!         self.0.unpark();
//!     }
//! }
//!
//! impl Events for Button {
//!     type Interrupt = Unpark;
//!     type Error = Infallible;
//!
//!     fn interrupter(&self) -> Unpark {
//!         Unpark(thread::current())
//!     }
//!
//!     fn now(&self) -> Instant {
//!         Instant::from_nanos(self.started.elapsed().as_nanos() as u64)
//!     }
//!
//!     fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), Infallible> {
//!         WAITING.with_borrow_mut(|waiting| waiting.retain(|id| !cancelled.contains(id)));
//!         if !PRESSED.load(Ordering::Acquire) {
//!             match wait {
//!                 Wait::No => {}
//!                 Wait::Until(time) => thread::park_timeout(time.saturating_duration_since(self.now())),
//!                 Wait::Forever => thread::park(),
//!             }
//!         }
//!         if PRESSED.swap(false, Ordering::Acquire) {
//!             WAITING.take().into_iter().for_each(|id| signals.resume(id));
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let machine = thread::current();
//! let ran = run(&Machine, Config::new(), async {
//!     let waiting = spawn(pressed());
//!     time::sleep(std::time::Duration::from_millis(1)).await;
//!     let finger = thread::spawn(move || {
//!         PRESSED.store(true, Ordering::Release);
//!         machine.unpark();
//!     });
//!     assert!(waiting.await.is_ok());
//!     finger.join().unwrap();
//! });
//! assert!(ran.is_ok());
//! # }
//! ```

use crate::id::{DomainId, PointId};
use crate::time::Instant;

pub use crate::domain::points::Signals;

/// A system that can run domains.
pub trait Platform: Sync {
    /// What can go wrong in the platform and in its event sources.
    type Error: Send;

    /// A domain's source of events.
    type Events: Events<Error = Self::Error>;

    /// Makes the event source of `domain`. Called on that domain's own thread, once; what it returns is dropped there.
    ///
    /// # Errors
    /// End the run as [`RunError::Events`](crate::RunError::Events).
    ///
    /// Miou: `?events` of `Miou.run`; the drop is `finaliser` of `Miou.events`.
    fn events(&self, domain: DomainId) -> Result<Self::Events, Self::Error>;

    /// Starts `workers` threads of execution, calls `worker` on each with [`DomainId`]s from 1 to `workers`, calls
    /// `main` on this one, and returns when all have returned.
    ///
    /// `worker` returns only after `main` ran. Therefore, if not all threads can be started, none of them may call
    /// `worker`: the threads wait at a gate until all exist, else leave, `main` is not called, and the error is returned.
    ///
    /// # Errors
    /// Give [`RunError::Platform`](crate::RunError::Platform): nothing ran.
    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), Self::Error>;
}

/// A source of events for one domain: it can be asked, can sleep, and can be interrupted.
///
/// Miou: `Miou.events`.
pub trait Events {
    /// What ends a sleeping [`select`](Events::select).
    type Interrupt: Interrupt;
    /// Why `select` cannot go on.
    type Error: Send;

    /// Whether a task may suspend here. Where it is `false`, [`Point::new`](crate::suspension::Point::new) says so
    /// instead of letting a task wait for what cannot come.
    const SUSPENDS: bool = true;

    /// A handle that other threads and interrupt handlers end this source's sleep with. Called once, before any `select`.
    fn interrupter(&self) -> Self::Interrupt;

    /// The platform's clock. It never goes back. A panic in a task is that task's; one between polls ends the run as an error of
    /// [`select`](Events::select) does.
    fn now(&self) -> Instant;

    /// Looks for events and resumes the points they belong to.
    ///
    /// - With [`Wait::No`] it does not wait; with [`Wait::Until`] it may sleep to that time; with [`Wait::Forever`] to the first event.
    /// - It returns early for an event, for an interrupt (one made before the call included), or for no reason.
    /// - `cancelled` names the points given up since the last call, each exactly once: the source forgets them.
    /// - It runs no foreign code: no waker, no destructor of a user's.
    ///
    /// # Errors
    /// End the run as [`RunError::Events`](crate::RunError::Events), after everything was cancelled and finalised.
    ///
    /// Miou: `Miou.select`.
    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), Self::Error>;

    /// Whether an [`Interrupt`] was called that no `select` has seen yet. A busy domain on which nobody waits for an event does not call `select`,
    /// but asks this as often; a source that does something for others when it is interrupted, as to close what they have left, says so here. It is to be cheap.
    fn is_interrupted(&self) -> bool {
        false
    }
}

/// How long [`Events::select`] may wait.
///
/// Miou: `~block` of `Miou.select`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: tasks are runnable.
    No,
    /// Until this time on the platform's clock: a timer fires then.
    Until(Instant),
    /// Until an event or an interrupt.
    Forever,
}

/// Ends a sleeping [`Events::select`].
///
/// Miou: `Miou.interrupt`.
pub trait Interrupt: Send + Sync + 'static {
    /// Makes the sleep under way, else the next one, end at once. It may be called from any thread and from an interrupt
    /// handler, must not block, and many calls may cost one wake-up only. A panic is reported and goes no further; a domain that it has not
    /// woken sleeps on.
    fn interrupt(&self);
}

/// The event source of a platform that has none: tasks may yield and await each other, but not suspend.
///
/// A domain that has nothing runnable and could only wait ends the run with [`NothingToWaitFor`].
#[derive(Debug, Default, Clone, Copy)]
pub struct NoEvents;

/// Nothing is runnable, and the platform has no events that could change that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NothingToWaitFor;

impl core::fmt::Display for NothingToWaitFor {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no task is runnable and this platform has no events to wait for: use a platform whose `Events` can sleep")
    }
}

impl core::error::Error for NothingToWaitFor {}

/// The interrupt of a source that never sleeps.
#[derive(Debug, Clone, Copy)]
pub struct NoInterrupt;

impl Interrupt for NoInterrupt {
    fn interrupt(&self) {}
}

impl Events for NoEvents {
    type Interrupt = NoInterrupt;
    type Error = NothingToWaitFor;
    const SUSPENDS: bool = false;

    fn interrupter(&self) -> NoInterrupt {
        NoInterrupt
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(0)
    }

    fn select(&mut self, wait: Wait, _: &[PointId], _: &mut Signals<'_>) -> Result<(), NothingToWaitFor> {
        match wait {
            Wait::No => Ok(()),
            Wait::Until(_) | Wait::Forever => Err(NothingToWaitFor),
        }
    }
}

/// The smallest platform: the calling thread, no events, no workers.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use matou_core::{run, spawn, platform::Bare, Config};
/// let six = run(&Bare, Config::new(), async {
///     let three = spawn(async { 3 });
///     Ok::<i32, std::convert::Infallible>(2 * three.await.unwrap_or(0))
/// });
/// assert_eq!(six.ok(), Some(6));
/// # }
/// ```
#[derive(Debug, Default, Clone, Copy)]
pub struct Bare;

impl Platform for Bare {
    type Error = NothingToWaitFor;
    type Events = NoEvents;

    fn events(&self, _: DomainId) -> Result<NoEvents, NothingToWaitFor> {
        Ok(NoEvents)
    }

    fn domains(&self, workers: usize, _: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), NothingToWaitFor> {
        if workers > 0 {
            return Err(NothingToWaitFor);
        }
        main();
        Ok(())
    }
}
