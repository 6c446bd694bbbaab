//! Violations from every place they can come from (R44): which task breaks a rule, in what it does so, and where its family lives.
//!
//! In each run live sleepers with something to finalise on every domain, and a family: an owner, and its child, the *breaker*, which breaks one
//! rule at one [spot](Spot). Whatever the combination, the run ends with every thread joined and every finaliser run, the breaker is
//! not polled again, and the violation names it, with no other counted. What destructors and finalisers may break comes after.
//!
//! `violations.rs` has the other half: what the other domains do meanwhile, violations during violations, and several at once.

#![cfg(feature = "std")]

mod support;

use std::future::pending;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, join, select_biased};
use matou_core::suspension::Point;
use matou_core::time::timeout;
use matou_core::{
    Config, DomainId, Orphans, Promise, ReportPlace, Resource, RunError, Task, TaskId, TaskPool, Violation, ViolationKind, call,
    current_task, parallel, run, scope, spawn, yield_now,
};
use support::probe::{Census, Counter, Flag, OnDrop, PLACES, Place, panic_message, record_report, take_reports};
use support::wakers::poll_under;
use support::watched::{Borrowed, Fault, Watched, ring};

const WORKERS: usize = 3;

/// Which rule is broken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Break {
    /// R5.
    Cancels,
    /// R5.
    Awaits,
    /// R24.
    Cares,
    /// R3.
    Forgets,
    /// R28.
    Leaks,
}

const BREAKS: [Break; 5] = [Break::Cancels, Break::Awaits, Break::Cares, Break::Forgets, Break::Leaks];

impl Break {
    /// Whether it is broken by a call, not by the end of the task.
    fn at_once(self) -> bool {
        matches!(self, Break::Cancels | Break::Awaits | Break::Cares)
    }

    #[track_caller]
    fn assert_is(self, kind: ViolationKind) {
        match (self, kind) {
            (Break::Cancels | Break::Awaits, ViolationKind::NotAChild { child: Some(_), .. }) => {}
            (Break::Cares, ViolationKind::NotAChild { child: None, .. }) => {}
            (Break::Forgets, ViolationKind::StillHasChildren { .. }) | (Break::Leaks, ViolationKind::ResourceLeaked { .. }) => {}
            (expected, kind) => panic!("{expected:?} gave {kind:?}"),
        }
    }
}

/// In what it is broken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spot {
    Plainly,
    InAJoin,
    InASelect,
    InFuturesUnordered,
    InAScope,
    InATimeout,
    InARegistration,
    InAWith,
    InADestructor,
}

const SPOTS: [Spot; 9] = [
    Spot::Plainly,
    Spot::InAJoin,
    Spot::InASelect,
    Spot::InFuturesUnordered,
    Spot::InAScope,
    Spot::InATimeout,
    Spot::InARegistration,
    Spot::InAWith,
    Spot::InADestructor,
];

/// How the breaker was started.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Spawned,
    InOrphans,
    Pooled,
}

const STARTS: [Start; 3] = [Start::Spawned, Start::InOrphans, Start::Pooled];

/// Where the family lives, and how its owner was started.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Home {
    /// The owner is the main task.
    Main,
    Called,
    CalledByAWorker,
    CalledInOrphans,
    InParallel,
}

const HOMES: [Home; 5] = [Home::Main, Home::Called, Home::CalledByAWorker, Home::CalledInOrphans, Home::InParallel];

/// What the owner has and the breaker wants.
struct Loot {
    another: Promise<()>,
    orphans: Rc<Orphans<()>>,
}

impl Loot {
    fn new() -> Loot {
        let orphans = Rc::new(Orphans::new());
        orphans.spawn(pending::<()>());
        Loot { another: spawn(pending::<()>()), orphans }
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    home: Home,
    start: Start,
    spot: Spot,
    how: Break,
}

impl Case {
    fn all() -> impl Iterator<Item = Case> + Clone {
        let homes = HOMES.into_iter().flat_map(|home| STARTS.map(|start| (home, start)));
        let spots = homes.flat_map(|(home, start)| SPOTS.map(|spot| (home, start, spot)));
        spots.flat_map(|(home, start, spot)| BREAKS.map(|how| Case { home, start, spot, how }))
    }
}

/// What the tasks of a run have in common.
#[derive(Clone)]
struct World {
    case: Case,
    census: Census,
    breaker: Arc<Mutex<Option<TaskId>>>,
    /// What ran and should not.
    late: Counter,
}

impl World {
    /// Breaks the rule.
    async fn break_it(self, loot: Loot) {
        match self.case.how {
            Break::Cancels => drop(loot.another.cancel()),
            Break::Awaits => {
                let _ = loot.another.await;
                self.late.add();
            }
            Break::Cares => drop(loot.orphans.care()),
            Break::Forgets => drop(spawn(pending::<()>())),
            Break::Leaks => self.census.resource_here().own().unwrap_err().to_string().clear(),
        }
    }

    /// The same in one poll, under a waker of its own.
    fn break_it_now(self, loot: Loot) {
        let _ = poll_under(&mut Box::pin(self.break_it(loot)), Waker::noop());
    }

    /// The breaker.
    async fn break_it_there(self, loot: Loot) {
        let _guard = self.census.guard_here();
        *self.breaker.lock().unwrap() = current_task();
        let world = self.clone();
        match self.case.spot {
            Spot::Plainly => world.break_it(loot).await,
            Spot::InAJoin => {
                join!(world.break_it(loot), yield_now());
            }
            Spot::InASelect => select_biased! {
                () = Box::pin(world.break_it(loot)).fuse() => {}
                () = Box::pin(pending()).fuse() => {}
            },
            Spot::InFuturesUnordered => {
                let idle: Pin<Box<dyn Future<Output = ()>>> = Box::pin(pending());
                let mut branches: FuturesUnordered<_> = [idle, Box::pin(world.break_it(loot))].into_iter().collect();
                branches.next().await.unwrap();
            }
            Spot::InAScope => scope(world.break_it(loot)).await,
            Spot::InATimeout => timeout(Duration::from_secs(3600), world.break_it(loot)).await.unwrap(),
            Spot::InARegistration => {
                let register = move |_| {
                    world.break_it_now(loot);
                    Err("it waits for nothing")
                };
                Point::new().unwrap().suspend(register).await.unwrap_err();
            }
            Spot::InAWith => {
                let resource = Resource::new((), drop);
                resource.own().unwrap();
                resource.with(|()| world.break_it_now(loot)).unwrap();
                resource.disown().unwrap();
            }
            Spot::InADestructor => {
                let mut loot = Some(loot);
                drop(OnDrop(|| world.clone().break_it_now(loot.take().unwrap())));
            }
        }
        if self.case.how.at_once() {
            yield_now().await;
            self.late.add();
        }
    }

    /// The owner.
    async fn own(self) {
        static POOL: TaskPool<4, 64> = TaskPool::new();
        let _guard = self.census.guard_here();
        let _resource = self.census.resource_here();
        let late = self.late.clone();
        let loot = Loot::new();
        let start = self.case.start;
        let breaker: Pin<Box<dyn Future<Output = ()>>> = Box::pin(self.break_it_there(loot));
        let _ = match start {
            Start::Spawned => spawn(breaker).await.is_ok(),
            Start::InOrphans => {
                let orphans = Orphans::new();
                orphans.spawn(breaker);
                orphans.next().await.is_some()
            }
            Start::Pooled => POOL.spawn(breaker).unwrap_or_else(|full| panic!("{full}")).await.is_ok(),
        };
        late.add();
    }

    /// Sleeps with something to finalise, on each domain.
    async fn populate(&self, kept: &Orphans<()>) {
        for at in 0..=WORKERS {
            let (census, asleep) = (self.census.clone(), Flag::new());
            let sleeps = asleep.clone();
            let sleeper = move || async move {
                let _guard = census.guard_here();
                let _resource = census.resource_here();
                let register = |_| {
                    sleeps.raise();
                    Ok::<_, ()>(())
                };
                Point::new().unwrap().suspend(register).await.unwrap();
            };
            if at == 0 {
                kept.spawn(sleeper())
            } else {
                Task::new().pin(DomainId::new(at)).call_in(kept, sleeper).unwrap()
            };
            asleep.raised().await;
        }
    }

    async fn main(&self) {
        let kept = Orphans::new();
        self.populate(&kept).await;
        let (world, late) = (self.clone(), self.late.clone());
        match self.case.home {
            Home::Main => world.own().await,
            Home::Called => drop(call(|| world.own()).unwrap().await),
            Home::CalledByAWorker => {
                let owner = || async move { drop(call(|| world.own()).unwrap().await) };
                let _ = call(owner).unwrap().await;
            }
            Home::CalledInOrphans => {
                let orphans = Orphans::new();
                orphans.call(|| world.own()).unwrap();
                let _ = orphans.next().await;
            }
            Home::InParallel => drop(parallel(|world: World| world.own(), [world]).await),
        }
        late.add();
    }

    fn run(case: Case, seed: u64) {
        let (breaker, census, late) = (Arc::default(), Census::new(), Counter::new());
        let world = World { case, census, breaker, late };
        let platform = Watched::new(WORKERS);
        let ended = run(&Borrowed(&platform), Config::new().domains(WORKERS).seed(seed), world.main());
        platform.assert_joined(WORKERS);
        let violation = violation(ended);
        case.how.assert_is(violation.kind);
        assert_eq!((Some(violation.task), violation.others), (*world.breaker.lock().unwrap(), 0), "{case:?}: {violation}");
        assert_eq!(world.late.get(), 0, "{case:?}: what came after it ran");
        // The sleepers, the owner, the breaker, and what that leaks.
        let leaked = usize::from(case.how == Break::Leaks);
        world.census.assert_all_gone(2 * (WORKERS + 1) + 2 + 1 + leaked);
        assert_eq!(world.census.finalised(), WORKERS + 1 + 1 + leaked, "{case:?}");
    }
}

#[track_caller]
fn violation<T: std::fmt::Debug>(ended: Result<T, RunError<impl std::fmt::Debug, impl std::fmt::Debug>>) -> Violation {
    match ended {
        Err(RunError::Violation(violation)) => violation,
        other => panic!("a violation was expected, and there was {other:?}"),
    }
}

#[test]
fn r44_from_every_place_a_thousand_times() {
    assert_eq!(Case::all().count(), 675);
    for (seed, case) in Case::all().cycle().take(1000).enumerate() {
        World::run(case, seed as u64);
    }
}

// ---- where no task is the current one

/// What a finaliser tries that only a parent, or a task, may.
fn misuse(loot: Loot) -> Vec<String> {
    let Loot { another, orphans } = loot;
    let mut another = Some(another);
    vec![
        panic_message(|| drop(poll_under(another.as_mut().unwrap(), Waker::noop()))),
        panic_message(|| drop(another.take().unwrap().cancel())),
        panic_message(|| drop(orphans.care())),
        panic_message(|| drop(spawn(async {}))),
    ]
}

#[test]
fn r44_a_finaliser_is_nobodys_and_breaks_no_rule() {
    thread_local! {
        static LOOT: std::cell::RefCell<Option<Loot>> = const { std::cell::RefCell::new(None) };
    }
    for place in PLACES {
        for fails in [false, true] {
            let (census, said) = (Census::new(), Arc::new(Mutex::new(Vec::new())));
            let message = format!("a finaliser {place:?}, {fails}");
            let platform = Watched::new(2);
            let ended = run(&Borrowed(&platform), Config::new().domains(2).on_report(record_report), async {
                let (inner, saying, panics) = (census.clone(), said.clone(), message.clone());
                let owner = place.start(move || async move {
                    LOOT.set(Some(Loot::new()));
                    let child = spawn(async move {
                        let _first = inner.resource_here();
                        let bad = Resource::new((), move |()| {
                            *saying.lock().unwrap() = misuse(LOOT.take().unwrap());
                            panic!("{panics}");
                        });
                        bad.own().unwrap();
                        let _last = inner.resource_here();
                        pending::<()>().await;
                    });
                    yield_now().await;
                    child.cancel().await;
                    if fails { Err("the children it has lost are nobody's but its own") } else { Ok(()) }
                });
                owner.await.map_err(|exit| exit.to_string())
            });
            platform.assert_joined(2);
            let said = std::mem::take(&mut *said.lock().unwrap());
            assert_eq!(said.len(), 4);
            assert!(said.iter().all(|said| said.contains("outside a task")), "{said:?}");
            let on = DomainId::new(if place == Place::Here { 0 } else { take_domain(&message) });
            if place == Place::Here {
                assert_eq!(take_reports(&message), [(ReportPlace::Finaliser, on)]);
            }
            census.assert_all_gone(2);
            assert_eq!(census.finalised(), 2);
            // The owner has forgotten two children: that alone is counted against it.
            match ended {
                Err(RunError::Failed(_)) => assert!(fails),
                Err(RunError::Violation(violation)) => {
                    assert!(!fails && violation.others == 0);
                    assert!(matches!(violation.kind, ViolationKind::StillHasChildren { .. }), "{violation}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The domain of the only report with this message.
fn take_domain(message: &str) -> usize {
    let [(ReportPlace::Finaliser, domain)] = take_reports(message)[..] else { panic!("one finaliser panicked") };
    domain.index()
}

// ---- in destructors, while a run ends for another reason

/// Why a run ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Why {
    MainEnds,
    MainFails,
    MainPanics,
    /// The event source of domain 0 fails.
    SourceFails,
}

#[test]
fn r44_destructors_that_break_a_rule_while_a_run_ends_for_another_reason() {
    for why in [Why::MainEnds, Why::MainFails, Why::MainPanics, Why::SourceFails] {
        for seed in 0..5 {
            let census = Census::new();
            let platform = Watched::new(WORKERS).fault(0, Fault::FailsWhenFlagged);
            let ended = run(&Borrowed(&platform), Config::new().domains(WORKERS).seed(seed), async {
                let mut families = Vec::new();
                for at in 0..=WORKERS {
                    let (census, settled) = (census.clone(), Flag::new());
                    let settles = settled.clone();
                    let family = move || async move {
                        let Loot { another: _another, orphans } = Loot::new();
                        let thief = spawn(async move {
                            let _guard = census.guard_here();
                            let _resource = census.resource_here();
                            let _thieving = OnDrop(move || drop(orphans.care()));
                            settles.raise();
                            pending::<()>().await;
                        });
                        thief.await.unwrap();
                    };
                    families.push(if at == 0 { spawn(family()) } else { Task::new().pin(DomainId::new(at)).call(family).unwrap() });
                    settled.raised().await;
                }
                match why {
                    Why::MainEnds => families.into_iter().for_each(|family| drop(family.cancel())),
                    Why::MainFails => return Err("the end"),
                    Why::MainPanics => std::panic::resume_unwind(Box::new("the end")),
                    Why::SourceFails => {
                        platform.flag.raise();
                        ring(&platform.threads, 0);
                        pending::<()>().await;
                    }
                }
                Ok(())
            });
            platform.assert_joined(WORKERS);
            // One of them is the first, and told before everything else; the others are counted.
            let violation = violation(ended);
            assert!(matches!(violation.kind, ViolationKind::NotAChild { child: None, .. }), "{violation}");
            assert_eq!(violation.others, WORKERS, "{why:?}");
            census.assert_all_gone(2 * (WORKERS + 1));
            assert_eq!(census.finalised(), WORKERS + 1);
        }
    }
}
