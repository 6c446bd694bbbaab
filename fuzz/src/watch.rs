//! The watchdog: a program that does not end is a finding, too.
//!
//! A runtime that polls a task over and over is stopped at a number of polls that no program reaches; one that waits for something that
//! never comes, by a thread that looks at the clock. Either way the process is ended: there is no way to go on, and libFuzzer keeps the
//! input of a process that aborts.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// More polls than any program makes: a task is polled at most once for each of its steps, each promise it watches, and each budget.
const MOST_POLLS: u64 = 100_000;
/// How long a program may take, in ticks of a second.
const MOST_TICKS: u32 = 20;

/// How many programs are running, on all threads, and how many have ended.
static RUNNING: AtomicU64 = AtomicU64::new(0);
static ENDED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static POLLS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Runs `f` under the watchdog.
pub(crate) fn watched<T>(f: impl FnOnce() -> T) -> T {
    static DOG: Once = Once::new();
    DOG.call_once(|| {
        std::thread::spawn(|| {
            let (mut seen, mut ticks) = (0, 0);
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let ended = ENDED.load(Ordering::Relaxed);
                let stands_still = ended == seen && RUNNING.load(Ordering::Relaxed) > 0;
                ticks = if stands_still { ticks + 1 } else { 0 };
                seen = ended;
                if ticks >= MOST_TICKS {
                    stop("a program has not ended in time: the runtime waits for something that never comes");
                }
            }
        });
    });
    POLLS.set(0);
    RUNNING.fetch_add(1, Ordering::Relaxed);
    let result = f();
    RUNNING.fetch_sub(1, Ordering::Relaxed);
    ENDED.fetch_add(1, Ordering::Relaxed);
    result
}

/// A task is polled.
pub(crate) fn step() {
    let polls = POLLS.get() + 1;
    POLLS.set(polls);
    if polls > MOST_POLLS {
        stop("a program has not ended: the runtime polls its tasks over and over");
    }
}

fn stop(why: &str) -> ! {
    eprintln!("matou-fuzz: {why}");
    std::process::abort();
}
