//! Prints what a task that waits takes of the heap, in bytes: a kind a line, and the number. See `checks/README.md`.

#![allow(unsafe_code)] // An allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use matou_core::time::sleep;
use matou_core::{Orphans, Outcome, spawn, yield_now};
use matou_instructions::operations::within;

/// Knows how many bytes are asked for and not given back.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const COUNT: usize = 100_000;

/// What a spawned task with this future takes, with its promise kept in a vector.
async fn spawned<F: Future<Output: Outcome> + 'static>(name: &str, make: impl Fn() -> F) {
    let mut promises = Vec::with_capacity(COUNT);
    let before = LIVE.load(Ordering::Relaxed);
    promises.extend((0..COUNT).map(|_| spawn(make())));
    yield_now().await;
    println!("{name}\t{}", (LIVE.load(Ordering::Relaxed) - before) as f64 / COUNT as f64);
    for promise in promises {
        promise.cancel().await;
    }
}

async fn orphaned(name: &str) {
    let orphans = Orphans::new();
    orphans.spawn(pending::<u64>());
    let before = LIVE.load(Ordering::Relaxed);
    (0..COUNT).for_each(|_| {
        orphans.spawn(pending::<u64>());
    });
    yield_now().await;
    println!("{name}\t{}", (LIVE.load(Ordering::Relaxed) - before) as f64 / COUNT as f64);
    while let Some(promise) = orphans.take() {
        promise.cancel().await;
    }
}

fn main() {
    // A run each: memory that one has kept for its next tasks is not another's.
    within(spawned("bytes a task that waits", pending::<u64>));
    within(spawned("bytes a task with a future of 128 bytes", || async {
        let held = [1_u8; 120];
        pending::<()>().await;
        u64::from(std::hint::black_box(&held)[7])
    }));
    within(spawned("bytes a task that sleeps", || sleep(Duration::from_secs(3600))));
    within(orphaned("bytes a child of an Orphans"));
}
