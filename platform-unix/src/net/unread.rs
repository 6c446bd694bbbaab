//! What a stream is turned into: nothing, as long as bytes of it would be lost on the way.

use std::error::Error;
use std::fmt;
use std::io;

use crate::descriptor::source::Loss;

/// A stream was not converted to the standard library's, or to a descriptor, since bytes of it would have been lost; it is
/// [given back](UnreadError::into_inner).
///
/// It is so only with [`Reactor::Uring`](crate::Reactor::Uring), where the kernel hands over what comes for a read that waits, and only after
/// a read of the stream was dropped or forgotten.
///
/// ```
/// use matou_unix::net::{TcpStream, UnreadError};
///
/// /// What came and was not read, and the stream.
/// fn hand_over(stream: TcpStream) -> Result<(Vec<u8>, std::net::TcpStream), UnreadError<TcpStream>> {
///     let unread = stream.unread();
///     Ok((unread, stream.into_std()?))
/// }
/// ```
pub struct UnreadError<S> {
    stream: S,
    loss: Loss,
}

impl<S> UnreadError<S> {
    pub(super) fn new(stream: S, loss: Loss) -> UnreadError<S> {
        UnreadError { stream, loss }
    }

    /// The stream, as it was.
    pub fn into_inner(self) -> S {
        self.stream
    }
}

impl<S> fmt::Display for UnreadError<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.loss {
            Loss::Carried => {
                "bytes came for a read of this stream that was dropped: take them with `unread`, or read them, before it is converted"
            }
            Loss::Elsewhere => {
                "a read of this stream, which was forgotten or has lost it, waits on another domain: \
                 before it is converted, let a call on it end here (`write` with nothing to write)"
            }
        })
    }
}

impl<S> fmt::Debug for UnreadError<S> {
    /// The text, so that whoever unwraps it has the advice.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnreadError({self})")
    }
}

impl<S> Error for UnreadError<S> {}

impl<S> From<UnreadError<S>> for io::Error {
    /// With the same text. The stream is dropped.
    fn from(error: UnreadError<S>) -> io::Error {
        io::Error::other(error.to_string())
    }
}

/// Gives a stream its conversions to the standard library and to a descriptor.
macro_rules! into_std {
    ($Stream:ident, $Std:ty) => {
        impl $Stream {
            /// Gives the stream to the standard library. It stays non-blocking, until `set_nonblocking(false)` there.
            ///
            /// # Errors
            /// If bytes that came for a read which was dropped would be lost: [`unread`](Self::unread) gives them. The error gives the stream back.
            ///
            /// Miou: `Miou_unix.to_file_descr`.
            #[doc(alias = "to_file_descr")]
            pub fn into_std(self) -> Result<$Std, $crate::net::UnreadError<$Stream>> {
                OwnedFd::try_from(self).map(<$Std>::from)
            }
        }

        impl TryFrom<$Stream> for OwnedFd {
            type Error = $crate::net::UnreadError<$Stream>;

            /// As `into_std`.
            fn try_from(stream: $Stream) -> Result<OwnedFd, $crate::net::UnreadError<$Stream>> {
                let converted = stream.source.try_into_io();
                converted.map_err(|(source, loss)| $crate::net::UnreadError::new($Stream { source }, loss))
            }
        }

        impl TryFrom<$Stream> for $Std {
            type Error = $crate::net::UnreadError<$Stream>;

            /// As `into_std`.
            fn try_from(stream: $Stream) -> Result<$Std, $crate::net::UnreadError<$Stream>> {
                stream.into_std()
            }
        }
    };
}
pub(super) use into_std;
