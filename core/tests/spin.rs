//! A domain that watches its mailbox before it sleeps (`Config::spin`): nobody rings it meanwhile, and nothing else waits for it.
//!
//! Where a test wants domains to watch, they do so for an hour: what ends a watch is then what is under test.

#![cfg(feature = "std")]

mod support;

use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use matou_core::platform::{Events, Platform, Signals, Wait};
use matou_core::suspension::Point;
use matou_core::time::{Instant, sleep};
use matou_core::{Config, DomainId, PointId, RunError, ViolationKind, run, spawn, yield_now};
use support::family::{Gate, pinned};
use support::probe::OnDrop;
use support::watched::{Borrowed, Watched};
use support::{Bell, ByHand, Threads};

/// So long nothing is to happen.
const A_WHILE: Duration = Duration::from_millis(10);

const HOUR: Duration = Duration::from_secs(3600);

fn spinning(at_most: Duration) -> Config {
    Config::new().domains(1).spin(at_most)
}

/// Calls to domain 1, one at a time.
async fn call_each_other(times: usize) {
    for number in 0..times {
        assert_eq!(pinned(1, move || async move { number }).await.unwrap(), number);
    }
}

#[test]
fn a_domain_that_watches_is_not_rung() {
    let platform = Watched::new(1);
    run(&Borrowed(&platform), spinning(HOUR), call_each_other(1000)).unwrap();
    for domain in [0, 1] {
        let log = platform.threads.hand(domain).log();
        // The first waits of each are sleeps; domain 0 may be rung once more when the worker has started.
        assert!(log.interrupts <= 4 && log.sleeps <= 4 && log.looks <= 1, "domain {domain}: {log:?}");
    }
}

#[test]
fn without_a_time_to_spin_domains_sleep_at_once() {
    let platform = Watched::new(1);
    let [caller, called] = [0, 1].map(|domain| platform.threads.hand(domain));
    let calls = async {
        for number in 0..100 {
            // Each call begins when the worker sleeps, and ends when its caller does: a domain that watched would wait for ever.
            called.wait_until(|log| log.sleeps > number);
            let (caller, before) = (caller.clone(), caller.log().sleeps);
            pinned(1, move || async move { caller.wait_until(|log| log.sleeps > before) }).await.unwrap();
        }
    };
    run(&Borrowed(&platform), Config::new().domains(1), calls).unwrap();
}

#[test]
fn r20_a_domain_that_watches_in_vain_sleeps() {
    let platform = Watched::new(1);
    let at_most = Duration::from_millis(2);
    std::thread::scope(|scope| {
        let gate = Gate::new();
        let (idle, platform) = (gate.clone(), &platform);
        let (settled, quiet) = std::sync::mpsc::channel();
        scope.spawn(move || {
            quiet.recv().unwrap();
            [0, 1].iter().for_each(|&domain| platform.wait_asleep(domain));
            let before = [0, 1].map(|domain| platform.selects(domain));
            std::thread::sleep(A_WHILE);
            assert_eq!([0, 1].map(|domain| platform.selects(domain)), before);
            gate.open();
        });
        let ended = run(&Borrowed(platform), spinning(at_most), async move {
            call_each_other(100).await;
            settled.send(()).unwrap();
            idle.passed().await;
        });
        ended.unwrap();
    });
}

#[test]
fn a_timer_ends_a_watch() {
    let platform = Watched::new(1);
    run(&Borrowed(&platform), spinning(HOUR), async {
        for _ in 0..3 {
            call_each_other(10).await;
            sleep(Duration::from_micros(200)).await;
        }
    })
    .unwrap();
}

#[test]
fn r44_a_violation_ends_a_watch() {
    let platform = Watched::new(2);
    // Domain 0 waits for a child on domain 1 that says nothing for ever, and one on domain 2 breaks a rule.
    let ended = run(&Borrowed(&platform), Config::new().domains(2).spin(HOUR), async {
        let silent = pinned(1, || async { pending::<()>().await });
        for _ in 0..10 {
            pinned(2, || async {}).await.unwrap();
        }
        let forgets = pinned(2, || async {
            sleep(Duration::from_millis(1)).await;
            drop(matou_core::spawn(async {}));
        });
        let _ = forgets.await;
        silent.await.unwrap();
    });
    let Err(RunError::Violation(violation)) = ended else { panic!("{ended:?}") };
    assert!(matches!(violation.kind, ViolationKind::StillHasChildren { .. }));
    platform.assert_joined(2);
}

/// [`Threads`] with one worker, and a clock that does something on domain 0 and tells the time.
struct Odd {
    threads: Threads,
    clock: fn(Instant) -> Instant,
}

impl Odd {
    fn new(clock: fn(Instant) -> Instant) -> Odd {
        Odd { threads: Threads::new(1), clock }
    }
}

struct OddEvents {
    events: ByHand,
    clock: fn(Instant) -> Instant,
}

impl Events for OddEvents {
    type Interrupt = Bell;
    type Error = &'static str;

    fn interrupter(&self) -> Bell {
        self.events.interrupter()
    }

    fn now(&self) -> Instant {
        (self.clock)(self.events.now())
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), &'static str> {
        self.events.select(wait, cancelled, signals)
    }
}

impl Platform for Odd {
    type Error = &'static str;
    type Events = OddEvents;

    fn events(&self, domain: DomainId) -> Result<OddEvents, &'static str> {
        let clock = if domain.index() == 0 { self.clock } else { |now| now };
        Ok(OddEvents { events: self.threads.events(domain)?, clock })
    }

    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        self.threads.domains(workers, worker, main)
    }
}

#[test]
fn r38_a_clock_that_panics_before_a_sleep_ends_the_run() {
    static BROKEN: AtomicBool = AtomicBool::new(false);
    let platform = Odd::new(|now| {
        assert!(!BROKEN.load(SeqCst), "a stopped clock");
        now
    });
    let ended = run(&platform, spinning(Duration::from_millis(1)), async {
        call_each_other(50).await;
        BROKEN.store(true, SeqCst);
        pending::<()>().await;
    });
    assert!(matches!(ended, Err(RunError::Events(..))), "{ended:?}");
}

#[test]
fn r20_a_task_that_the_clock_wakes_before_a_sleep_is_polled() {
    static WAKER: Mutex<Option<Waker>> = Mutex::new(None);
    let platform = Odd::new(|now| {
        let woken = WAKER.lock().unwrap().take();
        woken.into_iter().for_each(Waker::wake);
        now
    });
    let ended = run(&platform, spinning(Duration::from_millis(1)), async {
        call_each_other(50).await;
        let mut left = false;
        poll_fn(|cx| {
            if left {
                return Poll::Ready(());
            }
            left = true;
            *WAKER.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    });
    ended.unwrap();
    assert!(WAKER.lock().unwrap().is_none(), "the clock was asked");
}

#[test]
fn any_time_may_be_watched() {
    run(&Threads::new(1), spinning(Duration::MAX), call_each_other(100)).unwrap();
}

/// What ends the watches is a wake of a task that has failed and waits for its child: nothing is polled for it.
#[test]
fn r35_events_are_seen_between_watches_that_lead_to_nothing() {
    let platform = Threads::new(1);
    let hand = platform.hand(0);
    let (seen, late) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (to_sender, wakers) = std::sync::mpsc::channel::<Waker>();
    let (event_for, points) = std::sync::mpsc::channel::<PointId>();
    let sender = std::thread::spawn({
        let (seen, late) = (seen.clone(), late.clone());
        move || {
            let waker = wakers.recv().unwrap();
            let began = std::time::Instant::now();
            let mut event = None;
            for wakes in 0.. {
                if seen.load(SeqCst) || late.fetch_or(began.elapsed() > Duration::from_secs(60), SeqCst) {
                    break;
                }
                waker.wake_by_ref();
                std::thread::yield_now();
                event = event.or_else(|| Some((points.try_recv().ok()?, wakes + 100)));
                if let Some((point, _)) = event.take_if(|&mut (_, at)| wakes >= at) {
                    // By now the domain watches.
                    hand.fire(point);
                }
            }
        }
    });
    run(&platform, spinning(Duration::from_millis(100)), async move {
        call_each_other(20).await;
        let (release, released) = std::sync::mpsc::channel::<()>();
        let fails = Gate::new();
        let failed = fails.clone();
        let failing = spawn(async move {
            let begun = Gate::new();
            let begins = begun.clone();
            // Its destructor keeps this task from ending.
            let _child = pinned(1, move || async move {
                let _slow = OnDrop(move || {
                    let _ = released.recv();
                });
                begins.open();
                pending::<()>().await
            });
            begun.passed().await;
            let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
            to_sender.send(waker).unwrap();
            fails.open();
            Err::<(), _>("failed")
        });
        failed.passed().await;
        yield_now().await;
        for _ in 0..3 {
            Point::new().unwrap().suspend(|id| event_for.send(id)).await.unwrap();
        }
        seen.store(true, SeqCst);
        drop(release);
        failing.await.unwrap_err();
    })
    .unwrap();
    sender.join().unwrap();
    assert!(!late.load(SeqCst), "the events were seen only when the wakes had stopped");
}

#[test]
fn a_watch_ends_though_the_clock_stands_still() {
    let platform = Odd::new(|_| Instant::from_nanos(1));
    let hand = platform.threads.hand(0);
    let gate = Gate::new();
    let opened = gate.clone();
    run(&platform, spinning(Duration::from_millis(1)), async {
        call_each_other(20).await;
        let before = hand.log().sleeps;
        let opener = {
            let hand = hand.clone();
            std::thread::spawn(move || {
                hand.wait_until(|log| log.sleeps > before);
                gate.open();
            })
        };
        opened.passed().await;
        opener.join().unwrap();
    })
    .unwrap();
}
