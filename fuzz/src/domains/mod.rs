//! Programs over several domains, in a simulation: a seed interleaves them on one thread, and the log of all is one row of events.
//!
//! Where several domains run, which comes first is chance's; so the model does not predict, it *follows*: [`follow`](model::follow) reads the
//! log event by event, and says for each whether the rules allow it there. Because nothing happens beside the log, it knows at
//! every moment who holds which lock, which subtree has ended, and who may be polled; and when a run ends as a deadlock, whether
//! anybody was left asleep who had something to go on with: a lost wake-up.
//!
//! A program is a list of bodies; a task of one body starts tasks of those behind it, on its own domain, by chance on another, or on a
//! certain one. The tasks share two mutexes, a semaphore and a channel. The bytes are read by [`Program::decode`].

mod machine;
mod model;

use std::collections::BTreeSet;

use crate::input::Input;
use crate::watch;

/// How many mutexes the tasks share.
pub(crate) const MUTEXES: usize = 2;
/// How many permits the semaphore has.
pub(crate) const PERMITS: usize = 3;
/// How many values the channel has room for.
pub(crate) const ROOM: usize = 2;
/// How many tasks a program makes at most.
pub(crate) const MOST_TASKS: usize = 40;

/// How many hooks it adds at most.
pub(crate) const MOST_HOOKS: usize = 3;

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Program {
    seed: u64,
    workers: usize,
    /// In microseconds: how late a domain that sleeps notices.
    latency: u64,
    /// In nanoseconds: how long a poll takes.
    pace: u64,
    bodies: Vec<Body>,
}

#[derive(Clone, Debug)]
struct Body {
    steps: Vec<Step>,
    /// Before its end it awaits its children and releases what it owns.
    tidy: bool,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Ok,
    Err,
    Panic,
    Park,
}

#[derive(Clone, Copy, Debug)]
enum Whither {
    Here,
    Anywhere,
    Pinned(usize),
}

/// What a task does. A number picks one of those that there are.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Starts a child, with a resource of its own if `gift`.
    Start {
        body: usize,
        whither: Whither,
        gift: bool,
    },
    Await(usize),
    /// `await_one` of all that it holds.
    One,
    /// `await_first` of all that it holds.
    First,
    /// `await_all` of all that it holds.
    All,
    /// Cancels, and waits for the end if `wait`.
    Cancel {
        child: usize,
        wait: bool,
    },
    Forget(usize),
    Yield,
    Sleep(u64),
    Lock(usize),
    Acquire(usize),
    /// Gives back what it took last.
    Give,
    Send,
    Receive,
    /// Sleeps under `protect`.
    Protect(u64),
    /// Starts children in a scope, awaits them, and fails if `fails`.
    Scope {
        body: usize,
        fails: bool,
    },
    Own,
    Release,
    /// Gives a resource up without its finaliser.
    Disown,
    /// Passes a resource to the parent.
    Transfer,
    /// Starts a child that is kept aside, with a resource of its own if `gift`.
    Aside {
        body: usize,
        whither: Whither,
        gift: bool,
    },
    /// Looks for one of those aside that has ended, and awaits it.
    Care,
    /// Takes one of those aside, to hold it.
    Take,
    /// The next of those aside that ends; for so long at most, if at all.
    Next(Option<u64>),
    /// Forgets those aside.
    DropAside,
    /// Starts some on the other domains in turn, and awaits all.
    Parallel {
        body: usize,
        items: usize,
    },
    /// Starts children and awaits them, for so long at most.
    Timeout {
        body: usize,
        millis: u64,
    },
    /// Adds a hook, which stays until the task's future goes.
    Hook,
}

impl Program {
    /// The program that these bytes are read as.
    pub fn decode(bytes: &[u8]) -> Program {
        let mut input = Input::new(bytes);
        let seed = (input.below(256) + (input.below(256) << 8)) as u64;
        let (workers, latency, pace) = (input.below(5), [0, 0, 1, 50][input.below(4)], [0, 0, 100, 2000][input.below(4)]);
        let bodies = 1 + input.below(6);
        Program { seed, workers, latency, pace, bodies: (0..bodies).map(|_| body(&mut input)).collect() }
    }
}

fn body(input: &mut Input<'_>) -> Body {
    let steps = (0..input.below(14)).map(|_| step(input)).collect();
    let end = match input.below(16) {
        0..=11 => End::Ok,
        12 | 13 => End::Err,
        14 => End::Panic,
        _ => End::Park,
    };
    Body { steps, tidy: !input.one_of(12), end }
}

fn step(input: &mut Input<'_>) -> Step {
    match input.below(72) {
        0..=11 => {
            let whither = whither(input);
            Step::Start { body: input.below(6), whither, gift: input.one_of(4) }
        }
        12..=14 => Step::Await(input.below(8)),
        15 => Step::One,
        16 => Step::First,
        17 => Step::All,
        18..=21 => Step::Cancel { child: input.below(8), wait: input.below(2) == 1 },
        22 => {
            if input.one_of(4) {
                Step::Forget(input.below(8))
            } else {
                Step::Yield
            }
        }
        23..=25 => Step::Yield,
        26 | 27 => Step::Sleep(input.below(8) as u64),
        28..=31 => Step::Lock(input.below(MUTEXES)),
        32..=34 => Step::Acquire(1 + input.below(PERMITS)),
        35..=37 => Step::Give,
        38 | 39 => Step::Send,
        40 | 41 => Step::Receive,
        42 => Step::Protect(input.below(8) as u64),
        43 => Step::Scope { body: input.below(6), fails: input.below(2) == 1 },
        44 | 45 => Step::Own,
        46 => Step::Release,
        47 => Step::Hook,
        48..=54 => {
            let whither = whither(input);
            Step::Aside { body: input.below(6), whither, gift: input.one_of(4) }
        }
        55 | 56 => Step::Care,
        57 | 58 => Step::Take,
        59..=61 => Step::Next(None),
        62 => Step::Next(Some(input.below(8) as u64)),
        63 if input.one_of(4) => Step::DropAside,
        63..=65 => Step::Parallel { body: input.below(6), items: input.below(6) },
        66..=68 => Step::Timeout { body: input.below(6), millis: input.below(8) as u64 },
        69 | 70 => Step::Transfer,
        _ => Step::Disown,
    }
}

fn whither(input: &mut Input<'_>) -> Whither {
    match input.below(8) {
        0 | 1 => Whither::Here,
        2..=5 => Whither::Anywhere,
        pinned => Whither::Pinned(pinned - 5 + input.below(3)),
    }
}

/// How a task ended, as its parent sees it. Each is the number of the task that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Value(usize),
    Error(usize),
    Panicked(usize),
    /// What nobody who awaits its child should see.
    Unexpected,
}

impl Outcome {
    /// Whose it is.
    fn of(self) -> Option<usize> {
        match self {
            Outcome::Value(task) | Outcome::Error(task) | Outcome::Panicked(task) => Some(task),
            Outcome::Unexpected => None,
        }
    }
}

/// What `care` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Ready(usize),
    Pending,
    Empty,
}

/// How the run ended.
#[derive(Clone, Debug, PartialEq)]
enum Ended {
    Outcome(Outcome),
    Violation(matou_core::ViolationKind),
    Deadlock,
    Unexpected(String),
}

/// Where a wait waits: a mutex, the semaphore, the channel's places, its values.
const SEMAPHORE: usize = MUTEXES;
const PLACES: usize = MUTEXES + 1;
const VALUES: usize = MUTEXES + 2;

/// What a task is about to wait for.
#[derive(Clone, Debug, PartialEq)]
enum For {
    All(Vec<usize>),
    One(Vec<usize>),
    First(Vec<usize>),
    Line(usize),
    /// One of those aside.
    Aside,
    Soon,
    Ever,
}

#[derive(Clone, Debug, PartialEq)]
enum Event {
    /// A task is about to be made, with this resource.
    Born {
        task: usize,
        parent: usize,
        pin: Option<usize>,
        here: bool,
        gift: Option<usize>,
        aside: bool,
        /// Its place among those that are spread over the domains.
        turn: Option<usize>,
    },
    /// It could not be.
    Refused(usize),
    /// What the care of those aside found.
    Cared {
        task: usize,
        found: Found,
    },
    /// Which of those aside was taken.
    Took {
        task: usize,
        child: Option<usize>,
    },
    /// There is no next of those aside.
    NoNext(usize),
    /// How many are aside.
    Aside {
        task: usize,
        count: usize,
    },
    /// Those aside are forgotten.
    Forgot(usize),
    /// Results in the order of what was asked for.
    Ordered {
        asked: Vec<usize>,
        got: Vec<Option<usize>>,
    },
    /// What should not block does.
    Blocked(usize),
    Poll {
        task: usize,
        domain: usize,
        itself: bool,
    },
    /// What it will wait for if it waits.
    Waits(usize, For),
    Returned(Outcome),
    Dropped {
        task: usize,
        domain: usize,
        itself: bool,
    },
    Got {
        parent: usize,
        outcome: Outcome,
    },
    CancelCalled(usize),
    CancelOver(usize),
    /// A poll of a wait in a line.
    Asked {
        task: usize,
        line: usize,
        needs: usize,
        ready: bool,
    },
    Left {
        task: usize,
        line: usize,
    },
    Gave {
        line: usize,
        permits: usize,
    },
    Sent(usize),
    Received(usize),
    Protects(usize),
    Finally {
        task: usize,
        cancelled: bool,
    },
    OnCancellation(usize),
    /// A scope of this task is over, and whether it failed.
    Scoped {
        task: usize,
        failed: bool,
    },
    Owned {
        task: usize,
        resource: usize,
    },
    Releasing(usize),
    Disowned(usize),
    /// A resource is about to be passed to the parent.
    Transfers {
        task: usize,
        resource: usize,
    },
    /// A resource that a child has passed on is the parent's.
    Arrived {
        parent: usize,
        resource: usize,
    },
    Finalised {
        resource: usize,
        nobody: bool,
    },
    Hooked {
        hook: usize,
        domain: usize,
    },
    HookRan {
        hook: usize,
        domain: usize,
        nobody: bool,
    },
    HookGone(usize),
    Reported(String),
}

/// Runs a program, and one of four twice; what the model has against it.
///
/// # Errors
/// What differs, in words.
pub fn check(program: &Program) -> Result<(), String> {
    let seen = watch::watched(|| machine::observe(program));
    model::follow(&seen).map_err(|(place, why)| {
        let upto: Vec<_> = seen.events.iter().take(place + 1).map(|event| format!("  {event:?}\n")).collect();
        format!("{why}\n{program:#?}\n{}  then the end {:?}", upto.concat(), seen.end)
    })?;
    if program.seed % 4 == 3 {
        let again = watch::watched(|| machine::observe(program));
        if again != seen {
            let place = seen.events.iter().zip(&again.events).position(|(one, other)| one != other);
            return Err(format!("R21: the same seed, and another run; they part at event {place:?}\n{program:#?}\n{seen:#?}\n{again:#?}"));
        }
    }
    Ok(())
}

/// What a run of this program shows, in words: for who asks whether the programs reach everything.
pub fn shows(program: &Program) -> BTreeSet<String> {
    let seen = machine::observe(program);
    let word = |text: String, words| text.split(['{', '(', ' ']).filter(|word| !word.is_empty()).take(words).collect::<Vec<_>>().join(".");
    let event = |event: &Event| match *event {
        Event::Asked { line, ready, .. } => format!("Asked.{line}.{ready}"),
        Event::Finally { cancelled, .. } => format!("Finally.{cancelled}"),
        Event::Scoped { failed, .. } => format!("Scoped.{failed}"),
        Event::Cared { found, .. } => format!("Cared.{}", word(format!("{found:?}"), 1)),
        Event::Took { child, .. } => format!("Took.{}", child.is_some()),
        Event::Got { outcome, .. } => format!("Got.{}", word(format!("{outcome:?}"), 1)),
        _ => word(format!("{event:?}"), 1),
    };
    seen.events.iter().map(event).chain([word(format!("{:?}", seen.end), 2)]).collect()
}
