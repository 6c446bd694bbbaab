//! Reading and writing: what all streams do alike, and all sockets of datagrams, whatever their addresses are.
//!
//! [`stream_methods`] gives a type its methods; the functions do the work, through any [`Holder`]: a stream, or one under ownership
//! (`owned`). All of them are loops of `perform`; those that a quiet connection waits in give its future as it is, with no `async` around
//! it, because each would keep the arguments once more.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::AsFd;

use rustix::net::{RecvFlags, SendAncillaryBuffer};

use super::received::Received;
use super::sys;
use super::ways::{IntoBuffer, IntoBuffers, IntoLent, Look, at_once};
use crate::descriptor;
use crate::descriptor::awaited::{self, Awaited, Holder, Plain, perform};
use crate::descriptor::source::Source;
use crate::reactor::Direction;

/// The methods of a stream that has a `source`.
macro_rules! stream_methods {
    ($Stream:ident) => {
        /// Reads what has come, up to the length of `buf`, and gives how many bytes that were. 0 is the end of the stream, or an
        /// empty `buf`.
        ///
        /// ```
        #[doc = concat!("# use matou_unix::net::", stringify!($Stream), ";")]
        #[doc = concat!("async fn length(stream: &", stringify!($Stream), ") -> std::io::Result<usize> {")]
        ///     let (mut sum, mut buf) = (0, [0; 4096]);
        ///     loop {
        ///         match stream.read(&mut buf).await? {
        ///             0 => return Ok(sum),
        ///             n => sum += n,
        ///         }
        ///     }
        /// }
        /// ```
        ///
        /// # Errors
        /// What the system says, `ConnectionReset` above all.
        ///
        /// # Cancellation
        /// Dropped early it has taken no byte out of the stream.
        ///
        /// Miou: `Miou_unix.read`.
        pub fn read(&self, buf: &mut [u8]) -> impl Future<Output = std::io::Result<usize>> {
            $crate::net::transfer::read(&self.source, buf)
        }

        /// Waits until something has come, and gives it in a buffer that the domain lends: meanwhile the task holds none. It gives as much as
        /// there is, up to the size of such a buffer ([`Builder::lent_buffer`](crate::Builder::lent_buffer)). No bytes are the end of the
        /// stream.
        ///
        /// ```
        #[doc = concat!("# use matou_unix::net::", stringify!($Stream), ";")]
        #[doc = concat!("async fn length(stream: &", stringify!($Stream), ") -> std::io::Result<usize> {")]
        ///     let mut sum = 0;
        ///     loop {
        ///         match stream.receive().await?.len() {
        ///             0 => return Ok(sum),
        ///             n => sum += n,
        ///         }
        ///     }
        /// }
        /// ```
        ///
        /// # Errors
        /// As [`read`](Self::read), and `OutOfMemory` if there is none for a buffer; then no byte was taken. Outside a run it is an error that
        /// says so, as there is nobody to lend.
        ///
        /// # Cancellation
        /// Dropped early it has taken no byte out of the stream.
        ///
        /// Miou: `Miou_unix.read`.
        pub fn receive(&self) -> impl Future<Output = std::io::Result<$crate::net::Received>> {
            $crate::net::transfer::receive(&self.source)
        }

        /// Takes the bytes that came for a read which was dropped before it had them. They are the next read's, unless this is called.
        ///
        /// Only with [`Reactor::Uring`](crate::Reactor::Uring) there may be any, since there the kernel hands over what comes for a read
        /// that waits; and only where a read was dropped at that very moment. As long as there are any, the stream cannot be converted to the standard
        /// library's, or to a descriptor: that would lose them.
        ///
        /// ```
        #[doc = concat!("# use matou_unix::net::", stringify!($Stream), ";")]
        #[doc = concat!("fn handed_over(stream: ", stringify!($Stream), ") -> std::io::Result<(Vec<u8>, std::os::fd::OwnedFd)> {")]
        ///     Ok((stream.unread(), stream.try_into()?))
        /// }
        /// ```
        pub fn unread(&self) -> Vec<u8> {
            self.source.unread()
        }

        /// Reads until `buf` is full.
        ///
        /// # Errors
        /// `UnexpectedEof` if the stream ends before; what `buf` holds then is not said. Else as [`read`](Self::read).
        ///
        /// # Cancellation
        /// Dropped early it may have taken bytes out of the stream, which are then in `buf`, and how many is not known. Where that
        /// matters, count with [`read`](Self::read).
        ///
        /// Miou: `Miou_unix.really_read`.
        #[doc(alias = "really_read")]
        pub async fn read_exact(&self, buf: &mut [u8]) -> std::io::Result<()> {
            $crate::net::transfer::read_exact(&self.source, buf).await
        }

        /// Reads into several buffers, one after the other; into 1024 of them at most.
        ///
        /// # Errors
        /// As [`read`](Self::read).
        ///
        /// # Cancellation
        /// Dropped early it has taken no byte out of the stream.
        pub async fn read_vectored(&self, bufs: &mut [std::io::IoSliceMut<'_>]) -> std::io::Result<usize> {
            $crate::net::transfer::read_vectored(&self.source, bufs).await
        }

        /// Reads as [`read`](Self::read) does, and leaves the bytes in the stream.
        ///
        /// ```
        #[doc = concat!("# use matou_unix::net::", stringify!($Stream), ";")]
        #[doc = concat!("async fn speaks_tls(stream: &", stringify!($Stream), ") -> std::io::Result<bool> {")]
        ///     let mut first = [0; 1];
        ///     Ok(stream.peek(&mut first).await? == 1 && first[0] == 0x16)
        /// }
        /// ```
        ///
        /// # Errors
        /// As [`read`](Self::read).
        ///
        /// # Cancellation
        /// Dropped early it leaves nothing behind.
        pub async fn peek(&self, buf: &mut [u8]) -> std::io::Result<usize> {
            $crate::net::transfer::peek(&self.source, buf).await
        }

        /// Writes from `buf` what the system takes at once, and gives how many bytes that were.
        ///
        /// # Errors
        /// What the system says: `BrokenPipe`, `ConnectionReset`. It raises no `SIGPIPE`.
        ///
        /// # Cancellation
        /// Dropped early it has written nothing.
        ///
        /// Miou: `Miou_unix.write` writes all: [`write_all`](Self::write_all).
        pub fn write(&self, buf: &[u8]) -> impl Future<Output = std::io::Result<usize>> {
            $crate::net::transfer::write(&self.source, buf)
        }

        /// Writes all of `buf`.
        ///
        /// # Errors
        /// As [`write`](Self::write).
        ///
        /// # Cancellation
        /// Dropped early it may have written a part of `buf`, and which is not known. Where that matters, count with
        /// [`write`](Self::write).
        ///
        /// Miou: `Miou_unix.write`.
        pub async fn write_all(&self, buf: &[u8]) -> std::io::Result<()> {
            $crate::net::transfer::write_all(&self.source, buf).await
        }

        /// Writes from several buffers, one after the other, what the system takes at once; from 1024 of them at most.
        ///
        /// # Errors
        /// As [`write`](Self::write).
        ///
        /// # Cancellation
        /// Dropped early it has written nothing.
        pub async fn write_vectored(&self, bufs: &[std::io::IoSlice<'_>]) -> std::io::Result<usize> {
            $crate::net::transfer::write_vectored(&self.source, bufs).await
        }

        /// Ends one direction of the connection, or both; the socket stays. It does not wait. Who waits in that direction is told: a read gives 0, a
        /// write `BrokenPipe`.
        ///
        /// # Errors
        /// `NotConnected` if the peer has ended it already.
        ///
        /// ```
        #[doc = concat!("# use matou_unix::net::", stringify!($Stream), ";")]
        /// use std::net::Shutdown;
        #[doc = concat!("# async fn example(stream: ", stringify!($Stream), ") -> std::io::Result<()> {")]
        /// stream.write_all(b"that was all").await?;
        /// stream.shutdown(Shutdown::Write)?;
        /// # Ok(())
        /// # }
        /// ```
        pub fn shutdown(&self, how: std::net::Shutdown) -> std::io::Result<()> {
            $crate::net::transfer::shutdown(&self.source, how)
        }
    };
}
pub(super) use stream_methods;

pub(crate) fn read<H: Holder>(holder: &H, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
    Awaited::new(holder, IntoBuffer(buf))
}

pub(crate) fn receive<H: Holder>(holder: &H) -> impl Future<Output = io::Result<Received>> {
    Awaited::new(holder, IntoLent)
}

pub(crate) fn write<H: Holder>(holder: &H, buf: &[u8]) -> impl Future<Output = io::Result<usize>> {
    Awaited::new(holder, sending(buf))
}

/// The call that writes to a stream.
pub(crate) fn sending<T: AsFd>(buf: &[u8]) -> Plain<impl FnMut(&Source<T>) -> io::Result<usize>> {
    Plain::new(Direction::Write, move |source: &Source<T>| {
        let moved = rustix::net::send(source, buf, sys::SEND)?;
        source.moved(Direction::Write, moved, buf.len());
        Ok(moved)
    })
}

pub(crate) async fn read_exact(holder: &impl Holder, buf: &mut [u8]) -> io::Result<()> {
    descriptor::read_exact(buf, async |rest: &mut [u8]| read(holder, rest).await).await
}

pub(crate) async fn write_all(holder: &impl Holder, buf: &[u8]) -> io::Result<()> {
    descriptor::write_all(buf, async |rest: &[u8]| write(holder, rest).await).await
}

pub(crate) async fn read_vectored(holder: &impl Holder, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    Awaited::new(holder, IntoBuffers(bufs)).await
}

pub(crate) async fn peek(holder: &impl Holder, buf: &mut [u8]) -> io::Result<usize> {
    Awaited::new(holder, Look(buf)).await
}

pub(crate) async fn write_vectored(holder: &impl Holder, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    Awaited::new(holder, sending_vectored(bufs)).await
}

/// The call that does.
pub(crate) fn sending_vectored<T: AsFd>(bufs: &[IoSlice<'_>]) -> Plain<impl FnMut(&Source<T>) -> io::Result<usize>> {
    Plain::new(Direction::Write, move |source: &Source<T>| {
        let bufs = &bufs[at_once(bufs)];
        let moved = rustix::net::sendmsg(source, bufs, &mut SendAncillaryBuffer::default(), sys::SEND)?;
        source.moved(Direction::Write, moved, bufs.iter().map(|buf| buf.len()).sum());
        Ok(moved)
    })
}

/// One datagram to the peer that the socket is connected to.
pub(crate) async fn send(holder: &impl Holder, buf: &[u8]) -> io::Result<usize> {
    perform(holder, Direction::Write, |source| Ok(rustix::net::send(source, buf, sys::SEND)?)).await
}

/// One datagram, whoever sent it; none at all once the socket was shut down.
pub(crate) async fn receive_one(holder: &impl Holder, buf: &mut [u8]) -> io::Result<usize> {
    let call = |source: &Source<_>| {
        let (received, _) = rustix::net::recv(source, &mut *buf, RecvFlags::empty())?;
        Ok(received)
    };
    awaited::receive(holder, call, || Ok(0)).await
}

pub(super) fn shutdown(source: &Source, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => rustix::net::Shutdown::Read,
        Shutdown::Write => rustix::net::Shutdown::Write,
        Shutdown::Both => rustix::net::Shutdown::Both,
    };
    rustix::net::shutdown(source, how)?;
    source.try_anew(); // Of the end that one makes oneself there is not always an event.
    Ok(())
}
