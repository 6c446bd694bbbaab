//! What outlives its task or its run is inert: rule 46. Its drop is harmless, its use panics with a message or is an error, a wake does nothing.
//!
//! Each [`Thing`] is made by a task, brought into the midst of its life there (polled, with a waker, with children), and kept in a
//! thread-local when the task and the run end. Then it is used and dropped: after the run, in another run, by another task of the same run,
//! when its thread ends; and a worker's things when that worker's thread ends.

#![cfg(feature = "std")]

mod support;

use std::cell::RefCell;
use std::fmt::Debug;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use matou_core::suspension::Point;
use matou_core::sync::{Computation, Mutex, Trigger};
use matou_core::time::{sleep, timeout};
use matou_core::{
    Config, Exit, Orphans, Plain, Promise, RunError, State, await_all, await_first, call, parallel, run, scope, spawn, yield_now,
};
use support::Threads;
use support::family::*;
use support::leak::leak;
use support::wakers::*;

/// What is kept, with its use: the message of the panic or of the error that this gives, or what shows that it does nothing.
struct Thing {
    name: &'static str,
    used: Box<dyn FnMut() -> String>,
    /// What the use says: one of these, between bars.
    says: &'static str,
}

fn thing(name: &'static str, says: &'static str, used: impl FnMut() -> String + 'static) -> Thing {
    Thing { name, used: Box::new(used), says }
}

impl Thing {
    fn check(&mut self) {
        let _told = Told(self.name.to_owned());
        let said = (self.used)();
        assert!(self.says.split('|').any(|says| said.contains(says)), "{} said {said:?}, not {:?}", self.name, self.says);
    }
}

/// What a promise says whose child was cancelled with its parent.
const OVER: &str = "Err(Cancelled)|polled outside its run";

/// Polls a boxed future once, as the current task but with a waker that does nothing. It must not be ready.
fn begun<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    assert!(poll_under(&mut future, Waker::noop()).is_pending());
    future
}

/// What a poll gives, or the message of its panic.
fn said_by<F: Future<Output: Debug> + Unpin>(future: &mut F) -> String {
    match catch_unwind(AssertUnwindSafe(|| poll_under(future, Waker::noop()))) {
        Ok(polled) => format!("{polled:?}"),
        Err(panic) => panic_of(|| resume_unwind(panic)),
    }
}

/// One of each. Made by a task that ends abnormally, whose children park here or on another domain.
async fn things(reach: Reach, values: &Tally) -> Vec<Thing> {
    let started = Gate::new();
    let child = || {
        let (value, started) = (values.token(), started.clone());
        reach.start(move || async move {
            started.open();
            parked().await;
            Plain(value)
        })
    };
    let ended = || {
        let value = values.token();
        reach.start(move || async move { Plain(value) })
    };
    let mut things = Vec::new();

    let mut promise = child();
    assert!(poll_under(&mut promise, Waker::noop()).is_pending());
    things.push(thing("a promise", OVER, move || {
        assert_eq!((promise.state(), promise.is_ended(), promise.name()), (State::Exited, true, None));
        said_by(&mut promise)
    }));
    let mut promise = ended();
    until(|| promise.is_ended()).await;
    things.push(thing("a promise of one that ended", OVER, move || {
        assert_eq!(promise.state(), State::Exited);
        said_by(&mut promise)
    }));
    let mut promise = Some(child());
    things.push(thing("a promise that is cancelled", "nothing to wait for", move || {
        if let Some(promise) = promise.take() {
            assert!(poll_under(&mut promise.cancel(), Waker::noop()).is_ready());
        }
        "nothing to wait for".into()
    }));
    let mut cancellation = child().cancel();
    assert!(poll_under(&mut cancellation, Waker::noop()).is_pending());
    things.push(thing("a cancellation", "is over", move || {
        let polled = poll_under(&mut cancellation, Waker::noop());
        if polled.is_ready() { "is over" } else { "waits" }.into()
    }));

    let orphans = Orphans::new();
    reach.start_in(&orphans, {
        let value = values.token();
        move || async move { Plain(value) }
    });
    reach.start_in(&orphans, {
        let value = values.token();
        move || async move {
            parked().await;
            Plain(value)
        }
    });
    things.push(thing("an Orphans", "an `Orphans` was used", move || {
        assert_eq!((orphans.len(), orphans.is_empty()), (0, true));
        panic_of(|| orphans.take());
        panic_of(|| orphans.next().now_or_never());
        panic_of(|| orphans.care())
    }));
    let orphans: &'static Orphans<()> = leak(Orphans::new());
    reach.start_in(orphans, parked);
    let mut next = begun(orphans.next());
    things.push(thing("a wait in an Orphans", "an `Orphans` was used", move || said_by(&mut next)));

    let mut first = begun(await_first(vec![child(), child()]));
    things.push(thing("an await_first", OVER, move || said_by(&mut first)));
    let mut all = begun(await_all(vec![child(), child()]));
    things.push(thing("an await_all", OVER, move || said_by(&mut all)));
    let mut never_polled = Some(await_all(vec![child(), ended()]));
    things.push(thing("an await_all that was never polled", "dropped", move || {
        drop(never_polled.take());
        "dropped".into()
    }));
    if reach == Reach::Across {
        let mut parallel = begun(parallel(|_: Token| parked(), [values.token(), values.token()]));
        things.push(thing("a parallel", OVER, move || said_by(&mut parallel)));
    }

    let inner = child;
    let value = values.token();
    let mut scoped = begun(scope({
        let child = spawn(async move {
            parked().await;
            Plain(value)
        });
        async move {
            let _outer = child;
            let _own = spawn(parked());
            parked().await;
        }
    }));
    things.push(thing("a scope", "a scope was polled", move || said_by(&mut scoped)));
    drop(inner());

    let mut slept = begun(sleep(Duration::from_secs(3600)));
    things.push(thing("a sleep", "a sleep was polled", move || {
        assert!(!slept.is_elapsed());
        said_by(&mut slept)
    }));
    let mut timed = begun(timeout(Duration::from_secs(3600), async {
        let _own = spawn(parked());
        parked().await;
    }));
    things.push(thing("a timeout", "was polled", move || said_by(&mut timed)));

    let mut point = Some(Point::new().unwrap());
    things.push(thing("a point", "a suspension point was polled", move || match point.take() {
        Some(point) => said_by(&mut Box::pin(point.suspend(|_| Ok::<(), ()>(())))),
        None => "a suspension point was polled".into(),
    }));
    let mut suspended = begun(Point::new().unwrap().suspend(|_| Ok::<(), ()>(())));
    things.push(thing("a suspended point", "a suspension point was polled", move || said_by(&mut suspended)));

    let trigger: &'static Trigger = leak(Trigger::new());
    let mut waiting = begun(trigger.wait());
    things.push(thing("a waiter", "signalled", move || {
        trigger.signal();
        let polled = poll_under(&mut waiting, Waker::noop());
        if polled.is_ready() { "signalled" } else { "waits for ever" }.into()
    }));

    let lock: &'static Mutex<u32> = leak(Mutex::default());
    let mut held = lock.try_lock();
    let mut locking = begun(lock.lock());
    things.push(thing("a mutex that is held, and a wait for it", "the next has it|polled after", move || {
        drop(held.take());
        match poll_under(&mut locking, Waker::noop()) {
            Poll::Ready(guard) => {
                drop(guard);
                locking = Box::pin(lock.lock());
                "the next has it".into()
            }
            Poll::Pending => "waits for ever".into(),
        }
    }));
    let answer: &'static Computation<u32> = leak(Computation::new());
    let mut asking = Some(begun(answer.wait()));
    things.push(thing("a wait for a computation", "Ready(7)", move || {
        let _ = answer.try_complete(7);
        match asking.take() {
            Some(mut asking) => format!("{:?}", poll_under(&mut asking, Waker::noop())),
            None => "Ready(7)".into(),
        }
    }));

    let mut waker = None;
    std::future::poll_fn(|cx| {
        waker = Some(cx.waker().clone());
        Poll::Ready(())
    })
    .await;
    things.push(thing("a waker", "nothing happens", move || {
        let waker = waker.as_ref().unwrap();
        waker.wake_by_ref();
        drop(waker.clone());
        "nothing happens".into()
    }));
    started.passed().await;
    things
}

thread_local! {
    static KEPT: RefCell<Vec<Thing>> = const { RefCell::new(Vec::new()) };
}

/// A run whose main task keeps things and ends abnormally.
fn keep(reach: Reach, seed: u64) {
    let values = Tally::new();
    let failed = go(2, seed, async {
        KEPT.set(things(reach, &values).await);
        Err::<(), _>("kept")
    });
    assert!(matches!(failed, Err(RunError::Failed("kept"))));
    // What the children held did not outlive the run.
    values.all_dropped();
}

#[test]
fn r46_things_are_dropped_after_the_run() {
    each(|reach, seed| {
        keep(reach, seed);
        drop(KEPT.take());
    });
}

#[test]
fn r46_things_are_used_after_the_run() {
    each(|reach, seed| {
        keep(reach, seed);
        let mut kept = KEPT.take();
        kept.iter_mut().for_each(Thing::check);
    });
}

/// Something that goes on in the run in which stale things are used or dropped: a point, a sleep, a child, an `Orphans`.
async fn life_goes_on(meanwhile: impl FnOnce()) {
    let platform_point = Point::new().unwrap();
    let orphans = Orphans::new();
    orphans.spawn(async { 1 });
    let gate = Gate::new();
    let child = spawn({
        let gate = gate.clone();
        async move { gate.passed().await }
    });
    let mut suspended = begun(platform_point.suspend(|_| Ok::<(), ()>(())));
    let mut slept = Box::pin(sleep(Duration::from_millis(1)));
    let _ = poll_under(&mut slept, Waker::noop());
    meanwhile();
    // They are what they were.
    assert!(poll_under(&mut suspended, Waker::noop()).is_pending());
    slept.as_mut().await;
    gate.open();
    child.await.unwrap();
    assert_eq!(orphans.next().await.unwrap().unwrap(), 1);
}

#[test]
fn r46_things_are_used_and_dropped_in_another_run() {
    each(|reach, seed| {
        keep(reach, seed);
        let kept = KEPT.take();
        go(2, seed, async {
            life_goes_on(|| {
                let mut kept = kept;
                kept.iter_mut().for_each(Thing::check);
                drop(kept);
            })
            .await;
        })
        .unwrap();
        keep(reach, seed);
        let kept = KEPT.take();
        go(2, seed, async { life_goes_on(|| drop(kept)).await }).unwrap();
    });
}

#[test]
fn r46_a_stale_point_does_not_close_another_runs_point_of_the_same_number() {
    each(|_, seed| {
        thread_local! {
            static STALE: RefCell<Option<(Point, matou_core::PointId)>> = const { RefCell::new(None) };
        }
        go(0, seed, async {
            let point = Point::new().unwrap();
            let id = point.id();
            STALE.set(Some((point, id)));
        })
        .unwrap();
        let platform = Threads::new(0);
        run(&platform, Config::new().seed(seed), async {
            let point = Point::new().unwrap();
            let (stale, same) = STALE.take().unwrap();
            let id = point.id();
            assert_eq!(id, same);
            let mut suspended = Box::pin(point.suspend(|_| Ok::<(), ()>(())));
            assert!(poll_under(&mut suspended, Waker::noop()).is_pending());
            drop(stale);
            platform.hand(0).fire(id);
            suspended.await.unwrap();
        })
        .unwrap();
        assert_eq!(platform.hand(0).log().cancelled, []);
    });
}

#[test]
fn r46_things_of_a_task_that_has_ended_are_used_by_another_task_of_the_same_run() {
    each(|reach, seed| {
        let values = Tally::new();
        go(2, seed, async {
            let kept = Rc::new(RefCell::new(Vec::new()));
            let keeper = spawn({
                let (kept, values) = (kept.clone(), values.clone());
                async move {
                    *kept.borrow_mut() = things(reach, &values).await;
                    Err::<(), _>("kept")
                }
            });
            assert!(matches!(keeper.await, Err(Exit::Failed("kept"))));
            values.all_dropped();
            let mut kept = kept.take();
            // What belongs to the run and not to a task is alive.
            let alive = ["a sleep", "a timeout", "a point", "a suspended point"];
            kept.iter_mut().filter(|thing| !alive.contains(&thing.name)).for_each(Thing::check);
            spawn(async move { drop(kept) }).await.unwrap();
            life_goes_on(|| {}).await;
        })
        .unwrap();
    });
}

#[test]
fn r46_things_are_dropped_when_their_thread_ends() {
    each(|reach, seed| {
        std::thread::spawn(move || keep(reach, seed)).join().unwrap();
    });
}

#[test]
fn r46_things_of_a_worker_are_dropped_when_its_thread_ends() {
    each(|reach, seed| {
        let values = Tally::new();
        let failed = go(3, seed, async {
            let keeper = pinned(1, {
                let values = values.clone();
                move || async move {
                    KEPT.set(things(reach, &values).await);
                    Err::<(), _>("kept")
                }
            });
            assert!(matches!(keeper.await, Err(Exit::Failed("kept"))));
            values.all_dropped();
            Err::<(), _>("kept")
        });
        assert!(matches!(failed, Err(RunError::Failed("kept"))));
    });
}

#[test]
fn r46_a_promise_handed_up_as_an_error_is_over() {
    each(|reach, seed| {
        go(2, seed, async {
            let values = Tally::new();
            let value = values.token();
            let child = spawn(async move {
                let grandchild = reach.start(move || async move { Plain(value) });
                until(|| grandchild.is_ended()).await;
                // An abnormal end, so that the grandchild is cancelled.
                Err::<(), Promise<Token>>(grandchild)
            });
            let Err(Exit::Failed(mut grandchild)) = child.await else { panic!("it fails") };
            assert_eq!(values.all_dropped(), 1);
            assert_eq!(grandchild.state(), State::Exited);
            assert_eq!(said_by(&mut grandchild), "Ready(Err(Cancelled))");
            assert!(said_by(&mut grandchild).contains("polled after its result"));
            grandchild.cancel().await;
        })
        .unwrap();
    });
}

// ---- wakers

/// The wakers of a main task, a child, and a child on a worker, all parked.
fn wakers(seed: u64) -> Vec<Waker> {
    let kept = Arc::new(StdMutex::new(Vec::new()));
    let failed = go(2, seed, async {
        let hand_out = |kept: &Arc<StdMutex<Vec<Waker>>>| {
            let kept = kept.clone();
            std::future::poll_fn(move |cx: &mut Context<'_>| {
                kept.lock().unwrap().push(cx.waker().clone());
                Poll::Ready(())
            })
        };
        hand_out(&kept).await;
        let (here, there) = (hand_out(&kept), kept.clone());
        let _child = spawn(async move {
            here.await;
            parked().await;
        });
        let _called = call(move || async move {
            hand_out(&there).await;
            parked().await;
        })
        .unwrap();
        until(|| kept.lock().unwrap().len() == 3).await;
        Err::<(), _>(())
    });
    assert!(matches!(failed, Err(RunError::Failed(()))));
    Arc::try_unwrap(kept).unwrap().into_inner().unwrap()
}

#[test]
fn r46_a_wake_after_the_run_does_nothing_on_any_thread() {
    for seed in SEEDS {
        let wakers = wakers(seed);
        let waker = Waker::clone(&wakers[0]);
        assert!(waker.will_wake(&wakers[0]));
        wakers.iter().for_each(Waker::wake_by_ref);
        std::thread::scope(|scope| {
            for waker in &wakers {
                scope.spawn(move || {
                    for _ in 0..100 {
                        waker.wake_by_ref();
                        drop(waker.clone());
                    }
                });
            }
        });
        // In another run: on domain 0, whose memory may lie where the other's lay, and on a worker.
        go(2, seed, async {
            wakers.iter().for_each(Waker::wake_by_ref);
            let wakers = wakers.clone();
            let woken = Reach::Across.start(move || async move {
                wakers.iter().for_each(Waker::wake_by_ref);
                drop(wakers);
            });
            woken.await.unwrap();
            yield_now().await;
        })
        .unwrap();
        std::thread::spawn(move || drop(wakers)).join().unwrap();
    }
}

#[test]
fn r46_wakes_from_a_thread_outside_go_on_while_tasks_and_runs_end() {
    let wakers: StdMutex<Vec<Waker>> = StdMutex::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let some = wakers.lock().unwrap().clone();
                    some.iter().for_each(Waker::wake_by_ref);
                    some.into_iter().for_each(Waker::wake);
                }
            });
        }
        let _stopped = at_drop(|| stop.store(true, Ordering::SeqCst));
        for seed in 0..150 {
            let here: Arc<StdMutex<Vec<Waker>>> = Arc::default();
            let polls = Tally::new();
            go(2, seed, async {
                let handed = Gate::new();
                let make = || {
                    let (here, handed, polls) = (here.clone(), handed.clone(), polls.clone());
                    move || {
                        let mut left = 20;
                        std::future::poll_fn(move |cx: &mut Context<'_>| {
                            drop(polls.token());
                            here.lock().unwrap().push(cx.waker().clone());
                            handed.open();
                            left -= 1;
                            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
                        })
                    }
                };
                let children = [Reach::Same.start(make()), Reach::Across.start(make()), Reach::Across.start(make())];
                handed.passed().await;
                *wakers.lock().unwrap() = here.lock().unwrap().clone();
                for (n, child) in children.into_iter().enumerate() {
                    // One ends by itself if it is woken often enough; all are cancelled while they are being woken.
                    if n as u64 == seed % 4 { drop(child.cancel()) } else { child.cancel().await }
                }
            })
            .unwrap();
            assert!(polls.all_dropped() > 0);
        }
        wakers.lock().unwrap().clear();
    });
}

#[test]
fn r46_outside_a_run_effects_say_what_to_do() {
    assert!(panic_of(|| spawn(async {})).contains("outside a task"));
    assert!(call(|| async {}).is_err());
    assert!(panic_of(|| Orphans::<()>::new().care()).contains("outside a task"));
    assert!(Point::new().is_err());
    assert!(panic_of(|| poll_under(&mut pin!(sleep(Duration::ZERO)), Waker::noop())).contains("outside a run"));
    assert!(panic_of(|| poll_under(&mut pin!(scope(async {})), Waker::noop())).contains("outside a task"));
    // These need no run.
    assert!(poll_under(&mut yield_now(), Waker::noop()).is_pending());
    drop((Orphans::<()>::new(), Box::pin(sleep(Duration::ZERO)), scope(async {}), yield_now()));
}

/// What a waker leaves to the next one is a matter of the time before the end: afterwards each counts for itself, also where the parent, who is
/// elsewhere, has not looked yet.
#[test]
fn r46_wakers_made_at_home_after_the_end_hold_the_task_each_for_itself() {
    for seed in SEEDS {
        let wakers: Arc<StdMutex<Vec<Waker>>> = Arc::default();
        go(1, seed, async {
            let given = Arc::clone(&wakers);
            let child = call(move || {
                std::future::poll_fn(move |cx| {
                    given.lock().unwrap().push(cx.waker().clone());
                    Poll::Ready(7)
                })
            });
            let child = child.unwrap();
            while !child.is_ended() {
                yield_now().await;
            }
            let waker = wakers.lock().unwrap().pop().unwrap();
            let visit = call(move || async move {
                let more = [waker.clone(), waker.clone()];
                more.into_iter().for_each(drop);
                waker.wake();
            });
            visit.unwrap().await.unwrap();
            assert_eq!(child.await.unwrap(), 7);
        })
        .unwrap();
    }
}
