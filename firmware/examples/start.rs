//! Where to start from: two lamps that blink, a serial line that gives back what it gets, and a time after which it is over.
//!
//! Each is a task in a place of a static pool. Where none of them can run the processor sleeps, until the clock or a byte wakes it.
//! Whoever runs it feeds `matou` into the serial line.

#![no_std]
#![no_main]

#[allow(dead_code, unused_imports)] // The rules use another part of it.
#[path = "../src/board/mod.rs"]
mod board;

use core::time::Duration;

use matou_core::suspension::PointError;
use matou_core::sync::Mutex;
use matou_core::{Config, Promise, TaskPool, await_one_in, run, time};
use semihosting::{println, process};

use board::Board;

/// Places for three tasks of 256 bytes each. A future that is larger does not build.
static TASKS: TaskPool<3, 256> = TaskPool::new();

/// How often a lamp was switched. The tasks that blink share it; a handler might use it, too.
static SWITCHED: Mutex<u32> = Mutex::new(0);

type Started = Option<Promise<u32, PointError>>;

/// Switches a lamp, for ever. It keeps time even where others keep it from running at once.
async fn blink(period: Duration) -> Result<u32, PointError> {
    let mut turns = time::interval(period);
    loop {
        turns.tick().await;
        // Here a pin would change.
        *SWITCHED.lock().await += 1;
    }
}

/// Gives back so many bytes, and tells how many. An interrupt handler queues them; this task is resumed by the event source.
async fn echo(bytes: u32) -> Result<u32, PointError> {
    for _ in 0..bytes {
        board::send(board::read().await?);
    }
    Ok(bytes)
}

fn start<F>(task: F) -> Started
where
    F: Future<Output = Result<u32, PointError>> + 'static,
{
    // A full pool gives the task back: a program may then wait until one has ended.
    Some(TASKS.spawn(task).unwrap_or_else(|full| panic!("{full}")))
}

async fn work() -> Result<u32, PointError> {
    // A collection of children without a heap. None of them can be forgotten: to return while one is in it is an error, which names this line.
    let mut tasks = [start(blink(Duration::from_millis(10))), start(blink(Duration::from_millis(25))), start(echo(5))];
    // The first to end is the echo; the others stay.
    let echoed = match await_one_in(&mut tasks).await {
        Some(Ok(bytes)) => bytes,
        _ => 0,
    };
    time::sleep(Duration::from_millis(100)).await;
    // Each has ended, and has let go of what it held, when its cancellation has.
    for task in tasks.iter_mut().filter_map(Option::take) {
        task.cancel().await;
    }
    Ok(echoed)
}

fn main() -> ! {
    let echoed = match run(&Board, Config::new(), work()) {
        Ok(echoed) => echoed,
        Err(error) => panic!("{error:?}"),
    };
    let switched = SWITCHED.try_lock().map_or(0, |switched| *switched);
    println!();
    println!("echoed {echoed} bytes, switched lamps {switched} times, slept {} times", board::sleeps());
    assert!(echoed == 5 && switched >= 12 && board::sleeps() > 0);
    process::exit(0)
}
