//! Blocking work: its hand-over between the future that awaits it and the thread that does it, the file that `platform-unix` ships.

#[path = "../../platform-unix/src/blocking/stage.rs"]
mod stage;

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use loom::future::block_on;
use loom::thread;

use self::stage::{Stage, Stages};
use crate::explore::explore;
use crate::world::Watched;

type Job = Stages<u8, Arc<Watched<u8>>>;

/// What a thread of the pool does: the result is one more than the work. What it was given back, if it began.
fn work(job: &Job) -> Option<bool> {
    let work = job.begin()?;
    let result = Arc::new(Watched::new(0));
    result.set(work + 1);
    // Nobody else has it now.
    Some(job.end(result).is_some_and(|unwanted| Arc::strong_count(&unwanted) == 1))
}

/// The future is awaited to its end: it is woken, and sees what the thread wrote.
#[test]
fn work_is_awaited() {
    const OUTCOMES: &[&str] = &["it had to wait", "it was over already"];
    explore(OUTCOMES, |met| {
        let job = Arc::new(Job::new(1));
        let worker = thread::spawn({
            let job = Arc::clone(&job);
            move || assert_eq!(work(&job), Some(false), "the result is wanted")
        });
        let waited = {
            let mut wait = pin!(job.wait());
            let waited = wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending();
            if waited {
                block_on(wait);
            }
            waited
        };
        let Stage::Ended(result) = job.take() else { panic!("it was told before there was a result") };
        assert_eq!(result.get(), 2);
        worker.join().unwrap();
        met.note(OUTCOMES[usize::from(!waited)]);
    });
}

/// The future is dropped at any moment: the closure and the result go to one of the two, once.
#[test]
fn work_is_dropped_early() {
    const OUTCOMES: &[&str] = &["it never began", "its result came back to the thread", "its result went with the future"];
    explore(OUTCOMES, |met| {
        let job = Arc::new(Job::new(1));
        let worker = thread::spawn({
            let job = Arc::clone(&job);
            move || work(&job)
        });
        let left = job.take();
        let back = worker.join().unwrap();
        met.note(match (left, back) {
            (Stage::Waiting(1), None) => OUTCOMES[0],
            (Stage::Running, Some(true)) => OUTCOMES[1],
            (Stage::Ended(result), Some(false)) => {
                assert_eq!(result.get(), 2);
                OUTCOMES[2]
            }
            _ => panic!("it went to both, or to neither"),
        });
    });
}

/// The run ends with the job in its queue: whoever still waits is told, and finds nothing.
#[test]
fn work_is_discarded() {
    const OUTCOMES: &[&str] = &["it waited", "it came later"];
    explore(OUTCOMES, |met| {
        let job = Arc::new(Job::new(1));
        let pool = thread::spawn({
            let job = Arc::clone(&job);
            move || assert!(matches!(job.discard(), Stage::Waiting(1)))
        });
        let at_once = pin!(job.wait()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
        block_on(job.wait());
        assert!(matches!(job.take(), Stage::Taken));
        pool.join().unwrap();
        met.note(OUTCOMES[usize::from(at_once)]);
    });
}
