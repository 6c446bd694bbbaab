//! io_uring by hand: what a completion-based server can be with nothing between it and the kernel.
//!
//! Multishot accept and receive, a ring of provided buffers, sends from those buffers, all that a round of completions asks
//! for handed over with the wait for the next one (`submit_and_wait`), task work deferred to that wait.
//!
//! A connection goes away when its receive has ended and nothing of it is being sent: no completion is then on its way to
//! its place in the table, which may be used again.

// The ring's memory and the buffers are the kernel's while it works on them.
#![allow(unsafe_code)]

mod buffers;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::ExitCode;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use matou_bench::Failure;
use matou_bench::args::Args;
use matou_bench::peer;
use matou_bench::serve::Serve;
use rustix::net::{Shutdown, shutdown, sockopt};

use crate::buffers::{Buffers, GROUP};

/// What may be handed over at once.
const SUBMISSIONS: u32 = 4096;
/// Completions that may wait to be looked at.
const COMPLETIONS: u32 = 32_768;
/// The kernel's number for "no buffer is left".
const ENOBUFS: i32 = 105;

fn main() -> ExitCode {
    peer::main(Some(serve), None)
}

/// What a completion is of: the upper half of its number. The lower one is the place of the connection.
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;

/// A piece of a buffer that is to be sent.
struct Piece {
    buffer: u16,
    from: u32,
    to: u32,
}

struct Connection {
    socket: OwnedFd,
    /// In order; the first one is being sent.
    pieces: VecDeque<Piece>,
    receiving: bool,
}

struct Server {
    ring: IoUring,
    listener: i32,
    buffers: Buffers,
    connections: Vec<Option<Connection>>,
    free: Vec<u32>,
    /// Those whose receive ended for want of a buffer.
    starved: Vec<u32>,
}

fn serve(mut serve: Serve, args: Args) -> Result<Infallible, Failure> {
    args.finish()?;
    let ring = IoUring::builder()
        .setup_cqsize(COMPLETIONS)
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(SUBMISSIONS)
        .map_err(|error| format!("raw-uring: the kernel has no io_uring of this kind: {error}"))?;
    let buffers = Buffers::new(&ring, serve.buffer).map_err(|error| format!("raw-uring: no buffer ring: {error}"))?;
    let listener = serve.announced("raw io_uring")?;
    listener.set_nonblocking(false)?;
    let listener_fd = listener.as_raw_fd();
    let mut server = Server { ring, listener: listener_fd, buffers, connections: Vec::new(), free: Vec::new(), starved: Vec::new() };
    server.accept()?;
    loop {
        match server.ring.submit_and_wait(1) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        server.round()?;
    }
}

impl Server {
    /// All completions there are.
    fn round(&mut self) -> io::Result<()> {
        while let Some(entry) = { self.ring.completion().next() } {
            let (kind, place) = (entry.user_data() & !0xffff_ffff, entry.user_data() as u32);
            match kind {
                ACCEPT => self.accepted(&entry)?,
                RECEIVE => self.received(place, &entry)?,
                _ => self.sent(place, entry.result())?,
            }
        }
        self.buffers.publish();
        Ok(())
    }

    /// Hands over to the kernel with the next wait; at once only if there is no room.
    fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: "the buffers stay". What an entry points to is in `buffers`, which live as long as the ring, and a piece's
            // buffer is given back to the kernel only when its send has completed; descriptors are closed after their last one.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            self.ring.submit()?;
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        self.push(opcode::AcceptMulti::new(types::Fd(self.listener)).build().user_data(ACCEPT))
    }

    fn accepted(&mut self, entry: &cqueue::Entry) -> io::Result<()> {
        if !cqueue::more(entry.flags()) {
            self.accept()?;
        }
        if entry.result() < 0 {
            // A connection that is gone already is not the listener's fault; the others are.
            let error = io::Error::from_raw_os_error(-entry.result());
            return if error.kind() == io::ErrorKind::ConnectionAborted { Ok(()) } else { Err(error) };
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let socket = unsafe { OwnedFd::from_raw_fd(entry.result()) };
        sockopt::set_tcp_nodelay(&socket, true)?;
        let place = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() as u32 - 1
        });
        self.connections[place as usize] = Some(Connection { socket, pieces: VecDeque::new(), receiving: false });
        self.receive(place)
    }

    fn receive(&mut self, place: u32) -> io::Result<()> {
        let Some(connection) = &mut self.connections[place as usize] else { return Ok(()) };
        connection.receiving = true;
        let entry = opcode::RecvMulti::new(types::Fd(connection.socket.as_raw_fd()), GROUP).build();
        self.push(entry.user_data(RECEIVE | u64::from(place)))
    }

    fn received(&mut self, place: u32, entry: &cqueue::Entry) -> io::Result<()> {
        let Some(connection) = &mut self.connections[place as usize] else { return Ok(()) };
        connection.receiving = cqueue::more(entry.flags());
        if let Some(buffer) = cqueue::buffer_select(entry.flags()) {
            connection.pieces.push_back(Piece { buffer, from: 0, to: entry.result().max(0) as u32 });
            if connection.pieces.len() == 1 {
                self.send(place)?;
            }
        }
        match entry.result() {
            result if result == -ENOBUFS => self.starved.push(place),
            // It has ended, one way or another.
            ..=0 => self.leave(place),
            // The kernel may end a multishot whenever it wants.
            _ if !cqueue::more(entry.flags()) => self.receive(place)?,
            _ => {}
        }
        Ok(())
    }

    fn send(&mut self, place: u32) -> io::Result<()> {
        let Some(Connection { socket, pieces, .. }) = &self.connections[place as usize] else { return Ok(()) };
        let Some(piece) = pieces.front() else { return Ok(()) };
        let bytes = self.buffers.pointer(piece.buffer, piece.from);
        let entry = opcode::Send::new(types::Fd(socket.as_raw_fd()), bytes, piece.to - piece.from);
        self.push(entry.flags(NO_SIGNAL).build().user_data(SEND | u64::from(place)))
    }

    fn sent(&mut self, place: u32, result: i32) -> io::Result<()> {
        let Some(connection) = &mut self.connections[place as usize] else { return Ok(()) };
        if result < 0 {
            // Nobody will have the rest; the receive ends, too, if it has not.
            for piece in connection.pieces.drain(..) {
                self.buffers.give_back(piece.buffer);
            }
            let _ = shutdown(&connection.socket, Shutdown::Both);
        } else if let Some(piece) = connection.pieces.front_mut() {
            piece.from += result as u32;
            if piece.from == piece.to {
                self.buffers.give_back(piece.buffer);
                connection.pieces.pop_front();
            }
        }
        self.send(place)?;
        self.leave(place);
        // There are buffers again.
        self.buffers.publish();
        for place in std::mem::take(&mut self.starved) {
            self.receive(place)?;
        }
        Ok(())
    }

    /// Closes a connection of which nothing is on its way any more.
    fn leave(&mut self, place: u32) {
        let waits = self.starved.contains(&place);
        let slot = &mut self.connections[place as usize];
        if slot.as_ref().is_some_and(|connection| !connection.receiving && connection.pieces.is_empty() && !waits) {
            // Dropping a stream closes it.
            drop(slot.take().map(|connection| TcpStream::from(connection.socket)));
            self.free.push(place);
        }
    }
}

/// `MSG_NOSIGNAL`.
const NO_SIGNAL: i32 = 0x4000;
