//! The verdict: whether what was seen is what the rules say.
//!
//! What a task did in a poll must be what was predicted, event for event. What happened until the next poll must be the same set of
//! events, in an order that the prediction allows. The end of the run must be the one predicted, and where a rule was broken, the violation
//! must name the task, one of the children or resources that broke it, and the places in the source.

use std::fmt::Write;

use matou_core::{Violation, ViolationKind};

use crate::event::{Event, Outcome};
use crate::machine::{Ended, Observed};
use crate::model::{Broken, Ends, Predicted, Rule, Window};
use crate::program::{NAME, Program};

/// Compares what was seen of a program with what was predicted.
///
/// # Errors
/// What differs, in words, with the program and all that was seen.
pub fn compare(program: &Program, observed: &Observed, predicted: &Predicted) -> Result<(), String> {
    difference(observed, predicted).map_or(Ok(()), |difference| {
        let mut text = format!("{difference}\n\nThe program (effects per poll: {}):\n", program.effects());
        for (number, script) in program.scripts().iter().enumerate() {
            let _ = writeln!(text, "  body {number}: {:?}; on drop: {:?}", script, program.on_drop(number));
        }
        let _ = writeln!(text, "\nWhat was seen:");
        for event in &observed.events {
            let indent = if matches!(event, Event::Poll { .. }) { "" } else { "  " };
            let _ = writeln!(text, "  {indent}{event:?}");
        }
        let _ = write!(text, "  {:?}", observed.end);
        Err(text)
    })
}

fn difference(observed: &Observed, predicted: &Predicted) -> Option<String> {
    let mut rest = &observed.events[..];
    for (number, window) in predicted.windows.iter().enumerate() {
        let end = rest.iter().skip(1).position(|event| matches!(event, Event::Poll { .. })).map_or(rest.len(), |place| place + 1);
        let (seen, later) = rest.split_at(end);
        rest = later;
        if let Some(difference) = differs(seen, window) {
            return Some(format!("In poll {number}: {difference}"));
        }
    }
    if !rest.is_empty() {
        return Some(format!("After the last poll there should be nothing, and there is {rest:?}"));
    }
    if let Some(difference) = end_differs(observed, &predicted.end) {
        return Some(difference);
    }
    (!observed.leaked.is_empty()).then(|| format!("After the run: {:?}", observed.leaked))
}

fn differs(seen: &[Event], window: &Window) -> Option<String> {
    let (poll, after) = seen.split_at(seen.iter().position(Event::ends_poll).map_or(seen.len(), |place| place + 1));
    if poll != window.poll {
        let same = poll.iter().zip(&window.poll).take_while(|(seen, predicted)| seen == predicted).count();
        let (seen, predicted) = (poll.get(same), window.poll.get(same));
        return Some(format!("after {:?} comes {seen:?}, and should come {predicted:?}", &poll[..same]));
    }
    // Each event that was predicted has its place among those seen.
    let mut free = vec![true; after.len()];
    let mut places = Vec::new();
    for (_, event) in &window.after {
        let Some(place) = (0..after.len()).find(|&place| free[place] && after[place] == *event) else {
            return Some(format!("between polls {event:?} is missing from {after:?}"));
        };
        free[place] = false;
        places.push(place);
    }
    if let Some(place) = free.iter().position(|&free| free) {
        return Some(format!("between polls {:?} should not be in {after:?}", after[place]));
    }
    let wrong = window.order.iter().find(|&&(first, second)| places[first] > places[second])?;
    Some(format!("between polls {:?} should come before {:?}, in {after:?}", window.after[wrong.0].1, window.after[wrong.1].1))
}

fn end_differs(observed: &Observed, predicted: &Ends) -> Option<String> {
    match (&observed.end, predicted) {
        (Ended::Outcome(seen), Ends::Outcome(predicted)) if seen == predicted && *seen != Outcome::Cancelled => None,
        (Ended::Stuck, Ends::Stuck) => None,
        (Ended::Violation(seen), Ends::Violation(broken)) => violation_differs(observed, seen, broken),
        (seen, predicted) => Some(format!("The run ends with {seen:?}, and should end with {predicted:?}")),
    }
}

fn violation_differs(observed: &Observed, seen: &Violation, broken: &Broken) -> Option<String> {
    let born = |task: usize| observed.born.get(task).copied();
    let is = |id: matou_core::TaskId, task: usize| id.number() == task as u64;
    let by = is(seen.task, broken.task)
        && Some(seen.born) == born(broken.task)
        && seen.name == broken.named.then_some(NAME)
        && seen.others == broken.others;
    let rule = match (seen.kind, &broken.rule) {
        (ViolationKind::StillHasChildren { child, spawned }, Rule::StillHasChildren(children)) => {
            children.iter().any(|&owed| is(child, owed) && Some(spawned) == born(owed))
        }
        (ViolationKind::NotAChild { child: Some(child), parent, spawned }, Rule::NotAChild(other, its_parent)) => {
            is(child, *other) && is(parent, *its_parent) && Some(spawned) == born(*other)
        }
        (ViolationKind::NotAChild { child: None, parent, spawned }, Rule::NotItsOrphans(index, owner)) => {
            is(parent, *owner) && Some(spawned) == observed.orphans[*index]
        }
        (ViolationKind::ResourceLeaked { owned }, Rule::ResourceLeaked(resources)) => {
            resources.iter().any(|&index| Some(owned) == observed.owned[index])
        }
        _ => false,
    };
    (!by || !rule).then(|| format!("The violation is {seen:?}, and should be {broken:?}"))
}
