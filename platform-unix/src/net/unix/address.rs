//! Addresses of Unix sockets: between the standard library's type and the system's, and what is said when one cannot be used.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use rustix::net::{SocketAddrAny, SocketAddrUnix};

use crate::net::failure::explain;

/// How many bytes a path may have.
const LONGEST: usize = if cfg!(any(target_os = "linux", target_os = "android")) { 107 } else { 103 };

/// The address that is this path.
pub(super) fn of_path(path: &Path) -> io::Result<SocketAddr> {
    SocketAddr::from_pathname(path).map_err(|error| {
        let length = path.as_os_str().len();
        let reason = format!("its {length} bytes are too many: a socket's path may have {LONGEST}; a relative one may be shorter");
        explain(error, format_args!("cannot use {path:?} as an address"), (length > LONGEST).then_some(&reason))
    })
}

/// The system's form of an address.
pub(super) fn to_system(addr: &SocketAddr) -> io::Result<SocketAddrUnix> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = addr.as_abstract_name() {
        return Ok(SocketAddrUnix::new_abstract_name(name)?);
    }
    match addr.as_pathname() {
        Some(path) => Ok(SocketAddrUnix::new(path)?),
        #[cfg(any(target_os = "linux", target_os = "android"))]
        None => Ok(SocketAddrUnix::new_unnamed()),
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        None => Err(io::Error::new(ErrorKind::InvalidInput, "an unnamed socket has no address that could be used: give a path")),
    }
}

/// The standard library's form of an address.
pub(super) fn from_system(addr: SocketAddrAny) -> io::Result<SocketAddr> {
    let what = "the socket's address is not a Unix socket's";
    let addr = SocketAddrUnix::try_from(addr).map_err(|_| io::Error::new(ErrorKind::InvalidInput, what))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = addr.abstract_name().filter(|name| !name.is_empty())
    // So an unnamed one reads in rustix 1.1.
    {
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(OsStr::from_bytes(addr.path_bytes().unwrap_or_default()))
}

/// A peer's address. One that is unknown, or that the standard library cannot express (a path of 108 bytes on Linux), is unnamed.
pub(super) fn of_peer(addr: Option<SocketAddrAny>) -> io::Result<SocketAddr> {
    match addr.map(from_system) {
        Some(Ok(addr)) => Ok(addr),
        _ => SocketAddr::from_pathname(""),
    }
}

/// An address in a message: the path, or `@` and the abstract name.
struct Name<'a>(&'a SocketAddr);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(name) = self.0.as_abstract_name() {
            return write!(f, "@{}", name.escape_ascii());
        }
        match self.0.as_pathname() {
            Some(path) => write!(f, "{}", path.display()),
            None => f.write_str("an unnamed socket"),
        }
    }
}

/// Why a socket cannot be reached.
pub(super) fn cannot_connect(to: &SocketAddr, error: io::Error) -> io::Error {
    let reason = match error.kind() {
        ErrorKind::NotFound => Some("there is no such socket: its server does not run, or listens elsewhere"),
        ErrorKind::ConnectionRefused if to.as_pathname().is_some() => {
            Some("nobody listens there: its server is gone, and has left the socket file behind")
        }
        ErrorKind::ConnectionRefused => Some("nobody listens there"),
        ErrorKind::PermissionDenied => Some("permission denied: it takes the right to write to the socket file, and to enter its folders"),
        _ => None,
    };
    explain(error, format_args!("cannot connect to {}", Name(to)), reason)
}

/// Why a socket cannot have this address.
pub(super) fn cannot_bind(to: &SocketAddr, error: io::Error) -> io::Error {
    let reason = match error.kind() {
        ErrorKind::AddrInUse if to.as_pathname().is_some() => {
            Some("the path exists: another server listens there, or one has left its socket file behind, which is then to be removed")
        }
        ErrorKind::AddrInUse => Some("the name is in use"),
        ErrorKind::NotFound => Some("its folder does not exist"),
        ErrorKind::PermissionDenied => Some("permission denied: it takes the right to write to the folder"),
        _ => None,
    };
    explain(error, format_args!("cannot bind to {}", Name(to)), reason)
}
