//! Intervals, on a clock that only moves when it is slept on or pushed.

#![cfg(feature = "std")]

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use matou_core::platform::{Events, NoInterrupt, Platform, Signals, Wait};
use matou_core::time::{Instant, Interval, MissedTickBehavior, interval, interval_at, now, sleep, sleep_until};
use matou_core::{Config, DomainId, Outcome, PointId, RunError, run, spawn, yield_now};

/// The platform: one domain, and a clock in the test's hand.
#[derive(Clone, Default)]
struct Virtual(Arc<AtomicU64>);

impl Virtual {
    /// Work that takes this long.
    fn work(&self, nanos: u64) {
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Platform for Virtual {
    type Error = &'static str;
    type Events = Virtual;

    fn events(&self, _: DomainId) -> Result<Virtual, &'static str> {
        Ok(self.clone())
    }

    fn domains(&self, _: usize, _: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        main();
        Ok(())
    }
}

impl Events for Virtual {
    type Interrupt = NoInterrupt;
    type Error = &'static str;

    fn interrupter(&self) -> NoInterrupt {
        NoInterrupt
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn select(&mut self, wait: Wait, _: &[PointId], _: &mut Signals<'_>) -> Result<(), &'static str> {
        match wait {
            Wait::No => {}
            Wait::Until(deadline) => _ = self.0.fetch_max(deadline.as_nanos(), Ordering::Relaxed),
            Wait::Forever => return Err("nothing will ever happen"),
        }
        Ok(())
    }
}

const PERIOD: u64 = 100;

fn period() -> Duration {
    Duration::from_nanos(PERIOD)
}

fn on<F: Future<Output: Outcome>>(platform: &Virtual, main: F) -> Result<(), RunError<<F::Output as Outcome>::Error, &'static str>> {
    run(platform, Config::new(), main).map(drop)
}

/// When a tick came, and when it was due.
async fn tick(ticks: &mut Interval) -> (u64, u64) {
    let due = ticks.tick().await;
    (now().as_nanos(), due.as_nanos())
}

/// Polls a tick that is not due, and gives it up.
async fn give_up(ticks: &mut Interval) {
    let mut tick = pin!(ticks.tick());
    poll_fn(|cx| {
        assert!(tick.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[test]
fn the_first_tick_comes_at_once_and_then_one_each_period() {
    let clock = Virtual::default();
    let main = async {
        let mut ticks = interval(period());
        clock.work(7); // It begins with the first tick.
        for number in 0..1000 {
            let at = 7 + number * PERIOD;
            assert_eq!(tick(&mut ticks).await, (at, at));
            clock.work(number % PERIOD);
        }
        assert_eq!(ticks.period(), period());
    };
    on(&clock, main).unwrap();
}

#[test]
fn one_may_begin_later_or_earlier() {
    let clock = Virtual::default();
    let main = async {
        clock.work(1000);
        let mut later = interval_at(Instant::from_nanos(1250), period());
        assert_eq!(tick(&mut later).await, (1250, 1250));
        assert_eq!(tick(&mut later).await, (1350, 1350));
        let mut earlier = interval_at(Instant::from_nanos(1200), period());
        assert_eq!(tick(&mut earlier).await, (1350, 1200));
        assert_eq!(tick(&mut earlier).await, (1350, 1300));
        assert_eq!(tick(&mut earlier).await, (1400, 1400));
    };
    on(&clock, main).unwrap();
}

/// The ticks of the drawing in `time/interval.rs`: the second one is followed by work for more than two periods.
fn late(behavior: MissedTickBehavior) -> Vec<(u64, u64)> {
    let clock = Virtual::default();
    let mut came = Vec::new();
    let main = async {
        let mut ticks = interval(period());
        assert_eq!(ticks.missed_tick_behavior(), MissedTickBehavior::Burst, "unless another is asked for");
        ticks.set_missed_tick_behavior(behavior);
        for work in [30, 230, 0, 0, 0, 0] {
            came.push(tick(&mut ticks).await);
            clock.work(work);
        }
    };
    on(&clock, main).unwrap();
    came
}

#[test]
fn missed_ticks_come_in_a_burst() {
    assert_eq!(late(MissedTickBehavior::Burst), [(0, 0), (100, 100), (330, 200), (330, 300), (400, 400), (500, 500)]);
}

#[test]
fn missed_ticks_delay_the_next() {
    assert_eq!(late(MissedTickBehavior::Delay), [(0, 0), (100, 100), (330, 200), (430, 430), (530, 530), (630, 630)]);
}

#[test]
fn missed_ticks_are_skipped() {
    assert_eq!(late(MissedTickBehavior::Skip), [(0, 0), (100, 100), (330, 200), (400, 400), (500, 500), (600, 600)]);
}

#[test]
fn skipping_gives_no_two_ticks_at_one_time() {
    let clock = Virtual::default();
    let main = async {
        let mut ticks = interval(period());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        clock.work(2 * PERIOD);
        assert_eq!(tick(&mut ticks).await, (200, 100));
        // The one due at 200 was due when that came: it is left out, and nothing comes twice at one time.
        assert_eq!(tick(&mut ticks).await, (300, 300));
    };
    on(&clock, main).unwrap();
}

#[test]
fn a_tick_that_is_given_up_is_not_lost() {
    let clock = Virtual::default();
    let main = async {
        let mut ticks = interval(period());
        ticks.tick().await;
        for _ in 0..3 {
            give_up(&mut ticks).await;
        }
        sleep(Duration::from_nanos(130)).await;
        assert_eq!(tick(&mut ticks).await, (130, 100));
        assert_eq!(tick(&mut ticks).await, (200, 200));
    };
    on(&clock, main).unwrap();
}

#[test]
fn it_begins_anew_when_reset() {
    let clock = Virtual::default();
    let main = async {
        let mut ticks = interval(period());
        clock.work(10);
        ticks.reset(); // Also before the first tick.
        assert_eq!(tick(&mut ticks).await, (110, 110));
        clock.work(40);
        ticks.reset();
        assert_eq!(tick(&mut ticks).await, (250, 250));
        ticks.reset_at(Instant::from_nanos(1000));
        assert_eq!(tick(&mut ticks).await, (1000, 1000));
        ticks.reset_at(Instant::from_nanos(0));
        assert_eq!(tick(&mut ticks).await, (1000, 0));
    };
    on(&clock, main).unwrap();
}

#[test]
fn a_period_beyond_the_clock_never_ends() {
    let clock = Virtual::default();
    let main = async {
        for behavior in [MissedTickBehavior::Burst, MissedTickBehavior::Delay, MissedTickBehavior::Skip] {
            let mut ticks = interval(Duration::MAX);
            ticks.set_missed_tick_behavior(behavior);
            ticks.tick().await;
            give_up(&mut ticks).await;
        }
    };
    on(&clock, main).unwrap();
}

#[test]
fn r36_ticks_let_others_run() {
    let clock = Virtual::default();
    let main = async {
        let ran = std::rc::Rc::new(std::cell::Cell::new(false));
        let flag = ran.clone();
        let other = spawn(async move { flag.set(true) });
        let mut ticks = interval_at(Instant::from_nanos(0), Duration::from_nanos(1));
        clock.work(1_000_000); // As many ticks are due at once.
        let mut missed = 0;
        while !ran.get() {
            ticks.tick().await;
            missed += 1;
        }
        assert!(missed <= 100, "{missed} ticks before another task ran");
        other.await.unwrap();
    };
    on(&clock, main).unwrap();
}

#[test]
fn r46_what_outlives_its_run_is_inert() {
    let clock = Virtual::default();
    let mut kept = None;
    let main = async {
        let mut ticks = interval(period());
        ticks.tick().await;
        kept = Some(ticks);
    };
    on(&clock, main).unwrap();
    let mut kept = kept.unwrap();
    let mut said = || {
        let polled = AssertUnwindSafe(|| pin!(kept.tick()).poll(&mut Context::from_waker(Waker::noop())));
        let panic = catch_unwind(polled).unwrap_err();
        panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned()).unwrap()
    };
    assert_eq!(said(), "an interval was used outside a run: use it inside `run`, from a task");
    let main = async {
        assert_eq!(said(), "an interval was used in another run, or on another domain, than the one it began in");
    };
    on(&clock, main).unwrap();
}

#[test]
#[should_panic = "the period of an interval is zero: it would tick for ever"]
fn a_period_of_zero_is_refused() {
    drop(interval(Duration::ZERO));
}

#[test]
fn a_sleep_that_is_reset_waits_for_its_new_time() {
    let clock = Virtual::default();
    let main = async {
        let mut sleep = pin!(sleep(Duration::from_nanos(100)));
        let mut cx = Context::from_waker(Waker::noop());
        // While it waits: the earlier time wakes nobody any more.
        assert!(sleep.as_mut().poll(&mut cx).is_pending());
        sleep.as_mut().reset(Instant::from_nanos(300));
        assert!(!sleep.is_elapsed());
        sleep.as_mut().await;
        assert_eq!(now(), Instant::from_nanos(300));
        assert!(sleep.is_elapsed() && sleep.as_mut().poll(&mut cx).is_ready(), "its end stays");
        // And after it has fired.
        let mut later = now();
        later += Duration::from_nanos(50);
        sleep.as_mut().reset(later);
        assert!(!sleep.is_elapsed());
        sleep.as_mut().await;
        assert_eq!(now(), Instant::from_nanos(350));
    };
    on(&clock, main).unwrap();
}

/// Its queue finds that its time has come, before anybody looks at it. What it said it says again, for nothing.
#[test]
fn a_sleep_whose_time_came_has_elapsed_before_it_is_looked_at() {
    let clock = Virtual::default();
    let main = async {
        let mut first = pin!(sleep(Duration::from_nanos(100)));
        let mut second = pin!(sleep(Duration::from_nanos(200)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending());
        assert!(!first.is_elapsed());
        sleep(Duration::from_nanos(150)).await;
        assert!(first.is_elapsed() && !second.is_elapsed());
        for _ in 0..10_000 {
            assert!(first.as_mut().poll(&mut cx).is_ready());
        }
        assert!(second.as_mut().poll(&mut cx).is_pending());
        second.await;
        assert_eq!(now(), Instant::from_nanos(200));
    };
    on(&clock, main).unwrap();
}

#[test]
fn the_last_instant_never_comes() {
    let clock = Virtual::default();
    let main = async {
        let mut never = pin!(sleep_until(Instant::MAX));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(never.as_mut().poll(&mut cx).is_pending());
        clock.work(u64::MAX);
        // The domain looks at its timers.
        for _ in 0..300 {
            yield_now().await;
        }
        assert_eq!(now(), Instant::MAX);
        assert!(!never.is_elapsed() && never.as_mut().poll(&mut cx).is_pending());
    };
    on(&clock, main).unwrap();
}
