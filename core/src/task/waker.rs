//! A task's waker.
//!
//! It may outlive its task, its domain and its run, be used on any thread, and in an interrupt handler. On the task's own domain a
//! wake is a push to the run queue, without any atomic step; from elsewhere it is one on the state word and one on the inbox.
//!
//! A waker that goes on the task's own domain leaves its hold to the next one that is made there (`home::SPARE`): a task that waits, is woken
//! and waits again there counts its waker once, and not with two atomic steps each time.

#![allow(unsafe_code)] // A raw waker is a raw pointer.

use core::mem::ManuallyDrop;
use core::ptr::NonNull;
use core::task::{RawWaker, RawWakerVTable, Waker};

use super::state::Send;
use super::{Header, TaskRef, release};
use crate::domain::Domain;
use crate::shim::fault;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// Of a waker that is not counted, and therefore only kept where the task is known to outlive it.
static UNCOUNTED: RawWakerVTable = RawWakerVTable::new(clone, wake_by_ref, wake_by_ref, drop_uncounted);

/// A waker of the task that is not counted: for the duration of a poll, in which the home domain holds the task.
pub(crate) fn borrowed(task: TaskRef) -> ManuallyDrop<Waker> {
    // SAFETY: the vtable's functions take what is a `TaskRef`; the waker is not dropped, so it need not be counted.
    ManuallyDrop::new(unsafe { Waker::new(task.as_ptr().cast_const().cast(), &VTABLE) })
}

/// A waker of the task that is not counted, for longer.
///
/// # Safety
/// The task is valid until the waker is dropped.
pub(crate) unsafe fn uncounted(task: TaskRef) -> Waker {
    // SAFETY: the vtable's functions take what is a `TaskRef`, which the caller keeps valid.
    unsafe { Waker::new(task.as_ptr().cast_const().cast(), &UNCOUNTED) }
}

/// Whether the waker is one of [`uncounted`]'s.
pub(crate) fn is_uncounted(waker: &Waker) -> bool {
    core::ptr::eq(waker.vtable(), &UNCOUNTED)
}

/// Whether the waker is a task's, so that to clone or drop it runs no foreign code. (A last holder frees memory, and no more.)
pub(crate) fn is_a_tasks(waker: &Waker) -> bool {
    core::ptr::eq(waker.vtable(), &VTABLE)
}

/// Whether the waker is that with which the task is polled.
pub(crate) fn is_of(waker: &Waker, task: TaskRef) -> bool {
    is_a_tasks(waker) && core::ptr::eq(waker.data(), task.as_ptr().cast_const().cast())
}

fn task(data: *const ()) -> TaskRef {
    // SAFETY: `borrowed` or `uncounted` made the pointer from a `NonNull`.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast::<Header>()) }
}

/// Calls `f` with this thread's domain, if it is the home of the task.
///
/// Only an address is compared: another domain's mailbox may have been there before ours, but then its tasks have ended.
#[inline]
fn at_home<R>(header: &Header, f: impl FnOnce(&Domain) -> R) -> Option<R> {
    Domain::with(|domain| domain.is_home_of(header).then(|| f(domain))).flatten()
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: *Counted*: the waker being cloned holds the task.
    let header = unsafe { task(data).as_ref() };
    if at_home(header, |_| header.take_spare()) != Some(true) {
        header.state.retain();
    }
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    let task = task(data);
    // SAFETY: *Counted*: the waker holds the task until `drop_counted`, or leaves its hold, with which the home domain's is another.
    unsafe {
        let header = task.as_ref();
        let woken = at_home(header, |domain| {
            let left = header.leave_spare();
            domain.make_runnable(task);
            left
        });
        match woken {
            Some(true) => {}
            Some(false) => drop_counted(task),
            None => {
                wake_elsewhere(task);
                drop_counted(task);
            }
        }
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    let task = task(data);
    // SAFETY: *Counted*: the waker holds the task until this returns.
    unsafe {
        if at_home(task.as_ref(), |domain| domain.make_runnable(task)).is_none() {
            wake_elsewhere(task);
        }
    }
}

/// # Safety
/// *Counted*: the caller holds the task.
#[inline(never)]
unsafe fn wake_elsewhere(task: TaskRef) {
    // SAFETY: promised by the caller.
    let header = unsafe { task.as_ref() };
    match header.state.wake() {
        // SAFETY: *Queued*: we set the bit, so the link is ours, and *Kept*: the home domain lives until it takes the node.
        Send::Push if !fault("wake_not_sent") => unsafe { header.home.as_ref().push(task) },
        Send::Push | Send::OnItsWay | Send::Ended => {}
    }
}

unsafe fn drop_uncounted(_: *const ()) {}

unsafe fn drop(data: *const ()) {
    let task = task(data);
    // SAFETY: *Counted*: a waker that was cloned is counted.
    unsafe {
        let header = task.as_ref();
        if at_home(header, |_| header.leave_spare()) != Some(true) {
            drop_counted(task);
        }
    }
}

/// # Safety
/// *Counted*: the caller has a waker's hold, and no longer afterwards.
#[inline(never)]
unsafe fn drop_counted(task: TaskRef) {
    if fault("waker_keeps_its_hold") {
        return;
    }
    // SAFETY: promised by the caller.
    unsafe { release(task) };
}
