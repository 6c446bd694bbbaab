//! Steps: what a task does, one after the other.
//!
//! A step that has to wait is tried again from the start in the task's next poll; what it has done already is kept as its [`Middle`].

use super::{Flow, Middle, Model, Owner, Phase, Resource};
use crate::event::{Event, Found, Outcome, Said, Stands};
use crate::program::{Cancel, End, MOST_ON_BOARD, MOST_RESOURCES, ORPHANS, Pick, Step, TidyPromises, Use};

impl Model<'_> {
    pub(super) fn step(&mut self, task: usize, step: &Step) -> Flow {
        match self.try_step(task, step) {
            Ok(()) => Flow::On,
            Err(flow) => flow,
        }
    }

    /// Does a step, or what is left of it. An error is where it does not simply go on.
    pub(super) fn try_step(&mut self, task: usize, step: &Step) -> Result<(), Flow> {
        match *step {
            Step::Spawn { more, body, ref gifts, into, named } => {
                let Some(body) = self.program.child_body(self.tasks[task].body, body) else { return Ok(()) };
                let gifts: Vec<_> = gifts.iter().filter_map(|&gift| self.resource(gift)).collect();
                (0..=more).try_for_each(|_| self.start(task, body, &gifts, into, named)).map_err(Flow::Panic)
            }
            Step::Await { promise, keep } => {
                let Some(place) = self.held(task, promise) else { return Ok(()) };
                let (child, outcome) = self.await_at(task, place)?;
                if !keep {
                    self.tasks[task].promises.remove(place);
                }
                self.say(Event::Got(child as u64, outcome));
                Ok(())
            }
            Step::Glance(promise) => {
                let Some(place) = self.held(task, promise) else { return Ok(()) };
                match self.await_at(task, place) {
                    Ok((child, outcome)) => {
                        self.tasks[task].promises.remove(place);
                        self.say(Event::Got(child as u64, outcome));
                    }
                    Err(Flow::Wait) => self.say(Event::NotYet),
                    Err(flow) => return Err(flow),
                }
                Ok(())
            }
            Step::Join(a, b) => self.join(task, a, b),
            Step::Race(a, b) => {
                let (Some(a), Some(b)) = (self.held(task, a), self.held(task, b)) else { return Ok(()) };
                let ready = match self.await_at(task, a) {
                    Err(Flow::Wait) if a != b => (b, self.await_at(task, b)?),
                    ready => (a, ready?),
                };
                let (place, (child, outcome)) = ready;
                self.tasks[task].promises.remove(place);
                self.say(Event::Got(child as u64, outcome));
                Ok(())
            }
            Step::Several { many, most, once } => self.several(task, many, usize::from(most) + 1, once),
            Step::Cancel(promise, how) => {
                if let Middle::Cancelling(child) = self.tasks[task].middle {
                    return self.cancelling(task, child);
                }
                let Some(place) = self.held(task, promise) else { return Ok(()) };
                let held = self.tasks[task].promises.remove(place);
                self.cancel_held(task, held.child, how)
            }
            Step::AwaitCancellation(pick) => {
                if let Middle::Cancelling(child) = self.tasks[task].middle {
                    return self.cancelling(task, child);
                }
                let Some(place) = usize::from(pick).checked_rem(self.tasks[task].cancellations.len()) else { return Ok(()) };
                let child = self.tasks[task].cancellations.remove(place);
                self.cancelling(task, child)
            }
            Step::Forget(promise) => {
                if let Some(place) = self.held(task, promise) {
                    let held = self.tasks[task].promises.remove(place);
                    self.forget(held.child);
                }
                Ok(())
            }
            Step::Look(promise) => {
                let Some(place) = self.held(task, promise) else { return Ok(()) };
                let held = self.tasks[task].promises[place];
                if !held.spent {
                    let child = &self.tasks[held.child];
                    let stands = match (child.phase, child.gone, &child.outcome) {
                        (Phase::Ended, false, Some(Outcome::Value(_))) => Stands::Resolved,
                        (Phase::Ended, ..) => Stands::Exited,
                        _ => Stands::Running,
                    };
                    let ended = child.phase == Phase::Ended;
                    self.say(Event::Looked(held.child as u64, stands, ended));
                }
                Ok(())
            }
            Step::Post(promise) => {
                if self.board.len() < MOST_ON_BOARD
                    && let Some(place) = self.held(task, promise)
                {
                    let held = self.tasks[task].promises.remove(place);
                    self.board.push(held);
                }
                Ok(())
            }
            Step::Fetch(pick) => {
                if let Some(place) = usize::from(pick).checked_rem(self.board.len()) {
                    let held = self.board.remove(place);
                    self.tasks[task].promises.push(held);
                }
                Ok(())
            }
            Step::Yield => {
                if let Middle::Yielded = self.tasks[task].middle {
                    return Ok(());
                }
                self.counts();
                self.tasks[task].middle = Middle::Yielded;
                self.wake(task);
                Err(Flow::Wait)
            }
            Step::Care(which) => {
                let Some(index) = self.which(task, which) else { return Ok(()) };
                let found = match self.use_orphans(task, index) {
                    Err(Flow::Wait) => Found::Empty,
                    Err(flow) => return Err(flow),
                    Ok(()) => {
                        self.counts();
                        let ended = self.ended_aside(index);
                        let fits = |event: &Event, child: usize| *event == Event::Care(Found::Ready(child as u64));
                        match self.choices_of(task, &ended, fits) {
                            Some(child) => {
                                self.tasks[child].aside = false;
                                self.hold(task, child);
                                Found::Ready(child as u64)
                            }
                            None if self.aside(index).is_empty() => Found::Empty,
                            None => Found::Pending,
                        }
                    }
                };
                self.say(Event::Care(found));
                Ok(())
            }
            Step::Take(which) => {
                let Some(index) = self.which(task, which) else { return Ok(()) };
                let taken = match self.use_orphans(task, index) {
                    Err(Flow::Wait) => None,
                    Err(flow) => return Err(flow),
                    Ok(()) => {
                        self.counts();
                        let ended = self.ended_aside(index);
                        let among = if ended.is_empty() { self.aside(index) } else { ended };
                        let fits = |event: &Event, child: usize| *event == Event::Took(Some(child as u64));
                        self.choices_of(task, &among, fits).inspect(|&child| {
                            self.tasks[child].aside = false;
                            self.hold(task, child);
                        })
                    }
                };
                self.say(Event::Took(taken.map(|child| child as u64)));
                Ok(())
            }
            Step::Next { orphans, once } => {
                let begun = match self.tasks[task].middle {
                    Middle::Next(index) => Some(index),
                    _ => self.which(task, orphans),
                };
                let Some(index) = begun else { return Ok(()) };
                self.tasks[task].middle = Middle::Next(index);
                match self.poll_next(task, index) {
                    Ok(next) => self.say(Event::Next(next)),
                    Err(Flow::Wait) if once => {
                        // Dropped early it loses nothing.
                        if self.orphans[index].owner == Some(task) {
                            self.orphans[index].waiting = false;
                        }
                        self.say(Event::NotYet);
                    }
                    Err(flow) => return Err(flow),
                }
                Ok(())
            }
            Step::Len(which) => {
                if let Some(index) = self.which(task, which) {
                    let count = self.aside(index).iter().filter(|&&child| !self.tasks[child].gone).count();
                    self.say(Event::Len(count));
                }
                Ok(())
            }
            Step::DropOrphans { orphans, later } => {
                let Some(index) = self.which(task, orphans) else { return Ok(()) };
                // Not where a task is in the middle of `next` with it.
                let held = (0..self.tasks.len()).any(|other| self.is_in_next(other, index));
                if !held {
                    self.orphans[index].there = false;
                    match later {
                        true => self.tasks[task].kept_orphans.push(index),
                        false => self.drop_orphans(index),
                    }
                }
                Ok(())
            }
            Step::New { panics, owned } => {
                let index = self.resources.len();
                if index < MOST_RESOURCES {
                    self.resources.push(Resource { owner: Owner::Nobody, panics, in_use: false, since: 0 });
                    if owned {
                        self.used(task, index, Use::Own)?;
                    }
                }
                Ok(())
            }
            Step::Resource(pick, kind) => {
                let Some(index) = self.resource(pick) else { return Ok(()) };
                self.used(task, index, kind)
            }
            Step::Inside(pick, inside) => self.inside(task, pick, inside),
            Step::Owner(pick) => {
                let Some(index) = self.resource(pick) else { return Ok(()) };
                let owner = match self.resources[index].owner {
                    Owner::Task(owner) => Some(owner as u64),
                    _ => None,
                };
                self.say(Event::Owner(index, owner));
                Ok(())
            }
            Step::TidyPromises(how) => self.tidy_promises(task, how),
            Step::TidyOrphans => {
                let from = match self.tasks[task].middle {
                    Middle::Next(index) => index,
                    _ => 0,
                };
                for index in from..ORPHANS {
                    while self.orphans[index].owner == Some(task) && self.orphans[index].there {
                        self.tasks[task].middle = Middle::Next(index);
                        let next = self.poll_next(task, index)?;
                        let over = next.is_none();
                        self.say(Event::Next(next));
                        if over {
                            break;
                        }
                    }
                }
                Ok(())
            }
            Step::TidyResources => {
                for index in 0..self.resources.len() {
                    if self.resources[index].owner == Owner::Task(task) {
                        self.used(task, index, Use::Release)?;
                    }
                }
                Ok(())
            }
            Step::End(end) => {
                let number = task as u64;
                Err(match end {
                    End::Ok => Flow::Return(Outcome::Value(number)),
                    End::Err => Flow::Return(Outcome::Error(number)),
                    End::Panic => Flow::Panic(Said::Task(number)),
                    End::Park => Flow::Wait,
                })
            }
        }
    }

    /// Whether a task is in the middle of `next` with this `Orphans`.
    pub(super) fn is_in_next(&self, task: usize, index: usize) -> bool {
        self.tasks[task].phase == Phase::Live && matches!(self.tasks[task].middle, Middle::Next(this) if this == index)
    }

    pub(super) fn choices_of(&self, task: usize, among: &[usize], fits: impl Fn(&Event, usize) -> bool) -> Option<usize> {
        if among.is_empty() {
            return None;
        }
        self.choices.choose(self.tasks[task].who, among, fits)
    }

    pub(super) fn join(&mut self, task: usize, a: Pick, b: Pick) -> Result<(), Flow> {
        let (Some(a), Some(b)) = (self.held(task, a), self.held(task, b)) else { return Ok(()) };
        let both = if a == b { vec![a] } else { vec![a, b] };
        let left = match std::mem::take(&mut self.tasks[task].middle) {
            Middle::Join { left } => left,
            _ => both.clone(),
        };
        let mut still = Vec::new();
        for place in left {
            match self.await_at(task, place) {
                Ok((child, outcome)) => self.say(Event::Got(child as u64, outcome)),
                Err(Flow::Wait) => still.push(place),
                Err(flow) => return Err(flow),
            }
        }
        if !still.is_empty() {
            self.tasks[task].middle = Middle::Join { left: still };
            return Err(Flow::Wait);
        }
        let mut both = both;
        both.sort();
        for place in both.into_iter().rev() {
            self.tasks[task].promises.remove(place);
        }
        Ok(())
    }

    pub(super) fn tidy_promises(&mut self, task: usize, how: TidyPromises) -> Result<(), Flow> {
        if let Middle::Cancelling(child) = self.tasks[task].middle {
            self.cancelling(task, child)?;
        }
        match how {
            TidyPromises::Leave => {}
            TidyPromises::Forget => self.take_own(task, usize::MAX).into_iter().for_each(|child| self.forget(child)),
            TidyPromises::Await => loop {
                let own = self.tasks[task].promises.iter().position(|held| self.is_own(task, held));
                let Some(place) = own else { break };
                let (child, outcome) = self.await_at(task, place)?;
                self.tasks[task].promises.remove(place);
                self.say(Event::Got(child as u64, outcome));
            },
            TidyPromises::Cancel | TidyPromises::CancelAndAwait => {
                let how = if how == TidyPromises::Cancel { Cancel::Drop } else { Cancel::Await };
                while let Some(child) = self.take_own(task, 1).pop() {
                    self.cancel_held(task, child, how)?;
                }
            }
        }
        Ok(())
    }
}
