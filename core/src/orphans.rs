//! Orphans: promises a parent keeps aside, and from which it gets back those that are ready.
//!
//! The children in it are the parent's, under every rule: a parent that ends normally with one of them neither awaited nor cancelled has
//! broken rule 3, finished or not.

#![allow(unsafe_code)] // Holds its group by raw pointer, under *Grouped* of `domain::group`.

use core::cell::Cell;
use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::panic::Location;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};

use crate::domain::Domain;
use crate::domain::family::{bury, note_forgotten};
use crate::domain::group::{self, First, Frame, Group};
use crate::effect;
use crate::error::NoDomainAvailable;
use crate::id::TaskId;
use crate::outcome::{Exit, Outcome};
use crate::promise::Promise;
use crate::spawn::{Error, Task, Value};
use crate::task::{Birth, TaskRef};
use crate::violation::{ReportPlace, ViolationKind};

/// A collector of promises. It belongs to the first task that uses it; another task's use of it is the violation `NotAChild`.
///
/// Dropping it neither cancels nor detaches its children: they are forgotten.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, Care, Orphans, Exit, platform::Bare, Config};
/// # let ran = run(&Bare, Config::new(), async {
/// let orphans = Orphans::new();
/// for n in 0..3_u32 {
///     orphans.spawn(async move { n * n });
/// }
/// let mut sum = 0;
/// while let Some(result) = orphans.next().await {
///     sum += result?;
/// }
/// assert_eq!(sum, 5);
/// # Ok::<(), Exit>(())
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// Miou: `'a Miou.orphans`.
#[doc(alias = "orphans")]
#[doc(alias = "JoinSet")]
pub struct Orphans<T, E = Infallible> {
    group: Cell<Option<NonNull<Group>>>,
    /// Not `Send`; and invariant, since children of these types go in and come out.
    _children: PhantomData<(*mut (), fn(Result<T, E>) -> Result<T, E>)>,
}

/// What [`Orphans::care`] finds.
///
/// Miou: `Some (Some prm)`, `Some None` and `None` of `Miou.care`.
#[derive(Debug)]
pub enum Care<T, E = Infallible> {
    /// A child that has ended: its promise awaits without blocking, and is the caller's to await.
    Ready(Promise<T, E>),
    /// There are children, and all are running.
    Pending,
    /// There is no child.
    Empty,
}

impl<T, E> Orphans<T, E> {
    /// A collector with no promise, that belongs to nobody yet.
    ///
    /// Miou: `Miou.orphans`.
    pub const fn new() -> Self {
        Orphans { group: Cell::new(None), _children: PhantomData }
    }

    /// The group, if there is one and the current task is its owner. Anything else is a violation, or a panic.
    #[track_caller]
    fn checked(&self, domain: &Domain, current: TaskRef) -> Result<Option<NonNull<Group>>, Stranger> {
        let Some(group) = self.group.get() else { return Ok(None) };
        // SAFETY: *Grouped*: we have the handle.
        let this = unsafe { group.as_ref() };
        assert!(!this.inert.get() && this.epoch == domain.epoch(), "an `Orphans` was used after the task it belongs to had ended");
        if this.owner() != current {
            let kind = ViolationKind::NotAChild { child: None, parent: this.owner_id, spawned: this.place };
            domain.violate(current, kind);
            return Err(Stranger);
        }
        Ok(Some(group))
    }

    /// Looks at the group as the current task.
    #[track_caller]
    fn look<R>(&self, place: &'static Location<'static>, stranger: R, f: impl FnOnce(&Domain, NonNull<Group>) -> R) -> R {
        Domain::with_task(|domain, current| match self.checked(domain, current) {
            Ok(Some(group)) => f(domain, group),
            // The first use, without a child: it belongs to this task from now on.
            Ok(None) => {
                let group = Frame::orphans(domain, place, None).group(domain, current);
                self.group.set(Some(group));
                f(domain, group)
            }
            Err(Stranger) => stranger,
        })
        .expect("an `Orphans` was used outside a task: use it inside `run`, from the task it belongs to")
    }

    /// Calls `f`, which makes the birth of a child, so that the child belongs here. It runs nothing foreign: a child that foreign code
    /// made in it would be taken for one of these types.
    pub(crate) fn adopting(&self, place: &'static Location<'static>, f: impl FnOnce() -> Birth) -> Birth {
        let frame = Domain::with_task(|domain, current| match self.checked(domain, current) {
            Ok(group) => Some(Frame::orphans(domain, place, group)),
            // The run is being stopped; the child never runs, whoever's it is.
            Err(Stranger) => None,
        });
        let Some(Some(frame)) = frame else { return f() };
        let result = Domain::with(|domain| domain.in_frame(&frame, f));
        self.group.set(frame.made());
        result.unwrap_or_else(|| unreachable!("there was a current task"))
    }

    /// Starts a child on this domain, as [`spawn`](crate::spawn) does, and keeps its promise here.
    ///
    /// # Panics
    /// Outside a task.
    ///
    /// Miou: `Miou.async ~orphans`.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> TaskId
    where
        F: Future<Output: Outcome<Value = T, Error = E>> + 'static,
    {
        match Task::new().spawn_in(self, future) {
            Ok(id) => id,
            Err(error) => panic!("{error}"),
        }
    }

    /// Starts a child on another domain, as [`call`](crate::call) does, and keeps its promise here.
    ///
    /// # Errors
    /// [`NoDomainAvailable`], with the closure.
    ///
    /// Miou: `Miou.call ~orphans`.
    #[track_caller]
    pub fn call<C, F>(&self, make: C) -> Result<TaskId, NoDomainAvailable<C>>
    where
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Outcome<Value = T, Error = E>> + 'static,
        Value<F>: Send + 'static,
        Error<F>: Send + 'static,
    {
        Task::new().call_in(self, make).map_err(|refused| NoDomainAvailable(refused.task))
    }

    /// Gives the promise of a child that has ended, if there is one; in constant time.
    ///
    /// # Panics
    /// Outside a task.
    ///
    /// Miou: `Miou.care`.
    #[track_caller]
    pub fn care(&self) -> Care<T, E> {
        self.look(Location::caller(), Care::Empty, |domain, group| {
            effect::count(domain);
            // SAFETY: *Grouped*: we have the handle.
            match unsafe { group.as_ref() }.first() {
                First::Ended(child) => Care::Ready(Self::give_out(domain, group, child)),
                First::Running(_) => Care::Pending,
                First::Empty => Care::Empty,
            }
        })
    }

    /// Gives the promise of any child, one that has ended if there is one; in constant time.
    ///
    /// # Panics
    /// Outside a task.
    ///
    /// # Cancellation
    /// The promise is the caller's from then on: dropped, it forgets the child.
    ///
    /// Miou: `Miou.take`.
    #[track_caller]
    pub fn take(&self) -> Option<Promise<T, E>> {
        self.look(Location::caller(), None, |domain, group| {
            effect::count(domain);
            // SAFETY: *Grouped*: we have the handle.
            match unsafe { group.as_ref() }.first() {
                First::Ended(child) | First::Running(child) => Some(Self::give_out(domain, group, child)),
                First::Empty => None,
            }
        })
    }

    fn give_out(domain: &Domain, group: NonNull<Group>, child: TaskRef) -> Promise<T, E> {
        // SAFETY: *Grouped*: it is one of those kept aside. Every child in here was made with a result of `T` and `E`.
        unsafe { group.as_ref().give_out(child) };
        let promise = Promise::new(child);
        // SAFETY: *Grouped*: we have the handle.
        unsafe {
            if group.as_ref().children.is_empty() {
                // Who waits in `next` has nothing left to wait for.
                group::wake_waiting(group, |waker| domain.foreign(ReportPlace::Waker, || waker.wake()));
            }
        }
        promise
    }

    /// Waits for the next child to end and gives its result; `None` when there is none.
    ///
    /// # Cancellation
    /// Dropped early it loses nothing.
    ///
    /// Miou: `Miou.get` in a loop.
    #[doc(alias = "get")]
    #[track_caller]
    pub fn next(&self) -> Next<'_, T, E> {
        Next { orphans: self, ticket: None, place: Location::caller() }
    }

    /// How many children are left in it, ended or not.
    ///
    /// Miou: `Miou.length`.
    #[doc(alias = "length")]
    pub fn len(&self) -> usize {
        // SAFETY: *Grouped*: we have the handle.
        self.group.get().map_or(0, |group| unsafe { group.as_ref() }.len.get())
    }

    /// Whether no child is left in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The current task is not the one the `Orphans` belongs to.
struct Stranger;

impl<T, E> Default for Orphans<T, E> {
    fn default() -> Self {
        Orphans::new()
    }
}

impl<T, E> fmt::Debug for Orphans<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Orphans").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl<T, E> Drop for Orphans<T, E> {
    fn drop(&mut self) {
        let Some(group) = self.group.take() else { return };
        // SAFETY: *Grouped*: we have the handle until `unhandle`. While it has children it is not inert, so its owner and its domain are alive.
        unsafe {
            while let First::Ended(child) = group.as_ref().first() {
                Domain::with(|domain| {
                    note_forgotten(child);
                    bury(domain, domain.unlink(child));
                });
            }
            group::unhandle(group);
        }
    }
}

/// The future of [`Orphans::next`].
#[must_use = "it waits only when awaited"]
pub struct Next<'a, T, E> {
    orphans: &'a Orphans<T, E>,
    ticket: Option<u64>,
    place: &'static Location<'static>,
}

impl<T, E> fmt::Debug for Next<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").field("orphans", self.orphans).finish_non_exhaustive()
    }
}

impl<T, E> Future for Next<'_, T, E> {
    type Output = Option<Result<T, Exit<E>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let (orphans, place) = (self.orphans, self.place);
        effect::poll_effect(cx, |cx| {
            orphans.look(place, Poll::Pending, |domain, group| {
                // SAFETY: *Grouped*: we have the handle.
                let this = unsafe { group.as_ref() };
                let mut waker = None;
                loop {
                    match this.first() {
                        First::Empty => return Poll::Ready(None),
                        First::Ended(child) => {
                            // SAFETY: linked and delivered; every child in here was made with a result of `T` and `E`.
                            let (id, result) = unsafe { (child.as_ref().id, domain.unlink(child).take::<T, E>()) };
                            domain.trace_join(id);
                            return Poll::Ready(Some(result));
                        }
                        First::Running(_) => match waker.take() {
                            // Cloned before the last look: it is foreign code, and may take the last child.
                            None => waker = Some(cx.waker().clone()),
                            Some(waker) => {
                                let ticket = *self.ticket.get_or_insert_with(|| this.ticket());
                                this.wait(ticket, waker);
                                return Poll::Pending;
                            }
                        },
                    }
                }
            })
        })
    }
}

impl<T, E> Drop for Next<'_, T, E> {
    fn drop(&mut self) {
        if let (Some(ticket), Some(group)) = (self.ticket, self.orphans.group.get()) {
            // SAFETY: *Grouped*: the handle is borrowed.
            unsafe { group.as_ref() }.unwait(ticket);
        }
    }
}
