//! Streams behind the traits of `futures-io`.
//!
//! Those are polled, with another buffer each time if need be, so the place where a read waits cannot be in its future: it is in the
//! wrapper. Else it is the same loop ([`Wait`]), and the calls are those of the streams' own methods.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use self::sealed::{Duplex, Turn};
use crate::Async;
use crate::descriptor::awaited::{Call, Hiding, Holder, Plain, Wait};
use crate::descriptor::source::Source;
use crate::net::{self, IntoBuffer, IntoBuffers, Socket};
use crate::owned;
use crate::reactor::Direction;

/// A stream behind the traits [`AsyncRead`] and [`AsyncWrite`] of `futures-io`, for libraries that are written against those: one of
/// [`net`](crate::net) or of [`owned`](crate::owned), or an [`Async`].
///
/// | for | there is |
/// | --- | --- |
/// | lines, buffers, copies | `futures_util::io` |
/// | TLS | `futures-rustls` |
/// | HTTP | `hyper`, with `smol_hyper::rt::FuturesIo` around this |
/// | WebSockets | `async-tungstenite` |
/// | what asks for tokio's traits | `compat`, of `tokio-util`: those traits need no runtime |
///
/// A library that *starts* tasks is another matter: it must let the caller do that, since here a task has a parent.
///
/// Those traits are polled, so a read that waits is not a future that could be dropped: it goes on waiting in here, as does a write, until it is
/// polled to its result, or this is dropped or taken apart. One task may read while another one of the same domain writes, by
/// `futures_util::AsyncReadExt::split`. Nothing is buffered on this side, so there is nothing to be flushed.
///
/// It is not `Send`, since what waits belongs to its domain. The stream is: send that, and make one of these where it is used.
///
/// ```
/// use futures_util::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
/// use matou_unix::net::UnixStream;
/// use matou_unix::{FuturesIo, spawn};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     let (near, far) = UnixStream::pair()?;
///     let echo = spawn(async move {
///         let (reader, mut writer) = FuturesIo::new(far).split();
///         futures_util::io::copy(reader, &mut writer).await?;
///         writer.close().await
///     });
///     let mut stream = BufReader::new(FuturesIo::new(near));
///     stream.get_mut().write_all(b"meow\npurr\n").await?;
///     stream.get_mut().close().await?;
///     let mut line = String::new();
///     stream.read_line(&mut line).await?;
///     assert_eq!(line, "meow\n");
///     stream.read_to_string(&mut line).await?;
///     assert_eq!(line, "meow\npurr\n");
///     echo.await?;
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of the stream's own methods. Outside a task it is an error that says so.
///
/// # Panics
/// Polled in another run than the one in which its read, or its write, began to wait.
///
/// # Cancellation
/// Dropped while a read waits, it has taken no byte out of the stream; [`into_inner`](FuturesIo::into_inner) loses none.
///
/// `close`, of [`AsyncWrite`], ends the writing direction of a socket, as its `shutdown` does; that of an [`Async`] does nothing. The descriptor
/// is closed when this is dropped.
pub struct FuturesIo<S: Duplex> {
    /// `None` only once it was taken out, by value.
    stream: Option<S>,
    reading: Turn,
    writing: Turn,
}

/// Why there always is a stream.
const TAKEN: &str = "only `into_inner` takes the stream, and the wrapper with it";

impl<S: Duplex> FuturesIo<S> {
    /// Wraps a stream. Outside a run, too.
    pub fn new(stream: S) -> FuturesIo<S> {
        FuturesIo { stream: Some(stream), reading: Turn::default(), writing: Turn::default() }
    }

    /// The stream. Its methods may be used beside the traits, by this task or others.
    pub fn get_ref(&self) -> &S {
        self.stream.as_ref().expect(TAKEN)
    }

    /// Gives the stream back. A read or a write that waits is given up.
    pub fn into_inner(mut self) -> S {
        self.give_up();
        self.stream.take().expect(TAKEN)
    }

    fn give_up(&mut self) {
        if self.stream.is_some() {
            let (stream, reading, writing) = self.parts();
            stream.end(reading);
            stream.end(writing);
        }
    }

    fn parts(&mut self) -> (&S, &mut Turn, &mut Turn) {
        let FuturesIo { stream: Some(stream), reading, writing } = self else { unreachable!("{TAKEN}") };
        (stream, reading, writing)
    }
}

impl<S: Duplex> Drop for FuturesIo<S> {
    fn drop(&mut self) {
        self.give_up();
    }
}

// Nothing in it is pinned.
impl<S: Duplex> Unpin for FuturesIo<S> {}

impl<S: Duplex + fmt::Debug> fmt::Debug for FuturesIo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FuturesIo").field(self.get_ref()).finish()
    }
}

impl<S: Duplex> AsyncRead for FuturesIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let (stream, turn, _) = self.parts();
        stream.poll_read(turn, cx, buf)
    }

    fn poll_read_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        let (stream, turn, _) = self.parts();
        stream.poll_read_vectored(turn, cx, bufs)
    }
}

impl<S: Duplex> AsyncWrite for FuturesIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (stream, _, turn) = self.parts();
        stream.poll_write(turn, cx, buf)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let (stream, _, turn) = self.parts();
        stream.poll_write_vectored(turn, cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_ref().close())
    }
}

mod sealed {
    use super::*;

    /// Where the reads, or the writes, of a stream wait.
    #[derive(Debug, Default)]
    pub struct Turn(pub(super) Wait);

    /// What can be wrapped.
    pub trait Duplex {
        fn poll_read(&self, turn: &mut Turn, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>>;
        fn poll_read_vectored(&self, turn: &mut Turn, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>>;
        fn poll_write(&self, turn: &mut Turn, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>>;
        fn poll_write_vectored(&self, turn: &mut Turn, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;
        fn end(&self, turn: &mut Turn);
        fn close(&self) -> io::Result<()>;
    }
}

/// Polls `call`, which may be another one than the last one that waited.
fn poll_call<H, C>(holder: &H, turn: &mut Turn, cx: &mut Context<'_>, mut call: C) -> Poll<io::Result<C::Output>>
where
    H: Holder,
    C: Call<Source<H::Io>>,
{
    let result = ready!(turn.0.poll(holder, &mut call, cx));
    *turn = Turn::default();
    Poll::Ready(result)
}

macro_rules! socket {
    ($Stream:ty, $holder:ident) => {
        impl Duplex for $Stream {
            fn poll_read(&self, turn: &mut Turn, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
                poll_call(self.$holder(), turn, cx, IntoBuffer(buf))
            }

            fn poll_read_vectored(&self, turn: &mut Turn, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
                poll_call(self.$holder(), turn, cx, IntoBuffers(bufs))
            }

            fn poll_write(&self, turn: &mut Turn, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                poll_call(self.$holder(), turn, cx, net::sending(buf))
            }

            fn poll_write_vectored(&self, turn: &mut Turn, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
                poll_call(self.$holder(), turn, cx, net::sending_vectored(bufs))
            }

            fn end(&self, turn: &mut Turn) {
                turn.0.end(self.$holder());
            }

            fn close(&self) -> io::Result<()> {
                match self.shutdown(Shutdown::Write) {
                    // The peer was quicker.
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                    closed => closed,
                }
            }
        }
    };
}

socket!(net::TcpStream, source);
socket!(net::UnixStream, source);
socket!(owned::TcpStream, resource);
socket!(owned::UnixStream, resource);

impl<T: AsFd> Duplex for Async<T> {
    fn poll_read(&self, turn: &mut Turn, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        poll_call(self.source(), turn, cx, Hiding::new(|source: &Source<T>| Ok(rustix::io::read(source, &mut *buf)?), || Ok(0)))
    }

    fn poll_read_vectored(&self, turn: &mut Turn, cx: &mut Context<'_>, bufs: &mut [IoSliceMut<'_>]) -> Poll<io::Result<usize>> {
        poll_call(self.source(), turn, cx, Hiding::new(|source: &Source<T>| Ok(rustix::io::readv(source, bufs)?), || Ok(0)))
    }

    fn poll_write(&self, turn: &mut Turn, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        poll_call(self.source(), turn, cx, Plain::new(Direction::Write, |source: &Source<T>| Ok(rustix::io::write(source, buf)?)))
    }

    fn poll_write_vectored(&self, turn: &mut Turn, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        poll_call(self.source(), turn, cx, Plain::new(Direction::Write, |source: &Source<T>| Ok(rustix::io::writev(source, bufs)?)))
    }

    fn end(&self, turn: &mut Turn) {
        turn.0.end(self.source());
    }

    fn close(&self) -> io::Result<()> {
        Ok(())
    }
}
