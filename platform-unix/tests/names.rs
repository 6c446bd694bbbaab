//! Names of machines: resolved beside the domains, and addresses tried in turn.

#[macro_use]
mod support;

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Waker};

use matou_unix::net::{TcpStream, ToSocketAddrs, lookup_host};
use matou_unix::{blocking, call, owned, spawn, yield_now};
use rustix::net::{AddressFamily, SocketType};
use support::{Setup, Watchdog, any, listen};

everywhere! {
    a_name_is_resolved
    a_name_is_connected_to
    each_address_is_tried
    all_failures_are_told
    what_is_no_name_is_an_error
    a_name_waits_for_a_thread_and_the_domain_does_not
}

/// An address that is taken, and where nobody listens.
struct Closed(OwnedFd);

impl Closed {
    fn new() -> Closed {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &any()).unwrap();
        Closed(socket)
    }

    fn addr(&self) -> SocketAddr {
        rustix::net::getsockname(&self.0).unwrap().try_into().unwrap()
    }
}

fn a_name_is_resolved(setup: &Setup) {
    setup.run(1, async {
        let addrs: Vec<_> = lookup_host("localhost:80").await?.collect();
        assert!(!addrs.is_empty() && addrs.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 80), "{addrs:?}");
        assert_eq!(lookup_host((String::from("localhost"), 80)).await?.collect::<Vec<_>>(), addrs);
        let elsewhere = call(|| async { Ok::<_, io::Error>(lookup_host(("localhost", 80)).await?.collect::<Vec<_>>()) })?;
        assert_eq!(elsewhere.await?, addrs);
        io::Result::Ok(())
    });
}

fn a_name_is_connected_to(setup: &Setup) {
    setup.run(0, async {
        let (listener, addr) = listen()?;
        let name = format!("localhost:{}", addr.port());
        // The first of its addresses may be IPv6, where nobody listens.
        for client in [
            TcpStream::connect(&name).await?,
            TcpStream::connect(("localhost", addr.port())).await?,
            TcpStream::builder().nodelay(true).connect(name.as_str()).await?,
            owned::TcpStream::connect(name.clone()).await?.disown()?,
        ] {
            assert_eq!(client.peer_addr()?, addr);
            let (_, peer) = listener.accept().await?;
            assert_eq!(client.local_addr()?, peer);
        }
        io::Result::Ok(())
    });
}

fn each_address_is_tried(setup: &Setup) {
    setup.run(0, async {
        let (listener, addr) = listen()?;
        let closed = Closed::new();
        let client = TcpStream::connect([closed.addr(), addr, closed.addr()]).await?;
        assert_eq!(client.peer_addr()?, addr);
        listener.accept().await?;
        let list = [addr, closed.addr()];
        assert_eq!(TcpStream::connect(&list[..]).await?.peer_addr()?, addr);
        io::Result::Ok(())
    });
}

fn all_failures_are_told(setup: &Setup) {
    setup.run(0, async {
        let closed = [Closed::new(), Closed::new()];
        let [one, two] = closed.each_ref().map(Closed::addr);
        let error = TcpStream::connect([one, two]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let text = format!(
            "cannot connect to any of 2 addresses: cannot connect to {one}: nobody listens there; \
             cannot connect to {two}: nobody listens there"
        );
        assert_eq!(error.to_string(), text);
        let alone = TcpStream::connect(one).await.unwrap_err();
        assert_eq!(alone.to_string(), format!("cannot connect to {one}: nobody listens there"));
        io::Result::Ok(())
    });
}

fn what_is_no_name_is_an_error(setup: &Setup) {
    setup.run(0, async {
        for wrong in ["localhost", "localhost:http", "localhost:65536", "", ":"] {
            let error = TcpStream::connect(wrong).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = format!("{wrong:?} is no address and no name with a port: expected something like \"example.org:80\"");
            assert_eq!(error.to_string(), text);
        }
        let nobody = "x".repeat(300); // Longer than a name can be: no server is asked.
        let error = lookup_host((nobody.as_str(), 80)).await.unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot resolve the name {nobody:?}: ")), "{error}");
        let error = TcpStream::connect(&[][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        io::Result::Ok(())
    });
}

fn a_name_waits_for_a_thread_and_the_domain_does_not(setup: &Setup) {
    let ran = setup.builder(0).blocking_threads(1).run(async {
        let (release, held) = channel::<()>();
        let busy = spawn(async move { blocking(move || _ = held.recv()).await.map_err(io::Error::from) });
        yield_now().await;
        let mut named = pin!(lookup_host("localhost:80"));
        assert!(poll_fn(|cx| Poll::Ready(named.as_mut().poll(cx).is_pending())).await);
        let (listener, addr) = listen()?;
        TcpStream::connect(addr.to_string()).await?; // A number needs no thread.
        listener.accept().await?;
        drop(release);
        busy.await?;
        assert!(named.await?.next().is_some());
        io::Result::Ok(())
    });
    ran.unwrap();
}

#[test]
fn addresses_are_given_at_once() {
    let _watchdog = Watchdog::new("addresses");
    fn at_once(target: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
        let polled = pin!(lookup_host(target)).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(found) = polled else { panic!("{polled:?}") };
        Ok(found?.collect())
    }
    // Outside a run: there are no threads to ask.
    let (four, six): (SocketAddr, SocketAddr) = ("127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap());
    assert_eq!(at_once(four).unwrap(), [four]);
    assert_eq!(at_once("127.0.0.1:80").unwrap(), [four]);
    assert_eq!(at_once(String::from("[::1]:80")).unwrap(), [six]);
    assert_eq!(at_once(("127.0.0.1", 80)).unwrap(), [four]);
    assert_eq!(at_once(("::1", 80)).unwrap(), [six]);
    assert_eq!(at_once((IpAddr::from(Ipv4Addr::LOCALHOST), 80)).unwrap(), [four]);
    assert_eq!(at_once((Ipv6Addr::LOCALHOST, 80)).unwrap(), [six]);
    assert_eq!(at_once(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 80)).unwrap(), [four]);
    assert_eq!(at_once([six, four]).unwrap(), [six, four]);
    assert_eq!(at_once(&[four][..]).unwrap(), [four]);
    let error = at_once("localhost:80").unwrap_err();
    assert!(error.to_string().contains("outside `matou_unix::run`"), "{error}");
}
