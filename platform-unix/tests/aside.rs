//! What comes for a read of a stream that waits, and is dropped, forgotten, or has lost its stream before it takes it: no byte of it is lost,
//! whatever the reactor. With io_uring it has been put aside by then.

#[macro_use]
mod support;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};

use matou_unix::net::{TcpStream, UnixStream};
use matou_unix::{DomainId, Reactor, Task, owned, spawn, yield_now};
use support::wakers::on_clone;
use support::{Setup, join, leak, pair, pattern};

everywhere! {
    a_read_dropped_with_its_bytes_leaves_them_to_the_next
    a_read_dropped_before_they_come_leaves_them_to_the_next
    a_stream_takes_what_it_carries_to_another_domain
    what_it_carries_is_taken_before_it_is_converted
    a_forgotten_read_takes_nothing_away
    r45_a_stream_whose_read_was_forgotten_is_read_elsewhere
    r45_a_stream_whose_read_was_forgotten_is_written_elsewhere
    r45_a_stream_whose_read_was_forgotten_is_closed_elsewhere
    r45_a_stream_whose_read_was_forgotten_comes_back
    r45_what_is_fetched_while_a_read_begins_comes_first
    r45_what_is_fetched_before_a_read_waits_is_not_waited_for
    r46_a_stream_whose_read_was_forgotten_outlives_its_run
    a_stream_given_away_while_it_is_read_has_every_byte
    reads_with_room_for_different_amounts_share_what_comes
    reads_that_wait_for_the_same_stream_leave_each_other_alone
    a_look_takes_nothing_from_a_read_beside_it
    an_error_behind_bytes_is_told_once_after_them
    an_end_behind_bytes_stays
    more_streams_at_once_than_there_are_buffers
    unix_streams_too
    what_came_for_a_forgotten_read_is_unread
    what_came_for_a_read_that_lost_its_stream_is_unread
    an_error_that_came_for_a_dropped_read_is_told
}

/// Polls a read until it waits, lets bytes come for it, and returns when it was woken, without having polled it again.
async fn woken_by(read: &mut Pin<Box<impl Future>>, come: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    wait_in_vain(read).await;
    let mut polled = false;
    let woken = poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        assert!(read.as_mut().poll(cx).is_pending());
        Poll::Pending
    });
    // Only the read wakes it: what comes is on its way at once.
    let mut come = pin!(come);
    poll_fn(|cx| come.as_mut().poll(cx)).await?;
    woken.await;
    Ok(())
}

/// Polls a read until it waits, so that its reactor knows.
async fn wait_in_vain(read: &mut Pin<Box<impl Future>>) {
    for _ in 0..200 {
        poll_fn(|cx| {
            assert!(read.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        yield_now().await; // Often enough for the reactor to be asked.
    }
}

fn a_read_dropped_with_its_bytes_leaves_them_to_the_next(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        for round in 0..20 {
            let mut buf = [0; 8];
            let mut read = Box::pin(near.read(&mut buf));
            woken_by(&mut read, far.write_all(b"meow")).await?;
            drop(read);
            far.write_all(b"purr").await?;
            let mut got = [0; 8];
            if round % 2 == 0 {
                assert_eq!(near.peek(&mut got[..1]).await?, 1);
                assert_eq!(got[0], b'm');
            }
            near.read_exact(&mut got).await?;
            assert_eq!(&got, b"meowpurr");
        }
        io::Result::Ok(())
    });
}

fn a_read_dropped_before_they_come_leaves_them_to_the_next(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        for _ in 0..20 {
            let mut buf = [0; 8];
            let mut read = Box::pin(near.read(&mut buf));
            wait_in_vain(&mut read).await;
            far.write_all(b"me").await?; // There, and not looked at.
            drop(read);
            far.write_all(b"ow").await?;
            assert_eq!(near.unread(), b"", "nothing was taken for it");
            let mut got = [0; 4];
            near.read_exact(&mut got).await?;
            assert_eq!(&got, b"meow");
        }
        io::Result::Ok(())
    });
}

fn a_stream_takes_what_it_carries_to_another_domain(setup: &Setup) {
    setup.run(1, async {
        let (near, far) = pair().await?;
        let mut buf = [0; 8];
        let mut read = Box::pin(near.read(&mut buf));
        woken_by(&mut read, far.write_all(b"meow")).await?;
        drop(read);
        let moved = Task::new().pin(DomainId::new(1)).call(move || async move {
            let mut got = [0; 8];
            near.read_exact(&mut got[..3]).await?;
            near.read_exact(&mut got[3..]).await?;
            io::Result::Ok(got)
        })?;
        far.write_all(b"purr").await?;
        assert_eq!(&moved.await?, b"meowpurr");
        io::Result::Ok(())
    });
}

fn what_it_carries_is_taken_before_it_is_converted(setup: &Setup) {
    setup.run(0, async {
        for careful in [true, false] {
            let (near, far) = pair().await?;
            let mut buf = [0; 8];
            let mut read = Box::pin(near.read(&mut buf));
            woken_by(&mut read, far.write_all(b"meow")).await?;
            drop(read);
            let unread = if careful { near.unread() } else { Vec::new() };
            let converted = near.into_std();
            assert_eq!(converted.is_err(), !careful && setup.reactor == Reactor::Uring);
            match converted {
                Ok(near) => assert_eq!([unread, received(&near)].concat(), b"meow", "{careful}"),
                Err(error) => {
                    assert!(error.to_string().contains("take them with `unread`"), "{error:?}");
                    let near = error.into_inner();
                    near.read_exact(&mut buf[..4]).await?;
                    assert_eq!(&buf[..4], b"meow", "it is as it was");
                    assert!(near.into_std().is_ok());
                }
            }
        }
        io::Result::Ok(())
    });
}

/// Lets a read wait, or have its bytes too, and forgets it.
async fn forget_a_read(near: &TcpStream, far: &TcpStream, woken: bool) -> io::Result<()> {
    let buf = leak([0; 8]);
    let mut read = Box::pin(near.read(buf));
    if woken {
        woken_by(&mut read, far.write_all(b"meow")).await?;
    } else {
        wait_in_vain(&mut read).await;
        far.write_all(b"meow").await?;
    }
    leak(read);
    Ok(())
}

fn a_forgotten_read_takes_nothing_away(setup: &Setup) {
    setup.run(0, async {
        for woken in [false, true] {
            let (near, far) = pair().await?;
            forget_a_read(&near, &far, woken).await?;
            far.write_all(b"purr").await?;
            let mut got = [0; 8];
            near.read_exact(&mut got).await?;
            assert_eq!(&got, b"meowpurr");
            drop(near);
            assert_eq!(far.read(&mut got).await?, 0);
        }
        io::Result::Ok(())
    });
}

fn r45_a_stream_whose_read_was_forgotten_is_read_elsewhere(setup: &Setup) {
    setup.run(1, async {
        for woken in [false, true] {
            let (near, far) = pair().await?;
            forget_a_read(&near, &far, woken).await?;
            let there = Task::new().pin(DomainId::new(1)).call(move || async move {
                let near = Rc::new(near);
                let looks = Rc::clone(&near);
                // Two wait for what is fetched.
                let look = spawn(async move { looks.peek(&mut [0; 1]).await });
                let mut got = [0; 8];
                near.read_exact(&mut got).await?;
                look.await?;
                io::Result::Ok(got)
            })?;
            far.write_all(b"purr!").await?;
            assert_eq!(&there.await?, b"meowpurr");
        }
        io::Result::Ok(())
    });
}

fn r45_a_stream_whose_read_was_forgotten_is_written_elsewhere(setup: &Setup) {
    setup.run(1, async {
        for woken in [false, true] {
            let (near, far) = pair().await?;
            forget_a_read(&near, &far, woken).await?;
            let there = Task::new().pin(DomainId::new(1)).call(move || async move {
                near.write_all(b"hiss").await?;
                let mut got = [0; 4];
                near.read_exact(&mut got).await?;
                io::Result::Ok(got)
            })?;
            let mut got = [0; 4];
            far.read_exact(&mut got).await?;
            assert_eq!((&got, &there.await?), (b"hiss", b"meow"));
        }
        io::Result::Ok(())
    });
}

fn r45_a_stream_whose_read_was_forgotten_is_closed_elsewhere(setup: &Setup) {
    setup.run(1, async {
        for woken in [false, true] {
            let (near, far) = pair().await?;
            forget_a_read(&near, &far, woken).await?;
            let there = Task::new().pin(DomainId::new(1)).call(move || async move { drop(near) })?;
            // The end, or a reset where bytes were left in the system.
            assert!(matches!(far.read(&mut [0; 8]).await, Ok(0) | Err(_)));
            there.await.map_err(io::Error::other)?;

            let (near, far) = pair().await?;
            forget_a_read(&near, &far, woken).await?;
            let there = Task::new().pin(DomainId::new(1)).call(move || async move {
                let (converted, left) = match near.into_std() {
                    Ok(near) => (near, Vec::new()),
                    Err(error) => {
                        assert!(error.to_string().contains("waits on another domain"), "{error:?}");
                        let near = error.into_inner();
                        near.write(&[]).await?;
                        let left = near.unread();
                        (near.into_std()?, left)
                    }
                };
                (&converted).write_all(b"hiss")?;
                io::Result::Ok([left, received(&converted)].concat())
            })?;
            assert_eq!(there.await.map_err(io::Error::other)?, b"meow", "{woken}");
            let mut hiss = [0; 4];
            far.read_exact(&mut hiss).await?;
            assert_eq!(&hiss, b"hiss");
        }
        io::Result::Ok(())
    });
}

fn r45_a_stream_whose_read_was_forgotten_comes_back(setup: &Setup) {
    setup.run(1, async {
        for woken in [false, true] {
            let (near, far) = pair().await?;
            forget_a_read(&near, &far, woken).await?;
            let there = Task::new().pin(DomainId::new(1)).call(move || async move {
                // It asks for what came, and does not wait for the answer.
                let mut buf = [0; 8];
                let mut read = Box::pin(near.read(&mut buf));
                let ready = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_ready())).await;
                drop(read);
                io::Result::Ok((near, ready.then_some(buf)))
            })?;
            let (near, came) = there.await?;
            let mut got = Vec::from(came.map_or(&[][..], |_| b"meow"));
            far.write_all(b"purr").await?;
            while got.len() < 8 {
                let mut buf = [0; 8];
                let length = near.read(&mut buf).await?;
                got.extend_from_slice(&buf[..length]);
            }
            assert_eq!(got, b"meowpurr");
        }
        io::Result::Ok(())
    });
}

/// It may arrive at any point of a read's first poll: so there are many.
fn r45_what_is_fetched_while_a_read_begins_comes_first(setup: &Setup) {
    setup.run(1, async {
        for round in 0..400 {
            let (near, far) = pair().await?;
            forget_a_read(&near, &far, round % 2 == 0).await?;
            far.write_all(b"purr").await?;
            let there = Task::new().pin(DomainId::new(1)).call(move || async move {
                for _ in 0..1000 {
                    let mut buf = [0; 4];
                    let mut read = Box::pin(near.read(&mut buf));
                    if let Poll::Ready(length) = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
                        let length = length?;
                        drop(read);
                        return io::Result::Ok(buf[..length].to_vec());
                    }
                    drop(read);
                    yield_now().await;
                }
                let mut buf = [0; 4];
                near.read_exact(&mut buf).await?;
                Ok(buf.to_vec())
            })?;
            assert_eq!(there.await?, b"meow", "round {round}");
        }
        io::Result::Ok(())
    });
}

fn r45_what_is_fetched_before_a_read_waits_is_not_waited_for(setup: &Setup) {
    setup.run(1, async {
        let (near, far) = pair().await?;
        forget_a_read(&near, &far, true).await?;
        let (go, goes) = mpsc::channel();
        let steps = Arc::new(AtomicUsize::new(0));
        let looks = Arc::clone(&steps);
        let there = Task::new().pin(DomainId::new(1)).call(move || async move {
            let mut buf = [0; 4];
            let mut read = Box::pin(near.read(&mut buf));
            if let Poll::Ready(length) = poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await {
                drop((read, go)); // This reactor put nothing aside.
                return length.map(|_| buf);
            }
            // It was asked for. The answer comes after the next read has looked, and before it waits: who clones its waker sees to that.
            drop(read);
            let mut read = Box::pin(near.read(&mut buf));
            let waker = on_clone(move || {
                let _it_goes_on_anyway = go.send(());
                let before = looks.load(Ordering::Relaxed);
                while looks.load(Ordering::Relaxed) < before + 1000 {
                    std::hint::spin_loop();
                }
            });
            let polled = read.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(matches!(polled, Poll::Ready(Ok(4))), "{polled:?}");
            drop(read);
            io::Result::Ok(buf)
        })?;
        let _it_went_without = goes.recv();
        while !there.is_ended() {
            steps.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
        }
        assert_eq!(&there.await?, b"meow");
        io::Result::Ok(())
    });
}

fn r46_a_stream_whose_read_was_forgotten_outlives_its_run(setup: &Setup) {
    for woken in [false, true] {
        let (near, far) = setup.run(0, async {
            let (near, far) = pair().await?;
            forget_a_read(&near, &far, woken).await?;
            io::Result::Ok((near, far))
        });
        setup.run(0, async move {
            far.write_all(b"purr").await?;
            let mut got = [0; 8];
            near.read_exact(&mut got).await?;
            assert_eq!(&got, b"meowpurr");
            io::Result::Ok(())
        });
    }
}

fn a_stream_given_away_while_it_is_read_has_every_byte(setup: &Setup) {
    setup.run(1, async {
        for elsewhere in [false, true] {
            let (near, far) = pair().await?;
            let near = owned::TcpStream::new(near)?;
            let mut buf = [0; 8];
            let mut read = Box::pin(near.read(&mut buf));
            wait_in_vain(&mut read).await;
            let handle = near.clone();
            let serves = move || async move {
                let mut got = [0; 8];
                handle.read_exact(&mut got).await?;
                handle.close()?;
                io::Result::Ok(got)
            };
            let task = Task::new().give(near.resource());
            let child = if elsewhere { task.call(serves)? } else { task.spawn(serves())? };
            let (refused, written) = join(read, far.write_all(b"meowpurr")).await;
            assert!(refused.is_err(), "it is not ours any more");
            written?;
            assert_eq!(&child.await?, b"meowpurr");
            assert_eq!(far.read(&mut [0; 8]).await?, 0, "it was closed");
        }
        io::Result::Ok(())
    });
}

fn reads_with_room_for_different_amounts_share_what_comes(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        let near = Rc::new(near);
        for dropped in [false, true] {
            let mut bufs = ([0; 100], [0; 10]);
            let mut large = Box::pin(near.read(&mut bufs.0));
            let mut small = Box::pin(near.read(&mut bufs.1));
            wait_in_vain(&mut small).await;
            woken_by(&mut large, far.write_all(&pattern(60))).await?;
            let mut got = vec![0; 60];
            assert_eq!(small.await?, 10);
            got[..10].copy_from_slice(&bufs.1);
            if dropped {
                drop(large);
                near.read_exact(&mut got[10..]).await?;
            } else {
                assert_eq!(large.await?, 50);
                got[10..].copy_from_slice(&bufs.0[..50]);
            }
            assert_eq!(got, pattern(60));
        }
        io::Result::Ok(())
    });
}

fn reads_that_wait_for_the_same_stream_leave_each_other_alone(setup: &Setup) {
    for quanta in [1, 2, 64] {
        let run = setup.builder(0).quanta(quanta).run(async {
            let (near, far) = pair().await?;
            let (near, polls) = (Rc::new(near), Rc::new(Cell::new(0)));
            for _ in 0..5 {
                let children: Vec<_> = (0..3)
                    .map(|_| {
                        let (near, polls) = (Rc::clone(&near), Rc::clone(&polls));
                        spawn(async move {
                            let mut buf = [0; 4];
                            let mut read = Box::pin(near.read(&mut buf));
                            poll_fn(|cx| {
                                polls.set(polls.get() + 1);
                                read.as_mut().poll(cx)
                            })
                            .await
                        })
                    })
                    .collect();
                for _ in 0..1000 {
                    yield_now().await; // Each begins to wait, and the reactor is asked many times.
                }
                let before = polls.take();
                assert!(before <= 20, "{before} polls while nothing came");
                far.write_all(b"twelve bytes").await?;
                let mut sum = 0;
                for child in children {
                    sum += child.await?;
                }
                polls.set(0);
                near.read_exact(&mut vec![0; 12 - sum]).await?;
            }
            io::Result::Ok(())
        });
        run.unwrap();
    }
}

fn a_look_takes_nothing_from_a_read_beside_it(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        for _ in 0..20 {
            let mut bufs = ([0; 8], [0; 4]);
            let (mut look, mut read) = (Box::pin(near.peek(&mut bufs.0)), Box::pin(near.read(&mut bufs.1)));
            wait_in_vain(&mut look).await;
            woken_by(&mut read, far.write_all(b"meow")).await?;
            assert_eq!((look.await?, read.await?), (4, 4));
            assert_eq!((&bufs.0[..4], &bufs.1), (&b"meow"[..], b"meow"));
        }
        io::Result::Ok(())
    });
}

fn an_error_behind_bytes_is_told_once_after_them(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        let mut buf = [0; 8];
        let mut read = Box::pin(near.read(&mut buf));
        woken_by(&mut read, async {
            far.set_linger(Some(std::time::Duration::ZERO))?;
            drop(far);
            Ok(())
        })
        .await?;
        drop(read); // With the error, which the system tells once.
        assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(near.read(&mut [0; 8]).await?, 0);
        io::Result::Ok(())
    });
}

fn an_end_behind_bytes_stays(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        let mut buf = [0; 8];
        let mut read = Box::pin(near.read(&mut buf));
        woken_by(&mut read, async {
            far.write_all(b"meow").await?;
            far.shutdown(Shutdown::Write)
        })
        .await?;
        drop(read);
        let mut got = [0; 4];
        near.read_exact(&mut got).await?;
        assert_eq!(&got, b"meow");
        for _ in 0..3 {
            assert_eq!(near.read(&mut got).await?, 0);
        }
        near.write_all(b"purr").await?;
        far.read_exact(&mut got).await?;
        assert_eq!(&got, b"purr");
        io::Result::Ok(())
    });
}

/// Reads that wait and are not polled again hold on to what came for them: there is always room for the next.
fn more_streams_at_once_than_there_are_buffers(setup: &Setup) {
    setup.run(0, async {
        const MANY: usize = 150;
        let mut pairs = Vec::new();
        for _ in 0..MANY {
            pairs.push(pair().await?);
        }
        let mut bufs = vec![[0; 64]; MANY];
        let mut reads: Vec<_> = pairs.iter().zip(&mut bufs).map(|((near, _), buf)| Box::pin(near.read(buf))).collect();
        for round in 0..2 {
            for (number, (read, (_, far))) in reads.iter_mut().zip(&pairs).enumerate() {
                if round == 0 {
                    assert!(poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx).is_pending())).await);
                } else {
                    far.write_all(&pattern(number % 60 + 1)).await?;
                }
            }
            for _ in 0..200 {
                yield_now().await;
            }
        }
        for (number, read) in reads.drain(..).enumerate() {
            if number % 2 == 0 {
                assert_eq!(read.await?, number % 60 + 1);
            } else {
                drop(read);
                let mut got = vec![0; number % 60 + 1];
                pairs[number].0.read_exact(&mut got).await?;
                assert_eq!(got, pattern(number % 60 + 1));
            }
        }
        drop(reads);
        for (number, buf) in bufs.iter().enumerate().step_by(2) {
            assert_eq!(&buf[..number % 60 + 1], pattern(number % 60 + 1));
        }
        io::Result::Ok(())
    });
}

fn unix_streams_too(setup: &Setup) {
    setup.run(1, async {
        let (near, far) = UnixStream::pair()?;
        let mut buf = [0; 3];
        let mut read = Box::pin(near.read(&mut buf));
        woken_by(&mut read, far.write_all(b"meow")).await?;
        drop(read);
        let moved = Task::new().pin(DomainId::new(1)).call(move || async move {
            let mut got = [0; 8];
            near.read_exact(&mut got).await?;
            io::Result::Ok(got)
        })?;
        far.write_all(b"purr").await?;
        assert_eq!(&moved.await?, b"meowpurr");
        io::Result::Ok(())
    });
}

/// What the stream gives once it is the standard library's.
fn converted(near: TcpStream) -> Vec<u8> {
    received(&near.into_std().unwrap())
}

/// What is there to be received.
fn received(stream: &std::net::TcpStream) -> Vec<u8> {
    let mut rest = [0; 8];
    let moved = rustix::net::recv(stream, &mut rest[..], rustix::net::RecvFlags::empty());
    rest[..moved.map_or(0, |(_, moved)| moved)].to_vec()
}

fn what_came_for_a_forgotten_read_is_unread(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        let mut read = Box::pin(near.read(leak([0; 8])));
        woken_by(&mut read, far.write_all(b"meow")).await?;
        leak(read);
        let unread = near.unread();
        assert_eq!([unread, converted(near)].concat(), b"meow");
        io::Result::Ok(())
    });
}

fn what_came_for_a_read_that_lost_its_stream_is_unread(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        let near = owned::TcpStream::new(near).unwrap();
        let mut buf = [0; 8];
        let mut read = Box::pin(near.read(&mut buf));
        woken_by(&mut read, far.write_all(b"meow")).await?;
        let plain = near.disown().unwrap();
        drop(read);
        let unread = plain.unread();
        assert_eq!([unread, converted(plain)].concat(), b"meow");
        io::Result::Ok(())
    });
}

fn an_error_that_came_for_a_dropped_read_is_told(setup: &Setup) {
    setup.run(0, async {
        for way in 0..3 {
            let (near, far) = pair().await?;
            let mut buf = [0; 8];
            let mut read = Box::pin(near.read(&mut buf));
            woken_by(&mut read, async {
                far.set_linger(Some(std::time::Duration::ZERO))?;
                drop(far);
                Ok(())
            })
            .await?;
            drop(read);
            match way {
                0 => {
                    assert_eq!(near.unread(), b"");
                    let again = near.read(&mut buf).await;
                    assert_eq!(again.unwrap_err().kind(), ErrorKind::ConnectionReset);
                }
                1 => assert_eq!(near.take_error()?.unwrap().kind(), ErrorKind::ConnectionReset),
                _ => assert_eq!(converted(near), b""),
            }
        }
        io::Result::Ok(())
    });
}
