//! A stream that is read again and again, and then no more, or otherwise, or elsewhere: whatever a reactor does to be quick meanwhile, no byte is
//! taken that no read asked for, none is lost, and none comes twice. With io_uring the kernel repeats such a stream's receive by itself.

#[macro_use]
mod support;

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::Poll;
use std::time::Duration;

use matou_unix::net::{TcpStream, UnixStream};
use matou_unix::time::timeout;
use matou_unix::{DomainId, Task, spawn, yield_now};
use support::{Setup, echo, join, pair, pattern};

everywhere! {
    what_nobody_reads_stays_in_the_system
    no_more_is_taken_than_there_is_room_for
    large_messages_between_small_ones_come_whole
    who_sends_for_ever_is_held_back
    a_look_and_a_read_dropped_in_between_take_nothing
    the_end_and_a_reset_are_told
    what_stands_behind_a_border_is_left_there
    reads_that_are_begun_and_dropped_are_not_regular
    an_end_that_comes_with_bytes_is_told_behind_them
    a_reset_that_is_there_with_bytes_before_the_read_is_told_behind_them
    a_stream_that_is_dropped_is_closed_at_once
    r45_it_is_read_on_elsewhere
    r45_it_is_converted_elsewhere
    r45_it_is_converted_elsewhere_while_its_domain_looks_at_nothing
    r45_two_domains_convert_each_others_at_once
    r45_it_is_dropped_elsewhere
    r45_it_is_dropped_elsewhere_while_its_domain_computes
    r46_it_outlives_its_run
}

const ROUNDS: usize = 12;

/// A stream that has been read regularly, in this poll for the last time, and its other end.
async fn regular() -> io::Result<(TcpStream, TcpStream)> {
    let (near, far) = pair().await?;
    far.set_nodelay(true)?;
    regularly(&near, &far).await?;
    Ok((near, far))
}

/// Reads regularly, in this poll for the last time.
async fn regularly(near: &TcpStream, far: &TcpStream) -> io::Result<()> {
    let sends = async {
        for round in 1..=ROUNDS {
            far.write_all(&pattern(64)).await?;
            if round < ROUNDS {
                far.read_exact(&mut [0; 1]).await?;
            }
        }
        io::Result::Ok(())
    };
    let reads = async {
        let mut buf = [0; 4096];
        for round in 1..=ROUNDS {
            let length = near.read(&mut buf).await?;
            assert_eq!(&buf[..length], pattern(64));
            if round < ROUNDS {
                near.write_all(b"x").await?;
            }
        }
        io::Result::Ok(())
    };
    let (sent, read) = join(sends, reads).await;
    sent.and(read)
}

/// Long enough for every reactor to look several times.
async fn for_a_while() {
    for _ in 0..1000 {
        yield_now().await;
    }
}

/// What is in the system for it.
fn converted(near: TcpStream) -> Vec<u8> {
    let near = near.into_std().unwrap();
    let mut rest = vec![0; 1 << 16];
    let moved = rustix::net::recv(&near, &mut rest[..], rustix::net::RecvFlags::empty());
    rest.truncate(moved.map_or(0, |(_, moved)| moved));
    rest
}

fn what_nobody_reads_stays_in_the_system(setup: &Setup) {
    setup.run(0, async {
        for waits in [false, true] {
            let (near, far) = regular().await?;
            if waits {
                for_a_while().await;
            }
            far.write_all(b"meow").await?;
            for_a_while().await;
            assert_eq!(near.unread(), b"");
            assert_eq!(converted(near), b"meow");
        }
        io::Result::Ok(())
    });
}

fn no_more_is_taken_than_there_is_room_for(setup: &Setup) {
    setup.run(0, async {
        for room in [1, 8, 100, 4096] {
            let (near, far) = regular().await?;
            let mut buf = vec![0; room];
            let sent = pattern(10_000);
            let (read, written) = join(near.read(&mut buf), far.write_all(&sent)).await;
            written?;
            let length = read?;
            assert_eq!(buf[..length], sent[..length]);
            assert_eq!(near.unread(), b"", "room for {room}");
            assert_eq!(converted(near), sent[length..], "room for {room}");
        }
        io::Result::Ok(())
    });
}

fn large_messages_between_small_ones_come_whole(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        let sizes: Vec<_> = (0..200).map(|number: usize| if number.is_multiple_of(9) { 1000 * number } else { 1 + number }).collect();
        let total: usize = sizes.iter().sum();
        let sent = pattern(total);
        let bounces = async {
            let mut rest = &sent[..];
            for &size in &sizes {
                let (message, others) = rest.split_at(size);
                far.write_all(message).await?;
                far.read_exact(&mut [0; 1]).await?;
                rest = others;
            }
            io::Result::Ok(())
        };
        let answers = async {
            let mut got = Vec::new();
            let mut buf = [0; 4096];
            for &size in &sizes {
                let whole = got.len() + size;
                while got.len() < whole {
                    let length = near.read(&mut buf).await?;
                    assert_ne!(length, 0);
                    got.extend_from_slice(&buf[..length]);
                }
                near.write_all(b"x").await?;
            }
            io::Result::Ok(got)
        };
        let (bounced, got) = join(bounces, answers).await;
        bounced?;
        assert_eq!(got?, sent);
        io::Result::Ok(())
    });
}

fn who_sends_for_ever_is_held_back(setup: &Setup) {
    const MUCH: usize = 32 << 20;
    setup.run(0, async {
        let (near, far) = regular().await?;
        let sent = pattern(MUCH);
        let mut floods = pin!(far.write_all(&sent));
        for _ in 0..100 {
            assert!(poll_fn(|cx| Poll::Ready(floods.as_mut().poll(cx).is_pending())).await, "nobody reads");
            yield_now().await;
        }
        // Others are served meanwhile.
        let (one, other) = pair().await?;
        let served = spawn(echo(one));
        let mut buf = [0; 64];
        for _ in 0..ROUNDS {
            other.write_all(&pattern(64)).await?;
            other.read_exact(&mut buf).await?;
            assert_eq!(&buf[..], pattern(64));
        }
        drop(other);
        served.await?;
        let reads = async {
            let (mut got, mut buf) = (0, vec![0; 1 << 16]);
            while got < MUCH {
                let length = near.read(&mut buf).await?;
                assert_eq!(buf[..length], sent[got..got + length]);
                got += length;
            }
            io::Result::Ok(())
        };
        let (written, read) = join(floods, reads).await;
        written.and(read)
    });
}

fn a_look_and_a_read_dropped_in_between_take_nothing(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        for dropped in [false, true, false, true] {
            regularly(&near, &far).await?;
            if dropped {
                let mut buf = [0; 4096];
                let mut read = pin!(near.read(&mut buf));
                assert!(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
            }
            let mut first = [0; 1];
            let (looked, written) = join(near.peek(&mut first), far.write_all(b"meow")).await;
            assert_eq!((looked?, first), (1, *b"m"));
            written?;
            let mut got = [0; 4];
            near.read_exact(&mut got).await?;
            assert_eq!(&got, b"meow");
        }
        io::Result::Ok(())
    });
}

fn the_end_and_a_reset_are_told(setup: &Setup) {
    setup.run(0, async {
        for waits in [false, true] {
            let mut buf = [0; 4096];
            let (near, far) = regular().await?;
            far.write_all(b"meow").await?;
            far.shutdown(Shutdown::Write)?;
            if waits {
                for_a_while().await;
            }
            near.read_exact(&mut buf[..4]).await?;
            for _ in 0..3 {
                assert_eq!(near.read(&mut buf).await?, 0);
            }

            let (near, far) = regular().await?;
            let (read, ended) = join(near.read(&mut buf), async {
                for_a_while().await;
                far.shutdown(Shutdown::Write)
            })
            .await;
            assert_eq!(read?, 0, "while it waits");
            ended?;

            let (near, far) = regular().await?;
            far.set_linger(Some(Duration::ZERO))?;
            drop(far);
            if waits {
                for_a_while().await;
            }
            assert_eq!(near.read(&mut buf).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
            assert_eq!(near.read(&mut buf).await?, 0);
        }
        io::Result::Ok(())
    });
}

/// A read takes nothing behind a border, which a descriptor makes: that is there for a call of one's own.
async fn stops_at_borders(one: &UnixStream, other: &UnixStream) -> io::Result<()> {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let stdin = io::stdin();
    let writes = async {
        for message in [b"head", b"body"] {
            let fds = [stdin.as_fd()];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            sendmsg(one, &[IoSlice::new(message)], &mut control, SendFlags::empty())?;
        }
        io::Result::Ok(())
    };
    let mut buf = [0; 4096];
    let (read, written) = join(other.read(&mut buf), writes).await;
    written?;
    let length = read?;
    assert_eq!(&buf[..length], b"head");
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let (mut control, mut body) = (RecvAncillaryBuffer::new(&mut space), [0; 8]);
    let received = recvmsg(other, &mut [IoSliceMut::new(&mut body)], &mut control, RecvFlags::DONTWAIT)?;
    assert_eq!((received.bytes, &body[..4]), (4, &b"body"[..]));
    assert!(control.drain().any(|message| matches!(message, RecvAncillaryMessage::ScmRights(_))));
    Ok(())
}

/// Reads are begun one after the other, and none waits until the system is asked.
async fn begin_and_drop(stream: &UnixStream) {
    let mut buf = [0; 4096];
    for _ in 0..8 {
        let mut read = pin!(stream.read(&mut buf));
        assert!(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
    }
}

/// Who reads regularly may want a descriptor now and then.
fn what_stands_behind_a_border_is_left_there(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = UnixStream::pair()?;
        let writes = async {
            for _ in 0..8 {
                one.write_all(b"meow").await?;
                one.read_exact(&mut [0]).await?;
            }
            io::Result::Ok(())
        };
        let reads = async {
            for _ in 0..8 {
                assert_eq!(other.read(&mut [0; 64]).await?, 4);
                other.write_all(b"x").await?;
            }
            io::Result::Ok(())
        };
        let (read, written) = join(reads, writes).await;
        written.and(read)?;
        stops_at_borders(&one, &other).await
    });
}

fn reads_that_are_begun_and_dropped_are_not_regular(setup: &Setup) {
    setup.run(0, async {
        // Before the system was asked for the first time,
        let (one, other) = UnixStream::pair()?;
        begin_and_drop(&other).await;
        stops_at_borders(&one, &other).await?;
        // and under the number of a stream that was read regularly until just now, unless another test has taken that.
        let (one, other) = loop {
            let (near, far) = regular().await?;
            let number = near.as_fd().as_raw_fd();
            drop(near);
            let (one, other) = UnixStream::pair()?;
            match number {
                _ if other.as_fd().as_raw_fd() == number => break (one, other),
                _ if one.as_fd().as_raw_fd() == number => break (other, one),
                _ => drop(far),
            }
        };
        begin_and_drop(&other).await;
        stops_at_borders(&one, &other).await
    });
}

/// What ends a stream comes with bytes, before they are looked at.
fn an_end_that_comes_with_bytes_is_told_behind_them(setup: &Setup) {
    setup.run(0, async {
        let mut buf = [0; 4096];
        for _ in 0..5 {
            let (near, far) = regular().await?;
            far.write_all(b"meow").await?;
            far.set_linger(Some(Duration::ZERO))?;
            drop(far);
            assert_eq!(near.read(&mut buf).await?, 4);
            assert_eq!(near.read(&mut buf).await.unwrap_err().kind(), ErrorKind::ConnectionReset);

            let (near, far) = regular().await?;
            let (read, ended) = join(near.read(&mut buf), async {
                for_a_while().await;
                far.write_all(b"meow").await?;
                near.shutdown(Shutdown::Read)
            })
            .await;
            ended?;
            assert_eq!(read?, 4);
            assert_eq!(near.read(&mut buf).await?, 0);
        }
        io::Result::Ok(())
    });
}

fn a_reset_that_is_there_with_bytes_before_the_read_is_told_behind_them(setup: &Setup) {
    setup.run(0, async {
        // One of them is the first whose receive is repeated.
        for reads in 1..=ROUNDS {
            let (near, far) = pair().await?;
            far.set_nodelay(true)?;
            let mut buf = [0; 4096];
            for _ in 0..reads {
                let mut read = pin!(near.read(&mut buf));
                assert!(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
                for_a_while().await;
                far.write_all(&pattern(64)).await?;
                assert_eq!(read.await?, 64);
            }
            far.write_all(&pattern(64)).await?;
            far.set_linger(Some(Duration::ZERO))?;
            drop(far);
            assert_eq!(near.read(&mut buf).await?, 64);
            let end =
                timeout(Duration::from_secs(10), near.read(&mut buf)).await.unwrap_or_else(|_| panic!("after {reads} reads it hangs"));
            assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset, "after {reads} reads");
        }
        io::Result::Ok(())
    });
}

fn a_stream_that_is_dropped_is_closed_at_once(setup: &Setup) {
    setup.run(0, async {
        for converts in [false, true] {
            let (near, far) = regular().await?;
            let mut far = far.into_std().unwrap();
            far.set_nonblocking(false)?;
            if converts {
                drop(near.into_std().unwrap());
            } else {
                drop(near);
            }
            // It blocks the domain: nobody else can close it now.
            assert_eq!(far.read(&mut [0; 8])?, 0);
        }
        io::Result::Ok(())
    });
}

fn r45_it_is_read_on_elsewhere(setup: &Setup) {
    setup.run(1, async {
        for waits in [false, true] {
            let (near, far) = regular().await?;
            if waits {
                for_a_while().await;
            }
            far.write_all(b"meow").await?;
            let there = Task::new().pin(DomainId::new(1)).call(move || async move {
                let mut got = [0; 8];
                near.read_exact(&mut got).await?;
                io::Result::Ok((near, got))
            })?;
            far.write_all(b"purr").await?;
            let (near, got) = there.await?;
            assert_eq!(&got, b"meowpurr");
            regularly(&near, &far).await?; // And comes back.
        }
        io::Result::Ok(())
    });
}

fn r45_it_is_converted_elsewhere(setup: &Setup) {
    setup.run(1, async {
        for waits in [false, true] {
            let (near, far) = regular().await?;
            if waits {
                for_a_while().await;
            }
            far.write_all(b"meow").await?;
            let there = Task::new().pin(DomainId::new(1)).call(move || async move {
                let unread = near.unread();
                [unread, converted(near)].concat()
            })?;
            assert_eq!(there.await.map_err(io::Error::other)?, b"meow");
        }
        io::Result::Ok(())
    });
}

fn r45_it_is_converted_elsewhere_while_its_domain_looks_at_nothing(setup: &Setup) {
    setup.run(1, async {
        let (near, far) = regular().await?;
        let (gives, takes) = mpsc::channel();
        let there = Task::new().pin(DomainId::new(1)).call(move || async move {
            let near = near.into_std().unwrap();
            gives.send(near).unwrap();
        })?;
        let mut near = takes.recv_timeout(Duration::from_secs(20)).expect("this domain is not waited for");
        near.set_nonblocking(false)?;
        near.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut far = far.into_std().unwrap();
        far.set_nonblocking(false)?;
        let mut got = [0; 4];
        for (message, looks) in [(b"meow", false), (b"purr", true), (b"hiss", false)] {
            far.write_all(message)?;
            if looks {
                for_a_while().await; // Whatever this domain takes now is lost.
            }
            near.read_exact(&mut got)?;
            assert_eq!(&got, message);
        }
        there.await.map_err(io::Error::other)?;
        io::Result::Ok(())
    });
}

/// Neither thread's domain looks at any events meanwhile.
fn r45_two_domains_convert_each_others_at_once(setup: &Setup) {
    setup.run(2, async {
        for _ in 0..5 {
            let (places, both) = (Arc::new([const { Mutex::new(None) }; 2]), Arc::new(Barrier::new(2)));
            let children: Vec<_> = (0..2)
                .map(|me| {
                    let (places, both) = (Arc::clone(&places), Arc::clone(&both));
                    Task::new().pin(DomainId::new(1 + me)).call(move || async move {
                        let (near, far) = regular().await?;
                        far.write_all(b"meow").await?;
                        *places[me].lock().unwrap() = Some(near);
                        both.wait();
                        let theirs = places[1 - me].lock().unwrap().take().expect("it was put there before");
                        let got = converted(theirs);
                        drop(far);
                        io::Result::Ok(got)
                    })
                })
                .collect::<Result<_, _>>()?;
            for child in children {
                assert_eq!(child.await?, b"meow");
            }
        }
        io::Result::Ok(())
    });
}

fn r45_it_is_dropped_elsewhere(setup: &Setup) {
    setup.run(1, async {
        let (near, far) = regular().await?;
        let there = Task::new().pin(DomainId::new(1)).call(move || async move { drop(near) })?;
        assert_eq!(far.read(&mut [0; 8]).await?, 0);
        there.await.map_err(io::Error::other)?;
        io::Result::Ok(())
    });
}

/// On that domain nobody waits for an event, so that there is nothing else to look for.
fn r45_it_is_dropped_elsewhere_while_its_domain_computes(setup: &Setup) {
    setup.run(2, async {
        let (gives, takes) = mpsc::channel();
        let (peer_saw, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let computing = Task::new().pin(DomainId::new(1)).call({
            let (peer_saw, stop) = (Arc::clone(&peer_saw), Arc::clone(&stop));
            move || async move {
                gives.send(regular().await?).unwrap();
                // Should it not be told, the peer sees the end when this one ends.
                for _ in 0..3_000_000 {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    yield_now().await;
                }
                io::Result::Ok(peer_saw.load(Ordering::Relaxed))
            }
        })?;
        let (near, far) = takes.recv().unwrap();
        let there = Task::new().pin(DomainId::new(2)).call(move || async move { drop(near) })?;
        assert_eq!(far.read(&mut [0; 8]).await?, 0);
        peer_saw.store(true, Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
        assert!(computing.await?, "the end came only when the other domain had nothing to do");
        there.await.map_err(io::Error::other)?;
        io::Result::Ok(())
    });
}

fn r46_it_outlives_its_run(setup: &Setup) {
    let (near, far) = setup.run(0, regular());
    setup.run(0, async move {
        regularly(&near, &far).await?;
        far.write_all(b"meow").await?;
        assert_eq!(converted(near), b"meow");
        io::Result::Ok(())
    });
    // Outside of a run as well.
    let (near, far) = setup.run(0, regular());
    drop(far);
    assert_eq!(converted(near), b"");
}
