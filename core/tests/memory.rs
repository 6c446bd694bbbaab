//! Memory: what is kept of forgotten children (rule 6), and how often tasks allocate.
//!
//! The allocator counts, for the whole process; so all is one test, in steps, and each step waits until the other domains have settled.

#![cfg(feature = "std")]
#![allow(unsafe_code)] // An allocator.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use matou_core::sync::Notify;
use matou_core::time::sleep;
use matou_core::{Care, Orphans, Plain, RunError, TaskPool, yield_now};
use support::family::*;
use support::wakers::poll_under;

/// Counts what the system's allocator is asked for.
struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::SeqCst);
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::SeqCst);
        // SAFETY: passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> isize {
    LIVE.load(Ordering::SeqCst)
}

/// How many allocations `f` makes.
async fn allocations(f: impl AsyncFnOnce()) -> usize {
    let before = CALLS.load(Ordering::SeqCst);
    f().await;
    CALLS.load(Ordering::SeqCst) - before
}

#[test]
fn memory_is_bounded_and_steady() {
    r06_a_parent_that_forgets_100_000_children_keeps_nothing_of_them();
    a_child_is_at_most_one_allocation_and_what_is_done_with_it_none();
    a_pooled_child_is_none();
    yields_wakes_and_timers_are_none();
    what_cancellation_and_collectors_take_is_given_back();
    waiting_for_the_next_child_allocates_once();
}

fn r06_a_parent_that_forgets_100_000_children_keeps_nothing_of_them() {
    const AT_ONCE: usize = 1_000;
    for reach in Reach::BOTH {
        for in_orphans in [false, true] {
            let many = if reach == Reach::Same && !in_orphans { 100_000 } else { 20_000 };
            let (futures, values) = (Tally::new(), Tally::new());
            let failed = go(1, 0, async {
                let mut first = None;
                for _ in 0..many / AT_ONCE {
                    for _ in 0..AT_ONCE {
                        let (token, value) = (futures.token(), values.token());
                        let make = move || async move {
                            let _token = token;
                            Plain(value)
                        };
                        if in_orphans {
                            // A collector each, dropped at once.
                            reach.start_in(&Orphans::new(), make);
                        } else {
                            drop(reach.start(make));
                        }
                    }
                    // All have ended, and been let go of.
                    until(|| values.dropped() == values.made()).await;
                    reach.start(|| async {}).await.unwrap();
                    yield_now().await;
                    let now = live();
                    let first = *first.get_or_insert(now);
                    assert!(now - first < 16 << 10, "{reach:?}, in orphans: {in_orphans}: {first} bytes have become {now}");
                }
                // A normal end would be the violation of rule 3.
                Err::<(), _>("children were forgotten")
            });
            assert!(matches!(failed, Err(RunError::Failed("children were forgotten"))));
            assert_eq!((futures.all_dropped(), values.all_dropped()), (many, many));
        }
    }
}

fn a_child_is_at_most_one_allocation_and_what_is_done_with_it_none() {
    for reach in Reach::BOTH {
        go(1, 0, async {
            let mut promises = Vec::with_capacity(10);
            for round in 0..3 {
                // Where no memory is kept, each is as the first.
                let is_first = round == 0 || cfg!(matou_plain_alloc);
                let spawning = allocations(async || {
                    for n in 0..10 {
                        promises.push(reach.start(move || async move {
                            yield_now().await;
                            n
                        }));
                    }
                });
                // The memory of the first ones is used again.
                let spawned = spawning.await;
                assert!(if is_first { spawned <= 10 } else { spawned == 0 }, "{reach:?}: {spawned} allocations for 10 children");
                let awaiting = allocations(async || {
                    for promise in promises.drain(..) {
                        promise.await.unwrap();
                    }
                });
                assert_eq!(awaiting.await, 0);
                let cancelling = allocations(async || {
                    for _ in 0..10 {
                        promises.push(reach.start(|| async {
                            parked().await;
                            0
                        }));
                    }
                    for promise in promises.drain(..) {
                        promise.cancel().await;
                    }
                });
                assert!(if is_first { cancelling.await <= 10 } else { cancelling.await == 0 });
            }
        })
        .unwrap();
    }
}

fn a_pooled_child_is_none() {
    static POOL: TaskPool<4, 128> = TaskPool::new();
    go(0, 0, async {
        let pooling = allocations(async || {
            for n in 0..100 {
                let one = POOL.spawn(async move {
                    yield_now().await;
                    n
                });
                let two = POOL.spawn(parked());
                assert_eq!(one.unwrap().await.unwrap(), n);
                two.unwrap().cancel().await;
            }
        });
        assert_eq!(pooling.await, 0);
    })
    .unwrap();
}

fn yields_wakes_and_timers_are_none() {
    static THERE: Notify = Notify::new();
    static HERE: Notify = Notify::new();
    const TIMES: usize = 200;
    for reach in Reach::BOTH {
        go(1, 0, async {
            // On this domain or on another: then each wake is one across domains.
            let other = reach.start(|| async {
                for _ in 0..2 * TIMES {
                    THERE.notified().await;
                    HERE.notify_one();
                }
            });
            let take_turns = async || {
                for _ in 0..TIMES {
                    THERE.notify_one();
                    HERE.notified().await;
                    yield_now().await;
                }
            };
            // The first time, what is made once may be made.
            take_turns().await;
            assert_eq!(allocations(take_turns).await, 0, "{reach:?}");
            other.await.unwrap();

            let sleeping = async |sleeps: usize| {
                for _ in 0..sleeps {
                    sleep(Duration::from_micros(1)).await;
                }
            };
            let sleepers: Vec<_> = (0..8).map(|_| reach.start(move || async move { sleeping(TIMES).await })).collect();
            sleeping(1).await;
            let ends = allocations(async || {
                for sleeper in sleepers {
                    sleeper.await.unwrap();
                }
                sleeping(TIMES).await;
            });
            assert_eq!(ends.await, 0, "{reach:?}");
        })
        .unwrap();
    }
}

fn what_cancellation_and_collectors_take_is_given_back() {
    go(0, 0, async {
        let orphans = Orphans::new();
        let mut before = 0;
        for round in 0..5 {
            for _ in 0..1_000 {
                orphans.spawn(yield_now());
            }
            let mut next = Box::pin(orphans.next());
            while poll_under(&mut next, Waker::noop()).is_pending() {
                yield_now().await;
            }
            drop(next);
            // Besides the children, `care`, `take` and `next` allocate nothing.
            let caring = allocations(async || {
                for _ in 0..300 {
                    let Care::Ready(promise) = orphans.care() else { panic!("they have ended") };
                    promise.await.unwrap();
                    orphans.take().unwrap().await.unwrap();
                    orphans.next().await.unwrap().unwrap();
                }
            });
            assert_eq!(caring.await, 0);
            while let Some(promise) = orphans.take() {
                promise.cancel().await;
            }
            if round == 0 {
                before = live();
            }
            assert!(live() <= before);
        }
    })
    .unwrap();
}

fn waiting_for_the_next_child_allocates_once() {
    go(0, 0, async {
        let orphans = Orphans::new();
        let wait = async || {
            for _ in 0..10 {
                orphans.spawn(yield_now());
                orphans.next().await.unwrap().unwrap();
            }
        };
        wait().await;
        let children = if cfg!(matou_plain_alloc) { 10 } else { 0 };
        assert_eq!(allocations(wait).await, children);
    })
    .unwrap();
}
