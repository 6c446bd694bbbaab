//! Sockets whose error queue is not empty, as that of one which asks for time stamps: each poll of them ends with an error that no call tells.

#![cfg(target_os = "linux")]

#[macro_use]
mod support;

use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use matou_unix::net::TcpStream;
use matou_unix::{DomainId, Task, yield_now};
use nix::sys::socket::{TimestampingFlag, setsockopt, sockopt::Timestamping};
use support::{Setup, join, pair};

everywhere! {
    an_event_for_a_writer_lets_no_read_pass_what_is_received
    a_read_is_dropped_wherever_the_kernel_has_it
    a_reset_is_told
    r45_a_stream_that_is_read_regularly_goes_elsewhere
}

fn with_something_in_the_error_queue(near: &TcpStream) {
    let stamps = TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    setsockopt(near, Timestamping, &stamps).unwrap();
}

/// Polls a read until its reactor has looked so often that the kernel has given up to look by itself.
async fn wait_in_vain(read: &mut Pin<Box<impl Future>>) {
    for _ in 0..300 {
        poll_fn(|cx| {
            assert!(read.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        yield_now().await;
    }
}

fn a_read_is_dropped_wherever_the_kernel_has_it(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        with_something_in_the_error_queue(&near);
        near.write_all(b"x").await?;
        for _ in 0..40 {
            let mut buf = [0; 8];
            let mut read = Box::pin(near.read(&mut buf));
            wait_in_vain(&mut read).await;
            drop(read);
            far.write_all(b"meow").await?;
            let mut got = [0; 4];
            near.read_exact(&mut got).await?;
            assert_eq!(&got, b"meow");
        }
        io::Result::Ok(())
    });
}

fn a_reset_is_told(setup: &Setup) {
    setup.run(0, async {
        let (near, far) = pair().await?;
        with_something_in_the_error_queue(&near);
        near.write_all(b"x").await?;
        far.read_exact(&mut [0]).await?;
        let mut buf = [0; 8];
        let mut read = Box::pin(near.read(&mut buf));
        wait_in_vain(&mut read).await;
        far.set_linger(Some(Duration::ZERO))?;
        drop(far);
        assert_eq!(read.await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        io::Result::Ok(())
    });
}

/// A socket whose error queue is not empty ends every poll, and has io_uring receive on a thread of its own.
fn an_event_for_a_writer_lets_no_read_pass_what_is_received(setup: &Setup) {
    const NUMBERS: u32 = 20_000;
    // Each of them is a turn of all others on a busy processor: what does not fit into this time is not sent.
    const TIME: Duration = Duration::from_secs(5);
    setup.run(0, async {
        let (near, far) = pair().await?;
        with_something_in_the_error_queue(&near);
        near.write_all(b"x").await?;
        let mut far = far.into_std().unwrap();
        far.set_nonblocking(false)?;
        let sender = std::thread::spawn(move || {
            let begun = Instant::now();
            let in_time = (0..NUMBERS).take_while(|_| begun.elapsed() < TIME);
            let sent = in_time.map(|number| {
                far.write_all(&number.to_ne_bytes()).unwrap();
                std::thread::yield_now();
            });
            let sent = sent.count() as u32;
            far.shutdown(Shutdown::Write).unwrap();
            let _ = far.read_to_end(&mut Vec::new());
            sent
        });
        // More than there is room for: this write waits while the numbers come.
        let mut written = false;
        let large = vec![0; 16 << 20];
        let mut write = pin!(near.write_all(&large));
        let mut received = 0;
        loop {
            let mut number = [0; 4];
            let mut read = Box::pin(near.read_exact(&mut number));
            let ended = poll_fn(|cx| {
                written = written || write.as_mut().poll(cx).is_ready();
                read.as_mut().poll(cx)
            })
            .await;
            drop(read);
            match ended {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                ended => ended?,
            }
            assert_eq!(u32::from_ne_bytes(number), received);
            received += 1;
        }
        near.shutdown(Shutdown::Both)?;
        assert_eq!(sender.join().unwrap(), received);
        io::Result::Ok(())
    });
}

/// The kernel receives for such a stream by itself, and must not once it has left.
fn r45_a_stream_that_is_read_regularly_goes_elsewhere(setup: &Setup) {
    setup.run(1, async {
        for messages in [5, 20, 50, 300] {
            let (near, far) = pair().await?;
            with_something_in_the_error_queue(&near);
            let sends = async {
                for _ in 1..messages {
                    far.write_all(b"meow").await?;
                    far.read_exact(&mut [0]).await?;
                }
                far.write_all(b"meow").await
            };
            let reads = async {
                let mut buf = [0; 64];
                for _ in 1..messages {
                    assert_eq!(near.read(&mut buf).await?, 4);
                    near.write_all(b"x").await?;
                }
                assert_eq!(near.read(&mut buf).await?, 4); // In this poll it is taken elsewhere.
                io::Result::Ok(near)
            };
            let (sent, near) = join(sends, reads).await;
            sent?;
            let near = near?;
            far.write_all(b"purr").await?;
            let there = Task::new().pin(DomainId::new(1)).call(move || async move {
                let mut near = near.into_std().unwrap();
                near.set_nonblocking(false)?;
                near.set_read_timeout(Some(Duration::from_secs(20)))?;
                let mut got = [0; 8];
                near.read_exact(&mut got)?;
                io::Result::Ok(got)
            })?;
            for _ in 0..100 {
                yield_now().await;
            }
            far.write_all(b"hiss").await?;
            assert_eq!(&there.await?, b"purrhiss");
        }
        io::Result::Ok(())
    });
}
