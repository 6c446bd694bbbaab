//! Ticks at regular times.
//!
//! An [`Interval`] is only a time and a period. Each tick sleeps in a [`Sleep`](super::Sleep) of its own, so nothing is pinned, allocated or
//! linked between two ticks, and a tick that is dropped early has moved nothing.
//!
//! ```text
//!   due     1         2         3         4         5
//!   work    ▓▓▓       ▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓
//!   Burst   1         2                      34     5         what was missed at once, then as planned
//!   Delay   1         2                      3         4      from the late one on
//!   Skip    1         2                      3      4         what was due meanwhile is left out
//! ```

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use super::{Instant, now, sleep_until};
use crate::domain::{Domain, Epoch};

/// Ticks every `period`; the first tick comes at once. It begins with its first tick, not when it is made.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use core::time::Duration;
/// # use matou_core::time::interval;
/// # async fn example(flush: impl Fn()) {
/// let mut ticks = interval(Duration::from_secs(5));
/// loop {
///     ticks.tick().await;
///     flush();
/// }
/// # }
/// # }
/// ```
///
/// # Panics
/// If `period` is zero.
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    Interval::new(None, period)
}

/// Ticks every `period`; the first tick comes at `start`, at once if that is past.
///
/// # Panics
/// If `period` is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval::new(Some(start), period)
}

/// What becomes of ticks that were due while nobody awaited one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissedTickBehavior {
    /// They come at once, one after the other, until the interval has caught up: as many ticks as periods, and all later ones where they would
    /// have been.
    #[default]
    Burst,
    /// The next tick comes a whole period after the one that was late: never less than a period lies between two. All later ones are shifted by
    /// as much as any was late, if only by the time it takes to wake up.
    Delay,
    /// They are left out: the next tick comes at the next multiple of the period that is to come.
    Skip,
}

/// A source of ticks. Made by [`interval`] and [`interval_at`].
#[must_use = "it ticks only when `tick` is awaited"]
pub struct Interval {
    /// When the next tick is due; none before the first one, if that comes at once.
    due: Option<Instant>,
    period: Duration,
    missed: MissedTickBehavior,
    /// The domain whose clock it goes by, once it has begun.
    epoch: Option<Epoch>,
    _local: PhantomData<*mut ()>,
}

impl Interval {
    #[track_caller]
    fn new(due: Option<Instant>, period: Duration) -> Interval {
        assert!(!period.is_zero(), "the period of an interval is zero: it would tick for ever");
        Interval { due, period, missed: MissedTickBehavior::default(), epoch: None, _local: PhantomData }
    }

    /// Waits for the next tick, and gives the time it was due.
    ///
    /// # Panics
    /// Outside a run, and on another domain or in another run than the one it began in.
    ///
    /// # Cancellation
    /// Dropped early it has taken no tick: the next call gives it.
    pub async fn tick(&mut self) -> Instant {
        let due = self.begun();
        sleep_until(due).await;
        self.due = Some(match self.missed {
            MissedTickBehavior::Burst => due + self.period,
            MissedTickBehavior::Delay => now() + self.period,
            MissedTickBehavior::Skip => next_multiple(due, self.period, now()),
        });
        due
    }

    /// When the next tick is due.
    fn begun(&mut self) -> Instant {
        let here = Domain::with(|domain| domain.epoch());
        let here = here.expect("an interval was used outside a run: use it inside `run`, from a task");
        let epoch = *self.epoch.get_or_insert(here);
        assert!(epoch == here, "an interval was used in another run, or on another domain, than the one it began in");
        *self.due.get_or_insert_with(now)
    }

    /// Lets the next tick come a period from now.
    ///
    /// # Panics
    /// As [`tick`](Interval::tick).
    pub fn reset(&mut self) {
        self.begun();
        self.due = Some(now() + self.period);
    }

    /// Lets the next tick come at this time, at once if that is past.
    pub fn reset_at(&mut self, due: Instant) {
        self.due = Some(due);
    }

    /// The time from tick to tick.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What becomes of missed ticks.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what becomes of missed ticks: [`MissedTickBehavior::Burst`], unless this is called.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("due", &self.due)
            .field("period", &self.period)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// The first of `due` and the times whole periods after it that is later than both `due` and `now`.
fn next_multiple(due: Instant, period: Duration, now: Instant) -> Instant {
    let Ok(period) = u64::try_from(period.as_nanos()) else { return Instant::MAX };
    let late = now.as_nanos().saturating_sub(due.as_nanos());
    let ahead = (late / period + 1).saturating_mul(period);
    Instant::from_nanos(due.as_nanos().saturating_add(ahead))
}
