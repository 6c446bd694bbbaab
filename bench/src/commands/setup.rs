//! What all commands that measure servers are told.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::of;
use crate::Failure;
use crate::args::Args;
use crate::kernel;
use crate::load::Waiting;
use crate::process::{Generator, Program, Server};
use crate::report::{Kind, Report, Row};
use crate::servers::{self, How};

/// The options, for the help.
pub const OPTIONS: &str = "\
  --servers LIST      of those the README names; the first is what the others are divided by
  --also NAME=COMMAND one more server, may be repeated; COMMAND says `listening on ADDRESS` first on its stderr
  --matou PATH        matou's echo server (../target/release/echo, seen from bench/)
  --rounds N          windows for each server
  --window MS         duration of one
  --size BYTES        of a message (64)
  --sleep             the load sleeps while it waits, instead of asking again and again
  --server-cpu LIST   the cores of the servers (0)
  --load-cpu LIST     the cores of the load, a generator on each (the last one)
  --out PATH          writes PATH.md, PATH.tsv and, where there is a plot, PATH.svg";

/// What a command starts from.
#[derive(Debug)]
pub struct Setup {
    /// The servers that can be had.
    pub programs: Vec<Program>,
    /// Why others can not.
    pub left_out: Vec<String>,
    pub(super) how: How,
    pub(super) rounds: usize,
    pub(super) window: Duration,
    pub(super) size: usize,
    pub(super) waiting: Waiting,
    pub(super) server_cpus: Vec<usize>,
    pub(super) load_cpus: Vec<usize>,
    out: Option<PathBuf>,
    names: Vec<String>,
    also: Vec<Program>,
}

impl Setup {
    /// Takes its options; the servers are looked for by [`Self::find`].
    pub fn take(args: &mut Args, servers: &str, rounds: usize, window: u64) -> Result<Self, Failure> {
        let mut also = Vec::new();
        while let Some(text) = args.option::<String>("--also")? {
            let (name, command) = text.split_once('=').ok_or_else(|| format!("--also {text}: NAME=COMMAND is wanted"))?;
            let command = command.split_whitespace().map(OsString::from).collect();
            also.push(Program { name: name.to_owned(), command, says: "" });
        }
        let last = kernel::cores() - 1;
        Ok(Self {
            programs: Vec::new(),
            left_out: Vec::new(),
            how: How { matou: args.option("--matou")?, ..How::default() },
            rounds: args.option("--rounds")?.unwrap_or(rounds).max(1),
            window: Duration::from_millis(args.option("--window")?.unwrap_or(window)),
            size: args.option("--size")?.unwrap_or(64),
            waiting: if args.flag("--sleep") { Waiting::Sleep } else { Waiting::Spin },
            server_cpus: args.list("--server-cpu")?.unwrap_or_else(|| vec![0]),
            load_cpus: args.list("--load-cpu")?.unwrap_or_else(|| vec![last]),
            out: args.option("--out")?,
            names: args.list("--servers")?.unwrap_or_else(|| servers.split(',').map(str::to_owned).collect()),
            also,
        })
    }

    /// Looks for the servers, as they are to be started. From here on this process keeps away from their cores.
    pub fn find(&mut self) -> Result<(), Failure> {
        kernel::raise_file_limit()?;
        kernel::pin(&self.load_cpus)?;
        (self.programs, self.left_out) = servers::available(&self.names, &self.how, self.also.clone());
        for missing in &self.left_out {
            eprintln!("left out: {missing}");
        }
        if self.programs.is_empty() { Err("no server is left".into()) } else { Ok(()) }
    }

    /// Their names.
    pub fn names(&self) -> Vec<&str> {
        self.programs.iter().map(|program| program.name.as_str()).collect()
    }

    /// Starts all of them.
    pub fn servers(&self) -> Result<Vec<Server>, Failure> {
        self.programs.iter().map(|program| Server::start(program, &self.server_cpus)).collect()
    }

    /// Starts the load of one, a process on each of the load's cores.
    pub fn generators(&self, server: &Server) -> Result<Vec<Generator>, Failure> {
        self.load_cpus.iter().map(|cpu| Generator::start(server.address(), self.size, self.waiting, &[*cpu])).collect()
    }

    /// Starts the load of each, with so many connections open.
    pub fn loaded(&self, servers: &[Server], connections: usize) -> Result<Vec<Vec<Generator>>, Failure> {
        let load = |server: &Server| {
            let mut generators = self.generators(server)?;
            of(server, Self::open(&mut generators, connections))?;
            Ok(generators)
        };
        servers.iter().map(load).collect()
    }

    /// Opens so many connections in all.
    pub fn open(generators: &mut [Generator], connections: usize) -> Result<(), Failure> {
        let count = generators.len();
        for (index, generator) in generators.iter_mut().enumerate() {
            generator.open(connections / count + usize::from(index < connections % count))?;
        }
        Ok(())
    }

    /// The report's head.
    pub fn report(&mut self, title: &str) -> Report {
        let mut report = Report::new(title, self.out.take());
        report.say(&format!(
            "{} bytes a message, {} rounds of {} ms; servers on cores {:?}, load ({}) on cores {:?}. \
             Ratios are to {}, in brackets the interval that holds the true median with 95 %.",
            self.size,
            self.rounds,
            self.window.as_millis(),
            self.server_cpus,
            self.waiting,
            self.load_cpus,
            self.programs[0].name,
        ));
        for missing in &self.left_out {
            report.say(&format!("Left out: {missing}"));
        }
        report
    }

    /// A row of one figure of each server's samples.
    pub(super) fn row<T>(&self, subject: impl Into<String>, kind: Kind, samples: &[Vec<T>], figure: impl Fn(&T) -> f64) -> Row {
        let figures: Vec<Vec<f64>> = samples.iter().map(|samples| samples.iter().map(&figure).collect()).collect();
        Row::compared(subject, kind, &self.names(), &figures)
    }
}
