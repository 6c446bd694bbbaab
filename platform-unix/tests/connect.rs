//! Connections that do not come about, and what is said then.

#[macro_use]
mod support;

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use matou_unix::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use matou_unix::{spawn, time};
use rustix::io::Errno;
use support::{Scratch, Setup, any, full_queue, join, listen};

everywhere! {
    nobody_listens
    nobody_answers
    no_way_to_the_network
    an_address_that_is_not_here
    a_port_that_is_in_use
    what_becomes_of_a_connection_under_way
    a_peer_that_resets_at_once
    no_such_socket_file
    a_stale_socket_file
    a_file_that_is_no_socket
    a_socket_of_another_type
    a_queue_that_stays_full
    r34_an_attempt_that_is_given_up_is_closed
}

#[track_caller]
fn says(error: &io::Error, kind: ErrorKind, errno: Option<Errno>, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{text:?} does not say {word:?}");
    }
    let source = error.get_ref().and_then(Error::source).and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.and_then(Errno::from_io_error), errno, "the system's own error is kept");
}

fn nobody_listens(setup: &Setup) {
    setup.run(0, async {
        let (_holder, addr) = support::nobody_listens()?;
        for _ in 0..3 {
            let error = TcpStream::connect(addr).await.unwrap_err();
            let words = [&*format!("cannot connect to {addr}"), "nobody listens there"];
            says(&error, ErrorKind::ConnectionRefused, Some(Errno::CONNREFUSED), &words);
        }
        io::Result::Ok(())
    });
}

fn nobody_answers(setup: &Setup) {
    setup.run(0, async {
        let full = full_queue()?;
        let addr = full.tcp.local_addr()?;
        let error = TcpStream::connect_timeout(addr, Duration::from_millis(2)).await.unwrap_err();
        says(&error, ErrorKind::TimedOut, None, &[&addr.to_string(), "nobody answers in time"]);
        // One that answers is not too late.
        let (_listener, addr) = listen()?;
        TcpStream::connect_timeout(addr, Duration::from_secs(60)).await?;
        io::Result::Ok(())
    });
}

fn no_way_to_the_network(setup: &Setup) {
    setup.run(0, async {
        // A connection to many machines at once: on Linux there is no way to them.
        let error = TcpStream::connect("127.255.255.255:9").await.unwrap_err();
        if cfg!(target_os = "linux") {
            says(&error, ErrorKind::NetworkUnreachable, Some(Errno::NETUNREACH), &["127.255.255.255:9", "no way to that network"]);
        }
        io::Result::Ok(())
    });
}

fn an_address_that_is_not_here(setup: &Setup) {
    setup.run(0, async {
        let (_listener, addr) = listen()?;
        // 192.0.2.0/24 is for documentation: no machine has it.
        let error = TcpStream::builder().bind("192.0.2.1:0".parse().expect("an address")).connect(addr).await.unwrap_err();
        says(&error, ErrorKind::AddrNotAvailable, Some(Errno::ADDRNOTAVAIL), &["from 192.0.2.1:0", "no such address"]);
        io::Result::Ok(())
    });
}

fn a_port_that_is_in_use(setup: &Setup) {
    setup.run(0, async {
        let (_listener, addr) = listen()?;
        let error = TcpStream::builder().bind(addr).connect(addr).await.unwrap_err();
        says(&error, ErrorKind::AddrInUse, Some(Errno::ADDRINUSE), &[&format!("from {addr}"), "in use"]);
        io::Result::Ok(())
    });
}

/// Both ends of an attempt that the system told to wait: it comes about, or the answer is in `SO_ERROR`. The system tries again
/// after a second.
fn what_becomes_of_a_connection_under_way(setup: &Setup) {
    setup.run(0, async {
        let (stays, goes) = (full_queue()?, full_queue()?);
        let (one, other) = (stays.tcp.local_addr()?, goes.tcp.local_addr()?);
        let (one, other) = (spawn(connect(one)), spawn(connect(other)));
        time::sleep(Duration::from_millis(1)).await; // Both have asked by now, and wait.
        drop(goes);
        let accepts = spawn(async move {
            loop {
                stays.tcp.accept().await?;
            }
            #[allow(unreachable_code)]
            io::Result::Ok(())
        });
        one.await?;
        let Err(matou_unix::Exit::Failed(error)) = other.await else { panic!("nobody is there") };
        says(&error, ErrorKind::ConnectionRefused, Some(Errno::CONNREFUSED), &["nobody listens"]);
        accepts.cancel().await;
        io::Result::Ok(())
    });
}

async fn connect(addr: std::net::SocketAddr) -> io::Result<()> {
    TcpStream::connect(addr).await.map(drop)
}

fn a_peer_that_resets_at_once(setup: &Setup) {
    setup.run(1, async {
        let (listener, addr) = listen()?;
        let resets = matou_unix::call(move || async move {
            for _ in 0..50 {
                let (stream, _) = listener.accept().await?;
                stream.set_linger(Some(Duration::ZERO))?;
            }
            io::Result::Ok(())
        })?;
        for _ in 0..50 {
            // Either is right: it did come about, and did not last.
            if let Err(error) = TcpStream::connect(addr).await {
                says(&error, ErrorKind::ConnectionReset, Some(Errno::CONNRESET), &["closed the connection at once"]);
            }
        }
        resets.await?;
        io::Result::Ok(())
    });
}

fn no_such_socket_file(setup: &Setup) {
    setup.run(0, async {
        let path = Scratch::new();
        let error = UnixStream::connect(&path).await.unwrap_err();
        let words = [&*path.as_ref().to_string_lossy(), "no such socket"];
        says(&error, ErrorKind::NotFound, Some(Errno::NOENT), &words);
        let long = "x".repeat(200);
        assert_eq!(UnixStream::connect(long).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        io::Result::Ok(())
    });
}

fn a_stale_socket_file(setup: &Setup) {
    setup.run(0, async {
        let path = Scratch::new();
        drop(UnixListener::bind(&path)?);
        let error = UnixStream::connect(&path).await.unwrap_err();
        let words = [&*path.as_ref().to_string_lossy(), "its server is gone", "left the socket file behind"];
        says(&error, ErrorKind::ConnectionRefused, Some(Errno::CONNREFUSED), &words);
        io::Result::Ok(())
    });
}

fn a_file_that_is_no_socket(setup: &Setup) {
    setup.run(0, async {
        let path = Scratch::new();
        std::fs::write(&path, "")?;
        let error = UnixStream::connect(&path).await.unwrap_err();
        if cfg!(target_os = "linux") {
            says(&error, ErrorKind::ConnectionRefused, Some(Errno::CONNREFUSED), &["nobody listens"]);
        }
        io::Result::Ok(())
    });
}

fn a_socket_of_another_type(setup: &Setup) {
    setup.run(0, async {
        let path = Scratch::new();
        let _datagrams = matou_unix::net::UnixDatagram::bind(&path)?;
        let error = UnixStream::connect(&path).await.unwrap_err();
        let kind = io::Error::from(Errno::PROTOTYPE).kind();
        says(&error, kind, Some(Errno::PROTOTYPE), &["cannot connect to", "os error"]);
        io::Result::Ok(())
    });
}

/// It waits as long as one likes, and other tasks run meanwhile.
fn a_queue_that_stays_full(setup: &Setup) {
    setup.run(0, async {
        let full = full_queue()?;
        let (given_up, ticks) = join(time::timeout(Duration::from_millis(20), UnixStream::connect(&full.path)), async {
            let mut ticks = 0;
            for _ in 0..5 {
                time::sleep(Duration::from_millis(1)).await;
                ticks += 1;
            }
            ticks
        })
        .await;
        assert!(given_up.is_err() || !cfg!(target_os = "linux"));
        assert_eq!(ticks, 5);
        io::Result::Ok(())
    });
}

/// The peer of an attempt that was given up sees its end: no descriptor is left.
fn r34_an_attempt_that_is_given_up_is_closed(setup: &Setup) {
    setup.run(0, async {
        let listener = TcpListener::bind(any())?;
        let addr = listener.local_addr()?;
        for _ in 0..20 {
            spawn(async move {
                let _stream = TcpStream::connect(addr).await?;
                std::future::pending::<io::Result<()>>().await
            })
            .cancel()
            .await;
            let cut = spawn(async move {
                let _stream = TcpStream::connect(addr).await?;
                std::future::pending::<io::Result<()>>().await
            });
            let (stream, _) = listener.accept().await?;
            cut.cancel().await;
            assert_eq!(stream.read(&mut [0; 1]).await?, 0);
        }
        io::Result::Ok(())
    });
}
