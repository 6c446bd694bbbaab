//! Whether a domain that has nothing to do stays awake for a moment, in case another domain is about to send it something.
//!
//! To end a sleep costs a system call of whoever rings, another of the sleeper, and the time in which the processor wakes up. Two domains
//! that call each other all the time would pay that for each call, both ways. So a domain may watch its mailbox before it sleeps, for at
//! most the run's [`Config::spin`](crate::Config::spin).
//!
//! Watching is worth it only where something comes within that time, so the past decides: a domain watches when each of its last waits was
//! ended by another thread, the last two of them soon. One wait that ended otherwise, or not soon, and it sleeps again at once. A
//! domain that is idle therefore uses no time, and one whose events come from the system never even asks for the time.
//!
//! A watch in vain doubles the number of waits that it takes to try again, and one that finds something halves it. So where domains have to
//! share a processor, and whoever watches keeps the other from sending, hardly any time is lost.
//!
//! *Soon* is twice the time of a watch: what two sleepers send each other takes two wake-ups, one each way, and takes one when one of them
//! watches. So they find together whenever a watch is longer than a wake-up; where it is shorter they never try.

use core::cell::Cell;
use core::time::Duration;

use crate::time::Instant;

/// After so many waits in a row that another thread ended, the second and later ones soon, one is watched.
const SURE: u16 = 3;

/// The same after many watches in vain.
const DOUBTFUL: u16 = SURE << 8;

/// How often a watch looks between two looks at the clock.
pub(crate) const LOOKS: u32 = 16;

/// See the [module](self).
pub(crate) struct Vigil {
    /// How long a watch is at most; zero: there is none.
    spin: Duration,
    /// How many waits another thread ended: the last ones, but for the first all soon.
    streak: Cell<u16>,
    /// How many it takes to watch.
    needed: Cell<u16>,
}

impl Vigil {
    pub(crate) const fn new(spin: Duration) -> Vigil {
        Vigil { spin, streak: Cell::new(0), needed: Cell::new(SURE) }
    }

    /// A wait begins. The time, if it matters.
    pub(crate) fn begin(&self, now: impl FnOnce() -> Instant) -> Option<Instant> {
        (self.streak.get() > 0).then(now)
    }

    /// Until when to watch, in a wait that begins at this time; and after how many looks at the clock at the latest, should that stand still.
    pub(crate) fn watch(&self, began: Instant) -> Option<(Instant, u64)> {
        // No look at a clock takes less than some nanoseconds, let alone sixteen looks at the mailbox.
        let rounds = 1 + u64::try_from(self.spin.as_nanos()).unwrap_or(u64::MAX) / 64;
        (self.streak.get() >= self.needed.get()).then(|| (began + self.spin, rounds))
    }

    /// The wait is over: the watch, if there was one, or the attempt to sleep has found something.
    pub(crate) fn found(&self, watched: bool) {
        if watched {
            self.needed.set((self.needed.get() / 2).max(SURE));
        }
        if !self.spin.is_zero() {
            self.streak.set((self.streak.get() + 1).min(DOUBTFUL));
        }
    }

    /// The wait is over, after a sleep. Whether another thread ended it, and the time, if it was asked for at the beginning.
    pub(crate) fn slept(&self, watched: bool, sent: bool, began: Option<Instant>, now: impl FnOnce() -> Instant) {
        if watched {
            self.needed.set((self.needed.get() * 2).min(DOUBTFUL));
        }
        let soon = |began| now().saturating_duration_since(began) <= self.spin.saturating_mul(2);
        match began {
            _ if !sent => self.streak.set(0),
            // Whatever it was, it was not soon enough.
            _ if watched => self.streak.set(1),
            Some(began) if !soon(began) => self.streak.set(1),
            _ => self.found(false),
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::vec;

    use super::*;

    /// Waits, each ended by another thread after so many microseconds, or otherwise. Which of them were watched.
    fn watched(spin: u64, waits: &[Option<u64>]) -> std::vec::Vec<bool> {
        let vigil = Vigil::new(Duration::from_micros(spin));
        let mut now = 1_000_000;
        let watch = |&wait: &Option<u64>| {
            let began = vigil.begin(|| Instant::from_nanos(now));
            let watch = began.and_then(|began| vigil.watch(began));
            now += wait.unwrap_or(1) * 1000;
            match watch {
                Some((until, _)) if wait.is_some() && Instant::from_nanos(now) <= until => vigil.found(true),
                _ => vigil.slept(watch.is_some(), wait.is_some(), began, || Instant::from_nanos(now)),
            }
            watch.is_some()
        };
        waits.iter().map(watch).collect()
    }

    #[test]
    fn r20_a_domain_watches_only_while_others_send_soon() {
        let (soon, late) = (Some(5), Some(100));
        let none = [false; 6];
        assert_eq!(watched(20, &[soon; 6]), [false, false, false, true, true, true]);
        assert_eq!(watched(20, &[late; 6]), none);
        assert_eq!(watched(20, &[None; 6]), none, "what its own events end");
        assert_eq!(
            watched(20, &[late, late, soon, soon, soon, soon]),
            [false, false, false, false, true, true],
            "the first counts late or not"
        );
        // One wait that is not soon ends it, at the cost of one watch.
        let after = |wait| [vec![soon; 3], vec![wait], vec![soon; 8]].concat();
        let first = |watched: std::vec::Vec<bool>| {
            assert!(watched[3] && !watched[..3].contains(&true));
            4 + watched[4..].iter().position(|&watch| watch).unwrap()
        };
        assert_eq!([first(watched(20, &after(late))), first(watched(20, &after(None)))], [9, 10]);
        assert_eq!(watched(20, &[soon, late, soon, late, soon, late]), none, "in turn it never pays");
    }

    #[test]
    fn r20_watches_in_vain_become_rare_and_one_that_is_not_makes_up_for_one() {
        // Between a watch and twice that: as between two that sleep, and cannot find together.
        let count = |waits: &[Option<u64>]| watched(20, waits).iter().filter(|&&watch| watch).count();
        assert_eq!([count(&[Some(30); 10]), count(&[Some(30); 100]), count(&[Some(30); 10_000])], [2, 5, 20]);
        // Things change: what took long is soon from now on.
        let mut waits = vec![Some(30); 10_000];
        waits.extend([Some(5); 2000]);
        let watched = watched(20, &waits);
        let found = watched[10_000..].iter().filter(|&&watch| watch).count();
        assert!(found > 1200, "{found}");
    }

    #[test]
    fn without_a_time_to_spin_the_clock_is_not_asked() {
        assert_eq!(watched(0, &[Some(0); 6]), [false; 6]);
        let vigil = Vigil::new(Duration::ZERO);
        for _ in 0..4 {
            assert!(vigil.begin(|| panic!("the clock was asked")).is_none());
            vigil.slept(false, true, None, || panic!("the clock was asked"));
            vigil.found(false);
        }
    }
}
