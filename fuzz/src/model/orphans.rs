//! Orphans: children kept aside (R22–R25).

use super::{Flow, Model, Phase, Rule};
use crate::event::{Event, Outcome, Said};
use crate::program::{ORPHANS, Which};

impl Model<'_> {
    /// Which of those that can be reached.
    pub(super) fn which(&self, task: usize, which: Which) -> Option<usize> {
        let there = |owner| (0..ORPHANS).find(|&index| self.orphans[index].there && self.orphans[index].owner == owner);
        match which {
            Which::Own => there(Some(task)).or_else(|| there(None)),
            Which::Place(pick) => Some(usize::from(pick) % ORPHANS).filter(|&index| self.orphans[index].there),
        }
    }

    /// A task uses an `Orphans`. It may be told to panic, or that it breaks a rule.
    pub(super) fn use_orphans(&mut self, task: usize, index: usize) -> Result<(), Flow> {
        match self.orphans[index].owner {
            None => self.orphans[index].owner = Some(task),
            Some(owner) if self.tasks[owner].phase == Phase::Ended => return Err(Flow::Panic(Said::Runtime)),
            Some(owner) if owner != task => {
                self.violate(task, Rule::NotItsOrphans(index, owner));
                return Err(Flow::Wait);
            }
            Some(_) => {}
        }
        Ok(())
    }

    pub(super) fn aside(&self, index: usize) -> Vec<usize> {
        (0..self.tasks.len()).filter(|&child| self.tasks[child].made_in == Some(index) && self.tasks[child].aside).collect()
    }

    pub(super) fn ended_aside(&self, index: usize) -> Vec<usize> {
        self.aside(index).into_iter().filter(|&child| self.tasks[child].phase == Phase::Ended).collect()
    }

    pub(super) fn poll_next(&mut self, task: usize, index: usize) -> Result<Option<Outcome>, Flow> {
        self.awaits(task, |model| {
            model.use_orphans(task, index)?;
            model.orphans[index].waiting = false;
            if model.aside(index).is_empty() {
                return Ok(None);
            }
            let ended = model.ended_aside(index);
            let fits = |event: &Event, child: usize| matches!(event, Event::Next(Some(outcome)) if *outcome == model.outcome(child));
            match model.choices_of(task, &ended, fits) {
                Some(child) => Ok(Some(model.take_result(child))),
                None => {
                    model.orphans[index].waiting = true;
                    Err(Flow::Wait)
                }
            }
        })
    }
}
