//! Several promises at once (R7).

use super::{Flow, Middle, Model, Phase};
use crate::event::{Event, Outcome};
use crate::program::Many;

impl Model<'_> {
    pub(super) fn several(&mut self, task: usize, many: Many, most: usize, once: bool) -> Result<(), Flow> {
        if let Middle::Nothing = self.tasks[task].middle {
            let own = self.take_own(task, most);
            self.tasks[task].middle = match many {
                Many::One => Middle::One(own),
                Many::First => Middle::First { children: own, first: None },
                Many::All => Middle::All(own.into_iter().map(|child| (child, None)).collect()),
            };
        }
        let polled = self.poll_several(task);
        if polled.is_err() && !once {
            return Err(Flow::Wait);
        }
        // It is over, or dropped early: then `await_one` loses nothing, and the others cancel what they hold.
        match std::mem::take(&mut self.tasks[task].middle) {
            Middle::One(children) => children.into_iter().for_each(|child| self.hold(task, child)),
            Middle::First { children, .. } if polled.is_err() => self.cancel_early(children),
            Middle::All(children) if polled.is_err() => {
                self.cancel_early(children.into_iter().filter(|(_, taken)| taken.is_none()).map(|(child, _)| child).collect());
            }
            _ => {}
        }
        self.say(polled.unwrap_or(Event::NotYet));
        Ok(())
    }

    pub(super) fn cancel_early(&mut self, children: Vec<usize>) {
        for child in children {
            self.cancel(child);
            self.tasks[child].watched = false;
        }
    }

    pub(super) fn poll_several(&mut self, task: usize) -> Result<Event, Flow> {
        self.awaits(task, |model| {
            let mut middle = std::mem::take(&mut model.tasks[task].middle);
            let event = match &mut middle {
                Middle::One(children) => model.poll_one(task, children),
                Middle::First { children, first } => model.poll_first(task, children, first),
                Middle::All(children) => model.poll_all(children),
                _ => unreachable!("in the middle of one of these"),
            };
            model.tasks[task].middle = middle;
            event.ok_or(Flow::Wait)
        })
    }

    /// R7: of several that ended, a normal end is preferred, then chance.
    pub(super) fn eligible(&mut self, children: &[usize]) -> Vec<usize> {
        let ended: Vec<_> = children.iter().copied().filter(|&child| self.tasks[child].phase == Phase::Ended).collect();
        let normal: Vec<_> = ended.iter().copied().filter(|&child| matches!(self.outcome(child), Outcome::Value(_))).collect();
        if ended.is_empty() {
            for &child in children {
                self.tasks[child].watched = true;
            }
        }
        if normal.is_empty() { ended } else { normal }
    }

    pub(super) fn poll_one(&mut self, task: usize, children: &mut Vec<usize>) -> Option<Event> {
        if children.is_empty() {
            return Some(Event::One(None));
        }
        let eligible = self.eligible(children);
        let fits = |event: &Event, child: usize| matches!(event, Event::One(Some((chosen, _))) if *chosen == child as u64);
        let child = self.choices_of(task, &eligible, fits)?;
        children.retain(|&other| other != child);
        let outcome = self.take_result(child);
        Some(Event::One(Some((child as u64, outcome))))
    }

    pub(super) fn poll_first(&mut self, task: usize, children: &mut Vec<usize>, first: &mut Option<Outcome>) -> Option<Event> {
        if first.is_none() {
            if children.is_empty() {
                return Some(Event::First(None));
            }
            let eligible = self.eligible(children);
            let fits = |event: &Event, child: usize| matches!(event, Event::First(Some(outcome)) if *outcome == self.outcome(child));
            let child = self.choices_of(task, &eligible, fits)?;
            children.retain(|&other| other != child);
            *first = Some(self.take_result(child));
            for &child in &*children {
                self.cancel(child);
            }
        }
        children.retain(|&child| !self.tasks[child].gone);
        for &child in &*children {
            self.tasks[child].watched = true;
        }
        children.is_empty().then(|| Event::First(first.clone()))
    }

    pub(super) fn poll_all(&mut self, children: &mut [(usize, Option<Outcome>)]) -> Option<Event> {
        for (child, taken) in children.iter_mut().filter(|(_, taken)| taken.is_none()) {
            match self.tasks[*child].phase {
                Phase::Ended => *taken = Some(self.take_result(*child)),
                _ => self.tasks[*child].watched = true,
            }
        }
        children.iter().map(|(_, taken)| taken.clone()).collect::<Option<_>>().map(Event::All)
    }
}
