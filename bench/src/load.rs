//! The load: connections to an echo server, each with one message on its way at any time.
//!
//! One thread, one level-triggered epoll. A round trip begins with the write of a message and ends when its last byte has
//! come back; the next one on that connection begins at once. Every byte that comes back is compared with what was sent. When
//! the time is up nothing new is sent, and what is on its way is waited for: after a window the server has nothing to do, and
//! all it has spent since the window began was spent on the round trips counted in it.

use std::io::{self, ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};

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
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&self.epoll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
            self.connections.push(Connection {
                stream,
                // Neighbours do not send the same either.
                place: index % PLACES,
                sent: 0,
                received: 0,
                began: Instant::now(),
                blocked: false,
            });
            self.exchange(index..index + 1, Duration::ZERO)?;
        }
        Ok(())
    }

    /// Keeps all connections busy for a time.
    pub fn run(&mut self, duration: Duration) -> io::Result<Window> {
        self.exchange(0..self.connections.len(), duration)
    }

    fn exchange(&mut self, which: Range<usize>, duration: Duration) -> io::Result<Window> {
        let Self { epoll, connections, size, waiting, pattern, scratch, .. } = self;
        let message = |place: usize| &pattern[place..place + *size];
        let mut latency = Histogram::default();
        let mut on_their_way = which.len();
        let mut events = [MaybeUninit::<Event>::uninit(); 1024];

        let start = Instant::now();
        let deadline = start + duration;
        for index in which {
            let connection = &mut connections[index];
            connection.begin(Instant::now());
            connection.send(epoll, index, message(connection.place))?;
        }
        // An empty answer comes after all the patience if it sleeps, and at once if it spins.
        let timeout = Timespec::try_from(match waiting {
            Waiting::Sleep => PATIENCE,
            Waiting::Spin => Duration::ZERO,
        })
        .map_err(io::Error::other)?;
        let mut last = start;
        while on_their_way > 0 {
            let ready = match epoll::wait(&*epoll, &mut events, Some(&timeout)) {
                Ok(([], _)) if last.elapsed() < PATIENCE => continue,
                Ok(([], _)) => {
                    return Err(io::Error::new(
                        ErrorKind::TimedOut,
                        format!("{on_their_way} connections have waited {PATIENCE:?} for a message"),
                    ));
                }
                Ok((ready, _)) => ready,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in ready {
                let (flags, data) = (event.flags, event.data);
                let index = data.u64() as usize;
                let connection = &mut connections[index];
                if flags.contains(EventFlags::OUT) {
                    connection.send(epoll, index, message(connection.place))?;
                }
                // Errors and hang-ups are learnt from the read.
                if flags == EventFlags::OUT || !connection.receive(index, message(connection.place), scratch)? {
                    continue;
                }
                last = Instant::now();
                latency.record((last - connection.began).as_nanos() as u64);
                if last < deadline {
                    connection.begin(last);
                    connection.send(epoll, index, message(connection.place))?;
                } else {
                    on_their_way -= 1;
                }
            }
        }
        Ok(Window { elapsed: last - start, latency })
    }
}

/// One connection, and the message on its way.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    place: usize,
    sent: usize,
    received: usize,
    began: Instant,
    /// The last write took less than all; epoll is asked to say when there is room.
    blocked: bool,
}

impl Connection {
    fn begin(&mut self, now: Instant) {
        self.place = (self.place + STRIDE) % PLACES;
        self.sent = 0;
        self.received = 0;
        self.began = now;
    }

    /// Sends what there is room for.
    fn send(&mut self, epoll: &OwnedFd, index: usize, message: &[u8]) -> io::Result<()> {
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

fn context(error: io::Error, what: std::fmt::Arguments<'_>) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Serves one connection: what `answer` makes of each read is sent back.
    fn server(mut answer: impl FnMut(&mut Vec<u8>) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let mut bytes = buffer[..count].to_vec();
                answer(&mut bytes);
                if bytes.is_empty() || stream.write_all(&bytes).is_err() {
                    break;
                }
            }
        });
        address
    }

    #[test]
    fn an_honest_server_is_counted() {
        let mut load = Load::new(server(|_| {}), 64, Waiting::Sleep).unwrap();
        load.open(1).unwrap();
        let window = load.run(Duration::from_millis(20)).unwrap();
        assert!(window.latency.total() > 0);
        assert!(window.elapsed >= Duration::from_millis(20));
    }

    #[test]
    fn a_message_larger_than_every_buffer_comes_back() {
        let mut load = Load::new(server(|_| {}), 32 * 1024 * 1024, Waiting::Sleep).unwrap();
        load.open(1).unwrap();
        assert_eq!(load.run(Duration::ZERO).unwrap().latency.total(), 1);
    }

    #[test]
    fn a_server_that_changes_a_byte_is_found_out() {
        let mut trips = 0;
        let address = server(move |bytes| {
            trips += 1;
            if trips == 3 {
                bytes[5] ^= 1;
            }
        });
        let error = Load::new(address, 64, Waiting::Sleep)
            .and_then(|mut load| {
                load.open(1)?;
                load.run(Duration::from_secs(5))
            })
            .unwrap_err();
        assert!(error.to_string().contains("not what was sent"), "{error}");
    }

    #[test]
    fn a_server_that_answers_too_much_or_hangs_up_is_found_out() {
        for (answer, complaint) in [((|bytes| bytes.push(0)) as fn(&mut Vec<u8>), "more came back"), (Vec::clear, "closed")] {
            let error = Load::new(server(answer), 64, Waiting::Sleep).and_then(|mut load| load.open(1)).unwrap_err();
            assert!(error.to_string().contains(complaint), "{error}");
        }
    }
}
