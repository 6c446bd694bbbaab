//! What the tests of this folder share: each test runs on every reactor and with every bell, under a watchdog.

#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.

pub mod wakers;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use matou_unix::net::{TcpListener, TcpStream, UnixListener};
use matou_unix::{Builder, Outcome, Reactor, RunError};

/// Makes of each function `fn name(setup: &Setup)` one test per way of waiting.
#[allow(unused_macros)]
macro_rules! everywhere {
    ($($name:ident)*) => {
        #[cfg(target_os = "linux")]
        everywhere!(@ uring, Reactor::Uring, false; $($name)*);
        #[cfg(target_os = "linux")]
        everywhere!(@ epoll, Reactor::Epoll, false; $($name)*);
        everywhere!(@ poll, Reactor::Poll, false; $($name)*);
        #[cfg(target_os = "linux")]
        everywhere!(@ uring_pipe, Reactor::Uring, true; $($name)*);
        #[cfg(target_os = "linux")]
        everywhere!(@ epoll_pipe, Reactor::Epoll, true; $($name)*);
        everywhere!(@ poll_pipe, Reactor::Poll, true; $($name)*);
    };
    (@ $module:ident, $reactor:expr, $pipe:expr; $($name:ident)*) => {
        mod $module {
            use matou_unix::Reactor;
            $(
                #[test]
                fn $name() {
                    if !crate::support::is_there($reactor) {
                        return;
                    }
                    let _watchdog = crate::support::Watchdog::new(concat!(stringify!($module), "::", stringify!($name)));
                    super::$name(&crate::support::Setup { reactor: $reactor, pipe: $pipe });
                }
            )*
        }
    };
}

/// Whether this system has a reactor: not every kernel has io_uring, or lets it be used.
pub fn is_there(reactor: Reactor) -> bool {
    static URING: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    let asked = || match Builder::new().environment(false).domains(0).reactor(Reactor::Uring).run(async {}) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("left out: {error}");
            false
        }
    };
    reactor != Reactor::Uring || *URING.get_or_init(asked)
}

/// How the domains of a test wait.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub reactor: Reactor,
    pub pipe: bool,
}

pub type Ran<F> = Result<<<F as Future>::Output as Outcome>::Value, RunError<<<F as Future>::Output as Outcome>::Error, io::Error>>;

impl Setup {
    pub fn builder(&self, workers: usize) -> Builder {
        let builder = Builder::new().environment(false).domains(workers).seed(42).reactor(self.reactor);
        if self.pipe { builder.wake_by_pipe() } else { builder }
    }

    #[track_caller]
    pub fn try_run<F: Future<Output: Outcome>>(&self, workers: usize, main: F) -> Ran<F> {
        self.builder(workers).run(main)
    }

    /// Runs it, and expects a normal end.
    #[track_caller]
    pub fn run<F>(&self, workers: usize, main: F) -> <F::Output as Outcome>::Value
    where
        F: Future<Output: Outcome<Error: std::fmt::Display>>,
    {
        match self.try_run(workers, main) {
            Ok(value) => value,
            Err(error) => panic!("the run failed: {error}"),
        }
    }
}

/// Ends the process when a test hangs, and says which.
pub struct Watchdog {
    done: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Generous: it begins before a test's turn has come, where tests take turns, and the machine may be busy.
    const PATIENCE: Duration = Duration::from_secs(300);

    pub fn new(name: &'static str) -> Watchdog {
        let (done, waiting): (Sender<()>, Receiver<()>) = channel();
        let watch = move || {
            if waiting.recv_timeout(Watchdog::PATIENCE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("{name} hangs: nothing for {:?}", Watchdog::PATIENCE);
                std::process::abort();
            }
        };
        Watchdog { done: Some(done), thread: Some(thread::spawn(watch)) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.done.take();
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// A path that is nobody else's, and free again at the end.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Scratch(std::env::temp_dir().join(format!("matou-{}-{number}", std::process::id())))
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _may_not_be_there = std::fs::remove_file(&self.0);
    }
}

pub fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(any())?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

/// Listeners whose queues are full: who connects to them waits.
pub struct FullQueues {
    pub tcp: TcpListener,
    pub unix: UnixListener,
    pub path: Scratch,
    _queued: Vec<OwnedFd>,
}

pub fn full_queue() -> io::Result<FullQueues> {
    use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen};
    let socket = |family| {
        // In steps, as not all Unixes can do it in one.
        let fd = rustix::net::socket(family, SocketType::STREAM, None)?;
        fcntl_setfd(&fd, FdFlags::CLOEXEC)?;
        ioctl_fionbio(&fd, true)?;
        io::Result::Ok(fd)
    };
    let (tcp, unix) = (socket(AddressFamily::INET)?, socket(AddressFamily::UNIX)?);
    let path = Scratch::new();
    let unix_address = SocketAddrUnix::new(path.as_ref())?;
    bind(&tcp, &any())?;
    bind(&unix, &unix_address)?;
    listen(&tcp, 0)?;
    listen(&unix, 0)?;
    let tcp = TcpListener::try_from(tcp)?;
    let mut queued = Vec::new();
    for _ in 0..3 {
        // One or two come about at once, and the rest never.
        let (to_tcp, to_unix) = (socket(AddressFamily::INET)?, socket(AddressFamily::UNIX)?);
        let (_connected, _full) = (connect(&to_tcp, &tcp.local_addr()?), connect(&to_unix, &unix_address));
        queued.extend([to_tcp, to_unix]);
        // The first is in the queue before the next one asks: on a busy machine the system is late with it.
        await_readable(&tcp);
    }
    Ok(FullQueues { tcp, unix: UnixListener::try_from(unix)?, path, _queued: queued })
}

/// Blocks until there is something to receive or to accept.
fn await_readable(socket: &impl AsFd) {
    use rustix::event::{PollFd, PollFlags, poll};
    while poll(&mut [PollFd::new(socket, PollFlags::IN)], None) != Ok(1) {}
}

/// Two connected streams.
pub async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let (listener, addr) = listen()?;
    let one = TcpStream::connect(addr).await?;
    let (other, _) = listener.accept().await?;
    Ok((one, other))
}

/// Sends back what comes, to the end of the stream.
pub async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n]).await?,
        }
    }
}

/// Awaits both.
pub async fn join<A: Future, B: Future>(one: A, other: B) -> (A::Output, B::Output) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    std::future::poll_fn(move |cx| {
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
        match (first.take(), second.take()) {
            (Some(first), Some(second)) => Poll::Ready((first, second)),
            (one, other) => {
                (first, second) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

/// Begins to wait for this, and gives it up.
pub async fn begin<F: Future>(future: F) {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending(), "there is nothing to wait for");
        Poll::Ready(())
    })
    .await;
}

/// An address of this machine at which nobody listens, and which nobody else can have: it is bound.
pub fn nobody_listens() -> io::Result<(OwnedFd, SocketAddr)> {
    let holder = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)?;
    rustix::net::bind(&holder, &any())?;
    let addr = SocketAddr::try_from(rustix::net::getsockname(&holder)?)?;
    Ok((holder, addr))
}

/// How many descriptors and threads this process has.
pub fn counts() -> (usize, usize) {
    let count = |of| std::fs::read_dir(of).unwrap().count();
    (count("/proc/self/fd"), count("/proc/self/task"))
}

/// Waits until there are as many, as a thread that was joined is listed until the kernel has put it away; and gives how many there are.
pub fn await_counts(is_so: impl Fn((usize, usize)) -> bool) -> (usize, usize) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is_so(counts()) && Instant::now() < patience {
        thread::sleep(Duration::from_micros(100));
    }
    counts()
}

/// Sees that a wait of `time` costs this thread next to no processor time. It waits again where that was much: a busy machine has what it takes
/// away put down to who runs, and who does not rest uses as much each time.
pub async fn assert_idle(time: Duration, mut wait: impl AsyncFnMut(Duration)) {
    use rustix::time::{ClockId, clock_gettime};
    let used = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let mut costs = Vec::new();
    for _ in 0..10 {
        let before = used();
        wait(time).await;
        costs.push(used() - before);
        if costs.last().is_some_and(|cost| *cost < Duration::from_millis(15)) {
            return;
        }
    }
    panic!("an idle domain used {costs:?} of {time:?} each");
}

/// Bytes that tell where they belong.
pub fn pattern(length: usize) -> Vec<u8> {
    pattern_from(0, length)
}

/// The same, beginning further on.
pub fn pattern_from(start: usize, length: usize) -> Vec<u8> {
    (start..start + length).map(|index| (index * 7 + index / 251) as u8).collect()
}

/// Every way of waiting, for tests that cannot run side by side.
pub fn everywhere() -> Vec<Setup> {
    let setups = [Reactor::Uring, Reactor::Epoll, Reactor::Poll].map(|reactor| [false, true].map(|pipe| Setup { reactor, pipe }));
    setups.into_iter().flatten().filter(|setup| is_there(setup.reactor)).collect()
}

/// Runs a test of this binary again, alone in a process of its own; `None` in that process.
pub fn in_a_child(test: &str, environment: &[(&str, &str)]) -> Option<std::process::Output> {
    const MARK: &str = "MATOU_TEST_CHILD";
    if std::env::var_os(MARK).is_some() {
        return None;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(MARK, "1");
    child.env_remove("MATOU_DOMAINS").env_remove("MATOU_QUANTA").envs(environment.iter().copied());
    Some(child.output().unwrap())
}

/// Fails with what a child said, unless it succeeded.
#[track_caller]
pub fn assert_succeeded(output: &std::process::Output) {
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{}: {said}", output.status);
}

/// Leaks a value for good, as `mem::forget` does, and notes where it is: a leak checker (`checks/asan.sh`) takes what can be reached from a note
/// for used, and reports only what was not meant to be leaked.
pub fn leak<'a, T: 'a>(value: T) -> &'a mut T {
    static NOTES: std::sync::Mutex<Vec<usize>> = std::sync::Mutex::new(Vec::new());
    let leaked = Box::leak(Box::new(value));
    NOTES.lock().unwrap().push(std::ptr::from_mut(leaked).expose_provenance());
    leaked
}

/// A waker that drops this when it wakes: a thread that waits for a channel of it goes on.
pub fn waker_that_drops<T: Send + 'static>(held: T) -> std::task::Waker {
    struct Drops<T>(std::sync::Mutex<Option<T>>);
    impl<T: Send + 'static> std::task::Wake for Drops<T> {
        fn wake(self: std::sync::Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    std::sync::Arc::new(Drops(std::sync::Mutex::new(Some(held)))).into()
}
