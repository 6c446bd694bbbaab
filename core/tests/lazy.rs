//! `Lazy`: computed once, whoever asks, whoever goes away meanwhile.

#![cfg(feature = "std")]

mod support;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use futures_util::FutureExt;
use matou_core::sync::{Lazy, LazyError, Notify, Semaphore};
use matou_core::{Exit, spawn, yield_now};
use support::family::{each, go};

#[test]
fn r42_force_computes_once_and_the_others_wait() {
    each(|reach, seed| {
        let made = Arc::new(AtomicUsize::new(0));
        let counted = made.clone();
        let lazy = Arc::new(Lazy::new(move || {
            let counted = counted.clone();
            async move {
                yield_now().await;
                counted.fetch_add(1, SeqCst) + 42
            }
        }));
        go(2, seed, async {
            assert_eq!(lazy.peek(), None);
            let children: Vec<_> = (0..8)
                .map(|_| {
                    let lazy = lazy.clone();
                    reach.start(move || async move { *lazy.force().await.unwrap() })
                })
                .collect();
            assert_eq!(*lazy.force().await.unwrap(), 42);
            for child in children {
                assert_eq!(child.await.unwrap(), 42);
            }
        })
        .unwrap();
        assert_eq!((made.load(SeqCst), lazy.peek()), (1, Some(&42)));
        assert_eq!(lazy.force().now_or_never(), Some(Ok(&42)), "outside a run, too");
    });
}

type Forced = std::pin::Pin<Box<dyn Future<Output = u32>>>;

/// Asks itself for its value, once directly and once through a future that it made.
struct Narcissus {
    lazy: Lazy<u32, Box<dyn Fn() -> Forced>>,
}

fn narcissus(force: impl Fn(Rc<Narcissus>) -> Forced + 'static) -> Rc<Narcissus> {
    Rc::new_cyclic(|this: &std::rc::Weak<Narcissus>| {
        let this = this.clone();
        Narcissus { lazy: Lazy::new(Box::new(move || force(this.upgrade().unwrap()))) }
    })
}

#[test]
fn r42_forcing_it_from_within_itself_is_undefined() {
    go(0, 0, async {
        let within = narcissus(|this| {
            Box::pin(async move {
                yield_now().await;
                assert_eq!(this.lazy.force().await, Err(LazyError::Undefined));
                yield_now().await;
                7
            })
        });
        assert_eq!(within.lazy.force().await, Ok(&7));

        // Begun outside, while another computes, and awaited within: by then it is inside itself.
        let begun = Rc::new(std::cell::RefCell::new(None::<std::pin::Pin<Box<dyn Future<Output = Result<u32, LazyError>>>>>));
        let inside = begun.clone();
        let lazy = Rc::new(Lazy::new(move || {
            let inside = inside.clone();
            async move {
                yield_now().await;
                let begun = inside.take().unwrap();
                assert_eq!(begun.await, Err(LazyError::Undefined));
                7
            }
        }));
        let computing = spawn({
            let lazy = lazy.clone();
            async move { *lazy.force().await.unwrap() }
        });
        yield_now().await;
        let force = lazy.clone();
        let mut waiting: std::pin::Pin<Box<dyn Future<Output = _>>> = Box::pin(async move { force.force().await.copied() });
        assert!(waiting.as_mut().now_or_never().is_none());
        *begun.borrow_mut() = Some(waiting);
        assert_eq!(computing.await.unwrap(), 7);

        // Two in one task, one beside the other: the second is not within the first.
        let beside = Rc::new(Lazy::new(|| async {
            yield_now().await;
            7
        }));
        let (one, two) = futures_util::join!(beside.force(), beside.force());
        assert_eq!((one, two), (Ok(&7), Ok(&7)));
    })
    .unwrap();
}

#[test]
fn r42_a_panic_is_remembered_and_given_to_all() {
    each(|reach, seed| {
        let lazy = Arc::new(Lazy::new(|| async {
            yield_now().await;
            if true {
                panic!("no value today");
            }
        }));
        go(2, seed, async {
            let children: Vec<_> = (0..4)
                .map(|_| {
                    let lazy = lazy.clone();
                    reach.start(move || async move { lazy.force().await.copied() })
                })
                .collect();
            let panicked = LazyError::Panicked("no value today".into());
            for child in children {
                assert!(matches!(child.await, Err(Exit::Failed(error)) if error == panicked));
            }
            assert_eq!(lazy.force().await, Err(panicked), "ever after");
            assert_eq!(lazy.peek(), None);
        })
        .unwrap();
    });
}

#[test]
fn r42_a_computation_cancelled_half_way_is_begun_anew_by_the_next() {
    each(|reach, seed| {
        let (begun, done, go_on) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let make = {
            let (begun, done, go_on) = (begun.clone(), done.clone(), go_on.clone());
            move || {
                let (begun, done, go_on) = (begun.clone(), done.clone(), go_on.clone());
                async move {
                    begun.add_permits(1);
                    go_on.notified().await;
                    done.fetch_add(1, SeqCst) + 1
                }
            }
        };
        let lazy = Arc::new(Lazy::new(make));
        go(2, seed, async {
            let force = || {
                let lazy = lazy.clone();
                reach.start(move || async move { *lazy.force().await.unwrap() })
            };
            let first = force();
            begun.acquire().await.unwrap().forget();
            let (second, third) = (force(), force());
            first.cancel().await;
            begun.acquire().await.unwrap().forget();
            go_on.notify_one();
            assert_eq!((second.await.unwrap(), third.await.unwrap()), (1, 1));
        })
        .unwrap();
        assert_eq!((done.load(SeqCst), begun.available_permits()), (1, 0));
    });
}

#[test]
fn r42_cancelled_at_random_it_is_computed_once_for_those_who_stay() {
    for seed in 0..30 {
        let computed = Arc::new(AtomicUsize::new(0));
        let counted = computed.clone();
        let lazy = Arc::new(Lazy::new(move || {
            let counted = counted.clone();
            async move {
                for _ in 0..3 {
                    yield_now().await;
                }
                counted.fetch_add(1, SeqCst)
            }
        }));
        go(2, seed, async {
            let mut dice = support::family::Dice::new(seed);
            let mut children: Vec<_> = (0..10)
                .map(|_| {
                    let lazy = lazy.clone();
                    let force = move || async move { *lazy.force().await.unwrap() };
                    if dice.below(2) == 0 { spawn(force()) } else { matou_core::call(force).unwrap() }
                })
                .collect();
            for _ in 0..6 {
                children.swap_remove(dice.below(children.len() as u64) as usize).cancel().await;
            }
            for child in children {
                assert_eq!(child.await.unwrap(), 0);
            }
        })
        .unwrap();
        assert_eq!(computed.load(SeqCst), 1);
    }
}

#[test]
fn the_errors_of_a_lazy_say_what_happened() {
    assert!(LazyError::Undefined.to_string().contains("forced the same `Lazy`"));
    assert!(LazyError::Panicked("why".into()).to_string().ends_with("panicked: why"));
}

#[test]
fn r42_a_value_that_was_there_is_given_and_not_computed() {
    let lazy = Lazy::from_value(String::from("here"));
    assert_eq!(lazy.peek().map(String::as_str), Some("here"));
    let ran = go(1, 0, async {
        assert_eq!(lazy.force().await.map(String::as_str), Ok("here"));
        lazy.force().await.map(String::len).ok()
    });
    assert_eq!(ran.unwrap(), Some(4));
}
