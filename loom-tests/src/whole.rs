//! Whole runs: the loops of three domains as they ship, their threads those of shuttle, which tries orders by chance.
//!
//! A run has too many orders for loom. What one word or one lock decides is proved in the other models; here is what they make together:
//! calls and their ends, cancellations, wakes from elsewhere, violations and the end of a run, with domains that sleep in a modelled event
//! source. A domain that is not woken is a deadlock, which shuttle finds.

#![allow(unsafe_code)] // Lends the run's functions to threads that are joined before it returns.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Poll, Waker};

use matou_core::dump::inspector;
use matou_core::platform::{Events, Interrupt, Platform, Signals, Wait};
use matou_core::sync::{Channel, Trigger};
use matou_core::time::Instant;
use matou_core::{
    Config, DomainId, Outcome, Plain, PointId, PromiseOf, RunError, Task, TaskPool, ViolationKind, await_all, call, run, spawn, yield_now,
};
use shuttle::rand::Rng;
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use crate::explore::explore;

/// A domain's event source: it has no events, sleeps until it is interrupted, and its clock stands still.
#[derive(Default)]
struct Bed {
    rung: Mutex<bool>,
    changed: Condvar,
    sleeps: AtomicUsize,
}

struct Sleeper(Arc<Bed>);

struct Bell(Arc<Bed>);

impl Interrupt for Bell {
    fn interrupt(&self) {
        *self.0.rung.lock().unwrap() = true;
        self.0.changed.notify_one();
    }
}

impl Events for Sleeper {
    type Interrupt = Bell;
    type Error = Infallible;

    fn interrupter(&self) -> Bell {
        Bell(self.0.clone())
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(0)
    }

    fn select(&mut self, wait: Wait, _: &[PointId], _: &mut Signals<'_>) -> Result<(), Infallible> {
        let mut rung = self.0.rung.lock().unwrap();
        if wait != Wait::No {
            self.0.sleeps.fetch_add(1, SeqCst);
            while !*rung {
                rung = self.0.changed.wait(rung).unwrap();
            }
        }
        *rung = false;
        Ok(())
    }
}

/// Domain 0 and two workers.
#[derive(Default)]
struct Three([Arc<Bed>; 3]);

impl Platform for Three {
    type Error = Infallible;
    type Events = Sleeper;

    fn events(&self, domain: DomainId) -> Result<Sleeper, Infallible> {
        Ok(Sleeper(self.0[domain.index()].clone()))
    }

    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), Infallible> {
        // SAFETY: only the lifetime is forgotten; the threads are joined before this returns, whatever it is that unwinds then: a model that
        // fails ends its process.
        let worker = unsafe { std::mem::transmute::<&(dyn Fn(DomainId) + Sync), &'static (dyn Fn(DomainId) + Sync)>(worker) };
        let threads: Vec<_> = (1..=workers).map(|id| thread::spawn(move || worker(DomainId::new(id)))).collect();
        main();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        Ok(())
    }
}

impl Three {
    /// How often the domain slept so far.
    fn sleeps(&self, domain: usize) -> usize {
        self.0[domain].sleeps.load(SeqCst)
    }
}

fn config() -> Config {
    Config::new().domains(2)
}

/// Starts a child on this domain.
fn pinned<C, F>(domain: usize, make: C) -> PromiseOf<F>
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output: Outcome<Value: Send, Error: Send>> + 'static,
{
    Task::new().pin(DomainId::new(domain)).call(make).unwrap_or_else(|error| panic!("{error}"))
}

/// Counts what was made and is not dropped.
#[derive(Clone, Default)]
struct Count(Arc<()>);

impl Count {
    /// How many are alive beside this.
    fn alive(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// Calls the function when it is dropped.
struct AtEnd<F: Fn()>(F);

impl<F: Fn()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What has happened in one execution, for the outcomes. It orders nothing.
type Steps = Arc<AtomicUsize>;

#[test]
fn calls_go_there_and_back() {
    const OUTCOMES: &[&str] = &["the first ended first", "the second ended first"];
    explore(3000, OUTCOMES, |met| {
        let turns = Steps::default();
        let ends = [Steps::default(), Steps::default()];
        let child = |domain: usize| {
            let (turns, end) = (turns.clone(), ends[domain - 1].clone());
            // Each has a child on the other's domain.
            pinned(domain, move || async move {
                let below = pinned(3 - domain, move || async move { domain });
                let sum = below.await.unwrap() + 10;
                end.store(turns.fetch_add(1, SeqCst), SeqCst);
                sum
            })
        };
        let ran = run(&Three::default(), config(), async {
            await_all(vec![child(1), child(2)]).await.into_iter().map(Result::unwrap).sum::<usize>()
        });
        assert!(matches!(ran, Ok(23)), "{ran:?}");
        met.note(OUTCOMES[usize::from(ends[0].load(SeqCst) > ends[1].load(SeqCst))]);
    });
}

#[test]
fn calls_to_a_domain_that_watches() {
    const OUTCOMES: &[&str] = &["the last calls cost no sleep", "the last calls cost sleeps"];
    explore(500, OUTCOMES, |met| {
        let platform = Three::default();
        let config = config().spin(core::time::Duration::from_nanos(1));
        let slept = run(&platform, config, async {
            for number in 0..4 {
                assert_eq!(pinned(1, move || async move { number }).await.unwrap(), number);
            }
            let before = platform.sleeps(0) + platform.sleeps(1);
            for number in 0..4 {
                assert_eq!(pinned(1, move || async move { number }).await.unwrap(), number);
            }
            platform.sleeps(0) + platform.sleeps(1) - before
        });
        met.note(OUTCOMES[usize::from(slept.unwrap() > 0)]);
    });
}

#[test]
fn a_cancellation_meets_whatever_the_child_does() {
    const OUTCOMES: &[&str] = &["it never ran", "it ran, and its child did not", "both ran"];
    explore(3000, OUTCOMES, |met| {
        let (steps, alive) = (Steps::default(), Count::default());
        let ran = run(&Three::default(), config(), async {
            let child = pinned(1, {
                let (steps, token) = (steps.clone(), alive.clone());
                move || async move {
                    steps.fetch_add(1, SeqCst);
                    let below = pinned(2, {
                        let (steps, token) = (steps.clone(), token.clone());
                        move || async move {
                            let _token = token;
                            steps.fetch_add(1, SeqCst);
                            pending::<()>().await;
                        }
                    });
                    below.await.unwrap();
                    drop(token);
                }
            });
            yield_now().await;
            child.cancel().await;
            assert_eq!(alive.alive(), 0, "the cancellation has waited for the whole subtree");
        });
        ran.unwrap();
        met.note(OUTCOMES[steps.load(SeqCst)]);
    });
}

#[test]
fn a_cancellation_meets_the_end() {
    const OUTCOMES: &[&str] = &["it never ran", "it was cut short, or had ended"];
    explore(2000, OUTCOMES, |met| {
        let (steps, alive) = (Steps::default(), Count::default());
        let ran = run(&Three::default(), config(), async {
            let (steps, token) = (steps.clone(), alive.clone());
            let child = pinned(1, move || async move {
                steps.fetch_add(1, SeqCst);
                yield_now().await;
                Plain(token)
            });
            yield_now().await;
            child.cancel().await;
            assert_eq!(alive.alive(), 0, "its result, if there was one, was dropped");
        });
        ran.unwrap();
        met.note(OUTCOMES[steps.load(SeqCst)]);
    });
}

#[test]
fn a_promise_dropped_meets_the_end() {
    const OUTCOMES: &[&str] = &["its value was dropped", "it was cut short"];
    explore(2000, OUTCOMES, |met| {
        let (steps, alive) = (Steps::default(), Count::default());
        let ran = run(&Three::default(), config(), async {
            let (steps, token) = (steps.clone(), alive.clone());
            let child = pinned(1, move || async move {
                yield_now().await;
                steps.fetch_add(1, SeqCst);
                Plain(token)
            });
            for _ in 0..3 {
                yield_now().await;
            }
            drop(child);
            // Abnormal, so that it may forget it.
            Err::<(), &str>("no more")
        });
        assert!(matches!(ran, Err(RunError::Failed("no more"))), "{ran:?}");
        assert_eq!(alive.alive(), 0);
        met.note(OUTCOMES[usize::from(steps.load(SeqCst) == 0)]);
    });
}

#[test]
fn wakes_come_from_elsewhere() {
    const OUTCOMES: &[&str] = &["the one who waits slept", "the one who waits did not sleep"];
    explore(3000, OUTCOMES, |met| {
        let platform = Three::default();
        let ran = run(&platform, config(), async {
            let (there, back) = (Arc::new(Trigger::new()), Arc::new(Trigger::new()));
            let waits = pinned(1, {
                let (there, back) = (there.clone(), back.clone());
                move || async move {
                    there.wait().await;
                    back.signal();
                }
            });
            let before = platform.sleeps(0);
            // The waker is that of a task of another domain, both ways.
            there.signal();
            back.wait().await;
            let slept = platform.sleeps(0) > before;
            waits.await.unwrap();
            slept
        });
        met.note(OUTCOMES[usize::from(!ran.unwrap())]);
    });
}

#[test]
fn a_waker_outlives_its_task_and_its_run() {
    const OUTCOMES: &[&str] = &["it was used while the task waited", "it was used after the task had ended", "it was used after the run"];
    explore(3000, OUTCOMES, |met| {
        let (kept, stage) = (Arc::new(Mutex::new(None)), Steps::default());
        let waker = thread::spawn({
            let (kept, stage) = (kept.clone(), stage.clone());
            move || {
                let after = shuttle::rand::thread_rng().gen_range(0..3);
                while stage.load(SeqCst) < after {
                    thread::yield_now();
                }
                loop {
                    let waker: Option<Waker> = kept.lock().unwrap().take();
                    if let Some(waker) = waker {
                        let stage = stage.load(SeqCst);
                        waker.wake();
                        return stage;
                    }
                    thread::yield_now();
                }
            }
        });
        let pool: &'static TaskPool<1, 64> = Box::leak(Box::new(TaskPool::new()));
        let ran = run(&Three::default(), config(), async {
            let mut left = 2;
            let child = pool.spawn(poll_fn(move |cx| {
                kept.lock().unwrap().get_or_insert_with(|| cx.waker().clone());
                left -= 1;
                if left == 0 {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
            child.unwrap_or_else(|full| panic!("{full}")).await.unwrap();
            stage.store(1, SeqCst);
        });
        ran.unwrap();
        stage.store(2, SeqCst);
        met.note(OUTCOMES[waker.join().unwrap()]);
        assert_eq!(pool.free(), 1, "the last holder gives the place back");
    });
}

#[test]
fn values_go_through_three_domains() {
    static RUNS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    const OUTCOMES: &[&str] = &["the receiver got all", "it went away before", "it got some"];
    explore(3000, OUTCOMES, |met| {
        let received = Steps::default();
        let ran = run(&Three::default(), config(), async {
            let values = Arc::new(Channel::<usize, 1>::new());
            let sends = pinned(1, {
                let values = values.clone();
                move || async move {
                    for number in 0..3 {
                        values.send(number).await.unwrap();
                    }
                    values.close();
                }
            });
            let receives = pinned(2, {
                let (received, values) = (received.clone(), values.clone());
                move || async move {
                    while values.receive().await.is_some() {
                        received.fetch_add(1, SeqCst);
                    }
                }
            });
            // Long enough for some, or for all.
            for _ in 0..if RUNS.fetch_add(1, SeqCst) % 2 == 0 { 6 } else { 60 } {
                yield_now().await;
            }
            receives.cancel().await;
            let got = received.load(SeqCst);
            let mut left = 0;
            while values.receive().await.is_some() {
                left += 1;
            }
            sends.await.unwrap();
            assert_eq!(got + left, 3, "what who went away did not take is there for the next");
            got
        });
        met.note(match ran.unwrap() {
            3 => OUTCOMES[0],
            0 => OUTCOMES[1],
            _ => OUTCOMES[2],
        });
    });
}

#[test]
fn a_violation_ends_those_who_sleep() {
    const OUTCOMES: &[&str] = &["domain 0 slept when it came", "domain 0 did not sleep"];
    explore(3000, OUTCOMES, |met| {
        let (steps, slept, alive) = (Steps::default(), Steps::default(), Count::default());
        let platform = Three::default();
        let ran = run(&platform, config(), async {
            let silent = pinned(2, {
                let (steps, token) = (steps.clone(), alive.clone());
                move || async move {
                    let _token = token;
                    // Its end comes here, and domain 0 learns of it by the ring alone.
                    let _forgets = pinned(1, move || async move {
                        steps.fetch_add(1, SeqCst);
                        drop(spawn(async {}));
                        steps.fetch_add(1, SeqCst);
                    });
                    pending::<()>().await;
                }
            });
            let _token = alive.clone();
            let before = platform.sleeps(0);
            let _note = AtEnd(|| slept.store(platform.sleeps(0) - before, SeqCst));
            for _ in 0..shuttle::rand::thread_rng().gen_range(0..30) {
                yield_now().await;
            }
            silent.await.unwrap();
        });
        let Err(RunError::Violation(violation)) = ran else { panic!("{ran:?}") };
        assert!(matches!(violation.kind, ViolationKind::StillHasChildren { .. }));
        assert_eq!(alive.alive(), 0, "everything was dropped");
        assert_eq!(steps.load(SeqCst), 2, "a poll in which a rule is broken goes on to its end");
        met.note(OUTCOMES[usize::from(slept.load(SeqCst) == 0)]);
    });
}

#[test]
fn a_question_meets_the_end_of_the_run() {
    const OUTCOMES: &[&str] = &["it was answered", "it came too late"];
    explore(3000, OUTCOMES, |met| {
        let (slot, over) = (Arc::new(Mutex::new(None)), Steps::default());
        let asker = thread::spawn({
            let (slot, over) = (slot.clone(), over.clone());
            move || {
                let late = shuttle::rand::thread_rng().gen_bool(0.5);
                let asker: matou_core::dump::Inspector = loop {
                    if let Some(asker) = slot.lock().unwrap().take() {
                        break asker;
                    }
                    thread::yield_now();
                };
                while late && over.load(SeqCst) == 0 {
                    thread::yield_now();
                }
                asker.survey()
            }
        });
        let ran = run(&Three::default(), config(), async {
            *slot.lock().unwrap() = inspector();
            call(|| async {}).unwrap().await.unwrap();
        });
        ran.unwrap();
        over.store(1, SeqCst);
        let survey = asker.join().unwrap();
        assert!(survey.is_complete(), "no question is left behind by a run");
        met.note(OUTCOMES[usize::from(survey.tree().tasks.is_empty())]);
    });
}
