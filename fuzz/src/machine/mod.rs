//! The machine: runs a program on matou and writes down all that can be seen of it.
//!
//! One task of the program is one [`Traced`] future on one domain: of the smallest platform, or of a simulation in which other domains step in
//! between and have nothing to do. What several tasks can reach lies in a
//! [`World`]; what a task holds lies in its [`Hold`], which is dropped with its future. What happens is written to a log of this thread's,
//! because values and finalisers must be able to say that they were dropped or run, and own nothing but numbers.
//!
//! Invariants:
//!
//! - Nothing here decides how a program *should* behave. Where a step needs to know something (which promises are a task's own
//!   children's, which `Orphans` it was the first to use), the machine remembers what it did itself.
//! - No cell is borrowed while the runtime is called, but for the poll of a promise in its place.
//! - Every future, value and resource value is counted; at the end the counts are zero or [`Observed::leaked`] says which are not.
//!
//! | file | what it is |
//! | --- | --- |
//! | this one | a run, and what its tasks share |
//! | [`trace`] | the log, and the counts of what is alive |
//! | [`task`] | the future that the runtime polls and drops |
//! | [`steps`] | what a task does |
//! | [`resources`] | both kinds of resources |

mod resources;
mod steps;
mod task;
mod trace;

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::panic::Location;
use std::rc::Rc;

use matou_core::platform::{Bare, NothingToWaitFor};
use matou_core::simulation::{Reason, Simulation};
use matou_core::{Cancellation, Config, EventsError, LocalResource, Orphans, Promise, Resource, RunError, Violation, run};

use self::resources::{Load, Owned};
use self::task::Traced;
pub(crate) use self::trace::quietly;
use self::trace::{TRACE, Token, Trace, quiet_panics, reported, said};
use crate::event::{Event, Outcome, Who};
use crate::program::{ORPHANS, Program, Step};

/// Calls a function and gives, with its result, the place that the function sees as its caller's: calls made in the body of a macro are all
/// made where the macro is used.
macro_rules! here {
    (run($platform:expr, $config:expr, $main:expr)) => {
        (run($platform, $config, $main), Location::caller())
    };
    ($simulation:ident.run($main:expr)) => {
        ($simulation.run($main), Location::caller())
    };
    (spawn($future:expr)) => {
        (spawn($future), Location::caller())
    };
    ($task:ident.spawn($future:expr)) => {
        ($task.spawn($future), Location::caller())
    };
    ($task:ident.spawn_in($orphans:expr, $future:expr)) => {
        ($task.spawn_in($orphans, $future), Location::caller())
    };
    ($orphans:ident.care()) => {
        ($orphans.care(), Location::caller())
    };
    ($orphans:ident.take()) => {
        ($orphans.take(), Location::caller())
    };
    ($orphans:ident.next()) => {
        ($orphans.next(), Location::caller())
    };
    ($resource:ident.own()) => {
        ($resource.own(), Location::caller())
    };
}

use here;

/// What was seen of one run of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// All events.
    pub events: Vec<Event>,
    /// What `run` returned.
    pub end: Ended,
    /// Where each task was made, by its number.
    pub born: Vec<&'static Location<'static>>,
    /// Where each resource was last taken, by its number.
    pub owned: Vec<Option<&'static Location<'static>>>,
    /// Where each of the `Orphans` was first used.
    pub orphans: [Option<&'static Location<'static>>; ORPHANS],
    /// What is not as it was before the run.
    pub leaked: Vec<String>,
}

/// What `run` returned.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The main task's value, error, or panic.
    Outcome(Outcome),
    /// A broken rule.
    Violation(Violation),
    /// Nothing was runnable.
    Stuck,
    /// Anything else.
    Unexpected(String),
}

/// Runs a program.
pub fn observe(program: &Program) -> Observed {
    if program.local { observe_with::<LocalResource<Load>>(program) } else { observe_with::<Resource<Load>>(program) }
}

fn observe_with<R: Owned>(program: &Program) -> Observed {
    quiet_panics();
    let trace = |f: &dyn Fn(&Trace)| TRACE.with(f);
    trace(&|trace| {
        trace.events.borrow_mut().clear();
        trace.counts.set([0; 3]);
        trace.running.set(true);
    });
    let world = Rc::new(World::<R> {
        program: program.clone(),
        scripts: program.scripts(),
        born: Cell::new(0),
        places: RefCell::default(),
        orphans: RefCell::new(std::array::from_fn(|_| Some(Rc::new(Orphans::new())))),
        first: RefCell::default(),
        board: RefCell::default(),
        resources: RefCell::default(),
    });
    let main = Traced::new(&world, 0);
    main.life.set(Some(world.number(Location::caller())));
    let (seed, effects) = (u64::from(program.seed), program.effects());
    let (end, place) = match program.idle_domains() {
        None => {
            let config = Config::new().seed(seed).quanta(effects).on_report(reported);
            let (ended, place) = here!(run(&Bare, config, main));
            (end_of(ended, |NothingToWaitFor| true), place)
        }
        Some(idle) => {
            let simulation = Simulation::new(seed).domains(idle).quanta(effects).on_report(reported);
            let (ended, place) = here!(simulation.run(main));
            (end_of(ended, |stopped| stopped.reason() == Reason::Deadlock), place)
        }
    };
    world.places.borrow_mut()[0] = place;
    let mut leaked = Vec::new();
    // What is left belongs to nobody any more (R46): its use is an error, its drop does nothing.
    for (number, (resource, _)) in world.resources.borrow().iter().enumerate() {
        if resource.check().is_ok() || resource.own().is_ok() {
            leaked.push(format!("resource {number} could be used after the run"));
        }
    }
    let owned = world.resources.take().into_iter().map(|(_, place)| place).collect();
    drop(world.board.take());
    drop(world.orphans.take());
    let orphans = world.first.borrow().map(|first| first.map(|(_, place)| place));
    let born = world.places.take();
    if Rc::strong_count(&world) != 1 {
        leaked.push(format!("{} futures hold the program", Rc::strong_count(&world) - 1));
    }
    drop(world);
    TRACE.with(|trace| {
        trace.running.set(false);
        for (count, what) in trace.counts.get().into_iter().zip(["futures", "values", "resource values"]) {
            if count != 0 {
                leaked.push(format!("{count} {what} were not dropped, or twice"));
            }
        }
        Observed { events: trace.events.take(), end, born, owned, orphans, leaked }
    })
}

fn end_of<X: Display>(ended: Result<Token, RunError<Token, X>>, is_stuck: impl Fn(&X) -> bool) -> Ended {
    match ended {
        Ok(value) => Ended::Outcome(Outcome::Value(value.0)),
        Err(RunError::Failed(error)) => Ended::Outcome(Outcome::Error(error.0)),
        Err(RunError::Panicked(panic)) => Ended::Outcome(Outcome::Panicked(said(&panic.message()))),
        Err(RunError::Violation(violation)) => Ended::Violation(violation),
        Err(RunError::Events(_, EventsError::Failed(stuck))) if is_stuck(&stuck) => Ended::Stuck,
        Err(other) => Ended::Unexpected(other.to_string()),
    }
}

type Children = Orphans<Token, Token>;

/// What the tasks of a program share.
struct World<R> {
    program: Program,
    scripts: Vec<Rc<[Step]>>,
    born: Cell<u64>,
    places: RefCell<Vec<&'static Location<'static>>>,
    orphans: RefCell<[Option<Rc<Children>>; ORPHANS]>,
    /// Which task was the first to use each, and where.
    first: RefCell<[Option<(u64, &'static Location<'static>)>; ORPHANS]>,
    board: RefCell<Vec<Held>>,
    /// Each with the place where it was last taken.
    resources: RefCell<Vec<(R, Option<&'static Location<'static>>)>>,
}

impl<R> World<R> {
    /// The number of a task just made.
    fn number(&self, place: &'static Location<'static>) -> Who {
        let number = self.born.get();
        self.born.set(number + 1);
        self.places.borrow_mut().push(place);
        Who::Task(number)
    }
}

/// A promise, and whose.
struct Held {
    promise: Promise<Token, Token>,
    child: u64,
    parent: u64,
    /// It has given its result.
    spent: bool,
}

/// What a task holds beside what it is in the middle of.
#[derive(Default)]
struct Hold {
    promises: Vec<Held>,
    cancellations: Vec<(u64, Cancellation)>,
    orphans: Vec<Rc<Children>>,
}
