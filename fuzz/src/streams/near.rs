//! A stream of either kind, and its far end: a socket of the standard library that never blocks.

use std::future::Future;
use std::io::{self, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::sync::LazyLock;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};
use platform_unix::FuturesIo;
use platform_unix::net::{Received, TcpStream, UnixStream};

/// What the lives of both kinds need.
pub(super) trait Near: Sized + Send + 'static {
    type Std: Send + 'static;
    /// Whether each reset of what was not ended yet is an error.
    const TELLS_RESETS: bool;
    /// Whether it is soon full, and goes on at once when there is room: TCP waits for timers then.
    const IS_SMALL: bool;

    /// Both ends of a connection, the second as the far one.
    fn pair() -> io::Result<(Self, Self::Std)>;
    /// Closes the far end, as hard as there is a way to.
    fn reset(far: Self::Std) -> io::Result<()>;
    fn end(far: &Self::Std, how: Shutdown) -> io::Result<()>;
    fn send(far: &Self::Std, bytes: &[u8]) -> io::Result<usize>;
    fn drain(far: &Self::Std, buf: &mut [u8]) -> io::Result<usize>;
    /// Has something in its error queue after each write, where there is such a thing.
    fn stamp(&self);

    fn read(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>>;
    fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> impl Future<Output = io::Result<usize>>;
    fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>>;
    fn receive(&self) -> impl Future<Output = io::Result<Received>>;
    fn read_exact(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<()>>;
    fn write(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>>;
    fn write_all(&self, buf: &[u8]) -> impl Future<Output = io::Result<()>>;
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
    fn unread(&self) -> Vec<u8>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    /// The stream again, where bytes would be lost.
    fn into_std(self) -> Result<Self::Std, Self>;
    fn from_std(std: Self::Std) -> io::Result<Self>;

    /// The stream behind the traits of `futures-io`.
    type Wrapped: AsyncRead + AsyncWrite + Unpin;
    fn wrap(self) -> Self::Wrapped;
    fn unwrap(wrapped: Self::Wrapped) -> Self;
}

macro_rules! near {
    ($Near:ident, $Std:ty; $($own:item)*) => {
        impl Near for $Near {
            type Std = $Std;

            $($own)*

            fn end(far: &Self::Std, how: Shutdown) -> io::Result<()> {
                far.shutdown(how)
            }

            fn send(mut far: &Self::Std, bytes: &[u8]) -> io::Result<usize> {
                far.write(bytes)
            }

            fn drain(mut far: &Self::Std, buf: &mut [u8]) -> io::Result<usize> {
                far.read(buf)
            }

            fn read(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
                $Near::read(self, buf)
            }

            fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> impl Future<Output = io::Result<usize>> {
                $Near::read_vectored(self, bufs)
            }

            fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
                $Near::peek(self, buf)
            }

            fn receive(&self) -> impl Future<Output = io::Result<Received>> {
                $Near::receive(self)
            }

            fn read_exact(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<()>> {
                $Near::read_exact(self, buf)
            }

            fn write(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> {
                $Near::write(self, buf)
            }

            fn write_all(&self, buf: &[u8]) -> impl Future<Output = io::Result<()>> {
                $Near::write_all(self, buf)
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                $Near::shutdown(self, how)
            }

            fn unread(&self) -> Vec<u8> {
                $Near::unread(self)
            }

            fn take_error(&self) -> io::Result<Option<io::Error>> {
                $Near::take_error(self)
            }

            fn into_std(self) -> Result<Self::Std, Self> {
                $Near::into_std(self).map_err(|error| error.into_inner())
            }

            fn from_std(std: Self::Std) -> io::Result<Self> {
                $Near::from_std(std)
            }

            type Wrapped = FuturesIo<$Near>;

            fn wrap(self) -> FuturesIo<$Near> {
                FuturesIo::new(self)
            }

            fn unwrap(wrapped: FuturesIo<$Near>) -> $Near {
                wrapped.into_inner()
            }
        }
    };
}

/// Where all of them connect, one after the other.
static LISTENER: LazyLock<std::net::TcpListener> =
    LazyLock::new(|| std::net::TcpListener::bind("127.0.0.1:0").expect("an address of this machine"));

/// Opens what stays open.
pub(super) fn prepare() {
    LazyLock::force(&LISTENER);
}

near! {
    TcpStream, std::net::TcpStream;

    const TELLS_RESETS: bool = true;
    const IS_SMALL: bool = false;

    fn pair() -> io::Result<(Self, Self::Std)> {
        let far = std::net::TcpStream::connect(LISTENER.local_addr()?)?;
        let (near, _) = LISTENER.accept()?;
        far.set_nonblocking(true)?;
        far.set_nodelay(true)?;
        near.set_nodelay(true)?;
        Ok((TcpStream::from_std(near)?, far))
    }

    fn reset(far: Self::Std) -> io::Result<()> {
        TcpStream::from_std(far)?.set_linger(Some(Duration::ZERO))
    }

    fn stamp(&self) {
        #[cfg(target_os = "linux")]
        {
            use nix::sys::socket::{TimestampingFlag, setsockopt, sockopt::Timestamping};
            let stamps = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
            let _without = setsockopt(self, Timestamping, &stamps);
        }
    }
}

near! {
    UnixStream, std::os::unix::net::UnixStream;

    const TELLS_RESETS: bool = false;
    const IS_SMALL: bool = true;

    fn pair() -> io::Result<(Self, Self::Std)> {
        let (near, far) = std::os::unix::net::UnixStream::pair()?;
        far.set_nonblocking(true)?;
        Ok((UnixStream::from_std(near)?, far))
    }

    fn reset(far: Self::Std) -> io::Result<()> {
        drop(far);
        Ok(())
    }

    fn stamp(&self) {}
}
