//! Foreign code that calls back: destructors, wakers and finalisers that use the runtime while it is in the middle of something.
//!
//! The runtime runs code that is not its own at many places: where it drops a future, a result, a gift that was refused, what it ends a
//! task with; where it wakes; where it finalises. Each of these may do whatever safe code can, so that the lists must be whole before it
//! runs, and what was read before it must be read again after it. A test here is one such place and the worst that can be done there:
//!
//! | what runs | what it does |
//! | --- | --- |
//! | the finaliser of what a given-up child leaves | drops the promise, or the `Orphans`, of that very child |
//! | the destructor of a gift, when a start is refused | spawns, while the `Orphans` was about to get a child of another type |
//! | the destructor of a scope's future | spawns, in another task, after the scope's own has ended; panics; drops what it collected |
//! | a waker, woken or dropped, that was leaked in `next` | panics, and drops other collectors |
//! | the destructor of a waker, while a domain ends | sets timers and opens points anew |
//! | a waker of a `Computation` | panics, completes it again, goes away with another waiter |
//! | a finaliser | drops the future of an `await_all` |
//! | the waker of a suspension point | drops another point, which the same look has resumed |
//! | a waker, or who is told of a panic, called by a task's own code | asks whose task it is in, and spawns |
//! | the iterator that `parallel` is given | panics after some were started |
//!
//! What was a use of freed memory is seen for sure only by a sanitizer; the tests assert what the rules promise instead: how often things
//! were dropped, the results, the reports, and how the run ended.

#![cfg(feature = "std")]

mod support;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use matou_core::suspension::{Point, PointError};
use matou_core::sync::{Computation, Mutex, Trigger};
use matou_core::time::{Sleep, sleep, timeout};
use matou_core::{
    Config, Exit, LocalResource, Orphans, OwnershipError, Plain, PointId, Promise, ReportPlace, Resource, RunError, SpawnRefusal, Task,
    await_all, await_first, current_task, parallel, run, scope, spawn, yield_now,
};
use support::Threads;
use support::family::*;
use support::leak::leak;
use support::probe::race;
use support::wakers::*;

thread_local! {
    /// Where a test hides from the type system what foreign code, which must be `Send`, drops on domain 0.
    static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

fn keep(what: impl Any) {
    KEPT.with_borrow_mut(|kept| kept.push(Box::new(what)));
}

/// Drops what was kept. How much it was.
fn drop_kept() -> usize {
    KEPT.take().len()
}

/// What the future of a scope is, once nobody says any more.
type Scoped = Pin<Box<dyn Future<Output = ()>>>;

/// Polls it once in this poll of the current task.
async fn begin(future: &mut Scoped) {
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Awaits the future in a scope, and drops that scope when the gate is opened.
async fn cut<F: Future<Output = ()>>(gate: &Gate, future: F) {
    assert!(race(scope(future), gate.passed()).await.is_err(), "the scope was to be cut short");
}

/// A child that owns something it has transferred to its parent already, and that waits for ever. Finalised, it calls the function.
fn leaving<F>(tally: &Tally, ready: &Gate, finaliser: F) -> impl FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send + use<F>
where
    F: FnOnce() + Send + 'static,
{
    let (token, ready) = (tally.token(), ready.clone());
    move || {
        Box::pin(async move {
            let resource = Resource::new(token, move |token| {
                finaliser();
                drop(token);
            });
            resource.own().unwrap();
            resource.transfer().unwrap();
            ready.open();
            parked().await;
        })
    }
}

// ---- Children that are given up

#[test]
fn a_finaliser_drops_the_promise_of_the_very_child_that_is_given_up() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    each(|reach, seed| {
        let tally = Tally::new();
        go(1, seed, async {
            let ready = Gate::new();
            cut(&ready, async {
                let finaliser = || {
                    DROPPED.fetch_add(drop_kept(), Ordering::SeqCst);
                };
                // The promise outlives the scope that cancels its child.
                keep(reach.start(leaving(&tally, &ready, finaliser)));
                parked().await;
            })
            .await;
            until(|| tally.dropped() == 1).await;
        })
        .unwrap();
        assert_eq!(DROPPED.swap(0, Ordering::SeqCst), 1, "it was there to be dropped");
        assert_eq!(tally.all_dropped(), 1);
    });
}

#[test]
fn a_finaliser_drops_the_orphans_whose_children_are_given_up() {
    // Of three children, the first finaliser drops the `Orphans` that all are in; the others find it gone.
    each(|reach, seed| {
        let tally = Tally::new();
        let ended = go(1, seed, async {
            let orphans = Orphans::new();
            for _ in 0..3 {
                let ready = Gate::new();
                reach.start_in(&orphans, leaving(&tally, &ready, || drop(KEPT.take())));
                ready.passed().await;
            }
            keep(orphans);
            Err::<(), _>("given up")
        });
        assert!(matches!(ended, Err(RunError::Failed("given up"))), "{ended:?}");
        assert_eq!(tally.all_dropped(), 3);
        assert_eq!(drop_kept(), 0);
    });
}

// ---- Starts that are refused

/// Spawns when it is dropped, a child of its own type; its promise is kept.
struct Spawns;

type Made = (usize, usize, usize, usize);

impl Drop for Spawns {
    fn drop(&mut self) {
        keep(spawn(async { Plain((1usize, 2usize, 3usize, 4usize)) }));
    }
}

#[test]
fn a_refused_gift_that_spawns_leaves_its_child_to_the_task_and_not_to_the_orphans() {
    each(|reach, seed| {
        go(1, seed, async {
            let orphans: Orphans<Vec<String>> = Orphans::new();
            let unowned = Resource::new(Spawns, drop);
            let task = Task::new().give(&unowned);
            // The gift's last handle: its value is dropped with the refused task.
            drop(unowned);
            let reason = match reach {
                Reach::Same => task.spawn_in(&orphans, async { Plain(Vec::new()) }).unwrap_err().reason,
                Reach::Across => task.call_in(&orphans, || async { Plain(Vec::new()) }).unwrap_err().reason,
            };
            assert!(matches!(reason, SpawnRefusal::Ownership(OwnershipError::NotOwned)), "{reason:?}");
            assert_eq!(orphans.len(), 0);
            assert!(orphans.next().await.is_none());
            let made = KEPT.take().pop().unwrap().downcast::<Promise<Made>>().unwrap();
            assert_eq!(made.await.unwrap(), (1, 2, 3, 4));
        })
        .unwrap();
    });
}

// ---- Scopes dropped by another task

/// A scope, begun in a task that then ends with `Err` or goes on until the gate opens. It holds a child, and its future's destructor spawns.
async fn begun_elsewhere(tally: &Tally, owner_ends: bool, gate: &Gate) -> (Scoped, Promise<(), ()>) {
    let slot = Rc::new(RefCell::new(None));
    let owner = spawn({
        let (slot, gate, future, child) = (slot.clone(), gate.clone(), tally.token(), tally.token());
        async move {
            let mut scoped: Scoped = Box::pin(scope(async move {
                let _future = future;
                let _spawns = Spawns;
                let _child = spawn(async move {
                    let _child = child;
                    parked().await;
                });
                parked().await;
            }));
            begin(&mut scoped).await;
            *slot.borrow_mut() = Some(scoped);
            if !owner_ends {
                gate.passed().await;
            }
            Err(())
        }
    });
    until(|| slot.borrow().is_some() && (!owner_ends || owner.is_ended())).await;
    let scoped = slot.take().unwrap();
    (scoped, owner)
}

#[test]
fn a_scope_dropped_by_another_task_has_the_children_of_its_destructor_belong_to_that_task() {
    for owner_ends in [false, true] {
        for seed in SEEDS {
            let tally = Tally::new();
            go(0, seed, async {
                let gate = Gate::new();
                let (scoped, owner) = begun_elsewhere(&tally, owner_ends, &gate).await;
                // The owner has taken its child along, where it has ended.
                assert_eq!(tally.dropped(), usize::from(owner_ends));
                drop(scoped);
                let made = KEPT.take().pop().unwrap().downcast::<Promise<Made>>().unwrap();
                assert_eq!(made.await.unwrap(), (1, 2, 3, 4), "the current task's, and so not cancelled with the scope");
                gate.open();
                assert!(matches!(owner.await, Err(Exit::Failed(()))));
                assert_eq!(tally.dropped(), 2);
            })
            .unwrap();
            assert_eq!(tally.all_dropped(), 2);
        }
    }
}

#[test]
fn a_scope_whose_future_panics_in_its_destructor_cancels_its_children_though_the_task_goes_on() {
    for seed in SEEDS {
        let tally = Tally::new();
        go(0, seed, async {
            let token = tally.token();
            let mut scoped: Scoped = Box::pin(scope(async move {
                let _panics = at_drop(|| panic!("in a destructor"));
                let _child = spawn(async move {
                    let _token = token;
                    parked().await;
                });
                parked().await;
            }));
            begin(&mut scoped).await;
            assert_eq!(panic_of(|| drop(scoped)), "in a destructor");
            until(|| tally.dropped() == 1).await;
            // What is made now is the task's again, not that scope's.
            assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), 1);
    }
}

// ---- Wakers that were leaked

/// Counts its drops, each of which panics, and drops all that is kept.
struct PanicsWhenDropped(Arc<AtomicUsize>);

impl Wake for PanicsWhenDropped {
    fn wake(self: Arc<Self>) {}
}

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        drop(KEPT.take());
        panic!("a leaked waker is dropped");
    }
}

#[test]
fn a_leaked_waker_whose_destructor_panics_and_drops_other_collectors_as_its_task_ends() {
    static REPORTS: Reports = Reports::new();
    each(|reach, seed| {
        let (tally, drops) = (Tally::new(), Arc::new(AtomicUsize::new(0)));
        let ended = go_reporting(1, seed, |report| REPORTS.keep(report), async {
            // The groups of both are neighbours among what the task has.
            let [first, other] = [Orphans::new(), Orphans::new()];
            for orphans in [&first, &other] {
                let token = tally.token();
                reach.start_in(orphans, move || async move {
                    let _token = token;
                    parked().await;
                });
            }
            let waker = Waker::from(Arc::new(PanicsWhenDropped(drops.clone())));
            let mut next = Box::pin(first.next());
            assert!(poll_under(&mut next, &waker).is_pending());
            // It never takes its waker back.
            leak(next);
            drop(waker);
            keep(other);
            keep(first);
            Err::<(), _>(())
        });
        assert!(matches!(ended, Err(RunError::Failed(()))));
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        assert_eq!(REPORTS.take(), [(ReportPlace::Waker, 0, "a leaked waker is dropped".to_owned())]);
        assert_eq!(tally.all_dropped(), 2);
        assert_eq!(drop_kept(), 0);
    });
}

// ---- A domain that ends

thread_local! {
    static SLEEPS: RefCell<Vec<Pin<Box<Sleep>>>> = const { RefCell::new(Vec::new()) };
}

/// Dropped, it sets three timers, and suspends in another point with a waker that does the same, so many times.
struct Renews {
    left: usize,
    drops: Arc<AtomicUsize>,
}

impl Wake for Renews {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Renews {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
        for _ in 0..3 {
            let mut sleep = Box::pin(sleep(Duration::from_secs(1000)));
            assert!(poll_under(&mut sleep, Waker::noop()).is_pending());
            SLEEPS.with_borrow_mut(|sleeps| sleeps.push(sleep));
        }
        if self.left > 0 {
            leak_a_point(Renews { left: self.left - 1, drops: self.drops.clone() });
        }
    }
}

/// Suspends in a point, with this waker, for ever.
fn leak_a_point(waker: Renews) {
    let mut suspended = Box::pin(Point::new().unwrap().suspend(|_| Ok::<(), ()>(())));
    assert!(poll_under(&mut suspended, &Arc::new(waker).into()).is_pending());
    leak(suspended);
}

#[test]
fn a_waker_dropped_as_its_domain_ends_sets_timers_and_opens_points_anew() {
    let drops = Arc::new(AtomicUsize::new(0));
    let platform = Threads::new(0);
    run(&platform, Config::new(), async { leak_a_point(Renews { left: 3, drops: drops.clone() }) }).unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 4, "each was dropped with the domain");
    assert_eq!(SLEEPS.with_borrow(Vec::len), 12);
    // The timers are in no queue: they go one by one, outside a run and in another one, whose own timers they are no neighbours of.
    drop(SLEEPS.with_borrow_mut(|sleeps| sleeps.remove(5)));
    run(&platform, Config::new(), async {
        let woken = spawn(sleep(Duration::from_micros(1)));
        let cut_short = timeout(Duration::from_micros(2), parked());
        drop(SLEEPS.with_borrow_mut(|sleeps| sleeps.split_off(6)));
        yield_now().await;
        drop(SLEEPS.take());
        woken.await.unwrap();
        assert!(cut_short.await.is_err());
    })
    .unwrap();
}

// ---- Scopes that are cut short, and what escapes from them

/// How a scope ends without its children's results.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaves {
    WithErr,
    Cut,
}

/// Awaits what makes children in a scope, then leaves that.
async fn leave<F: Future<Output = ()>>(how: Leaves, make: F) {
    let done = Gate::new();
    let body = async {
        make.await;
        if how == Leaves::Cut {
            done.open();
            parked().await;
        }
        Err::<(), _>("left")
    };
    let left = race(scope(body), done.passed()).await;
    match how {
        Leaves::WithErr => assert_eq!(left, Ok(Err("left"))),
        Leaves::Cut => assert_eq!(left, Err(())),
    }
}

fn each_leave(test: impl Fn(Leaves, Reach, u64)) {
    for how in [Leaves::WithErr, Leaves::Cut] {
        each(|reach, seed| {
            let _told = Told(format!("{how:?}"));
            test(how, reach, seed);
        });
    }
}

#[test]
fn a_left_scope_drops_a_promise_whose_child_has_ended_and_the_task_ends_well() {
    each_leave(|how, reach, seed| {
        let tally = Tally::new();
        go(1, seed, async {
            // Dropped with the scope's future: by a destructor.
            let kept = RefCell::new(None);
            leave(how, async {
                let token = tally.token();
                let promise = reach.start(move || async move { Plain(token) });
                until(|| promise.is_ended()).await;
                let _forgets = at_drop(|| drop(kept.take()));
                *kept.borrow_mut() = Some(promise);
            })
            .await;
            assert_eq!(tally.dropped(), 1, "its result went with the promise");
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), 1);
    });
}

#[test]
fn a_left_scope_forgets_the_children_that_ended_before_and_cancels_those_in_an_orphans() {
    each_leave(|how, reach, seed| {
        let (results, futures) = (Tally::new(), Tally::new());
        go(1, seed, async {
            let orphans_dropped = Cell::new(false);
            leave(how, async {
                let orphans = Orphans::new();
                let (token, gate) = (results.token(), Gate::new());
                reach.start_in(&orphans, {
                    let gate = gate.clone();
                    move || async move {
                        gate.open();
                        Plain(token)
                    }
                });
                gate.passed().await;
                let (token, result) = (futures.token(), results.clone());
                reach.start_in(&orphans, move || async move {
                    let _token = token;
                    parked().await;
                    Plain(result.token())
                });
                // A destructor among those of the scope's future.
                keep(orphans);
                let _drops = at_drop(|| orphans_dropped.set(drop_kept() == 1));
            })
            .await;
            assert!(orphans_dropped.get());
            until(|| futures.dropped() == 1).await;
            until(|| results.dropped() == 1).await;
        })
        .unwrap();
        assert_eq!(results.all_dropped(), 1);
        assert_eq!(futures.all_dropped(), 1);
    });
}

#[test]
fn a_promise_that_escaped_from_a_left_scope_says_cancelled_once() {
    each_leave(|how, reach, seed| {
        let tally = Tally::new();
        go(1, seed, async {
            let [running, ended] = [RefCell::new(None), RefCell::new(None)];
            leave(how, async {
                let (token, quick) = (tally.token(), reach.start(|| async {}));
                *running.borrow_mut() = Some(reach.start(move || async move {
                    let _token = token;
                    parked().await;
                }));
                until(|| quick.is_ended()).await;
                *ended.borrow_mut() = Some(quick);
            })
            .await;
            let mut promise = running.take().unwrap();
            assert!(matches!((&mut promise).await, Err(Exit::Cancelled)));
            until(|| tally.dropped() == 1).await;
            assert!(matches!(ended.take().unwrap().await, Err(Exit::Cancelled)));
            // It is a result as any other: it is given once.
            let message = panic_of(|| poll_under(&mut promise, Waker::noop()));
            assert!(message.contains("a promise was polled after its result"), "{message}");
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), 1);
    });
}

// ---- Waiting in `next`

#[test]
fn a_combinator_that_polls_only_what_was_woken_learns_that_the_last_child_was_taken() {
    each(|reach, seed| {
        go(1, seed, async {
            let orphans = Orphans::new();
            reach.start_in(&orphans, parked);
            let mut waiting: FuturesUnordered<_> = [orphans.next(), orphans.next()].into_iter().collect();
            assert!(poll_fn(|cx| Poll::Ready(waiting.poll_next_unpin(cx))).await.is_pending());
            let last = orphans.take().unwrap();
            assert!(matches!(waiting.next().await, Some(None)));
            assert!(matches!(waiting.next().await, Some(None)));
            assert!(waiting.next().await.is_none());
            last.cancel().await;
        })
        .unwrap();
    });
}

// ---- Computations

fn wait_under<'a>(computation: &'a Computation<u32>, waker: &Waker) -> Pin<Box<dyn Future<Output = &'a u32> + Send + 'a>> {
    let mut wait = Box::pin(computation.wait());
    assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    wait
}

/// Completes a computation with two waiters whose wakers panic, one before a third and one after it.
fn complete_with_bombs() {
    let computation = Computation::new();
    let bomb = bomb(Fault::Wake);
    let (ring, waker) = Ring::new();
    let waits = [wait_under(&computation, &bomb), wait_under(&computation, &waker), wait_under(&computation, &bomb)];
    assert_eq!(computation.try_complete(7), Ok(()));
    assert_eq!(ring.wakes(), 1);
    for mut wait in waits {
        assert_eq!(poll_under(&mut wait, Waker::noop()), Poll::Ready(&7));
    }
}

#[test]
fn a_computation_wakes_all_though_some_wakers_panic() {
    static REPORTS: Reports = Reports::new();
    // Outside a run there is nobody to report to; nor does the panic reach who completes it.
    complete_with_bombs();
    for seed in SEEDS {
        go_reporting(0, seed, |report| REPORTS.keep(report), async { complete_with_bombs() }).unwrap();
        let reports = REPORTS.take();
        assert_eq!(reports.len(), 2, "{reports:?}");
        for (place, domain, message) in reports {
            assert_eq!((place, domain), (ReportPlace::Waker, 0));
            assert!(message.contains("a wake that panics"), "{message}");
        }
    }
}

#[test]
fn a_computation_whose_waker_completes_it_again_and_drops_another_waiter() {
    static ANSWER: Computation<u32> = Computation::new();
    static AGAIN: AtomicUsize = AtomicUsize::new(0);
    let waker = on_wake(|| {
        assert_eq!(ANSWER.try_complete(8), Err(8));
        assert_eq!(ANSWER.peek(), Some(&7));
        AGAIN.fetch_add(drop_kept(), Ordering::SeqCst);
    });
    let mut first = wait_under(&ANSWER, &waker);
    let (dropped, waker) = Ring::new();
    keep(wait_under(&ANSWER, &waker));
    let (last, waker) = Ring::new();
    let mut third = wait_under(&ANSWER, &waker);
    assert_eq!(ANSWER.try_complete(7), Ok(()));
    assert_eq!(AGAIN.load(Ordering::SeqCst), 1, "the second waiter was there to be dropped");
    assert_eq!((dropped.wakes(), last.wakes()), (0, 1));
    assert_eq!(poll_under(&mut first, Waker::noop()), Poll::Ready(&7));
    assert_eq!(poll_under(&mut third, Waker::noop()), Poll::Ready(&7));
}

// ---- Futures over several promises

/// Has a finaliser drop this future, once the current task released the resource that it is the value of.
fn dropped_by_a_finaliser<F: 'static>(future: F) {
    let resource = LocalResource::new(future, drop);
    resource.own().unwrap();
    let released = catch_unwind(AssertUnwindSafe(|| resource.release()));
    assert_eq!(released.unwrap(), Ok(()));
}

#[test]
fn a_finaliser_that_drops_a_future_over_several_promises_cancels_the_children() {
    static REPORTS: Reports = Reports::new();
    each(|reach, seed| {
        let tally = Tally::new();
        go_reporting(1, seed, |report| REPORTS.keep(report), async {
            let child = || {
                let token = tally.token();
                reach.start(move || async move {
                    let _token = token;
                    parked().await;
                })
            };
            dropped_by_a_finaliser(await_all(vec![child(), child()]));
            dropped_by_a_finaliser(await_first(vec![child(), child()]));
            let tokens: Vec<_> = (0..2).map(|_| tally.token()).collect();
            let calls = |token: Token| async move {
                let _token = token;
                parked().await;
            };
            dropped_by_a_finaliser(parallel(calls, tokens));
            until(|| tally.dropped() == 6).await;
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), 6);
        assert_eq!(REPORTS.take(), []);
    });
}

#[test]
fn a_waker_drops_another_point_that_the_same_look_resumed() {
    let platform = Threads::new(0);
    let hand = platform.hand(0);
    let ran = run(&platform, Config::new(), async {
        let open = || {
            let point = Point::new().unwrap();
            (point.id(), Box::pin(point.suspend(|_| Ok::<(), ()>(()))))
        };
        let ((woken, mut waiting), (dropped, mut other)) = (open(), open());
        assert!(poll_under(&mut waiting, &on_wake(|| assert_eq!(drop_kept(), 1))).is_pending());
        assert!(poll_under(&mut other, Waker::noop()).is_pending());
        keep(other);
        [woken, dropped].iter().for_each(|&point| hand.fire(point));
        until(|| KEPT.with_borrow(|kept| kept.is_empty())).await;
        waiting.await.unwrap();
        // Its place is used again, once, by another id: the old one resumes nobody.
        let opened = [open(), open(), open()];
        let place = |id: PointId| id.to_bits() as u32;
        let places: BTreeSet<u32> = opened.iter().map(|(id, _)| place(*id)).collect();
        assert!(places.len() == 3 && places.contains(&place(dropped)), "{places:?}");
        for (id, mut again) in opened {
            assert!(id != dropped && poll_under(&mut again, Waker::noop()).is_pending());
            let looks = hand.log().looks;
            [woken, dropped].iter().for_each(|&point| hand.fire(point));
            until(|| hand.log().looks > looks + 1).await;
            assert!(poll_under(&mut again, Waker::noop()).is_pending());
            hand.fire(id);
            again.await.unwrap();
        }
    });
    assert!(ran.is_ok());
    assert_eq!(hand.log().cancelled, [], "one that was resumed is not told as given up");
}

#[test]
fn a_waker_polls_another_point_that_the_same_look_resumed() {
    thread_local! {
        static PLACE: RefCell<Option<Point>> = const { RefCell::new(None) };
    }
    let poll_other = || {
        let mut cx = Context::from_waker(Waker::noop());
        PLACE.with_borrow_mut(|place| Point::poll_at(place, &mut cx, |_| Ok::<(), PointError>(())))
    };
    let platform = Threads::new(0);
    let hand = platform.hand(0);
    let ran = run(&platform, Config::new(), async {
        let point = Point::new().unwrap();
        let woken = point.id();
        let mut waiting = Box::pin(point.suspend(|_| Ok::<(), ()>(())));
        assert!(poll_under(&mut waiting, &on_wake(move || assert!(poll_other().is_ready()))).is_pending());
        assert!(poll_other().is_pending());
        let polled = PLACE.with_borrow(|place| place.as_ref().map(Point::id)).unwrap();
        [woken, polled].iter().for_each(|&point| hand.fire(point));
        until(|| PLACE.with_borrow(Option::is_none)).await;
        waiting.await.unwrap();
        // Each place is used again once: no two points share one.
        let mut opened = [(); 4].map(|()| Point::new().unwrap());
        let ids: BTreeSet<u64> = opened.iter().map(|point| point.id().to_bits()).collect();
        assert!(ids.len() == 4 && !ids.contains(&polled.to_bits()), "{ids:?}");
        for point in &mut opened {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(point.poll_suspend(&mut cx, |_| Ok::<(), ()>(())).is_pending());
            hand.fire(point.id());
            let looks = hand.log().looks;
            until(|| hand.log().looks > looks + 1).await;
            assert!(point.poll_suspend(&mut cx, |_| Ok::<(), ()>(())).is_ready());
        }
    });
    assert!(ran.is_ok());
    assert_eq!(hand.log().cancelled, []);
}

/// A stranger's waker is called by whoever happens to wake it: a child made there would be that one's, which has never heard of it.
#[test]
fn wakers_and_reports_have_no_current_task() {
    #[derive(Default)]
    struct Asks(std::sync::Mutex<Vec<bool>>);
    impl Asks {
        fn ask(&self) {
            let spawned = catch_unwind(|| drop(spawn(async {}))).is_ok();
            self.0.lock().unwrap().push(current_task().is_some() || spawned);
        }
    }
    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            self.ask();
            panic!("a waker's");
        }
    }
    impl Drop for Asks {
        fn drop(&mut self) {
            self.ask();
            DROPPED.with(|dropped| dropped.borrow_mut().append(self.0.get_mut().unwrap()));
        }
    }
    thread_local! {
        static DROPPED: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
        static TOLD: RefCell<Vec<bool>> = const { RefCell::new(Vec::new()) };
    }
    fn told(_: &matou_core::Report) {
        TOLD.with(|told| told.borrow_mut().push(current_task().is_some()));
    }
    run(&Threads::new(0), Config::new().on_report(told), async {
        let trigger = Trigger::new();
        let mutex = Mutex::new(());
        let held = mutex.lock().await;
        let (mut waits, mut locks) = (Box::pin(trigger.wait()), Box::pin(mutex.lock()));
        let (woken, dropped) = (Arc::new(Asks::default()), Arc::new(Asks::default()));
        assert!(waits.as_mut().poll(&mut Context::from_waker(&Waker::from(woken))).is_pending());
        assert!(locks.as_mut().poll(&mut Context::from_waker(&Waker::from(dropped))).is_pending());
        trigger.signal();
        drop(locks);
        drop(held);
        assert!(current_task().is_some());
    })
    .unwrap();
    assert_eq!(DROPPED.take(), [false; 3]);
    assert_eq!(TOLD.take(), [false]);
}

#[test]
fn a_parallel_whose_items_panic_cancels_what_it_has_started() {
    run(&Threads::new(1), Config::new().domains(1), async {
        let items = (0..3).map(|number| if number < 2 { number } else { panic!("an item's") });
        let started = catch_unwind(AssertUnwindSafe(|| parallel(|_| std::future::pending::<()>(), items)));
        assert!(started.is_err());
    })
    .unwrap();
}

/// A finaliser is no task's code, so it may not cancel; the promise is gone all the same, and keeps nothing.
#[test]
fn r06_a_promise_whose_cancellation_panics_is_forgotten() {
    struct Noted(Rc<Cell<bool>>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    let dropped = Rc::new(Cell::new(false));
    let seen = dropped.clone();
    let ended = run(&Threads::new(0), Config::new(), async move {
        let value = Noted(dropped.clone());
        let child = spawn(async move {
            yield_now().await;
            Plain(value)
        });
        let promise = LocalResource::new(child, |promise| drop(promise.cancel()));
        promise.own().unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| promise.release())).is_err());
        for _ in 0..4 {
            yield_now().await;
        }
        assert!(dropped.get(), "what nobody can take any more is dropped");
        Err::<(), _>("so that the child may be forgotten")
    });
    assert!(matches!(ended, Err(RunError::Failed(_))), "{:?}", ended.err());
    assert!(seen.get());
}
