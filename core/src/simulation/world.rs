//! The world of a simulation: its clock, what is to occur in it, and each domain's part of it, which is the domain's event source.
//!
//! An occurrence goes from the script to the port of its domain when its time has come; there it is handed to the task that has waited for
//! its name longest, else it is kept for the one that will. So of each name a port has either occurrences or tasks, never both.
//!
//! All of it lives on the thread of the simulation. Only a [`Bell`] may be rung from elsewhere, since wakers may be.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::sync::atomic::{AtomicBool, Ordering};

use super::Stopped;
use super::events::Event;
use crate::id::{DomainId, PointId};
use crate::platform::{Events, Interrupt, Signals, Wait};
use crate::time::Instant;

pub(super) type Name = Cow<'static, str>;

std::thread_local! {
    static CURRENT: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// See the [module](self).
pub(super) struct World {
    now: Cell<Instant>,
    /// What is to occur: by its time, and in the order in which it was written.
    script: RefCell<BTreeMap<(Instant, u64), (DomainId, Event)>>,
    written: Cell<u64>,
    ports: Box<[Port]>,
}

impl World {
    pub(super) fn new(domains: usize) -> World {
        let ports = (0..domains).map(|_| Port::default()).collect();
        World { now: Cell::new(Instant::from_nanos(0)), script: RefCell::default(), written: Cell::new(0), ports }
    }

    /// Makes it the world of this thread until the guard goes.
    pub(super) fn enter(self: &Rc<World>) -> impl Drop + use<> {
        struct Leave;
        impl Drop for Leave {
            fn drop(&mut self) {
                CURRENT.take();
            }
        }
        CURRENT.replace(Some(self.clone()));
        Leave
    }

    /// The world that the current task lives in.
    #[track_caller]
    pub(super) fn current() -> Rc<World> {
        match CURRENT.with_borrow(Clone::clone) {
            Some(world) => world,
            None => panic!("a simulated event was used outside a simulation: use it from a task of `Simulation::run`"),
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.now.get()
    }

    /// Lets time go on to this instant, and what is due by then occur.
    pub(super) fn pass_to(&self, instant: Instant) {
        self.now.set(instant.max(self.now.get()));
        loop {
            let due = {
                let mut script = self.script.borrow_mut();
                match script.first_entry() {
                    Some(first) if first.key().0 <= instant => first.remove(),
                    _ => return,
                }
            };
            self.ports[due.0.index()].occur(due.1, Place::Last);
        }
    }

    /// When something is to occur next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.script.borrow().first_key_value().map(|((instant, _), _)| *instant)
    }

    /// Writes into the script.
    #[track_caller]
    pub(super) fn write(&self, instant: Instant, domain: DomainId, event: Event) {
        let domains = self.ports.len();
        assert!(
            domain.index() < domains,
            "{event:?} is to occur on domain {domain}, and the simulation has the domains 0 to {}",
            domains - 1
        );
        let number = self.written.get();
        self.written.set(number + 1);
        self.script.borrow_mut().insert((instant, number), (domain, event));
    }

    pub(super) fn port(&self, domain: DomainId) -> &Port {
        &self.ports[domain.index()]
    }

    /// The names of what is waited for, with how many tasks of which domain wait.
    pub(super) fn awaited(&self) -> Vec<(DomainId, Name, usize)> {
        let ports = self.ports.iter().enumerate();
        let each = ports.flat_map(|(index, port)| {
            let waiting = port.state.borrow();
            let names: Vec<_> = waiting.waiting.iter().map(|(name, points)| (DomainId::new(index), name.clone(), points.len())).collect();
            names
        });
        each.collect()
    }
}

/// One domain's part of the world.
#[derive(Default)]
pub(super) struct Port {
    bell: Arc<AtomicBool>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// What has occurred and nobody has waited for.
    occurred: BTreeMap<Name, VecDeque<Vec<u8>>>,
    /// Who waits, longest first. No queue is empty.
    waiting: BTreeMap<Name, VecDeque<PointId>>,
    /// What was handed to whom, until that takes it.
    handed: BTreeMap<u64, Vec<u8>>,
    /// Whom `select` is to resume.
    to_resume: Vec<PointId>,
}

impl State {
    fn hand(&mut self, point: PointId, data: Vec<u8>) {
        self.handed.insert(point.to_bits(), data);
        self.to_resume.push(point);
    }
}

/// Where among the occurrences of its name one goes.
pub(super) enum Place {
    First,
    Last,
}

impl Port {
    pub(super) fn occur(&self, event: Event, place: Place) {
        let state = &mut *self.state.borrow_mut();
        if let Some(waiting) = state.waiting.get_mut(&event.name)
            && let Some(point) = waiting.pop_front()
        {
            if waiting.is_empty() {
                state.waiting.remove(&event.name);
            }
            return state.hand(point, event.data);
        }
        let kept = state.occurred.entry(event.name).or_default();
        match place {
            Place::First => kept.push_front(event.data),
            Place::Last => kept.push_back(event.data),
        }
    }

    /// Takes what has occurred already.
    pub(super) fn take(&self, name: &Name) -> Option<Vec<u8>> {
        self.state.borrow_mut().occurred.get_mut(name)?.pop_front()
    }

    /// The task of this point waits.
    pub(super) fn wait(&self, name: &Name, point: PointId) {
        let occurred = self.take(name);
        let state = &mut *self.state.borrow_mut();
        match occurred {
            Some(data) => state.hand(point, data),
            None => state.waiting.entry(name.clone()).or_default().push_back(point),
        }
    }

    /// What was handed to the task of this point.
    pub(super) fn receive(&self, point: PointId) -> Option<Vec<u8>> {
        self.state.borrow_mut().handed.remove(&point.to_bits())
    }

    /// The task of this point waits no longer. What it was handed goes to the next, or back to where it was.
    pub(super) fn leave(&self, name: &Name, point: PointId) {
        if let Some(data) = self.receive(point) {
            return self.occur(Event { name: name.clone(), data }, Place::First);
        }
        let state = &mut *self.state.borrow_mut();
        if let Some(waiting) = state.waiting.get_mut(name) {
            waiting.retain(|&other| other != point);
            if waiting.is_empty() {
                state.waiting.remove(name);
            }
        }
    }

    /// Whether `select` has something to tell.
    pub(super) fn is_ready(&self) -> bool {
        !self.state.borrow().to_resume.is_empty()
    }

    /// Whether the domain was interrupted since it was last asked.
    pub(super) fn is_rung(&self) -> bool {
        self.bell.load(Ordering::Acquire)
    }
}

/// The event source of one domain.
pub(super) struct Source {
    world: Rc<World>,
    domain: DomainId,
}

impl Source {
    pub(super) fn new(world: &Rc<World>, domain: DomainId) -> Result<Source, Stopped> {
        Ok(Source { world: world.clone(), domain })
    }
}

/// Ends a domain's sleep.
pub(super) struct Bell(Arc<AtomicBool>);

impl Interrupt for Bell {
    fn interrupt(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Events for Source {
    type Interrupt = Bell;
    type Error = Stopped;

    fn interrupter(&self) -> Bell {
        Bell(self.world.port(self.domain).bell.clone())
    }

    fn now(&self) -> Instant {
        self.world.now()
    }

    /// It never waits: who runs the domains asks only one that has something to find. Who waits for an event leaves by itself, so that what
    /// is given up is known already.
    fn select(&mut self, _: Wait, _: &[PointId], signals: &mut Signals<'_>) -> Result<(), Stopped> {
        let port = self.world.port(self.domain);
        port.bell.store(false, Ordering::Release);
        let resumed = core::mem::take(&mut port.state.borrow_mut().to_resume);
        for point in resumed {
            signals.resume(point);
        }
        Ok(())
    }
}

/// What a registration that cannot fail fails with.
pub(super) type Registered = Result<(), Infallible>;
