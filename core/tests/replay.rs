//! Replay: with one domain, the seed, the program and the events decide everything (R21).
//!
//! A program is a tree of tasks, each of which does what its own numbers say: it yields, sleeps, waits for events, starts, awaits, cancels
//! and forgets children, owns, fails, panics. It runs on a [`Script`]. Every poll, result, destructor, finaliser and every call of the event
//! source is noted, with ids and times, and the notes of two runs are compared from the first to the last.

#![cfg(feature = "std")]

mod support;

use std::collections::HashSet;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Barrier;
use std::task::Poll;
use std::time::Duration;

use matou_core::suspension::Point;
use matou_core::time::{now, sleep, timeout};
use matou_core::{
    Care, Config, Exit, Orphans, Plain, Promise, Resource, Task, await_first, await_one, current_task, run, spawn, yield_now,
};
use support::Threads;
use support::probe::{OnDrop, Trace, race};
use support::script::{Chance, Script};

/// A program.
#[derive(Clone)]
struct Program {
    number: u64,
    script: Script,
    made: Trace<()>,
}

type Ended = Result<u64, &'static str>;
type Life = Pin<Box<dyn Future<Output = Ended>>>;

/// The most tasks of a program.
const TASKS: usize = 120;

impl Program {
    /// A task, noted from its first poll to its drop.
    fn task(&self, depth: u64) -> Life {
        let program = self.clone();
        self.made.note(());
        let task = self.made.len() as u64;
        let mut life: Life = Box::pin(async move { program.live(task, depth).await });
        let script = self.script.clone();
        let dropped = script.clone();
        let leaving = OnDrop(move || dropped.note(format!("{task} dropped")));
        Box::pin(poll_fn(move |cx| {
            let _ = &leaving;
            script.note(format!("{task} ({:?}) polled", current_task()));
            let polled = life.as_mut().poll(cx);
            if let Poll::Ready(ended) = &polled {
                script.note(format!("{task} ended: {ended:?}"));
            }
            polled
        }))
    }

    async fn live(self, task: u64, depth: u64) -> Ended {
        let mut chance = Chance::new(self.number, task);
        let note = |what: String| self.script.note(format!("{task}: {what}"));
        let mut children: Vec<Promise<u64, &'static str>> = Vec::new();
        let orphans: Orphans<u64, &'static str> = Orphans::new();
        let mut resources = Vec::new();
        let suspend = || async {
            let point = Point::new().unwrap();
            let register = |id| {
                note(format!("registers {id:?}"));
                self.script.register(id);
                Ok::<_, ()>(())
            };
            point.suspend(register).await.unwrap();
        };
        let steps = if task == 1 { 40 } else { 4 + chance.below(12) };
        for _ in 0..steps {
            let may_start = depth > 0 && self.made.len() < TASKS;
            match chance.below(18) {
                0 => yield_now().await,
                1 => sleep(Duration::from_nanos(chance.below(600))).await,
                2 => suspend().await,
                3..=6 if may_start => children.push(spawn(self.task(depth - 1))),
                7 if may_start => {
                    orphans.spawn(self.task(depth - 1));
                }
                8 => note(format!("await_one: {:?}", await_one(&mut children).await)),
                9 => note(format!("next: {:?}", orphans.next().await)),
                10 => match orphans.care() {
                    Care::Ready(promise) => note(format!("care: {:?}", promise.await)),
                    other => note(format!("care: {other:?}")),
                },
                11 if !children.is_empty() => {
                    let index = chance.below(children.len() as u64) as usize;
                    let child = children.remove(index);
                    note(format!("cancels {:?}", child.id()));
                    let cancellation = child.cancel();
                    if chance.below(2) == 0 {
                        cancellation.await;
                    }
                }
                12 if may_start => {
                    let (nanos, child) = (chance.below(400), self.task(depth - 1));
                    let inner = async move { spawn(child).await.map_err(|_| "the child") };
                    note(format!("timeout: {:?}", timeout(Duration::from_nanos(nanos), inner).await));
                }
                13 => {
                    let script = self.script.clone();
                    let resource = Resource::new(task, move |task| script.note(format!("{task} finalised at {:?}", now())));
                    resource.own().unwrap();
                    resources.push(resource);
                }
                14 => match resources.pop() {
                    Some(resource) if chance.below(2) == 0 => resource.release().unwrap(),
                    Some(resource) => note(format!("transfer: {:?}", resource.transfer())),
                    None => {}
                },
                15 if chance.below(3) == 0 => note(format!("await_first: {:?}", await_first(std::mem::take(&mut children)).await)),
                16 => {
                    let won = race(sleep(Duration::from_nanos(chance.below(300))), suspend()).await;
                    note(format!("race: {won:?}"));
                }
                17 if task > 1 && chance.below(2) == 0 => match chance.below(3) {
                    0 => return Err("it failed"),
                    // A panic that no hook prints.
                    1 => resume_unwind(Box::new("it panicked")),
                    // Forgotten: a normal end is then a violation.
                    _ => drop(children.pop()),
                },
                _ => {}
            }
        }
        // To end normally, it leaves nothing. Some end otherwise.
        if task > 1 && chance.below(8) == 0 {
            return Err("it gave up");
        }
        for resource in resources {
            resource.release().unwrap();
        }
        while let Some(ended) = orphans.next().await {
            note(format!("left: {ended:?}"));
        }
        for child in children {
            child.cancel().await;
        }
        note(format!("over at {:?}", now()));
        Ok(task)
    }
}

/// The notes of a run. They end with how it ended: forgotten children and transferred resources make some programs break rules.
fn notes(program: u64, events: u64, seed: u64) -> Vec<String> {
    let script = Script::new(events);
    let program = Program { number: program, script: script.clone(), made: Trace::new() };
    let ended = run(&script, Config::new().seed(seed).quanta(8), program.task(6));
    script.note(format!("{ended:?}"));
    script.trace.take()
}

/// Compares from the first note, so that a failure names the first difference.
#[track_caller]
fn assert_same(left: &[String], right: &[String]) {
    for (index, (left, right)) in left.iter().zip(right).enumerate() {
        assert_eq!(left, right, "note {index}");
    }
    assert_eq!(left.len(), right.len());
}

const PROGRAMS: std::ops::Range<u64> = 0..60;

#[test]
fn r21_two_runs_with_the_same_seed_program_and_events_are_the_same() {
    let mut steps = 0;
    for program in PROGRAMS {
        for seed in 0..4 {
            let first = notes(program, program, seed);
            assert_same(&first, &notes(program, program, seed));
            steps += first.len();
        }
    }
    assert!(steps > 10_000, "{steps} steps are too few to say anything");
}

#[test]
fn r21_the_programs_do_what_they_are_for() {
    let all: Vec<_> = PROGRAMS.flat_map(|program| notes(program, program, 0)).collect();
    let seen = |what: &str| all.iter().filter(|note| note.contains(what)).count();
    for what in [
        "await_one: Some(Ok(",
        "await_one: Some(Err(Failed",
        "await_one: Some(Err(Panicked",
        "await_first: Some(",
        "next: Some(",
        "care: Ok(",
        "care: Pending",
        "care: Empty",
        "cancels",
        "timeout: Err(Elapsed)",
        "timeout: Ok(Ok(",
        "race: Ok",
        "race: Err",
        "registers",
        "finalised",
        "transfer: Ok",
        "select(No",
        "select(Until",
        "select(Forever",
        "over at",
        "Err(StillHasChildren",
    ] {
        assert!(seen(what) > 0, "{what:?} was seen {} times", seen(what));
    }
}

#[test]
fn r21_the_seed_the_program_and_the_events_each_matter() {
    let distinct = |runs: Vec<Vec<String>>| runs.into_iter().collect::<HashSet<_>>().len();
    let (mut by_seed, mut by_events) = (0, 0);
    for program in PROGRAMS {
        by_seed += usize::from(distinct((0..8).map(|seed| notes(program, program, seed)).collect()) > 1);
        by_events += usize::from(distinct((0..4).map(|events| notes(program, events, 0)).collect()) > 1);
    }
    // Where no choice is left to chance, or nobody waits for an event, they change nothing.
    assert!(by_seed > 5 && by_events > 15, "the seed made a difference to {by_seed} programs, the events to {by_events}");
    assert_eq!(distinct(PROGRAMS.map(|program| notes(program, 0, 0)).collect()), PROGRAMS.count());
}

#[test]
fn r21_what_else_the_process_does_makes_no_difference() {
    let expected: Vec<_> = (0..8).map(|program| notes(program, program, 7)).collect();
    // Runs between, which use up whatever is counted for the whole process.
    for _ in 0..3 {
        let between = run(&Threads::new(2), Config::new().domains(2).seed(1), async {
            let children: Vec<_> = (0..10).map(|_| matou_core::call(|| async {}).unwrap()).collect();
            matou_core::await_all(children).await;
        });
        between.unwrap();
        for (program, expected) in (0..8).zip(&expected) {
            assert_same(expected, &notes(program, program, 7));
        }
    }
    // On other threads, all at once.
    let together = Barrier::new(4);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                together.wait();
                for (program, expected) in (0..8).zip(&expected) {
                    assert_same(expected, &notes(program, program, 7));
                }
            });
        }
    });
}

/// The order in which `await_one` gives the results of children that have all ended.
fn choices(seed: u64, children: usize, failing: usize) -> Vec<Result<usize, usize>> {
    let chosen = run(&Script::new(0), Config::new().seed(seed), async {
        let mut promises: Vec<_> =
            (0..children).map(|number| spawn(async move { if number < failing { Err(number) } else { Ok(number) } })).collect();
        while !promises.iter().all(Promise::is_ended) {
            yield_now().await;
        }
        let mut order = Vec::new();
        while let Some(ended) = await_one(&mut promises).await {
            order.push(ended.map_err(|exit| match exit {
                Exit::Failed(number) => number,
                other => panic!("{other:?}"),
            }));
        }
        Plain(order)
    });
    chosen.unwrap()
}

#[test]
fn r21_the_choices_of_await_one_come_from_the_seed() {
    let mut firsts = [0; 8];
    let mut orders = HashSet::new();
    for seed in 0..400 {
        let order = choices(seed, 8, 0);
        assert_eq!(order, choices(seed, 8, 0));
        firsts[order[0].unwrap()] += 1;
        orders.insert(order);
    }
    assert!(orders.len() > 390, "{} orders of 400", orders.len());
    assert!(firsts.iter().all(|first| (25..=75).contains(first)), "each is the first about as often: {firsts:?}");
    // A normal end is preferred, and chance decides among equals.
    for seed in 0..50 {
        let order = choices(seed, 8, 4);
        assert_eq!(order, choices(seed, 8, 4));
        assert!(order[..4].iter().all(Result::is_ok) && order[4..].iter().all(Result::is_err), "{order:?}");
    }
}

#[test]
fn r21_ids_are_given_in_the_same_order() {
    let ids = |seed| {
        let ids = run(&Script::new(3), Config::new().seed(seed), async {
            let mut ids = vec![format!("{:?}", current_task())];
            let mut open = Vec::new();
            for number in 0..20 {
                let child = Task::new().name("child").spawn(async {}).unwrap();
                ids.push(format!("{:?}", child.id()));
                child.await.unwrap();
                let point = Point::new().unwrap();
                ids.push(format!("{:?}", point.id()));
                if number % 3 != 0 {
                    open.push(point);
                }
            }
            Ok::<_, Exit>(ids)
        });
        ids.unwrap()
    };
    // Whatever the seed: nothing about ids is left to chance.
    assert!((1..5).all(|seed| ids(seed) == ids(0)));
}
