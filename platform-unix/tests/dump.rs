//! The live tree of tasks as text: from tasks, from threads outside, and when a domain does not answer.

use std::future::pending;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use matou_unix::sync::Trigger;
use matou_unix::{Builder, DomainId, Task, dump, time};

/// The tests look at all runs of this process: one at a time.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Without what differs: the numbers of lines, and ages.
fn plain(text: &str) -> String {
    let line = |line: &str| {
        let (task, place) = line.split_once(", made at ")?;
        Some(format!("{task}{}\n", if place.contains(" s old") { ", aged" } else { "" }))
    };
    text.lines().map(|of| line(of).unwrap_or_else(|| format!("{of}\n"))).collect()
}

#[test]
fn from_a_task_across_three_domains() {
    let _alone = alone();
    let ran = Builder::new().environment(false).domains(2).births(true).run(async {
        let far = Task::new().name("far").pin(DomainId::new(1)).call(|| async {
            let deep = Task::new().name("deep").pin(DomainId::new(2)).call(pending::<()>).unwrap();
            deep.await.unwrap();
        });
        // Until they have settled.
        let expected = "matou: 3 tasks\n\
                        0:0 main, domain 0, suspended, aged\n  \
                          0:1 far, domain 1, suspended, aged\n    \
                            1:0 deep, domain 2, suspended, aged\n";
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let text = dump().patience(Duration::from_secs(60)).await;
            if plain(&text) == expected {
                break;
            }
            assert!(Instant::now() < deadline, "{text}");
            time::sleep(Duration::from_millis(1)).await;
        }
        far.unwrap().cancel().await;
    });
    assert!(ran.is_ok(), "{:?}", ran.err());
}

#[test]
fn from_a_thread_outside() {
    let _alone = alone();
    assert_eq!(dump().wait(), "matou: no run is under way\n");
    assert_eq!(dump().patience(Duration::MAX).wait(), "matou: no run is under way\n");
    let stop = std::sync::Arc::new(Trigger::new());
    let (ready, started) = channel();
    let text = thread::scope(|scope| {
        let stopping = &stop;
        let outside = scope.spawn(move || {
            started.recv().unwrap();
            let text = dump().patience(Duration::from_secs(60)).wait();
            stopping.signal();
            text
        });
        let main = async {
            ready.send(()).unwrap();
            stop.wait().await;
        };
        Builder::new().environment(false).domains(1).run(main).unwrap();
        outside.join().unwrap()
    });
    assert_eq!(plain(&text), "matou: 1 task; for their ages set MATOU_BIRTHS=1\n0:0 main, domain 0, suspended\n");
    assert_eq!(dump().wait(), "matou: no run is under way\n");
}

/// The wait is bounded, in a task and outside, and the text says who is missing.
#[test]
fn a_busy_domain_does_not_hold_it_up() {
    let _alone = alone();
    let ran = Builder::new().environment(false).domains(1).run(async {
        let (free, freed) = channel::<()>();
        let (begun, begins) = channel();
        let busy = Task::new().name("busy").call(move || async move {
            begun.send(()).unwrap();
            _ = freed.recv();
        });
        begins.recv().unwrap();
        let expected = "matou: 2 tasks; for their ages set MATOU_BIRTHS=1\n\
                        matou: not every domain has answered within 5ms\n\
                        0:0 main, domain 0, suspended\n  \
                          0:1 busy, domain 1, unknown\n\
                        domain 1 does not answer: busy in task 0:1; what its tasks have started on other domains is not shown\n";
        // A busy machine may be too slow for this domain, too.
        let deadline = Instant::now() + Duration::from_secs(60);
        let told = |text: String, expected: &str| {
            assert!(Instant::now() < deadline, "{text}");
            plain(&text) == expected
        };
        while !told(dump().patience(Duration::from_millis(5)).await, expected) {}
        let running = expected.replace("suspended", "running");
        while !told(dump().patience(Duration::from_millis(5)).wait(), &running) {}
        drop(free);
        busy.unwrap().await.unwrap();
    });
    assert!(ran.is_ok(), "{:?}", ran.err());
}
