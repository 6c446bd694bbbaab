//! The state a child is in × what becomes of it at its parent's hands × how it would end × where both live: each with the one course of events
//! that the rules allow, to the poll and to the destructor.
//!
//! Every child is brought into its [state](Is) first, and kept there until its parent has [acted](Act):
//!
//! | state | how |
//! | --- | --- |
//! | fresh | not polled yet: its domain is in another poll |
//! | runnable | polled once, and in the run queue again: across, its domain is in another poll |
//! | running | in the middle of its first poll |
//! | parked | waits at a gate, with a waker kept by the test |
//! | suspended | waits in a suspension point |
//! | locked | waits for a mutex that the main task holds |
//! | ended | has ended, and its parent's domain knows |
//!
//! The main task directs: when the parent has acted and its domain has drawn the consequences, it lets the child go on, by whatever kept it. So
//! nothing is left to chance between the domains, and a [product](Product) has one expected [history](Product::history): how often the child was
//! polled; in which order its future, its gift (a resource, which a normal end releases) and its result came to their ends, on which domain and
//! with which task as the current one; what its parent saw, and how the run ended.
//!
//! What cannot be is [told why](Product::impossible) and counted, and so are the products that ran: none is left out in silence.

#![cfg(feature = "std")]

mod support;

use std::future::{pending, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use matou_core::suspension::Point;
use matou_core::sync::Mutex as Lock;
use matou_core::{
    Care, Config, DomainId, Exit, Orphans, PointId, Promise, Resource, RunError, State, Task, TaskId, ViolationKind, await_first,
    current_task, domain, run, spawn, yield_now,
};
use support::Threads;
use support::family::*;
use support::leak::leak;
use support::probe::{Counter, Flag, OnDrop, Trace, counted};

/// The state a child is in when its parent acts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Fresh,
    Runnable,
    Running,
    Parked,
    Suspended,
    Locked,
    Ended,
}

const STATES: [Is; 7] = [Is::Fresh, Is::Runnable, Is::Running, Is::Parked, Is::Suspended, Is::Locked, Is::Ended];

/// What the parent does, or what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Await,
    /// By `Orphans::next`.
    AwaitNext,
    /// What `Orphans::care` gives.
    AwaitCared,
    Cancel,
    /// Without awaiting the cancellation.
    CancelAndGoOn,
    /// What `Orphans::take` gives.
    CancelTaken,
    /// As one of an `await_first` that is dropped.
    DropFirst,
    /// Drops the promise, lets the child end, and ends abnormally.
    Forget,
    /// The same with an `Orphans`.
    ForgetOrphans,
    /// Drops the promise, lets the child end, and ends normally.
    ForgetAndEnd,
    /// Drops the promise and ends normally.
    DropAndEnd,
    /// Leaks the promise and ends normally.
    LeakAndEnd,
    /// Ends normally with the child in an `Orphans`.
    Orphan,
    Fail,
    FailHavingDropped,
    FailWithOrphans,
    Panic,
    PanicHavingDropped,
    PanicWithOrphans,
    BeCancelled,
    BeCancelledWithOrphans,
}

const ACTS: [Act; 21] = [
    Act::Await,
    Act::AwaitNext,
    Act::AwaitCared,
    Act::Cancel,
    Act::CancelAndGoOn,
    Act::CancelTaken,
    Act::DropFirst,
    Act::Forget,
    Act::ForgetOrphans,
    Act::ForgetAndEnd,
    Act::DropAndEnd,
    Act::LeakAndEnd,
    Act::Orphan,
    Act::Fail,
    Act::FailHavingDropped,
    Act::FailWithOrphans,
    Act::Panic,
    Act::PanicHavingDropped,
    Act::PanicWithOrphans,
    Act::BeCancelled,
    Act::BeCancelledWithOrphans,
];

impl Act {
    fn in_orphans(self) -> bool {
        use Act::*;
        matches!(self, AwaitNext | AwaitCared | CancelTaken | ForgetOrphans | Orphan | FailWithOrphans | PanicWithOrphans)
            || self == BeCancelledWithOrphans
    }

    /// Whether the parent takes the child's result.
    fn awaits(self) -> bool {
        matches!(self, Act::Await | Act::AwaitNext | Act::AwaitCared)
    }

    fn forgets(self) -> bool {
        matches!(self, Act::Forget | Act::ForgetOrphans | Act::ForgetAndEnd)
    }

    /// Whether the parent ends normally with a child left: R3.
    fn breaks_a_rule(self) -> bool {
        matches!(self, Act::ForgetAndEnd | Act::DropAndEnd | Act::LeakAndEnd | Act::Orphan)
    }

    fn is_cancelled(self) -> bool {
        matches!(self, Act::BeCancelled | Act::BeCancelledWithOrphans)
    }
}

/// How the child would end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Child {
    Succeeds,
    Fails,
    Panics,
    Endless,
}

const CHILDREN: [Child; 4] = [Child::Succeeds, Child::Fails, Child::Panics, Child::Endless];

/// What a test looks for the end of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Future,
    Finaliser,
    Value,
}

/// What came to its end, on which domain, and which task was the current one.
type Event = (What, usize, Option<TaskId>);

/// What came to its end so far.
#[derive(Clone)]
struct Ends {
    events: Trace<Event>,
    expected: usize,
    /// As much as is expected.
    all: Flag,
}

/// Notes when it is dropped.
struct Noted(What, Ends);

impl Drop for Noted {
    fn drop(&mut self) {
        let Noted(what, ends) = self;
        ends.events.note((*what, domain::current().unwrap().index(), current_task()));
        if ends.events.len() == ends.expected {
            ends.all.raise();
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Product {
    /// The parent's domain.
    at: usize,
    reach: Reach,
    is: Is,
    act: Act,
    child: Child,
}

impl Product {
    fn all() -> impl Iterator<Item = Product> {
        let sites = [0, 1].into_iter().flat_map(|at| Reach::BOTH.map(|reach| (at, reach)));
        let with_states = sites.flat_map(|(at, reach)| STATES.map(|is| (at, reach, is)));
        let with_acts = with_states.flat_map(|(at, reach, is)| ACTS.map(|act| (at, reach, is, act)));
        with_acts.flat_map(|(at, reach, is, act)| CHILDREN.map(|child| Product { at, reach, is, act, child }))
    }

    /// Why there is no such product.
    fn impossible(self) -> Option<&'static str> {
        if self.is == Is::Running && self.reach == Reach::Same {
            Some(ONE_POLL)
        } else if self.is == Is::Ended && self.child == Child::Endless {
            Some(NO_END)
        } else if self.lets_it_end() && self.child == Child::Endless {
            Some(NO_RESULT)
        } else {
            None
        }
    }

    /// The child's domain.
    fn home(self) -> usize {
        self.at + usize::from(self.reach == Reach::Across)
    }

    fn lets_it_end(self) -> bool {
        self.act.awaits() || self.act.forgets()
    }

    /// Whether the child's future ends. A poll that has begun is ended, whatever becomes of its task.
    fn ends_by_itself(self) -> bool {
        self.lets_it_end() || self.is == Is::Ended || (self.is == Is::Running && self.child != Child::Endless)
    }

    /// What comes to its end, in this order.
    fn ends(self) -> &'static [What] {
        match self.child {
            Child::Succeeds if self.ends_by_itself() => &[What::Finaliser, What::Future, What::Value],
            Child::Fails if self.ends_by_itself() => &[What::Future, What::Finaliser, What::Value],
            _ => &[What::Future, What::Finaliser],
        }
    }

    /// How often the child is polled, and what comes to its end, where and as whom.
    fn history(self, parent: TaskId, child: TaskId) -> (usize, Vec<Event>) {
        let polls = match self.is {
            Is::Fresh => usize::from(self.lets_it_end()),
            Is::Running | Is::Ended => 1,
            Is::Runnable | Is::Parked | Is::Suspended | Is::Locked => 1 + usize::from(self.lets_it_end()),
        };
        let event = |what| match what {
            What::Future => (what, self.home(), Some(child)),
            What::Finaliser => (what, self.home(), None),
            // Dropped by the parent if it took it, else by its domain.
            What::Value => (what, self.at, self.act.awaits().then_some(parent)),
        };
        (polls, self.ends().iter().copied().map(event).collect())
    }
}

const ONE_POLL: &str = "a domain polls one task at a time: its parent cannot act in the middle of the child's poll";
const NO_END: &str = "what never ends has not ended";
const NO_RESULT: &str = "the parent would wait for ever for a child that never ends";

/// Ready when the child has ended, which is then still to be awaited.
fn poll_ended(promise: &mut Promise<Noted, Noted>, cx: &mut Context<'_>) -> Poll<()> {
    if promise.is_ended() {
        return Poll::Ready(());
    }
    assert!(Pin::new(promise).poll(cx).is_pending());
    Poll::Pending
}

/// What parent, child and director share.
#[derive(Clone)]
struct Stage {
    product: Product,
    ends: Ends,
    polls: Counter,
    /// The child is in its state, as far as it can tell.
    arrived: Flag,
    /// The parent has acted, or waits to be cancelled.
    acted: Flag,
    /// What keeps the child: the gate, its own poll, the poll of another on its domain.
    gate: Flag,
    point: Arc<Mutex<Option<PointId>>>,
    lock: Arc<Lock<()>>,
    /// The parent may go on: its forgotten child has ended, or it was cancelled.
    told: Flag,
    /// The parent, the child, and the line that made the child.
    cast: Arc<Mutex<Option<(TaskId, TaskId, u32)>>>,
}

impl Stage {
    fn new(product: Product) -> Stage {
        let [arrived, acted, gate, told] = [(); 4].map(|()| Flag::new());
        let (point, lock, cast) = Default::default();
        let ends = Ends { events: Trace::new(), expected: product.ends().len(), all: Flag::new() };
        Stage { product, ends, polls: Counter::new(), arrived, acted, gate, point, lock, told, cast }
    }

    fn noted(&self, what: What) -> Noted {
        Noted(what, self.ends.clone())
    }

    /// Polls the future, and says so when it is pending.
    async fn announced<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| {
            let polled = future.as_mut().poll(cx);
            if polled.is_pending() {
                self.arrived.raise();
            }
            polled
        })
        .await
    }

    /// The child.
    async fn play(self, future: Noted, gift: Resource<()>) -> Result<Noted, Noted> {
        let _future = future;
        let _held;
        match self.product.is {
            Is::Fresh | Is::Ended => {}
            Is::Runnable => self.announced(yield_now()).await,
            Is::Running => {
                self.arrived.raise();
                self.gate.block();
            }
            Is::Parked => self.announced(self.gate.raised()).await,
            Is::Suspended => {
                let suspended = Point::new().unwrap().suspend(|id| {
                    *self.point.lock().unwrap() = Some(id);
                    Ok::<(), ()>(())
                });
                self.announced(suspended).await.unwrap();
            }
            Is::Locked => _held = self.announced(self.lock.lock()).await,
        }
        match self.product.child {
            Child::Succeeds => {
                gift.release().unwrap();
                Ok(self.noted(What::Value))
            }
            Child::Fails => Err(self.noted(What::Value)),
            Child::Panics => resume_unwind(Box::new("it panics")),
            Child::Endless => pending().await,
        }
    }

    /// Starts the child: with a promise, or in the `Orphans`.
    fn start(&self, orphans: &Orphans<Noted, Noted>) -> Option<Promise<Noted, Noted>> {
        let token = self.noted(What::Finaliser);
        let gift = Resource::new((), move |()| drop(token));
        gift.own().unwrap();
        let task = Task::new().give(&gift);
        let (stage, future) = (self.clone(), self.noted(What::Future));
        let make = move || counted(&stage.polls.clone(), stage.play(future, gift));
        let home = DomainId::new(self.product.home());
        let (line, id, promise) = match (self.product.reach, self.product.act.in_orphans()) {
            (Reach::Same, false) => {
                let promise = task.spawn(make()).unwrap();
                (line!() - 1, promise.id(), Some(promise))
            }
            (Reach::Across, false) => {
                let promise = task.pin(home).call(make).unwrap();
                (line!() - 1, promise.id(), Some(promise))
            }
            (Reach::Same, true) => (line!(), task.spawn_in(orphans, make()).unwrap(), None),
            (Reach::Across, true) => (line!(), task.pin(home).call_in(orphans, make).unwrap(), None),
        };
        *self.cast.lock().unwrap() = Some((current_task().unwrap(), id, line));
        promise
    }

    /// The parent.
    async fn parent(self) -> Result<(), &'static str> {
        let Product { is, act, child, .. } = self.product;
        let acted = self.acted.clone();
        // Where it acts by its end, that is told when its future is gone.
        let _leaving = OnDrop(move || acted.raise());
        let orphans = Orphans::new();
        let mut held = self.start(&orphans);
        match is {
            Is::Fresh => {}
            Is::Runnable if self.product.reach == Reach::Same => yield_now().await,
            Is::Runnable | Is::Running | Is::Parked | Is::Suspended | Is::Locked => self.arrived.raised().await,
            Is::Ended => match &mut held {
                Some(promise) => poll_fn(|cx| poll_ended(promise, cx)).await,
                None => {
                    let mut next = Box::pin(orphans.next());
                    let mut woken = false;
                    poll_fn(|cx| {
                        if std::mem::replace(&mut woken, true) {
                            return Poll::Ready(());
                        }
                        assert!(next.as_mut().poll(cx).is_pending());
                        Poll::Pending
                    })
                    .await;
                }
            },
        }
        if let Some(promise) = &held {
            let state = match (is, child) {
                (Is::Ended, Child::Succeeds) => State::Resolved,
                (Is::Ended, _) => State::Exited,
                _ => State::Running,
            };
            assert_eq!(promise.state(), state);
        }
        match act {
            Act::Await => {
                self.acted.raise();
                self.check(held.unwrap().await);
            }
            Act::AwaitNext => {
                self.acted.raise();
                self.check(orphans.next().await.unwrap());
            }
            Act::AwaitCared => {
                self.acted.raise();
                let mut next = Box::pin(orphans.next());
                let cared = poll_fn(|cx| match orphans.care() {
                    Care::Ready(promise) => Poll::Ready(promise),
                    Care::Pending => {
                        assert!(next.as_mut().poll(cx).is_pending());
                        Poll::Pending
                    }
                    Care::Empty => unreachable!("nobody took it"),
                });
                let promise = cared.await;
                self.check(promise.await);
            }
            Act::Cancel | Act::CancelTaken => {
                let cancelling = held.or_else(|| orphans.take()).unwrap().cancel();
                self.acted.raise();
                cancelling.await;
                // All of it has ended by now.
                assert!(self.ends.all.is_raised());
            }
            Act::CancelAndGoOn => drop(held.unwrap().cancel()),
            Act::DropFirst => drop(await_first(held.into_iter().collect())),
            Act::Forget | Act::ForgetOrphans | Act::ForgetAndEnd => {
                drop((held, orphans));
                self.acted.raise();
                self.told.raised().await;
                if act != Act::ForgetAndEnd {
                    return Err("it has forgotten its child");
                }
            }
            Act::DropAndEnd => drop(held),
            Act::LeakAndEnd => _ = leak(held),
            Act::Orphan => {}
            Act::Fail | Act::FailWithOrphans => return Err("the parent fails"),
            Act::FailHavingDropped => {
                drop(held);
                return Err("the parent fails");
            }
            Act::Panic | Act::PanicWithOrphans => resume_unwind(Box::new("the parent panics")),
            Act::PanicHavingDropped => {
                drop(held);
                resume_unwind(Box::new("the parent panics"));
            }
            Act::BeCancelled | Act::BeCancelledWithOrphans => {
                self.acted.raise();
                if self.product.at != 0 {
                    // In this poll: the child has no turn before.
                    self.told.block();
                }
                pending::<()>().await;
            }
        }
        Ok(())
    }

    /// The child ended as it is to end.
    fn check(&self, result: Result<Noted, Exit<Noted>>) {
        match (self.product.child, result) {
            (Child::Succeeds, Ok(_)) | (Child::Fails, Err(Exit::Failed(_))) => {}
            (Child::Panics, Err(Exit::Panicked(panic))) => assert_eq!(panic.message(), "it panics"),
            (_, Ok(_)) => panic!("it ended normally"),
            (_, Err(exit)) => panic!("it ended abnormally: {:?}", exit.map(drop)),
        }
    }

    fn cast(&self) -> (TaskId, TaskId, u32) {
        self.cast.lock().unwrap().expect("the child was made")
    }

    fn history(&self) -> (usize, Vec<Event>) {
        let (parent, child, _) = self.cast();
        self.product.history(parent, child)
    }

    /// Keeps the child's domain in a poll, if the state asks for it, from when the child is where it is to be.
    async fn occupy(&self) -> Option<Promise<()>> {
        let at_once = match (self.product.reach, self.product.is) {
            (Reach::Across, Is::Fresh) => true,
            (Reach::Across, Is::Runnable) => false,
            _ => return None,
        };
        let (stage, begun) = (self.clone(), Flag::new());
        let begins = begun.clone();
        let occupier = pinned(self.product.home(), move || async move {
            begins.raise();
            // Behind the child in the queue as soon as that has had its first poll.
            while !at_once && !stage.arrived.is_raised() {
                yield_now().await;
            }
            stage.gate.block();
        });
        begun.raised().await;
        Some(occupier)
    }

    /// Lets the child go on.
    fn release(&self, platform: &Threads) {
        self.gate.raise();
        if let Some(point) = *self.point.lock().unwrap() {
            platform.hand(self.product.home()).fire(point);
        }
    }

    /// The main task.
    async fn direct(&self, platform: &Threads) {
        // Where a rule is broken, this is the last that is heard of it.
        let _leaving = OnDrop(|| self.release(platform));
        let Product { at, act, .. } = self.product;
        let occupier = self.occupy().await;
        let held = self.lock.try_lock();
        let stage = self.clone();
        let parent = if at == 0 { spawn(stage.parent()) } else { pinned(at, move || stage.parent()) };
        if act.breaks_a_rule() && !act.forgets() {
            let _ = parent.await;
            unreachable!("the run is being stopped");
        }
        let parent = if act.is_cancelled() {
            if self.product.home() == 0 {
                // In the queue behind the parent, before its child.
                until(|| self.acted.is_raised()).await;
            }
            self.acted.raised().await;
            let cancelling = parent.cancel();
            self.told.raise();
            Err(cancelling)
        } else {
            self.acted.raised().await;
            Ok(parent)
        };
        // What is runnable on the parent's domain has its turn only after the cancellations and ends there.
        if at == 0 {
            yield_now().await
        } else {
            pinned(at, || async {}).await.unwrap()
        }
        self.release(platform);
        drop(held);
        if act.forgets() {
            self.ends.all.raised().await;
            self.told.raise();
        }
        if let Some(occupier) = occupier {
            occupier.await.unwrap();
        }
        let parent = match parent {
            Ok(parent) => parent.await,
            Err(cancelling) => return cancelling.await,
        };
        match (act, parent) {
            (Act::Fail | Act::FailHavingDropped | Act::FailWithOrphans, Err(Exit::Failed("the parent fails"))) => {}
            (Act::Forget | Act::ForgetOrphans, Err(Exit::Failed("it has forgotten its child"))) => {}
            (Act::Panic | Act::PanicHavingDropped | Act::PanicWithOrphans, Err(Exit::Panicked(panic))) => {
                assert_eq!(panic.message(), "the parent panics");
            }
            (_, parent) => parent.unwrap(),
        }
        // Its subtree has ended with it.
        assert!(self.ends.all.is_raised());
    }

    fn run(&self) {
        let _told = Told(format!("{:?}", self.product));
        let workers = self.product.home();
        let platform = Threads::new(workers);
        let ended = run(&platform, Config::new().domains(workers), self.direct(&platform));
        let (parent, child, line) = self.cast();
        match ended {
            Ok(()) => assert!(!self.product.act.breaks_a_rule()),
            Err(RunError::Violation(violation)) => {
                assert!(self.product.act.breaks_a_rule(), "{violation}");
                assert_eq!((violation.task, violation.others), (parent, 0));
                let ViolationKind::StillHasChildren { child: named, spawned } = violation.kind else { panic!("{violation}") };
                assert_eq!((named, spawned.file(), spawned.line()), (child, file!(), line));
            }
            Err(other) => panic!("{other:?}"),
        }
        assert_eq!((self.polls.get(), self.ends.events.take()), self.history());
        assert!(self.lock.try_lock().is_some(), "whoever waited for it or held it has left it");
    }
}

/// Runs all products with this state. How many.
fn run_all(is: Is) -> usize {
    let products = Product::all().filter(|product| product.is == is && product.impossible().is_none());
    products.map(|product| Stage::new(product).run()).count()
}

/// Two places for a parent, two for its child.
const SITES: usize = 4;

#[test]
fn a_fresh_child_whatever_its_parent_does() {
    assert_eq!(run_all(Is::Fresh), SITES * (15 * 4 + 6 * 3));
}

#[test]
fn a_runnable_child_whatever_its_parent_does() {
    assert_eq!(run_all(Is::Runnable), SITES * (15 * 4 + 6 * 3));
}

#[test]
fn a_running_child_whatever_its_parent_does() {
    assert_eq!(run_all(Is::Running), SITES / 2 * (15 * 4 + 6 * 3));
}

#[test]
fn a_parked_child_whatever_its_parent_does() {
    assert_eq!(run_all(Is::Parked), SITES * (15 * 4 + 6 * 3));
}

#[test]
fn a_suspended_child_whatever_its_parent_does() {
    assert_eq!(run_all(Is::Suspended), SITES * (15 * 4 + 6 * 3));
}

#[test]
fn a_child_that_waits_for_a_mutex_whatever_its_parent_does() {
    assert_eq!(run_all(Is::Locked), SITES * (15 * 4 + 6 * 3));
}

#[test]
fn a_child_that_has_ended_whatever_its_parent_does() {
    assert_eq!(run_all(Is::Ended), SITES * 21 * 3);
}

#[test]
fn what_was_left_out_cannot_be() {
    let left_out = |why| Product::all().filter(|product| product.impossible() == Some(why)).count();
    let [one_poll, no_end, no_result] = [ONE_POLL, NO_END, NO_RESULT].map(left_out);
    assert_eq!(one_poll, SITES / 2 * 21 * 4, "{ONE_POLL}");
    assert_eq!(no_end, SITES * 21, "{NO_END}");
    assert_eq!(no_result, (SITES * 5 + SITES / 2) * 6, "{NO_RESULT}");
    let ran = Product::all().filter(|product| product.impossible().is_none()).count();
    assert_eq!(ran + one_poll + no_end + no_result, SITES * STATES.len() * ACTS.len() * CHILDREN.len());
}
