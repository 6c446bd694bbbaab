//! The `poll(2)` reactor: for systems without epoll, and to hold the other one against.
//!
//! It is level-triggered and keeps nothing in the kernel: the list it hands over names the sockets somebody waits for now. The
//! list is kept between calls; a wait adds to it, an event or a wait given up takes from it, both in constant time. That the call
//! itself walks the list is `poll`'s nature.
//!
//! It behaves as the epoll reactor does, through the same table: a direction found dry is not tried again before an event. Being
//! level-triggered it needs no rule about what stands behind a short read, and none about what was there before.
//!
//! # Invariants
//!
//! - *Listed while wanted*: after each call from outside an entry is in the list exactly if a point waits there, and for the
//!   directions that are waited for.
//! - *Open while listed*: a socket is taken off the list before it is closed, see the `SAFETY` comment below.
//!
//! Everything here belongs to the domain.

#![allow(unsafe_code)] // `PollFd` holds borrowed descriptors, and the list lives longer than any borrow of a socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use matou_core::PointId;
use matou_core::platform::Wait;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::table::{Direction, Interest, Readiness, Table, Token};
use super::timespec;
use crate::interrupt::Bell;
use crate::time::{Duration, clock};

const UNLISTED: u32 = u32::MAX;

/// The longest sleep a `poll` that counts milliseconds in an `int` can take: 24 days.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

pub(super) struct Poll {
    /// What the system is given. The first is the bell.
    list: Vec<PollFd<'static>>,
    /// Whom each place of `list` is for. The first means nothing.
    holders: Vec<(Token, Interest)>,
    /// Where in `list` each entry of the table is.
    places: Vec<u32>,
}

impl Poll {
    pub(super) fn new(bell: &Bell) -> Poll {
        let first = listed(bell.as_fd().as_raw_fd(), Interest::of(Direction::Read));
        let nobody = (Token::from_bits(Token::NONE), Interest::default());
        Poll { list: vec![first], holders: vec![nobody], places: Vec::new() }
    }

    /// Begins to watch a socket for `direction`.
    pub(super) fn join(&mut self, fd: BorrowedFd<'_>, token: Token, direction: Direction) -> io::Result<()> {
        if token.index() >= self.places.len() {
            self.places.resize(token.index() + 1, UNLISTED);
        }
        // A socket closed behind our back (by its raw number) may still be listed: its interest is not this one's.
        if let Some((_, interest)) = self.holders.get_mut(self.places[token.index()] as usize) {
            *interest = Interest::default();
        }
        self.watch(fd, token, direction)
    }

    /// Whether the file that `token` was given for is the one that has this number now: if not, the next `poll` says so.
    pub(super) fn still_watches(&mut self, _fd: BorrowedFd<'_>, _token: Token) -> bool {
        true
    }

    /// Watches a descriptor that joined for `direction` too.
    pub(super) fn watch(&mut self, fd: BorrowedFd<'_>, token: Token, direction: Direction) -> io::Result<()> {
        let place = self.places[token.index()];
        if place == UNLISTED {
            let interest = Interest::of(direction);
            self.places[token.index()] = self.list.len() as u32;
            self.list.push(listed(fd.as_raw_fd(), interest));
            self.holders.push((token, interest));
        } else {
            let holder = &mut self.holders[place as usize];
            *holder = (token, holder.1.and(direction));
            self.list[place as usize] = listed(fd.as_raw_fd(), holder.1);
        }
        Ok(())
    }

    /// The waiters of an entry have changed, or it was closed: the list is made to follow.
    pub(super) fn settle(&mut self, index: usize, table: &Table) {
        let Some(&place) = self.places.get(index).filter(|&&place| place != UNLISTED) else { return };
        let (place, wanted) = (place as usize, table.wanted(index));
        if wanted.is_none() {
            self.unlist(index, place);
        } else {
            self.holders[place].1 = wanted;
            self.list[place] = listed(index as RawFd, wanted);
        }
    }

    fn unlist(&mut self, index: usize, place: usize) {
        self.places[index] = UNLISTED;
        self.list.swap_remove(place);
        self.holders.swap_remove(place);
        if let Some((moved, _)) = self.holders.get(place) {
            self.places[moved.index()] = place as u32;
        }
    }

    /// Waits, notes what happened, resumes who waited for it, and answers the bell.
    pub(super) fn select(&mut self, wait: Wait, bell: &Bell, table: &mut Table, resume: &mut dyn FnMut(PointId)) -> io::Result<()> {
        let timeout = match wait {
            Wait::No => Some(Duration::ZERO),
            Wait::Until(deadline) => Some(deadline.saturating_duration_since(clock()).min(LONGEST)),
            Wait::Forever => None,
        };
        let mut ready = match poll(&mut self.list, timeout.map(timespec).as_ref()) {
            Ok(ready) => ready,
            Err(Errno::INTR) => return Ok(()), // A signal: nothing happened, and the core looks around.
            Err(Errno::INVAL) => return Err(refused(self.list.len())),
            Err(error) => return Err(error.into()),
        };
        // From the end, since an event takes its place out and puts the last one there.
        for place in (0..self.list.len()).rev() {
            if ready == 0 {
                break;
            }
            let revents = self.list[place].revents();
            if revents.is_empty() {
                continue;
            }
            ready -= 1;
            if place == 0 {
                bell.answer(false);
                continue;
            }
            let token = self.holders[place].0;
            table.event(token, readiness(revents), resume);
            self.settle(token.index(), table);
        }
        Ok(())
    }
}

/// The one thing that it calls invalid.
fn refused(descriptors: usize) -> io::Error {
    let what = "the limit of open files (RLIMIT_NOFILE) was set below that number while they were waited for";
    io::Error::new(io::ErrorKind::InvalidInput, format!("poll(2) takes no list of {descriptors} descriptors: {what}"))
}

/// What the system is asked. `PRI` is not among it: urgent data that nobody takes would keep a socket ready for ever.
fn listed(fd: RawFd, interest: Interest) -> PollFd<'static> {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.read);
    flags.set(PollFlags::OUT, interest.write);
    // SAFETY: the borrow is good while the descriptor is open, and by *Open while listed* it is: a source leaves its reactor
    // before its descriptor is closed or handed out (`Source`), and the reactor keeps the bell. There are exceptions: one that leaves
    // from another thread may be closed between our look at the mail and the end of the sleep; one on a borrowed descriptor may
    // be forgotten, and one whose `AsFd` is a user's may name another descriptor each time. `poll` only asks for readiness, so for
    // a number that is closed, or somebody else's by then, it reports `NVAL` or a readiness that resumes points that are stale or
    // look again; either takes the number off the list.
    PollFd::from_borrowed_fd(unsafe { BorrowedFd::borrow_raw(fd) }, flags)
}

fn readiness(flags: PollFlags) -> Readiness {
    let mut news = Readiness::NOTHING;
    if flags.intersects(PollFlags::IN) {
        news = news.with(Readiness::READ);
    }
    if flags.intersects(PollFlags::OUT) {
        news = news.with(Readiness::WRITE);
    }
    if flags.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
        news = news.with(Readiness::READ).with(Readiness::WRITE);
    }
    news
}
