//! TCP listeners.
//!
//! A [`TcpListener`] belongs to one domain at a time; any number of tasks there may accept from it. For one per domain, either
//! [`try_clone`](TcpListener::try_clone) it or bind several with `reuse_port`.

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{SocketAddrAny, sockopt};

use super::options::TcpListenerBuilder;
use super::source::{Holder, Source, perform};
use super::stream::{self, TcpStream};
use super::sys;
use crate::reactor::Direction;

/// A TCP socket that accepts connections.
///
/// ```
/// use matou_unix::net::{TcpListener, TcpStream};
/// use matou_unix::{Care, Orphans};
/// use std::io;
///
/// async fn handler(stream: TcpStream) -> io::Result<()> {
///     let mut buf = [0; 0x100];
///     loop {
///         match stream.read(&mut buf).await? {
///             0 => return Ok(()),
///             n => stream.write_all(&buf[..n]).await?,
///         }
///     }
/// }
///
/// async fn server(listener: TcpListener) -> io::Result<()> {
///     let orphans = Orphans::new();
///     loop {
///         while let Care::Ready(promise) = orphans.care() {
///             if let Err(exit) = promise.await {
///                 eprintln!("a connection ended: {exit}");
///             }
///         }
///         let (stream, _peer) = listener.accept().await?;
///         orphans.call(move || handler(stream))?;
///     }
/// }
/// ```
///
/// Miou: `Miou_unix.file_descr`.
pub struct TcpListener {
    source: Source,
}

impl TcpListener {
    pub(super) fn new(fd: OwnedFd) -> TcpListener {
        TcpListener { source: Source::new(fd) }
    }

    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Binds to `addr` and listens, with `SO_REUSEADDR`. Port 0 takes one that is free; see
    /// [`local_addr`](TcpListener::local_addr). Outside a run, too.
    ///
    /// # Errors
    /// What the system says: `AddrInUse`, `PermissionDenied`, no descriptor left.
    ///
    /// Miou: `Miou_unix.bind_and_listen`.
    #[doc(alias = "bind_and_listen")]
    pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
        TcpListenerBuilder::new().bind(addr)
    }

    /// How to listen with more to say.
    pub fn builder() -> TcpListenerBuilder {
        TcpListenerBuilder::new()
    }

    /// Waits for a connection.
    ///
    /// Connections that were given up before they could be accepted are passed over.
    ///
    /// # Errors
    /// What the system says; with no descriptor or no memory left the connection stays in the queue, and the error comes at once
    /// each time: let some time pass, or close something, before trying again.
    ///
    /// # Cancellation
    /// Dropped early it has accepted nothing.
    ///
    /// Miou: `Miou_unix.accept`.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        stream::accepted(accept(&self.source).await?)
    }

    /// A second handle on the same listener, for another domain: each connection goes to one of them.
    ///
    /// ```
    /// # use matou_unix::net::TcpListener;
    /// # async fn serve(listener: TcpListener) -> std::io::Result<()> { Ok(()) }
    /// # async fn example(listener: TcpListener) -> std::io::Result<()> {
    /// let there = listener.try_clone()?;
    /// let server = matou_unix::call(move || serve(there))?;
    /// serve(listener).await?;
    /// server.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// With no descriptor left.
    pub fn try_clone(&self) -> io::Result<TcpListener> {
        Ok(TcpListener::new(self.source.as_fd().try_clone_to_owned()?))
    }

    /// The address it is bound to.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        sys::address(rustix::net::getsockname(&self.source)?)
    }

    /// Takes the error that happened to the socket since the last call that told one.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(sockopt::socket_error(&self.source)?.err().map(io::Error::from))
    }

    /// Takes over a listener of the standard library, and makes it non-blocking.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = matou_unix::net::TcpListener::from_std(listener)?;
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the system says.
    ///
    /// Miou: `Miou_unix.of_file_descr`.
    #[doc(alias = "of_file_descr")]
    pub fn from_std(listener: net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::try_from(OwnedFd::from(listener))
    }

    /// Gives the listener to the standard library. It stays non-blocking.
    ///
    /// Miou: `Miou_unix.to_file_descr`.
    #[doc(alias = "to_file_descr")]
    pub fn into_std(self) -> net::TcpListener {
        net::TcpListener::from(OwnedFd::from(self))
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("TcpListener");
        if let Ok(addr) = self.local_addr() {
            debug.field("addr", &addr);
        }
        debug.field("fd", &self.as_raw_fd()).finish()
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl From<TcpListener> for OwnedFd {
    fn from(listener: TcpListener) -> OwnedFd {
        listener.source.into_fd()
    }
}

impl From<TcpListener> for net::TcpListener {
    fn from(listener: TcpListener) -> net::TcpListener {
        listener.into_std()
    }
}

impl TryFrom<OwnedFd> for TcpListener {
    type Error = io::Error;

    /// Takes over a descriptor of a listener, and makes it non-blocking.
    fn try_from(fd: OwnedFd) -> io::Result<TcpListener> {
        Ok(TcpListener::new(sys::adopt(fd)?))
    }
}

impl TryFrom<net::TcpListener> for TcpListener {
    type Error = io::Error;

    /// As [`TcpListener::from_std`].
    fn try_from(listener: net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_std(listener)
    }
}

/// Accepts a connection through any holder of a listener.
pub(crate) async fn accept(holder: &impl Holder) -> io::Result<(OwnedFd, SocketAddrAny)> {
    loop {
        match perform(holder, Direction::Read, |listener: &Source| sys::accept(listener.as_fd())).await {
            Err(error) if was_given_up(&error) => {}
            result => return result,
        }
    }
}

/// Whether this is the error of one connection in the queue, and not the listener's. Linux hands a connection's network errors to
/// who accepts it (accept(2)). Each try takes one connection out of the queue, and one effect of the budget.
fn was_given_up(error: &io::Error) -> bool {
    const CONNECTION: &[Errno] = &[
        Errno::CONNABORTED,
        Errno::PROTO,
        Errno::NOPROTOOPT,
        Errno::NETDOWN,
        Errno::NETUNREACH,
        Errno::HOSTDOWN,
        Errno::HOSTUNREACH,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Errno::NONET,
    ];
    Errno::from_io_error(error).is_some_and(|errno| CONNECTION.contains(&errno))
}
