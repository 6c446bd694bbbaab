//! A domain that watches its mailbox before it sleeps (`Config::spin`): nobody rings it meanwhile, and nothing else waits for it.
//!
//! Where a test wants domains to watch, they do so for an hour: what ends a watch is then what is under test.

#![cfg(feature = "std")]

mod support;

use std::future::pending;
use std::time::Duration;

use matou_core::platform::{Events, Platform, Signals, Wait};
use matou_core::time::{Instant, sleep};
use matou_core::{Config, DomainId, PointId, RunError, ViolationKind, run};
use support::family::{Gate, pinned};
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
    run(&Borrowed(&platform), Config::new().domains(1), call_each_other(100)).unwrap();
    let sleeps: usize = [0, 1].map(|domain| platform.threads.hand(domain).log().sleeps).into_iter().sum();
    assert!(sleeps >= 100, "{sleeps} sleeps");
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

/// [`Threads`], with a clock that stands still.
struct Still(Threads);

struct StillEvents(ByHand);

impl Events for StillEvents {
    type Interrupt = Bell;
    type Error = &'static str;

    fn interrupter(&self) -> Bell {
        self.0.interrupter()
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(1)
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), &'static str> {
        self.0.select(wait, cancelled, signals)
    }
}

impl Platform for Still {
    type Error = &'static str;
    type Events = StillEvents;

    fn events(&self, domain: DomainId) -> Result<StillEvents, &'static str> {
        self.0.events(domain).map(StillEvents)
    }

    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        self.0.domains(workers, worker, main)
    }
}

#[test]
fn a_watch_ends_though_the_clock_stands_still() {
    let platform = Still(Threads::new(1));
    let hand = platform.0.hand(0);
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
