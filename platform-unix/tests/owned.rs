//! Sockets that belong to tasks.

#[macro_use]
mod support;

use std::io;
use std::net::Shutdown;
use std::time::Duration;

use matou_unix::owned::{TcpListener, TcpStream};
use matou_unix::{Exit, OwnershipError, RunError, Task, ViolationKind, call, net, spawn, time, yield_now};
use support::{Setup, any, join};

everywhere! {
    r26_use_by_another_task_names_the_owner
    r27_an_abnormal_end_closes
    r27_a_cancellation_closes_before_it_is_over
    r28_a_socket_left_open_is_a_violation
    r29_disown_gives_the_socket_back
    r30_given_to_a_child_here_and_there
    r30_given_to_a_child_that_never_runs
    r31_handed_to_the_parent
    r45_given_away_while_it_is_waited_for
    closed_while_it_is_waited_for
    an_owned_echo
    outside_a_task
}

async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(any())?;
    let one = TcpStream::connect(listener.local_addr()?).await?;
    let (other, peer) = listener.accept().await?;
    assert_eq!(peer, one.local_addr()?);
    assert_eq!(other.peer_addr()?, peer);
    listener.close()?;
    Ok((one, other))
}

fn kind(error: io::Error) -> Option<OwnershipError> {
    error.get_ref()?.downcast_ref().copied()
}

fn r26_use_by_another_task_names_the_owner(setup: &Setup) {
    setup.run(1, async {
        let (one, other) = pair().await?;
        let owner = matou_unix::current_task().unwrap();
        let thief = one.clone();
        let steals = move || async move {
            assert_eq!(thief.check(), Err(OwnershipError::NotOwner(owner)));
            assert_eq!(thief.close(), Err(OwnershipError::NotOwner(owner)));
            assert_eq!(kind(thief.shutdown(Shutdown::Both).unwrap_err()), Some(OwnershipError::NotOwner(owner)));
            assert_eq!(kind(thief.write(b"x").await.unwrap_err()), Some(OwnershipError::NotOwner(owner)));
            let error = thief.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            io::Result::Ok(error.to_string())
        };
        let message = spawn(steals.clone()()).await?;
        assert!(message.contains(&owner.to_string()), "{message}");
        call(steals)?.await?;
        one.close()?;
        other.close()?;
        assert_eq!(kind(one.read(&mut [0; 8]).await.unwrap_err()), Some(OwnershipError::Gone));
        io::Result::Ok(())
    });
}

fn r27_an_abnormal_end_closes(setup: &Setup) {
    setup.run(1, async {
        for elsewhere in [false, true] {
            let listener = TcpListener::bind(any())?;
            let addr = listener.local_addr()?;
            let fails = move || async move {
                let _stream = TcpStream::connect(addr).await?;
                Err::<(), _>(io::Error::other("enough"))
            };
            let child = if elsewhere { call(fails)? } else { spawn(fails()) };
            let (server, _) = listener.accept().await?;
            assert!(matches!(child.await, Err(Exit::Failed(_))));
            assert_eq!(server.read(&mut [0; 8]).await?, 0, "it was closed");
            server.close()?;
            listener.close()?;
        }
        io::Result::Ok(())
    });
}

fn r27_a_cancellation_closes_before_it_is_over(setup: &Setup) {
    setup.run(1, async {
        for elsewhere in [false, true] {
            let free = TcpListener::bind(any())?;
            let addr = free.local_addr()?;
            free.close()?;
            let serves = move || async move {
                let listener = TcpListener::bind(addr)?;
                listener.accept().await.map(drop)
            };
            for _ in 0..10 {
                // The address is free again each time, or else `bind` would fail, and with it the child.
                let child = if elsewhere { call(serves)? } else { spawn(serves()) };
                time::sleep(Duration::from_micros(300)).await;
                assert!(!child.is_ended());
                child.cancel().await;
            }
        }
        io::Result::Ok(())
    });
}

fn r28_a_socket_left_open_is_a_violation(setup: &Setup) {
    /// Leaves one open, in each way there is to get one.
    async fn leaks(way: usize) -> io::Result<()> {
        let listener = TcpListener::bind(any())?;
        if way > 0 {
            let client = TcpStream::connect(listener.local_addr()?).await?;
            if way > 1 {
                listener.accept().await?;
                client.close()?;
            }
            listener.close()?;
        }
        Ok(())
    }
    for (way, elsewhere) in [(0, false), (1, false), (2, false), (0, true), (1, true), (2, true)] {
        let ran = setup.try_run(1, async move {
            if elsewhere {
                call(move || leaks(way))?.await?
            } else {
                spawn(leaks(way)).await?
            }
            io::Result::Ok(())
        });
        let Err(RunError::Violation(violation)) = ran else { panic!("{ran:?}") };
        let ViolationKind::ResourceLeaked { owned } = violation.kind else { panic!("{violation}") };
        assert!(owned.file().ends_with("owned.rs") && owned.file().contains("tests"), "the caller's line, not ours: {owned}");
    }
}

fn r29_disown_gives_the_socket_back(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let plain: net::TcpStream = one.disown()?;
        plain.write_all(b"meow").await?;
        other.read_exact(&mut [0; 4]).await?;
        let again = TcpStream::new(plain)?;
        again.with(|stream| stream.set_nodelay(true))??;
        again.close()?;
        assert_eq!(other.read(&mut [0; 4]).await?, 0);
        other.close()?;
        io::Result::Ok(())
    });
}

fn r30_given_to_a_child_here_and_there(setup: &Setup) {
    setup.run(1, async {
        for elsewhere in [false, true] {
            let (one, other) = pair().await?;
            // Registered here, before it goes.
            assert!(time::timeout(Duration::from_micros(100), other.read(&mut [0; 8])).await.is_err());
            let handle = other.clone();
            let answers = move || async move {
                let mut buf = [0; 8];
                handle.read_exact(&mut buf).await?;
                handle.write_all(&buf).await?;
                io::Result::Ok(handle.close()?)
            };
            let task = Task::new().give(other.resource());
            let child = if elsewhere { task.call(answers)? } else { task.spawn(answers())? };
            assert!(matches!(other.check(), Err(OwnershipError::NotOwner(id)) if id == child.id()));
            one.write_all(b"question").await?;
            one.read_exact(&mut [0; 8]).await?;
            child.await?;
            one.close()?;
        }
        io::Result::Ok(())
    });
}

fn r30_given_to_a_child_that_never_runs(setup: &Setup) {
    setup.run(1, async {
        for elsewhere in [false, true] {
            let (one, other) = pair().await?;
            assert!(time::timeout(Duration::from_micros(100), other.read(&mut [0; 8])).await.is_err());
            let task = Task::new().give(other.resource());
            let never = || std::future::pending::<io::Result<()>>();
            let child = if elsewhere { task.call(never)? } else { task.spawn(never())? };
            child.cancel().await;
            assert_eq!(one.read(&mut [0; 8]).await?, 0, "it was closed");
            one.close()?;
        }
        io::Result::Ok(())
    });
}

fn r31_handed_to_the_parent(setup: &Setup) {
    setup.run(1, async {
        let listener = TcpListener::bind(any())?;
        let addr = listener.local_addr()?;
        for elsewhere in [false, true] {
            let connects = move || async move {
                let stream = TcpStream::connect(addr).await?;
                assert!(time::timeout(Duration::from_micros(100), stream.read(&mut [0; 8])).await.is_err());
                stream.transfer()?;
                io::Result::Ok(stream)
            };
            let child = if elsewhere { call(connects)? } else { spawn(connects()) };
            let (server, _) = listener.accept().await?;
            let stream = child.await?;
            stream.check()?;
            server.write_all(b"meow").await?;
            stream.read_exact(&mut [0; 4]).await?;
            stream.close()?;
            server.close()?;
        }
        assert_eq!(listener.transfer(), Err(OwnershipError::NoParent));
        listener.close()?;
        io::Result::Ok(())
    });
}

fn r45_given_away_while_it_is_waited_for(setup: &Setup) {
    setup.run(1, async {
        let (one, other) = pair().await?;
        let handle = other.clone();
        let mut buf = [0; 8];
        let (read, child) = join(other.read(&mut buf), async {
            yield_now().await; // Now it is waited for.
            yield_now().await;
            let child = Task::new().give(other.resource()).call(move || async move {
                handle.write_all(b"mine").await?;
                let mut buf = [0; 8];
                handle.read_exact(&mut buf).await?;
                io::Result::Ok(handle.close()?)
            })?;
            one.read_exact(&mut [0; 4]).await?;
            io::Result::Ok(child)
        })
        .await;
        // The child's use on another domain ended the wait, though no byte came.
        let child = child?;
        assert_eq!(kind(read.unwrap_err()), Some(OwnershipError::NotOwner(child.id())));
        one.write_all(b"for them").await?;
        child.await?;
        one.close()?;
        io::Result::Ok(())
    });
}

fn closed_while_it_is_waited_for(setup: &Setup) {
    setup.run(0, async {
        let (one, other) = pair().await?;
        let mut buf = [0; 8];
        let (read, closed) = join(other.read(&mut buf), async {
            yield_now().await;
            yield_now().await;
            other.close()
        })
        .await;
        closed?;
        assert_eq!(kind(read.unwrap_err()), Some(OwnershipError::Gone));
        one.close()?;
        io::Result::Ok(())
    });
}

fn an_owned_echo(setup: &Setup) {
    setup.run(2, async {
        let listener = TcpListener::bind(any())?;
        let addr = listener.local_addr()?;
        let server = Task::new().give(listener.resource()).call(move || async move {
            let mut echoes = Vec::new();
            for _ in 0..20 {
                let (stream, _) = listener.accept().await?;
                let handle = stream.clone();
                echoes.push(Task::new().give(stream.resource()).call(move || async move {
                    let mut buf = [0; 100];
                    loop {
                        match handle.read(&mut buf).await? {
                            0 => return io::Result::Ok(handle.close()?),
                            n => handle.write_all(&buf[..n]).await?,
                        }
                    }
                })?);
            }
            for result in matou_unix::await_all(echoes).await {
                result?;
            }
            io::Result::Ok(listener.close()?)
        })?;
        for number in 0..20_u8 {
            let client = TcpStream::connect(addr).await?;
            let mut back = [0; 300];
            client.write_all(&[number; 300]).await?;
            client.read_exact(&mut back).await?;
            assert_eq!(back, [number; 300]);
            client.close()?;
        }
        server.await?;
        io::Result::Ok(())
    });
}

fn outside_a_task(_: &Setup) {
    let error = TcpListener::bind(any()).unwrap_err();
    assert_eq!(kind(error), Some(OwnershipError::NoTask));
}
