//! TCP sockets that belong to a task.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::panic::Location;

use matou_core::{OwnershipError, Resource};

use super::{owned_stream, ownership};
use crate::net;

/// A TCP connection that belongs to a task. See the [module](super).
///
/// Miou: `Miou_unix.Ownership.file_descr`.
#[derive(Clone, Debug)]
pub struct TcpStream {
    resource: Resource<net::TcpStream>,
}

impl TcpStream {
    ownership!(net::TcpStream, SocketAddr);

    /// Connects to `addr`, which may be a name. The connection belongs to the current task.
    ///
    /// # Errors
    /// As [`net::TcpStream::connect`].
    ///
    /// # Cancellation
    /// Dropped early, the attempt is given up and the socket closed.
    ///
    /// Miou: `Miou_unix.Ownership.connect`.
    #[track_caller]
    pub fn connect(addr: impl net::ToSocketAddrs) -> impl Future<Output = io::Result<TcpStream>> {
        let place = Location::caller(); // An `async fn` would not know its caller.
        async move { Ok(TcpStream::new_at(net::TcpStream::connect(addr).await?, place)?) }
    }

    owned_stream!(SocketAddr);
}

/// A TCP listener that belongs to a task. See the [module](super).
///
/// Miou: `Miou_unix.Ownership.file_descr`.
#[derive(Clone, Debug)]
pub struct TcpListener {
    resource: Resource<net::TcpListener>,
}

impl TcpListener {
    ownership!(net::TcpListener, SocketAddr);

    /// Binds to `addr` and listens. The listener belongs to the current task.
    ///
    /// # Errors
    /// As [`net::TcpListener::bind`], and outside a task.
    ///
    /// Miou: `Miou_unix.Ownership.bind_and_listen`.
    #[track_caller]
    pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
        Ok(TcpListener::new(net::TcpListener::bind(addr)?)?)
    }

    /// Waits for a connection, which belongs to the current task.
    ///
    /// # Errors
    /// If the current task does not own the listener, also when it has ceased to while it waited. Else as
    /// [`net::TcpListener::accept`].
    ///
    /// # Cancellation
    /// Dropped early it has accepted nothing.
    ///
    /// Miou: `Miou_unix.Ownership.accept`.
    #[track_caller]
    pub fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> {
        let place = Location::caller();
        async move {
            let (fd, peer) = net::accept(&self.resource).await?;
            Ok((TcpStream::new_at(net::TcpStream::new(fd), place)?, peer))
        }
    }
}
