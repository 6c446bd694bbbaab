//! Tracing: what a consumer is told, in which order, and that it can do no harm.
//!
//! Every program here runs on a platform without a clock of its own, so that what is told is compared to the letter. Tasks are named, and
//! events are written by those names.

#![cfg(feature = "std")]

mod support;

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use matou_core::platform::Bare;
use matou_core::suspension::Point;
use matou_core::time::{Instant, sleep};
use matou_core::trace::{Event, EventKind, How, ResourceId, Step, Trace};
use matou_core::{
    Config, DomainId, Exit, Orphans, Plain, Report, ReportPlace, Resource, RunError, Task, TaskId, TaskPool, current_task, run, spawn,
    yield_now,
};
use support::Threads;
use support::family::{Dice, Reports};
use support::leak::leak;
use support::probe::{Flag, race};
use support::wakers::{Ring, poll_under};

/// Keeps every event.
#[derive(Default)]
struct Kept(Mutex<Vec<Event>>);

impl Trace for Kept {
    fn event(&self, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

impl Kept {
    /// One for a test: a consumer lives as long as the program.
    fn new() -> &'static Kept {
        leak(Kept::default())
    }

    fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Writes events with the names of tasks, a line each; ids of resources and points are numbered as they come.
fn written(events: &[Event]) -> Vec<String> {
    let mut names = HashMap::new();
    let mut resources: Vec<ResourceId> = Vec::new();
    let mut lines = Vec::new();
    for event in events {
        if let EventKind::Spawn { task, parent, name, .. } = event.kind {
            names.insert(task, name.unwrap_or(if parent.is_none() { "main" } else { "?" }));
        }
    }
    let mut number = |resource| {
        resources.iter().position(|&known| known == resource).unwrap_or_else(|| {
            resources.push(resource);
            resources.len() - 1
        })
    };
    for event in events {
        let mut line = String::new();
        if event.domain != DomainId::ZERO {
            write!(line, "{}| ", event.domain).unwrap();
        }
        let of = |task: TaskId| names[&task];
        let what = match event.kind {
            EventKind::Spawn { task, parent, home, .. } => {
                let parent = parent.map_or("nobody", of);
                format!("{parent} spawns {}{}", of(task), if home == event.domain { String::new() } else { format!(" on {home}") })
            }
            EventKind::RunBegin { task, step: Step::Poll } => format!("{} {{", of(task)),
            EventKind::RunEnd { task, step: Step::Poll } => format!("}} {}", of(task)),
            EventKind::RunBegin { task, step: Step::Drop } => format!("{} drops {{", of(task)),
            EventKind::RunEnd { task, step: Step::Drop } => format!("}} {} dropped", of(task)),
            EventKind::Suspend { task, .. } => format!("{} suspends", of(task)),
            EventKind::Resume { task, .. } => format!("{} is resumed", of(task)),
            EventKind::GiveUp { task, .. } => format!("{} gives up", of(task)),
            EventKind::Await { task, child } => format!("{} awaits {}", of(task), of(child)),
            EventKind::Join { task, child } => format!("{} joins {}", of(task), of(child)),
            EventKind::Cancel { task, by } => format!("{} cancels {}", by.map_or("nobody", of), of(task)),
            EventKind::End { task, how } => format!("{} ends: {how:?}", of(task)),
            EventKind::Attach { task, resource, .. } => format!("{} has r{}", of(task), number(resource)),
            EventKind::Detach { task, resource, .. } => format!("{} had r{}", of(task), number(resource)),
            EventKind::Violation(violation) => format!("{} breaks a rule", of(violation.task)),
            other => panic!("{other:?}"),
        };
        line += &what;
        lines.push(line);
    }
    lines
}

/// Starts a named child of the current task.
fn child<F>(name: &'static str, future: F) -> matou_core::PromiseOf<F>
where
    F: Future<Output: matou_core::Outcome> + 'static,
{
    Task::new().name(name).spawn(future).unwrap()
}

#[track_caller]
fn assert_told(kept: &Kept, expected: &[&str]) {
    let told = written(&kept.take());
    assert!(told == expected, "told:\n{}", told.iter().map(|line| format!("{line:?},\n")).collect::<String>());
}

#[test]
fn a_spawn_an_await_and_an_end() {
    let kept = Kept::new();
    let ran = run(&Bare, Config::new().trace(kept), async {
        let promise = child("a", async { 1 });
        promise.await
    });
    assert_eq!(ran.ok(), Some(1));
    assert_told(
        kept,
        &[
            "nobody spawns main",
            "main {",
            "main spawns a",
            "main awaits a",
            "} main",
            "a {",
            "} a",
            "a ends: Normal",
            "main {",
            "main joins a",
            "} main",
            "main ends: Normal",
        ],
    );
}

/// However often a promise is polled, and given up and awaited again.
#[test]
fn an_await_is_told_once() {
    let kept = Kept::new();
    let ran = run(&Bare, Config::new().trace(kept), async {
        let mut promise = child("slow", async {
            for _ in 0..8 {
                yield_now().await;
            }
        });
        for _ in 0..3 {
            assert!(race(&mut promise, yield_now()).await.is_err());
        }
        promise.await
    });
    assert!(ran.is_ok());
    let told = written(&kept.take());
    assert_eq!(told.iter().filter(|line| *line == "main awaits slow").count(), 1);
    assert_eq!(told.iter().filter(|line| *line == "main joins slow").count(), 1);
}

/// A spawn names its place and its name, and every event its time.
#[test]
fn events_have_places_and_times() {
    let kept = Kept::new();
    let platform = Threads::new(0);
    let ran = run(&platform, Config::new().trace(kept), async {
        let promise = child("sleeper", sleep(Duration::from_millis(3)));
        promise.await
    });
    assert!(ran.is_ok());
    let events = kept.take();
    assert!(events.windows(2).all(|pair| pair[0].at <= pair[1].at), "the clock never goes back");
    let span = |name: Option<&str>| {
        let task = events.iter().find_map(|event| match event.kind {
            EventKind::Spawn { task, name: told, born, .. } if told == name => {
                assert!(born.file().ends_with("trace.rs") && born.line() > 1);
                Some(task)
            }
            _ => None,
        });
        let task = task.unwrap();
        let end = events.iter().find(|event| matches!(event.kind, EventKind::End { task: ended, .. } if ended == task)).unwrap();
        let begin = events.iter().find(|event| matches!(event.kind, EventKind::RunBegin { task: begun, .. } if begun == task)).unwrap();
        end.at - begin.at
    };
    assert!(span(Some("sleeper")) >= Duration::from_millis(3));
    assert!(span(None) >= span(Some("sleeper")));
    let first = events[0].at;
    assert!(first > Instant::from_nanos(0));
}

#[test]
fn every_way_to_end() {
    let kept = Kept::new();
    let ran = run(&Bare, Config::new().trace(kept), async {
        assert!(matches!(child("fails", async { Err::<(), _>(7) }).await, Err(Exit::Failed(7))));
        assert!(matches!(child("panics", async { std::panic::resume_unwind(Box::new("meow")) }).await, Err(Exit::Panicked(_))));
        child("endless", pending::<()>()).cancel().await;
        child("unpolled", async {}).cancel().await;
        let late = child("late", async {});
        yield_now().await;
        late.cancel().await;
    });
    assert!(ran.is_ok());
    let told = written(&kept.take());
    let of = |name: &str| told.iter().filter(|line| line.contains(name) && !line.contains("main {")).cloned().collect::<Vec<_>>();
    assert_eq!(of("fails"), ["main spawns fails", "main awaits fails", "fails {", "} fails", "fails ends: Failed", "main joins fails"]);
    assert_eq!(of("panics")[2..], ["panics {", "} panics", "panics ends: Panicked", "main joins panics"]);
    let cancelled = |name: &str| {
        ["main spawns X", "main cancels X", "main awaits X", "X drops {", "} X dropped", "X ends: Cancelled"]
            .map(|line| line.replace('X', name))
    };
    assert_eq!(of("endless"), cancelled("endless"));
    assert_eq!(of("unpolled"), cancelled("unpolled"));
    assert_eq!(of("late"), ["main spawns late", "late {", "} late", "late ends: Normal", "main cancels late"]);
}

/// A cancellation goes down the tree: only the one asked for is told as asked for, and children end before their parents.
#[test]
fn cancellation_of_a_subtree() {
    let kept = Kept::new();
    let ran = run(&Bare, Config::new().trace(kept), async {
        let top = child("top", async {
            let inner = child("inner", async {
                let _leaf = child("leaf", pending::<()>());
                pending::<()>().await;
            });
            let _ = inner.await;
        });
        yield_now().await;
        yield_now().await;
        yield_now().await;
        kept.0.lock().unwrap().retain(|event| matches!(event.kind, EventKind::Spawn { .. }));
        top.cancel().await;
    });
    assert!(ran.is_ok());
    assert_told(
        kept,
        &[
            "nobody spawns main",
            "main spawns top",
            "top spawns inner",
            "inner spawns leaf",
            "main cancels top",
            "main awaits top",
            "} main",
            "top drops {",
            "} top dropped",
            "inner drops {",
            "} inner dropped",
            "leaf drops {",
            "} leaf dropped",
            "leaf ends: Cancelled",
            "inner ends: Cancelled",
            "top ends: Cancelled",
            "main {",
            "} main",
            "main ends: Normal",
        ],
    );
}

#[test]
fn suspension_points() {
    let kept = Kept::new();
    let platform = Threads::new(0);
    let hand = platform.hand(0);
    let ran = run(&platform, Config::new().trace(kept), async move {
        let resumed = child("resumed", {
            let hand = hand.clone();
            async move {
                let point = Point::new().unwrap();
                let register = |id| {
                    hand.fire(id);
                    Ok::<_, ()>(())
                };
                point.suspend(register).await.unwrap();
            }
        });
        resumed.await.unwrap();
        let cut = child("cut", async {
            let point = Point::new().unwrap();
            point.suspend(|_| Ok::<_, ()>(())).await.unwrap();
        });
        yield_now().await;
        cut.cancel().await;
    });
    assert!(ran.is_ok());
    let events = kept.take();
    let points: Vec<_> = events
        .iter()
        .filter_map(|event| match event.kind {
            EventKind::Suspend { task, point } | EventKind::Resume { task, point } | EventKind::GiveUp { task, point } => {
                Some((task, point))
            }
            _ => None,
        })
        .collect();
    assert_eq!((points.len(), points[0], points[2]), (4, points[1], points[3]));
    let told = written(&events);
    let told: Vec<_> = told.iter().filter(|line| ["suspends", "is resumed", "gives up"].iter().any(|what| line.contains(what))).collect();
    assert_eq!(told, ["resumed suspends", "resumed is resumed", "cut suspends", "cut gives up"]);
}

#[test]
fn resources_change_hands() {
    let kept = Kept::new();
    let ran = run(&Bare, Config::new().trace(kept), async {
        let given = Resource::new((), |()| {});
        given.own().unwrap();
        let taker = Task::new().name("taker").give(&given).spawn({
            let given = given.clone();
            async move { given.transfer().unwrap() }
        });
        taker.unwrap().await.unwrap();
        given.release().unwrap();
        let failing = child("failing", async {
            let left = Resource::new((), |()| {});
            left.own().unwrap();
            Err::<(), _>(())
        });
        let _ = failing.await;
    });
    assert!(ran.is_ok());
    assert_told(
        kept,
        &[
            "nobody spawns main",
            "main {",
            "main has r0",
            "main spawns taker",
            "main had r0",
            "taker has r0",
            "main awaits taker",
            "} main",
            "taker {",
            "taker had r0",
            "} taker",
            "taker ends: Normal",
            "main has r0",
            "main {",
            "main joins taker",
            "main had r0",
            "main spawns failing",
            "main awaits failing",
            "} main",
            "failing {",
            "failing has r1",
            "} failing",
            "failing had r1",
            "failing ends: Failed",
            "main {",
            "main joins failing",
            "} main",
            "main ends: Normal",
        ],
    );
}

#[test]
fn a_violation_and_what_it_takes_along() {
    let kept = Kept::new();
    let ran = run(&Bare, Config::new().trace(kept), async {
        let breaker = child("breaker", async {
            drop(child("forgotten", async {}));
        });
        breaker.await
    });
    assert!(matches!(ran, Err(RunError::Violation(_))));
    assert_told(
        kept,
        &[
            "nobody spawns main",
            "main {",
            "main spawns breaker",
            "main awaits breaker",
            "} main",
            "breaker {",
            "breaker spawns forgotten",
            "} breaker",
            "breaker breaks a rule",
            "forgotten drops {",
            "} forgotten dropped",
            "forgotten ends: Cancelled",
            "breaker ends: Violated",
            "nobody cancels main",
            "main drops {",
            "} main dropped",
            "main ends: Cancelled",
        ],
    );
}

/// What each domain tells is in order; a task is announced on its maker's domain, and tells the rest on its own.
#[test]
fn across_domains() {
    let kept = Kept::new();
    let ran = run(&Threads::new(1), Config::new().domains(1).trace(kept), async {
        let far = Task::new().name("far").call(|| async {
            let near = child("near", async { 1 });
            near.await.unwrap()
        });
        far.unwrap().await
    });
    assert_eq!(ran.ok(), Some(1));
    let events = kept.take();
    let told = written(&events);
    let (here, there): (Vec<_>, Vec<_>) = told.iter().map(String::as_str).partition(|line| !line.contains('|'));
    assert_eq!(
        here,
        [
            "nobody spawns main",
            "main {",
            "main spawns far on 1",
            "main awaits far",
            "} main",
            "main {",
            "main joins far",
            "} main",
            "main ends: Normal"
        ]
    );
    let expected = [
        "far {",
        "far spawns near",
        "far awaits near",
        "} far",
        "near {",
        "} near",
        "near ends: Normal",
        "far {",
        "far joins near",
        "} far",
        "far ends: Normal",
    ];
    assert_eq!(there, expected.map(|line| format!("1| {line}")));
    // Between domains: the spawn before all else, the end before the result is taken.
    let at = |line: &str| told.iter().position(|told| told == line).unwrap();
    assert!(at("main spawns far on 1") < at("1| far {") && at("1| far ends: Normal") < at("main joins far"));
}

#[test]
fn tasks_of_a_pool_and_of_orphans() {
    static POOL: TaskPool<2, 64> = TaskPool::new();
    let kept = Kept::new();
    let ran = run(&Bare, Config::new().trace(kept), async {
        POOL.spawn(async {}).unwrap().await.unwrap();
        let orphans = Orphans::new();
        orphans.spawn(async {});
        orphans.next().await.unwrap().unwrap();
    });
    assert!(ran.is_ok());
    let counted = |what: fn(&EventKind) -> bool, events: &[Event]| events.iter().filter(|event| what(&event.kind)).count();
    let events = kept.take();
    assert_eq!(counted(|kind| matches!(kind, EventKind::Spawn { .. }), &events), 3);
    assert_eq!(counted(|kind| matches!(kind, EventKind::Join { .. }), &events), 2);
    assert_eq!(counted(|kind| matches!(kind, EventKind::End { how: How::Normal, .. }), &events), 3);
}

/// A consumer that panics is reported, hears nothing more from the domain it panicked on, and changes nothing.
#[test]
fn a_consumer_that_panics_is_removed_from_its_domain() {
    static REPORTS: Reports = Reports::new();
    struct Clumsy(AtomicUsize, AtomicUsize);
    impl Trace for Clumsy {
        fn event(&self, event: &Event) {
            if event.domain == DomainId::ZERO {
                self.0.fetch_add(1, Ordering::SeqCst);
                std::panic::resume_unwind(Box::new("clumsy"));
            }
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    static CLUMSY: Clumsy = Clumsy(AtomicUsize::new(0), AtomicUsize::new(0));
    let config = Config::new().domains(1).trace(&CLUMSY).on_report(|report: &Report| REPORTS.keep(report));
    let ran = run(&Threads::new(1), config, async {
        let near = child("near", async { 1 });
        let far = Task::new().call(|| async { 2 }).unwrap();
        near.await.unwrap() + far.await.unwrap()
    });
    assert_eq!(ran.ok(), Some(3));
    assert_eq!(REPORTS.take(), [(ReportPlace::Trace, 0, String::from("clumsy"))]);
    assert_eq!(CLUMSY.0.load(Ordering::SeqCst), 1);
    assert_eq!(CLUMSY.1.load(Ordering::SeqCst), 3, "begin, end of the poll, end");
}

/// No task is current in a consumer, effects in it panic, and what it does is not traced.
#[test]
fn a_consumer_is_no_task() {
    struct Curious(Mutex<Vec<Result<(), String>>>);
    impl Trace for Curious {
        fn event(&self, _: &Event) {
            assert_eq!(current_task(), None);
            let spawned = std::panic::catch_unwind(|| drop(spawn(async {})));
            let told = spawned.map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default());
            self.0.lock().unwrap().push(told);
        }
    }
    static CURIOUS: Curious = Curious(Mutex::new(Vec::new()));
    let ran = run(&Bare, Config::new().trace(&CURIOUS), async {
        let resource = Resource::new((), |()| {});
        resource.own().unwrap();
        assert!(current_task().is_some(), "it is the current one again after an event");
        resource.release().unwrap();
    });
    assert!(ran.is_ok());
    let told = CURIOUS.0.lock().unwrap();
    assert_eq!(told.len(), 6);
    assert!(told.iter().all(|told| told.as_ref().is_err_and(|message| message.contains("outside a task"))), "{told:?}");
}

thread_local! {
    /// What a consumer drops in the middle of things, on the domain it belongs to.
    static LEFT: std::cell::RefCell<Vec<Box<dyn std::any::Any>>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// A consumer that drops, at each event in turn, an `Orphans` and a promise that the task has left it: whatever the moment, nothing is
/// touched after it has gone.
#[test]
fn a_consumer_may_drop_what_tasks_have_left() {
    struct Dropping(AtomicUsize, AtomicUsize);
    impl Trace for Dropping {
        fn event(&self, _: &Event) {
            if self.0.fetch_add(1, Ordering::SeqCst) == self.1.load(Ordering::SeqCst) {
                let left = LEFT.with(std::cell::RefCell::take);
                drop(left);
            }
        }
    }
    static DROPPING: Dropping = Dropping(AtomicUsize::new(0), AtomicUsize::new(0));
    for at in 0..80 {
        DROPPING.0.store(0, Ordering::SeqCst);
        DROPPING.1.store(at, Ordering::SeqCst);
        let ran = run(&Threads::new(1), Config::new().domains(1).trace(&DROPPING), async {
            let orphans: Orphans<()> = Orphans::new();
            for _ in 0..3 {
                let resource = Resource::new((), |()| {});
                resource.own().unwrap();
                let given = resource.clone();
                let task = Task::new().give(&resource);
                let body = async move || {
                    yield_now().await;
                    given.transfer().unwrap();
                };
                task.call_in(&orphans, body).unwrap();
            }
            let promise = spawn(async {
                yield_now().await;
                pending::<()>().await;
            });
            LEFT.with(|left| left.borrow_mut().push(Box::new(orphans)));
            LEFT.with(|left| left.borrow_mut().push(Box::new(promise)));
            sleep(Duration::from_millis(1)).await;
            Err::<(), ()>(())
        });
        assert!(ran.is_err());
        drop(LEFT.with(std::cell::RefCell::take));
    }
}

type Life = Pin<Box<dyn Future<Output = Result<(), ()>>>>;

/// A task that does what its dice say.
fn life(mut dice: Dice, depth: u64, stop: Flag) -> Life {
    Box::pin(async move {
        let mut promises = Vec::new();
        let orphans: Orphans<(), ()> = Orphans::new();
        let mut resources = Vec::new();
        for _ in 0..dice.below(8) {
            let (below, stop) = (dice.split(), stop.clone());
            match dice.below(12) {
                0 | 1 if depth > 0 => promises.push(spawn(life(below, depth - 1, stop))),
                2 if depth > 0 => promises.extend(Task::new().call(move || life(below, depth - 1, stop)).ok()),
                3 if depth > 0 => _ = orphans.spawn(life(below, depth - 1, stop)),
                4 if depth > 0 => _ = orphans.call(move || life(below, depth - 1, stop)),
                5 => yield_now().await,
                6 => sleep(Duration::from_micros(dice.below(50))).await,
                7 => {
                    let resource = Resource::new((), |()| {});
                    resource.own().unwrap();
                    resources.push(resource);
                }
                8 if depth > 0 => {
                    if let Some(resource) = resources.pop() {
                        let started = Task::new().give(&resource).call(move || async move { resource.transfer().map_err(drop) });
                        promises.extend(started.ok());
                    }
                }
                9 => drop(promises.pop().map(|promise| promise.cancel())),
                10 => drop(orphans.next().await),
                _ => {
                    if let Some(promise) = promises.pop() {
                        drop(promise.await);
                    }
                }
            }
        }
        match dice.below(6) {
            0 => return Err(()),
            1 => std::panic::resume_unwind(Box::new(())),
            2 => stop.raised().await,
            _ => {}
        }
        while let Some(promise) = promises.pop() {
            match dice.below(2) {
                0 => drop(promise.cancel()),
                _ => drop(promise.await),
            }
        }
        while let Some(result) = orphans.next().await {
            drop(result);
        }
        // What a child has transferred is in here too, if its handle is: the rest is an error, which finalises it.
        Err(())
    })
}

/// Nothing is lost, doubled or out of order, whatever a program does.
#[test]
fn whatever_a_program_does_what_begins_ends_once() {
    for seed in 0..150 {
        let kept = Kept::new();
        let stop = Flag::new();
        let ran = run(&Threads::new(2), Config::new().domains(2).seed(seed).trace(kept), {
            let stop = stop.clone();
            async move {
                let all = spawn(life(Dice::new(seed), 4, stop.clone()));
                sleep(Duration::from_micros(300)).await;
                match seed % 3 {
                    0 => all.cancel().await,
                    _ => {
                        stop.raise();
                        drop(all.await);
                    }
                }
            }
        });
        assert!(ran.is_ok(), "{seed}: {:?}", ran.err());
        check(&kept.take(), seed);
    }
}

fn check(events: &[Event], seed: u64) {
    let mut live = HashMap::new();
    let mut ended = HashSet::new();
    let mut owned: HashMap<ResourceId, TaskId> = HashMap::new();
    let mut waiting = HashMap::new();
    let mut awaited = HashSet::new();
    let mut joined = HashSet::new();
    // A task that ends on one domain may be told of before its parent's `Await`, which is on another.
    let mut running: HashMap<DomainId, (TaskId, Step)> = HashMap::new();
    for (index, event) in events.iter().enumerate() {
        let context = || format!("seed {seed}, event {index}: {event:?}");
        if !matches!(event.kind, EventKind::Spawn { .. } | EventKind::Attach { .. } | EventKind::Violation(_)) {
            let (EventKind::RunBegin { task, .. }
            | EventKind::RunEnd { task, .. }
            | EventKind::Suspend { task, .. }
            | EventKind::Resume { task, .. }
            | EventKind::GiveUp { task, .. }
            | EventKind::Await { task, .. }
            | EventKind::Join { task, .. }
            | EventKind::Cancel { task, .. }
            | EventKind::End { task, .. }
            | EventKind::Detach { task, .. }) = event.kind
            else {
                continue;
            };
            assert!(live.contains_key(&task), "unknown: {}", context());
            let is_cancel = matches!(event.kind, EventKind::Cancel { .. });
            assert!(is_cancel || live[&task] == event.domain, "not at home: {}", context());
            assert!(is_cancel || !ended.contains(&task), "after its end: {}", context());
        }
        match event.kind {
            EventKind::Spawn { task, parent, home, .. } => {
                assert!(live.insert(task, home).is_none(), "twice: {}", context());
                assert!(parent.is_none_or(|parent| live.contains_key(&parent) && !ended.contains(&parent)), "{}", context());
            }
            EventKind::RunBegin { task, step } => assert!(running.insert(event.domain, (task, step)).is_none(), "{}", context()),
            EventKind::RunEnd { task, step } => assert_eq!(running.remove(&event.domain), Some((task, step)), "{}", context()),
            EventKind::End { task, .. } => {
                assert!(ended.insert(task), "{}", context());
                assert!(!owned.values().any(|owner| *owner == task), "owns something: {}", context());
            }
            EventKind::Suspend { task, point } => assert!(waiting.insert((event.domain, point), task).is_none(), "{}", context()),
            EventKind::Resume { task, point } | EventKind::GiveUp { task, point } => {
                assert_eq!(waiting.remove(&(event.domain, point)), Some(task), "{}", context());
            }
            EventKind::Await { child, .. } => assert!(awaited.insert(child), "{}", context()),
            EventKind::Join { child, .. } => assert!(ended.contains(&child) && joined.insert(child), "{}", context()),
            EventKind::Attach { task, resource, .. } => {
                assert!(owned.insert(resource, task).is_none() && !ended.contains(&task), "{}", context());
            }
            EventKind::Detach { task, resource, .. } => assert_eq!(owned.remove(&resource), Some(task), "{}", context()),
            EventKind::Cancel { .. } => {}
            other => panic!("{other:?}: {}", context()),
        }
    }
    assert_eq!(live.len(), ended.len(), "seed {seed}: every task ends");
    assert!(running.is_empty() && owned.is_empty() && waiting.is_empty(), "seed {seed}");
    assert!(seed != 1 || ended.len() > 3, "the programs do something");
}

/// Whoever keeps what a task owns in the order of the events has it in that of its finalisers, the other way round.
#[test]
fn what_a_child_has_transferred_is_told_in_the_order_in_which_it_was_owned() {
    let kept = Kept::new();
    let ran = run(&Threads::new(0), Config::new().trace(kept), async {
        let child = spawn(async {
            for number in 0..3 {
                let resource = Resource::new(number, |_| {});
                resource.own().unwrap();
                resource.transfer().unwrap();
            }
        });
        child.await.unwrap();
        Err::<(), _>("so that all are finalised")
    });
    assert!(matches!(ran, Err(RunError::Failed(_))));
    let events = kept.take();
    let of = |wanted: u8| {
        events.iter().filter_map(move |event| match event.kind {
            EventKind::Attach { resource, .. } if wanted == b'a' => Some(resource),
            EventKind::Detach { resource, .. } if wanted == b'd' => Some(resource),
            _ => None,
        })
    };
    let (attached, mut detached): (Vec<_>, Vec<_>) = (of(b'a').collect(), of(b'd').collect());
    assert_eq!((attached.len(), detached.len()), (6, 6));
    assert_eq!(attached[..3], attached[3..], "handed up");
    detached.drain(..3);
    detached.reverse();
    assert_eq!(detached, attached[3..]);
}

#[test]
fn who_waits_with_one_waker_after_another_is_told_once() {
    let kept = Kept::new();
    let ran = run(&Threads::new(0), Config::new().trace(kept), async {
        let mut waits = Box::pin(Point::new().unwrap().suspend(|_| Ok::<(), ()>(())));
        for (_ring, waker) in [Ring::new(), Ring::new()] {
            assert!(poll_under(&mut waits, &waker).is_pending());
        }
    });
    assert!(ran.is_ok());
    assert_eq!(kept.take().iter().filter(|event| matches!(event.kind, EventKind::Suspend { .. })).count(), 1);
}

#[test]
fn who_waits_is_told_also_where_what_it_waits_for_was_begun_by_another() {
    let kept = Kept::new();
    let platform = Threads::new(0);
    let hand = platform.hand(0);
    let child = run(&platform, Config::new().trace(kept), async {
        let point = Point::new().unwrap();
        let id = point.id();
        let mut waits = Box::pin(point.suspend(|_| Ok::<(), ()>(())));
        assert!(poll_under(&mut waits, Waker::noop()).is_pending());
        let child = spawn(async move { waits.await.unwrap() });
        let name = child.id();
        yield_now().await;
        hand.fire(id);
        child.await.unwrap();
        Plain((current_task().unwrap(), name))
    });
    let (parent, child) = child.unwrap();
    let waits: Vec<_> = kept
        .take()
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::Suspend { task, .. } => Some(("suspends", task)),
            EventKind::Resume { task, .. } => Some(("is resumed", task)),
            _ => None,
        })
        .collect();
    assert_eq!(waits, [("suspends", parent), ("suspends", child), ("is resumed", child)]);
}
