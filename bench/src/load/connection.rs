//! One connection, and the message on its way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::epoll::{self, EventData, EventFlags};

use super::{PLACES, STRIDE, context};

/// One connection, and the message on its way.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    pub(super) place: usize,
    sent: usize,
    received: usize,
    /// When the message was sent, or was due.
    pub(super) began: Instant,
    /// The last write took less than all; epoll is asked to say when there is room.
    blocked: bool,
}

impl Connection {
    /// One that is connected; epoll knows it by its index from now on.
    pub(super) fn new(stream: TcpStream, poll: &OwnedFd, index: usize) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(poll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        Ok(Self {
            stream,
            // Neighbours do not send the same either.
            place: index % PLACES,
            sent: 0,
            received: 0,
            began: Instant::now(),
            blocked: false,
        })
    }

    /// What an event means: sends on if there is room, reads if something has come, and says whether the message is back.
    pub(super) fn advance(
        &mut self,
        poll: &OwnedFd,
        index: usize,
        flags: EventFlags,
        message: &[u8],
        scratch: &mut [u8],
    ) -> io::Result<bool> {
        if flags.contains(EventFlags::OUT) {
            self.send(poll, index, message)?;
        }
        // Errors and hang-ups are learnt from the read.
        if flags == EventFlags::OUT { Ok(false) } else { self.receive(index, message, scratch) }
    }

    /// The next message; it is to be sent now, or was to be sent then.
    pub(super) fn begin(&mut self, now: Instant) {
        self.place = (self.place + STRIDE) % PLACES;
        self.sent = 0;
        self.received = 0;
        self.began = now;
    }

    /// Sends what there is room for.
    pub(super) fn send(&mut self, epoll: &OwnedFd, index: usize, message: &[u8]) -> io::Result<()> {
        while self.sent < message.len() {
            match self.stream.write(&message[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(context(error, format_args!("connection {index}"))),
            }
        }
        let blocked = self.sent < message.len();
        if blocked != self.blocked {
            self.blocked = blocked;
            let interest = if blocked { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(epoll, &self.stream, EventData::new_u64(index as u64), interest)?;
        }
        Ok(())
    }

    /// Reads once and says whether the whole message is back.
    fn receive(&mut self, index: usize, message: &[u8], scratch: &mut [u8]) -> io::Result<bool> {
        let count = match self.stream.read(scratch) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(false);
            }
            Err(error) => return Err(context(error, format_args!("connection {index}"))),
        };
        let wrong = if count == 0 {
            "the server closed it"
        } else if self.received + count > self.sent {
            "more came back than was sent"
        } else if scratch[..count] != message[self.received..self.received + count] {
            "what came back is not what was sent"
        } else {
            self.received += count;
            return Ok(self.received == message.len());
        };
        Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("connection {index}: {wrong} (after {} of {} bytes of a message)", self.received, message.len()),
        ))
    }
}
