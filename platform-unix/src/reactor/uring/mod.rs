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
//! first at what is there already, it needs no rule about what stands behind a short read: as with `poll(2)`, it is seen.
//!
//! # Invariants
//!
//! - *By number*: an operation names its descriptor by number, and is made only in the call that hands it over, for an entry that is open then.
//! - *Taken in whole*: after each `enter` every completion is taken, those for which there was no room too.
//!
//! Everything here belongs to the domain.

mod buffers;
mod operations;
mod receive;
mod ring;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use io_uring::squeue::Flags;
use io_uring::{cqueue, opcode, types};
use matou_core::PointId;
use matou_core::platform::Wait;
use rustix::event::PollFlags;

use self::buffers::Buffers;
use self::operations::{Kind, Number, Operations};
use self::receive::Receiving;
use self::ring::{Ring, Sleep};
use super::table::{Direction, Readiness, Table, Token};
use super::unread::Unread;
use crate::interrupt::Bell;
use crate::time::{Duration, clock};

/// What the completions bear that are nobody's operation: the bell's, and those of cancellations.
const BELL: u64 = Operations::reserved(0);
const CANCELLATION: u64 = Operations::reserved(1);

/// How long to wait for what is taken back before that is asked again.
const AGAIN: Duration = Duration::from_millis(1);

const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];

pub(super) struct Uring {
    ring: Ring,
    buffers: Buffers,
    operations: Operations,
    /// What is under way for each entry of the table.
    entries: Vec<Entry>,
    /// The entries to look at before the next call.
    changed: Vec<u32>,
    /// Operations to take back with the next call.
    unwanted: Vec<Number>,
    bell: RawFd,
    /// Whether the kernel watches the bell.
    watches_bell: bool,
    /// Whether the bell rang outside of `select`: the next one does not sleep.
    rung: bool,
}

#[derive(Default)]
struct Entry {
    polls: [Option<Number>; 2],
    /// Whether one that waits to read asks for readiness, and not for what comes.
    polls_reads: bool,
    receiving: Receiving,
    /// Whether it is among `changed`.
    changed: bool,
}

impl Uring {
    pub(super) fn new(bell: &Bell) -> io::Result<Uring> {
        let ring = Ring::new()?;
        Ok(Uring {
            buffers: Buffers::new(&ring)?,
            ring,
            operations: Operations::default(),
            entries: Vec::new(),
            changed: Vec::new(),
            unwanted: Vec::new(),
            bell: bell.as_fd().as_raw_fd(),
            watches_bell: false,
            rung: false,
        })
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
        self.unwanted.extend(self.entries[token.index()].polls.iter_mut().filter_map(Option::take));
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

    fn note(&mut self, index: usize) {
        if !std::mem::replace(&mut self.entries[index].changed, true) {
            self.changed.push(index as u32);
        }
    }

    /// Waits, notes what happened, resumes who waited for it, and answers the bell.
    pub(super) fn select(&mut self, wait: Wait, bell: &Bell, table: &mut Table, resume: &mut dyn FnMut(PointId)) -> io::Result<()> {
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
            self.ring.push(&watch.build().user_data(BELL))?;
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
                if let Some(number) = *poll
                    && self.operations.get_mut(number).map(|operation| operation.token) != token
                {
                    self.unwanted.push(number);
                    *poll = None;
                }
                if let Some(token) = token
                    && poll.is_none()
                {
                    let number = self.operations.begin(token, Kind::Poll(direction));
                    *poll = Some(number);
                    self.ring
                        .push(&opcode::PollAdd::new(types::Fd(index as RawFd), flags(direction)).build().user_data(number.to_bits()))?;
                }
            }
            if let Some(token) = open
                && wanted.read
            {
                self.begin_receive(index as usize, token)?;
            }
        }
        changed.clear();
        self.changed = changed;
        while let Some(number) = self.unwanted.pop() {
            self.cancel(number)?;
        }
        Ok(())
    }

    /// A descriptor has left: nothing that is under way may hold on to its file, since whoever closes it means to.
    pub(super) fn leave(&mut self, token: Token, table: &mut Table) {
        let Some(entry) = self.entries.get_mut(token.index()) else { return };
        let polls: Vec<_> = entry.polls.iter_mut().filter_map(Option::take).collect();
        if !polls.is_empty() {
            // An error is `enter`'s, and shows in the next `select`.
            let _taken_back = self.take_back(&polls, table);
        }
    }

    /// Takes operations back, and waits until the kernel has let go of them. Those whose event came meanwhile are resumed by the next `select`.
    fn take_back(&mut self, numbers: &[Number], table: &mut Table) -> io::Result<()> {
        let mut resumed = Vec::new();
        let ended = self.take_back_each(numbers, table, &mut |point| resumed.push(point));
        table.release(resumed);
        ended
    }

    /// Asks again and again, since one that is between the kernel's hands at that moment is not found.
    fn take_back_each(&mut self, numbers: &[Number], table: &mut Table, resume: &mut dyn FnMut(PointId)) -> io::Result<()> {
        loop {
            let mut under_way = false;
            for &number in numbers {
                if self.operations.get_mut(number).is_some() {
                    under_way = true;
                    self.cancel(number)?;
                }
            }
            if !under_way {
                return Ok(());
            }
            self.ring.enter(Sleep::For(AGAIN))?;
            self.take(table, resume)?;
        }
    }

    fn cancel(&mut self, number: Number) -> io::Result<()> {
        let Some(operation) = self.operations.get_mut(number) else { return Ok(()) };
        operation.cancelled = true;
        let cancel = opcode::AsyncCancel::new(number.to_bits()).build().user_data(CANCELLATION);
        self.ring.push(&cancel.flags(Flags::SKIP_SUCCESS))
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
        match completion.user_data() {
            BELL => {
                self.watches_bell = cqueue::more(completion.flags());
                self.rung = true;
            }
            // One that came too late: its operation has completed.
            CANCELLATION => {}
            bits => {
                let Some(number) = Number::from_bits(bits) else { return };
                let Some(operation) = self.operations.end(number) else { return };
                let index = operation.token.index();
                let Kind::Poll(direction) = operation.kind else {
                    return self.received(number, index, operation.cancelled, completion, table, resume);
                };
                let poll = &mut self.entries[index].polls[direction as usize];
                if *poll == Some(number) {
                    *poll = None;
                }
                if !operation.cancelled {
                    table.event(operation.token, readiness(completion.result()), resume);
                }
                self.note(index); // Somebody may wait on.
            }
        }
    }

    /// Takes everything back, and waits until the kernel has let go of it. Gives what is ahead, with the places it belongs to.
    pub(super) fn end(&mut self, table: &mut Table) -> Vec<(usize, Box<Unread>)> {
        let mut left = Vec::new();
        for index in 0..self.entries.len() {
            self.unwanted.extend(self.entries[index].polls.iter_mut().filter_map(Option::take));
            left.extend(self.quit(index, table).map(|unread| (index, unread)));
        }
        self.changed.clear();
        let under_way = self.operations.numbers();
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustix::io::Errno;

    use super::super::{DomainReactor, Reactor};
    use super::ring::refusal::REFUSED;
    use crate::interrupt::Material;

    #[test]
    fn a_system_that_refuses_is_an_error_only_for_those_who_asked() {
        let install = |reactor| DomainReactor::install(reactor, Material::DEFAULT, Arc::default(), 64);
        REFUSED.set(Some(Errno::NOSYS));
        let error = install(Some(Reactor::Uring)).err().expect("it was refused");
        assert_eq!((error.kind(), error.to_string().contains("this kernel has none")), (std::io::ErrorKind::Unsupported, true), "{error}");
        if cfg!(not(any(matou_test_poll, matou_test_uring))) {
            let instead = install(None).unwrap();
            assert_eq!(Reactor::current(), Some(Reactor::Epoll));
            instead.uninstall();
        }
        REFUSED.set(None);
        let asked = install(Some(Reactor::Uring)).unwrap();
        assert_eq!(Reactor::current(), Some(Reactor::Uring));
        asked.uninstall();
    }
}
