//! Time: the platform's clock, sleeping, deadlines, and intervals.
//!
//! A [`Sleep`] is a node of its domain's timer queue: it allocates nothing, and costs no system call of its own. Its domain's
//! event source sleeps until the earliest deadline.

#![allow(unsafe_code)] // Links pinned nodes into the domain's timer queue.

use core::cell::Cell;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::ops::{Add, AddAssign, Sub};
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};
use core::time::Duration;

use crate::container::timer_queue::TimerNode;
use crate::domain::{Domain, Epoch};
use crate::effect;

mod interval;

pub use self::interval::{Interval, MissedTickBehavior, interval, interval_at};
#[cfg(feature = "alloc")]
pub use self::timeout::{Elapsed, Timeout, timeout, timeout_at};

/// A time on the platform's clock, in nanoseconds. It has no relation to the calendar.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The end of time: a timer set for it does not fire.
    pub const MAX: Instant = Instant(u64::MAX);

    /// The time this many nanoseconds after the clock's zero.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the clock's zero.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time `duration` later, [`Instant::MAX`] where the clock does not reach so far.
    pub fn saturating_add(self, duration: Duration) -> Instant {
        self.checked_add(duration).unwrap_or(Instant::MAX)
    }

    /// The time `duration` later, if the clock reaches so far.
    pub fn checked_add(self, duration: Duration) -> Option<Instant> {
        // In 64 bits, as `as_nanos` counts in 128, which small processors do at length.
        let whole = duration.as_secs().checked_mul(1_000_000_000)?;
        self.0.checked_add(whole)?.checked_add(duration.subsec_nanos().into()).map(Instant)
    }

    /// How long after `earlier` this is; zero if it is before.
    pub const fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How long ago this was; zero if it is to come.
    ///
    /// # Panics
    /// Outside a run.
    #[track_caller]
    pub fn elapsed(self) -> Duration {
        now().saturating_duration_since(self)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at [`Instant::MAX`].
    fn add(self, duration: Duration) -> Instant {
        self.saturating_add(duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        *self = *self + duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Saturates at zero.
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.0))
    }
}

/// The time on the current domain's clock.
///
/// # Panics
/// Outside a run.
#[track_caller]
pub fn now() -> Instant {
    Domain::with(|domain| domain.now()).expect("the clock was asked outside a run: use it inside `run`, from a task")
}

/// Waits for `duration`. It does not begin before it is first polled.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::time;
/// # async fn example() {
/// time::sleep(std::time::Duration::from_millis(20)).await;
/// # }
/// # }
/// ```
///
/// # Panics
/// When polled outside a run, or on another domain or in another run than the one it began in.
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
///
/// Miou: `Miou_unix.sleep`.
pub fn sleep(duration: Duration) -> Sleep {
    Sleep::new(Deadline::In(duration))
}

/// Waits until this time on the current domain's clock; a time that is past does not wait.
///
/// # Panics
/// As [`sleep`].
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(Deadline::At(deadline))
}

#[derive(Clone, Copy)]
enum Deadline {
    In(Duration),
    At(Instant),
}

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "a sleep waits only when awaited"]
pub struct Sleep {
    node: TimerNode,
    asked: Cell<Deadline>,
    /// The domain in whose queue it is or was, until it has said that its time came.
    epoch: Cell<Option<Epoch>>,
    _local: PhantomData<*mut ()>,
}

impl Sleep {
    fn new(asked: Deadline) -> Self {
        let node = TimerNode::new(Instant::MAX);
        Sleep { node, asked: Cell::new(asked), epoch: Cell::new(None), _local: PhantomData }
    }

    /// Whether its time came while it was awaited: then it does not wait any more.
    pub fn is_elapsed(&self) -> bool {
        self.node.has_fired()
    }

    /// Waits for another time instead, as if made anew; it may have fired.
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.unlink();
        self.asked.set(Deadline::At(deadline));
        self.epoch.set(None);
        self.node.set_deadline(deadline);
    }

    fn unlink(&self) {
        self.node.unlink();
        drop(self.node.set_waker(None));
    }

    /// Polls it where it has not said yet that its time came. It is pinned.
    fn poll_on(&self, domain: &Domain, cx: &Context<'_>) -> Poll<()> {
        if let Some(epoch) = self.epoch.get() {
            assert!(epoch == domain.epoch(), "a sleep was polled in another run than the one it began in");
            // Its queue found it, and need not ask the clock again.
            if self.node.has_fired() {
                self.epoch.set(None);
                return Poll::Ready(());
            }
        }
        let now = domain.now();
        if self.epoch.get().is_none() {
            self.node.set_deadline(match self.asked.get() {
                Deadline::In(duration) => now + duration,
                Deadline::At(instant) => instant,
            });
            self.epoch.set(Some(domain.epoch()));
        }
        if now >= self.node.deadline() && self.node.deadline() != Instant::MAX {
            self.unlink();
            self.node.fire();
            self.epoch.set(None);
            return Poll::Ready(());
        }
        let old = self.node.set_waker(Some(cx.waker().clone()));
        if !self.node.is_linked() {
            // SAFETY: *Pinned*: the node is part of a pinned future, whose drop unlinks it.
            unsafe { domain.timers.insert(NonNull::from(&self.node), now) };
        }
        drop(old);
        Poll::Pending
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.node.has_fired() && self.epoch.get().is_none() {
            // It has said so before.
            return Poll::Ready(());
        }
        let this = self.as_ref().get_ref();
        let polled = Domain::with(|domain| effect::poll_effect_on(domain, cx, |cx| this.poll_on(domain, cx)));
        polled.expect("a sleep was polled outside a run: await it inside `run`, from a task")
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.unlink();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("fired", &self.node.has_fired()).finish_non_exhaustive()
    }
}

#[cfg(feature = "alloc")]
mod timeout {
    use super::*;
    use crate::outcome::Outcome;
    use crate::scope::{Scope, scope};

    /// The time given to [`timeout`] is over.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Elapsed;

    impl fmt::Display for Elapsed {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the time is over")
        }
    }

    impl core::error::Error for Elapsed {}

    #[cfg(feature = "std")]
    impl From<Elapsed> for std::io::Error {
        fn from(elapsed: Elapsed) -> Self {
            std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
        }
    }

    /// Awaits `future` for at most `duration`, then drops it and gives [`Elapsed`].
    ///
    /// It opens a [`scope`](fn@scope): the children that the future made while it was polled are cancelled with it, so that what is cut short leaves
    /// none behind. It does not wait for their end, which may take as long as it likes: the task's own end does. So when `Elapsed` is given, a child
    /// on this domain has not been dropped yet: it holds what it held, a mutex for example, until the task lets the domain go on, by
    /// [`yield_now`](crate::yield_now) or by awaiting anything that is not ready. One on another domain is dropped there.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// # use matou_core::time::timeout;
    /// # async fn example(reading: impl Future<Output = u8>) {
    /// match timeout(std::time::Duration::from_secs(5), reading).await {
    ///     Ok(byte) => println!("got {byte}"),
    ///     Err(_elapsed) => println!("too slow"),
    /// }
    /// # }
    /// # }
    /// ```
    ///
    /// # Panics
    /// When polled outside a run.
    ///
    /// # Cancellation
    /// Dropped early it drops the future and cancels the children made in it.
    pub fn timeout<F: Future<Output: Outcome>>(duration: Duration, future: F) -> Timeout<F> {
        Timeout { scope: Some(scope(future)), sleep: sleep(duration), begun: false }
    }

    /// As [`timeout`], until this time.
    ///
    /// # Panics
    /// When polled outside a run.
    ///
    /// # Cancellation
    /// As [`timeout`].
    pub fn timeout_at<F: Future<Output: Outcome>>(deadline: Instant, future: F) -> Timeout<F> {
        Timeout { scope: Some(scope(future)), sleep: sleep_until(deadline), begun: false }
    }

    /// The future of [`timeout`] and [`timeout_at`].
    #[must_use = "a timeout does nothing unless awaited"]
    pub struct Timeout<F: Future> {
        scope: Option<Scope<F>>,
        sleep: Sleep,
        /// Whether the sleep has been polled, or has had its turn to be.
        begun: bool,
    }

    impl<F: Future> fmt::Debug for Timeout<F> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Timeout").field("sleep", &self.sleep).finish_non_exhaustive()
        }
    }

    impl<F: Future<Output: Outcome>> Future for Timeout<F> {
        type Output = Result<F::Output, Elapsed>;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            // SAFETY: structural pinning of both fields: neither is moved out of, `scope` is only dropped in place (`Pin::set`), and
            // `Timeout` has no `Drop` and is `Unpin` only if they are.
            let (mut scope, sleep, begun) = unsafe {
                let this = self.get_unchecked_mut();
                (Pin::new_unchecked(&mut this.scope), Pin::new_unchecked(&mut this.sleep), &mut this.begun)
            };
            let Some(inner) = scope.as_mut().as_pin_mut() else { panic!("a timeout was polled after its result") };
            if let Poll::Ready(output) = inner.poll(cx) {
                return Poll::Ready(Ok(output));
            }
            let first = !core::mem::replace(begun, true);
            let sleep = sleep.as_ref().get_ref();
            let elapsed = Domain::with(|domain| {
                // It is one effect, whoever does nothing but such. And only one: a future that uses up the budget in each poll leaves none.
                if first { effect::poll_effect_on(domain, cx, |cx| sleep.poll_on(domain, cx)) } else { sleep.poll_on(domain, cx) }
            });
            match elapsed.expect("a scope was polled") {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    scope.set(None);
                    Poll::Ready(Err(Elapsed))
                }
            }
        }
    }
}
