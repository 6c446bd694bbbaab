//! The detector is tested, too: what was seen is changed a little, and the verdict must say so.

use matou_fuzz::event::Event;
use matou_fuzz::machine::{Ended, Observed};
use matou_fuzz::model::{Choices, Predicted, predict};
use matou_fuzz::program::Program;
use matou_fuzz::verdict::compare;
use matou_fuzz::{chance, check};

fn samples() -> impl Iterator<Item = (Program, Observed, Predicted)> {
    (0..400).map(|seed| {
        let program = Program::decode(&chance(seed, 150));
        let (observed, predicted) = check(&program).unwrap();
        (program, observed, predicted)
    })
}

/// Whether a changed log is refused, the model being told of the choices in it.
fn is_refused(program: &Program, changed: &Observed) -> bool {
    let predicted = predict(program, Choices::of(&changed.events));
    compare(program, changed, &predicted).is_err()
}

#[test]
fn an_event_that_is_missing_is_found() {
    for (program, observed, _) in samples() {
        for place in 0..observed.events.len() {
            let mut changed = observed.clone();
            let event = changed.events.remove(place);
            assert!(is_refused(&program, &changed), "{event:?} at {place} of {observed:?}");
        }
    }
}

#[test]
fn an_event_too_many_is_found() {
    for (program, observed, _) in samples() {
        for place in 0..observed.events.len() {
            let mut changed = observed.clone();
            changed.events.insert(place, changed.events[place].clone());
            assert!(is_refused(&program, &changed), "{:?} at {place} of {observed:?}", observed.events[place]);
        }
    }
}

#[test]
fn an_event_out_of_order_is_found_within_a_poll() {
    for (program, observed, predicted) in samples() {
        let mut within = false;
        for place in 1..observed.events.len() {
            within |= matches!(observed.events[place - 1], Event::Poll { .. });
            within &= !observed.events[place - 1].ends_poll();
            if within && observed.events[place] != observed.events[place - 1] {
                let mut changed = observed.clone();
                changed.events.swap(place - 1, place);
                // Told of the choices as they were: two calls of `next` may give two children in either order.
                assert!(compare(&program, &changed, &predicted).is_err(), "{place} of {observed:?}");
            }
        }
    }
}

#[test]
fn a_wrong_order_between_polls_is_found_where_a_rule_gives_one() {
    let mut found = 0;
    for (program, observed, predicted) in samples() {
        let mut start = 0;
        for window in &predicted.windows {
            let poll = start + window.poll.len();
            for &(first, second) in &window.order {
                let place = |event: &Event| poll + observed.events[poll..].iter().position(|other| other == event).unwrap();
                let (first, second) = (place(&window.after[first].1), place(&window.after[second].1));
                let mut changed = observed.clone();
                changed.events.swap(first, second);
                assert!(is_refused(&program, &changed), "{first} and {second} of {observed:?}");
                found += 1;
            }
            start = poll + window.after.len();
        }
    }
    assert!(found > 100, "only {found} orders");
}

#[test]
fn a_wrong_end_is_found() {
    for (program, observed, _) in samples() {
        let mut changed = observed.clone();
        changed.end = match changed.end {
            Ended::Stuck => Ended::Unexpected("nested".into()),
            Ended::Violation(mut violation) => {
                violation.others += 1;
                Ended::Violation(violation)
            }
            _ => Ended::Stuck,
        };
        assert!(is_refused(&program, &changed));
        let mut changed = observed.clone();
        changed.leaked.push("a future".into());
        assert!(is_refused(&program, &changed));
        if let Ended::Violation(mut violation) = observed.end {
            violation.born = std::panic::Location::caller();
            assert!(is_refused(&program, &Observed { end: Ended::Violation(violation), ..observed.clone() }));
        }
    }
}
