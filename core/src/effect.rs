//! Effects and their budget.
//!
//! An effect is any call into the runtime. Each poll of a task starts with a budget of `quanta` effects; when it is used up, the
//! next awaited effect wakes its waker and is pending, so that the other tasks and the system's events have their turn: a task that
//! always finds its data ready cannot keep the domain for itself.
//!
//! The budget is the task's, not a branch's. A future that does whatever is ready, for ever, and comes first in a `select` written by hand leaves nothing to
//! those polled after it: a `Trigger` there is not seen. Poll what is rare first, the endless last. (The clock of a `time::timeout` takes one effect in all.)
//!
//! The same effects are counted for the domain: after `quanta` of them its event source is asked at the next boundary between polls.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::domain::Domain;

/// Takes one effect from the current task's budget. Pending, with the waker woken, when none is left.
///
/// For those who write awaited effects of their own on suspension points: await it once, first. What is polled while it is pending
/// uses [`poll_effect`] instead. Outside a task it is always ready.
pub fn poll_budget(cx: &mut Context<'_>) -> Poll<()> {
    let spent = Domain::with(|domain| !domain.count_effect()).unwrap_or(false);
    if spent { out_of_turn(cx) } else { Poll::Ready(()) }
}

/// The budget is used up: the others have their turn, and then this task goes on.
#[cold]
pub(crate) fn out_of_turn<R>(cx: &Context<'_>) -> Poll<R> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Polls an awaited effect: takes one from the current task's budget, and is pending, with the waker woken, when none is left. An effect that
/// turns out pending gives its one back: a task that looks at many things of which none is ready has not kept the domain from anybody, and
/// must be able to look at all of them.
pub fn poll_effect<R>(cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
    if poll_budget(cx).is_pending() {
        return Poll::Pending;
    }
    let polled = poll(cx);
    if polled.is_pending() {
        Domain::with(Domain::give_back_effect);
    }
    polled
}

/// As [`poll_effect`], on a domain that the caller has at hand.
#[inline]
pub(crate) fn poll_effect_on<R>(domain: &Domain, cx: &mut Context<'_>, poll: impl FnOnce(&mut Context<'_>) -> Poll<R>) -> Poll<R> {
    if !domain.count_effect() {
        return out_of_turn(cx);
    }
    let polled = poll(cx);
    if polled.is_pending() {
        domain.give_back_effect();
    }
    polled
}

/// Takes one effect from the budget, where the effect is not awaited and therefore cannot wait.
pub(crate) fn count(domain: &Domain) {
    let _left = domain.count_effect();
}

/// Lets the other runnable tasks run, and the domain look at its events, before the current task goes on.
///
/// Runnable tasks run first in, first out, in two lines: those that an event or a timer has resumed, with what they spawn before they yield, and all
/// others, where this one goes. The first line goes first, up to `quanta` of it beyond what the second has run.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # async fn sum(numbers: &[u64]) -> u64 {
/// let mut sum = 0;
/// for chunk in numbers.chunks(1 << 16) {
///     sum += chunk.iter().sum::<u64>();
///     matou_core::yield_now().await;
/// }
/// sum
/// # }
/// # }
/// ```
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
///
/// Miou: `Miou.yield`.
#[doc(alias = "yield")]
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "a task yields only when this is awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        Domain::with(count);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
