//! The sockets of the servers: over TCP or on this machine, plain or owned by a task, behind one face.
//!
//! What differs between the kinds is here and in [`listen`](crate::listen); the accept loops and the handlers know no difference.

use std::io;
use std::sync::Arc;

use matou_unix::net::{Received, TcpListener, TcpStream, UnixListener, UnixStream};
use matou_unix::{OwnershipError, Task, owned};

use crate::socket_file::SocketFile;

/// Where connections come in.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix {
        /// Removed with the last listener on it, and before that one is closed: hence the first field.
        _file: Arc<SocketFile>,
        listener: UnixListener,
    },
}

impl Listener {
    /// Waits for a connection.
    ///
    /// # Cancellation
    /// Dropped early it has accepted nothing.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Listener::Tcp(listener) => Stream::Tcp(listener.accept().await?.0),
            Listener::Unix { listener, .. } => Stream::Unix(listener.accept().await?.0),
        })
    }
}

/// A connection, as far as a handler cares.
pub(crate) trait Duplex {
    fn receive(&self) -> impl Future<Output = io::Result<Received>>;
    fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>>;
}

/// Each kind for itself: a choice made at each call would be kept in the future of each.
macro_rules! duplex {
    ($($kind:ty),+) => {$(
        impl Duplex for $kind {
            fn receive(&self) -> impl Future<Output = io::Result<Received>> {
                <$kind>::receive(self)
            }

            fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
                <$kind>::write(self, bytes)
            }
        }
    )+};
}
duplex!(TcpStream, UnixStream, owned::TcpStream, owned::UnixStream);

/// A connection that belongs to whoever holds it.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection that belongs to a task.
#[derive(Debug)]
pub(crate) enum OwnedStream {
    Tcp(owned::TcpStream),
    Unix(owned::UnixStream),
}

impl OwnedStream {
    /// Lets the current task own a connection.
    pub(crate) fn new(stream: Stream) -> Result<OwnedStream, OwnershipError> {
        Ok(match stream {
            Stream::Tcp(stream) => OwnedStream::Tcp(owned::TcpStream::new(stream)?),
            Stream::Unix(stream) => OwnedStream::Unix(owned::UnixStream::new(stream)?),
        })
    }

    /// How to start the task that is to own it.
    pub(crate) fn give(&self) -> Task {
        match self {
            OwnedStream::Tcp(stream) => Task::new().give(stream.resource()),
            OwnedStream::Unix(stream) => Task::new().give(stream.resource()),
        }
    }

    pub(crate) fn close(&self) -> Result<(), OwnershipError> {
        match self {
            OwnedStream::Tcp(stream) => stream.close(),
            OwnedStream::Unix(stream) => stream.close(),
        }
    }
}
