//! Awaiting several promises: rules 7 and 8.
//!
//! The lists mix children of the same domain with children across. What is chosen among several that have ended is chance from the seed:
//! the tests look for every choice over many seeds, and for the same choice with the same seed.

#![cfg(feature = "std")]

mod support;

use std::collections::BTreeSet;
use std::task::Waker;

use futures_util::FutureExt;
use matou_core::{
    Exit, Plain, Promise, State, await_all, await_all_in, await_first, await_first_in, await_one, await_one_in, parallel, spawn, yield_now,
};
use support::family::*;
use support::wakers::*;

/// Two children here and two on each of two workers.
const PLACES: [Option<usize>; 6] = [None, Some(1), None, Some(2), Some(1), Some(2)];

/// Starts a child here, or on this domain.
#[track_caller]
fn start<C, F>(place: Option<usize>, make: C) -> Promise<Value<F>, Error<F>>
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output: matou_core::Outcome> + 'static,
    Value<F>: Send + 'static,
    Error<F>: Send + 'static,
{
    match place {
        None => spawn(make()),
        Some(domain) => pinned(domain, make),
    }
}

/// A mixed list; each child waits at its gate, then gives its number.
fn mixed(tally: &Tally) -> (Vec<Promise<usize>>, Vec<Gate>) {
    let gates: Vec<Gate> = PLACES.iter().map(|_| Gate::new()).collect();
    let promises = PLACES.into_iter().enumerate().map(|(n, place)| {
        let (token, gate) = (tally.token(), gates[n].clone());
        start(place, move || async move {
            let _token = token;
            gate.passed().await;
            n
        })
    });
    (promises.collect(), gates)
}

/// Opens a gate from another task, when the current one waits.
fn open_later(gate: &Gate) -> Promise<()> {
    let gate = gate.clone();
    spawn(async move {
        for _ in 0..3 {
            yield_now().await;
        }
        gate.open();
    })
}

async fn all_ended<T, E>(promises: &[Promise<T, E>]) {
    until(|| promises.iter().all(Promise::is_ended)).await;
}

/// Promises in the places of a slice.
fn in_places<T, E>(promises: Vec<Promise<T, E>>) -> Vec<Option<Promise<T, E>>> {
    promises.into_iter().map(Some).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum List {
    Vec,
    Slice,
}

const LISTS: [List; 2] = [List::Vec, List::Slice];

// ---- R7: one

#[test]
fn r07_await_one_gives_one_that_ended_and_leaves_the_others() {
    for list in LISTS {
        for seed in SEEDS {
            let tally = Tally::new();
            go(2, seed, async {
                let (mut promises, gates) = mixed(&tally);
                let mut places = Vec::new();
                if list == List::Slice {
                    places = in_places(std::mem::take(&mut promises));
                }
                for (given, n) in [4, 0, 3, 5, 1, 2].into_iter().enumerate() {
                    let opener = open_later(&gates[n]);
                    let one = match list {
                        List::Vec => await_one(&mut promises).await,
                        List::Slice => await_one_in(&mut places).await,
                    };
                    assert_eq!(one.unwrap().unwrap(), n);
                    opener.await.unwrap();
                    match list {
                        List::Vec => assert_eq!(promises.len(), PLACES.len() - given - 1),
                        List::Slice => assert!(places[n].is_none()),
                    }
                    assert_eq!(tally.dropped(), given + 1);
                    let left = promises.iter().chain(places.iter().flatten());
                    assert!(left.clone().count() == PLACES.len() - given - 1 && left.clone().all(|left| left.state() == State::Running));
                }
                assert!(await_one(&mut promises).await.is_none());
                assert!(await_one_in(&mut places).await.is_none());
            })
            .unwrap();
            assert_eq!(tally.all_dropped(), PLACES.len());
        }
    }
}

#[test]
fn r07_await_one_dropped_early_loses_nothing() {
    for list in LISTS {
        for seed in SEEDS {
            let tally = Tally::new();
            go(2, seed, async {
                let (mut promises, gates) = mixed(&tally);
                let mut places = Vec::new();
                if list == List::Slice {
                    places = in_places(std::mem::take(&mut promises));
                }
                for gate in &gates {
                    // Polled while all run, and dropped; polled by nobody, and dropped.
                    match list {
                        List::Vec => {
                            assert!(await_one(&mut promises).now_or_never().is_none());
                            drop(await_one(&mut promises));
                        }
                        List::Slice => {
                            assert!(await_one_in(&mut places).now_or_never().is_none());
                            drop(await_one_in(&mut places));
                        }
                    }
                    assert_eq!(promises.iter().chain(places.iter().flatten()).count() + tally.dropped(), PLACES.len());
                    gate.open();
                    match list {
                        List::Vec => await_one(&mut promises).await,
                        List::Slice => await_one_in(&mut places).await,
                    }
                    .unwrap()
                    .unwrap();
                }
                assert_eq!(tally.all_dropped(), PLACES.len());
            })
            .unwrap();
        }
    }
}

// ---- R7: first

#[test]
fn r07_await_first_gives_the_first_and_the_others_have_ended_by_then() {
    for list in LISTS {
        for seed in SEEDS {
            for first in 0..PLACES.len() {
                let tally = Tally::new();
                go(2, seed, async {
                    let (promises, gates) = mixed(&tally);
                    let opener = open_later(&gates[first]);
                    let one = match list {
                        List::Vec => await_first(promises).await,
                        List::Slice => {
                            let mut places = in_places(promises);
                            let one = await_first_in(&mut places).await;
                            assert!(places.iter().all(Option::is_none));
                            one
                        }
                    };
                    assert_eq!(one.unwrap().unwrap(), first);
                    assert_eq!(tally.all_dropped(), PLACES.len());
                    opener.await.unwrap();
                })
                .unwrap();
            }
        }
    }
}

#[test]
fn r07_await_first_waits_for_those_it_cancels() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    for list in LISTS {
        for seed in SEEDS {
            let journal = Journal::new();
            go(1, seed, async {
                let (arrived, release) = (Gate::new(), Gate::new());
                let busy = pinned(1, {
                    let (journal, arrived, release) = (journal.clone(), arrived.clone(), release.clone());
                    move || async move {
                        let _dropped = journal.at_drop("the one that was cancelled is dropped");
                        arrived.open();
                        release.block();
                        parked().await;
                        0
                    }
                });
                arrived.passed().await;
                let waiting = async |promises| {
                    let one = match list {
                        List::Vec => await_first(promises).await,
                        List::Slice => await_first_in(&mut in_places(promises)).await,
                    };
                    assert_eq!(one.unwrap().unwrap(), 1);
                    journal.write("the first is given");
                };
                let releasing = spawn({
                    let (journal, release) = (journal.clone(), release.clone());
                    async move {
                        for _ in 0..50 {
                            yield_now().await;
                        }
                        journal.write("the domain is released");
                        release.open();
                    }
                });
                waiting(vec![busy, spawn(async { 1 })]).await;
                releasing.await.unwrap();
            })
            .unwrap();
            assert_eq!(journal.read(), ["the domain is released", "the one that was cancelled is dropped", "the first is given"]);
        }
    }
}

#[test]
fn r07_the_result_of_one_that_ended_second_is_dropped() {
    each(|reach, seed| {
        let values = Tally::new();
        go(1, seed, async {
            let promises: Vec<_> = (0..5)
                .map(|_| {
                    let value = values.token();
                    reach.start(move || async move { Plain(value) })
                })
                .collect();
            all_ended(&promises).await;
            let first = await_first(promises).await.unwrap().unwrap();
            assert_eq!(values.dropped(), 4);
            drop(first);
            assert_eq!(values.all_dropped(), 5);
        })
        .unwrap();
    });
}

// ---- R7: all

#[test]
fn r07_await_all_keeps_the_order() {
    for list in LISTS {
        for seed in SEEDS {
            let tally = Tally::new();
            go(2, seed, async {
                let (promises, gates) = mixed(&tally);
                let opening = spawn(async move {
                    for n in [4, 0, 3, 5, 1, 2] {
                        for _ in 0..5 {
                            yield_now().await;
                        }
                        gates[n].open();
                    }
                });
                let results = match list {
                    List::Vec => await_all(promises).await,
                    List::Slice => {
                        let mut places = in_places(promises);
                        let mut results: Vec<_> = places.iter().map(|_| None).collect();
                        await_all_in(&mut places, &mut results).await;
                        assert!(places.iter().all(Option::is_none));
                        results.into_iter().map(Option::unwrap).collect()
                    }
                };
                assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
                opening.await.unwrap();
            })
            .unwrap();
            assert_eq!(tally.all_dropped(), PLACES.len());
        }
    }
}

#[test]
fn r07_await_all_gives_abnormal_ends_in_their_places() {
    each(|reach, seed| {
        go(2, seed, async {
            let promises = (0..6).map(|n| {
                reach.start(move || async move {
                    assert_ne!(n, 4, "four");
                    if n % 2 == 0 { Ok(n) } else { Err(n) }
                })
            });
            let results = await_all(promises.collect()).await;
            let seen: Vec<_> = results
                .into_iter()
                .map(|result| match result {
                    Ok(n) => format!("value {n}"),
                    Err(Exit::Failed(n)) => format!("error {n}"),
                    Err(Exit::Panicked(_)) => "panic".to_owned(),
                    Err(Exit::Cancelled) => unreachable!(),
                })
                .collect();
            assert_eq!(seen, ["value 0", "error 1", "value 2", "error 3", "panic", "error 5"]);
        })
        .unwrap();
    });
}

#[test]
fn r07_await_all_leaves_empty_places_of_a_slice_alone_and_wants_two_of_a_length() {
    for seed in SEEDS {
        go(0, seed, async {
            let mut places = [None, Some(spawn(async { 1 })), None];
            let mut results = [Some(Ok(9)), None, None];
            await_all_in(&mut places, &mut results).await;
            assert!(matches!(results, [Some(Ok(9)), Some(Ok(1)), None]));
            let message = panic_of(|| await_all_in(&mut places, &mut results[..2]).now_or_never());
            assert!(message.contains("each promise needs a place for its result"), "{message}");
        })
        .unwrap();
    }
}

// ---- R7: which of several

/// Which child is given when the first `ended` of these have ended; an odd number fails.
fn chosen(list: List, first: bool, seed: u64, reach: Reach, numbers: &'static [usize]) -> usize {
    let workers = if reach == Reach::Same { 0 } else { 2 };
    go(workers, seed, async {
        let promises = numbers.iter().map(|&n| reach.start(move || async move { if n % 2 == 0 { Ok(n) } else { Err(n) } }));
        let mut promises: Vec<_> = promises.collect();
        all_ended(&promises).await;
        let one = match (list, first) {
            (List::Vec, false) => await_one(&mut promises).await,
            (List::Vec, true) => await_first(std::mem::take(&mut promises)).await,
            (List::Slice, _) => {
                let mut places = in_places(std::mem::take(&mut promises));
                let one = if first { await_first_in(&mut places).await } else { await_one_in(&mut places).await };
                promises = places.into_iter().flatten().collect();
                one
            }
        };
        for rest in promises {
            rest.cancel().await;
        }
        match one.unwrap() {
            Ok(n) | Err(Exit::Failed(n)) => n,
            other => panic!("{other:?}"),
        }
    })
    .unwrap()
}

#[test]
fn r07_of_several_that_ended_a_normal_end_is_preferred() {
    for list in LISTS {
        for first in [false, true] {
            each(|reach, seed| {
                assert_eq!(chosen(list, first, seed, reach, &[1, 3, 4, 5, 7]), 4);
                assert_eq!(chosen(list, first, seed, reach, &[1, 3, 5, 7, 8]), 8);
                assert_eq!(chosen(list, first, seed, reach, &[9]), 9);
            });
        }
    }
}

#[test]
fn r07_among_equals_it_is_chance_from_the_seed() {
    for list in LISTS {
        for first in [false, true] {
            for (numbers, reach) in [&[0, 2, 4], &[1, 3, 5]].into_iter().flat_map(|numbers| Reach::BOTH.map(|reach| (numbers, reach))) {
                let choose = |seed| chosen(list, first, seed, reach, numbers);
                let seeds = 0..if reach == Reach::Same { 32 } else { 16 };
                let choices: Vec<_> = seeds.clone().map(choose).collect();
                assert_eq!(choices.iter().copied().collect::<BTreeSet<_>>(), numbers.iter().copied().collect());
                assert_eq!(choices, seeds.map(choose).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn r07_an_empty_list_gives_none_or_nothing() {
    for seed in SEEDS {
        go(1, seed, async {
            let mut none: Vec<Promise<()>> = Vec::new();
            let mut empty: [Option<Promise<()>>; 2] = [None, None];
            assert!(await_one(&mut none).await.is_none());
            assert!(await_one_in(&mut empty).await.is_none());
            assert!(await_one_in(&mut [] as &mut [Option<Promise<()>>]).await.is_none());
            assert!(await_first_in(&mut empty).await.is_none());
            assert!(await_first(Vec::<Promise<()>>::new()).await.is_none());
            assert!(await_all(none).await.is_empty());
            await_all_in(&mut empty, &mut [None, None]).await;
            let nothing = parallel(|()| async {}, []).await.unwrap();
            assert!(nothing.is_empty());
        })
        .unwrap();
    }
}

// ---- R7: dropped early

/// Drops the future of an `await_first` or an `await_all`, in the midst.
fn drop_early(seed: u64, drop_it: impl AsyncFn(Vec<Promise<Token>>)) {
    for open in [false, true] {
        let (tally, values) = (Tally::new(), Tally::new());
        go(2, seed, async {
            let gate = Gate::new();
            let promises: Vec<_> = PLACES
                .into_iter()
                .enumerate()
                .map(|(n, place)| {
                    // Every second one ends if they may.
                    let (token, value, gate) = (tally.token(), values.token(), if n % 2 == 0 { gate.clone() } else { Gate::new() });
                    start(place, move || async move {
                        let _token = token;
                        gate.passed().await;
                        Plain(value)
                    })
                })
                .collect();
            if open {
                gate.open();
                until(|| promises.iter().step_by(2).all(Promise::is_ended)).await;
            }
            drop_it(promises).await;
            until(|| tally.dropped() == PLACES.len() && values.dropped() == PLACES.len()).await;
        })
        // They were cancelled, so none is left.
        .unwrap();
        assert_eq!((tally.all_dropped(), values.all_dropped()), (PLACES.len(), PLACES.len()));
    }
}

#[test]
fn r07_await_first_dropped_early_cancels() {
    for seed in SEEDS {
        drop_early(seed, async |promises| drop(await_first(promises)));
        drop_early(seed, async |promises| drop(await_first_in(&mut in_places(promises))));
        drop_early(seed, async |promises| {
            // Polled: if some have ended, it is now waiting for those that it has cancelled.
            let mut first = await_first(promises);
            let _ = poll_under(&mut first, Waker::noop());
            yield_now().await;
        });
        drop_early(seed, async |promises| {
            let mut places = in_places(promises);
            let _ = await_first_in(&mut places).now_or_never();
            assert!(places.iter().all(Option::is_none));
        });
    }
}

#[test]
fn r07_await_all_dropped_early_cancels() {
    for seed in SEEDS {
        drop_early(seed, async |promises| drop(await_all(promises)));
        drop_early(seed, async |promises| {
            let mut all = await_all(promises);
            assert!(poll_under(&mut all, Waker::noop()).is_pending());
            yield_now().await;
            assert!(poll_under(&mut all, Waker::noop()).is_pending());
        });
        drop_early(seed, async |promises| {
            let (mut places, mut results) = (in_places(promises), PLACES.map(|_| None));
            assert!(await_all_in(&mut places, &mut results).now_or_never().is_none());
            // What had ended keeps its place among the results.
            assert!(places.iter().all(Option::is_none));
        });
    }
}

#[test]
fn r07_parallel_dropped_early_cancels() {
    for polled in [false, true] {
        for seed in SEEDS {
            let (begun, tally) = (Tally::new(), Tally::new());
            go(3, seed, async {
                let mut all = parallel(
                    {
                        let begun = begun.clone();
                        move |token: Token| {
                            let begun = begun.token();
                            async move {
                                let _held = (begun, token);
                                parked().await;
                            }
                        }
                    },
                    (0..9).map(|_| tally.token()),
                );
                if polled {
                    assert!(poll_under(&mut all, Waker::noop()).is_pending());
                    until(|| begun.made() == 9).await;
                }
                drop(all);
                until(|| tally.dropped() == 9).await;
            })
            .unwrap();
            assert_eq!(begun.all_dropped(), if polled { 9 } else { begun.made() });
            assert_eq!(tally.all_dropped(), 9);
        }
    }
}

#[test]
fn r07_what_a_cancelled_task_was_awaiting_is_cancelled_with_it() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(3, seed, async {
            for which in 0..4 {
                let waiting = Gate::new();
                let parent = reach.start_on(3, {
                    let (tally, waiting) = (tally.clone(), waiting.clone());
                    move || async move {
                        let (promises, _gates) = mixed(&tally);
                        waiting.open();
                        match which {
                            0 => drop(await_one(&mut { promises }).await),
                            1 => drop(await_first(promises).await),
                            2 => drop(await_all(promises).await),
                            _ => {
                                drop(parallel(|_: Token| parked(), [tally.token()]).await);
                            }
                        }
                    }
                });
                waiting.passed().await;
                parent.cancel().await;
                tally.all_dropped();
            }
        })
        .unwrap();
    });
}

// ---- R8

#[test]
fn r08_children_of_all_domains_are_awaited_together() {
    for seed in SEEDS {
        let (here, there) = go(2, seed, async {
            let domain = || async { matou_core::domain::current().unwrap().index() };
            let all = await_all(PLACES.map(|place| start(place, domain)).into()).await;
            let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
            assert_eq!(all, PLACES.map(Option::unwrap_or_default));
            // The same types for children on any domain, in one list, one function, one `Orphans`.
            let mut list: Vec<Promise<usize>> = vec![spawn(domain())];
            list.push(Reach::Across.start(domain));
            list.extend(PLACES.map(|place| start(place, domain)));
            let mut seen = [0; 3];
            while let Some(domain) = await_one(&mut list).await {
                seen[domain.unwrap()] += 1;
            }
            let first = await_first(PLACES.map(|place| start(place, domain)).into()).await.unwrap().unwrap();
            assert!(first < 3);
            (seen[0], seen[1] + seen[2])
        })
        .unwrap();
        assert_eq!((here, there), (3, 5));
    }
}
