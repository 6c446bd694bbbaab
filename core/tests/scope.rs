//! Scopes, and `timeout`, which opens one: rule 47.
//!
//! The children made while a scope's future is polled are the scope's: it waits for them, cancels them when it is dropped early or fails,
//! and a normal end with one left is the violation of rule 3. Children made with an `Orphans` in it are among them.

#![cfg(feature = "std")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::{FutureExt, join, select_biased};
use matou_core::time::{Elapsed, Instant, now, sleep, timeout, timeout_at};
use matou_core::{
    Care, Exit, Orphans, Plain, Promise, ReportPlace, RunError, TaskId, TaskPool, ViolationKind, await_all, current_task, parallel, scope,
    spawn, yield_now,
};
use support::family::*;
use support::leak::leak;
use support::wakers::*;

/// A child that counts itself and parks.
#[track_caller]
fn parking(reach: Reach, tally: &Tally) -> Promise<()> {
    let token = tally.token();
    reach.start(move || async move {
        let _token = token;
        parked().await;
    })
}

// ---- what a scope gives

#[test]
fn r47_a_scope_gives_its_output_when_its_children_have_ended() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(1, seed, async {
            // Without a child.
            assert_eq!(scope(async { 3 }).await, 3);
            assert_eq!(scope(async { Err::<(), _>("no") }).await, Err("no"));
            assert_eq!(scope(async { Plain(()) }).await, Plain(()));
            // With children awaited and cancelled.
            let sum = scope(async {
                let (one, two) = (reach.start(|| async { 1 }), reach.start(|| async { 2 }));
                parking(reach, &tally).cancel().await;
                Ok::<i32, Exit>(one.await.unwrap() + two.await.unwrap())
            });
            assert_eq!(sum.await.unwrap(), 3);
            assert_eq!(tally.all_dropped(), 1);
        })
        .unwrap();
    });
}

#[test]
fn r47_a_scope_waits_for_a_child_whose_cancellation_is_under_way() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    for fails in [false, true] {
        each(|reach, seed| {
            let journal = Journal::new();
            go(2, seed, async {
                let (arrived, release) = (Gate::new(), Gate::new());
                let releasing = spawn({
                    let (journal, arrived, release) = (journal.clone(), arrived.clone(), release.clone());
                    async move {
                        arrived.passed().await;
                        for _ in 0..30 {
                            yield_now().await;
                        }
                        journal.write("released");
                        release.open();
                    }
                });
                let output = scope(async {
                    let child = reach.start_on(1, {
                        let (journal, arrived, release) = (journal.clone(), arrived.clone(), release.clone());
                        move || async move {
                            let grandchild = pinned(2, move || async move {
                                let _dropped = journal.at_drop("the grandchild is dropped");
                                arrived.open();
                                release.block();
                                parked().await;
                            });
                            grandchild.await.unwrap();
                        }
                    });
                    arrived.passed().await;
                    if fails {
                        return Err("and leaves the child");
                    }
                    drop(child.cancel());
                    Ok("a value")
                });
                assert_eq!(output.await, if fails { Err("and leaves the child") } else { Ok("a value") });
                journal.write("the scope has ended");
                releasing.await.unwrap();
            })
            .unwrap();
            assert_eq!(journal.read(), ["released", "the grandchild is dropped", "the scope has ended"]);
        });
    }
}

#[test]
fn r47_a_scope_that_fails_cancels_its_children_and_they_have_ended_with_it() {
    each(|reach, seed| {
        let (tally, values) = (Tally::new(), Tally::new());
        go(1, seed, async {
            let output = scope(async {
                let value = values.token();
                let ended = reach.start(move || async move { Plain(value) });
                until(|| ended.is_ended()).await;
                let _held = (parking(reach, &tally), ended);
                drop(parking(reach, &tally));
                let orphans = Orphans::new();
                let token = tally.token();
                reach.start_in(&orphans, move || async move {
                    let _token = token;
                    parked().await;
                });
                Err::<(), _>("no")
            });
            assert_eq!(output.await, Err("no"));
            assert_eq!((tally.all_dropped(), values.all_dropped()), (3, 1));
        })
        .unwrap();
    });
}

#[test]
fn r47_the_children_made_outside_are_not_the_scopes() {
    each(|reach, seed| {
        let (outside, inside) = (Tally::new(), Tally::new());
        go(1, seed, async {
            let before = parking(reach, &outside);
            let mut scoped = Box::pin(scope(async {
                let _inside = parking(reach, &inside);
                parked().await;
            }));
            assert!(poll_under(&mut scoped, Waker::noop()).is_pending());
            let between = parking(reach, &outside);
            assert!(poll_under(&mut scoped, Waker::noop()).is_pending());
            drop(scoped);
            until(|| inside.dropped() == 1).await;
            assert_eq!((before.is_ended(), between.is_ended(), outside.dropped()), (false, false, 0));
            // A scope may await and cancel the children of its task, too.
            scope(async move { before.cancel().await }).await;
            between.cancel().await;
        })
        .unwrap();
        assert_eq!((outside.all_dropped(), inside.all_dropped()), (2, 1));
    });
}

#[test]
fn r47_nested_scopes_and_scopes_side_by_side_have_their_own_children() {
    each(|reach, seed| {
        let (outer, inner, other) = (Tally::new(), Tally::new(), Tally::new());
        go(1, seed, async {
            let cut = RefCell::new(None);
            let mut scoped = Box::pin(scope(async {
                let _outer = parking(reach, &outer);
                *cut.borrow_mut() = Some(());
                {
                    let mut nested = Box::pin(scope(async {
                        let _inner = parking(reach, &inner);
                        parked().await;
                    }));
                    assert!(poll_under(&mut nested, Waker::noop()).is_pending());
                    // Made after the nested one was polled: the outer one's again.
                    drop(parking(reach, &outer));
                }
                until(|| inner.dropped() == 1).await;
                assert_eq!(outer.dropped(), 0);
                let _nested = scope(async {
                    let _inner = parking(reach, &inner);
                    parked().await;
                })
                .await;
            }));
            let beside = scope(async {
                let child = parking(reach, &other);
                until(|| inner.made() == 2).await;
                child.cancel().await;
            });
            select_biased! {
                () = scoped.as_mut().fuse() => unreachable!(),
                () = Box::pin(beside).fuse() => {}
            }
            assert_eq!((outer.dropped(), inner.dropped(), other.dropped()), (0, 1, 1));
            drop(scoped);
            until(|| outer.dropped() == 2 && inner.dropped() == 2).await;
        })
        .unwrap();
        assert_eq!((outer.all_dropped(), inner.all_dropped(), other.all_dropped()), (2, 2, 1));
    });
}

#[test]
fn r47_all_ways_to_make_a_child_belong_to_the_scope() {
    static POOL: TaskPool<4, 256> = TaskPool::new();
    for seed in SEEDS {
        let tally = Tally::new();
        go(2, seed, async {
            let mut scoped = Box::pin(scope(async {
                let park = |token: Token| async move {
                    let _token = token;
                    parked().await;
                };
                let _here = spawn(park(tally.token()));
                let _there = Reach::Across.start({
                    let token = tally.token();
                    move || park(token)
                });
                let _named = matou_core::Task::new().name("named").spawn(park(tally.token())).unwrap();
                let _pooled = POOL.spawn(park(tally.token())).unwrap();
                let orphans = Orphans::new();
                orphans.spawn(park(tally.token()));
                let token = tally.token();
                orphans.call(move || park(token)).unwrap();
                leak(spawn(park(tally.token())));
                parallel(park, [tally.token(), tally.token()]).await.unwrap();
            }));
            assert!(poll_under(&mut scoped, Waker::noop()).is_pending());
            drop(scoped);
            until(|| tally.dropped() == 9).await;
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), 9);
        assert_eq!(POOL.free(), 4);
    }
}

// ---- a child left

#[test]
fn r47_a_normal_end_with_a_child_left_is_a_violation() {
    for forgets in [false, true] {
        for ended in [false, true] {
            for in_orphans in [false, true] {
                each(|reach, seed| {
                    let _told = Told(format!("forgets: {forgets}, ended: {ended}, in orphans: {in_orphans}"));
                    let (tally, journal) = (Tally::new(), Journal::new());
                    let (parent, child, line) = (Cell::new(None), Cell::new(None), Cell::new(0));
                    let violation = violation(go(1, seed, async {
                        parent.set(current_task());
                        let output = scope(async {
                            let token = tally.token();
                            let make = move || async move {
                                let _token = token;
                                if !ended {
                                    parked().await;
                                }
                            };
                            let (orphans, promise): (_, Option<Promise<()>>);
                            if in_orphans {
                                line.set(line!() + 2);
                                orphans = Some(Orphans::new());
                                child.set(Some(reach.start_in(orphans.as_ref().unwrap(), make)));
                                promise = None;
                            } else {
                                orphans = None;
                                line.set(line!() + 1);
                                promise = Some(reach.start(make));
                                child.set(promise.as_ref().map(Promise::id));
                            }
                            if forgets {
                                drop((orphans, promise));
                                if ended {
                                    until(|| tally.dropped() == 1).await;
                                    // And its end has arrived.
                                    for _ in 0..5 {
                                        reach.start(|| async {}).await.unwrap();
                                    }
                                }
                            } else if ended {
                                until(|| tally.dropped() == 1).await;
                            }
                            "normal"
                        })
                        .await;
                        journal.write(format!("the scope gave {output}"));
                        // Whatever came of it, this task would be in order.
                        Err::<(), _>("an abnormal end")
                    }));
                    assert_eq!(Some(violation.task), parent.get());
                    let ViolationKind::StillHasChildren { child: named, spawned } = violation.kind else { panic!("{violation}") };
                    assert_eq!((Some(named), spawned.line()), (child.get(), line.get()));
                    assert_eq!(tally.all_dropped(), 1);
                });
            }
        }
    }
}

// ---- cut short

#[test]
fn r47_dropped_early_it_cancels_its_children_and_the_tasks_end_waits_for_them() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    each(|reach, seed| {
        let (journal, tally) = (Journal::new(), Tally::new());
        go(2, seed, async {
            let (arrived, release) = (Gate::new(), Gate::new());
            let task = reach.start_on(1, {
                let (journal, tally, arrived, release) = (journal.clone(), tally.clone(), arrived.clone(), release.clone());
                move || async move {
                    let mut scoped = Box::pin(scope(async {
                        let token = tally.token();
                        let busy = pinned(2, {
                            let arrived = arrived.clone();
                            move || async move {
                                let _token = token;
                                arrived.open();
                                release.block();
                                parked().await;
                            }
                        });
                        busy.await
                    }));
                    select_biased! {
                        _ = scoped.as_mut().fuse() => unreachable!(),
                        () = arrived.passed().fuse() => {}
                    }
                    drop(scoped);
                    journal.write("it does not wait for them");
                    "the task's value"
                }
            });
            until(|| journal.has("it does not wait for them")).await;
            for _ in 0..30 {
                assert!(!task.is_ended());
                yield_now().await;
            }
            assert_eq!(tally.dropped(), 0);
            release.open();
            assert_eq!(task.await.unwrap(), "the task's value");
            assert_eq!(tally.all_dropped(), 1);
        })
        .unwrap();
    });
}

#[test]
fn r47_what_is_cut_short_leaves_no_child_behind_whatever_became_of_it() {
    each(|reach, seed| {
        let (tally, values) = (Tally::new(), Tally::new());
        go(1, seed, async {
            let child = |gate: &Gate| {
                let (token, value, gate) = (tally.token(), values.token(), gate.clone());
                move || async move {
                    let _token = token;
                    gate.passed().await;
                    Plain(value)
                }
            };
            let (open, shut) = (Gate::new(), Gate::new());
            open.open();
            let mut scoped = Box::pin(scope(async {
                // Held and parked; held and ended; forgotten and parked; forgotten and ended.
                let (_held, ended) = (reach.start(child(&shut)), reach.start(child(&open)));
                until(|| ended.is_ended()).await;
                drop(reach.start(child(&shut)));
                drop(reach.start(child(&open)));
                // The same in an `Orphans`, and in one that is dropped.
                let orphans = Orphans::new();
                for gate in [&open, &shut, &shut] {
                    reach.start_in(&orphans, child(gate));
                }
                until(|| values.dropped() == 1 && tally.dropped() == 3).await;
                let _taken = (orphans.take(), orphans.take());
                let dropped = Orphans::new();
                for gate in [&open, &shut] {
                    reach.start_in(&dropped, child(gate));
                }
                drop(dropped);
                until(|| values.dropped() == 2).await;
                // Never polled, or just now.
                let _fresh = reach.start(child(&shut));
                parked().await;
            }));
            select_biased! {
                _ = scoped.as_mut().fuse() => unreachable!(),
                () = Box::pin(until(|| values.dropped() == 2 && tally.made() == 10)).fuse() => {}
            }
            drop(scoped);
            until(|| tally.dropped() == 10 && values.dropped() == 10).await;
        })
        // A normal end: none of them is left behind.
        .unwrap();
        assert_eq!((tally.all_dropped(), values.all_dropped()), (10, 10));
    });
}

#[test]
fn r47_an_orphans_that_outlives_a_scope_keeps_its_children() {
    // An accept loop: each turn is cut short by a timeout, and what it has started goes on.
    for first_used_inside in [false, true] {
        for ends in [false, true] {
            each(|reach, seed| {
                let values = Tally::new();
                go(1, seed, async {
                    let (orphans, gate) = (Orphans::new(), Gate::new());
                    let make = || {
                        let (value, gate) = (values.token(), gate.clone());
                        move || async move {
                            gate.passed().await;
                            Plain(value)
                        }
                    };
                    if !first_used_inside {
                        reach.start_in(&orphans, make());
                    }
                    for _ in 0..3 {
                        let mut turn = Box::pin(scope(async {
                            reach.start_in(&orphans, make());
                            if !ends {
                                parked().await;
                            }
                        }));
                        assert_eq!(poll_under(&mut turn, Waker::noop()).is_ready(), ends);
                    }
                    let made = orphans.len();
                    assert_eq!(made, if first_used_inside { 3 } else { 4 });
                    gate.open();
                    for _ in 0..made {
                        drop(orphans.next().await.unwrap().unwrap());
                    }
                    assert_eq!(values.all_dropped(), made);
                })
                .unwrap();
            });
        }
    }
}

#[test]
fn r47_an_orphans_that_outlives_an_inner_scope_is_the_outer_ones_to_end() {
    for dropped in [false, true] {
        each(|reach, seed| {
            let tally = Tally::new();
            go(1, seed, async {
                let (outlived, begun) = (Cell::new(None), Cell::new(false));
                let mut outer = Box::pin(scope(async {
                    let orphans = Orphans::new();
                    scope(async {
                        let token = tally.token();
                        reach.start_in(&orphans, move || async move {
                            let _token = token;
                            parked().await;
                        });
                    })
                    .await;
                    assert_eq!(orphans.len(), 1, "the inner scope left it alone");
                    if !dropped {
                        outlived.set(Some(orphans));
                    }
                    begun.set(true);
                    parked().await;
                }));
                // Both forms: the collector goes in the outer scope, and its child with that; or it outlives that one, too.
                while !begun.get() {
                    assert!(poll_under(&mut outer, Waker::noop()).is_pending());
                    yield_now().await;
                }
                drop(outer);
                match outlived.take() {
                    None => until(|| tally.dropped() == 1).await,
                    Some(orphans) => {
                        yield_now().await;
                        assert_eq!((orphans.len(), tally.dropped()), (1, 0));
                        orphans.take().unwrap().cancel().await;
                    }
                }
            })
            .unwrap();
            assert_eq!(tally.all_dropped(), 1);
        });
    }
}

#[test]
fn r47_what_an_orphans_that_outlives_its_scope_forgot_is_the_tasks() {
    for ended in [false, true] {
        each(|reach, seed| {
            let child = Cell::new(None);
            let violation = violation(go(1, seed, async {
                let orphans = Orphans::new();
                let mut cut = Box::pin(scope(async {
                    child.set(Some(reach.start_in(&orphans, move || async move {
                        if !ended {
                            parked().await;
                        }
                    })));
                    parked().await;
                }));
                assert!(poll_under(&mut cut, Waker::noop()).is_pending());
                if ended {
                    let promise = loop {
                        match orphans.care() {
                            Care::Ready(promise) => break promise,
                            _ => yield_now().await,
                        }
                    };
                    drop(promise);
                }
                drop(cut);
                drop(orphans);
            }));
            let ViolationKind::StillHasChildren { child: named, .. } = violation.kind else { panic!("{violation}") };
            assert_eq!(Some(named), child.get());
        });
    }
}

#[test]
fn r47_a_promise_kept_from_a_scope_that_was_cut_short_gives_cancelled() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(1, seed, async {
            let kept = RefCell::new(Vec::new());
            let mut scoped = Box::pin(scope(async {
                kept.borrow_mut().push(parking(reach, &tally));
                let ended = reach.start(|| async {});
                until(|| ended.is_ended()).await;
                kept.borrow_mut().push(ended);
                kept.borrow_mut().push(parking(reach, &tally));
                parked().await;
            }));
            select_biased! {
                _ = scoped.as_mut().fuse() => unreachable!(),
                () = Box::pin(until(|| kept.borrow().len() == 3)).fuse() => {}
            }
            drop(scoped);
            for (n, promise) in kept.take().into_iter().enumerate() {
                if n == 2 {
                    // When it is long over.
                    until(|| promise.is_ended()).await;
                }
                assert!(matches!(promise.await, Err(Exit::Cancelled)));
            }
            assert_eq!(tally.all_dropped(), 2);
        })
        .unwrap();
    });
}

#[test]
fn r47_a_scope_that_was_never_polled_has_no_children() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(1, seed, async {
            let token = tally.token();
            drop(scope(async move {
                let _token = token;
                drop(reach.start(parked));
            }));
            assert_eq!(tally.all_dropped(), 1);
            drop(timeout(Duration::ZERO, async {}));
        })
        .unwrap();
    });
}

#[test]
fn r47_a_scope_whose_future_panics_takes_its_children_along() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(2, seed, async {
            let task = spawn({
                let tally = tally.clone();
                async move {
                    scope(async {
                        let _child = parking(reach, &tally);
                        panic!("in a scope")
                    })
                    .await;
                }
            });
            assert!(matches!(task.await, Err(Exit::Panicked(panic)) if panic.message() == "in a scope"));
            assert_eq!(tally.all_dropped(), 1);
            // And where the panic is caught around the scope, its task goes on, with no child behind.
            let caught = std::panic::AssertUnwindSafe(scope(async {
                let _child = parking(reach, &tally);
                panic!("in a scope")
            }));
            assert!(caught.catch_unwind().await.is_err());
            until(|| tally.dropped() == 2).await;
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), 2);
    });
}

#[test]
fn r47_a_scope_whose_destructor_panics_cancels_its_children_all_the_same() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(1, seed, async {
            let mut scoped = Box::pin(scope(async {
                let _child = parking(reach, &tally);
                let _panics = at_drop(|| panic!("a destructor's"));
                parked().await;
            }));
            assert!(poll_under(&mut scoped, Waker::noop()).is_pending());
            assert_eq!(panic_of(|| drop(scoped)), "a destructor's");
            until(|| tally.dropped() == 1).await;
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), 1);
    });
}

#[test]
fn r47_the_children_that_the_destructor_of_a_scope_makes_are_cancelled_unpolled() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(1, seed, async {
            let mut scoped = Box::pin(scope({
                let tally = tally.clone();
                async move {
                    let _makes = at_drop(move || {
                        let token = tally.token();
                        drop(reach.start(move || async move {
                            let _token = token;
                            // Across, it may have been polled before it was cancelled.
                            assert_eq!(reach, Reach::Across, "it is polled");
                            parked().await;
                        }));
                    });
                    parked().await;
                }
            }));
            assert!(poll_under(&mut scoped, Waker::noop()).is_pending());
            drop(scoped);
            until(|| tally.dropped() == 1).await;
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), 1);
    });
}

#[test]
fn r47_a_cancelled_tasks_scopes_end_with_it() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(2, seed, async {
            let ready = Gate::new();
            let task = reach.start_on(1, {
                let (tally, ready) = (tally.clone(), ready.clone());
                move || async move {
                    let one = scope(async {
                        let _child = parking(Reach::Same, &tally);
                        parked().await;
                    });
                    let two = scope(async {
                        let _child = pinned(2, {
                            let token = tally.token();
                            move || async move {
                                let _token = token;
                                parked().await;
                            }
                        });
                        ready.open();
                        parked().await;
                    });
                    join!(one, two);
                }
            });
            ready.passed().await;
            task.cancel().await;
            assert_eq!(tally.all_dropped(), 2);
        })
        .unwrap();
    });
}

// ---- polled by others

#[test]
fn r47_a_scope_polled_by_another_task_is_a_violation() {
    each(|reach, seed| {
        let (owner, thief, journal) = (Cell::new(None::<TaskId>), Cell::new(None), Journal::new());
        let violation = violation(go(1, seed, async {
            owner.set(current_task());
            let mut scoped: Pin<Box<dyn Future<Output = ()>>> = Box::pin(scope(async move {
                let _child = reach.start(parked);
                parked().await;
            }));
            assert!(poll_under(&mut scoped, Waker::noop()).is_pending());
            let stranger = spawn({
                let journal = journal.clone();
                async move {
                    scoped.await;
                    journal.write("the stranger was resumed");
                }
            });
            thief.set(Some(stranger.id()));
            stranger.await.unwrap();
        }));
        assert_eq!(Some(violation.task), thief.get());
        let ViolationKind::NotAChild { child, parent, .. } = violation.kind else { panic!("{violation}") };
        assert_eq!((child, Some(parent)), (None, owner.get()));
        assert_eq!(journal.read(), [""; 0]);
    });
}

#[test]
fn r47_polled_after_its_output_a_scope_panics() {
    for seed in SEEDS {
        go(0, seed, async {
            let mut scoped = Box::pin(scope(async { 1 }));
            assert_eq!(scoped.as_mut().await, 1);
            assert_eq!(panic_of(|| poll_under(&mut scoped, Waker::noop())), "a scope was polled after its output");
            let mut timed = Box::pin(timeout(Duration::ZERO, parked()));
            assert_eq!(timed.as_mut().await, Err(Elapsed));
            assert_eq!(panic_of(|| poll_under(&mut timed, Waker::noop())), "a timeout was polled after its result");
        })
        .unwrap();
    }
}

#[test]
fn r47_wakers_that_panic_while_a_scope_waits_are_reported() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    static REPORTS: Reports = Reports::new();
    each(|reach, seed| {
        go_reporting(1, seed, |report| REPORTS.keep(report), async {
            let (release, fails) = (Gate::new(), Gate::new());
            let mut scoped = Box::pin(scope(async {
                let (arrived, release) = (Gate::new(), release.clone());
                let _left = Reach::Across.start({
                    let arrived = arrived.clone();
                    move || async move {
                        arrived.open();
                        release.block();
                        parked().await;
                    }
                });
                arrived.passed().await;
                fails.passed().await;
                let _left = reach.start(parked);
                Err::<(), _>("no")
            }));
            while !fails.is_waited_for() {
                assert!(poll_under(&mut scoped, Waker::noop()).is_pending());
                yield_now().await;
            }
            fails.open();
            // Its future fails; then it waits for what it has cancelled.
            assert!(poll_under(&mut scoped, &bomb(Fault::Wake)).is_pending());
            until(|| reach == Reach::Across || !REPORTS.take().is_empty()).await;
            assert!(poll_under(&mut scoped, &bomb(Fault::Wake)).is_pending());
            release.open();
            until(|| REPORTS.take().iter().any(|report| (report.0, report.1) == (ReportPlace::Waker, 0))).await;
            assert_eq!(scoped.await, Err("no"));
        })
        .unwrap();
    });
}

// ---- timeouts

/// As `timeout` tells: what it cut short is dropped after it, before any other task of the domain runs.
#[test]
fn r47_what_a_timeout_cuts_short_holds_what_it_held_until_the_task_lets_the_domain_go_on() {
    let mutex = matou_core::sync::Mutex::new(());
    let mutex = Rc::new(mutex);
    go(1, 0, async {
        let held = Rc::clone(&mutex);
        let cut = timeout(Duration::from_millis(1), async {
            spawn(async move {
                let _guard = held.lock().await;
                parked().await;
            })
            .await
        });
        assert!(matches!(cut.await, Err(Elapsed)));
        assert!(mutex.try_lock().is_none(), "not dropped yet");
        yield_now().await;
        assert!(mutex.try_lock().is_some());
    })
    .unwrap();
}

#[test]
fn r47_a_timeout_gives_the_output_or_elapsed_and_leaves_no_child() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(1, seed, async {
            let in_time = timeout(Duration::from_secs(3600), async {
                let child = reach.start(|| async { 4 });
                child.await.unwrap()
            });
            assert_eq!(in_time.await, Ok(4));
            let begun = now();
            let too_slow = timeout(Duration::from_millis(2), async {
                let _left = parking(reach, &tally);
                let orphans = Orphans::new();
                let token = tally.token();
                reach.start_in(&orphans, move || async move {
                    let _token = token;
                    parked().await;
                });
                orphans.next().await
            });
            assert!(matches!(too_slow.await, Err(Elapsed)));
            assert!(begun.elapsed() >= Duration::from_millis(2));
            until(|| tally.dropped() == 2).await;
            // A deadline that is past lets what is ready be ready.
            assert_eq!(timeout_at(Instant::from_nanos(0), async { 5 }).await, Ok(5));
            assert_eq!(timeout_at(Instant::from_nanos(0), parked()).await, Err(Elapsed));
            assert_eq!(timeout_at(Instant::MAX, sleep(Duration::from_micros(10))).await, Ok(()));
            // Nested, the shorter one cuts.
            let nested = timeout(Duration::from_secs(3600), async {
                let inner = timeout(Duration::from_millis(1), async {
                    let _left = parking(reach, &tally);
                    parked().await;
                });
                inner.await.is_err()
            });
            assert_eq!(nested.await, Ok(true));
            until(|| tally.dropped() == 3).await;
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), 3);
    });
}

#[test]
fn r47_a_timeout_whose_children_fail_gives_what_its_future_gives() {
    each(|reach, seed| {
        go(1, seed, async {
            let failing = timeout(Duration::from_secs(3600), async {
                let _other = reach.start(parked);
                reach.start(|| async { Err::<(), _>("the child's error") }).await
            });
            assert!(matches!(failing.await, Ok(Err(Exit::Failed("the child's error")))));
        })
        .unwrap();
    });
}

/// As a task's is: some futures let go of what they hold when they are dropped, and not when they are ready.
#[test]
fn r47_what_the_destructor_at_a_normal_end_cancels_is_cancelled_and_what_it_drops_is_forgotten() {
    fn ready<T: 'static>(held: T) -> impl Future<Output = ()> {
        poll_fn(move |_| {
            let _held = &held;
            Poll::Ready(())
        })
    }
    fn cancels() -> impl Future<Output = ()> {
        ready(await_all(vec![spawn(pending::<()>())]))
    }
    fn drops() -> impl Future<Output = ()> {
        let orphans = Orphans::new();
        orphans.spawn(pending::<()>());
        ready(orphans)
    }
    // Made when the scope is polled, so that the children are its own.
    async fn within(scoped: bool, make: fn() -> Pin<Box<dyn Future<Output = ()>>>) {
        let mut made = None;
        let future = poll_fn(move |cx| made.get_or_insert_with(make).as_mut().poll(cx));
        if scoped { scope(future).await } else { spawn(future).await.unwrap() }
    }
    for scoped in [false, true] {
        let ended = go(0, 1, within(scoped, || Box::pin(cancels())));
        assert!(ended.is_ok(), "{:?}", ended.err());
        let ended = go(0, 1, within(scoped, || Box::pin(drops())));
        assert!(matches!(ended, Err(RunError::Violation(_))), "{:?}", ended.err());
    }
}

/// As a task's: what makes it is no code that could have awaited it.
#[test]
fn r47_the_children_of_a_destructor_at_a_normal_end_are_cancelled_unpolled() {
    struct Spawns(Rc<Cell<u32>>);
    impl Future for Spawns {
        type Output = u8;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            Poll::Ready(7)
        }
    }
    impl Drop for Spawns {
        fn drop(&mut self) {
            let polls = self.0.clone();
            drop(spawn(async move { polls.set(polls.get() + 1) }));
        }
    }
    for seed in SEEDS {
        let polls = Rc::new(Cell::new(0));
        let make = || Spawns(polls.clone());
        let ended = go(0, seed, async {
            let of_task = spawn(make()).await;
            let of_scope = scope(make()).await;
            let of_timeout = timeout(Duration::from_secs(3600), make()).await;
            assert_eq!((of_task.ok(), of_scope, of_timeout), (Some(7), 7, Ok(7)));
        });
        assert!(ended.is_ok(), "{:?}", ended.err());
        assert_eq!(polls.get(), 0);
    }
}

/// The main task may be one that has broken nothing: its scopes are.
#[test]
fn r47_a_scope_is_no_task() {
    for seed in SEEDS {
        let ended = go(0, seed, async {
            let main = current_task();
            scope(async { assert_eq!(current_task(), main) }).await;
            let shared = Rc::new(Cell::new(0));
            scope(async { shared.set(7) }).await;
            let polled = futures_util::poll!(Box::pin(scope(async { shared.get() })));
            assert_eq!(polled, Poll::Ready(7));
            Err::<(), _>("main's own")
        });
        assert!(matches!(ended, Err(RunError::Failed("main's own"))));
    }
}
