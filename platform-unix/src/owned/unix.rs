//! Unix sockets that belong to a task. The file of a listener stays: see [`net::unix`].

use std::io;
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::panic::Location;
use std::path::Path;

use matou_core::{OwnershipError, Resource};

use super::{owned_stream, ownership};
use crate::net;

/// A Unix connection that belongs to a task. See the [module](super).
///
/// Miou: `Miou_unix.Ownership.file_descr`.
#[derive(Clone, Debug)]
pub struct UnixStream {
    resource: Resource<net::UnixStream>,
}

impl UnixStream {
    ownership!(net::UnixStream, SocketAddr);

    /// Connects to the socket at `path`. The connection belongs to the current task.
    ///
    /// # Errors
    /// As [`net::UnixStream::connect`].
    ///
    /// # Cancellation
    /// Dropped early, the attempt is given up and the socket closed.
    ///
    /// Miou: `Miou_unix.Ownership.connect`.
    #[track_caller]
    pub fn connect(path: impl AsRef<Path>) -> impl Future<Output = io::Result<UnixStream>> {
        let place = Location::caller(); // An `async fn` would not know its caller.
        async move { Ok(UnixStream::new_at(net::UnixStream::connect(path).await?, place)?) }
    }

    owned_stream!(SocketAddr);
}

/// A Unix listener that belongs to a task. See the [module](super).
///
/// Miou: `Miou_unix.Ownership.file_descr`.
#[derive(Clone, Debug)]
pub struct UnixListener {
    resource: Resource<net::UnixListener>,
}

impl UnixListener {
    ownership!(net::UnixListener, SocketAddr);

    /// Binds to a path, which must not exist, and listens. The listener belongs to the current task.
    ///
    /// # Errors
    /// As [`net::UnixListener::bind`], and outside a task.
    ///
    /// Miou: `Miou_unix.Ownership.bind_and_listen`.
    #[track_caller]
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        Ok(UnixListener::new(net::UnixListener::bind(path)?)?)
    }

    /// Waits for a connection, which belongs to the current task.
    ///
    /// # Errors
    /// If the current task does not own the listener, also when it has ceased to while it waited. Else as
    /// [`net::UnixListener::accept`].
    ///
    /// # Cancellation
    /// Dropped early it has accepted nothing.
    ///
    /// Miou: `Miou_unix.Ownership.accept`.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = io::Result<(UnixStream, SocketAddr)>> {
        let place = Location::caller();
        async move {
            let (fd, peer) = net::unix::accept(&self.resource).await?;
            Ok((UnixStream::new_at(net::UnixStream::new(fd), place)?, peer))
        }
    }
}
