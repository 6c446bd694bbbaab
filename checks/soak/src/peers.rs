//! The peers: connections that behave well, and connections that do not.
//!
//! A few threads each have one peer at a time, of a kind picked by chance, until the time is up; what is under way then is finished. Another
//! thread has the server print its tasks all the while. The orderly kinds:
//!
//! - *talk*: messages of all sizes, each read back before the next;
//! - *half-close*: everything is sent and the sending side closed before the first byte is read;
//! - *slow reader*: more is sent than fits anywhere, while the answers are read a little at a time: the server is held back;
//! - *churn*: a connection that is closed as soon as it is made;
//! - *idle*: one on which nothing happens for a while, before and after a byte.
//!
//! Besides these, where rude peers are asked for:
//!
//! - *reset*: goes away with `SO_LINGER` 0, with answers unread (a Unix socket closed with unread data resets by itself);
//! - *never reads*: sends until nothing more fits, waits, and goes away in one way or the other;
//! - *waits*: sends nothing, until the server has had enough;
//! - *crowd*: every two seconds, more connections at once than the server has descriptors for.
//!
//! The server turns away (*sheds*) whom it has no descriptor for: where there are rude peers an orderly one may see its connection end before
//! its first byte, which is counted and no problem. After its first byte it is as orderly as ever.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

use crate::random::{Random, byte};
use crate::server::{Address, Server, ask_for_tree};

/// Threads with one peer each.
const THREADS: u64 = 16;
/// How long a peer waits for the server before it calls it hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the crowd comes.
const CROWD_EVERY: Duration = Duration::from_secs(2);
/// How many connections it has: more than the server has descriptors for. `checks/soak.sh` gives it 200.
const CROWD: usize = 300;
/// How often the server is asked for the tree of its tasks.
const TREE_EVERY: Duration = Duration::from_millis(300);

/// Which kinds of peers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    Orderly,
    Rude,
}

impl Manners {
    pub(crate) fn named(name: &str) -> Option<Manners> {
        match name {
            "orderly" => Some(Manners::Orderly),
            "rude" => Some(Manners::Rude),
            _ => None,
        }
    }

    /// How many numbers stand for kinds of theirs.
    fn kinds(self) -> u64 {
        match self {
            Manners::Orderly => 30,
            Manners::Rude => 40,
        }
    }
}

/// What all peers have done together.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) connected: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) turned_away: AtomicU64,
    pub(crate) problems: Mutex<Vec<String>>,
}

/// Puts the server under load until the deadline, and returns when every peer has gone.
pub(crate) fn load(server: &Server, deadline: Instant, manners: Manners, account: &Account) {
    let going = || Instant::now() < deadline;
    let (addresses, process) = (&server.addresses[..], server.process());
    thread::scope(|scope| {
        for number in 0..THREADS {
            scope.spawn(move || {
                let mut random = Random::new(number + 1);
                // Of every kind there is one to begin with, however few there are in the time.
                let kinds = manners.kinds();
                let mut kind = (number + 1) * kinds / THREADS - 1;
                while going() {
                    let ended = one(addresses, &mut random, kind, manners, account);
                    kind = random.within(0..kinds);
                    if let Err(problem) = ended {
                        let mut problems = account.problems.lock().expect("no peer panics with it");
                        // The first few say enough.
                        if problems.len() < 10 {
                            problems.push(problem);
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            while going() {
                ask_for_tree(process);
                thread::sleep(TREE_EVERY);
            }
        });
        if manners == Manners::Rude {
            scope.spawn(|| {
                while going() {
                    crowd(addresses, account);
                    thread::sleep(CROWD_EVERY.min(deadline.saturating_duration_since(Instant::now())));
                }
            });
        }
    });
}

/// One peer of the kind that this number stands for.
fn one(addresses: &[Address], random: &mut Random, kind: u64, manners: Manners, account: &Account) -> Result<(), String> {
    let address = &addresses[random.within(0..addresses.len() as u64) as usize];
    let (name, kind): (_, fn(&mut Peer, &mut Random) -> io::Result<()>) = match kind {
        0..12 => ("talk", talk),
        12..18 => ("half-close", half_close),
        18..20 => ("slow reader", slow_reader),
        20..28 => ("churn", |_, _| Ok(())),
        28..30 => ("idle", idle),
        30..36 => ("reset", reset),
        36..39 => ("never reads", never_reads),
        _ => ("waits", waits),
    };
    let mut peer = Peer::connect(address, random.next(), account).map_err(|error| format!("{address:?} refuses a connection: {error}"))?;
    match kind(&mut peer, random) {
        Ok(()) => Ok(()),
        // The stream ended before its first byte came back.
        Err(_) if manners == Manners::Rude && peer.received == 0 && peer.is_gone => {
            account.turned_away.fetch_add(1, Relaxed);
            Ok(())
        }
        Err(error) => Err(format!("{name} at {address:?}: {error}; {} bytes sent, {} received", peer.sent, peer.received)),
    }
}

/// Either kind of socket.
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Does the same with either.
macro_rules! either {
    ($socket:expr, $stream:ident => $do:expr) => {
        match $socket {
            Socket::Tcp($stream) => $do,
            Socket::Unix($stream) => $do,
        }
    };
}

impl Socket {
    fn connect(address: &Address) -> io::Result<Socket> {
        let socket = match address {
            Address::Tcp(address) => Socket::Tcp(TcpStream::connect(address)?),
            Address::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
        };
        either!(&socket, stream => {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
        });
        Ok(socket)
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        again(|| either!(self, stream => { let mut stream = stream; stream.read(buffer) }))
    }

    fn write(&self, buffer: &[u8]) -> io::Result<usize> {
        again(|| either!(self, stream => { let mut stream = stream; stream.write(buffer) }))
    }

    fn finish(&self) -> io::Result<()> {
        either!(self, stream => stream.shutdown(Shutdown::Write))
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        either!(self, stream => stream.set_nonblocking(true))
    }

    /// Has the close that follows be a reset. A Unix socket knows no such thing, and takes it.
    fn reset_at_close(&self) -> io::Result<()> {
        Ok(set_socket_linger(self.as_fd(), Some(Duration::ZERO))?)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        either!(self, stream => stream.as_fd())
    }
}

/// A connection that knows what it has sent and got back.
struct Peer<'a> {
    socket: Socket,
    seed: u64,
    sent: u64,
    received: u64,
    /// Whether the server has ended the stream, in order or not.
    is_gone: bool,
    account: &'a Account,
}

impl<'a> Peer<'a> {
    fn connect(address: &Address, seed: u64, account: &'a Account) -> io::Result<Peer<'a>> {
        let socket = Socket::connect(address)?;
        account.connected.fetch_add(1, Relaxed);
        Ok(Peer { socket, seed, sent: 0, received: 0, is_gone: false, account })
    }

    /// Sends the next bytes of its stream.
    fn send(&mut self, count: u64) -> io::Result<()> {
        let bytes: Vec<u8> = (self.sent..self.sent + count).map(|place| byte(self.seed, place)).collect();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let count = self.socket.write(rest).inspect_err(|error| self.is_gone |= is_end(error))?;
            self.sent += count as u64;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Ends its side of the stream.
    fn finish(&mut self) -> io::Result<()> {
        self.socket.finish().inspect_err(|error| self.is_gone |= is_end(error))
    }

    /// Reads once, compares what came, and says how much it was. Nothing: the stream has ended.
    fn receive(&mut self, most: u64) -> io::Result<u64> {
        let mut buffer = vec![0; most as usize];
        let count = self.socket.read(&mut buffer).inspect_err(|error| self.is_gone |= is_end(error))?;
        self.is_gone |= count == 0;
        let right = (self.received..).map(|place| byte(self.seed, place));
        if let Some((at, _)) = buffer[..count].iter().zip(right).enumerate().find(|(_, (got, right))| *got != right) {
            return Err(io::Error::other(format!("the byte at {} is wrong", self.received + at as u64)));
        }
        self.received += count as u64;
        Ok(count as u64)
    }

    /// Reads until so much has come back in all.
    fn receive_up_to(&mut self, goal: u64) -> io::Result<()> {
        while self.received < goal {
            if self.receive((goal - self.received).min(65_536))? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads all that was sent and the end of the stream.
    fn receive_to_end(&mut self) -> io::Result<()> {
        self.receive_up_to(self.sent)?;
        match self.receive(1)? {
            0 => Ok(()),
            _ => Err(io::Error::other("there is more than was sent")),
        }
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        self.account.sent.fetch_add(self.sent, Relaxed);
        self.account.received.fetch_add(self.received, Relaxed);
    }
}

/// Calls it again if a signal came in between, as one does that lets a stopped process go on: the system begins no call anew that has a timeout.
fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// Whether the error says that the other side has gone.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted | ErrorKind::NotConnected)
}

fn nap(random: &mut Random, milliseconds: std::ops::Range<u64>) {
    thread::sleep(Duration::from_millis(random.within(milliseconds)));
}

/// The length of a message: small ones more often.
fn length(random: &mut Random) -> u64 {
    1 << random.within(0..16) | random.within(0..1000)
}

fn talk(peer: &mut Peer, random: &mut Random) -> io::Result<()> {
    for _ in 0..random.within(1..20) {
        // At most what the buffers on the way hold, whatever the server does: the peer does not read meanwhile.
        peer.send(length(random).min(32_768))?;
        peer.receive_up_to(peer.sent)?;
    }
    peer.finish()?;
    peer.receive_to_end()
}

fn half_close(peer: &mut Peer, random: &mut Random) -> io::Result<()> {
    peer.send(length(random).min(32_768))?;
    peer.finish()?;
    peer.receive_to_end()
}

fn slow_reader(peer: &mut Peer, random: &mut Random) -> io::Result<()> {
    // The server's writes wait for this peer. Much smaller, and it would be the kernel's timers that all wait for.
    set_socket_recv_buffer_size(&peer.socket, 32_768)?;
    peer.socket.set_nonblocking()?;
    let all = random.within(100_000..300_000);
    let mut ahead = Vec::new();
    while peer.received < all {
        if ahead.is_empty() && peer.sent < all {
            ahead = (peer.sent..all.min(peer.sent + 65_536)).map(|place| byte(peer.seed, place)).collect();
        }
        // With nothing to send nothing is written: after the end of the stream even that is an error.
        match if ahead.is_empty() { Ok(0) } else { peer.socket.write(&ahead) } {
            Ok(count) => {
                ahead.drain(..count);
                peer.sent += count as u64;
                if count > 0 && peer.sent == all {
                    peer.finish()?;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => {
                peer.is_gone |= is_end(&error);
                return Err(error);
            }
        }
        match peer.receive(8192) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => nap(random, 1..3),
        }
    }
    either!(&peer.socket, stream => stream.set_nonblocking(false))?;
    peer.receive_to_end()
}

fn idle(peer: &mut Peer, random: &mut Random) -> io::Result<()> {
    nap(random, 1..300);
    peer.send(1)?;
    peer.receive_up_to(1)?;
    nap(random, 1..300);
    peer.finish()?;
    peer.receive_to_end()
}

/// What an orderly peer would call an error is what a rude one must expect.
fn expected(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if is_end(&error) || matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::WouldBlock) => Ok(()),
        other => other,
    }
}

fn reset(peer: &mut Peer, random: &mut Random) -> io::Result<()> {
    peer.socket.reset_at_close()?;
    if random.chance(4) {
        return Ok(());
    }
    expected((|| {
        peer.send(length(random).min(32_768))?;
        match random.within(0..3) {
            0 => peer.receive_up_to(peer.sent / 2),
            1 => peer.receive_up_to(peer.sent),
            _ => Ok(()),
        }
    })())
}

fn never_reads(peer: &mut Peer, random: &mut Random) -> io::Result<()> {
    set_socket_recv_buffer_size(&peer.socket, 4096)?;
    peer.socket.set_nonblocking()?;
    if random.chance(2) {
        peer.socket.reset_at_close()?;
    }
    let patience = Instant::now() + Duration::from_millis(random.within(50..700));
    while Instant::now() < patience && peer.sent < 8 << 20 {
        match peer.send(16_384) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => nap(random, 5..20),
            Err(error) => return expected(Err(error)),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn waits(peer: &mut Peer, _: &mut Random) -> io::Result<()> {
    match peer.receive(1) {
        Ok(0) => Ok(()),
        Ok(_) => Err(io::Error::other("something came back for nothing")),
        Err(error) => expected(Err(error)),
    }
}

/// Everybody comes, says a byte, stays for a moment, and goes: some in order, some not.
fn crowd(addresses: &[Address], account: &Account) {
    let mut peers: Vec<Peer> = Vec::with_capacity(CROWD);
    for number in 0..CROWD {
        // What the system refuses to this process is not the server's affair.
        let Ok(mut peer) = Peer::connect(&addresses[number % addresses.len()], number as u64, account) else { continue };
        // A connection that was shed says so here, or not at all.
        let _ = peer.send(1);
        peers.push(peer);
    }
    thread::sleep(Duration::from_millis(200));
    for (number, peer) in peers.iter_mut().enumerate() {
        if number % 3 == 0 {
            let _ = peer.socket.reset_at_close();
        }
    }
}
