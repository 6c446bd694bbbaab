//! `Mutex`, `Condition`, `Semaphore`, `Notify`: in the order of arrival, across domains, and whoever is cancelled loses nothing for the others.

#![cfg(feature = "std")]
#![allow(unsafe_code)] // A waker made by hand.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use matou_core::sync::{Closed, Condition, Mutex, MutexGuard, Notify, Semaphore, TryAcquireError};
use matou_core::{Exit, call, spawn, yield_now};
use support::family::{Dice, Journal, Tally, each, go, pinned, until};
use support::wakers::{Ring, on_wake, panic_of};

type Boxed<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + 'a>>;

fn poll<T>(future: &mut Boxed<'_, T>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

// ---- Mutex

#[test]
fn r40_a_mutex_is_held_by_one_task_at_a_time_on_all_domains() {
    for seed in 0..20 {
        let total = Arc::new(Mutex::new(0));
        let task = |total: Arc<Mutex<usize>>| async move {
            for _ in 0..50 {
                let mut total = total.lock().await;
                let before = *total;
                yield_now().await;
                *total = before + 1;
            }
        };
        go(2, seed, async {
            let mut children = Vec::new();
            for _ in 0..3 {
                children.push(spawn(task(total.clone())));
                let total = total.clone();
                children.push(call(move || task(total)).unwrap());
            }
            for child in children {
                child.await.unwrap();
            }
        })
        .unwrap();
        assert_eq!(*total.try_lock().unwrap(), 300);
    }
}

#[test]
fn r40_those_who_wait_get_the_mutex_in_the_order_in_which_they_came() {
    each(|reach, seed| {
        let (mutex, order) = (Arc::new(Mutex::new(0)), Journal::new());
        go(1, seed, async {
            let held = mutex.lock().await;
            let mut waiting = Vec::new();
            for number in 0..10 {
                let (mutex, order) = (mutex.clone(), order.clone());
                let asked = Arc::new(Notify::new());
                let asking = asked.clone();
                waiting.push(reach.start(move || async move {
                    let mut lock = Box::pin(mutex.lock());
                    assert!(lock.as_mut().now_or_never().is_none());
                    asking.notify_one();
                    drop(lock.await);
                    order.write(number.to_string());
                }));
                asked.notified().await;
            }
            drop(held);
            for waiting in waiting {
                waiting.await.unwrap();
            }
            assert!(mutex.try_lock().is_some());
        })
        .unwrap();
        assert_eq!(order.read(), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    });
}

#[test]
fn r40_a_cancelled_waiter_leaves_the_queue() {
    each(|reach, seed| {
        let mutex = Arc::new(Mutex::new(()));
        go(1, seed, async {
            let held = mutex.lock().await;
            let asked = Arc::new(Semaphore::new(0));
            let wait = |mutex: Arc<Mutex<()>>, asked: Arc<Semaphore>| {
                move || async move {
                    asked.add_permits(1);
                    drop(mutex.lock().await);
                }
            };
            let first = reach.start(wait(mutex.clone(), asked.clone()));
            asked.acquire().await.unwrap().forget();
            let second = reach.start(wait(mutex.clone(), asked.clone()));
            asked.acquire().await.unwrap().forget();
            first.cancel().await;
            drop(held);
            second.await.unwrap();
            assert!(mutex.try_lock().is_some());
        })
        .unwrap();
    });
}

#[test]
fn r40_a_waiter_cancelled_when_the_mutex_is_already_its_own_hands_it_on() {
    let mutex = Mutex::new(());
    let held = mutex.try_lock();
    let (mut first, mut second): (Boxed<'_, _>, Boxed<'_, _>) = (Box::pin(mutex.lock()), Box::pin(mutex.lock()));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    drop(held);
    assert!(mutex.try_lock().is_none(), "nobody comes in between");
    assert!(poll(&mut second).is_pending(), "it is the first one's");
    drop(first);
    assert!(poll(&mut second).is_ready(), "handed on");
}

#[test]
fn r40_a_cancelled_a_failed_and_a_panicked_holder_release() {
    each(|reach, seed| {
        let mutex = Arc::new(Mutex::new(0));
        go(1, seed, async {
            let holding = Arc::new(Notify::new());
            for end in 0..3 {
                let (held, holds) = (mutex.clone(), holding.clone());
                let holder = reach.start(move || async move {
                    let mut guard = held.lock().await;
                    *guard += 1;
                    holds.notify_one();
                    match end {
                        0 => std::future::pending().await,
                        1 => Err("it fails"),
                        _ => panic!("the holder panics"),
                    }
                });
                holding.notified().await;
                match end {
                    0 => holder.cancel().await,
                    1 => assert!(matches!(holder.await, Err::<(), _>(Exit::Failed("it fails")))),
                    _ => assert!(matches!(holder.await, Err(Exit::Panicked(_)))),
                }
                assert_eq!(*mutex.lock().await, end + 1, "as it was left");
            }
        })
        .unwrap();
    });
}

#[test]
fn r40_waiters_cancelled_at_random_on_all_domains_lose_the_mutex_for_nobody() {
    for seed in 0..30 {
        let (mutex, tally) = (Arc::new(Mutex::new(0_usize)), Tally::new());
        go(2, seed, async {
            let mut dice = Dice::new(seed);
            let mut children = Vec::new();
            for _ in 0..60 {
                let (mutex, token) = (mutex.clone(), tally.token());
                let task = move || async move {
                    let _token = token;
                    for _ in 0..3 {
                        let mut guard = mutex.lock().await;
                        *guard += 1;
                        let held = *guard;
                        yield_now().await;
                        assert_eq!(*guard, held);
                    }
                };
                children.push(if dice.below(2) == 0 { spawn(task()) } else { call(task).unwrap() });
            }
            while !children.is_empty() {
                let child = children.swap_remove(dice.below(children.len() as u64) as usize);
                if dice.below(2) == 0 {
                    child.cancel().await;
                } else {
                    child.await.unwrap();
                }
            }
        })
        .unwrap();
        assert!(mutex.try_lock().is_some(), "nobody holds it any more");
        assert_eq!(tally.all_dropped(), 60);
    }
}

#[test]
fn a_mutex_is_open_to_who_owns_it_and_shows_its_value() {
    let mut mutex = Mutex::from(vec![1]);
    mutex.get_mut().push(2);
    assert_eq!(format!("{mutex:?}"), "Mutex { value: [1, 2] }");
    let guard = mutex.try_lock().unwrap();
    assert_eq!((format!("{mutex:?}"), format!("{guard:?}")), ("Mutex { value: <locked> }".into(), "[1, 2]".into()));
    drop(guard);
    assert_eq!(mutex.into_inner(), [1, 2]);
    assert_eq!(*Mutex::<u8>::default().try_lock().unwrap(), 0);
    let unsized_: &Mutex<[u8]> = &Mutex::new([1, 2]);
    assert_eq!(unsized_.try_lock().unwrap().len(), 2);
}

#[test]
fn a_mutex_granted_in_the_midst_of_a_poll_is_not_lost_to_a_waker_whose_destructor_panics() {
    static MUTEX: Mutex<()> = Mutex::new(());
    static HELD: std::sync::Mutex<Option<MutexGuard<'static, ()>>> = std::sync::Mutex::new(None);
    *HELD.lock().unwrap() = MUTEX.try_lock();
    // Its clone gives the mutex back, its drop panics: the second look of the poll finds the mutex free, and the clone unused.
    let waker = Bomb::waker();
    let mut wait = Box::pin(MUTEX.lock());
    let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_ready());
    drop(polled);
    assert!(MUTEX.try_lock().is_some());
    std::mem::forget(waker);

    struct Bomb;
    impl Bomb {
        fn waker() -> Waker {
            use std::task::{RawWaker, RawWakerVTable};
            static VTABLE: RawWakerVTable = RawWakerVTable::new(
                |_| {
                    drop(HELD.lock().unwrap().take());
                    RawWaker::new(std::ptr::null(), &VTABLE)
                },
                |_| {},
                |_| {},
                |_| panic!("a waker whose destructor panics"),
            );
            // SAFETY: its functions use no data.
            unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) }
        }
    }
}

#[test]
fn r36_locks_take_from_the_budget() {
    let mutex = Mutex::new(());
    let ended = matou_core::run(&support::Threads::new(0), matou_core::Config::new().quanta(4), async {
        let ran = std::rc::Rc::new(std::cell::Cell::new(false));
        let runs = ran.clone();
        let child = spawn(async move { runs.set(true) });
        for _ in 0..10 {
            drop(mutex.lock().await);
        }
        assert!(ran.get(), "ten locks, a budget of four");
        child.await
    });
    ended.unwrap();
}

// ---- Condition

#[test]
fn r41_who_gives_the_mutex_back_to_wait_is_listed_by_then() {
    static MUTEX: Mutex<()> = Mutex::new(());
    static CONDITION: Condition = Condition::new();
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    // Whoever is woken by the mutex that is given back signals, and must find the one who gave it back.
    let waker = on_wake(|| {
        FOUND.fetch_add(CONDITION.signal().into(), SeqCst);
    });
    let held = MUTEX.try_lock().unwrap();
    let mut next = Box::pin(MUTEX.lock());
    assert!(next.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut wait: Boxed<'_, _> = Box::pin(CONDITION.wait(held));
    assert!(poll(&mut wait).is_pending());
    assert_eq!(FOUND.load(SeqCst), 1);
    drop(next);
    assert!(poll(&mut wait).is_ready());
}

#[test]
fn r41_wait_gives_the_mutex_back_and_has_it_again_before_it_returns() {
    each(|reach, seed| {
        let shared = Arc::new((Mutex::new(0), Condition::new()));
        go(1, seed, async {
            let waits = shared.clone();
            let waiting = reach.start(move || async move {
                let (mutex, condition) = &*waits;
                let mut guard = mutex.lock().await;
                *guard = 1;
                let mut guard = condition.wait_while(guard, |value| *value < 2).await;
                *guard += 1;
                let held = *guard;
                yield_now().await;
                assert_eq!(*guard, held, "it is held");
            });
            let (mutex, condition) = &*shared;
            until(|| mutex.try_lock().is_some_and(|value| *value == 1)).await;
            // A wake-up that means nothing: it looks, and waits again.
            while !condition.signal() {
                yield_now().await;
            }
            let mut guard = mutex.lock().await;
            *guard = 2;
            condition.broadcast();
            condition.signal();
            yield_now().await;
            assert_eq!(*guard, 2, "who was woken waits for the mutex");
            drop(guard);
            waiting.await.unwrap();
            assert_eq!(*mutex.lock().await, 3);
        })
        .unwrap();
    });
}

/// A wait on a condition, listed.
fn listed<'a>(mutex: &'a Mutex<()>, condition: &'a Condition) -> Boxed<'a, MutexGuard<'a, ()>> {
    let mut wait: Boxed<'a, _> = Box::pin(condition.wait(mutex.try_lock().unwrap()));
    assert!(poll(&mut wait).is_pending());
    assert!(mutex.try_lock().is_some(), "it gave the mutex back");
    wait
}

#[test]
fn r41_signal_wakes_one_and_broadcast_all_that_wait() {
    let (mutex, condition) = (Mutex::new(()), Condition::new());
    assert!(!condition.signal(), "nobody waits, and nothing is kept");
    let mut waits: Vec<_> = (0..4).map(|_| listed(&mutex, &condition)).collect();
    assert!(condition.signal());
    let ready: Vec<_> = waits.iter_mut().map(|wait| poll(wait).is_ready()).collect();
    assert_eq!(ready, [true, false, false, false], "the one that came first");
    drop(waits.remove(0));
    condition.broadcast();
    let mut late = listed(&mutex, &condition);
    for mut wait in waits {
        assert!(poll(&mut wait).is_ready());
    }
    assert!(poll(&mut late).is_pending(), "it came after the broadcast");
}

#[test]
fn r41_a_signal_given_to_a_waiter_that_is_cancelled_passes_to_another() {
    let (mutex, condition) = (Mutex::new(()), Condition::new());
    // Cancelled before it saw the signal, and while it waits for the mutex again.
    for locks_again in [false, true] {
        let (mut first, mut second) = (listed(&mutex, &condition), listed(&mutex, &condition));
        let held = mutex.try_lock();
        assert!(condition.signal());
        if locks_again {
            assert!(poll(&mut first).is_pending());
        }
        assert!(poll(&mut second).is_pending());
        drop(first);
        drop(held);
        assert!(poll(&mut second).is_ready());
    }
    // A broadcast was for those who waited then: who came later is not woken by their going.
    let (first, held) = (listed(&mutex, &condition), mutex.try_lock());
    condition.broadcast();
    drop(held);
    let mut late = listed(&mutex, &condition);
    drop(first);
    assert!(poll(&mut late).is_pending());
}

#[test]
fn r41_a_waiter_cancelled_before_its_first_poll_gives_the_mutex_back() {
    let (mutex, condition) = (Mutex::new(()), Condition::new());
    let wait = condition.wait(mutex.try_lock().unwrap());
    assert!(mutex.try_lock().is_none(), "until it waits it holds the mutex");
    drop(wait);
    assert!(mutex.try_lock().is_some());
}

#[test]
fn r41_producers_and_consumers_cancelled_at_random_lose_no_signal() {
    for seed in 0..20 {
        let shared = Arc::new((Mutex::new(0_usize), Condition::new()));
        go(2, seed, async {
            let mut dice = Dice::new(seed);
            let taken = Arc::new(AtomicUsize::new(0));
            let consume = |shared: Arc<(Mutex<usize>, Condition)>, taken: Arc<AtomicUsize>| async move {
                let (mutex, condition) = &*shared;
                let mut items = condition.wait_while(mutex.lock().await, |items| *items == 0).await;
                *items -= 1;
                taken.fetch_add(1, SeqCst);
            };
            let (mut stay, mut go_away) = (Vec::new(), Vec::new());
            for _ in 0..20 {
                for (children, taken) in [(&mut stay, Arc::default()), (&mut go_away, taken.clone())] {
                    let shared = shared.clone();
                    children.push(if dice.below(2) == 0 {
                        spawn(consume(shared, taken))
                    } else {
                        call(move || consume(shared, taken)).unwrap()
                    });
                }
            }
            // One item for each that stays, and one for each that was taken by one of those that go.
            let (mutex, condition) = &*shared;
            for child in go_away {
                *mutex.lock().await += 1;
                condition.signal();
                child.cancel().await;
            }
            for _ in 0..taken.load(SeqCst) {
                *mutex.lock().await += 1;
                condition.signal();
            }
            for child in stay {
                child.await.unwrap();
            }
        })
        .unwrap();
        assert_eq!(*shared.0.try_lock().unwrap(), 0);
    }
}

// ---- Semaphore

#[test]
fn permits_are_given_in_the_order_of_arrival_and_many_are_not_passed_by_few() {
    let semaphore = Semaphore::new(2);
    let held = semaphore.try_acquire_many(2).unwrap();
    let (mut many, mut few): (Boxed<'_, _>, Boxed<'_, _>) = (Box::pin(semaphore.acquire_many(2)), Box::pin(semaphore.acquire()));
    assert!(poll(&mut many).is_pending() && poll(&mut few).is_pending());
    let mut held = held;
    drop(held.split(1));
    assert!(poll(&mut few).is_pending(), "one is there, and is kept for who came first");
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
    drop(many);
    assert!(poll(&mut few).is_ready(), "who came first has gone");
    assert!(held.split(2).is_none());
    assert_eq!((held.permits(), semaphore.available_permits()), (1, 1));
    held.forget();
    assert_eq!(semaphore.available_permits(), 1);
    assert_eq!(semaphore.forget_permits(5), 1);
    assert_eq!(semaphore.available_permits(), 0);
}

#[test]
fn permits_that_come_together_serve_all_for_whom_they_are_enough() {
    let semaphore = Semaphore::new(0);
    let rings = [Ring::new(), Ring::new(), Ring::new()];
    let mut waits: Vec<_> = rings.iter().map(|_| Box::pin(semaphore.acquire())).collect();
    for (wait, (_, waker)) in waits.iter_mut().zip(&rings) {
        assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    semaphore.add_permits(2);
    assert_eq!(rings.map(|(ring, _)| ring.wakes()), [1, 1, 0]);
}

#[test]
fn permits_beyond_all_bounds_are_refused_and_lose_nothing() {
    let semaphore = Semaphore::new(0);
    let mut held = Vec::new();
    for _ in 0..9 {
        semaphore.add_permits(Semaphore::MOST_PERMITS);
        held.push(semaphore.try_acquire_many(Semaphore::MOST_PERMITS).unwrap());
    }
    drop(held);
    assert!(semaphore.try_acquire().is_ok());
    assert!(panic_of(|| drop(poll(&mut (Box::pin(semaphore.acquire_many(usize::MAX)) as Boxed<'_, _>)))).contains("MOST_PERMITS"));
}

#[test]
fn permits_granted_to_who_goes_away_are_given_back() {
    let semaphore = Semaphore::new(0);
    let (mut first, mut second): (Boxed<'_, _>, Boxed<'_, _>) = (Box::pin(semaphore.acquire_many(2)), Box::pin(semaphore.acquire_many(2)));
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    semaphore.add_permits(2);
    drop(first);
    assert_eq!(poll(&mut second).map(|permit| permit.unwrap().permits()), Poll::Ready(2));
    assert_eq!(semaphore.available_permits(), 2, "the permit was dropped");
}

#[test]
fn a_closed_semaphore_tells_all_who_wait_and_who_ask() {
    let semaphore = Semaphore::new(1);
    let held = semaphore.try_acquire().unwrap();
    let mut waiting: Vec<Boxed<'_, _>> = (0..3).map(|_| Box::pin(semaphore.acquire()) as Boxed<'_, _>).collect();
    assert!(waiting.iter_mut().all(|wait| poll(wait).is_pending()));
    semaphore.close();
    for mut wait in waiting {
        assert!(matches!(poll(&mut wait), Poll::Ready(Err(Closed))));
    }
    assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Closed);
    assert!(semaphore.is_closed());
    drop(held);
    assert!(matches!(semaphore.acquire().now_or_never(), Some(Err(Closed))));
}

#[test]
fn no_more_tasks_at_a_time_than_permits_on_any_domain() {
    for seed in 0..20 {
        let (semaphore, inside) = (Arc::new(Semaphore::new(3)), Arc::new(AtomicUsize::new(0)));
        go(2, seed, async {
            let task = |semaphore: Arc<Semaphore>, inside: Arc<AtomicUsize>| async move {
                for _ in 0..20 {
                    let _permit = semaphore.acquire().await.unwrap();
                    assert!(inside.fetch_add(1, SeqCst) < 3);
                    yield_now().await;
                    inside.fetch_sub(1, SeqCst);
                }
            };
            let mut children = Vec::new();
            for _ in 0..4 {
                children.push(spawn(task(semaphore.clone(), inside.clone())));
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                children.push(call(move || task(semaphore, inside)).unwrap());
            }
            for child in children {
                child.await.unwrap();
            }
        })
        .unwrap();
        assert_eq!(semaphore.available_permits(), 3);
    }
}

#[test]
#[should_panic(expected = "at most `Semaphore::MOST_PERMITS`")]
fn too_many_permits_are_refused() {
    Semaphore::new(1).add_permits(Semaphore::MOST_PERMITS);
}

// ---- Notify

#[test]
fn one_notification_is_kept_and_several_are_one() {
    let notify = Notify::new();
    notify.notify_one();
    notify.notify_one();
    assert!(notify.notified().now_or_never().is_some());
    assert!(notify.notified().now_or_never().is_none());
    notify.notify_waiters();
    assert!(notify.notified().now_or_never().is_none(), "nobody waited");
}

#[test]
fn a_notification_given_to_who_goes_away_is_the_next_ones() {
    let notify = Notify::new();
    let mut waits: Vec<Boxed<'_, _>> = (0..3).map(|_| Box::pin(notify.notified()) as Boxed<'_, _>).collect();
    assert!(waits.iter_mut().all(|wait| poll(wait).is_pending()));
    notify.notify_one();
    drop(waits.remove(0));
    assert!(poll(&mut waits[0]).is_ready());
    assert!(poll(&mut waits[1]).is_pending());
    notify.notify_one();
    drop(waits);
    assert!(notify.notified().now_or_never().is_some(), "nobody else waited: it is kept");
}

#[test]
fn who_waits_anew_in_the_midst_of_notify_waiters_waits_for_the_next() {
    static NOTIFY: Notify = Notify::new();
    let anew = Arc::new(std::sync::Mutex::new(None::<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>));
    let waits_anew = anew.clone();
    let waker = on_wake(move || {
        let mut wait: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(NOTIFY.notified());
        assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        *waits_anew.lock().unwrap() = Some(wait);
    });
    let (mut first, mut second): (Boxed<'_, _>, Boxed<'_, _>) = (Box::pin(NOTIFY.notified()), Box::pin(NOTIFY.notified()));
    assert!(first.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(poll(&mut second).is_pending());
    NOTIFY.notify_waiters();
    assert!(poll(&mut first).is_ready() && poll(&mut second).is_ready());
    let mut anew = anew.lock().unwrap().take().expect("the waker was woken");
    assert!(anew.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    NOTIFY.notify_waiters();
    assert!(anew.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn a_waiter_polled_with_another_waker_is_woken_by_the_last() {
    let mutex = Mutex::new(());
    let held = mutex.try_lock();
    let mut wait = Box::pin(mutex.lock());
    let ((old, old_waker), (new, new_waker)) = (Ring::new(), Ring::new());
    for waker in [&old_waker, &old_waker, &new_waker] {
        assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    drop(held);
    assert_eq!((old.wakes(), new.wakes()), (0, 1));
}

#[test]
fn r40_a_task_parked_on_another_domain_is_woken_where_it_is() {
    let mutex = Arc::new(Mutex::new(Vec::new()));
    go(2, 0, async {
        let mut children = Vec::new();
        let held = mutex.lock().await;
        for domain in [1, 2, 1, 2] {
            let mutex = mutex.clone();
            children.push(pinned(domain, move || async move {
                let mut guard = mutex.lock().await;
                guard.push(matou_core::domain::current().unwrap().index());
            }));
        }
        for _ in 0..10 {
            yield_now().await;
        }
        drop(held);
        for child in children {
            child.await.unwrap();
        }
    })
    .unwrap();
    let mut seen = mutex.try_lock().unwrap().clone();
    seen.sort_unstable();
    assert_eq!(seen, [1, 1, 2, 2]);
}
