//! Receiving: the kernel puts what comes for a read that waits into a buffer of the domain, and the read copies it from there.
//!
//! Per entry of the table at most one receive is under way, and only while a read waits for it; it asks for no more than that read has
//! room for. So nothing is taken out of a stream that no call has asked for. A read that is dropped while it waits takes its
//! receive back at once ([`quit`](Uring::quit)), and gives what has come all the same to its socket, for the next read.
//!
//! (A receive that is repeated by the kernel, `IORING_RECV_MULTISHOT`, would spare the operation for each wait. It goes on when nobody waits:
//! a stream that is handed to another domain, or to the standard library, would have left bytes here as a matter of course.)
//!
//! # Invariants
//!
//! - *In order*: what a read may have next is first what its socket carries, then what is ahead here, then what is in the kernel. Nothing is
//!   read from the kernel while there is something ahead or a receive is under way, and no other receive is begun. (It may be under way while its
//!   reader is resumed: an error queue that is not empty ends every poll, and has the kernel receive on a thread of its own.)
//! - *By place*: what is under way and what is ahead belongs to the descriptor number. The stream that reads owns that number, and
//!   keeps it until it has quit here ([`Source`](crate::descriptor::source::Source)), also where another source on it has closed the entry.
//! - *One at a time*: a receive is begun only after the one before has completed for the last time, taken back or not. So the number names it.

use std::io;

use io_uring::squeue::Flags;
use io_uring::{cqueue, opcode, types};
use rustix::io::Errno;

use super::Uring;
use super::buffers::{Filled, GROUP, SIZE};
use super::operations::Name;
use crate::reactor::table::{Direction, Readiness, Table};
use crate::reactor::unread::Unread;
use matou_core::PointId;

/// `IORING_RECVSEND_POLL_FIRST`: who asks has just found nothing.
const POLL_FIRST: u16 = 1;

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

/// What is received for one entry.
#[derive(Default)]
pub(super) struct Receiving {
    ahead: Ahead,
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

    fn has_ahead(&self) -> bool {
        matches!(self.ahead, Ahead::InBuffer(..) | Ahead::Copied)
    }
}

impl Uring {
    /// A read with room for so many bytes waits, where nothing is ahead.
    pub(in crate::reactor) fn want(&mut self, index: usize, room: usize) {
        let (ahead, room) = (&mut self.entries[index].receiving.ahead, room.min(SIZE) as u16);
        match ahead {
            Ahead::Nothing => *ahead = Ahead::Wanted(room),
            Ahead::Wanted(most) => *most = room.max(*most),
            Ahead::InBuffer(..) | Ahead::Copied => {}
        }
        self.note(index);
    }

    /// Whether something is ahead.
    pub(in crate::reactor) fn is_ahead(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.receiving.has_ahead())
    }

    /// Whether a receive is under way.
    pub(in crate::reactor) fn is_receiving(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.receiving.under_way)
    }

    /// Begins the receive that is wanted.
    pub(super) fn begin_receive(&mut self, index: usize) -> io::Result<()> {
        let receiving = &mut self.entries[index].receiving;
        let Ahead::Wanted(room) = receiving.ahead else { return Ok(()) };
        if receiving.under_way {
            return Ok(());
        }
        *receiving = Receiving { ahead: Ahead::Nothing, under_way: true, cancelled: false };
        let receive = opcode::Recv::new(types::Fd(index as i32), std::ptr::null_mut(), room.into()).buf_group(GROUP).ioprio(POLL_FIRST);
        self.ring.push(&receive.build().flags(Flags::BUFFER_SELECT).user_data(Name::Receive(index as u32).to_bits()))
    }

    /// A receive has ended: keeps what it brought, and resumes who waited.
    pub(super) fn received(&mut self, index: usize, completion: &cqueue::Entry, table: &mut Table, resume: &mut dyn FnMut(PointId)) {
        let result = completion.result();
        let length = usize::try_from(result).unwrap_or(0);
        let filled = cqueue::buffer_select(completion.flags()).and_then(|id| self.buffers.take(id, length));
        let receiving = &mut self.entries[index].receiving;
        receiving.under_way = false;
        match (filled, (result < 0).then(|| Errno::from_raw_os_error(-result))) {
            (Some(filled), _) if length > 0 && !self.buffers.are_scarce() => receiving.ahead = Ahead::InBuffer(filled, 0),
            (Some(filled), error) => {
                let error = error.filter(|&error| is_of_the_stream(error)).map(Unread::of_error);
                if let Some(unread) = (length > 0).then(|| Unread::of_bytes(self.buffers.bytes(&filled))).or(error) {
                    receiving.ahead = Ahead::Copied;
                    self.copied.insert(index, Box::new(unread));
                }
                self.buffers.give_back(filled);
            }
            (None, Some(error)) if is_of_the_stream(error) => {
                receiving.ahead = Ahead::Copied;
                self.copied.insert(index, Box::new(Unread::of_error(error)));
            }
            // The end, which stays, or what a call of one's own will tell, or find: no buffer was left, it was taken back.
            (None, _) => {}
        }
        let Some(token) = table.open_at(index as i32) else { return };
        if receiving.has_ahead() || !receiving.cancelled {
            if let Ahead::Wanted(_) = receiving.ahead {
                receiving.ahead = Ahead::Nothing; // Whoever waits looks again.
            }
            table.event(token, Readiness::READ, resume);
        }
        if length > 0 && !cqueue::sock_nonempty(completion.flags()) {
            table.found_nothing(token, Direction::Read); // Behind what is ahead.
        }
        self.note(index);
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
        if self.is_receiving(index) {
            // An error is `enter`'s, and shows in the next `select`: the receive stays under way then, for its entry's next reader.
            let _taken_back = self.take_back(&[Name::Receive(index as u32)], table);
        }
        match std::mem::take(&mut self.entries.get_mut(index)?.receiving.ahead) {
            Ahead::Nothing | Ahead::Wanted(_) => None,
            Ahead::Copied => self.copied.remove(&index),
            Ahead::InBuffer(filled, read) => {
                let unread = Unread::of_bytes(&self.buffers.bytes(&filled)[usize::from(read)..]);
                self.buffers.give_back(filled);
                Some(Box::new(unread))
            }
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
