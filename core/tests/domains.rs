//! Domains: where a call runs, what a failure there does to the others, and what an idle domain costs (R15–R20).
//!
//! The runs have up to eight workers, so that a caller's own place among them is met at the beginning, in the middle and at the end. What
//! a run must not do (burn CPU) is not timed but counted: a domain that asks its event source more often than it was given a reason to
//! has done so for nothing.

#![cfg(feature = "std")]
// A busy task never ends by itself, and a promise that is dropped is a forgotten child: both are what is tested.
#![allow(clippy::while_immutable_condition, clippy::let_underscore_future, clippy::enum_variant_names)]

mod support;

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::sync::Barrier;
use std::task::{Wake, Waker};
use std::thread::ThreadId;
use std::time::Duration;

use matou_core::platform::Bare;
use matou_core::suspension::Point;
use matou_core::time::sleep;
use matou_core::{
    Config, DomainId, Exit, NoDomainAvailable, Orphans, Outcome, OwnershipError, Plain, ReportPlace, Resource, RunError, SpawnRefusal,
    Task, TaskPool, ViolationKind, await_all, call, current_task, domain, parallel, run, spawn, yield_now,
};
use support::Threads;
use support::probe::{
    Census, Counter, Flag, OnDrop, Trace, attempt, counted, panic_message, race, record_report, sites, take_reports, trial,
};
use support::simulate::SIMULATED;
use support::watched::{Borrowed, Fault, Watched};

const SEEDS: std::ops::Range<u64> = 0..8;

fn here() -> usize {
    domain::current().unwrap().index()
}

/// All workers but the caller's domain.
fn others(workers: usize, caller: usize) -> Vec<usize> {
    (1..=workers).filter(|&domain| domain != caller).collect()
}

// ---- R15: call

#[test]
fn r15_a_call_runs_neither_on_domain_zero_nor_on_the_callers_and_reaches_every_other() {
    for workers in 1..=8 {
        for caller in (0..=workers).filter(|&caller| !others(workers, caller).is_empty()) {
            for seed in 0..3 {
                let mut reached = trial(workers, seed, caller, move || async move {
                    assert_eq!(here(), caller);
                    let promises: Vec<_> = (0..64).map(|_| call(|| async { here() }).unwrap()).collect();
                    await_all(promises).await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
                });
                reached.sort_unstable();
                reached.dedup();
                assert_eq!(reached, others(workers, caller), "{workers} workers, called from {caller}, seed {seed}");
            }
        }
    }
}

#[test]
fn r15_a_call_picks_by_chance_from_the_seed() {
    let picks = |seed, caller: usize| {
        trial(4, seed, caller, move || async move {
            let promises: Vec<_> = (0..400).map(|_| call(|| async { here() }).unwrap()).collect();
            await_all(promises).await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
        })
    };
    for caller in [0, 2] {
        let others = others(4, caller);
        for seed in SEEDS {
            let picked = picks(seed, caller);
            assert_eq!(picked, picks(seed, caller), "the same seed");
            assert_ne!(picked, picks(seed + 1, caller), "another seed");
            for domain in &others {
                let times = picked.iter().filter(|&pick| pick == domain).count();
                let fair = 400 / others.len();
                assert!((fair * 2 / 3..fair * 4 / 3).contains(&times), "domain {domain} was picked {times} times of 400, seed {seed}");
            }
            // By chance, and not in turn.
            let period = others.len();
            assert!(picked.windows(period + 1).any(|window| window[0] != window[period]));
        }
    }
}

#[test]
fn r15_with_no_domain_left_the_closure_is_given_back() {
    // Domain 0 without workers, and the only worker.
    for (workers, caller) in [(0, 0), (1, 1)] {
        let census = Census::new();
        let inner = census.clone();
        trial(workers, 0, caller, move || async move {
            let census = inner;
            let cargo = |census: &Census| {
                let guard = census.guard();
                move || async move {
                    drop(guard);
                    7
                }
            };
            // Given back whole: it still runs, here, and not before.
            let NoDomainAvailable(make) = call(cargo(&census)).map(drop).unwrap_err();
            assert_eq!(census.gone(), 0);
            assert_eq!(spawn(make()).await.unwrap(), 7);

            let refused = Task::new().name("nowhere").call(cargo(&census)).map(drop).unwrap_err();
            assert_eq!(refused.reason, SpawnRefusal::NoDomainAvailable);
            assert_eq!(census.gone(), 1);
            assert_eq!((refused.task)().await, 7);

            let orphans = Orphans::new();
            let NoDomainAvailable(make) = orphans.call(cargo(&census)).map(drop).unwrap_err();
            assert_eq!((orphans.len(), make().await), (0, 7));
            let refused = Task::new().call_in(&orphans, cargo(&census)).map(drop).unwrap_err();
            assert_eq!((refused.reason, orphans.len()), (SpawnRefusal::NoDomainAvailable, 0));
            drop(refused);
        });
        census.assert_all_gone(4);
    }
}

#[test]
fn r15_a_pinned_call_runs_there() {
    for caller in 0..=4 {
        for target in others(4, caller) {
            let orphans_too = trial(4, 5, caller, move || async move {
                let pinned = || Task::new().pin(DomainId::new(target));
                let orphans = Orphans::new();
                pinned().call_in(&orphans, || async { here() }).unwrap();
                [pinned().call(|| async { here() }).unwrap().await.unwrap(), orphans.next().await.unwrap().unwrap()]
            });
            assert_eq!(orphans_too, [target; 2]);
        }
    }
}

#[test]
fn r15_a_pin_to_an_unknown_domain_to_ones_own_or_to_zero_is_an_error_value() {
    for workers in 1..=8 {
        for caller in 0..=workers {
            let census = Census::new();
            let inner = census.clone();
            trial(workers, 0, caller, move || async move {
                let census = inner;
                let unknown = [workers + 1, workers + 2, DomainId::MAX - 1].map(DomainId::new);
                let mut expected: Vec<_> = unknown.map(|domain| (domain, SpawnRefusal::UnknownDomain(domain))).into();
                expected.push((DomainId::ZERO, SpawnRefusal::DomainZero));
                if caller != 0 {
                    expected.push((DomainId::new(caller), SpawnRefusal::OwnDomain));
                }
                let orphans = Orphans::new();
                for (pin, reason) in expected {
                    let guard = census.guard();
                    let make = move || async move {
                        drop(guard);
                        caller
                    };
                    let refused = Task::new().pin(pin).call(make).map(drop).unwrap_err();
                    assert_eq!(refused.reason, reason);
                    let refused = Task::new().pin(pin).call_in(&orphans, refused.task).map(drop).unwrap_err();
                    assert_eq!(refused.reason, reason);
                    let gone = census.gone();
                    // It is the same closure, and nothing of it was dropped.
                    assert_eq!(spawn((refused.task)()).await.unwrap(), caller);
                    assert_eq!(census.gone(), gone + 1);
                }
                assert!(orphans.is_empty());
            });
            census.assert_all_gone(census.made());
        }
    }
}

#[test]
fn r15_a_spawn_pinned_elsewhere_is_refused_and_one_pinned_here_is_not() {
    for caller in 0..=2 {
        trial(2, 0, caller, move || async move {
            for pin in (0..=3).map(DomainId::new) {
                let spawned = Task::new().pin(pin).spawn(async { here() });
                if pin.index() == caller {
                    assert_eq!(spawned.unwrap().await.unwrap(), caller);
                } else {
                    let refused = spawned.map(drop).unwrap_err();
                    assert_eq!(refused.reason, SpawnRefusal::PinnedElsewhere(pin));
                    assert_eq!(refused.task.await, caller);
                }
            }
        });
    }
}

// ---- R16: parallel

#[test]
fn r16_parallel_spreads_its_items_evenly_and_in_turn() {
    for workers in 1..=8 {
        for caller in [0, 1, workers / 2 + 1, workers] {
            let others = others(workers, caller);
            if others.is_empty() {
                continue;
            }
            for count in [1, workers, 2 * workers, 3 * workers + 1] {
                let results = trial(workers, 0, caller, move || async move {
                    let results = parallel(|item: usize| async move { (item, here()) }, 0..count).await.unwrap();
                    results.into_iter().map(Result::unwrap).collect::<Vec<_>>()
                });
                let expected: Vec<_> = (0..count).map(|item| (item, others[item % others.len()])).collect();
                assert_eq!(results, expected, "{workers} workers, from {caller}");
            }
        }
    }
}

/// As `domain::available` tells.
#[test]
fn r16_so_many_items_as_there_are_workers_are_one_on_each_other_worker_and_from_a_worker_one_more() {
    for workers in 1..=4 {
        for caller in (0..=workers).filter(|&caller| !others(workers, caller).is_empty()) {
            let reached = trial(workers, 0, caller, move || async move {
                let results = parallel(|_| async { here() }, 0..domain::available()).await.unwrap();
                results.into_iter().map(Result::unwrap).collect::<Vec<_>>()
            });
            let mut expected = others(workers, caller);
            if caller != 0 {
                expected.push(expected[0]);
            }
            assert_eq!(reached, expected, "{workers} workers, from {caller}");
        }
    }
}

#[test]
fn r16_parallel_gives_its_results_in_the_order_of_the_items_whatever_ends_first() {
    for (workers, caller) in [(1, 0), (4, 0), (4, 3)] {
        let ends = Trace::new();
        let inner = ends.clone();
        let results = trial(workers, 0, caller, move || async move {
            // Each item waits for the one after it.
            let flags: Vec<_> = (0..=12).map(|_| Flag::new()).collect();
            flags[12].raise();
            let results = parallel(
                move |item: usize| {
                    let (mine, next, ends) = (flags[item].clone(), flags[item + 1].clone(), inner.clone());
                    async move {
                        next.raised().await;
                        ends.note(item);
                        mine.raise();
                        item * item
                    }
                },
                0..12,
            );
            results.await.unwrap().into_iter().map(Result::unwrap).collect::<Vec<_>>()
        });
        assert_eq!(ends.take(), (0..12).rev().collect::<Vec<_>>());
        assert_eq!(results, (0..12).map(|item| item * item).collect::<Vec<_>>());
    }
}

#[test]
fn r16_parallel_keeps_each_failure_in_its_place() {
    for seed in SEEDS {
        let ended = trial(3, seed, 0, || async {
            let results = parallel(
                |item: usize| async move {
                    match item % 3 {
                        0 => Ok(item),
                        1 => Err(item),
                        _ => panic!("item {item}"),
                    }
                },
                0..9,
            );
            results.await.unwrap().into_iter().map(|result| format!("{result:?}")).collect::<Vec<_>>()
        });
        let expected = |item| match item % 3 {
            0 => format!("Ok({item})"),
            1 => format!("Err(Failed({item}))"),
            _ => format!("Err(Panicked(Panic(\"item {item}\")))"),
        };
        assert_eq!(ended, (0..9).map(expected).collect::<Vec<_>>());
    }
}

#[test]
fn r16_no_items_give_an_empty_list_with_and_without_workers() {
    for (workers, caller) in [(0, 0), (1, 0), (1, 1), (2, 0), (2, 2)] {
        let none = trial(workers, 0, caller, || async {
            parallel(|item: usize| async move { item }, []).await.map(|results| results.len()).map_err(drop).ok()
        });
        assert_eq!(none, Some(0));
    }
}

#[test]
fn r16_with_no_domain_left_nothing_starts() {
    for (workers, caller) in [(0, 0), (1, 1)] {
        let (census, started) = (Census::new(), Counter::new());
        let (items, ran) = (census.clone(), started.clone());
        trial(workers, 0, caller, move || async move {
            let items: Vec<_> = (0..3).map(|_| items.guard()).collect();
            let work = move |guard| {
                ran.add();
                async move { drop(guard) }
            };
            let refused = parallel(work, items).await;
            assert!(matches!(refused, Err(NoDomainAvailable(()))));
        });
        census.assert_all_gone(3);
        assert_eq!(started.get(), 0);
    }
}

// ---- R17: futures that are not `Send`

#[test]
fn r17_a_future_that_is_not_send_runs_and_is_dropped_where_it_was_made() {
    if SIMULATED {
        return; // It tells domains apart by their threads.
    }
    /// Keeps an `Rc` over awaits, and looks at its thread in each poll and in its destructor.
    async fn thread_bound(census: Census) -> ThreadId {
        let thread = std::thread::current().id();
        let same = move || assert_eq!(std::thread::current().id(), thread);
        let shared = Rc::new(RefCell::new((0, census.guard_here())));
        let _leaving = OnDrop(same);
        let child = spawn({
            let shared = shared.clone();
            async move {
                for _ in 0..5 {
                    shared.borrow_mut().0 += 1;
                    yield_now().await;
                }
            }
        });
        while shared.borrow().0 < 5 {
            yield_now().await;
            same();
        }
        child.await.unwrap();
        assert_eq!(Rc::strong_count(&shared), 1);
        thread
    }
    for caller in [0, 1] {
        for seed in SEEDS {
            let census = Census::new();
            let inner = census.clone();
            trial(3, seed, caller, move || async move {
                let census = inner;
                let own = std::thread::current().id();
                let [a, b, c, d] = [(); 4].map(|()| census.clone());
                let mut threads = vec![call(move || thread_bound_plain(a)).unwrap().await.unwrap()];
                let orphans = Orphans::new();
                orphans.call(move || thread_bound_plain(b)).unwrap();
                threads.push(orphans.next().await.unwrap().unwrap());
                let pinned = Task::new().pin(DomainId::new(2)).call(move || thread_bound_plain(c)).unwrap();
                threads.push(pinned.await.unwrap());
                let all = parallel(|census: Census| thread_bound_plain(census), [d]).await.unwrap();
                threads.extend(all.into_iter().map(Result::unwrap));
                assert!(threads.iter().all(|&thread| thread != own));
            });
            census.assert_all_gone(4);
        }
    }

    async fn thread_bound_plain(census: Census) -> Plain<ThreadId> {
        Plain(thread_bound(census).await)
    }
}

#[test]
fn r17_a_cancelled_future_that_is_not_send_is_dropped_where_it_was_made() {
    for seed in SEEDS {
        let census = Census::new();
        let inner = census.clone();
        trial(2, seed, 0, move || async move {
            for _ in 0..20 {
                let (census, runs) = (inner.clone(), Flag::new());
                let child = call({
                    let runs = runs.clone();
                    move || async move {
                        let _bound = Rc::new(census.guard_here());
                        runs.raise();
                        pending::<()>().await;
                    }
                });
                runs.raised().await;
                child.unwrap().cancel().await;
            }
        });
        census.assert_all_gone(20);
    }
}

// ---- R18: what goes wrong on a worker

/// Where in its life a task panics.
#[derive(Clone, Copy, Debug)]
enum Panics {
    InClosure,
    InFirstPoll,
    InLaterPoll,
}

#[test]
fn r18_a_panic_on_a_worker_is_its_outcome_and_the_domain_goes_on() {
    for seed in SEEDS {
        for panics in [Panics::InClosure, Panics::InFirstPoll, Panics::InLaterPoll] {
            trial(1, seed, 0, move || async move {
                let neighbour = call(|| async {
                    for _ in 0..10 {
                        yield_now().await;
                    }
                    here()
                })
                .unwrap();
                let bad = call(move || {
                    assert!(!matches!(panics, Panics::InClosure), "a broken promise");
                    async move {
                        if matches!(panics, Panics::InLaterPoll) {
                            yield_now().await;
                        }
                        panic!("a broken promise");
                        #[allow(unreachable_code)]
                        ()
                    }
                })
                .unwrap();
                match bad.await {
                    Err(Exit::Panicked(panic)) => assert_eq!(panic.message(), "a broken promise"),
                    other => panic!("{other:?}"),
                }
                assert_eq!(neighbour.await.unwrap(), 1);
                assert_eq!(call(|| async { here() }).unwrap().await.unwrap(), 1);
            });
        }
    }
}

#[test]
fn r18_a_failure_on_a_worker_is_its_outcome_and_the_domain_goes_on() {
    for seed in SEEDS {
        trial(2, seed, 0, || async {
            let neighbours: Vec<_> = (0..8).map(|_| call(|| async { here() }).unwrap()).collect();
            let failed = call(|| async { Err::<(), _>("no luck") }).unwrap();
            assert!(matches!(failed.await, Err(Exit::Failed("no luck"))));
            for neighbour in neighbours {
                assert!((1..=2).contains(&neighbour.await.unwrap()));
            }
        });
    }
}

/// How the main task, or one on a worker, ends the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Failure,
    Panic,
    Violation,
}

#[test]
fn r18_run_returns_with_every_thread_joined_whatever_goes_wrong_wherever() {
    for seed in 0..4 {
        for ends in [Ends::Failure, Ends::Panic, Ends::Violation] {
            for on in 0..=3 {
                let census = Census::new();
                let platform = Watched::new(3);
                let ended = run(&Borrowed(&platform), Config::new().domains(3).seed(seed), async {
                    // Every domain has somebody who never ends and owns something; one of them has its domain busy.
                    let ready = Flag::new();
                    let endless = |busy: bool| {
                        let (census, ready) = (census.clone(), ready.clone());
                        move || async move {
                            let _guard = census.guard_here();
                            let _resource = census.resource_here();
                            if census.made() == 2 * 5 {
                                ready.raise();
                            }
                            while busy {
                                yield_now().await;
                            }
                            Point::new().unwrap().suspend(|_| Ok::<_, ()>(())).await.unwrap();
                        }
                    };
                    // Forgotten: the main task never ends normally.
                    let _ = spawn(endless(false)());
                    for (worker, busy) in [(1, false), (2, true), (2, false), (3, false)] {
                        let _ = Task::new().pin(DomainId::new(worker)).call(endless(busy)).unwrap();
                    }
                    ready.raised().await;
                    let bad = move || async move {
                        match ends {
                            Ends::Failure => Err("the end"),
                            Ends::Panic => panic!("the end"),
                            Ends::Violation => {
                                let _ = spawn(pending::<()>());
                                Ok(())
                            }
                        }
                    };
                    if on == 0 {
                        return bad().await;
                    }
                    match Task::new().pin(DomainId::new(on)).call(bad).unwrap().await {
                        Ok(()) => Ok(()),
                        Err(Exit::Failed(error)) => Err(error),
                        Err(Exit::Panicked(panic)) => std::panic::resume_unwind(panic.into_payload()),
                        Err(Exit::Cancelled) => unreachable!(),
                    }
                });
                match (ends, ended) {
                    (Ends::Failure, Err(RunError::Failed("the end"))) => {}
                    (Ends::Panic, Err(RunError::Panicked(panic))) => assert_eq!(panic.message(), "the end"),
                    (Ends::Violation, Err(RunError::Violation(violation))) => {
                        assert!(matches!(violation.kind, ViolationKind::StillHasChildren { .. }));
                    }
                    (ends, ended) => panic!("{ends:?} on {on}: {ended:?}"),
                }
                platform.assert_joined(3);
                census.assert_all_gone(2 * 5);
            }
        }
    }
}

// ---- R19: runs after runs, beside runs, in runs

#[test]
fn r19_run_may_be_called_again_however_it_ended() {
    let threads = Threads::new(2);
    for seed in 0..10 {
        let config = Config::new().domains(2).seed(seed);
        let fine = || {
            let ids = run(&threads, config, async {
                let across = call(|| async { Plain(current_task().unwrap()) }).unwrap().await.unwrap();
                Ok::<_, Exit>((current_task().unwrap().to_string(), across.to_string()))
            });
            // Each run counts from the beginning.
            assert_eq!(ids.unwrap(), ("0:0".into(), "0:1".into()));
        };
        fine();
        assert!(matches!(run(&threads, config, async { Err::<(), _>(3) }), Err(RunError::Failed(3))));
        fine();
        assert!(matches!(run(&threads, config, async { panic!("once") as () }), Err(RunError::Panicked(_))));
        fine();
        let broken = run(&threads, config, async {
            let _ = call(pending::<()>).unwrap();
        });
        assert!(matches!(broken, Err(RunError::Violation(_))));
        fine();
        let platform = Watched::new(2).fault(1, Fault::SelectFails(0));
        assert!(matches!(run(&Borrowed(&platform), config, pending::<()>()), Err(RunError::Events(..))));
        fine();
        assert!(matches!(run(&Bare, Config::new().domains(1), async {}), Err(RunError::Platform(_))));
    }
}

#[test]
fn r19_runs_on_several_threads_at_once_share_nothing() {
    let all_there = Barrier::new(4);
    std::thread::scope(|scope| {
        for number in 0..4_usize {
            let all_there = &all_there;
            scope.spawn(move || {
                for round in 0..10 {
                    let census = Census::new();
                    let platform = Watched::new(number);
                    let ended = run(&Borrowed(&platform), Config::new().domains(number).seed(round), async {
                        all_there.wait();
                        assert_eq!(current_task().unwrap().to_string(), "0:0");
                        assert_eq!((domain::all().len(), domain::available()), (number + 1, number));
                        let mut promises = Vec::new();
                        for _ in 0..20 {
                            let census = census.clone();
                            let work = move || async move {
                                let _guard = census.guard_here();
                                yield_now().await;
                                domain::all().len()
                            };
                            promises.push(if number == 0 { spawn(work()) } else { call(work).unwrap() });
                        }
                        // Each thread in its turn breaks a rule, and the other three notice nothing.
                        if round as usize % 4 != number {
                            for promise in promises {
                                assert_eq!(promise.await.unwrap(), number + 1);
                            }
                        }
                    });
                    match ended {
                        Ok(()) => assert_ne!(round as usize % 4, number),
                        Err(RunError::Violation(violation)) => {
                            assert_eq!((round as usize % 4, violation.others), (number, 0));
                        }
                        other => panic!("{other:?}"),
                    }
                    platform.assert_joined(number);
                    assert_eq!(census.made(), census.gone());
                }
            });
        }
    });
}

#[test]
fn r19_the_free_slots_of_a_pool_are_shared_by_all_runs() {
    static POOL: TaskPool<1, 256> = TaskPool::new();
    let (taken, leave) = (Flag::new(), Flag::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let held = run(&Threads::new(0), Config::new(), async {
                let held = POOL.spawn(leave.raised()).unwrap();
                taken.raise();
                held.await.unwrap();
            });
            held.unwrap();
        });
        taken.block();
        let full = run(&Bare, Config::new(), async {
            let full = POOL.spawn(async {}).map(drop).unwrap_err();
            full.0.await;
            POOL.free()
        });
        assert_eq!(full.unwrap(), 0);
        leave.raise();
    });
    let free = run(&Bare, Config::new(), async {
        POOL.spawn(async {}).unwrap().await.unwrap();
    });
    free.unwrap();
    assert_eq!(POOL.free(), 1);
}

/// A run inside a run, and whether its main task was dropped unpolled.
fn nested() -> bool {
    let census = Census::new();
    let (guard, polled) = (census.guard(), Counter::new());
    let ended = run(
        &Bare,
        Config::new(),
        counted(&polled, async move {
            let _guard = guard;
        }),
    );
    matches!(ended, Err(RunError::Nested)) && census.gone() == 1 && polled.get() == 0
}

#[test]
fn r19_run_inside_a_run_is_nested_wherever_it_is_called() {
    for (at, place) in sites() {
        let found = Trace::new();
        let inner = found.clone();
        let platform = Threads::new(2);
        let config = Config::new().domains(2).on_report(|report| {
            assert!(nested(), "in `on_report`");
            record_report(report);
        });
        attempt(&platform, config, at, move || async move {
            let found = inner;
            let note = move |what| found.note((what, nested()));
            note("task");
            let child = {
                let note = note.clone();
                move || {
                    note("closure");
                    async move {
                        let leaving = note.clone();
                        let _leaving = OnDrop(move || leaving("destructor"));
                        let finalising = note.clone();
                        let resource = Resource::new((), move |()| {
                            finalising("finaliser");
                            panic!("r19_run_inside_a_run {at} {place:?}");
                        });
                        resource.own().unwrap();
                        let registering = note.clone();
                        let register = move |_| {
                            registering("registration");
                            Err("not today")
                        };
                        Point::new().unwrap().suspend(register).await?;
                        Ok::<_, &str>(())
                    }
                }
            };
            let child = place.start(child);
            assert!(matches!(child.await, Err(Exit::Failed("not today"))));

            struct Nesting<F: Fn(&'static str) + Send + Sync>(F);
            impl<F: Fn(&'static str) + Send + Sync> Wake for Nesting<F> {
                fn wake(self: std::sync::Arc<Self>) {
                    (self.0)("waker");
                }
            }
            let waker = Waker::from(std::sync::Arc::new(Nesting(note.clone())));
            let ended = Flag::new();
            let raised = ended.raised();
            let mut child = Box::pin(place.start(move || raised));
            let polled = std::future::Future::poll(child.as_mut(), &mut std::task::Context::from_waker(&waker));
            assert!(polled.is_pending());
            ended.raise();
            while !child.is_ended() {
                yield_now().await;
            }
            child.await.unwrap();

            let result = note.clone();
            let forgotten = place.start(move || async move { Plain(Box::new(OnDrop(move || result("result")))) });
            while !forgotten.is_ended() {
                yield_now().await;
            }
            forgotten.cancel().await;
        })
        .unwrap();
        let places = ["task", "closure", "registration", "destructor", "finaliser", "waker", "result"];
        assert_eq!(found.take(), places.map(|place| (place, true)));
        let reports = take_reports(&format!("r19_run_inside_a_run {at} {place:?}"));
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].0, ReportPlace::Finaliser);
    }
}

#[test]
fn r19_run_inside_a_hook_is_nested() {
    for at in [0, 1] {
        let found = Trace::new();
        let inner = found.clone();
        trial(1, 0, at, move || async move {
            let hook = matou_core::hook::add(move || inner.note(nested()));
            yield_now().await;
            yield_now().await;
            drop(hook);
        });
        let found = found.take();
        assert!(!found.is_empty() && found.iter().all(|nested| *nested), "{found:?}");
    }
}

#[test]
fn r19_outside_a_task_spawn_panics_and_names_run_and_call_is_an_error() {
    fn outside(place: &'static str) {
        static POOL: TaskPool<1, 64> = TaskPool::new();
        assert_eq!(current_task(), None, "{place}");
        for message in [
            panic_message(|| drop(spawn(async {}))),
            panic_message(|| {
                Orphans::new().spawn(async {});
            }),
            panic_message(|| drop(POOL.spawn(async {}))),
        ] {
            assert!(message.contains("`run`"), "{place}: {message}");
        }
        assert_eq!(POOL.free(), 1);
        // The closure is given back.
        let NoDomainAvailable(_make) = call(|| std::future::ready(())).map(drop).unwrap_err();
        let orphans = Orphans::new();
        assert!(orphans.call(|| std::future::ready(())).is_err());
        let refused = Task::new().call(|| std::future::ready(())).map(drop).unwrap_err();
        assert_eq!(refused.reason, SpawnRefusal::NoTask);
        assert!(refused.to_string().contains("`run`"), "{refused}");
        let refused = Task::new().spawn(std::future::ready(())).map(drop).unwrap_err();
        assert_eq!(refused.reason, SpawnRefusal::NoTask);
        let refused = Task::new().spawn_in(&orphans, std::future::ready(())).unwrap_err();
        assert_eq!(refused.reason, SpawnRefusal::NoTask);
        let mut all = Box::pin(parallel(|_: u8| async {}, [1]));
        let polled = std::future::Future::poll(all.as_mut(), &mut std::task::Context::from_waker(Waker::noop()));
        assert!(matches!(polled, std::task::Poll::Ready(Err(NoDomainAvailable(())))), "{place}");
    }
    outside("outside a run");
    assert_eq!((domain::current(), domain::all().len(), domain::available()), (None, 0, 0));
    // In a finaliser no task is current, though there is a run.
    for (at, place) in sites() {
        let finalised = Flag::new();
        let inner = finalised.clone();
        trial(2, 0, at, move || async move {
            place
                .start(move || async move {
                    let resource = Resource::new((), move |()| {
                        outside("in a finaliser");
                        inner.raise();
                    });
                    resource.own().unwrap();
                    resource.release().unwrap();
                })
                .await
                .unwrap();
        });
        assert!(finalised.is_raised());
    }
    outside("after a run");
}

#[test]
fn r19_ownership_and_points_outside_a_run_are_errors() {
    let resource = Resource::new(1, drop);
    assert_eq!(resource.own(), Err(OwnershipError::NoTask));
    assert_eq!(Point::new().map(drop), Err(matou_core::suspension::PointError::NoDomain));
}

// ---- R20: an idle domain

/// Long enough for a domain that spins to be seen doing so.
const A_WHILE: Duration = Duration::from_millis(10);

/// Runs `main` with three workers and checks that the domains in `idle` do not ask their event sources between the moment at which all of
/// them sleep, some time after `settled` was raised, and that at which `go` is raised.
fn quiet<T: Outcome, F: Future<Output = T>>(idle: &[usize], main: impl FnOnce(Flag, Flag) -> F) -> (Watched, bool) {
    let platform = Watched::new(3);
    let (settled, go) = (Flag::new(), platform.flag.clone());
    let asked = || idle.iter().map(|&domain| platform.selects(domain)).collect::<Vec<_>>();
    let ended = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            settled.block();
            idle.iter().for_each(|&domain| platform.wait_asleep(domain));
            let before = asked();
            std::thread::sleep(A_WHILE);
            let after = asked();
            go.raise();
            assert_eq!(before, after, "calls of `select` by the idle domains {idle:?}");
        });
        let ended = run(&Borrowed(&platform), Config::new().domains(3), main(settled.clone(), go.clone()));
        watcher.join().unwrap();
        ended.is_ok()
    });
    platform.assert_joined(3);
    (platform, ended)
}

#[test]
fn r20_no_domain_asks_its_source_while_nothing_happens() {
    let (platform, fine) = quiet(&[0, 1, 2, 3], |settled, go| async move {
        settled.raise();
        go.raised().await;
    });
    assert!(fine);
    // A worker that is given nothing sleeps once, for the whole run.
    for worker in 1..=3 {
        let log = platform.threads.hand(worker).log();
        assert_eq!((log.looks, log.sleeps, log.interrupts), (0, 1, 1), "domain {worker}");
    }
}

#[test]
fn r20_the_others_are_idle_while_one_computes() {
    // A worker computes, in one long poll, then in many short ones.
    for long in [true, false] {
        let (_, fine) = quiet(&[0, 1, 3], |settled, go| async move {
            let compute = move || async move {
                settled.raise();
                if long {
                    go.block();
                }
                while !go.is_raised() {
                    yield_now().await;
                }
            };
            Task::new().pin(DomainId::new(2)).call(compute).unwrap().await.unwrap();
        });
        assert!(fine);
        // Domain 0 does.
        let (_, fine) = quiet(&[1, 2, 3], |settled, go| async move {
            settled.raise();
            if long {
                go.block();
            }
            while !go.is_raised() {
                yield_now().await;
            }
        });
        assert!(fine);
    }
}

#[test]
fn r20_a_busy_domain_does_not_ask_a_source_that_nobody_waits_for() {
    for at in [0, 1] {
        let platform = Watched::new(1);
        attempt(&Borrowed(&platform), Config::new().domains(1), at, || async {
            for _ in 0..1000 {
                yield_now().await;
            }
        })
        .unwrap();
        assert_eq!(platform.threads.hand(at).log().looks, 0);
    }
}

#[test]
fn r20_waiting_for_a_far_time_or_a_point_is_idle() {
    let (platform, fine) = quiet(&[0, 1, 2, 3], |settled, go| async move {
        let waiting = Counter::new();
        let wait = |worker| {
            let (go, waiting, settled) = (go.clone(), waiting.clone(), settled.clone());
            let waits = move || async move {
                let far = sleep(Duration::from_secs(3600));
                let point = Point::new().unwrap().suspend(|_| {
                    if waiting.add() == 1 {
                        settled.raise();
                    }
                    Ok::<_, ()>(())
                });
                assert!(race(race(far, point), go.raised()).await.is_err());
            };
            Task::new().pin(DomainId::new(worker)).call(waits).unwrap()
        };
        for waiting in [wait(1), wait(2)] {
            waiting.await.unwrap();
        }
    });
    assert!(fine);
    for worker in [1, 2] {
        // It is told of the point given up, and has no other reason to ask than what wakes it.
        let log = platform.threads.hand(worker).log();
        assert_eq!(log.cancelled.len(), 1, "{log:?}");
        assert!(log.looks <= 1 && log.sleeps <= 1 + log.interrupts, "{log:?}");
    }
}

#[test]
fn r20_a_timer_costs_one_sleep() {
    for at in [0, 1] {
        let platform = Watched::new(1).with_time_of_sleeps();
        attempt(&Borrowed(&platform), Config::new().domains(1), at, || async {
            for _ in 0..5 {
                sleep(Duration::from_micros(200)).await;
            }
        })
        .unwrap();
        let log = platform.threads.hand(at).log();
        assert!(log.looks == 0 && (5..=5 + 1 + log.interrupts).contains(&log.sleeps), "{log:?}");
    }
}

#[test]
fn r20_the_others_are_idle_while_a_run_stops() {
    // A violation, and a task that is in a long poll when it comes.
    let (_, fine) = quiet(&[0, 1, 3], |settled, go| async move {
        let computes = Flag::new();
        let computing = {
            let computes = computes.clone();
            move || async move {
                computes.raise();
                go.block();
            }
        };
        let _ = Task::new().pin(DomainId::new(2)).call(computing).unwrap();
        computes.raised().await;
        settled.raise();
    });
    assert!(!fine, "a child was forgotten");
    // A cancellation that the main task does not wait for, and a destructor that takes its time.
    for fails in [false, true] {
        let (_, fine) = quiet(&[0, 1, 3], |settled, go| async move {
            let runs = Flag::new();
            let slow = {
                let runs = runs.clone();
                move || async move {
                    let _slow = OnDrop(move || {
                        settled.raise();
                        go.block();
                    });
                    runs.raise();
                    pending::<()>().await;
                }
            };
            let child = Task::new().pin(DomainId::new(2)).call(slow).unwrap();
            runs.raised().await;
            if fails {
                return Err(());
            }
            drop(child.cancel());
            Ok(())
        });
        assert_eq!(fine, !fails);
    }
}

#[test]
fn r20_domain_zero_is_idle_while_a_worker_starts() {
    for fault in [None, Some(Fault::MakeFails), Some(Fault::MakePanics)] {
        let mut platform = Watched::new(3);
        platform.slow = Some(2);
        if let Some(fault) = fault {
            platform = platform.fault(1, fault);
        }
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(A_WHILE);
                platform.flag.raise();
            });
            run(&Borrowed(&platform), Config::new().domains(3), async {})
        });
        assert_eq!(ended.is_ok(), fault.is_none());
        // One ring for each worker that starts, and for the failure.
        let most = 1 + platform.threads.hand(0).log().interrupts;
        let selects = platform.selects(0);
        assert!(selects <= most + 1, "domain 0 asked {selects} times, and had reason to {most} times");
    }
}
