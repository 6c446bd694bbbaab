//! Choices: where the rules let the runtime choose, the model is told what was chosen, and by which task.
//!
//! The model asks with those that are allowed. A choice that is none of them is answered with another, so that the prediction differs from
//! what was seen.

use std::collections::{BTreeMap, VecDeque};

use crate::event::{Event, Found, Who};

/// What was chosen where the rules leave a choice, by each task.
#[derive(Debug, Default)]
pub struct Choices(BTreeMap<Who, VecDeque<Event>>);

impl Choices {
    /// The choices in what was seen.
    pub fn of(events: &[Event]) -> Choices {
        let mut choices = Choices::default();
        let mut polled = Who::Task(0);
        for event in events {
            if let Event::Poll { who, .. } = event {
                polled = *who;
            } else if Choices::is_choice(event) {
                choices.0.entry(polled).or_default().push_back(event.clone());
            }
        }
        choices
    }

    pub(super) fn is_choice(event: &Event) -> bool {
        matches!(
            event,
            Event::Care(Found::Ready(_)) | Event::Took(Some(_)) | Event::Next(Some(_)) | Event::One(Some(_)) | Event::First(Some(_))
        )
    }

    /// What this task chose next, among these tasks; the first of them if it chose none of them.
    pub(super) fn choose(&self, who: Who, among: &[usize], fits: impl Fn(&Event, usize) -> bool) -> Option<usize> {
        let chosen = self.0.get(&who).and_then(VecDeque::front);
        among.iter().copied().find(|&task| chosen.is_some_and(|event| fits(event, task))).or(among.first().copied())
    }

    /// A choice was told of. (One that was not, as its future was dropped early, made no difference.)
    pub(super) fn told(&mut self, who: Who) {
        if let Some(choices) = self.0.get_mut(&who) {
            choices.pop_front();
        }
    }
}
