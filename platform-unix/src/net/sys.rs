//! The system calls that are not the same on all Unixes, made the same.
//!
//! Descriptors made here are non-blocking, closed on `exec`, and never raise `SIGPIPE`. Any thread may call these.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, SocketAddrAny, SocketType};

/// A write to a peer that is gone is an error, not a signal that ends the process.
#[cfg(not(target_vendor = "apple"))]
pub(crate) const SEND: SendFlags = SendFlags::NOSIGNAL;
#[cfg(target_vendor = "apple")]
pub(crate) const SEND: SendFlags = SendFlags::empty();

pub(crate) fn family(addr: SocketAddr) -> AddressFamily {
    match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    }
}

#[cfg(not(target_vendor = "apple"))]
pub(crate) fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    use rustix::net::SocketFlags;
    Ok(rustix::net::socket_with(family, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?)
}

#[cfg(target_vendor = "apple")]
pub(crate) fn socket(family: AddressFamily, kind: SocketType) -> io::Result<OwnedFd> {
    let fd = rustix::net::socket(family, kind, None)?;
    rustix::io::ioctl_fioclex(&fd)?;
    adopt(fd)
}

/// Two Unix sockets that are connected to each other.
pub(crate) fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{SocketFlags, socketpair};
    #[cfg(not(target_vendor = "apple"))]
    return Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?);
    #[cfg(target_vendor = "apple")]
    {
        let (one, other) = socketpair(AddressFamily::UNIX, kind, SocketFlags::empty(), None)?;
        rustix::io::ioctl_fioclex(&one)?;
        rustix::io::ioctl_fioclex(&other)?;
        Ok((adopt(one)?, adopt(other)?))
    }
}

#[cfg(not(target_vendor = "apple"))]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    use rustix::net::SocketFlags;
    rustix::net::acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
}

#[cfg(target_vendor = "apple")]
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<(OwnedFd, Option<SocketAddrAny>), Errno> {
    let (fd, peer) = rustix::net::acceptfrom(listener)?;
    rustix::io::ioctl_fioclex(&fd)?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    rustix::net::sockopt::set_socket_nosigpipe(&fd, true)?;
    Ok((fd, peer))
}

/// Makes a descriptor that comes from elsewhere one of ours.
pub(crate) fn adopt(fd: OwnedFd) -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    #[cfg(target_vendor = "apple")]
    rustix::net::sockopt::set_socket_nosigpipe(&fd, true)?;
    Ok(fd)
}

/// The address of an internet socket.
pub(crate) fn address(addr: SocketAddrAny) -> io::Result<SocketAddr> {
    let what = "the socket's address is not an internet address";
    SocketAddr::try_from(addr).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, what))
}
