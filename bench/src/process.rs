//! The processes of a comparison: servers under test, and generators of load.
//!
//! Each is started through this same executable (`launch`), which binds it to its core and to the life of its parent before
//! it becomes the program asked for. A child is thus killed by the kernel when its parent ends in whatever way, and killed
//! and reaped by `Child`'s drop when the parent ends in order.

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::Failure;
use crate::args::Args;
use crate::kernel;
use crate::load::{Load, Waiting};

/// How long a server may take to say where it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// A child process that does not outlive this value.
#[derive(Debug)]
struct Child(process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // It fails only for a child that has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that runs `program` on `cpu` and for no longer than this process lives.
fn launcher(cpu: usize, program: OsString) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg("launch")
        .arg(process::id().to_string())
        .arg(cpu.to_string())
        .arg(program)
        // The servers are compared as they come.
        .env_remove("MATOU_DOMAINS")
        .env_remove("MATOU_QUANTA");
    Ok(command)
}

/// What `launch PARENT CPU PROGRAM ARGUMENTS...` does.
pub fn launch(mut args: Args) -> Result<Infallible, Failure> {
    let parent: i32 = args.next("PARENT")?.parse()?;
    let cpu = args.next("CPU")?.parse()?;
    let program = args.next("PROGRAM")?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that ended before it could be watched will never be seen to end.
    if getppid().is_none_or(|now| now.as_raw_nonzero().get() != parent) {
        return Err("the parent is gone".into());
    }
    kernel::pin(cpu)?;
    kernel::raise_file_limit()?;
    let error = Command::new(&program).args(args.into_rest()).exec();
    Err(format!("{program}: {error}").into())
}

/// A program to start as a server: one that says `listening on ADDRESS` on the first line of its stderr.
#[derive(Clone, Debug)]
pub struct Program {
    /// What the tables call it.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<OsString>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    name: String,
    address: SocketAddr,
}

impl Server {
    /// Starts it and waits until it listens.
    pub fn start(program: &Program, cpu: usize) -> Result<Self, Failure> {
        let name = program.name.clone();
        let mut parts = program.command.iter().cloned();
        let executable = parts.next().ok_or("an empty command")?;
        let mut child =
            Child(launcher(cpu, executable)?.args(parts).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?);
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
            for line in lines {
                eprintln!("{prefix}: {line}");
            }
        });
        let line = line.recv_timeout(PATIENCE).map_err(|error| match error {
            mpsc::RecvTimeoutError::Timeout => format!("{name}: silent for {PATIENCE:?}"),
            mpsc::RecvTimeoutError::Disconnected => format!("{name}: ended without a word"),
        })?;
        let address = line
            .strip_prefix("listening on ")
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| format!("{name}: {line}"))?;
        Ok(Self { child, name, address })
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
        self.child.0.id()
    }
}

/// What a generator reports about one stretch of load.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// How many messages came back.
    pub round_trips: u64,
    /// In how many nanoseconds.
    pub nanoseconds: u64,
    /// The median, the 99th and the 99.9th percentile, and the longest of the round trips, in nanoseconds.
    pub latency: [u64; 4],
}

/// A process that puts load on one server. One process per server, because a process may not open enough files for them all.
#[derive(Debug)]
pub struct Generator {
    // Ends by itself when its input does, and is not waited for before: the field order closes the input first.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _child: Child,
}

impl Generator {
    /// Starts one, without connections.
    pub fn start(server: SocketAddr, size: usize, waiting: Waiting, cpu: usize) -> Result<Self, Failure> {
        let waiting = match waiting {
            Waiting::Sleep => "sleep",
            Waiting::Spin => "spin",
        };
        let mut child = Child(
            launcher(cpu, env::current_exe()?.into())?
                .arg("generate")
                .arg(server.to_string())
                .arg(size.to_string())
                .arg(waiting)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?,
        );
        Ok(Self {
            input: child.0.stdin.take().ok_or("no stdin")?,
            output: BufReader::new(child.0.stdout.take().ok_or("no stdout")?),
            _child: child,
        })
    }

    /// Opens connections until there are `count`.
    pub fn open(&mut self, count: usize) -> Result<(), Failure> {
        self.ask(&format!("open {count}"))?;
        Ok(())
    }

    /// Keeps all connections busy for a time, and then waits until they are idle.
    pub fn run(&mut self, duration: Duration) -> Result<Report, Failure> {
        let answer = self.ask(&format!("run {}", duration.as_nanos()))?;
        let [round_trips, nanoseconds, p50, p99, p999, max] = answer[..] else {
            return Err("the generator's answer was not understood".into());
        };
        Ok(Report { round_trips, nanoseconds, latency: [p50, p99, p999, max] })
    }

    fn ask(&mut self, question: &str) -> Result<Vec<u64>, Failure> {
        let mut answer = String::new();
        // The generator has said on stderr why it ended, if it did.
        writeln!(self.input, "{question}").map_err(|_| "the generator is gone")?;
        if self.output.read_line(&mut answer)? == 0 {
            return Err("the generator ended".into());
        }
        Ok(answer.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
    }
}

/// What `generate ADDRESS SIZE sleep|spin` does: answers [`Generator`]'s questions until its input ends.
pub fn generate(mut args: Args) -> Result<(), Failure> {
    let address = args.next("ADDRESS")?.parse()?;
    let size = args.next("SIZE")?.parse()?;
    let waiting = match args.next("sleep or spin")?.as_str() {
        "sleep" => Waiting::Sleep,
        "spin" => Waiting::Spin,
        other => return Err(format!("what is {other}?").into()),
    };
    args.finish()?;
    let mut load = Load::new(address, size, waiting)?;
    for line in io::stdin().lines() {
        let mut question = Args::new(line?.split_whitespace().map(str::to_owned));
        let verb = question.next("a verb")?;
        let number: u64 = question.next("a number")?.parse()?;
        question.finish()?;
        match verb.as_str() {
            "open" => {
                load.open(number as usize)?;
                println!();
            }
            "run" => {
                let window = load.run(Duration::from_nanos(number))?;
                let latency = &window.latency;
                println!(
                    "{} {} {} {} {} {}",
                    latency.total(),
                    window.elapsed.as_nanos(),
                    latency.quantile(0.5),
                    latency.quantile(0.99),
                    latency.quantile(0.999),
                    latency.max(),
                );
            }
            _ => return Err(format!("what is {verb}?").into()),
        }
    }
    Ok(())
}
