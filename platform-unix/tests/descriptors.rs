//! `Async`: pipes, devices, and what the system does not let a program wait for.

#[macro_use]
mod support;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut, PipeReader, PipeWriter, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::pin::pin;
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::poll_immediate;
use futures_util::io::AsyncReadExt;
use matou_unix::{Async, DomainId, FuturesIo, Plain, Task, await_all, call, spawn, time, yield_now};
use rustix::fs::{Mode, OFlags};
use support::{Scratch, Setup, join, pattern, pattern_from};

everywhere! {
    a_pipe_from_task_to_task
    a_pipe_ends_with_its_writer
    a_pipe_whose_reader_is_gone_is_an_error_and_no_signal
    a_fifo
    a_device_that_is_always_ready
    readable_takes_nothing
    what_a_closure_says_is_what_counts
    many_readers_of_one_pipe_get_each_byte_once
    several_on_one_descriptor
    one_shared_by_reference
    r45_a_pipe_moves_from_domain_to_domain
    r45_one_shared_by_two_domains
    r34_a_read_that_times_out_loses_nothing
    r36_a_device_always_ready_leaves_the_others_their_turn
    r46_one_that_outlives_its_run
    replacing_the_descriptor
    a_datagram_socket_that_was_shut_down_gives_an_end
    what_comes_before_an_end_is_read_before_it
    a_reset_is_no_end
}

/// The system calls such a socket ready, and says of a read that does not block that it would.
fn a_datagram_socket_that_was_shut_down_gives_an_end(setup: &Setup) {
    setup.run(0, async {
        let shut_down = || {
            let (near, far) = UnixDatagram::pair()?;
            near.shutdown(Shutdown::Read)?;
            io::Result::Ok((Async::new(near)?, far))
        };
        let (near, _far) = shut_down()?;
        assert_eq!(near.read(&mut [0; 8]).await?, 0);
        assert_eq!(near.read(&mut [0; 8]).await?, 0);
        let (near, _far) = shut_down()?;
        let mut near = FuturesIo::new(near);
        assert_eq!(near.read(&mut [0; 8]).await?, 0);
        assert_eq!(near.read_vectored(&mut [IoSliceMut::new(&mut [0; 8])]).await?, 0);
        io::Result::Ok(())
    });
}

fn pipe() -> io::Result<(Async<PipeReader>, Async<PipeWriter>)> {
    let (reader, writer) = io::pipe()?;
    Ok((Async::new(reader)?, Async::new(writer)?))
}

async fn read_to_end(from: &Async<impl AsFd>) -> io::Result<Vec<u8>> {
    let (mut all, mut buf) = (Vec::new(), [0; 333]);
    loop {
        match from.read(&mut buf).await? {
            0 => return Ok(all),
            n => all.extend_from_slice(&buf[..n]),
        }
    }
}

/// Reads until something came, a little at a time.
async fn read_some(from: &Async<impl AsFd>, into: &mut Vec<u8>) -> io::Result<()> {
    let mut buf = [0; 1009];
    let n = from.read(&mut buf).await?;
    into.extend_from_slice(&buf[..n]);
    Ok(())
}

/// Waits in vain, so that it is registered here.
async fn wait_in_vain(on: &Async<impl AsFd>) {
    assert!(time::timeout(Duration::from_micros(100), on.read(&mut [0; 8])).await.is_err());
}

fn a_pipe_from_task_to_task(setup: &Setup) {
    setup.run(0, async {
        const MANY: usize = 1_000_003; // More than a pipe holds.
        let (reader, writer) = pipe()?;
        assert_eq!(reader.as_raw_fd(), reader.get_ref().as_raw_fd());
        assert_eq!(format!("{reader:?}"), format!("Async({:?})", reader.get_ref()));
        let child = spawn(async move { writer.write_all(&pattern(MANY)).await });
        assert!(read_to_end(&reader).await? == pattern(MANY));
        child.await?;
        io::Result::Ok(())
    });
}

fn a_pipe_ends_with_its_writer(setup: &Setup) {
    setup.run(1, async {
        for length in [0, 1, 7, 8, 9, 4096] {
            let (reader, writer) = pipe()?;
            // On another domain, so that data and end arrive whenever they like.
            let child = call(move || async move { writer.write_all(&pattern(length)).await })?;
            assert_eq!(read_to_end(&reader).await?, pattern(length));
            let early = reader.read_exact(&mut [0; 1]).await.unwrap_err();
            assert_eq!(early.kind(), ErrorKind::UnexpectedEof);
            child.await?;
        }
        io::Result::Ok(())
    });
}

fn a_pipe_whose_reader_is_gone_is_an_error_and_no_signal(setup: &Setup) {
    setup.run(0, async {
        let (reader, writer) = pipe()?;
        let child = spawn(async move { writer.write_all(&[0; 1 << 20]).await });
        reader.read_exact(&mut [0; 4096]).await?;
        yield_now().await; // The writer waits for room.
        drop(reader);
        let gone = child.await.unwrap_err();
        assert!(matches!(gone, matou_unix::Exit::Failed(error) if error.kind() == ErrorKind::BrokenPipe));
        io::Result::Ok(())
    });
}

fn a_fifo(setup: &Setup) {
    setup.run(1, async {
        let path = Scratch::new();
        assert!(Command::new("mkfifo").arg(path.as_ref()).status()?.success());
        let open = |flags| rustix::fs::open(path.as_ref(), flags | OFlags::CLOEXEC, Mode::empty());
        let reader = Async::new(open(OFlags::RDONLY | OFlags::NONBLOCK)?)?;
        let writer = Async::new(open(OFlags::WRONLY)?)?;
        wait_in_vain(&reader).await;
        let child = call(move || async move { writer.write_all(&pattern(100_000)).await })?;
        assert!(read_to_end(&reader).await? == pattern(100_000));
        child.await?;
        io::Result::Ok(())
    });
}

fn a_device_that_is_always_ready(setup: &Setup) {
    setup.run(0, async {
        let null = Async::new(File::options().read(true).write(true).open("/dev/null")?)?;
        assert_eq!(null.read(&mut [0; 8]).await?, 0);
        null.write_all(b"meow").await?;
        null.readable().await?;
        null.writable().await?;
        if setup.reactor == matou_unix::Reactor::Epoll {
            // Where a closure insists on a wait, there is nothing to wait for.
            let error = null.read_with(|_| io::Result::<()>::Err(ErrorKind::WouldBlock.into())).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        }
        let full = Async::new(File::options().write(true).open("/dev/full")?)?;
        assert_eq!(full.write(b"meow").await.unwrap_err().kind(), ErrorKind::StorageFull);
        io::Result::Ok(())
    });
}

fn readable_takes_nothing(setup: &Setup) {
    setup.run(0, async {
        let (reader, writer) = pipe()?;
        writer.writable().await?;
        assert!(time::timeout(Duration::from_millis(1), reader.readable()).await.is_err());
        let (ready, written) = join(reader.readable(), writer.write_all(b"meow")).await;
        ready?;
        written?;
        reader.readable().await?; // As often as one asks.
        reader.read_exact(&mut [0; 2]).await?;
        reader.readable().await?;
        reader.read_exact(&mut [0; 2]).await?;
        assert!(time::timeout(Duration::from_millis(1), reader.readable()).await.is_err());
        // A full pipe is not writable, until somebody reads.
        assert!(time::timeout(Duration::from_millis(5), writer.write_all(&[0; 1 << 20])).await.is_err());
        assert!(time::timeout(Duration::from_millis(1), writer.writable()).await.is_err());
        let mut buf = vec![0; 1 << 20];
        let (ready, read) = join(writer.writable(), reader.read(&mut buf)).await;
        ready?;
        assert!(read? > 0);
        drop(writer);
        while reader.read(&mut buf).await? > 0 {}
        reader.readable().await // The end is something to read.
    });
}

fn what_a_closure_says_is_what_counts(setup: &Setup) {
    setup.run(0, async {
        let (reader, writer) = pipe()?;
        let calls = Cell::new(0);
        let (line, written) = join(
            reader.read_with(|mut pipe: &PipeReader| {
                calls.set(calls.get() + 1);
                match calls.get() {
                    1 => Err(ErrorKind::Interrupted.into()), // Called again at once.
                    _ => {
                        let mut buf = [0; 8];
                        let n = pipe.read(&mut buf)?;
                        Ok(String::from_utf8_lossy(&buf[..n]).into_owned())
                    }
                }
            }),
            writer.write_with(|mut pipe| pipe.write(b"meow")),
        )
        .await;
        assert_eq!((line?, written?), (String::from("meow"), 4));
        assert_eq!(calls.get(), 3, "interrupted, nothing yet, four bytes");
        let error = reader.read_with(|_| io::Result::<()>::Err(ErrorKind::InvalidData.into())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        io::Result::Ok(())
    });
}

fn many_readers_of_one_pipe_get_each_byte_once(setup: &Setup) {
    setup.run(0, async {
        let (reader, writer) = pipe()?;
        let reader = Rc::new(reader);
        let readers = (0..5).map(|_| {
            let reader = Rc::clone(&reader);
            spawn(async move { read_to_end(&reader).await })
        });
        let readers = readers.collect();
        for piece in 0..200_u8 {
            writer.write_all(&[piece]).await?;
            yield_now().await;
        }
        drop(writer);
        let mut got = Vec::new();
        for part in await_all(readers).await {
            got.extend(part?);
        }
        got.sort_unstable();
        assert_eq!(got, (0..200).collect::<Vec<u8>>());
        io::Result::Ok(())
    });
}

fn several_on_one_descriptor(setup: &Setup) {
    setup.run(0, async {
        let (reader, writer) = io::pipe()?;
        let reader = Arc::new(reader);
        let held = Arc::clone(&reader);
        let writer = Async::new(writer)?;
        let readers = (0..3).map(|_| {
            let reader = Arc::clone(&reader);
            spawn(async move { Async::new(reader)?.read(&mut [0; 8]).await })
        });
        let readers = readers.collect();
        yield_now().await;
        for _ in 0..3 {
            writer.write_all(b"1").await?;
            // One of them takes it, and drops its `Async`; the others go on waiting.
            while rustix::io::ioctl_fionread(&held)? > 0 {
                time::sleep(Duration::from_millis(1)).await;
            }
        }
        let mut sum = 0;
        for part in await_all(readers).await {
            sum += part?;
        }
        assert_eq!(sum, 3);
        io::Result::Ok(())
    });
}

fn one_shared_by_reference(setup: &Setup) {
    setup.run(0, async {
        let (reader, writer) = io::pipe()?;
        let writer = Async::new(&writer)?;
        let (one, two) = (Async::new(&reader)?, Async::new(reader.as_fd())?);
        let (mut first, mut second) = ([0; 4], [0; 4]);
        let ((one, two), written) = join(join(one.read(&mut first), two.read(&mut second)), writer.write_all(b"meowmeow")).await;
        written?;
        assert_eq!((one?, two?), (4, 4));
        assert_eq!((&first, &second), (b"meow", b"meow"));
        io::Result::Ok(())
    });
}

fn r45_a_pipe_moves_from_domain_to_domain(setup: &Setup) {
    setup.run(3, async {
        const ROUNDS: usize = 60;
        const PIECE: usize = 3001;
        let (mut reader, mut writer) = pipe()?;
        let producer = Task::new().pin(DomainId::new(3)).call(move || async move {
            for round in 0..ROUNDS {
                writer.write_all(&pattern_from(round * PIECE, PIECE)).await?;
                if round % 7 == 0 {
                    // The writing end moves, too.
                    let there = writer;
                    writer = call(move || async move { there.writable().await.map(|()| there) })?.await?;
                }
            }
            io::Result::Ok(())
        })?;
        let mut got = Vec::new();
        for round in 0.. {
            let before = got.len();
            if round % 3 == 0 {
                read_some(&reader, &mut got).await?;
            } else {
                let (there, mut sofar) = (reader, got);
                let moved = Task::new().pin(DomainId::new(round % 3)).call(move || async move {
                    read_some(&there, &mut sofar).await?;
                    io::Result::Ok((there, sofar))
                })?;
                (reader, got) = moved.await?;
            }
            if got.len() == before {
                break;
            }
        }
        producer.await?;
        assert!(got == pattern(ROUNDS * PIECE), "{} bytes", got.len());
        io::Result::Ok(())
    });
}

fn r45_one_shared_by_two_domains(setup: &Setup) {
    setup.run(2, async {
        let (reader, writer) = io::pipe()?;
        let (reader, writer) = (Arc::new(reader), Async::new(writer)?);
        let readers = (0..6).map(|number| {
            let reader = Arc::clone(&reader);
            Task::new().pin(DomainId::new(1 + number % 2)).call(move || async move {
                let reader = Async::new(reader)?;
                let _may_be = time::timeout(Duration::from_micros(300), reader.readable()).await;
                // On to the other domain, while others here wait on the same descriptor.
                let moved = call(move || async move { read_to_end(&reader).await })?;
                moved.await.map_err(io::Error::from)
            })
        });
        let readers = readers.collect::<Result<Vec<_>, _>>()?;
        for _ in 0..50 {
            time::sleep(Duration::from_micros(200)).await;
            writer.write_all(&[1; 7]).await?;
        }
        drop(writer);
        let mut sum = 0;
        for part in await_all(readers).await {
            sum += part?.len();
        }
        assert_eq!(sum, 350);
        io::Result::Ok(())
    });
}

fn r34_a_read_that_times_out_loses_nothing(setup: &Setup) {
    setup.run(1, async {
        let (reader, writer) = pipe()?;
        let cut = Arc::new(AtomicUsize::new(0));
        let cuts = Arc::clone(&cut);
        let producer = call(move || async move {
            for byte in 0..100_u8 {
                writer.write_all(&[byte]).await?;
                time::sleep(Duration::from_micros(100)).await;
                // However late either domain is, some reads are cut short.
                let enough = usize::from(byte / 10);
                while cuts.load(Ordering::SeqCst) < enough {
                    time::sleep(Duration::from_micros(100)).await;
                }
            }
            io::Result::Ok(())
        })?;
        let mut got = Vec::new();
        loop {
            let mut buf = [0; 8];
            match time::timeout(Duration::from_micros(60), reader.read(&mut buf)).await {
                Err(_elapsed) => _ = cut.fetch_add(1, Ordering::SeqCst),
                Ok(n) => match n? {
                    0 => break,
                    n => got.extend_from_slice(&buf[..n]),
                },
            }
        }
        producer.await?;
        assert_eq!(got, (0..100).collect::<Vec<u8>>());
        assert!(cut.load(Ordering::SeqCst) >= 9, "reads were cut short");
        io::Result::Ok(())
    });
}

fn r36_a_device_always_ready_leaves_the_others_their_turn(setup: &Setup) {
    setup.run(0, async {
        let turns = Rc::new(Cell::new(0));
        let others = Rc::clone(&turns);
        let child = spawn(async move {
            loop {
                others.set(others.get() + 1);
                yield_now().await;
            }
            #[allow(unreachable_code)]
            io::Result::Ok(())
        });
        let zero = Async::new(File::open("/dev/zero")?)?;
        let mut buf = [1; 16];
        for _ in 0..2000 {
            zero.read_exact(&mut buf).await?;
        }
        assert!(turns.get() > 10, "the other task had {} turns", turns.get());
        child.cancel().await;
        io::Result::Ok(())
    });
}

fn r46_one_that_outlives_its_run(setup: &Setup) {
    let (reader, mut writer) = io::pipe().unwrap();
    let reader = Async::new(reader).unwrap();
    for byte in 0..3 {
        setup.run(0, async {
            wait_in_vain(&reader).await;
            writer.write_all(&[byte])?;
            let mut buf = [9; 8];
            assert_eq!(reader.read(&mut buf).await?, 1);
            assert_eq!(buf[0], byte);
            wait_in_vain(&reader).await; // It stays registered with a reactor that goes.
            io::Result::Ok(())
        });
    }
    writer.write_all(b"meow").unwrap();
    let mut pipe = reader.into_inner();
    let mut buf = [0; 8];
    assert_eq!(pipe.read(&mut buf).unwrap(), 4);
    assert_eq!(pipe.read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock, "it stays non-blocking");
}

fn replacing_the_descriptor(setup: &Setup) {
    setup.run(0, async {
        let ((mut reader, writer), (other, far)) = (pipe()?, pipe()?);
        let mut writers = Vec::new();
        for _ in 0..5 {
            wait_in_vain(&reader).await;
            let (next, writer) = pipe()?;
            writers.push(writer);
            *reader.get_mut() = next.into_inner(); // Closes the old one; its number is free for the next pipe.
        }
        assert_eq!(writer.write(b"meow").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        *reader.get_mut() = other.into_inner();
        wait_in_vain(&reader).await;
        let mut buf = [0; 4];
        let (read, written) = join(reader.read_exact(&mut buf), far.write_all(b"purr")).await;
        read?;
        written?;
        assert_eq!(&buf, b"purr");
        io::Result::Ok(())
    });
}

#[test]
fn what_is_always_ready_is_refused() {
    for path in ["/etc/passwd", "/"] {
        let file = File::open(path).unwrap();
        let error = Async::new(&file).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("matou_unix::fs"), "{text}");
        let flags = rustix::fs::fcntl_getfl(&file).unwrap();
        assert!(!flags.contains(OFlags::NONBLOCK), "a refused one is left as it was");
    }
}

#[test]
fn outside_a_run_a_wait_is_an_error() {
    let (reader, mut writer) = io::pipe().unwrap();
    let reader = Async::new(reader).unwrap();
    let mut buf = [0; 8];
    let mut read = std::pin::pin!(reader.read(&mut buf));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = read.as_mut().poll(&mut cx) else { panic!("it waits for nobody") };
    assert!(error.to_string().contains("task"), "{error}");
    writer.write_all(b"x").unwrap();
}

/// Descriptors that only Linux has.
#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use std::process::Stdio;

    use rustix::event::EventfdFlags;

    everywhere! {
        an_eventfd_that_is_full_is_waited_for
        a_pidfd_is_readable_when_its_process_has_ended
    }

    fn an_eventfd_that_is_full_is_waited_for(setup: &Setup) {
        setup.run(1, async {
            let event = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC)?);
            let (near, far) = (Async::new(Arc::clone(&event))?, Async::new(event)?);
            near.write_all(&(u64::MAX - 1).to_ne_bytes()).await?;
            let child = call(move || async move {
                let mut count = [0; 8];
                far.read_exact(&mut count).await?;
                io::Result::Ok(u64::from_ne_bytes(count))
            })?;
            near.write_all(&1_u64.to_ne_bytes()).await?; // When the other has read.
            assert_eq!(child.await?, u64::MAX - 1);
            let mut count = [0; 8];
            near.read_exact(&mut count).await?;
            assert_eq!(u64::from_ne_bytes(count), 1);
            io::Result::Ok(())
        });
    }

    fn a_pidfd_is_readable_when_its_process_has_ended(setup: &Setup) {
        setup.run(0, async {
            let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
            let pid = rustix::process::Pid::from_child(&child);
            let pidfd = Async::new(rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?)?;
            assert!(time::timeout(Duration::from_millis(5), pidfd.readable()).await.is_err(), "it lives");
            let (ended, ()) = join(pidfd.readable(), async { drop(child.stdin.take()) }).await;
            ended?;
            assert!(child.try_wait()?.expect("it has ended").success());
            pidfd.readable().await // And still is.
        });
    }
}

/// A socket whose peer does something between two questions to the system.
struct Meanwhile<F> {
    socket: std::net::TcpStream,
    /// When it is asked for its descriptor the so-manieth time, it happens.
    left: Cell<u32>,
    happens: F,
}

impl<F: Fn()> AsFd for Meanwhile<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        if self.left.get() > 0 {
            self.left.set(self.left.get() - 1);
            if self.left.get() == 0 {
                (self.happens)();
            }
        }
        self.socket.as_fd()
    }
}

/// What a read gives that was resumed for a byte which another read has taken. It has found nothing, and when the system is asked whether that was the end,
/// `happens` has happened.
fn read_while(setup: &Setup, happens: fn(std::net::TcpStream)) -> io::Result<Vec<u8>> {
    let read = setup.run(0, async {
        let listener = std::net::TcpListener::bind(support::any())?;
        let mut far = std::net::TcpStream::connect(listener.local_addr()?)?;
        let socket = listener.accept()?.0;
        let sender = Cell::new(Some(far.try_clone()?));
        let near = Async::new(Meanwhile { socket, left: Cell::new(0), happens: || happens(sender.take().unwrap()) })?;
        let (mut one, mut other) = ([0; 16], [0; 16]);
        let (mut first, mut second) = (pin!(near.read(&mut one)), Box::pin(near.read(&mut other)));
        assert!(poll_immediate(first.as_mut()).await.is_none() && poll_immediate(second.as_mut()).await.is_none());
        far.write_all(b"!")?;
        drop(far);
        assert_eq!(first.await?, 1);
        near.get_ref().left.set(2); // For its own call, then for the question.
        let read = second.as_mut().await;
        drop(second);
        io::Result::Ok(Plain(read.map(|length| other[..length].to_vec())))
    });
    read.0
}

fn what_comes_before_an_end_is_read_before_it(setup: &Setup) {
    let read = read_while(setup, |mut far| {
        far.write_all(b"meow").unwrap();
        far.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(read.unwrap(), b"meow");
}

fn a_reset_is_no_end(setup: &Setup) {
    let read = read_while(setup, |far| {
        rustix::net::sockopt::set_socket_linger(&far, Some(Duration::ZERO)).unwrap();
        drop(far);
    });
    assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionReset);
}
