//! Signal handlers of a run: installed from any domain, run on domain 0.
//!
//! The main task is wrapped by [`Dispatch`], which is polled with it. While there are no handlers that costs the main task a look
//! at one flag per poll, and nothing else: no point waits, no signal is caught. With handlers, the dispatch listens on domain 0 as any
//! listener does, wakes the main task when a signal comes, and calls the handlers before it polls the main future.
//!
//! The [`Registry`] is what the domains share: [`on`] and [`off`] leave a note there and wake the main task.
//!
//! # No gap
//!
//! When [`on`] returns, the signal does no longer end the process and is not missed, though domain 0 has not heard of the handler
//! yet: `on` installs a flag itself. The dispatch, once it listens on domain 0, takes that flag out and looks whether it was set. Where it
//! cannot listen, as with no descriptor left, the flag stays, and is looked at after pauses.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use signal_hook::SigId;
use signal_hook::low_level::unregister;

use super::{Hub, Kind, outside};
use crate::reactor;
use crate::time::Pauses;

/// A handler that was installed by [`on`]. To be handed to [`off`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandlerId(u64);

/// What the domains of a run share of its signal handlers.
#[derive(Default)]
pub(crate) struct Registry {
    /// Whether `notes` holds something new: the main task looks here in every poll.
    changed: AtomicBool,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    arrived: Vec<Handler>,
    removed: Vec<HandlerId>,
    /// How many handlers there have been.
    made: u64,
    /// Of the main task. None before its first poll, and after its end.
    waker: Option<Waker>,
}

struct Handler {
    id: HandlerId,
    kind: Kind,
    call: Box<dyn FnMut() + Send>,
    early: Early,
}

/// The flag that bridges the time until domain 0 listens.
struct Early {
    arrived: Arc<AtomicBool>,
    action: SigId,
}

impl Drop for Early {
    fn drop(&mut self) {
        unregister(self.action);
    }
}

impl Registry {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a note and wakes the main task; an error if there is none.
    fn note(&self, write: impl FnOnce(&mut Notes)) -> io::Result<()> {
        let waker = {
            let mut notes = self.notes();
            let waker = notes.waker.clone().ok_or_else(outside)?;
            write(&mut notes);
            self.changed.store(true, Ordering::Release);
            waker
        };
        waker.wake(); // Not under the lock.
        Ok(())
    }
}

/// Calls `handler` on domain 0 for each signal of this kind, from now on to the end of the run.
///
/// It runs within the main task, between its steps, one after the other with the other handlers, in the order they were installed.
/// It should be short: domain 0 waits for it. A handler that panics is a panic of the main task. It may be installed from any domain.
///
/// ```
/// use matou_unix::signal::{self, Kind};
/// use matou_unix::sync::Trigger;
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     let reload = Arc::new(Trigger::new());
///     let handler = Arc::clone(&reload);
///     signal::on(Kind::USER_1, move || _ = handler.signal())?;
///     signal::raise(Kind::USER_1)?;
///     reload.wait().await;
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// With no descriptor left it is called late, by up to 64 ms, until there is one.
///
/// # Errors
/// For a kind that cannot be handled, outside a run, and what the system says.
///
/// Miou: `Miou.sys_signal`.
#[doc(alias = "sys_signal")]
pub fn on(kind: Kind, handler: impl FnMut() + Send + 'static) -> io::Result<HandlerId> {
    kind.check()?;
    let reactor = reactor::current().ok_or_else(outside)?;
    let arrived = Arc::new(AtomicBool::new(false));
    let action = signal_hook::flag::register(kind.as_raw(), Arc::clone(&arrived))?;
    let early = Early { arrived, action };
    let call: Box<dyn FnMut() + Send> = Box::new(handler);
    let mut id = HandlerId(0);
    reactor.registry().note(|notes| {
        id = HandlerId(notes.made);
        notes.made += 1;
        notes.arrived.push(Handler { id, kind, call, early });
    })?;
    Ok(id)
}

/// Removes a handler. One that is running, or about to, may run once more; it is dropped on domain 0.
///
/// ```
/// use matou_unix::signal::{self, Kind};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     let hangup = signal::on(Kind::HANGUP, || println!("hangup"))?;
///     signal::off(hangup)
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Outside a run.
pub fn off(handler: HandlerId) -> io::Result<()> {
    let reactor = reactor::current().ok_or_else(outside)?;
    reactor.registry().note(|notes| notes.removed.push(handler))
}

/// The main task's part: it is polled by the main task before its own future, and dropped with it.
pub(crate) struct Dispatch {
    registry: Arc<Registry>,
    /// What the registry has for a waker.
    waker: Option<Waker>,
    installed: Vec<Installed>,
    /// Set while there are handlers.
    waiting: Option<Pin<Box<dyn Future<Output = io::Result<()>>>>>,
    /// Wakes the task again and again, while domain 0 cannot listen as it should.
    pauses: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

struct Installed {
    id: HandlerId,
    kind: Kind,
    call: Box<dyn FnMut() + Send>,
    ear: Ear,
}

/// How a handler hears of its signal.
enum Ear {
    /// Domain 0 does not listen yet.
    Early(Early),
    /// It does. What came before is in the flag.
    Hub { hub: Rc<Hub>, seen: u64, before: Arc<AtomicBool> },
}

impl Ear {
    /// Lets domain 0 listen.
    fn open(&mut self, kind: Kind) -> io::Result<()> {
        if let Ear::Early(early) = self {
            let hub = hub()?;
            let seen = hub.listen(kind)?;
            // From here on domain 0 hears the signal. What the flag has caught, and what is heard until it is out, is one signal.
            let before = Arc::clone(&early.arrived);
            *self = Ear::Hub { hub, seen, before };
        }
        Ok(())
    }

    /// Whether a signal came since this was asked last.
    fn take(&mut self, kind: Kind) -> bool {
        match self {
            Ear::Early(early) => early.arrived.swap(false, Ordering::SeqCst),
            Ear::Hub { hub, seen, before } => hub.take(kind, seen) | before.swap(false, Ordering::SeqCst),
        }
    }
}

impl Dispatch {
    pub(crate) fn new(registry: Arc<Registry>) -> Dispatch {
        Dispatch { registry, waker: None, installed: Vec::new(), waiting: None, pauses: None }
    }

    /// Calls the handlers whose signal came, and sees to it that the next one wakes the task.
    ///
    /// # Panics
    /// If a handler does.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            let old = mem::replace(&mut self.registry.notes().waker, self.waker.clone());
            drop(old); // Not under the lock.
        }
        if self.registry.changed.swap(false, Ordering::Acquire) {
            self.update();
        }
        if self.installed.is_empty() {
            return;
        }
        match self.serve(cx) {
            Ok(()) => self.pauses = None,
            // With no descriptor left, above all. The system is asked again, and the flags are looked at, after each pause.
            Err(_) => self.pause(cx),
        }
    }

    fn update(&mut self) {
        let (arrived, removed) = {
            let mut notes = self.registry.notes();
            (mem::take(&mut notes.arrived), mem::take(&mut notes.removed))
        };
        let arrived = arrived.into_iter().map(|Handler { id, kind, call, early }| Installed { id, kind, call, ear: Ear::Early(early) });
        self.installed.extend(arrived);
        self.installed.retain(|handler| !removed.contains(&handler.id));
        if self.installed.is_empty() {
            (self.waiting, self.pauses) = (None, None);
        }
    }

    /// Calls each handler once at most: where there is more to be heard, everybody else has a turn before.
    fn serve(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let listens = self.installed.iter_mut().try_for_each(|handler| handler.ear.open(handler.kind));
        let heard = hub().map(|hub| hub.heard()); // A handler may do anything.
        for handler in &mut self.installed {
            if handler.ear.take(handler.kind) {
                (handler.call)();
            }
        }
        listens?;
        let (hub, heard) = (hub()?, heard?);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(async move { hub.wait(heard).await }));
        if let Poll::Ready(result) = waiting.as_mut().poll(cx) {
            self.waiting = None;
            result?;
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    fn pause(&mut self, cx: &mut Context<'_>) {
        let pauses = self.pauses.get_or_insert_with(|| {
            let mut pauses = Pauses::new();
            Box::pin(async move {
                loop {
                    pauses.next().await;
                }
            })
        });
        let _without_end = pauses.as_mut().poll(cx);
    }
}

fn hub() -> io::Result<Rc<Hub>> {
    let reactor = reactor::current().ok_or_else(outside)?;
    reactor.hub().cloned()
}

impl Drop for Dispatch {
    fn drop(&mut self) {
        let notes = mem::take(&mut *self.registry.notes());
        drop(notes); // Handlers that never reached domain 0, and a waker: not under the lock.
    }
}
