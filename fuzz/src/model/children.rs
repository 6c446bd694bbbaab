//! Children, as their parents hold them: births, promises, cancellations.

use super::{Care, Flow, Held, Middle, Model, Phase, Rule, Task};
use crate::event::{Event, Outcome, Refusal, Said, Who};
use crate::program::{Cancel, Into, MOST_TASKS, Pick};

impl Model<'_> {
    /// Starts a child with gifts.
    pub(super) fn start(&mut self, task: usize, body: usize, gifts: &[usize], into: Into, named: bool) -> Result<(), Said> {
        if self.tasks.len() >= MOST_TASKS {
            self.say(Event::Full);
            return Ok(());
        }
        for (place, &gift) in gifts.iter().enumerate() {
            let refused = self.may_use(task, gift).err().or(gifts[..place].contains(&gift).then_some(Refusal::InUse));
            if let Some(refusal) = refused {
                self.say(Event::Unborn);
                self.say(Event::Refused(refusal));
                return Ok(());
            }
        }
        let mut made_in = None;
        let mut aside = false;
        if let Into::Orphans(which) = into
            && let Some(index) = self.which(task, which)
        {
            aside = true;
            made_in = Some(index);
            match self.orphans[index].owner {
                Some(owner) if self.tasks[owner].phase == Phase::Ended => {
                    self.say(Event::Unborn);
                    return Err(Said::Runtime);
                }
                Some(owner) if owner != task => {
                    self.violate(task, Rule::NotItsOrphans(index, owner));
                    // It never runs, whoever's it is.
                    made_in = None;
                }
                _ => {}
            }
        }
        if let Some(index) = made_in {
            self.orphans[index].owner = Some(task);
        }
        self.counts();
        let child = self.spawn(task, body, named, made_in);
        for &gift in gifts {
            self.becomes_owner(child, gift);
        }
        if !aside {
            self.hold(task, child);
        }
        self.say(Event::Spawned(child as u64));
        Ok(())
    }

    /// A new child of this task.
    pub(super) fn spawn(&mut self, task: usize, body: usize, named: bool, made_in: Option<usize>) -> usize {
        let child = self.tasks.len();
        self.tasks.push(Task::new(Who::Task(child as u64), Some(task), body, named, made_in));
        self.wake(child);
        child
    }

    /// Its parent cancels a child, whose promise is then gone.
    pub(super) fn cancel(&mut self, child: usize) {
        let this = &mut self.tasks[child];
        if this.gone || this.care == Care::Cancelled {
            return;
        }
        this.care = Care::Cancelled;
        if this.phase == Phase::Ended {
            this.gone = true;
        } else {
            self.marked.push_back(child);
        }
        self.tasks[child].watched = false;
    }

    /// A promise is dropped.
    pub(super) fn forget(&mut self, child: usize) {
        let this = &mut self.tasks[child];
        if this.gone {
            return;
        }
        this.forgotten = true;
        this.watched = false;
        this.gone = this.phase == Phase::Ended;
    }

    pub(super) fn drop_orphans(&mut self, index: usize) {
        for child in 0..self.tasks.len() {
            if self.tasks[child].made_in == Some(index) && self.tasks[child].aside {
                self.tasks[child].aside = false;
                self.forget(child);
            }
        }
    }

    pub(super) fn outcome(&self, child: usize) -> Outcome {
        self.tasks[child].outcome.clone().unwrap_or(Outcome::Cancelled)
    }

    /// An effect that is awaited: takes one from the budget, and gives it back if it has to wait. If none is left, the task has its turn
    /// again later.
    pub(super) fn awaits<T>(&mut self, task: usize, poll: impl FnOnce(&mut Self) -> Result<T, Flow>) -> Result<T, Flow> {
        if self.budget == 0 {
            self.wake(task);
            return Err(Flow::Wait);
        }
        self.budget -= 1;
        poll(self).inspect_err(|flow| self.budget += u32::from(matches!(flow, Flow::Wait)))
    }

    /// An effect that is not awaited.
    pub(super) fn counts(&mut self) {
        self.budget = self.budget.saturating_sub(1);
    }

    pub(super) fn take_result(&mut self, child: usize) -> Outcome {
        self.tasks[child].care = Care::Awaited;
        self.tasks[child].gone = true;
        self.tasks[child].aside = false;
        self.outcome(child)
    }

    pub(super) fn poll_cancellation(&mut self, task: usize, child: usize) -> Result<(), Flow> {
        self.awaits(task, |model| {
            let this = &mut model.tasks[child];
            if this.gone {
                return Ok(());
            }
            match this.parent.expect("only the main task has none") {
                parent if parent == task => this.watched = true,
                parent => model.violate(task, Rule::NotAChild(child, parent)),
            }
            Err(Flow::Wait)
        })
    }

    pub(super) fn held(&self, task: usize, pick: Pick) -> Option<usize> {
        usize::from(pick).checked_rem(self.tasks[task].promises.len())
    }

    pub(super) fn is_own(&self, task: usize, held: &Held) -> bool {
        !held.spent && self.tasks[held.child].parent == Some(task)
    }

    /// Its first promises of its own children, out of its hands.
    pub(super) fn take_own(&mut self, task: usize, most: usize) -> Vec<usize> {
        let own: Vec<_> =
            self.tasks[task].promises.iter().filter(|held| self.is_own(task, held)).take(most).map(|held| held.child).collect();
        self.tasks[task].promises.retain(|held| held.spent || !own.contains(&held.child));
        own
    }

    pub(super) fn hold(&mut self, task: usize, child: usize) {
        self.tasks[task].promises.push(Held { child, spent: false });
    }

    /// Polls the promise at this place in the task's hands.
    pub(super) fn await_at(&mut self, task: usize, place: usize) -> Result<(usize, Outcome), Flow> {
        self.awaits(task, |model| {
            let Held { child, spent } = model.tasks[task].promises[place];
            let this = &mut model.tasks[child];
            let parent = this.parent.expect("only the main task has none");
            let outcome = if spent {
                return Err(Flow::Panic(Said::Runtime));
            } else if this.gone {
                Outcome::Cancelled
            } else if parent != task {
                model.violate(task, Rule::NotAChild(child, parent));
                return Err(Flow::Wait);
            } else if this.phase != Phase::Ended {
                this.watched = true;
                return Err(Flow::Wait);
            } else {
                model.take_result(child)
            };
            model.tasks[task].promises[place].spent = true;
            Ok((child, outcome))
        })
    }

    pub(super) fn cancel_held(&mut self, task: usize, child: usize, how: Cancel) -> Result<(), Flow> {
        self.counts();
        let watched = self.tasks[child].watched;
        if !self.tasks[child].gone && self.tasks[child].parent != Some(task) {
            let parent = self.tasks[child].parent.expect("only the main task has none");
            self.violate(task, Rule::NotAChild(child, parent));
        } else {
            self.cancel(child);
            // Whom its end wakes stays the same until the cancellation is dropped.
            self.tasks[child].watched = watched && !self.tasks[child].gone;
        }
        self.say(Event::CancelCalled(child as u64));
        match how {
            Cancel::Drop => {
                self.tasks[child].watched = false;
                Ok(())
            }
            Cancel::Await => self.cancelling(task, child),
            Cancel::Keep => {
                self.tasks[task].cancellations.push(child);
                Ok(())
            }
        }
    }

    pub(super) fn cancelling(&mut self, task: usize, child: usize) -> Result<(), Flow> {
        self.tasks[task].middle = Middle::Cancelling(child);
        self.poll_cancellation(task, child)?;
        self.tasks[task].middle = Middle::Nothing;
        self.say(Event::CancelOver(child as u64));
        Ok(())
    }
}
