//! Cancellation: rules 9 to 13. It is a mark, then a drop by the child's own domain, then a wait.
//!
//! Where an order across domains is to be seen, the other domain is *occupied* first: it stays in the middle of a poll until the test
//! releases it, so that what was sent to it meanwhile is looked at together.

#![cfg(feature = "std")]

mod support;

use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use matou_core::suspension::Point;
use matou_core::sync::Mutex as Lock;
use matou_core::{
    Config, DomainId, Exit, Orphans, Plain, Promise, ReportPlace, RunError, State, TaskId, TaskPool, call, current_task, domain, run,
    spawn, yield_now,
};
use support::Threads;
use support::family::*;
use support::stacks::SmallStacks;
use support::wakers::*;

// ---- R9

#[test]
fn r09_cancel_marks_and_returns_and_the_future_is_dropped_later() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    each(|reach, seed| {
        let journal = Journal::new();
        go(1, seed, async {
            let ready = Gate::new();
            let child = reach.start({
                let (journal, ready) = (journal.clone(), ready.clone());
                move || async move {
                    let _dropped = journal.at_drop("the future is dropped");
                    ready.open();
                    parked().await;
                }
            });
            ready.passed().await;
            let occupied = if reach == Reach::Across { Some(Occupied::new(1).await) } else { None };
            let cancelling = child.cancel();
            journal.write("the call has returned");
            if let Some(occupied) = occupied {
                // The other domain has not looked yet, however long this one goes on.
                for _ in 0..50 {
                    yield_now().await;
                }
                journal.write("the domain is released");
                occupied.release().await;
            }
            cancelling.await;
            journal.write("it has ended");
        })
        .unwrap();
        match reach {
            Reach::Same => assert_eq!(journal.read(), ["the call has returned", "the future is dropped", "it has ended"]),
            Reach::Across => {
                assert_eq!(journal.read(), ["the call has returned", "the domain is released", "the future is dropped", "it has ended"]);
            }
        }
    });
}

#[test]
fn r09_the_future_is_dropped_before_any_ordinary_task_of_its_domain_runs() {
    each(|reach, seed| {
        let journal = Journal::new();
        go(1, seed, async {
            let ready = Gate::new();
            let make = |name: &'static str, journal: &Journal, ready: &Gate| {
                let (journal, ready) = (journal.clone(), ready.clone());
                move || async move {
                    let _dropped = journal.at_drop(&format!("{name} is dropped"));
                    journal.write(format!("{name} runs"));
                    ready.open();
                    parked().await;
                }
            };
            let parked_one = reach.start(make("the parked one", &journal, &ready));
            ready.passed().await;
            let occupied = if reach == Reach::Across { Some(Occupied::new(1).await) } else { None };
            // All runnable, in front of what is cancelled after them.
            let first = reach.start(make("an ordinary one", &journal, &Gate::new()));
            let fresh = reach.start(make("the fresh one", &journal, &Gate::new()));
            let last = reach.start(make("another", &journal, &Gate::new()));
            let cancelling = (parked_one.cancel(), fresh.cancel());
            if let Some(occupied) = occupied {
                occupied.release().await;
            }
            cancelling.1.await;
            cancelling.0.await;
            until(|| journal.has("another runs")).await;
            first.cancel().await;
            last.cancel().await;
        })
        .unwrap();
        let seen = journal.read();
        assert_eq!(seen[0], "the parked one runs");
        assert_eq!(seen[1], "the parked one is dropped");
        // The fresh one holds nothing yet; it never runs.
        assert_eq!(seen[2..4], ["an ordinary one runs", "another runs"]);
        assert_eq!(seen[4..], ["an ordinary one is dropped", "another is dropped"]);
    });
}

#[test]
fn r09_awaiting_the_cancellation_waits_for_the_subtree() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    each(|reach, seed| {
        let journal = Journal::new();
        go(2, seed, async {
            let (arrived, release) = (Gate::new(), Gate::new());
            let child = reach.start_on(1, {
                let (journal, arrived, release) = (journal.clone(), arrived.clone(), release.clone());
                move || async move {
                    let _dropped = journal.at_drop("the child is dropped");
                    let grandchild = pinned(2, move || async move {
                        let _dropped = journal.at_drop("the grandchild is dropped");
                        arrived.open();
                        release.block();
                        parked().await;
                    });
                    grandchild.await
                }
            });
            arrived.passed().await;
            let mut cancelling = child.cancel();
            until(|| journal.has("the child is dropped")).await;
            for _ in 0..50 {
                assert!(poll_under(&mut cancelling, Waker::noop()).is_pending());
                yield_now().await;
            }
            release.open();
            (&mut cancelling).await;
            journal.write("it has ended");
            // Once over, it stays so.
            assert!(poll_under(&mut cancelling, Waker::noop()).is_ready());
        })
        .unwrap();
        assert_eq!(journal.read(), ["the child is dropped", "the grandchild is dropped", "it has ended"]);
    });
}

#[test]
fn r09_a_cancellation_may_be_dropped_and_the_parent_may_end_before_its_child() {
    for polled in [false, true] {
        each(|reach, seed| {
            let (journal, tally) = (Journal::new(), Tally::new());
            let (ring, waker) = Ring::new();
            go(2, seed, async {
                let parent = reach.start_on(1, {
                    let (journal, tally) = (journal.clone(), tally.clone());
                    move || async move {
                        for fresh in [false, true] {
                            let (token, ready) = (tally.token(), Gate::new());
                            let child = reach.start_on(2, {
                                let ready = ready.clone();
                                move || async move {
                                    let _token = token;
                                    ready.open();
                                    parked().await;
                                }
                            });
                            if !fresh {
                                ready.passed().await;
                            }
                            let mut cancelling = child.cancel();
                            if polled {
                                assert!(poll_under(&mut cancelling, &waker).is_pending());
                            }
                            drop(cancelling);
                            assert_eq!(Arc::strong_count(&ring), 2, "who waits no more keeps no waker");
                        }
                        journal.write("the parent's future ends");
                        "normally"
                    }
                });
                assert_eq!(parent.await.unwrap(), "normally");
                // Its own end has waited for theirs.
                assert_eq!(tally.all_dropped(), 2);
            })
            .unwrap();
            assert_eq!(journal.read(), ["the parent's future ends"]);
        });
    }
}

#[test]
fn r09_other_tasks_run_while_a_cancellation_is_under_way() {
    for seed in SEEDS {
        go(2, seed, async {
            let (arrived, release) = (Gate::new(), Gate::new());
            let child = pinned(1, {
                let (arrived, release) = (arrived.clone(), release.clone());
                move || async move {
                    let _grandchild = pinned(2, move || async move {
                        arrived.open();
                        release.block();
                        parked().await;
                    });
                    parked().await;
                }
            });
            arrived.passed().await;
            let cancelling = child.cancel();
            // On this domain, and on the one whose task waits for its own child to end.
            let here = spawn(async { (0..10).sum::<u32>() });
            let there = pinned(1, || async {
                let nested = spawn(async { 4 });
                nested.await.unwrap()
            });
            assert_eq!((here.await.unwrap(), there.await.unwrap()), (45, 4));
            release.open();
            cancelling.await;
        })
        .unwrap();
    }
}

// ---- R10

/// Where something was dropped, and as whom.
type Place = Arc<Mutex<Vec<(Option<DomainId>, Option<TaskId>)>>>;

/// Notes where it is dropped.
fn note_place(place: &Place) -> AtDrop<impl FnOnce() + Send + use<>> {
    let place = place.clone();
    at_drop(move || place.lock().unwrap().push((domain::current(), current_task())))
}

#[test]
fn r10_one_that_never_ran_is_never_polled() {
    each(|reach, seed| {
        let (places, polls) = (Place::default(), Arc::new(AtomicUsize::new(0)));
        go(1, seed, async {
            let occupied = if reach == Reach::Across { Some(Occupied::new(1).await) } else { None };
            let child = reach.start({
                let (place, polls) = (note_place(&places), polls.clone());
                move || async move {
                    let _place = place;
                    polls.fetch_add(1, Ordering::SeqCst);
                }
            });
            let id = child.id();
            let cancelling = child.cancel();
            if let Some(occupied) = occupied {
                occupied.release().await;
            }
            cancelling.await;
            let home = DomainId::new(if reach == Reach::Same { 0 } else { 1 });
            assert_eq!(*places.lock().unwrap(), [(Some(home), Some(id))]);
        })
        .unwrap();
        assert_eq!(polls.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn r10_one_that_is_being_polled_ends_that_poll_and_has_no_other() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    for ends in [false, true] {
        for seed in SEEDS {
            let (journal, values) = (Journal::new(), Tally::new());
            go(1, seed, async {
                let (arrived, release) = (Gate::new(), Gate::new());
                let child = pinned(1, {
                    let (journal, value) = (journal.clone(), values.token());
                    let (arrived, release) = (arrived.clone(), release.clone());
                    move || async move {
                        let _dropped = journal.at_drop("the future is dropped");
                        arrived.open();
                        release.block();
                        journal.write("the poll goes on");
                        if !ends {
                            yield_now().await;
                            journal.write("it is polled again");
                        }
                        Plain(value)
                    }
                });
                arrived.passed().await;
                let cancelling = child.cancel();
                journal.write("it is cancelled");
                release.open();
                cancelling.await;
                // If the poll was its last, it has ended with a value, and loses it.
                assert_eq!(values.all_dropped(), 1);
            })
            .unwrap();
            assert_eq!(journal.read(), ["it is cancelled", "the poll goes on", "the future is dropped"]);
        }
    }
}

#[test]
fn r10_one_that_sleeps_in_a_suspension_point_gives_it_up() {
    each(|reach, seed| {
        let platform = Threads::new(1);
        let home = platform.hand(if reach == Reach::Same { 0 } else { 1 });
        let (journal, point) = (Journal::new(), Arc::new(Mutex::new(None)));
        run(&platform, Config::new().domains(1).seed(seed), async {
            let ready = Gate::new();
            let child = reach.start({
                let (journal, point, ready) = (journal.clone(), point.clone(), ready.clone());
                move || async move {
                    let _dropped = journal.at_drop("the future is dropped");
                    let suspended = Point::new().unwrap().suspend(|id| {
                        *point.lock().unwrap() = Some(id);
                        ready.open();
                        Ok::<(), ()>(())
                    });
                    suspended.await.unwrap();
                    journal.write("it was resumed");
                }
            });
            ready.passed().await;
            child.cancel().await;
            journal.write("it has ended");
            let point = point.lock().unwrap().unwrap();
            until(|| home.log().cancelled == [point]).await;
            // An event that comes late is nobody's.
            home.fire(point);
            reach.start(|| async { yield_now().await }).await.unwrap();
        })
        .unwrap();
        assert_eq!(journal.read(), ["the future is dropped", "it has ended"]);
        assert_eq!(home.log().cancelled, [point.lock().unwrap().unwrap()]);
    });
}

#[test]
fn r10_one_that_waits_for_a_mutex_leaves_its_queue_and_one_that_holds_it_gives_it_back() {
    each(|reach, seed| {
        let journal = Journal::new();
        go(2, seed, async {
            let lock = Arc::new(Lock::new(0));
            let waiter = |name: &'static str, domain: usize| {
                let (lock, journal, waits) = (lock.clone(), journal.clone(), Gate::new());
                let asks = waits.clone();
                let child = reach.start_on(domain, move || async move {
                    let _dropped = journal.at_drop(&format!("{name} is dropped"));
                    let mut locking = Box::pin(lock.lock());
                    let mut held = poll_fn(|cx| {
                        let polled = locking.as_mut().poll(cx);
                        asks.open();
                        polled
                    })
                    .await;
                    *held += 1;
                    journal.write(format!("{name} has it"));
                    parked().await;
                });
                (child, waits)
            };
            let (first, has) = waiter("the first", 1);
            has.passed().await;
            let (second, waits) = waiter("the second", 2);
            waits.passed().await;
            let (third, waits) = waiter("the third", 1);
            waits.passed().await;
            // One that waits, in the middle of the queue; then who holds it.
            second.cancel().await;
            journal.write("the second has ended");
            first.cancel().await;
            until(|| journal.has("the third has it")).await;
            third.cancel().await;
            assert_eq!(*lock.try_lock().unwrap(), 2);
        })
        .unwrap();
        let mut seen = journal.read();
        // The mutex is handed on within the first one's destructors: its last words and the third one's first may cross.
        seen[3..5].sort();
        assert_eq!(
            seen,
            [
                "the first has it",
                "the second is dropped",
                "the second has ended",
                "the first is dropped",
                "the third has it",
                "the third is dropped"
            ]
        );
    });
}

#[test]
fn r10_one_that_has_ended_loses_its_result() {
    each(|reach, seed| {
        let values = Tally::new();
        go(1, seed, async {
            for fails in [false, true] {
                let child = reach.start({
                    let value = values.token();
                    move || async move { if fails { Err(value) } else { Ok(value) } }
                });
                until(|| child.is_ended()).await;
                assert_eq!(child.state(), if fails { State::Exited } else { State::Resolved });
                let before = values.dropped();
                let mut cancelling = child.cancel();
                // It has ended already: nothing to wait for.
                assert_eq!(values.dropped(), before + 1);
                assert!(poll_under(&mut cancelling, Waker::noop()).is_ready());
            }
            let panicked = reach.start(|| async { panic!("as well") });
            until(|| panicked.is_ended()).await;
            panicked.cancel().await;
        })
        .unwrap();
        assert_eq!(values.all_dropped(), 2);
    });
}

// ---- R11

#[test]
fn r11_cancelling_wakes_a_domain_that_sleeps_with_one_ring() {
    for seed in 0..50 {
        let platform = Threads::new(1);
        let hand = platform.hand(1);
        run(&platform, Config::new().domains(1).seed(seed), async {
            let slept = Arc::new(Mutex::new(None));
            let child = Reach::Across.start({
                let (slept, hand) = (slept.clone(), hand.clone());
                move || async move {
                    *slept.lock().unwrap() = Some(hand.log().sleeps);
                    parked().await;
                }
            });
            until(|| slept.lock().unwrap().is_some()).await;
            // It parks, and nothing will ever happen there by itself.
            let slept = slept.lock().unwrap().unwrap();
            hand.wait_until(|log| log.sleeps > slept);
            let before = hand.log().interrupts;
            child.cancel().await;
            assert_eq!(hand.log().interrupts, before + 1);
        })
        .unwrap();
    }
}

// ---- R12

/// Counts its polls, and hands its waker out.
struct Watched {
    polls: Arc<AtomicUsize>,
    waker: Arc<Mutex<Option<Waker>>>,
    _token: Token,
}

impl Future for Watched {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        *self.waker.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[test]
fn r12_a_cancelled_task_is_never_polled_again_however_often_it_is_woken() {
    each(|reach, seed| {
        let tally = Tally::new();
        let stop = AtomicBool::new(false);
        let storm: Arc<Mutex<Option<Waker>>> = Arc::default();
        std::thread::scope(|scope| {
            // Wakes from a thread outside, all the time.
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    if let Some(waker) = &*storm.lock().unwrap() {
                        waker.wake_by_ref();
                    }
                    std::hint::spin_loop();
                }
            });
            let _stopped = at_drop(|| stop.store(true, Ordering::SeqCst));
            go(1, seed, async {
                for _ in 0..20 {
                    let (polls, waker) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
                    let child = reach.start({
                        let (polls, waker, token) = (polls.clone(), waker.clone(), tally.token());
                        move || Watched { polls, waker, _token: token }
                    });
                    until(|| waker.lock().unwrap().is_some()).await;
                    let waker: Waker = waker.lock().unwrap().clone().unwrap();
                    *storm.lock().unwrap() = Some(waker.clone());
                    let here = reach == Reach::Same;
                    let cancelling = child.cancel();
                    let polled = polls.load(Ordering::SeqCst);
                    waker.wake_by_ref();
                    waker.wake_by_ref();
                    cancelling.await;
                    waker.wake_by_ref();
                    for _ in 0..3 {
                        yield_now().await;
                    }
                    let after = polls.load(Ordering::SeqCst);
                    // Across, a poll may have been under way at the call; after the end there is none.
                    assert!(if here { after == polled } else { after >= polled });
                    waker.wake();
                    reach.start(|| async {}).await.unwrap();
                    assert_eq!(polls.load(Ordering::SeqCst), after);
                    *storm.lock().unwrap() = None;
                }
            })
            .unwrap();
        });
        assert_eq!(tally.all_dropped(), 20);
    });
}

#[test]
fn r12_destructors_run_on_the_tasks_own_domain_with_it_as_the_current_task() {
    each(|reach, seed| {
        let places = Place::default();
        go(2, seed, async {
            let ready = Gate::new();
            let child = reach.start_on(2, {
                let (captured, inside, ready) = (note_place(&places), note_place(&places), ready.clone());
                move || async move {
                    let _captured = captured;
                    let local = inside;
                    ready.open();
                    parked().await;
                    drop(local);
                }
            });
            let id = child.id();
            ready.passed().await;
            child.cancel().await;
            let home = DomainId::new(if reach == Reach::Same { 0 } else { 2 });
            assert_eq!(*places.lock().unwrap(), [(Some(home), Some(id)), (Some(home), Some(id))]);
            // And the parent's identity is its own again.
            assert_eq!((domain::current(), current_task()), (Some(DomainId::ZERO), Some(id_of_main())));
        })
        .unwrap();
    });
    fn id_of_main() -> TaskId {
        let child = spawn(async {});
        let main = current_task().unwrap();
        drop(child.cancel());
        main
    }
}

/// A task that is not to be polled; when it is dropped it makes others like it, of each kind, `depth` levels deep.
fn unpolled(depth: u32, polls: Arc<AtomicUsize>, tally: Tally) -> impl FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send {
    static POOL: TaskPool<64, 256> = TaskPool::new();
    let token = tally.token();
    let makes = at_drop({
        let polls = polls.clone();
        move || {
            let _token = token;
            if depth > 0 {
                let next = || unpolled(depth - 1, polls.clone(), tally.clone());
                drop(spawn(next()()));
                drop(call(next()));
                let orphans = Orphans::new();
                orphans.spawn(next()());
                let _ = orphans.call(next());
                if let Ok(pooled) = POOL.spawn(next()()) {
                    drop(pooled.cancel());
                }
            }
        }
    });
    move || {
        Box::pin(async move {
            let _makes = makes;
            polls.fetch_add(1, Ordering::SeqCst);
        })
    }
}

#[test]
fn r12_children_made_by_destructors_are_cancelled_unpolled() {
    each(|reach, seed| {
        let (polls, tally) = (Arc::new(AtomicUsize::new(0)), Tally::new());
        go(2, seed, async {
            let (polls, tally, ready) = (polls.clone(), tally.clone(), Gate::new());
            let child = reach.start({
                let (polls, tally, ready) = (polls.clone(), tally.clone(), ready.clone());
                move || async move {
                    let _makes_at_drop = unpolled(3, polls, tally);
                    ready.open();
                    parked().await;
                }
            });
            ready.passed().await;
            child.cancel().await;
            // The cancellation has waited for all of them.
            assert_eq!(tally.made(), tally.dropped());
            // 1 + 5 + 25 + 125; where there is no room in the pool a few less.
            assert!((1 + 4 + 16 + 64..=1 + 5 + 25 + 125).contains(&tally.made()), "{}", tally.made());
        })
        .unwrap();
        assert_eq!(polls.load(Ordering::SeqCst), 0);
    });
}

/// Ends in its second poll; its destructor runs after that.
struct Ends<D> {
    polled: bool,
    _destructor: D,
}

impl<D: Unpin> Future for Ends<D> {
    type Output = u32;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        if self.polled {
            return Poll::Ready(6);
        }
        self.polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[test]
fn r12_the_destructor_of_a_future_that_has_ended_makes_no_live_child_either() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(2, seed, async {
            let child = reach.start({
                let tally = tally.clone();
                move || Ends {
                    polled: false,
                    _destructor: Box::new(at_drop(move || {
                        for inner in Reach::BOTH {
                            let token = tally.token();
                            drop(inner.start(move || async move {
                                let _token = token;
                                panic!("it is polled");
                            }));
                        }
                    })),
                }
            });
            // Nor is it a child left behind.
            assert_eq!(child.await.unwrap(), 6);
            assert_eq!(tally.all_dropped(), 2);
        })
        .unwrap();
    });
}

#[test]
fn r12_a_chain_of_100_000_tasks_is_cancelled_without_a_deep_stack() {
    fn link(reach: Reach, depth: u32, tally: Tally, bottom: Gate) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let _token = tally.token();
            if depth == 0 {
                bottom.open();
                return parked().await;
            }
            // Across: to and fro between two workers.
            let domain = if domain::current() == Some(DomainId::new(1)) { 2 } else { 1 };
            let child = reach.start_on(domain, move || link(reach, depth - 1, tally, bottom));
            child.await.unwrap();
        })
    }
    const STACK: usize = 256 << 10;
    // Each link across is a domain put to sleep and woken: fewer of them are still far more than the stack has room for.
    for (reach, length) in [(Reach::Same, 100_000), (Reach::Across, 10_000)] {
        for end in ["cancelled", "failed"] {
            let platform = SmallStacks::new(2, STACK);
            platform.on_small_stack(|| {
                let tally = Tally::new();
                let ended = run(&platform, Config::new().domains(2), async {
                    let bottom = Gate::new();
                    let chain = reach.start_on(1, {
                        let (tally, bottom) = (tally.clone(), bottom.clone());
                        move || link(reach, length, tally, bottom)
                    });
                    bottom.passed().await;
                    if end == "failed" {
                        return Err(end);
                    }
                    chain.cancel().await;
                    assert_eq!(tally.all_dropped(), length as usize + 1);
                    Ok(end)
                });
                assert!(matches!(ended, Ok("cancelled") | Err(RunError::Failed("failed"))));
                assert_eq!(tally.all_dropped(), length as usize + 1);
            });
        }
    }
}

#[test]
fn r12_a_hundred_thousand_children_are_cancelled_with_their_parent() {
    for reach in Reach::BOTH {
        let platform = SmallStacks::new(2, 256 << 10);
        platform.on_small_stack(|| {
            let tally = Tally::new();
            run(&platform, Config::new().domains(2), async {
                let parent = spawn({
                    let tally = tally.clone();
                    async move {
                        let children: Vec<_> = (0..100_000)
                            .map(|_| {
                                let token = tally.token();
                                reach.start(move || async move {
                                    let _token = token;
                                    parked().await;
                                })
                            })
                            .collect();
                        parked().await;
                        drop(children);
                    }
                });
                until(|| tally.made() == 100_000).await;
                parent.cancel().await;
                assert_eq!(tally.all_dropped(), 100_000);
            })
            .unwrap();
        });
    }
}

#[test]
fn r12_a_destructor_that_panics_is_reported_and_changes_no_outcome() {
    static REPORTS: Reports = Reports::new();
    fn report(place: ReportPlace, domain: usize, message: &str) -> Vec<(ReportPlace, usize, String)> {
        vec![(place, domain, message.to_owned())]
    }
    each(|reach, seed| {
        let home = if reach == Reach::Same { 0 } else { 1 };
        go_reporting(1, seed, |report| REPORTS.keep(report), async {
            // A future that is cancelled; its child ends with it.
            let (tally, ready) = (Tally::new(), Gate::new());
            let child = reach.start({
                let (tally, ready) = (tally.clone(), ready.clone());
                move || async move {
                    let token = tally.token();
                    let _child = spawn(async move {
                        let _token = token;
                        parked().await;
                    });
                    let _panics = at_drop(|| panic!("a future's"));
                    let _token = tally.token();
                    ready.open();
                    parked().await;
                }
            });
            ready.passed().await;
            child.cancel().await;
            assert_eq!(REPORTS.take(), report(ReportPlace::Destructor, home, "a future's"));
            assert_eq!(tally.all_dropped(), 2);

            // A closure that never ran.
            let occupied = if reach == Reach::Across { Some(Occupied::new(1).await) } else { None };
            let panics = at_drop(|| panic!("a closure's"));
            let fresh = reach.start(move || async move { drop(panics) });
            let cancelling = fresh.cancel();
            if let Some(occupied) = occupied {
                occupied.release().await;
            }
            cancelling.await;
            assert_eq!(REPORTS.take(), report(ReportPlace::Destructor, home, "a closure's"));

            // A future that has ended with a value: it has it still.
            let ends = reach.start(|| Ends { polled: false, _destructor: Box::new(at_drop(|| panic!("an ended future's"))) });
            assert_eq!(ends.await.unwrap(), 6);
            assert_eq!(REPORTS.take(), report(ReportPlace::Destructor, home, "an ended future's"));

            // A result that nobody takes, dropped on the parent's domain.
            let ended = reach.start(|| async { Plain(at_drop(|| panic!("a result's"))) });
            until(|| ended.is_ended()).await;
            drop(ended.cancel());
            assert_eq!(REPORTS.take(), report(ReportPlace::Result, 0, "a result's"));

            // One dropped inside a poll is that poll's panic, and the task's outcome.
            let inside = reach.start(|| async { drop(at_drop(|| panic!("a local's"))) });
            assert!(matches!(inside.await, Err(Exit::Panicked(panic)) if panic.message() == "a local's"));
            assert_eq!(REPORTS.take(), []);
        })
        .unwrap();
    });
}

// ---- R13

#[test]
fn r13_a_cancellation_that_meets_its_ancestors() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    each(|reach, seed| {
        let tally = Tally::new();
        go(3, seed, async {
            let (arrived, release) = (Gate::new(), Gate::new());
            let parent = reach.start_on(1, {
                let (tally, arrived, release) = (tally.clone(), arrived.clone(), release.clone());
                move || async move {
                    let _token = tally.token();
                    let child = reach.start_on(2, {
                        let tally = tally.clone();
                        move || async move {
                            let _token = tally.token();
                            // Holds the cancellation up: it is in the middle of a poll.
                            let grandchild = pinned(3, {
                                let tally = tally.clone();
                                move || async move {
                                    let _token = tally.token();
                                    arrived.open();
                                    release.block();
                                    parked().await;
                                }
                            });
                            grandchild.await.unwrap();
                        }
                    });
                    until(|| tally.made() == 3).await;
                    child.cancel().await;
                    unreachable!("this task is cancelled meanwhile");
                }
            });
            arrived.passed().await;
            // The child's future is gone, and it waits for its own child.
            until(|| tally.dropped() == 1).await;
            let cancelling = parent.cancel();
            until(|| tally.dropped() == 2).await;
            release.open();
            cancelling.await;
            assert_eq!(tally.all_dropped(), 3);
        })
        .unwrap();
    });
}

#[test]
fn r13_a_child_whose_future_has_ended_and_that_waits_for_its_own_children() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    for fails in [false, true] {
        each(|reach, seed| {
            let (places, tally) = (Place::default(), Tally::new());
            go(2, seed, async {
                let (arrived, release, ending) = (Gate::new(), Gate::new(), Gate::new());
                let child = reach.start_on(1, {
                    let (arrived, release, ending, tally) = (arrived.clone(), release.clone(), ending.clone(), tally.clone());
                    let value = (note_place(&places), tally.token());
                    move || async move {
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
                        arrived.passed().await;
                        drop(busy.cancel());
                        ending.open();
                        if fails { Err(value) } else { Ok(value) }
                    }
                });
                ending.passed().await;
                for _ in 0..20 {
                    yield_now().await;
                }
                // It has a result already, and has not ended.
                assert_eq!((child.state(), tally.dropped()), (State::Running, 0));
                let cancelling = child.cancel();
                for _ in 0..20 {
                    yield_now().await;
                }
                assert_eq!(tally.dropped(), 0);
                release.open();
                cancelling.await;
                // It has lost its result, which was dropped once, where its parent lives.
                assert_eq!(tally.all_dropped(), 2);
                assert_eq!(*places.lock().unwrap(), [(Some(DomainId::ZERO), None)]);
            })
            .unwrap();
        });
    }
}

#[test]
fn r13_a_cancellation_made_from_a_destructor_of_the_same_subtree() {
    each(|reach, seed| {
        let (tally, values) = (Tally::new(), Tally::new());
        go(3, seed, async {
            let ready = Gate::new();
            let parent = reach.start_on(1, {
                let (tally, values, ready) = (tally.clone(), values.clone(), ready.clone());
                move || async move {
                    let child = |token: Token, ends: Option<Token>| {
                        reach.start_on(2, move || async move {
                            let _token = token;
                            match ends {
                                Some(value) => Plain(value),
                                None => std::future::pending().await,
                            }
                        })
                    };
                    let (parked_one, fresh) = (child(tally.token(), None), child(tally.token(), None));
                    let ended = child(tally.token(), Some(values.token()));
                    let passed_on = child(tally.token(), None);
                    until(|| ended.is_ended()).await;
                    let _cancels = at_drop(move || {
                        // Before the runtime comes to it, and each as the child it is.
                        drop(parked_one.cancel());
                        drop(ended.cancel());
                        drop(fresh.cancel());
                        drop(passed_on);
                    });
                    let _also_fresh = child(tally.token(), None);
                    ready.open();
                    parked().await;
                }
            });
            ready.passed().await;
            parent.cancel().await;
            assert_eq!((tally.all_dropped(), values.all_dropped()), (5, 1));
        })
        .unwrap();
    });
}

#[test]
fn r13_a_destructor_that_polls_and_cancels_what_is_being_cancelled_disturbs_nothing() {
    each(|reach, seed| {
        let tally = Tally::new();
        go(2, seed, async {
            let ready = Gate::new();
            let parent = reach.start({
                let (tally, ready) = (tally.clone(), ready.clone());
                move || async move {
                    let token = tally.token();
                    let mut child = reach.start(move || async move {
                        let _token = token;
                        parked().await;
                    });
                    let _polls = at_drop(move || {
                        // Still its parent; nothing comes of it.
                        assert!(poll_under(&mut child, Waker::noop()).is_pending());
                        let mut cancelling = child.cancel();
                        assert!(poll_under(&mut cancelling, Waker::noop()).is_pending());
                        drop(cancelling);
                    });
                    ready.open();
                    parked().await;
                }
            });
            ready.passed().await;
            parent.cancel().await;
            assert_eq!(tally.all_dropped(), 1);
        })
        .unwrap();
    });
}

#[test]
fn r13_a_child_that_ends_at_that_very_moment_ends_once() {
    /// Cancels many children, sooner and later. Tells how many were cut short, and how many lost a result.
    async fn race(reach: Reach, seed: u64, domain: usize, rounds: usize) -> (usize, usize) {
        let mut dice = Dice::new(seed);
        let (mut cut, mut lost) = (0, 0);
        for _ in 0..rounds {
            let (tally, values) = (Tally::new(), Tally::new());
            let (polls, spins) = (dice.below(4), dice.below(3000));
            let child = reach.start_on(domain, {
                let (token, values) = (tally.token(), values.clone());
                move || async move {
                    let _token = token;
                    for _ in 0..polls {
                        yield_now().await;
                    }
                    Plain(values.token())
                }
            });
            for _ in 0..dice.below(4) {
                yield_now().await;
            }
            for _ in 0..spins {
                std::hint::spin_loop();
            }
            child.cancel().await;
            assert_eq!(tally.all_dropped(), 1);
            match values.all_dropped() {
                0 => cut += 1,
                1 => lost += 1,
                _ => unreachable!(),
            }
        }
        (cut, lost)
    }
    each(|reach, seed| {
        let (cut, lost) = go(2, seed, async {
            let (a, b) = race(reach, seed, 1, 300).await;
            // Between two workers.
            let (c, d) = pinned(1, move || race(reach, seed ^ 1, 2, 300)).await.unwrap();
            (a + c, b + d)
        })
        .unwrap();
        assert_eq!(cut + lost, 600);
        // Both orders must have been met.
        assert!(cut > 0 && lost > 0, "{cut} were cut short, {lost} lost their result");
    });
}

/// A task that does this and that with its children, and ends in one way or another.
fn storm(mut dice: Dice, depth: u64, tally: Tally) -> Pin<Box<dyn Future<Output = Result<Token, Token>>>> {
    Box::pin(async move {
        let held = (tally.token(), tally.token());
        let mut children: Vec<Promise<Token, Token>> = Vec::new();
        let mut forgot = false;
        for _ in 0..3 + 2 * dice.below(8) {
            match dice.below(11) {
                0..=3 if depth > 0 => {
                    let (reach, dice, tally) = (Reach::BOTH[dice.below(2) as usize], dice.split(), tally.clone());
                    children.push(reach.start(move || storm(dice, depth - 1, tally)));
                }
                4 | 9 | 10 => yield_now().await,
                5 if !children.is_empty() => {
                    let child = children.swap_remove(dice.below(children.len() as u64) as usize);
                    let _ = child.await;
                }
                6 if !children.is_empty() => {
                    let child = children.swap_remove(dice.below(children.len() as u64) as usize);
                    let cancelling = child.cancel();
                    if dice.below(2) == 0 {
                        cancelling.await;
                    }
                }
                7 if !children.is_empty() => {
                    drop(children.pop());
                    forgot = true;
                }
                8 if !children.is_empty() => {
                    let _ = matou_core::await_one(&mut children).await;
                }
                _ => {}
            }
        }
        match dice.below(4) {
            0 => Err(held.0),
            1 if depth < 3 => resume_unwind(Box::new("a gust")),
            2 if dice.below(2) == 0 => std::future::pending().await,
            _ if forgot => Err(held.1),
            _ => {
                if dice.below(2) == 0 {
                    drop(matou_core::await_first(children));
                } else {
                    for child in children {
                        drop(child.cancel());
                    }
                }
                Ok(held.0)
            }
        }
    })
}

#[test]
fn r13_whatever_meets_whatever_each_task_ends_once() {
    let mut tasks = 0;
    for seed in 0..120 {
        let tally = Tally::new();
        go(3, seed, async {
            let mut dice = Dice::new(seed);
            let _told = Told(format!("storm {seed}"));
            for _ in 0..10 {
                let (reach, root) = (Reach::BOTH[dice.below(2) as usize], dice.split());
                let child = reach.start({
                    let tally = tally.clone();
                    move || storm(root, 5, tally)
                });
                for _ in 0..dice.below(6) * dice.below(60) {
                    yield_now().await;
                }
                child.cancel().await;
                // Everything under it, too.
                tally.all_dropped();
            }
        })
        .unwrap();
        tasks += tally.all_dropped() / 2;
    }
    assert!(tasks > 1500, "a storm of {tasks} tasks is none");
}

#[test]
fn r13_the_run_that_ends_abnormally_is_an_ancestors_cancellation() {
    for seed in 0..30 {
        let tally = Tally::new();
        let failed = go(3, seed, async {
            let mut dice = Dice::new(seed);
            for _ in 0..5 {
                let (dice, tally) = (dice.split(), tally.clone());
                drop(Reach::Across.start(move || storm(dice, 4, tally)));
            }
            for _ in 0..dice.below(200) {
                yield_now().await;
            }
            poll_fn(|_| Poll::Ready(Err::<(), _>("at some moment"))).await
        });
        assert!(matches!(failed, Err(RunError::Failed("at some moment"))));
        tally.all_dropped();
    }
}
