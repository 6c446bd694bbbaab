//! Events: suspension points, what an event source is told, and what happens when it fails (R33, R34, R37, R38).
//!
//! The source is in the test's hand: a point is resumed when the test fires it, and what the runtime asks and tells is recorded. Each rule
//! is shown on domain 0 and on a worker, since each domain has a source of its own.

#![cfg(feature = "std")]

mod support;

use std::future::{Future, pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use matou_core::effect::poll_budget;
use matou_core::platform::{Bare, NothingToWaitFor};
use matou_core::suspension::{Point, PointError};
use matou_core::time::{sleep, timeout};
use matou_core::{Config, DomainId, EventsError, Exit, PointId, Promise, Resource, RunError, Task, call, domain, run, spawn, yield_now};
use support::probe::{
    Census, Counter, Flag, OnDrop, PLACES, Trace, attempt, counted, counting_waker, panic_message, poll_once, race, sites,
};
use support::watched::{Borrowed, Fault, Watched, ring};
use support::{Hand, Log, Threads};

/// Runs `body` on domain 0 and on a worker, with the source of that domain.
fn on_each_domain<C, F>(quanta: u32, body: C) -> [Log; 2]
where
    C: Fn(Arc<Hand>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    [0, 1].map(|at| {
        let platform = Threads::new(2);
        let (hand, body) = (platform.hand(at), body.clone());
        attempt(&platform, Config::new().domains(2).quanta(quanta), at, move || body(hand)).unwrap();
        platform.hand(at).log()
    })
}

type Suspended = Pin<Box<dyn Future<Output = Result<(), &'static str>>>>;

/// A new point, suspended; what it is registered with is noted.
fn suspended(registered: &Trace<PointId>) -> (PointId, Suspended) {
    let point = Point::new().unwrap();
    let (id, registered) = (point.id(), registered.clone());
    let register = move |id| {
        registered.note(id);
        Ok(())
    };
    (id, Box::pin(point.suspend(register)))
}

/// The same, polled once.
async fn registered() -> (PointId, Suspended) {
    let seen = Trace::new();
    let (id, mut suspended) = suspended(&seen);
    assert!(poll_once(&mut suspended).await.is_pending());
    while seen.len() == 0 {
        // The budget of this poll was used up.
        yield_now().await;
        assert!(poll_once(&mut suspended).await.is_pending());
    }
    (id, suspended)
}

/// Lets the source be asked at least once more.
async fn look(hand: &Hand) {
    let asked = |log: Log| log.looks + log.sleeps;
    let before = asked(hand.log());
    while asked(hand.log()) == before {
        yield_now().await;
    }
}

/// Asserts that these ids are stale: the next point has another, which is given, and is not resumed by any of them.
async fn name_nobody(hand: &Hand, stale: &[PointId]) -> PointId {
    let (next, mut successor) = registered().await;
    assert!(!stale.contains(&next));
    stale.iter().for_each(|&id| hand.fire(id));
    look(hand).await;
    assert!(poll_once(&mut successor).await.is_pending());
    hand.fire(next);
    successor.await.unwrap();
    next
}

// ---- R33: a point, its registration, its resumption

#[test]
fn r33_the_registration_runs_once_in_the_first_poll() {
    on_each_domain(1, |hand| async move {
        let seen = Trace::new();
        let (id, mut suspended) = suspended(&seen);
        look(&hand).await;
        assert_eq!(seen.len(), 0, "neither when the point is made nor when it is suspended");
        for _ in 0..5 {
            assert!(poll_once(&mut suspended).await.is_pending());
            look(&hand).await;
        }
        assert_eq!(seen.take(), [id]);
        hand.fire(id);
        suspended.await.unwrap();
        assert_eq!(seen.take(), []);
    });
}

#[test]
fn r33_a_point_resumed_before_its_first_poll_is_not_registered() {
    on_each_domain(1, |hand| async move {
        let seen = Trace::new();
        let (id, suspended) = suspended(&seen);
        hand.fire(id);
        look(&hand).await;
        let polls = Counter::new();
        counted(&polls, suspended).await.unwrap();
        assert_eq!((polls.get(), seen.len()), (1, 0));
    });
}

#[test]
fn r33_the_registration_waits_for_the_budget() {
    on_each_domain(4, |hand| async move {
        let seen = Trace::new();
        let (id, mut suspended) = suspended(&seen);
        poll_fn(|cx| {
            while poll_budget(cx).is_ready() {}
            assert!(suspended.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(seen.len(), 0);
        yield_now().await;
        assert!(poll_once(&mut suspended).await.is_pending());
        assert_eq!(seen.take(), [id]);
        hand.fire(id);
        suspended.await.unwrap();
    });
}

#[test]
fn r33_an_error_of_the_registration_is_the_result() {
    let logs = on_each_domain(1, |hand| async move {
        let point = Point::new().unwrap();
        let id = point.id();
        assert_eq!(point.suspend(|_| Err::<(), _>("not today")).await, Err("not today"));
        // It is as if it had never been registered: not told, and its id is stale.
        hand.fire(id);
        let (next, mut successor) = registered().await;
        assert_ne!(next, id);
        look(&hand).await;
        assert!(poll_once(&mut successor).await.is_pending());
        hand.fire(next);
        successor.await.unwrap();
    });
    assert!(logs.iter().all(|log| log.cancelled.is_empty()), "{logs:?}");
}

#[test]
fn r33_a_point_is_resumed_at_most_once() {
    let logs = on_each_domain(1, |hand| async move {
        let wakes = Counter::new();
        let waker = counting_waker(&wakes);
        let (id, mut suspended) = suspended(&Trace::new());
        assert!(suspended.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        // Three times in one look, and again later, before it is polled.
        for _ in 0..3 {
            for _ in 0..3 {
                hand.fire(id);
            }
            look(&hand).await;
        }
        assert_eq!(wakes.get(), 1);
        assert_eq!(suspended.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(Ok(())));
        // And after it: nothing is left to resume, and its successor is another.
        name_nobody(&hand, &[id]).await;
        assert_eq!(wakes.get(), 1);
    });
    assert!(logs.iter().all(|log| log.cancelled.is_empty()), "{logs:?}");
}

#[test]
fn r33_polled_after_its_result_it_panics() {
    on_each_domain(1, |hand| async move {
        let (id, mut suspended) = registered().await;
        hand.fire(id);
        look(&hand).await;
        let mut cx = Context::from_waker(Waker::noop());
        assert!(suspended.as_mut().poll(&mut cx).is_ready());
        let message = panic_message(|| {
            let _ = suspended.as_mut().poll(&mut cx);
        });
        assert!(message.contains("after its result"), "{message}");
    });
}

#[test]
fn r33_the_waker_it_was_last_polled_with_is_woken() {
    on_each_domain(1, |hand| async move {
        let wakes = [(); 3].map(|()| Counter::new());
        let (id, mut suspended) = suspended(&Trace::new());
        for wakes in &wakes {
            assert!(suspended.as_mut().poll(&mut Context::from_waker(&counting_waker(wakes))).is_pending());
        }
        hand.fire(id);
        look(&hand).await;
        assert_eq!(wakes.map(|wakes| wakes.get()), [0, 0, 1]);
    });
}

#[test]
fn r33_a_point_belongs_to_its_domain() {
    for seed in 0..4 {
        let platform = Threads::new(2);
        let hands = [0, 1, 2].map(|domain| platform.hand(domain));
        let ended = run(&platform, Config::new().domains(2).seed(seed), async {
            // The same id on each domain names another point.
            let ids = Trace::new();
            let (settled, over) = (Counter::new(), Trace::new());
            let live = || {
                let (ids, settled, over) = (ids.clone(), settled.clone(), over.clone());
                move || async move {
                    let point = Point::new().unwrap();
                    ids.note(point.id());
                    let register = |_| {
                        settled.add();
                        Ok::<_, ()>(())
                    };
                    point.suspend(register).await.unwrap();
                    over.note(domain::current().unwrap().index());
                }
            };
            let mut children = vec![spawn(live()())];
            children.extend([1, 2].map(|worker| Task::new().pin(DomainId::new(worker)).call(live()).unwrap()));
            while settled.get() < 3 {
                yield_now().await;
            }
            let ids = ids.take();
            assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
            // In an order of the test's.
            for at in [2, 0, 1] {
                hands[at].fire(ids[0]);
                children.remove(if at == 2 { 2 } else { 0 }).await.unwrap();
            }
            assert_eq!(over.take(), [2, 0, 1]);
        });
        ended.unwrap();
    }
}

#[test]
fn r33_points_resumed_together_are_woken_in_the_order_they_were_named() {
    on_each_domain(64, |hand| async move {
        let order = Trace::new();
        let mut waiting = Vec::new();
        for number in 0..10 {
            let point = Point::new().unwrap();
            let (id, order) = (point.id(), order.clone());
            let child = spawn(async move {
                point.suspend(|_| Ok::<_, ()>(())).await.unwrap();
                order.note(number);
            });
            waiting.push((id, child));
        }
        yield_now().await;
        let named = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7];
        for number in named {
            hand.fire(waiting[number].0);
        }
        for (_, child) in waiting {
            child.await.unwrap();
        }
        assert_eq!(order.take(), named);
    });
}

#[test]
fn r33_open_points_have_different_ids() {
    on_each_domain(1, |hand| async move {
        let mut open = Vec::new();
        for _ in 0..100 {
            open.push(registered().await);
        }
        let mut ids: Vec<_> = open.iter().map(|(id, _)| id.to_bits()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 100);
        for (id, _) in &open {
            assert_eq!(PointId::from_bits(id.to_bits()), *id);
            hand.fire(*id);
        }
        for (_, suspended) in open {
            suspended.await.unwrap();
        }
    });
}

#[test]
fn r33_the_places_of_points_are_used_again() {
    on_each_domain(64, |hand| async move {
        let mut highest = 0;
        for round in 0..1000 {
            let (id, suspended) = registered().await;
            highest = highest.max(id.to_bits() as u32);
            // Some are resumed and awaited, some resumed and dropped, some given up.
            if round % 3 > 0 {
                hand.fire(id);
                look(&hand).await;
            }
            if round % 3 == 1 {
                suspended.await.unwrap();
            } else {
                drop(suspended);
                look_while_waiting(&hand).await;
            }
        }
        assert!(highest < 8, "{highest} places, of which two were used at a time");
    });
}

/// As `look`, where nobody waits.
async fn look_while_waiting(hand: &Hand) {
    let (id, waiting) = registered().await;
    look(hand).await;
    hand.fire(id);
    waiting.await.unwrap();
}

#[test]
fn r33_a_point_handed_to_another_task_of_its_domain_is_that_tasks() {
    for cancelled in [false, true] {
        let logs = on_each_domain(1, move |hand| async move {
            // While it waits, the source is asked.
            let (other, waiting) = registered().await;
            let (resumed, waits) = (Counter::new(), Flag::new());
            let point = Point::new().unwrap();
            let id = point.id();
            let keeper = spawn({
                let (resumed, waits) = (resumed.clone(), waits.clone());
                async move {
                    let register = |_| {
                        waits.raise();
                        Ok::<_, ()>(())
                    };
                    point.suspend(register).await.unwrap();
                    resumed.add();
                }
            });
            waits.raised().await;
            // The task that made it goes on, and is not woken by it.
            if cancelled {
                keeper.cancel().await;
                hand.fire(id);
                look(&hand).await;
            } else {
                hand.fire(id);
                keeper.await.unwrap();
            }
            assert_eq!(resumed.get(), usize::from(!cancelled));
            look(&hand).await;
            hand.fire(other);
            waiting.await.unwrap();
        });
        assert!(logs.iter().all(|log| log.cancelled.len() == usize::from(cancelled)), "{logs:?}");
    }
}

/// Waits at whatever point is in `place`; what it is registered with is noted.
fn poll_at(place: &mut Option<Point>, registered: &Trace<PointId>, cx: &mut Context<'_>) -> Poll<Result<(), PointError>> {
    Point::poll_at(place, cx, |id| {
        registered.note(id);
        Ok(())
    })
}

#[test]
fn r33_a_place_has_a_point_while_it_is_waited_there() {
    let logs = on_each_domain(1, |hand| async move {
        let (seen, mut place, mut stale) = (Trace::new(), None, Vec::new());
        for round in 0..10 {
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..3 {
                while poll_at(&mut place, &seen, &mut cx).is_pending() && place.is_none() {
                    yield_now().await; // The budget of this poll was used up.
                }
                stale.iter().for_each(|&id| hand.fire(id));
                look(&hand).await;
            }
            let id = place.as_ref().map(Point::id).unwrap();
            assert_eq!(seen.take(), [id], "registered once");
            assert!(!stale.contains(&id), "round {round}");
            // Of the task, and woken by it alone.
            let wakes = Counter::new();
            assert!(poll_at(&mut place, &seen, &mut Context::from_waker(&counting_waker(&wakes))).is_pending());
            hand.fire(id);
            look(&hand).await;
            assert_eq!(wakes.get(), 1);
            assert_eq!(poll_at(&mut place, &seen, &mut cx), Poll::Ready(Ok(())));
            assert!(place.is_none() && seen.len() == 0);
            stale.push(id);
        }
    });
    assert!(logs.iter().all(|log| log.cancelled.is_empty()), "{logs:?}");
}

#[test]
fn r35_once_nobody_waits_any_more_the_source_is_not_asked() {
    on_each_domain(4, |hand| async move {
        let (seen, mut place) = (Trace::new(), None);
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            while poll_at(&mut place, &seen, &mut cx).is_pending() && place.is_none() {
                yield_now().await;
            }
            hand.fire(seen.take()[0]);
            look(&hand).await;
            assert!(poll_at(&mut place, &seen, &mut cx).is_ready());
            // Nor where it was given up, once that was told.
            drop(registered().await);
            look(&hand).await;
        }
        let looks = hand.log().looks;
        for _ in 0..100 {
            yield_now().await;
        }
        assert_eq!(hand.log().looks, looks);
    });
}

#[test]
fn r33_a_point_in_a_place_may_be_resumed_while_it_is_registered() {
    let logs = on_each_domain(64, |hand| async move {
        // Made elsewhere, and resumed before it is looked at: it is not registered.
        let mut place = Some(Point::new().unwrap());
        hand.fire(place.as_ref().map(Point::id).unwrap());
        look(&hand).await;
        let seen = Trace::new();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(poll_at(&mut place, &seen, &mut cx), Poll::Ready(Ok(())));
        assert!(place.is_none() && seen.len() == 0);
    });
    assert!(logs.iter().all(|log| log.cancelled.is_empty()), "{logs:?}");
}

#[test]
fn r33_a_place_stays_empty_where_the_registration_fails() {
    let logs = on_each_domain(1, |hand| async move {
        let mut failed = Vec::new();
        for _ in 0..10 {
            let mut place = None;
            let fail = |place: &mut Option<Point>, failed: &mut Vec<PointId>, cx: &mut Context<'_>| {
                Point::poll_at(place, cx, |id| {
                    failed.push(id);
                    Err(PointError::Full)
                })
            };
            assert_eq!(poll_fn(|cx| fail(&mut place, &mut failed, cx)).await, Err(PointError::Full));
            assert!(place.is_none());
        }
        // None of them is left: each was another use of the one place.
        name_nobody(&hand, &failed).await;
    });
    assert!(logs.iter().all(|log| log.cancelled.is_empty()), "{logs:?}");
}

#[test]
fn r33_a_place_stays_empty_without_budget() {
    on_each_domain(4, |_| async move {
        let (seen, mut place) = (Trace::new(), None);
        poll_fn(|cx| {
            while poll_budget(cx).is_ready() {}
            assert!(poll_at(&mut place, &seen, cx).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(place.is_none() && seen.len() == 0);
        yield_now().await;
        assert!(poll_at(&mut place, &seen, &mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(seen.take(), [place.as_ref().map(Point::id).unwrap()]);
    });
    let mut place = None;
    let outside = poll_at(&mut place, &Trace::new(), &mut Context::from_waker(Waker::noop()));
    assert_eq!(outside, Poll::Ready(Err(PointError::NoDomain)));
}

#[test]
fn r33_a_place_of_another_run_is_not_looked_at() {
    let open = || {
        let mut place = None;
        let mut cx = Context::from_waker(Waker::noop());
        assert!(poll_at(&mut place, &Trace::new(), &mut cx).is_pending());
        place
    };
    let mut place = run(&Threads::new(0), Config::new(), async { open() }).unwrap();
    let platform = Threads::new(0);
    let hand = platform.hand(0);
    let again = run(&platform, Config::new(), async {
        // The same name, and resumed: of this run's.
        let mut namesake = open();
        let id = |place: &Option<Point>| place.as_ref().map(Point::id).unwrap();
        assert_eq!(id(&namesake), id(&place));
        hand.fire(id(&namesake));
        look(&hand).await;
        let mut cx = Context::from_waker(Waker::noop());
        let message = panic_message(|| {
            let _ = poll_at(&mut place, &Trace::new(), &mut cx);
        });
        assert!(message.contains("another domain"), "{message}");
        assert!(poll_at(&mut namesake, &Trace::new(), &mut cx).is_ready());
    });
    again.unwrap();
}

#[test]
fn r34_a_place_that_is_emptied_is_told_to_the_source() {
    let logs = on_each_domain(1, |hand| async move {
        let (seen, mut place) = (Trace::new(), None);
        let mut cx = Context::from_waker(Waker::noop());
        while poll_at(&mut place, &seen, &mut cx).is_pending() && place.is_none() {
            yield_now().await;
        }
        // Its event and its end meet in one look.
        hand.fire(seen.take()[0]);
        drop(place.take());
        look(&hand).await;
        assert_eq!(hand.log().cancelled.len(), 1);
    });
    assert!(logs.iter().all(|log| log.cancelled.len() == 1), "{logs:?}");
}

// ---- R34: points given up

/// How a registered point comes to be dropped.
#[derive(Clone, Copy, Debug)]
enum GivenUp {
    Cancelled,
    LostARace,
    TaskFailed,
    TaskPanicked,
    Elapsed,
}

#[test]
fn r34_a_registered_point_that_is_dropped_is_told_to_its_source_exactly_once() {
    for (at, place) in sites() {
        for how in [GivenUp::Cancelled, GivenUp::LostARace, GivenUp::TaskFailed, GivenUp::TaskPanicked, GivenUp::Elapsed] {
            let platform = Threads::new(2);
            let hands = [0, 1, 2].map(|domain| platform.hand(domain));
            let (ids, told) = (Trace::new(), Trace::new());
            let (noted, telling) = (ids.clone(), told.clone());
            attempt(&platform, Config::new().domains(2).quanta(1), at, move || async move {
                let settled = Flag::new();
                let child = {
                    let settled = settled.clone();
                    place.start(move || async move {
                        let point = Point::new().unwrap();
                        let on = domain::current().unwrap().index();
                        noted.note((on, point.id()));
                        let suspend = async {
                            let register = |_| {
                                settled.raise();
                                Ok::<_, ()>(())
                            };
                            point.suspend(register).await.unwrap();
                        };
                        match how {
                            GivenUp::Cancelled => suspend.await,
                            GivenUp::LostARace => assert!(race(suspend, yield_now()).await.is_err()),
                            GivenUp::Elapsed => assert!(timeout(Duration::ZERO, suspend).await.is_err()),
                            GivenUp::TaskFailed => {
                                race(suspend, yield_now()).await.map_err(|()| "it failed")?;
                            }
                            GivenUp::TaskPanicked => {
                                let mut suspend = Box::pin(suspend);
                                assert!(poll_once(&mut suspend).await.is_pending());
                                panic!("it panicked");
                            }
                        }
                        Ok::<_, &str>(())
                    })
                };
                settled.raised().await;
                match how {
                    GivenUp::Cancelled => child.cancel().await,
                    GivenUp::LostARace | GivenUp::Elapsed => child.await.unwrap(),
                    GivenUp::TaskFailed => assert!(matches!(child.await, Err(Exit::Failed("it failed")))),
                    GivenUp::TaskPanicked => assert!(matches!(child.await, Err(Exit::Panicked(_)))),
                }
                // Long after, it was told once, where it belongs and nowhere else.
                let (on, _) = ids.take()[0];
                hands[on].wait_until(|log| !log.cancelled.is_empty() || on == at);
                for _ in 0..5 {
                    sleep(Duration::from_micros(50)).await;
                }
                telling.note(on);
            })
            .unwrap();
            let on = told.take()[0];
            let logs = [0, 1, 2].map(|domain| platform.hand(domain).log().cancelled.len());
            let mut expected = [0; 3];
            expected[on] = 1;
            assert_eq!(logs, expected, "{at} {place:?} {how:?}");
        }
    }
}

#[test]
fn r34_many_points_given_up_at_once_are_told_once_each_in_order() {
    // More than are told at a time.
    let ids = Trace::new();
    for count in [1, 31, 32, 33, 64, 65, 200] {
        let inner = ids.clone();
        let logs = on_each_domain(64, move |hand| {
            let ids = inner.clone();
            async move {
                let mut open = Vec::new();
                for _ in 0..count {
                    open.push(registered().await);
                }
                ids.take();
                open.iter().for_each(|(id, _)| ids.note(*id));
                drop(open);
                while hand.log().cancelled.len() < count {
                    sleep(Duration::from_micros(10)).await;
                }
                sleep(Duration::from_micros(10)).await;
            }
        });
        let given_up = ids.take();
        assert_eq!(given_up.len(), count);
        for log in logs {
            assert_eq!(log.cancelled, given_up);
        }
    }
}

#[test]
fn r34_a_full_buffer_of_points_given_up_is_told_before_the_next_poll() {
    const FULL: usize = 32;
    for count in [1, 11, 31, 32, 33, 100] {
        // Long before a look falls due.
        on_each_domain(1000, move |hand| async move {
            let before = hand.log().looks;
            let (mut looks, mut told, mut untold) = (0, 0, 0);
            for _ in 0..5 {
                let mut open = Vec::new();
                for _ in 0..count {
                    open.push(registered().await);
                }
                drop(open);
                untold += count;
                if untold >= FULL {
                    // So many at a time.
                    (looks, told, untold) = (looks + untold.div_ceil(FULL), told + untold, 0);
                }
                yield_now().await;
                let log = hand.log();
                assert_eq!((log.looks - before, log.cancelled.len()), (looks, told), "{count} at a time");
            }
        });
    }
}

#[test]
fn r34_they_are_told_before_the_domain_sleeps() {
    for at in [0, 1] {
        let platform = Threads::new(1);
        let hand = platform.hand(at);
        let going = Flag::new();
        std::thread::scope(|scope| {
            let (seen, go) = (platform.hand(at), going.clone());
            scope.spawn(move || {
                // Nothing wakes the domain but this, and this waits until it was told.
                seen.wait_until(|log| log.cancelled.len() == 50);
                go.raise();
            });
            attempt(&platform, Config::new().domains(1), at, move || async move {
                let mut open = Vec::new();
                for _ in 0..50 {
                    open.push(registered().await);
                }
                drop(open);
                going.raised().await;
                assert_eq!(hand.log().cancelled.len(), 50);
            })
            .unwrap();
        });
    }
}

#[test]
fn r34_they_are_told_while_the_domain_is_busy() {
    let logs = on_each_domain(8, |hand| async move {
        let (_, suspended) = registered().await;
        drop(suspended);
        // A poll and an effect each: told by the first look.
        for _ in 0..4 {
            yield_now().await;
        }
        assert_eq!(hand.log().cancelled.len(), 1);
    });
    assert!(logs.iter().all(|log| log.looks == 1), "{logs:?}");
}

#[test]
fn r34_a_point_that_waits_for_nothing_is_not_told() {
    let logs = on_each_domain(1, |hand| async move {
        // Never suspended; suspended and never polled; resumed and awaited; resumed and dropped before it was polled again.
        drop(Point::new().unwrap());
        drop(suspended(&Trace::new()));
        let (id, awaited) = registered().await;
        hand.fire(id);
        awaited.await.unwrap();
        let (id, resumed) = registered().await;
        hand.fire(id);
        look(&hand).await;
        drop(resumed);
        // Resumed before it was registered.
        let (id, early) = suspended(&Trace::new());
        hand.fire(id);
        look(&hand).await;
        drop(early);
        let (id, last) = registered().await;
        look(&hand).await;
        hand.fire(id);
        last.await.unwrap();
    });
    assert!(logs.iter().all(|log| log.cancelled.is_empty()), "{logs:?}");
}

#[test]
fn r34_a_point_given_up_is_never_resumed_and_stale_ids_are_ignored() {
    let logs = on_each_domain(1, |hand| async move {
        let wakes = Counter::new();
        let mut stale = vec![PointId::from_bits(u64::MAX), PointId::from_bits(1 << 40), PointId::from_bits(12_345)];
        for round in 0..20 {
            let (id, mut suspended) = suspended(&Trace::new());
            assert!(!stale.contains(&id));
            assert!(suspended.as_mut().poll(&mut Context::from_waker(&counting_waker(&wakes))).is_pending());
            // Its event and its end meet in one look, or the event comes later.
            if round % 2 == 0 {
                hand.fire(id);
            }
            drop(suspended);
            look(&hand).await;
            stale.push(id);
            let next = name_nobody(&hand, &stale).await;
            stale.push(next);
        }
        assert_eq!(wakes.get(), 0);
    });
    assert!(logs.iter().all(|log| log.cancelled.len() == 20), "{logs:?}");
}

#[test]
fn r34_the_source_may_end_first() {
    for at in [0, 1] {
        for waits in [false, true] {
            let platform = Threads::new(1);
            let ended = attempt(&platform, Config::new().domains(1), at, move || async move {
                let open = registered().await;
                if waits {
                    // A task that is cancelled with its parent's end.
                    drop(spawn(async move { open.1.await.unwrap() }).cancel());
                }
            });
            ended.unwrap();
            assert!(platform.hand(at).log().cancelled.len() <= 1);
        }
    }
}

// ---- R37: a platform without events

#[test]
fn r37_suspending_without_events_is_an_error_that_says_so() {
    let ended = run(&Bare, Config::new(), async {
        assert_eq!(Point::new().map(drop), Err(PointError::NoEvents));
        let child = spawn(async { Point::new().map(drop) });
        assert!(matches!(child.await, Err(Exit::Failed(PointError::NoEvents))));
        let text = PointError::NoEvents.to_string();
        assert!(text.contains("no events"), "{text}");
        assert_eq!(io::Error::from(PointError::NoEvents).to_string(), text);
        7
    });
    assert_eq!(ended.unwrap(), 7);
    assert_eq!(Point::new().map(drop), Err(PointError::NoDomain));
}

#[test]
fn r37_waiting_without_events_ends_the_run_and_does_not_hang() {
    type Waits = fn() -> Pin<Box<dyn Future<Output = ()>>>;
    let waits: [(&str, Waits); 4] = [
        ("nothing", || Box::pin(pending())),
        ("a time", || Box::pin(sleep(Duration::from_secs(3600)))),
        ("the end of time", || Box::pin(sleep(Duration::MAX))),
        ("a child", || Box::pin(async { spawn(pending::<()>()).await.unwrap() })),
    ];
    for (what, waits) in waits {
        let census = Census::new();
        let ended = run(&Bare, Config::new(), async {
            let _guard = census.guard_here();
            let _resource = census.resource_here();
            waits().await;
        });
        match ended {
            Err(error @ RunError::Events(DomainId::ZERO, EventsError::Failed(NothingToWaitFor))) => {
                assert!(error.to_string().contains("no events to wait for"), "{error}");
            }
            other => panic!("{what}: {other:?}"),
        }
        census.assert_all_gone(2);
        assert_eq!(census.finalised(), 1);
    }
}

#[test]
fn r37_without_events_tasks_yield_and_await_each_other() {
    let ended = run(&Bare, Config::new().quanta(1), async {
        let flag = Flag::new();
        let raises = flag.clone();
        let other = spawn(async move {
            for _ in 0..100 {
                yield_now().await;
            }
            raises.raise();
        });
        flag.raised().await;
        other.await.unwrap();
        let endless = spawn(pending::<()>());
        endless.cancel().await;
    });
    ended.unwrap();
}

// ---- R38: interrupts

/// Where a wake comes from.
#[derive(Clone, Copy, Debug)]
enum Woken {
    ByAThread,
    ByAnotherDomain,
}

#[test]
fn r38_an_interrupt_from_any_thread_ends_a_sleep() {
    for at in [0, 1] {
        for woken in [Woken::ByAThread, Woken::ByAnotherDomain] {
            let platform = Watched::new(2);
            let go = Flag::new();
            std::thread::scope(|scope| {
                if let Woken::ByAThread = woken {
                    scope.spawn(|| {
                        platform.wait_asleep(at);
                        go.raise();
                    });
                }
                let (waits, begun) = (go.clone(), Flag::new());
                let main = run(&Borrowed(&platform), Config::new().domains(2), async {
                    let begins = begun.clone();
                    let sleeper = move || async move {
                        begins.raise();
                        waits.raised().await;
                    };
                    let child = match at {
                        0 => spawn(sleeper()),
                        at => Task::new().pin(DomainId::new(at)).call(sleeper).unwrap(),
                    };
                    begun.raised().await;
                    if let Woken::ByAnotherDomain = woken {
                        let raising = go.clone();
                        Task::new().pin(DomainId::new(2)).call(move || async move { raising.raise() }).unwrap().await.unwrap();
                    }
                    child.await.unwrap();
                });
                main.unwrap();
            });
        }
    }
}

#[test]
fn r38_many_interrupts_cost_one_wake_up() {
    for at in [0, 1] {
        let mut platform = Watched::new(1);
        platform.held = Some(at);
        let flags: Vec<_> = (0..100).map(|_| Flag::new()).collect();
        let (waits, settles) = (flags.clone(), platform.holds.clone());
        let seen = std::thread::scope(|scope| {
            let waker = scope.spawn(|| {
                platform.holds.block();
                platform.wait_asleep(at);
                let hand = platform.threads.hand(at);
                let before = hand.log();
                // All of them while the first one's wake-up is under way.
                flags.iter().for_each(Flag::raise);
                let after = hand.log();
                platform.flag.raise();
                after.interrupts - before.interrupts
            });
            let held = attempt(&Borrowed(&platform), Config::new().domains(1), at, move || async move {
                let waiting: Vec<_> = waits.iter().map(|flag| spawn(flag.raised())).collect();
                yield_now().await;
                settles.raise();
                for task in waiting {
                    task.await.unwrap();
                }
            });
            held.unwrap();
            waker.join().unwrap()
        });
        assert_eq!(seen, 1, "domain {at}");
    }
}

#[test]
fn r38_an_awake_domain_is_not_interrupted() {
    for at in [0, 1] {
        let platform = Watched::new(1);
        let (flags, settled): (Vec<_>, _) = ((0..100).map(|_| Flag::new()).collect(), Flag::new());
        let interrupts = std::thread::scope(|scope| {
            let (begun, done) = (settled.clone(), Flag::new());
            let waker = {
                let (flags, done, hand) = (flags.clone(), done.clone(), platform.threads.hand(at));
                scope.spawn(move || {
                    begun.block();
                    let before = hand.log().interrupts;
                    flags.iter().for_each(Flag::raise);
                    let after = hand.log().interrupts;
                    done.raise();
                    after - before
                })
            };
            attempt(&Borrowed(&platform), Config::new().domains(1), at, move || async move {
                let waiting: Vec<_> = flags.iter().map(|flag| spawn(flag.raised())).collect();
                yield_now().await;
                // In this poll the domain is awake.
                settled.raise();
                done.block();
                for task in waiting {
                    task.await.unwrap();
                }
            })
            .unwrap();
            waker.join().unwrap()
        });
        assert_eq!(interrupts, 0, "domain {at}");
    }
}

/// Passes a turn to and fro: the task gives it away and waits, the other side gives it back at once.
#[derive(Default)]
struct Turns {
    state: std::sync::Mutex<(u32, Option<Waker>)>,
}

impl Turns {
    /// The task's side.
    async fn pass(&self) {
        let mut given = false;
        poll_fn(|cx| {
            let mut state = self.state.lock().unwrap();
            if given && state.1.is_none() {
                return Poll::Ready(());
            }
            given = true;
            state.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The other side. `false` if it has not the turn.
    fn give_back(&self) -> bool {
        let waker = {
            let mut state = self.state.lock().unwrap();
            let waker = state.1.take();
            state.0 += u32::from(waker.is_some());
            waker
        };
        waker.map(Waker::wake).is_some()
    }
}

#[test]
fn r38_no_interrupt_is_lost() {
    const ROUNDS: u32 = 2000;
    for at in [0, 1] {
        let turns = Arc::new(Turns::default());
        std::thread::scope(|scope| {
            let other = turns.clone();
            scope.spawn(move || {
                let mut rounds = 0;
                while rounds < ROUNDS {
                    // As near as can be to the moment at which the domain falls asleep, on one side and the other.
                    for _ in 0..(rounds % 64) * 4 {
                        std::hint::spin_loop();
                    }
                    if other.give_back() {
                        rounds += 1;
                    } else {
                        std::thread::yield_now();
                    }
                }
            });
            let platform = Threads::new(1);
            let inner = turns.clone();
            attempt(&platform, Config::new().domains(1), at, move || async move {
                for round in 0..ROUNDS {
                    let passed = timeout(Duration::from_secs(120), inner.pass()).await;
                    assert!(passed.is_ok(), "the wake of round {round} was lost");
                }
            })
            .unwrap();
        });
        assert_eq!(turns.state.lock().unwrap().0, ROUNDS);
    }
}

#[test]
fn r38_no_interrupt_between_domains_is_lost() {
    let platform = Threads::new(2);
    let ended = run(&platform, Config::new().domains(2), async {
        let turns: [Arc<Turns>; 2] = Default::default();
        let players = [1, 2].map(|worker| {
            let turns = turns.clone();
            let play = move || async move {
                for round in 0..500 {
                    if worker == 1 {
                        let passed = timeout(Duration::from_secs(20), turns[0].pass()).await;
                        assert!(passed.is_ok(), "the wake of round {round} was lost");
                    } else {
                        while !turns[0].give_back() {
                            yield_now().await;
                        }
                    }
                }
            };
            Task::new().pin(DomainId::new(worker)).call(play).unwrap()
        });
        for player in players {
            player.await.unwrap();
        }
    });
    ended.unwrap();
}

#[test]
fn r38_an_interrupt_without_a_cause_is_harmless() {
    for at in [0, 1] {
        let platform = Watched::new(1);
        let over = Flag::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..200 {
                    ring(&platform.threads, at);
                    std::thread::yield_now();
                }
                over.raise();
            });
            let (inner, polls) = (over.clone(), Counter::new());
            let counting = polls.clone();
            attempt(&Borrowed(&platform), Config::new().domains(1), at, move || counted(&counting, async move { inner.raised().await }))
                .unwrap();
            // It wakes nobody.
            assert!(polls.get() <= 2, "{} polls", polls.get());
        });
    }
}

// ---- R38: sources that fail

/// Runs tasks that own something on every domain, and ends by the fault.
fn run_with_faults(
    platform: &Watched,
    seed: u64,
    census: &Census,
    flagged: &[usize],
) -> Result<(), RunError<std::convert::Infallible, &'static str>> {
    let ended = run(&Borrowed(platform), Config::new().domains(3).seed(seed).quanta(4), async {
        let settled = Counter::new();
        let live = |busy: bool| {
            let (census, settled) = (census.clone(), settled.clone());
            move || async move {
                let _guard = census.guard_here();
                let _resource = census.resource_here();
                let _child = spawn({
                    let census = census.clone();
                    async move {
                        let _guard = census.guard_here();
                        let _resource = census.resource_here();
                        let register = |_| {
                            settled.add();
                            Ok::<_, ()>(())
                        };
                        Point::new().unwrap().suspend(register).await.unwrap();
                    }
                });
                if busy {
                    loop {
                        yield_now().await;
                    }
                }
                pending::<()>().await;
            }
        };
        let mut children: Vec<Promise<()>> = vec![spawn(live(false)())];
        for worker in 1..=3 {
            // One domain is busy, and looks without waiting.
            children.push(Task::new().pin(DomainId::new(worker)).call(live(worker == 3)).unwrap());
        }
        if !flagged.is_empty() {
            while settled.get() < 4 {
                yield_now().await;
            }
            platform.flag.raise();
            flagged.iter().for_each(|&domain| ring(&platform.threads, domain));
        }
        pending::<()>().await;
    });
    platform.assert_joined(3);
    assert_eq!(census.made(), census.gone());
    assert_eq!(2 * census.finalised(), census.made(), "each task has a guard and a resource");
    census.assert_all_gone(census.made());
    ended
}

#[test]
fn r38_an_error_or_panic_of_select_on_any_domain_ends_the_run_in_order() {
    for at in 0..=3 {
        for from in [0, 1, 2, 5] {
            for panics in [false, true] {
                // A domain that sleeps may be asked once only; the busy one is asked again and again.
                if from > 0 && at != 3 {
                    continue;
                }
                let fault = if panics { Fault::SelectPanics(from) } else { Fault::SelectFails(from) };
                let census = Census::new();
                let platform = Watched::new(3).fault(at, fault);
                match run_with_faults(&platform, 0, &census, &[]) {
                    Err(RunError::Events(on, error)) => {
                        assert_eq!(on.index(), at);
                        match error {
                            EventsError::Failed(error) => assert!(!panics && error == "select failed"),
                            EventsError::Panicked(panic) => assert!(panics && panic.message() == "select panicked"),
                        }
                    }
                    other => panic!("{at} {fault:?}: {other:?}"),
                }
                // It is not asked again.
                assert_eq!(platform.selects(at), from + 1, "{at} {fault:?}");
            }
        }
    }
}

#[test]
fn r38_a_source_that_fails_while_everything_runs_ends_the_run_in_order() {
    for at in 0..=2 {
        for panics in [false, true] {
            for seed in 0..3 {
                let census = Census::new();
                let fault = if panics { Fault::PanicsWhenFlagged } else { Fault::FailsWhenFlagged };
                let platform = Watched::new(3).fault(at, fault);
                match run_with_faults(&platform, seed, &census, &[at]) {
                    Err(error @ RunError::Events(on, _)) => {
                        assert_eq!(on.index(), at);
                        let what = if panics { "it panicked: select panicked" } else { "select failed" };
                        assert_eq!(error.to_string(), format!("the event source of domain {at} failed: {what}"));
                    }
                    other => panic!("{at} {fault:?}: {other:?}"),
                }
                // All eight tasks were there.
                census.assert_all_gone(16);
            }
        }
    }
}

#[test]
fn r38_of_several_sources_that_fail_one_is_told() {
    for seed in 0..10 {
        let census = Census::new();
        let platform =
            Watched::new(3).fault(1, Fault::FailsWhenFlagged).fault(2, Fault::PanicsWhenFlagged).fault(0, Fault::FailsWhenFlagged);
        match run_with_faults(&platform, seed, &census, &[0, 1, 2]) {
            Err(RunError::Events(on, EventsError::Failed("select failed"))) => assert!([0, 1].contains(&on.index())),
            Err(RunError::Events(on, EventsError::Panicked(_))) => assert_eq!(on.index(), 2),
            other => panic!("{other:?}"),
        }
        census.assert_all_gone(16);
    }
}

#[test]
fn r38_a_source_that_cannot_be_made_ends_the_run_before_the_main_task_begins() {
    for at in 0..=3 {
        for fault in [Fault::MakeFails, Fault::MakePanics, Fault::InterrupterPanics] {
            for slow in [None, Some(1), Some(2)] {
                let mut platform = Watched::new(3).fault(at, fault);
                platform.slow = slow;
                platform.flag.raise();
                let (census, polls) = (Census::new(), Counter::new());
                let guard = census.guard();
                let main = counted(&polls, async move {
                    let _guard = guard;
                    Ok::<_, &str>(())
                });
                match run(&Borrowed(&platform), Config::new().domains(3), main) {
                    Err(RunError::Events(on, error)) => {
                        assert_eq!(on.index(), at);
                        match (fault, error) {
                            (Fault::MakeFails, EventsError::Failed("no source")) => {}
                            (Fault::MakePanics, EventsError::Panicked(panic)) => assert_eq!(panic.message(), "no source"),
                            (Fault::InterrupterPanics, EventsError::Panicked(panic)) => assert_eq!(panic.message(), "no interrupter"),
                            (fault, error) => panic!("{fault:?}: {error:?}"),
                        }
                    }
                    other => panic!("{at} {fault:?}: {other:?}"),
                }
                platform.assert_joined(3);
                assert_eq!(polls.get(), 0);
                census.assert_all_gone(1);
                if at == 0 || fault != Fault::InterrupterPanics {
                    assert_eq!(platform.selects(at), 0);
                }
            }
        }
    }
}

#[test]
fn r38_sources_that_cannot_be_made_on_every_domain() {
    for workers in 0..=4 {
        let platform = (0..=workers).fold(Watched::new(workers), |platform, domain| platform.fault(domain, Fault::MakeFails));
        let polls = Counter::new();
        let ended = run(&Borrowed(&platform), Config::new().domains(workers), counted(&polls, async {}));
        assert!(matches!(ended, Err(RunError::Events(_, EventsError::Failed("no source")))));
        assert_eq!(polls.get(), 0);
        platform.assert_joined(workers);
    }
}

#[test]
fn r38_a_source_whose_destructor_panics_is_told() {
    for at in 0..=2 {
        let platform = Watched::new(2).fault(at, Fault::DropPanics);
        let census = Census::new();
        let ended = run(&Borrowed(&platform), Config::new().domains(2), async {
            let guard = census.guard();
            call(move || async move { drop(guard) }).unwrap().await.unwrap();
        });
        match ended {
            Err(RunError::Events(on, EventsError::Panicked(panic))) => {
                assert_eq!((on.index(), panic.message().as_str()), (at, "the source would not go"));
            }
            other => panic!("{other:?}"),
        }
        platform.assert_joined(2);
        census.assert_all_gone(1);
    }
}

#[test]
fn r38_a_platform_that_cannot_start_runs_nothing() {
    let mut platform = Watched::new(2);
    platform.starts = false;
    let (census, polls) = (Census::new(), Counter::new());
    let guard = census.guard();
    let main = counted(&polls, async move {
        let _guard = guard;
    });
    let ended = run(&Borrowed(&platform), Config::new().domains(2), main);
    assert!(matches!(ended, Err(RunError::Platform("no threads"))));
    assert_eq!(polls.get(), 0);
    census.assert_all_gone(1);
    platform.assert_joined(0);
}

#[test]
fn r38_a_run_whose_source_failed_leaves_nothing_behind_for_the_next() {
    for place in PLACES {
        for at in [0, 1] {
            let faulty = Watched::new(1).fault(at, Fault::FailsWhenFlagged);
            let ended = run(&Borrowed(&faulty), Config::new().domains(1), async {
                let resource = Resource::new((), |()| ());
                resource.own().unwrap();
                let _child = place.start(pending::<()>);
                let leaving = Flag::new();
                let raises = leaving.clone();
                let _leaving = OnDrop(move || raises.raise());
                faulty.flag.raise();
                ring(&faulty.threads, at);
                leaving.raised().await;
            });
            assert!(matches!(ended, Err(RunError::Events(..))), "{ended:?}");
            faulty.assert_joined(1);
            let platform = Threads::new(1);
            let value = run(&platform, Config::new().domains(1), async { place.start(|| async { 7 }).await });
            assert_eq!(value.unwrap(), 7);
        }
    }
}
