//! Descriptors of every kind: pipes, terminals, devices, and whatever else the system lets a program wait for.
//!
//! [`Async`] takes any value that has a descriptor and lets tasks wait for it. It stands on the same [`source`] as the sockets of
//! [`net`](crate::net), which know more of theirs: where a socket drained by a short read is not asked again before the next event,
//! an `Async` always asks until the system says that there is nothing, since a short read of a terminal, a packet pipe or an
//! `inotify` means nothing.
//!
//! # Invariants
//!
//! - *Non-blocking*: the descriptor is non-blocking from [`Async::new`] on; only who replaces it can break that, for itself.
//! - *Pollable*: it is of a kind that the system reports as ready only when it is. Regular files, which are always ready, are refused.

pub(crate) mod awaited;
pub(crate) mod source;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags};

use self::awaited::perform;
use self::source::Source;
use crate::reactor::Direction;

/// A value with a descriptor that tasks can wait for: a pipe, a terminal, a device, an `eventfd`, a `pidfd`.
///
/// For sockets see [`net`](crate::net), which has more to offer. As they, an `Async` is `Send` (where `T` is) and not `Sync`, may be made
/// outside a run, registers with the domain where it first has to wait, and may be handed to another one; no byte is lost on
/// the way. Any number of tasks of one domain may use it at once.
///
/// ```
/// use matou_unix::{Async, spawn};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     let (reader, writer) = std::io::pipe()?;
///     let (reader, writer) = (Async::new(reader)?, Async::new(writer)?);
///     let child = spawn(async move { writer.write_all(b"meow").await });
///     let mut buf = [0; 16];
///     let n = reader.read(&mut buf).await?;
///     assert_eq!(&buf[..n], b"meow");
///     child.await?;
///     assert_eq!(reader.read(&mut buf).await?, 0); // The writer is gone.
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail,E0277
/// fn may_be_shared<T: Sync>() {}
/// may_be_shared::<matou_unix::Async<std::io::PipeReader>>();
/// ```
///
/// # Standard input and other shared descriptors
///
/// Non-blocking is what the *open file* becomes, not the descriptor: whoever shares it finds it so. Standard input, output and
/// error are usually one terminal, shared with each other, with the shell and with every process that inherited it; made non-blocking,
/// `println!` may fail with `WouldBlock`. So an `Async` never makes a descriptor blocking again, when it is dropped as
/// little as by [`into_inner`](Async::into_inner): it cannot know who else relies on it by then. On Linux `/dev/tty`, or
/// `/proc/self/fd/0` where standard input is a pipe, can be opened anew for an open file of one's own:
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let terminal = matou_unix::Async::new(std::fs::File::open("/dev/tty")?)?;
/// let mut line = [0; 4096];
/// let n = terminal.read(&mut line).await?;
/// # Ok(())
/// # }
/// ```
///
/// Several of them may stand on the same descriptor (`Async<&File>`, `Async<Arc<File>>`, two on standard input): each of them sees
/// the readiness, and one of them gets the bytes.
///
/// Miou: `Miou_unix.of_file_descr`.
#[doc(alias = "of_file_descr")]
#[doc(alias = "AsyncFd")]
pub struct Async<T: AsFd> {
    source: Source<T>,
}

impl<T: AsFd> Async<T> {
    /// Takes over a descriptor, and makes it non-blocking. Outside a run, too.
    ///
    /// ```
    /// let file = std::fs::File::open("/etc/passwd")?;
    /// let error = matou_unix::Async::new(&file).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Unsupported` for regular files, directories and disks: the system calls them ready at all times, and a call may block on the disk
    /// nevertheless. They are for `matou_unix::fs`, or another thread. Else what the system says. The value is dropped then;
    /// where that would be a loss, pass a reference.
    pub fn new(io: T) -> io::Result<Async<T>> {
        check(io.as_fd())?;
        let flags = rustix::fs::fcntl_getfl(&io)?;
        if !flags.contains(OFlags::NONBLOCK) {
            rustix::fs::fcntl_setfl(&io, flags | OFlags::NONBLOCK)?;
        }
        Ok(Async { source: Source::new(io) })
    }

    /// The value.
    pub fn get_ref(&self) -> &T {
        self.source.io()
    }

    /// The value, to be changed.
    ///
    /// It leaves its domain's reactor first, so that its descriptor may even be closed or replaced. One that is put there must
    /// be non-blocking already: else a call on it blocks its whole domain.
    pub fn get_mut(&mut self) -> &mut T {
        self.source.io_mut()
    }

    /// Gives the value back. Its descriptor stays non-blocking: see [above](Async#standard-input-and-other-shared-descriptors). For what is to be
    /// another program's there is `Stdio::try_from`: see [`process`](crate::process#pipes).
    pub fn into_inner(self) -> T {
        self.source.into_io()
    }

    /// Waits until it is readable: a read would find bytes, the end, or an error. A `pidfd` is, when its process has ended.
    ///
    /// Somebody else may be quicker: read with [`read_with`](Async::read_with), which waits again then.
    ///
    /// # Errors
    /// Outside a task, that it is; and `Unsupported` for a device that cannot be waited for.
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    pub async fn readable(&self) -> io::Result<()> {
        self.ready(Direction::Read, PollFlags::IN).await
    }

    /// Waits until it is writable: a write would take bytes, or give an error.
    ///
    /// # Errors
    /// As [`readable`](Async::readable).
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind.
    pub async fn writable(&self) -> io::Result<()> {
        self.ready(Direction::Write, PollFlags::OUT).await
    }

    /// Where it waits.
    pub(crate) fn source(&self) -> &Source<T> {
        &self.source
    }

    async fn ready(&self, direction: Direction, flags: PollFlags) -> io::Result<()> {
        let ask = |source: &Source<T>| if is_ready(source, flags)? { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) };
        perform(&self.source, direction, ask).await
    }

    /// Calls `f` until it gives something else than `WouldBlock`, waiting in between until the descriptor is readable. The first
    /// call comes at once.
    ///
    /// `f` must give `WouldBlock` only where the system has just said so of this descriptor: else the wait is for
    /// news that may never come. After `Interrupted` it is called again without a wait. (A socket for datagrams that was shut down says so for ever, and is reported as
    /// readable: [`read`](Async::read) knows.)
    ///
    /// ```
    /// # use matou_unix::Async;
    /// # use std::fs::File;
    /// # use std::io::{self, Read};
    /// # async fn example(terminal: &Async<File>, buf: &mut [u8]) -> io::Result<usize> {
    /// terminal.read_with(|mut file| file.read(buf)).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of `f`, and of [`readable`](Async::readable).
    ///
    /// # Cancellation
    /// Dropped early, no result is lost: what `f` gives is given on in the same poll.
    pub async fn read_with<R>(&self, mut f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        perform(&self.source, Direction::Read, |source| f(source.io())).await
    }

    /// As [`read_with`](Async::read_with), where what is waited for is that the descriptor is writable.
    ///
    /// # Errors
    /// Those of `f`, and of [`writable`](Async::writable).
    ///
    /// # Cancellation
    /// Dropped early, no result is lost: what `f` gives is given on in the same poll.
    pub async fn write_with<R>(&self, mut f: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        perform(&self.source, Direction::Write, |source| f(source.io())).await
    }

    /// Reads what has come, up to the length of `buf`, and gives how many bytes that were. 0 is the end, or an empty `buf`.
    ///
    /// # Errors
    /// What the system says. A pseudo-terminal whose other side is gone gives `EIO` on Linux, not an end.
    ///
    /// # Cancellation
    /// Dropped early it has taken no byte.
    ///
    /// Miou: `Miou_unix.read`.
    pub async fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        awaited::receive(&self.source, |source| Ok(rustix::io::read(source, &mut *buf)?), || Ok(0)).await
    }

    /// Reads until `buf` is full.
    ///
    /// # Errors
    /// `UnexpectedEof` if the end comes before; what `buf` holds then is not said. Else as [`read`](Async::read).
    ///
    /// # Cancellation
    /// Dropped early it may have taken bytes, which are then in `buf`, and how many is not known. Where that matters, count
    /// with [`read`](Async::read).
    ///
    /// Miou: `Miou_unix.really_read`.
    #[doc(alias = "really_read")]
    pub async fn read_exact(&self, buf: &mut [u8]) -> io::Result<()> {
        read_exact(buf, async |rest: &mut [u8]| self.read(rest).await).await
    }

    /// Reads to the end, into the end of `buf`, and gives how many bytes that were.
    ///
    /// # Errors
    /// As [`read`](Async::read); `buf` holds what was read before.
    ///
    /// # Cancellation
    /// Dropped early, `buf` holds what was taken.
    pub async fn read_to_end(&self, buf: &mut Vec<u8>) -> io::Result<usize> {
        let before = buf.len();
        let mut part = vec![0; 1 << 13];
        loop {
            match self.read(&mut part).await? {
                0 => return Ok(buf.len() - before),
                read => buf.extend_from_slice(&part[..read]),
            }
        }
    }

    /// Writes from `buf` what the system takes at once, and gives how many bytes that were.
    ///
    /// # Errors
    /// What the system says: `BrokenPipe` where nobody is left to read. The system sends `SIGPIPE` too, which Rust programs ignore
    /// from their start; one that has set it back to its default action is ended by it.
    ///
    /// # Cancellation
    /// Dropped early it has written nothing.
    pub async fn write(&self, buf: &[u8]) -> io::Result<usize> {
        perform(&self.source, Direction::Write, |source| Ok(rustix::io::write(source, buf)?)).await
    }

    /// Writes all of `buf`.
    ///
    /// # Errors
    /// As [`write`](Async::write).
    ///
    /// # Cancellation
    /// Dropped early it may have written a part of `buf`, and which is not known. Where that matters, count with
    /// [`write`](Async::write).
    ///
    /// Miou: `Miou_unix.write`.
    pub async fn write_all(&self, buf: &[u8]) -> io::Result<()> {
        write_all(buf, async |rest: &[u8]| self.write(rest).await).await
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Async").field(self.get_ref()).finish()
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }
}

impl<T: AsFd> AsRawFd for Async<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Asks the system, without waiting, whether one of these has come about, or an error.
pub(crate) fn is_ready(fd: impl AsFd, flags: PollFlags) -> io::Result<bool> {
    Ok(poll(&mut [PollFd::new(&fd, flags)], Some(&Timespec::default()))? > 0)
}

/// Asks the system, without waiting, whether a socket's reading direction has ended. Some have calls that say nothing of it unless they block.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn has_ended(fd: impl AsFd) -> io::Result<bool> {
    let mut asked = [PollFd::new(&fd, PollFlags::RDHUP)];
    poll(&mut asked, Some(&Timespec::default()))?;
    Ok(asked[0].revents().contains(PollFlags::RDHUP)) // Errors show without being asked for.
}

/// Elsewhere the calls tell.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn has_ended(_fd: impl AsFd) -> io::Result<bool> {
    Ok(false)
}

/// Refuses what is always ready. Devices without readiness, such as `/dev/null`, pass: they never let a call wait.
fn check(fd: BorrowedFd<'_>) -> io::Result<()> {
    let kind = match FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::BlockDevice => "a disk",
        _ => return Ok(()),
    };
    if knows_readiness(fd)? {
        return Ok(());
    }
    let text = format!("{kind} cannot be waited for, as it is always ready: use `matou_unix::fs`, or another thread");
    Err(io::Error::new(io::ErrorKind::Unsupported, text))
}

/// Whether the system can tell when it is ready, though it looks like a file: some kernels make a `pidfd` look so.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn knows_readiness(fd: BorrowedFd<'_>) -> io::Result<bool> {
    use rustix::event::epoll;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    match epoll::add(&epoll, fd, epoll::EventData::new_u64(0), epoll::EventFlags::empty()) {
        Err(rustix::io::Errno::PERM) => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn knows_readiness(_fd: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}

/// Reads with `read` until `buf` is full.
pub(crate) async fn read_exact(mut buf: &mut [u8], mut read: impl AsyncFnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
    while !buf.is_empty() {
        match read(buf).await? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the stream ended before the buffer was full")),
            moved => buf = &mut buf[moved..],
        }
    }
    Ok(())
}

/// Writes all of `buf` with `write`.
pub(crate) async fn write_all(mut buf: &[u8], mut write: impl AsyncFnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
    while !buf.is_empty() {
        match write(buf).await? {
            0 => return Err(io::Error::new(io::ErrorKind::WriteZero, "the system took no byte")),
            moved => buf = &buf[moved..],
        }
    }
    Ok(())
}
