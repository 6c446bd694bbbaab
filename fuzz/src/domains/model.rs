//! Follows a log, and stops at the first event that no rule allows there.

use std::collections::VecDeque;

use matou_core::ViolationKind;

use super::machine::Seen;
use super::{Ended, Event, For, Found, MUTEXES, Outcome, PERMITS, PLACES, ROOM, SEMAPHORE, VALUES};
use crate::line::Line;

#[derive(Default)]
struct Task {
    parent: Option<usize>,
    children: Vec<usize>,
    /// Where it lives, once that is known; it cannot be where its parent is if it was called.
    domain: Option<usize>,
    here: bool,
    pin: Option<usize>,
    gift: Option<usize>,
    returned: Option<Outcome>,
    dropped: bool,
    /// Its outcome was given to its parent, or it was cancelled: it is no longer owed.
    settled: bool,
    cancelled: bool,
    /// It was cancelled before its end.
    cut: bool,
    waits: Option<For>,
    /// First taken first.
    owned: Vec<usize>,
    /// Passed to its parent, and not there yet.
    passing: Vec<usize>,
    /// Kept aside, and not given out.
    aside: Vec<usize>,
    protects: bool,
}

#[derive(Default)]
struct Model {
    workers: usize,
    tasks: Vec<Task>,
    lines: Vec<Line>,
    buffer: VecDeque<usize>,
    /// The resource that its owner releases at this moment.
    releasing: Option<usize>,
    finalised: Vec<bool>,
    /// Resources that a child has passed on: where they are among those of the parent no rule says.
    arrived: Vec<usize>,
    /// The domain of each hook that was not removed, and whether it ran since the last poll there.
    hooks: Vec<Option<(usize, bool)>>,
    /// What the event before this one made.
    born: Option<usize>,
    /// A call that is being refused: its closure is dropped already.
    unborn: Option<usize>,
    /// A `finally(true)` was run for this task, and `on_cancellation` comes next.
    cut: Option<usize>,
    /// A rule that was broken for certain, and one that was by a task that was being cancelled as well.
    broken: Option<bool>,
    perhaps: bool,
}

type Allowed = Result<(), String>;

fn require(holds: bool, why: &str) -> Allowed {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

/// # Errors
/// Where the log is wrong, and why.
pub(super) fn follow(seen: &Seen) -> Result<(), (usize, String)> {
    let mut model = Model { workers: seen.workers, tasks: vec![Task { domain: Some(0), ..Task::default() }], ..Model::default() };
    model.lines = (0..MUTEXES).map(|_| Line::new(1)).chain([PERMITS, ROOM, 0].map(Line::new)).collect();
    for (place, event) in seen.events.iter().enumerate() {
        model.see(event, &seen.end).map_err(|why| (place, why))?;
    }
    model.over(seen).map_err(|why| (seen.events.len(), why))
}

impl Model {
    /// Its future is gone, and so are its resources and its whole subtree.
    fn has_ended(&self, task: usize) -> bool {
        let it = &self.tasks[task];
        it.dropped && it.owned.is_empty() && it.children.iter().all(|&child| self.has_ended(child))
    }

    /// Its parent cannot but know that it has ended: it is on the same domain, and nothing was to be waited for.
    fn has_plainly_ended(&self, task: usize) -> bool {
        let it = &self.tasks[task];
        it.here && it.children.is_empty() && it.gift.is_none() && it.passing.is_empty() && self.has_ended(task)
    }

    fn children_have_ended(&self, task: usize) -> bool {
        self.tasks[task].children.iter().all(|&child| self.has_ended(child))
    }

    /// Whether a task may be dropped though it has not returned.
    fn is_given_up(&self, task: usize) -> bool {
        let it = &self.tasks[task];
        let by_parent = |parent: usize| {
            let parent_of = &self.tasks[parent];
            let first = matches!(&parent_of.waits, Some(For::First(children)) if children.contains(&task));
            let failed = parent_of.returned.is_some_and(|outcome| !matches!(outcome, Outcome::Value(_)));
            first || failed || (parent_of.dropped && parent_of.returned.is_none()) || self.is_given_up(parent)
        };
        it.cancelled || it.parent.is_some_and(by_parent)
    }

    fn see(&mut self, event: &Event, end: &Ended) -> Allowed {
        if let Some(task) = self.unborn.take() {
            require(*event == Event::Refused(task), "a closure was dropped as it was handed over, and not refused")?;
        }
        if let Some(task) = self.cut.take() {
            require(*event == Event::OnCancellation(task), "R14: after `finally(true)` comes `on_cancellation`")?;
        }
        let born = self.born.take();
        match *event {
            Event::Born { task, parent, pin, here, gift, aside, turn } => {
                require(task == self.tasks.len(), "tasks are numbered one after the other")?;
                // R16: in turn, over all that are not the caller's.
                let others: Vec<_> = (1..=self.workers).filter(|&other| Some(other) != self.tasks[parent].domain).collect();
                let pin = turn.filter(|_| !others.is_empty()).map_or(pin, |turn| Some(others[turn % others.len()]));
                if aside {
                    self.tasks[parent].aside.push(task);
                }
                let domain = if here { self.tasks[parent].domain } else { pin };
                self.tasks.push(Task { parent: Some(parent), domain, here, pin, gift, ..Task::default() });
                self.tasks[parent].children.push(task);
                self.born = Some(task);
                if let Some(resource) = gift {
                    self.tasks[parent].owned.retain(|&other| other != resource);
                    self.tasks[task].owned.push(resource);
                }
                Ok(())
            }
            Event::Refused(task) => self.refused(task),
            Event::Poll { task, domain, itself } => self.poll(task, domain, itself),
            Event::Waits(task, ref what) => {
                self.tasks[task].waits = Some(what.clone());
                Ok(())
            }
            Event::Returned(outcome) => self.returned(outcome),
            Event::Dropped { task, .. } if born == Some(task) => {
                self.tasks[task].dropped = true;
                self.unborn = born;
                Ok(())
            }
            Event::Dropped { task, domain, itself } => self.dropped(task, domain, itself, end),
            Event::Got { parent, outcome } => {
                let child = outcome.of().ok_or("who awaits its child was told that it was cancelled, or nonsense")?;
                require(self.tasks[child].parent == Some(parent), "R5: an outcome of another's child")?;
                require(self.tasks[child].returned == Some(outcome), "R2: another outcome than the child's")?;
                require(!self.tasks[child].settled, "an outcome that was given before, or of a child that was cancelled")?;
                require(self.has_ended(child), "R4: an outcome before the subtree's end")?;
                self.tasks[child].settled = true;
                self.tasks[parent].aside.retain(|&other| other != child);
                Ok(())
            }
            Event::Cared { task, found } => self.cared(task, found),
            Event::Took { task, child } => self.took(task, child),
            Event::NoNext(task) => require(self.tasks[task].aside.is_empty(), "R23: nothing is next, and somebody is aside"),
            Event::Aside { task, count } => require(self.tasks[task].aside.len() == count, "R23: another number is aside"),
            Event::Forgot(task) => {
                self.tasks[task].aside.clear();
                Ok(())
            }
            Event::Ordered { ref asked, ref got } => {
                let same = asked.len() == got.len() && asked.iter().zip(got).all(|(asked, got)| Some(*asked) == *got);
                require(same, "R7, R16: results in another order than they were asked for")
            }
            Event::Blocked(_) => Err("R22: what care gives blocks".into()),
            Event::CancelCalled(child) => {
                self.tasks[child].cut = !self.has_ended(child);
                self.tasks[child].cancelled = true;
                self.tasks[child].settled = true;
                Ok(())
            }
            Event::CancelOver(child) => {
                self.tasks[child].settled = true;
                require(self.has_ended(child), "R9: a cancellation is over before the subtree's end")
            }
            Event::Asked { task, line, needs, ready } => {
                let granted = self.lines[line].ask(task, needs).is_some();
                require(granted == ready, "R40: first come, first served; what is given is given to one")
            }
            Event::Left { task, line } => {
                if let Some(permits) = self.lines[line].leave(task) {
                    self.lines[line].release(permits);
                }
                Ok(())
            }
            Event::Gave { line, permits } => {
                self.lines[line].release(permits);
                Ok(())
            }
            Event::Sent(value) => {
                self.buffer.push_back(value);
                self.lines[VALUES].release(1);
                require(self.buffer.len() <= ROOM, "a channel holds more than it has room for")
            }
            Event::Received(value) => {
                require(self.buffer.pop_front() == Some(value), "values are received in the order in which they were sent")?;
                self.lines[PLACES].release(1);
                Ok(())
            }
            Event::Protects(task) => {
                self.tasks[task].protects = true;
                Ok(())
            }
            Event::Finally { task, cancelled } => {
                let protects = std::mem::take(&mut self.tasks[task].protects);
                self.cut = cancelled.then_some(task);
                require(protects && !self.tasks[task].dropped, "R14: `finally` once, before the task's future is gone")
            }
            Event::OnCancellation(_) => Ok(()),
            Event::Scoped { task, failed } => {
                let ended = self.children_have_ended_in_scope(task);
                require(ended || !failed, "R47: a scope that failed is over before its children have ended")
            }
            Event::Owned { task, resource } => {
                require(resource == self.finalised.len(), "resources are numbered one after the other")?;
                self.finalised.push(false);
                self.tasks[task].owned.push(resource);
                Ok(())
            }
            Event::Releasing(resource) => {
                self.releasing = Some(resource);
                Ok(())
            }
            Event::Disowned(resource) => {
                self.tasks.iter_mut().for_each(|it| it.owned.retain(|&other| other != resource));
                require(!std::mem::replace(&mut self.finalised[resource], true), "R29: a finaliser ran, and the value was given back")
            }
            Event::Transfers { task, resource } => {
                self.tasks[task].owned.retain(|&other| other != resource);
                self.tasks[task].passing.push(resource);
                Ok(())
            }
            Event::Arrived { parent, resource } => {
                let from = self.tasks.iter_mut().find(|it| it.passing.contains(&resource)).ok_or("R31: nobody passed it")?;
                from.passing.retain(|&other| other != resource);
                require(from.parent == Some(parent), "R31: a resource is passed to another than the parent")?;
                require(!self.finalised[resource], "R31: a resource is finalised though the parent got the child's outcome")?;
                self.arrived.push(resource);
                self.tasks[parent].owned.push(resource);
                Ok(())
            }
            Event::Finalised { resource, nobody } => self.finalise(resource, nobody),
            Event::Hooked { hook, domain } => {
                require(hook == self.hooks.len(), "hooks are numbered one after the other")?;
                self.hooks.push(Some((domain, false)));
                Ok(())
            }
            Event::HookRan { hook, domain, nobody } => {
                let alive = self.hooks[hook].is_some_and(|(own, _)| own == domain);
                self.hooks[hook] = Some((domain, true));
                require(alive && nobody, "R39: a hook runs on its own domain, with no task current, until it is removed")
            }
            Event::HookGone(hook) => {
                self.hooks[hook] = None;
                Ok(())
            }
            Event::Reported(ref text) => Err(format!("nothing panics that nobody catches, and yet: {text}")),
        }
    }

    fn cared(&mut self, task: usize, found: Found) -> Allowed {
        let aside = &self.tasks[task].aside;
        match found {
            Found::Empty => require(aside.is_empty(), "R22: nobody is found aside, and somebody is"),
            Found::Pending => {
                require(!aside.is_empty(), "R22: somebody is found aside, and nobody is")?;
                require(!aside.iter().any(|&child| self.has_plainly_ended(child)), "R22: one aside has ended, and none is found ready")
            }
            Found::Ready(child) => {
                require(aside.contains(&child), "R22: one is found ready that is not aside")?;
                require(self.has_ended(child), "R22: one is found ready that has not ended")?;
                self.tasks[task].aside.retain(|&other| other != child);
                Ok(())
            }
        }
    }

    fn took(&mut self, task: usize, child: Option<usize>) -> Allowed {
        let aside = &self.tasks[task].aside;
        let Some(child) = child else { return require(aside.is_empty(), "R23: nobody is taken, and somebody is aside") };
        require(aside.contains(&child), "R23: one is taken that is not aside")?;
        let passed_over = !self.has_ended(child) && aside.iter().any(|&other| self.has_plainly_ended(other));
        require(!passed_over, "R23: one that runs is taken, and another one has ended")?;
        self.tasks[task].aside.retain(|&other| other != child);
        Ok(())
    }

    fn children_have_ended_in_scope(&self, task: usize) -> bool {
        match &self.tasks[task].waits {
            Some(For::All(children)) => children.iter().all(|&child| self.has_ended(child)),
            _ => true,
        }
    }

    /// R15: whether a call finds no domain that it may go to.
    fn refused(&mut self, task: usize) -> Allowed {
        let (parent, pin) = (self.tasks[task].parent.ok_or("the main task is not refused")?, self.tasks[task].pin);
        let own = self.tasks[parent].domain;
        let none = match pin {
            Some(domain) => domain > self.workers || Some(domain) == own,
            None => (1..=self.workers).all(|domain| Some(domain) == own),
        };
        require(none && !self.tasks[task].here, "R15: a start was refused for which there is a domain")?;
        let it = &mut self.tasks[task];
        it.settled = true;
        it.owned.clear();
        let gift = it.gift;
        self.tasks[parent].owned.extend(gift);
        self.tasks[parent].aside.retain(|&other| other != task);
        Ok(())
    }

    /// R15 to R17: a task is where it was made, and nowhere else.
    fn lives(&mut self, task: usize, domain: usize) -> Allowed {
        let parent = self.tasks[task].parent.and_then(|parent| self.tasks[parent].domain);
        let it = &mut self.tasks[task];
        let called = task != 0 && !it.here;
        require(*it.domain.get_or_insert(domain) == domain, "a task is on another domain than before, or than it was made for")?;
        require(!called || (domain != 0 && Some(domain) != parent), "R15: a call went to domain 0 or to the caller's")?;
        require(domain <= self.workers, "there is no such domain")
    }

    fn poll(&mut self, task: usize, domain: usize, itself: bool) -> Allowed {
        self.lives(task, domain)?;
        require(itself, "a task is polled with another one current")?;
        require(!self.tasks[task].dropped && self.tasks[task].returned.is_none(), "a task is polled after its end")?;
        require(self.broken.is_none(), "R44: a task is polled after a rule was broken")?;
        for (_, ran) in self.hooks.iter_mut().flatten().filter(|(own, _)| *own == domain) {
            require(std::mem::take(ran), "R39: a task is polled, and a hook did not run since the last")?;
        }
        // R9: what was cancelled here is dropped before anything is polled here.
        let late = self.tasks.iter().any(|it| {
            let here = it.domain == Some(domain) && it.parent.and_then(|parent| self.tasks[parent].domain) == Some(domain);
            here && it.cancelled && !it.dropped
        });
        require(!late, "R9: a task is polled before what was cancelled on its domain is dropped")?;
        Ok(())
    }

    fn returned(&mut self, outcome: Outcome) -> Allowed {
        let task = outcome.of().ok_or("a task returns its own outcome")?;
        let given_up = self.is_given_up(task);
        self.tasks[task].returned = Some(outcome);
        let leaks = !self.tasks[task].owned.is_empty();
        let owes = self.tasks[task].children.iter().any(|&child| !self.tasks[child].settled);
        if matches!(outcome, Outcome::Value(_)) {
            match given_up {
                true => self.perhaps |= leaks || owes,
                false if leaks || owes => self.broken = Some(leaks),
                false => {}
            }
            // Whether what a child has passed on has arrived by now, no rule says; from one that was cancelled before its end nothing does.
            let under_way = |child: &Task| !child.passing.is_empty() && !child.cut;
            self.perhaps |= self.tasks[task].children.iter().any(|&child| under_way(&self.tasks[child]));
        }
        Ok(())
    }

    fn dropped(&mut self, task: usize, domain: usize, itself: bool, end: &Ended) -> Allowed {
        require(!self.tasks[task].dropped, "R12: a future is dropped twice")?;
        self.tasks[task].dropped = true;
        require(itself, "R12: a future is dropped with no task, or another one, current")?;
        require(!self.tasks[task].protects, "R14: a future is gone, and `finally` did not run")?;
        let stopped = self.broken.is_some() || self.perhaps || self.tasks[0].dropped;
        if self.tasks[task].returned.is_some() || stopped || self.is_given_up(task) {
            return self.lives(task, domain);
        }
        require(task == 0, "a task is dropped that nobody cancelled")?;
        require(*end == Ended::Deadlock, "the main task is dropped, and nothing stopped the run")?;
        self.deadlock()
    }

    /// Nothing can ever happen: so nobody who has not ended may have something to go on with.
    fn deadlock(&self) -> Allowed {
        for (task, it) in self.tasks.iter().enumerate().filter(|&(task, it)| task == 0 || !it.dropped) {
            let lost = match &it.waits {
                Some(For::All(children)) => children.iter().all(|&child| self.has_ended(child)),
                Some(For::One(children) | For::First(children)) => children.iter().any(|&child| self.has_ended(child)),
                Some(For::Aside) => it.aside.is_empty() || it.aside.iter().any(|&child| self.has_ended(child)),
                Some(For::Line(line)) => self.lines[*line].is_granted(task),
                Some(For::Ever) => false,
                Some(For::Soon) | None => true,
            };
            require(!lost, &format!("a deadlock, and task {task} has something to go on with: {:?}", it.waits))?;
        }
        Ok(())
    }

    fn finalise(&mut self, resource: usize, nobody: bool) -> Allowed {
        require(nobody, "a finaliser runs with a task current")?;
        require(!std::mem::replace(&mut self.finalised[resource], true), "a finaliser runs twice")?;
        if let Some(child) = self.tasks.iter().position(|it| it.passing.contains(&resource)) {
            self.tasks[child].passing.retain(|&other| other != resource);
            return require(self.has_ended(child), "R31: a resource that is passed on is finalised before the child's end");
        }
        let owner = self.tasks.iter().position(|it| it.owned.contains(&resource)).ok_or("a finaliser runs for nobody")?;
        if self.releasing.take_if(|releasing| *releasing == resource).is_none() {
            let over = self.tasks[owner].dropped && self.children_have_ended(owner);
            require(over, "R27: a finaliser runs before the end of the subtree")?;
            let last = self.tasks[owner].owned.iter().rfind(|resource| !self.arrived.contains(resource));
            require(self.arrived.contains(&resource) || last == Some(&resource), "R27: last owned first")?;
        }
        self.tasks[owner].owned.retain(|&other| other != resource);
        Ok(())
    }

    fn over(&self, seen: &Seen) -> Allowed {
        let as_said = match &seen.end {
            Ended::Outcome(outcome) => self.tasks[0].returned == Some(*outcome) && self.broken.is_none(),
            Ended::Violation(kind) => match self.broken {
                Some(leaks) if !self.perhaps => leaks == matches!(kind, ViolationKind::ResourceLeaked { .. }),
                broken => broken.is_some() || self.perhaps,
            },
            Ended::Deadlock => self.tasks[0].returned.is_none() && self.broken.is_none(),
            Ended::Unexpected(_) => false,
        };
        require(as_said, "another end than the rules give")?;
        require(self.unborn.is_none() && self.cut.is_none(), "the log stops too early")?;
        require(self.tasks.iter().all(|it| it.dropped), "a future was not dropped")?;
        require(self.finalised.iter().all(|&done| done), "a finaliser did not run")?;
        require(seen.leaked == 0, "a task's value was not dropped, or twice")?;
        let free = (0..=SEMAPHORE).all(|line| self.lines[line].permits == if line == SEMAPHORE { PERMITS } else { 1 });
        require(free, "a lock is held by nobody")
    }
}
