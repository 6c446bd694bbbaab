//! What happens when descriptors run out. The limit is the process's, so it is set in a process of its own.

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use matou_unix::net::{TcpStream, UdpSocket};
use matou_unix::signal::{self, Kind};
use matou_unix::{Builder, Reactor, RunError, spawn, time, yield_now};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{Watchdog, any, assert_idle, assert_succeeded, everywhere, in_a_child, listen};

/// Forbids to open any more descriptors, for as long as it lives.
struct NoMore(Rlimit);

impl NoMore {
    fn new() -> NoMore {
        let before = getrlimit(Resource::Nofile);
        let next = std::fs::File::open("/dev/null").unwrap();
        let next = std::os::fd::AsRawFd::as_raw_fd(&next) as u64; // Closed again: the next number, which is then beyond the limit.
        setrlimit(Resource::Nofile, Rlimit { current: Some(next), ..before }).unwrap();
        NoMore(before)
    }
}

impl Drop for NoMore {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).unwrap();
    }
}

const TOO_MANY: Option<i32> = Some(24);

#[test]
fn accept_tells_that_descriptors_ran_out_and_loses_no_connection() {
    if let Some(output) = in_a_child("accept_tells_that_descriptors_ran_out_and_loses_no_connection", &[]) {
        return assert_succeeded(&output);
    }
    let _watchdog = Watchdog::new("accept");
    for setup in everywhere() {
        setup.run(0, async {
            let (listener, addr) = listen()?;
            // Registered, as it waited once.
            assert!(time::timeout(Duration::from_millis(1), listener.accept()).await.is_err());
            let clients = [std::net::TcpStream::connect(addr)?, std::net::TcpStream::connect(addr)?];
            let limit = NoMore::new();
            for _ in 0..3 {
                let error = listener.accept().await.unwrap_err();
                assert_eq!(error.raw_os_error(), TOO_MANY, "{error}");
            }
            assert_eq!(TcpStream::connect(addr).await.unwrap_err().raw_os_error(), TOO_MANY);
            drop(limit);
            for client in clients {
                let (_, peer) = listener.accept().await?;
                assert_eq!(peer, client.local_addr()?);
            }
            io::Result::Ok(())
        });
    }
}

#[test]
fn a_signal_handler_is_called_though_descriptors_ran_out() {
    if let Some(output) = in_a_child("a_signal_handler_is_called_though_descriptors_ran_out", &[]) {
        return assert_succeeded(&output);
    }
    let _watchdog = Watchdog::new("a signal handler");
    for setup in everywhere() {
        setup.run(0, async {
            let calls = Arc::new(AtomicUsize::new(0));
            let called = |times| {
                let calls = Arc::clone(&calls);
                async move {
                    while calls.load(Ordering::Relaxed) < times {
                        yield_now().await;
                    }
                }
            };
            let limit = NoMore::new();
            let calls = Arc::clone(&calls);
            signal::on(Kind::USER_1, move || _ = calls.fetch_add(1, Ordering::Relaxed))?;
            for times in 1..4 {
                signal::raise(Kind::USER_1)?;
                called(times).await;
            }
            drop(limit);
            // From now on domain 0 can listen.
            for times in 4..7 {
                signal::raise(Kind::USER_1)?;
                called(times).await;
            }
            assert_idle(Duration::from_millis(200), async |time| time::sleep(time).await).await;
            io::Result::Ok(())
        });
    }
}

/// The other reactors need no more than they have.
#[test]
fn a_limit_below_what_is_waited_for_is_named() {
    if let Some(output) = in_a_child("a_limit_below_what_is_waited_for_is_named", &[]) {
        return assert_succeeded(&output);
    }
    let _watchdog = Watchdog::new("a limit");
    for setup in everywhere() {
        let before = getrlimit(Resource::Nofile);
        let ran = setup.try_run(0, async {
            let waits = || async {
                let socket = UdpSocket::bind(any())?;
                socket.recv(&mut [0]).await
            };
            let waiting: Vec<_> = (0..40).map(|_| spawn(waits())).collect();
            yield_now().await;
            setrlimit(Resource::Nofile, Rlimit { current: Some(20), ..before })?;
            time::sleep(Duration::from_millis(1)).await;
            for one in waiting {
                one.cancel().await;
            }
            io::Result::Ok(())
        });
        setrlimit(Resource::Nofile, before).unwrap();
        match ran {
            Ok(()) => assert_ne!(setup.reactor, Reactor::Poll),
            Err(RunError::Events(_, error)) => {
                assert_eq!(setup.reactor, Reactor::Poll);
                assert!(error.to_string().contains("41 descriptors") && error.to_string().contains("RLIMIT_NOFILE"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_run_that_cannot_begin_says_why() {
    if let Some(output) = in_a_child("a_run_that_cannot_begin_says_why", &[]) {
        return assert_succeeded(&output);
    }
    let _watchdog = Watchdog::new("a run that cannot begin");
    for setup in everywhere() {
        let limit = NoMore::new();
        let ran = setup.try_run(2, async { io::Result::Ok(()) });
        drop(limit);
        let Err(RunError::Events(_, error)) = ran else { panic!("{ran:?}") };
        assert!(error.to_string().contains("Too many open files"), "{error}");
    }
    // A stack no machine has room for.
    let ran = Builder::new().domains(2).stack_size(1 << 60).run(async { io::Result::Ok(()) });
    let Err(RunError::Platform(error)) = ran else { panic!("{ran:?}") };
    assert!(error.to_string().contains("the thread of domain 1 of 2 could not be started"), "{error}");
}
