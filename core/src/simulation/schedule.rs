//! The scheduler of a simulation: which domain steps next, and when time goes on.
//!
//! ```text
//!            attend              turn: Idle               nothing has come            its event, its time, or a bell
//!   awake ──────────▶ attended ────────────────▶ drowsy ────────────────────▶ asleep ────────────────────────────────▶ awake
//!     ▲                │  │                         │
//!     │ turn: a poll   │  │ turn: Over              │ something has come
//!     ├────────────────┘  └────────────▶ left       │
//!     └─────────────────────────────────────────────┘
//! ```
//!
//! Each edge is a step: what other domains do can fall between any two of them, as it can between threads. While a domain is awake, or asleep
//! with a reason to wake, chance picks one of them. When there is none, time jumps to the earliest timer, event or delayed bell. When there is
//! none of those either, the run is stopped as a deadlock.
//!
//! Every domain steps to its end, whatever happens: a task that breaks a rule, a deadlock and too many steps abort the run, and the ordinary
//! steps of the domains then end it in order.

#![allow(unsafe_code)] // Makes the domains and the main task, which lie in the frame of `run` below (*Run*, *Main*).

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::panic::Location;

use super::recording::{Recording, Step, What};
use super::stopped::Reason;
use super::world::{Source, World};
use super::{Simulation, Stopped};
use crate::domain::alive::survey;
use crate::domain::drive::{self, Driver, Stepped};
use crate::error::EventsError;
use crate::id::DomainId;
use crate::outcome::Outcome;
use crate::platform::Wait;
use crate::random::Random;
use crate::run::{Ended, MainCell, Running, end_of};
use crate::task::{TaskRef, abort};
use crate::time::Instant;

/// Runs `main`, and records every step if there is where to.
pub(super) fn run<F: Future<Output: Outcome>>(
    simulation: &Simulation,
    main: F,
    born: &'static Location<'static>,
    recording: Option<&mut Recording>,
) -> Ended<F, Stopped> {
    let running = Running::new(simulation.config)?;
    let door = running.shared.open();
    let main = MainCell::new(main);
    let fail = |domain, error| running.fail(domain, error);
    let ids = || (0..running.shared.domains()).map(DomainId::new);

    let world = Rc::new(World::new(ids().len()));
    for (instant, domain, event) in &simulation.script {
        world.write(*instant, *domain, event.clone());
    }
    let _entered = world.enter();

    // SAFETY: *Run*: neither `running` nor the domains move, and the domains go first.
    let domains: Vec<_> = ids().map(|id| unsafe { running.domain(id, true) }).collect();
    let sources: Vec<_> = ids().map(|id| running.source(id, || Source::new(&world, id))).collect();
    ids().skip(1).for_each(|_| running.shared.started());
    // SAFETY: *Main*: the schedule below ends it.
    let root = match unsafe { main.root(&domains[0], born) } {
        Some(root) => root,
        None => unreachable!("the heap has a place for every main task"),
    };
    let places = domains.iter().zip(&sources).map(|(domain, source)| Place {
        id: domain.id,
        stage: Stage::Awake(Driver::new(domain, source.as_ref(), (domain.id == DomainId::ZERO).then_some(root), &fail)),
        woken_at: None,
        weight: 1,
    });
    let schedule = Schedule {
        simulation,
        running: &running,
        world: &world,
        root,
        places: places.collect(),
        chance: Random::new(simulation.config.seed, u64::MAX),
        recording,
        steps: 0,
        stopped: false,
    };
    schedule.run();
    // SAFETY: *Stage*: domain 0 has left, so the main task has ended.
    let end = unsafe { end_of(root) };
    drop((domains, sources));
    drop(door);
    running.result(end, main)
}

struct Schedule<'a, 'r> {
    simulation: &'a Simulation,
    running: &'a Running<Stopped>,
    world: &'a Rc<World>,
    root: TaskRef,
    places: Vec<Place<'a>>,
    chance: Random,
    recording: Option<&'r mut Recording>,
    steps: u64,
    /// The run was stopped, as it would not have ended.
    stopped: bool,
}

/// A domain.
struct Place<'a> {
    id: DomainId,
    stage: Stage<'a>,
    /// When the bell that was rung reaches it.
    woken_at: Option<Instant>,
    /// How often it is picked, in relation to the others.
    weight: u64,
}

enum Stage<'a> {
    Awake(Driver<'a, Source>),
    Attended(Driver<'a, Source>),
    Drowsy(Driver<'a, Source>),
    Asleep(Driver<'a, Source>, Wait),
    Left,
}

/// The weights of the domains are drawn anew after this many steps on average, as powers of two below this one: there are long stretches
/// in which a domain is much faster than another, and others in which all are about as fast.
const STRETCH: u64 = 48;
const POWERS: u64 = 6;

/// How many times, a millisecond each, it is waited for another thread that is in the middle of a wake.
const PATIENCE: u32 = 20_000;

impl<'a> Schedule<'a, '_> {
    fn run(mut self) {
        let mut patience = PATIENCE;
        while self.places.iter().any(|place| !matches!(place.stage, Stage::Left)) {
            self.world.pass_to(self.world.now());
            if let Some(index) = self.pick() {
                self.step(index);
                patience = PATIENCE;
            } else if let Some(next) = self.next_instant() {
                self.world.pass_to(next);
            } else if patience > 0 && self.awaits_a_thread() {
                patience -= 1;
                drive::rest();
            } else if !self.stopped {
                self.stop(Reason::Deadlock);
            } else {
                abort("a simulation that was stopped does not end");
            }
        }
    }

    /// Whether another thread is in the middle of a wake: it has marked a task, and is to push its node. Between steps.
    fn awaits_a_thread(&self) -> bool {
        let pushed = self.places.iter().any(|place| match &place.stage {
            Stage::Asleep(driver, _) => driver.awaits_a_push(),
            _ => false,
        });
        // SAFETY: the domains are between two steps, on this thread. `run` holds the main task.
        pushed || unsafe { survey(&self.running.shared, self.root, |_| ()) }
    }

    /// The next domain to step, by chance. `None` if each of them sleeps, and nothing has come for it.
    fn pick(&mut self) -> Option<usize> {
        let now = self.world.now();
        for index in 0..self.places.len() {
            let place = &self.places[index];
            if matches!(place.stage, Stage::Asleep(..)) && place.woken_at.is_none() && self.world.port(place.id).is_rung() {
                self.places[index].woken_at = Some(now + self.latency());
            }
        }
        if self.places.len() > 1 && self.chance.up_to(STRETCH - 1) == 0 {
            for index in 0..self.places.len() {
                self.places[index].weight = 1 << self.chance.up_to(POWERS - 1);
            }
        }
        let weights = || self.places.iter().map(|place| if self.is_ready(place, now) { place.weight } else { 0 });
        let total: u64 = weights().sum();
        let mut left = self.chance.up_to(total.checked_sub(1)?);
        weights().position(|weight| match left.checked_sub(weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        })
    }

    fn latency(&self) -> core::time::Duration {
        core::time::Duration::from_nanos(self.chance.up_to(self.simulation.latency))
    }

    fn is_ready(&self, place: &Place<'_>, now: Instant) -> bool {
        match &place.stage {
            Stage::Left => false,
            Stage::Asleep(_, Wait::No) => true,
            Stage::Asleep(_, Wait::Until(instant)) if *instant <= now => true,
            Stage::Asleep(..) => place.woken_at.is_some_and(|instant| instant <= now) || self.world.port(place.id).is_ready(),
            Stage::Awake(_) | Stage::Attended(_) | Stage::Drowsy(_) => true,
        }
    }

    /// When something happens by itself, where no domain is ready.
    fn next_instant(&self) -> Option<Instant> {
        let timers = self.places.iter().filter_map(|place| match place.stage {
            Stage::Asleep(_, Wait::Until(instant)) => Some(instant),
            _ => None,
        });
        let bells = self.places.iter().filter_map(|place| place.woken_at);
        timers.chain(bells).chain(self.world.next()).min()
    }

    /// Lets a domain do one step.
    fn step(&mut self, index: usize) {
        let place = &mut self.places[index];
        let (next, what) = match core::mem::replace(&mut place.stage, Stage::Left) {
            Stage::Awake(driver) => {
                driver.within(|| driver.attend());
                (Stage::Attended(driver), What::Attended)
            }
            Stage::Attended(driver) => match driver.within(|| driver.turn()) {
                Stepped::Ran(task) => (Stage::Awake(driver), What::Ran(task)),
                Stepped::Looked => (Stage::Awake(driver), What::Looked),
                Stepped::Idle => (Stage::Drowsy(driver), What::Rested),
                Stepped::Over => {
                    driver.leave();
                    if place.id == DomainId::ZERO {
                        self.running.shared.stop();
                    }
                    (Stage::Left, What::Left)
                }
            },
            Stage::Drowsy(driver) => match driver.fall_asleep() {
                Some(wait) => (Stage::Asleep(driver, wait), What::Slept(wait)),
                None => (Stage::Awake(driver), What::StayedAwake),
            },
            Stage::Asleep(driver, wait) => {
                driver.within(|| driver.select(wait));
                place.woken_at = None;
                (Stage::Awake(driver), What::Woke)
            }
            Stage::Left => return,
        };
        place.stage = next;
        let domain = place.id;
        if let Some(recording) = &mut self.recording {
            recording.steps.push(Step { at: self.world.now(), domain, what });
        }
        self.steps += 1;
        if self.simulation.pace > 0 && matches!(what, What::Ran(_)) {
            let pace = core::time::Duration::from_nanos(self.simulation.pace);
            self.world.pass_to(self.world.now() + pace);
        }
        if self.steps > self.simulation.limit && !self.stopped {
            self.stop(Reason::Endless);
        }
    }

    /// Stops the run, in order.
    fn stop(&mut self, reason: Reason) {
        self.stopped = true;
        let mut waiting = Vec::new();
        // SAFETY: the domains are between two steps, on this thread. `run` holds the main task.
        unsafe { survey(&self.running.shared, self.root, |alive| waiting.push(alive.into())) };
        let stopped = Stopped { seed: self.simulation.config.seed, at: self.world.now(), reason, waiting, awaited: self.world.awaited() };
        self.running.fail(DomainId::ZERO, EventsError::Failed(stopped));
        self.running.shared.abort();
    }
}
