//! Unix sockets: what a caller of `std::os::unix::net` expects, and what is their own.

#[macro_use]
mod support;

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net as std_net;
use std::rc::Rc;
use std::time::Duration;

use matou_unix::net::{UnixDatagram, UnixListener, UnixStream};
use matou_unix::{Exit, Task, await_all, call, owned, spawn, time, yield_now};
use support::{FullQueues, Scratch, Setup, begin, full_queue, join, pattern};

everywhere! {
    a_path_is_bound_and_connected_to
    an_abstract_name_is_bound_and_connected_to
    echo_of_many_sizes_across_domains
    half_close_and_end
    a_write_to_a_peer_that_is_gone_is_no_signal
    peek_and_vectored
    what_stands_behind_a_border_is_read
    standard_streams_come_and_go
    r34_a_read_that_times_out_loses_nothing
    r45_streams_and_listeners_move
    many_clients_of_a_short_queue
    more_begin_to_wait_at_once_than_a_ring_takes
    datagrams_to_a_path
    datagrams_between_two_without_a_name
    datagrams_hold_their_sender_back
    a_datagram_socket_that_was_shut_down_gives_an_end
    a_listener_that_was_shut_down_accepts_no_more
    shutdown_ends_a_write_under_way
    a_task_owns_its_stream
}

async fn echo(stream: UnixStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n]).await?,
        }
    }
}

fn a_path_is_bound_and_connected_to(setup: &Setup) {
    setup.run(0, async {
        let path = Scratch::new();
        let listener = UnixListener::bind(&path)?;
        assert_eq!(listener.local_addr()?.as_pathname(), Some(path.as_ref()));
        let (client, accepted) = join(UnixStream::connect(&path), listener.accept()).await;
        let (client, (server, peer)) = (client?, accepted?);
        assert!(peer.is_unnamed() && client.local_addr()?.is_unnamed(), "{peer:?} {:?}", client.local_addr());
        assert_eq!(client.peer_addr()?.as_pathname(), Some(path.as_ref()));
        assert_eq!(server.local_addr()?.as_pathname(), Some(path.as_ref()));
        assert!(client.take_error()?.is_none());
        let text = format!("{client:?}");
        assert!(text.starts_with("UnixStream") && text.contains("matou-"), "{text}");
        #[cfg(target_os = "linux")]
        {
            let (ours, theirs) = (client.peer_cred()?, server.peer_cred()?);
            assert_eq!(ours, theirs);
            assert_eq!(ours.uid, rustix::process::getuid().as_raw());
            assert_eq!(ours.pid.map(i32::cast_unsigned), Some(std::process::id()));
        }
        let (written, read) = join(client.write_all(b"meow"), server.read(&mut [0; 8])).await;
        written?;
        assert_eq!(read?, 4);
        drop(listener);
        assert!(path.as_ref().exists(), "a listener leaves its file, as in std");
        io::Result::Ok(())
    });
}

#[cfg(target_os = "linux")]
fn an_abstract_name_is_bound_and_connected_to(setup: &Setup) {
    use std::os::linux::net::SocketAddrExt;
    setup.run(0, async {
        let scratch = Scratch::new();
        let name = [b"\0odd ", scratch.as_ref().as_os_str().as_encoded_bytes()].concat();
        let addr = std_net::SocketAddr::from_abstract_name(&name)?;
        let listener = UnixListener::bind_addr(&addr)?;
        assert_eq!(listener.local_addr()?.as_abstract_name(), Some(&name[..]));
        let (client, accepted) = join(UnixStream::connect_addr(&addr), listener.accept()).await;
        assert_eq!(client?.peer_addr()?.as_abstract_name(), Some(&name[..]));
        accepted?;
        let taken = UnixListener::bind_addr(&addr).unwrap_err();
        assert!(taken.kind() == ErrorKind::AddrInUse && taken.to_string().contains("@\\x00odd "), "{taken}");
        drop(listener);
        let gone = UnixStream::connect_addr(&addr).await.unwrap_err();
        assert!(gone.kind() == ErrorKind::ConnectionRefused && gone.to_string().contains("nobody listens"), "{gone}");
        io::Result::Ok(())
    });
}

#[cfg(not(target_os = "linux"))]
fn an_abstract_name_is_bound_and_connected_to(_setup: &Setup) {}

fn echo_of_many_sizes_across_domains(setup: &Setup) {
    setup.run(1, async {
        let (client, server) = UnixStream::pair()?;
        let echo = call(move || echo(server))?;
        for size in [1, 2, 255, 4095, 4096, 4097, 65_536, 1_000_003] {
            let sent = pattern(size);
            let mut back = vec![0; size];
            let (written, read) = join(client.write_all(&sent), client.read_exact(&mut back)).await;
            written?;
            read?;
            assert!(sent == back, "{size} bytes came back different");
        }
        client.shutdown(Shutdown::Write)?;
        echo.await?;
        assert_eq!(client.read(&mut [0; 8]).await?, 0);
        io::Result::Ok(())
    });
}

fn half_close_and_end(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = UnixStream::pair()?;
        let (ended, shut) = join(other.read(&mut [0; 8]), async { one.shutdown(Shutdown::Write) }).await;
        shut?;
        assert_eq!(ended?, 0, "who waits is told");
        other.write_all(b"answer").await?;
        drop(other);
        let mut buf = [0; 6];
        one.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"answer");
        assert_eq!(one.read_exact(&mut buf).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        io::Result::Ok(())
    });
}

fn a_write_to_a_peer_that_is_gone_is_no_signal(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = UnixStream::pair()?;
        // It waits for room when the peer goes.
        let writer = spawn(async move { one.write_all(&[0; 1 << 20]).await });
        time::sleep(Duration::from_millis(1)).await;
        drop(other);
        let Err(Exit::Failed(error)) = writer.await else { panic!("nobody reads") };
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        io::Result::Ok(())
    });
}

fn peek_and_vectored(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = UnixStream::pair()?;
        assert_eq!(one.write_vectored(&[IoSlice::new(b"me"), IoSlice::new(b"ow")]).await?, 4);
        let mut first = [0; 1];
        assert_eq!((other.peek(&mut first).await?, first), (1, *b"m"));
        let (mut head, mut tail) = ([0; 1], [0; 7]);
        assert_eq!(other.read_vectored(&mut [IoSliceMut::new(&mut head), IoSliceMut::new(&mut tail)]).await?, 4);
        assert_eq!((&head, &tail[..3]), (b"m", &b"eow"[..]));
        io::Result::Ok(())
    });
}

/// A read ends at a descriptor that was sent along; the bytes behind it have come already, and no event will tell of them.
fn what_stands_behind_a_border_is_read(setup: &Setup) {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    setup.run(0, async {
        for _ in 0..5 {
            let (one, other) = UnixStream::pair()?;
            assert!(time::timeout(Duration::from_micros(100), other.read(&mut [0; 8])).await.is_err(), "registered");
            let stdin = io::stdin();
            let fds = [stdin.as_fd()];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            sendmsg(&one, &[IoSlice::new(b"first")], &mut control, SendFlags::empty())?;
            assert_eq!(one.write(b"second").await?, 6);
            let mut buf = [0; 64];
            let mut got = Vec::new();
            while got.len() < 11 {
                let n = other.read(&mut buf).await?;
                got.extend_from_slice(&buf[..n]);
            }
            assert_eq!(got, b"firstsecond");
        }
        io::Result::Ok(())
    });
}

fn standard_streams_come_and_go(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = std_net::UnixStream::pair()?;
        let (one, other) = (UnixStream::from_std(one)?, UnixStream::try_from(other)?);
        let (read, written) = join(one.read(&mut [0; 8]), other.write_all(b"meow")).await;
        written?;
        assert_eq!(read?, 4);
        let other = other.into_std().unwrap();
        other.set_nonblocking(false)?;
        one.write_all(b"purr").await?;
        let mut buf = [0; 4];
        io::Read::read_exact(&mut &other, &mut buf)?;
        assert_eq!(&buf, b"purr");
        io::Result::Ok(())
    });
}

fn r34_a_read_that_times_out_loses_nothing(setup: &Setup) {
    setup.run(1, async {
        let (near, far) = UnixStream::pair()?;
        let writer = call(move || async move {
            for byte in 0..100_u8 {
                far.write_all(&[byte]).await?;
                time::sleep(Duration::from_micros(100)).await;
            }
            io::Result::Ok(())
        })?;
        let mut got = Vec::new();
        loop {
            let mut buf = [0; 8];
            match time::timeout(Duration::from_micros(60), near.read(&mut buf)).await {
                Err(_elapsed) => {}
                Ok(n) => match n? {
                    0 => break,
                    n => got.extend_from_slice(&buf[..n]),
                },
            }
        }
        writer.await?;
        assert_eq!(got, (0..100).collect::<Vec<u8>>());
        io::Result::Ok(())
    });
}

fn r45_streams_and_listeners_move(setup: &Setup) {
    setup.run(2, async {
        let path = Scratch::new();
        let mut listener = UnixListener::bind(&path)?;
        for round in 0..20_u8 {
            assert!(time::timeout(Duration::from_micros(100), listener.accept()).await.is_err());
            let moved = call(move || async move {
                let (stream, _) = listener.accept().await?;
                assert!(time::timeout(Duration::from_micros(100), stream.read(&mut [0; 8])).await.is_err());
                io::Result::Ok((listener, stream))
            })?;
            let client = UnixStream::connect(&path).await?;
            let stream;
            (listener, stream) = moved.await?;
            let (read, written) = join(stream.read(&mut [0; 8]), client.write_all(&[round])).await;
            written?;
            assert_eq!(read?, 1);
        }
        io::Result::Ok(())
    });
}

fn many_clients_of_a_short_queue(setup: &Setup) {
    setup.run(1, async {
        const MANY: usize = 20;
        let FullQueues { unix: listener, path, .. } = full_queue()?;
        let clients = (0..MANY).map(|number| {
            let path = path.as_ref().to_owned();
            spawn(async move {
                let client = UnixStream::connect(&path).await?;
                client.write_all(&[number as u8]).await
            })
        });
        let clients = clients.collect();
        // Nobody accepts yet.
        let full = time::timeout(Duration::from_millis(5), UnixStream::connect(&path)).await;
        assert!(full.is_err() || !cfg!(target_os = "linux"));
        let server = call(move || async move {
            let mut seen = Vec::new();
            while seen.len() < MANY {
                let (stream, _) = listener.accept().await?;
                let mut buf = [0; 1];
                match stream.read(&mut buf).await? {
                    0 => {} // Who gave up.
                    _ => seen.push(buf[0]),
                }
            }
            seen.sort_unstable();
            io::Result::Ok(seen)
        })?;
        for ended in await_all(clients).await {
            ended?;
        }
        assert_eq!(server.await?, (0..MANY as u8).collect::<Vec<_>>());
        io::Result::Ok(())
    });
}

/// With io_uring each wait is an operation, of which a ring takes 256 at a time.
fn more_begin_to_wait_at_once_than_a_ring_takes(setup: &Setup) {
    let main = async {
        let pairs = (0..150).map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>()?;
        let ends: Vec<_> = pairs.into_iter().flat_map(|(one, other)| [Rc::new(one), Rc::new(other)]).collect();
        let read = async |end: Rc<UnixStream>| {
            let mut number = [0; 4];
            end.read_exact(&mut number).await.map(|()| u32::from_ne_bytes(number))
        };
        let reads: Vec<_> = ends.iter().map(|end| spawn(read(end.clone()))).collect();
        time::sleep(Duration::from_millis(1)).await; // All are polled, and the reactor has looked.
        for (number, end) in (0_u32..).zip(&ends) {
            end.write_all(&number.to_ne_bytes()).await?;
        }
        for (number, read) in (0_u32..).zip(reads) {
            assert_eq!(read.await?, number ^ 1, "from the other end");
        }
        io::Result::Ok(())
    };
    setup.builder(0).quanta(10_000).run(main).unwrap(); // It looks once, when all wait.
}

fn datagrams_to_a_path(setup: &Setup) {
    setup.run(0, async {
        let (here, there) = (Scratch::new(), Scratch::new());
        let (one, other) = (UnixDatagram::bind(&here)?, UnixDatagram::bind(&there)?);
        let mut buf = [0; 16];
        let (received, sent) = join(other.recv_from(&mut buf), one.send_to(b"meow", &there)).await;
        assert_eq!(sent?, 4);
        let (n, from) = received?;
        assert_eq!((n, from.as_pathname()), (4, Some(here.as_ref())));
        other.connect(&here)?;
        assert_eq!(other.peer_addr()?.as_pathname(), Some(here.as_ref()));
        other.send(b"answer").await?;
        assert_eq!(one.recv(&mut buf).await?, 6);
        UnixDatagram::unbound()?.send_to(b"", &here).await?;
        let (n, from) = one.recv_from(&mut buf).await?;
        assert!(n == 0 && from.is_unnamed());
        drop(one);
        assert_eq!(other.send(b"gone").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let text = other.send_to(b"gone", &here).await.unwrap_err().to_string();
        assert!(text.contains("nobody listens there") && text.contains("matou-"), "{text}");
        io::Result::Ok(())
    });
}

fn datagrams_between_two_without_a_name(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = UnixDatagram::pair()?;
        assert!(one.local_addr()?.is_unnamed() && other.peer_addr()?.is_unnamed());
        let mut buf = [0; 8];
        for (from, to) in [(&one, &other), (&other, &one)] {
            assert_eq!(from.send(b"meow").await?, 4);
            assert_eq!((to.recv(&mut buf).await?, &buf[..4]), (4, &b"meow"[..]));
        }
        one.shutdown(Shutdown::Write)?;
        assert_eq!(one.send(b"meow").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(other.send(b"meow").await?, 4, "the other way is as it was");
        assert_eq!(one.recv(&mut buf).await?, 4);
        io::Result::Ok(())
    });
}

fn datagrams_hold_their_sender_back(setup: &Setup) {
    setup.run(1, async {
        const MANY: u32 = 2000; // More than a queue holds.
        let there = Scratch::new();
        let receiver = UnixDatagram::bind(&there)?;
        let count = call(move || async move {
            let mut next = [0; 2];
            let mut buf = [0; 8];
            while next != [MANY, MANY] {
                let n = receiver.recv(&mut buf).await?;
                assert_eq!(n, 5);
                let number = u32::from_ne_bytes(buf[1..5].try_into().expect("four bytes"));
                let sender = usize::from(buf[0]);
                assert_eq!(number, next[sender], "in order, and none lost");
                next[sender] += 1;
            }
            io::Result::Ok(())
        })?;
        let datagram = |sender: u8, number: u32| [&[sender][..], &number.to_ne_bytes()].concat();
        let (connected, free) = (UnixDatagram::unbound()?, UnixDatagram::unbound()?);
        connected.connect(&there)?;
        let (one, other) = join(
            async {
                for number in 0..MANY {
                    connected.send(&datagram(0, number)).await?;
                }
                io::Result::Ok(())
            },
            async {
                for number in 0..MANY {
                    free.send_to(&datagram(1, number), &there).await?;
                }
                io::Result::Ok(())
            },
        )
        .await;
        one?;
        other?;
        count.await?;
        io::Result::Ok(())
    });
}

fn a_task_owns_its_stream(setup: &Setup) {
    setup.run(1, async {
        let path = Scratch::new();
        let listener = owned::UnixListener::bind(&path)?;
        assert_eq!(listener.local_addr()?.as_pathname(), Some(path.as_ref()));
        let client = owned::UnixStream::connect(&path).await?;
        let (server, _) = listener.accept().await?;
        let given = server.clone();
        let child = Task::new().give(server.resource()).call(move || async move {
            let mut buf = [0; 4];
            given.read_exact(&mut buf).await?;
            given.write_all(&buf).await?;
            io::Result::Ok(given.close()?)
        })?;
        assert!(server.write(b"x").await.is_err(), "it is the child's");
        client.write_all(b"meow").await?;
        let mut buf = [0; 4];
        client.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"meow");
        child.await?;
        client.shutdown(Shutdown::Both)?;
        client.close()?;
        listener.close()?;
        io::Result::Ok(())
    });
}

/// The system calls such a socket ready, and says of a receive that does not block that it would.
fn a_datagram_socket_that_was_shut_down_gives_an_end(setup: &Setup) {
    setup.run(1, async {
        let mut buf = [0; 8];
        for how in [Shutdown::Read, Shutdown::Both] {
            let (near, _far) = UnixDatagram::pair()?;
            near.shutdown(how)?;
            assert_eq!(near.recv(&mut buf).await?, 0);
            let (received, from) = near.recv_from(&mut buf).await?;
            assert!(received == 0 && from.is_unnamed(), "{from:?}");

            let (near, _far) = UnixDatagram::pair()?;
            let (received, shut) = join(near.recv(&mut buf), async { near.shutdown(how) }).await;
            shut?;
            assert_eq!(received?, 0, "who waits is told");

            // It is shut down while its reactor watches it for nobody.
            let (near, far) = UnixDatagram::pair()?;
            begin(near.recv(&mut buf)).await;
            far.send(b"meow").await?;
            near.shutdown(how)?;
            for _ in 0..200 {
                yield_now().await;
            }
            assert_eq!(near.recv(&mut buf).await?, 4, "what came before is received");
            assert_eq!(near.recv(&mut buf).await?, 0);
            assert_eq!(near.recv(&mut buf).await?, 0);
            let there = call(move || async move { near.recv(&mut [0; 8]).await })?;
            assert_eq!(there.await?, 0);
        }
        io::Result::Ok(())
    });
}

fn a_listener_that_was_shut_down_accepts_no_more(setup: &Setup) {
    setup.run(0, async {
        let shut_down = |listener: &UnixListener| rustix::net::shutdown(listener, rustix::net::Shutdown::Read);
        let path = Scratch::new();
        let listener = UnixListener::bind(&path)?;
        let _queued = UnixStream::connect(&path).await?;
        shut_down(&listener)?;
        listener.accept().await?;
        for _ in 0..2 {
            assert_eq!(listener.accept().await.unwrap_err().kind(), ErrorKind::InvalidInput);
        }

        let path = Scratch::new();
        let listener = UnixListener::bind(&path)?;
        let (accepted, shut) = join(listener.accept(), async { shut_down(&listener) }).await;
        shut?;
        assert_eq!(accepted.unwrap_err().kind(), ErrorKind::InvalidInput, "who waits is told");

        // It is shut down while its reactor watches it for nobody.
        let path = Scratch::new();
        let listener = UnixListener::bind(&path)?;
        begin(listener.accept()).await;
        shut_down(&listener)?;
        for _ in 0..200 {
            yield_now().await;
        }
        assert_eq!(listener.accept().await.unwrap_err().kind(), ErrorKind::InvalidInput);
        io::Result::Ok(())
    });
}

/// The system tells nobody of it.
fn shutdown_ends_a_write_under_way(setup: &Setup) {
    setup.run(0, async {
        let large = vec![0; 1 << 22];
        for how in [Shutdown::Write, Shutdown::Both] {
            let (near, _far) = UnixStream::pair()?;
            let (written, shut) = join(near.write_all(&large), async { near.shutdown(how) }).await;
            shut?;
            assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe, "who waits is told");
            assert_eq!(near.write(b"meow").await.unwrap_err().kind(), ErrorKind::BrokenPipe);

            // The last write found no room, and nobody waits.
            let (near, _far) = UnixStream::pair()?;
            begin(near.write_all(&large)).await;
            near.shutdown(how)?;
            assert_eq!(near.write(b"meow").await.unwrap_err().kind(), ErrorKind::BrokenPipe);

            let (near, _far) = UnixStream::pair()?;
            let near = owned::UnixStream::new(near)?;
            let (written, shut) = join(near.write_all(&large), async { near.shutdown(how) }).await;
            shut?;
            assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
            near.close()?;

            let (near, _far) = UnixDatagram::pair()?;
            let sends = async { while near.send(&[0; 1000]).await.is_ok() {} };
            let ends = async {
                for _ in 0..1000 {
                    yield_now().await; // Until there is no room.
                }
                near.shutdown(how)
            };
            let ((), shut) = join(sends, ends).await;
            shut?;
            assert_eq!(near.send(b"meow").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        }
        io::Result::Ok(())
    });
}

/// The system says 0 of a process that it does not show.
#[test]
#[cfg(target_os = "linux")]
fn an_unconnected_socket_has_no_peer_to_tell_of() {
    use rustix::net::{AddressFamily, SocketType, socket};
    let unconnected = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let stream = UnixStream::from_std(std_net::UnixStream::from(unconnected)).unwrap();
    assert_eq!(stream.peer_cred().unwrap().pid, None);
}

#[test]
fn a_path_that_exists_is_not_taken_over() {
    let path = Scratch::new();
    let listener = UnixListener::bind(&path).unwrap();
    for _ in 0..2 {
        let error = UnixListener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let text = error.to_string();
        for words in [&*path.as_ref().to_string_lossy(), "another server", "left its socket file behind", "removed"] {
            assert!(text.contains(words), "{text}");
        }
        assert!(UnixDatagram::bind(&path).is_err());
    }
    drop(listener);
    assert!(UnixListener::bind(&path).is_err(), "left behind");
    std::fs::remove_file(&path).unwrap();
    UnixListener::bind(&path).unwrap();
}

#[test]
fn paths_that_cannot_be_bound() {
    let long = std::env::temp_dir().join("x".repeat(120));
    let error = UnixListener::bind(&long).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let text = error.to_string();
    assert!(text.contains("are too many") && text.contains("xxx") && text.contains(&long.as_os_str().len().to_string()), "{text}");
    let error = UnixListener::bind("a\0b").unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.to_string().contains("null"), "{error}");
    let error = UnixListener::bind("/nowhere/at/all").unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.to_string().contains("/nowhere/at/all: its folder"), "{error}");
}
