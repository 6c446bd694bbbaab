//! Listening: sockets for the accept loops, and what is said when there can be none.
//!
//! Where several domains accept, each has a socket of its own on the same address (`SO_REUSEPORT`), and the system
//! spreads the connections. That option lets ANY socket of the same user join in, a server started twice by mistake too: so
//! an address is claimed without it first, which fails while anybody listens there. Port 0 needs no claim, as
//! the system takes a port that nobody has.
//!
//! An IPv6 wildcard takes IPv4 connections too, as the system has it, unless an IPv4 address with the same port is asked for
//! beside it.

use std::io;
use std::net::SocketAddr;

use matou_unix::net::TcpListener;
use rustix::io::Errno;

/// The system's limit applies; this only has to be larger.
const BACKLOG: u32 = 4096;

/// `count` listeners on one address, which is the real one where port 0 was asked for. `only_v6` keeps an IPv6 address
/// from taking IPv4 connections too.
pub(crate) fn listen(address: SocketAddr, only_v6: bool, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
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
    let mut listeners = vec![first];
    while listeners.len() < count {
        listeners.push(builder.bind(address)?);
    }
    Ok((address, listeners))
}

/// What to tell whoever asked for this address.
pub(crate) fn explain(address: SocketAddr, error: &io::Error) -> String {
    let reason = match Errno::from_io_error(error) {
        Some(Errno::ADDRINUSE) => String::from("the port is in use"),
        Some(Errno::ACCESS) => String::from("permission denied: ports this low are for privileged users"),
        Some(Errno::ADDRNOTAVAIL) => String::from("this machine has no such address"),
        Some(Errno::AFNOSUPPORT) => String::from("this system does not speak that protocol"),
        _ => error.to_string(),
    };
    format!("cannot listen on {address}: {reason}")
}

#[cfg(test)]
mod tests {
    use super::explain;
    use rustix::io::Errno;

    #[test]
    fn reasons() {
        let address = "127.0.0.1:80".parse().unwrap();
        for (errno, words) in [
            (Errno::ADDRINUSE, "cannot listen on 127.0.0.1:80: the port is in use"),
            (Errno::ACCESS, "permission denied"),
            (Errno::ADDRNOTAVAIL, "no such address"),
            (Errno::MFILE, "os error"),
        ] {
            let text = explain(address, &errno.into());
            assert!(text.contains(words), "{text}");
        }
    }
}
