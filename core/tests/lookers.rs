//! Who looks inside a run (a consumer of its trace, those who ask for its tree of tasks) and a clock that does what a clock should not:
//! no rule is broken by either, and none ends the process.

#![cfg(feature = "std")]

mod support;

use std::any::Any;
use std::cell::RefCell;
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use matou_core::dump::{Inspector, Survey, inspector};
use matou_core::platform::{Events, Platform, Signals, Wait};
use matou_core::suspension::Point;
use matou_core::time::{Instant, Sleep, sleep_until};
use matou_core::trace::{Event, EventKind, Trace};
use matou_core::{Config, DomainId, EventsError, PointId, Resource, RunError, Task, await_all, domain, hook, run, spawn, yield_now};
use support::family::{Journal, at_drop, go, pinned};
use support::leak::leak;
use support::wakers::poll_under;
use support::{Bell, ByHand, Threads};

/// As [`Threads`], with a clock that does something first.
struct Odd {
    threads: Threads,
    clock: fn(),
}

impl Odd {
    fn new(clock: fn()) -> Odd {
        Odd { threads: Threads::new(0), clock }
    }
}

struct OddEvents {
    events: ByHand,
    clock: fn(),
}

impl Events for OddEvents {
    type Interrupt = Bell;
    type Error = &'static str;

    fn interrupter(&self) -> Bell {
        self.events.interrupter()
    }

    fn now(&self) -> Instant {
        (self.clock)();
        self.events.now()
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), &'static str> {
        self.events.select(wait, cancelled, signals)
    }
}

impl Platform for Odd {
    type Error = &'static str;
    type Events = OddEvents;

    fn events(&self, domain: DomainId) -> Result<OddEvents, &'static str> {
        Ok(OddEvents { events: self.threads.events(domain)?, clock: self.clock })
    }

    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        self.threads.domains(workers, worker, main)
    }
}

/// A consumer that listens to nothing.
struct Deaf;

impl Trace for Deaf {
    fn event(&self, _: &Event) {}
}

static DEAF: Deaf = Deaf;

// ---- Clocks

#[test]
fn r18_a_clock_that_panics_while_a_run_is_traced_or_asked_ends_it_in_order() {
    static BROKEN: AtomicBool = AtomicBool::new(false);
    let platform = Odd::new(|| assert!(!BROKEN.load(SeqCst), "a stopped clock"));
    for asked in [false, true] {
        BROKEN.store(false, SeqCst);
        let config = if asked { Config::new().births(true) } else { Config::new().trace(&DEAF) };
        let ended = run(&platform, config, async {
            BROKEN.store(true, SeqCst);
            if asked {
                inspector().unwrap().survey().await;
            }
            yield_now().await;
        });
        let Err(RunError::Events(_, EventsError::Panicked(panic))) = ended else { panic!("{ended:?}") };
        assert_eq!(panic.message(), "a stopped clock");
    }
}

#[test]
fn r18_a_clock_that_panics_when_its_domain_leaves_is_told() {
    static BROKEN: AtomicBool = AtomicBool::new(false);
    let platform = Odd::new(|| assert!(!BROKEN.load(SeqCst), "a stopped clock"));
    for breaks in [false, true] {
        BROKEN.store(false, SeqCst);
        let ended = run(&platform, Config::new().trace(&DEAF), async move {
            let mut waits = Box::pin(Point::new().unwrap().suspend(|_| Ok::<(), ()>(())));
            assert!(poll_under(&mut waits, Waker::noop()).is_pending());
            // The hook outlives the tasks. What it has is dropped in the order in which it was captured, and giving the point up is traced.
            let kept = (at_drop(move || BROKEN.store(breaks, SeqCst)), waits);
            hook::add(move || _ = &kept).keep();
        });
        let panic = match ended {
            Err(RunError::Events(_, EventsError::Panicked(panic))) => Some(panic.message()),
            Ok(()) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(panic.as_deref(), breaks.then_some("a stopped clock"));
    }
}

/// Runs this while a clock gives the resource that is held to a child of whoever asks for the time.
fn with_a_clock_that_gives(config: Config, task: impl AsyncFnOnce(Resource<Box<u32>>, Resource<Box<u32>>)) {
    thread_local! {
        static HELD: RefCell<Option<Resource<Box<u32>>>> = const { RefCell::new(None) };
        static REFUSED: RefCell<Option<String>> = const { RefCell::new(None) };
    }
    let platform = Odd::new(|| {
        if let Some(held) = HELD.take() {
            // Where it is no part of the task, it owns nothing, and may start nothing.
            let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Task::new().give(&held).spawn(async {}).is_ok()));
            REFUSED.set(Some(format!("{started:?}")));
            assert!(held.release().is_err());
        }
    });
    let ended = run(&platform, config, async {
        let (one, two) = (Resource::new(Box::new(1), drop), Resource::new(Box::new(2), drop));
        one.own().unwrap();
        two.own().unwrap();
        HELD.set(Some(two.clone()));
        task(one, two).await;
    });
    assert!(ended.is_ok(), "{ended:?}");
    assert!(REFUSED.take().is_some_and(|started| started != "Ok(true)"), "the clock was asked, and started nothing");
}

#[test]
fn r26_a_clock_is_no_part_of_the_task_whose_resources_are_being_edited() {
    with_a_clock_that_gives(Config::new().trace(&DEAF), async |one, two| {
        two.release().unwrap();
        drop(two);
        one.release().unwrap();
    });
    with_a_clock_that_gives(Config::new().births(true), async |one, two| {
        let child = Task::new().give(&two).spawn(async {}).unwrap();
        drop(two);
        child.cancel().await;
        one.release().unwrap();
    });
}

// ---- Questions

struct Nothing;

impl Wake for Nothing {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn a_survey_dropped_early_keeps_neither_its_waker_nor_a_place() {
    go(0, 0, async {
        let nothing = Arc::new(Nothing);
        let waker = Waker::from(nothing.clone());
        let mut survey = inspector().unwrap().survey();
        assert!(Pin::new(&mut survey).poll(&mut Context::from_waker(&waker)).is_pending());
        drop((waker, survey));
        assert_eq!(Arc::strong_count(&nothing), 1);
    })
    .unwrap();
}

#[test]
fn a_survey_whose_last_poll_finds_it_complete_keeps_no_waker() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a waker whose destructor panics");
        }
    }
    /// Woken, it polls the survey once more, under a waker whose destructor panics, and drops it.
    struct Again(Mutex<Option<Survey>>);
    impl Wake for Again {
        fn wake(self: Arc<Self>) {
            let mut survey = self.0.lock().unwrap().take().unwrap();
            let bomb = Arc::new(Bomb);
            let waker = Waker::from(bomb.clone());
            assert_eq!(Pin::new(&mut survey).poll(&mut Context::from_waker(&waker)), Poll::Ready(()));
            drop(survey);
            leak((bomb, waker));
        }
    }
    go(0, 0, async {
        let again = Arc::new(Again(Mutex::new(Some(inspector().unwrap().survey()))));
        let waker = Waker::from(again.clone());
        assert!(Pin::new(again.0.lock().unwrap().as_mut().unwrap()).poll(&mut Context::from_waker(&waker)).is_pending());
        yield_now().await;
        yield_now().await;
        assert!(again.0.lock().unwrap().is_none());
    })
    .unwrap();
}

#[test]
fn a_question_put_to_a_domain_that_has_left_is_settled_at_once() {
    static TOLD: AtomicUsize = AtomicUsize::new(9);
    go(1, 0, async {
        pinned(1, || async {
            let asker = inspector().unwrap();
            let last = at_drop(move || {
                // Domain 0 may have left already: then nobody is to be waited for. Bounded, so that a failure is no hang.
                TOLD.store(asker.survey().wait(Duration::from_secs(20)).into(), SeqCst);
            });
            hook::add(move || {
                let _last = &last;
            })
            .keep();
        })
        .await
        .unwrap();
    })
    .unwrap();
    assert_eq!(TOLD.load(SeqCst), 1);
}

#[test]
fn askers_that_never_stop_keep_neither_the_tasks_nor_the_end_of_a_run() {
    let (slot, over) = (Mutex::new(None::<Inspector>), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for asker in 0..4 {
            let (slot, over) = (&slot, &over);
            scope.spawn(move || {
                while !over.load(SeqCst) {
                    let inspector = slot.lock().unwrap().clone();
                    for _ in 0..50 {
                        let Some(inspector) = &inspector else { break };
                        let survey = inspector.survey();
                        if asker % 2 == 0 {
                            survey.is_complete();
                        }
                    }
                    std::thread::yield_now();
                }
            });
        }
        for seed in 0..10 {
            go(1, seed, async {
                *slot.lock().unwrap() = inspector();
                for _ in 0..20 {
                    yield_now().await;
                }
            })
            .unwrap();
        }
        over.store(true, SeqCst);
    });
}

// ---- Consumers and hooks that cancel

thread_local! {
    static ALL: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

#[test]
fn r12_a_task_cancelled_by_who_is_told_that_its_poll_begins_is_not_polled() {
    struct Cutter;
    impl Trace for Cutter {
        fn event(&self, event: &Event) {
            if let EventKind::RunBegin { task, .. } = event.kind
                && task.number() == 1
            {
                drop(ALL.take());
            }
        }
    }
    static CUTTER: Cutter = Cutter;
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = polls.clone();
    let ended = run(&Threads::new(0), Config::new().trace(&CUTTER), async move {
        let child = spawn(async move {
            counted.fetch_add(1, SeqCst);
            pending::<()>().await
        });
        ALL.set(Some(Box::new(await_all(vec![child]))));
        for _ in 0..3 {
            yield_now().await;
        }
    });
    assert!(ended.is_ok(), "{ended:?}");
    assert_eq!(polls.load(SeqCst), 0);
}

#[test]
fn r09_what_a_hook_cancels_is_dropped_before_any_task_runs() {
    let journal = Journal::new();
    go(0, 0, async {
        let dropped = journal.at_drop("dropped");
        let child = spawn(async move {
            let _dropped = dropped;
            pending::<()>().await
        });
        yield_now().await;
        let (mut all, says, other) = (Some(await_all(vec![child])), journal.clone(), journal.clone());
        let other = spawn(async move { other.write("another task") });
        let _hook = hook::add(move || {
            if let Some(all) = all.take() {
                drop(all);
                says.write("cancelled");
            }
        });
        other.await.unwrap();
    })
    .unwrap();
    assert_eq!(journal.read(), ["cancelled", "dropped", "another task"]);
}

thread_local! {
    static SLEEPS: RefCell<Vec<Pin<Box<Sleep>>>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn r46_a_sleep_begun_by_what_a_clock_panicked_with_is_inert_afterwards() {
    static BROKEN: AtomicBool = AtomicBool::new(false);

    /// Dropped inside a run, it sets a timer and keeps it.
    struct Sleeper;
    impl Drop for Sleeper {
        fn drop(&mut self) {
            if domain::current().is_some() {
                let broken = BROKEN.swap(false, SeqCst);
                let mut sleep = Box::pin(sleep_until(Instant::from_nanos(u64::MAX - 1)));
                assert!(poll_under(&mut sleep.as_mut(), Waker::noop()).is_pending());
                SLEEPS.with(|sleeps| sleeps.borrow_mut().push(sleep));
                BROKEN.store(broken, SeqCst);
            }
        }
    }

    #[inline(never)]
    fn run_with_it() {
        let platform = Odd::new(|| {
            if BROKEN.load(SeqCst) {
                std::panic::panic_any(Sleeper)
            }
        });
        let ended = run(&platform, Config::new().trace(&DEAF), async {
            let mut waits = Box::pin(Point::new().unwrap().suspend(|_| Ok::<(), ()>(())));
            assert!(poll_under(&mut waits, Waker::noop()).is_pending());
            // Given up as the domain leaves, which is traced, which asks the clock.
            hook::add(move || _ = &waits).keep();
            BROKEN.store(true, SeqCst);
            yield_now().await;
        });
        assert!(matches!(ended, Err(RunError::Events(..))));
        BROKEN.store(false, SeqCst);
    }

    /// How many bytes of a frame change, that lies where the run's was, while the sleeps are dropped.
    #[inline(never)]
    fn changed() -> usize {
        let mut frame = [0xa5_u8; 256 << 10];
        std::hint::black_box(&mut frame);
        SLEEPS.take();
        std::hint::black_box(&frame).iter().filter(|&&byte| byte != 0xa5).count()
    }

    run_with_it();
    assert_ne!(SLEEPS.with(|sleeps| sleeps.borrow().len()), 0);
    assert_eq!(changed(), 0);
}
