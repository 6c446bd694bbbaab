//! Unix datagrams.
//!
//! Unlike those of UDP they are delivered, in order, or not taken: a receiver that is slow holds its senders back.

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketType};

use super::{address, with_pauses};
use crate::descriptor::awaited;
use crate::descriptor::source::Source;
use crate::net::socket::{into_std, socket};
use crate::net::{sys, transfer};

/// A Unix socket for datagrams.
///
/// ```
/// use matou_unix::net::UnixDatagram;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     let (one, other) = UnixDatagram::pair()?;
///     one.send(b"meow").await?;
///     let mut buf = [0; 16];
///     let n = other.recv(&mut buf).await?;
///     assert_eq!(&buf[..n], b"meow");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// Dropped it closes the socket and leaves its file: see [the module](crate::net::unix).
pub struct UnixDatagram {
    source: Source,
}

impl UnixDatagram {
    fn new(fd: OwnedFd) -> UnixDatagram {
        UnixDatagram { source: Source::new(fd) }
    }

    /// Binds to a path, which must not exist. Outside a run, too.
    ///
    /// # Errors
    /// As [`UnixListener::bind`](super::UnixListener::bind).
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_addr(&address::of_path(path.as_ref())?)
    }

    /// Binds to an address, such as an abstract name. Outside a run, too.
    ///
    /// # Errors
    /// As [`UnixListener::bind`](super::UnixListener::bind).
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        let at = address::to_system(addr)?;
        rustix::net::bind(&socket, &at).map_err(|errno| address::cannot_bind(addr, errno.into()))?;
        Ok(socket)
    }

    /// A socket without a name, which can send and cannot be answered. Outside a run, too.
    ///
    /// # Errors
    /// With no descriptor left.
    pub fn unbound() -> io::Result<UnixDatagram> {
        Ok(UnixDatagram::new(sys::socket(AddressFamily::UNIX, SocketType::DGRAM)?))
    }

    /// Two sockets that are connected to each other. Outside a run, too.
    ///
    /// # Errors
    /// With no descriptor left.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = sys::pair(SocketType::DGRAM)?;
        Ok((UnixDatagram::new(one), UnixDatagram::new(other)))
    }

    /// Sets the peer that [`send`](UnixDatagram::send) sends to and [`recv`](UnixDatagram::recv) receives from. It does not wait.
    ///
    /// # Errors
    /// As [`UnixStream::connect`](super::UnixStream::connect).
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&address::of_path(path.as_ref())?)
    }

    /// As [`connect`](UnixDatagram::connect), with any address.
    ///
    /// # Errors
    /// As [`UnixStream::connect`](super::UnixStream::connect).
    pub fn connect_addr(&self, addr: &SocketAddr) -> io::Result<()> {
        let to = address::to_system(addr)?;
        rustix::net::connect(&self.source, &to).map_err(|errno| address::cannot_connect(addr, errno.into()))
    }

    /// Sends one datagram to the socket at `path`, waiting while its queue is full: see [the module](crate::net::unix).
    ///
    /// # Errors
    /// As [`UnixStream::connect`](super::UnixStream::connect).
    ///
    /// # Cancellation
    /// Dropped early it has sent nothing.
    ///
    /// Miou: `Miou_unix.sendto`.
    #[doc(alias = "sendto")]
    pub async fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.send_to_addr(buf, &address::of_path(path.as_ref())?).await
    }

    /// As [`send_to`](UnixDatagram::send_to), with any address.
    ///
    /// # Errors
    /// As [`UnixStream::connect`](super::UnixStream::connect).
    ///
    /// # Cancellation
    /// Dropped early it has sent nothing.
    pub async fn send_to_addr(&self, buf: &[u8], addr: &SocketAddr) -> io::Result<usize> {
        let to = address::to_system(addr)?;
        let sent = with_pauses(|| rustix::net::sendto(self, buf, sys::SEND, &to)).await;
        sent.map_err(|error| address::cannot_connect(addr, error))
    }

    /// Receives one datagram, and tells who sent it. What does not fit into `buf` is lost. Once this socket was
    /// [shut down](UnixDatagram::shutdown) for reading, and what came before was received, it gives 0 and no name.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Cancellation
    /// Dropped early it has received nothing.
    ///
    /// Miou: `Miou_unix.recvfrom`.
    #[doc(alias = "recvfrom")]
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let call = |source: &Source| {
            let (received, _, from) = rustix::net::recvfrom(source, &mut *buf, RecvFlags::empty())?;
            Ok((received, address::of_peer(from)?))
        };
        awaited::receive(&self.source, call, || Ok((0, address::of_peer(None)?))).await
    }

    /// Sends one datagram to the peer of [`connect`](UnixDatagram::connect), waiting while its queue is full.
    ///
    /// # Errors
    /// What the system says: `ConnectionRefused` once the peer is gone.
    ///
    /// # Cancellation
    /// Dropped early it has sent nothing.
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        transfer::send(&self.source, buf).await
    }

    /// Receives one datagram. What does not fit into `buf` is lost. Once this socket was [shut down](UnixDatagram::shutdown) for reading, and
    /// what came before was received, it gives 0.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Cancellation
    /// Dropped early it has received nothing.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        transfer::receive_one(&self.source, buf).await
    }

    /// The address of the peer of [`connect`](UnixDatagram::connect).
    ///
    /// # Errors
    /// `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        rustix::net::getpeername(&self.source)?.ok_or_else(|| Errno::NOTCONN.into()).and_then(address::from_system)
    }

    /// Ends one direction, or both; the socket stays. It does not wait. Who waits in that direction is told: a receive gives 0, a send
    /// `BrokenPipe`.
    ///
    /// # Errors
    /// What the system says.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        transfer::shutdown(&self.source, how)
    }
}

socket! {
    UnixDatagram, net::UnixDatagram, SocketAddr, address::from_system, [addr: local_addr, peer: peer_addr];
}

into_std!(UnixDatagram, net::UnixDatagram);
