//! Receiving into buffers that the domain lends.

#[macro_use]
mod support;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use matou_unix::net::{Received, TcpStream, UnixStream};
use matou_unix::{Builder, DomainId, Task, call, owned, spawn, time, yield_now};
use support::{Setup, join, listen, pair, pattern};

everywhere! {
    echo_of_many_sizes
    over_unix_sockets
    of_a_socket_that_a_task_owns
    no_more_at_once_than_a_buffer_holds
    without_memory_for_a_buffer_no_byte_is_taken
    what_is_lent_is_seen_as_its_bytes
    after_its_result_a_call_is_not_polled
    two_receivers_of_one_stream
    several_are_held_at_a_time
    r34_a_receive_dropped_early_loses_nothing
    r36_a_stream_always_ready_leaves_the_others_their_turn
    r45_the_stream_goes_and_what_was_received_stays
    r46_what_was_received_outlives_its_domain
    outside_a_run_nothing_is_lent
}

/// Sends back what comes, to the end of the stream, and tells the length of the longest piece.
async fn echo(stream: TcpStream) -> io::Result<usize> {
    let mut longest = 0;
    loop {
        let received = stream.receive().await?;
        if received.is_empty() {
            return Ok(longest);
        }
        longest = longest.max(received.len());
        stream.write_all(&received).await?;
    }
}

fn echo_of_many_sizes(setup: &Setup) {
    setup.run(1, async {
        let (client, server) = pair().await?;
        let echo = call(move || echo(server))?;
        for size in [1, 2, 255, 16_383, 16_384, 16_385, 65_536, 1_000_003] {
            let sent = pattern(size);
            let mut back = vec![0; size];
            let (written, read) = join(client.write_all(&sent), client.read_exact(&mut back)).await;
            written?;
            read?;
            assert!(sent == back, "{size} bytes came back different");
        }
        drop(client);
        let longest = echo.await?;
        assert!(longest <= 16 << 10, "{longest} bytes in one buffer");
        io::Result::Ok(())
    });
}

fn over_unix_sockets(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = UnixStream::pair()?;
        let (received, written) = join(one.receive(), other.write_all(b"meow")).await;
        written?;
        assert_eq!(*received?, *b"meow");
        drop(other);
        assert!(one.receive().await?.is_empty());
        io::Result::Ok(())
    });
}

fn of_a_socket_that_a_task_owns(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let one = owned::TcpStream::new(one)?;
        other.write_all(b"meow").await?;
        let received = one.receive().await?;
        let child = Task::new().give(one.resource()).spawn({
            let one = one.clone();
            async move {
                let received = one.receive().await?;
                one.close()?;
                io::Result::Ok(received)
            }
        })?;
        assert!(one.receive().await.is_err(), "it is the child's");
        assert_eq!(*received, *b"meow", "and this is not");
        other.write_all(b"miau").await?;
        assert_eq!(*child.await?, *b"miau");
        io::Result::Ok(())
    });
}

fn no_more_at_once_than_a_buffer_holds(setup: &Setup) {
    let main = async {
        let (one, other) = pair().await?;
        one.write_all(&pattern(10)).await?;
        let mut got = Vec::new();
        while got.len() < 10 {
            let received = other.receive().await?;
            assert!((1..=3).contains(&received.len()), "{received:?}");
            got.extend_from_slice(&received);
        }
        assert_eq!(got, pattern(10));
        io::Result::Ok(())
    };
    setup.builder(0).lent_buffer(3).run(main).unwrap();
}

fn without_memory_for_a_buffer_no_byte_is_taken(setup: &Setup) {
    let main = async {
        let (one, other) = pair().await?;
        one.write_all(b"meow").await?;
        assert_eq!(other.receive().await.unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        let mut buf = [0; 4];
        other.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"meow");
        io::Result::Ok(())
    };
    setup.builder(0).lent_buffer(isize::MAX as usize).run(main).unwrap();
}

fn what_is_lent_is_seen_as_its_bytes(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        one.write_all(b"meow").await?;
        let received = other.receive().await?;
        assert_eq!((received.as_ref(), format!("{received:?}")), (&b"meow"[..], format!("Received({:?})", b"meow")));
        io::Result::Ok(())
    });
}

fn after_its_result_a_call_is_not_polled(setup: &Setup) {
    async fn refuses(call: impl Future) {
        let mut call = pin!(call);
        call.as_mut().await;
        let again = poll_fn(|cx| Poll::Ready(catch_unwind(AssertUnwindSafe(|| drop(call.as_mut().poll(cx)))))).await;
        assert_eq!(*again.unwrap_err().downcast::<&str>().unwrap(), "a call was polled after its result");
    }
    setup.run(0, async {
        let (one, other) = pair().await?;
        refuses(one.write(b"meow")).await;
        refuses(other.receive()).await;
        io::Result::Ok(())
    });
}

fn two_receivers_of_one_stream(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let writer = spawn(async move {
            for byte in 0..=255 {
                other.write_all(&[byte]).await?;
                yield_now().await;
            }
            io::Result::Ok(())
        });
        let all = async || {
            let mut got = Vec::new();
            loop {
                match one.receive().await? {
                    end if end.is_empty() => return io::Result::Ok(got),
                    received => got.extend_from_slice(&received),
                }
            }
        };
        let (left, right) = join(all(), all()).await;
        let mut both = [left?, right?].concat();
        both.sort_unstable();
        assert!(both.into_iter().eq(0..=255), "each byte went to one of them");
        writer.await?;
        io::Result::Ok(())
    });
}

fn several_are_held_at_a_time(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let mut held = Vec::new();
        for number in 0..50_u8 {
            one.write_all(&[number; 5]).await?;
            let received = other.receive().await?;
            assert_eq!(received.len(), 5);
            held.push((number, received));
        }
        for (number, received) in held {
            assert_eq!(*received, [number; 5], "nobody wrote over it");
        }
        io::Result::Ok(())
    });
}

fn r34_a_receive_dropped_early_loses_nothing(setup: &Setup) {
    setup.run(0, async {
        const MANY: usize = 20_000;
        let (one, other) = pair().await?;
        let writer = spawn(async move {
            for piece in pattern(MANY).chunks(97) {
                one.write_all(piece).await?;
                yield_now().await;
            }
            io::Result::Ok(())
        });
        let (mut got, mut given_up) = (Vec::new(), 0);
        loop {
            let mut receive = pin!(other.receive());
            // Polled once, and dropped if that gave nothing.
            match poll_fn(|cx| Poll::Ready(receive.as_mut().poll(cx))).await {
                Poll::Ready(received) => match received? {
                    end if end.is_empty() => break,
                    received => got.extend_from_slice(&received),
                },
                Poll::Pending => {
                    given_up += 1;
                    yield_now().await;
                }
            }
        }
        writer.await?;
        assert!(given_up > 0, "none was dropped early");
        assert!(got == pattern(MANY), "{} of {MANY} bytes", got.len());
        io::Result::Ok(())
    });
}

fn r36_a_stream_always_ready_leaves_the_others_their_turn(setup: &Setup) {
    let main = async {
        let (one, other) = pair().await?;
        one.write_all(&[7; 1000]).await?;
        let rounds = Rc::new(Cell::new(0_u32));
        let busy = spawn({
            let rounds = rounds.clone();
            async move {
                while !other.receive().await?.is_empty() {
                    rounds.set(rounds.get() + 1);
                }
                io::Result::Ok(())
            }
        });
        for _ in 0..4 {
            let before = rounds.get();
            yield_now().await;
            assert!(rounds.get() - before <= 64, "a turn is at most the quanta");
        }
        drop(one);
        busy.await?;
        assert_eq!(rounds.get(), 1000);
        io::Result::Ok(())
    };
    setup.builder(0).lent_buffer(1).run(main).unwrap();
}

fn r45_the_stream_goes_and_what_was_received_stays(setup: &Setup) {
    setup.run(2, async {
        let (one, mut other) = pair().await?;
        for domain in [1, 2, 1] {
            one.write_all(b"here").await?;
            let here = other.receive().await?;
            let there = Task::new().pin(DomainId::new(domain)).call(move || async move {
                assert_eq!(*other.receive().await?, *b"there");
                io::Result::Ok(other)
            })?;
            one.write_all(b"there").await?;
            other = there.await?;
            assert_eq!(*here, *b"here");
        }
        io::Result::Ok(())
    });
}

fn r46_what_was_received_outlives_its_domain(setup: &Setup) {
    let received: Received = setup.run(0, async {
        let (one, other) = pair().await?;
        one.write_all(b"late").await?;
        let forgotten = other.receive().await?;
        assert_eq!(*forgotten, *b"late");
        support::leak(forgotten);
        one.write_all(b"late").await?;
        other.receive().await
    });
    assert_eq!(*received, *b"late");
    // In another run it is no different.
    setup.run(0, async move { drop(received) });
}

fn outside_a_run_nothing_is_lent(setup: &Setup) {
    let (one, other) = setup.run(0, async {
        let (one, other) = pair().await?;
        // It waited, and so it is registered.
        assert!(time::timeout(Duration::from_millis(1), other.receive()).await.is_err());
        one.write_all(b"meow").await?;
        // On a thread without a domain, too.
        let other = thread::spawn(move || {
            assert!(refusal(&other).contains("only inside `matou_unix::run`"));
            other
        });
        io::Result::Ok((one, other.join().expect("it did not panic")))
    });
    assert!(refusal(&other).contains("only inside `matou_unix::run`"));
    // No byte was taken.
    setup.run(0, async {
        assert_eq!(*other.receive().await?, *b"meow");
        io::Result::Ok(())
    });
    drop(one);
}

/// What is said to who receives where there is no domain.
fn refusal(stream: &TcpStream) -> String {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match pin!(stream.receive()).poll(&mut cx) {
        Poll::Ready(Err(error)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_size_is_checked() {
    let error = Builder::new().environment(false).lent_buffer(0).run(async {}).unwrap_err();
    assert!(error.to_string().contains("`lent_buffer` is 0"), "{error}");
}

#[test]
fn a_crowd_is_served() {
    let _watchdog = support::Watchdog::new("a_crowd_is_served");
    let setup = support::everywhere()[0];
    setup.run(1, async {
        let (listener, addr) = listen()?;
        let server = call(move || async move {
            let mut echoes = Vec::new();
            for _ in 0..200 {
                echoes.push(spawn(echo(listener.accept().await?.0)));
            }
            for result in matou_unix::await_all(echoes).await {
                result?;
            }
            io::Result::Ok(())
        })?;
        let clients = (0..200_usize).map(|number| {
            spawn(async move {
                let client = TcpStream::connect(addr).await?;
                let sent = pattern(number * 131 + 1);
                let mut back = vec![0; sent.len()];
                let (written, read) = join(client.write_all(&sent), client.read_exact(&mut back)).await;
                written?;
                read?;
                assert!(sent == back);
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
