//! Ends: how futures are dropped, and how tasks end.
//!
//! Cancellation goes down the tree and ends go up, both by plain recursion: a program makes few tasks.

use super::{Care, Middle, Model, Owner, Phase, Rule, Task};
use crate::event::{Event, Outcome, Place, Said, Who};
use crate::program::OnDrop;

impl Model<'_> {
    /// The task has returned or panicked.
    pub(super) fn complete(&mut self, task: usize, outcome: Outcome) {
        let mut normal = matches!(outcome, Outcome::Value(_));
        self.tasks[task].outcome = Some(outcome);
        let dropped = self.drop_future(task);
        if normal
            && !self.tasks[task].violated
            && let Some(rule) = self.left_behind(task)
        {
            self.violate(task, rule);
        }
        normal &= !self.tasks[task].violated;
        if !normal {
            self.cancel_children(task, dropped);
        }
        self.end_if_childless(task);
    }

    /// R28, then R3.
    pub(super) fn left_behind(&self, task: usize) -> Option<Rule> {
        let owned: Vec<_> = (0..self.resources.len()).filter(|&index| self.resources[index].owner == Owner::Task(task)).collect();
        if !owned.is_empty() {
            return Some(Rule::ResourceLeaked(owned));
        }
        let owed: Vec<_> = self.children(task).filter(|&child| self.tasks[child].care == Care::Owed).collect();
        (!owed.is_empty()).then_some(Rule::StillHasChildren(owed))
    }

    pub(super) fn children(&self, task: usize) -> impl Iterator<Item = usize> {
        (0..self.tasks.len()).filter(move |&child| self.tasks[child].parent == Some(task))
    }

    /// Drops the future of a task that was cancelled.
    pub(super) fn cut(&mut self, task: usize) -> Option<usize> {
        if self.tasks[task].phase != Phase::Live {
            return None;
        }
        let dropped = self.drop_future(task);
        self.cancel_children(task, dropped);
        self.end_if_childless(task);
        Some(dropped)
    }

    /// R12: with the task as the current one; what its destructor makes is cancelled, what panics there is reported.
    pub(super) fn drop_future(&mut self, task: usize) -> usize {
        self.tasks[task].phase = Phase::Closed;
        let dropped = self.between(task, Event::Dropped { who: self.tasks[task].who, itself: true });
        if let Who::Task(number) = self.tasks[task].who {
            match self.program.on_drop(self.tasks[task].body) {
                OnDrop::Nothing => {}
                OnDrop::Panic => {
                    let place = self.between(task, Event::Reported(Place::Destructor, Said::Destructor(number)));
                    self.before(dropped, place);
                }
                OnDrop::Spawn => {
                    let mut late = Task::new(Who::Late(number), Some(task), self.program.leaf(), false, None);
                    late.care = Care::Cancelled;
                    self.marked.push_back(self.tasks.len());
                    self.tasks.push(late);
                }
                OnDrop::Cancel => {
                    for child in self.take_own(task, usize::MAX) {
                        self.cancel(child);
                    }
                }
                OnDrop::Release(pick) => {
                    if let Some(index) = self.resource(pick) {
                        let released = self.may_use(task, index).is_ok();
                        let mut panics = false;
                        if released {
                            self.resources[index].owner = Owner::Gone;
                            let place = self.between(task, Event::Finalised { resource: index, nobody: true });
                            self.before(dropped, place);
                            panics = self.resources[index].panics;
                        }
                        let event = match panics {
                            true => Event::Reported(Place::Destructor, Said::Finaliser(index)),
                            false => Event::ReleasedOnDrop(number, index, released),
                        };
                        let place = self.between(task, event);
                        self.before(dropped, place);
                    }
                }
            }
        }
        // Then what the future is in the middle of, then what the task holds.
        match std::mem::take(&mut self.tasks[task].middle) {
            Middle::One(children) => children.into_iter().for_each(|child| self.forget(child)),
            Middle::First { children, .. } => children.into_iter().for_each(|child| self.cancel(child)),
            Middle::All(children) => {
                children.into_iter().filter(|(_, taken)| taken.is_none()).for_each(|(child, _)| self.cancel(child));
            }
            _ => {}
        }
        for held in std::mem::take(&mut self.tasks[task].promises) {
            self.forget(held.child);
        }
        for index in std::mem::take(&mut self.tasks[task].kept_orphans) {
            self.drop_orphans(index);
        }
        dropped
    }

    pub(super) fn cancel_children(&mut self, task: usize, dropped: usize) {
        for child in self.children(task).collect::<Vec<_>>() {
            if self.tasks[child].care == Care::Cancelled || self.tasks[child].gone {
                continue;
            }
            self.tasks[child].care = Care::Cancelled;
            if self.tasks[child].phase == Phase::Ended {
                self.tasks[child].gone = true;
            } else if let Some(place) = self.cut(child) {
                self.before(dropped, place);
            }
        }
    }

    /// R4: a task ends after its whole subtree; its finalisers run then, last owned first (R27).
    pub(super) fn end_if_childless(&mut self, task: usize) {
        if self.tasks[task].phase != Phase::Closed || self.children(task).any(|child| self.tasks[child].phase != Phase::Ended) {
            return;
        }
        let mut owned: Vec<_> = (0..self.resources.len()).filter(|&index| self.resources[index].owner == Owner::Task(task)).collect();
        owned.sort_by_key(|&index| std::cmp::Reverse(self.resources[index].since));
        // What came by one transfer has come at the same time.
        for together in owned.chunk_by(|&a, &b| self.resources[a].since == self.resources[b].since).map(<[_]>::to_vec).collect::<Vec<_>>() {
            self.finalise(task, &together);
        }
        self.tasks[task].phase = Phase::Ended;
        let Some(parent) = self.tasks[task].parent else { return };
        // R31: what it transferred, in spite of its end.
        let given_up = self.tasks[task].care == Care::Cancelled || self.tasks[task].forgotten || self.tasks[parent].phase != Phase::Live;
        let transferred: Vec<_> = (0..self.resources.len()).filter(|&index| self.resources[index].owner == Owner::From(task)).collect();
        if given_up {
            self.finalise(task, &transferred);
        } else {
            self.clock += 1;
            for index in transferred {
                self.resources[index].owner = Owner::Task(parent);
                self.resources[index].since = self.clock;
            }
        }
        // Who waits is woken.
        let given_up = self.tasks[task].care == Care::Cancelled || self.tasks[task].forgotten;
        self.tasks[task].gone |= given_up;
        if std::mem::take(&mut self.tasks[task].watched) {
            self.wake(parent);
        }
        if let Some(index) = self.tasks[task].made_in
            && (given_up || self.tasks[task].aside)
            && std::mem::take(&mut self.orphans[index].waiting)
        {
            self.wake(parent);
        }
        self.end_if_childless(parent);
    }

    /// Runs these finalisers, in any order, after all that the task and its subtree did.
    pub(super) fn finalise(&mut self, task: usize, resources: &[usize]) {
        let before = self.of_subtree(task);
        for &index in resources {
            self.resources[index].owner = Owner::Gone;
            let place = self.between(task, Event::Finalised { resource: index, nobody: true });
            for &first in &before {
                self.before(first, place);
            }
            if self.resources[index].panics {
                let report = self.between(task, Event::Reported(Place::Finaliser, Said::Finaliser(index)));
                self.before(place, report);
            }
        }
    }
}
