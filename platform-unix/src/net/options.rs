//! How to make a socket with more to say than an address.
//!
//! A builder only keeps what was asked for; the socket is made, set up and bound by the last call, outside a run or inside.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt;

use super::failure::cannot_come_from;
use super::listener::TcpListener;
use super::resolve::{self, ToSocketAddrs};
use super::stream::{self, TcpStream};

/// Options that both ends have, each left as the system has it where it is `None`.
#[derive(Clone, Debug, Default)]
struct Common {
    nodelay: Option<bool>,
    keepalive: Option<Duration>,
    send_buffer: Option<usize>,
    receive_buffer: Option<usize>,
    reuse_port: bool,
}

impl Common {
    fn apply(&self, fd: &OwnedFd) -> io::Result<()> {
        if self.reuse_port {
            reuse_port(fd)?;
        }
        if let Some(nodelay) = self.nodelay {
            sockopt::set_tcp_nodelay(fd, nodelay)?;
        }
        if let Some(idle) = self.keepalive {
            sockopt::set_socket_keepalive(fd, true)?;
            keep_idle(fd, idle)?;
        }
        if let Some(bytes) = self.send_buffer {
            sockopt::set_socket_send_buffer_size(fd, bytes)?;
        }
        if let Some(bytes) = self.receive_buffer {
            sockopt::set_socket_recv_buffer_size(fd, bytes)?;
        }
        Ok(())
    }
}

fn reuse_port(fd: &OwnedFd) -> io::Result<()> {
    #[cfg(not(any(target_os = "solaris", target_os = "illumos")))]
    return Ok(sockopt::set_socket_reuseport(fd, true)?);
    #[cfg(any(target_os = "solaris", target_os = "illumos"))]
    return Err(io::Error::new(io::ErrorKind::Unsupported, format!("this system has no SO_REUSEPORT ({fd:?})")));
}

fn keep_idle(fd: &OwnedFd, idle: Duration) -> io::Result<()> {
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "nto")))]
    sockopt::set_tcp_keepidle(fd, idle)?;
    #[cfg(any(target_os = "openbsd", target_os = "haiku", target_os = "nto"))]
    let _the_system_sets_it_for_all = (fd, idle);
    Ok(())
}

/// The options a listener and a connection share.
macro_rules! common_options {
    ($note:literal) => {
        /// Whether small writes go out at once (`true`) or may wait to be gathered (`false`).
        #[doc = $note]
        pub fn nodelay(mut self, nodelay: bool) -> Self {
            self.common.nodelay = Some(nodelay);
            self
        }

        /// Asks a silent peer for a sign of life after this time, in whole seconds.
        #[doc = $note]
        pub fn keepalive(mut self, idle: Duration) -> Self {
            self.common.keepalive = Some(idle);
            self
        }

        /// How many bytes the system may hold back for sending; it may take more or less.
        #[doc = $note]
        pub fn send_buffer_size(mut self, bytes: usize) -> Self {
            self.common.send_buffer = Some(bytes);
            self
        }

        /// How many bytes the system may hold that are not read yet; it may take more or less.
        #[doc = $note]
        pub fn receive_buffer_size(mut self, bytes: usize) -> Self {
            self.common.receive_buffer = Some(bytes);
            self
        }
    };
}

/// How to make a [`TcpListener`].
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// use matou_unix::net::TcpListener;
///
/// let listener = TcpListener::builder().backlog(4096).nodelay(true).bind("127.0.0.1:0".parse().expect("an address"))?;
/// # drop(listener);
/// # Ok(())
/// # }
/// ```
///
/// Miou: the optional arguments of `Miou_unix.bind_and_listen`.
#[derive(Clone, Debug)]
#[must_use = "a builder binds nothing before `bind`"]
pub struct TcpListenerBuilder {
    common: Common,
    backlog: i32,
    reuse_address: bool,
    only_v6: Option<bool>,
}

impl Default for TcpListenerBuilder {
    fn default() -> Self {
        TcpListenerBuilder::new()
    }
}

impl TcpListenerBuilder {
    /// The options [`TcpListener::bind`] takes: a backlog of 1024, and `SO_REUSEADDR`.
    pub fn new() -> TcpListenerBuilder {
        TcpListenerBuilder { common: Common::default(), backlog: 1024, reuse_address: true, only_v6: None }
    }

    /// How many connections may wait to be accepted. The system has a bound of its own, 4096 on Linux.
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = i32::try_from(connections).unwrap_or(i32::MAX);
        self
    }

    /// Whether the address may be bound while connections of an earlier listener are still winding down.
    pub fn reuse_address(mut self, reuse: bool) -> Self {
        self.reuse_address = reuse;
        self
    }

    /// Whether several listeners may bind the same address; Linux spreads the connections over them. It is how each domain gets a
    /// listener of its own.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.common.reuse_port = reuse;
        self
    }

    /// Whether a listener on an IPv6 address takes no IPv4 connections.
    pub fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = Some(only);
        self
    }

    common_options!("Connections inherit it.");

    /// Makes the listener.
    ///
    /// # Errors
    /// What the system says: `AddrInUse`, `PermissionDenied`, no descriptor left.
    ///
    /// Miou: `Miou_unix.bind_and_listen`.
    #[doc(alias = "bind_and_listen")]
    pub fn bind(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        let fd = stream::prepare(addr)?;
        sockopt::set_socket_reuseaddr(&fd, self.reuse_address)?;
        if let (SocketAddr::V6(_), Some(only)) = (addr, self.only_v6) {
            sockopt::set_ipv6_v6only(&fd, only)?;
        }
        self.common.apply(&fd)?;
        rustix::net::bind(&fd, &addr)?;
        rustix::net::listen(&fd, self.backlog)?;
        Ok(TcpListener::new(fd))
    }
}

/// How to make a [`TcpStream`].
///
/// ```
/// # use matou_unix::net::TcpStream;
/// # async fn example(addr: std::net::SocketAddr) -> std::io::Result<()> {
/// let local = "127.0.0.1:0".parse().expect("an address");
/// let stream = TcpStream::builder().bind(local).nodelay(true).connect(addr).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder connects nothing before `connect`"]
pub struct TcpStreamBuilder {
    common: Common,
    local: Option<SocketAddr>,
}

impl TcpStreamBuilder {
    /// The options [`TcpStream::connect`] takes: those of the system.
    pub fn new() -> TcpStreamBuilder {
        TcpStreamBuilder::default()
    }

    /// Connects from this address instead of one of the system's choice.
    pub fn bind(mut self, local: SocketAddr) -> Self {
        self.local = Some(local);
        self
    }

    /// Whether several sockets may be bound to the same local address and port.
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.common.reuse_port = reuse;
        self
    }

    common_options!("");

    /// Connects to `addr`, which may be a name: see [`TcpStream::connect`].
    ///
    /// # Errors
    /// As [`TcpStream::connect`], and those of binding and of the options.
    ///
    /// # Cancellation
    /// Dropped early, the attempt is given up and the socket closed.
    pub async fn connect(&self, addr: impl ToSocketAddrs) -> io::Result<TcpStream> {
        resolve::try_each(addr.target()?, async |addr| self.connect_to(addr).await).await
    }

    async fn connect_to(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let fd = stream::prepare(addr)?;
        self.common.apply(&fd)?;
        if let Some(local) = self.local {
            sockopt::set_socket_reuseaddr(&fd, true)?;
            rustix::net::bind(&fd, &local).map_err(|errno| cannot_come_from(local, errno.into()))?;
        }
        stream::connect(fd, addr).await
    }
}
