//! Rule 45: a socket goes from domain to domain, and loses nothing.

#[macro_use]
mod support;

use std::io;
use std::time::Duration;

use matou_unix::net::{TcpListener, TcpStream, UdpSocket};
use matou_unix::{Care, DomainId, Orphans, Task, call, domain, spawn, time};
use support::{Setup, any, echo, join, listen, pair, pattern, pattern_from};

everywhere! {
    r45_a_stream_is_read_on_domain_after_domain
    r45_a_stream_is_written_on_domain_after_domain
    r45_a_stream_that_waits_moves_in_both_directions
    r45_a_listener_moves
    r45_a_datagram_socket_moves
    r45_a_stream_dropped_elsewhere_is_closed
    r45_a_stream_moves_while_its_old_domain_is_busy
    r45_many_streams_change_places
    the_server_of_the_tutorial
}

/// Reads until something came, a little at a time.
async fn read_some(stream: &TcpStream, into: &mut Vec<u8>) -> io::Result<usize> {
    let mut buf = [0; 333];
    let n = stream.read(&mut buf).await?;
    into.extend_from_slice(&buf[..n]);
    Ok(n)
}

fn r45_a_stream_is_read_on_domain_after_domain(setup: &Setup) {
    setup.run(3, async {
        const MANY: usize = 300_000;
        let (mut near, far) = pair().await?;
        let writer = Task::new().pin(DomainId::new(3)).call(move || async move { far.write_all(&pattern(MANY)).await })?;
        let mut got = Vec::new();
        for round in 0.. {
            // Two pieces here, three on the next domain, and so on.
            if round % 3 == 0 {
                if read_some(&near, &mut got).await? == 0 {
                    break;
                }
                read_some(&near, &mut got).await?;
            } else {
                let (stream, mut sofar) = (near, got);
                let moved = Task::new().pin(DomainId::new(round % 3)).call(move || async move {
                    for _ in 0..3 {
                        read_some(&stream, &mut sofar).await?;
                    }
                    io::Result::Ok((stream, sofar))
                })?;
                (near, got) = moved.await?;
            }
        }
        writer.await?;
        assert!(got == pattern(MANY), "{} of {MANY} bytes", got.len());
        io::Result::Ok(())
    });
}

fn r45_a_stream_is_written_on_domain_after_domain(setup: &Setup) {
    setup.run(2, async {
        const ROUNDS: usize = 40;
        const PIECE: usize = 100_000; // Large enough to have to wait for the reader.
        let (mut near, far) = pair().await?;
        let reader = spawn(async move {
            let mut got = vec![0; ROUNDS * PIECE];
            far.read_exact(&mut got).await?;
            io::Result::Ok(got)
        });
        for round in 0..ROUNDS {
            if round % 3 == 0 {
                near.write_all(&pattern_from(round * PIECE, PIECE)).await?;
            } else {
                let stream = near;
                let moved = Task::new().pin(DomainId::new(round % 3)).call(move || async move {
                    stream.write_all(&pattern_from(round * PIECE, PIECE)).await?;
                    io::Result::Ok(stream)
                })?;
                near = moved.await?;
            }
        }
        assert!(reader.await? == pattern(ROUNDS * PIECE));
        io::Result::Ok(())
    });
}

fn r45_a_stream_that_waits_moves_in_both_directions(setup: &Setup) {
    setup.run(1, async {
        let (mut near, far) = pair().await?;
        for round in 0..50_u8 {
            // It waits here, in vain, and is registered here.
            assert!(time::timeout(Duration::from_micros(100), near.read(&mut [0; 8])).await.is_err());
            let stream = near;
            let moved = call(move || async move {
                let mut buf = [0; 2];
                stream.read_exact(&mut buf).await?;
                // In vain there, too: it is registered there when it comes back.
                assert!(time::timeout(Duration::from_micros(100), stream.read(&mut [0; 8])).await.is_err());
                io::Result::Ok((stream, buf))
            })?;
            far.write_all(&[round, 1]).await?;
            let (stream, buf) = moved.await?;
            assert_eq!(buf, [round, 1]);
            far.write_all(&[round, 2]).await?;
            let mut buf = [0; 2];
            stream.read_exact(&mut buf).await?;
            assert_eq!(buf, [round, 2]);
            near = stream;
        }
        io::Result::Ok(())
    });
}

fn r45_a_listener_moves(setup: &Setup) {
    setup.run(2, async {
        let (mut listener, addr) = listen()?;
        for _ in 0..20 {
            assert!(time::timeout(Duration::from_micros(100), listener.accept()).await.is_err());
            let moved = call(move || async move {
                listener.accept().await?;
                io::Result::Ok(listener)
            })?;
            let client = TcpStream::connect(addr).await?;
            listener = moved.await?;
            drop(client);
        }
        io::Result::Ok(())
    });
}

fn r45_a_datagram_socket_moves(setup: &Setup) {
    setup.run(1, async {
        let (mut near, far) = (UdpSocket::bind(any())?, UdpSocket::bind(any())?);
        let addr = near.local_addr()?;
        for round in 0..20_u8 {
            assert!(time::timeout(Duration::from_micros(100), near.recv(&mut [0; 8])).await.is_err());
            let moved = call(move || async move {
                let mut buf = [0; 8];
                let n = near.recv(&mut buf).await?;
                io::Result::Ok((near, buf[..n].to_vec()))
            })?;
            far.send_to(&[round], addr).await?;
            let (socket, got) = moved.await?;
            assert_eq!(got, [round]);
            near = socket;
        }
        io::Result::Ok(())
    });
}

fn r45_a_stream_dropped_elsewhere_is_closed(setup: &Setup) {
    setup.run(1, async {
        let (near, far) = pair().await?;
        assert!(time::timeout(Duration::from_micros(100), near.read(&mut [0; 8])).await.is_err());
        let drops = call(move || async move {
            drop(near);
            io::Result::Ok(())
        })?;
        assert_eq!(far.read(&mut [0; 8]).await?, 0);
        drops.await?;

        // And one that is dropped with a closure that never runs.
        let (near, far) = pair().await?;
        assert!(time::timeout(Duration::from_micros(100), near.read(&mut [0; 8])).await.is_err());
        call(move || async move { near.read(&mut [0; 8]).await })?.cancel().await;
        assert_eq!(far.read(&mut [0; 8]).await?, 0);
        io::Result::Ok(())
    });
}

fn r45_a_stream_moves_while_its_old_domain_is_busy(setup: &Setup) {
    setup.run(1, async {
        let (near, far) = pair().await?;
        let echo = spawn(echo(far));
        assert!(time::timeout(Duration::from_micros(100), near.read(&mut [0; 8])).await.is_err());
        let child = call(move || async move {
            for _ in 0..200 {
                near.write_all(b"ping").await?;
                near.read_exact(&mut [0; 4]).await?;
            }
            io::Result::Ok(())
        })?;
        // The old domain goes on registering, waiting and closing sockets, with the same numbers.
        for _ in 0..50 {
            let (one, other) = pair().await?;
            let (read, written) = join(one.read(&mut [0; 8]), other.write_all(b"meow")).await;
            assert_eq!(read?, 4);
            written?;
        }
        child.await?;
        echo.await?;
        io::Result::Ok(())
    });
}

fn r45_many_streams_change_places(setup: &Setup) {
    setup.run(3, async {
        let orphans = Orphans::new();
        for number in 0..30_usize {
            let (mut near, far) = pair().await?;
            orphans.call(move || echo(far))?;
            orphans.call(move || async move {
                for round in 0..15 {
                    let stream = near;
                    let other = domain::all().skip(1).filter(|&id| Some(id) != domain::current()).nth((number + round) % 2);
                    let moved = Task::new().pin(other.unwrap()).call(move || async move {
                        let sent = pattern(number * 31 + round + 1);
                        let mut back = vec![0; sent.len()];
                        stream.write_all(&sent).await?;
                        stream.read_exact(&mut back).await?;
                        assert_eq!(sent, back);
                        io::Result::Ok(stream)
                    })?;
                    near = moved.await?;
                }
                io::Result::Ok(())
            })?;
        }
        while let Some(result) = orphans.next().await {
            result?;
        }
        io::Result::Ok(())
    });
}

async fn server(listener: TcpListener) -> io::Result<()> {
    let orphans = Orphans::new();
    loop {
        while let Care::Ready(promise) = orphans.care() {
            promise.await?;
        }
        let (stream, _peer) = listener.accept().await?;
        orphans.call(move || echo(stream))?;
    }
}

fn the_server_of_the_tutorial(setup: &Setup) {
    setup.run(3, async {
        let (listener, addr) = listen()?;
        let server = spawn(server(listener));
        let clients = matou_unix::parallel(
            move |number: usize| async move {
                let client = TcpStream::connect(addr).await?;
                let sent = pattern(number * 1000 + 1);
                for _ in 0..5 {
                    let mut back = vec![0; sent.len()];
                    let (written, read) = join(client.write_all(&sent), client.read_exact(&mut back)).await;
                    written?;
                    read?;
                    assert!(sent == back);
                }
                io::Result::Ok(())
            },
            0..30,
        );
        for result in clients.await? {
            result?;
        }
        server.cancel().await;
        io::Result::Ok(())
    });
}
