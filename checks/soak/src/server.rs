//! The server under load: a process, the addresses it announces, the lines it says, and what the kernel says of it.
//!
//! Its standard error is read by a thread, which keeps the line of totals and hands on the first line of each tree of tasks
//! (`matou: N tasks`), so that the server is never held up. A server is killed and reaped when it is dropped.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long an answer or an end may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// What it says in the second line of a tree for which a domain was too busy: not all tasks are in it.
const IN_PART: &str = "matou: not every domain has answered";
/// What else it may say: a task of a tree, that it stops, and that rude peers have taken all descriptors.
const EXPECTED: [&str; 3] = [", made at ", "stopping: ", "out of descriptors"];

/// Where the server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// What it has at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) descriptors: usize,
    pub(crate) threads: usize,
    pub(crate) tasks: usize,
    /// The resident set, in KiB.
    pub(crate) memory: u64,
}

impl Figures {
    /// Whether both have the same of all that is counted exactly.
    pub(crate) fn is_at_rest_as(&self, fresh: &Figures) -> bool {
        (self.descriptors, self.threads, self.tasks) == (fresh.descriptors, fresh.threads, fresh.tasks)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} descriptors, {} threads, {} tasks, {} KiB", self.descriptors, self.threads, self.tasks, self.memory)
    }
}

/// The line with which it ends.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) bytes: u64,
    pub(crate) failures: u64,
    pub(crate) line: String,
}

impl Totals {
    /// `total: 6 accepted, 3 round trips, 1048576 bytes, 5 failures (1 reset, 4 broken pipe)`
    fn read(line: &str) -> Option<Totals> {
        let before = |words: &str| number_before(line, words);
        line.starts_with("total: ").then_some(())?;
        Some(Totals { accepted: before(" accepted")?, bytes: before(" bytes")?, failures: before(" failures")?, line: line.to_owned() })
    }

    /// How many failures there were of this kind.
    pub(crate) fn of(&self, kind: &str) -> u64 {
        number_before(&self.line, &format!(" {kind}")).unwrap_or(0)
    }
}

/// The number that stands right before these words.
fn number_before(line: &str, words: &str) -> Option<u64> {
    let (before, _) = line.split_once(words)?;
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) addresses: Vec<Address>,
    /// How many tasks each tree had that was whole.
    trees: Receiver<usize>,
    /// Ends with the server's standard error, and gives its last line and what it should not have said.
    reader: Option<JoinHandle<(Totals, Vec<String>)>>,
}

impl Server {
    /// Starts this command, and waits until it listens.
    pub(crate) fn start(command: &[String]) -> Server {
        let mut command_line = Command::new(&command[0]);
        let mut child = command_line.args(&command[1..]).stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the server starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it was piped")).lines().map_while(Result::ok);
        let announced = command.iter().filter(|argument| *argument == "--listen").count();
        let addresses: Vec<Address> = lines.by_ref().take(announced).map(|line| address_in(&line)).collect();
        let (sender, trees) = channel();
        let reader = thread::spawn(move || {
            let (mut totals, mut strange) = (Totals::default(), Vec::new());
            let mut tree = None;
            for line in lines {
                if let Some(tasks) = tree.take().filter(|_| !line.starts_with(IN_PART)) {
                    // The receiver goes with the server.
                    let _ = sender.send(tasks);
                }
                if let Some(tasks) = line.strip_prefix("matou: ").and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok()) {
                    tree = Some(tasks);
                } else if let Some(read) = Totals::read(&line) {
                    totals = read;
                } else if !line.starts_with(IN_PART) && !EXPECTED.iter().any(|words| line.contains(words)) {
                    strange.push(line);
                }
            }
            (totals, strange)
        });
        Server { child, addresses, trees, reader: Some(reader) }
    }

    pub(crate) fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// What it has now.
    pub(crate) fn figures(&mut self) -> Figures {
        // Those asked for under load: a signal stands for all that came before it was seen, so that the last one is not known by its number.
        while self.trees.recv_timeout(Duration::from_millis(200)).is_ok() {}
        let patience = Instant::now() + PATIENCE;
        let tasks = loop {
            ask_for_tree(self.process());
            match self.trees.recv_timeout(Duration::from_secs(1)) {
                Ok(tasks) => break tasks,
                // Not in time, or not all of it.
                Err(_) => assert!(Instant::now() < patience, "the server does not tell its tasks"),
            }
        };
        let process = format!("/proc/{}", self.child.id());
        let status = fs::read_to_string(format!("{process}/status")).expect("the server is there");
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
        Figures {
            descriptors: fs::read_dir(format!("{process}/fd")).expect("the server is there").count(),
            threads: fs::read_dir(format!("{process}/task")).expect("the server is there").count(),
            tasks,
            memory: field("VmRSS:").expect("the kernel tells it"),
        }
    }

    /// Asks it to stop, and waits for its end.
    pub(crate) fn stop(mut self) -> Totals {
        kill_process(self.process(), Signal::TERM).expect("the server is there");
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("it is a child of this process") {
                Some(status) => break status,
                None if Instant::now() > deadline => panic!("the server does not end"),
                None => thread::sleep(Duration::from_millis(5)),
            }
        };
        let (totals, strange) = self.reader.take().expect("it is taken once").join().expect("it only reads");
        assert!(status.success() && strange.is_empty(), "the server ended with {status}, and said {strange:#?}");
        totals
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has been reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has the server print the tree of its tasks.
pub(crate) fn ask_for_tree(server: Pid) {
    kill_process(server, Signal::USR1).expect("the server is there");
}

/// The address in `listening on ADDR (…)`.
fn address_in(line: &str) -> Address {
    let address = line.strip_prefix("listening on ").and_then(|rest| rest.split(" (").next());
    let address = address.unwrap_or_else(|| panic!("the server does not listen: {line}"));
    match address.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Tcp(address.parse().unwrap_or_else(|_| panic!("no address in {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn totals_are_read_as_printed() {
        let totals = Totals::read("total: 6 accepted, 3 round trips, 1048576 bytes, 5 failures (1 reset, 4 broken pipe)").unwrap();
        assert_eq!((totals.accepted, totals.bytes, totals.failures), (6, 1_048_576, 5));
        assert_eq!((totals.of("reset"), totals.of("broken pipe"), totals.of("idle")), (1, 4, 0));
    }
}
