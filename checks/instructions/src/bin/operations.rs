//! Does operations, with a mark between them at which callgrind writes down what it has counted: three marks an operation, before it is done
//! so many times, before twice as many, and after that.
//!
//!     operations                  all operations, with nothing beside
//!     operations KIND COUNT       all but the timers, with so many tasks, timers or orphans beside
//!     operations timers           timers, many and more at once
//!     operations more-timers      a million at once
//!     operations only NAME TIMES  one operation, without marks: for `callgrind_annotate`

#![allow(unsafe_code)] // A function with a name that valgrind can be told.

use std::hint::black_box;
use std::process::exit;

use matou_instructions::Kind;
use matou_instructions::operations::{Beside, MORE_TIMERS, OPERATIONS, Operation, TIMERS, within};

/// `src/callgrind.rs` names it.
// SAFETY: nothing else has this name.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn matou_instructions_mark() {
    black_box(());
}

async fn count(operations: &[Operation], beside: &Beside) {
    for operation in operations {
        // Once before, so that what is kept for the next time is there.
        operation.run(operation.times, beside).await;
        matou_instructions_mark();
        operation.run(operation.times, beside).await;
        matou_instructions_mark();
        operation.run(2 * operation.times, beside).await;
        matou_instructions_mark();
    }
    // What is beside need not be taken down: that is counted nowhere.
    exit(0);
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => within(count(&OPERATIONS, &Beside::default())),
        ["timers"] => within(count(&TIMERS, &Beside::default())),
        ["more-timers"] => within(count(&[MORE_TIMERS], &Beside::default())),
        ["only", name, times] => {
            let operation =
                OPERATIONS.iter().chain(&TIMERS).find(|it| it.name == name).unwrap_or_else(|| panic!("there is no operation {name}"));
            let times = times.parse().unwrap_or_else(|error| panic!("{times}: {error}"));
            within(async move { operation.run(times, &Beside::default()).await });
        }
        [kind, number] => {
            let kind = Kind::ALL.into_iter().find(|it| it.name() == kind).unwrap_or_else(|| panic!("there is no kind {kind}"));
            let number = number.parse().unwrap_or_else(|error| panic!("{number}: {error}"));
            within(async move { count(&OPERATIONS, &Beside::new(kind, number).await).await });
        }
        _ => panic!("usage: operations [KIND COUNT | timers | more-timers | only NAME TIMES]"),
    }
}
