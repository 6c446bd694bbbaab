//! The trace: the log of what happens, and the counts of what is alive. It is this thread's, for values and finalisers own nothing but
//! numbers.

use std::cell::{Cell, RefCell};
use std::sync::Once;

use matou_core::{Exit, Report, ReportPlace};

use crate::event::{Event, Outcome, Place, Said};

#[derive(Default)]
pub(super) struct Trace {
    pub(super) events: RefCell<Vec<Event>>,
    /// Of futures, values and resource values.
    pub(super) counts: Cell<[isize; 3]>,
    pub(super) running: Cell<bool>,
}

pub(super) const FUTURES: usize = 0;
pub(super) const VALUES: usize = 1;
pub(super) const LOADS: usize = 2;

thread_local! {
    pub(super) static TRACE: Trace = Trace::default();
}

pub(super) fn log(event: Event) {
    TRACE.with(|trace| trace.events.borrow_mut().push(event));
}

pub(super) fn count(what: usize, by: isize) {
    TRACE.with(|trace| {
        let mut counts = trace.counts.get();
        counts[what] += by;
        trace.counts.set(counts);
    });
}

/// Panics of programs, and misuses that the runtime finds in them, are not shown.
pub(super) fn quiet_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A panic in a place where nothing catches it ends the process: that one is worth seeing.
            if !TRACE.with(|trace| trace.running.get()) || panic.to_string().contains("matou:") {
                before(panic);
            }
        }));
    });
}

/// Runs what may panic as the fuzzer says, and shows no panic of it.
pub(crate) fn quietly<T>(run: impl FnOnce() -> T) -> T {
    quiet_panics();
    TRACE.with(|trace| trace.running.set(true));
    let result = run();
    TRACE.with(|trace| trace.running.set(false));
    result
}

pub(super) fn said(message: &str) -> Said {
    let number = |kind: &str| message.strip_prefix(kind).and_then(|number| number.parse::<u64>().ok());
    match (number("fuzzed task "), number("fuzzed destructor "), number("fuzzed finaliser ")) {
        (Some(task), _, _) => Said::Task(task),
        (_, Some(task), _) => Said::Destructor(task),
        (_, _, Some(resource)) => Said::Finaliser(resource as usize),
        _ => Said::Runtime,
    }
}

pub(super) fn reported(report: &Report) {
    let place = match report.place {
        ReportPlace::Destructor => Place::Destructor,
        ReportPlace::Finaliser => Place::Finaliser,
        _ => Place::Unexpected,
    };
    log(Event::Reported(place, said(&report.panic.message())));
}

/// A task's value or error: the number of the task.
pub(super) struct Token(pub(super) u64);

impl Token {
    pub(super) fn new(task: u64) -> Token {
        count(VALUES, 1);
        Token(task)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        count(VALUES, -1);
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task {} failed", self.0)
    }
}

pub(super) fn outcome(result: Result<Token, Exit<Token>>) -> Outcome {
    match result {
        Ok(value) => Outcome::Value(value.0),
        Err(Exit::Failed(error)) => Outcome::Error(error.0),
        Err(Exit::Cancelled) => Outcome::Cancelled,
        Err(Exit::Panicked(panic)) => Outcome::Panicked(said(&panic.message())),
    }
}
