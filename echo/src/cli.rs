//! The command line: what may be asked, and what is said when it cannot be understood.
//!
//! [`parse`] gives the options, or an [`Answer`] to print instead: the help and the version go to standard output,
//! an error to standard error as ONE line, whatever the parser's own layout of it. Limits that concern one option
//! alone are checked here, so that every value in [`Options`] is usable; what depends on the machine (a port in use,
//! the number of domains) shows when the servers start.

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::listen::Address;
use crate::units;

/// Echo back what is received, to every connection, on every core.
///
/// The modes are the servers of matou's tutorial, and differ in who handles a connection. What is said goes to standard error, so does the
/// first line: the addresses.
///
/// SIGINT and SIGTERM stop the server in order: it stops accepting, lets open connections finish within the grace,
/// cancels the rest and prints the totals; a second signal ends it at once.
///
/// SIGUSR1 prints the live tree of tasks to standard error: which there are, on which domain, what they do and where they were made;
/// with MATOU_BIRTHS=1 in the environment, how old they are. MATOU_TRACE=file.json records what they do, for ui.perfetto.dev.
#[derive(Debug, Parser)]
#[command(name = "echo", version)]
pub(crate) struct Options {
    /// Who handles a connection
    #[arg(long, value_enum, default_value_t = Mode::Multi)]
    pub(crate) mode: Mode,

    /// Worker domains: threads besides the main one; by default as many as MATOU_DOMAINS says, else one less than the cores, and one at least
    #[arg(long, value_name = "N", value_parser = units::count, allow_negative_numbers = true)]
    pub(crate) domains: Option<usize>,

    /// Where to listen: `127.0.0.1:9000`, `[::1]:9000`, or a Unix socket, `unix:PATH`; may be repeated; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9000")]
    pub(crate) listen: Vec<Address>,

    /// How the domains wait for their sockets; by default what MATOU_REACTOR says, else uring where the kernel has all that it needs, else
    /// epoll, else poll
    #[arg(long, value_enum)]
    pub(crate) reactor: Option<Reactor>,

    /// Largest size of the buffer that a connection has while it sends back, such as 4096, 64KiB or 1MiB; one that waits has none
    #[arg(long, value_name = "BYTES", value_parser = units::bytes, default_value = "64KiB")]
    pub(crate) buffer: usize,

    /// Connections open at once, shared out evenly over the accepting domains; those beyond wait in the backlog
    #[arg(long, value_name = "N", value_parser = units::positive_count, allow_negative_numbers = true)]
    pub(crate) max_connections: Option<NonZeroUsize>,

    /// End a connection on which no byte has moved for so long, such as 250ms, 30s or 2m
    #[arg(long, value_name = "DURATION", value_parser = units::positive_duration)]
    pub(crate) idle_timeout: Option<Duration>,

    /// How long open connections may go on after a signal to stop
    #[arg(long, value_name = "DURATION", value_parser = units::duration, default_value = "5s")]
    pub(crate) grace: Duration,

    /// Print a line of statistics so often: open and accepted connections, round trips and MiB a second, failures
    #[arg(long, value_name = "INTERVAL", value_parser = units::positive_duration)]
    pub(crate) stats: Option<Duration>,

    /// Print nothing but the addresses listened on, and errors
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// The tutorial's servers, in the order in which it builds them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Mode {
    /// One connection after the other
    Sequential,
    /// One task a connection, all on domain 0
    Concurrent,
    /// As concurrent, with sockets as resources, finalised should their task end abnormally
    Owned,
    /// Domain 0 accepts, the worker domains handle
    Parallel,
    /// Every domain accepts and handles, each with listeners of its own
    Multi,
}

/// What tells a domain that a socket is ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Reactor {
    /// The edge-triggered reactor of every Linux
    Epoll,
    /// The rings of Linux 6.1 and later, io_uring; chosen by itself from about 6.18 on
    Uring,
    /// The system call poll(2), on every Unix
    Poll,
}

impl From<Reactor> for matou_unix::Reactor {
    fn from(reactor: Reactor) -> Self {
        match reactor {
            Reactor::Uring => matou_unix::Reactor::Uring,
            Reactor::Epoll => matou_unix::Reactor::Epoll,
            Reactor::Poll => matou_unix::Reactor::Poll,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Sequential => "sequential",
            Mode::Concurrent => "concurrent",
            Mode::Owned => "owned",
            Mode::Parallel => "parallel",
            Mode::Multi => "multi",
        })
    }
}

/// What is printed in place of serving.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Help or version, for standard output.
    Asked(String),
    /// One line for standard error.
    Misused(String),
}

/// Reads the command line, the program's name first.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Options, Answer> {
    Options::try_parse_from(args)
        .map_err(|error| if error.use_stderr() { Answer::Misused(one_line(&error)) } else { Answer::Asked(error.to_string()) })
}

/// The first paragraph of an error, which says what is wrong and what would be right, in one line; usage and hints
/// follow it.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or(&text);
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.strip_prefix("error: ") {
        Some(line) => line.to_owned(),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Mode, Options, Reactor, parse};
    use clap::CommandFactory;
    use std::ffi::OsString;
    use std::time::Duration;

    fn parsed(line: &str) -> Result<Options, Answer> {
        parse(std::iter::once("echo").chain(line.split_whitespace()).map(OsString::from))
    }

    fn misused(line: &str) -> String {
        match parsed(line) {
            Err(Answer::Misused(text)) => text,
            other => panic!("{line:?} gave {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn without_arguments() {
        let options = parsed("").unwrap();
        assert_eq!(options.mode, Mode::Multi);
        assert_eq!(options.listen, ["127.0.0.1:9000".parse().unwrap()]);
        assert_eq!(options.buffer, 64 << 10);
        assert_eq!(options.grace, Duration::from_secs(5));
        assert!(options.domains.is_none() && options.max_connections.is_none());
        assert!(options.reactor.is_none());
        assert!(options.idle_timeout.is_none() && options.stats.is_none() && !options.quiet);
    }

    #[test]
    fn with_all_arguments() {
        let options = parsed(
            "--mode owned --domains 0 --listen [::1]:0 --listen unix:/run/echo.socket --reactor poll --buffer 1MiB \
             --max-connections 9 --idle-timeout 2m --grace 0s --stats 250ms --quiet",
        )
        .unwrap();
        assert_eq!(options.mode, Mode::Owned);
        assert_eq!(options.domains, Some(0));
        assert_eq!(options.listen, ["[::1]:0".parse().unwrap(), "unix:/run/echo.socket".parse().unwrap()]);
        assert_eq!(options.reactor, Some(Reactor::Poll));
        assert_eq!(options.buffer, 1 << 20);
        assert_eq!(options.max_connections.unwrap().get(), 9);
        assert_eq!(options.idle_timeout, Some(Duration::from_secs(120)));
        assert_eq!(options.grace, Duration::ZERO);
        assert_eq!(options.stats, Some(Duration::from_millis(250)));
        assert!(options.quiet);
    }

    #[test]
    fn the_printed_names_are_the_ones_understood() {
        for mode in ["sequential", "concurrent", "owned", "parallel", "multi"] {
            assert_eq!(parsed(&format!("--mode {mode}")).unwrap().mode.to_string(), mode);
        }
        for reactor in ["uring", "epoll", "poll"] {
            let parsed = parsed(&format!("--reactor {reactor}")).unwrap().reactor.unwrap();
            assert_eq!(matou_unix::Reactor::from(parsed).to_string(), reactor);
        }
    }

    #[test]
    fn an_error_is_one_line_that_names_option_and_remedy() {
        for (line, words) in [
            ("--mode best", ["--mode", "'best'", "sequential, concurrent, owned, parallel, multi"]),
            ("--reactor select", ["--reactor", "'select'", "epoll, uring, poll"]),
            ("--listen localhost", ["--listen", "'localhost'", "127.0.0.1:9000"]),
            ("--listen 127.0.0.1:70000", ["--listen", "'127.0.0.1:70000'", "[::1]:9000"]),
            ("--listen ::1:9000x", ["--listen", "'::1:9000x'", "[::1]:9000"]),
            ("--listen unix:", ["--listen", "'unix:'", "unix:PATH"]),
            ("--domains many", ["--domains", "'many'", "such as 0 or 7"]),
            ("--domains -1", ["--domains", "'-1'", "such as 0 or 7"]),
            ("--max-connections 0", ["--max-connections", "'0'", "1 or more"]),
            ("--buffer 0", ["--buffer", "'0'", "between 1 byte and 16MiB"]),
            ("--buffer 1GB", ["--buffer", "'1GB'", "64KiB"]),
            ("--idle-timeout 0s", ["--idle-timeout", "'0s'", "longer than zero"]),
            ("--grace soon", ["--grace", "'soon'", "250ms"]),
            ("--stats 1", ["--stats", "'1'", "250ms"]),
            ("--stats", ["--stats", "value is required", "<INTERVAL>"]),
            ("--port 9000", ["unexpected", "'--port'", "found"]),
            ("9000", ["unexpected", "'9000'", "found"]),
            ("--quiet --quiet", ["--quiet", "multiple times", "cannot"]),
        ] {
            let text = misused(line);
            assert_eq!(text.lines().count(), 1, "{text}");
            for word in words {
                assert!(text.contains(word), "{line:?} gave {text:?}, without {word:?}");
            }
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        for line in ["--help", "-h", "--version"] {
            assert!(matches!(parsed(line), Err(Answer::Asked(text)) if text.contains("echo")));
        }
    }
}
