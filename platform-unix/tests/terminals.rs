//! `Async` on pseudo-terminals: lines, and bytes in quantity.

#[macro_use]
mod support;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use matou_unix::{Async, call, time, yield_now};
use rustix::fs::{Mode, OFlags};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use support::{Setup, join, pattern};

everywhere! {
    lines
    many_bytes_in_both_directions
}

/// Waits in vain, so that it is registered here.
async fn wait_in_vain(on: &Async<impl AsFd>) {
    assert!(time::timeout(Duration::from_micros(100), on.read(&mut [0; 8])).await.is_err());
}

fn terminal() -> io::Result<(Async<OwnedFd>, Async<OwnedFd>)> {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = rustix::fs::open(ptsname(&master, Vec::new())?, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((Async::new(master)?, Async::new(slave)?))
}

fn lines(setup: &Setup) {
    setup.run(0, async {
        let (master, slave) = terminal()?;
        wait_in_vain(&slave).await;
        // Three lines at once: a read gives one, which is less than the buffer holds, and the next one is there nevertheless.
        let mut lines = Vec::new();
        let (typed, read) = join(master.write_all(b"one\ntwo\nthree\n"), async {
            while lines.len() < 14 {
                let mut buf = [0; 100];
                let n = slave.read(&mut buf).await?;
                lines.extend_from_slice(&buf[..n]);
            }
            io::Result::Ok(())
        })
        .await;
        typed?;
        read?;
        assert_eq!(lines, b"one\ntwo\nthree\n");
        slave.write_all(b"meow").await?;
        let mut screen = Vec::new();
        while !screen.ends_with(b"meow") {
            let mut buf = [0; 100];
            let n = master.read(&mut buf).await?;
            screen.extend_from_slice(&buf[..n]);
        }
        assert_eq!(screen, b"one\r\ntwo\r\nthree\r\nmeow", "the echo, and what was written");
        // The other side goes while this one waits.
        let (read, ()) = join(master.read(&mut [0; 8]), async {
            yield_now().await;
            drop(slave);
        })
        .await;
        if cfg!(target_os = "linux") {
            assert_eq!(read.unwrap_err().raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
        }
        io::Result::Ok(())
    });
}

fn many_bytes_in_both_directions(setup: &Setup) {
    setup.run(1, async {
        const MANY: usize = 200_000; // Far more than a terminal holds.
        let (master, slave) = terminal()?;
        let mut attributes = tcgetattr(&slave)?;
        attributes.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &attributes)?;
        let there = call(move || async move {
            let mut got = vec![0; MANY];
            let sent = pattern(MANY);
            let (written, read) = join(slave.write_all(&sent), slave.read_exact(&mut got)).await;
            written?;
            read?;
            io::Result::Ok((slave, got))
        })?;
        let mut got = vec![0; MANY];
        let sent = pattern(MANY);
        let (written, read) = join(master.write_all(&sent), master.read_exact(&mut got)).await;
        written?;
        read?;
        let (_slave, theirs) = there.await?;
        assert!(got == sent && theirs == sent);
        io::Result::Ok(())
    });
}
