//! What is in `sync`: hand-over between threads, with those who wait going away at that very moment.
//!
//! The waiting side is polled by hand or by loom's executor, outside a run: what wakes a task is the business of `state` and `doorbell`.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool as StdBool, AtomicUsize as StdUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use loom::future::block_on;
use loom::thread;
use matou_core::sync::{Channel, Computation, Condition, Lazy, Mutex, Notify, Semaphore, SendError, Trigger};

use crate::explore::{explore, explore_bounded};
use crate::world::Watched;

/// Polls a future once, and drops it: what a cancellation does. Whether it was ready.
fn polled_once_and_dropped<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A value that loom watches, held by one thread at a time.
#[test]
fn a_mutex_is_handed_over() {
    const OUTCOMES: &[&str] = &["one had to wait", "nobody had to wait"];
    explore_bounded(3, OUTCOMES, |met| {
        let mutex = Arc::new(Mutex::new(Watched::new(0)));
        let other = thread::spawn({
            let mutex = Arc::clone(&mutex);
            move || {
                block_on(async {
                    let value = mutex.lock().await;
                    value.set(value.get() + 1);
                });
            }
        });
        let waited = block_on(async {
            let waited = mutex.try_lock().is_none();
            let value = mutex.lock().await;
            value.set(value.get() + 1);
            waited
        });
        other.join().unwrap();
        assert_eq!(mutex.try_lock().expect("nobody holds it").get(), 2);
        met.note(OUTCOMES[usize::from(!waited)]);
    });
}

/// Of two who wait, the first goes away while the mutex is given back.
#[test]
fn a_mutex_is_handed_on_by_who_goes_away() {
    const OUTCOMES: &[&str] = &["it went before the mutex was given back", "it had the mutex when it went"];
    explore_bounded(3, OUTCOMES, |met| {
        let mutex = Arc::new(Mutex::new(()));
        let held = mutex.try_lock().unwrap();
        let goes = {
            let mutex = Arc::clone(&mutex);
            // Listed first, by this thread.
            let mut wait = Box::pin(async move { drop(mutex.lock().await) });
            assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            wait
        };
        let stays = thread::spawn({
            let mutex = Arc::clone(&mutex);
            move || block_on(async { drop(mutex.lock().await) })
        });
        let given_back = Arc::new(StdBool::new(false));
        let leaver = thread::spawn({
            let given_back = Arc::clone(&given_back);
            move || {
                let late = given_back.load(Relaxed);
                drop(goes);
                late
            }
        });
        drop(held);
        given_back.store(true, Relaxed);
        let late = leaver.join().unwrap();
        stays.join().unwrap();
        assert!(mutex.try_lock().is_some());
        met.note(OUTCOMES[usize::from(late)]);
    });
}

/// A signal given under the mutex, or after it, finds who gave the mutex back to wait.
#[test]
fn no_signal_is_lost_between_mutex_and_condition() {
    const OUTCOMES: &[&str] = &["it waited", "it did not need to wait"];
    explore_bounded(3, OUTCOMES, |met| {
        let shared = Arc::new((Mutex::new(false), Condition::new()));
        let other = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                block_on(async { *shared.0.lock().await = true });
                shared.1.signal();
            }
        });
        let waited = block_on(async {
            let mut ready = shared.0.lock().await;
            let waited = !*ready;
            while !*ready {
                ready = shared.1.wait(ready).await;
            }
            waited
        });
        other.join().unwrap();
        met.note(OUTCOMES[usize::from(!waited)]);
    });
}

/// Of two who wait, the first goes away: before the signal, with the signal, and with the signal while it waits for the mutex again.
#[test]
fn a_signal_passes_from_who_goes_away_to_who_stays() {
    const OUTCOMES: &[&str] = &["the signal was there when it went", "it went without a signal"];
    explore_bounded(2, OUTCOMES, |met| {
        let shared = Arc::new((Mutex::new(()), Condition::new()));
        let wait = |waker: &Waker| {
            let shared = Arc::clone(&shared);
            let mut wait = Box::pin(async move { drop(shared.1.wait(shared.0.lock().await).await) });
            assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
            wait
        };
        let mut goes = wait(Waker::noop());
        let stays = wait(Waker::noop());
        let signalled = Arc::new(StdBool::new(false));
        let leaver = thread::spawn({
            let (shared, signalled) = (Arc::clone(&shared), Arc::clone(&signalled));
            move || {
                let late = signalled.load(Relaxed);
                // Somebody else has the mutex: signalled, it would wait for it.
                let held = shared.0.try_lock();
                let polled = goes.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_pending() || held.is_none());
                drop(goes);
                drop(held);
                late
            }
        });
        assert!(shared.1.signal(), "somebody waited");
        signalled.store(true, Relaxed);
        let late = leaver.join().unwrap();
        block_on(stays);
        met.note(OUTCOMES[usize::from(!late)]);
    });
}

/// A notification without anybody waiting is kept, and one given to who goes away is passed on or kept.
#[test]
fn no_notification_is_lost() {
    const OUTCOMES: &[&str] = &["it was notified at once", "it went away"];
    explore(OUTCOMES, |met| {
        let notify = Arc::new(Notify::new());
        let other = thread::spawn({
            let notify = Arc::clone(&notify);
            move || notify.notify_one()
        });
        let notified = polled_once_and_dropped(notify.notified()).is_some();
        met.note(OUTCOMES[usize::from(!notified)]);
        if !notified {
            block_on(notify.notified());
        }
        other.join().unwrap();
    });
}

/// Permits that come while who needs two of them goes away, and another needs one.
#[test]
fn permits_find_who_waits() {
    const OUTCOMES: &[&str] = &["both were served", "one went away"];
    explore_bounded(3, OUTCOMES, |met| {
        let semaphore = Arc::new(Semaphore::new(0));
        let other = thread::spawn({
            let semaphore = Arc::clone(&semaphore);
            move || {
                semaphore.add_permits(1);
                semaphore.add_permits(1);
            }
        });
        let both = polled_once_and_dropped(semaphore.acquire_many(2)).is_some_and(|permits| permits.is_ok());
        block_on(async { drop(semaphore.acquire_many(2).await) });
        other.join().unwrap();
        assert_eq!(semaphore.available_permits(), 2);
        met.note(OUTCOMES[usize::from(!both)]);
    });
}

/// One value wins, all who wait see it, and what was written before it.
#[test]
fn a_computation_completes_once() {
    const OUTCOMES: &[&str] = &["this thread set it", "the other thread set it"];
    explore_bounded(3, OUTCOMES, |met| {
        let computation = Arc::new(Computation::new());
        let other = thread::spawn({
            let computation = Arc::clone(&computation);
            move || {
                let value = Watched::new(0);
                value.set(1);
                computation.try_complete(value).is_ok()
            }
        });
        let seen = computation.peek().map(Watched::get);
        assert!(matches!(seen, None | Some(1)), "what was written before");
        let value = Watched::new(0);
        value.set(2);
        let first = computation.try_complete(value).is_ok();
        let value = block_on(computation.wait()).get();
        let other = other.join().unwrap();
        assert!(first != other, "one of them sets it");
        assert_eq!(value, if first { 2 } else { 1 });
        met.note(OUTCOMES[usize::from(!first)]);
    });
}

/// A trigger wakes who waits, with what was written before, also where the waker is changed at that moment.
#[test]
fn a_trigger_wakes_its_waiter() {
    const OUTCOMES: &[&str] = &["it was signalled before", "it waited"];
    explore(OUTCOMES, |met| {
        let shared = Arc::new((Trigger::new(), Watched::new(0)));
        let other = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1.set(1);
                assert!(shared.0.signal());
            }
        });
        let at_once = {
            let mut wait = pin!(shared.0.wait());
            // Another waker than the one that it then waits with.
            let at_once = wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
            if !at_once {
                block_on(wait);
            }
            at_once
        };
        assert_eq!(shared.1.get(), 1);
        other.join().unwrap();
        met.note(OUTCOMES[usize::from(!at_once)]);
    });
}

/// The first who computes goes away while another waits for it.
#[test]
fn a_lazy_is_begun_anew() {
    const OUTCOMES: &[&str] = &["computed twice, once to the end", "computed once"];
    explore_bounded(3, OUTCOMES, |met| {
        let begun = Arc::new(StdUsize::new(0));
        let lazy = Arc::new(Lazy::new({
            let begun = Arc::clone(&begun);
            move || {
                begun.fetch_add(1, Relaxed);
                let mut yielded = false;
                std::future::poll_fn(move |cx| {
                    if std::mem::replace(&mut yielded, true) {
                        return Poll::Ready(7);
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                })
            }
        }));
        let other = thread::spawn({
            let lazy = Arc::clone(&lazy);
            move || block_on(async { *lazy.force().await.unwrap() })
        });
        let _ = polled_once_and_dropped(lazy.force());
        assert_eq!(other.join().unwrap(), 7);
        assert_eq!(lazy.peek(), Some(&7));
        match begun.load(Relaxed) {
            2 => met.note(OUTCOMES[0]),
            1 => met.note(OUTCOMES[1]),
            more => panic!("computed {more} times"),
        }
    });
}

/// Every value that is sent while the channel is closed is received, or given back.
#[test]
fn a_channel_loses_nothing_when_it_is_closed() {
    const OUTCOMES: &[&str] = &["received", "given back"];
    explore_bounded(3, OUTCOMES, |met| {
        let channel = Arc::new(Channel::<u8, 1>::new());
        let sender = thread::spawn({
            let channel = Arc::clone(&channel);
            move || block_on(channel.send(7))
        });
        let closer = thread::spawn({
            let channel = Arc::clone(&channel);
            move || channel.close()
        });
        let received = block_on(channel.receive());
        closer.join().unwrap();
        match sender.join().unwrap() {
            Ok(()) => assert_eq!(received, Some(7)),
            Err(SendError(value)) => assert_eq!((received, value), (None, 7)),
        }
        met.note(OUTCOMES[usize::from(received.is_none())]);
    });
}

/// A full channel: the sender waits for the place that the receiver makes.
#[test]
fn a_channel_hands_its_places_and_values_over() {
    const OUTCOMES: &[&str] = &["the receiver waited", "the receiver did not wait"];
    explore_bounded(2, OUTCOMES, |met| {
        let channel = Arc::new(Channel::<u8, 1>::new());
        let sender = thread::spawn({
            let channel = Arc::clone(&channel);
            move || {
                block_on(async {
                    channel.send(1).await.unwrap();
                    channel.send(2).await.unwrap();
                });
            }
        });
        let at_once = polled_once_and_dropped(channel.receive());
        let waited = at_once.is_none();
        let (first, second) = block_on(async {
            let first = match at_once.flatten() {
                Some(first) => first,
                None => channel.receive().await.unwrap(),
            };
            (first, channel.receive().await.unwrap())
        });
        assert_eq!((first, second), (1, 2));
        sender.join().unwrap();
        met.note(OUTCOMES[usize::from(!waited)]);
    });
}

/// Who waits for a trigger goes away while it is signalled; the next who waits is not the worse for it.
#[test]
fn a_trigger_is_left_by_who_waits() {
    const OUTCOMES: &[&str] = &["it was signalled before", "it went away before"];
    explore(OUTCOMES, |met| {
        let shared = Arc::new((Trigger::new(), Watched::new(0)));
        let other = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1.set(1);
                assert!(shared.0.signal());
            }
        });
        let at_once = polled_once_and_dropped(shared.0.wait()).is_some();
        block_on(shared.0.wait());
        assert_eq!(shared.1.get(), 1);
        other.join().unwrap();
        met.note(OUTCOMES[usize::from(!at_once)]);
    });
}

/// One of two who wait for a computation goes away while it is completed.
#[test]
fn a_computation_is_left_by_one_who_waits() {
    const OUTCOMES: &[&str] = &["it was complete before", "it went away before"];
    explore_bounded(3, OUTCOMES, |met| {
        let computation = Arc::new(Computation::new());
        let other = thread::spawn({
            let computation = Arc::clone(&computation);
            move || {
                let value = Watched::new(0);
                value.set(1);
                assert!(computation.try_complete(value).is_ok());
            }
        });
        let mut stays = Box::pin(computation.wait());
        let listed = stays.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
        let at_once = polled_once_and_dropped(computation.wait()).is_some();
        let value = if listed { block_on(stays) } else { block_on(computation.wait()) };
        assert_eq!(value.get(), 1);
        other.join().unwrap();
        met.note(OUTCOMES[usize::from(!at_once)]);
    });
}

/// A sender that waits for a place goes away as it is given one: the place goes to the next, and its value was sent or was not.
#[test]
fn a_channels_place_passes_from_who_goes_away_to_who_stays() {
    const OUTCOMES: &[&str] = &["it had the place when it went", "it went without a place"];
    explore_bounded(2, OUTCOMES, |met| {
        let channel = Arc::new(Channel::<u8, 1>::new());
        block_on(channel.send(1)).unwrap();
        let goes = {
            let channel = Arc::clone(&channel);
            let mut send = Box::pin(async move { channel.send(2).await });
            assert!(send.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            send
        };
        let stays = thread::spawn({
            let channel = Arc::clone(&channel);
            move || block_on(channel.send(3))
        });
        let received = Arc::new(StdBool::new(false));
        let leaver = thread::spawn({
            let received = Arc::clone(&received);
            move || {
                let late = received.load(Relaxed);
                drop(goes);
                late
            }
        });
        assert_eq!(block_on(channel.receive()), Some(1));
        received.store(true, Relaxed);
        assert_eq!(block_on(channel.receive()), Some(3), "who has gone has sent nothing");
        let late = leaver.join().unwrap();
        stays.join().unwrap().unwrap();
        met.note(OUTCOMES[usize::from(!late)]);
    });
}
