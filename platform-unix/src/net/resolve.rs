//! Names of machines, and the addresses they stand for.
//!
//! A name is resolved by the system (`getaddrinfo`), which blocks: on a thread of the run's pool. What is an address already never goes there.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::vec;

use rustix::io::Errno;

use super::failure::explain;
use crate::blocking;

/// What stands for addresses to connect to: an address, several, or the name of a machine with a port. The same types as in
/// [`std::net::ToSocketAddrs`], which blocks.
pub trait ToSocketAddrs: sealed::Sealed {}

/// So that it can grow.
mod sealed {
    use super::*;

    pub trait Sealed {
        #[doc(hidden)]
        fn target(&self) -> io::Result<Target>;
    }

    #[derive(Debug)]
    pub enum Target {
        Addresses(Vec<SocketAddr>),
        Name(String, u16),
    }
}

pub(super) use self::sealed::Target;

impl Target {
    /// What to call it in an error.
    pub(super) fn name(&self) -> String {
        match self {
            Target::Name(host, port) => format!("{host}:{port}"),
            Target::Addresses(addresses) => format!("any of {} addresses", addresses.len()),
        }
    }

    /// The addresses, at least one.
    pub(super) async fn resolve(self) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = match self {
            Target::Addresses(addresses) if addresses.is_empty() => {
                return Err(io::Error::new(ErrorKind::InvalidInput, "there is no address in the list: give at least one"));
            }
            Target::Addresses(addresses) => return Ok(addresses),
            Target::Name(host, port) => (host, port),
        };
        let name = host.clone();
        let resolved = blocking(move || std::net::ToSocketAddrs::to_socket_addrs(&(&*name, port)).map(Iterator::collect::<Vec<_>>));
        let failed = |error| explain(error, format_args!("cannot resolve the name {host:?}"), None);
        match resolved.await?.map_err(failed)? {
            addresses if addresses.is_empty() => Err(io::Error::new(ErrorKind::NotFound, format!("the name {host:?} has no address"))),
            addresses => Ok(addresses),
        }
    }
}

/// Resolves a name to addresses, in the order in which the system would have them tried. What is an address already is given at once.
///
/// ```
/// use matou_unix::net;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     for addr in net::lookup_host("localhost:80").await? {
///         assert!(addr.ip().is_loopback() && addr.port() == 80);
///     }
///     let same = net::lookup_host(("192.0.2.7", 80)).await?;
///     assert!(same.eq(["192.0.2.7:80".parse().expect("an address")]));
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `InvalidInput` for what is no address and no name with a port; what the system says of the name; and outside a run, that it is.
///
/// # Cancellation
/// Dropped early it leaves nothing behind. A name server that is being asked is waited for by a thread of the pool, and so by the
/// end of the run, though nobody wants its answer any more.
#[doc(alias = "getaddrinfo")]
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<vec::IntoIter<SocketAddr>> {
    Ok(host.target()?.resolve().await?.into_iter())
}

/// Tries each address in turn, until one connects. When none does the error tells of all.
pub(super) async fn try_each<T>(target: Target, mut connect: impl AsyncFnMut(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    let what = target.name();
    let (mut last, mut texts) = (None, Vec::new());
    for address in target.resolve().await? {
        match connect(address).await {
            Ok(connected) => return Ok(connected),
            // With no descriptor left, no other address does better; and that stays the system's own error.
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) => return Err(error),
            Err(error) => {
                texts.push(error.to_string());
                last = Some(error);
            }
        }
    }
    let last = last.expect("there was at least one address");
    match &texts[..] {
        [_] => Err(last),
        _ => Err(explain(last, format_args!("cannot connect to {what}"), Some(&texts.join("; ")))),
    }
}

/// A name, unless it is an address after all.
fn named(host: &str, port: u16) -> Target {
    match host.parse::<IpAddr>() {
        Ok(ip) => Target::Addresses(vec![(ip, port).into()]),
        Err(_) => Target::Name(host.to_owned(), port),
    }
}

macro_rules! targets {
    ($($type:ty, $this:ident => $target:expr;)*) => {$(
        impl ToSocketAddrs for $type {}

        impl sealed::Sealed for $type {
            fn target(&self) -> io::Result<Target> {
                let $this = self;
                $target
            }
        }
    )*};
}

targets! {
    SocketAddr, addr => Ok(Target::Addresses(vec![*addr]));
    SocketAddrV4, addr => SocketAddr::from(*addr).target();
    SocketAddrV6, addr => SocketAddr::from(*addr).target();
    (IpAddr, u16), pair => SocketAddr::from(*pair).target();
    (Ipv4Addr, u16), pair => SocketAddr::from(*pair).target();
    (Ipv6Addr, u16), pair => SocketAddr::from(*pair).target();
    [SocketAddr], addrs => Ok(Target::Addresses(addrs.to_vec()));
    (&str, u16), pair => Ok(named(pair.0, pair.1));
    (String, u16), pair => Ok(named(&pair.0, pair.1));
    String, text => text.as_str().target();
    str, text => {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return addr.target();
        }
        let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let wrong = || {
            let text = format!("{text:?} is no address and no name with a port: expected something like \"example.org:80\"");
            io::Error::new(ErrorKind::InvalidInput, text)
        };
        parts.map(|(host, port)| named(host, port)).ok_or_else(wrong)
    };
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}

impl<T: ToSocketAddrs + ?Sized> sealed::Sealed for &T {
    fn target(&self) -> io::Result<Target> {
        (**self).target()
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {}

impl<const N: usize> sealed::Sealed for [SocketAddr; N] {
    fn target(&self) -> io::Result<Target> {
        self[..].target()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn with_no_descriptor_left_no_other_address_is_tried() {
        let addresses = [1, 2].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        for errno in [Errno::MFILE, Errno::NFILE] {
            let mut tried = 0;
            let attempt = try_each(Target::Addresses(addresses.to_vec()), async |_| {
                tried += 1;
                io::Result::<()>::Err(errno.into())
            });
            let Poll::Ready(result) = pin!(attempt).poll(&mut Context::from_waker(Waker::noop())) else { panic!("it waits for nothing") };
            assert_eq!((result.unwrap_err().raw_os_error(), tried), (Some(errno.raw_os_error()), 1));
        }
    }
}
