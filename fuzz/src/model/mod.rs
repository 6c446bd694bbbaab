//! The model: what the rules say that a program does, written as plainly as possible.
//!
//! Tasks are numbers in a table, queues are `VecDeque`s, and a task's children are found by looking through the table. Nothing here is
//! shared with the runtime, and nothing is done for speed.
//!
//! # What it predicts
//!
//! A row of [`Window`]s. What a task does in a poll is predicted to the letter. What happens between polls is predicted as a set with an
//! order in part: the rules say that a future is dropped before its children's, that a task ends after its whole subtree, and that its
//! finalisers run last owned first, but not which of two siblings is dropped first. As one domain ends all of a cancelled subtree before
//! it polls an ordinary task (R9), nothing that follows depends on the order that is left open.
//!
//! # Which rules
//!
//! R1 and R36: one queue of runnable tasks, first in first out; a budget of effects per poll. R2–R7: outcomes, the rules about children.
//! R9, R10, R12, R13: cancellation. R22–R25: `Orphans`. R26–R32: ownership. R44: a violation ends the run in order. R46: what outlives
//! its task is inert. Where a rule leaves a choice (`await_one` among those that ended, `care` and `next` among those that are ready), the
//! model takes the choice that was seen, if it is one of those allowed; if it is not, the prediction differs from what was seen.
//!
//! # Readings
//!
//! Where no rule is definite, the model reads:
//!
//! - What is transferred is the parent's from the child's end on (R31: "no later than when the promise resolves").
//! - An effect that is awaited counts when it is ready; while it has to wait it costs nothing.
//! - An effect is a call that does something: asking a promise how its child stands, an `Orphans` how many it holds or a resource for its
//!   owner is none; nor is a start that is refused, the use of another task's `Orphans`, or what a destructor cancels.
//! - A child's end wakes the task that last waited for it by its promise or cancellation, and who waits in `next` on the `Orphans` that it
//!   was made in; a task woken for what it no longer waits for is polled once more and finds nothing.
//! - A promise that outlived its parent gives `Cancelled`, as what is left of its child is dropped with the parent; its `cancel` does
//!   nothing, and that cancellation is over (R46).
//!
//! # Files
//!
//! | file | what it is |
//! | --- | --- |
//! | this one | the state, and the run: one task polled after the other |
//! | [`steps`] | what a task does in a poll |
//! | [`children`], [`several`], [`orphans`] | children, as their parents hold them |
//! | [`ownership`] | resources |
//! | [`ends`] | cancellations and ends |
//! | [`choices`] | what was chosen where the rules leave a choice |

mod children;
mod choices;
mod ends;
mod orphans;
mod ownership;
mod several;
mod steps;

use std::collections::VecDeque;
use std::rc::Rc;

pub use self::choices::Choices;
use crate::event::{Event, Outcome, Said, Who};
use crate::program::{ORPHANS, Program, Step};

/// What the rules say of one run.
#[derive(Clone, Debug)]
pub struct Predicted {
    /// One for each poll.
    pub windows: Vec<Window>,
    /// What `run` returns.
    pub end: Ends,
}

/// What one task does in one poll, and what happens until the next poll.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// In the poll, in this order.
    pub poll: Vec<Event>,
    /// Afterwards, in any order that `order` allows; each with the number of the task that it belongs to.
    pub after: Vec<(usize, Event)>,
    /// Pairs of places in `after`: the first comes before the second.
    pub order: Vec<(usize, usize)>,
}

/// What `run` returns.
#[derive(Clone, Debug, PartialEq)]
pub enum Ends {
    /// The main task's outcome.
    Outcome(Outcome),
    /// Nothing is runnable and the main task has not ended.
    Stuck,
    /// A broken rule.
    Violation(Broken),
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    /// By this task.
    pub task: usize,
    /// Whether that has a name.
    pub named: bool,
    /// Which rule.
    pub rule: Rule,
    /// How many more were broken afterwards.
    pub others: usize,
}

/// The rules that can be broken at run time.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// R3, by one of these children.
    StillHasChildren(Vec<usize>),
    /// R5, with this child of this parent.
    NotAChild(usize, usize),
    /// R24, with these `Orphans` of this task.
    NotItsOrphans(usize, usize),
    /// R28, with one of these resources.
    ResourceLeaked(Vec<usize>),
}

/// What the rules say of this program, where it chose so.
pub fn predict(program: &Program, choices: Choices) -> Predicted {
    let mut model = Model {
        program,
        scripts: program.scripts(),
        choices,
        tasks: Vec::new(),
        runnable: VecDeque::new(),
        marked: VecDeque::new(),
        resources: Vec::new(),
        orphans: std::array::from_fn(|_| Group { there: true, owner: None, waiting: false }),
        board: Vec::new(),
        windows: Vec::new(),
        broken: None,
        budget: 0,
        clock: 0,
    };
    model.tasks.push(Task::new(Who::Task(0), None, 0, false, None));
    model.wake(0);
    let stuck = model.run();
    let end = match (model.broken, stuck) {
        (Some(broken), _) => Ends::Violation(broken),
        (None, true) => Ends::Stuck,
        (None, false) => Ends::Outcome(model.tasks[0].outcome.clone().expect("the main task has ended")),
    };
    Predicted { windows: model.windows, end }
}

/// A promise in the hands of a task, or on the board.
#[derive(Clone, Copy, Debug)]
struct Held {
    child: usize,
    /// It has given its result.
    spent: bool,
}

/// What a task is in the middle of, within a step.
#[derive(Clone, Debug, Default)]
enum Middle {
    #[default]
    Nothing,
    Yielded,
    Join {
        left: Vec<usize>,
    },
    One(Vec<usize>),
    First {
        children: Vec<usize>,
        first: Option<Outcome>,
    },
    All(Vec<(usize, Option<Outcome>)>),
    Cancelling(usize),
    Next(usize),
}

/// How a parent stands to a child, for R3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    Owed,
    Awaited,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Live,
    /// The future is gone.
    Closed,
    /// The whole subtree has ended.
    Ended,
}

#[derive(Debug)]
struct Task {
    who: Who,
    parent: Option<usize>,
    body: usize,
    named: bool,
    /// The step it is at.
    at: usize,
    middle: Middle,
    phase: Phase,
    queued: bool,
    violated: bool,
    outcome: Option<Outcome>,
    promises: Vec<Held>,
    cancellations: Vec<usize>,
    kept_orphans: Vec<usize>,

    // As a child:
    care: Care,
    /// Its promise was dropped.
    forgotten: bool,
    /// Its result was taken or dropped: no promise leads to it any more.
    gone: bool,
    /// Its parent waits for it, or did.
    watched: bool,
    /// The `Orphans` it was made in.
    made_in: Option<usize>,
    /// It is still in there.
    aside: bool,
}

impl Task {
    fn new(who: Who, parent: Option<usize>, body: usize, named: bool, made_in: Option<usize>) -> Task {
        Task {
            who,
            parent,
            body,
            named,
            at: 0,
            middle: Middle::Nothing,
            phase: Phase::Live,
            queued: false,
            violated: false,
            outcome: None,
            promises: Vec::new(),
            cancellations: Vec::new(),
            kept_orphans: Vec::new(),
            care: Care::Owed,
            forgotten: false,
            gone: parent.is_none(),
            watched: false,
            made_in,
            aside: made_in.is_some(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Nobody,
    Task(usize),
    /// On its way from this task to its parent.
    From(usize),
    Gone,
}

#[derive(Debug)]
struct Resource {
    owner: Owner,
    panics: bool,
    in_use: bool,
    /// When its owner came by it.
    since: u64,
}

#[derive(Debug)]
struct Group {
    /// It can be reached.
    there: bool,
    owner: Option<usize>,
    /// The owner waits in `next`.
    waiting: bool,
}

/// What a step leads to.
enum Flow {
    On,
    Wait,
    Return(Outcome),
    Panic(Said),
}

struct Model<'a> {
    program: &'a Program,
    scripts: Vec<Rc<[Step]>>,
    choices: Choices,
    tasks: Vec<Task>,
    runnable: VecDeque<usize>,
    /// Cancelled by their parents, and not yet dropped.
    marked: VecDeque<usize>,
    resources: Vec<Resource>,
    orphans: [Group; ORPHANS],
    board: Vec<Held>,
    windows: Vec<Window>,
    broken: Option<Broken>,
    budget: u32,
    clock: u64,
}

impl Model<'_> {
    // ---- the run

    /// Runs to the end. Whether it got stuck.
    fn run(&mut self) -> bool {
        loop {
            if self.tasks[0].phase == Phase::Ended {
                return false;
            }
            match self.runnable.pop_front() {
                Some(task) => {
                    self.tasks[task].queued = false;
                    if self.tasks[task].phase == Phase::Live {
                        self.poll(task);
                    }
                }
                None => {
                    self.cut(0);
                    self.settle();
                    return true;
                }
            }
        }
    }

    fn wake(&mut self, task: usize) {
        let this = &mut self.tasks[task];
        if this.phase == Phase::Live && !this.queued {
            this.queued = true;
            self.runnable.push_back(task);
        }
    }

    fn poll(&mut self, task: usize) {
        assert!(self.windows.len() < 50_000, "the model does not end");
        self.windows.push(Window::default());
        self.say(Event::Poll { who: self.tasks[task].who, itself: true });
        self.budget = self.program.effects();
        let script = self.scripts[self.tasks[task].body].clone();
        let flow = loop {
            match self.step(task, &script[self.tasks[task].at]) {
                Flow::On => {
                    self.tasks[task].at += 1;
                    self.tasks[task].middle = Middle::Nothing;
                }
                flow => break flow,
            }
        };
        match flow {
            Flow::On | Flow::Wait => self.say(Event::Suspended),
            Flow::Return(outcome) => {
                self.say(Event::Returned(outcome.clone()));
                self.complete(task, outcome);
            }
            Flow::Panic(said) => {
                self.say(Event::Unwound);
                self.complete(task, Outcome::Panicked(said));
            }
        }
        self.settle();
    }

    /// Drops what was cancelled; everything, once a rule was broken.
    fn settle(&mut self) {
        loop {
            while let Some(task) = self.marked.pop_front() {
                self.cut(task);
            }
            if self.broken.is_none() || self.tasks[0].phase != Phase::Live {
                return;
            }
            self.cut(0);
        }
    }

    fn say(&mut self, event: Event) {
        if Choices::is_choice(&event)
            && let Some(Event::Poll { who, .. }) = self.window().poll.first().cloned()
        {
            self.choices.told(who);
        }
        self.window().poll.push(event);
    }

    fn window(&mut self) -> &mut Window {
        if self.windows.is_empty() {
            self.windows.push(Window::default());
        }
        self.windows.last_mut().expect("not empty")
    }

    /// Something that happens between polls, by this task or because of it.
    fn between(&mut self, task: usize, event: Event) -> usize {
        let window = self.window();
        window.after.push((task, event));
        window.after.len() - 1
    }

    fn before(&mut self, first: usize, second: usize) {
        self.window().order.push((first, second));
    }

    /// The places of what this task and its descendants did since the last poll.
    fn of_subtree(&self, root: usize) -> Vec<usize> {
        let window = self.windows.last().expect("there was a poll");
        let within = |task: usize| std::iter::successors(Some(task), |&task| self.tasks[task].parent).any(|task| task == root);
        (0..window.after.len()).filter(|&place| within(window.after[place].0)).collect()
    }

    fn violate(&mut self, task: usize, rule: Rule) {
        self.tasks[task].violated = true;
        match &mut self.broken {
            Some(first) => first.others += 1,
            None => self.broken = Some(Broken { task, named: self.tasks[task].named, rule, others: 0 }),
        }
    }
}
