//! Work beside serving: tasks that compute in steps of 10 µs and let others run after each.

use std::io::{self, BufRead};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How long a step takes.
pub const STEP: Duration = Duration::from_micros(10);

static STEPS: AtomicU64 = AtomicU64::new(0);

/// Computes one step.
pub fn step() {
    let start = Instant::now();
    while start.elapsed() < STEP {
        std::hint::spin_loop();
    }
    STEPS.fetch_add(1, Relaxed);
}

/// Computes for ever, on any executor.
pub async fn forever(yield_now: impl AsyncFn()) {
    loop {
        step();
        yield_now().await;
    }
}

/// Answers each line of the standard input with the number of steps so far, on a thread that otherwise sleeps.
pub fn answer() {
    thread::spawn(|| {
        for _ in io::stdin().lock().lines().map_while(Result::ok) {
            println!("{}", STEPS.load(Relaxed));
        }
    });
}
