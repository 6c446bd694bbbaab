//! `Trigger` and `Computation`: complete once, from any thread, and from outside the runtime.

#![cfg(feature = "std")]

mod support;

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use matou_core::sync::{Computation, Trigger};
use matou_core::{Config, call, run, spawn, yield_now};
use support::Threads;

#[test]
fn r43_a_trigger_is_signalled_once_and_from_a_thread_outside() {
    let platform = Threads::new(1);
    for across in [false, true] {
        for round in 0..100 {
            let trigger = Arc::new(Trigger::new());
            let result = run(&platform, Config::new().domains(1).seed(round), async {
                let waiting = trigger.clone();
                let child = if across {
                    call(move || async move { waiting.wait().await }).unwrap()
                } else {
                    spawn(async move { waiting.wait().await })
                };
                let signaller = trigger.clone();
                let thread = std::thread::spawn(move || signaller.signal());
                child.await.unwrap();
                thread.join().unwrap()
            });
            assert!(result.unwrap(), "the thread was the first to signal");
            assert!(trigger.is_signalled());
            assert!(!trigger.signal(), "it completes once");
        }
    }
}

#[test]
fn r43_of_many_threads_one_signals() {
    for _ in 0..100 {
        let trigger = Trigger::new();
        let firsts: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| usize::from(trigger.signal()))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(firsts, 1);
    }
}

#[test]
fn r43_a_trigger_has_one_waiter_and_another_after_it_was_cancelled() {
    let trigger = Trigger::new();
    let mut cx = Context::from_waker(Waker::noop());
    let mut first = std::pin::pin!(trigger.wait());
    assert!(first.as_mut().poll(&mut cx).is_pending());
    let second = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _ = std::pin::pin!(trigger.wait()).poll(&mut Context::from_waker(Waker::noop()));
    }));
    assert!(second.is_err(), "two waiters at a time");
    assert!(trigger.signal());
    assert!(first.as_mut().poll(&mut cx).is_ready());

    let trigger = Trigger::new();
    let mut cancelled = Box::pin(trigger.wait());
    assert!(cancelled.as_mut().poll(&mut cx).is_pending());
    drop(cancelled);
    let mut next = std::pin::pin!(trigger.wait());
    assert!(next.as_mut().poll(&mut cx).is_pending());
    assert!(trigger.signal());
    assert!(next.as_mut().poll(&mut cx).is_ready());
}

struct Counted(std::sync::atomic::AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn r43_a_trigger_wakes_the_last_waker_and_leaves_none_behind() {
    let [old, new] = [0, 1].map(|_| Arc::new(Counted(std::sync::atomic::AtomicUsize::new(0))));
    let trigger = Trigger::new();
    let mut wait = Box::pin(trigger.wait());
    for waker in [&old, &new] {
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker.clone().into())).is_pending());
    }
    assert_eq!(Arc::strong_count(&old), 1, "the waker that was replaced is gone");
    trigger.signal();
    assert_eq!([&old, &new].map(|waker| waker.0.load(std::sync::atomic::Ordering::Relaxed)), [0, 1]);
    assert_eq!(Arc::strong_count(&new), 1, "the waker that was woken is gone");

    let trigger = Trigger::new();
    let mut wait = Box::pin(trigger.wait());
    assert!(wait.as_mut().poll(&mut Context::from_waker(&new.clone().into())).is_pending());
    drop(wait);
    assert_eq!(Arc::strong_count(&new), 1, "a cancelled wait takes its waker along");
}

#[test]
fn r43_a_computation_completes_once_for_all_who_wait_on_every_domain() {
    let platform = Threads::new(2);
    for seed in 0..50 {
        let answer = Arc::new(Computation::new());
        let result = run(&platform, Config::new().domains(2).seed(seed), async {
            let mut waiting = Vec::new();
            for _ in 0..4 {
                let [here, there] = [answer.clone(), answer.clone()];
                waiting.push(spawn(async move { *here.wait().await }));
                waiting.push(call(move || async move { *there.wait().await }).unwrap());
            }
            let cancelled = spawn({
                let answer = answer.clone();
                async move { *answer.wait().await }
            });
            yield_now().await;
            cancelled.cancel().await;
            let completer = answer.clone();
            let thread = std::thread::spawn(move || completer.try_complete(7));
            let mut sum = 0;
            for waiting in waiting {
                sum += waiting.await.unwrap();
            }
            (sum, thread.join().unwrap())
        });
        assert_eq!(result.unwrap(), (56, Ok(())));
        assert_eq!(answer.try_complete(8), Err(8));
        assert_eq!(answer.peek(), Some(&7));
    }
}

#[test]
fn r43_of_many_threads_one_completes_and_the_others_keep_their_value() {
    for _ in 0..100 {
        let computation = Computation::new();
        let mut results: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|n| {
                    scope.spawn({
                        let computation = &computation;
                        move || computation.try_complete(n)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winner = *computation.peek().unwrap();
        results.sort_by_key(|result| result.err());
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        let given_back: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        assert_eq!(given_back, (0..4).filter(|&n| n != winner).collect::<Vec<_>>());
    }
}

#[test]
fn r43_a_wait_that_finds_the_value_is_ready_at_once() {
    let computation = Computation::new();
    computation.try_complete("there").unwrap();
    let mut wait = std::pin::pin!(computation.wait());
    assert_eq!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(&"there"));
    let trigger = Trigger::new();
    trigger.signal();
    assert!(std::pin::pin!(trigger.wait()).poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn r43_a_computation_that_nobody_else_holds_gives_its_value_out() {
    let computation = Computation::new();
    assert!(!computation.is_complete());
    computation.try_complete("first").unwrap();
    assert_eq!(computation.try_complete("second"), Err("second"));
    assert!(computation.is_complete());
    assert_eq!(computation.into_inner(), Some("first"));
    assert_eq!(Computation::<&str>::new().into_inner(), None);
}
