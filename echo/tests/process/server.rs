//! The server under test: a process, its address, what it says, and what the kernel says of it.
//!
//! A [`Server`] is killed and reaped when it is dropped, on panics too. Its standard error is read by a thread, so that
//! the server is never held up by it, and handed out line by line with a deadline.

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::pipe::fcntl_setpipe_size;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};

/// How long anything may take before a test gives up. Generous: the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Whether this system has io_uring: not every kernel does, or lets it be used.
pub(crate) fn has_uring() -> bool {
    let run = || matou_unix::Builder::new().environment(false).domains(0).reactor(matou_unix::Reactor::Uring).run(async {});
    // On a thread of its own: the kernel interrupts one that had a ring once more, when it has cleared up after it.
    std::thread::scope(|scope| {
        let ran = scope.spawn(run).join().expect("it does nothing");
        ran.inspect_err(|error| eprintln!("left out: {error}")).is_ok()
    })
}

/// One of the servers, with one of the reactors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) mode: &'static str,
    pub(crate) reactor: &'static str,
}

impl Setup {
    /// Starts it with two workers, on a free port of its own.
    pub(crate) fn start(self, more: &[&str]) -> Server {
        Server::start(&[&["--mode", self.mode, "--reactor", self.reactor, "--domains", "2"], more].concat())
    }

    /// Whether it serves one connection at a time.
    pub(crate) fn is_sequential(self) -> bool {
        self.mode == "sequential"
    }
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The first line it said.
    pub(crate) greeting: String,
}

/// How a server ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// What it said after the lines already taken.
    pub(crate) lines: Vec<String>,
}

impl Server {
    /// Starts the binary with these arguments, on a free port of its own.
    pub(crate) fn start(args: &[&str]) -> Server {
        Server::launch(echo().args(["--listen", &free_address()]).args(args))
    }

    /// Starts this command, which has to become the server.
    pub(crate) fn launch(command: &mut Command) -> Server {
        let mut server = Server::attempt(command);
        server.address = address_in(&server.greeting);
        server
    }

    /// Starts this command, which becomes the server or says why not.
    pub(crate) fn attempt(command: &mut Command) -> Server {
        can_open(0);
        let mut server = Server::bare(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary can be started"));
        let stderr = server.child.stderr.take().expect("it was piped");
        // A line without room is lost, and the thread that reads may come late; where it may not be larger it stays as it is.
        let _ = fcntl_setpipe_size(&stderr, 1 << 20);
        let (sender, lines) = channel();
        thread::spawn(move || {
            // The receiver goes with the server; what is said afterwards is of no interest.
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        server.lines = lines;
        server.greeting = server.line();
        server
    }

    /// Takes charge of a process of which nothing else is known.
    pub(crate) fn bare(child: Child) -> Server {
        Server { child, lines: channel().1, address: ([0, 0, 0, 0], 0).into(), greeting: String::new() }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line it says.
    pub(crate) fn line(&self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(error) => panic!("the server said nothing more: {error}"),
        }
    }

    /// The next line that contains this.
    pub(crate) fn line_with(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let line = self.line();
            assert!(Instant::now() < deadline, "the server says much, but never {words:?}: {line:?}");
            if line.contains(words) {
                return line;
            }
        }
    }

    /// A connection whose reads and writes fail after a while instead of blocking for ever.
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("the server is there");
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        names_of_descriptors(self.pid()).len()
    }

    /// Waits until it has this many descriptors open.
    pub(crate) fn await_descriptors(&self, count: usize) {
        until(
            || self.descriptors() == count,
            || format!("the server should have {count} descriptors, and has {:?}", names_of_descriptors(self.pid())),
        );
    }

    /// Sets how many descriptors it may have, and gives how many that was before.
    pub(crate) fn limit_descriptors(&self, count: Option<u64>) -> Option<u64> {
        let pid = Some(Pid::from_child(&self.child));
        let maximum = getrlimit(Resource::Nofile).maximum;
        let before = prlimit(pid, Resource::Nofile, Rlimit { current: count, maximum }).expect("it is a child of this process");
        before.current
    }

    /// The processor time it has used.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("the server is there");
        // The fields after the name, which is in parentheses; utime and stime are numbers 14 and 15 of all.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).expect("a small number")
    }

    /// Whether each of its threads waits for something.
    pub(crate) fn is_asleep(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the server is there");
        // One that ended meanwhile has no state any more. The state follows the name, which is in parentheses.
        let mut states = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("stat")).ok());
        states.all(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S')))
    }

    /// Sees that while all it has waits it uses no more processor time than this, of 300 ms. What it began before, and what a busy machine puts
    /// down to it, is over soon; one that is busy never rests.
    pub(crate) fn assert_idle(&self, most: Duration) {
        until(
            || {
                let before = self.processor_time();
                thread::sleep(Duration::from_millis(300));
                self.processor_time() - before <= most
            },
            || String::from("the server uses processor time, and has nothing to do"),
        );
    }

    /// Waits until nobody is left who is connected and not accepted: the system keeps them in a queue for each listener, and no descriptor of
    /// the server's tells of them.
    pub(crate) fn await_accepted(&self) {
        // Columns of /proc/net/tcp: the number, the address, the peer's, the state (0A listens), the lengths of the queues.
        let SocketAddr::V4(address) = self.address else { panic!("{} has a table of its own", self.address) };
        let address = format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port());
        let is_queued = |line: &str| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            matches!(columns[..], [_, here, _, "0A", queues, ..] if here == address && !queues.ends_with(":00000000"))
        };
        let table = || fs::read_to_string("/proc/net/tcp").expect("the system has TCP");
        until(|| !table().lines().any(is_queued), || String::from("the server does not accept"));
    }

    /// Waits until it refuses connections.
    pub(crate) fn await_refusal(&self) {
        until(|| TcpStream::connect(self.address).is_err(), || String::from("the server still accepts"));
    }

    /// Asks it to stop, and waits for its end.
    pub(crate) fn stop(self) -> End {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> End {
        let mut status = None;
        until(
            || {
                status = self.child.try_wait().expect("it is a child of this process");
                status.is_some()
            },
            || String::from("the server does not end"),
        );
        let mut lines = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("somebody else holds the server's standard error"),
            }
        }
        End { status: status.expect("it has ended"), lines }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has been reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl End {
    /// The line of totals of a server that stopped in order, which is the last one.
    pub(crate) fn totals(&self) -> Totals {
        assert_eq!(self.status.code(), Some(0), "{self:?}");
        let line = self.lines.last().unwrap_or_else(|| panic!("no totals in {self:?}"));
        Totals::read(line).unwrap_or_else(|| panic!("no totals in {line:?}"))
    }
}

/// The numbers in the line of totals.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) round_trips: u64,
    pub(crate) bytes: u64,
    pub(crate) failures: u64,
    kinds: Vec<(String, u64)>,
}

impl Totals {
    fn read(line: &str) -> Option<Totals> {
        let (sums, kinds) = line.strip_prefix("total: ")?.split_once(" failures")?;
        let mut numbers = sums.split(", ").map(|part| part.split(' ').next()?.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let totals = Totals { accepted: next()?, round_trips: next()?, bytes: next()?, failures: next()?, kinds: Vec::new() };
        let kinds = kinds.trim().trim_matches(['(', ')']);
        let kinds = kinds.split(", ").filter(|kind| !kind.is_empty()).map(|kind| {
            let (count, name) = kind.split_once(' ')?;
            Some((name.to_owned(), count.parse().ok()?))
        });
        Some(Totals { kinds: kinds.collect::<Option<_>>()?, ..totals })
    }

    /// How many failures there were of this kind.
    pub(crate) fn of(&self, kind: &str) -> u64 {
        self.kinds.iter().find(|(name, _)| name == kind).map_or(0, |(_, count)| *count)
    }
}

/// The binary, without what could reach it from outside.
pub(crate) fn echo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_echo"));
    for variable in ["MATOU_DOMAINS", "MATOU_QUANTA", "MATOU_TRACE", "MATOU_BIRTHS"] {
        command.env_remove(variable);
    }
    command
}

/// An address of this machine that no other server of these tests has, with port 0. Were all on one address, a port that
/// a server has closed could be the next server's at once, and whoever asks whether it is closed would ask the wrong one.
pub(crate) fn free_address() -> String {
    static SERVERS: AtomicU32 = AtomicU32::new(0);
    let number = SERVERS.fetch_add(1, Ordering::Relaxed);
    format!("127.{}.{}.{}:0", 1 + std::process::id() % 250, number / 250 % 250, 1 + number % 250)
}

/// A connection whose reads and writes fail after a while instead of blocking for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
    stream
}

/// What the descriptors of a process are.
fn names_of_descriptors(pid: u32) -> Vec<String> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("the process is there")
        // One that was closed meanwhile has no name any more.
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// The address in `listening on ADDR (…)`.
pub(crate) fn address_in(line: &str) -> SocketAddr {
    line.strip_prefix("listening on ")
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no address in {line:?}"))
}

/// Asks again and again until it is so; for what has no event that could be awaited.
pub(crate) fn until(mut is_so: impl FnMut() -> bool, problem: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{}", problem());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Calls it again if a signal came in between, as one does that lets a stopped process go on: the system begins no call anew that has a timeout.
pub(crate) fn again<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}

/// Reads until the end of the stream.
pub(crate) fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("the stream ends in order");
    bytes
}

/// Lets this process, and the servers it starts, have as many descriptors as the system allows. False where those are
/// not enough.
pub(crate) fn can_open(count: u64) -> bool {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| limit.maximum.is_none_or(|maximum| current < maximum)) {
        limit.current = limit.maximum;
        // Where it cannot be raised, what there is decides.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.is_none_or(|current| current >= count)
}

#[test]
fn totals_are_read_as_printed() {
    let totals = Totals::read("total: 6 accepted, 3 round trips, 1048576 bytes, 5 failures (1 reset, 4 broken pipe)").unwrap();
    assert_eq!((totals.accepted, totals.round_trips, totals.bytes, totals.failures), (6, 3, 1_048_576, 5));
    assert_eq!((totals.of("reset"), totals.of("broken pipe"), totals.of("idle")), (1, 4, 0));
    let totals = Totals::read("total: 0 accepted, 0 round trips, 0 bytes, 0 failures").unwrap();
    assert_eq!(totals, Totals::default());
}
