//! The io_uring reactor: what is asked of the kernel is collected while tasks run, and handed over in the call that also sleeps.
//!
//! A domain's [`ring`] takes operations and gives completions. A wait costs an operation and no call of its own: an entry whose waiters
//! have changed is noted, and the next `select` hands over what has become of it, together with all others. What was begun and given
//! up in between never reaches the kernel.
//!
//! # Level, and only while wanted
//!
//! An operation asks for one event of one descriptor, and is under way exactly while a point waits for that. So nothing is registered for
//! a descriptor that nobody waits for: one that goes to another domain leaves nothing behind, one that is closed is closed. (A poll that
//! is repeated by the kernel, `IORING_POLL_ADD_MULTI`, would hold on to the file until this domain took it back.) And since each one looks
//! first at what is there already, it needs no rule about what stands behind a short read: as with `poll(2)`, it is seen. The one exception is a
//! [receive] that rests between two reads, until the next call at the latest.
//!
//! # Invariants
//!
//! - *By number*: an operation names its descriptor by number, and is made only in the call that hands it over, for an entry that is open then.
//! - *Taken in whole*: after each `enter` every completion is taken, those for which there was no room too.
//!
//! Everything here belongs to the domain.

mod buffers;
mod limit;
mod operations;
mod receive;
mod ring;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use io_uring::squeue::Flags;
use io_uring::{cqueue, opcode, types};
use matou_core::PointId;
use matou_core::platform::Wait;
use rustix::event::PollFlags;

use self::buffers::Buffers;
use self::operations::{Name, Polls, Slot};
use self::receive::Receiving;
use self::ring::{Ring, Sleep};
use super::table::{Direction, Readiness, Table, Token};
use super::unread::Unread;
use crate::interrupt::Bell;
use crate::time::{Duration, clock};

/// How long to wait for what is taken back before that is asked again.
const AGAIN: Duration = Duration::from_millis(1);

const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];

pub(super) struct Uring {
    ring: Ring,
    buffers: Buffers,
    polls: Polls,
    /// What is under way for each entry of the table.
    entries: Vec<Entry>,
    /// What came for an entry and could not stay in a buffer.
    copied: HashMap<usize, Box<Unread>>,
    /// The entries to look at before the next call.
    changed: Vec<u32>,
    /// Operations to take back with the next call.
    unwanted: Vec<Name>,
    /// The entries whose receive may have to be taken back with the next call.
    resting: Vec<u32>,
    /// Whether a receive may be repeated by the kernel.
    repeats: bool,
    /// How often it was asked for events, as far as there is room for that.
    turn: u16,
    bell: RawFd,
    /// Whether the kernel watches the bell.
    watches_bell: bool,
    /// Whether the bell rang outside of `select`: the next one does not sleep.
    rung: bool,
}

/// There are as many as connections that wait: it is small, and leads to what is rare.
#[derive(Default)]
struct Entry {
    polls: [Option<Slot>; 2],
    /// Whether one that waits to read asks for readiness, and not for what comes.
    polls_reads: bool,
    receiving: Receiving,
    /// Whether it is among `changed`.
    changed: bool,
}

// Part of what a connection that waits costs (DESIGN: 512 bytes with all).
const _: () = assert!(size_of::<Entry>() <= 28);

impl Uring {
    pub(super) fn new(bell: &Bell) -> io::Result<Uring> {
        Uring::tried(bell).map(|(uring, _)| uring)
    }

    /// One that has the kernel repeat receives; none where it cannot.
    pub(super) fn that_repeats(bell: &Bell) -> Option<Uring> {
        if limit::is_unknown() {
            return None;
        }
        let (mut uring, is_at_rest) = Uring::tried(bell).ok()?;
        if uring.repeats {
            return Some(uring);
        }
        if is_at_rest {
            uring.buffers.let_go();
        }
        None
    }

    /// A new one, and whether nothing of what was tried with it is under way any more.
    fn tried(bell: &Bell) -> io::Result<(Uring, bool)> {
        let mut ring = Ring::new()?;
        let mut buffers = Buffers::new(&ring)?;
        let known = limit::is_known(&mut ring, &mut buffers);
        let uring = Uring {
            repeats: *known.as_ref().unwrap_or(&false),
            buffers,
            ring,
            polls: Polls::default(),
            entries: Vec::new(),
            copied: HashMap::new(),
            changed: Vec::new(),
            unwanted: Vec::new(),
            resting: Vec::new(),
            turn: 1,
            bell: bell.as_fd().as_raw_fd(),
            watches_bell: false,
            rung: false,
        };
        Ok((uring, known.is_ok()))
    }

    /// Begins to watch a descriptor for `direction`.
    pub(super) fn join(&mut self, _fd: BorrowedFd<'_>, token: Token, _direction: Direction) -> io::Result<()> {
        if token.index() >= self.entries.len() {
            self.entries.resize_with(token.index() + 1, Entry::default);
        }
        Ok(())
    }

    /// Whether the file that `token` was given for is the one that has this number now: what is under way is begun anew, on the file that is
    /// there then.
    pub(super) fn still_watches(&mut self, _fd: BorrowedFd<'_>, token: Token) -> bool {
        let polls = self.give_up_polls(token.index());
        self.unwanted.extend(polls);
        self.begin_anew(token.index());
        self.note(token.index());
        true
    }

    /// Watches a descriptor that joined for `direction` too.
    pub(super) fn watch(&mut self, _fd: BorrowedFd<'_>, token: Token, direction: Direction) -> io::Result<()> {
        self.entries[token.index()].polls_reads |= direction == Direction::Read;
        self.note(token.index());
        Ok(())
    }

    /// The waiters of an entry have changed, or it was closed.
    pub(super) fn settle(&mut self, index: usize, _table: &Table) {
        if index < self.entries.len() {
            self.note(index);
        }
    }

    /// The polls of an entry are its own no more. Gives those that are to be taken back.
    fn give_up_polls(&mut self, index: usize) -> impl Iterator<Item = Name> + use<> {
        let polls = std::mem::take(&mut self.entries[index].polls);
        polls.map(|slot| self.polls.at(slot?).map(|(number, _)| Name::Poll(number))).into_iter().flatten()
    }

    fn note(&mut self, index: usize) {
        if !std::mem::replace(&mut self.entries[index].changed, true) {
            self.changed.push(index as u32);
        }
    }

    /// Waits, notes what happened, resumes who waited for it, and answers the bell.
    pub(super) fn select(&mut self, wait: Wait, bell: &Bell, table: &mut Table, resume: &mut dyn FnMut(PointId)) -> io::Result<()> {
        self.turn = self.turn.checked_add(1).unwrap_or(1);
        self.follow(table)?;
        let sleep = match wait {
            _ if std::mem::take(&mut self.rung) => {
                bell.answer(bell.has_edges());
                Sleep::No
            }
            Wait::No => Sleep::No,
            Wait::Until(deadline) => Sleep::For(deadline.saturating_duration_since(clock())),
            Wait::Forever => Sleep::Forever,
        };
        self.ring.enter(sleep)?;
        self.take(table, resume)?;
        if std::mem::take(&mut self.rung) {
            bell.answer(bell.has_edges());
        }
        Ok(())
    }

    /// Takes back what nobody waits for any more, and begins what somebody does.
    fn follow(&mut self, table: &Table) -> io::Result<()> {
        if !self.watches_bell {
            let watch = opcode::PollAdd::new(types::Fd(self.bell), PollFlags::IN.bits().into()).multi(true);
            self.ring.push(&watch.build().user_data(Name::Bell.to_bits()))?;
            self.watches_bell = true;
        }
        let mut changed = std::mem::take(&mut self.changed);
        for &index in &changed {
            let entry = &mut self.entries[index as usize];
            entry.changed = false;
            let (open, wanted) = (table.open_at(index as RawFd), table.wanted(index as usize));
            for direction in DIRECTIONS {
                if direction == Direction::Read {
                    entry.polls_reads &= wanted.read;
                }
                let poll = &mut entry.polls[direction as usize];
                let token = open.filter(|_| wanted.has(direction) && (direction == Direction::Write || entry.polls_reads));
                if let Some((number, at)) = poll.and_then(|slot| self.polls.at(slot))
                    && Some(at) != token
                {
                    self.unwanted.push(Name::Poll(number));
                    *poll = None;
                }
                if let Some(token) = token
                    && poll.is_none()
                {
                    let number = self.polls.begin(token, direction);
                    *poll = Some(number.slot());
                    let watch = opcode::PollAdd::new(types::Fd(index as RawFd), flags(direction)).build();
                    self.ring.push(&watch.user_data(Name::Poll(number).to_bits()))?;
                }
            }
            if open.is_some() && wanted.read {
                self.begin_receive(index as usize)?;
            }
        }
        changed.clear();
        self.changed = changed;
        self.disarm()
    }

    /// Takes back what nobody waits for any more, with the next call: *Only for a read*.
    fn disarm(&mut self) -> io::Result<()> {
        self.rest_no_more();
        while let Some(name) = self.unwanted.pop() {
            self.cancel(name)?;
        }
        Ok(())
    }

    /// A descriptor has left: nothing that is under way may hold on to its file, since whoever closes it means to.
    pub(super) fn leave(&mut self, token: Token, table: &mut Table) {
        if token.index() >= self.entries.len() {
            return;
        }
        self.begin_anew(token.index());
        let polls: Vec<_> = self.give_up_polls(token.index()).collect();
        if !polls.is_empty() {
            // An error is `enter`'s, and shows in the next `select`.
            let _taken_back = self.take_back(&polls, table);
        }
    }

    /// Takes operations back, and waits until the kernel has let go of them. Those whose event came meanwhile are resumed by the next `select`.
    fn take_back(&mut self, names: &[Name], table: &mut Table) -> io::Result<()> {
        let mut resumed = Vec::new();
        let ended = self.take_back_each(names, table, &mut |point| resumed.push(point));
        table.release(resumed);
        ended
    }

    /// Asks again and again, since one that is between the kernel's hands at that moment is not found.
    fn take_back_each(&mut self, names: &[Name], table: &mut Table, resume: &mut dyn FnMut(PointId)) -> io::Result<()> {
        loop {
            let mut under_way = false;
            for &name in names {
                under_way |= self.cancel(name)?;
            }
            if !under_way {
                return Ok(());
            }
            self.disarm()?;
            self.ring.enter(Sleep::For(AGAIN))?;
            self.take(table, resume)?;
        }
    }

    /// Has it taken back with the next call. Says whether it is under way.
    fn cancel(&mut self, name: Name) -> io::Result<bool> {
        let cancelled = match name {
            Name::Poll(number) => self.polls.get_mut(number).map(|poll| &mut poll.cancelled),
            Name::Receive(index) => self.entries[index as usize].receiving.cancelled(),
            Name::Bell | Name::Cancellation => None,
        };
        let Some(cancelled) = cancelled else { return Ok(false) };
        *cancelled = true;
        let cancel = opcode::AsyncCancel::new(name.to_bits()).build().user_data(Name::Cancellation.to_bits());
        self.ring.push(&cancel.flags(Flags::SKIP_SUCCESS))?;
        Ok(true)
    }

    /// *Taken in whole*.
    fn take(&mut self, table: &mut Table, resume: &mut dyn FnMut(PointId)) -> io::Result<()> {
        loop {
            while let Some(completion) = self.ring.next() {
                self.completed(&completion, table, resume);
            }
            if !self.ring.has_more() {
                return Ok(());
            }
            self.ring.enter(Sleep::No)?;
        }
    }

    fn completed(&mut self, completion: &cqueue::Entry, table: &mut Table, resume: &mut dyn FnMut(PointId)) {
        match Name::from_bits(completion.user_data()) {
            Name::Bell => {
                self.watches_bell = cqueue::more(completion.flags());
                self.rung = true;
            }
            // One that came too late: its operation has completed.
            Name::Cancellation => {}
            Name::Receive(index) => self.received(index as usize, completion, table, resume),
            Name::Poll(number) => {
                let Some(poll) = self.polls.end(number) else { return };
                let index = poll.token.index();
                let of_entry = &mut self.entries[index].polls[poll.direction as usize];
                if *of_entry == Some(number.slot()) {
                    *of_entry = None;
                }
                if !poll.cancelled {
                    table.event(poll.token, readiness(completion.result()), resume);
                }
                self.note(index); // Somebody may wait on.
            }
        }
    }

    /// Takes everything back, and waits until the kernel has let go of it. Gives what is ahead, with the places it belongs to.
    pub(super) fn end(&mut self, table: &mut Table) -> Vec<(usize, Box<Unread>)> {
        let mut left = Vec::new();
        for index in 0..self.entries.len() {
            let polls = self.give_up_polls(index);
            self.unwanted.extend(polls);
            left.extend(self.quit(index, table).map(|unread| (index, unread)));
        }
        self.changed.clear();
        let receives = (0..self.entries.len() as u32).map(Name::Receive);
        let under_way: Vec<_> = self.polls.numbers().map(Name::Poll).chain(receives).collect();
        let ended = self.follow(table).and_then(|()| self.take_back_each(&under_way, table, &mut |_| ()));
        if ended.is_ok() {
            debug_assert!(self.buffers.are_all_there(), "whoever had one has given it back");
            self.buffers.let_go();
        }
        left
    }
}

/// What the kernel is asked. `PRI` is not among it: urgent data that nobody takes would keep a socket ready for ever.
fn flags(direction: Direction) -> u32 {
    let flags = match direction {
        Direction::Read => PollFlags::IN,
        Direction::Write => PollFlags::OUT,
    };
    flags.bits().into()
}

fn readiness(result: i32) -> Readiness {
    let both = Readiness::READ.with(Readiness::WRITE);
    let Ok(flags) = u16::try_from(result) else {
        return both; // An error: a call on the descriptor will say which.
    };
    let flags = PollFlags::from_bits_retain(flags);
    let mut news = Readiness::NOTHING;
    if flags.intersects(PollFlags::IN) {
        news = news.with(Readiness::READ);
    }
    if flags.intersects(PollFlags::OUT) {
        news = news.with(Readiness::WRITE);
    }
    if flags.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
        news = news.with(both);
    }
    news
}
