//! A program that was started.
//!
//! ```text
//!              try_wait, wait (1)
//!   Running ─────────────────────▶ Ended
//!      │
//!      └────────── drop (2) ─────▶ Gone
//! ```
//!
//! 1. The child is reaped here and nowhere else, by the system call that tells how it ended. Until then its number is its own.
//! 2. It is killed and reaped, or left alone: see the [module](super).

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::os::fd::AsFd;
use std::pin::pin;
use std::process::{Child as StdChild, ExitStatus, Output};
use std::task::Poll;

use matou_core::effect::poll_budget;
use rustix::process::{Pid, Signal, kill_process};

use super::{Stdio, left};
use crate::Async;
use crate::blocking;
use crate::signal::{self, Kind};
use crate::time::Pauses;

/// The other end of a child's standard input. The child finds the end of its input when this is dropped.
pub type ChildStdin = Async<std::process::ChildStdin>;

/// The other end of a child's standard output.
pub type ChildStdout = Async<std::process::ChildStdout>;

/// The other end of a child's standard error.
pub type ChildStderr = Async<std::process::ChildStderr>;

/// Gives it to another program, as its standard input, output or error. The descriptor is made blocking, as that expects: so does whoever else has
/// the same open file find it.
///
/// # Errors
/// What the system says. It is dropped then.
impl<T: AsFd + Into<Stdio>> TryFrom<Async<T>> for Stdio {
    type Error = io::Error;

    fn try_from(io: Async<T>) -> io::Result<Stdio> {
        let io = io.into_inner();
        rustix::io::ioctl_fionbio(&io, false)?;
        Ok(io.into())
    }
}

/// A program that was started. Dropped before it was waited for it is killed and reaped: see the [module](super).
///
/// It is `Send`, and may be waited for on any domain.
pub struct Child {
    /// The other end of its standard input, if that was [`piped`](super::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// The other end of its standard output, if that was piped.
    pub stdout: Option<ChildStdout>,
    /// The other end of its standard error, if that was piped.
    pub stderr: Option<ChildStderr>,
    state: State,
    watch: Watch,
    kill_on_drop: bool,
}

enum State {
    Running(StdChild),
    Ended(ExitStatus),
    Gone,
}

/// What tells that a child has ended.
enum Watch {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    PidFd(Async<std::os::fd::OwnedFd>),
    Signal,
}

impl Watch {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn new(child: &StdChild, by_signal: bool) -> Watch {
        use rustix::process::{PidfdFlags, pidfd_open};
        if by_signal {
            return Watch::Signal;
        }
        // Refused by an old kernel or a sandbox, or no descriptor is left: the signal needs none.
        pidfd_open(pid(child), PidfdFlags::empty()).map_err(io::Error::from).and_then(Async::new).map_or(Watch::Signal, Watch::PidFd)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn new(_child: &StdChild, _by_signal: bool) -> Watch {
        Watch::Signal
    }
}

fn pid(child: &StdChild) -> Pid {
    Pid::from_child(child)
}

impl Child {
    pub(super) fn new(mut std: StdChild, kill_on_drop: bool, by_signal: bool) -> io::Result<Child> {
        let (stdin, stdout, stderr) = (std.stdin.take(), std.stdout.take(), std.stderr.take());
        let watch = Watch::new(&std, by_signal);
        // From here on it is killed where something fails.
        let mut child = Child { stdin: None, stdout: None, stderr: None, state: State::Running(std), watch, kill_on_drop };
        child.stdin = stdin.map(Async::new).transpose()?;
        child.stdout = stdout.map(Async::new).transpose()?;
        child.stderr = stderr.map(Async::new).transpose()?;
        Ok(child)
    }

    /// Its number in the system; `None` once it was waited for, as another process may have it then.
    #[doc(alias = "pid")]
    pub fn id(&self) -> Option<u32> {
        match &self.state {
            State::Running(std) => Some(std.id()),
            State::Ended(_) | State::Gone => None,
        }
    }

    /// Waits until it has ended, and gives how. Its standard input is closed first: a program that reads to the end would not end otherwise.
    /// When it has ended, and each time after, the answer comes at once.
    ///
    /// A program that writes more than a pipe holds ends only when that is read: see [`wait_with_output`](Child::wait_with_output).
    ///
    /// # Errors
    /// Outside a task, that it is; and what the system says.
    ///
    /// # Cancellation
    /// Dropped early it leaves the child as it is, but for its closed input; it may be waited for again.
    #[doc(alias = "waitpid")]
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        poll_fn(poll_budget).await;
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        // Heard from before the next look on: there is no gap.
        let mut deaths = match &self.watch {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Watch::PidFd(_) => None,
            Watch::Signal => Some(signal::signal(Kind::CHILD)?),
        };
        let mut pauses: Option<Pauses> = None;
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            if let Some(pauses) = &mut pauses {
                // It has ended, and its tracer has it: there is no event when that lets it go.
                pauses.next().await;
                continue;
            }
            match (&self.watch, &mut deaths) {
                #[cfg(any(target_os = "linux", target_os = "android"))]
                (Watch::PidFd(fd), _) => {
                    fd.readable().await?;
                    pauses = Some(Pauses::new());
                }
                (_, Some(deaths)) => deaths.recv().await?,
                (Watch::Signal, None) => unreachable!("it is listened to"),
            }
        }
    }

    /// How it has ended, if it has. It does not wait.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match &mut self.state {
            State::Running(std) => {
                let status = std.try_wait()?;
                if let Some(status) = status {
                    self.state = State::Ended(status);
                }
                Ok(status)
            }
            State::Ended(status) => Ok(Some(*status)),
            State::Gone => unreachable!("nobody has it any more"),
        }
    }

    /// Closes its standard input, reads its standard output and error to their ends, both at once, and waits until it has ended.
    ///
    /// What is not piped, or was taken, is given as empty. A pipe has ended when everybody has closed it, programs that the child has started
    /// included.
    ///
    /// # Errors
    /// As [`wait`](Child::wait), and those of reading. The child is dropped then.
    ///
    /// # Cancellation
    /// Dropped early it drops the child.
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (stdout, stderr) = both(drained(self.stdout.take()), drained(self.stderr.take())).await;
        let (stdout, stderr) = (stdout?, stderr?);
        Ok(Output { status: self.wait().await?, stdout, stderr })
    }

    /// Sends it a signal. It does not wait for what comes of it. Where it has ended nothing is sent.
    ///
    /// # Errors
    /// `InvalidInput` for a number that is no named signal, and what the system says: `PermissionDenied` where the program has become another
    /// user's.
    pub fn signal(&mut self, kind: Kind) -> io::Result<()> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, format!("{} is no signal that has a name", kind.as_raw()));
        self.send(Signal::from_named_raw(kind.as_raw()).ok_or_else(wrong)?)
    }

    /// Kills it, by `SIGKILL`. It does not wait for its end. Where it has ended nothing is sent.
    ///
    /// # Errors
    /// As [`signal`](Child::signal).
    pub fn kill(&mut self) -> io::Result<()> {
        self.send(Signal::KILL)
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        let State::Running(std) = &self.state else { return Ok(()) };
        let sent = match &self.watch {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Watch::PidFd(fd) => rustix::process::pidfd_send_signal(fd, signal),
            // It was not reaped, so the number is its own.
            Watch::Signal => kill_process(pid(std), signal),
        };
        match sent {
            Err(rustix::io::Errno::SRCH) => Ok(()), // Dead, and the system has reaped it unasked.
            sent => Ok(sent?),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let killed = self.kill_on_drop && self.kill().is_ok();
        let State::Running(mut std) = mem::replace(&mut self.state, State::Gone) else { return };
        match std.try_wait() {
            Ok(Some(_)) | Err(_) => {}
            // It dies as soon as the system gets to it.
            Ok(None) if killed => blocking::finish(move || drop(std.wait())),
            Ok(None) => left::leave(std),
        }
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Child");
        match &self.state {
            State::Running(std) => debug.field("id", &std.id()),
            State::Ended(status) => debug.field("status", status),
            State::Gone => &mut debug,
        };
        debug.finish_non_exhaustive()
    }
}

/// Reads a pipe to its end.
async fn drained<T: AsFd>(pipe: Option<Async<T>>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Awaits both.
async fn both<A: Future, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(output) = one.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = other.as_mut().poll(cx)
        {
            second = Some(output);
        }
        if first.is_some() && second.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (first.expect("it is ready"), second.expect("it is ready"))
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;
    use crate::process::Command;

    #[test]
    fn where_there_is_a_pidfd_it_is_used() {
        let child = Command::new("true").spawn().unwrap();
        assert!(matches!(child.watch, Watch::PidFd(_)));
        let child = Command::new("true").wait_by_signal().spawn().unwrap();
        assert!(matches!(child.watch, Watch::Signal));
    }
}
