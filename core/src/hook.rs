//! Hooks: what a domain calls at each of its scheduling steps.
//!
//! A hook sees a domain from within, between the polls of its tasks: it may count steps, feed a watchdog, or look at something that has no
//! events and wake who waits for it. It is called before each poll and before the domain looks for events or sleeps, not while it
//! sleeps. No task is current in it: it may signal and wake, but not spawn or await. It takes the domain's time, so it has to be short.

use core::marker::PhantomData;

use crate::domain::hooks::Call;
use crate::domain::{Domain, Epoch};
use crate::error::Full;

/// Has the current domain call `f` at each of its scheduling steps, until the [`Hook`] is dropped.
///
/// A hook that panics is removed, and the panic is reported ([`ReportPlace::Hook`](crate::ReportPlace::Hook)).
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{hook, run, platform::Bare, yield_now, Config};
/// # use std::{cell::Cell, rc::Rc};
/// # let ran = run(&Bare, Config::new(), async {
/// let steps = Rc::new(Cell::new(0));
/// let counted = steps.clone();
/// let hook = hook::add(move || counted.set(counted.get() + 1));
/// for _ in 0..10 {
///     yield_now().await;
/// }
/// drop(hook);
/// assert!(steps.get() >= 10);
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// # Panics
/// Outside a run.
///
/// Miou: `Miou.Hook.add`.
#[cfg(feature = "alloc")]
#[track_caller]
pub fn add(f: impl FnMut() + 'static) -> Hook {
    match Domain::with(|domain| Hook::new(domain, Call(alloc::boxed::Box::new(f)))) {
        Some(Ok(hook)) => hook,
        Some(Err(_)) => unreachable!("on the heap there is always a place"),
        None => panic!("`hook::add` was called outside a run: call it inside `run`"),
    }
}

/// As `add`, for a function that needs no memory of its own. It works without an allocator.
///
/// # Errors
/// [`Full`], where there is no allocator and the domain has four hooks.
///
/// # Panics
/// Outside a run.
#[track_caller]
pub fn add_static(f: &'static dyn Fn()) -> Result<Hook, Full<&'static dyn Fn()>> {
    #[cfg(feature = "alloc")]
    return Ok(add(f));
    #[cfg(not(feature = "alloc"))]
    Domain::with(|domain| Hook::new(domain, Call(f)))
        .expect("`hook::add_static` was called outside a run: call it inside `run`")
        .map_err(|call| Full(call.0))
}

/// A hook of a domain: it is removed when this is dropped. After its run it does nothing.
///
/// Miou: `Miou.Hook.t`.
#[must_use = "the hook is removed at once when this is dropped: `keep` leaves it to the end of the run"]
#[derive(Debug)]
pub struct Hook {
    epoch: Epoch,
    number: u64,
    /// It is its domain's alone.
    _here: PhantomData<*const ()>,
}

impl Hook {
    fn new(domain: &Domain, call: Call) -> Result<Hook, Call> {
        let number = domain.hooks.add(call)?;
        domain.pause();
        Ok(Hook { epoch: domain.epoch(), number, _here: PhantomData })
    }

    /// Removes the hook; `false` if it was gone: it panicked, or its run is over.
    ///
    /// Miou: `Miou.Hook.remove`.
    pub fn remove(self) -> bool {
        let removed = self.take_out();
        core::mem::forget(self);
        removed
    }

    /// Leaves the hook to the end of the run.
    pub fn keep(self) {
        core::mem::forget(self);
    }

    fn take_out(&self) -> bool {
        Domain::with(|domain| {
            if domain.epoch() != self.epoch {
                return false;
            }
            let removed = domain.hooks.remove(self.number);
            let there = removed.is_some();
            domain.drop_hook(removed);
            there
        })
        .unwrap_or(false)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.take_out();
    }
}
