//! Unix sockets: connections and datagrams on this machine, with the conventions of [`std::os::unix::net`].
//!
//! They are named by a path, and on Linux by an abstract name, which is no file ([`SocketAddrExt`](std::os::linux::net::SocketAddrExt)).
//!
//! # Socket files
//!
//! Binding to a path makes a file, and fails where there is one. Nothing removes it: a listener that is dropped leaves it behind, as
//! in the standard library, since by then the path may be another server's. So a server removes its file at its end, and one
//! that was killed leaves it behind; who connects then is refused. Abstract names end with their socket.
//!
//! # Where there is no event to wait for
//!
//! Linux tells nobody when a listener's queue has room again, nor when that of a datagram socket that one is not connected to has.
//! [`UnixStream::connect`] and [`UnixDatagram::send_to`] try again then, after pauses of 1 to 64 ms, for as long as it takes, as
//! the blocking calls would wait; [`timeout`](crate::time::timeout) bounds it.

mod address;
mod datagram;
mod listener;
mod stream;

use std::future::poll_fn;
use std::io;

use matou_core::effect::poll_budget;
use rustix::io::Errno;

pub use std::os::unix::net::SocketAddr;

pub use self::datagram::UnixDatagram;
pub use self::listener::UnixListener;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use self::stream::Credentials;
pub use self::stream::UnixStream;

pub(crate) use self::listener::accept;

use crate::time::Pauses;

/// Does a system call that would block until something happens of which there is no event.
async fn with_pauses<R>(mut call: impl FnMut() -> Result<R, Errno>) -> io::Result<R> {
    let mut pauses = Pauses::new();
    loop {
        poll_fn(poll_budget).await;
        match call() {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => pauses.next().await,
            result => return Ok(result?),
        }
    }
}
