//! TCP streams: what a caller of `std::net` expects, without blocking anybody else.

#[macro_use]
mod support;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use matou_unix::net::{TcpStream, UdpSocket};
use matou_unix::signal::Kind;
use matou_unix::{call, spawn, time, yield_now};
use support::{Setup, any, begin, echo, join, listen, pair, pattern};

everywhere! {
    echo_of_many_sizes
    echo_of_many_connections
    echo_across_domains
    half_close
    a_peer_that_closes_behind_its_last_bytes
    a_reset_is_an_error_for_reader_and_writer
    a_write_to_a_peer_that_is_gone_is_no_signal
    a_peer_that_never_reads_suspends_the_writer
    two_readers_of_one_stream
    reader_and_writer_of_one_stream
    r02_reads_inside_a_join
    peek_takes_nothing
    vectored
    more_buffers_than_the_system_takes_at_once
    read_exact_tells_an_early_end
    an_empty_buffer
    r34_a_read_that_times_out_loses_nothing
    reads_that_are_polled_once_each_find_what_comes
    accepts_that_are_polled_once_each_find_who_comes
    r35_a_busy_domain_looks_at_its_sockets
    r36_a_socket_always_ready_leaves_the_others_their_turn
    shutdown_ends_a_read_under_way
}

fn echo_of_many_sizes(setup: &Setup) {
    setup.run(0, async {
        let (client, server) = pair().await?;
        let echo = spawn(echo(server));
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
        io::Result::Ok(())
    });
}

fn echo_of_many_connections(setup: &Setup) {
    setup.run(1, async {
        let (listener, addr) = listen()?;
        let server = call(move || async move {
            let mut echoes = Vec::new();
            for _ in 0..100 {
                echoes.push(spawn(echo(listener.accept().await?.0)));
            }
            for result in matou_unix::await_all(echoes).await {
                result?;
            }
            io::Result::Ok(())
        })?;
        let clients = (0..100_usize).map(|number| {
            spawn(async move {
                let client = TcpStream::connect(addr).await?;
                let sent = pattern(number * 13 + 1);
                for _ in 0..10 {
                    client.write_all(&sent).await?;
                    let mut back = vec![0; sent.len()];
                    client.read_exact(&mut back).await?;
                    assert_eq!(sent, back);
                }
                io::Result::Ok(())
            })
        });
        for result in matou_unix::await_all(clients.collect()).await {
            result?;
        }
        server.await?;
        io::Result::Ok(())
    });
}

fn echo_across_domains(setup: &Setup) {
    setup.run(3, async {
        let (listener, addr) = listen()?;
        let clients = call(move || async move {
            for number in 0..40 {
                let client = TcpStream::connect(addr).await?;
                let sent = pattern(number * 100 + 1);
                client.write_all(&sent).await?;
                client.shutdown(Shutdown::Write)?;
                let mut back = vec![0; sent.len()];
                client.read_exact(&mut back).await?;
                assert_eq!(sent, back);
                assert_eq!(client.read(&mut back).await?, 0);
            }
            io::Result::Ok(())
        })?;
        let mut echoes = Vec::new();
        for _ in 0..40 {
            let (stream, _) = listener.accept().await?;
            echoes.push(call(move || echo(stream))?);
        }
        for result in matou_unix::await_all(echoes).await {
            result?;
        }
        clients.await?;
        io::Result::Ok(())
    });
}

fn half_close(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        one.write_all(b"question").await?;
        one.shutdown(Shutdown::Write)?;
        let mut buf = [0; 16];
        other.read_exact(&mut buf[..8]).await?;
        assert_eq!(other.read(&mut buf).await?, 0, "the end of one direction");
        other.write_all(b"answer").await?;
        drop(other);
        one.read_exact(&mut buf[..6]).await?;
        assert_eq!(&buf[..6], b"answer");
        assert_eq!(one.read(&mut buf).await?, 0);
        io::Result::Ok(())
    });
}

fn a_peer_that_closes_behind_its_last_bytes(setup: &Setup) {
    setup.run(1, async {
        for round in 0..50 {
            let (one, other) = pair().await?;
            let reader = spawn(async move {
                let (mut sum, mut buf) = (0, [0; 64]);
                loop {
                    match one.read(&mut buf).await? {
                        0 => return io::Result::Ok(sum),
                        n => sum += n,
                    }
                }
            });
            // On another domain, so that data and end arrive whenever they like.
            let writer = call(move || async move {
                for _ in 0..=round % 3 {
                    other.write_all(&[1; 10]).await?;
                }
                io::Result::Ok(())
            })?;
            writer.await?;
            assert_eq!(reader.await?, (round % 3 + 1) * 10);
        }
        io::Result::Ok(())
    });
}

fn a_reset_is_an_error_for_reader_and_writer(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let one = Rc::new(one);
        let reader = spawn({
            let one = one.clone();
            async move { one.read(&mut [0; 8]).await.unwrap_err().kind() as i32 }
        });
        let writer = spawn({
            let one = one.clone();
            async move {
                loop {
                    if let Err(error) = one.write(&[0; 1 << 16]).await {
                        return error.kind() as i32;
                    }
                }
            }
        });
        for _ in 0..20 {
            yield_now().await; // Until both wait.
        }
        other.set_linger(Some(Duration::ZERO))?;
        assert_eq!(other.linger()?, Some(Duration::ZERO));
        drop(other);
        let kinds = [reader.await.map_err(io::Error::other)?, writer.await.map_err(io::Error::other)?];
        // One of them is told of the reset; the other finds the connection gone.
        assert!(kinds.contains(&(io::ErrorKind::ConnectionReset as i32)), "{kinds:?}");
        io::Result::Ok(())
    });
}

fn a_write_to_a_peer_that_is_gone_is_no_signal(setup: &Setup) {
    setup.run(0, async {
        // The standard library has `SIGPIPE` ignored, which would hide it.
        let mut pipe_signals = matou_unix::signal::signal(Kind::from_raw(13))?;
        for vectored in [false, true] {
            let (one, other) = pair().await?;
            drop(other);
            let error = loop {
                let text = b"anybody there?";
                let written = if vectored { one.write_vectored(&[io::IoSlice::new(text)]).await } else { one.write(text).await };
                match written {
                    Ok(_) => yield_now().await,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        }
        assert!(time::timeout(Duration::from_millis(2), pipe_signals.recv()).await.is_err(), "SIGPIPE was raised");
        io::Result::Ok(())
    });
}

fn a_peer_that_never_reads_suspends_the_writer(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let sent = Rc::new(Cell::new(0_usize));
        let writer = spawn({
            let sent = sent.clone();
            async move {
                loop {
                    sent.set(sent.get() + one.write(&[7; 1 << 16]).await?);
                }
                #[allow(unreachable_code)]
                io::Result::Ok(())
            }
        });
        // It fills the buffers of both ends, and then it waits.
        let mut before = usize::MAX;
        while before != sent.get() {
            before = sent.get();
            time::sleep(Duration::from_millis(20)).await;
        }
        assert!(before > 0);
        // Cancellation frees it, and what was written arrives.
        writer.cancel().await;
        let (mut received, mut buf) = (0, vec![0; 1 << 16]);
        loop {
            match other.read(&mut buf).await? {
                0 => break,
                n => received += n,
            }
        }
        assert_eq!(received, sent.get(), "what `write` counted is what arrived");
        io::Result::Ok(())
    });
}

fn two_readers_of_one_stream(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let one = Rc::new(one);
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let one = one.clone();
                spawn(async move { one.read(&mut [0; 4]).await })
            })
            .collect();
        for _ in 0..20 {
            yield_now().await;
        }
        other.write_all(b"meow").await?;
        time::sleep(Duration::from_millis(5)).await;
        other.write_all(b"miau").await?;
        for read in matou_unix::await_all(readers).await {
            assert_eq!(read?, 4);
        }
        io::Result::Ok(())
    });
}

fn reader_and_writer_of_one_stream(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let one = Rc::new(one);
        const MANY: usize = 3_000_000;
        let writer = spawn({
            let one = one.clone();
            async move { one.write_all(&pattern(MANY)).await }
        });
        let far = spawn(echo(other));
        let mut back = vec![0; MANY];
        one.read_exact(&mut back).await?;
        assert!(back == pattern(MANY));
        writer.await?;
        one.shutdown(Shutdown::Both)?;
        far.await?;
        io::Result::Ok(())
    });
}

fn r02_reads_inside_a_join(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let (mut left, mut right) = ([0; 4], [0; 4]);
        let writer = spawn(async move {
            time::sleep(Duration::from_millis(5)).await;
            other.write_all(b"meow").await?;
            time::sleep(Duration::from_millis(5)).await;
            other.write_all(b"miau").await
        });
        let (first, second) = join(one.read(&mut left), one.read(&mut right)).await;
        assert_eq!((first?, second?), (4, 4));
        let mut both = [left, right];
        both.sort();
        assert_eq!(both, [*b"meow", *b"miau"]);
        writer.await?;
        io::Result::Ok(())
    });
}

fn peek_takes_nothing(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let mut buf = [0; 8];
        let (peeked, written) = join(one.peek(&mut buf), other.write_all(b"meow")).await;
        written?;
        assert_eq!(&buf[..peeked?], b"meow");
        buf = [0; 8];
        let n = one.read(&mut buf).await?;
        assert_eq!(&buf[..n], b"meow");
        io::Result::Ok(())
    });
}

fn vectored(setup: &Setup) {
    use io::{IoSlice, IoSliceMut};
    setup.run(0, async {
        let (one, other) = pair().await?;
        let (mut left, mut right) = ([0; 3], [0; 8]);
        let mut bufs = [IoSliceMut::new(&mut left), IoSliceMut::new(&mut right)];
        let parts = [IoSlice::new(b"me"), IoSlice::new(b"ow!")];
        let (read, written) = join(one.read_vectored(&mut bufs), other.write_vectored(&parts)).await;
        assert_eq!((read?, written?), (5, 5));
        assert_eq!((&left, &right[..2]), (b"meo", &b"w!"[..]));
        io::Result::Ok(())
    });
}

fn more_buffers_than_the_system_takes_at_once(setup: &Setup) {
    use io::{IoSlice, IoSliceMut};
    setup.run(0, async {
        let (one, other) = pair().await?;
        let sent = pattern(5000);
        begin(one.read(&mut [0])).await; // Registered: all that comes is one event.
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let bufs: Vec<_> = rest.chunks(1).map(IoSlice::new).collect();
            let written = other.write_vectored(&bufs).await?;
            rest = &rest[written..];
        }
        let mut got = vec![0; sent.len()];
        let mut rest = &mut got[..];
        while !rest.is_empty() {
            let mut bufs: Vec<_> = rest.chunks_mut(1).map(IoSliceMut::new).collect();
            let read = one.read_vectored(&mut bufs).await?;
            assert!(read > 0, "it has not ended");
            rest = &mut rest[read..];
        }
        assert!(got == sent);
        // As many empty ones first are no end.
        let bufs: Vec<_> = (0..1100).map(|_| &b""[..]).chain([&b"meow"[..]]).map(IoSlice::new).collect();
        assert_eq!(other.write_vectored(&bufs).await?, 4);
        let mut got = [0; 8];
        let mut empty = [[0_u8; 0]; 1100];
        let mut bufs: Vec<_> = empty.iter_mut().map(|buf| &mut buf[..]).chain([&mut got[..]]).map(IoSliceMut::new).collect();
        assert_eq!(one.read_vectored(&mut bufs).await?, 4);
        assert_eq!(&got[..4], b"meow");
        io::Result::Ok(())
    });
}

fn read_exact_tells_an_early_end(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        other.write_all(b"abc").await?;
        drop(other);
        let error = one.read_exact(&mut [0; 4]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        io::Result::Ok(())
    });
}

fn an_empty_buffer(setup: &Setup) {
    setup.run(0, async {
        let (one, _other) = pair().await?;
        assert_eq!(one.write(&[]).await?, 0);
        one.write_all(&[]).await?;
        one.read_exact(&mut []).await?;
        io::Result::Ok(())
    });
}

/// Polls a future once, as `now_or_never` does, and drops it. What the system is asked about meanwhile, nobody waits for.
async fn once<R>(future: impl Future<Output = R>) -> Poll<R> {
    let mut future = Box::pin(future);
    let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    drop(future);
    yield_now().await;
    polled
}

fn reads_that_are_polled_once_each_find_what_comes(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        let mut buf = [0; 8];
        for round in 0..5 {
            for _ in 0..200 {
                assert!(once(near.read(&mut buf)).await.is_pending());
            }
            far.write_all(b"meow").await?;
            let mut polls = 0;
            let read = loop {
                match once(near.read(&mut buf)).await {
                    Poll::Ready(read) => break read?,
                    Poll::Pending => polls += 1,
                }
                assert!(polls < 10_000, "round {round}: it is never there");
            };
            assert_eq!(&buf[..read], b"meow");
        }
        io::Result::Ok(())
    });
}

fn accepts_that_are_polled_once_each_find_who_comes(setup: &Setup) {
    setup.run(0, async {
        let (listener, address) = listen()?;
        for _ in 0..200 {
            assert!(once(listener.accept()).await.is_pending());
        }
        let _client = TcpStream::connect(address).await?;
        let mut polls = 0;
        while once(listener.accept()).await.is_pending() {
            polls += 1;
            assert!(polls < 10_000, "nobody is ever there");
        }
        io::Result::Ok(())
    });
}

fn r34_a_read_that_times_out_loses_nothing(setup: &Setup) {
    setup.run(1, async {
        let (one, other) = pair().await?;
        const MANY: usize = 2000;
        let writer = call(move || async move {
            for chunk in pattern(MANY).chunks(7) {
                other.write_all(chunk).await?;
                if chunk[0] % 8 == 0 {
                    time::sleep(Duration::from_micros(200)).await;
                }
            }
            io::Result::Ok(())
        })?;
        let (mut got, mut cut) = (Vec::new(), 0);
        loop {
            let mut buf = [0; 16];
            match time::timeout(Duration::from_micros(50), one.read(&mut buf)).await {
                Ok(Ok(0)) => break,
                Ok(read) => got.extend_from_slice(&buf[..read?]),
                Err(_) => cut += 1,
            }
        }
        writer.await?;
        assert!(got == pattern(MANY), "{} bytes, {cut} reads were cut short", got.len());
        io::Result::Ok(())
    });
}

fn r35_a_busy_domain_looks_at_its_sockets(setup: &Setup) {
    setup.run(0, async {
        let (client, server) = pair().await?;
        let echo = spawn(echo(server));
        // Always runnable, for as long as the run lasts.
        let busy = spawn(async {
            loop {
                yield_now().await;
            }
            #[allow(unreachable_code)]
            ()
        });
        for _ in 0..100 {
            client.write_all(b"ping").await?;
            client.read_exact(&mut [0; 4]).await?;
        }
        busy.cancel().await;
        drop(client);
        echo.await?;
        io::Result::Ok(())
    });
}

fn r36_a_socket_always_ready_leaves_the_others_their_turn(setup: &Setup) {
    setup.run(0, async {
        // A datagram socket that sends to itself never has to wait.
        let socket = UdpSocket::bind(any())?;
        socket.connect(socket.local_addr()?)?;
        let rounds = Rc::new(Cell::new(0_u64));
        let busy = spawn({
            let rounds = rounds.clone();
            async move {
                let mut buf = [0; 8];
                loop {
                    socket.send(b"x").await?;
                    socket.recv(&mut buf).await?;
                    rounds.set(rounds.get() + 1);
                }
                #[allow(unreachable_code)]
                io::Result::Ok(())
            }
        });
        for _ in 0..10 {
            let before = rounds.get();
            yield_now().await;
            assert!(rounds.get() - before <= 64, "a turn is at most the quanta");
        }
        time::sleep(Duration::from_millis(2)).await; // Timers too.
        while rounds.get() == 0 {
            time::sleep(Duration::from_millis(2)).await; // The system has not brought the first one yet.
        }
        busy.cancel().await;
        io::Result::Ok(())
    });
}

fn shutdown_ends_a_read_under_way(setup: &Setup) {
    setup.run(0, async {
        let (one, _other) = pair().await?;
        let one = Rc::new(one);
        let reader = spawn({
            let one = one.clone();
            async move { one.read(&mut [0; 8]).await }
        });
        for _ in 0..20 {
            yield_now().await;
        }
        one.shutdown(Shutdown::Read)?;
        assert_eq!(reader.await?, 0);
        io::Result::Ok(())
    });
}
