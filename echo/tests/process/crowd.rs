//! The client: a crowd of connections in one epoll loop, every byte of which is checked.
//!
//! Each connection sends a message of its own, in pieces of odd sizes, while it reads what comes back, and compares that
//! with what it sent, byte by byte and in order. Three connections in four then end their side first (a half-close)
//! and want the rest, the end of the stream right after it and nothing else; the fourth closes as soon as it has all.
//!
//! A crowd goes in two steps. [`greet`](Crowd::greet) connects all and waits until the first byte of each has come
//! back: then the server is serving them all at once. [`finish`](Crowd::finish) sees all to their ends. Connections
//! are made a few at a time, each only after an earlier one was greeted, so that no backlog overflows and the
//! kernel's retries do not decide how long a test takes.

use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};
use rustix::net::sockopt::set_socket_linger;

use crate::server::PATIENCE;

/// The longest message.
pub(crate) const LONGEST: usize = 1 << 20;

/// How many connections may be waiting for their first byte.
const WINDOW: usize = 64;

/// The sizes of the pieces a message is sent in, in turn. None is a power of two or a page.
const PIECES: [usize; 10] = [1, 2, 3, 61, 251, 1_021, 4_093, 5, 16_381, 65_521];

/// Connections to one server.
pub(crate) struct Crowd {
    address: SocketAddr,
    epoll: OwnedFd,
    members: Vec<Member>,
    /// How many members have tried to connect, from the first on.
    begun: usize,
    greeted: usize,
    gone: usize,
    /// Whether members may send more than their first byte.
    released: bool,
    patience: Duration,
    /// For what is read, until it is compared.
    buffer: Vec<u8>,
}

struct Member {
    /// None before it connects and after it has left.
    stream: Option<TcpStream>,
    message: &'static [u8],
    sent: usize,
    received: usize,
    pieces: usize,
    half_closes: bool,
}

impl Crowd {
    /// As many connections as there are lengths, each with a message of that length, at least 1.
    pub(crate) fn new(address: SocketAddr, lengths: impl IntoIterator<Item = usize>) -> Crowd {
        let members = lengths.into_iter().enumerate().map(|(index, length)| Member {
            stream: None,
            message: message(index, length),
            sent: 0,
            received: 0,
            pieces: index,
            half_closes: index % 4 != 3,
        });
        Crowd {
            address,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).expect("there are descriptors"),
            members: members.collect(),
            begun: 0,
            greeted: 0,
            gone: 0,
            released: false,
            patience: PATIENCE,
            buffer: vec![0; 64 << 10],
        }
    }

    /// Connects all, and waits until the first byte of each has come back.
    pub(crate) fn greet(&mut self) -> Result<(), String> {
        self.drive(|crowd| crowd.greeted == crowd.members.len())
    }

    /// Connects those not yet connected, and sees all to the end of their message.
    pub(crate) fn finish(mut self) -> Result<(), String> {
        self.release()?;
        self.drive(|crowd| crowd.gone == crowd.members.len())
    }

    /// Lets all send the rest of their messages.
    fn release(&mut self) -> Result<(), String> {
        self.released = true;
        (0..self.begun).try_for_each(|index| self.step(index))
    }

    /// Closes all with a reset, wherever they are in their messages.
    pub(crate) fn reset(self) {
        for stream in self.members.iter().filter_map(|member| member.stream.as_ref()) {
            set_socket_linger(stream, Some(Duration::ZERO)).expect("it is a socket");
        }
    }

    fn drive(&mut self, done: impl Fn(&Crowd) -> bool) -> Result<(), String> {
        let deadline = Instant::now() + self.patience;
        let mut events = Vec::with_capacity(256);
        loop {
            while self.begun < self.members.len() && self.begun - self.greeted < WINDOW {
                self.connect()?;
            }
            // Here, after the connecting: with a short message that may have been all.
            if done(self) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.stuck());
            }
            let timeout = Timespec::try_from(left).expect("it is short");
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(format!("epoll_wait: {error}")),
            }
            for event in &events {
                self.step(usize::try_from(event.data.u64()).expect("it is an index"))?;
            }
        }
    }

    fn connect(&mut self) -> Result<(), String> {
        let index = self.begun;
        let failed = |what: &str, error: &dyn Display| format!("connection {index}: {what}: {error}");
        let stream = TcpStream::connect_timeout(&self.address, self.patience).map_err(|e| failed("connect", &e))?;
        stream.set_nodelay(true).map_err(|e| failed("nodelay", &e))?;
        stream.set_nonblocking(true).map_err(|e| failed("non-blocking", &e))?;
        let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(index as u64), interest).map_err(|e| failed("epoll_ctl", &e))?;
        self.members[index].stream = Some(stream);
        self.begun += 1;
        self.step(index)
    }

    /// Lets a member do all it can.
    fn step(&mut self, index: usize) -> Result<(), String> {
        let member = &mut self.members[index];
        let before = member.received;
        let left = member.step(self.released, &mut self.buffer).map_err(|problem| {
            let (sent, received, length) = (member.sent, member.received, member.message.len());
            format!("connection {index} ({sent} sent, {received} received of {length}): {problem}")
        })?;
        if before == 0 && member.received > 0 {
            self.greeted += 1;
        }
        if left {
            self.gone += 1;
        }
        Ok(())
    }

    fn stuck(&self) -> String {
        let waiting = self.members.iter().enumerate().filter(|(_, member)| member.stream.is_some());
        let mut text = format!(
            "after {:?}: {} connections, {} connected, {} greeted, {} ended; waiting:",
            self.patience,
            self.members.len(),
            self.begun,
            self.greeted,
            self.gone
        );
        for (index, member) in waiting.take(5) {
            let (sent, received, length) = (member.sent, member.received, member.message.len());
            text += &format!(" {index} ({sent} sent, {received} received of {length})");
        }
        text
    }
}

impl Member {
    /// Reads and writes until neither can go on. True if it has left for good just now.
    fn step(&mut self, released: bool, buffer: &mut [u8]) -> Result<bool, String> {
        let Some(mut stream) = self.stream.take() else {
            // An event that was under way when it left, or the release of one that left early.
            return Ok(false);
        };
        let limit = if released { self.message.len() } else { 1 };
        while self.sent < limit {
            let piece = PIECES[self.pieces % PIECES.len()].min(limit - self.sent);
            match stream.write(&self.message[self.sent..self.sent + piece]) {
                Ok(sent) => self.sent += sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("write: {error}")),
            }
            self.pieces += 1;
            if self.sent == self.message.len() && self.half_closes {
                stream.shutdown(Shutdown::Write).map_err(|error| format!("shutdown: {error}"))?;
            }
        }
        loop {
            match stream.read(buffer) {
                Ok(0) if self.received == self.message.len() && self.half_closes => return Ok(true),
                Ok(0) => return Err(String::from("the stream ended early")),
                Ok(count) => self.compare(&buffer[..count])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(format!("read: {error}")),
            }
            if self.received == self.message.len() && !self.half_closes {
                return Ok(true);
            }
        }
        self.stream = Some(stream);
        Ok(false)
    }

    fn compare(&mut self, bytes: &[u8]) -> Result<(), String> {
        let expected = &self.message[self.received..];
        if let Some(at) = bytes.iter().zip(expected).position(|(came, sent)| came != sent) {
            let (came, sent) = (bytes[at], expected[at]);
            return Err(format!("byte {} came back as {came:#04x}, and was {sent:#04x}", self.received + at));
        }
        if bytes.len() > expected.len() {
            return Err(format!("{} bytes came back that were never sent", bytes.len() - expected.len()));
        }
        self.received += bytes.len();
        if self.received > self.sent {
            return Err(String::from("bytes came back before they were sent"));
        }
        Ok(())
    }
}

/// The message of a connection: bytes without a pattern, which begin elsewhere for every connection.
pub(crate) fn message(connection: usize, length: usize) -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    assert!((1..=LONGEST).contains(&length), "a message has 1 byte to {LONGEST}");
    let bytes = BYTES.get_or_init(|| {
        // SplitMix64.
        let mut state = 0_u64;
        let words = std::iter::repeat_with(|| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        words.take(2 * LONGEST / 8).flat_map(u64::to_ne_bytes).collect()
    });
    let start = connection * 7_919 % LONGEST;
    &bytes[start..start + length]
}

/// The crowd itself is tested: it passes a good server, and finds each fault of a bad one.
mod detects {
    use super::{Crowd, Duration, LONGEST, SocketAddr};
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::thread;

    /// What a server does wrong, at the thousandth byte of a connection or at its end.
    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        None,
        Flip,
        Lose,
        Double,
        Swap,
        EndEarly,
        NeverEnd,
        AddAtEnd,
        Silence,
    }

    const AT: usize = 1_000;

    fn echo(mut stream: TcpStream, fault: Fault) -> std::io::Result<()> {
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            let before = all.len();
            all.extend_from_slice(&buffer[..count]);
            let mut answer = buffer[..count].to_vec();
            if (before..all.len()).contains(&AT) && count >= 2 {
                let at = (AT - before).min(count - 2);
                match fault {
                    Fault::Flip => answer[at] ^= 1,
                    Fault::Lose => drop(answer.remove(at)),
                    Fault::Double => answer.insert(at, answer[at]),
                    Fault::Swap => answer.rotate_left(1),
                    Fault::EndEarly => return Ok(()),
                    Fault::Silence => loop {
                        thread::park();
                    },
                    Fault::None | Fault::NeverEnd | Fault::AddAtEnd => {}
                }
            }
            stream.write_all(&answer)?;
        }
        match fault {
            Fault::NeverEnd => loop {
                thread::park();
            },
            Fault::AddAtEnd => stream.write_all(b"x")?,
            _ => {}
        }
        stream.shutdown(Shutdown::Write)
    }

    fn server(fault: Fault) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // It stays until the process of the tests ends.
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || stream.and_then(|stream| echo(stream, fault)));
            }
        });
        address
    }

    fn crowd(fault: Fault) -> Result<(), String> {
        let mut crowd = Crowd::new(server(fault), [1, 10_000, 10_000, 10_000]);
        crowd.greet()?;
        if matches!(fault, Fault::NeverEnd | Fault::Silence) {
            // One ends all the same. It has its time; the others are not waited for as long.
            crowd.release()?;
            crowd.drive(|crowd| crowd.gone == 1)?;
            crowd.patience = Duration::from_millis(200);
        }
        crowd.finish()
    }

    fn finds(fault: Fault, words: &str) {
        let problem = crowd(fault).expect_err("a fault");
        assert!(problem.contains(words), "{problem}");
    }

    #[test]
    fn nothing_in_a_good_server() {
        crowd(Fault::None).unwrap();
        Crowd::new(server(Fault::None), [LONGEST; 3]).finish().unwrap();
    }

    #[test]
    fn a_changed_byte() {
        finds(Fault::Flip, "came back as");
    }

    #[test]
    fn a_lost_byte() {
        finds(Fault::Lose, "came back as");
    }

    #[test]
    fn a_byte_sent_twice() {
        finds(Fault::Double, "came back as");
    }

    #[test]
    fn bytes_out_of_order() {
        finds(Fault::Swap, "came back as");
    }

    #[test]
    fn an_early_end() {
        finds(Fault::EndEarly, "received of 10000): ");
    }

    #[test]
    fn a_missing_end() {
        finds(Fault::NeverEnd, "4 greeted, 1 ended");
    }

    #[test]
    fn a_byte_too_many() {
        finds(Fault::AddAtEnd, "never sent");
    }

    #[test]
    fn silence() {
        finds(Fault::Silence, "4 greeted, 1 ended");
    }
}
