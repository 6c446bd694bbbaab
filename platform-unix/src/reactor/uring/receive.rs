//! Receiving: the kernel puts what comes for a read that waits into a buffer of the domain, and the read copies it from there.
//!
//! Per entry of the table at most one receive is under way, and only while a read waits for it; it asks for no more than that read has
//! room for. So nothing is taken out of a stream that no call has asked for. A read that is dropped while it waits takes its
//! receive back at once ([`quit`](Uring::quit)), and gives what has come all the same to its socket, for the next read.
//!
//! # Again and again
//!
//! A stream that is read regularly, each read begun before the kernel is asked again after the last one ended, has its receive repeated by the kernel
//! (`IORING_RECV_MULTISHOT`): one operation for many reads. It [ends](limit) when it has brought what the read that began it had room for, so that it may never
//! bring more than the one that waits has. A kernel that knows no such end gets an operation for each wait.
//!
//! Between two reads it *rests*. The next one goes on with it; if there is none, the next call takes it back before it lets anything come. The kernel does
//! as it is asked: what is repeated stays in its table from the first wait on, and whatever wakes it looks for the cancellation first
//! (`io_poll_check_events`). That it is so is [tried](limit::is_known) beforehand. So a stream that rests may be used elsewhere at once, though it be read
//! or converted there; here, where it costs nothing, it is taken back first.
//!
//! # Invariants
//!
//! - *In order*: what a read may have next is first what its socket carries, then what is ahead here, then what is in the kernel. Nothing is
//!   read from the kernel while there is something ahead or a receive is under way, and no other receive is begun. (It may be under way while its
//!   reader is resumed: an error queue that is not empty ends every poll, and has the kernel receive on a thread of its own.)
//! - *By place*: what is under way and what is ahead belongs to the descriptor number. The stream that reads owns that number, and
//!   keeps it until it has quit here ([`Source`](crate::descriptor::source::Source)), also where another source on it has closed the entry.
//! - *One at a time*: a receive is begun only after the one before has completed for the last time, taken back or not. So the number names it.
//! - *Only for a read*: every call that lets something come is preceded by [`rest_no_more`](Uring::rest_no_more).

#![allow(unsafe_code)] // A stream that is received from is asked about by its number.

use std::collections::HashMap;
use std::io;

use io_uring::squeue::Flags;
use io_uring::{cqueue, opcode, types};
use rustix::io::Errno;

use super::buffers::{Buffers, Filled, GROUP, SIZE};
use super::operations::Name;
use super::{Uring, limit};
use crate::reactor::table::{Direction, Readiness, Table};
use crate::reactor::unread::Unread;
use matou_core::PointId;

/// `IORING_RECVSEND_POLL_FIRST`: who asks has just found nothing.
pub(super) const POLL_FIRST: u16 = 1;

/// After so many reads in a row that were each followed by the next one at once, a receive is repeated.
const REGULAR: u8 = 3;

/// What came, and was not read yet.
#[derive(Debug, Default)]
enum Ahead {
    #[default]
    Nothing,
    /// Nothing, and a read that waits has room for so many bytes, for which no receive was begun yet.
    Wanted(u16),
    /// In the buffer it came in, from this byte on.
    InBuffer(Filled, u16),
    /// Among what was `copied`.
    Copied,
}

/// How what is repeated stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Repetition {
    #[default]
    GoesOn,
    /// It has brought nothing yet.
    Fresh,
    /// No read waits for it: see *Only for a read*.
    Rests,
}

/// What is received for one entry.
#[derive(Default)]
pub(super) struct Receiving {
    ahead: Ahead,
    /// How many bytes the receive under way may still bring, if it is one that is repeated, and was not given up.
    repeated: u16,
    /// The turn in which the last read ended, until the next one waits. Zero is none.
    ended: u16,
    /// How many bytes came last.
    last: u16,
    /// How many reads in a row began in the turn in which the one before had ended.
    regular: u8,
    repetition: Repetition,
    /// Whether a receive is under way.
    under_way: bool,
    /// Whether that was given up: what it brings is of no use for waiting.
    cancelled: bool,
}

impl Receiving {
    /// To be set for a receive that is given up; none, if there is none.
    pub(super) fn cancelled(&mut self) -> Option<&mut bool> {
        self.under_way.then_some(&mut self.cancelled)
    }

    fn wants_nothing(&mut self) {
        if let Ahead::Wanted(_) = self.ahead {
            self.ahead = Ahead::Nothing;
        }
    }

    /// What is repeated stands like this no more. Says whether it did.
    fn ends(&mut self, repetition: Repetition) -> bool {
        let did = self.repetition == repetition;
        if did {
            self.repetition = Repetition::GoesOn;
        }
        did
    }

    fn has_ahead(&self) -> bool {
        matches!(self.ahead, Ahead::InBuffer(..) | Ahead::Copied)
    }
}

impl Uring {
    /// A read with room for so many bytes waits, where nothing is ahead.
    pub(in crate::reactor) fn want(&mut self, index: usize, room: usize) {
        let room = u16::try_from(room).unwrap_or(u16::MAX);
        let receiving = &mut self.entries[index].receiving;
        let at_once = std::mem::take(&mut receiving.ended) == self.turn;
        receiving.regular = if at_once { REGULAR.min(receiving.regular + 1) } else { 0 };
        receiving.ends(Repetition::Rests);
        if (1..=room).contains(&receiving.repeated) {
            return;
        }
        match &mut receiving.ahead {
            nothing @ Ahead::Nothing => *nothing = Ahead::Wanted(room),
            Ahead::Wanted(most) => *most = room.max(*most),
            Ahead::InBuffer(..) | Ahead::Copied => {}
        }
        self.give_up_repeated(index); // It may bring more than there is room for now.
        self.note(index);
    }

    /// A read has its bytes. Says whether a receive goes on for the next one: if none waits by then, it is taken back with the next call.
    pub(in crate::reactor) fn rest(&mut self, index: usize) -> bool {
        let Some(entry) = self.entries.get_mut(index) else { return false };
        let receiving = &mut entry.receiving;
        receiving.ended = self.turn;
        if receiving.repeated == 0 || receiving.has_ahead() {
            return false;
        }
        receiving.repetition = Repetition::Rests;
        self.resting.push(index as u32);
        true
    }

    /// Gives up what is repeated where no read has waited since.
    pub(super) fn rest_no_more(&mut self) {
        while let Some(index) = self.resting.pop() {
            self.rest_no_more_at(index as usize);
        }
    }

    /// There may be another file under this number from now on.
    pub(super) fn begin_anew(&mut self, index: usize) {
        let receiving = &mut self.entries[index].receiving;
        (receiving.regular, receiving.ended) = (0, 0);
        self.rest_no_more_at(index);
    }

    fn rest_no_more_at(&mut self, index: usize) {
        if self.entries[index].receiving.ends(Repetition::Rests) {
            self.give_up_repeated(index);
        }
    }

    /// What is repeated is not gone on with.
    fn give_up_repeated(&mut self, index: usize) {
        if std::mem::take(&mut self.entries[index].receiving.repeated) > 0 {
            self.unwanted.push(Name::Receive(index as u32));
        }
    }

    /// Whether something is ahead.
    pub(in crate::reactor) fn is_ahead(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.receiving.has_ahead())
    }

    /// Whether a receive is under way.
    pub(in crate::reactor) fn is_receiving(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.receiving.under_way)
    }

    #[cfg(test)]
    pub(super) fn is_repeated(&self, index: usize) -> bool {
        self.entries[index].receiving.repeated > 0
    }

    /// Begins the receive that is wanted.
    pub(super) fn begin_receive(&mut self, index: usize) -> io::Result<()> {
        let receiving = &mut self.entries[index].receiving;
        let Ahead::Wanted(room) = receiving.ahead else { return Ok(()) };
        if receiving.under_way {
            return Ok(());
        }
        (receiving.ahead, receiving.under_way, receiving.cancelled) = (Ahead::Nothing, true, false);
        let receive = if self.repeats && receiving.regular >= REGULAR && receiving.last < limit::at_once(room) {
            (receiving.repeated, receiving.repetition) = (room, Repetition::Fresh);
            limit::receive(index as i32, room)
        } else {
            let room = room.min(SIZE as u16).into();
            let receive = opcode::Recv::new(types::Fd(index as i32), std::ptr::null_mut(), room).buf_group(GROUP).ioprio(POLL_FIRST);
            receive.build().flags(Flags::BUFFER_SELECT)
        };
        self.ring.push(&receive.user_data(Name::Receive(index as u32).to_bits()))
    }

    /// A receive has ended, or goes on: keeps what it brought, and resumes who waited.
    pub(super) fn received(&mut self, index: usize, completion: &cqueue::Entry, table: &mut Table, resume: &mut dyn FnMut(PointId)) {
        let (result, more) = (completion.result(), cqueue::more(completion.flags()));
        let length = usize::try_from(result).unwrap_or(0);
        let error = (result < 0).then(|| Errno::from_raw_os_error(-result)).filter(|&error| is_of_the_stream(error));
        let filled = cqueue::buffer_select(completion.flags()).and_then(|id| self.buffers.take(id, length));
        let receiving = &mut self.entries[index].receiving;
        receiving.under_way = more;
        receiving.repeated = if more { receiving.repeated.saturating_sub(length as u16) } else { 0 };
        // Neither bytes nor an error: the end, which stays, or what a call of one's own will tell, or find: no buffer was left, it was taken back.
        let came = error.is_some() || (filled.is_some() && length > 0);
        if came || !receiving.cancelled {
            receiving.wants_nothing(); // Whoever waits looks again.
        }
        match filled {
            Some(filled) if length > 0 && !receiving.has_ahead() && !self.buffers.are_scarce() => {
                receiving.ahead = Ahead::InBuffer(filled, 0);
            }
            filled => {
                if came {
                    let unread = take_copied(index, &mut receiving.ahead, &mut self.copied, &mut self.buffers);
                    let mut unread = unread.unwrap_or_default();
                    unread.push(filled.as_ref().map_or(&[], |filled| self.buffers.bytes(filled)), error);
                    receiving.ahead = Ahead::Copied;
                    self.copied.insert(index, unread);
                }
                filled.into_iter().for_each(|filled| self.buffers.give_back(filled));
            }
        }
        if came {
            receiving.last = length as u16;
        }
        // SAFETY: *By place*: a read has waited since it was begun, so that its stream keeps the number until it has quit.
        if receiving.ends(Repetition::Fresh) && receiving.repeated > 0 && unsafe { limit::is_over(index as i32) } {
            receiving.regular = 0;
            self.give_up_repeated(index); // The next read asks anew, and is told.
        }
        if !more {
            // It may have been given up above, with bytes of the same call behind: the number names the next one from now on.
            self.unwanted.retain(|&name| name != Name::Receive(index as u32));
        }
        let Some(token) = table.open_at(index as i32) else { return };
        if came || !self.entries[index].receiving.cancelled {
            table.event(token, Readiness::READ, resume);
        }
        if more || (length > 0 && !cqueue::sock_nonempty(completion.flags())) {
            table.found_nothing(token, Direction::Read); // Behind what is ahead.
        }
        if !more {
            self.note(index);
        }
    }

    /// Lets `take` have what is ahead; it says how many bytes it has taken.
    pub(in crate::reactor) fn offer<R>(
        &mut self,
        index: usize,
        take: &mut dyn FnMut(&[u8]) -> io::Result<(R, usize)>,
    ) -> Option<io::Result<R>> {
        let ahead = &mut self.entries.get_mut(index)?.receiving.ahead;
        match ahead {
            Ahead::Nothing | Ahead::Wanted(_) => None,
            Ahead::InBuffer(filled, read) => {
                let bytes = &self.buffers.bytes(filled)[usize::from(*read)..];
                let (result, taken) = match take(bytes) {
                    Ok(taken) => taken,
                    Err(error) => return Some(Err(error)),
                };
                *read += taken as u16;
                if taken >= bytes.len()
                    && let Ahead::InBuffer(filled, _) = std::mem::take(ahead)
                {
                    self.buffers.give_back(filled);
                }
                Some(Ok(result))
            }
            Ahead::Copied => {
                let unread = self.copied.get_mut(&index)?;
                let offered = unread.offer(take);
                if unread.is_empty() {
                    *ahead = Ahead::Nothing;
                    self.copied.remove(&index);
                }
                offered
            }
        }
    }

    /// No read waits any more: takes the receive back, waits until the kernel has let go of it, and gives what is ahead. Those whose
    /// event came meanwhile are resumed by the next `select`.
    pub(in crate::reactor) fn quit(&mut self, index: usize, table: &mut Table) -> Option<Box<Unread>> {
        let receiving = &mut self.entries.get_mut(index)?.receiving;
        (receiving.repeated, receiving.repetition) = (0, Repetition::GoesOn);
        receiving.wants_nothing();
        if receiving.under_way {
            // An error is `enter`'s, and shows in the next `select`: the receive stays under way then, for its entry's next reader.
            let _taken_back = self.take_back(&[Name::Receive(index as u32)], table);
        }
        take_copied(index, &mut self.entries[index].receiving.ahead, &mut self.copied, &mut self.buffers)
    }
}

/// Takes what is ahead, out of its buffer.
fn take_copied(index: usize, ahead: &mut Ahead, copied: &mut HashMap<usize, Box<Unread>>, buffers: &mut Buffers) -> Option<Box<Unread>> {
    match std::mem::take(ahead) {
        Ahead::Nothing | Ahead::Wanted(_) => None,
        Ahead::Copied => copied.remove(&index),
        Ahead::InBuffer(filled, read) => {
            let unread = Unread::of_bytes(&buffers.bytes(&filled)[usize::from(read)..]);
            buffers.give_back(filled);
            Some(Box::new(unread))
        }
    }
}

/// Whether an error is the stream's, which tells it only once. Others are of this operation, or come again when they are asked for.
fn is_of_the_stream(error: Errno) -> bool {
    const OF_THE_OPERATION: &[Errno] = &[
        Errno::CANCELED,
        Errno::NOBUFS,
        Errno::INTR,
        Errno::AGAIN,
        Errno::INVAL,
        Errno::OPNOTSUPP,
        Errno::BADF,
        Errno::NOTSOCK,
        Errno::NOMEM,
    ];
    !OF_THE_OPERATION.contains(&error)
}
