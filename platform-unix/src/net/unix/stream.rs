//! Unix connections.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

#[cfg(any(target_os = "linux", target_os = "android"))]
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

use super::{address, with_pauses};
use crate::descriptor::source::Source;
use crate::net::socket::socket;
use crate::net::sys;
use crate::net::transfer::stream_methods;
use crate::net::unread::into_std;

/// A connection on this machine.
///
/// ```
/// use matou_unix::net::UnixStream;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     let (one, other) = UnixStream::pair()?;
///     one.write_all(b"meow").await?;
///     let mut buf = [0; 4];
///     other.read_exact(&mut buf).await?;
///     assert_eq!(&buf, b"meow");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// It closes the connection when it is dropped. As all sockets it is `Send` and not `Sync`, and may be handed to another domain.
///
/// Miou: `Miou_unix.file_descr`.
pub struct UnixStream {
    source: Source,
}

impl UnixStream {
    pub(crate) fn new(fd: OwnedFd) -> UnixStream {
        // A read may end before the data does: at file descriptors or credentials that were sent along.
        UnixStream { source: Source::with_borders(fd).streaming() }
    }

    /// Two streams that are connected to each other. Outside a run, too.
    ///
    /// # Errors
    /// With no descriptor left.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = sys::pair(SocketType::STREAM)?;
        Ok((UnixStream::new(one), UnixStream::new(other)))
    }

    /// Connects to the socket at `path`. Where the listener's queue is full, it waits until there is room: see [the
    /// module](crate::net::unix).
    ///
    /// # Errors
    /// Each names the path; the system's own error is its [`source`](std::error::Error::source).
    ///
    /// | kind | what has happened |
    /// | --- | --- |
    /// | `NotFound` | there is no such file |
    /// | `ConnectionRefused` | nobody listens there: the file was left behind by a server that is gone, or is none of a socket |
    /// | `PermissionDenied` | it takes the right to write to the file, and to enter its folders |
    /// | `InvalidInput` | the path is too long |
    ///
    /// With no descriptor left it is the system's own error, `EMFILE` or `ENFILE`.
    ///
    /// # Cancellation
    /// Dropped early, the attempt is given up and the socket closed.
    ///
    /// Miou: `Miou_unix.connect`.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&address::of_path(path.as_ref())?).await
    }

    /// Connects to an address, such as an abstract name.
    ///
    /// # Errors
    /// As [`connect`](UnixStream::connect).
    ///
    /// # Cancellation
    /// Dropped early, the attempt is given up and the socket closed.
    pub async fn connect_addr(addr: &SocketAddr) -> io::Result<UnixStream> {
        let stream = UnixStream::new(sys::socket(AddressFamily::UNIX, SocketType::STREAM)?);
        let to = address::to_system(addr)?;
        match with_pauses(|| rustix::net::connect(&stream, &to)).await {
            Ok(()) => Ok(stream),
            Err(error) => Err(address::cannot_connect(addr, error)),
        }
    }

    stream_methods!(UnixStream);

    /// The address of the other end, which is unnamed unless that is the listener's.
    ///
    /// # Errors
    /// `NotConnected` once the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        rustix::net::getpeername(&self.source)?.ok_or_else(|| Errno::NOTCONN.into()).and_then(address::from_system)
    }

    /// Who the peer was when it connected, or listened; checked by the system.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (one, _other) = matou_unix::net::UnixStream::pair()?;
    /// assert_eq!(one.peer_cred()?.pid.map(i32::cast_unsigned), Some(std::process::id()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the system says.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[doc(alias = "SO_PEERCRED")]
    pub fn peer_cred(&self) -> io::Result<Credentials> {
        // Not rustix's, whose process number is never 0: the system's is, for a process of another namespace.
        let peer = getsockopt(&self.source, PeerCredentials)?;
        Ok(Credentials { pid: Some(peer.pid()).filter(|&pid| pid != 0), uid: peer.uid(), gid: peer.gid() })
    }
}

socket! {
    UnixStream, net::UnixStream, SocketAddr, address::from_system, [addr: local_addr, peer: peer_addr];
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (one, other) = std::os::unix::net::UnixStream::pair()?;
    /// let one = matou_unix::net::UnixStream::from_std(one)?;
    /// # drop((one, other));
    /// # Ok(())
    /// # }
    /// ```
}

into_std!(UnixStream, net::UnixStream);

/// A process, as the system knows it.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[doc(alias = "UCred")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Credentials {
    /// Its number, by now perhaps another process's. `None` where it cannot be seen from this process's PID namespace, and for a socket
    /// that was never connected.
    pub pid: Option<i32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}
