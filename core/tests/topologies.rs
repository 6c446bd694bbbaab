//! Calls from worker to worker, in chains, rings and trees, and `parallel` inside `parallel`, with one to eight workers (R4, R15, R16, R18).
//!
//! Every domain waits for others meanwhile, and those for others again: a lost wake-up or a domain that blocks where it should serve hangs
//! the test. With a single worker there is nobody to call from it; then the closure comes back and is spawned, so that the shapes are the same.

#![cfg(feature = "std")]

mod support;

use std::pin::Pin;

use matou_core::{
    Config, DomainId, Exit, NoDomainAvailable, Plain, Promise, RunError, Task, await_all, call, domain, parallel, run, spawn, yield_now,
};
use support::family::Dice;
use support::probe::{Census, Counter, Flag, Trace, trial};
use support::watched::{Borrowed, Watched};

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

fn here() -> usize {
    domain::current().unwrap().index()
}

/// Starts a child on another worker by chance; here if there is none.
#[track_caller]
fn call_or_spawn<C, F>(make: C) -> Promise<F::Output>
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output = usize> + 'static,
{
    call(make).unwrap_or_else(|NoDomainAvailable(make)| spawn(make()))
}

/// The worker after this one, if there is another.
fn next(workers: usize) -> Option<DomainId> {
    let next = here() % workers + 1;
    (next != here()).then(|| DomainId::new(next))
}

/// Starts a child on the next worker; here if there is none.
#[track_caller]
fn call_next<C, F>(workers: usize, make: C) -> Promise<F::Output>
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output = usize> + 'static,
{
    match next(workers) {
        Some(next) => Task::new().pin(next).call(make).unwrap_or_else(|error| panic!("{error}")),
        None => spawn(make()),
    }
}

// ---- chains

/// A chain of this many links, each called by the one before. Notes where each runs; gives how many there are below.
fn chain(left: usize, on: Trace<usize>, census: Census) -> Boxed<usize> {
    Box::pin(async move {
        let _guard = census.guard_here();
        on.note(here());
        if left == 0 {
            return 0;
        }
        1 + call_or_spawn(move || chain(left - 1, on, census)).await.unwrap()
    })
}

#[test]
fn r15_a_chain_of_calls_goes_from_worker_to_worker() {
    const LINKS: usize = 300;
    for workers in 1..=8 {
        for seed in 0..3 {
            let (on, census) = (Trace::new(), Census::new());
            let (inner, guards) = (on.clone(), census.clone());
            let below = trial(workers, seed, 0, move || async move { call(|| chain(LINKS, inner, guards)).unwrap().await.unwrap() });
            assert_eq!(below, LINKS);
            census.assert_all_gone(LINKS + 1);
            let on = on.take();
            assert!(on.iter().all(|&domain| (1..=workers).contains(&domain)));
            assert!(workers == 1 || on.windows(2).all(|pair| pair[0] != pair[1]), "a call ran on its caller's domain: {on:?}");
            assert!((1..=workers).all(|worker| on.contains(&worker)), "{workers} workers: {on:?}");
        }
    }
}

// ---- rings

#[test]
fn r18_every_worker_calls_the_next_at_the_same_time() {
    const ROUNDS: usize = 40;
    for workers in 1..=8 {
        for seed in 0..2 {
            let served = trial(workers, seed, 0, move || async move {
                let callers: Vec<_> = (1..=workers)
                    .map(|worker| {
                        let caller = move || async move {
                            let mut served = 0;
                            for round in 0..ROUNDS {
                                let from = here();
                                served += call_next(workers, move || async move {
                                    assert!(workers == 1 || here() == from % workers + 1);
                                    if round % 3 == 0 {
                                        yield_now().await;
                                    }
                                    1
                                })
                                .await
                                .unwrap();
                            }
                            served
                        };
                        Task::new().pin(DomainId::new(worker)).call(caller).unwrap()
                    })
                    .collect();
                await_all(callers).await.into_iter().map(Result::unwrap).sum::<usize>()
            });
            assert_eq!(served, workers * ROUNDS);
        }
    }
}

/// Goes round, worker after worker, until nothing is left.
fn go_round(workers: usize, left: usize, census: Census) -> Boxed<usize> {
    Box::pin(async move {
        let _guard = census.guard_here();
        if left == 0 {
            return here();
        }
        call_next(workers, move || go_round(workers, left - 1, census)).await.unwrap()
    })
}

#[test]
fn r15_several_rings_at_once_end_where_they_are_to() {
    for workers in 1..=8 {
        let census = Census::new();
        let inner = census.clone();
        trial(workers, 0, 0, move || async move {
            let rings: Vec<_> = (1..=workers)
                .map(|worker| {
                    let census = inner.clone();
                    let ring = move || go_round(workers, 5 * workers + worker, census);
                    Task::new().pin(DomainId::new(worker)).call(ring).unwrap()
                })
                .collect();
            for (worker, ring) in (1..=workers).zip(rings) {
                assert_eq!(ring.await.unwrap(), (2 * worker - 1) % workers + 1);
            }
        });
        census.assert_all_gone((1..=workers).map(|worker| 5 * workers + worker + 1).sum());
    }
}

// ---- trees

/// A tree of this depth, each node with three children elsewhere. Gives how many nodes there are.
fn tree(depth: usize, census: Census) -> Boxed<usize> {
    Box::pin(async move {
        let _guard = census.guard_here();
        let mut children = Vec::new();
        for _ in 0..if depth == 0 { 0 } else { 3 } {
            let (census, from) = (census.clone(), here());
            children.push(call_or_spawn(move || async move {
                assert_ne!(here(), 0);
                assert!(here() != from || domain::available() == 1);
                tree(depth - 1, census).await
            }));
        }
        1 + await_all(children).await.into_iter().map(Result::unwrap).sum::<usize>()
    })
}

#[test]
fn r04_a_tree_of_calls_over_all_workers() {
    for workers in 1..=8 {
        for seed in 0..2 {
            let census = Census::new();
            let inner = census.clone();
            let nodes = trial(workers, seed, 0, move || async move { call(|| tree(5, inner)).unwrap().await.unwrap() });
            // 1 + 3 + 9 + 27 + 81 + 243
            assert_eq!(nodes, 364);
            census.assert_all_gone(364);
        }
    }
}

/// A tree whose leaves never end, each node with two children elsewhere. The last leaf raises the flag.
fn endless_tree(depth: u32, census: Census, leaves: Counter, grown: Flag) -> Boxed<usize> {
    Box::pin(async move {
        let _guard = census.guard_here();
        let _resource = census.resource_here();
        if depth == 0 {
            if leaves.add() + 1 == 1 << 6 {
                grown.raise();
            }
            std::future::pending::<()>().await;
        }
        let children: Vec<_> = (0..2)
            .map(|_| {
                let (census, leaves, grown) = (census.clone(), leaves.clone(), grown.clone());
                call_or_spawn(move || endless_tree(depth - 1, census, leaves, grown))
            })
            .collect();
        await_all(children).await.len()
    })
}

/// How a run with a tree over all workers ends before the tree does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum CutShort {
    Cancelled,
    MainFails,
    Violated,
}

#[test]
fn r18_a_tree_of_calls_that_is_cut_short_ends_on_every_worker() {
    for workers in 1..=8 {
        for how in [CutShort::Cancelled, CutShort::MainFails, CutShort::Violated] {
            let (census, platform) = (Census::new(), Watched::new(workers));
            let ended = run(&Borrowed(&platform), Config::new().domains(workers).seed(workers as u64), async {
                let grown = Flag::new();
                let (inner, grows) = (census.clone(), grown.clone());
                let root = call(move || endless_tree(6, inner, Counter::new(), grows)).unwrap();
                grown.raised().await;
                match how {
                    CutShort::Cancelled => {
                        root.cancel().await;
                        census.assert_all_gone(2 * 127);
                        Ok(())
                    }
                    CutShort::MainFails => Err("cut short"),
                    CutShort::Violated => {
                        drop(root);
                        Ok(())
                    }
                }
            });
            match ended {
                Ok(()) => assert_eq!(how, CutShort::Cancelled),
                Err(RunError::Failed("cut short")) => assert_eq!(how, CutShort::MainFails),
                Err(RunError::Violation(violation)) => assert_eq!((how, violation.others), (CutShort::Violated, 0)),
                other => panic!("{other:?}"),
            }
            platform.assert_joined(workers);
            census.assert_all_gone(2 * 127);
            assert_eq!(census.finalised(), 127);
        }
    }
}

// ---- parallel inside parallel

/// `parallel` over three items, in each of which there is another, as deep as it says; where there is no domain left, one after the other.
fn nested(depth: usize, number: usize) -> Boxed<Vec<usize>> {
    Box::pin(async move {
        if depth == 0 {
            return vec![number];
        }
        let items = (0..3).map(move |item| 3 * number + item);
        let results = match parallel(move |number| nested(depth - 1, number), items.clone()).await {
            Ok(results) => results.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
            Err(NoDomainAvailable(())) => {
                assert_eq!((domain::available(), here()), (1, 1));
                let mut results = Vec::new();
                for number in items {
                    results.push(nested(depth - 1, number).await);
                }
                results
            }
        };
        results.concat()
    })
}

#[test]
fn r16_parallel_inside_parallel_keeps_the_order_at_every_depth() {
    for workers in 1..=8 {
        for caller in [0, 1] {
            for depth in 0..=4 {
                let numbers = trial(workers, 0, caller, move || async move { nested(depth, 0).await });
                assert_eq!(numbers, (0..3_usize.pow(depth as u32)).collect::<Vec<_>>(), "{workers} workers, from {caller}");
            }
        }
    }
}

#[test]
fn r16_a_failure_inside_parallel_inside_parallel_stays_in_its_place() {
    for workers in 2..=8 {
        let outcomes = trial(workers, 0, 0, || async {
            let outer = |row: usize| async move {
                let inner = move |column: usize| async move {
                    match (row + column) % 3 {
                        0 => Ok(row * 10 + column),
                        1 => Err(row * 10 + column),
                        _ => panic!("{row}, {column}"),
                    }
                };
                let results = parallel(inner, 0..3).await.unwrap();
                let told = results.into_iter().map(|result| match result {
                    Ok(number) => format!("value {number}"),
                    Err(Exit::Failed(number)) => format!("error {number}"),
                    Err(Exit::Panicked(panic)) => format!("panic {}", panic.message()),
                    Err(Exit::Cancelled) => unreachable!(),
                });
                told.collect::<Vec<_>>()
            };
            parallel(outer, 0..3).await.unwrap().into_iter().flat_map(Result::unwrap).collect::<Vec<_>>()
        });
        let expected =
            [["value 0", "error 1", "panic 0, 2"], ["error 10", "panic 1, 1", "value 12"], ["panic 2, 0", "value 21", "error 22"]];
        assert_eq!(outcomes, expected.concat(), "{workers} workers");
    }
}

#[test]
fn r07_a_parallel_dropped_early_cancels_the_parallels_inside() {
    for workers in 2..=8 {
        let census = Census::new();
        let inner = census.clone();
        trial(workers, 0, 0, move || async move {
            let (begun, all_there) = (Counter::new(), Flag::new());
            let (counting, raises, guards) = (begun.clone(), all_there.clone(), inner.clone());
            let outer = move |_: usize| {
                let (counting, raises, guards) = (counting.clone(), raises.clone(), guards.clone());
                let inner = move |_: usize| {
                    let (guard, resource) = (guards.guard_here(), guards.resource_here());
                    if counting.add() + 1 == 16 {
                        raises.raise();
                    }
                    async move {
                        let _held = (guard, resource);
                        std::future::pending::<()>().await;
                    }
                };
                async move { parallel(inner, 0..4).await.map(drop).unwrap() }
            };
            let all = parallel(outer, 0..4);
            let cut = futures_util::future::select(Box::pin(all), Box::pin(all_there.raised())).await;
            drop(cut);
            while inner.gone() < 2 * 16 {
                yield_now().await;
            }
        });
        census.assert_all_gone(2 * 16);
        assert_eq!(census.finalised(), 16);
    }
}

// ---- ten thousand ends that meet ten thousand cancellations

/// Cancels `many` children, of which every second one is ending at that very moment. Gives how many of those ended by themselves.
async fn meet(workers: usize, many: usize, futures: Census, values: Census) -> usize {
    let (polled, ended) = (Counter::new(), Counter::new());
    let mut dice = Dice::new(workers as u64);
    let children: Vec<_> = (0..many)
        .map(|number| {
            let (futures, polled, ended, may_end) = (futures.clone(), polled.clone(), ended.clone(), Flag::new());
            let (guard, value, ends) = (futures.guard(), values.guard(), may_end.clone());
            let make = move || async move {
                let _held = (guard, futures.guard_here());
                let resource = futures.resource_here();
                polled.add();
                ends.raised().await;
                ended.add();
                resource.release().unwrap();
                Plain(value)
            };
            let child = match workers {
                0 => spawn(make()),
                _ => Task::new().pin(DomainId::new(number % workers + 1)).call(make).unwrap(),
            };
            (child, may_end)
        })
        .collect();
    while polled.get() < many {
        yield_now().await;
    }
    let mut cancellations = Vec::with_capacity(many);
    for (number, (child, may_end)) in children.into_iter().enumerate() {
        if number % 2 == 0 {
            may_end.raise();
            for _ in 0..dice.below(400) {
                std::hint::spin_loop();
            }
            if workers == 0 && number % 4 == 0 {
                // The only domain has to be let on.
                yield_now().await;
            }
        }
        cancellations.push(child.cancel());
    }
    for cancellation in cancellations {
        cancellation.await;
    }
    ended.get()
}

#[test]
fn r13_ten_thousand_cancellations_of_which_half_meet_an_end() {
    const MANY: usize = 10_000;
    for workers in 0..=4 {
        let (futures, values) = (Census::new(), Census::new());
        let (inner, given) = (futures.clone(), values.clone());
        let ended = trial(workers, 0, 0, move || meet(workers, MANY, inner, given));
        // Two guards and one resource each, the last two on the domain that made them; and one value, given or not.
        futures.assert_all_gone(3 * MANY);
        assert_eq!(futures.finalised(), MANY);
        values.assert_all_gone(MANY);
        // Both were met: an end that came first, and one that came too late.
        assert!((1..MANY / 2).contains(&ended), "{workers} workers: {ended} of {} ended by themselves", MANY / 2);
    }
}
