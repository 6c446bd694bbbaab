//! The load: connections to an echo server, each with at most one message on its way.
//!
//! One thread, one level-triggered epoll. A round trip begins with the write of a message and ends when its last byte has
//! come back. Every byte that comes back is compared with what was sent. When the time is up nothing new is sent, and what is
//! on its way is waited for: after a window the server has nothing to do, and all it has spent since the window began was
//! spent on the round trips counted in it.
//!
//! Three kinds of load: [`closed`], where the next message of a connection follows the last one's answer; [`paced`], where
//! messages are due by a schedule that does not ask the server; [`churn`], where every round trip has a connection of its own.

mod churn;
mod closed;
mod connection;
mod paced;
mod schedule;
pub mod tool;

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event};

use self::connection::Connection;
use crate::histogram::Histogram;

/// How long a server may leave every connection without its message before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(10);
/// A message is a piece of one pattern, and begins at one of so many places: two messages in a row are never the same.
const PLACES: usize = 256;
/// From one message's place to the next one's, on one connection. Odd, so that all places have their turn.
const STRIDE: usize = 97;
/// The most that is read at once.
const SCRATCH: usize = 64 * 1024;

/// What the load does while no answer is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// It sleeps, and the server's write wakes it: on a virtual machine that may well be most of what the write costs.
    Sleep,
    /// It asks again and again. The server's write wakes nobody, as if the peer were on another machine.
    Spin,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sleep => "sleep",
            Self::Spin => "spin",
        })
    }
}

impl FromStr for Waiting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sleep" => Ok(Self::Sleep),
            "spin" => Ok(Self::Spin),
            _ => Err(format!("sleep or spin, and not {text}")),
        }
    }
}

/// Connections to one server.
#[derive(Debug)]
pub struct Load {
    server: SocketAddr,
    size: usize,
    waiting: Waiting,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    pattern: Box<[u8]>,
    scratch: Box<[u8]>,
}

/// What one stretch of load gave.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// From the first byte sent to the last one received.
    pub elapsed: Duration,
    /// The duration of every round trip, in nanoseconds; its total is the number of round trips.
    pub latency: Histogram,
}

impl Window {
    /// Round trips per second.
    pub fn rate(&self) -> f64 {
        self.latency.total() as f64 / self.elapsed.as_secs_f64()
    }

    /// Adds another window's time and round trips.
    pub fn merge(&mut self, other: &Self) {
        self.elapsed += other.elapsed;
        self.latency.merge(&other.latency);
    }
}

impl Load {
    /// No connection yet.
    pub fn new(server: SocketAddr, size: usize, waiting: Waiting) -> io::Result<Self> {
        if size == 0 {
            return Err(io::Error::other("a message needs at least one byte"));
        }
        // xorshift: bytes in which a piece that was lost, doubled or moved shows.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let pattern = (0..PLACES + size)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 56) as u8
            })
            .collect();
        Ok(Self {
            server,
            size,
            waiting,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            pattern,
            scratch: vec![0; SCRATCH].into(),
        })
    }

    /// Opens connections until there are `count`. Each makes one round trip before the next is opened: the server has then
    /// accepted it, and the queue of connections it has not accepted yet never overflows.
    pub fn open(&mut self, count: usize) -> io::Result<()> {
        while self.connections.len() < count {
            let index = self.connections.len();
            let stream = TcpStream::connect(self.server).map_err(|error| context(error, format_args!("connection {index}")))?;
            self.connections.push(Connection::new(stream, &self.epoll, index)?);
            self.exchange(index..index + 1, Duration::ZERO)?;
        }
        Ok(())
    }
}

/// One look at epoll: what is ready, which may be nothing when `until` has come or, for one that spins, at once.
fn ready<'e>(
    poll: &OwnedFd,
    events: &'e mut [MaybeUninit<Event>],
    waiting: Waiting,
    until: Option<Instant>,
) -> io::Result<&'e mut [Event]> {
    let timeout = match waiting {
        Waiting::Spin => Duration::ZERO,
        Waiting::Sleep => until.map_or(PATIENCE, |until| until.saturating_duration_since(Instant::now()).min(PATIENCE)),
    };
    match epoll::wait(poll, events, Some(&Timespec::try_from(timeout).map_err(io::Error::other)?)) {
        Ok((ready, _)) => Ok(ready),
        Err(rustix::io::Errno::INTR) => Ok(&mut []),
        Err(error) => Err(error.into()),
    }
}

/// The error of a server that has left all connections waiting for too long.
fn hung(on_their_way: usize) -> io::Error {
    io::Error::new(ErrorKind::TimedOut, format!("{on_their_way} connections have waited {PATIENCE:?} for a message"))
}

fn context(error: io::Error, what: std::fmt::Arguments<'_>) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
