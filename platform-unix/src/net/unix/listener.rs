//! Unix listeners.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{self, SocketAddr};
use std::path::Path;

use rustix::net::{AddressFamily, SocketType};

use super::address;
use super::stream::UnixStream;
use crate::descriptor::awaited::Holder;
use crate::descriptor::source::Source;
use crate::net::listener::accept_with;
use crate::net::socket::{into_std, socket};
use crate::net::sys;

/// How many connections may wait to be accepted; the system has a bound of its own, 4096 on Linux.
const BACKLOG: i32 = 4096;

/// A Unix socket that accepts connections.
///
/// ```
/// use matou_unix::net::{UnixListener, UnixStream};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let path = std::env::temp_dir().join(format!("matou-{}.socket", std::process::id()));
/// matou_unix::run(async {
///     let listener = UnixListener::bind(&path)?;
///     let client = UnixStream::connect(&path).await?;
///     let (server, _peer) = listener.accept().await?;
///     client.write_all(b"meow").await?;
///     let mut buf = [0; 4];
///     server.read_exact(&mut buf).await?;
///     assert_eq!(&buf, b"meow");
///     std::fs::remove_file(&path)
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// It belongs to one domain at a time, as a [`TcpListener`](crate::net::TcpListener) does. Dropped it closes the socket and leaves
/// its file: see [the module](crate::net::unix).
///
/// Miou: `Miou_unix.file_descr`.
pub struct UnixListener {
    source: Source,
}

impl UnixListener {
    fn new(fd: OwnedFd) -> UnixListener {
        UnixListener { source: Source::new(fd) }
    }

    /// Binds to a path, which must not exist, and listens. Outside a run, too.
    ///
    /// # Errors
    /// Each names the path. `AddrInUse`: it exists, and is another server's, or was left behind by one. To tell these apart, connect:
    /// `ConnectionRefused` says that nobody is there, and the file may be removed. `InvalidInput`: it is too long. `NotFound`,
    /// `PermissionDenied`: there is no such folder, or it is forbidden to write there.
    ///
    /// Miou: `Miou_unix.bind_and_listen`.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&address::of_path(path.as_ref())?)
    }

    /// Binds to an address, such as an abstract name, and listens. Outside a run, too.
    ///
    /// ```
    /// # #[cfg(target_os = "linux")]
    /// # fn main() -> std::io::Result<()> {
    /// use matou_unix::net::{UnixListener, unix::SocketAddr};
    /// use std::os::linux::net::SocketAddrExt;
    ///
    /// let name = format!("matou-{}", std::process::id());
    /// let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(target_os = "linux"))]
    /// # fn main() {}
    /// ```
    ///
    /// # Errors
    /// As [`bind`](UnixListener::bind).
    pub fn bind_addr(addr: &SocketAddr) -> io::Result<UnixListener> {
        let fd = sys::socket(AddressFamily::UNIX, SocketType::STREAM)?;
        rustix::net::bind(&fd, &address::to_system(addr)?).map_err(|errno| address::cannot_bind(addr, errno.into()))?;
        rustix::net::listen(&fd, BACKLOG)?;
        Ok(UnixListener::new(fd))
    }

    /// Waits for a connection, and tells the peer's address, which is mostly unnamed.
    ///
    /// # Errors
    /// What the system says; with no descriptor or no memory left the connection stays in the queue, and the error comes at once
    /// each time: let some time pass, or close something, before trying again.
    ///
    /// # Cancellation
    /// Dropped early it has accepted nothing.
    ///
    /// Miou: `Miou_unix.accept`.
    pub async fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let (fd, peer) = accept(&self.source).await?;
        Ok((UnixStream::new(fd), peer))
    }

    /// A second handle on the same listener, for another domain: each connection goes to one of them.
    ///
    /// # Errors
    /// With no descriptor left.
    pub fn try_clone(&self) -> io::Result<UnixListener> {
        Ok(UnixListener::new(self.source.as_fd().try_clone_to_owned()?))
    }
}

socket! {
    UnixListener, net::UnixListener, SocketAddr, address::from_system, [addr: local_addr];
}

into_std!(UnixListener, net::UnixListener);

/// Accepts a connection through any holder of a listener.
pub(crate) async fn accept(holder: &impl Holder) -> io::Result<(OwnedFd, SocketAddr)> {
    accept_with(holder, address::of_peer).await
}
