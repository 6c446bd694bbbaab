//! `Orphans`: rules 22 to 25. The children in it are its task's under every other rule as well; those tests are with the other rules.

#![cfg(feature = "std")]

mod support;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use futures_util::{FutureExt, join};
use matou_core::{
    Care, Exit, Orphans, Plain, Promise, ReportPlace, Resource, RunError, SpawnRefusal, State, Task, TaskId, ViolationKind, current_task,
    spawn, yield_now,
};
use support::family::*;
use support::leak::leak;
use support::wakers::*;

/// Waits until a child in the orphans has ended, without taking anything: `next` would be ready.
async fn some_ended<T, E>(orphans: &Orphans<T, E>) {
    let (ring, waker) = Ring::new();
    let next = orphans.next();
    let mut next = Box::pin(next);
    if poll_under(&mut next, &waker).is_pending() {
        until(|| ring.wakes() > 0).await;
    } else {
        panic!("one had ended already, and is lost now");
    }
}

// ---- R22

#[test]
fn r22_care_gives_the_promise_of_one_that_ended_or_tells_that_none_has() {
    each(|reach, seed| {
        let values = Tally::new();
        go(1, seed, async {
            let orphans = Orphans::new();
            assert!(matches!(orphans.care(), Care::Empty));
            let gates: [Gate; 3] = Default::default();
            let ids: Vec<TaskId> = gates
                .iter()
                .map(|gate| {
                    let (value, gate) = (values.token(), gate.clone());
                    reach.start_in(&orphans, move || async move {
                        gate.passed().await;
                        Plain(value)
                    })
                })
                .collect();
            assert!(matches!(orphans.care(), Care::Pending));
            assert!(orphans.len() == 3 && !orphans.is_empty());
            // The last made ends first.
            for (left, n) in [(2, 2), (1, 0), (0, 1)] {
                gates[n].open();
                some_ended(&orphans).await;
                assert_eq!(orphans.len(), left + 1);
                let Care::Ready(mut promise) = orphans.care() else { panic!("one has ended") };
                assert_eq!((promise.id(), promise.state(), promise.is_ended()), (ids[n], State::Resolved, true));
                // It awaits without blocking.
                assert!(poll_under(&mut promise, Waker::noop()).is_ready());
                assert_eq!(orphans.len(), left);
                if left > 0 {
                    assert!(matches!(orphans.care(), Care::Pending));
                }
            }
            assert!(matches!(orphans.care(), Care::Empty));
            assert!(orphans.is_empty());
        })
        .unwrap();
        assert_eq!(values.all_dropped(), 3);
    });
}

#[test]
fn r22_care_gives_the_ended_ones_in_the_order_of_their_ends() {
    for seed in SEEDS {
        go(0, seed, async {
            let orphans = Orphans::new();
            let gates: Vec<Gate> = (0..6).map(|_| Gate::new()).collect();
            for (n, gate) in gates.iter().cloned().enumerate() {
                orphans.spawn(async move {
                    gate.passed().await;
                    n
                });
            }
            yield_now().await;
            let order = [3, 0, 5, 1, 4, 2];
            for n in order {
                gates[n].open();
                yield_now().await;
            }
            let mut seen = Vec::new();
            while let Care::Ready(promise) = orphans.care() {
                seen.push(promise.await.unwrap());
            }
            assert_eq!(seen, order);
        })
        .unwrap();
    }
}

#[test]
fn r22_what_care_gave_is_the_callers_to_await() {
    each(|reach, seed| {
        let (parent, child, line) = (Cell::new(None), Cell::new(None), line!() + 5);
        let violation = violation(go(1, seed, async {
            parent.set(current_task());
            let orphans = Orphans::new();
            for n in 0..2 {
                let id = reach.start_in(&orphans, move || async move { n });
                if n == 0 {
                    until(|| matches!(orphans.next().now_or_never(), Some(Some(Ok(0))))).await;
                } else {
                    child.set(Some(id));
                }
            }
            let promise = loop {
                match orphans.care() {
                    Care::Ready(promise) => break promise,
                    _ => yield_now().await,
                }
            };
            // The collector is empty; the child is still this task's.
            assert!(orphans.is_empty());
            drop(promise);
        }));
        assert_eq!(Some(violation.task), parent.get());
        let ViolationKind::StillHasChildren { child: named, spawned } = violation.kind else { panic!("{violation}") };
        assert_eq!((Some(named), spawned.line()), (child.get(), line));
    });
}

#[test]
fn r22_care_does_not_look_at_all_children() {
    const MANY: usize = 50_000;
    for reach in Reach::BOTH {
        let tally = Tally::new();
        go(1, 1, async {
            let gate = Gate::new();
            let orphans = Orphans::new();
            for n in 0..MANY {
                let (token, gate) = (tally.token(), gate.clone());
                reach.start_in(&orphans, move || async move {
                    let _token = token;
                    // Only the last ends.
                    if n < MANY - 1 {
                        parked().await;
                    }
                    gate.passed().await;
                });
            }
            // Fifty thousand times fifty thousand steps would take minutes.
            for _ in 0..MANY {
                assert!(matches!(orphans.care(), Care::Pending));
            }
            gate.open();
            let promise = loop {
                match orphans.care() {
                    Care::Ready(promise) => break promise,
                    _ => yield_now().await,
                }
            };
            promise.await.unwrap();
            for left in (0..MANY - 1).rev() {
                let Some(promise) = orphans.take() else { panic!("{left} and one are left") };
                drop(promise.cancel());
                assert_eq!(orphans.len(), left);
            }
            assert!(matches!(orphans.care(), Care::Empty));
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), MANY);
    }
}

// ---- R23

#[test]
fn r23_take_gives_any_child_ended_or_not_and_an_ended_one_first() {
    each(|reach, seed| {
        go(1, seed, async {
            let orphans = Orphans::new();
            assert!(orphans.take().is_none());
            let gates: [Gate; 3] = Default::default();
            let ids: Vec<TaskId> = gates
                .iter()
                .map(|gate| {
                    let gate = gate.clone();
                    reach.start_in(&orphans, move || async move { gate.passed().await })
                })
                .collect();
            gates[1].open();
            some_ended(&orphans).await;
            let taken: Vec<_> = std::iter::from_fn(|| orphans.take()).collect();
            assert_eq!(taken[0].id(), ids[1]);
            assert_eq!(taken[0].state(), State::Resolved);
            assert_eq!(taken.iter().map(|taken| taken.id()).collect::<BTreeSet<_>>(), ids.iter().copied().collect());
            assert_eq!((orphans.len(), orphans.take().is_none()), (0, true));
            assert!(matches!(orphans.care(), Care::Empty));
            // A promise as any other: awaited, cancelled.
            gates[0].open();
            gates[2].open();
            let mut taken = taken.into_iter();
            taken.next().unwrap().await.unwrap();
            taken.next().unwrap().await.unwrap();
            taken.next().unwrap().cancel().await;
        })
        .unwrap();
    });
}

#[test]
fn r23_one_that_was_taken_no_longer_ends_in_the_collector() {
    each(|reach, seed| {
        go(1, seed, async {
            let orphans = Orphans::new();
            let gate = Gate::new();
            for _ in 0..2 {
                let gate = gate.clone();
                reach.start_in(&orphans, move || async move { gate.passed().await });
            }
            let taken = orphans.take().unwrap();
            gate.open();
            orphans.next().await.unwrap().unwrap();
            until(|| taken.is_ended()).await;
            assert!(orphans.next().await.is_none());
            assert!(matches!(orphans.care(), Care::Empty));
            taken.await.unwrap();
        })
        .unwrap();
    });
}

#[test]
fn r23_next_waits_for_the_next_to_end_and_consumes_it() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(2, seed, async {
            let orphans = Orphans::new();
            assert!(orphans.next().await.is_none());
            let gates: Vec<Gate> = (0..5).map(|_| Gate::new()).collect();
            for (n, gate) in gates.iter().cloned().enumerate() {
                let token = tally.token();
                reach.start_in(&orphans, move || async move {
                    let _token = token;
                    gate.passed().await;
                    if n == 3 { Err(n) } else { Ok(n) }
                });
            }
            for (given, n) in [4, 1, 3, 0, 2].into_iter().enumerate() {
                assert_eq!(orphans.len(), 5 - given);
                let opener = spawn({
                    let gate = gates[n].clone();
                    async move {
                        yield_now().await;
                        gate.open();
                    }
                });
                match orphans.next().await {
                    Some(Ok(value)) => assert_eq!(value, n),
                    Some(Err(Exit::Failed(error))) => assert_eq!((error, n), (3, 3)),
                    other => panic!("{other:?}"),
                }
                assert_eq!(tally.dropped(), given + 1);
                opener.await.unwrap();
            }
            assert!(orphans.next().await.is_none());
            // It is used again.
            reach.start_in(&orphans, || async { Ok(7) });
            assert_eq!(orphans.next().await.unwrap().unwrap(), 7);
        })
        .unwrap();
    });
}

#[test]
fn r23_children_of_both_kinds_and_from_tasks_with_names_are_kept_together() {
    for seed in SEEDS {
        go(3, seed, async {
            let orphans = Orphans::new();
            let made = [
                orphans.spawn(async { 1 }),
                orphans.call(|| async { 2 }).unwrap(),
                Task::new().name("three").spawn_in(&orphans, async { 3 }).unwrap(),
                Task::new().name("four").pin(matou_core::DomainId::new(2)).call_in(&orphans, || async { 4 }).unwrap(),
            ];
            // What is refused changes nothing.
            let refused = Task::new().pin(matou_core::DomainId::new(9)).call_in(&orphans, || async { 5 });
            assert_eq!(refused.unwrap_err().reason, SpawnRefusal::UnknownDomain(matou_core::DomainId::new(9)));
            assert_eq!((orphans.len(), made.iter().collect::<BTreeSet<_>>().len()), (4, 4));
            let mut sum = 0;
            while let Some(result) = orphans.next().await {
                sum += result.unwrap();
            }
            assert_eq!(sum, 10);
        })
        .unwrap();
    }
}

#[test]
fn r23_several_who_wait_in_next_share_what_ends() {
    each(|reach, seed| {
        go(1, seed, async {
            let orphans = Orphans::new();
            let gate = Gate::new();
            for n in 0..2 {
                let gate = gate.clone();
                reach.start_in(&orphans, move || async move {
                    gate.passed().await;
                    n
                });
            }
            let opener = spawn(async move {
                yield_now().await;
                gate.open();
            });
            let (a, b, c) = join!(orphans.next(), orphans.next(), orphans.next());
            let mut seen = [a, b, c].map(|result| result.map(Result::unwrap));
            seen.sort();
            assert_eq!(seen, [None, Some(0), Some(1)]);
            opener.await.unwrap();
        })
        .unwrap();
    });
}

#[test]
fn r23_who_waits_in_next_is_told_when_the_last_is_taken_instead() {
    each(|reach, seed| {
        go(1, seed, async {
            let orphans = Orphans::new();
            reach.start_in(&orphans, parked);
            reach.start_in(&orphans, parked);
            let woken = Arc::new(Mutex::new(Vec::new()));
            let waker = on_wake({
                let woken = woken.clone();
                move || woken.lock().unwrap().push(current_task())
            });
            let mut next = Box::pin(orphans.next());
            assert!(poll_under(&mut next, &waker).is_pending());
            drop(orphans.take().unwrap().cancel());
            assert!(poll_under(&mut next, &waker).is_pending());
            let last = orphans.take().unwrap();
            // A combinator polls only what was woken. In a waker no task is the current one.
            assert_eq!(*woken.lock().unwrap(), [None]);
            assert!(current_task().is_some());
            assert!(matches!(poll_under(&mut next, &waker), std::task::Poll::Ready(None)));
            last.cancel().await;
        })
        .unwrap();
    });
}

#[test]
fn r23_who_waits_in_next_is_told_when_the_clone_of_its_waker_takes_the_last() {
    thread_local! {
        static ORPHANS: RefCell<Option<Rc<Orphans<()>>>> = const { RefCell::new(None) };
        static TAKEN: RefCell<Option<Promise<()>>> = const { RefCell::new(None) };
    }
    each(|reach, seed| {
        go(1, seed, async {
            let orphans = Rc::new(Orphans::new());
            reach.start_in(&orphans, parked);
            ORPHANS.set(Some(orphans.clone()));
            let waker = on_clone(|| TAKEN.set(ORPHANS.take().and_then(|orphans| orphans.take())));
            // Pending, it would be so for ever: nobody is left to wake it.
            assert!(matches!(poll_under(&mut Box::pin(orphans.next()), &waker), std::task::Poll::Ready(None)));
            TAKEN.take().unwrap().cancel().await;
        })
        .unwrap();
    });
}

#[test]
fn r23_a_finaliser_that_drops_the_collector_harms_nobody() {
    // What a cancelled child had transferred is finalised when its end arrives, and its finaliser drops the `Orphans` it was in.
    thread_local! {
        static SLOT: RefCell<Option<Orphans<()>>> = const { RefCell::new(None) };
    }
    each(|reach, seed| {
        let finalised = Tally::new();
        let ended = go(1, seed, async {
            let (orphans, ready) = (Orphans::new(), Gate::new());
            reach.start_in(&orphans, {
                let (token, ready) = (finalised.token(), ready.clone());
                move || async move {
                    let resource = Resource::new(token, |token| {
                        drop(SLOT.take());
                        drop(token);
                    });
                    resource.own().unwrap();
                    resource.transfer().unwrap();
                    ready.open();
                    parked().await;
                }
            });
            ready.passed().await;
            SLOT.set(Some(orphans));
            Err::<(), _>(())
        });
        assert!(matches!(ended, Err(RunError::Failed(()))));
        assert_eq!(finalised.all_dropped(), 1);
        assert!(SLOT.take().is_none());
    });
}

#[test]
fn r23_next_dropped_early_loses_nothing() {
    each(|reach, seed| {
        let values = Tally::new();
        go(1, seed, async {
            let orphans = Orphans::new();
            let gate = Gate::new();
            for _ in 0..3 {
                let (value, gate) = (values.token(), gate.clone());
                reach.start_in(&orphans, move || async move {
                    gate.passed().await;
                    Plain(value)
                });
            }
            let (ring, waker) = Ring::new();
            for _ in 0..5 {
                let mut next = Box::pin(orphans.next());
                assert!(poll_under(&mut next, &waker).is_pending());
                yield_now().await;
                assert!(poll_under(&mut next, &waker).is_pending());
                drop(next);
                drop(orphans.next());
            }
            gate.open();
            for left in (0..3).rev() {
                drop(orphans.next().await.unwrap().unwrap());
                assert_eq!((orphans.len(), values.dropped()), (left, 3 - left));
            }
            // Who gave up waiting is not woken.
            assert_eq!(ring.wakes(), 0);
        })
        .unwrap();
        assert_eq!(values.all_dropped(), 3);
    });
}

#[test]
fn r23_wakers_that_panic_in_next_are_reported_and_lose_nothing() {
    static REPORTS: Reports = Reports::new();
    each(|reach, seed| {
        go_reporting(1, seed, |report| REPORTS.keep(report), async {
            let orphans = Orphans::new();
            let gate = Gate::new();
            reach.start_in(&orphans, {
                let gate = gate.clone();
                move || async move {
                    gate.passed().await;
                    5
                }
            });
            let (ring, waker) = Ring::new();
            let (mut first, mut second, mut third) = (Box::pin(orphans.next()), Box::pin(orphans.next()), Box::pin(orphans.next()));
            assert!(poll_under(&mut first, &bomb(Fault::Wake)).is_pending());
            panic_of(|| poll_under(&mut second, &bomb(Fault::Clone)));
            assert!(poll_under(&mut third, &waker).is_pending());
            gate.open();
            until(|| ring.wakes() == 1).await;
            let reports = REPORTS.take();
            assert_eq!(reports.len(), 1);
            assert_eq!((reports[0].0, reports[0].1), (ReportPlace::Waker, 0));
            assert!(matches!(second.await, Some(Ok(5))));
            assert!(first.await.is_none());
        })
        .unwrap();
    });
}

#[test]
fn r23_a_waker_that_drops_the_collector_harms_nobody() {
    // The waker of one who waits, called when a child ends, drops the very `Orphans` that the child is in.
    thread_local! {
        static SLOT: RefCell<Option<Orphans<Token>>> = const { RefCell::new(None) };
        static WOKEN: Cell<u32> = const { Cell::new(0) };
    }
    for fails in [false, true] {
        for leaks in [false, true] {
            each(|reach, seed| {
                let values = Tally::new();
                let ended = go(1, seed, async {
                    let gate = Gate::new();
                    let orphans = Orphans::new();
                    for _ in 0..3 {
                        let (value, gate) = (values.token(), gate.clone());
                        reach.start_in(&orphans, move || async move {
                            gate.passed().await;
                            Plain(value)
                        });
                    }
                    let waker = on_wake(|| {
                        WOKEN.set(WOKEN.get() + 1);
                        let orphans = SLOT.take();
                        drop(orphans);
                    });
                    {
                        let mut next = Box::pin(orphans.next());
                        assert!(poll_under(&mut next, &waker).is_pending());
                        // Leaked, it never takes its waker back.
                        if leaks {
                            leak(next);
                        }
                    }
                    SLOT.set(Some(orphans));
                    if !fails {
                        gate.open();
                        if leaks {
                            until(|| values.dropped() == 3).await;
                        }
                    }
                    // Otherwise they are cancelled while the collector is still there.
                    Err::<(), _>(())
                });
                assert!(matches!(ended, Err(RunError::Failed(()))));
                assert_eq!(WOKEN.take(), u32::from(leaks));
                drop(SLOT.take());
                assert_eq!(values.all_dropped(), 3);
            });
        }
    }
}

// ---- R24

/// What a task does with another's `Orphans`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Use {
    Care,
    Take,
    Next,
    Spawn,
    SpawnIn,
    Call,
    CallIn,
}

const USES: [Use; 7] = [Use::Care, Use::Take, Use::Next, Use::Spawn, Use::SpawnIn, Use::Call, Use::CallIn];

async fn use_it(which: Use, orphans: &Orphans<()>, polled: &Tally) {
    async fn never(_token: Token) {
        panic!("what a stranger makes does not run");
    }
    let token = polled.token();
    match which {
        Use::Care => assert!(!matches!(orphans.care(), Care::Ready(_))),
        Use::Take => assert!(orphans.take().is_none()),
        Use::Next => drop(orphans.next().await),
        Use::Spawn => drop(orphans.spawn(never(token))),
        Use::SpawnIn => drop(Task::new().spawn_in(orphans, never(token))),
        Use::Call => drop(orphans.call(move || never(token))),
        Use::CallIn => drop(Task::new().call_in(orphans, move || never(token))),
    }
}

#[test]
fn r24_another_tasks_use_is_a_violation() {
    for which in USES {
        for ended in [false, true] {
            each(|reach, seed| {
                let _told = Told(format!("{which:?}, ended: {ended}"));
                let (journal, tally) = (Journal::new(), Tally::new());
                let (owner, stranger, line) = (Cell::new(None), Cell::new(None), Cell::new(0));
                let violation = violation(go(1, seed, async {
                    owner.set(current_task());
                    let orphans = Rc::new(Orphans::<()>::new());
                    let token = tally.token();
                    line.set(line!() + 1);
                    reach.start_in(&orphans, move || async move {
                        let _token = token;
                        if !ended {
                            parked().await;
                        }
                    });
                    if ended {
                        until(|| tally.dropped() == 1).await;
                    }
                    let child = spawn({
                        let (orphans, journal, tally) = (orphans.clone(), journal.clone(), tally.clone());
                        async move {
                            let _dropped = journal.at_drop("the stranger is dropped");
                            use_it(which, &orphans, &tally).await;
                            yield_now().await;
                            journal.write("the stranger was resumed");
                        }
                    });
                    stranger.set(Some(child.id()));
                    child.await.unwrap();
                    journal.write("the owner was resumed");
                }));
                assert_eq!(Some(violation.task), stranger.get());
                let ViolationKind::NotAChild { child, parent, spawned } = violation.kind else { panic!("{violation}") };
                assert_eq!((child, Some(parent), spawned.line()), (None, owner.get(), line.get()));
                assert!(violation.to_string().contains("NotAChild (R24)"));
                assert_eq!(journal.read(), ["the stranger is dropped"]);
                tally.all_dropped();
            });
        }
    }
}

#[test]
fn r24_it_belongs_to_the_first_task_that_uses_it_not_to_the_one_that_made_it() {
    each(|reach, seed| {
        let (first, main) = (Cell::new(None), Cell::new(None));
        let violation = violation(go(1, seed, async {
            main.set(current_task());
            let orphans = Rc::new(Orphans::new());
            assert_eq!((orphans.len(), orphans.is_empty()), (0, true));
            let user = spawn({
                let orphans = orphans.clone();
                async move {
                    reach.start_in(&orphans, || async { 3 });
                    assert_eq!(orphans.next().await.unwrap().unwrap(), 3);
                    parked().await;
                }
            });
            first.set(Some(user.id()));
            for _ in 0..10 {
                yield_now().await;
            }
            until(|| orphans.is_empty()).await;
            assert!(matches!(orphans.care(), Care::Empty));
            yield_now().await;
            unreachable!("the run is being stopped");
        }));
        assert_eq!(Some(violation.task), main.get());
        let ViolationKind::NotAChild { parent, .. } = violation.kind else { panic!("{violation}") };
        assert_eq!(Some(parent), first.get());
    });
}

#[test]
fn r24_after_its_task_has_ended_it_is_nobodys() {
    each(|reach, seed| {
        go(1, seed, async {
            let orphans = Rc::new(Orphans::new());
            let user = spawn({
                let orphans = orphans.clone();
                async move {
                    reach.start_in(&orphans, || async { 3 });
                    orphans.next().await.unwrap().unwrap()
                }
            });
            assert_eq!(user.await.unwrap(), 3);
            assert_eq!(orphans.len(), 0);
            for message in [
                panic_of(|| orphans.care()),
                panic_of(|| orphans.take()),
                panic_of(|| orphans.next().now_or_never()),
                panic_of(|| orphans.spawn(async { 4 })),
                panic_of(|| orphans.call(|| async { 5 })),
            ] {
                assert!(message.contains("after the task it belongs to had ended"), "{message}");
            }
        })
        .unwrap();
    });
}

// ---- R25

#[test]
fn r25_a_task_cancelled_in_next_leaves_no_child_behind() {
    for parents in Reach::BOTH {
        each(|reach, seed| {
            let (futures, values) = (Tally::new(), Tally::new());
            go(3, seed, async {
                let ready = Gate::new();
                let parent = parents.start({
                    let (futures, values, ready) = (futures.clone(), values.clone(), ready.clone());
                    move || async move {
                        let orphans = Orphans::new();
                        let start = |park: bool| {
                            let (token, value) = (futures.token(), values.token());
                            reach.start_in(&orphans, move || async move {
                                let _token = token;
                                if park {
                                    parked().await;
                                }
                                Plain(value)
                            });
                        };
                        // Some end and are consumed, one ends and is not, one was taken, the others park.
                        (0..3).for_each(|_| start(false));
                        drop(orphans.next().await.unwrap().unwrap());
                        drop(orphans.next().await.unwrap().unwrap());
                        until(|| futures.dropped() == 3).await;
                        let Some(_taken) = orphans.take() else { unreachable!() };
                        (0..4).for_each(|_| start(true));
                        let Some(_taken) = orphans.take() else { unreachable!() };
                        ready.open();
                        loop {
                            orphans.next().await.unwrap().unwrap();
                        }
                    }
                });
                ready.passed().await;
                parent.cancel().await;
                assert_eq!((futures.all_dropped(), values.all_dropped()), (7, 7));
            })
            .unwrap();
        });
    }
}

#[test]
fn r25_one_who_stops_waiting_in_next_keeps_the_children() {
    each(|reach, seed| {
        go(1, seed, async {
            let orphans = Orphans::new();
            let gate = Gate::new();
            let id = reach.start_in(&orphans, {
                let gate = gate.clone();
                move || async move { gate.passed().await }
            });
            // `select!` between `next` and something else, which is what an accept loop does.
            for _ in 0..5 {
                futures_util::select_biased! {
                    _ = orphans.next().fuse() => panic!("it has not ended"),
                    _ = Box::pin(yield_now()).fuse() => {}
                }
            }
            assert_eq!(orphans.len(), 1);
            gate.open();
            let promise = loop {
                match orphans.care() {
                    Care::Ready(promise) => break promise,
                    _ => yield_now().await,
                }
            };
            assert_eq!(promise.id(), id);
            promise.await.unwrap();
        })
        .unwrap();
    });
}
