//! Making sockets, listeners, options, conversions, and UDP.

#[macro_use]
mod support;

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use matou_unix::net::{TcpListener, TcpListenerBuilder, TcpStream, UdpSocket};
use matou_unix::{call, domain, spawn, time, yield_now};
use support::{Setup, any, join, listen, nobody_listens, pattern};

everywhere! {
    a_refused_connection_is_an_error
    a_connection_to_nowhere_can_be_given_up
    a_shared_listener_gives_each_connection_once
    a_listener_cloned_to_other_domains
    the_options_arrive
    the_conversions
    datagrams
    a_udp_socket_that_was_shut_down_gives_an_end
    r34_cancelled_accepts_leave_the_listener_usable
    sockets_outside_a_run
    used_outside_a_run_it_is_an_error
}

fn a_refused_connection_is_an_error(setup: &Setup) {
    setup.run(0, async {
        let (_holder, addr) = nobody_listens()?;
        let error = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        io::Result::Ok(())
    });
}

fn a_connection_to_nowhere_can_be_given_up(setup: &Setup) {
    setup.run(0, async {
        // A listener whose queue is full answers no further connection: it stays under way.
        let listener = TcpListener::builder().backlog(0).bind(any())?;
        let addr = listener.local_addr()?;
        let (mut connected, mut waiting) = (Vec::new(), false);
        for _ in 0..4 {
            match time::timeout(Duration::from_millis(50), TcpStream::connect(addr)).await {
                Ok(stream) => connected.push(stream?),
                Err(_) => waiting = true,
            }
        }
        assert!(waiting, "{} connections fit into a queue of 0", connected.len());
        io::Result::Ok(())
    });
}

fn a_shared_listener_gives_each_connection_once(setup: &Setup) {
    setup.run(0, async {
        let (listener, addr) = listen()?;
        let listener = Rc::new(listener);
        let acceptors: Vec<_> = (0..8)
            .map(|_| {
                let listener = listener.clone();
                spawn(async move {
                    let (stream, _) = listener.accept().await?;
                    stream.write_all(b"x").await
                })
            })
            .collect();
        for _ in 0..20 {
            yield_now().await; // All wait at the same listener.
        }
        for _ in 0..8 {
            let client = TcpStream::connect(addr).await?;
            client.read_exact(&mut [0; 1]).await?;
        }
        for result in matou_unix::await_all(acceptors).await {
            result?;
        }
        io::Result::Ok(())
    });
}

fn a_listener_cloned_to_other_domains(setup: &Setup) {
    setup.run(2, async {
        let (listener, addr) = listen()?;
        let mut servers = Vec::new();
        for worker in domain::all().skip(1) {
            let listener = listener.try_clone()?;
            servers.push(matou_unix::Task::new().pin(worker).call(move || async move {
                loop {
                    let (stream, _) = listener.accept().await?;
                    stream.write_all(b"x").await?;
                }
                #[allow(unreachable_code)]
                io::Result::Ok(())
            })?);
        }
        drop(listener);
        for _ in 0..50 {
            let client = TcpStream::connect(addr).await?;
            client.read_exact(&mut [0; 1]).await?;
        }
        for server in servers {
            server.cancel().await;
        }
        io::Result::Ok(())
    });
}

fn the_options_arrive(setup: &Setup) {
    setup.run(0, async {
        let listener = TcpListener::builder()
            .backlog(7)
            .nodelay(true)
            .keepalive(Duration::from_secs(30))
            .receive_buffer_size(1 << 15)
            .send_buffer_size(1 << 15)
            .reuse_port(true)
            .bind(any())?;
        let addr = listener.local_addr()?;
        let second = TcpListener::builder().reuse_port(true).bind(addr)?;
        drop(second);
        let client = TcpStream::builder().nodelay(true).bind(any()).connect(addr).await?;
        let (server, peer) = listener.accept().await?;
        assert_eq!(peer, client.local_addr()?);
        assert_eq!(server.peer_addr()?, peer);
        assert_eq!(client.peer_addr()?, addr);
        assert!(client.nodelay()? && server.nodelay()?, "connections inherit it");
        client.set_nodelay(false)?;
        assert!(!client.nodelay()?);
        client.set_ttl(42)?;
        assert_eq!(client.ttl()?, 42);
        assert!(rustix::net::sockopt::socket_keepalive(&server)?);
        assert!(rustix::net::sockopt::socket_reuseaddr(&listener)?);
        assert!(client.take_error()?.is_none() && listener.take_error()?.is_none());
        assert!(format!("{client:?}").starts_with("TcpStream { addr: 127.0.0.1:"), "{client:?}");
        for fd in [client.as_fd(), server.as_fd(), listener.as_fd()] {
            assert!(rustix::io::fcntl_getfd(fd)?.contains(rustix::io::FdFlags::CLOEXEC));
            assert!(rustix::fs::fcntl_getfl(fd)?.contains(rustix::fs::OFlags::NONBLOCK));
        }
        // A builder begins with what `bind` does; both may be told otherwise.
        let strict = TcpListenerBuilder::default().reuse_address(false).bind(any())?;
        assert!(!rustix::net::sockopt::socket_reuseaddr(&strict)?);
        let shares = TcpStream::builder().reuse_port(true).connect(addr).await?;
        assert!(rustix::net::sockopt::socket_reuseport(&shares)?);
        let alone = TcpStream::builder().connect(addr).await?;
        assert!(!rustix::net::sockopt::socket_reuseport(&alone)?);
        // Without SO_REUSEPORT an address is bound once.
        let taken = TcpListener::bind(addr).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let six = TcpListener::builder().only_v6(true).bind("[::1]:0".parse().unwrap());
        if let Ok(six) = six {
            let client = TcpStream::connect(six.local_addr()?).await?;
            assert!(client.peer_addr()?.is_ipv6());
        }
        io::Result::Ok(())
    });
}

fn the_conversions(setup: &Setup) {
    setup.run(0, async {
        let listener = TcpListener::from_std(std::net::TcpListener::bind(any())?)?;
        let addr = listener.local_addr()?;
        let client = TcpStream::from_std(std::net::TcpStream::connect(addr)?)?;
        let (server, _) = listener.accept().await?;
        // A stream that is registered here leaves before it is handed out.
        assert!(time::timeout(Duration::from_millis(2), server.read(&mut [0; 1])).await.is_err());
        let mut server = server.into_std().unwrap();
        server.set_nonblocking(false)?;
        client.write_all(b"meow").await?;
        let mut buf = [0; 4];
        io::Read::read_exact(&mut server, &mut buf)?;
        assert_eq!(&buf, b"meow");
        let server = TcpStream::from_std(server)?;
        client.write_all(b"miau").await?;
        server.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"miau");
        assert_eq!(listener.into_std().local_addr()?, addr);
        io::Result::Ok(())
    });
}

fn datagrams(setup: &Setup) {
    setup.run(1, async {
        let (one, two) = (UdpSocket::bind(any())?, UdpSocket::bind(any())?);
        let (first, second) = (one.local_addr()?, two.local_addr()?);
        let echo = call(move || async move {
            let mut buf = [0; 2048];
            for _ in 0..20 {
                let (n, from) = two.recv_from(&mut buf).await?;
                assert_eq!(from, first);
                two.send_to(&buf[..n], from).await?;
            }
            io::Result::Ok(())
        })?;
        one.connect(second)?;
        assert_eq!(one.peer_addr()?, second);
        for size in 0..20 {
            let sent = pattern(size * 70);
            assert_eq!(one.send(&sent).await?, sent.len());
            let mut buf = [0; 2048];
            let n = one.recv(&mut buf).await?;
            assert_eq!(&buf[..n], sent, "a datagram is whole, the empty one too");
        }
        echo.await?;
        for broadcast in [true, false] {
            one.set_broadcast(broadcast)?;
            assert_eq!(rustix::net::sockopt::socket_broadcast(&one)?, broadcast);
        }
        let one = UdpSocket::from_std(std::net::UdpSocket::from(one))?;
        assert!(time::timeout(Duration::from_millis(2), one.recv(&mut [0; 1])).await.is_err());
        io::Result::Ok(())
    });
}

fn a_udp_socket_that_was_shut_down_gives_an_end(setup: &Setup) {
    setup.run(0, async {
        let shut_down = |socket: &UdpSocket| rustix::net::shutdown(socket, rustix::net::Shutdown::Read);
        let connected = || {
            let (near, far) = (UdpSocket::bind(any())?, UdpSocket::bind(any())?);
            near.connect(far.local_addr()?)?;
            io::Result::Ok((near, far))
        };
        let mut buf = [0; 8];
        let (near, _far) = connected()?;
        shut_down(&near)?;
        for _ in 0..2 {
            assert_eq!(near.recv(&mut buf).await?, 0);
            // There is nobody to tell of.
            assert_eq!(near.recv_from(&mut buf).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
        let (near, _far) = connected()?;
        let (received, shut) = join(near.recv(&mut buf), async { shut_down(&near) }).await;
        shut?;
        assert_eq!(received?, 0, "who waits is told");
        io::Result::Ok(())
    });
}

fn r34_cancelled_accepts_leave_the_listener_usable(setup: &Setup) {
    setup.run(0, async {
        let (listener, addr) = listen()?;
        let listener = Rc::new(listener);
        for _ in 0..100 {
            let waiting = spawn({
                let listener = listener.clone();
                async move { listener.accept().await.map(drop) }
            });
            yield_now().await;
            waiting.cancel().await;
        }
        let (client, accepted) = join(TcpStream::connect(addr), listener.accept()).await;
        assert_eq!(client?.local_addr()?, accepted?.1);
        io::Result::Ok(())
    });
}

fn sockets_outside_a_run(setup: &Setup) {
    let (listener, addr) = listen().unwrap();
    let client = std::net::TcpStream::connect(addr).unwrap();
    let client = TcpStream::from_std(client).unwrap();
    let (client, listener) = setup.run(0, async {
        let (server, _) = listener.accept().await?;
        client.write_all(b"meow").await?;
        server.read_exact(&mut [0; 4]).await?;
        assert!(time::timeout(Duration::from_millis(2), client.read(&mut [0; 1])).await.is_err());
        io::Result::Ok((client, listener))
    });
    // They were registered in a run that has ended. In the next one they register anew.
    setup.run(0, async {
        let (again, accepted) = join(TcpStream::connect(addr), listener.accept()).await;
        let (again, (server, _)) = (again?, accepted?);
        let (written, read) = join(server.write_all(b"miau"), async { again.read_exact(&mut [0; 4]).await }).await;
        written?;
        read?;
        assert_eq!(client.read(&mut [0; 1]).await?, 0, "the first server went with the first run");
        io::Result::Ok(())
    });
}

fn used_outside_a_run_it_is_an_error(_: &Setup) {
    use std::task::{Context, Poll, Waker};
    let (listener, _) = listen().unwrap();
    let accept = std::pin::pin!(listener.accept());
    let Poll::Ready(Err(error)) = accept.poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("it waits, and nobody would wake it")
    };
    assert!(error.to_string().contains("only inside `matou_unix::run`"), "{error}");
}
