//! Listening: sockets for the accept loops, and what is said when there can be none.
//!
//! Where several domains accept, each has a socket of its own on the same TCP address (`SO_REUSEPORT`), and the system
//! spreads the connections. That option lets ANY socket of the same user join in, a server started twice by mistake too: so
//! an address is claimed without it first, which fails while anybody listens there. Port 0 needs no claim, as
//! the system takes a port that nobody has.
//!
//! An IPv6 wildcard takes IPv4 connections too, as the system has it, unless an IPv4 address with the same port is asked for
//! beside it.
//!
//! On a Unix socket the domains share one queue, each through a descriptor of its own, and whoever is free takes the next.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use matou_unix::net::TcpListener;
use rustix::io::Errno;

use crate::problem::with_remedy;
use crate::socket::Listener;
use crate::socket_file::SocketFile;

/// The system's limit applies; this only has to be larger.
const BACKLOG: u32 = 4096;

/// What a Unix socket's address begins with, on the command line and in what is said.
const UNIX: &str = "unix:";

/// Where to listen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Address, &'static str> {
        match text.strip_prefix(UNIX) {
            Some("") => Err("the path is missing: unix:PATH, such as unix:/run/echo.socket"),
            Some(path) => Ok(Address::Unix(path.into())),
            None => text
                .parse()
                .map(Address::Tcp)
                .map_err(|_| "not an address and port such as 127.0.0.1:9000 or [::1]:9000, nor a socket such as unix:/run/echo.socket"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// `count` listeners on one of the addresses in `all`, and its real form, where port 0 was asked for.
pub(crate) fn listen(address: &Address, all: &[Address], count: usize) -> io::Result<(Address, Vec<Listener>)> {
    match address {
        Address::Tcp(address) => {
            let has_v4 = |other: &Address| matches!(other, Address::Tcp(other) if other.is_ipv4() && other.port() == address.port());
            tcp(*address, all.iter().any(has_v4), count)
        }
        Address::Unix(path) => unix(path, count),
    }
}

/// `only_v6` keeps an IPv6 address from taking IPv4 connections too.
fn tcp(address: SocketAddr, only_v6: bool, count: usize) -> io::Result<(Address, Vec<Listener>)> {
    // Without delay: an answer must not wait for the next one.
    let mut builder = TcpListener::builder().backlog(BACKLOG).nodelay(true);
    if only_v6 {
        builder = builder.only_v6(true);
    }
    if count > 1 {
        if address.port() != 0 {
            drop(builder.bind(address)?);
        }
        builder = builder.reuse_port(true);
    }
    let first = builder.bind(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![Listener::Tcp(first)];
    while listeners.len() < count {
        listeners.push(Listener::Tcp(builder.bind(address)?));
    }
    Ok((Address::Tcp(address), listeners))
}

fn unix(path: &Path, count: usize) -> io::Result<(Address, Vec<Listener>)> {
    let (file, first) = SocketFile::listen(path)?;
    let file = Arc::new(file);
    let mut sockets = vec![first];
    while sockets.len() < count {
        sockets.push(sockets[0].try_clone()?);
    }
    let listeners = sockets.into_iter().map(|listener| Listener::Unix { listener, _file: Arc::clone(&file) }).collect();
    Ok((Address::Unix(path.to_owned()), listeners))
}

/// What to tell whoever asked for this address.
pub(crate) fn explain(address: &Address, error: &io::Error) -> String {
    let reason = match (address, Errno::from_io_error(error)) {
        (Address::Tcp(_), Some(Errno::ADDRINUSE)) => String::from("the port is in use: choose another one, or 0 for any that is free"),
        (Address::Tcp(_), Some(Errno::ACCESS)) => String::from("permission denied: ports this low are for privileged users"),
        (Address::Tcp(_), Some(Errno::ADDRNOTAVAIL)) => String::from("this machine has no such address"),
        (Address::Tcp(_), Some(Errno::AFNOSUPPORT)) => String::from("this system does not speak that protocol"),
        _ => with_remedy(error),
    };
    format!("cannot listen on {address}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::{Address, explain};
    use rustix::io::Errno;

    #[test]
    fn reasons() {
        let address: Address = "127.0.0.1:80".parse().unwrap();
        for (errno, words) in [
            (Errno::ADDRINUSE, "cannot listen on 127.0.0.1:80: the port is in use"),
            (Errno::ACCESS, "permission denied"),
            (Errno::ADDRNOTAVAIL, "no such address"),
            (Errno::MFILE, "raise `ulimit -n`"),
        ] {
            let text = explain(&address, &errno.into());
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn addresses_are_printed_as_they_are_given() {
        for text in ["127.0.0.1:80", "[::1]:0", "unix:/run/echo.socket", "unix:relative", "unix:127.0.0.1:80"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert!("unix:".parse::<Address>().unwrap_err().contains("path is missing"));
        assert!("/run/echo.socket".parse::<Address>().unwrap_err().contains("unix:/run"));
    }
}
