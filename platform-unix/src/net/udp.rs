//! UDP sockets.
//!
//! As with TCP, a call is tried first and suspends its task only where it would block. A datagram is received whole: what does not
//! fit into the buffer is lost, as in [`std::net`].

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketType, sockopt};

use super::socket::{into_std, socket};
use super::{sys, transfer};
use crate::descriptor::awaited::{self, perform};
use crate::descriptor::source::Source;
use crate::reactor::Direction;

/// A UDP socket.
///
/// ```
/// use matou_unix::net::UdpSocket;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     let local = "127.0.0.1:0".parse().expect("an address");
///     let (one, two) = (UdpSocket::bind(local)?, UdpSocket::bind(local)?);
///     one.send_to(b"meow", two.local_addr()?).await?;
///     let mut buf = [0; 16];
///     let (n, from) = two.recv_from(&mut buf).await?;
///     assert_eq!((&buf[..n], from), (&b"meow"[..], one.local_addr()?));
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// Miou: `Miou_unix.udpv4`.
#[doc(alias = "udpv4")]
#[doc(alias = "udpv6")]
pub struct UdpSocket {
    source: Source,
}

impl UdpSocket {
    fn new(fd: OwnedFd) -> UdpSocket {
        UdpSocket { source: Source::new(fd) }
    }

    /// Binds to `addr`. Port 0 takes one that is free. Outside a run, too.
    ///
    /// # Errors
    /// What the system says: `AddrInUse`, `PermissionDenied`, no descriptor left.
    pub fn bind(addr: SocketAddr) -> io::Result<UdpSocket> {
        let fd = sys::socket(sys::family(addr), SocketType::DGRAM)?;
        rustix::net::bind(&fd, &addr)?;
        Ok(UdpSocket::new(fd))
    }

    /// Sets the peer that [`send`](UdpSocket::send) sends to and [`recv`](UdpSocket::recv) receives from. It does not wait.
    ///
    /// # Errors
    /// What the system says.
    pub fn connect(&self, addr: SocketAddr) -> io::Result<()> {
        Ok(rustix::net::connect(&self.source, &addr)?)
    }

    /// Sends one datagram to `addr`.
    ///
    /// # Errors
    /// What the system says; an error of an earlier datagram may be told here.
    ///
    /// # Cancellation
    /// Dropped early it has sent nothing.
    ///
    /// Miou: `Miou_unix.sendto`.
    #[doc(alias = "sendto")]
    pub async fn send_to(&self, buf: &[u8], addr: SocketAddr) -> io::Result<usize> {
        perform(&self.source, Direction::Write, |source| Ok(rustix::net::sendto(source, buf, sys::SEND, &addr)?)).await
    }

    /// Receives one datagram, and tells who sent it.
    ///
    /// # Errors
    /// What the system says; an error of a datagram sent before may be told here. `UnexpectedEof` where the socket was shut down for reading (by
    /// its descriptor), and what came before was received.
    ///
    /// # Cancellation
    /// Dropped early it has received nothing.
    ///
    /// Miou: `Miou_unix.recvfrom`.
    #[doc(alias = "recvfrom")]
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let call = |source: &Source| {
            let (received, _, from) = rustix::net::recvfrom(source, &mut *buf, RecvFlags::empty())?;
            Ok((received, from.ok_or(Errno::DESTADDRREQ)?))
        };
        let end = || Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the socket was shut down: nobody sends to it any more"));
        let (received, from) = awaited::receive(&self.source, call, end).await?;
        Ok((received, sys::address(from)?))
    }

    /// Sends one datagram to the peer of [`connect`](UdpSocket::connect).
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to).
    ///
    /// # Cancellation
    /// Dropped early it has sent nothing.
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        transfer::send(&self.source, buf).await
    }

    /// Receives one datagram of the peer of [`connect`](UdpSocket::connect). Where the socket was shut down for reading (by its descriptor), and
    /// what came before was received, it gives 0.
    ///
    /// # Errors
    /// As [`send_to`](UdpSocket::send_to).
    ///
    /// # Cancellation
    /// Dropped early it has received nothing.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        transfer::receive_one(&self.source, buf).await
    }

    /// The address of the peer of [`connect`](UdpSocket::connect).
    ///
    /// # Errors
    /// `NotConnected` if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        rustix::net::getpeername(&self.source)?.ok_or_else(|| Errno::NOTCONN.into()).and_then(sys::address)
    }

    /// Whether it may send to broadcast addresses.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_broadcast(&self, broadcast: bool) -> io::Result<()> {
        Ok(sockopt::set_socket_broadcast(&self.source, broadcast)?)
    }
}

socket! {
    UdpSocket, net::UdpSocket, SocketAddr, sys::address, [addr: local_addr];
}

into_std!(UdpSocket, net::UdpSocket);
