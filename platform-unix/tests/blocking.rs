//! Blocking work beside the domains: who does it, in which order, and what becomes of it when nobody waits for it any more.

#[macro_use]
mod support;

use std::future::{Future, pending, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};

use matou_unix::effect::poll_budget;
use matou_unix::{BlockingRefusal, Exit, RunError, ViolationKind, blocking, call, spawn, yield_now};
use support::{Setup, Watchdog, join, waker_that_drops};

everywhere! {
    the_domain_goes_on_meanwhile
    every_domain_may_ask
    r02_a_panic_goes_on_in_the_task
    jobs_begin_in_order
    as_many_at_a_time_as_were_allowed
    r10_one_that_waits_is_taken_off_the_queue
    r10_one_that_runs_is_let_finish_and_its_result_dropped_there
    a_cancelled_job_whose_value_panics_harms_nobody
    r36_it_is_an_effect
    r18_the_end_of_a_run_waits_for_its_jobs
    r19_runs_share_no_threads
    r44_a_violation_waits_for_jobs
    r46_a_future_that_outlives_its_run_is_inert
    when_no_thread_can_be_started_nothing_is_lost
}

/// A job that lasts until the sender is used or dropped, and the news that it began.
fn held() -> (impl FnOnce() + Send + 'static, Receiver<()>, Sender<()>) {
    let (began, beginning) = channel();
    let (release, held) = channel();
    let work = move || {
        began.send(()).unwrap();
        let _released = held.recv();
    };
    (work, beginning, release)
}

/// Waits for another thread without blocking the domain.
async fn received<T>(from: &Receiver<T>) -> T {
    loop {
        if let Ok(value) = from.try_recv() {
            return value;
        }
        yield_now().await;
    }
}

/// Tells on which thread it was dropped.
struct Dropped(Sender<ThreadId>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _told = self.0.send(thread::current().id());
    }
}

fn the_domain_goes_on_meanwhile(setup: &Setup) {
    setup.run(0, async {
        let (work, began, release) = held();
        let job = async {
            blocking(work).await?;
            Ok::<_, io::Error>(blocking(|| (thread::current().id(), thread::current().name().map(str::to_owned))).await?)
        };
        let other = async {
            received(&began).await;
            release.send(()).unwrap();
        };
        let (ran, ()) = join(job, other).await;
        let (thread, name) = ran?;
        assert_ne!(thread, thread::current().id());
        assert_eq!(name.as_deref(), Some("matou-blocking"));
        io::Result::Ok(())
    });
}

fn every_domain_may_ask(setup: &Setup) {
    setup.run(2, async {
        let children: Vec<_> = (0..20)
            .map(|number| call(move || async move { Ok::<_, io::Error>(blocking(move || number * 2).await?) }))
            .collect::<Result<_, _>>()?;
        for (number, result) in matou_unix::await_all(children).await.into_iter().enumerate() {
            assert_eq!(result?, number * 2);
        }
        io::Result::Ok(())
    });
}

fn r02_a_panic_goes_on_in_the_task(setup: &Setup) {
    setup.run(0, async {
        let child = spawn(async { blocking(|| -> u8 { panic!("no such cat: {}", "tama") }).await.map_err(io::Error::from) });
        let Err(Exit::Panicked(panic)) = child.await else { panic!("it did not panic") };
        assert_eq!(panic.message(), "no such cat: tama");
        assert_eq!(blocking(|| 7).await?, 7);
        io::Result::Ok(())
    });
}

fn jobs_begin_in_order(setup: &Setup) {
    let order = Arc::new(Mutex::new(Vec::new()));
    let log = order.clone();
    let ran = setup.builder(1).blocking_threads(1).run(async move {
        let (work, began, release) = held();
        let first = spawn(async { blocking(work).await.map_err(io::Error::from) });
        received(&began).await;
        let mut children = Vec::new();
        for number in 0..20 {
            let log = log.clone();
            let asked = Arc::new(AtomicBool::new(false));
            let told = asked.clone();
            let job = move || async move {
                let mut job = pin!(blocking(move || log.lock().unwrap().push(number)));
                poll_fn(|cx| {
                    let polled = job.as_mut().poll(cx);
                    told.store(true, Ordering::SeqCst);
                    polled
                })
                .await?;
                io::Result::Ok(())
            };
            children.push(if number % 2 == 0 { spawn(job()) } else { call(job)? });
            while !asked.load(Ordering::SeqCst) {
                yield_now().await;
            }
        }
        release.send(()).unwrap();
        first.await?;
        for result in matou_unix::await_all(children).await {
            result?;
        }
        io::Result::Ok(())
    });
    ran.unwrap();
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
}

fn as_many_at_a_time_as_were_allowed(setup: &Setup) {
    const MOST: usize = 3;
    let ran = setup.builder(0).blocking_threads(MOST).run(async {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let meeting = Arc::new(Barrier::new(MOST)); // With fewer threads nobody would get past it.
        let children: Vec<_> = (0..4 * MOST)
            .map(|_| {
                let (now, most, meeting) = (now.clone(), most.clone(), meeting.clone());
                let work = move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    meeting.wait();
                    now.fetch_sub(1, Ordering::SeqCst);
                };
                spawn(async { blocking(work).await.map_err(io::Error::from) })
            })
            .collect();
        for result in matou_unix::await_all(children).await {
            result?;
        }
        assert_eq!(most.load(Ordering::SeqCst), MOST);
        io::Result::Ok(())
    });
    ran.unwrap();
}

fn r10_one_that_waits_is_taken_off_the_queue(setup: &Setup) {
    let ran = setup.builder(0).blocking_threads(1).run(async {
        let (work, began, release) = held();
        let first = spawn(async { blocking(work).await.map_err(io::Error::from) });
        received(&began).await;
        let (dropped, drops) = channel();
        let closure = Dropped(dropped);
        let second = spawn(async { blocking(move || panic!("it ran: {:?}", closure.0)).await.map_err(io::Error::from) });
        yield_now().await;
        assert!(drops.try_recv().is_err());
        second.cancel().await;
        assert_eq!(drops.try_recv(), Ok(thread::current().id()), "dropped by its task, while the thread is busy");
        release.send(()).unwrap();
        first.await?;
        blocking(|| ()).await?; // Behind where it would have been.
        io::Result::Ok(())
    });
    ran.unwrap();
}

fn r10_one_that_runs_is_let_finish_and_its_result_dropped_there(setup: &Setup) {
    setup.run(0, async {
        let (work, began, release) = held();
        let (dropped, drops) = channel();
        let value = Dropped(dropped);
        let thread = Arc::new(Mutex::new(None));
        let here = thread.clone();
        let work = move || {
            *here.lock().unwrap() = Some(thread::current().id());
            work();
            value
        };
        let child = spawn(async { blocking(work).await.map(drop).map_err(io::Error::from) });
        received(&began).await;
        child.cancel().await;
        assert!(drops.try_recv().is_err(), "the cancellation does not wait for it");
        release.send(()).unwrap();
        assert_eq!(Some(received(&drops).await), *thread.lock().unwrap());
        io::Result::Ok(())
    });
}

fn a_cancelled_job_whose_value_panics_harms_nobody(setup: &Setup) {
    struct Worse;
    impl Drop for Worse {
        fn drop(&mut self) {
            if !thread::panicking() {
                std::panic::panic_any(Worse); // The payload's own destructor panics, too.
            }
        }
    }
    let ran = setup.builder(0).blocking_threads(1).run(async {
        let (work, began, release) = held();
        let work = move || {
            work();
            Worse
        };
        let child = spawn(async { blocking(work).await.map(std::mem::forget).map_err(io::Error::from) });
        received(&began).await;
        child.cancel().await;
        release.send(()).unwrap();
        assert_eq!(blocking(|| 7).await?, 7, "the only thread lives on");
        io::Result::Ok(())
    });
    ran.unwrap();
}

fn r36_it_is_an_effect(setup: &Setup) {
    let ran = setup.builder(0).quanta(4).blocking_threads(1).run(async {
        let order = Arc::new(Mutex::new(Vec::new()));
        let note = |name| {
            let order = order.clone();
            move || order.lock().unwrap().push(name)
        };
        let mut starved = pin!(blocking(note("starved")));
        poll_fn(|cx| {
            while poll_budget(cx).is_ready() {}
            assert!(starved.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        yield_now().await;
        blocking(note("other")).await?;
        starved.await?;
        assert_eq!(*order.lock().unwrap(), ["other", "starved"], "it was not asked for without a budget");
        io::Result::Ok(())
    });
    ran.unwrap();
}

fn r18_the_end_of_a_run_waits_for_its_jobs(setup: &Setup) {
    let finished = Arc::new(AtomicBool::new(false));
    let flag = finished.clone();
    let ran = setup.try_run(1, async move {
        let (work, began, release) = held();
        let work = move || {
            work();
            thread::sleep(std::time::Duration::from_millis(5)); // Longer than it takes to end a run.
            flag.store(true, Ordering::SeqCst);
        };
        let child = call(move || async { blocking(work).await.map_err(io::Error::from) })?;
        received(&began).await;
        drop((child, release));
        Err::<(), _>(io::Error::other("enough"))
    });
    assert!(matches!(ran, Err(RunError::Failed(_))));
    assert!(finished.load(Ordering::SeqCst));
}

fn r19_runs_share_no_threads(setup: &Setup) {
    let (work, began, release) = held();
    thread::scope(|scope| {
        scope.spawn(|| setup.builder(0).blocking_threads(1).run(async { blocking(work).await.map_err(io::Error::from) }).unwrap());
        began.recv().unwrap();
        let other = setup.builder(0).blocking_threads(1).run(async { blocking(|| 7).await.map_err(io::Error::from) });
        assert_eq!(other.unwrap(), 7);
        release.send(()).unwrap();
    });
}

fn r44_a_violation_waits_for_jobs(setup: &Setup) {
    let finished = Arc::new(AtomicBool::new(false));
    let flag = finished.clone();
    let ran = setup.try_run(2, async move {
        let (work, began, release) = held();
        let work = move || {
            work();
            thread::sleep(std::time::Duration::from_millis(5));
            flag.store(true, Ordering::SeqCst);
        };
        let asks = call(move || async { blocking(work).await.map_err(io::Error::from) })?;
        received(&began).await;
        let breaks = call(move || async {
            drop(release);
            drop(spawn(pending::<()>()));
        })?;
        breaks.await.map_err(io::Error::from)?;
        asks.await.map_err(io::Error::from)
    });
    let Err(RunError::Violation(violation)) = ran else { panic!("{ran:?}") };
    assert!(matches!(violation.kind, ViolationKind::StillHasChildren { .. }), "{violation}");
    assert!(finished.load(Ordering::SeqCst));
}

fn r46_a_future_that_outlives_its_run_is_inert(setup: &Setup) {
    let (dropped, drops) = channel();
    let mut kept = None;
    let ran = setup.builder(0).blocking_threads(1).run(async {
        let (work, began, release) = held();
        let mut runs = pin!(blocking(work));
        assert!(poll_fn(|cx| Poll::Ready(runs.as_mut().poll(cx).is_pending())).await);
        received(&began).await;
        let closure = Dropped(dropped);
        let mut waits = Box::pin(blocking(move || drop(closure)));
        let waker = waker_that_drops(release);
        assert!(waits.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        kept = Some(waits);
        io::Result::Ok(())
    });
    ran.unwrap();
    assert_eq!(drops.try_recv(), Ok(thread::current().id()), "the closure did not outlive the run");
    let kept = kept.unwrap();
    setup.run(0, async {
        let Err(Exit::Panicked(panic)) = spawn(async { kept.await.map_err(io::Error::from) }).await else { panic!("it did not panic") };
        assert_eq!(panic.message(), "the run that was to do this blocking work has ended");
        io::Result::Ok(())
    });
}

fn when_no_thread_can_be_started_nothing_is_lost(setup: &Setup) {
    // A stack no machine has room for.
    let ran = setup.builder(0).stack_size(1 << 60).run(async {
        let error = blocking(|| 7).await.unwrap_err();
        assert!(matches!(error.reason, BlockingRefusal::NoThread(_)));
        assert!(error.to_string().starts_with("no thread could be started for blocking work, and there is none yet: "), "{error}");
        assert_eq!((error.work)(), 7);
        let error = io::Error::from(blocking(|| 7).await.unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::Other, "not `WouldBlock`, as the system has it: there is nothing to wait for");
        io::Result::Ok(())
    });
    ran.unwrap();
}

#[test]
fn r19_outside_a_run_the_closure_comes_back() {
    let _watchdog = Watchdog::new("outside");
    let poll = || {
        let mut asked = pin!(blocking(|| 7));
        match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(error)) => error,
            polled => panic!("{polled:?}"),
        }
    };
    let error = poll();
    assert_eq!(error.to_string(), "blocking work was asked for outside `matou_unix::run`: await it inside, from a task");
    assert_eq!((error.work)(), 7);
    // A job is not a task.
    let ran = matou_unix::run(async move {
        let reason = blocking(move || poll().reason).await?;
        assert!(matches!(reason, BlockingRefusal::Outside));
        assert!(blocking(|| catch_unwind(AssertUnwindSafe(|| drop(spawn(async {})))).is_err()).await?);
        io::Result::Ok(())
    });
    ran.unwrap();
}
