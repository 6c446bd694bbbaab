//! Violations over real domains (R44): all of them sleep in their reactors, with sockets that wait, and one task breaks a rule.
//!
//! Wherever it is, the run ends with each finaliser run, each socket closed (its peer outside sees the end) and each thread joined. One test in a
//! binary of its own, as it counts the descriptors and the threads of the process.

mod support;

use std::future::pending;
use std::io::{self, Read};
use std::net::{Shutdown, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use matou_unix::net::TcpStream;
use matou_unix::{DomainId, Orphans, Resource, RunError, Task, Violation, ViolationKind, call, scope, spawn, time};
use support::{Setup, Watchdog, any, await_counts, counts, everywhere, listen};

const WORKERS: usize = 3;

/// Which task breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Origin {
    Main,
    Child,
    OnWorker,
    OnAnotherWorker,
    InOrphans,
    InAScope,
    /// In the destructor of a task that is cancelled on a worker.
    InADestructor,
    /// Two of them, on two workers.
    Twice,
}

const ORIGINS: [Origin; 8] = [
    Origin::Main,
    Origin::Child,
    Origin::OnWorker,
    Origin::OnAnotherWorker,
    Origin::InOrphans,
    Origin::InAScope,
    Origin::InADestructor,
    Origin::Twice,
];

type Finalised = Arc<AtomicUsize>;

/// Something of the current task's that counts when it is finalised.
fn own(finalised: &Finalised) -> io::Result<()> {
    let count = finalised.clone();
    let resource = Resource::new((), move |()| {
        count.fetch_add(1, Ordering::SeqCst);
    });
    Ok(resource.own()?)
}

/// Waits for bytes that do not come, for a connection, and for a time.
async fn sleep_in_sockets(peer: std::net::SocketAddr, finalised: Finalised) -> io::Result<()> {
    own(&finalised)?;
    let (listener, _) = listen()?;
    let owned = matou_unix::owned::TcpListener::bind(any())?;
    let stream = TcpStream::connect(peer).await?;
    let reads = spawn(async move {
        own(&finalised)?;
        stream.write_all(b"!").await?;
        stream.read(&mut [0; 1]).await.map(drop)
    });
    let accepts = spawn(async move { listener.accept().await.map(drop) });
    let slept = spawn(time::sleep(Duration::from_secs(3600)));
    owned.accept().await?;
    reads.await?;
    accepts.await?;
    Ok(slept.await?)
}

/// Breaks rule 3, having waited in a reactor.
async fn forget() -> io::Result<()> {
    time::sleep(Duration::from_millis(1)).await;
    drop(spawn(pending::<()>()));
    Ok(())
}

async fn break_a_rule(origin: Origin) -> io::Result<()> {
    match origin {
        Origin::Main => return forget().await,
        Origin::Child => spawn(forget()).await?,
        Origin::OnWorker => call(forget)?.await?,
        Origin::OnAnotherWorker => call(|| async { Ok::<_, io::Error>(call(forget)?.await?) })?.await?,
        Origin::InOrphans => {
            let orphans = Orphans::new();
            orphans.call(forget)?;
            orphans.next().await.unwrap()?;
        }
        Origin::InAScope => call(|| scope(forget()))?.await?,
        Origin::InADestructor => {
            let family = || async {
                let orphans = Rc::new(Orphans::new());
                orphans.spawn(pending::<()>());
                /// Uses an `Orphans` of another task's when it is dropped.
                struct Thief(Rc<Orphans<()>>);
                impl Drop for Thief {
                    fn drop(&mut self) {
                        drop(self.0.care());
                    }
                }
                let thief = Thief(orphans.clone());
                let child = spawn(async move {
                    let _thief = thief;
                    pending::<()>().await;
                });
                time::sleep(Duration::from_millis(1)).await;
                child.cancel().await;
                Ok::<_, io::Error>(())
            };
            call(family)?.await?;
        }
        Origin::Twice => {
            let both = [1, 2].map(|worker| Task::new().pin(DomainId::new(worker)).call(forget));
            for one in both {
                one?.await?;
            }
        }
    }
    unreachable!("the run is being stopped");
}

fn violate(setup: &Setup, origin: Origin) -> Violation {
    let finalised = Finalised::default();
    // The peers of all streams live outside the run.
    let outside = StdListener::bind(any()).unwrap();
    let peer = outside.local_addr().unwrap();
    let (ran, peers) = std::thread::scope(|scope| {
        let accepting = scope.spawn(|| {
            let accept = |_| {
                let (mut stream, _) = outside.accept().unwrap();
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                stream
            };
            (0..=WORKERS).map(accept).collect::<Vec<_>>()
        });
        let ran = setup.try_run(WORKERS, async {
            let kept = Orphans::new();
            for at in 0..=WORKERS {
                let finalised = finalised.clone();
                let sleeper = move || sleep_in_sockets(peer, finalised);
                if at == 0 {
                    kept.spawn(sleeper())
                } else {
                    Task::new().pin(DomainId::new(at)).call_in(&kept, sleeper)?
                };
            }
            while !accepting.is_finished() {
                time::sleep(Duration::from_micros(100)).await;
            }
            break_a_rule(origin).await
        });
        (ran, accepting.join().unwrap())
    });
    for mut peer in peers {
        // Closed by the run that is over.
        let read = peer.read(&mut [0; 1]);
        assert!(matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset), "{origin:?}");
        let _ = peer.shutdown(Shutdown::Both);
    }
    assert_eq!(finalised.load(Ordering::SeqCst), 2 * (WORKERS + 1), "{origin:?}");
    match ran {
        Err(RunError::Violation(violation)) => violation,
        other => panic!("{origin:?}: {other:?}"),
    }
}

#[test]
fn r44_from_everywhere_over_sockets_that_wait() {
    let _watchdog = Watchdog::new("violations");
    let setups = everywhere();
    let (_, threads) = counts();
    violate(&setups[0], Origin::Main); // Whatever the process opens once, for good.
    let before = await_counts(|now| now.1 <= threads);
    for setup in setups {
        for origin in ORIGINS {
            for _ in 0..3 {
                let violation = violate(&setup, origin);
                let expected = if origin == Origin::InADestructor { "NotAChild (R24)" } else { "StillHasChildren (R3)" };
                let text = violation.to_string();
                assert!(text.contains(expected) && text.contains(file!()), "{origin:?}: {text}");
                // Both workers may have come so far before one of them stopped the other.
                assert!(violation.others <= usize::from(origin == Origin::Twice), "{origin:?}: {text}");
                match violation.kind {
                    ViolationKind::StillHasChildren { spawned, .. } | ViolationKind::NotAChild { spawned, .. } => {
                        assert_eq!(spawned.file(), file!());
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(await_counts(|now| now == before), before, "descriptors and threads, {setup:?}, {origin:?}");
            }
        }
    }
}
