//! The echo servers matou is compared with, and what all of them share: the options, and the first line on stderr,
//! `listening on ADDRESS (NAME)`.

pub mod compute;
pub mod epoll;
pub mod matou;
pub mod tokio;

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use crate::Failure;
use crate::args::Args;

/// What a server reads at most at once, unless told otherwise: 4 KiB.
pub const BUFFER: usize = 4096;
/// Connections that may wait to be accepted; the kernel has its own limit.
const BACKLOG: i32 = 4096;

/// What a server is told.
#[derive(Clone, Copy, Debug)]
pub struct Serve {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The most that is read at once.
    pub buffer: usize,
    /// How many threads serve, each with a listener of its own.
    pub threads: usize,
    /// How many tasks compute meanwhile, as [`compute`] says.
    pub compute: usize,
}

impl Serve {
    /// From `--listen`, `--buffer`, `--threads`, `--compute`.
    pub fn take(args: &mut Args) -> Result<Self, Failure> {
        Ok(Self {
            listen: args.option("--listen")?.unwrap_or_else(|| ([127, 0, 0, 1], 0).into()),
            buffer: args.option("--buffer")?.unwrap_or(BUFFER),
            threads: args.option("--threads")?.unwrap_or(1).max(1),
            compute: args.option("--compute")?.unwrap_or(0),
        })
    }

    /// A listener that does not block, on an address that several of them may share.
    pub fn listener(&self) -> io::Result<TcpListener> {
        let family = if self.listen.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        bind(&socket, &self.listen)?;
        listen(&socket, BACKLOG)?;
        Ok(socket.into())
    }

    /// The same, and says so; from then on the address is the one that was found.
    pub fn announced(&mut self, name: &str) -> io::Result<TcpListener> {
        let listener = self.listener()?;
        self.listen = listener.local_addr()?;
        self.say(name);
        Ok(listener)
    }

    /// The first line.
    pub fn say(&self, name: &str) {
        eprintln!("listening on {} ({name}, {} threads)", self.listen, self.threads);
    }

    /// An error if more than one thread is asked of a server that has no more.
    pub fn alone(&self) -> Result<(), Failure> {
        if self.threads == 1 { Ok(()) } else { Err("serves on one thread only".into()) }
    }
}
