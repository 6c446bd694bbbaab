//! The epoll reactor: edge-triggered, each socket registered once.
//!
//! A socket is added when a call on it first found nothing, for the direction that found it, and changed at most once, when the
//! other direction first has to wait. From then on a wait costs no system call but the sleep itself. An edge is noted in the
//! [`Table`] whether or not somebody waits for it.
//!
//! # What edge-triggering demands
//!
//! - An event is never the only witness: a socket is added (or changed) *after* the call that found nothing, and adding reports
//!   what is there already. So nothing falls between.
//! - Who is told that a socket is ready goes on until a call finds nothing, or less than there was room for. A read that falls
//!   short drained a stream, *unless* its end, an error or urgent data stand behind it: then the event says so, and the table
//!   keeps trying. If they come after that event, they are an edge of their own.
//! - Sockets are removed by `epoll_ctl`, not by closing: a duplicate of the descriptor would keep a closed one registered.
//!
//! # Time
//!
//! `epoll_wait` counts in milliseconds, timers in nanoseconds, and `epoll_pwait2` is unknown to kernels before 5.11 and to older
//! sandboxes. So a sleep is the whole milliseconds in `epoll_wait`, and what is left in `ppoll` on the epoll descriptor itself.
//! Only a timer pays for the second call: an event ends the first.
//!
//! Everything here belongs to the domain, but for [`remove`], which may be called from any thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use matou_core::PointId;
use matou_core::platform::Wait;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::table::{Direction, Interest, Readiness, Table, Token};
use super::timespec;
use crate::interrupt::Bell;
use crate::time::{Duration, clock};

/// How many events one `select` takes. More wait in the kernel for the next one.
const EVENTS: usize = 256;

/// What epoll says of files, and of devices that know no readiness.
const UNPOLLABLE: &str = "this kind of file or device cannot be waited for: it knows no readiness";

pub(super) struct Epoll {
    epoll: Arc<OwnedFd>,
    /// What each entry of the table is registered for.
    registered: Vec<Interest>,
    events: Box<[Event]>,
}

impl Epoll {
    pub(super) fn new(bell: &Bell) -> io::Result<Epoll> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let edges = if bell.has_edges() { EventFlags::ET } else { EventFlags::empty() };
        epoll::add(&epoll, bell, EventData::new_u64(Token::NONE), EventFlags::IN | edges)?;
        let event = Event { flags: EventFlags::empty(), data: EventData::new_u64(Token::NONE) };
        Ok(Epoll { epoll: Arc::new(epoll), registered: Vec::new(), events: vec![event; EVENTS].into() })
    }

    /// What a thread needs to take a socket out.
    pub(super) fn handle(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.epoll)
    }

    /// Begins to watch a socket for `direction`.
    pub(super) fn join(&mut self, fd: BorrowedFd<'_>, token: Token, direction: Direction) -> io::Result<()> {
        let interest = Interest::of(direction);
        match epoll::add(&self.epoll, fd, data(token), flags(interest)) {
            // A descriptor of this number and file is there already: its entry was closed by another one that left.
            Err(Errno::EXIST) => epoll::modify(&self.epoll, fd, data(token), flags(interest))?,
            Err(Errno::PERM) => return Err(io::Error::new(io::ErrorKind::Unsupported, UNPOLLABLE)),
            other => other?,
        }
        if token.index() >= self.registered.len() {
            self.registered.resize(token.index() + 1, Interest::default());
        }
        self.registered[token.index()] = interest;
        Ok(())
    }

    /// Whether the file that `token` was given for is the one that has this number now. What is there already is reported anew.
    pub(super) fn still_watches(&mut self, fd: BorrowedFd<'_>, token: Token) -> bool {
        epoll::modify(&self.epoll, fd, data(token), flags(self.registered[token.index()])).is_ok()
    }

    /// Watches a descriptor that joined for `direction` too.
    pub(super) fn watch(&mut self, fd: BorrowedFd<'_>, token: Token, direction: Direction) -> io::Result<()> {
        let registered = &mut self.registered[token.index()];
        let interest = registered.and(direction);
        if interest != *registered {
            match epoll::modify(&self.epoll, fd, data(token), flags(interest)) {
                // Another one on this descriptor has left on its thread, and its departure is not known here yet.
                Err(Errno::NOENT) => epoll::add(&self.epoll, fd, data(token), flags(interest))?,
                other => other?,
            }
            *registered = interest;
        }
        Ok(())
    }

    /// The waiters of an entry have changed, or it was closed: an edge is reported to nobody just as well.
    pub(super) fn settle(&mut self, _index: usize, _table: &Table) {}

    /// Waits, notes what happened, resumes who waited for it, and answers the bell.
    pub(super) fn select(&mut self, wait: Wait, bell: &Bell, table: &mut Table, resume: &mut dyn FnMut(PointId)) -> io::Result<()> {
        let count = self.sleep(wait)?;
        for event in &self.events[..count] {
            // Copied out: the struct is packed.
            let (flags, bits) = (event.flags, event.data.u64());
            if bits == Token::NONE {
                bell.answer(bell.has_edges());
            } else {
                table.event(Token::from_bits(bits), readiness(flags), resume);
            }
        }
        Ok(())
    }

    fn sleep(&mut self, wait: Wait) -> io::Result<usize> {
        let deadline = match wait {
            Wait::No => return self.take(Some(Duration::ZERO)),
            Wait::Forever => return self.take(None),
            Wait::Until(deadline) => deadline,
        };
        let left = deadline.saturating_duration_since(clock());
        // The call takes an `int`, which ends after 24 days. Waking up then, for no reason, is allowed.
        let whole = left.as_millis().min(i32::MAX as u128) as u64;
        if whole > 0 {
            let count = self.take(Some(Duration::from_millis(whole)))?;
            if count > 0 || whole == i32::MAX as u64 {
                return Ok(count);
            }
        }
        let rest = deadline.saturating_duration_since(clock());
        if !rest.is_zero() {
            match poll(&mut [PollFd::new(&*self.epoll, PollFlags::IN)], Some(&timespec(rest))) {
                Ok(0) | Err(Errno::INTR) => return Ok(0),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        } else if whole > 0 {
            return Ok(0); // The whole milliseconds were all, and they looked.
        }
        self.take(Some(Duration::ZERO))
    }

    fn take(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timeout: Option<Timespec> = timeout.map(timespec);
        match epoll::wait(&self.epoll, &mut *self.events, timeout.as_ref()) {
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0), // A signal: nothing happened, and the core looks around.
            Err(error) => Err(error.into()),
        }
    }
}

/// Takes a socket out of an epoll instance. From any thread; afterwards no event of it is reported.
pub(super) fn remove(epoll: &OwnedFd, fd: BorrowedFd<'_>) {
    // It fails only where the socket is not there any more.
    let _gone = epoll::delete(epoll.as_fd(), fd);
}

fn data(token: Token) -> EventData {
    EventData::new_u64(token.to_bits())
}

fn flags(interest: Interest) -> EventFlags {
    let mut flags = EventFlags::ET;
    if interest.read {
        flags |= EventFlags::IN | EventFlags::RDHUP | EventFlags::PRI;
    }
    if interest.write {
        flags |= EventFlags::OUT;
    }
    flags
}

fn readiness(flags: EventFlags) -> Readiness {
    let mut news = Readiness::NOTHING;
    if flags.intersects(EventFlags::IN) {
        news = news.with(Readiness::READ);
    }
    if flags.intersects(EventFlags::RDHUP | EventFlags::PRI) {
        news = news.with(Readiness::READ).with(Readiness::READ_STUBBORN);
    }
    if flags.intersects(EventFlags::OUT) {
        news = news.with(Readiness::WRITE);
    }
    if flags.intersects(EventFlags::ERR | EventFlags::HUP) {
        let both = Readiness::READ.with(Readiness::WRITE);
        news = news.with(both).with(Readiness::READ_STUBBORN).with(Readiness::WRITE_STUBBORN);
    }
    news
}
