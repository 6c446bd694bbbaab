//! TCP connections.
//!
//! A [`TcpStream`] tries the system call first and suspends its task only where the call would block. Methods take `&self`: a
//! task may read while another one of the same domain writes, or both in a `join!`, through an `Rc`. The stream is `Send` and not
//! `Sync`; it may be handed to another domain, and there goes on where it was.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};

use super::failure::cannot_connect;
use super::options::TcpStreamBuilder;
use super::resolve::ToSocketAddrs;
use super::socket::socket;
use super::sys;
use super::transfer::stream_methods;
use super::unread::into_std;
use crate::descriptor::awaited::perform;
use crate::descriptor::source::Source;
use crate::reactor::Direction;
use crate::time;

/// A TCP connection.
///
/// It closes the connection when it is dropped, as in [`std::net`]. It may be made outside a run, but is waited for only inside.
///
/// ```
/// use matou_unix::net::{TcpListener, TcpStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _peer) = listener.accept().await?;
///     client.write_all(b"meow").await?;
///     let mut buf = [0; 4];
///     server.read_exact(&mut buf).await?;
///     assert_eq!(&buf, b"meow");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// Miou: `Miou_unix.file_descr`.
#[doc(alias = "file_descr")]
#[doc(alias = "tcpv4")]
#[doc(alias = "tcpv6")]
pub struct TcpStream {
    source: Source,
}

impl TcpStream {
    pub(crate) fn new(fd: OwnedFd) -> TcpStream {
        TcpStream { source: Source::new(fd).streaming() }
    }

    /// Connects to `addr`: an address, a list of them, or the name of a machine with a port, which is resolved first
    /// ([`lookup_host`](super::lookup_host)). Several addresses are tried one after the other, until one connects.
    ///
    /// ```
    /// # use matou_unix::net::TcpStream;
    /// # async fn example() -> std::io::Result<()> {
    /// let stream = TcpStream::connect("example.org:80").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If several addresses were tried, the kind is that of the last, and the text tells of each. Each names its address; the system's own error is its [`source`](std::error::Error::source).
    ///
    /// | kind | what has happened |
    /// | --- | --- |
    /// | `ConnectionRefused` | the machine answers, and nobody listens on that port |
    /// | `TimedOut` | nobody answers; the system takes minutes to say so: see [`connect_timeout`](TcpStream::connect_timeout) |
    /// | `NetworkUnreachable`, `HostUnreachable` | there is no way to get there |
    /// | `AddrNotAvailable` | no local port is left, or this machine does not have the address to connect from ([`builder`](TcpStream::builder)) |
    /// | `PermissionDenied` | a firewall forbids it |
    ///
    /// With no descriptor left it is the system's own error, `EMFILE` or `ENFILE`. Outside a task it is an error that says so.
    ///
    /// # Cancellation
    /// Dropped early, the attempt is given up and the socket closed.
    ///
    /// Miou: `Miou_unix.connect`.
    pub async fn connect(addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        TcpStreamBuilder::new().connect(addr).await
    }

    /// Connects to `addr`, unless that takes longer than `patience`.
    ///
    /// ```
    /// # use matou_unix::{net::TcpStream, time::Duration};
    /// # async fn example(addr: std::net::SocketAddr) -> std::io::Result<()> {
    /// let stream = TcpStream::connect_timeout(addr, Duration::from_secs(5)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `TimedOut` once `patience` is over. Else as [`connect`](TcpStream::connect).
    ///
    /// # Cancellation
    /// Dropped early, the attempt is given up and the socket closed.
    pub async fn connect_timeout(addr: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
        match time::timeout(patience, TcpStream::connect(addr)).await {
            Ok(connected) => connected,
            Err(elapsed) => Err(cannot_connect(addr, elapsed.into())),
        }
    }

    /// How to connect with more to say.
    ///
    /// ```
    /// # use matou_unix::net::TcpStream;
    /// # async fn example(addr: std::net::SocketAddr) -> std::io::Result<()> {
    /// let stream = TcpStream::builder().nodelay(true).connect(addr).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> TcpStreamBuilder {
        TcpStreamBuilder::new()
    }

    stream_methods!(TcpStream);

    /// The address of the other end.
    ///
    /// # Errors
    /// `NotConnected` once the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        rustix::net::getpeername(&self.source)?.ok_or_else(|| Errno::NOTCONN.into()).and_then(sys::address)
    }

    /// Whether small writes go out at once (`true`) or may wait to be gathered (`false`, the system's default).
    ///
    /// # Errors
    /// What the system says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        Ok(sockopt::set_tcp_nodelay(&self.source, nodelay)?)
    }

    /// What [`set_nodelay`](TcpStream::set_nodelay) set.
    ///
    /// # Errors
    /// What the system says.
    pub fn nodelay(&self) -> io::Result<bool> {
        Ok(sockopt::tcp_nodelay(&self.source)?)
    }

    /// What the drop does with bytes that are not sent yet: `None`, the default, sends them in the background;
    /// `Some(Duration::ZERO)` throws them away and resets the connection. A longer time would make the drop block its domain.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        Ok(sockopt::set_socket_linger(&self.source, linger)?)
    }

    /// What [`set_linger`](TcpStream::set_linger) set, in whole seconds.
    ///
    /// # Errors
    /// What the system says.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        Ok(sockopt::socket_linger(&self.source)?)
    }

    /// How many routers a packet may pass.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        Ok(sockopt::set_ip_ttl(&self.source, ttl)?)
    }

    /// What [`set_ttl`](TcpStream::set_ttl) set.
    ///
    /// # Errors
    /// What the system says.
    pub fn ttl(&self) -> io::Result<u32> {
        Ok(sockopt::ip_ttl(&self.source)?)
    }
}

socket! {
    TcpStream, net::TcpStream, SocketAddr, sys::address, [addr: local_addr, peer: peer_addr];
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let stream = matou_unix::net::TcpStream::from_std(stream)?;
    /// # drop(stream);
    /// # Ok(())
    /// # }
    /// ```
}

into_std!(TcpStream, net::TcpStream);

/// Connects a socket that was prepared.
pub(super) async fn connect(fd: OwnedFd, addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::new(fd);
    let mut begun = false;
    let connected = perform(&stream.source, Direction::Write, |source| {
        if begun {
            return connected(source);
        }
        begun = true;
        match rustix::net::connect(source, &addr) {
            // Interrupted, it goes on in the background just the same.
            Err(Errno::INPROGRESS | Errno::INTR) => Err(Errno::AGAIN.into()),
            // It would be taken for "not yet"; it says that there is no room in the system's tables.
            Err(Errno::AGAIN) => Err(Errno::ADDRNOTAVAIL.into()),
            result => Ok(result?),
        }
    });
    match connected.await {
        Ok(()) => Ok(stream),
        Err(error) => Err(cannot_connect(addr, error)),
    }
}

/// Whether a connection under way has come about.
fn connected(source: &Source) -> io::Result<()> {
    sockopt::socket_error(source)??;
    match rustix::net::getpeername(source) {
        Ok(Some(_)) => Ok(()),
        // Resumed for no reason: it is still under way.
        Ok(None) | Err(Errno::NOTCONN) => Err(Errno::AGAIN.into()),
        // The system says so of a peer that connected, and reset the connection at once.
        Err(error) => Err(error.into()),
    }
}

pub(super) fn prepare(addr: SocketAddr) -> io::Result<OwnedFd> {
    sys::socket(sys::family(addr), SocketType::STREAM)
}
