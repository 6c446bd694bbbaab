//! The simulation itself: that it is the same run for the same seed, that virtual time costs none, that nothing hangs in it, that seeds reach
//! what they are for, and that a failing one can be replayed.

#![cfg(feature = "simulation")]

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use matou_core::platform::Bare;
use matou_core::simulation::{Event, Reason, Recording, Simulation, Stopped, What, check, event, fire, fire_after};
use matou_core::suspension::Point;
use matou_core::time::{Sleep, now, sleep, timeout};
use matou_core::{
    Config, DomainId, EventsError, Orphans, Plain, Promise, Resource, RunError, State, Task, await_all, await_one, call, domain, run,
    scope, spawn, yield_now,
};

const ZERO: DomainId = DomainId::ZERO;
const ONE: DomainId = DomainId::new(1);
const TWO: DomainId = DomainId::new(2);

/// Why the run was stopped.
#[track_caller]
fn stopped<T: std::fmt::Debug, E: std::fmt::Debug>(ended: Result<T, RunError<E, Stopped>>) -> Stopped {
    match ended {
        Err(RunError::Events(ZERO, EventsError::Failed(stopped))) => stopped,
        other => panic!("the run was to be stopped, not {other:?}"),
    }
}

// ---- R21

/// A bit of everything, on all domains: it starts, awaits, cancels, sleeps, fires and waits, as its chance has it.
fn program(depth: u64, chance: u64) -> Pin<Box<dyn Future<Output = Result<u64, u64>>>> {
    Box::pin(async move {
        let mut dice = chance;
        let mut roll = move |sides: u64| {
            // Knuth's constants, of MMIX.
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        let mut children: Vec<Promise<u64, u64>> = Vec::new();
        let orphans = Orphans::new();
        for _ in 0..6 {
            let next = roll(1 << 30);
            match roll(9) {
                0 => yield_now().await,
                1 => sleep(Duration::from_nanos(roll(50))).await,
                2 if depth > 0 => children.push(spawn(program(depth - 1, next))),
                3 if depth > 0 => children.push(call(move || program(depth - 1, next)).unwrap()),
                4 if depth > 0 => {
                    orphans.call(move || program(depth - 1, next)).unwrap();
                }
                5 => drop(await_one(&mut children).await),
                6 => {
                    fire_after(Duration::from_nanos(roll(20)), domain::current().unwrap(), "tick");
                    event("tick").await;
                }
                7 if !children.is_empty() => {
                    let child = children.swap_remove(roll(children.len() as u64) as usize);
                    child.cancel().await;
                }
                _ => {
                    let _elapsed = timeout(Duration::from_nanos(roll(30)), async { event("never").await.len() }).await;
                }
            }
        }
        if roll(8) == 0 {
            return Err(chance);
        }
        while orphans.next().await.is_some() {}
        let ended = await_all(children).await;
        Ok(ended.into_iter().flatten().sum::<u64>() + now().as_nanos())
    })
}

fn recorded(workers: usize, seed: u64, of: u64) -> (String, Recording) {
    let (ended, recording) = Simulation::new(seed).domains(workers).latency(Duration::from_nanos(5)).quanta(4).record(program(4, of));
    (format!("{ended:?}"), recording)
}

#[test]
fn r21_the_same_seed_is_the_same_run_to_the_last_step() {
    for workers in 1..4 {
        let mut runs = BTreeSet::new();
        let mut steps = 0;
        for seed in 0..20 {
            let (ended, recording) = recorded(workers, seed, 3);
            let (again, replayed) = recorded(workers, seed, 3);
            assert_eq!(recording.difference(&replayed), None, "{workers} workers, seed {seed}");
            assert_eq!((ended, recording.steps().last()), (again, replayed.steps().last()));
            steps += recording.steps().len();
            runs.insert(recording.to_string());
        }
        assert!(steps > 2_000, "{steps} steps are too few to say anything");
        // One worker takes turns with domain 0.
        assert!(runs.len() > 15, "{workers} workers: {} different runs of 20", runs.len());
    }
}

#[test]
fn r21_one_domain_alone_leaves_nothing_to_the_order_of_domains() {
    async fn program() {
        let children = (0..4).map(|n| {
            spawn(async move {
                sleep(Duration::from_nanos(n % 2)).await;
                yield_now().await;
            })
        });
        await_all(children.collect()).await;
    }
    let recordings: Vec<_> = (0..10).map(|seed| Simulation::new(seed).record(program()).1).collect();
    assert!(recordings[0].steps().len() > 10);
    for recording in &recordings {
        assert_eq!(recording.difference(&recordings[0]), None);
    }
}

#[test]
fn a_recording_says_where_two_runs_part() {
    let recorded = |naps: u64| {
        let main = async move {
            for _ in 0..naps {
                sleep(Duration::from_nanos(1)).await;
            }
        };
        Simulation::new(0).record(main).1
    };
    let (two, three) = (recorded(2), recorded(3));
    let (number, left, right) = two.difference(&three).unwrap();
    assert_eq!(two.steps()[..number], three.steps()[..number]);
    assert_eq!((left, right), (two.steps().get(number).copied(), three.steps().get(number).copied()));
    assert_eq!(three.difference(&two), Some((number, right, left)));
    assert!(matches!(two.steps().last().unwrap().what, What::Left));
    assert_eq!(two.to_string().lines().count(), two.steps().len());
}

// ---- time

#[test]
fn virtual_time_takes_none() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let begun = std::time::Instant::now();
    let late = Simulation::new(1).domains(2).run(async {
        let sleepers = (0..10_u32).map(|n| {
            call(move || async move {
                for _ in 0..365 {
                    sleep(DAY).await;
                }
                sleep(Duration::from_nanos(n.into())).await;
                now().as_nanos()
            })
            .unwrap()
        });
        let ended = await_all(sleepers.collect()).await;
        ended.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    });
    let year = (365 * DAY).as_nanos() as u64;
    assert_eq!(late.unwrap(), (0..10).map(|n| year + n).collect::<Vec<_>>());
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn time_stands_still_while_tasks_run_unless_they_have_a_pace() {
    let spin = || async {
        let begun = now();
        for _ in 0..100 {
            yield_now().await;
        }
        now() - begun
    };
    assert_eq!(Simulation::new(0).run(async { Plain(spin().await) }).unwrap(), Duration::ZERO);
    let paced = Simulation::new(0).pace(Duration::from_nanos(7)).run(async { Plain(spin().await) }).unwrap();
    // A hundred polls, and the looks at the event source between: there is none to look for.
    assert_eq!(paced, Duration::from_nanos(700));
    // With a pace, who looks at the clock in a loop gets on, and so does a timer beside who never stops.
    let ended = Simulation::new(0).pace(Duration::from_nanos(1)).quanta(1).run(async {
        let endless = spawn(async {
            loop {
                yield_now().await;
            }
            #[allow(unreachable_code)]
            ()
        });
        sleep(Duration::from_micros(1)).await;
        endless.cancel().await;
        now().as_nanos()
    });
    assert!((1_000..1_010).contains(&ended.unwrap()));
}

#[test]
fn r38_a_bell_is_late_by_the_latency_at_most() {
    let delays = check(0..60, |simulation| {
        simulation.domains(1).latency(Duration::from_nanos(9)).run(async {
            // The worker sleeps first.
            sleep(Duration::from_nanos(1)).await;
            let begun = now();
            let there = call(|| async { now().as_nanos() }).unwrap().await.unwrap();
            there - begun.as_nanos()
        })
    });
    let seen: BTreeSet<_> = delays.values().iter().map(|(_, delay)| *delay).collect();
    assert_eq!(seen, (0..10).collect());
}

// ---- events

#[test]
fn events_come_at_their_time_and_in_their_order() {
    let simulation = Simulation::new(3)
        .domains(1)
        .at(Duration::from_secs(2), ONE, Event::new("packet", "c"))
        .at(Duration::from_secs(1), ONE, Event::new("packet", "a"))
        .at(Duration::from_secs(1), ONE, Event::new("packet", "b"))
        .at(Duration::ZERO, ZERO, "packet");
    let heard = simulation.run(async {
        let there = call(|| async {
            let mut heard = Vec::new();
            for _ in 0..3 {
                let data = String::from_utf8(event("packet").await).unwrap();
                heard.push((now().as_nanos() / 1_000_000_000, data));
            }
            Plain(heard)
        });
        // Its own, which the worker's task does not get; nobody waited when it occurred.
        sleep(Duration::from_secs(3)).await;
        assert_eq!(event("packet").await, []);
        Plain(there.unwrap().await.unwrap())
    });
    assert_eq!(heard.unwrap(), [(1, "a".into()), (1, "b".into()), (2, "c".into())]);
}

#[test]
fn each_event_is_for_one_task_the_one_that_has_waited_longest() {
    let order = Rc::new(RefCell::new(Vec::new()));
    let main = async {
        let tasks = (0..5_u8).map(|number| {
            let order = order.clone();
            spawn(async move {
                let data = event("turn").await;
                order.borrow_mut().push((number, data[0]));
            })
        });
        let tasks: Vec<_> = tasks.collect();
        yield_now().await;
        (0..5).for_each(|data| fire(ZERO, Event::new("turn", [data])));
        await_all(tasks).await;
    };
    Simulation::new(0).run(main).unwrap();
    assert_eq!(*order.borrow(), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]);
}

#[test]
fn an_event_handed_to_a_task_that_is_cancelled_goes_to_the_next() {
    let ends = check(0..300, |simulation| {
        simulation.domains(1).quanta(1).run(async {
            let there = call(|| async {
                let first = spawn(async { event("it").await.len() });
                let mut second = spawn(async { event("it").await.len() });
                for _ in 0..4 {
                    yield_now().await;
                }
                let had_it = first.state() == State::Resolved;
                first.cancel().await;
                let got = timeout(Duration::from_secs(1), &mut second).await;
                second.cancel().await;
                Plain((had_it, got.ok().map(Result::unwrap)))
            });
            yield_now().await;
            fire(ONE, Event::new("it", "abc"));
            there.unwrap().await.unwrap()
        })
    });
    let ends = ends.reaches("the first had it", |ended| ended.0).reaches("it was given up", |ended| !ended.0);
    for (seed, (first_had_it, second)) in ends.values() {
        // Had the first ended, its result was dropped with it.
        assert_eq!(*second, (!first_had_it).then_some(3), "seed {seed}");
    }
}

// ---- what would not end

#[test]
fn a_deadlock_is_reported_with_those_who_wait() {
    let journal = Arc::new(Mutex::new(Vec::new()));
    let written = journal.clone();
    let ended = Simulation::new(11).domains(2).run(async move {
        sleep(Duration::from_nanos(5)).await;
        let file = Resource::new("file", move |file| written.lock().unwrap().push(file));
        file.own().unwrap();
        let waits = Task::new().name("waits").pin(ONE).call(|| async {
            let inner = spawn(async { event("never").await.len() });
            inner.await.unwrap()
        });
        let closed = Task::new().pin(TWO).name("closed").call(|| async {
            let _kept = spawn(async { std::future::pending::<()>().await }).cancel();
            spawn(async { event("neither").await.len() }).cancel().await;
            let orphans: Orphans<()> = Orphans::new();
            Task::new().name("aside").spawn_in(&orphans, std::future::pending::<()>()).unwrap();
            orphans.spawn(async {});
            scope(async { Task::new().name("in a scope").spawn(std::future::pending::<()>()).unwrap().await }).await.unwrap();
        });
        let _ends = call(|| async {}).unwrap().await;
        waits.unwrap().await.unwrap();
        closed.unwrap().await.unwrap();
    });
    let stopped = stopped(ended);
    assert_eq!((stopped.reason(), stopped.seed(), stopped.at().as_nanos()), (Reason::Deadlock, 11, 5));
    let who: Vec<_> = stopped.waiting().iter().map(|waiting| (waiting.name, waiting.domain)).collect();
    let closed = [(Some("closed"), TWO), (Some("aside"), TWO), (Some("in a scope"), TWO)];
    assert_eq!(who[..3], [(None, ZERO), (Some("waits"), ONE), (None, ONE)]);
    assert!(who[3..].len() == 3 && closed.iter().all(|task| who[3..].contains(task)), "{who:?}");
    assert_eq!(stopped.awaited().collect::<Vec<_>>(), [(ONE, "never", 1)]);
    let text = stopped.to_string();
    for part in [
        "deadlock at 5 ns with seed 11",
        "6 tasks have not ended",
        "(waits) on domain 1, made at ",
        file!(),
        "event \"never\" is waited for",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert_eq!(*journal.lock().unwrap(), ["file"], "the run is ended in order");
}

#[test]
fn a_deadlock_of_domains_that_wait_for_each_other_is_found_with_every_seed() {
    let stops = check(0..100, |simulation| {
        let ended = simulation.domains(2).run(async {
            let both = [(ONE, TWO), (TWO, ONE)].map(|(here, there)| {
                let wait = move || async move {
                    event("go").await;
                    fire(there, "go");
                };
                Task::new().pin(here).call(wait).unwrap()
            });
            await_all(both.into()).await;
        });
        Plain(stopped(ended).waiting().len())
    });
    assert!(stops.values().iter().all(|(_, waiting)| *waiting == 3));
}

#[test]
fn a_task_that_runs_for_ever_is_stopped_at_the_limit() {
    let ended = Simulation::new(0).domains(1).limit(1_000).run(async {
        let endless = call(|| async {
            loop {
                yield_now().await;
            }
            #[allow(unreachable_code)]
            ()
        });
        endless.unwrap().await.unwrap();
    });
    let stopped = stopped(ended);
    assert_eq!(stopped.reason(), Reason::Endless);
    assert_eq!(stopped.waiting().len(), 2);
    assert!(stopped.to_string().starts_with("no end in sight at 0 ns with seed 0"));
}

#[test]
fn a_violation_before_the_deadlock_is_what_is_told() {
    let ended = Simulation::new(0).domains(1).run(async {
        let forgetful = call(|| async { drop(spawn(std::future::pending::<()>())) });
        drop(forgetful.unwrap().await);
    });
    assert!(matches!(ended, Err(RunError::Violation(_))), "{ended:?}");
}

#[test]
fn a_script_for_a_domain_that_there_is_not_is_refused() {
    let refused = catch_unwind(|| Simulation::new(0).domains(1).at(Duration::ZERO, TWO, "packet").run(async {}));
    let message = *refused.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(message, "event \"packet\" of 0 bytes is to occur on domain 2, and the simulation has the domains 0 to 1");
    let ended = Simulation::new(0).run(async { fire(ONE, "packet") });
    assert!(matches!(ended, Err(RunError::Panicked(_))));
    assert!(catch_unwind(|| fire(ZERO, "packet")).is_err(), "outside a simulation");
    // And the next is none the worse.
    Simulation::new(0).run(async {}).unwrap();
}

// ---- seeds

/// Which of two domains writes first.
fn race(simulation: Simulation) -> Result<&'static str, RunError<std::convert::Infallible, Stopped>> {
    let first = Arc::new(Mutex::new(None));
    let told = first.clone();
    simulation.domains(2).run(async move {
        let both = [(ONE, "one"), (TWO, "two")].map(|(domain, name)| {
            let first = first.clone();
            let write = move || async move {
                first.lock().unwrap().get_or_insert(name);
            };
            Task::new().pin(domain).call(write).unwrap()
        });
        await_all(both.into()).await;
    })?;
    Ok(told.lock().unwrap().unwrap())
}

#[test]
fn seeds_reach_both_orders_of_a_race() {
    let firsts = check(0..20, race);
    firsts.reaches("one", |first| *first == "one").reaches("two", |first| *first == "two");
}

#[test]
fn seeds_reach_long_stretches_in_which_one_domain_is_much_faster() {
    let leads = check(0..100, |simulation| {
        let done = Arc::new(Mutex::new([0_u32; 2]));
        let counts = done.clone();
        simulation.domains(2).run(async move {
            let both = [(ONE, 0), (TWO, 1)].map(|(domain, index)| {
                let counts = counts.clone();
                let count = move || async move {
                    for _ in 0..40 {
                        counts.lock().unwrap()[index] += 1;
                        yield_now().await;
                    }
                    let [one, two] = *counts.lock().unwrap();
                    one.abs_diff(two)
                };
                Task::new().pin(domain).call(count).unwrap()
            });
            await_all(both.into()).await.into_iter().map(Result::unwrap).max().unwrap()
        })
    });
    leads.reaches("one is far ahead", |lead| *lead >= 35).reaches("they are about even", |lead| *lead <= 10);
}

#[test]
fn reaches_fails_where_nothing_did() {
    let ones = check(0..5, |_| 1);
    let failed = catch_unwind(|| drop(ones.reaches("a two", |number| *number == 2).clone())).unwrap_err();
    assert_eq!(*failed.downcast::<String>().unwrap(), "none of the 5 seeds reached: a two");
    assert_eq!(ones.values().len(), 5);
}

/// The message with which a test over the seeds fails.
fn failure(test: impl Fn(Simulation) -> Result<(), RunError<&'static str, Stopped>> + std::panic::UnwindSafe) -> String {
    *catch_unwind(|| drop(check(0..100, test))).unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn a_failing_seed_is_told_with_its_reason_and_fails_again() {
    // An error, a panic, a violation, a deadlock: each only where domain 2 is first.
    let fails: [fn(Simulation) -> Result<(), RunError<&'static str, Stopped>>; 4] = [
        |simulation| if race(simulation).unwrap() == "two" { Err(RunError::Failed("it failed")) } else { Ok(()) },
        |simulation| {
            assert_eq!(race(simulation).unwrap(), "one", "the order is wrong");
            Ok(())
        },
        |simulation| match race(simulation.clone()).unwrap() {
            "two" => simulation.run(async {
                drop(spawn(async {}));
                Ok(())
            }),
            _ => Ok(()),
        },
        |simulation| match race(simulation.clone()).unwrap() {
            "two" => simulation.run(async {
                event("never").await;
                Ok(())
            }),
            _ => Ok(()),
        },
    ];
    let reasons = ["it failed", "the order is wrong", "StillHasChildren (R3)", "deadlock at 0 ns with seed"];
    for (test, reason) in fails.into_iter().zip(reasons) {
        let message = failure(test);
        let (told, rest) = message.split_once(": ").unwrap();
        let seed: u64 = told.strip_prefix("seed = ").unwrap().parse().unwrap();
        assert!(rest.starts_with(&format!("replay with MATOU_SEED={seed}: ")) && rest.contains(reason), "{message}");
        // The seeds before it did not fail, and this one does again.
        assert!((0..seed).all(|seed| race(Simulation::new(seed)).unwrap() == "one"));
        assert_eq!(race(Simulation::new(seed)).unwrap(), "two");
    }
}

/// Where it is set, the test below fails.
const FAIL: &str = "MATOU_TEST_FAIL";

/// Run by the next test, as a process of its own.
#[test]
fn a_test_that_fails_with_some_seeds() {
    if std::env::var_os(FAIL).is_none() {
        return;
    }
    let explored = check(0..100, |simulation| {
        println!("ran with {}", simulation.seed());
        assert_ne!(race(simulation).unwrap(), "two", "two was first");
    });
    explored.reaches("what no seed does", |()| false);
}

#[test]
fn a_failing_test_is_replayed_by_the_variable_it_names() {
    let test = |seed: Option<&str>| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "--nocapture", "a_test_that_fails_with_some_seeds"]).env(FAIL, "1").env_remove("MATOU_SEED");
        seed.map(|seed| command.env("MATOU_SEED", seed));
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    };
    let (passed, text) = test(None);
    assert!(!passed);
    let seed = text.split("replay with MATOU_SEED=").nth(1).unwrap().split(':').next().unwrap().to_owned();
    assert!(
        text.contains(&format!("seed = {seed}: replay with MATOU_SEED={seed}: assertion `left != right` failed: two was first")),
        "{text}"
    );
    // That seed alone, which fails again.
    let (passed, replayed) = test(Some(&seed));
    assert!(!passed && replayed.contains("two was first"), "{replayed}");
    assert_eq!(replayed.matches("ran with ").count(), 1);
    assert!(replayed.contains(&format!("ran with {seed}")));
    // One that passes, passes: what all seeds together are to reach is not asked of it.
    let good = (0..).find(|&seed| race(Simulation::new(seed)).unwrap() == "one").unwrap().to_string();
    let (passed, replayed) = test(Some(&good));
    assert!(passed, "{replayed}");
    let (passed, refused) = test(Some("seven"));
    assert!(!passed && refused.contains("MATOU_SEED=seven is no seed"), "{refused}");
}

// ---- the borders

#[test]
fn r19_a_run_inside_a_simulation_and_a_simulation_inside_a_run_are_nested() {
    let inner = Simulation::new(0).domains(1).run(async {
        let here = matches!(Simulation::new(0).run(async {}), Err(RunError::Nested));
        let there = call(|| async { matches!(run(&Bare, Config::new(), async {}), Err(RunError::Nested)) });
        here && there.unwrap().await.unwrap()
    });
    assert!(inner.unwrap());
    let inner = run(&Bare, Config::new(), async { matches!(Simulation::new(0).run(async {}), Err(RunError::Nested)) });
    assert!(inner.unwrap());
    assert!(matches!(Simulation::new(0).domains(DomainId::MAX).run(async {}), Err(RunError::TooManyDomains { .. })));
}

#[test]
fn simulations_on_several_threads_share_nothing() {
    let expected: Vec<_> = (0..8).map(|seed| recorded(2, seed, 5)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!((0..8).all(|seed| recorded(2, seed, 5) == expected[seed as usize])));
        }
    });
}

#[test]
fn a_waker_may_wake_from_another_thread_and_after_the_run() {
    let (sender, receiver) = std::sync::mpsc::channel::<Waker>();
    let waking = std::thread::spawn(move || {
        let kept: Vec<_> = receiver.iter().inspect(Waker::wake_by_ref).collect();
        // The run is over.
        kept.into_iter().for_each(Waker::wake);
    });
    let ended = Simulation::new(0).domains(2).run(async move {
        let calls = (0..4).map(|_| {
            let sender = sender.clone();
            let send = move || async move {
                let mut polls = 0;
                std::future::poll_fn(|cx| {
                    polls += 1;
                    sender.send(cx.waker().clone()).unwrap();
                    // It does not wait for the thread.
                    cx.waker().wake_by_ref();
                    if polls > 200 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            };
            call(send).unwrap()
        });
        let calls = calls.collect();
        await_all(calls).await.len()
    });
    assert_eq!(ended.unwrap(), 4);
    waking.join().unwrap();
}

thread_local! {
    static KEPT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    static LEFT: RefCell<Option<Pin<Box<Sleep>>>> = const { RefCell::new(None) };
    static PROMISE: RefCell<Option<Promise<()>>> = const { RefCell::new(None) };
    static ORPHANS: RefCell<Option<Rc<Orphans<u8>>>> = const { RefCell::new(None) };
    static WAITING: RefCell<Option<Pin<Box<dyn Future<Output = Vec<u8>>>>>> = const { RefCell::new(None) };
}

/// Polls once, and gives the future back.
async fn begun<F: Future + Unpin>(mut future: F) -> F {
    std::future::poll_fn(|cx| {
        assert!(Pin::new(&mut future).poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    future
}

/// What may not leave its thread can still get from one simulated domain to another, as they share theirs.
#[test]
fn a_sleep_dropped_on_another_domain_of_the_thread_leaves_its_own_queue() {
    check(0..30, |simulation| {
        simulation.domains(2).run(async {
            let here = Task::new().pin(ONE).call(|| async {
                // Timers around it, so that the queue has a shape, and its neighbours are seen to fire.
                let around: Vec<_> = (1..20).map(|n| spawn(sleep(Duration::from_nanos(n * 10)))).collect();
                yield_now().await;
                let left = begun(Box::pin(sleep(Duration::from_nanos(5)))).await;
                LEFT.set(Some(left));
                await_all(around).await;
                now().as_nanos()
            });
            let there = Task::new().pin(TWO).call(|| async {
                let around: Vec<_> = (1..20).map(|n| spawn(sleep(Duration::from_nanos(n * 10)))).collect();
                while LEFT.with_borrow(Option::is_none) {
                    yield_now().await;
                }
                drop(LEFT.take());
                await_all(around).await;
            });
            there.unwrap().await.unwrap();
            let last = here.unwrap().await.unwrap();
            assert_eq!(last, 190);
        })
    });
}

#[test]
fn r05_what_another_domain_of_the_thread_gets_hold_of_is_not_its_to_use() {
    let used = |leave: fn(), r#use: fn() -> Pin<Box<dyn Future<Output = ()>>>| {
        let ended = Simulation::new(0).domains(2).run(async move {
            let here = Task::new().pin(ONE).call(move || async move {
                leave();
                std::future::pending::<()>().await;
            });
            sleep(Duration::from_nanos(1)).await;
            let there = Task::new().pin(TWO).call(move || async move { r#use().await }).unwrap().await;
            here.unwrap().cancel().await;
            there.unwrap();
        });
        let error = ended.map_err(|error| error.to_string());
        PROMISE.take();
        ORPHANS.take();
        error
    };
    let awaited =
        used(|| PROMISE.set(Some(spawn(std::future::pending::<()>()))), || Box::pin(async { drop(PROMISE.take().unwrap().await) }));
    assert!(awaited.unwrap_err().starts_with("NotAChild (R5)"));
    let cancelled =
        used(|| PROMISE.set(Some(spawn(std::future::pending::<()>()))), || Box::pin(async { PROMISE.take().unwrap().cancel().await }));
    assert!(cancelled.unwrap_err().starts_with("NotAChild (R5)"));
    let dropped = used(|| PROMISE.set(Some(spawn(std::future::pending::<()>()))), || Box::pin(async { drop(PROMISE.take()) }));
    assert_eq!(dropped, Ok(()), "the parent is cancelled: it may forget a child");
    let orphans = || {
        let orphans = Rc::new(Orphans::new());
        orphans.spawn(async { 1_u8 });
        orphans.spawn(std::future::pending::<u8>());
        ORPHANS.set(Some(orphans));
    };
    let taken = used(orphans, || Box::pin(async { drop(ORPHANS.take().unwrap().take()) }));
    assert!(taken.unwrap_err().contains("after the task it belongs to had ended"), "of another domain, it is as good as ended");
    let dropped = used(orphans, || Box::pin(async { drop(ORPHANS.take()) }));
    assert_eq!(dropped, Ok(()));
}

#[test]
fn r46_a_scope_a_point_and_a_cancellation_dropped_on_another_domain_of_the_thread_harm_nobody() {
    let leave = |left: fn() -> Pin<Box<dyn Future<Output = Box<dyn Any>>>>| {
        let ended = Simulation::new(0).domains(2).run(async move {
            let here = Task::new().pin(ONE).call(move || async move {
                KEPT.set(Some(left().await));
                sleep(Duration::from_nanos(2)).await;
                // Its domain goes on: timers, points and children as before.
                let _elapsed = timeout(Duration::from_nanos(2), async { event("never").await.len() }).await;
                spawn(async {}).await.unwrap();
            });
            sleep(Duration::from_nanos(1)).await;
            Task::new().pin(TWO).call(|| async { drop(KEPT.take()) }).unwrap().await.unwrap();
            here.unwrap().await.unwrap();
        });
        ended.map_err(|error| error.to_string())
    };
    let scoped = leave(|| {
        Box::pin(async {
            let children = scope(async {
                let orphans: Orphans<()> = Orphans::new();
                orphans.spawn(std::future::pending::<()>());
                orphans.call(std::future::pending::<()>).unwrap();
                let child = spawn(async {});
                std::future::pending::<()>().await;
                child.await.unwrap();
            });
            let left: Box<dyn Any> = Box::new(begun(Box::pin(children)).await);
            left
        })
    });
    assert_eq!(scoped, Ok(()), "its children are cancelled with it, wherever it is dropped");
    let point = leave(|| {
        Box::pin(async {
            let waiting = Point::new().unwrap().suspend(|_| Ok::<_, ()>(()));
            let left: Box<dyn Any> = Box::new(begun(waiting).await);
            left
        })
    });
    assert_eq!(point, Ok(()));
    let cancellation = leave(|| {
        Box::pin(async {
            let child = call(std::future::pending::<()>).unwrap();
            let left: Box<dyn Any> = Box::new(begun(child.cancel()).await);
            left
        })
    });
    assert_eq!(cancellation, Ok(()));
    let ended = leave(|| {
        Box::pin(async {
            let child = call(|| async { "its result" }).unwrap();
            sleep(Duration::from_nanos(1)).await;
            assert!(child.is_ended());
            let left: Box<dyn Any> = Box::new(child);
            left
        })
    });
    assert!(ended.unwrap_err().starts_with("StillHasChildren (R3)"), "dropped there, it is a forgotten child");
}

#[test]
fn an_event_waited_for_on_one_domain_may_be_given_up_on_another() {
    let ended = Simulation::new(0).domains(2).run(async move {
        let here = Task::new().pin(ONE).call(move || async move {
            let waiting: Pin<Box<dyn Future<Output = Vec<u8>>>> = Box::pin(event("it"));
            WAITING.set(Some(begun(waiting).await));
            sleep(Duration::from_nanos(2)).await;
            event("it").await.len()
        });
        sleep(Duration::from_nanos(1)).await;
        fire(ONE, Event::new("it", "ab"));
        Task::new().pin(TWO).call(move || async move { drop(WAITING.take()) }).unwrap().await.unwrap();
        here.unwrap().await.unwrap()
    });
    assert_eq!(ended.unwrap(), 2);
}

#[test]
fn r33_an_event_asked_for_where_the_budget_was_spent_is_waited_for_where_it_is_polled_next() {
    use std::future::poll_fn;
    thread_local! {
        static MOVED: RefCell<Option<Pin<Box<dyn Future<Output = Vec<u8>>>>>> = const { RefCell::new(None) };
    }
    let ended = Simulation::new(0).domains(2).quanta(1).run(async move {
        let first = Task::new().pin(ONE).call(|| async {
            let mut asked: Pin<Box<dyn Future<Output = Vec<u8>>>> = Box::pin(event("a"));
            poll_fn(|cx| {
                // The budget of this poll is spent by the sleep.
                let _ = std::pin::pin!(sleep(Duration::ZERO)).poll(cx);
                assert!(asked.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            MOVED.set(Some(asked));
            String::from_utf8(event("b").await).unwrap()
        });
        sleep(Duration::from_millis(1)).await;
        let second = Task::new().pin(TWO).call(|| async { MOVED.take().unwrap().await }).unwrap();
        sleep(Duration::from_millis(1)).await;
        fire(ONE, Event::new("a", "for a, on the first domain"));
        fire(TWO, Event::new("a", "for a"));
        fire(ONE, Event::new("b", "for b"));
        (first.unwrap().await.unwrap(), second.await.unwrap())
    });
    assert_eq!(ended.unwrap(), ("for b".to_owned(), b"for a".to_vec()));
}
