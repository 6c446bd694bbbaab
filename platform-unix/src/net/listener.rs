//! TCP listeners.
//!
//! A [`TcpListener`] belongs to one domain at a time; any number of tasks there may accept from it. For one per domain, either
//! [`try_clone`](TcpListener::try_clone) it or bind several with `reuse_port`.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SocketAddrAny;

use super::options::TcpListenerBuilder;
use super::socket::{into_std, socket};
use super::stream::TcpStream;
use super::sys;
use crate::descriptor::awaited::{Awaited, Call, Holder};
use crate::descriptor::is_ready;
use crate::descriptor::source::Source;
use crate::reactor::{Direction, DomainReactor};

/// A TCP socket that accepts connections.
///
/// ```
/// use matou_unix::net::{TcpListener, TcpStream};
/// use matou_unix::time::{self, Duration};
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
///         match listener.accept().await {
///             Ok((stream, _peer)) => _ = orphans.call(move || handler(stream))?,
///             Err(error) => {
///                 eprintln!("not accepting for a moment: {error}"); // As where no descriptor is left: who connects waits in the queue.
///                 time::sleep(Duration::from_millis(100)).await;
///             }
///         }
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
        let (fd, peer) = accept(&self.source).await?;
        Ok((TcpStream::new(fd), peer))
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
}

socket! {
    TcpListener, net::TcpListener, SocketAddr, sys::address, [addr: local_addr];
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = matou_unix::net::TcpListener::from_std(listener)?;
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// ```
}

into_std!(TcpListener, net::TcpListener);

/// Accepts a connection through any holder of a listener.
pub(crate) async fn accept(holder: &impl Holder) -> io::Result<(OwnedFd, SocketAddr)> {
    // A connection that was reset in the queue is accepted with no address on some systems.
    accept_with(holder, |peer| sys::address(peer.ok_or(Errno::CONNABORTED)?)).await
}

/// Accepts a connection of any kind; `address` makes the peer's address of the system's.
pub(crate) async fn accept_with<A>(
    holder: &impl Holder,
    address: impl Fn(Option<SocketAddrAny>) -> io::Result<A>,
) -> io::Result<(OwnedFd, A)> {
    loop {
        match Awaited::new(holder, Accept { address: &address }).await {
            Err(error) if was_given_up(&error) => {}
            result => return result,
        }
    }
}

/// Takes a connection out of the queue.
struct Accept<'a, F> {
    address: &'a F,
}

impl<T: AsFd, A, F: Fn(Option<SocketAddrAny>) -> io::Result<A>> Call<Source<T>> for Accept<'_, F> {
    type Output = (OwnedFd, A);
    const READS: bool = false;
    /// That of a Unix listener does.
    const HIDES_ITS_END: bool = true;

    fn direction(&self) -> Direction {
        Direction::Read
    }

    /// Linux makes a socket before it looks into the queue: to find nothing there costs more than ten times as much as to ask. And nothing is
    /// found after each connection that came alone.
    fn is_worth_trying(&self, listener: &Source<T>) -> bool {
        is_ready(listener, PollFlags::IN).unwrap_or(true)
    }

    fn call(&mut self, listener: &Source<T>, _current: Option<&DomainReactor>) -> io::Result<Self::Output> {
        let (fd, peer) = sys::accept(listener.as_fd())?;
        Ok((fd, (self.address)(peer)?))
    }

    fn end(&mut self) -> io::Result<Self::Output> {
        Err(Errno::INVAL.into()) // As a call that blocks says.
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
