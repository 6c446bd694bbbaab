//! Wakers that are not the runtime's: one that counts, and some that panic.

#![allow(dead_code, unreachable_pub)] // Each test file uses a part of it.
#![allow(unsafe_code)] // A waker whose clone panics can only be made by hand.

use std::cell::Cell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread::ThreadId;

/// Polls a future once, under this waker.
pub fn poll_under<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// The message of the panic that `f` ends with.
pub fn panic_of<R>(f: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("a panic was expected"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => (*payload.downcast_ref::<&str>().unwrap()).to_owned(),
        },
    }
}

/// Counts how often it is woken, and says where it was last.
#[derive(Debug, Default)]
pub struct Ring {
    wakes: AtomicUsize,
    thread: Mutex<Option<ThreadId>>,
}

impl Ring {
    pub fn new() -> (Arc<Ring>, Waker) {
        let ring = Arc::<Ring>::default();
        (ring.clone(), ring.into())
    }

    pub fn wakes(&self) -> usize {
        self.wakes.load(Ordering::SeqCst)
    }

    pub fn thread(&self) -> Option<ThreadId> {
        *self.thread.lock().unwrap()
    }
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
        *self.thread.lock().unwrap() = Some(std::thread::current().id());
    }
}

/// Calls the function when it is woken.
pub struct OnWake<F>(F);

pub fn on_wake(f: impl Fn() + Send + Sync + 'static) -> Waker {
    Arc::new(OnWake(f)).into()
}

impl<F: Fn() + Send + Sync + 'static> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// A waker that does nothing, and calls the function when it is cloned. Its clones do nothing at all.
pub fn on_clone(f: fn()) -> Waker {
    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: the data is the function.
        let f = unsafe { std::mem::transmute::<*const (), fn()>(data) };
        f();
        RawWaker::new(Waker::noop().data(), Waker::noop().vtable())
    }
    unsafe fn nothing(_: *const ()) {}
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, nothing, nothing, nothing);
    // SAFETY: nothing is owned, and any thread may call the function.
    unsafe { Waker::from_raw(RawWaker::new(f as *const (), &VTABLE)) }
}

/// What of a waker panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Clone,
    Wake,
    Drop,
}

/// A waker that panics in one of its operations. The waker itself is never dropped; its clones are.
pub fn bomb(fault: Fault) -> ManuallyDrop<Waker> {
    fn of(data: *const ()) -> Fault {
        [Fault::Clone, Fault::Wake, Fault::Drop][data.addr()]
    }
    unsafe fn clone(data: *const ()) -> RawWaker {
        assert_ne!(of(data), Fault::Clone, "a clone that panics");
        RawWaker::new(data, &VTABLE)
    }
    unsafe fn wake(data: *const ()) {
        assert_ne!(of(data), Fault::Wake, "a wake that panics");
    }
    unsafe fn wake_by_ref(data: *const ()) {
        assert_ne!(of(data), Fault::Wake, "a wake that panics");
    }
    unsafe fn drop(data: *const ()) {
        assert_ne!(of(data), Fault::Drop, "a drop that panics");
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);
    let data = std::ptr::without_provenance(fault as usize);
    // SAFETY: the data is a number and the functions take it as such: nothing is owned and any thread may use it.
    ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) })
}

thread_local! {
    static CLONES: Cell<usize> = const { Cell::new(0) };
}

/// A waker that does nothing, and whose clones are [counted](clones).
pub fn counting_clones() -> Waker {
    unsafe fn clone(data: *const ()) -> RawWaker {
        CLONES.set(CLONES.get() + 1);
        RawWaker::new(data, &VTABLE)
    }
    unsafe fn nothing(_: *const ()) {}
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, nothing, nothing, nothing);
    // SAFETY: there is no data.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) }
}

/// How often this thread has cloned such a waker.
pub fn clones() -> usize {
    CLONES.get()
}
