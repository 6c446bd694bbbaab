//! The baseline: the loop one writes by hand, with nothing between it and the kernel.
//!
//! Level-triggered, one read and one write per event. All connections share one buffer, because a loop that finishes with
//! each event before it looks at the next needs no more; only what a connection did not take is kept for it, and until that
//! is gone nothing more is read from it.

use std::convert::Infallible;
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};

use super::Serve;

/// One connection; its place in the table is its file descriptor.
struct Connection {
    socket: OwnedFd,
    /// What was read and could not be written yet.
    unsent: Vec<u8>,
}

/// Serves until something goes wrong with a listener or with epoll itself. Several threads share nothing.
pub fn run(mut serve: Serve) -> io::Result<Infallible> {
    let listener = serve.announced("epoll")?;
    for _ in 1..serve.threads {
        let listener = serve.listener()?;
        thread::spawn(move || handle(&listener, serve.buffer));
    }
    handle(&listener, serve.buffer)
}

fn handle(listener: &TcpListener, buffer: usize) -> io::Result<Infallible> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let accepts = EventData::new_u64(listener.as_raw_fd() as u64);
    epoll::add(&poll, listener, accepts, EventFlags::IN)?;

    let mut buffer = vec![0; buffer];
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = [MaybeUninit::<Event>::uninit(); 1024];
    loop {
        let ready = match epoll::wait(&poll, &mut events, None) {
            Ok((ready, _)) => ready,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        for event in ready {
            let data = event.data;
            if data == accepts {
                accept(&poll, listener, &mut connections)?;
                continue;
            }
            let slot = &mut connections[data.u64() as usize];
            let Some(connection) = slot else { continue };
            let alive =
                if connection.unsent.is_empty() { echo(&poll, data, connection, &mut buffer) } else { flush(&poll, data, connection) };
            // Closing the descriptor takes it out of epoll, too.
            if !matches!(alive, Ok(true)) {
                *slot = None;
            }
        }
    }
}

/// Accepts one connection; if more wait, epoll says so again.
fn accept(poll: &OwnedFd, listener: &TcpListener, connections: &mut Vec<Option<Connection>>) -> io::Result<()> {
    let socket = match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
        Ok(socket) => socket,
        // Nobody there any more: not the listener's fault.
        Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    sockopt::set_tcp_nodelay(&socket, true)?;
    let place = socket.as_raw_fd() as usize;
    epoll::add(poll, &socket, EventData::new_u64(place as u64), EventFlags::IN)?;
    if connections.len() <= place {
        connections.resize_with(place + 1, || None);
    }
    connections[place] = Some(Connection { socket, unsent: Vec::new() });
    Ok(())
}

/// Reads once and writes it back. Says whether the connection goes on.
fn echo(poll: &OwnedFd, data: EventData, connection: &mut Connection, buffer: &mut [u8]) -> rustix::io::Result<bool> {
    let count = match recv(&connection.socket, &mut *buffer, RecvFlags::empty()) {
        Ok((0, _)) => return Ok(false),
        Ok((count, _)) => count,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
        Err(error) => return Err(error),
    };
    let sent = write(&connection.socket, &buffer[..count])?;
    if sent < count {
        connection.unsent.extend_from_slice(&buffer[sent..count]);
        epoll::modify(poll, &connection.socket, data, EventFlags::OUT)?;
    }
    Ok(true)
}

/// Writes what was left over. Says whether the connection goes on.
fn flush(poll: &OwnedFd, data: EventData, connection: &mut Connection) -> rustix::io::Result<bool> {
    let sent = write(&connection.socket, &connection.unsent)?;
    connection.unsent.drain(..sent);
    if connection.unsent.is_empty() {
        epoll::modify(poll, &connection.socket, data, EventFlags::IN)?;
    }
    Ok(true)
}

/// Writes once; no room is nothing written.
fn write(socket: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    match send(socket, bytes, SendFlags::NOSIGNAL) {
        Err(Errno::AGAIN | Errno::INTR) => Ok(0),
        result => result,
    }
}
