//! `syscalls`: how often a server asks the kernel for something in a round trip.
//!
//! Counted from outside: by `perf stat`, whose counter of system calls hardly slows the server; where that is not allowed or
//! not there, by `strace -c`, which stops the server at each call, so that more events gather between two looks at them: its
//! figures for many connections are too low. Where there is neither, this table is left out.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{OPTIONS, Setup, in_turn, of};
use crate::Failure;
use crate::args::Args;
use crate::kernel;
use crate::process::{Generator, Load, Server};
use crate::report::{Kind, Lines};
use crate::servers;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "syscalls: system calls per round trip (6 rounds of 200 ms)\n\n  \
         --connections LIST  how many at once (1,50)\n  \
         --counter NAME      perf or strace (the first of them that works)\n{OPTIONS}"
    )
}

/// How long a counter may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) const CALLS: Kind = Kind::less("system calls per round trip", 1.0, 2);

/// What counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Perf,
    Strace,
}

impl Counter {
    const fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf",
            Self::Strace => "strace",
        }
    }

    /// Whether it works here: it is tried on a program that ends at once.
    fn works(self) -> bool {
        let arguments: &[&str] = match self {
            Self::Perf => &["stat", "-e", "raw_syscalls:sys_enter", "--", "true"],
            Self::Strace => &["-c", "-o", "/dev/null", "true"],
        };
        Command::new(self.name())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("<not"))
    }

    /// Begins to count the calls of a process, all threads.
    fn start(self, process: u32) -> Result<Counting, Failure> {
        let process = process.to_string();
        let arguments: &[&str] = match self {
            // The control file says nothing here: perf has begun when it sleeps.
            Self::Perf => &["stat", "-x", ";", "-e", "raw_syscalls:sys_enter", "-p", &process],
            Self::Strace => &["-q", "-c", "-f", "-p", &process],
        };
        let child = Command::new(self.name()).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        Ok(Counting { counter: self, child })
    }

    /// What it says at the end.
    fn count(self, text: &str) -> Option<u64> {
        match self {
            Self::Perf => text.lines().find(|line| line.contains("sys_enter"))?.split(';').next()?.parse().ok(),
            // `100.00    0.000123           1       119         2 total`, the errors only if there are some.
            Self::Strace => text.lines().find(|line| line.trim_end().ends_with("total"))?.split_whitespace().nth(3)?.parse().ok(),
        }
    }
}

/// A counter at work; killed if it is dropped before its end.
struct Counting {
    counter: Counter,
    child: Child,
}

impl Counting {
    /// Waits until it has begun: it then does nothing more.
    fn begun(&self) -> Result<(), Failure> {
        let status = format!("/proc/{}/stat", self.child.id());
        let deadline = Instant::now() + PATIENCE;
        let mut before = Duration::MAX;
        while Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
            let now = kernel::cpu_time(self.child.id())?;
            let sleeps = std::fs::read_to_string(&status)?.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'));
            if sleeps && now == before {
                return Ok(());
            }
            before = now;
        }
        Err(format!("{}: did not begin", self.counter.name()).into())
    }

    fn finish(mut self) -> Result<u64, Failure> {
        let process = Pid::from_raw(i32::try_from(self.child.id())?).ok_or("no process")?;
        kill_process(process, Signal::INT)?;
        let mut text = String::new();
        self.child.stderr.take().ok_or("no stderr")?.read_to_string(&mut text)?;
        self.child.wait()?;
        self.counter.count(&text).ok_or_else(|| format!("{}: {text}", self.counter.name()).into())
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        // It fails only for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `syscalls` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut setup = Setup::take(&mut args, servers::ALL, 6, 200)?;
    let connections: Vec<usize> = args.list("--connections")?.unwrap_or_else(|| vec![1, 50]);
    let wanted: Option<String> = args.option("--counter")?;
    args.finish()?;
    setup.find()?;
    let mut report = setup.report("System calls of a round trip");
    let counters = [Counter::Perf, Counter::Strace];
    let asked = |counter: &&Counter| wanted.as_ref().is_none_or(|wanted| wanted == counter.name());
    let Some(counter) = counters.iter().filter(asked).find(|counter| counter.works()) else {
        report.say("Left out: neither `perf stat -e raw_syscalls:sys_enter` nor `strace -c` works here.");
        return report.finish();
    };
    report.say(&format!("Counted by {}.", counter.name()));
    let servers = setup.servers()?;
    let mut rows = Vec::new();
    for connections in connections {
        let mut generators = setup.loaded(&servers, connections)?;
        let figures = in_turn(setup.rounds, servers.len(), |turn| {
            of(&servers[turn], calls(*counter, &servers[turn], &mut generators[turn], setup.window))
        })?;
        rows.push(setup.row(connections.to_string(), CALLS, &figures, |calls| *calls));
    }
    report.table("connections", &setup.names(), &rows, Lines::Names);
    report.finish()
}

fn calls(counter: Counter, server: &Server, generators: &mut [Generator], window: Duration) -> Result<f64, Failure> {
    super::run(generators, Load::Closed, window / 10)?;
    kernel::settled_cpu_time(server.id())?;
    let counting = counter.start(server.id())?;
    counting.begun()?;
    let reports = super::run(generators, Load::Closed, window)?;
    kernel::settled_cpu_time(server.id())?;
    let calls = counting.finish()?;
    let round_trips: u64 = reports.iter().map(|report| report.round_trips).sum();
    Ok(calls as f64 / round_trips as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_counters_say_is_understood() {
        assert_eq!(Counter::Perf.count("123456;;raw_syscalls:sys_enter;200000;100.00;;\n"), Some(123_456));
        let text =
            "% time     seconds\n------ -----------\n 60.00 0.1 1 100 recvfrom\n100.00    0.000123           1       119         2 total\n";
        assert_eq!(Counter::Strace.count(text), Some(119));
        assert_eq!(Counter::Strace.count("100.00    0.000123           1       119           total\n"), Some(119));
        assert_eq!(Counter::Perf.count("<not supported>;;raw_syscalls:sys_enter"), None);
    }
}
