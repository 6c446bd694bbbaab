//! What counts as a step of a domain beside the polls of its tasks, so that its event source is asked in time (R35), and what budget foreign
//! code has that runs in none (R36).
//!
//! A test that floods a domain keeps it in one poll meanwhile, so that it finds all at once.

#![cfg(feature = "std")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use futures_util::FutureExt;
use matou_core::sync::Semaphore;
use matou_core::time::{Elapsed, sleep, timeout};
use matou_core::{Config, DomainId, Plain, Promise, RunError, Task, hook, run, spawn, yield_now};
use support::Threads;
use support::probe::OnDrop;
use support::script::Script;
use support::watched::{Borrowed, Fault, Watched};

const MANY: usize = 2_000;
const QUANTA: usize = 64;

/// Keeps a domain busy in one poll until it is told to go on, while a timer waits there.
fn hold(domain: usize) -> (Promise<()>, mpsc::Sender<()>) {
    let (held, is_held) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    let holder = Task::new().pin(DomainId::new(domain)).call(move || async move {
        let timer = spawn(sleep(Duration::from_secs(3600)));
        yield_now().await;
        held.send(()).unwrap();
        may_go_on.recv().unwrap();
        yield_now().await;
        timer.cancel().await;
    });
    is_held.recv().unwrap();
    (holder.unwrap(), go_on)
}

#[test]
fn r35_a_cancelled_subtree_is_as_many_steps() {
    let platform = Threads::new(0);
    let hand = platform.hand(0);
    run(&platform, Config::new(), async move {
        let timer = spawn(sleep(Duration::from_secs(3600)));
        let family = spawn(async {
            let _all: Vec<_> = (0..MANY).map(|_| spawn(pending::<()>())).collect();
            pending::<()>().await;
        });
        yield_now().await;
        let before = hand.log().looks;
        family.cancel().await;
        let looks = hand.log().looks - before;
        assert!((MANY / QUANTA - 1..=2 * MANY / QUANTA).contains(&looks), "{looks} looks");
        timer.cancel().await;
    })
    .unwrap();
}

#[test]
fn r35_cancellations_that_come_at_once_are_as_many_steps() {
    let platform = Threads::new(1);
    let hand = platform.hand(1);
    run(&platform, Config::new().domains(1), async move {
        let calls: Vec<_> = (0..MANY).map(|_| Task::new().pin(DomainId::new(1)).call(pending::<()>).unwrap()).collect();
        let (holder, go_on) = hold(1);
        let before = hand.log().looks;
        calls.into_iter().for_each(|call| drop(call.cancel()));
        go_on.send(()).unwrap();
        holder.await.unwrap();
        let looks = hand.log().looks - before;
        assert!(looks >= MANY / QUANTA - 1, "{looks} looks");
    })
    .unwrap();
}

#[test]
fn r35_ends_that_come_at_once_are_as_many_steps() {
    let platform = Threads::new(2);
    let hand = platform.hand(1);
    run(&platform, Config::new().domains(2), async move {
        let parent = Task::new().pin(DomainId::new(1)).call(move || async move {
            let timer = spawn(sleep(Duration::from_secs(3600)));
            yield_now().await;
            let (ended, all_ended) = mpsc::channel::<()>();
            let calls: Vec<_> = (0..MANY)
                .map(|_| {
                    let ended = ended.clone();
                    Task::new().pin(DomainId::new(2)).call(move || async move { drop(ended) }).unwrap()
                })
                .collect();
            drop(ended);
            // In one poll: none is taken before all have been sent, but for those whose task has dropped the sender and not ended.
            assert!(all_ended.recv().is_err());
            let before = hand.log().looks;
            yield_now().await;
            let looks = hand.log().looks - before;
            for call in calls {
                call.await.unwrap();
            }
            timer.cancel().await;
            looks
        });
        let looks = parent.unwrap().await.unwrap();
        assert!(looks >= MANY / QUANTA / 2, "{looks} looks");
    })
    .unwrap();
}

#[test]
fn r35_an_interrupt_is_heard_where_nobody_waits() {
    let platform = Threads::new(0);
    let hand = platform.hand(0);
    run(&platform, Config::new(), async move {
        for _ in 0..4 * QUANTA {
            yield_now().await;
        }
        assert_eq!(hand.log().looks, 0, "there is nothing to look for");
        hand.interrupt();
        for _ in 0..QUANTA {
            yield_now().await;
        }
        assert_eq!(hand.log().looks, 1);
        for _ in 0..4 * QUANTA {
            yield_now().await;
        }
        assert_eq!(hand.log().looks, 1, "it was heard");
    })
    .unwrap();
}

#[test]
fn r36_a_destructor_has_a_budget_of_its_own() {
    for used in [0, QUANTA - 2, QUANTA - 1, QUANTA, 3 * QUANTA] {
        run(&Threads::new(0), Config::new(), async move {
            let had = Rc::new(RefCell::new(Vec::new()));
            let child = spawn({
                let had = had.clone();
                async move {
                    let _on_drop = OnDrop(|| {
                        let semaphore = Semaphore::new(1);
                        had.borrow_mut().extend((0..=QUANTA).map(|_| semaphore.acquire().now_or_never().is_some()));
                    });
                    pending::<()>().await;
                }
            });
            yield_now().await;
            let semaphore = Semaphore::new(1);
            (0..used).for_each(|_| drop(semaphore.acquire().now_or_never()));
            child.cancel().await;
            let had = had.borrow();
            assert!(had[..QUANTA].iter().all(|&had| had) && !had[QUANTA], "{used} used by the parent: {had:?}");
        })
        .unwrap();
    }
}

/// On a clock that goes on each time it is asked.
#[test]
fn r36_a_timeout_is_over_though_its_future_uses_the_whole_budget() {
    for quanta in [1, 2, 64] {
        let waited = run(&Script::new(1), Config::new().quanta(quanta), async {
            let semaphore = Semaphore::new(1);
            let busy = async {
                for _ in 0..100_000 {
                    drop(semaphore.acquire().await);
                }
            };
            Plain(timeout(Duration::from_nanos(1_000), busy).await)
        });
        assert_eq!(waited.unwrap(), Err(Elapsed), "with {quanta}");
    }
}

#[test]
fn r36_timeouts_that_are_over_at_once_leave_the_others_their_turn() {
    run(&Threads::new(0), Config::new(), async {
        let other = spawn(async {});
        let mut turns = 0;
        while !other.is_ended() && turns < 10_000 {
            assert_eq!(timeout(Duration::ZERO, pending::<()>()).await, Err(Elapsed));
            turns += 1;
        }
        assert!(turns < 10_000, "nobody else had a turn");
        other.await.unwrap();
    })
    .unwrap();
}

#[test]
fn r35_a_hook_that_uses_as_many_effects_keeps_no_task_from_running() {
    run(&Threads::new(0), Config::new(), async {
        let timer = spawn(sleep(Duration::from_secs(3600)));
        yield_now().await;
        let calls = Rc::new(Cell::new(0));
        let hook = hook::add({
            let calls = calls.clone();
            move || {
                calls.set(calls.get() + 1);
                assert!(calls.get() < 1_000, "no task runs any more"); // It is removed then, and the test fails below.
                let semaphore = Semaphore::new(1);
                (0..QUANTA).for_each(|_| drop(semaphore.acquire().now_or_never()));
            }
        });
        for _ in 0..10 {
            yield_now().await;
        }
        assert!((10..100).contains(&calls.get()), "{} calls", calls.get());
        drop(hook);
        timer.cancel().await;
    })
    .unwrap();
}

/// It is the source's own code that would be called.
#[test]
fn r38_a_source_that_failed_is_asked_nothing_any_more() {
    for panics in [false, true] {
        let fault = if panics { Fault::SelectPanics(1) } else { Fault::SelectFails(1) };
        let platform = Watched::new(0).fault(0, fault);
        let ended = run(&Borrowed(&platform), Config::new(), async {
            let _timer = spawn(sleep(Duration::from_secs(3600)));
            let _family: Vec<_> = (0..MANY).map(|_| spawn(pending::<()>())).collect();
            for _ in 0..4 * QUANTA {
                yield_now().await;
            }
        });
        assert!(matches!(ended, Err(RunError::Events(..))), "{:?}", ended.err());
        assert_eq!(platform.asked_after_its_failure(), 0);
    }
}
