//! `TaskPool`: tasks without an allocator. A pooled task is a task like any other; what is its own is where its memory comes from: a full pool
//! gives the future back, and a place is free when the last promise, waker and list has let go of the task.

#![cfg(feature = "std")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use matou_core::suspension::Point;
use matou_core::{
    Config, Exit, Full, Orphans, Plain, Promise, ReportPlace, RunError, TaskPool, ViolationKind, await_all, await_first, await_one,
    current_task, domain, run, spawn, yield_now,
};
use support::Threads;
use support::family::*;
use support::wakers::*;

/// The future that a full pool gave back.
fn refused<T, F>(result: Result<T, Full<F>>) -> F {
    match result {
        Ok(_) => panic!("there was a place"),
        Err(Full(future)) => future,
    }
}

#[test]
fn a_pooled_task_is_a_task() {
    static POOL: TaskPool<4, 128> = TaskPool::new();
    for seed in SEEDS {
        let tally = Tally::new();
        go(1, seed, async {
            let main = current_task().unwrap();
            let token = tally.token();
            let task = async move {
                let _token = token;
                yield_now().await;
                assert_ne!(current_task(), Some(main));
                Ok::<_, &str>(domain::current().unwrap().index())
            };
            let (child, line) = (POOL.spawn(task).unwrap(), line!());
            assert_eq!((child.location().file(), child.location().line(), child.name()), (file!(), line, None));
            assert_eq!(POOL.free(), 3);
            assert_eq!(child.await.unwrap(), 0);
            assert_eq!((tally.all_dropped(), POOL.free()), (1, 4));
            let failed = POOL.spawn(async { Err::<(), _>("no") }).unwrap();
            assert!(matches!(failed.await, Err(Exit::Failed("no"))));
            let panicked = POOL.spawn(async { panic!("in a pool") }).unwrap();
            assert!(matches!(panicked.await, Err(Exit::Panicked(panic)) if panic.message() == "in a pool"));
            let cancelled = POOL.spawn(parked()).unwrap();
            yield_now().await;
            cancelled.cancel().await;
            POOL.spawn(parked()).unwrap().cancel().await;
            // Among others, in the lists that all promises go into.
            let mixed = vec![POOL.spawn(async { 1 }).unwrap(), spawn(async { 2 }), Reach::Across.start(|| async { 3 })];
            assert_eq!(await_all(mixed).await.into_iter().map(Result::unwrap).sum::<i32>(), 6);
            let mut two: Vec<Promise<i32>> = vec![POOL.spawn(async { 1 }).unwrap(), spawn(async { 1 })];
            assert_eq!(await_one(&mut two).await.unwrap().unwrap() + await_first(two).await.unwrap().unwrap(), 2);
            assert_eq!(POOL.free(), 4);
        })
        .unwrap();
    }
}

#[test]
fn its_children_run_in_the_order_of_creation_and_after_their_parent() {
    static POOL: TaskPool<8, 128> = TaskPool::new();
    for seed in SEEDS {
        let journal = Journal::new();
        go(0, seed, async {
            let children: Vec<_> = (0..8)
                .map(|n| {
                    let journal = journal.clone();
                    POOL.spawn(async move { journal.write(format!("{n}")) }).unwrap()
                })
                .collect();
            journal.write("parent");
            for child in children {
                child.await.unwrap();
            }
        })
        .unwrap();
        assert_eq!(journal.read(), ["parent", "0", "1", "2", "3", "4", "5", "6", "7"]);
    }
}

#[test]
fn a_full_pool_gives_the_future_back_whole() {
    static POOL: TaskPool<2, 128> = TaskPool::new();
    for seed in SEEDS {
        let tally = Tally::new();
        go(0, seed, async {
            let gate = Gate::new();
            let waiting = |gate: &Gate| {
                let (token, gate) = (tally.token(), gate.clone());
                async move {
                    gate.passed().await;
                    Plain(token)
                }
            };
            let (one, two) = (POOL.spawn(waiting(&gate)).unwrap(), POOL.spawn(waiting(&gate)).unwrap());
            assert_eq!(POOL.free(), 0);
            let full = POOL.spawn(waiting(&gate));
            assert!(matches!(&full, Err(full) if full.to_string().contains("every place of the task pool is taken")));
            let future = refused(full);
            assert_eq!(tally.dropped(), 0);
            gate.open();
            drop((one.await.unwrap(), tally.dropped()));
            // Given back unpolled, it is started now.
            let again = POOL.spawn(future).unwrap();
            drop((two.await.unwrap(), again.await.unwrap()));
            assert_eq!((tally.all_dropped(), POOL.free()), (3, 2));
        })
        .unwrap();
    }
}

#[test]
fn a_refused_child_is_none() {
    static POOL: TaskPool<1, 64> = TaskPool::new();
    for seed in SEEDS {
        go(0, seed, async {
            let only = POOL.spawn(async {}).unwrap();
            // Were it one, this task could not end normally.
            drop(refused(POOL.spawn(async {})));
            only.await.unwrap();
        })
        .unwrap();
    }
}

#[test]
fn a_place_is_free_when_the_last_promise_is_gone() {
    static POOL: TaskPool<1, 64> = TaskPool::new();
    for seed in SEEDS {
        let failed = go(0, seed, async {
            // Awaited by value, by reference, cancelled, forgotten.
            let child = POOL.spawn(async {}).unwrap();
            child.await.unwrap();
            assert_eq!(POOL.free(), 1);
            let mut child = POOL.spawn(async {}).unwrap();
            (&mut child).await.unwrap();
            assert_eq!(POOL.free(), 0);
            refused(POOL.spawn(async {})).await;
            drop(child);
            assert_eq!(POOL.free(), 1);
            let mut cancelling = POOL.spawn(parked()).unwrap().cancel();
            (&mut cancelling).await;
            assert_eq!(POOL.free(), 0);
            drop(cancelling);
            assert_eq!(POOL.free(), 1);
            drop(POOL.spawn(async {}).unwrap());
            assert_eq!(POOL.free(), 0);
            yield_now().await;
            assert_eq!(POOL.free(), 1);
            drop(POOL.spawn(parked()).unwrap().cancel());
            assert_eq!(POOL.free(), 0);
            yield_now().await;
            assert_eq!(POOL.free(), 1);
            // Ended, not awaited, then forgotten.
            let child = POOL.spawn(async {}).unwrap();
            yield_now().await;
            assert!(child.is_ended());
            assert_eq!(POOL.free(), 0);
            drop(child);
            assert_eq!(POOL.free(), 1);
            Err::<(), _>("children were forgotten")
        });
        assert!(matches!(failed, Err(RunError::Failed(_))));
        assert_eq!(POOL.free(), 1);
    }
}

/// Hands its waker out, and ends.
struct HandsOut(Arc<Mutex<Vec<Waker>>>);

impl Future for HandsOut {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.lock().unwrap().push(cx.waker().clone());
        Poll::Ready(())
    }
}

#[test]
fn a_place_is_free_when_the_last_waker_is_gone_on_whatever_thread() {
    static POOL: TaskPool<1, 64> = TaskPool::new();
    for seed in SEEDS {
        for outside in [false, true] {
            let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
            go(1, seed, async {
                POOL.spawn(HandsOut(wakers.clone())).unwrap().await.unwrap();
                assert_eq!(POOL.free(), 0);
                let waker = wakers.lock().unwrap().pop().unwrap();
                let second = waker.clone();
                waker.wake();
                assert_eq!(POOL.free(), 0);
                if outside {
                    std::thread::spawn(move || drop(second)).join().unwrap();
                } else {
                    Reach::Across.start(move || async move { drop(second) }).await.unwrap();
                }
                assert_eq!(POOL.free(), 1);
                // And used again by another, whom the old waker does not wake.
                POOL.spawn(HandsOut(wakers.clone())).unwrap().await.unwrap();
            })
            .unwrap();
            // A waker that outlives the run keeps its place.
            assert_eq!(POOL.free(), 0);
            wakers.lock().unwrap().drain(..).for_each(Waker::wake);
            assert_eq!(POOL.free(), 1);
        }
    }
}

/// How a waker goes.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    WokenHere,
    WokenElsewhere,
    DroppedHere,
    DroppedElsewhere,
    DroppedWithItsFuture,
    /// After the task has ended.
    LastHere,
    LastElsewhere,
}

use Way::*;

impl Way {
    const ALL: [Way; 7] = [WokenHere, WokenElsewhere, DroppedHere, DroppedElsewhere, DroppedWithItsFuture, LastHere, LastElsewhere];

    fn go(self, waker: Waker) {
        let elsewhere = |f: fn(Waker), waker| std::thread::spawn(move || f(waker)).join().unwrap();
        match self {
            WokenHere => waker.wake(),
            WokenElsewhere => elsewhere(Waker::wake, waker),
            DroppedElsewhere | LastElsewhere => elsewhere(drop, waker),
            DroppedHere | DroppedWithItsFuture | LastHere => drop(waker),
        }
    }
}

/// A waker that goes at home leaves its hold to the next one. However they come and go, the task is there until the last, and no longer.
#[test]
fn a_place_is_free_whatever_wakers_came_and_went() {
    static POOL: TaskPool<1, 64> = TaskPool::new();
    let ways = |last| Way::ALL.into_iter().flat_map(move |first| Way::ALL.map(|second| [first, second, last]));
    for (ways, cancelled) in Way::ALL.into_iter().flat_map(ways).flat_map(|ways| [(ways, false), (ways, true)]) {
        go(0, 0, async {
            let given: Rc<RefCell<Vec<Waker>>> = Rc::default();
            let kept: Rc<RefCell<Vec<Waker>>> = Rc::default();
            let keep = Rc::downgrade(&kept);
            // It is polled three times: it gives two wakers, then one, then it ends.
            let task = POOL.spawn({
                let (given, mut polls) = (Rc::clone(&given), 0);
                poll_fn(move |cx| {
                    let _kept = &kept;
                    polls += 1;
                    let (wakers, gone) = match polls {
                        1 => (2, &ways[..2]),
                        2 => (1, &ways[2..]),
                        _ => return Poll::Ready(()),
                    };
                    given.borrow_mut().extend((0..wakers).map(|_| cx.waker().clone()));
                    if !gone.iter().any(|way| matches!(way, WokenHere | WokenElsewhere)) {
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                })
            });
            let task = task.unwrap();
            let mut last = Vec::new();
            for gone in [&ways[..2], &ways[2..]] {
                while given.borrow().is_empty() {
                    yield_now().await;
                }
                for (&way, waker) in gone.iter().zip(given.take()) {
                    match way {
                        LastHere | LastElsewhere => last.push((way, waker)),
                        DroppedWithItsFuture => keep.upgrade().unwrap().borrow_mut().push(waker),
                        _ => way.go(waker),
                    }
                    assert_eq!(POOL.free(), 0);
                }
            }
            if cancelled {
                task.cancel().await;
            } else {
                task.await.unwrap();
            }
            for (way, waker) in last {
                assert_eq!(POOL.free(), 0);
                waker.wake_by_ref();
                drop(waker.clone());
                way.go(waker);
            }
            assert_eq!(POOL.free(), 1);
        })
        .unwrap();
    }
}

#[test]
fn a_promise_or_cancellation_whose_waker_panics_when_dropped_frees_its_place() {
    static POOL: TaskPool<1, 64> = TaskPool::new();
    for seed in SEEDS {
        go(0, seed, async {
            let mut child = POOL.spawn(parked()).unwrap();
            assert!(poll_under(&mut child, &bomb(Fault::Drop)).is_pending());
            let mut cancelling = child.cancel();
            panic_of(|| poll_under(&mut cancelling, Waker::noop()));
            assert!(poll_under(&mut cancelling, &bomb(Fault::Drop)).is_pending());
            panic_of(|| drop(cancelling));
            yield_now().await;
            assert_eq!(POOL.free(), 1);
        })
        .unwrap();
        let failed = go(0, seed, async {
            let gate = Gate::new();
            let mut child = POOL.spawn(gate.passed()).unwrap();
            assert!(poll_under(&mut child, &bomb(Fault::Drop)).is_pending());
            Err::<(), _>(())
        });
        assert!(failed.is_err());
        assert_eq!(POOL.free(), 1);
        let failed = go(0, seed, async {
            let mut child = POOL.spawn(yield_now()).unwrap();
            assert!(poll_under(&mut child, &bomb(Fault::Drop)).is_pending());
            panic_of(|| drop(child));
            yield_now().await;
            yield_now().await;
            assert_eq!(POOL.free(), 1);
            Err::<(), _>(())
        });
        assert!(failed.is_err());
    }
}

#[test]
fn r03_a_pooled_child_left_behind_is_a_violation_with_its_line() {
    static POOL: TaskPool<4, 64> = TaskPool::new();
    for ended in [false, true] {
        for dropped in [false, true] {
            for seed in SEEDS {
                let (child, line) = (Cell::new(None), Cell::new(0));
                let violation = violation(go(0, seed, async {
                    let task = async move {
                        if !ended {
                            parked().await;
                        }
                    };
                    line.set(line!() + 1);
                    let promise = POOL.spawn(task).unwrap();
                    child.set(Some(promise.id()));
                    if ended {
                        yield_now().await;
                    }
                    if dropped {
                        drop(promise);
                        yield_now().await;
                    }
                }));
                let ViolationKind::StillHasChildren { child: named, spawned } = violation.kind else { panic!("{violation}") };
                assert_eq!((Some(named), spawned.file(), spawned.line()), (child.get(), file!(), line.get()));
                assert_eq!(POOL.free(), 4);
            }
        }
    }
}

#[test]
fn an_abnormal_end_cancels_pooled_children_and_frees_their_places() {
    static POOL: TaskPool<8, 128> = TaskPool::new();
    each(|reach, seed| {
        let tally = Tally::new();
        go(2, seed, async {
            for end in 0..3 {
                let ready = Gate::new();
                let parent = reach.start({
                    let (tally, ready) = (tally.clone(), ready.clone());
                    move || async move {
                        for _ in 0..4 {
                            let (token, tally) = (tally.token(), tally.clone());
                            drop(POOL.spawn(async move {
                                let _token = token;
                                let _grandchild = POOL.spawn(async move {
                                    let _token = tally.token();
                                    parked().await;
                                });
                                parked().await;
                            }));
                        }
                        until(|| POOL.free() == 0).await;
                        ready.open();
                        match end {
                            0 => Err("fails"),
                            1 => panic!("panics"),
                            _ => std::future::pending::<Result<(), _>>().await,
                        }
                    }
                });
                ready.passed().await;
                if end == 2 {
                    parent.cancel().await
                } else {
                    assert!(parent.await.is_err())
                }
                tally.all_dropped();
                until(|| POOL.free() == 8).await;
            }
        })
        .unwrap();
    });
}

#[test]
fn the_places_are_shared_by_domains_and_runs() {
    static POOL: TaskPool<16, 128> = TaskPool::new();
    let tally = Tally::new();
    std::thread::scope(|threads| {
        for thread in 0..2 {
            let tally = &tally;
            threads.spawn(move || {
                for seed in 0..10 {
                    go(2, seed + thread, async {
                        let workers: Vec<_> = (0..4)
                            .map(|_| {
                                let tally = tally.clone();
                                Reach::Across.start(move || async move {
                                    let mut refused = 0;
                                    for n in 0..60 {
                                        let token = tally.token();
                                        let task = async move {
                                            let _token = token;
                                            yield_now().await;
                                            n
                                        };
                                        match POOL.spawn(task) {
                                            Ok(promise) if n % 3 == 0 => promise.cancel().await,
                                            Ok(promise) => assert_eq!(promise.await.unwrap(), n),
                                            Err(Full(task)) => {
                                                refused += 1;
                                                assert_eq!(task.await, n);
                                            }
                                        }
                                    }
                                    refused
                                })
                            })
                            .collect();
                        for worker in workers {
                            assert!(worker.await.unwrap() < 60);
                        }
                    })
                    .unwrap();
                }
            });
        }
    });
    assert_eq!((tally.all_dropped(), POOL.free()), (2 * 10 * 4 * 60, 16));
}

#[test]
fn results_and_futures_as_large_and_as_aligned_as_the_place_fit() {
    #[repr(align(16))]
    struct Aligned([u8; 64]);
    static POOL: TaskPool<2, 160> = TaskPool::new();
    for seed in SEEDS {
        go(0, seed, async {
            let child = POOL.spawn(async {
                let large = Aligned([7; 64]);
                yield_now().await;
                assert_eq!(std::ptr::from_ref(&large).addr() % 16, 0);
                Plain(large)
            });
            let large = child.unwrap().await.unwrap();
            assert!(large.0.iter().all(|&byte| byte == 7));
            // The result is larger than the future.
            assert_eq!(POOL.spawn(async { [1_u8; 144] }).unwrap().await.unwrap(), [1; 144]);
        })
        .unwrap();
    }
    // A pool without places, and one with room for the smallest result, which may be a panic.
    static NONE: TaskPool<0, 64> = TaskPool::new();
    static LEAST: TaskPool<1, 32> = TaskPool::new();
    go(0, 0, async {
        refused(NONE.spawn(async {})).await;
        LEAST.spawn(std::future::ready(())).unwrap().await.unwrap();
    })
    .unwrap();
    assert_eq!((NONE.free(), LEAST.free()), (0, 1));
}

#[test]
fn pooled_children_suspend_and_are_cancelled_in_it() {
    static POOL: TaskPool<2, 192> = TaskPool::new();
    for seed in SEEDS {
        let platform = Threads::new(0);
        run(&platform, Config::new().seed(seed), async {
            let ids: Arc<Mutex<Vec<matou_core::PointId>>> = Arc::default();
            let suspended = |ids: &Arc<Mutex<Vec<matou_core::PointId>>>| {
                let ids = ids.clone();
                async move {
                    let point = Point::new().unwrap();
                    point
                        .suspend(|id| {
                            ids.lock().unwrap().push(id);
                            Ok::<(), ()>(())
                        })
                        .await
                        .unwrap();
                }
            };
            let (resumed, cancelled) = (POOL.spawn(suspended(&ids)).unwrap(), POOL.spawn(suspended(&ids)).unwrap());
            until(|| ids.lock().unwrap().len() == 2).await;
            let ids = ids.lock().unwrap().clone();
            platform.hand(0).fire(ids[0]);
            cancelled.cancel().await;
            resumed.await.unwrap();
            until(|| platform.hand(0).log().cancelled == ids[1..]).await;
        })
        .unwrap();
        assert_eq!(POOL.free(), 2);
    }
}

#[test]
fn a_destructor_that_panics_is_reported_and_frees_the_place() {
    static POOL: TaskPool<2, 128> = TaskPool::new();
    static REPORTS: Reports = Reports::new();
    for seed in SEEDS {
        go_reporting(0, seed, |report| REPORTS.keep(report), async {
            let child = POOL.spawn(async {
                let _panics = at_drop(|| panic!("a future's"));
                parked().await;
            });
            yield_now().await;
            child.unwrap().cancel().await;
            let child = POOL.spawn(async { Plain(at_drop(|| panic!("a result's"))) }).unwrap();
            yield_now().await;
            drop(child.cancel());
            let reports = [(ReportPlace::Destructor, 0, "a future's".to_owned()), (ReportPlace::Result, 0, "a result's".to_owned())];
            assert_eq!(REPORTS.take(), reports);
            assert_eq!(POOL.free(), 2);
        })
        .unwrap();
    }
}

#[test]
fn outside_a_task_it_says_what_to_do_and_takes_no_place() {
    static POOL: TaskPool<1, 64> = TaskPool::new();
    let tally = Tally::new();
    let token = tally.token();
    let message = panic_of(|| POOL.spawn(async move { drop(token) }).map(drop).unwrap());
    assert!(message.contains("spawned outside a task"), "{message}");
    assert_eq!((POOL.free(), tally.all_dropped()), (1, 1));
    assert_eq!(format!("{POOL:?}"), "TaskPool { tasks: 1, bytes: 64, free: 1 }");
}

#[test]
fn orphans_and_pools_are_strangers() {
    // A pooled child is made by the pool alone; inside an `Orphans` call it would be taken for one of its own.
    static POOL: TaskPool<1, 64> = TaskPool::new();
    go(0, 0, async {
        let orphans = Orphans::new();
        orphans.spawn(async { POOL.spawn(async { 2 }).unwrap().await.unwrap() });
        assert_eq!(orphans.next().await.unwrap().unwrap(), 2);
        let own = POOL.spawn(async { 3 }).unwrap();
        assert!(orphans.is_empty());
        assert_eq!(own.await.unwrap(), 3);
    })
    .unwrap();
}
