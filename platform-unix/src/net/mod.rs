//! Sockets, with the conventions of [`std::net`] and [`std::os::unix::net`].
//!
//! | | connections | datagrams |
//! | --- | --- | --- |
//! | between machines | [`TcpListener`], [`TcpStream`] | [`UdpSocket`] |
//! | on this machine | [`UnixListener`], [`UnixStream`] | [`UnixDatagram`] |
//!
//! A call tries the system first, and suspends its task only where it would block; other tasks of the domain run meanwhile. The
//! methods are those of `std::net`, made `async` where they may wait. [`TcpStream::connect`] takes names of machines, too, and
//! [`lookup_host`] resolves them for the others; the system's resolver runs on a thread beside the domains.
//!
//! # Waiting without a buffer
//!
//! [`TcpStream::receive`] and its like wait with no buffer of the caller's: the domain lends one, with what came in it, once there is
//! something ([`Received`]). Ten thousand quiet connections then need as many buffers as one. `read` is for those who have a place for
//! the bytes anyway.
//!
//! # Sockets and domains
//!
//! A socket is `Send` and not `Sync`. It may be made outside a run, or on one domain, and used on another: `call(move || ..)` takes
//! it there. It registers with a domain's reactor when it first has to wait there, and leaves it when it is used or dropped
//! elsewhere. No byte is lost on the way. A socket that is dropped is closed. Who reads from a stream's bare descriptor (`AsFd`) sees neither
//! what a read that waits will have with [`Reactor::Uring`](crate::Reactor::Uring), nor what it left behind when it was dropped.
//!
//! ```
//! fn may_be_sent<T: Send>() {}
//! may_be_sent::<matou_unix::net::TcpStream>();
//! ```
//!
//! ```compile_fail,E0277
//! fn may_be_shared<T: Sync>() {}
//! may_be_shared::<matou_unix::net::TcpStream>();
//! ```
//!
//! These sockets belong to whoever holds them, as Rust values do; [`owned`](crate::owned) has sockets that belong to a task and are
//! checked at each use.

mod failure;
mod listener;
mod options;
mod received;
mod resolve;
mod socket;
mod stream;
pub(crate) mod sys;
mod transfer;
mod udp;
pub mod unix;
mod unread;
mod ways;

pub use std::net::{Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};

pub use self::listener::TcpListener;
pub use self::options::{TcpListenerBuilder, TcpStreamBuilder};
pub use self::received::Received;
pub use self::resolve::{ToSocketAddrs, lookup_host};
pub use self::stream::TcpStream;
pub use self::udp::UdpSocket;
pub use self::unix::{UnixDatagram, UnixListener, UnixStream};
pub use self::unread::UnreadError;

pub(crate) use self::listener::accept;
pub(crate) use self::socket::Socket;
pub(crate) use self::transfer::{read, read_exact, receive, write, write_all};
pub(crate) use self::transfer::{sending, sending_vectored};
pub(crate) use self::ways::{IntoBuffer, IntoBuffers};
