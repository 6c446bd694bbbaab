//! Suspension points: places where a task waits until its domain's event source resumes it.
//!
//! To write an effect on top of one: make a [`Point`], tell your event source its [`id`](Point::id) in the callback of
//! [`suspend`](Point::suspend), and have the source call [`Signals::resume`](crate::platform::Signals::resume) with that id from its
//! [`select`](crate::platform::Events::select) when the event has come.

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll};

pub use crate::domain::points::POINTS;
use crate::domain::points::Waited;
use crate::domain::{Domain, Epoch};
use crate::effect;
use crate::id::PointId;
use crate::trace::EventKind;

/// A place where a task waits. It belongs to the domain and run it was made in, and to whichever task of that domain holds it: a future that
/// waits at one may be handed on to a child, as any future may.
///
/// The module [`platform`](crate::platform) shows one with its event source.
///
/// Miou: `Miou.syscall`.
#[doc(alias = "syscall")]
#[derive(Debug)]
pub struct Point {
    id: PointId,
    epoch: Epoch,
    _local: PhantomData<*mut ()>,
}

/// Why there is no suspension point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PointError {
    /// The domain's table is full: without `alloc` it has [`POINTS`] places.
    Full,
    /// The platform has no events that could resume it.
    NoEvents,
    /// There is no run on this thread.
    NoDomain,
}

impl fmt::Display for PointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PointError::Full => {
                write!(f, "every one of the {POINTS} suspension points of this domain is waiting: wait for fewer events at a time")
            }
            PointError::NoEvents => {
                f.write_str("this platform has no events, so nothing could resume a suspended task: run on a platform that has")
            }
            PointError::NoDomain => f.write_str("a suspension point was made outside a run: make it inside `run`, from a task"),
        }
    }
}

impl core::error::Error for PointError {}

impl Point {
    /// A new point of the current domain.
    ///
    /// # Errors
    /// See [`PointError`].
    pub fn new() -> Result<Point, PointError> {
        Domain::with(|domain| {
            if !domain.suspends {
                return Err(PointError::NoEvents);
            }
            let id = domain.points.open().ok_or(PointError::Full)?;
            Ok(Point { id, epoch: domain.epoch(), _local: PhantomData })
        })
        .unwrap_or(Err(PointError::NoDomain))
    }

    /// The name by which the event source resumes it.
    ///
    /// Miou: `Miou.uid`.
    #[doc(alias = "uid")]
    pub fn id(&self) -> PointId {
        self.id
    }

    /// Waits until the point is resumed.
    ///
    /// `register` is called in the first poll that does not find it resumed.
    ///
    /// # Errors
    /// Those of `register`: the point is then as if it had never been registered.
    ///
    /// # Panics
    /// When polled after its result, or in another domain or run than the point was made in.
    ///
    /// # Cancellation
    /// Dropped before it was resumed, and after `register` was called, the point is named to the event source as given up, exactly once.
    ///
    /// Miou: `Miou.suspend`.
    pub fn suspend<R, E>(self, register: R) -> Suspend<R>
    where
        R: FnOnce(PointId) -> Result<(), E>,
    {
        Suspend { point: Some(self), register: Some(register) }
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        // In another run, or outside: the table it was in is gone. On another domain of a simulation: that clears its place when it ends.
        let waker = Domain::with(|domain| {
            if domain.epoch() != self.epoch {
                return None;
            }
            if domain.is_traced()
                && let Some(task) = domain.points.noted(self.id)
            {
                domain.trace(|| EventKind::GiveUp { task, point: self.id });
            }
            domain.points.close(self.id)
        })
        .flatten();
        drop(waker);
    }
}

/// The future of [`Point::suspend`].
#[must_use = "a task suspends only when this is awaited"]
pub struct Suspend<R> {
    point: Option<Point>,
    register: Option<R>,
}

impl<R> Unpin for Suspend<R> {}

impl<R> fmt::Debug for Suspend<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suspend").field("point", &self.point).finish_non_exhaustive()
    }
}

impl<R, E> Future for Suspend<R>
where
    R: FnOnce(PointId) -> Result<(), E>,
{
    type Output = Result<(), E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(point) = &self.point else { panic!("a suspension point was polled after its result") };
        let (id, epoch) = (point.id, point.epoch);
        let fresh = Domain::with(|domain| {
            assert!(domain.epoch() == epoch, "a suspension point was polled on another domain than it was made on");
            domain.points.is_fresh(id)
        })
        .unwrap_or_else(|| panic!("a suspension point was polled outside its run"));
        if fresh {
            if effect::poll_budget(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(register) = self.register.take() {
                if let Err(error) = register(id) {
                    self.point = None;
                    return Poll::Ready(Err(error));
                }
                Domain::with(|domain| {
                    domain.points.registered(id);
                    if domain.is_traced() {
                        domain.trace_suspended(id);
                    }
                });
            }
        }
        let waker = cx.waker().clone();
        match Domain::with(|domain| domain.points.wait(id, waker)) {
            Some(Waited::Waiting(replaced)) => {
                drop(replaced);
                Poll::Pending
            }
            Some(Waited::Fresh) => unreachable!("it was registered above"),
            Some(Waited::Resumed) | None => {
                self.point = None;
                Poll::Ready(Ok(()))
            }
        }
    }
}
