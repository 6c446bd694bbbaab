//! Violations: a broken rule stops the run, in order (R44).
//!
//! A run here is a small world: on each of four domains live tasks that sleep, wait for children of their own, or are busy, all with
//! guards and resources that a [`Census`] counts. On the last domain somebody computes, or cancels, or sleeps. Then somebody somewhere
//! breaks a rule. Whatever the combination, nothing is polled again, everything is dropped on its own domain, every finaliser runs, every
//! thread is joined, and `run` names the rule, the task and the lines.

#![cfg(feature = "std")]

mod support;

use std::future::pending;
use std::rc::Rc;
use std::sync::{Arc, Barrier};

use matou_core::suspension::Point;
use matou_core::{
    Config, DomainId, Orphans, Resource, RunError, Task, TaskId, Violation, ViolationKind, await_all, call, current_task, run, spawn,
    yield_now,
};
use support::probe::{Census, Counter, Flag, OnDrop, PLACES, Trace, counted};
use support::watched::{Borrowed, Fault, Watched};

/// Which rule is broken, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    /// R3: it forgets a child.
    Forgets,
    /// R3: it forgets a child in an `Orphans`.
    ForgetsInOrphans,
    /// R5: a child of its cancels another child of its.
    CancelsAnothers,
    /// R5: a child of its awaits another child of its.
    AwaitsAnothers,
    /// R24: a child of its uses its `Orphans`.
    UsesAnothersOrphans,
    /// R28: it leaves a resource.
    Leaks,
}

const BREAKS: [Break; 6] =
    [Break::Forgets, Break::ForgetsInOrphans, Break::CancelsAnothers, Break::AwaitsAnothers, Break::UsesAnothersOrphans, Break::Leaks];

/// Which task does so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Main,
    Child,
    OnWorker,
    /// A child, on another worker, of a task on a worker.
    OnAnotherWorker,
}

const ORIGINS: [Origin; 4] = [Origin::Main, Origin::Child, Origin::OnWorker, Origin::OnAnotherWorker];

/// What the last domain does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// All its tasks wait.
    Sleeps,
    /// It polls tasks that are always runnable.
    IsBusy,
    /// It is in one long poll, which ends after the rule was broken.
    Computes,
    /// It is in the destructor of a cancelled task, which ends after the rule was broken.
    Cancels,
}

const LASTS: [Last; 4] = [Last::Sleeps, Last::IsBusy, Last::Computes, Last::Cancels];

const WORKERS: usize = 3;

/// What the tasks of a run have in common.
#[derive(Clone)]
struct World {
    census: Census,
    /// Raised after the rule was broken.
    broken: Flag,
    /// Polls that began after that.
    late: Counter,
    arrived: Counter,
    settled: Flag,
    /// The line to look at, and the task that breaks the rule.
    broke: Trace<(u32, TaskId)>,
}

/// How many tasks [`World::populate`] makes, and how many guards and resources they have.
const INHABITANTS: usize = 3 * (WORKERS + 1);

impl World {
    fn new() -> World {
        World {
            census: Census::new(),
            broken: Flag::new(),
            late: Counter::new(),
            arrived: Counter::new(),
            settled: Flag::new(),
            broke: Trace::new(),
        }
    }

    /// A task is where it is to be when the rule is broken.
    fn arrive(&self) {
        if self.arrived.add() + 1 == INHABITANTS {
            self.settled.raise();
        }
    }

    /// Sleeps at a suspension point.
    async fn sleeper(self) {
        let _guard = self.census.guard_here();
        let _resource = self.census.resource_here();
        let arrived = Point::new().unwrap().suspend(|_| {
            self.arrive();
            Ok::<_, ()>(())
        });
        arrived.await.unwrap();
        unreachable!("nobody resumes it");
    }

    /// Waits for a child, which waits for its own.
    async fn parent(self) {
        let _guard = self.census.guard_here();
        let _resource = self.census.resource_here();
        let child = {
            let world = self.clone();
            async move {
                let _guard = world.census.guard_here();
                let grandchild = spawn(world.clone().sleeper());
                world.arrive();
                grandchild.await.unwrap();
            }
        };
        spawn(child).await.unwrap();
    }

    /// Never waits, and counts its polls after the rule was broken.
    async fn busy(self) {
        let _guard = self.census.guard_here();
        loop {
            if self.broken.is_raised() {
                self.late.add();
            }
            yield_now().await;
        }
    }

    /// Has tasks live on every domain, and waits until they do.
    async fn populate(&self, kept: &Orphans<()>) {
        kept.spawn(self.clone().sleeper());
        kept.spawn(self.clone().parent());
        for worker in 1..=WORKERS {
            for parent in [false, true] {
                let world = self.clone();
                let live = move || async move { if parent { world.parent().await } else { world.sleeper().await } };
                Task::new().pin(DomainId::new(worker)).call_in(kept, live).unwrap();
            }
        }
        self.settled.raised().await;
    }

    /// Has the last domain do so, and waits until it does.
    async fn occupy(&self, last: Last, kept: &Orphans<()>) {
        let (world, begun) = (self.clone(), Flag::new());
        let begins = begun.clone();
        let live = move || async move {
            match last {
                Last::Sleeps => begins.raise(),
                Last::IsBusy => {
                    begins.raise();
                    world.busy().await;
                }
                Last::Computes => {
                    let _guard = world.census.guard_here();
                    begins.raise();
                    world.broken.block();
                    yield_now().await;
                    unreachable!("it is not polled again");
                }
                Last::Cancels => {
                    let runs = Flag::new();
                    let child = {
                        let (world, runs) = (world.clone(), runs.clone());
                        async move {
                            let _resource = world.census.resource_here();
                            let _slow = OnDrop(move || {
                                begins.raise();
                                world.broken.block();
                            });
                            runs.raise();
                            pending::<()>().await;
                        }
                    };
                    let child = spawn(child);
                    runs.raised().await;
                    child.cancel().await;
                    unreachable!("it is not polled again");
                }
            }
            pending::<()>().await;
        };
        Task::new().pin(DomainId::new(WORKERS)).call_in(kept, live).unwrap();
        begun.raised().await;
    }

    /// Breaks the rule. Where that takes a normal end, it returns, and its task is to do so, too.
    async fn break_rule(&self, how: Break) {
        let world = self.clone();
        // Tells when it is dropped, which is after the rule was broken.
        let child = || {
            let broken = self.broken.clone();
            let told = OnDrop(move || broken.raise());
            async move {
                let _told = told;
                pending::<()>().await;
            }
        };
        match how {
            Break::Forgets => {
                self.broke.note((line!() + 1, current_task().unwrap()));
                drop(spawn(child()));
            }
            Break::ForgetsInOrphans => {
                let orphans = Orphans::new();
                self.broke.note((line!() + 1, current_task().unwrap()));
                orphans.spawn(child());
            }
            Break::Leaks => {
                // Dropped between polls, and so after this one. Its own finaliser runs only when all children have ended.
                drop(spawn(child()).cancel());
                let resource = self.census.resource();
                self.broke.note((line!() + 1, current_task().unwrap()));
                resource.own().unwrap();
            }
            Break::CancelsAnothers | Break::AwaitsAnothers => {
                let line = line!() + 1;
                let another = spawn(child());
                let thief = async move {
                    world.broke.note((line, current_task().unwrap()));
                    if how == Break::CancelsAnothers {
                        drop(another.cancel());
                    } else {
                        let _ = another.await;
                        unreachable!("it is never resumed");
                    }
                    world.broken.raise();
                    yield_now().await;
                    unreachable!("it is not polled again");
                };
                let _ = Task::new().name("thief").spawn(thief).unwrap().await;
            }
            Break::UsesAnothersOrphans => {
                let orphans = Rc::new(Orphans::new());
                let line = line!() + 1;
                orphans.spawn(child());
                let theirs = orphans.clone();
                let thief = async move {
                    world.broke.note((line, current_task().unwrap()));
                    assert!(matches!(theirs.care(), matou_core::Care::Empty));
                    world.broken.raise();
                    // It ends normally, as far as it knows.
                };
                let _ = Task::new().name("thief").spawn(thief).unwrap().await;
            }
        }
    }

    /// Has the origin break the rule. Returns only where the main task is to return.
    async fn break_rule_at(&self, origin: Origin, how: Break) {
        let world = self.clone();
        let breaker = || Task::new().name("breaker");
        match origin {
            Origin::Main => return self.break_rule(how).await,
            Origin::Child => {
                let _ = breaker().spawn(async move { world.break_rule(how).await }).unwrap().await;
            }
            Origin::OnWorker => {
                let there = breaker().pin(DomainId::new(1)).call(move || async move { world.break_rule(how).await });
                let _ = there.unwrap().await;
            }
            Origin::OnAnotherWorker => {
                let there = Task::new().pin(DomainId::new(1)).call(move || async move {
                    let further = breaker().pin(DomainId::new(2)).call(move || async move { world.break_rule(how).await });
                    let _ = further.unwrap().await;
                    unreachable!("it is not polled again");
                });
                let _ = there.unwrap().await;
            }
        }
        unreachable!("it is not polled again");
    }

    /// Runs it all, and checks what the rule promises beside the violation.
    fn run(&self, platform: &Watched, seed: u64, origin: Origin, how: Break, last: Last) -> Violation {
        let ended = run(&Borrowed(platform), Config::new().domains(WORKERS).seed(seed), async {
            let kept = Orphans::new();
            self.populate(&kept).await;
            self.occupy(last, &kept).await;
            self.break_rule_at(origin, how).await;
        });
        platform.assert_joined(WORKERS);
        // Two sleepers a domain, and a parent with a child; then who is on the last domain.
        let leaked = usize::from(how == Break::Leaks);
        let more = usize::from(last != Last::Sleeps);
        self.census.assert_all_gone(7 * (WORKERS + 1) + leaked + more);
        assert_eq!(self.census.finalised(), 3 * (WORKERS + 1) + leaked + usize::from(last == Last::Cancels));
        // A poll that had begun, or was about to, when it was broken on another domain.
        assert!(self.late.get() <= 1, "{} polls after the rule was broken", self.late.get());
        violation(ended)
    }

    /// The violation is the one that was made.
    #[track_caller]
    fn assert_names(&self, violation: &Violation, origin: Origin, how: Break) {
        let (line, task) = self.broke.take()[0];
        assert_eq!(violation.task, task, "{violation}");
        let thief = !matches!(how, Break::Forgets | Break::ForgetsInOrphans | Break::Leaks);
        let name = match origin {
            _ if thief => Some("thief"),
            Origin::Main => None,
            _ => Some("breaker"),
        };
        assert_eq!(violation.name, name);
        let (place, rule) = match violation.kind {
            ViolationKind::StillHasChildren { spawned, .. } => (spawned, "StillHasChildren (R3)"),
            ViolationKind::NotAChild { child: Some(_), spawned, .. } => (spawned, "NotAChild (R5)"),
            ViolationKind::NotAChild { child: None, spawned, .. } => (spawned, "NotAChild (R24)"),
            ViolationKind::ResourceLeaked { owned } => (owned, "ResourceLeaked (R28)"),
            _ => unreachable!(),
        };
        let expected = match how {
            Break::Forgets | Break::ForgetsInOrphans => "StillHasChildren (R3)",
            Break::CancelsAnothers | Break::AwaitsAnothers => "NotAChild (R5)",
            Break::UsesAnothersOrphans => "NotAChild (R24)",
            Break::Leaks => "ResourceLeaked (R28)",
        };
        assert_eq!(rule, expected);
        assert_eq!((place.file(), place.line()), (file!(), line));
        let text = violation.to_string();
        let who = name.map_or(format!("task {task},"), |name| format!("task {task} ({name}),"));
        let born = format!("{}:{}:", violation.born.file(), violation.born.line());
        for part in [rule, &who, &format!("{}:{line}:", file!()), &born] {
            assert!(text.contains(part), "{part:?} in {text:?}");
        }
    }
}

#[track_caller]
fn violation<T: std::fmt::Debug>(ended: Result<T, RunError<impl std::fmt::Debug, impl std::fmt::Debug>>) -> Violation {
    match ended {
        Err(RunError::Violation(violation)) => violation,
        other => panic!("a violation was expected, and there was {other:?}"),
    }
}

fn every_combination() -> impl Iterator<Item = (Origin, Break, Last)> {
    let breaks = ORIGINS.into_iter().flat_map(|origin| BREAKS.map(|how| (origin, how)));
    breaks.flat_map(|(origin, how)| LASTS.map(|last| (origin, how, last)))
}

#[test]
fn r44_a_violation_from_anywhere_stops_a_run_whose_domains_sleep_compute_or_cancel() {
    for seed in 0..2 {
        for (origin, how, last) in every_combination() {
            let (world, platform) = (World::new(), Watched::new(WORKERS));
            let violation = world.run(&platform, seed, origin, how, last);
            world.assert_names(&violation, origin, how);
            assert_eq!(violation.others, 0, "{origin:?} {how:?} {last:?}: {violation}");
        }
    }
}

#[test]
fn r44_a_thousand_times() {
    // A busy domain is left out: with fewer cores than domains it would take most of the time.
    let mut combinations = every_combination().filter(|(.., last)| *last != Last::IsBusy).collect::<Vec<_>>().into_iter().cycle();
    for seed in 0..1000 {
        let (origin, how, last) = combinations.next().unwrap();
        let (world, platform) = (World::new(), Watched::new(WORKERS));
        let violation = world.run(&platform, seed, origin, how, last);
        world.assert_names(&violation, origin, how);
        assert_eq!(violation.others, 0);
    }
}

#[test]
fn r44_domain_zero_may_compute_or_cancel_when_a_worker_breaks_a_rule() {
    for seed in 0..4 {
        for cancels in [false, true] {
            let (census, broken, finished) = (Census::new(), Flag::new(), Flag::new());
            let platform = Watched::new(2);
            let ended = run(&Borrowed(&platform), Config::new().domains(2).seed(seed), async {
                let _resource = census.resource_here();
                let begun = Flag::new();
                let breaker = {
                    let (census, begun, broken) = (census.clone(), begun.clone(), broken.clone());
                    move || async move {
                        let _guard = census.guard_here();
                        begun.raised().await;
                        let (another, thief) = (spawn(pending::<()>()), broken);
                        let thief = spawn(async move {
                            drop(another.cancel());
                            thief.raise();
                        });
                        let _ = thief.await;
                    }
                };
                let _breaker = call(breaker).unwrap();
                let waits = {
                    let (broken, finished) = (broken.clone(), finished.clone());
                    move || {
                        begun.raise();
                        broken.block();
                        finished.raise();
                    }
                };
                if cancels {
                    let runs = Flag::new();
                    let child = {
                        let (census, runs) = (census.clone(), runs.clone());
                        async move {
                            let _resource = census.resource_here();
                            let _slow = OnDrop(waits);
                            runs.raise();
                            pending::<()>().await;
                        }
                    };
                    let child = spawn(child);
                    runs.raised().await;
                    child.cancel().await;
                } else {
                    waits();
                    yield_now().await;
                }
                unreachable!("it is not polled again");
            });
            assert!(matches!(violation(ended).kind, ViolationKind::NotAChild { .. }));
            // It was waited for.
            assert!(finished.is_raised());
            platform.assert_joined(2);
            census.assert_all_gone(2 + usize::from(cancels));
            assert_eq!(census.finalised(), 1 + usize::from(cancels));
        }
    }
}

#[test]
fn r44_no_task_of_the_domain_is_polled_again() {
    for place in PLACES {
        for how in BREAKS {
            let (world, polls) = (World::new(), Counter::new());
            let platform = Watched::new(1);
            let ended = run(&Borrowed(&platform), Config::new().domains(1), async {
                let (world, polls) = (world.clone(), polls.clone());
                let family = place.start(move || async move {
                    let breaker = {
                        let world = world.clone();
                        spawn(async move { world.break_rule(how).await })
                    };
                    // Behind it in the queue, and runnable for ever.
                    for _ in 0..5 {
                        let guard = world.census.guard_here();
                        drop(spawn(counted(&polls, async move {
                            let _guard = guard;
                            loop {
                                yield_now().await;
                            }
                            #[allow(unreachable_code)]
                            ()
                        })));
                    }
                    let _ = breaker.await;
                });
                let _ = family.await;
            });
            violation(ended);
            platform.assert_joined(1);
            // Where a child of the breaker's breaks the rule, they had one turn before it had its.
            let turns = usize::from(!matches!(how, Break::Forgets | Break::ForgetsInOrphans | Break::Leaks));
            assert_eq!(polls.get(), 5 * turns, "{place:?} {how:?}");
            assert_eq!(world.census.made(), world.census.gone());
        }
    }
}

#[test]
fn r44_the_poll_that_breaks_a_rule_is_the_tasks_last_and_what_it_makes_there_never_runs() {
    for place in PLACES {
        for seed in 0..8 {
            let (census, polls, ran) = (Census::new(), Counter::new(), Counter::new());
            let platform = Watched::new(3);
            let ended = run(&Borrowed(&platform), Config::new().domains(3).seed(seed), async {
                let (inner, thief_polls, ran) = (census.clone(), polls.clone(), ran.clone());
                let family = place.start(move || async move {
                    let another = spawn(pending::<()>());
                    let thief = counted(&thief_polls, async move {
                        let make = || {
                            let (guard, ran) = (inner.guard(), ran.clone());
                            move || async move {
                                let _guard = guard;
                                ran.add();
                            }
                        };
                        // On this domain, before and after; on another, after.
                        let _before = spawn(make()());
                        drop(another.cancel());
                        let _after = spawn(make()());
                        let _across = call(make()).unwrap();
                        let orphans = Orphans::new();
                        orphans.spawn(make()());
                        orphans.call(make()).unwrap();
                        let given = inner.resource();
                        given.own().unwrap();
                        let _given = Task::new().give(&given).call(make()).unwrap();
                        let all: Vec<_> = (0..4).map(|_| inner.guard()).collect();
                        let counting = ran.clone();
                        let _all = matou_core::parallel(
                            move |guard| {
                                counting.add();
                                async move { drop(guard) }
                            },
                            all,
                        );
                        yield_now().await;
                        unreachable!("it is not polled again");
                    });
                    let _ = spawn(thief).await;
                    unreachable!("it is not resumed");
                });
                let _ = family.await;
            });
            assert_eq!(violation(ended).others, 0);
            platform.assert_joined(3);
            assert_eq!((polls.get(), ran.get()), (1, 0), "polls of the thief, runs of what it made");
            census.assert_all_gone(6 + 1 + 4);
            assert_eq!(census.finalised(), 1);
        }
    }
}

#[test]
fn r44_a_task_that_breaks_a_rule_and_returns_has_not_ended_normally() {
    for place in PLACES {
        let resumed = Counter::new();
        let ended = run(&Borrowed(&Watched::new(1)), Config::new().domains(1), async {
            let inner = resumed.clone();
            let family = place.start(move || async move {
                let another = spawn(pending::<()>());
                let thief = spawn(async move {
                    drop(another.cancel());
                    7
                });
                let _ = thief.await;
                inner.add();
            });
            let _ = family.await;
            resumed.add();
        });
        assert!(matches!(violation(ended).kind, ViolationKind::NotAChild { .. }));
        assert_eq!(resumed.get(), 0);
    }
}

/// Each of its destructors uses the `Orphans` of another task.
async fn thief(theirs: Rc<Orphans<()>>, census: Census, runs: Flag) {
    let _guard = census.guard_here();
    let _resource = census.resource_here();
    let _thieving = OnDrop(move || {
        let _ = theirs.care();
    });
    runs.raise();
    pending::<()>().await;
}

#[test]
fn r44_a_destructor_of_a_cancelled_task_breaks_a_rule() {
    for place in PLACES {
        for awaited in [false, true] {
            let (census, broke) = (Census::new(), Trace::new());
            let platform = Watched::new(2);
            let ended = run(&Borrowed(&platform), Config::new().domains(2), async {
                let guard = census.guard();
                let _asleep = call(move || async move {
                    let _guard = guard;
                    pending::<()>().await;
                });
                let (inner, broke) = (census.clone(), broke.clone());
                let family = place.start(move || async move {
                    let theirs = Rc::new(Orphans::new());
                    broke.note((current_task().unwrap(), line!() + 1));
                    theirs.spawn(pending::<()>());
                    let runs = Flag::new();
                    let child = Task::new().name("thief").spawn(thief(theirs.clone(), inner, runs.clone())).unwrap();
                    runs.raised().await;
                    let cancelled = child.cancel();
                    if awaited {
                        cancelled.await;
                    }
                    pending::<()>().await;
                });
                let _ = family.await;
                unreachable!("it is not polled again");
            });
            let violation = violation(ended);
            let (owner, line) = broke.take()[0];
            match violation.kind {
                ViolationKind::NotAChild { child: None, parent, spawned } => assert_eq!((parent, spawned.line()), (owner, line)),
                _ => panic!("{violation}"),
            }
            assert_eq!((violation.name, violation.others), (Some("thief"), 0));
            platform.assert_joined(2);
            census.assert_all_gone(3);
            assert_eq!(census.finalised(), 1);
        }
    }
}

#[test]
fn r44_a_violation_after_the_main_tasks_future_has_ended() {
    for place in PLACES {
        let census = Census::new();
        let ended = run(&Borrowed(&Watched::new(1)), Config::new().domains(1), async {
            let runs = Flag::new();
            let family = {
                let (census, runs) = (census.clone(), runs.clone());
                place.start(move || async move {
                    let theirs = Rc::new(Orphans::new());
                    theirs.spawn(pending::<()>());
                    spawn(thief(theirs.clone(), census, runs)).await.unwrap();
                })
            };
            runs.raised().await;
            drop(family.cancel());
            // A normal end; the family is still ending.
        });
        assert!(matches!(violation(ended).kind, ViolationKind::NotAChild { child: None, .. }));
        census.assert_all_gone(2);
    }
}

// ---- the others are counted

#[test]
fn r44_what_breaks_a_rule_while_the_run_is_stopped_is_counted() {
    for thieves in [0, 1, 2, 7] {
        for seed in 0..4 {
            let census = Census::new();
            let platform = Watched::new(2);
            let ended = run(&Borrowed(&platform), Config::new().domains(2).seed(seed), async {
                let mut settled = Vec::new();
                // As many thieves on each domain.
                let family = |census: Census, settled: Flag| {
                    move || async move {
                        let theirs = Rc::new(Orphans::new());
                        theirs.spawn(pending::<()>());
                        for _ in 0..thieves {
                            let runs = Flag::new();
                            let _forgotten = spawn(thief(theirs.clone(), census.clone(), runs.clone()));
                            runs.raised().await;
                        }
                        settled.raise();
                        pending::<()>().await;
                    }
                };
                for domain in 0..=2 {
                    let flag = Flag::new();
                    let family = family(census.clone(), flag.clone());
                    let _forgotten =
                        if domain == 0 { spawn(family()) } else { Task::new().pin(DomainId::new(domain)).call(family).unwrap() };
                    settled.push(flag);
                }
                for flag in settled {
                    flag.raised().await;
                }
                let first = call(|| async { drop(spawn(pending::<()>())) }).unwrap();
                let _ = first.await;
            });
            let violation = violation(ended);
            assert!(matches!(violation.kind, ViolationKind::StillHasChildren { .. }), "the first is reported: {violation}");
            assert_eq!(violation.others, 3 * thieves);
            let counted = format!("(and {} more while the run was stopped)", 3 * thieves);
            assert_eq!(violation.to_string().contains(&counted), thieves > 0, "{violation}");
            platform.assert_joined(2);
            census.assert_all_gone(2 * 3 * thieves);
            assert_eq!(census.finalised(), 3 * thieves);
        }
    }
}

#[test]
fn r44_domains_that_break_rules_at_the_same_moment() {
    for workers in 1..=4 {
        for with_main in [false, true] {
            for seed in 0..5 {
                let (census, platform) = (Census::new(), Watched::new(workers));
                let together = Arc::new(Barrier::new(workers + usize::from(with_main)));
                let tasks = Trace::new();
                let ended = run(&Borrowed(&platform), Config::new().domains(workers).seed(seed), async {
                    // In one poll on each domain: none of them can be kept from ending by the others.
                    let break_rule = |census: Census| {
                        let (together, tasks) = (together.clone(), tasks.clone());
                        move || async move {
                            let resource = census.resource();
                            tasks.note(current_task().unwrap());
                            together.wait();
                            match seed % 3 {
                                0 => drop(spawn(pending::<()>())),
                                1 => resource.own().unwrap(),
                                _ => {
                                    Orphans::new().spawn(pending::<()>());
                                }
                            }
                        }
                    };
                    let mut breakers = Vec::new();
                    for worker in 1..=workers {
                        breakers.push(Task::new().pin(DomainId::new(worker)).call(break_rule(census.clone())).unwrap());
                    }
                    if with_main {
                        return break_rule(census.clone())().await;
                    }
                    let _ = await_all(breakers).await;
                });
                let violation = violation(ended);
                assert_eq!(violation.others, workers + usize::from(with_main) - 1, "{violation}");
                assert!(tasks.take().contains(&violation.task));
                platform.assert_joined(workers);
                assert_eq!(census.made(), census.gone());
                assert_eq!(census.finalised(), if seed % 3 == 1 { census.made() } else { 0 });
            }
        }
    }
}

#[test]
fn r44_one_poll_that_breaks_several_rules() {
    for place in PLACES {
        let ended = run(&Borrowed(&Watched::new(1)), Config::new().domains(1), async {
            let family = place.start(|| async {
                let theirs = Rc::new(Orphans::new());
                theirs.spawn(pending::<()>());
                let others: Vec<_> = (0..3).map(|_| spawn(pending::<()>())).collect();
                let thief = spawn({
                    let theirs = theirs.clone();
                    async move {
                        for other in others {
                            drop(other.cancel());
                        }
                        let _ = theirs.care();
                        let _ = theirs.take();
                        // It ends with a child and a resource, too; but it ends abnormally, since it broke a rule.
                        drop(spawn(pending::<()>()));
                        let resource = Resource::new((), drop);
                        resource.own().unwrap();
                    }
                });
                let _ = thief.await;
            });
            let _ = family.await;
        });
        let violation = violation(ended);
        assert!(matches!(violation.kind, ViolationKind::NotAChild { child: Some(_), .. }));
        assert_eq!(violation.others, 4);
    }
}

// ---- beside other ends

#[test]
fn r44_a_violation_is_told_before_the_main_tasks_own_end_and_before_a_failed_event_source() {
    for with_source in [false, true] {
        for how in ["value", "error", "panic"] {
            let broken = Flag::new();
            let mut platform = Watched::new(2);
            if with_source {
                // The next sleep of the other worker fails: it is rung once the rule was broken.
                platform = platform.fault(2, Fault::FailsWhenFlagged);
            }
            let ended = run(&Borrowed(&platform), Config::new().domains(2), async {
                let breaker = {
                    let broken = broken.clone();
                    move || async move {
                        let another = spawn(pending::<()>());
                        let thief = spawn(async move {
                            drop(another.cancel());
                            broken.raise();
                        });
                        let _ = thief.await;
                    }
                };
                let breaker = Task::new().pin(DomainId::new(1)).call(breaker).unwrap();
                // In this poll the rule is broken on the worker.
                broken.block();
                platform.flag.raise();
                support::watched::ring(&platform.threads, 2);
                drop(breaker.cancel());
                match how {
                    "value" => Ok(()),
                    "error" => Err("the end"),
                    _ => panic!("the end"),
                }
            });
            assert_eq!(violation(ended).others, 0, "{how}");
            platform.assert_joined(2);
        }
    }
}

#[test]
fn r44_what_destructors_make_while_the_run_is_stopped_never_runs() {
    for seed in 0..5 {
        let (census, ran) = (Census::new(), Counter::new());
        let platform = Watched::new(2);
        let ended = run(&Borrowed(&platform), Config::new().domains(2).seed(seed), async {
            let make = || {
                let (census, ran) = (census.clone(), ran.clone());
                move |settled: Flag| async move {
                    let _leaving = OnDrop(move || {
                        let child = || {
                            let (guard, ran) = (census.guard(), ran.clone());
                            move || async move {
                                let _guard = guard;
                                ran.add();
                            }
                        };
                        drop(spawn(child()()));
                        drop(call(child()).unwrap());
                        let orphans = Orphans::new();
                        orphans.spawn(child()());
                        orphans.call(child()).unwrap();
                    });
                    settled.raise();
                    pending::<()>().await;
                }
            };
            for domain in 0..=2 {
                let (make, settled) = (make(), Flag::new());
                let flag = settled.clone();
                let _forgotten =
                    if domain == 0 { spawn(make(flag)) } else { Task::new().pin(DomainId::new(domain)).call(move || make(flag)).unwrap() };
                settled.raised().await;
            }
            // The main task forgets three children.
        });
        assert_eq!(violation(ended).others, 0);
        platform.assert_joined(2);
        census.assert_all_gone(3 * 4);
        assert_eq!(ran.get(), 0);
    }
}

#[test]
fn r44_finalisers_and_destructors_that_panic_keep_nothing_from_ending() {
    for seed in 0..3 {
        let census = Census::new();
        let platform = Watched::new(2);
        let config = Config::new().domains(2).seed(seed).on_report(|_| {});
        let ended = run(&Borrowed(&platform), config, async {
            for domain in 0..=2 {
                let (census, settled) = (census.clone(), Flag::new());
                let flag = settled.clone();
                let live = move || async move {
                    let _first = census.resource_here();
                    let bad = Resource::new((), |()| panic!("a bad finaliser"));
                    bad.own().unwrap();
                    let _last = census.resource_here();
                    let _guard = census.guard_here();
                    let _bad = OnDrop(|| panic!("a bad destructor"));
                    flag.raise();
                    pending::<()>().await;
                };
                let _forgotten = if domain == 0 { spawn(live()) } else { Task::new().pin(DomainId::new(domain)).call(live).unwrap() };
                settled.raised().await;
            }
        });
        assert_eq!(violation(ended).others, 0);
        platform.assert_joined(2);
        census.assert_all_gone(3 * 3);
        assert_eq!(census.finalised(), 3 * 2);
    }
}

#[test]
fn r44_a_deep_and_a_wide_tree_are_dropped() {
    fn link(depth: u32, census: Census, deepest: Flag) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let _guard = census.guard_here();
            if depth == 0 {
                deepest.raise();
                return pending().await;
            }
            let _ = spawn(link(depth - 1, census, deepest)).await;
        })
    }
    for place in PLACES {
        let census = Census::new();
        let platform = Watched::new(1);
        let ended = run(&Borrowed(&platform), Config::new().domains(1), async {
            let deepest = Flag::new();
            let (inner, flag) = (census.clone(), deepest.clone());
            let _forgotten = place.start(move || link(20_000, inner, flag));
            for _ in 0..5_000 {
                let guard = census.guard();
                let asleep = move || async move {
                    let _guard = guard;
                    pending::<()>().await;
                };
                let _forgotten = place.start(asleep);
            }
            deepest.raised().await;
        });
        assert_eq!(violation(ended).others, 0);
        platform.assert_joined(1);
        census.assert_all_gone(20_001 + 5_000);
    }
}

#[test]
fn r44_a_main_value_whose_destructor_panics_does_not_hide_the_violation() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a value whose destructor panics");
        }
    }
    let ended = run(&support::Threads::new(0), Config::new(), async {
        drop(spawn(async {}));
        (Bomb,)
    });
    let Err(RunError::Violation(violation)) = ended else { panic!("there is a violation") };
    assert!(matches!(violation.kind, ViolationKind::StillHasChildren { .. }));
}
