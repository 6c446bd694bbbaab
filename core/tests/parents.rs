//! Parents and children: rules 3 to 5, which say what a parent owes its children and who a parent is.
//!
//! Each test runs for a child on its parent's domain and for one on another, and for several seeds; where it matters, the parent is the main
//! task, another of domain 0, or one on a worker.
//!
//! A violation is compared field by field: the task that broke the rule, the child, and the lines where both were made.

#![cfg(feature = "std")]

mod support;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use matou_core::{
    Exit, Orphans, OwnershipError, Plain, Promise, Resource, RunError, State, Task, TaskId, ViolationKind, await_all, await_first,
    await_one, current_task, parallel, spawn, yield_now,
};
use support::family::*;
use support::leak::leak;
use support::wakers::{Ring, poll_under};

// ---- R3

/// How a parent leaves a child behind.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    Held,
    Dropped,
    Leaked,
    InOrphans,
    InDroppedOrphans,
    InLeakedOrphans,
    TakenFromOrphans,
}

const LEFT: [Left; 7] =
    [Left::Held, Left::Dropped, Left::Leaked, Left::InOrphans, Left::InDroppedOrphans, Left::InLeakedOrphans, Left::TakenFromOrphans];

/// Who the parent is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Who {
    Main,
    Spawned,
    Called,
}

/// What a test has to find in the violation.
#[derive(Clone, Debug, Default)]
struct Facts(std::sync::Arc<std::sync::Mutex<Option<(TaskId, TaskId, u32)>>>);

impl Facts {
    fn set(&self, child: TaskId, line: u32) {
        *self.0.lock().unwrap() = Some((current_task().unwrap(), child, line));
    }

    fn get(&self) -> (TaskId, TaskId, u32) {
        self.0.lock().unwrap().expect("the child was made")
    }
}

/// Leaves a child behind, and ends normally.
async fn leave(left: Left, reach: Reach, ended: bool, tally: Tally, facts: Facts) {
    let (finished, gate) = (Gate::new(), Gate::new());
    let make = {
        let (token, finished, gate) = (tally.token(), finished.clone(), gate.clone());
        move || async move {
            gate.passed().await;
            finished.open();
            Plain(token)
        }
    };
    if ended {
        gate.open();
    }
    if !matches!(left, Left::Held | Left::Dropped | Left::Leaked) {
        let orphans = Orphans::new();
        let (child, line) = (reach.start_in(&orphans, make), line!());
        facts.set(child, line);
        if ended {
            finished.passed().await;
        }
        match left {
            Left::InDroppedOrphans => drop(orphans),
            Left::InLeakedOrphans => _ = leak(orphans),
            Left::TakenFromOrphans => drop(orphans.take()),
            // Dropped with the future, as any local variable is.
            _ => {}
        }
    } else {
        let (child, line) = (reach.start(make), line!());
        facts.set(child.id(), line);
        if ended {
            until(|| child.is_ended()).await;
        }
        match left {
            Left::Dropped => drop(child),
            Left::Leaked => _ = leak(child),
            _ => {}
        }
    }
}

#[test]
fn r03_a_task_that_ends_normally_with_a_child_left_is_a_violation() {
    for left in LEFT {
        for who in [Who::Main, Who::Spawned, Who::Called] {
            for ended in [false, true] {
                each(|reach, seed| {
                    let _told = Told(format!("{left:?}, {who:?}, ended: {ended}"));
                    let (tally, facts, born) = (Tally::new(), Facts::default(), Cell::new(0));
                    let parent = leave(left, reach, ended, tally.clone(), facts.clone());
                    let violation = violation(match who {
                        Who::Main => {
                            born.set(line!() + 1);
                            go(2, seed, parent)
                        }
                        Who::Spawned => go(2, seed, async {
                            born.set(line!() + 1);
                            spawn(leave(left, reach, ended, tally.clone(), facts.clone())).await.unwrap()
                        }),
                        Who::Called => go(2, seed, async {
                            let (tally, facts) = (tally.clone(), facts.clone());
                            born.set(line!() + 1);
                            pinned(1, move || leave(left, reach, ended, tally, facts)).await.unwrap()
                        }),
                    });
                    let (parent, child, line) = facts.get();
                    assert_eq!(violation.task, parent);
                    assert_eq!((violation.born.file(), violation.born.line()), (file!(), born.get()));
                    assert_eq!((violation.name, violation.others), (None, 0));
                    let ViolationKind::StillHasChildren { child: named, spawned } = violation.kind else { panic!("{violation}") };
                    assert_eq!((named, spawned.file(), spawned.line()), (child, file!(), line));
                    assert_eq!(tally.all_dropped(), 1);
                });
            }
        }
    }
}

#[test]
fn r03_the_violation_says_it_in_words() {
    each(|reach, seed| {
        let (facts, born) = (Facts::default(), Cell::new(0));
        let violation = violation(go(1, seed, async {
            born.set(line!() + 2);
            let named = Task::new().name("forgetful");
            let parent = named.spawn({
                let facts = facts.clone();
                async move {
                    let (child, line) = (reach.start(parked), line!());
                    facts.set(child.id(), line);
                }
            });
            parent.unwrap().await.unwrap();
        }));
        let (parent, child, line) = facts.get();
        assert_eq!(violation.name, Some("forgetful"));
        let text = violation.to_string();
        for part in [
            "StillHasChildren (R3)".to_owned(),
            format!("task {parent} (forgetful)"),
            format!("made at {}:{}:", file!(), born.get()),
            format!("child {child}"),
            format!("made at {}:{line}:", file!()),
        ] {
            assert!(text.contains(&part), "{text:?} does not contain {part:?}");
        }
    });
}

#[test]
fn r03_of_several_children_left_the_first_made_is_named() {
    each(|reach, seed| {
        let facts = Facts::default();
        let violation = violation(go(1, seed, async {
            let awaited = reach.start(|| async {});
            let cancelled = reach.start(parked);
            let (left, line) = (reach.start(parked), line!());
            facts.set(left.id(), line);
            let _another = reach.start(parked);
            drop(cancelled.cancel());
            awaited.await.unwrap();
        }));
        let (parent, child, line) = facts.get();
        assert_eq!(violation.task, parent);
        let ViolationKind::StillHasChildren { child: named, spawned } = violation.kind else { panic!("{violation}") };
        assert_eq!((named, spawned.line()), (child, line));
    });
}

#[test]
fn r03_children_awaited_or_cancelled_are_not_left() {
    each(|reach, seed| {
        let tally = Tally::new();
        let make = |gate: &Gate| {
            let (token, gate) = (tally.token(), gate.clone());
            move || async move {
                gate.passed().await;
                Plain(token)
            }
        };
        go(1, seed, async {
            let (open, shut) = (Gate::new(), Gate::new());
            open.open();
            drop(reach.start(make(&open)).await.unwrap());
            reach.start(make(&shut)).cancel().await;
            drop(reach.start(make(&shut)).cancel());
            let ended = reach.start(make(&open));
            until(|| ended.is_ended()).await;
            drop(ended.cancel());
            let orphans = Orphans::new();
            reach.start_in(&orphans, make(&open));
            reach.start_in(&orphans, make(&shut));
            drop(orphans.next().await.unwrap().unwrap());
            drop(orphans.take().unwrap().cancel());
        })
        .unwrap();
        assert_eq!(tally.all_dropped(), 6);
    });
}

#[test]
fn r03_children_of_a_parallel_that_was_leaked_are_left_with_its_line() {
    for seed in SEEDS {
        let (parent, line) = (Cell::new(None), Cell::new(0));
        let violation = violation(go(2, seed, async {
            parent.set(current_task());
            line.set(line!() + 1);
            leak(parallel(|()| async {}, [(), ()]));
            yield_now().await;
        }));
        assert_eq!(Some(violation.task), parent.get());
        let ViolationKind::StillHasChildren { spawned, .. } = violation.kind else { panic!("{violation}") };
        assert_eq!((spawned.file(), spawned.line()), (file!(), line.get()));
    }
}

#[test]
fn r03_a_resource_left_comes_first() {
    each(|reach, seed| {
        let (finalised, line) = (Tally::new(), Cell::new(0));
        let violation = violation(go(1, seed, async {
            let _left = reach.start(parked);
            let token = finalised.token();
            let resource = Resource::new(token, drop);
            line.set(line!() + 1);
            resource.own()?;
            Ok::<_, OwnershipError>(())
        }));
        let ViolationKind::ResourceLeaked { owned } = violation.kind else { panic!("{violation}") };
        assert_eq!(owned.line(), line.get());
        assert_eq!(finalised.all_dropped(), 1);
    });
}

// ---- R4

/// The abnormal ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Abnormal {
    Fails,
    Panics,
    IsCancelled,
}

const ABNORMAL: [Abnormal; 3] = [Abnormal::Fails, Abnormal::Panics, Abnormal::IsCancelled];

impl Abnormal {
    /// Ends the current task so.
    async fn end(self) -> Result<(), &'static str> {
        match self {
            Abnormal::Fails => Err("failed"),
            Abnormal::Panics => panic!("panicked"),
            Abnormal::IsCancelled => {
                parked().await;
                unreachable!()
            }
        }
    }

    /// Awaits, or cancels, a task that ends so.
    async fn see(self, promise: Promise<(), &'static str>) {
        match self {
            Abnormal::Fails => assert!(matches!(promise.await, Err(Exit::Failed("failed")))),
            Abnormal::Panics => assert!(matches!(promise.await, Err(Exit::Panicked(panic)) if panic.message() == "panicked")),
            Abnormal::IsCancelled => promise.cancel().await,
        }
    }
}

#[test]
fn r04_the_children_of_a_task_that_ends_abnormally_are_cancelled() {
    for end in ABNORMAL {
        for parents in Reach::BOTH {
            each(|reach, seed| {
                let _told = Told(format!("{end:?}, parent {parents:?}"));
                let (tally, results) = (Tally::new(), Tally::new());
                go(3, seed, async {
                    let ready = Gate::new();
                    let parent = parents.start({
                        let (tally, results, ready) = (tally.clone(), results.clone(), ready.clone());
                        move || async move {
                            let child = |forever: bool| {
                                let (token, result) = (tally.token(), results.token());
                                reach.start(move || async move {
                                    let _token = token;
                                    if forever {
                                        parked().await;
                                    }
                                    Plain(result)
                                })
                            };
                            // Parked, never polled, ended, forgotten, kept aside.
                            let (held, ended) = (child(true), child(false));
                            until(|| ended.is_ended()).await;
                            drop(child(true));
                            drop(child(false));
                            let orphans = Orphans::new();
                            let (token, result) = (tally.token(), results.token());
                            reach.start_in(&orphans, move || async move {
                                let _token = token;
                                parked().await;
                                Plain(result)
                            });
                            let _held = (held, child(true), ended);
                            ready.open();
                            end.end().await
                        }
                    });
                    ready.passed().await;
                    end.see(parent).await;
                    // All by the time it was seen to end.
                    assert_eq!((tally.all_dropped(), results.all_dropped()), (6, 6));
                })
                .unwrap();
            });
        }
    }
}

#[test]
fn r04_a_promise_resolves_only_after_the_whole_subtree_has_ended() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    for end in ABNORMAL {
        each(|reach, seed| {
            let _told = Told(format!("{end:?}"));
            let journal = Journal::new();
            go(2, seed, async {
                // The grandchild is in the middle of a poll on domain 2 while its grandparent ends.
                let (arrived, release) = (Gate::new(), Gate::new());
                let parent = reach.start_on(1, {
                    let (journal, arrived, release) = (journal.clone(), arrived.clone(), release.clone());
                    move || async move {
                        let _dropped = journal.at_drop("the parent's future is dropped");
                        let _child = spawn({
                            let (journal, arrived) = (journal.clone(), arrived.clone());
                            async move {
                                let _dropped = journal.at_drop("the child's future is dropped");
                                let grandchild = pinned(2, {
                                    let (journal, arrived) = (journal.clone(), arrived.clone());
                                    move || async move {
                                        let _dropped = journal.at_drop("the grandchild's future is dropped");
                                        arrived.open();
                                        release.block();
                                        parked().await;
                                    }
                                });
                                grandchild.await
                            }
                        });
                        arrived.passed().await;
                        end.end().await
                    }
                });
                arrived.passed().await;
                if end == Abnormal::IsCancelled {
                    let mut cancelling = parent.cancel();
                    until(|| journal.read().len() == 2).await;
                    for _ in 0..50 {
                        assert!(poll_under(&mut cancelling, Waker::noop()).is_pending());
                        yield_now().await;
                    }
                    release.open();
                    cancelling.await;
                } else {
                    until(|| journal.read().len() == 2).await;
                    for _ in 0..50 {
                        assert!(!parent.is_ended());
                        yield_now().await;
                    }
                    release.open();
                    end.see(parent).await;
                }
                journal.write("seen");
            })
            .unwrap();
            assert_eq!(
                journal.read(),
                ["the parent's future is dropped", "the child's future is dropped", "the grandchild's future is dropped", "seen"]
            );
        });
    }
}

#[test]
fn r04_a_normal_end_too_waits_for_the_children_that_were_cancelled() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    each(|reach, seed| {
        go(2, seed, async {
            let (arrived, release, tally) = (Gate::new(), Gate::new(), Tally::new());
            let parent = reach.start_on(1, {
                let (arrived, release, tally) = (arrived.clone(), release.clone(), tally.clone());
                move || async move {
                    let child = pinned(2, {
                        let (token, arrived) = (tally.token(), arrived.clone());
                        move || async move {
                            let _token = token;
                            arrived.open();
                            release.block();
                            parked().await;
                        }
                    });
                    arrived.passed().await;
                    drop(child.cancel());
                    "the value"
                }
            });
            arrived.passed().await;
            for _ in 0..50 {
                assert!(!parent.is_ended());
                yield_now().await;
            }
            assert_eq!(tally.dropped(), 0);
            release.open();
            assert_eq!(parent.await.unwrap(), "the value");
            assert_eq!(tally.all_dropped(), 1);
        })
        .unwrap();
    });
}

#[test]
fn r04_a_tree_of_any_shape_has_ended_when_its_root_has() {
    /// Grows a tree whose shape the number says; its root ends as `end` says.
    fn grow(shape: u64, depth: u32, tally: Tally, end: Abnormal, grown: Gate) -> Pin<Box<dyn Future<Output = Result<(), &'static str>>>> {
        Box::pin(async move {
            let _token = tally.token();
            let mut children = Vec::new();
            for n in 0..shape % 4 {
                if depth > 0 {
                    let shape = shape / 3 + n * 7;
                    let reach = if shape.is_multiple_of(2) { Reach::Same } else { Reach::Across };
                    let tally = tally.clone();
                    let end = if shape.is_multiple_of(5) { Abnormal::Fails } else { Abnormal::IsCancelled };
                    children.push(reach.start(move || grow(shape, depth - 1, tally, end, Gate::new())));
                }
            }
            // Some are forgotten, some awaited in vain.
            if shape.is_multiple_of(3) {
                children.pop();
            }
            yield_now().await;
            grown.open();
            end.end().await
        })
    }
    for end in ABNORMAL {
        for seed in 0..40 {
            let tally = Tally::new();
            go(3, seed, async {
                let grown = Gate::new();
                let root = spawn(grow(0xBAD_5EED ^ (seed * 0x9E37_79B9), 5, tally.clone(), end, grown.clone()));
                grown.passed().await;
                end.see(root).await;
                assert!(tally.all_dropped() > 0);
            })
            .unwrap();
        }
    }
}

#[test]
fn r04_what_the_main_task_leaves_at_an_abnormal_end_has_ended_when_run_returns() {
    each(|reach, seed| {
        let tally = Tally::new();
        let failed = go(2, seed, async {
            for _ in 0..10 {
                let token = tally.token();
                drop(reach.start(move || async move {
                    let _token = token;
                    parked().await;
                }));
            }
            Err::<(), _>("no")
        });
        assert!(matches!(failed, Err(RunError::Failed("no"))));
        assert_eq!(tally.all_dropped(), 10);
        let panicked = go(2, seed, async {
            let token = tally.token();
            let _held = reach.start(move || async move {
                let _token = token;
                parked().await;
            });
            panic!("main panics")
        });
        assert!(matches!(panicked, Err(RunError::Panicked(_))));
        assert_eq!(tally.all_dropped(), 11);
    });
}

// ---- R5

/// What a stranger does with a promise of another task's child.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Theft {
    Await,
    AwaitTwiceAtOnce,
    Cancel,
    One,
    First,
    All,
    FirstDropped,
    /// Among promises of its own, one of which has ended: the stranger's part is only the cancellation of the others.
    FirstAfterItsOwn,
}

const THEFTS: [Theft; 8] = [
    Theft::Await,
    Theft::AwaitTwiceAtOnce,
    Theft::Cancel,
    Theft::One,
    Theft::First,
    Theft::All,
    Theft::FirstDropped,
    Theft::FirstAfterItsOwn,
];

async fn steal(theft: Theft, promise: Promise<Token>, journal: Journal) {
    let _dropped = journal.at_drop("the stranger is dropped");
    match theft {
        Theft::Await => drop(promise.await),
        Theft::AwaitTwiceAtOnce => {
            let mut promise = promise;
            poll_fn(|cx| {
                assert!(Pin::new(&mut promise).poll(cx).is_pending());
                Pin::new(&mut promise).poll(cx)
            })
            .await
            .map(drop)
            .unwrap();
        }
        Theft::Cancel => {
            drop(promise.cancel());
            journal.write("the call returned");
            yield_now().await;
        }
        Theft::One => drop(await_one(&mut vec![promise]).await),
        Theft::First => drop(await_first(vec![promise]).await),
        Theft::All => drop(await_all(vec![promise]).await),
        Theft::FirstDropped => {
            drop(await_first(vec![promise]));
            yield_now().await;
        }
        Theft::FirstAfterItsOwn => {
            let token = Tally::new().token();
            let own = spawn(async { Plain(token) });
            until(|| own.is_ended()).await;
            drop(await_first(vec![own, promise]).await);
        }
    }
    journal.write("the stranger was resumed");
}

#[test]
fn r05_another_task_that_awaits_or_cancels_is_a_violation_and_is_never_resumed() {
    for theft in THEFTS {
        for ended in [false, true] {
            each(|reach, seed| {
                let _told = Told(format!("{theft:?}, ended: {ended}"));
                let (tally, journal, facts, thief) = (Tally::new(), Journal::new(), Facts::default(), Cell::new(None));
                let violation = violation(go(1, seed, async {
                    let gate = Gate::new();
                    let make = {
                        let (token, gate) = (tally.token(), gate.clone());
                        move || async move {
                            gate.passed().await;
                            Plain(token)
                        }
                    };
                    let (child, line) = (reach.start(make), line!());
                    facts.set(child.id(), line);
                    if ended {
                        gate.open();
                        until(|| child.is_ended()).await;
                    }
                    let stranger = spawn(steal(theft, child, journal.clone()));
                    thief.set(Some(stranger.id()));
                    stranger.await.unwrap();
                    journal.write("main was resumed");
                }));
                let (parent, child, line) = facts.get();
                assert_eq!(Some(violation.task), thief.get());
                let ViolationKind::NotAChild { child: named, parent: whose, spawned } = violation.kind else { panic!("{violation}") };
                assert_eq!((named, whose, spawned.line()), (Some(child), parent, line));
                assert!(violation.to_string().contains("NotAChild (R5)"));
                // `cancel` is a plain call; whatever was to come after the poll did not.
                let returned: &[&str] = if theft == Theft::Cancel { &["the call returned"] } else { &[] };
                assert_eq!(journal.read(), [returned, &["the stranger is dropped"]].concat());
                assert_eq!(tally.all_dropped(), 1);
            });
        }
    }
}

#[test]
fn r05_a_stranger_on_a_worker_is_one_too() {
    each(|reach, seed| {
        let (journal, facts, thief, tally) = (Journal::new(), Facts::default(), Facts::default(), Tally::new());
        let violation = violation(go(2, seed, async {
            let family = pinned(1, {
                let (journal, facts, thief, tally) = (journal.clone(), facts.clone(), thief.clone(), tally.clone());
                move || async move {
                    let token = tally.token();
                    let make = move || async move {
                        let _token = token;
                        parked().await;
                    };
                    let (child, line) = (reach.start_on(2, make), line!());
                    facts.set(child.id(), line);
                    let stranger = spawn({
                        let journal = journal.clone();
                        async move {
                            let _dropped = journal.at_drop("the stranger is dropped");
                            let _ = child.await;
                            journal.write("the stranger was resumed");
                        }
                    });
                    thief.set(stranger.id(), 0);
                    stranger.await.unwrap();
                    journal.write("the parent was resumed");
                }
            });
            family.await.unwrap();
            journal.write("main was resumed");
        }));
        let (parent, child, line) = facts.get();
        assert_eq!(violation.task, thief.get().1);
        let ViolationKind::NotAChild { child: named, parent: whose, spawned } = violation.kind else { panic!("{violation}") };
        assert_eq!((named, whose, spawned.line()), (Some(child), parent, line));
        assert_eq!(journal.read(), ["the stranger is dropped"]);
        assert_eq!(tally.all_dropped(), 1);
    });
}

#[test]
fn r05_the_grandparent_is_not_the_parent() {
    each(|reach, seed| {
        let (facts, journal, main) = (Facts::default(), Journal::new(), Cell::new(None));
        let violation = violation(go(1, seed, async {
            main.set(current_task());
            let tray = Rc::new(RefCell::new(None));
            let child = spawn({
                let (tray, facts) = (tray.clone(), facts.clone());
                async move {
                    let (grandchild, line) = (reach.start(parked), line!());
                    facts.set(grandchild.id(), line);
                    *tray.borrow_mut() = Some(grandchild);
                    parked().await;
                }
            });
            until(|| tray.borrow().is_some()).await;
            let grandchild = tray.borrow_mut().take().unwrap();
            let _ = grandchild.await;
            journal.write("main was resumed");
            child.cancel().await;
        }));
        let (parent, child, line) = facts.get();
        assert_eq!(Some(violation.task), main.get());
        let ViolationKind::NotAChild { child: named, parent: whose, spawned } = violation.kind else { panic!("{violation}") };
        assert_eq!((named, whose, spawned.line()), (Some(child), parent, line));
        assert_eq!(journal.read(), [""; 0]);
    });
}

#[test]
fn r05_a_stranger_that_ends_in_the_same_poll_has_broken_the_rule_all_the_same() {
    each(|reach, seed| {
        let violation = violation(go(1, seed, async {
            let child = reach.start(parked);
            let stranger = spawn(async move {
                drop(child.cancel());
                // Its end is not a normal one, whatever it returns: that it leaves a child is no second violation.
                drop(reach.start(parked));
                "a value that nobody gets"
            });
            stranger.await.unwrap();
            unreachable!("the run is being stopped");
        }));
        assert_eq!(violation.others, 0);
        assert!(matches!(violation.kind, ViolationKind::NotAChild { .. }));
    });
}

#[test]
fn r05_a_stranger_leaves_no_waker_with_anothers_child_that_has_ended() {
    each(|reach, seed| {
        let (ring, waker) = Ring::new();
        violation(go(1, seed, async {
            let child = reach.start(|| async {});
            until(|| child.is_ended()).await;
            let stranger = spawn(async move {
                let own = spawn(async {});
                until(|| own.is_ended()).await;
                // Its own may give the result; then the cancellation of the other is the violation.
                let mut first = await_first(vec![own, child]);
                let _ = poll_under(&mut first, &waker);
                drop(waker);
                parked().await;
            });
            stranger.await.unwrap();
        }));
        assert_eq!(Arc::strong_count(&ring), 1, "the waker was never dropped");
    });
}

#[test]
fn r05_an_await_first_that_has_its_result_and_is_handed_on_is_a_strangers() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    for seed in SEEDS {
        let violation = violation(go(1, seed, async {
            let (fast, slow) = (spawn(async {}), Reach::Across.start(parked));
            until(|| fast.is_ended()).await;
            let _occupied = Occupied::new(1).await;
            let mut first = Box::pin(await_first(vec![fast, slow]));
            // It cancels the other, which cannot end yet.
            assert!(poll_under(&mut first, Waker::noop()).is_pending());
            let _ = spawn(first).await;
            unreachable!("the run is being stopped");
        }));
        assert!(matches!(violation.kind, ViolationKind::NotAChild { .. }));
    }
}

#[test]
fn r05_what_a_stranger_may_do_is_drop_it() {
    each(|reach, seed| {
        let tally = Tally::new();
        let failed = go(1, seed, async {
            let gate = Gate::new();
            let child = reach.start({
                let (token, gate) = (tally.token(), gate.clone());
                move || async move {
                    gate.passed().await;
                    Plain(token)
                }
            });
            let id = child.id();
            let stranger = spawn(async move {
                assert_eq!((child.id(), child.state()), (id, State::Running));
                drop(child);
            });
            stranger.await.unwrap();
            gate.open();
            until(|| tally.dropped() == 1).await;
            // A normal end would be R3.
            Err::<(), _>("an abnormal end")
        });
        assert!(matches!(failed, Err(RunError::Failed("an abnormal end"))));
    });
}

#[test]
fn r05_a_promise_cannot_leave_its_domain() {
    // Compiles only where the type is not `Send`: with it, both implementations apply and the call is ambiguous.
    trait NotSend<A> {
        fn is_not_send() {}
    }
    struct Both;
    impl<T: ?Sized> NotSend<()> for T {}
    impl<T: ?Sized + Send> NotSend<Both> for T {}
    <Promise<()> as NotSend<_>>::is_not_send();
    <matou_core::Cancellation as NotSend<_>>::is_not_send();
    <Orphans<()> as NotSend<_>>::is_not_send();
    <matou_core::AwaitFirst<(), ()> as NotSend<_>>::is_not_send();
    <matou_core::AwaitAll<(), ()> as NotSend<_>>::is_not_send();
    <matou_core::Parallel<(), ()> as NotSend<_>>::is_not_send();
}
