//! Servers under test.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Asked, Child, launcher};
use crate::Failure;

/// How long a server may take to say where it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A program to start as a server: one that says `listening on ADDRESS` on the first line of its stderr.
#[derive(Clone, Debug)]
pub struct Program {
    /// What the tables call it.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// What its first line has to contain, so that it is known to be what its name says.
    pub says: &'static str,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Asked,
    name: String,
    address: SocketAddr,
}

impl Server {
    /// Starts it and waits until it listens.
    pub fn start(program: &Program, cpus: &[usize]) -> Result<Self, Failure> {
        let name = program.name.clone();
        let mut parts = program.command.iter().cloned();
        let executable = parts.next().ok_or("an empty command")?;
        let mut command = launcher(cpus, executable)?;
        let mut child = Child(command.args(parts).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?);
        let stderr = child.0.stderr.take().ok_or("no stderr")?;
        let (first, line) = mpsc::channel();
        let prefix = name.clone();
        // Reads on as long as the server lives, so that one with much to say is never stopped by a full pipe.
        thread::spawn(move || {
            let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
            if let Some(line) = lines.next() {
                // Nobody waits any more if this was too late.
                let _ = first.send(line);
            }
            drop(first);
            for line in lines.filter(|line| !line.is_empty()) {
                eprintln!("{prefix}: {line}");
            }
        });
        let line = line.recv_timeout(PATIENCE).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => format!("{name}: silent for {PATIENCE:?}"),
            mpsc::RecvTimeoutError::Disconnected => format!("{name}: ended without a word"),
        })?;
        let address = line
            .strip_prefix("listening on ")
            .filter(|rest| rest.contains(program.says))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| format!("{name}: {line}"))?;
        Ok(Self { child: Asked::of(child)?, name, address })
    }

    /// What the tables call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many steps of computing it has done so far; of one that was told to compute.
    pub fn steps(&mut self) -> Result<u64, Failure> {
        Ok(self.child.ask("steps")?.trim().parse()?)
    }
}
