//! A scope: children that belong to a part of a task.
//!
//! The children made while a scope's future is polled are the scope's own. Dropped early (by `select!`, by a timeout) a scope cancels
//! them, so that what is cut short leaves none behind; without it they would stay the task's children, forgotten.

#![allow(unsafe_code)] // Pins its future in place and holds its group by raw pointer.

use core::fmt;
use core::future::Future;
use core::marker::PhantomPinned;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::domain::Domain;
use crate::domain::group::{self, Frame, Group};
use crate::outcome::Outcome;
use crate::task::TaskRef;
use crate::violation::ViolationKind;

/// Runs `future` in a scope of its own: the children made while it is polled are the scope's.
///
/// A normal end with one of them neither awaited nor cancelled is the violation `StillHasChildren`, as for a task. An `Err` cancels
/// them. Either way the scope gives its output when all of them have ended.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, scope, spawn, platform::Bare, Config};
/// # let ran = run(&Bare, Config::new(), async {
/// let parsed: Result<i32, std::num::ParseIntError> = scope(async {
///     let _background = spawn(std::future::pending::<()>());
///     let number = "a number".parse()?; // cancels the child
///     Ok(number)
/// })
/// .await;
/// assert!(parsed.is_err());
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// What is kept in an [`Orphans`](crate::Orphans) goes where that goes: one first used in the scope and dropped in it is the scope's, one that outlives
/// the scope, or was used before it, is not cancelled with it.
///
/// # Panics
/// When polled outside a task, or by another task than before.
///
/// # Cancellation
/// Dropped early it cancels its children and does not wait for them; the task's own end does.
#[doc(alias = "nursery")]
#[track_caller]
pub fn scope<F: Future<Output: Outcome>>(future: F) -> Scope<F> {
    Scope { frame: Frame::scope(Location::caller()), future: Some(future), output: None, ticket: 0, _pinned: PhantomPinned }
}

/// The future of [`scope`](fn@scope).
#[must_use = "a scope does nothing unless awaited"]
pub struct Scope<F: Future> {
    frame: Frame,
    future: Option<F>,
    output: Option<F::Output>,
    ticket: u64,
    _pinned: PhantomPinned,
}

impl<F: Future<Output: Outcome>> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: *Frame*: the frame stays where it is as the scope is pinned. The future is pinned with it: it is polled and dropped in place.
        let this = unsafe { self.get_unchecked_mut() };
        Domain::with_task(|domain, current| {
            if let Some(group) = this.frame.made() {
                // SAFETY: *Grouped*: we have the handle.
                let group = unsafe { group.as_ref() };
                assert!(!group.inert.get() && group.epoch == domain.epoch(), "a scope was polled after the task it belongs to had ended");
                if group.owner() != current {
                    domain.violate(current, ViolationKind::NotAChild { child: None, parent: group.owner_id, spawned: group.place });
                    return Poll::Pending;
                }
            }
            if let Some(future) = &mut this.future {
                // SAFETY: pinned, as said above.
                let polled = domain.in_frame(&this.frame, || unsafe { Pin::new_unchecked(future) }.poll(cx));
                let Poll::Ready(output) = polled else { return Poll::Pending };
                // A destructor's children are the scope's as well, and cancelled, as a task's are.
                this.frame.close();
                domain.in_frame(&this.frame, || this.future = None);
                let normal = output.is_normal();
                this.output = Some(output);
                if let Some(group) = this.frame.made() {
                    // SAFETY: *Grouped*: we have the handle.
                    unsafe {
                        if normal && let Some(broken) = group.as_ref().uncared_in_scope() {
                            domain.violate(current, broken);
                        }
                        domain.cancel_scope(group);
                    }
                }
            }
            if let Some(group) = this.frame.made() {
                // SAFETY: *Grouped*: we have the handle.
                let group = unsafe { group.as_ref() };
                if !group.is_over() {
                    if this.ticket == 0 {
                        this.ticket = group.ticket();
                    }
                    // The clone is foreign code, but ends no child of ours: all are cancelled, and leave between polls.
                    group.wait(this.ticket, cx.waker().clone());
                    return Poll::Pending;
                }
            }
            match this.output.take() {
                Some(output) => Poll::Ready(output),
                None => panic!("a scope was polled after its output"),
            }
        })
        .expect("a scope was polled outside a task: await it inside `run`, from a task")
    }
}

/// Whether the task may use the scope with this group.
fn belongs_to(group: &Group, domain: &Domain, task: TaskRef) -> bool {
    !group.inert.get() && group.epoch == domain.epoch() && group.owner() == task
}

impl<F: Future> Drop for Scope<F> {
    fn drop(&mut self) {
        /// Cancels what is left, also where the future's destructor panics.
        struct Leave<'a>(&'a Frame, u64);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                let Some(group) = self.0.take() else { return };
                // SAFETY: *Grouped*: we have the handle. A group that is not inert has an owner, on a domain of this thread.
                unsafe {
                    group.as_ref().unwait(self.1);
                    if !group.as_ref().inert.get() {
                        Domain::with(|domain| domain.cancel_scope(group));
                    }
                    group::unhandle(group);
                }
            }
        }
        let leave = Leave(&self.frame, self.ticket);
        let future = &mut self.future;
        // What the future's destructor makes is the scope's, and cancelled with it; but not where another task than its own drops it.
        let dropped = Domain::with_task(|domain, current| {
            // SAFETY: *Grouped*: we have the handle.
            let ours = leave.0.made().is_none_or(|group| belongs_to(unsafe { group.as_ref() }, domain, current));
            if ours {
                domain.in_frame(leave.0, || *future = None);
            }
            ours
        });
        if dropped != Some(true) {
            *future = None;
        }
    }
}

impl<F: Future> fmt::Debug for Scope<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("frame", &self.frame).finish_non_exhaustive()
    }
}
