//! Suspension points: places where a task waits until its domain's event source resumes it.
//!
//! To write an effect on top of one: make a [`Point`], tell your event source its [`id`](Point::id) in the callback of
//! [`suspend`](Point::suspend), and have the source call [`Signals::resume`](crate::platform::Signals::resume) with that id from its
//! [`select`](crate::platform::Events::select) when the event has come.

use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

pub use crate::domain::points::POINTS;
use crate::domain::points::Standing;
use crate::domain::{Domain, Epoch};
use crate::effect;
use crate::id::PointId;

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
    #[inline]
    pub fn new() -> Result<Point, PointError> {
        Domain::with(Point::of).unwrap_or(Err(PointError::NoDomain))
    }

    #[inline]
    fn of(domain: &Domain) -> Result<Point, PointError> {
        if !domain.suspends {
            return Err(PointError::NoEvents);
        }
        let id = domain.open_point().ok_or(PointError::Full)?;
        Ok(Point { id, epoch: domain.epoch(), _local: PhantomData })
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

    /// As [`suspend`](Point::suspend), for those who write a future of their own around the point: ready once it was resumed, and from
    /// then on. `register` is called in the first poll that does not find it resumed, and in no other unless it failed.
    ///
    /// ```
    /// use std::task::{Context, Poll};
    ///
    /// use matou_core::PointId;
    /// use matou_core::suspension::{Point, PointError};
    ///
    /// /// Waits for what `ask` asks the event source for. It keeps the point alone.
    /// fn poll_event(point: &mut Point, ask: fn(PointId), cx: &mut Context<'_>) -> Poll<()> {
    ///     let asked = |point| -> Result<(), PointError> { Ok(ask(point)) };
    ///     point.poll_suspend(cx, asked).map(|resumed| resumed.expect("asking does not fail"))
    /// }
    /// # let _ = poll_event;
    /// ```
    ///
    /// # Errors
    /// Those of `register`: the point is then as if it had never been registered.
    ///
    /// # Panics
    /// When called in another domain or run than the point was made in.
    ///
    /// # Cancellation
    /// It is the point that counts: see [`suspend`](Point::suspend).
    pub fn poll_suspend<E>(&mut self, cx: &mut Context<'_>, register: impl FnOnce(PointId) -> Result<(), E>) -> Poll<Result<(), E>> {
        let id = self.id;
        let (standing, spent) = Domain::with(|domain| {
            assert!(domain.epoch() == self.epoch, "a suspension point was polled on another domain than it was made on");
            let standing = domain.points.standing(id, cx.waker());
            (standing, standing == Standing::Fresh && !domain.count_effect())
        })
        .expect("a suspension point was polled outside its run");
        if spent {
            return effect::out_of_turn(cx);
        }
        match standing {
            Standing::Resumed => Poll::Ready(Ok(())),
            Standing::Waiting => Poll::Pending,
            Standing::Fresh => self.begin(cx, register),
            Standing::WaitingElsewhere => {
                let waker = cx.waker().clone();
                self.keep(waker, false).map(Ok)
            }
        }
    }

    /// Waits at the point in `place`, and makes one where there is none: [`new`](Point::new) and [`poll_suspend`](Point::poll_suspend) in
    /// one, for futures that wait again and again. Once it is ready, `place` is empty; so it is while this is pending because the budget of the poll is
    /// used up: nothing was registered then, and the next call begins anew.
    ///
    /// ```
    /// use std::task::{Context, Poll};
    ///
    /// use matou_core::PointId;
    /// use matou_core::suspension::{Point, PointError};
    ///
    /// /// Waits for what `ask` asks the event source for.
    /// fn poll_event(place: &mut Option<Point>, ask: fn(PointId), cx: &mut Context<'_>) -> Poll<Result<(), PointError>> {
    ///     Point::poll_at(place, cx, |point| Ok(ask(point)))
    /// }
    /// # let _ = poll_event;
    /// ```
    ///
    /// # Errors
    /// Those of `register`, and [`PointError`]: there is no point then.
    ///
    /// # Panics
    /// When called in another domain or run than the point was made in.
    ///
    /// # Cancellation
    /// It is the point that counts: see [`suspend`](Point::suspend).
    #[inline]
    pub fn poll_at<E: From<PointError>>(
        place: &mut Option<Point>,
        cx: &mut Context<'_>,
        register: impl FnOnce(PointId) -> Result<(), E>,
    ) -> Poll<Result<(), E>> {
        let Some(point) = place else {
            let made = Domain::with(|domain| domain.count_effect().then(|| Point::of(domain)));
            let mut point = match made {
                Some(Some(Ok(point))) => point,
                Some(Some(Err(error))) => return Poll::Ready(Err(error.into())),
                Some(None) => return effect::out_of_turn(cx),
                None => return Poll::Ready(Err(PointError::NoDomain.into())),
            };
            let polled = point.begin(cx, register);
            if polled.is_pending() {
                *place = Some(point);
            }
            return polled;
        };
        if Domain::with(|domain| domain.epoch() == point.epoch && domain.points.take_resumed(point.id)) == Some(true) {
            core::mem::forget(place.take()); // It is closed.
            return Poll::Ready(Ok(()));
        }
        let polled = point.poll_suspend(cx, register);
        if polled.is_ready() {
            *place = None;
        }
        polled
    }

    /// Registers it, for the task that polls.
    #[inline]
    fn begin<E>(&mut self, cx: &mut Context<'_>, register: impl FnOnce(PointId) -> Result<(), E>) -> Poll<Result<(), E>> {
        // Before the registration: should it panic, there is none to be told of.
        let waker = cx.waker().clone();
        match register(self.id) {
            Ok(()) => self.keep(waker, true).map(Ok),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Waits with this waker. `fresh`: it was registered just now.
    #[inline]
    fn keep(&mut self, waker: Waker, fresh: bool) -> Poll<()> {
        let waited = Domain::with(|domain| {
            let waited = domain.points.wait(self.id, waker);
            // Once for each task that waits at it: it may have been handed on.
            if domain.is_traced() && (fresh || waited.is_ok()) {
                domain.trace_suspended(self.id);
            }
            waited
        });
        match waited {
            Some(Ok(_replaced)) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Point {
    fn drop(&mut self) {
        // In another run, or outside: the table it was in is gone. On another domain of a simulation: that clears its place when it ends.
        let waker = Domain::with(|domain| {
            if domain.epoch() != self.epoch {
                return None;
            }
            if domain.is_traced() {
                domain.trace_given_up(self.id);
            }
            domain.close_point(self.id)
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
        let Suspend { point, register } = &mut *self;
        let Some(waiting) = point else { panic!("a suspension point was polled after its result") };
        let polled = waiting.poll_suspend(cx, |id| match register.take() {
            Some(register) => register(id),
            None => panic!("a suspension point was polled after its registration panicked"),
        });
        if polled.is_ready() {
            *point = None;
        }
        polled
    }
}
