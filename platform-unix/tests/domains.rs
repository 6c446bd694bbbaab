//! Domains as threads: placing, waking, idling, failing.

#[macro_use]
mod support;

use std::cell::RefCell;
use std::collections::HashSet;
use std::future::{pending, poll_fn};
use std::io;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use matou_unix::net::TcpStream;
use matou_unix::{
    DomainId, Exit, Orphans, RunError, SpawnRefusal, Task, ViolationKind, blocking, call, domain, parallel, spawn, time, yield_now,
};
use support::{Scratch, Setup, assert_idle, listen, pair};

everywhere! {
    r08_children_here_and_there_in_one_list
    r09_a_cancelled_child_elsewhere_ends_before_its_cancellation_does
    r11_cancelling_wakes_a_sleeping_domain
    r15_call_spares_domain_zero_and_the_callers
    r15_pins_that_cannot_be
    r15_without_workers_the_closure_comes_back
    r16_parallel_goes_round
    r17_a_future_that_is_not_send_runs_elsewhere
    r18_a_panic_elsewhere_hangs_nobody
    r19_run_again_and_at_the_same_time
    r19_run_inside_a_run_is_refused
    r19_run_again_while_the_locals_of_a_thread_are_destroyed
    r20_idle_domains_use_no_time
    r38_a_thread_outside_wakes_a_task
    r38_many_wakes_from_many_threads
    r43_timers_of_all_domains
    r44_a_violation_elsewhere_ends_those_who_sleep
    r44_a_violation_here_ends_those_who_sleep_elsewhere
    r44_a_violation_ends_those_who_compute
    r44_finalisers_run_on_every_domain
    domains_are_named_threads
    an_error_of_main_cancels_everything
}

async fn for_ever() -> io::Result<()> {
    pending().await
}

fn r08_children_here_and_there_in_one_list(setup: &Setup) {
    setup.run(2, async {
        let mut promises = Vec::new();
        for number in 0..20 {
            let work = move || async move {
                time::sleep(Duration::from_micros(number as u64 % 5 * 100)).await;
                io::Result::Ok(number)
            };
            promises.push(if number % 2 == 0 { spawn(work()) } else { call(work)? });
        }
        let mut seen = HashSet::new();
        seen.insert(matou_unix::await_one(&mut promises).await.unwrap()?);
        for result in matou_unix::await_all(promises).await {
            seen.insert(result?);
        }
        assert_eq!(seen.len(), 20);

        let racers = vec![spawn(for_ever()), call(for_ever)?, call(|| async { io::Result::Ok(()) })?, spawn(for_ever())];
        matou_unix::await_first(racers).await.unwrap()?;
        io::Result::Ok(())
    });
}

fn r09_a_cancelled_child_elsewhere_ends_before_its_cancellation_does(setup: &Setup) {
    setup.run(1, async {
        struct Leaves(Arc<AtomicBool>);
        impl Drop for Leaves {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let gone = Arc::new(AtomicBool::new(false));
        let leaves = Leaves(gone.clone());
        let child = call(move || async move {
            let _leaves = leaves;
            for_ever().await
        })?;
        time::sleep(Duration::from_millis(1)).await;
        child.cancel().await;
        assert!(gone.load(Ordering::SeqCst));
        io::Result::Ok(())
    });
}

fn r11_cancelling_wakes_a_sleeping_domain(setup: &Setup) {
    setup.run(1, async {
        for _ in 0..100 {
            let (asleep, mut told) = (Arc::new(AtomicBool::new(false)), 0);
            let flag = asleep.clone();
            let child = call(move || async move {
                let (listener, _) = listen()?;
                flag.store(true, Ordering::SeqCst);
                listener.accept().await.map(drop)
            })?;
            while !asleep.load(Ordering::SeqCst) {
                told += 1;
                yield_now().await;
            }
            time::sleep(Duration::from_micros(told % 3 * 100)).await;
            child.cancel().await; // A domain that slept on would hang the test.
        }
        io::Result::Ok(())
    });
}

fn r15_call_spares_domain_zero_and_the_callers(setup: &Setup) {
    setup.run(3, async {
        let mut used = HashSet::new();
        for _ in 0..100 {
            let child = call(|| async {
                let here = domain::current().unwrap();
                // A grandchild is on neither of the two.
                let grandchild = call(|| async { io::Result::Ok(domain::current().unwrap()) })?;
                io::Result::Ok((here, grandchild.await?))
            })?;
            let (child, grandchild) = child.await?;
            assert_ne!(child, DomainId::ZERO);
            assert_ne!(grandchild, DomainId::ZERO);
            assert_ne!(child, grandchild);
            used.insert(child);
        }
        assert_eq!(used.len(), 3, "chance reaches all of them");
        assert_eq!(domain::available(), 3);
        io::Result::Ok(())
    });
}

fn r15_pins_that_cannot_be(setup: &Setup) {
    setup.run(1, async {
        let refused = |pin: usize| Task::new().pin(DomainId::new(pin)).call(for_ever).unwrap_err().reason;
        assert_eq!(refused(0), SpawnRefusal::DomainZero);
        assert_eq!(refused(7), SpawnRefusal::UnknownDomain(DomainId::new(7)));
        let own = Task::new().pin(DomainId::new(1)).call(|| async {
            let own = Task::new().pin(DomainId::new(1)).call(for_ever).unwrap_err().reason;
            io::Result::Ok(own == SpawnRefusal::OwnDomain)
        })?;
        assert!(own.await?);
        io::Result::Ok(())
    });
}

fn r15_without_workers_the_closure_comes_back(setup: &Setup) {
    setup.run(0, async {
        let kept = vec![1, 2, 3];
        let refused = call(move || async move { io::Result::Ok(kept) }).unwrap_err();
        assert_eq!((refused.0)().await?, [1, 2, 3]);
        io::Result::Ok(())
    });
}

fn r16_parallel_goes_round(setup: &Setup) {
    setup.run(3, async {
        let results = parallel(|number: u32| async move { io::Result::Ok((number, domain::current().unwrap().index())) }, 0..9).await?;
        let mut counts = [0; 4];
        for (number, result) in results.into_iter().enumerate() {
            let (same, domain) = result?;
            assert_eq!(same as usize, number, "in the order of the items");
            counts[domain] += 1;
        }
        assert_eq!(counts, [0, 3, 3, 3]);
        let none = parallel(|()| async { io::Result::Ok(()) }, Vec::<()>::new()).await?;
        assert!(none.is_empty());
        io::Result::Ok(())
    });
}

fn r17_a_future_that_is_not_send_runs_elsewhere(setup: &Setup) {
    use std::cell::RefCell;
    use std::rc::Rc;
    setup.run(1, async {
        let child = call(|| async {
            let (one, other) = pair().await?;
            let log = Rc::new(RefCell::new(Vec::new()));
            let reader = spawn({
                let log = log.clone();
                async move {
                    let mut buf = [0; 4];
                    other.read_exact(&mut buf).await?;
                    log.borrow_mut().extend(buf);
                    io::Result::Ok(())
                }
            });
            one.write_all(b"meow").await?;
            reader.await?;
            io::Result::Ok(log.take() == b"meow")
        })?;
        assert!(child.await?);
        io::Result::Ok(())
    });
}

fn r18_a_panic_elsewhere_hangs_nobody(setup: &Setup) {
    setup.run(2, async {
        for _ in 0..10 {
            let panics = call(|| async {
                time::sleep(Duration::from_micros(50)).await;
                if domain::current().is_some() {
                    panic!("as it should");
                }
                io::Result::Ok(())
            })?;
            let Err(Exit::Panicked(panic)) = panics.await else { panic!("it did not") };
            assert_eq!(panic.message(), "as it should");
        }
        let fails = call(|| async { Err::<(), _>(io::Error::other("as it should")) })?;
        let Err(Exit::Failed(error)) = fails.await else { panic!("it did not") };
        assert_eq!(error.to_string(), "as it should");
        io::Result::Ok(())
    });
}

fn r19_run_again_and_at_the_same_time(setup: &Setup) {
    let setup = *setup;
    let once = move || {
        setup.run(2, async move {
            let (listener, addr) = listen()?;
            let child = call(move || async move { TcpStream::connect(addr).await?.write_all(b"meow").await })?;
            let (stream, _) = listener.accept().await?;
            let mut buf = [0; 4];
            stream.read_exact(&mut buf).await?;
            child.await?;
            io::Result::Ok(buf)
        })
    };
    for _ in 0..10 {
        assert_eq!(&once(), b"meow");
    }
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(move || (0..10).all(|_| &once() == b"meow"))).collect();
    for thread in threads {
        assert!(thread.join().unwrap());
    }
}

fn r19_run_inside_a_run_is_refused(setup: &Setup) {
    let inner = *setup;
    setup.run(1, async move {
        assert!(matches!(inner.try_run(0, async {}), Err(RunError::Nested)));
        let elsewhere = call(move || async move { io::Result::Ok(matches!(inner.try_run(0, async {}), Err(RunError::Nested))) })?;
        assert!(elsewhere.await?);
        io::Result::Ok(())
    });
}

fn r19_run_again_while_the_locals_of_a_thread_are_destroyed(setup: &Setup) {
    struct AtTheEnd(Option<Box<dyn FnOnce()>>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            self.0.take().unwrap()();
        }
    }
    thread_local! {
        static LAST: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    }

    let setup = *setup;
    let run = move |recorded: bool| {
        let path = Scratch::new();
        let builder = setup.builder(1);
        let builder = if recorded { builder.trace(path.as_ref()) } else { builder };
        let ran = builder.run(async {
            let (here, there) = (spawn(async { io::Result::Ok(1) }), call(|| async { io::Result::Ok(2) })?);
            io::Result::Ok(here.await? + there.await? + blocking(|| 3).await?)
        });
        ran.map_err(|error| error.to_string())
    };
    // What is made first is destroyed last.
    for (recorded, runs_before) in [(false, false), (false, true), (true, true)] {
        let (ended, end) = channel();
        let thread = thread::spawn(move || {
            LAST.set(Some(AtTheEnd(Some(Box::new(move || ended.send(catch_unwind(|| run(recorded))).unwrap())))));
            if runs_before {
                assert_eq!(run(recorded), Ok(6));
            }
        });
        thread.join().unwrap();
        assert_eq!(end.recv().unwrap().expect("it panicked"), Ok(6));
    }
}

fn r20_idle_domains_use_no_time(setup: &Setup) {
    for spin in [Duration::ZERO, Duration::from_millis(1)] {
        let ran = setup.builder(3).spin(spin).run(async {
            // They send each other something often, and watch for it if they may; then no more.
            for worker in domain::all().skip(1).cycle().take(60) {
                Task::new().pin(worker).call(|| async { io::Result::Ok(()) })?.await?;
            }
            let idle = || async {
                // Something to wait for besides the timer: a listener nobody connects to.
                let (listener, _) = listen()?;
                let waits = spawn(async move { listener.accept().await.map(drop) });
                time::sleep(Duration::from_millis(5)).await; // The beginning is over.
                assert_idle(Duration::from_millis(300), async |time| time::sleep(time).await).await;
                waits.cancel().await;
                io::Result::Ok(())
            };
            let mut domains = vec![spawn(idle())];
            for worker in domain::all().skip(1) {
                domains.push(Task::new().pin(worker).call(idle)?);
            }
            for idle in matou_unix::await_all(domains).await {
                idle?;
            }
            io::Result::Ok(())
        });
        ran.unwrap();
    }
}

/// Something a thread outside completes. (`sync` has better; this tests the platform's waking alone.)
#[derive(Default)]
struct Bridge {
    done: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bridge {
    fn complete(&self) {
        self.done.store(true, Ordering::SeqCst);
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            if self.done.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

fn r38_a_thread_outside_wakes_a_task(setup: &Setup) {
    setup.run(1, async {
        for round in 0..100 {
            let bridge = Arc::new(Bridge::default());
            let outside = bridge.clone();
            let thread = thread::spawn(move || {
                thread::sleep(Duration::from_micros(round % 4 * 50));
                outside.complete();
            });
            if round % 2 == 0 {
                bridge.wait().await;
            } else {
                call(move || async move {
                    bridge.wait().await;
                    io::Result::Ok(())
                })?
                .await?;
            }
            thread.join().unwrap();
        }
        io::Result::Ok(())
    });
}

fn r38_many_wakes_from_many_threads(setup: &Setup) {
    setup.run(1, async {
        let bridges: Vec<_> = (0..200).map(|_| Arc::new(Bridge::default())).collect();
        let waiting: Vec<_> = bridges
            .iter()
            .cloned()
            .map(|bridge| {
                spawn(async move {
                    bridge.wait().await;
                    io::Result::Ok(())
                })
            })
            .collect();
        let next = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (bridges, next) = (bridges.clone(), next.clone());
                thread::spawn(move || {
                    while let Some(bridge) = bridges.get(next.fetch_add(1, Ordering::Relaxed)) {
                        bridge.complete();
                    }
                })
            })
            .collect();
        for result in matou_unix::await_all(waiting).await {
            result?;
        }
        for thread in threads {
            thread.join().unwrap();
        }
        io::Result::Ok(())
    });
}

fn r43_timers_of_all_domains(setup: &Setup) {
    setup.run(2, async {
        let before = time::now();
        let sleeps = parallel(
            |millis: u64| async move {
                let begun = time::now();
                time::sleep(Duration::from_millis(millis)).await;
                io::Result::Ok(time::now() - begun)
            },
            [1, 3, 5, 7],
        );
        for (slept, millis) in sleeps.await?.into_iter().zip([1, 3, 5, 7]) {
            assert!(slept? >= Duration::from_millis(millis), "a timer fired early");
        }
        assert!(time::now() - before >= Duration::from_millis(7), "the domains share their clock");
        io::Result::Ok(())
    });
}

/// Ends normally with a child that is neither awaited nor cancelled.
async fn forgets_a_child() -> io::Result<()> {
    drop(spawn(for_ever()));
    Ok(())
}

#[track_caller]
fn assert_still_has_children(error: RunError<io::Error, io::Error>) {
    let RunError::Violation(violation) = &error else { panic!("no violation: {error}") };
    assert!(matches!(violation.kind, ViolationKind::StillHasChildren { .. }), "{violation}");
    assert!(violation.to_string().contains("domains.rs"), "{violation}");
}

fn r44_a_violation_elsewhere_ends_those_who_sleep(setup: &Setup) {
    let begun = Instant::now();
    let ran = setup.try_run(3, async {
        let (listener, _) = listen()?;
        let orphans = Orphans::new();
        for worker in domain::all().skip(1) {
            Task::new().pin(worker).call_in(&orphans, || async {
                let (listener, _) = listen()?;
                listener.accept().await.map(drop)
            })?;
        }
        orphans.call(|| async {
            time::sleep(Duration::from_millis(5)).await;
            forgets_a_child().await
        })?;
        listener.accept().await?; // Main sleeps as well.
        io::Result::Ok(())
    });
    assert_still_has_children(ran.unwrap_err());
    assert!(begun.elapsed() < Duration::from_secs(60));
}

fn r44_a_violation_here_ends_those_who_sleep_elsewhere(setup: &Setup) {
    let ran = setup.try_run(2, async {
        let orphans = Orphans::new();
        for worker in domain::all().skip(1) {
            Task::new().pin(worker).call_in(&orphans, for_ever)?;
        }
        let culprit = spawn(forgets_a_child());
        culprit.await?;
        io::Result::Ok(())
    });
    assert_still_has_children(ran.unwrap_err());
}

fn r44_a_violation_ends_those_who_compute(setup: &Setup) {
    let ran = setup.try_run(2, async {
        let busy = || async {
            loop {
                yield_now().await;
            }
            #[allow(unreachable_code)]
            io::Result::Ok(())
        };
        let orphans = Orphans::new();
        for worker in domain::all().skip(1) {
            Task::new().pin(worker).call_in(&orphans, busy)?;
        }
        orphans.call(forgets_a_child)?;
        busy().await
    });
    assert_still_has_children(ran.unwrap_err());
}

fn r44_finalisers_run_on_every_domain(setup: &Setup) {
    let (owned, finalised) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = finalised.clone();
    let ran = setup.try_run(2, async move {
        let orphans = Orphans::new();
        for _ in 0..10 {
            let (owned, count) = (owned.clone(), count.clone());
            orphans.call(move || async move {
                let here = thread::current().id();
                let resource = matou_unix::Resource::new((), move |()| {
                    assert_eq!(here, thread::current().id(), "on its owner's domain");
                    count.fetch_add(1, Ordering::SeqCst);
                });
                resource.own()?;
                owned.fetch_add(1, Ordering::SeqCst);
                for_ever().await
            })?;
        }
        while owned.load(Ordering::SeqCst) < 10 {
            yield_now().await;
        }
        spawn(forgets_a_child()).await?;
        io::Result::Ok(())
    });
    assert_still_has_children(ran.unwrap_err());
    assert_eq!(finalised.load(Ordering::SeqCst), 10);
}

fn domains_are_named_threads(setup: &Setup) {
    setup.run(2, async {
        let names = parallel(|()| async { io::Result::Ok(thread::current().name().map(String::from)) }, [(), ()]).await?;
        for (name, number) in names.into_iter().zip(1..) {
            assert_eq!(name?, Some(format!("matou-{number}")));
        }
        io::Result::Ok(())
    });
}

fn an_error_of_main_cancels_everything(setup: &Setup) {
    let ran = setup.try_run(2, async {
        let orphans = Orphans::new();
        for _ in 0..10 {
            orphans.call(for_ever)?;
        }
        Err::<(), _>(io::Error::other("enough"))
    });
    let Err(RunError::Failed(error)) = ran else { panic!("{ran:?}") };
    assert_eq!(error.to_string(), "enough");
}
