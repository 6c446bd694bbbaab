//! Descriptors that are made up, and what becomes of them.
//!
//! A *number* names a file, as in a process; several numbers may name one file ([`duplicate`]), and an epoll instance knows a registration by
//! number and file, as Linux does: closing a number takes its registration out only when no other one names the file.
//!
//! Readiness is edge-triggered where it is asked to be: an edge comes when something arrives at a file, or when a registration is made or
//! changed and something is there already. For room to write there is an edge only if a write fell short before, as for TCP.

#![allow(unsafe_code)] // Numbers of sockets are borrowed as descriptors, under *No call*.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use real::event::epoll::{Event, EventData, EventFlags};
use real::event::{PollFlags, Timespec};
use real::io::Errno;

/// Numbers of sockets are below.
pub const NUMBERS: usize = 64;
/// Numbers of what has a real descriptor begin here.
const OWNED: RawFd = 512;

/// What somebody else does while a domain sleeps.
type Meanwhile = Box<dyn FnMut()>;

/// One end of a stream.
#[derive(Debug, Default)]
struct File {
    /// Bytes to be read.
    inbox: usize,
    /// After so many of them a read stops, though there are more: urgent data, or a border.
    mark: Option<usize>,
    urgent: bool,
    ended: bool,
    /// Not told yet: the next call says it.
    reset: Option<bool>,
    /// How many bytes it takes.
    room: usize,
    /// A write fell short since there was last an edge for it.
    wants_room: bool,
}

impl File {
    fn level(&self) -> EventFlags {
        let gone = self.reset.is_some();
        let mut level = EventFlags::empty();
        level.set(EventFlags::IN, self.inbox > 0 || self.ended || gone);
        level.set(EventFlags::RDHUP, self.ended || gone);
        level.set(EventFlags::PRI, self.urgent);
        level.set(EventFlags::OUT, self.room > 0 || gone);
        level.set(EventFlags::ERR, self.reset == Some(true));
        level.set(EventFlags::HUP, gone);
        level
    }
}

#[derive(Debug)]
struct Registration {
    data: u64,
    flags: EventFlags,
    /// It is in the list of those that have something to tell.
    listed: bool,
}

/// A registration is known by number and file.
type Registrations = BTreeMap<(RawFd, usize), Registration>;

/// The kernel of a thread.
#[derive(Debug, Default)]
pub struct Kernel {
    now: u64,
    files: Vec<File>,
    numbers: BTreeMap<RawFd, usize>,
    events: BTreeMap<RawFd, usize>,
    epolls: BTreeMap<RawFd, Registrations>,
    /// What the next call that registers gives.
    refusal: Option<Errno>,
    interrupted: bool,
    /// The last sleep would never have ended.
    forever: bool,
    /// For the test of the detector: arrivals make no edge any more.
    deaf: bool,
}

thread_local! {
    static KERNEL: RefCell<Kernel> = RefCell::default();
    static MEANWHILE: Cell<Option<Meanwhile>> = const { Cell::new(None) };
}

fn with<R>(f: impl FnOnce(&mut Kernel) -> R) -> R {
    KERNEL.with_borrow_mut(f)
}

/// What the calls on a socket give.
pub type Moved = Result<usize, Errno>;

// ---- what a test plays with

/// Forgets everything.
pub fn reset() {
    MEANWHILE.take();
    with(|kernel| *kernel = Kernel::default());
}

/// Arrivals make no edge from now on: the detector must find it.
pub fn turn_deaf() {
    with(|kernel| kernel.deaf = true);
}

/// Nanoseconds.
pub fn now() -> u64 {
    with(|kernel| kernel.now)
}

/// Happens at the beginning of every sleep, also one of no length.
pub fn meanwhile(what: impl FnMut() + 'static) {
    MEANWHILE.set(Some(Box::new(what)));
}

/// Whether the last sleep would never have ended. Nobody can do that here: who would wakes up for no reason.
pub fn would_sleep_for_ever() -> bool {
    with(|kernel| kernel.forever)
}

/// The next sleep is interrupted by a signal.
pub fn interrupt() {
    with(|kernel| kernel.interrupted = true);
}

/// The next call that registers a descriptor, or changes how it is, gives this.
pub fn refuse(errno: Option<Errno>) {
    with(|kernel| kernel.refusal = errno);
}

/// A new socket, at the lowest number that is free, which takes `room` bytes.
pub fn socket(room: usize) -> Option<RawFd> {
    with(|kernel| {
        let number = kernel.free()?;
        kernel.numbers.insert(number, kernel.files.len());
        kernel.files.push(File { room, ..File::default() });
        Some(number)
    })
}

/// Another number for the file that `number` names.
pub fn duplicate(number: RawFd) -> Option<RawFd> {
    with(|kernel| {
        let (free, file) = (kernel.free()?, *kernel.numbers.get(&number)?);
        kernel.numbers.insert(free, file);
        Some(free)
    })
}

/// Closes a number. A registration stays while another number names the file.
pub fn close(number: RawFd) {
    with(|kernel| {
        let Some(file) = kernel.numbers.remove(&number) else { return };
        if !kernel.numbers.values().any(|&other| other == file) {
            kernel.epolls.values_mut().for_each(|registrations| registrations.retain(|&(_, of), _| of != file));
        }
    });
}

/// Whether a call would do something, error included.
pub fn is_readable(number: RawFd) -> bool {
    with(|kernel| kernel.file(number).is_some_and(|file| file.level().contains(EventFlags::IN)))
}

/// Whether a call would do something, error included.
pub fn is_writable(number: RawFd) -> bool {
    with(|kernel| kernel.file(number).is_some_and(|file| file.level().contains(EventFlags::OUT)))
}

/// Bytes arrive.
pub fn arrive(number: RawFd, bytes: usize) {
    with(|kernel| kernel.happens(number, EventFlags::IN, |file| file.inbox += bytes));
}

/// Urgent bytes arrive: a read stops before them.
pub fn arrive_urgently(number: RawFd, bytes: usize) {
    let come = |file: &mut File| {
        file.mark = Some(file.inbox).filter(|&before| before > 0);
        file.inbox += bytes;
        file.urgent = true;
    };
    with(|kernel| kernel.happens(number, EventFlags::IN | EventFlags::PRI, come));
}

/// A border is put behind what is there: a read stops at it. Only a stream that says so may have them.
pub fn border(number: RawFd) {
    with(|kernel| kernel.file(number).into_iter().for_each(|file| file.mark = Some(file.inbox).filter(|&before| before > 0)));
}

/// The other side has ended its stream.
pub fn end(number: RawFd) {
    with(|kernel| kernel.happens(number, EventFlags::IN | EventFlags::RDHUP, |file| file.ended = true));
}

/// The other side has reset the connection: what has come is lost.
pub fn reset_by_peer(number: RawFd) {
    let come = |file: &mut File| {
        file.inbox = 0;
        file.mark = None;
        file.reset = file.reset.or(Some(true));
    };
    with(|kernel| kernel.happens(number, EventFlags::all(), come));
}

/// The other side has read: there is room again.
pub fn make_room(number: RawFd, bytes: usize) {
    with(|kernel| {
        let wanted = kernel.file(number).is_some_and(|file| std::mem::take(&mut file.wants_room));
        let edge = if wanted { EventFlags::OUT } else { EventFlags::empty() };
        kernel.happens(number, edge, |file| file.room += bytes);
    });
}

/// An edge without news.
pub fn nudge(number: RawFd) {
    with(|kernel| kernel.happens(number, EventFlags::all(), |_| ()));
}

/// Reads up to `most` bytes.
///
/// # Errors
/// `EAGAIN`, `ECONNRESET`, `EBADF`.
pub fn read(number: RawFd, most: usize) -> Moved {
    with(|kernel| {
        let file = kernel.file(number).ok_or(Errno::BADF)?;
        match file.reset {
            Some(true) => {
                file.reset = Some(false);
                return Err(Errno::CONNRESET);
            }
            Some(false) => return Ok(0),
            None => {}
        }
        let moved = most.min(file.mark.unwrap_or(file.inbox));
        if moved == 0 && most > 0 {
            return if file.ended { Ok(0) } else { Err(Errno::AGAIN) };
        }
        file.inbox -= moved;
        let left = file.mark.map(|mark| mark - moved);
        if moved > 0 && left.unwrap_or(0) == 0 {
            file.urgent = false;
        }
        file.mark = left.filter(|&left| left > 0);
        Ok(moved)
    })
}

/// Writes up to `most` bytes.
///
/// # Errors
/// `EAGAIN`, `ECONNRESET`, `EPIPE`, `EBADF`.
pub fn write(number: RawFd, most: usize) -> Moved {
    with(|kernel| {
        let file = kernel.file(number).ok_or(Errno::BADF)?;
        match file.reset {
            Some(true) => {
                file.reset = Some(false);
                return Err(Errno::CONNRESET);
            }
            Some(false) => return Err(Errno::PIPE),
            None => {}
        }
        let moved = most.min(file.room);
        file.room -= moved;
        file.wants_room |= moved < most;
        if moved == 0 && most > 0 { Err(Errno::AGAIN) } else { Ok(moved) }
    })
}

/// A socket's number as a descriptor.
pub fn borrow(number: RawFd) -> BorrowedFd<'static> {
    assert!((0..NUMBERS as RawFd).contains(&number), "only a socket's number");
    // SAFETY: *No call*: what is given such a number is this crate, and it makes no call of the system with it.
    unsafe { BorrowedFd::borrow_raw(number) }
}

// ---- what the reactor calls

/// What `epoll_ctl` is asked.
#[derive(Debug)]
pub enum Control {
    /// `EPOLL_CTL_ADD`
    Add(u64, EventFlags),
    /// `EPOLL_CTL_MOD`
    Modify(u64, EventFlags),
    /// `EPOLL_CTL_DEL`
    Delete,
}

pub(crate) fn new_event() -> Result<OwnedFd, Errno> {
    let fd = owned()?;
    with(|kernel| kernel.events.insert(fd.as_raw_fd(), 0));
    Ok(fd)
}

pub(crate) fn new_epoll() -> Result<OwnedFd, Errno> {
    let fd = owned()?;
    with(|kernel| kernel.epolls.insert(fd.as_raw_fd(), Registrations::new()));
    Ok(fd)
}

/// A descriptor that is only there to be owned.
fn owned() -> Result<OwnedFd, Errno> {
    thread_local! {
        static NULL: std::fs::File = std::fs::File::open("/dev/null").expect("there is one on every Unix");
    }
    NULL.with(|null| real::io::fcntl_dupfd_cloexec(null, OWNED))
}

pub(crate) fn read_event(fd: BorrowedFd<'_>) -> Moved {
    with(|kernel| match kernel.events.get_mut(&fd.as_raw_fd()).map(std::mem::take) {
        None => Err(Errno::BADF),
        Some(0) => Err(Errno::AGAIN),
        Some(_) => Ok(8),
    })
}

pub(crate) fn write_event(fd: BorrowedFd<'_>) -> Moved {
    with(|kernel| {
        let number = fd.as_raw_fd();
        *kernel.events.get_mut(&number).ok_or(Errno::BADF)? += 1;
        kernel.edge(|&(other, _)| other == number, EventFlags::IN);
        Ok(8)
    })
}

pub(crate) fn control(epoll: BorrowedFd<'_>, fd: BorrowedFd<'_>, what: Control) -> Result<(), Errno> {
    with(|kernel| {
        if let Some(refusal) = kernel.refusal.take_if(|_| !matches!(what, Control::Delete)) {
            return Err(refusal);
        }
        let number = fd.as_raw_fd();
        let file = match kernel.events.contains_key(&number) {
            true => usize::MAX,
            false => *kernel.numbers.get(&number).ok_or(Errno::BADF)?,
        };
        let level = kernel.looked_at(number, file);
        let registrations = kernel.epolls.get_mut(&epoll.as_raw_fd()).ok_or(Errno::BADF)?;
        let there = registrations.contains_key(&(number, file));
        match what {
            Control::Add(..) if there => Err(Errno::EXIST),
            Control::Modify(..) | Control::Delete if !there => Err(Errno::NOENT),
            Control::Add(data, flags) | Control::Modify(data, flags) => {
                let listed = level.intersects(asked(flags));
                registrations.insert((number, file), Registration { data, flags, listed });
                Ok(())
            }
            Control::Delete => {
                registrations.remove(&(number, file));
                Ok(())
            }
        }
    })
}

/// What is told to who asks for `flags`.
fn asked(flags: EventFlags) -> EventFlags {
    flags.difference(EventFlags::ET).union(EventFlags::ERR | EventFlags::HUP)
}

/// Sleeps until `look` finds something, the time is over, or a signal comes. What happens meanwhile happens at the beginning.
pub(crate) fn sleep(timeout: Option<&Timespec>, look: impl FnOnce(&mut Kernel) -> usize) -> Moved {
    if let Some(mut what) = MEANWHILE.take() {
        what();
        MEANWHILE.set(Some(what));
    }
    with(|kernel| {
        kernel.forever = false;
        if std::mem::take(&mut kernel.interrupted) {
            return Err(Errno::INTR);
        }
        let count = look(kernel);
        kernel.forever = count == 0 && timeout.is_none();
        if let Some(time) = timeout
            && count == 0
        {
            let time = Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32);
            kernel.now += u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        }
        Ok(count)
    })
}

impl Kernel {
    fn free(&self) -> Option<RawFd> {
        (0..NUMBERS as RawFd).find(|number| !self.numbers.contains_key(number))
    }

    fn file(&mut self, number: RawFd) -> Option<&mut File> {
        self.numbers.get(&number).map(|&file| &mut self.files[file])
    }

    /// The level of an `eventfd`, or of a file. Who finds no room there wants to be told of some, as by `tcp_poll`.
    fn looked_at(&mut self, number: RawFd, file: usize) -> EventFlags {
        match (self.events.get(&number), self.files.get_mut(file)) {
            (Some(&count), _) if count > 0 => EventFlags::IN,
            (None, Some(file)) => {
                file.wants_room |= file.room == 0;
                file.level()
            }
            _ => EventFlags::empty(),
        }
    }

    /// Something happens to a file: an edge for whoever asked for it.
    fn happens(&mut self, number: RawFd, edge: EventFlags, what: impl FnOnce(&mut File)) {
        let Some(&file) = self.numbers.get(&number) else { return };
        what(&mut self.files[file]);
        if !self.deaf {
            self.edge(|&(_, of)| of == file, edge);
        }
    }

    fn edge(&mut self, whose: impl Fn(&(RawFd, usize)) -> bool, edge: EventFlags) {
        for (_, registration) in self.epolls.values_mut().flatten().filter(|(key, _)| whose(key)) {
            registration.listed |= asked(registration.flags).intersects(edge);
        }
    }

    /// What `poll` says of a descriptor.
    pub(crate) fn poll(&mut self, number: RawFd, events: PollFlags) -> PollFlags {
        if self.epolls.contains_key(&number) {
            return if self.told(number, 1).is_empty() { PollFlags::empty() } else { PollFlags::IN };
        }
        let file = match (self.events.contains_key(&number), self.numbers.get(&number)) {
            (true, _) => usize::MAX,
            (false, Some(&file)) => file,
            (false, None) => return PollFlags::NVAL,
        };
        let level = PollFlags::from_bits_truncate(self.looked_at(number, file).bits() as u16);
        level & (events | PollFlags::ERR | PollFlags::HUP)
    }

    /// The registrations that have something to tell. One that is looked at and has nothing is listed no longer.
    fn told(&mut self, epoll: RawFd, most: usize) -> Vec<((RawFd, usize), EventFlags)> {
        let Some(mut registrations) = self.epolls.remove(&epoll) else { return Vec::new() };
        let mut told = Vec::new();
        for (&key, registration) in registrations.iter_mut().filter(|(_, registration)| registration.listed) {
            if told.len() == most {
                break;
            }
            let flags = self.looked_at(key.0, key.1) & asked(registration.flags);
            registration.listed = !flags.is_empty();
            told.extend(registration.listed.then_some((key, flags)));
        }
        self.epolls.insert(epoll, registrations);
        told
    }

    /// What `epoll_wait` says.
    pub(crate) fn harvest(&mut self, epoll: RawFd, events: &mut [Event]) -> usize {
        let told = self.told(epoll, events.len());
        for (place, (key, flags)) in told.iter().enumerate() {
            let Some(registration) = self.epolls.get_mut(&epoll).and_then(|all| all.get_mut(key)) else { continue };
            events[place] = Event { flags: *flags, data: EventData::new_u64(registration.data) };
            registration.listed = !registration.flags.contains(EventFlags::ET);
        }
        told.len()
    }
}
