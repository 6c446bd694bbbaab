//! Nothing is left behind: descriptors and threads are as many after a run as before. One test in a binary of its own, as it counts
//! those of the process.

mod support;

use std::io;
use std::time::Duration;

use matou_unix::net::{TcpStream, UdpSocket, UnixStream};
use matou_unix::process::{Command, Stdio};
use matou_unix::signal::{self, Kind};
use matou_unix::{Orphans, Task, blocking, call, owned, spawn, time};
use support::{Setup, Watchdog, any, await_counts, counts, echo, everywhere, full_queue, listen, pair};

/// What is not done by the domain itself.
async fn beside_the_domain() -> io::Result<()> {
    // Threads for blocking work: one that ended, one that is let finish.
    blocking(|| ()).await?;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let runs = time::timeout(Duration::from_micros(100), blocking(move || held.recv().is_ok()));
    assert!(runs.await.is_err());
    drop(release);

    // Programs: one that ended, one that is killed.
    let cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    cat.wait_with_output().await?;
    let cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    call(move || cat.wait_with_output())?.cancel().await;
    drop(Command::new("cat").stdin(Stdio::piped()).spawn()?);
    Ok(())
}

fn everything(setup: &Setup) {
    setup.run(3, async {
        let (listener, addr) = listen()?;
        let server = call(move || async move {
            let orphans = Orphans::new();
            for _ in 0..10 {
                let (stream, _) = listener.accept().await?;
                orphans.call(move || echo(stream))?;
            }
            while let Some(result) = orphans.next().await {
                result?;
            }
            io::Result::Ok(())
        })?;
        for _ in 0..10 {
            let client = TcpStream::connect(addr).await?;
            client.write_all(b"meow").await?;
            client.read_exact(&mut [0; 4]).await?;
        }
        server.await?;

        // Those that end before their time: cut short, cancelled, moved and dropped, closed by a finaliser, forgotten.
        let (one, two) = pair().await?;
        assert!(time::timeout(Duration::from_micros(100), one.read(&mut [0; 1])).await.is_err());
        call(move || async move { two.read(&mut [0; 1]).await })?.cancel().await;
        let moved = call(move || async move {
            drop(one);
            io::Result::Ok(())
        })?;
        moved.await?;
        let owned = owned::TcpListener::bind(any())?;
        let given = owned.clone();
        let waits = Task::new().give(owned.resource()).call(move || async move { given.accept().await.map(drop) })?;
        time::sleep(Duration::from_micros(200)).await;
        waits.cancel().await;
        let datagrams = UdpSocket::bind(any())?;
        spawn(async move { datagrams.recv(&mut [0; 1]).await }).cancel().await;

        beside_the_domain().await?;

        // Connections under way: to queues that are full, and given up.
        let full = full_queue()?;
        let (addr, path) = (full.tcp.local_addr()?, full.path.as_ref().to_owned());
        assert!(time::timeout(Duration::from_millis(1), TcpStream::connect(addr)).await.is_err());
        assert!(TcpStream::connect_timeout(addr, Duration::from_millis(1)).await.is_err());
        assert!(time::timeout(Duration::from_millis(3), UnixStream::connect(&path)).await.is_err());
        let connects = call(move || async move { TcpStream::connect(addr).await.map(drop) })?;
        time::sleep(Duration::from_micros(200)).await;
        connects.cancel().await;

        let mut signals = signal::signal(Kind::USER_1)?;
        signal::on(Kind::USER_2, || ())?;
        call(|| async { signal::signal(Kind::USER_1).map(drop) })?.await?;
        signal::raise(Kind::USER_1)?;
        signals.recv().await
    });

    // And a run that is stopped in the middle.
    let ran = setup.try_run(2, async {
        let orphans = Orphans::new();
        for _ in 0..4 {
            orphans.call(|| async {
                let (_one, two) = pair().await?;
                two.read(&mut [0; 1]).await.map(drop)
            })?;
        }
        time::sleep(Duration::from_millis(1)).await;
        Err::<(), _>(io::Error::other("enough"))
    });
    assert!(ran.is_err());
}

#[test]
fn r18_no_descriptor_and_no_thread_is_left() {
    let _watchdog = Watchdog::new("leaks");
    let setups = everywhere();
    let (_, threads) = counts();
    everything(&setups[0]); // Whatever the process opens once, for good.
    let before = await_counts(|now| now.1 <= threads);
    for setup in setups {
        for _ in 0..5 {
            everything(&setup);
            assert_eq!(await_counts(|now| now == before), before, "descriptors and threads, {setup:?}");
        }
    }
}
