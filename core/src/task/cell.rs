//! A task's memory: the header and, behind it, closure, future and result one after the other in the same bytes.
//!
//! Invariant *Stage*: the payload holds what the header's `stage` says, and only the domain that *Stage* names touches it.

#![allow(unsafe_code)] // A union and raw memory, under *Stage*.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, offset_of};
use core::pin::Pin;
use core::ptr;
use core::task::{Context, Poll};

use super::{Birth, Header, Stage, TaskRef, VTable, home};
use crate::domain::Domain;
use crate::outcome::{Exit, Outcome, catch};
use crate::trace::How;
use crate::violation::ReportPlace;

/// What a task gives its parent.
pub(crate) type ResultOf<F> = Result<<<F as Future>::Output as Outcome>::Value, Exit<<<F as Future>::Output as Outcome>::Error>>;

/// How the future of a task is made.
pub(crate) trait Make<F> {
    /// What the payload holds at first.
    const FIRST: Stage;

    /// Makes the future.
    fn make(self) -> F;
}

/// The future is there from the beginning.
pub(crate) enum Made {}

impl<F> Make<F> for Made {
    const FIRST: Stage = Stage::Future;

    fn make(self) -> F {
        match self {}
    }
}

/// The future is made by a closure, where it runs.
#[cfg(feature = "alloc")]
pub(crate) struct Closure<C>(pub(crate) C);

#[cfg(feature = "alloc")]
impl<F, C: FnOnce() -> F> Make<F> for Closure<C> {
    const FIRST: Stage = Stage::Closure;

    fn make(self) -> F {
        (self.0)()
    }
}

/// What is beside the payload: a name, or nothing.
pub(crate) trait Beside {
    fn name(&self) -> Option<&'static str>;
}

impl Beside for () {
    fn name(&self) -> Option<&'static str> {
        None
    }
}

/// The name of a task.
#[cfg(feature = "alloc")]
pub(crate) struct Name(pub(crate) &'static str);

#[cfg(feature = "alloc")]
impl Beside for Name {
    fn name(&self) -> Option<&'static str> {
        Some(self.0)
    }
}

/// Where a task's memory comes from.
pub(crate) trait Storage {
    /// Gives it back.
    ///
    /// # Safety
    /// The memory of `T` came from here and holds nothing that is to be dropped; nobody uses it any more.
    unsafe fn free<T>(task: TaskRef);
}

/// The heap.
#[cfg(feature = "alloc")]
pub(crate) enum Heap {}

#[cfg(feature = "alloc")]
impl Storage for Heap {
    unsafe fn free<T>(task: TaskRef) {
        // SAFETY: promised by the caller; `boxed` placed it.
        unsafe { super::cache::free(task.cast::<T>()) };
    }
}

#[repr(C)]
union Payload<M, F: Future<Output: Outcome>> {
    closure: ManuallyDrop<M>,
    future: ManuallyDrop<F>,
    result: ManuallyDrop<ResultOf<F>>,
}

/// A task of one type.
#[repr(C)]
pub(crate) struct TaskCell<M, F: Future<Output: Outcome>, B, S> {
    header: Header,
    payload: UnsafeCell<Payload<M, F>>,
    beside: B,
    storage: PhantomData<S>,
}

impl<F: Future<Output: Outcome>, B: Beside, S: Storage> TaskCell<Made, F, B, S> {
    /// A task whose future is there.
    pub(crate) fn of_future(birth: &Birth, future: F, beside: B) -> Self {
        Self::new(birth, Payload { future: ManuallyDrop::new(future) }, beside)
    }
}

#[cfg(feature = "alloc")]
impl<C: FnOnce() -> F, F: Future<Output: Outcome>, B: Beside, S: Storage> TaskCell<Closure<C>, F, B, S> {
    /// A task whose future is made by a closure, in its first poll.
    pub(crate) fn of_closure(birth: &Birth, closure: C, beside: B) -> Self {
        Self::new(birth, Payload { closure: ManuallyDrop::new(Closure(closure)) }, beside)
    }
}

#[cfg(feature = "alloc")]
impl<M: Make<F>, F: Future<Output: Outcome>, B: Beside> TaskCell<M, F, B, Heap> {
    /// Puts the task on the heap.
    pub(crate) fn boxed(self) -> TaskRef {
        super::cache::place(self).cast()
    }
}

#[cfg(loom)]
impl<M, F: Future<Output: Outcome>, B, S> TaskCell<M, F, B, S> {
    /// What is beside the payload.
    pub(crate) fn beside(&self) -> &B {
        &self.beside
    }
}

impl<M: Make<F>, F: Future<Output: Outcome>, B: Beside, S: Storage> TaskCell<M, F, B, S> {
    const VTABLE: VTable = VTable {
        poll: Self::poll,
        clear: Self::clear,
        payload: offset_of!(Self, payload),
        free: S::free::<Self>,
        name: Self::name,
        how: Self::how,
    };

    fn new(birth: &Birth, payload: Payload<M, F>, beside: B) -> Self {
        TaskCell { header: Header::new(birth, &Self::VTABLE, M::FIRST), payload: UnsafeCell::new(payload), beside, storage: PhantomData }
    }

    /// # Safety
    /// The task is valid and of this type.
    unsafe fn payload(task: TaskRef) -> *mut Payload<M, F> {
        // SAFETY: promised by the caller; `repr(C)` puts the header first. No reference to other fields is made.
        unsafe { (*task.cast::<Self>().as_ptr()).payload.get() }
    }

    unsafe fn poll(task: TaskRef, cx: &mut Context<'_>) -> Poll<bool> {
        // SAFETY: *Stage*: the caller is the home domain and the payload holds a closure or a future.
        unsafe {
            let header = task.as_ref();
            let payload = Self::payload(task);
            if matches!(M::FIRST, Stage::Closure) && header.stage() == Stage::Closure {
                header.stage.set(Stage::Empty);
                let closure = ManuallyDrop::take(&mut (*payload).closure);
                match catch(|| closure.make()) {
                    Ok(future) => {
                        ptr::write(payload, Payload { future: ManuallyDrop::new(future) });
                        header.stage.set(Stage::Future);
                    }
                    Err(panic) => {
                        header.home_flags.set(home::CLOSED);
                        return Self::finish(task, Err(Exit::Panicked(panic)));
                    }
                }
            }
            let future = &raw mut (*payload).future;
            let polled = catch(|| Pin::new_unchecked(&mut **future).poll(cx).map(Outcome::into_result));
            let result = match polled {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(result)) => result.map_err(Exit::Failed),
                Err(panic) => Err(Exit::Panicked(panic)),
            };
            // Closed before the destructor runs: a child that it makes is cancelled.
            header.home_flags.set(home::CLOSED);
            // Empty first, so that a destructor that panics is not run again.
            header.stage.close(Stage::Empty);
            if let Err(panic) = catch(|| ManuallyDrop::drop(&mut (*payload).future)) {
                Domain::report(ReportPlace::Destructor, panic);
            }
            Self::finish(task, result)
        }
    }

    /// # Safety
    /// *Stage*: on the home domain, and the payload is empty.
    unsafe fn finish(task: TaskRef, result: ResultOf<F>) -> Poll<bool> {
        let normal = result.is_ok();
        // SAFETY: promised by the caller.
        unsafe {
            ptr::write(Self::payload(task), Payload { result: ManuallyDrop::new(result) });
            task.as_ref().stage.close(Stage::Result);
        }
        Poll::Ready(normal)
    }

    unsafe fn clear(task: TaskRef) {
        // SAFETY: *Stage*: promised by the caller. Empty first, so that a destructor that panics is not run again.
        unsafe {
            let payload = Self::payload(task);
            match task.as_ref().stage.replace(Stage::Empty) {
                Stage::Closure => ManuallyDrop::drop(&mut (*payload).closure),
                Stage::Future => ManuallyDrop::drop(&mut (*payload).future),
                Stage::Result => ManuallyDrop::drop(&mut (*payload).result),
                Stage::Empty => {}
            }
        }
    }

    unsafe fn name(task: TaskRef) -> Option<&'static str> {
        // SAFETY: the caller promises that the task is valid; `beside` is never changed.
        unsafe { (*task.cast::<Self>().as_ptr()).beside.name() }
    }

    unsafe fn how(task: TaskRef) -> How {
        // SAFETY: *Stage*, promised by the caller; `repr(C)` and the union as in `payload`.
        unsafe {
            if task.as_ref().stage() != Stage::Result {
                return How::Cancelled;
            }
            match &*(*Self::payload(task)).result {
                Ok(_) => How::Normal,
                Err(Exit::Failed(_)) => How::Failed,
                Err(Exit::Cancelled) => How::Cancelled,
                Err(Exit::Panicked(_)) => How::Panicked,
            }
        }
    }
}
