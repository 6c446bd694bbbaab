//! Errors in words: what could not be done, with which address, and what may be done about it.
//!
//! The kind stays that of the system's error, which is kept whole as the source.

use std::error::Error;
use std::fmt::{self, Display};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

/// An error of the system's, explained.
#[derive(Debug)]
struct Explained {
    text: String,
    source: io::Error,
}

impl Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Explained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

/// `error`, in these words: `what` failed, for that `reason`, or the one the system gives.
pub(super) fn explain(error: io::Error, what: impl Display, reason: Option<&str>) -> io::Error {
    let text = match reason {
        Some(reason) => format!("{what}: {reason}"),
        None => format!("{what}: {error}"),
    };
    io::Error::new(error.kind(), Explained { text, source: error })
}

/// Why there is no TCP connection.
pub(super) fn cannot_connect(to: SocketAddr, error: io::Error) -> io::Error {
    let reason = match error.kind() {
        ErrorKind::ConnectionRefused => "nobody listens there",
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => "the peer closed the connection at once",
        ErrorKind::TimedOut => "nobody answers in time",
        ErrorKind::NetworkUnreachable => "there is no way to that network",
        ErrorKind::HostUnreachable => "there is no way to that machine",
        ErrorKind::AddrNotAvailable => "no local port is left, or this machine does not have the address to connect from",
        ErrorKind::PermissionDenied => "it is forbidden, by a firewall or another rule of this system",
        _ => return explain(error, format_args!("cannot connect to {to}"), None),
    };
    explain(error, format_args!("cannot connect to {to}"), Some(reason))
}

/// Why a connection cannot come from this address.
pub(super) fn cannot_come_from(local: SocketAddr, error: io::Error) -> io::Error {
    let reason = match error.kind() {
        ErrorKind::AddrNotAvailable => Some("this machine has no such address"),
        ErrorKind::AddrInUse => Some("the port is in use"),
        ErrorKind::PermissionDenied => Some("permission denied: ports this low are for privileged users"),
        _ => None,
    };
    explain(error, format_args!("cannot connect from {local}"), reason)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn each_kind_stays_and_has_its_words() {
        let to = "192.0.2.1:80".parse().unwrap();
        for (errno, kind, words) in [
            (Errno::CONNREFUSED, ErrorKind::ConnectionRefused, "nobody listens"),
            (Errno::CONNRESET, ErrorKind::ConnectionReset, "closed"),
            (Errno::TIMEDOUT, ErrorKind::TimedOut, "nobody answers"),
            (Errno::NETUNREACH, ErrorKind::NetworkUnreachable, "network"),
            (Errno::HOSTUNREACH, ErrorKind::HostUnreachable, "machine"),
            (Errno::ADDRNOTAVAIL, ErrorKind::AddrNotAvailable, "local port"),
            (Errno::PERM, ErrorKind::PermissionDenied, "firewall"),
            (Errno::ACCESS, ErrorKind::PermissionDenied, "forbidden"),
            (Errno::NOBUFS, io::Error::from(Errno::NOBUFS).kind(), "os error"),
        ] {
            let error = cannot_connect(to, errno.into());
            assert_eq!(error.kind(), kind);
            let text = error.to_string();
            assert!(text.starts_with("cannot connect to 192.0.2.1:80: ") && text.contains(words), "{text}");
            let source = error.get_ref().and_then(Error::source).and_then(|source| source.downcast_ref::<io::Error>());
            assert_eq!(source.and_then(Errno::from_io_error), Some(errno));
        }
    }
}
