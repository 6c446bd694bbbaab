//! Other programs: talked to, waited for by `pidfd` and by `SIGCHLD`, and left neither running nor as zombies.

#[macro_use]
mod support;

use std::future::{Future, pending, poll_fn};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::Stdio;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use matou_unix::process::{Child, Command};
use matou_unix::signal::Kind;
use matou_unix::{Async, RunError, blocking, call, spawn, time, yield_now};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;
use rustix::process::{Pid, WaitId, WaitIdOptions, getpgid, waitid};
use support::{Setup, Watchdog, assert_idle, join, pattern};

everywhere! {
    a_round_trip_through_cat
    large_output_on_both_pipes
    how_programs_end
    signals_reach_the_program
    what_a_program_is_given
    programs_that_are_not_there
    what_is_not_set_is_inherited_or_collected
    waiting_closes_standard_input
    a_wait_that_is_given_up_leaves_the_child
    r20_a_child_that_its_tracer_holds_back_is_waited_for_at_rest
    a_dropped_child_is_killed_and_reaped
    r44_no_program_outlives_a_run_that_failed
    one_that_is_left_alone_runs_on_and_is_reaped_later
    fifty_at_once
    r45_a_child_moves_between_domains
    two_programs_share_a_pipe
    what_is_handed_to_another_program_blocks
    started_beside_the_domain
}

/// How children are waited for.
#[derive(Clone, Copy, Debug)]
struct Start {
    by_signal: bool,
}

impl Start {
    fn command(self, program: &str) -> Command {
        let mut command = Command::new(program);
        if self.by_signal {
            command.wait_by_signal();
        }
        command
    }

    fn sh(self, script: &str) -> Command {
        let mut command = self.command("sh");
        command.args(["-c", script]);
        command
    }

    /// A program that ends only when it is killed.
    fn endless(self) -> io::Result<Child> {
        self.command("sleep").arg("1000").spawn()
    }
}

const WAYS: [Start; 2] = [Start { by_signal: false }, Start { by_signal: true }];

/// Runs it with children that are waited for in each way.
fn each_way<F: Future<Output = io::Result<()>>>(setup: &Setup, workers: usize, body: impl Fn(Start) -> F) {
    for way in WAYS {
        setup.run(workers, body(way));
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().expect("it was not waited for") as i32).unwrap()
}

/// Whether this process has such a child still, be it a zombie.
fn is_ours(pid: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    match waitid(WaitId::Pid(pid), options) {
        Err(Errno::CHILD) => false,
        known => known.map(|_| true).unwrap(),
    }
}

async fn reaped(pid: Pid) {
    while is_ours(pid) {
        yield_now().await;
    }
}

fn a_round_trip_through_cat(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let bytes = pattern(1 << 20);
        let mut cat = way.command("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
        let sends = async {
            let sent = stdin.write_all(&bytes).await;
            drop(stdin);
            sent
        };
        let mut back = vec![0; bytes.len()];
        let (sent, read) = join(sends, stdout.read_exact(&mut back)).await;
        sent.and(read)?;
        assert_eq!(stdout.read(&mut [0]).await?, 0);
        assert!(back == bytes);
        assert!(cat.wait().await?.success());
        Ok(())
    });
}

fn large_output_on_both_pipes(setup: &Setup) {
    each_way(setup, 0, async |way| {
        // Error first: read one after the other it would never end.
        let script = "head -c 300000 /dev/zero >&2; head -c 400000 /dev/zero; echo done >&2; exit 5";
        let output = way.sh(script).output().await?;
        assert_eq!(output.status.code(), Some(5));
        assert_eq!((output.stdout.len(), output.stderr.len()), (400_000, 300_005));
        assert!(output.stderr.ends_with(b"\0done\n"));
        Ok(())
    });
}

fn how_programs_end(setup: &Setup) {
    each_way(setup, 0, async |way| {
        assert!(way.command("true").status().await?.success());
        assert_eq!(way.command("false").status().await?.code(), Some(1));
        let mut child = way.sh("exit 7").spawn()?;
        assert!(child.id().is_some());
        let status = child.wait().await?;
        assert_eq!((status.code(), status.signal()), (Some(7), None));
        // Ever after.
        assert_eq!((child.wait().await?, child.try_wait()?, child.id()), (status, Some(status), None));
        child.kill()?;
        child.signal(Kind::TERMINATE)?;
        Ok(())
    });
}

fn signals_reach_the_program(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let mut child = way.endless()?;
        assert_eq!(child.try_wait()?, None);
        child.signal(Kind::TERMINATE)?;
        assert_eq!(child.wait().await?.signal(), Some(Kind::TERMINATE.as_raw()));
        let mut child = way.endless()?;
        child.kill()?;
        assert_eq!(child.wait().await?.signal(), Some(9));

        let mut child = way.sh("trap 'exit 3' USR1; echo ready; read line").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        stdout.read_exact(&mut [0; 6]).await?;
        child.signal(Kind::USER_1)?;
        // A shell that gets the signal just before it begins to read sees to it only afterwards.
        drop(stdin);
        assert_eq!(child.wait().await?.code(), Some(3));

        let error = way.endless()?.signal(Kind::from_raw(4711)).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::InvalidInput, "4711 is no signal that has a name".into()));
        Ok(())
    });
}

fn what_a_program_is_given(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let said = async |command: &mut Command| io::Result::Ok(String::from_utf8(command.output().await?.stdout).unwrap());
        assert_eq!(said(way.command("echo").arg("a b").args(["c", "d"])).await?, "a b c d\n");
        let mut env = way.command("/usr/bin/env");
        env.env_clear().env("ONE", "1").envs([("TWO", "2"), ("THREE", "3")]).env_remove("THREE");
        assert_eq!(said(&mut env).await?, "ONE=1\nTWO=2\n");
        assert_eq!(said(way.command("pwd").current_dir("/")).await?, "/\n");
        assert_eq!(said(way.sh("echo $0").arg0("tama")).await?, "tama\n");
        let mut child = way.command("sleep").arg("1000").process_group(0).spawn()?;
        assert_eq!(getpgid(Some(pid(&child)))?, pid(&child));
        child.kill()?;
        child.wait().await?;
        let mut command = way.sh("umask");
        assert_eq!(command.as_std_mut().get_program(), "sh");
        assert!(format!("{command:?}").contains("umask"));
        Ok(())
    });
}

fn programs_that_are_not_there(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let same = |ours: io::Error, theirs: io::Error| {
            assert_eq!((ours.kind(), ours.to_string()), (theirs.kind(), theirs.to_string()));
        };
        let theirs = || std::process::Command::new("no-such-cat").spawn().unwrap_err();
        assert_eq!(theirs().kind(), ErrorKind::NotFound);
        same(way.command("no-such-cat").spawn().unwrap_err(), theirs());
        same(way.command("no-such-cat").status().await.unwrap_err(), theirs());
        same(way.command("no-such-cat").output().await.unwrap_err(), theirs());
        assert_eq!(way.command("/").spawn().unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(way.command("true").current_dir("/no/such/dir").spawn().unwrap_err().kind(), ErrorKind::NotFound);
        Ok(())
    });
}

fn what_is_not_set_is_inherited_or_collected(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let child = way.command("true").spawn()?;
        assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
        drop(child);
        // Its input is empty, so it ends.
        let mut cat = way.command("cat");
        assert_eq!(cat.output().await?.stdout, b"");
        // What is set stays so, each time.
        let mut both = way.sh("echo out; echo err >&2");
        for _ in 0..2 {
            let output = both.stdout(Stdio::null()).output().await?;
            assert_eq!((output.stdout, output.stderr), (b"".to_vec(), b"err\n".to_vec()));
        }
        let output = way.sh("echo out; echo err >&2").stderr(Stdio::null()).output().await?;
        assert_eq!((output.stdout, output.stderr), (b"out\n".to_vec(), b"".to_vec()));
        Ok(())
    });
}

fn waiting_closes_standard_input(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let mut cat = way.command("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        assert!(cat.wait().await?.success());
        let cat = way.command("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        cat.stdin.as_ref().unwrap().write_all(b"meow").await?;
        assert_eq!(cat.wait_with_output().await?.stdout, b"meow");
        Ok(())
    });
}

fn a_wait_that_is_given_up_leaves_the_child(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let mut child = way.endless()?;
        for _ in 0..3 {
            let waited = time::timeout(Duration::from_millis(1), child.wait()).await;
            assert!(waited.is_err());
        }
        assert_eq!(child.try_wait()?, None);
        let pid = pid(&child);
        assert!(is_ours(pid));
        child.kill()?;
        assert_eq!(child.wait().await?.signal(), Some(9));
        assert!(!is_ours(pid));
        Ok(())
    });
}

/// Says whose tracer this process is to become, where it is one.
const TRACEE: &str = "MATOU_TEST_TRACEE";

/// No test, but the tracer of one.
#[test]
#[cfg(target_os = "linux")]
fn tracer() {
    use nix::sys::ptrace;
    let Ok(tracee) = std::env::var(TRACEE) else { return };
    let seized = ptrace::seize(nix::unistd::Pid::from_raw(tracee.parse().unwrap()), ptrace::Options::empty());
    println!("{}", seized.map_or("refused.", |()| "seized."));
    let _its_end = io::Read::read(&mut io::stdin(), &mut [0]);
}

/// The system says that it has ended, and not yet how.
#[cfg(target_os = "linux")]
fn r20_a_child_that_its_tracer_holds_back_is_waited_for_at_rest(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let mut child = way.command("cat").stdin(Stdio::piped()).spawn()?;
        let number = child.id().unwrap();
        let mut tracer = Command::new(std::env::current_exe()?);
        tracer.args(["--exact", "tracer", "--nocapture", "--test-threads=1"]).env(TRACEE, number.to_string());
        let mut tracer = tracer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (mut said, mut byte) = (String::new(), [0]);
        while !said.ends_with("ed.") {
            assert_eq!(tracer.stdout.as_ref().unwrap().read(&mut byte).await?, 1, "{said}");
            said.push(char::from(byte[0]));
        }
        if said.ends_with("refused.") {
            eprintln!("left out: this system lets no program trace another");
            return Ok(());
        }
        drop(child.stdin.take());
        let is_zombie = || io::Result::Ok(std::fs::read_to_string(format!("/proc/{number}/stat"))?.contains(") Z "));
        while !is_zombie()? {
            yield_now().await;
        }
        assert_idle(Duration::from_millis(200), async |time| {
            assert!(time::timeout(time, child.wait()).await.is_err(), "its tracer has it");
        })
        .await;
        let (ended, traced) = join(child.wait(), tracer.wait()).await; // Its input is closed by that.
        traced?;
        assert!(ended?.success());
        Ok(())
    });
}

#[cfg(not(target_os = "linux"))]
fn r20_a_child_that_its_tracer_holds_back_is_waited_for_at_rest(_setup: &Setup) {}

fn a_dropped_child_is_killed_and_reaped(setup: &Setup) {
    each_way(setup, 1, async |way| {
        let child = way.endless()?;
        let number = pid(&child);
        drop(child);
        reaped(number).await;

        // A task that is cancelled while it waits.
        let mut child = way.endless()?;
        let number = pid(&child);
        let waits = call(move || async move { child.wait().await.map(drop) })?;
        time::sleep(Duration::from_millis(1)).await;
        waits.cancel().await;
        reaped(number).await;

        // One that is dead already, and one whose output is waited for.
        let mut child = way.endless()?;
        let number = pid(&child);
        child.kill()?;
        drop(child);
        reaped(number).await;
        let child = way.command("sleep").arg("1000").stdout(Stdio::piped()).spawn()?;
        let number = pid(&child);
        assert!(time::timeout(Duration::from_millis(1), child.wait_with_output()).await.is_err());
        reaped(number).await;
        Ok(())
    });
}

fn r44_no_program_outlives_a_run_that_failed(setup: &Setup) {
    for way in WAYS {
        let (mut numbers, told) = (Vec::new(), std::sync::mpsc::channel());
        let tell = told.0;
        let ran = setup.builder(1).blocking_threads(1).run(async {
            let mut held: Vec<Child> = Vec::new();
            for _ in 0..5 {
                held.push(way.endless()?);
            }
            numbers.extend(held.iter().map(pid));
            let waits = call(move || async move {
                let mut child = way.endless()?;
                tell.send(pid(&child)).unwrap();
                child.wait().await.map(drop)
            })?;
            while numbers.len() < 6 {
                numbers.extend(told.1.try_iter());
                yield_now().await;
            }
            drop(spawn(pending::<()>())); // Forgotten.
            drop(waits);
            Ok::<_, io::Error>(())
        });
        assert!(matches!(ran, Err(RunError::Violation(_))), "{ran:?}");
        assert_eq!(numbers.len(), 6);
        assert!(numbers.into_iter().all(|number| !is_ours(number)), "killed and reaped when `run` returns");
    }
}

fn one_that_is_left_alone_runs_on_and_is_reaped_later(setup: &Setup) {
    for way in WAYS {
        let (reader, writer) = io::pipe().unwrap();
        let mut number = None;
        setup.run(0, async {
            let child = way.command("cat").stdin(reader).stdout(Stdio::null()).kill_on_drop(false).spawn()?;
            number = Some(pid(&child));
            drop(child);
            io::Result::Ok(())
        });
        let number = number.unwrap();
        assert!(
            waitid(WaitId::Pid(number), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT).unwrap().is_none(),
            "it runs"
        );
        drop(writer);
        while is_ours(number) {
            drop(way.command("true").spawn().unwrap()); // Reaps those that have ended.
        }
    }
}

fn fifty_at_once(setup: &Setup) {
    each_way(setup, 2, async |way| {
        let mut children = Vec::new();
        for number in 0..50 {
            let work = move || async move {
                let script = format!("read line; echo $line; exit {number}");
                let mut child = way.sh(&script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
                child.stdin.as_ref().unwrap().write_all(format!("{number}\n").as_bytes()).await?;
                let output = if number % 3 == 0 {
                    let status = child.wait().await?;
                    let mut stdout = Vec::new();
                    child.stdout.take().unwrap().read_to_end(&mut stdout).await?;
                    (status.code(), stdout)
                } else {
                    let output = child.wait_with_output().await?;
                    (output.status.code(), output.stdout)
                };
                Ok::<_, io::Error>(output)
            };
            children.push(if number % 2 == 0 { spawn(work()) } else { call(work)? });
        }
        for (number, result) in matou_unix::await_all(children).await.into_iter().enumerate() {
            let (code, stdout) = result?;
            assert_eq!((code, stdout), (Some(number as i32), format!("{number}\n").into_bytes()));
        }
        Ok(())
    });
}

fn r45_a_child_moves_between_domains(setup: &Setup) {
    each_way(setup, 2, async |way| {
        let mut child = way.command("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        assert!(time::timeout(Duration::from_millis(1), child.stdout.as_ref().unwrap().read(&mut [0])).await.is_err());
        let stdin = child.stdin.take().unwrap();
        assert!(time::timeout(Duration::from_millis(1), child.wait()).await.is_err());
        let elsewhere = call(move || async move {
            stdin.write_all(b"meow").await?;
            let mut buf = [0; 4];
            child.stdout.as_ref().unwrap().read_exact(&mut buf).await?;
            assert!(time::timeout(Duration::from_millis(1), child.wait()).await.is_err());
            drop(stdin);
            io::Result::Ok((child, buf))
        })?;
        let (mut child, buf) = elsewhere.await?;
        assert_eq!(&buf, b"meow");
        assert!(child.wait().await?.success());
        Ok(())
    });
}

fn two_programs_share_a_pipe(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let (reader, writer) = io::pipe()?;
        let mut says = way.command("echo").arg("meow").stdout(writer).spawn()?;
        let output = way.command("tr").args(["a-z", "A-Z"]).stdin(reader).output().await?;
        assert_eq!(output.stdout, b"MEOW\n");
        assert!(says.wait().await?.success());
        Ok(())
    });
}

fn what_is_handed_to_another_program_blocks(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let mut says = way.command("echo").arg("meow").stdout(Stdio::piped()).spawn()?;
        let mut tr = way.command("tr").args(["a-z", "A-Z"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (said, to_tr) = (says.stdout.take().unwrap(), tr.stdin.take().unwrap());
        let same = [said.as_fd().try_clone_to_owned()?, to_tr.as_fd().try_clone_to_owned()?];
        let blocks = |fd: &OwnedFd| Ok::<_, Errno>(!fcntl_getfl(fd)?.contains(OFlags::NONBLOCK));
        assert!(!blocks(&same[0])? && !blocks(&same[1])?);
        let mut cat = way.command("cat").stdin(Stdio::try_from(said)?).stdout(Stdio::try_from(to_tr)?).spawn()?;
        assert!(blocks(&same[0])? && blocks(&same[1])?);
        drop(same); // They would keep the pipes open.
        assert_eq!(tr.wait_with_output().await?.stdout, b"MEOW\n");
        assert!(says.wait().await?.success() && cat.wait().await?.success());
        Ok(())
    });
}

fn started_beside_the_domain(setup: &Setup) {
    each_way(setup, 0, async |way| {
        let mut command = way.sh("exit 4");
        let mut child = blocking(move || command.spawn()).await??;
        assert_eq!(child.wait().await?.code(), Some(4));
        // One that is dropped there is reaped there.
        let number = blocking(move || way.endless().map(|child| pid(&child))).await??;
        assert!(!is_ours(number));
        Ok(())
    });
}

#[test]
fn outside_a_run_a_child_may_be_started_and_dropped_but_not_awaited() {
    let _watchdog = Watchdog::new("outside");
    for way in WAYS {
        let mut child = way.endless().unwrap();
        let number = pid(&child);
        let polled = pin!(child.wait()).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Ready(Err(_))), "{polled:?}");
        assert!(is_ours(number));
        drop(child);
        assert!(!is_ours(number), "killed and reaped at once");
    }
}

#[test]
fn reading_to_the_end_keeps_what_was_there() {
    let _watchdog = Watchdog::new("to the end");
    let ran = matou_unix::run(async {
        let (reader, writer) = io::pipe()?;
        let (reader, writer) = (Async::new(reader)?, Async::new(writer)?);
        let sends = spawn(async move { writer.write_all(&pattern(200_000)).await });
        let mut bytes = vec![1, 2];
        assert_eq!(reader.read_to_end(&mut bytes).await?, 200_000);
        assert!(bytes[..2] == [1, 2] && bytes[2..] == pattern(200_000));
        sends.await?;
        // Given up in between, what was taken is there.
        let (reader, writer) = io::pipe()?;
        let (reader, writer) = (Async::new(reader)?, Async::new(writer)?);
        writer.write_all(b"meow").await?;
        let mut bytes = Vec::new();
        {
            let mut reads = pin!(reader.read_to_end(&mut bytes));
            assert!(poll_fn(|cx| Poll::Ready(reads.as_mut().poll(cx).is_pending())).await);
        }
        assert_eq!(bytes, b"meow");
        io::Result::Ok(())
    });
    ran.unwrap();
}
