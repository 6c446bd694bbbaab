//! A task: the future that the runtime polls and drops, and tells the trace so.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll};

use matou_core::{current_task, spawn};

use super::resources::Owned;
use super::trace::{FUTURES, Token, count, log, outcome};
use super::{Children, Held, Hold, World};
use crate::event::{Event, Outcome, Who};
use crate::program::{ORPHANS, OnDrop, Pick, Which};

/// The future of one task.
pub(super) struct Traced<R: Owned> {
    me: Me<R>,
    pub(super) life: Rc<Cell<Option<Who>>>,
    on_drop: OnDrop,
    /// Dropped before what the task holds.
    inner: Pin<Box<dyn Future<Output = Result<Token, Token>>>>,
    _hold: Rc<RefCell<Hold>>,
}

impl<R: Owned> Traced<R> {
    pub(super) fn new(world: &Rc<World<R>>, body: usize) -> Self {
        count(FUTURES, 1);
        let (life, hold) = (Rc::new(Cell::new(None)), Rc::<RefCell<Hold>>::default());
        let me = Me { world: world.clone(), hold: Rc::downgrade(&hold), life: life.clone(), body };
        Traced { life, on_drop: world.program.on_drop(body), inner: Box::pin(me.clone().perform()), me, _hold: hold }
    }

    /// Whether this is the current task.
    fn is_current(&self, who: Who) -> bool {
        match (who, current_task()) {
            (Who::Task(number), Some(current)) => current.number() == number,
            // Nobody else is dropped or polled under a number that was given to none of the others.
            (Who::Late(_), Some(current)) => current.number() < self.me.world.born.get(),
            (_, None) => false,
        }
    }
}

impl<R: Owned> Future for Traced<R> {
    type Output = Result<Token, Token>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        struct Unwinding;
        impl Drop for Unwinding {
            fn drop(&mut self) {
                log(Event::Unwound);
            }
        }
        let who = self.life.get().unwrap_or(Who::Task(u64::MAX));
        log(Event::Poll { who, itself: self.is_current(who) });
        crate::watch::step();
        let unwinding = Unwinding;
        let polled = self.inner.as_mut().poll(cx);
        std::mem::forget(unwinding);
        log(match &polled {
            Poll::Pending => Event::Suspended,
            Poll::Ready(Ok(value)) => Event::Returned(Outcome::Value(value.0)),
            Poll::Ready(Err(error)) => Event::Returned(Outcome::Error(error.0)),
        });
        polled
    }
}

impl<R: Owned> Drop for Traced<R> {
    fn drop(&mut self) {
        count(FUTURES, -1);
        let Some(who) = self.life.get() else { return log(Event::Unborn) };
        log(Event::Dropped { who, itself: self.is_current(who) });
        let Who::Task(number) = who else { return };
        match self.on_drop {
            OnDrop::Nothing => {}
            OnDrop::Spawn => {
                let late = Traced::new(&self.me.world, self.me.world.program.leaf());
                let life = late.life.clone();
                let promise = spawn(late);
                self.me.world.number(Location::caller());
                life.set(Some(Who::Late(number)));
                drop(promise);
            }
            OnDrop::Panic => panic!("fuzzed destructor {number}"),
            OnDrop::Cancel => {
                let taken = std::mem::take(&mut self._hold.borrow_mut().promises);
                let (own, others): (Vec<_>, Vec<_>) = taken.into_iter().partition(|held| held.parent == number && !held.spent);
                self._hold.borrow_mut().promises = others;
                for held in own {
                    drop(held.promise.cancel());
                }
            }
            OnDrop::Release(pick) => {
                let resource = self.me.resource(pick);
                if let Some((index, resource)) = resource {
                    let done = resource.release().is_ok();
                    log(Event::ReleasedOnDrop(number, index, done));
                }
            }
        }
    }
}

/// A task as its own steps see it.
pub(super) struct Me<R> {
    pub(super) world: Rc<World<R>>,
    hold: Weak<RefCell<Hold>>,
    life: Rc<Cell<Option<Who>>>,
    pub(super) body: usize,
}

impl<R> Clone for Me<R> {
    fn clone(&self) -> Self {
        Me { world: self.world.clone(), hold: self.hold.clone(), life: self.life.clone(), body: self.body }
    }
}

/// What a step leads to.
pub(super) type Flow = Option<Result<Token, Token>>;

impl<R: Owned> Me<R> {
    pub(super) async fn perform(self) -> Result<Token, Token> {
        let script = self.world.scripts[self.body].clone();
        for step in script.iter() {
            if let Some(end) = self.step(step).await {
                return end;
            }
        }
        unreachable!("the last step of a script is an end");
    }

    pub(super) fn number(&self) -> u64 {
        match self.life.get() {
            Some(Who::Task(number)) => number,
            _ => u64::MAX,
        }
    }

    pub(super) fn hold<T>(&self, f: impl FnOnce(&mut Hold) -> T) -> T {
        let hold = self.hold.upgrade().expect("the future that holds it is being polled");
        f(&mut hold.borrow_mut())
    }

    /// The place of a held promise.
    pub(super) fn held(&self, pick: Pick) -> Option<usize> {
        self.hold(|hold| usize::from(pick).checked_rem(hold.promises.len()))
    }

    pub(super) fn take_held(&self, pick: Pick) -> Option<Held> {
        let place = self.held(pick)?;
        Some(self.hold(|hold| hold.promises.remove(place)))
    }

    /// Its first held promises of its own children, out of their places.
    pub(super) fn take_own(&self, most: usize) -> Vec<Held> {
        let number = self.number();
        self.hold(|hold| {
            let mut left = most;
            let (own, others) = std::mem::take(&mut hold.promises).into_iter().partition(|held| {
                let take = left > 0 && held.parent == number && !held.spent;
                left -= usize::from(take);
                take
            });
            hold.promises = others;
            own
        })
    }

    pub(super) fn resource(&self, pick: Pick) -> Option<(usize, R)> {
        let resources = self.world.resources.borrow();
        let index = usize::from(pick).checked_rem(resources.len())?;
        Some((index, resources[index].0.clone()))
    }

    pub(super) fn orphans(&self, which: Which) -> Option<(usize, Rc<Children>)> {
        let index = match which {
            Which::Place(pick) => usize::from(pick) % ORPHANS,
            Which::Own => {
                let (orphans, first) = (self.world.orphans.borrow(), self.world.first.borrow());
                let there = |owner: Option<u64>| {
                    (0..ORPHANS).find(|&index| orphans[index].is_some() && first[index].map(|(task, _)| task) == owner)
                };
                there(Some(self.number())).or_else(|| there(None))?
            }
        };
        let orphans = self.world.orphans.borrow()[index].clone()?;
        Some((index, orphans))
    }

    /// Notes the first use of an `Orphans`.
    pub(super) fn use_orphans(&self, index: usize, place: &'static Location<'static>) {
        self.world.first.borrow_mut()[index].get_or_insert((self.number(), place));
    }

    /// Polls the promise at this place.
    pub(super) fn poll_held(&self, place: usize, cx: &mut Context<'_>) -> Poll<(u64, Outcome)> {
        self.hold(|hold| {
            let held = &mut hold.promises[place];
            let result = Pin::new(&mut held.promise).poll(cx);
            result.map(|result| {
                held.spent = true;
                (held.child, outcome(result))
            })
        })
    }
}
