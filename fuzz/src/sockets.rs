//! The platform's reactor over a kernel that does as it is told: sockets with data that comes, short reads, ends, resets and news that is
//! none, shared and reused numbers, sources that move between two domains or are dropped elsewhere, while one of them sleeps.
//!
//! The files are those that ship, compiled into this crate; what they take for `rustix` is `kernel/`, and a task is what is left of one: it
//! tries, waits where there is nothing, and tries again when it is resumed. After each row of operations all is left alone until nobody is
//! resumed any more, and then:
//!
//! - **no wake-up was lost**: nobody waits for a socket that is ready, nor for one that was dropped;
//! - **nobody is kept awake** (R20): that is reached after a few rounds;
//! - **nobody else is resumed** (R34): only points of that domain, that were once registered;
//! - **no sleep that nothing would end** is begun while somebody is to be resumed (R38, R45).
//!
//! Who stands on a number that was closed behind its back is promised nothing, but others on that number are.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use matou_core::PointId;
use matou_core::platform::Wait;
use rustix::io::Errno;
use rustix::kernel;

use crate::descriptor::source::Source;
use crate::interrupt::Material;
use crate::reactor::{self, Direction, DomainReactor, Reactor, Unarmed};
use crate::time::{Duration, clock};

const DOMAINS: usize = 2;
const MOST_ENDS: usize = 12;
/// The size of the buffers that are lent, which nobody asks for here.
const LENT: usize = 64;
/// More rounds than any world takes to become quiet.
const MOST_ROUNDS: usize = 200;

/// A socket's number.
struct Number(RawFd);

impl AsFd for Number {
    fn as_fd(&self) -> BorrowedFd<'_> {
        kernel::borrow(self.0)
    }
}

/// A source, on the domain that uses it.
struct End {
    /// `None` once it was dropped.
    source: Option<Rc<Source<Number>>>,
    number: RawFd,
    home: usize,
    /// Its reads may stop at borders.
    bordered: bool,
    /// Its number was closed behind its back.
    betrayed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    end: usize,
    direction: Direction,
}

/// The points of a domain: places are dense, and used again once the reactor knows.
#[derive(Default)]
struct Points {
    free: BTreeSet<u32>,
    made: u32,
    waiting: BTreeMap<u64, Waiter>,
    /// Given up, and not told yet.
    given_up: Vec<PointId>,
    ever: BTreeSet<u64>,
}

impl Points {
    fn open(&mut self, generation: u32) -> PointId {
        let index = self.free.pop_first().unwrap_or_else(|| {
            self.made += 1;
            self.made - 1
        });
        let id = PointId::from_bits(u64::from(generation) << 32 | u64::from(index));
        self.ever.insert(id.to_bits());
        id
    }

    fn close(&mut self, id: PointId) {
        self.free.insert(id.to_bits() as u32);
    }
}

struct World {
    reactor: Reactor,
    material: Material,
    domains: [RefCell<Rc<DomainReactor>>; DOMAINS],
    points: [RefCell<Points>; DOMAINS],
    generation: Cell<u32>,
    ends: RefCell<Vec<End>>,
    done: RefCell<Vec<String>>,
    shown: RefCell<BTreeSet<&'static str>>,
}

type Operation = [u8; 4];
type Checked = Result<(), String>;

/// Does what these bytes say.
///
/// # Errors
/// What was promised and not kept, in words.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let world = World::new(bytes.first().copied().unwrap_or(0)).map_err(|error| error.to_string())?;
    checked(&world, bytes)
}

/// The same over a kernel that makes no edges: the detector is tested with it.
///
/// # Errors
/// As [`check`].
pub fn check_deaf(bytes: &[u8]) -> Result<(), String> {
    let world = World::new(bytes.first().copied().unwrap_or(0)).map_err(|error| error.to_string())?;
    kernel::turn_deaf();
    checked(&world, bytes)
}

fn checked(world: &Rc<World>, bytes: &[u8]) -> Checked {
    let checked = world.follow(bytes.get(1..).unwrap_or_default());
    checked.map_err(|why| format!("{why}; after:\n  {}", world.done.borrow().join("\n  ")))
}

/// What a row shows, in words: for who asks whether the operations reach everything.
pub fn shows(bytes: &[u8]) -> BTreeSet<&'static str> {
    let world = World::new(bytes.first().copied().unwrap_or(0));
    world.map_or_else(
        |_| BTreeSet::new(),
        |world| {
            let _checked = world.follow(bytes.get(1..).unwrap_or_default());
            world.shown.take()
        },
    )
}

fn install(reactor: Reactor, material: Material) -> io::Result<Rc<DomainReactor>> {
    DomainReactor::install(Some(reactor), material, Arc::default(), LENT)
}

impl World {
    fn new(how: u8) -> io::Result<Rc<World>> {
        kernel::reset();
        let reactor = if how.is_multiple_of(2) { Reactor::Epoll } else { Reactor::Poll };
        // A pipe would be a real one.
        let material = Material::Best;
        let domains = [RefCell::new(install(reactor, material)?), RefCell::new(install(reactor, material)?)];
        Ok(Rc::new(World {
            reactor,
            material,
            domains,
            points: Default::default(),
            generation: Cell::new(0),
            ends: RefCell::default(),
            done: RefCell::default(),
            shown: RefCell::default(),
        }))
    }

    fn follow(self: &Rc<Self>, bytes: &[u8]) -> Checked {
        let (rows, _) = bytes.as_chunks::<4>();
        let mut rows = rows.iter().copied();
        while let Some(operation) = rows.next() {
            self.operate(operation, &mut rows, None)?;
        }
        self.settle()
    }

    fn note(&self, what: impl FnOnce() -> String) {
        self.done.borrow_mut().push(what());
    }

    fn show(&self, what: &'static str) {
        self.shown.borrow_mut().insert(what);
    }

    /// The domain runs on this thread now.
    fn enter(&self, domain: usize) {
        self.domains[domain].borrow().enter();
    }

    /// One operation, by whoever is not `asleep`.
    fn operate(
        self: &Rc<Self>,
        [what, which, how, more]: Operation,
        rows: &mut dyn Iterator<Item = Operation>,
        asleep: Option<usize>,
    ) -> Checked {
        let count = self.ends.borrow().len();
        let end = usize::from(which) % count.max(1);
        let number = self.ends.borrow().get(end).map(|end| end.number);
        let awake = |domain: usize| Some(domain) != asleep;
        let domain = usize::from(which) % DOMAINS;
        let bytes = 1 + usize::from(how % 8);
        self.note(|| format!("{}: how {how}, more {more}, domain {domain}, end {end} at {number:?}, asleep {asleep:?}", what % 32));
        match (what % 32, number) {
            (0 | 1, _) if count < MOST_ENDS => {
                if let Some(number) = kernel::socket(usize::from(how % 4) * 3) {
                    self.stand(number, domain, more % 8 == 7);
                }
            }
            (2..=4, Some(number)) => kernel::arrive(number, bytes),
            (5, Some(number)) => kernel::arrive_urgently(number, bytes),
            (6, Some(number)) if self.ends.borrow()[end].bordered => kernel::border(number),
            (7, Some(number)) => kernel::end(number),
            (8, Some(number)) if how % 4 == 0 => kernel::reset_by_peer(number),
            (9 | 10, Some(number)) => kernel::make_room(number, bytes),
            (11, Some(number)) => kernel::nudge(number),
            (12, Some(number)) if count < MOST_ENDS => {
                self.show("shared");
                let bordered = self.ends.borrow()[end].bordered;
                self.stand(number, usize::from(how) % DOMAINS, bordered);
            }
            (13, Some(number)) if count < MOST_ENDS => {
                if let Some(number) = kernel::duplicate(number) {
                    self.show("duplicated");
                    let bordered = self.ends.borrow()[end].bordered;
                    self.stand(number, usize::from(how) % DOMAINS, bordered);
                }
            }
            (14..=19, Some(_)) if awake(self.ends.borrow()[end].home) => {
                let direction = if how % 2 == 0 { Direction::Read } else { Direction::Write };
                let between: Vec<_> = rows.take(usize::from(more % 4).saturating_sub(1)).collect();
                self.task(end, direction, false, 1 + usize::from(how / 2 % 8), more & 4 != 0, between)?;
            }
            (20, _) => self.give_up(domain, usize::from(how), asleep),
            (21..=24, _) if asleep.is_none() => {
                let wait = match how % 3 {
                    0 => Wait::No,
                    1 => Wait::Until(clock() + Duration::from_micros(u64::from(how) * 100)),
                    _ => Wait::Forever,
                };
                let meanwhile: Vec<_> = rows.take(usize::from(more % 4)).collect();
                self.sleep(domain, wait, meanwhile)?;
            }
            (25, Some(_)) => self.ends.borrow_mut()[end].home = usize::from(how) % DOMAINS,
            // Not under a poll that uses it.
            (26, Some(number)) if self.ends.borrow()[end].source.as_ref().is_some_and(|source| Rc::strong_count(source) == 1) => {
                let by = asleep.map_or(usize::from(how) % DOMAINS, |asleep| DOMAINS - 1 - asleep);
                self.enter(by);
                if self.ends.borrow()[end].home != by {
                    self.show("left elsewhere");
                }
                drop(self.ends.borrow_mut()[end].source.take());
                if !self.ends.borrow().iter().any(|end| end.number == number && end.source.is_some()) {
                    kernel::close(number);
                }
            }
            (27, Some(number)) if how % 4 == 0 => {
                self.show("betrayed");
                self.ends.borrow_mut().iter_mut().filter(|end| end.number == number).for_each(|end| end.betrayed = true);
                kernel::close(number);
            }
            (28, _) => kernel::refuse([Errno::NOMEM, Errno::NOSPC, Errno::PERM].get(usize::from(how % 4)).copied()),
            (29, _) => kernel::interrupt(),
            (30, Some(_)) if awake(self.ends.borrow()[end].home) => {
                let (source, home) = (self.ends.borrow()[end].source.clone(), self.ends.borrow()[end].home);
                self.enter(home);
                source.iter().for_each(|source| source.rouse());
            }
            (31, _) if asleep.is_none() && how % 4 == 0 => self.restart(domain)?,
            (31, _) if asleep.is_none() => self.settle()?,
            _ => {}
        }
        Ok(())
    }

    fn stand(&self, number: RawFd, home: usize, bordered: bool) {
        let number_of = Number(number);
        let source = Rc::new(if bordered { Source::with_borders(number_of) } else { Source::new(number_of) });
        self.ends.borrow_mut().push(End { source: Some(source), number, home, bordered, betrayed: false });
    }

    /// The domain ends, with its tasks, and another one takes its place.
    fn restart(&self, domain: usize) -> Checked {
        self.show("restarted");
        kernel::refuse(None); // A domain that cannot be made is another matter.
        self.domains[domain].borrow().uninstall();
        *self.points[domain].borrow_mut() = Points::default();
        *self.domains[domain].borrow_mut() = install(self.reactor, self.material).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// A task tries, at once if it was `resumed`; where there is nothing, it waits. What happens `between` does so after its call and before it
    /// waits.
    fn task(
        self: &Rc<Self>,
        end: usize,
        direction: Direction,
        mut resumed: bool,
        most: usize,
        interrupted: bool,
        between: Vec<Operation>,
    ) -> Checked {
        let Some((source, home)) = self.ends.borrow().get(end).and_then(|end| Some((end.source.clone()?, end.home))) else {
            return Ok(());
        };
        let mut interrupted = interrupted.then_some(Errno::INTR);
        let mut call = |source: &Source<Number>| {
            let moved = match (interrupted.take(), direction) {
                (Some(errno), _) => Err(errno),
                (None, Direction::Read) => kernel::read(source.io().0, most),
                (None, Direction::Write) => kernel::write(source.io().0, most),
            }?;
            source.moved(direction, moved, most);
            Ok(moved)
        };
        let mut between = Some(between);
        for _ in 0..MOST_ROUNDS {
            self.enter(home);
            match source.attempt(reactor::current().as_deref(), direction, resumed, &mut call) {
                Some(Ok(moved)) => {
                    self.show(if moved == 0 { "end" } else { "moved" });
                    return Ok(());
                }
                Some(Err(_)) => {
                    self.show("error");
                    return Ok(());
                }
                None => {}
            }
            // The system and the other domain go on while this task is polled.
            for operation in between.take().into_iter().flatten() {
                self.operate(operation, &mut std::iter::empty(), Some(home))?;
            }
            self.enter(home);
            let id = self.points[home].borrow_mut().open(self.generation.replace(self.generation.get() + 1));
            let armed = source.arm(direction, id);
            let mut points = self.points[home].borrow_mut();
            match armed {
                Ok(()) => {
                    self.show("armed");
                    points.waiting.insert(id.to_bits(), Waiter { end, direction });
                    return Ok(());
                }
                Err(Unarmed::Failed(_)) => {
                    self.show("refused");
                    points.close(id);
                    return Ok(());
                }
                Err(Unarmed::Ready) => {
                    points.close(id);
                    resumed = true;
                }
            }
        }
        Err(format!("a task tries over and over at end {end}"))
    }

    /// A task on this domain gives up its wait.
    fn give_up(&self, domain: usize, pick: usize, asleep: Option<usize>) {
        let mut points = self.points[domain].borrow_mut();
        if points.waiting.is_empty() || asleep == Some(domain) {
            return;
        }
        let id = *points.waiting.keys().nth(pick % points.waiting.len()).expect("there is one");
        points.waiting.remove(&id);
        points.given_up.push(PointId::from_bits(id));
    }

    /// A domain looks for events, as the core does; who is resumed tries again.
    fn select(self: &Rc<Self>, domain: usize, wait: Wait) -> Result<usize, String> {
        self.enter(domain);
        let told = std::mem::take(&mut self.points[domain].borrow_mut().given_up);
        told.iter().for_each(|&id| self.points[domain].borrow_mut().close(id));
        let reactor = self.domains[domain].borrow().clone();
        let mut resumed = Vec::new();
        reactor.select(wait, &told, &mut |id| resumed.push(id)).map_err(|error| format!("select fails: {error}"))?;
        let mut woken = Vec::new();
        for id in &resumed {
            let mut points = self.points[domain].borrow_mut();
            if !points.ever.contains(&id.to_bits()) {
                return Err(format!("R34: {id:?} is resumed, which is no point of domain {domain}"));
            }
            if let Some(waiter) = points.waiting.remove(&id.to_bits()) {
                points.close(*id);
                woken.push(waiter);
            }
        }
        for waiter in &woken {
            self.note(|| format!("  resumed on {domain}: {waiter:?}"));
            self.show("resumed");
            if self.ends.borrow()[waiter.end].home == domain {
                self.task(waiter.end, waiter.direction, true, 4, false, Vec::new())?;
            } else {
                self.show("moved away");
            }
        }
        Ok(woken.len())
    }

    /// The same, while others go on.
    fn sleep(self: &Rc<Self>, domain: usize, wait: Wait, others: Vec<Operation>) -> Checked {
        let (world, failed) = (Rc::clone(self), Rc::new(RefCell::new(Ok(()))));
        let (failed_meanwhile, mut others) = (Rc::clone(&failed), others.into_iter());
        kernel::meanwhile(move || {
            for operation in others.by_ref() {
                let operated = world.operate(operation, &mut std::iter::empty(), Some(domain));
                if operated.is_err() {
                    *failed_meanwhile.borrow_mut() = operated;
                }
            }
            world.enter(domain);
        });
        let selected = self.select(domain, wait);
        kernel::meanwhile(|| ());
        failed.replace(Ok(()))?;
        let woken = selected?;
        if kernel::would_sleep_for_ever() && woken == 0 {
            self.show("slept for ever");
            let late = self.select(domain, Wait::No)?;
            crate::same("how many are resumed after a sleep that nothing ends", late, 0)?;
        }
        Ok(())
    }

    /// All is left alone, until nobody is resumed any more.
    fn settle(self: &Rc<Self>) -> Checked {
        self.note(|| "all is left alone".into());
        for round in 0.. {
            let mut woken = 0;
            for domain in 0..DOMAINS {
                woken += self.select(domain, Wait::No)?;
            }
            // An interrupted look is none.
            if woken == 0 && round > 0 {
                break;
            }
            if round > MOST_ROUNDS {
                return Err("R20: domains that have nothing to do are kept awake".into());
            }
        }
        // What a bell has said may be heard once more.
        for domain in 0..DOMAINS {
            let quiet = (0..3).any(|_| self.select(domain, Wait::Forever).is_ok_and(|woken| woken == 0) && kernel::would_sleep_for_ever());
            crate::same("R20: whether a domain that has nothing to do sleeps", (domain, quiet), (domain, true))?;
        }
        let ends = self.ends.borrow();
        for (domain, points) in self.points.iter().enumerate() {
            for (id, &Waiter { end, direction }) in &points.borrow().waiting {
                let number = ends[end].number;
                let ready = match direction {
                    Direction::Read => kernel::is_readable(number),
                    Direction::Write => kernel::is_writable(number),
                };
                let lost = ready || ends[end].source.is_none();
                if lost && !ends[end].betrayed {
                    return Err(format!("a lost wake-up: domain {domain} waits at end {end}, number {number}, {direction:?}, {id:x}"));
                }
            }
        }
        Ok(())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The sources first, as a domain drops its tasks before its events.
        self.ends.borrow_mut().clear();
        self.domains.iter().for_each(|domain| domain.borrow().uninstall());
        kernel::reset();
    }
}
