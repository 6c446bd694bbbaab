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

use std::io;

use io_uring::squeue::Flags;
use io_uring::{cqueue, opcode, types};
use rustix::io::Errno;

use super::Uring;
use super::buffers::{Filled, GROUP, SIZE};
use super::operations::{Kind, Number};
use crate::reactor::table::{Direction, Readiness, Table, Token};
use crate::reactor::unread::Unread;
use matou_core::PointId;

/// `IORING_RECVSEND_POLL_FIRST`: who asks has just found nothing.
const POLL_FIRST: u16 = 1;

/// What came, and was not read yet.
#[derive(Debug)]
pub(super) enum Ahead {
    /// In the buffer it came in, from this byte on.
    InBuffer(Filled, u16),
    Copied(Box<Unread>),
}

/// What is received for one entry.
#[derive(Default)]
pub(super) struct Receiving {
    /// The receive under way.
    operation: Option<Number>,
    /// How many bytes a read that waits has room for, and no receive was begun yet for it.
    wanted: u32,
    ahead: Option<Ahead>,
}

impl Uring {
    /// A read with room for so many bytes waits, where nothing is ahead.
    pub(in crate::reactor) fn want(&mut self, index: usize, room: usize) {
        let receiving = &mut self.entries[index].receiving;
        receiving.wanted = receiving.wanted.max(room.min(SIZE) as u32);
        self.note(index);
    }

    /// Whether something is ahead.
    pub(in crate::reactor) fn is_ahead(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.receiving.ahead.is_some())
    }

    /// Whether a receive is under way.
    pub(in crate::reactor) fn is_receiving(&self, index: usize) -> bool {
        self.entries.get(index).is_some_and(|entry| entry.receiving.operation.is_some())
    }

    /// Begins the receive that is wanted.
    pub(super) fn begin_receive(&mut self, index: usize, token: Token) -> io::Result<()> {
        let receiving = &mut self.entries[index].receiving;
        let room = std::mem::take(&mut receiving.wanted);
        if room == 0 || receiving.operation.is_some() || receiving.ahead.is_some() {
            return Ok(());
        }
        let number = self.operations.begin(token, Kind::Receive);
        receiving.operation = Some(number);
        let receive = opcode::Recv::new(types::Fd(index as i32), std::ptr::null_mut(), room).buf_group(GROUP).ioprio(POLL_FIRST);
        self.ring.push(&receive.build().flags(Flags::BUFFER_SELECT).user_data(number.to_bits()))
    }

    /// A receive has ended: keeps what it brought, and resumes who waited.
    pub(super) fn received(
        &mut self,
        number: Number,
        index: usize,
        cancelled: bool,
        completion: &cqueue::Entry,
        table: &mut Table,
        resume: &mut dyn FnMut(PointId),
    ) {
        let result = completion.result();
        let length = usize::try_from(result).unwrap_or(0);
        let filled = cqueue::buffer_select(completion.flags()).and_then(|id| self.buffers.take(id, length));
        let receiving = &mut self.entries[index].receiving;
        if receiving.operation == Some(number) {
            receiving.operation = None;
        }
        match (filled, (result < 0).then(|| Errno::from_raw_os_error(-result))) {
            (Some(filled), _) if length > 0 && !self.buffers.are_scarce() => receiving.ahead = Some(Ahead::InBuffer(filled, 0)),
            (Some(filled), error) => {
                if let Some(error) = error.filter(|&error| is_of_the_stream(error)) {
                    receiving.ahead = Some(Ahead::Copied(Box::new(Unread::of_error(error))));
                }
                if length > 0 {
                    receiving.ahead = Some(Ahead::Copied(Box::new(Unread::of_bytes(self.buffers.bytes(&filled)))));
                }
                self.buffers.give_back(filled);
            }
            (None, Some(error)) if is_of_the_stream(error) => {
                receiving.ahead = Some(Ahead::Copied(Box::new(Unread::of_error(error))));
            }
            // The end, which stays, or what a call of one's own will tell, or find: no buffer was left, it was taken back.
            (None, _) => {}
        }
        let came = receiving.ahead.is_some();
        let Some(token) = table.open_at(index as i32) else { return };
        if came || !cancelled {
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
        let offered = match ahead.as_mut()? {
            Ahead::Copied(unread) => {
                let offered = unread.offer(take);
                if unread.is_empty() {
                    *ahead = None;
                }
                return offered;
            }
            Ahead::InBuffer(filled, read) => match take(&self.buffers.bytes(filled)[usize::from(*read)..]) {
                Ok((result, taken)) => {
                    *read += taken as u16;
                    Ok(result)
                }
                Err(error) => Err(error),
            },
        };
        if let Some(Ahead::InBuffer(filled, _)) = ahead.take_if(|ahead| ahead.is_used_up(&self.buffers)) {
            self.buffers.give_back(filled);
        }
        Some(offered)
    }

    /// No read waits any more: takes the receive back, waits until the kernel has let go of it, and gives what is ahead. Those whose
    /// event came meanwhile are resumed by the next `select`.
    pub(in crate::reactor) fn quit(&mut self, index: usize, table: &mut Table) -> Option<Box<Unread>> {
        let receiving = &mut self.entries.get_mut(index)?.receiving;
        receiving.wanted = 0;
        if let Some(number) = receiving.operation {
            // An error is `enter`'s, and shows in the next `select`: the receive stays under way then, for its entry's next reader.
            let _taken_back = self.take_back(&[number], table);
        }
        match self.entries[index].receiving.ahead.take()? {
            Ahead::Copied(unread) => Some(unread),
            Ahead::InBuffer(filled, read) => {
                let unread = Unread::of_bytes(&self.buffers.bytes(&filled)[usize::from(read)..]);
                self.buffers.give_back(filled);
                Some(Box::new(unread))
            }
        }
    }
}

impl Ahead {
    fn is_used_up(&self, buffers: &super::buffers::Buffers) -> bool {
        match self {
            Ahead::InBuffer(filled, read) => usize::from(*read) >= buffers.bytes(filled).len(),
            Ahead::Copied(unread) => unread.is_empty(),
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
