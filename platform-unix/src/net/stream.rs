//! TCP connections.
//!
//! A [`TcpStream`] tries the system call first and suspends its task only where the call would block. Methods take `&self`: a
//! task may read while another one of the same domain writes, or both in a `join!`, through an `Rc`. The stream is `Send` and not
//! `Sync`; it may be handed to another domain, and there goes on where it was.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;
use std::{fmt, net};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketAddrAny, SocketType, sockopt};

use super::options::TcpStreamBuilder;
use super::source::{Holder, Source, perform};
use super::sys;
use crate::reactor::Direction;

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
    pub(super) fn new(fd: OwnedFd) -> TcpStream {
        TcpStream { source: Source::new(fd) }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Connects to `addr`.
    ///
    /// To resolve a name use [`std::net::ToSocketAddrs`], which blocks its thread.
    ///
    /// # Errors
    /// What the system says: `ConnectionRefused`, `TimedOut`, no descriptor left, and so on; and outside a task, that it is.
    ///
    /// # Cancellation
    /// Dropped early, the attempt is given up and the socket closed.
    ///
    /// Miou: `Miou_unix.connect`.
    pub async fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
        TcpStreamBuilder::new().connect(addr).await
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

    /// Reads what has come, up to the length of `buf`, and gives how many bytes that were. 0 is the end of the stream, or an
    /// empty `buf`.
    ///
    /// ```
    /// # use matou_unix::net::TcpStream;
    /// async fn length(stream: &TcpStream) -> std::io::Result<usize> {
    ///     let (mut sum, mut buf) = (0, [0; 4096]);
    ///     loop {
    ///         match stream.read(&mut buf).await? {
    ///             0 => return Ok(sum),
    ///             n => sum += n,
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// What the system says, `ConnectionReset` above all.
    ///
    /// # Cancellation
    /// Dropped early it has taken no byte out of the stream.
    ///
    /// Miou: `Miou_unix.read`.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        read(&self.source, buf).await
    }

    /// Reads until `buf` is full.
    ///
    /// # Errors
    /// `UnexpectedEof` if the stream ends before; what `buf` holds then is not said. Else as [`read`](TcpStream::read).
    ///
    /// # Cancellation
    /// Dropped early it may have taken bytes out of the stream, which are then in `buf`, and how many is not known. Where that
    /// matters, count with [`read`](TcpStream::read).
    ///
    /// Miou: `Miou_unix.really_read`.
    #[doc(alias = "really_read")]
    pub async fn read_exact(&self, buf: &mut [u8]) -> io::Result<()> {
        read_exact(&self.source, buf).await
    }

    /// Reads into several buffers, one after the other.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    ///
    /// # Cancellation
    /// Dropped early it has taken no byte out of the stream.
    pub async fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        perform(&self.source, Direction::Read, |source| {
            let moved = rustix::io::readv(source, bufs)?;
            source.moved(Direction::Read, moved, bufs.iter().map(|buf| buf.len()).sum());
            Ok(moved)
        })
        .await
    }

    /// Reads as [`read`](TcpStream::read) does, and leaves the bytes in the stream.
    ///
    /// ```
    /// # use matou_unix::net::TcpStream;
    /// async fn speaks_tls(stream: &TcpStream) -> std::io::Result<bool> {
    ///     let mut first = [0; 1];
    ///     Ok(stream.peek(&mut first).await? == 1 && first[0] == 0x16)
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        perform(&self.source, Direction::Read, |source| rustix::net::recv(source, &mut *buf, RecvFlags::PEEK).map(|(peeked, _)| peeked))
            .await
    }

    /// Writes from `buf` what the system takes at once, and gives how many bytes that were.
    ///
    /// # Errors
    /// What the system says: `BrokenPipe`, `ConnectionReset`. It raises no `SIGPIPE`.
    ///
    /// # Cancellation
    /// Dropped early it has written nothing.
    ///
    /// Miou: `Miou_unix.write` writes all: [`write_all`](TcpStream::write_all).
    pub async fn write(&self, buf: &[u8]) -> io::Result<usize> {
        write(&self.source, buf).await
    }

    /// Writes all of `buf`.
    ///
    /// # Errors
    /// As [`write`](TcpStream::write).
    ///
    /// # Cancellation
    /// Dropped early it may have written a part of `buf`, and which is not known. Where that matters, count with
    /// [`write`](TcpStream::write).
    ///
    /// Miou: `Miou_unix.write`.
    pub async fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        write_all(&self.source, buf).await
    }

    /// Writes from several buffers, one after the other, what the system takes at once.
    ///
    /// # Errors
    /// As [`write`](TcpStream::write).
    ///
    /// # Cancellation
    /// Dropped early it has written nothing.
    pub async fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        perform(&self.source, Direction::Write, |source| {
            use rustix::net::SendAncillaryBuffer;
            let moved = rustix::net::sendmsg(source, bufs, &mut SendAncillaryBuffer::default(), sys::SEND)?;
            source.moved(Direction::Write, moved, bufs.iter().map(|buf| buf.len()).sum());
            Ok(moved)
        })
        .await
    }

    /// Ends one direction of the connection, or both; the socket stays. It does not wait.
    ///
    /// # Errors
    /// `NotConnected` if the peer has ended it already.
    ///
    /// ```
    /// # use matou_unix::net::TcpStream;
    /// use std::net::Shutdown;
    /// # async fn example(stream: TcpStream) -> std::io::Result<()> {
    /// stream.write_all(b"that was all").await?;
    /// stream.shutdown(Shutdown::Write)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => rustix::net::Shutdown::Read,
            Shutdown::Write => rustix::net::Shutdown::Write,
            Shutdown::Both => rustix::net::Shutdown::Both,
        };
        Ok(rustix::net::shutdown(&self.source, how)?)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::address(rustix::net::getsockname(&self.source)?)
    }

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

    /// Takes the error that happened to the socket since the last call that told one.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(sockopt::socket_error(&self.source)?.err().map(io::Error::from))
    }

    /// Takes over a connection of the standard library, and makes it non-blocking.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let stream = matou_unix::net::TcpStream::from_std(stream)?;
    /// # drop(stream);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the system says.
    ///
    /// Miou: `Miou_unix.of_file_descr`.
    #[doc(alias = "of_file_descr")]
    pub fn from_std(stream: net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::try_from(OwnedFd::from(stream))
    }

    /// Gives the connection to the standard library. It stays non-blocking: see [`std::net::TcpStream::set_nonblocking`].
    ///
    /// Miou: `Miou_unix.to_file_descr`.
    #[doc(alias = "to_file_descr")]
    pub fn into_std(self) -> net::TcpStream {
        net::TcpStream::from(OwnedFd::from(self))
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpStream");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        if let Ok(peer) = self.peer_addr() {
            debug.field("peer", &peer);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl From<TcpStream> for OwnedFd {
    fn from(stream: TcpStream) -> OwnedFd {
        stream.source.into_fd()
    }
}

impl From<TcpStream> for net::TcpStream {
    fn from(stream: TcpStream) -> net::TcpStream {
        stream.into_std()
    }
}

impl TryFrom<OwnedFd> for TcpStream {
    type Error = io::Error;

    /// Takes over a descriptor of a connection, and makes it non-blocking.
    fn try_from(fd: OwnedFd) -> io::Result<TcpStream> {
        Ok(TcpStream::new(sys::adopt(fd)?))
    }
}

impl TryFrom<net::TcpStream> for TcpStream {
    type Error = io::Error;

    /// As [`TcpStream::from_std`].
    fn try_from(stream: net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(stream)
    }
}

/// Connects a socket that was prepared.
pub(super) async fn connect(fd: OwnedFd, addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::new(fd);
    let mut begun = false;
    perform(&stream.source, Direction::Write, |source| {
        if begun {
            return connected(source);
        }
        begun = true;
        match rustix::net::connect(source, &addr) {
            // Interrupted, it goes on in the background just the same.
            Err(Errno::INPROGRESS | Errno::INTR) => Err(Errno::AGAIN),
            // It would be taken for "not yet"; it says that there is no room in the system's tables.
            Err(Errno::AGAIN) => Err(Errno::ADDRNOTAVAIL),
            result => result,
        }
    })
    .await?;
    Ok(stream)
}

/// Whether a connection under way has come about.
fn connected(source: &Source) -> Result<(), Errno> {
    sockopt::socket_error(source)??;
    match rustix::net::getpeername(source) {
        Ok(Some(_)) => Ok(()),
        // Resumed for no reason: it is still under way.
        Ok(None) | Err(Errno::NOTCONN) => Err(Errno::AGAIN),
        // The system says so of a peer that connected, and reset the connection at once.
        Err(error) => Err(error),
    }
}

pub(crate) async fn read(holder: &impl Holder, buf: &mut [u8]) -> io::Result<usize> {
    perform(holder, Direction::Read, |source| {
        let (moved, _) = rustix::net::recv(source, &mut *buf, RecvFlags::empty())?;
        source.moved(Direction::Read, moved, buf.len());
        Ok(moved)
    })
    .await
}

pub(crate) async fn read_exact(holder: &impl Holder, mut buf: &mut [u8]) -> io::Result<()> {
    while !buf.is_empty() {
        match read(holder, buf).await? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended before the buffer was full")),
            moved => buf = &mut buf[moved..],
        }
    }
    Ok(())
}

pub(crate) async fn write(holder: &impl Holder, buf: &[u8]) -> io::Result<usize> {
    perform(holder, Direction::Write, |source| {
        let moved = rustix::net::send(source, buf, sys::SEND)?;
        source.moved(Direction::Write, moved, buf.len());
        Ok(moved)
    })
    .await
}

pub(crate) async fn write_all(holder: &impl Holder, mut buf: &[u8]) -> io::Result<()> {
    while !buf.is_empty() {
        match write(holder, buf).await? {
            0 => return Err(io::Error::new(io::ErrorKind::WriteZero, "the system took no byte")),
            moved => buf = &buf[moved..],
        }
    }
    Ok(())
}

pub(super) fn prepare(addr: SocketAddr) -> io::Result<OwnedFd> {
    sys::socket(sys::family(addr), SocketType::STREAM)
}

/// An accepted connection and its peer.
pub(crate) fn accepted((fd, peer): (OwnedFd, SocketAddrAny)) -> io::Result<(TcpStream, SocketAddr)> {
    Ok((TcpStream::new(fd), sys::address(peer)?))
}
