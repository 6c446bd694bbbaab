//! Streams behind the traits of `futures-io`: no byte lost, in order, whoever polls, and whatever else is done with the stream.

#[macro_use]
mod support;

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::poll_immediate;
use futures_util::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy};
use matou_unix::net::UnixStream;
use matou_unix::{Async, FuturesIo, OwnershipError, call, owned, spawn, time, yield_now};
use support::{Setup, any, echo, join, listen, pair, pattern};

everywhere! {
    both_halves_at_once
    unix_streams_and_pipes
    vectored
    reads_of_changing_size
    a_read_that_waits_is_given_up_with_nothing_lost
    a_read_that_waits_outlives_its_poll
    beside_the_stream_s_own_methods
    who_polls_last_is_woken
    a_write_that_waits_is_given_up
    on_another_domain
    close_ends_one_direction
    r27_an_owned_stream_is_checked
    r36_what_is_always_ready_leaves_the_others_their_turn
}

type Stream = FuturesIo<matou_unix::net::TcpStream>;

async fn wrapped() -> io::Result<(Stream, Stream)> {
    let (one, other) = pair().await?;
    Ok((FuturesIo::new(one), FuturesIo::new(other)))
}

/// Begins a read, which finds nothing.
async fn begin_to_read(stream: &mut (impl AsyncRead + Unpin), buf: &mut [u8]) {
    assert!(poll_immediate(stream.read(buf)).await.is_none(), "nothing has been sent");
}

fn both_halves_at_once(setup: &Setup) {
    const MANY: usize = 3_000_000;
    setup.run(0, async {
        let (one, other) = wrapped().await?;
        let far = spawn(async move {
            let (reader, mut writer) = other.split();
            copy(reader, &mut writer).await?;
            writer.close().await
        });
        let (mut reader, mut writer) = one.split();
        let sender = spawn(async move {
            writer.write_all(&pattern(MANY)).await?;
            writer.close().await
        });
        let mut back = Vec::new();
        reader.read_to_end(&mut back).await?;
        assert!(back == pattern(MANY));
        sender.await?;
        far.await?;
        io::Result::Ok(())
    });
}

fn unix_streams_and_pipes(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = UnixStream::pair()?;
        let (reader, writer) = io::pipe()?;
        let (mut near, reader, mut writer) =
            (FuturesIo::new(near), FuturesIo::new(Async::new(reader)?), FuturesIo::new(Async::new(writer)?));
        // A line goes through the pipe, then through the socket.
        let middle = spawn(async move {
            let mut lines = BufReader::new(reader).lines();
            let mut far = FuturesIo::new(far);
            while let Some(line) = futures_util::StreamExt::next(&mut lines).await {
                far.write_all(line?.to_uppercase().as_bytes()).await?;
            }
            far.close().await
        });
        for part in ["me", "ow\npu", "rr", "\n"] {
            writer.write_all(part.as_bytes()).await?;
            writer.flush().await?;
            yield_now().await;
        }
        writer.close().await?; // Says nothing to a pipe:
        writer.write_all(b"hiss").await?;
        drop(writer);
        let mut all = String::new();
        near.read_to_string(&mut all).await?;
        assert_eq!(all, "MEOWPURRHISS");
        middle.await?;
        io::Result::Ok(())
    });
}

fn vectored(setup: &Setup) {
    setup.run(0, async {
        let (mut one, mut other) = wrapped().await?;
        let (read_end, write_end) = io::pipe()?;
        let (mut read_end, mut write_end) = (FuturesIo::new(Async::new(read_end)?), FuturesIo::new(Async::new(write_end)?));
        assert_eq!(exchange(&mut one, &mut other).await?, *b"meowpurr");
        assert_eq!(exchange(&mut write_end, &mut read_end).await?, *b"meowpurr");
        io::Result::Ok(())
    });

    async fn exchange(to: &mut (impl AsyncWrite + Unpin), from: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; 8]> {
        let mut all = [0; 8];
        let (left, right) = all.split_at_mut(3);
        let parts = [IoSlice::new(b"meow"), IoSlice::new(b"purr")];
        let parts_read = &mut [IoSliceMut::new(left), IoSliceMut::new(right)];
        // It waits before there is something.
        let (read, written) = join(from.read_vectored(parts_read), to.write_vectored(&parts)).await;
        assert_eq!((read?, written?), (8, 8));
        Ok(all)
    }
}

fn reads_of_changing_size(setup: &Setup) {
    setup.run(0, async {
        let (mut one, other) = wrapped().await?;
        let sent = pattern(20_000);
        let other = other.into_inner();
        let mut back = Vec::new();
        for (turn, chunk) in sent.chunks(500).enumerate() {
            // The wait begins with one buffer, and is polled to its end with others.
            begin_to_read(&mut one, &mut vec![0; 1 + turn * 97]).await;
            other.write_all(chunk).await?;
            let expected = back.len() + chunk.len();
            while back.len() < expected {
                let mut buf = vec![0; 1 + (turn * 31) % 300];
                let read = one.read(&mut buf).await?;
                assert_ne!(read, 0);
                back.extend_from_slice(&buf[..read]);
            }
        }
        assert!(back == sent);
        io::Result::Ok(())
    });
}

fn a_read_that_waits_is_given_up_with_nothing_lost(setup: &Setup) {
    setup.run(0, async {
        for round in 0..20 {
            let (mut one, other) = wrapped().await?;
            let other = other.into_inner();
            // Regular reads first: with io_uring the kernel repeats the receive.
            for _ in 0..round {
                let mut buf = [0; 64];
                let (read, written) = join(one.read(&mut buf), other.write_all(b"meow")).await;
                written?;
                assert_eq!(&buf[..read?], b"meow");
            }
            begin_to_read(&mut one, &mut [0; 64]).await;
            other.write_all(b"purr").await?;
            if round % 2 == 0 {
                yield_now().await;
            }
            let stream = one.into_inner();
            let mut buf = [0; 64];
            let read = stream.read(&mut buf).await?;
            assert_eq!(&buf[..read], b"purr");
        }
        io::Result::Ok(())
    });
}

fn a_read_that_waits_outlives_its_poll(setup: &Setup) {
    setup.run(0, async {
        let (mut one, other) = wrapped().await?;
        let other = other.into_inner();
        begin_to_read(&mut one, &mut [0; 64]).await;
        other.write_all(b"meow").await?;
        // Much later, and in the middle of another wait.
        time::sleep(Duration::from_millis(5)).await;
        let mut buf = [0; 2];
        one.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"me");
        other.shutdown(Shutdown::Write)?;
        let mut rest = Vec::new();
        one.read_to_end(&mut rest).await?;
        assert_eq!(rest, b"ow");
        io::Result::Ok(())
    });
}

fn beside_the_stream_s_own_methods(setup: &Setup) {
    setup.run(0, async {
        let (mut one, other) = wrapped().await?;
        let other = other.into_inner();
        begin_to_read(&mut one, &mut [0; 64]).await;
        other.write_all(b"meow").await?;
        let mut buf = [0; 4];
        one.get_ref().read_exact(&mut buf).await?;
        assert_eq!(&buf, b"meow");
        // Whoever waits in the wrapper finds that it was for another, and waits on.
        begin_to_read(&mut one, &mut [0; 64]).await;
        let (read, written) = join(one.read(&mut buf), other.write_all(b"purr")).await;
        written?;
        assert_eq!((read?, &buf), (4, b"purr"));
        io::Result::Ok(())
    });
}

fn who_polls_last_is_woken(setup: &Setup) {
    setup.run(0, async {
        let (mut one, other) = wrapped().await?;
        let other = other.into_inner();
        begin_to_read(&mut one, &mut [0; 64]).await;
        // It is a child's now, which is the one to be woken; this task waits for the child, and for nothing else.
        let child = spawn(async move {
            let mut buf = [0; 64];
            let read = one.read(&mut buf).await?;
            io::Result::Ok(buf[..read].to_vec())
        });
        yield_now().await;
        other.write_all(b"meow").await?;
        assert_eq!(child.await?, b"meow");
        io::Result::Ok(())
    });
}

fn a_write_that_waits_is_given_up(setup: &Setup) {
    setup.run(0, async {
        let (mut one, other) = wrapped().await?;
        let (part, mut written) = (pattern(100_000), Vec::new());
        while let Some(taken) = poll_immediate(one.write(&part)).await {
            written.extend_from_slice(&part[..taken?]);
        }
        // What waited has written nothing, and another buffer takes its place.
        let other = other.into_inner();
        let mut back = vec![0; written.len() + 4];
        let (read, last) = join(other.read_exact(&mut back), one.write_all(b"meow")).await;
        read?;
        last?;
        written.extend_from_slice(b"meow");
        assert!(back == written);
        drop(one);
        assert_eq!(other.read(&mut [0]).await?, 0);
        io::Result::Ok(())
    });
}

fn on_another_domain(setup: &Setup) {
    setup.run(1, async {
        let (listener, addr) = listen()?;
        let server = call(move || async move {
            let (stream, _) = listener.accept().await?;
            let (reader, mut writer) = FuturesIo::new(stream).split();
            copy(reader, &mut writer).await?;
            io::Result::Ok(())
        })?;
        let mut client = FuturesIo::new(matou_unix::net::TcpStream::connect(addr).await?);
        client.write_all(b"meow").await?;
        let mut buf = [0; 4];
        client.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"meow");
        // A read that waits is given up, and the stream goes where it is wanted.
        begin_to_read(&mut client, &mut [0; 4]).await;
        let client = client.into_inner();
        let moved = call(move || async move {
            let mut client = FuturesIo::new(client);
            client.write_all(b"purr").await?;
            let mut buf = [0; 4];
            client.read_exact(&mut buf).await?;
            io::Result::Ok(buf)
        })?;
        assert_eq!(moved.await?, *b"purr");
        server.await?;
        io::Result::Ok(())
    });
}

fn close_ends_one_direction(setup: &Setup) {
    setup.run(0, async {
        let (mut one, other) = wrapped().await?;
        let echo = spawn(echo(other.into_inner()));
        one.write_all(b"meow").await?;
        one.close().await?;
        one.close().await?;
        assert_eq!(one.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let mut back = Vec::new();
        one.read_to_end(&mut back).await?;
        assert_eq!(back, b"meow");
        echo.await?;
        one.close().await?; // Whatever has become of the connection.
        io::Result::Ok(())
    });
}

fn r27_an_owned_stream_is_checked(setup: &Setup) {
    setup.run(0, async {
        let listener = owned::TcpListener::bind(any())?;
        let near = owned::TcpStream::connect(listener.local_addr()?).await?;
        let (far, _) = listener.accept().await?;
        let mut stream = FuturesIo::new(near.clone());
        stream.write_all(b"meow").await?;
        let mut buf = [0; 4];
        far.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"meow");
        begin_to_read(&mut stream, &mut [0; 4]).await;
        let child = spawn(async move {
            let refused = [stream.read(&mut [0; 4]).await.unwrap_err(), stream.write(b"mine?").await.unwrap_err()];
            for error in refused {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<OwnershipError>());
                assert!(matches!(cause, Some(OwnershipError::NotOwner(_))), "{error}");
            }
            assert!(stream.close().await.is_err());
        });
        // The read that waits looks at who owns the stream when it looks at the stream.
        far.write_all(b"purr").await?;
        child.await.unwrap();
        near.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"purr");
        near.close()?;
        far.close()?;
        listener.close()?;
        io::Result::Ok(())
    });
}

fn r36_what_is_always_ready_leaves_the_others_their_turn(setup: &Setup) {
    setup.run(0, async {
        let (mut one, other) = wrapped().await?;
        other.get_ref().write_all(&pattern(50_000)).await?;
        let other_s_turn = spawn(async { 7 });
        let mut reads = 0;
        while !other_s_turn.is_ended() {
            one.read_exact(&mut [0]).await?;
            reads += 1;
        }
        assert!((2..50_000).contains(&reads), "{reads} reads before anybody else's turn");
        assert_eq!(other_s_turn.await.unwrap(), 7);
        io::Result::Ok(())
    });
}

#[test]
fn outside_a_run_it_is_an_error() {
    let (one, _other) = UnixStream::pair().unwrap();
    let mut one = FuturesIo::new(one);
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(read) = Pin::new(&mut one).poll_read(&mut cx, &mut [0; 4]) else { panic!("there is nobody to wake it") };
    assert_eq!(read.unwrap_err().to_string(), "a descriptor can be waited for only inside `matou_unix::run`, by a task");
    assert!(format!("{one:?}").starts_with("FuturesIo(UnixStream"));
}

/// What was begun in one run is nobody's in the next.
#[test]
fn a_wrapper_may_be_dropped_after_its_run() {
    let (one, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
    let kept = matou_unix::run(async move {
        let mut one = FuturesIo::new(UnixStream::from_std(one)?);
        begin_to_read(&mut one, &mut [0; 4]).await;
        Ok::<_, io::Error>(matou_unix::Plain(one))
    });
    let one = kept.unwrap().0.into_inner();
    io::Write::write_all(&mut other, b"meow").unwrap();
    let read = matou_unix::run(async move {
        let mut buf = [0; 4];
        FuturesIo::new(one).read_exact(&mut buf).await?;
        Ok::<_, io::Error>(matou_unix::Plain(buf))
    });
    assert_eq!(read.unwrap().0, *b"meow");
}
