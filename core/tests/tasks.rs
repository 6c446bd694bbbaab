//! Tasks and their promises: rules 1, 2 and 6.
//!
//! Each test runs for a child on its parent's domain and for one on another, where the rule does not exclude one of them, and for several
//! seeds. Across, a domain can be *occupied*: it is in the middle of a poll until the test says so, and what was sent to it waits.

#![cfg(feature = "std")]

mod support;

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::panic_any;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_util::future::{Either, join3, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, join, select_biased};
use matou_core::{Exit, Orphans, Plain, Promise, ReportPlace, Returns, RunError, State, Task, TaskPool, domain, spawn, yield_now};
use support::family::*;
use support::wakers::*;

// ---- R1

#[test]
fn r01_the_parent_runs_on_after_a_spawn_and_the_child_runs_later() {
    for seed in SEEDS {
        let journal = Journal::new();
        go(0, seed, async {
            journal.write("the parent spawns");
            let child = spawn({
                let journal = journal.clone();
                async move { journal.write("the child runs") }
            });
            journal.write("the parent runs on");
            yield_now().await;
            journal.write("the parent is polled again");
            child.await.unwrap();
        })
        .unwrap();
        assert_eq!(journal.read(), ["the parent spawns", "the parent runs on", "the child runs", "the parent is polled again"]);
    }
}

#[test]
fn r01_the_parent_runs_on_after_a_call_though_the_other_domain_is_busy() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    for seed in SEEDS {
        let journal = Journal::new();
        go(1, seed, async {
            let occupied = Occupied::new(1).await;
            let child = Reach::Across.start({
                let journal = journal.clone();
                move || {
                    journal.write("the closure is called");
                    async move { journal.write("the child runs") }
                }
            });
            journal.write("the parent runs on");
            for _ in 0..100 {
                yield_now().await;
            }
            journal.write("the parent was polled again");
            occupied.release().await;
            child.await.unwrap();
        })
        .unwrap();
        assert_eq!(journal.read(), ["the parent runs on", "the parent was polled again", "the closure is called", "the child runs"]);
    }
}

#[test]
fn r01_children_first_run_in_the_order_of_creation() {
    async fn family(reach: Reach, domain: usize) -> Vec<String> {
        let journal = Journal::new();
        let children: Vec<_> = (0..100)
            .map(|n| {
                let journal = journal.clone();
                reach.start_on(domain, move || async move {
                    journal.write(format!("{n}"));
                    yield_now().await;
                    journal.write("later");
                })
            })
            .collect();
        for child in children {
            child.await.unwrap();
        }
        journal.read().into_iter().filter(|line| line != "later").collect()
    }
    let in_order: Vec<_> = (0..100).map(|n| format!("{n}")).collect();
    each(|reach, seed| {
        // For a parent on domain 0, then for one on a worker.
        let orders = go(2, seed, async {
            let here = family(reach, 1).await;
            let there = pinned(1, move || family(reach, 2)).await?;
            Ok::<_, Exit>([here, there])
        });
        assert_eq!(orders.unwrap(), [in_order.clone(), in_order.clone()]);
    });
}

#[test]
fn r01_children_of_every_kind_first_run_in_the_order_of_creation() {
    static POOL: TaskPool<8, 512> = TaskPool::new();
    each(|reach, seed| {
        let journal = Journal::new();
        go(2, seed, async {
            let lines = (0..12).map(|n| {
                let journal = journal.clone();
                move || async move { journal.write(format!("{n}")) }
            });
            let (orphans, mut promises) = (Orphans::new(), Vec::new());
            let named = || Task::new().name("named");
            let pinned = || named().pin(domain(1));
            // Nobody is polled meanwhile: across, its domain is in another poll.
            let occupied = if reach == Reach::Across { Some(Occupied::new(1).await) } else { None };
            for (n, line) in lines.enumerate() {
                match (reach, n % 4) {
                    (Reach::Same, 0) => promises.push(spawn(line())),
                    (Reach::Same, 1) => drop(orphans.spawn(line())),
                    (Reach::Same, 2) => promises.push(named().spawn(line()).unwrap()),
                    (Reach::Same, _) => promises.push(POOL.spawn(line()).unwrap_or_else(|full| panic!("{full}"))),
                    (Reach::Across, 0 | 2) => promises.push(pinned().call(line).unwrap()),
                    (Reach::Across, 1) => drop(pinned().call_in(&orphans, line).unwrap()),
                    (Reach::Across, _) => promises.push(Task::new().pin(domain(1)).call(line).unwrap()),
                }
            }
            if let Some(occupied) = occupied {
                occupied.release().await;
            }
            for promise in promises {
                promise.await.unwrap();
            }
            while let Some(ended) = orphans.next().await {
                ended.unwrap();
            }
        })
        .unwrap();
        assert_eq!(journal.read(), (0..12).map(|n| format!("{n}")).collect::<Vec<_>>());
    });
    fn domain(number: usize) -> matou_core::DomainId {
        matou_core::DomainId::new(number)
    }
}

// ---- R2

#[test]
fn r02_a_promise_gives_the_value_or_the_error() {
    each(|reach, seed| {
        go(1, seed, async {
            assert_eq!(reach.start(|| async { 7 }).await.unwrap(), 7);
            assert_eq!(reach.start(|| async { Ok::<_, ()>("text") }).await.unwrap(), "text");
            let failed = reach.start(|| async { Err::<(), _>(String::from("no")) }).await;
            assert!(matches!(failed, Err(Exit::Failed(error)) if error == "no"));
            // An error carried as a plain value is a normal end.
            let plain = reach.start(|| async { Plain(Err::<(), _>("no")) }).await;
            assert!(matches!(plain, Ok(Err("no"))));
            // An endless task has a type, too.
            type Never = <fn() -> ! as Returns>::Output;
            async fn endless() -> Never {
                loop {
                    parked().await;
                }
            }
            let endless: Promise<std::convert::Infallible> = reach.start(endless);
            endless.cancel().await;
        })
        .unwrap();
    });
}

#[test]
fn r02_a_panic_is_an_exit_with_its_message_and_its_domain_goes_on() {
    fn message<T>(result: Result<T, Exit>) -> String {
        match result {
            Err(Exit::Panicked(panic)) => panic.message(),
            _ => panic!("a panic was expected"),
        }
    }
    each(|reach, seed| {
        go(1, seed, async {
            let (beside, gate) = (Tally::new(), Gate::new());
            let neighbour = reach.start({
                let (token, gate) = (beside.token(), gate.clone());
                move || async move {
                    gate.passed().await;
                    drop(token);
                    domain::current().unwrap().index()
                }
            });
            let number = 42;
            assert_eq!(message(reach.start(|| async { panic!("a literal") }).await), "a literal");
            assert_eq!(
                message(
                    reach
                        .start(move || async move {
                            yield_now().await;
                            panic!("formatted {number}")
                        })
                        .await
                ),
                "formatted 42"
            );
            let odd = reach.start(|| async { panic_any(7_u8) }).await;
            match odd {
                Err(Exit::Panicked(panic)) => {
                    assert_eq!(panic.message(), "(a payload that is not text)");
                    assert_eq!(panic.into_payload().downcast_ref::<u8>(), Some(&7));
                }
                _ => panic!("a panic was expected"),
            }
            gate.open();
            assert_eq!(neighbour.await.unwrap(), if reach == Reach::Same { 0 } else { 1 });
            assert_eq!(beside.all_dropped(), 1);
        })
        .unwrap();
    });
}

#[test]
fn r02_a_panic_of_the_closure_that_makes_the_future_is_the_childs_end() {
    for seed in SEEDS {
        go(1, seed, async {
            let tally = Tally::new();
            let child = Reach::Across.start({
                let token = tally.token();
                move || {
                    let _token = token;
                    if tally_is_there(&_token) {
                        panic!("no future");
                    }
                    async {}
                }
            });
            match child.await {
                Err(Exit::Panicked(panic)) => assert_eq!(panic.message(), "no future"),
                other => panic!("{other:?}"),
            }
            assert_eq!(tally.all_dropped(), 1);
            // The domain goes on.
            assert_eq!(Reach::Across.start(|| async { 1 }).await.unwrap(), 1);
        })
        .unwrap();
    }
    fn tally_is_there(_: &Token) -> bool {
        true
    }
}

#[test]
fn r02_promises_work_inside_join() {
    each(|reach, seed| {
        go(2, seed, async {
            let gates: [Gate; 3] = Default::default();
            let [a, b, c] = gates.clone().map(|gate| {
                reach.start(move || async move {
                    gate.passed().await;
                    1
                })
            });
            let opener = spawn({
                let gates = gates.clone();
                async move {
                    for gate in gates.iter().rev() {
                        yield_now().await;
                        gate.open();
                    }
                }
            });
            let (a, b, c) = join!(a, b, c);
            assert_eq!(a.unwrap() + b.unwrap() + c.unwrap(), 3);
            let [a, b, c] = [1, 2, 3].map(|n| reach.start(move || async move { n }));
            let (a, b, c) = join3(c, a, b).await;
            assert_eq!([a.unwrap(), b.unwrap(), c.unwrap()], [3, 1, 2]);
            opener.await.unwrap();
        })
        .unwrap();
    });
}

#[test]
fn r02_promises_work_inside_select_and_the_loser_is_still_awaited() {
    each(|reach, seed| {
        go(2, seed, async {
            for first in [0, 1] {
                let gates: [Gate; 2] = Default::default();
                let [mut a, mut b] = gates.clone().map(|gate| {
                    reach.start(move || async move {
                        gate.passed().await;
                        yield_now().await;
                    })
                });
                let opener = spawn({
                    let gate = gates[first].clone();
                    async move { gate.open() }
                });
                let winner = select_biased! {
                    result = (&mut a).fuse() => { result.unwrap(); 0 }
                    result = (&mut b).fuse() => { result.unwrap(); 1 }
                };
                assert_eq!(winner, first);
                gates[1 - first].open();
                if first == 0 { b.await } else { a.await }.unwrap();
                opener.await.unwrap();
            }
            // And with the futures given away, and given back.
            let (left, right) = (reach.start(|| async { 1 }), reach.start(|| async { 2 }));
            let sum = match select(left, right).await {
                Either::Left((one, other)) | Either::Right((one, other)) => one.unwrap() + other.await.unwrap(),
            };
            assert_eq!(sum, 3);
        })
        .unwrap();
    });
}

#[test]
fn r02_promises_work_inside_futures_unordered() {
    each(|reach, seed| {
        go(2, seed, async {
            let gates: [Gate; 10] = Default::default();
            let mut promises: FuturesUnordered<_> = gates
                .iter()
                .cloned()
                .enumerate()
                .map(|(n, gate)| {
                    reach.start(move || async move {
                        gate.passed().await;
                        n
                    })
                })
                .collect();
            // Each is opened only when the one before has come out: a lost wake hangs.
            for n in [3, 1, 4, 5, 9, 2, 6, 8, 7, 0] {
                let opener = spawn({
                    let gate = gates[n].clone();
                    async move { gate.open() }
                });
                assert_eq!(promises.next().await.unwrap().unwrap(), n);
                opener.await.unwrap();
            }
            assert!(promises.next().await.is_none());
        })
        .unwrap();
    });
}

/// A child that ends when the gate is opened.
fn behind_a_gate(reach: Reach) -> (Gate, Promise<()>) {
    let gate = Gate::new();
    let child = reach.start({
        let gate = gate.clone();
        move || async move { gate.passed().await }
    });
    (gate, child)
}

#[test]
fn r02_the_last_waker_a_promise_was_polled_with_is_woken_once_on_the_parents_domain() {
    each(|reach, seed| {
        go(1, seed, async {
            let (gate, mut child) = behind_a_gate(reach);
            let ((first, first_waker), (last, last_waker)) = (Ring::new(), Ring::new());
            assert!(poll_under(&mut child, &first_waker).is_pending());
            assert!(poll_under(&mut child, &last_waker).is_pending());
            assert!(poll_under(&mut child, &last_waker).is_pending());
            assert_eq!(child.state(), State::Running);
            gate.open();
            until(|| child.is_ended()).await;
            assert_eq!((first.wakes(), last.wakes()), (0, 1));
            assert_eq!(last.thread(), Some(std::thread::current().id()));
            assert_eq!(child.state(), State::Resolved);
            assert!(matches!(poll_under(&mut child, Waker::noop()), Poll::Ready(Ok(()))));
            assert_eq!((first.wakes(), last.wakes()), (0, 1));
        })
        .unwrap();
    });
}

/// What a combinator polls under may be another task's waker: that task is woken then, and not the parent for it.
#[test]
fn r02_a_promise_polled_under_another_tasks_waker_wakes_that_task() {
    each(|reach, seed| {
        go(1, seed, async {
            let (gate, mut child) = behind_a_gate(reach);
            let lent = Rc::new(RefCell::new(None::<Waker>));
            let other = spawn({
                let lent = Rc::clone(&lent);
                let mut polls = 0;
                poll_fn(move |cx| {
                    polls += 1;
                    if polls == 1 {
                        *lent.borrow_mut() = Some(cx.waker().clone());
                        return Poll::Pending;
                    }
                    Poll::Ready(())
                })
            });
            until(|| lent.borrow().is_some()).await;
            assert!(poll_under(&mut child, lent.borrow().as_ref().unwrap()).is_pending());
            gate.open();
            until(|| child.is_ended()).await;
            yield_now().await;
            assert!(other.is_ended(), "nothing else wakes it");
            other.await.unwrap();
            child.await.unwrap();
        })
        .unwrap();
    });
}

#[test]
fn r02_a_promise_polled_again_under_the_same_waker_keeps_the_one_it_has() {
    each(|reach, seed| {
        go(1, seed, async {
            let mut child = reach.start(parked);
            let (waker, before) = (counting_clones(), clones());
            for _ in 0..3 {
                assert!(poll_under(&mut child, &waker).is_pending());
            }
            assert_eq!(clones() - before, 1);
            child.cancel().await;
        })
        .unwrap();
    });
}

#[test]
fn r02_a_waker_that_panics_is_reported_and_the_result_is_there() {
    static REPORTS: Reports = Reports::new();
    each(|reach, seed| {
        go_reporting(1, seed, |report| REPORTS.keep(report), async {
            let gate = Gate::new();
            let mut child = reach.start({
                let gate = gate.clone();
                move || async move {
                    gate.passed().await;
                    5
                }
            });
            assert!(poll_under(&mut child, &bomb(Fault::Wake)).is_pending());
            gate.open();
            until(|| child.is_ended()).await;
            assert_eq!(
                REPORTS.take(),
                [(ReportPlace::Waker, 0, "assertion `left != right` failed: a wake that panics\n  left: Wake\n right: Wake".into())]
            );
            assert_eq!(child.await.unwrap(), 5);
        })
        .unwrap();
        assert_eq!(REPORTS.take(), []);
    });
}

#[test]
fn r02_a_waker_that_panics_when_it_is_cloned_or_dropped_loses_nothing() {
    each(|reach, seed| {
        go(1, seed, async {
            let gate = Gate::new();
            let mut child = reach.start({
                let gate = gate.clone();
                move || async move {
                    gate.passed().await;
                    5
                }
            });
            panic_of(|| poll_under(&mut child, &bomb(Fault::Clone)));
            assert!(poll_under(&mut child, &bomb(Fault::Drop)).is_pending());
            // It is replaced, and its drop panics.
            panic_of(|| poll_under(&mut child, Waker::noop()));
            let opener = spawn(async move { gate.open() });
            assert_eq!(child.await.unwrap(), 5);
            opener.await.unwrap();
        })
        .unwrap();
    });
}

#[test]
fn r02_the_main_tasks_own_end_is_the_runs() {
    for seed in SEEDS {
        assert!(matches!(go(1, seed, async { 3 }), Ok(3)));
        assert!(matches!(go(1, seed, async { Err::<(), _>("no") }), Err(RunError::Failed("no"))));
        let panicked = go(1, seed, async { panic!("main panics") });
        assert!(matches!(panicked, Err(RunError::Panicked(panic)) if panic.message() == "main panics"));
    }
}

// ---- R6

#[test]
fn r06_dropping_a_promise_neither_cancels_nor_detaches() {
    for in_orphans in [false, true] {
        each(|reach, seed| {
            let (journal, futures, values) = (Journal::new(), Tally::new(), Tally::new());
            let failed = go(1, seed, async {
                let gate = Gate::new();
                let make = {
                    let (token, value, journal, gate) = (futures.token(), values.token(), journal.clone(), gate.clone());
                    move || async move {
                        let _token = token;
                        gate.passed().await;
                        journal.write("the child ends by itself");
                        Plain(value)
                    }
                };
                if in_orphans {
                    let orphans = Orphans::new();
                    reach.start_in(&orphans, make);
                    yield_now().await;
                    drop(orphans);
                } else {
                    let child = reach.start(make);
                    yield_now().await;
                    drop(child);
                }
                for _ in 0..50 {
                    yield_now().await;
                }
                assert_eq!((futures.dropped(), values.dropped()), (0, 0));
                gate.open();
                // Its value is dropped when it ends, not when its parent does.
                until(|| values.dropped() == 1).await;
                assert_eq!(futures.dropped(), 1);
                journal.write("the parent goes on");
                Err::<(), _>("an abnormal end")
            });
            assert!(matches!(failed, Err(RunError::Failed("an abnormal end"))));
            assert_eq!(journal.read(), ["the child ends by itself", "the parent goes on"]);
            assert_eq!((futures.all_dropped(), values.all_dropped()), (1, 1));
        });
    }
}

#[test]
fn r06_the_value_of_a_child_that_has_ended_is_dropped_with_its_promise() {
    for in_orphans in [false, true] {
        each(|reach, seed| {
            let values = Tally::new();
            let failed = go(1, seed, async {
                let make = {
                    let value = values.token();
                    move || async move { Plain(value) }
                };
                if in_orphans {
                    let orphans = Orphans::new();
                    reach.start_in(&orphans, make);
                    // Its end has been delivered when what was sent later has.
                    for _ in 0..10 {
                        reach.start(|| async {}).await?;
                    }
                    assert_eq!(values.dropped(), 0);
                    drop(orphans);
                    until(|| values.dropped() == 1).await;
                } else {
                    let child = reach.start(make);
                    until(|| child.is_ended()).await;
                    assert_eq!(values.dropped(), 0);
                    drop(child);
                    assert_eq!(values.dropped(), 1);
                }
                Err::<(), _>(Exit::<std::convert::Infallible>::Cancelled)
            });
            assert!(matches!(failed, Err(RunError::Failed(Exit::Cancelled))));
            assert_eq!(values.all_dropped(), 1);
        });
    }
}

#[test]
fn r06_a_forgotten_child_that_fails_or_panics_harms_nobody() {
    each(|reach, seed| {
        let ended = Tally::new();
        let failed = go(1, seed, async {
            for panics in [false, true] {
                let token = ended.token();
                drop(reach.start(move || async move {
                    let _token = token;
                    yield_now().await;
                    if panics { panic!("nobody hears it") } else { Err::<(), _>("nobody sees it") }
                }));
            }
            until(|| ended.dropped() == 2).await;
            Err::<(), _>(reach.start(|| async { 6 }).await.unwrap())
        });
        assert!(matches!(failed, Err(RunError::Failed(6))));
    });
}

#[test]
fn r06_awaiting_by_reference_may_be_given_up_and_tried_again() {
    fn is_unpin<T: Unpin>(_: &T) {}
    each(|reach, seed| {
        go(1, seed, async {
            let gate = Gate::new();
            let mut child = reach.start({
                let gate = gate.clone();
                move || async move {
                    gate.passed().await;
                    7
                }
            });
            is_unpin(&child);
            for _ in 0..10 {
                // Polled, then dropped.
                assert!((&mut child).now_or_never().is_none());
                yield_now().await;
            }
            gate.open();
            assert_eq!((&mut child).await.unwrap(), 7);
        })
        .unwrap();
    });
}

#[test]
fn r06_polled_after_its_result_a_promise_panics() {
    each(|reach, seed| {
        go(1, seed, async {
            let tally = Tally::new();
            let mut child = reach.start({
                let token = tally.token();
                move || async move { Plain(token) }
            });
            drop((&mut child).await.unwrap());
            let message = panic_of(|| poll_under(&mut child, Waker::noop()));
            assert!(message.contains("a promise was polled after its result"), "{message}");
            // In a task, that is the task's end and nobody else's; dropping the promise afterwards is harmless.
            let polled_twice = spawn(async {
                let mut grandchild = spawn(async {});
                (&mut grandchild).await.unwrap();
                grandchild.await.unwrap();
            });
            assert!(matches!(polled_twice.await, Err(Exit::Panicked(_))));
            assert_eq!(child.state(), State::Resolved);
            assert!(child.is_ended());
            // Cancelling it is too late, and harmless.
            child.cancel().await;
            assert_eq!(tally.all_dropped(), 1);
        })
        .unwrap();
    });
}

#[test]
fn r06_what_a_promise_tells_of_its_child() {
    each(|reach, seed| {
        go(1, seed, async {
            let (child, line) = (reach.start(|| async { Err::<(), _>(()) }), line!());
            assert_eq!((child.location().file(), child.location().line()), (file!(), line));
            assert_eq!((child.name(), child.id().maker()), (None, matou_core::DomainId::ZERO));
            until(|| child.is_ended()).await;
            assert_eq!(child.state(), State::Exited);
            let mut child = child;
            assert!((&mut child).await.is_err());
            assert_eq!(child.state(), State::Exited, "awaited or not");
            let named = Task::new().name("a name").spawn(async {}).unwrap();
            assert_eq!(named.name(), Some("a name"));
            named.await.unwrap();
        })
        .unwrap();
    });
}
