//! Sockets that belong to a task.
//!
//! A socket of [`net`](crate::net) belongs to whoever holds the value. One of these belongs to a task, which is answerable for it:
//!
//! - Every use is checked. A task that does not own the socket gets an error that names the owner, not the socket.
//! - A task that ends normally must have closed it, given it away or handed it up: else that is the violation `ResourceLeaked`,
//!   with the source line where the socket was owned.
//! - A task that ends abnormally, by an error, a panic or a cancellation, closes it: before its promise resolves, so that the
//!   parent finds the address free.
//!
//! The handle may be cloned and sent; owning is what counts. A socket is given to a child with
//! [`Task::give`](crate::Task::give) and [`resource`](TcpStream::resource), and handed to the parent with
//! [`transfer`](TcpStream::transfer).
//!
//! ```
//! use matou_unix::{Task, owned};
//!
//! async fn handler(stream: owned::TcpStream) -> std::io::Result<()> {
//!     stream.write_all(b"meow").await?;
//!     Ok(stream.close()?)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! matou_unix::run(async {
//!     let listener = owned::TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
//!     let client = owned::TcpStream::connect(listener.local_addr()?).await?;
//!     let (server, _peer) = listener.accept().await?;
//!     let child = Task::new().give(server.resource()).spawn(handler(server.clone()))?;
//!     let mut buf = [0; 4];
//!     client.read_exact(&mut buf).await?;
//!     assert_eq!(&buf, b"meow");
//!     assert!(server.write_all(b"not mine any more").await.is_err());
//!     child.await?;
//!     client.close()?;
//!     listener.close()?;
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # Errors
//!
//! What fails because of ownership fails with an [`OwnershipError`](crate::OwnershipError), which the methods for reading and writing wrap in an
//! [`io::Error`].
//!
//! # A socket that goes while somebody waits for it
//!
//! A task may wait for its socket in one branch of a `join!` and give it away in another. The wait ends with `NotOwner` then: the
//! check is made anew whenever the system is asked.
//!
//! Miou: `Miou_unix.Ownership`.

mod tcp;
mod unix;

use std::io;
use std::os::fd::OwnedFd;

use matou_core::Resource;

pub use self::tcp::{TcpListener, TcpStream};
pub use self::unix::{UnixListener, UnixStream};

use crate::descriptor::awaited::Holder;
use crate::descriptor::source::Source;
use crate::net::Socket;

impl<S: Socket + Send + 'static> Holder for Resource<S> {
    type Io = OwnedFd;

    fn hold<R>(&self, f: impl FnOnce(&Source) -> R) -> io::Result<R> {
        Ok(self.with(|socket| f(socket.source()))?)
    }
}

/// What all kinds of sockets do with their ownership.
macro_rules! ownership {
    ($plain:ty, $Addr:ty) => {
        /// Lets the current task own a socket.
        ///
        /// # Errors
        /// Outside a task; the socket is closed then.
        ///
        /// Miou: `Miou_unix.Ownership.of_file_descr`.
        #[track_caller]
        pub fn new(socket: $plain) -> Result<Self, OwnershipError> {
            Self::new_at(socket, Location::caller())
        }

        fn new_at(socket: $plain, place: &'static Location<'static>) -> Result<Self, OwnershipError> {
            let resource = Resource::new(socket, drop);
            resource.own_at(place)?;
            Ok(Self { resource })
        }

        /// What is given to a child: `Task::new().give(socket.resource())`.
        ///
        /// Miou: `Miou_unix.Ownership.resource`.
        pub fn resource(&self) -> &Resource<$plain> {
            &self.resource
        }

        /// Tells whether the current task owns it.
        ///
        /// # Errors
        /// That it does not, and who does.
        pub fn check(&self) -> Result<(), OwnershipError> {
            self.resource.check()
        }

        /// Closes it.
        ///
        /// # Errors
        /// If the current task does not own it.
        ///
        /// Miou: `Miou_unix.Ownership.close`.
        pub fn close(&self) -> Result<(), OwnershipError> {
            self.resource.release()
        }

        /// Takes it out of the ownership of tasks: the value is the caller's, who drops it to close it.
        ///
        /// # Errors
        /// If the current task does not own it.
        ///
        /// Miou: `Miou.Ownership.disown`.
        pub fn disown(&self) -> Result<$plain, OwnershipError> {
            self.resource.disown()
        }

        /// Hands it to the parent, who owns it no later than when this task's promise resolves.
        ///
        /// # Errors
        /// If the current task does not own it, or has no parent.
        ///
        /// Miou: `Miou.Ownership.transfer`.
        pub fn transfer(&self) -> Result<(), OwnershipError> {
            self.resource.transfer()
        }

        /// Calls `f` with the socket, which must not await.
        ///
        /// # Errors
        /// If the current task does not own it.
        pub fn with<R>(&self, f: impl FnOnce(&$plain) -> R) -> Result<R, OwnershipError> {
            self.resource.with(|socket| f(socket))
        }

        /// The address of this end.
        ///
        /// # Errors
        /// If the current task does not own it, and what the system says.
        pub fn local_addr(&self) -> io::Result<$Addr> {
            self.resource.with(|socket| socket.local_addr())?
        }
    };
}
use ownership;

/// What streams do, checked at each use.
macro_rules! owned_stream {
    ($Addr:ty) => {
        /// As [`net::TcpStream::read`].
        ///
        /// # Errors
        /// If the current task does not own it, also when it has ceased to while it waited; and what the system says.
        ///
        /// # Cancellation
        /// Dropped early it has taken no byte out of the stream.
        ///
        /// Miou: `Miou_unix.Ownership.read`.
        pub fn read(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
            net::read(&self.resource, buf)
        }

        /// As [`net::TcpStream::receive`]. What was received is the caller's, also when the socket is not any more.
        ///
        /// # Errors
        /// As [`read`](Self::read), and `OutOfMemory` if there is none for a buffer.
        ///
        /// # Cancellation
        /// Dropped early it has taken no byte out of the stream.
        ///
        /// Miou: `Miou_unix.Ownership.read`.
        pub fn receive(&self) -> impl Future<Output = io::Result<net::Received>> {
            net::receive(&self.resource)
        }

        /// As [`net::TcpStream::read_exact`].
        ///
        /// # Errors
        /// `UnexpectedEof` if the stream ends before `buf` is full. Else as [`read`](Self::read).
        ///
        /// # Cancellation
        /// Dropped early it may have taken bytes out of the stream, and how many is not known.
        ///
        /// Miou: `Miou_unix.Ownership.really_read`.
        pub async fn read_exact(&self, buf: &mut [u8]) -> io::Result<()> {
            net::read_exact(&self.resource, buf).await
        }

        /// As [`net::TcpStream::write`].
        ///
        /// # Errors
        /// As [`read`](Self::read).
        ///
        /// # Cancellation
        /// Dropped early it has written nothing.
        pub fn write(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> {
            net::write(&self.resource, buf)
        }

        /// As [`net::TcpStream::write_all`].
        ///
        /// # Errors
        /// As [`read`](Self::read).
        ///
        /// # Cancellation
        /// Dropped early it may have written a part of `buf`, and which is not known.
        ///
        /// Miou: `Miou_unix.Ownership.write`.
        pub async fn write_all(&self, buf: &[u8]) -> io::Result<()> {
            net::write_all(&self.resource, buf).await
        }

        /// Ends one direction of the connection, or both; the socket stays.
        ///
        /// # Errors
        /// If the current task does not own it, and what the system says.
        ///
        /// Miou: `Miou_unix.Ownership.shutdown`.
        pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            self.resource.with(|stream| stream.shutdown(how))?
        }

        /// The address of the other end.
        ///
        /// # Errors
        /// If the current task does not own it, and `NotConnected` once the connection is gone.
        pub fn peer_addr(&self) -> io::Result<$Addr> {
            self.resource.with(|stream| stream.peer_addr())?
        }
    };
}
use owned_stream;
