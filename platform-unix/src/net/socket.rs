//! What all kinds of sockets have in common: where they come from, and what they can be turned into.
//!
//! Each kind is a value with a `source`, made by [`socket`]; what is its own stands in its own file. What it is turned into stands in
//! [`into_std`], for all but streams: those have bytes to lose ([`unread`](super::unread)).

use crate::descriptor::source::Source;

/// Whatever kind of socket it is.
pub(crate) trait Socket {
    /// Where it waits.
    fn source(&self) -> &Source;
}

/// Gives a socket its conversions from and to the standard library and descriptors, its address, and `Debug`.
///
/// `$Std` is the standard library's type for it, `$address` what makes an address of the system's; the attributes are the example
/// of `from_std`.
macro_rules! socket {
    ($Socket:ident, $Std:ty, $Addr:ty, $address:path, [$($field:ident: $method:ident),+]; $(#[$example:meta])*) => {
        impl $crate::net::socket::Socket for $Socket {
            fn source(&self) -> &Source {
                &self.source
            }
        }

        impl $Socket {
            /// The address of this end.
            ///
            /// # Errors
            /// What the system says.
            pub fn local_addr(&self) -> io::Result<$Addr> {
                $address(rustix::net::getsockname(&self.source)?)
            }

            /// Takes the error that happened to the socket since the last call that told one.
            ///
            /// # Errors
            /// If it cannot be asked.
            pub fn take_error(&self) -> io::Result<Option<io::Error>> {
                Ok(match self.source.unread_error() {
                    None => rustix::net::sockopt::socket_error(&self.source)?.err().map(io::Error::from),
                    error => error,
                })
            }

            /// Takes over a socket of the standard library, and makes it non-blocking.
            ///
            $(#[$example])*
            ///
            /// # Errors
            /// What the system says.
            ///
            /// Miou: `Miou_unix.of_file_descr`.
            #[doc(alias = "of_file_descr")]
            pub fn from_std(socket: $Std) -> io::Result<$Socket> {
                $Socket::try_from(OwnedFd::from(socket))
            }
        }

        impl std::fmt::Debug for $Socket {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let mut debug = f.debug_struct(stringify!($Socket));
                $(if let Ok(address) = self.$method() {
                    debug.field(stringify!($field), &address);
                })+
                debug.field("fd", &self.as_raw_fd()).finish()
            }
        }

        impl AsFd for $Socket {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.source.as_fd()
            }
        }

        impl AsRawFd for $Socket {
            fn as_raw_fd(&self) -> RawFd {
                self.as_fd().as_raw_fd()
            }
        }

        impl TryFrom<OwnedFd> for $Socket {
            type Error = io::Error;

            /// Takes over the descriptor of such a socket, and makes it non-blocking.
            fn try_from(fd: OwnedFd) -> io::Result<$Socket> {
                Ok($Socket::new($crate::net::sys::adopt(fd)?))
            }
        }

        impl TryFrom<$Std> for $Socket {
            type Error = io::Error;

            /// As [`from_std`](Self::from_std).
            fn try_from(socket: $Std) -> io::Result<$Socket> {
                $Socket::from_std(socket)
            }
        }
    };
}
pub(super) use socket;

/// Gives a socket that is no stream its conversions to the standard library and to a descriptor.
macro_rules! into_std {
    ($Socket:ident, $Std:ty) => {
        impl $Socket {
            /// Gives the socket to the standard library. It stays non-blocking, until `set_nonblocking(false)` there.
            ///
            /// Miou: `Miou_unix.to_file_descr`.
            #[doc(alias = "to_file_descr")]
            pub fn into_std(self) -> $Std {
                <$Std>::from(OwnedFd::from(self))
            }
        }

        impl From<$Socket> for OwnedFd {
            fn from(socket: $Socket) -> OwnedFd {
                socket.source.into_io()
            }
        }

        impl From<$Socket> for $Std {
            fn from(socket: $Socket) -> $Std {
                socket.into_std()
            }
        }
    };
}
pub(super) use into_std;
