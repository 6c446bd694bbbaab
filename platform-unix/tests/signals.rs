//! Signals. They go to the whole process, so these tests take turns.

#[macro_use]
mod support;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard, PoisonError};

use std::task::Poll;
use std::thread;
use std::time::Duration;

use matou_unix::signal::{self, Kind};
use matou_unix::{Builder, DomainId, RunError, call, domain, parallel, spawn, time, yield_now};
use support::{Setup, assert_idle, in_a_child};

everywhere! {
    a_signal_is_awaited
    a_listener_whose_budget_ends_before_it_waits_misses_nothing
    a_signal_from_another_process_ends_a_sleep
    signals_are_counted_from_the_moment_of_listening
    several_listeners_of_one_domain_all_hear_it
    every_domain_hears_it
    r19_every_run_hears_it
    kinds_are_told_apart
    a_listener_that_is_cut_short_misses_nothing
    ctrl_c_and_terminate
    a_handler_runs_on_domain_zero
    a_handler_installed_elsewhere_runs_on_domain_zero
    a_handler_misses_nothing_from_the_moment_it_is_installed
    handlers_come_and_go
    a_handler_that_panics_is_a_panic_of_main
    r36_a_handler_that_is_always_due_leaves_the_others_their_turn
    what_cannot_be_handled_is_refused
    r46_a_listener_kept_beyond_its_run_is_inert
    r20_a_domain_that_listens_is_idle
}

/// One test at a time: the others would hear its signals.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn a_signal_is_awaited(setup: &Setup) {
    let _turn = turn();
    setup.run(0, async {
        let mut signals = signal::signal(Kind::USER_1)?;
        assert_eq!(signals.kind(), Kind::USER_1);
        for _ in 0..10 {
            signal::raise(Kind::USER_1)?;
            signals.recv().await?;
        }
        assert!(time::timeout(Duration::from_millis(5), signals.recv()).await.is_err(), "one was told twice");
        io::Result::Ok(())
    });
}

fn a_signal_from_another_process_ends_a_sleep(setup: &Setup) {
    let _turn = turn();
    setup.run(1, async {
        for elsewhere in [false, true] {
            let waits = || async {
                let mut signals = signal::signal(Kind::USER_1)?;
                let (done, mut told) = (Rc::new(Cell::new(false)), 0);
                let flag = done.clone();
                let waiter = spawn(async move {
                    signals.recv().await?;
                    flag.set(true);
                    io::Result::Ok(())
                });
                yield_now().await;
                let shell = format!("kill -USR1 {}", std::process::id());
                let mut kill = std::process::Command::new("sh").args(["-c", &shell]).spawn()?;
                while !done.get() {
                    told += 1;
                    time::sleep(Duration::from_millis(50)).await;
                }
                kill.wait()?;
                waiter.await?;
                io::Result::Ok(told)
            };
            if elsewhere {
                call(waits)?.await?
            } else {
                spawn(waits()).await?
            };
        }
        io::Result::Ok(())
    });
}

fn signals_are_counted_from_the_moment_of_listening(setup: &Setup) {
    let _turn = turn();
    setup.run(0, async {
        let mut early = signal::signal(Kind::USER_1)?;
        signal::raise(Kind::USER_1)?;
        let mut late = signal::signal(Kind::USER_1)?;
        early.recv().await?;
        assert!(time::timeout(Duration::from_millis(5), late.recv()).await.is_err(), "it came before");
        signal::raise(Kind::USER_1)?;
        late.recv().await?;
        early.recv().await?;
        io::Result::Ok(())
    });
}

fn several_listeners_of_one_domain_all_hear_it(setup: &Setup) {
    let _turn = turn();
    setup.run(0, async {
        for round in 0..20 {
            let waiting: Vec<_> = (0..10)
                .map(|number| {
                    let signals = signal::signal(Kind::USER_1);
                    spawn(async move {
                        let mut signals = signals?;
                        if number % 2 == 0 {
                            yield_now().await; // It asks after the others wait.
                        }
                        signals.recv().await
                    })
                })
                .collect();
            for _ in 0..round % 4 {
                yield_now().await;
            }
            signal::raise(Kind::USER_1)?;
            for result in matou_unix::await_all(waiting).await {
                result?;
            }
        }
        io::Result::Ok(())
    });
}

fn every_domain_hears_it(setup: &Setup) {
    let _turn = turn();
    setup.run(3, async {
        let listening = Arc::new(AtomicUsize::new(0));
        let count = listening.clone();
        let waiting = spawn(async move {
            let waiting = parallel(
                move |_| {
                    let count = count.clone();
                    async move {
                        let mut signals = signal::signal(Kind::USER_2)?;
                        count.fetch_add(1, Ordering::SeqCst);
                        signals.recv().await
                    }
                },
                0..6,
            );
            for result in waiting.await? {
                result?;
            }
            io::Result::Ok(())
        });
        while listening.load(Ordering::SeqCst) < 6 {
            yield_now().await;
        }
        time::sleep(Duration::from_millis(2)).await;
        signal::raise(Kind::USER_2)?;
        waiting.await?;
        io::Result::Ok(())
    });
}

fn r19_every_run_hears_it(setup: &Setup) {
    let _turn = turn();
    let (setup, barrier) = (*setup, Arc::new(Barrier::new(4)));
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let barrier = barrier.clone();
            thread::spawn(move || {
                setup.run(1, async {
                    let here = signal::signal(Kind::USER_1);
                    let listening = barrier.clone();
                    let there = call(move || async move {
                        let mut signals = signal::signal(Kind::USER_1)?;
                        listening.wait();
                        signals.recv().await
                    })?;
                    let heard = here?.recv().await;
                    there.await?;
                    heard
                })
            })
        })
        .collect();
    barrier.wait();
    signal::raise(Kind::USER_1).unwrap();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn kinds_are_told_apart(setup: &Setup) {
    let _turn = turn();
    setup.run(0, async {
        let (mut ones, mut twos) = (signal::signal(Kind::USER_1)?, signal::signal(Kind::USER_2)?);
        let twos = spawn(async move { twos.recv().await });
        yield_now().await;
        signal::raise(Kind::USER_1)?;
        ones.recv().await?;
        time::sleep(Duration::from_millis(2)).await;
        assert!(!twos.is_ended());
        signal::raise(Kind::USER_2)?;
        twos.await?;
        io::Result::Ok(())
    });
}

fn a_listener_that_is_cut_short_misses_nothing(setup: &Setup) {
    let _turn = turn();
    setup.run(0, async {
        let mut signals = signal::signal(Kind::USER_1)?;
        for _ in 0..20 {
            assert!(time::timeout(Duration::from_micros(50), signals.recv()).await.is_err());
            signal::raise(Kind::USER_1)?;
            signals.recv().await?;
        }
        io::Result::Ok(())
    });
}

fn ctrl_c_and_terminate(setup: &Setup) {
    let _turn = turn();
    setup.run(1, async {
        let (interrupt, terminate) = (signal::ctrl_c(), signal::terminate());
        // Before they are polled: neither ends the process.
        signal::raise(Kind::INTERRUPT)?;
        signal::raise(Kind::TERMINATE)?;
        interrupt.await?;
        terminate.await?;
        let elsewhere = call(|| async {
            let interrupt = signal::ctrl_c();
            signal::raise(Kind::INTERRUPT)?;
            interrupt.await
        })?;
        elsewhere.await?;
        io::Result::Ok(())
    });
}

/// Waits until `count` is at least `least`.
async fn reaches(count: &AtomicUsize, least: usize) {
    while count.load(Ordering::SeqCst) < least {
        time::sleep(Duration::from_micros(200)).await;
    }
}

/// A handler that counts, and notes if it runs elsewhere than on domain 0.
fn counting() -> (Arc<AtomicUsize>, impl FnMut() + Send + 'static) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let handler = move || {
        assert_eq!(domain::current(), Some(DomainId::ZERO));
        counted.fetch_add(1, Ordering::SeqCst);
    };
    (count, handler)
}

fn a_handler_runs_on_domain_zero(setup: &Setup) {
    let _turn = turn();
    setup.run(1, async {
        let (count, handler) = counting();
        signal::on(Kind::USER_1, handler)?;
        for round in 1..=10 {
            signal::raise(Kind::USER_1)?;
            reaches(&count, round).await;
        }
        // From a thread that sleeps, and while main waits for something else.
        let asks = count.clone();
        let child = call(move || async move {
            signal::raise(Kind::USER_1)?;
            reaches(&asks, 11).await;
            io::Result::Ok(())
        })?;
        child.await?;
        time::sleep(Duration::from_millis(2)).await;
        assert_eq!(count.load(Ordering::SeqCst), 11, "each signal once");
        io::Result::Ok(())
    });
}

fn a_handler_installed_elsewhere_runs_on_domain_zero(setup: &Setup) {
    let _turn = turn();
    setup.run(2, async {
        let (count, handler) = counting();
        let child = call(move || async move {
            signal::on(Kind::USER_1, handler)?;
            signal::raise(Kind::USER_1)?;
            reaches(&count, 1).await;
            io::Result::Ok(())
        })?;
        child.await?;
        io::Result::Ok(())
    });
}

fn a_handler_misses_nothing_from_the_moment_it_is_installed(setup: &Setup) {
    let _turn = turn();
    setup.run(1, async {
        for _ in 0..20 {
            let (count, handler) = counting();
            // Domain 0 has no chance to listen before the signal comes, in either case.
            let id = signal::on(Kind::USER_2, handler)?;
            signal::raise(Kind::USER_2)?;
            reaches(&count, 1).await;
            signal::off(id)?;
            let (count, handler) = counting();
            let child = call(move || async move {
                let id = signal::on(Kind::USER_2, handler)?;
                signal::raise(Kind::USER_2)?;
                reaches(&count, 1).await;
                assert_eq!(count.load(Ordering::SeqCst), 1, "once, not twice");
                signal::off(id)
            })?;
            child.await?;
        }
        io::Result::Ok(())
    });
}

fn handlers_come_and_go(setup: &Setup) {
    let _turn = turn();
    setup.run(0, async {
        let ((first, one), (second, two)) = (counting(), counting());
        let one = signal::on(Kind::USER_1, one)?;
        let two = signal::on(Kind::USER_1, two)?;
        assert_ne!(one, two);
        signal::raise(Kind::USER_1)?;
        reaches(&second, 1).await;
        assert_eq!(first.load(Ordering::SeqCst), 1);
        signal::off(one)?;
        yield_now().await;
        signal::raise(Kind::USER_1)?;
        reaches(&second, 2).await;
        assert_eq!(first.load(Ordering::SeqCst), 1, "it was removed");
        signal::off(two)?;
        yield_now().await;
        assert_eq!(Arc::strong_count(&first) + Arc::strong_count(&second), 2, "the handlers were dropped");
        signal::raise(Kind::USER_1)?; // Nobody listens, and the process lives on.
        time::sleep(Duration::from_millis(1)).await;
        io::Result::Ok(())
    });
}

fn a_handler_that_panics_is_a_panic_of_main(setup: &Setup) {
    let _turn = turn();
    let ran = setup.try_run(1, async {
        signal::on(Kind::USER_1, || panic!("in a handler"))?;
        signal::raise(Kind::USER_1)?;
        std::future::pending::<io::Result<()>>().await
    });
    let Err(RunError::Panicked(panic)) = ran else { panic!("{ran:?}") };
    assert_eq!(panic.message(), "in a handler");
}

fn r36_a_handler_that_is_always_due_leaves_the_others_their_turn(setup: &Setup) {
    let _turn = turn();
    setup.run(0, async {
        let handler = signal::on(Kind::USER_1, || signal::raise(Kind::USER_1).unwrap())?;
        signal::raise(Kind::USER_1)?;
        let other = spawn(async {
            for _ in 0..100 {
                yield_now().await;
            }
            time::sleep(Duration::from_micros(1)).await;
        });
        yield_now().await;
        other.await.unwrap();
        signal::off(handler)
    });
}

fn what_cannot_be_handled_is_refused(setup: &Setup) {
    let outside = signal::signal(Kind::USER_1).unwrap_err();
    assert!(outside.to_string().contains("inside `matou_unix::run`"), "{outside}");
    assert!(signal::on(Kind::USER_1, || ()).is_err());
    setup.run(0, async {
        for number in [9, 19, 11] {
            let error = signal::signal(Kind::from_raw(number)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(signal::on(Kind::from_raw(number), || ()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        let error = signal::signal(Kind::from_raw(9)).unwrap_err();
        assert_eq!(error.to_string(), "SIGKILL cannot be handled");
        assert!(signal::signal(Kind::from_raw(12345)).is_err());
        io::Result::Ok(())
    });
}

fn r46_a_listener_kept_beyond_its_run_is_inert(setup: &Setup) {
    let _turn = turn();
    let mut kept = setup.run(0, async {
        let kept = signal::signal(Kind::USER_1)?;
        assert!(format!("{kept:?}").contains("SIGUSR1"));
        io::Result::Ok(kept)
    });
    setup.run(0, async {
        signal::raise(Kind::USER_1)?;
        let error = kept.recv().await.unwrap_err();
        assert!(error.to_string().contains("inside `matou_unix::run`"), "{error}");
        io::Result::Ok(())
    });
}

fn r20_a_domain_that_listens_is_idle(setup: &Setup) {
    let _turn = turn();
    setup.run(0, async {
        let (count, handler) = counting();
        signal::on(Kind::USER_1, handler)?;
        let mut signals = signal::signal(Kind::USER_2)?;
        signal::raise(Kind::USER_1)?;
        reaches(&count, 1).await;
        let in_vain = async |time| assert!(time::timeout(time, signals.recv()).await.is_err());
        assert_idle(Duration::from_millis(200), in_vain).await;
        io::Result::Ok(())
    });
}

#[test]
fn the_default_action_ends_the_process_as_if_nobody_had_handled_it() {
    if let Some(output) = in_a_child("the_default_action_ends_the_process_as_if_nobody_had_handled_it", &[]) {
        assert_eq!(output.status.signal(), Some(Kind::TERMINATE.as_raw()));
        return;
    }
    let ran = Builder::new().environment(false).domains(0).run(async {
        let mut signals = signal::signal(Kind::TERMINATE)?;
        signal::raise(Kind::TERMINATE)?;
        signals.recv().await?;
        signal::default_action(Kind::TERMINATE)
    });
    unreachable!("{ran:?}");
}

#[test]
fn a_kind_is_shown_by_its_name_or_its_number() {
    assert_eq!(format!("{:?} {:?}", Kind::HANGUP, Kind::from_raw(1000)), "SIGHUP signal 1000");
    assert!(signal::default_action(Kind::from_raw(1000)).is_err());
}

fn a_listener_whose_budget_ends_before_it_waits_misses_nothing(setup: &Setup) {
    let _turn = turn();
    let run = setup.builder(0).quanta(1).run(async {
        let (mut one, mut other) = (signal::signal(Kind::USER_1)?, signal::signal(Kind::USER_1)?);
        let mut first = Box::pin(one.recv());
        yield_now().await;
        let polled = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx).is_pending())).await;
        assert!(polled, "it has looked, and does not wait yet");
        yield_now().await;
        signal::raise(Kind::USER_1)?;
        other.recv().await?; // It takes what tells of the signal.
        first.await
    });
    run.unwrap();
}
