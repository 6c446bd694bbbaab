//! The state a child is in × what its parent does with it × where the child lives: each with the one outcome it may have.
//!
//! Every child is brought into its state first and stays there until the parent has acted:
//!
//! | state | how |
//! | --- | --- |
//! | fresh | not polled yet: its domain is occupied |
//! | runnable | polled once, and in the run queue again: its domain is occupied |
//! | parked | waits at a gate |
//! | suspended | waits in a suspension point |
//! | ended | has ended, and its parent's domain knows |
//!
//! Then the parent acts, the domain is released, the gate opened. What is compared: how often the child was polled by then and at the end, its
//! result, what of it was dropped, the end of the run.

#![cfg(feature = "std")]

mod support;

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use matou_core::suspension::Point;
use matou_core::{
    Config, Exit, Orphans, Outcome, PointId, Promise, RunError, State, TaskId, ViolationKind, await_first, current_task, run, yield_now,
};
use support::Threads;
use support::family::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Fresh,
    Runnable,
    Parked,
    Suspended,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Await,
    Cancel,
    CancelAndGoOn,
    Drop,
    Leave,
    LeaveInOrphans,
    AwaitFromOrphans,
    AwaitFirstDropped,
    Fail,
    FailHavingDropped,
    Panic,
    PanicWithOrphans,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Child {
    Succeeds,
    Fails,
    Panics,
}

const ACTS: [Act; 12] = [
    Act::Await,
    Act::Cancel,
    Act::CancelAndGoOn,
    Act::Drop,
    Act::Leave,
    Act::LeaveInOrphans,
    Act::AwaitFromOrphans,
    Act::AwaitFirstDropped,
    Act::Fail,
    Act::FailHavingDropped,
    Act::Panic,
    Act::PanicWithOrphans,
];
const CHILDREN: [Child; 3] = [Child::Succeeds, Child::Fails, Child::Panics];

impl Act {
    fn in_orphans(self) -> bool {
        matches!(self, Act::LeaveInOrphans | Act::AwaitFromOrphans | Act::PanicWithOrphans)
    }

    /// Whether the child goes on to its end.
    fn lets_it_end(self) -> bool {
        matches!(self, Act::Await | Act::AwaitFromOrphans)
    }

    /// Whether the run ends by a violation.
    fn breaks_rule_3(self) -> bool {
        matches!(self, Act::Drop | Act::Leave | Act::LeaveInOrphans)
    }
}

/// Brings one child into its state.
#[derive(Clone)]
struct Stage {
    is: Is,
    child: Child,
    futures: Tally,
    values: Tally,
    polls: Arc<AtomicUsize>,
    gate: Gate,
    point: Arc<Mutex<Option<PointId>>>,
}

impl Stage {
    fn new(is: Is, child: Child) -> Stage {
        let (polls, gate) = Default::default();
        Stage { is, child, futures: Tally::new(), values: Tally::new(), polls, gate, point: Arc::default() }
    }

    fn polls(&self) -> usize {
        self.polls.load(Ordering::SeqCst)
    }

    /// The child. It holds a token, and its result is one.
    async fn play(self, token: Token) -> Result<Token, Token> {
        let _token = token;
        let count = |polls: &AtomicUsize| polls.fetch_add(1, Ordering::SeqCst);
        count(&self.polls);
        match self.is {
            Is::Fresh | Is::Ended => {}
            Is::Runnable => yield_now().await,
            Is::Parked => self.gate.passed().await,
            Is::Suspended => {
                let suspended = Point::new().unwrap().suspend(|id| {
                    *self.point.lock().unwrap() = Some(id);
                    Ok::<(), ()>(())
                });
                suspended.await.unwrap();
            }
        }
        if self.is != Is::Fresh && self.is != Is::Ended {
            count(&self.polls);
        }
        match self.child {
            Child::Succeeds => Ok(self.values.token()),
            Child::Fails => Err(self.values.token()),
            Child::Panics => std::panic::resume_unwind(Box::new("it panics")),
        }
    }

    /// Whether the result is what the child gives.
    fn is_its_result(&self, result: Result<Token, Exit<Token>>) -> bool {
        match (self.child, result) {
            (Child::Succeeds, Ok(_)) | (Child::Fails, Err(Exit::Failed(_))) => true,
            (Child::Panics, Err(Exit::Panicked(panic))) => panic.message() == "it panics",
            _ => false,
        }
    }
}

/// What the parent ended with, and what the test saw of it.
#[derive(Default)]
struct Seen {
    ids: Cell<Option<(TaskId, TaskId)>>,
    line: Cell<u32>,
    polls_at_act: Cell<usize>,
}

/// A parent on domain 0 with a child there or on domain 1.
async fn parent(reach: Reach, act: Act, stage: &Stage, platform: &Threads, seen: &Seen) -> Result<(), &'static str> {
    let orphans = Orphans::new();
    let mut held: Option<Promise<Token, Token>> = None;
    let make = {
        let (stage, token) = (stage.clone(), stage.futures.token());
        move || stage.play(token)
    };
    // A domain that is to be busy when its child is fresh is so before; when it is runnable, right behind it in the queue.
    let mut occupied = None;
    if reach == Reach::Across && stage.is == Is::Fresh {
        occupied = Some(Occupied::new(1).await);
    }
    let id = if act.in_orphans() {
        seen.line.set(line!() + 1);
        start_in(reach, &orphans, make)
    } else {
        seen.line.set(line!() + 1);
        let promise = reach.start_on(1, make);
        let id = promise.id();
        held = Some(promise);
        id
    };
    seen.ids.set(Some((current_task().unwrap(), id)));
    match (stage.is, reach) {
        (Is::Fresh, _) => {}
        (Is::Runnable, Reach::Same) => yield_now().await,
        (Is::Runnable, Reach::Across) => {
            // Sent behind the child: it gets its turn when the child has yielded, unless that was polled twice before this came.
            occupied = Some(Occupied::new(1).await);
        }
        (Is::Parked, _) => until(|| stage.gate.is_waited_for()).await,
        (Is::Suspended, _) => until(|| stage.point.lock().unwrap().is_some()).await,
        (Is::Ended, _) => match &held {
            Some(promise) => until(|| promise.is_ended()).await,
            None => {
                until(|| stage.futures.dropped() == 1).await;
                // What was sent after its end has arrived, so its end has.
                for _ in 0..3 {
                    reach.start_on(1, || async {}).await.unwrap();
                }
            }
        },
    }
    let expected = match (stage.is, stage.child, &held) {
        (_, _, None) => None,
        (Is::Ended, Child::Succeeds, _) => Some(State::Resolved),
        (Is::Ended, ..) => Some(State::Exited),
        _ => Some(State::Running),
    };
    if (stage.is, reach) != (Is::Runnable, Reach::Across) {
        assert_eq!(held.as_ref().map(Promise::state), expected);
    }
    seen.polls_at_act.set(stage.polls());

    // What lets it go on once the parent has acted.
    let go_on = || {
        stage.gate.open();
        if let Some(point) = *stage.point.lock().unwrap() {
            platform.hand(if reach == Reach::Same { 0 } else { 1 }).fire(point);
        }
    };
    match act {
        Act::Await | Act::AwaitFromOrphans => {
            go_on();
            if let Some(occupied) = occupied {
                occupied.release().await;
            }
            let result = match held {
                Some(promise) => promise.await,
                None => orphans.next().await.unwrap(),
            };
            assert!(stage.is_its_result(result));
        }
        Act::Cancel | Act::CancelAndGoOn | Act::AwaitFirstDropped => {
            let values = stage.values.dropped();
            let cancelling = if act == Act::AwaitFirstDropped {
                drop(await_first(held.into_iter().collect()));
                None
            } else {
                held.map(Promise::cancel)
            };
            // The call has dropped a result that was there, and nothing else.
            if stage.is == Is::Ended {
                assert_eq!(stage.values.dropped(), stage.values.made());
            } else if reach == Reach::Same {
                assert_eq!((stage.values.dropped(), stage.futures.dropped()), (values, 0));
            }
            go_on();
            if let Some(occupied) = occupied {
                occupied.release().await;
            }
            if let Some(cancelling) = cancelling
                && act == Act::Cancel
            {
                cancelling.await;
                assert_eq!((stage.values.all_dropped(), stage.futures.all_dropped()), (stage.values.made(), 1));
            }
        }
        Act::Drop | Act::FailHavingDropped => {
            drop(held.take());
            if stage.is == Is::Ended {
                assert_eq!(stage.values.all_dropped(), stage.values.made());
            }
            if occupied.is_some() {
                go_on();
            }
            if act == Act::FailHavingDropped {
                return Err("the parent fails");
            }
        }
        Act::Leave => {
            std::mem::forget(held);
            if let Some(occupied) = occupied {
                occupied.release().await;
            }
        }
        Act::LeaveInOrphans => {
            if let Some(occupied) = occupied {
                occupied.release().await;
            }
        }
        Act::Fail => return Err("the parent fails"),
        Act::Panic | Act::PanicWithOrphans => std::panic::resume_unwind(Box::new("the parent panics")),
    }
    Ok(())
}

/// As `Reach::start_in`, on domain 1.
#[track_caller]
fn start_in<C, F>(reach: Reach, orphans: &Orphans<Value<F>, Error<F>>, make: C) -> TaskId
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output: Outcome> + 'static,
    Value<F>: Send + 'static,
    Error<F>: Send + 'static,
{
    reach.start_in(orphans, make)
}

fn combine(reach: Reach, is: Is, act: Act, child: Child, seed: u64) {
    let _told = Told(format!("{reach:?}, {is:?}, {act:?}, the child {child:?}, seed {seed}"));
    let workers = usize::from(reach == Reach::Across);
    let (platform, stage, seen) = (Threads::new(workers), Stage::new(is, child), Seen::default());
    let ended = run(&platform, Config::new().domains(workers).seed(seed), parent(reach, act, &stage, &platform, &seen));

    // The end of the run.
    let (parent, id) = seen.ids.get().unwrap();
    match ended {
        Ok(()) => assert!(!act.breaks_rule_3() && !matches!(act, Act::Fail | Act::FailHavingDropped | Act::Panic | Act::PanicWithOrphans)),
        Err(RunError::Failed(error)) => assert!(matches!(act, Act::Fail | Act::FailHavingDropped) && error == "the parent fails"),
        Err(RunError::Panicked(panic)) => {
            assert!(matches!(act, Act::Panic | Act::PanicWithOrphans), "{panic:?}");
            assert_eq!(panic.message(), "the parent panics");
        }
        Err(RunError::Violation(violation)) => {
            assert!(act.breaks_rule_3());
            assert_eq!((violation.task, violation.others), (parent, 0));
            let ViolationKind::StillHasChildren { child, spawned } = violation.kind else { panic!("{violation}") };
            assert_eq!((child, spawned.file(), spawned.line()), (id, file!(), seen.line.get()));
        }
        Err(other) => panic!("{other:?}"),
    }

    // What became of the child: its future was dropped once, and its value, if it came to that.
    assert_eq!(stage.futures.all_dropped(), 1);
    let values = stage.values.all_dropped();
    let all_polls = if matches!(is, Is::Fresh | Is::Ended) { 1 } else { 2 };
    let valued = usize::from(child != Child::Panics);
    match is {
        _ if act.lets_it_end() => assert_eq!((stage.polls(), values), (all_polls, valued)),
        Is::Ended => assert_eq!((stage.polls(), values), (1, valued)),
        // On its own domain it is at the parent's mercy, to the poll.
        _ if reach == Reach::Same => {
            assert_eq!((stage.polls(), values), (seen.polls_at_act.get(), 0));
        }
        // Across too, but where it was let go on before its parent's end reached it.
        _ => {
            let polls = stage.polls();
            assert!((seen.polls_at_act.get()..=all_polls).contains(&polls));
            assert_eq!(values, if polls == all_polls { valued } else { 0 });
            if matches!(act, Act::Cancel | Act::CancelAndGoOn | Act::AwaitFirstDropped) && is != Is::Runnable {
                assert_eq!(polls, seen.polls_at_act.get(), "marked before it could go on");
            }
        }
    }
}

macro_rules! combinations {
    ($($name:ident: $is:expr;)+) => {$(
        #[test]
        fn $name() {
            for reach in Reach::BOTH {
                for act in ACTS {
                    for child in CHILDREN {
                        for seed in 0..2 {
                            combine(reach, $is, act, child, seed);
                        }
                    }
                }
            }
        }
    )+};
}

combinations! {
    a_fresh_child_whatever_its_parent_does: Is::Fresh;
    a_runnable_child_whatever_its_parent_does: Is::Runnable;
    a_parked_child_whatever_its_parent_does: Is::Parked;
    a_suspended_child_whatever_its_parent_does: Is::Suspended;
    a_child_that_has_ended_whatever_its_parent_does: Is::Ended;
}
