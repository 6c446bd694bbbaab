//! One command, one table: all servers measured against each other.
//!
//! What a machine gives changes from second to second, so nothing is compared across time. All servers run at once, each
//! with its connections open, all on one core; the load runs on another. The time is cut into short windows that go to one
//! server after the other, in an order that moves on by one each round. Within a round every server is divided by the first
//! one, and the table shows the median of those quotients with its 95 % interval.
//!
//! A server's CPU time is read before and after each window, while the server has nothing to do: what is between the two is
//! what the round trips of that window cost, the waking up and the going to sleep included.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::args::Args;
use crate::kernel;
use crate::load::Waiting;
use crate::process::{Generator, Program, Server};
use crate::serve::BUFFER;
use crate::statistics::Median;
use crate::table::{Cell, Row, markdown, paired, values};

/// Servers are started anew so many times for the figures on memory.
const MEMORY_ROUNDS: usize = 3;

/// What `compare` accepts.
pub const USAGE: &str = "\
compare: measures echo servers against each other and prints one table

  --connections LIST  how many at once, a comma between (1,50,1000)
  --size BYTES        of a message (64)
  --sleep             the load sleeps while it waits, instead of asking again and again
  --rounds N          windows for each server and number of connections (61)
  --window MS         duration of one (100)
  --idle N            open for the figures on memory; 0 leaves them out (1000)
  --servers LIST      of epoll, tokio, matou; the first is what the others are divided by (epoll,tokio,matou)
  --matou PATH        matou's echo server (../target/release/echo, seen from bench/)
  --also NAME=COMMAND one more server, may be repeated; COMMAND says `listening on ADDRESS` first on its stderr
  --server-cpu N      the core of the servers (0)
  --load-cpu N        the core of the load (1)
  --out FILE          the table as tab-separated values
  --windows FILE      every single window as tab-separated values";

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    connections: Vec<usize>,
    size: usize,
    waiting: Waiting,
    rounds: usize,
    window: Duration,
    idle: usize,
    programs: Vec<Program>,
    server_cpu: usize,
    load_cpu: usize,
    out: Option<PathBuf>,
    windows: Option<PathBuf>,
}

impl Options {
    fn parse(mut args: Args) -> Result<Self, Failure> {
        let matou: Option<PathBuf> = args.option("--matou")?;
        let names = args.list("--servers")?.unwrap_or_else(|| ["epoll", "tokio", "matou"].map(str::to_owned).to_vec());
        let mut programs = Vec::new();
        while let Some(also) = args.option::<String>("--also")? {
            let (name, command) = also.split_once('=').ok_or_else(|| format!("--also {also}: NAME=COMMAND is wanted"))?;
            programs.push(Program { name: name.to_owned(), command: command.split_whitespace().map(OsString::from).collect() });
        }
        let mut options = Self {
            connections: args.list("--connections")?.unwrap_or_else(|| vec![1, 50, 1000]),
            size: args.option("--size")?.unwrap_or(64),
            waiting: if args.flag("--sleep") { Waiting::Sleep } else { Waiting::Spin },
            rounds: args.option("--rounds")?.unwrap_or(61),
            window: Duration::from_millis(args.option("--window")?.unwrap_or(100)),
            idle: args.option("--idle")?.unwrap_or(1000),
            programs,
            server_cpu: args.option("--server-cpu")?.unwrap_or(0),
            load_cpu: args.option("--load-cpu")?.unwrap_or(1),
            out: args.option("--out")?,
            windows: args.option("--windows")?,
        };
        args.finish()?;
        if options.rounds == 0 || options.connections.contains(&0) {
            return Err("at least one round and one connection are needed".into());
        }
        // Last, because what may be missing here is a build, and not a matter of the command line.
        let known = names
            .into_iter()
            .map(|name| {
                let command = known_command(&name, matou.as_deref())?;
                Ok(Program { name, command })
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        options.programs.splice(0..0, known);
        Ok(options)
    }
}

/// The command of a server that is known by its name.
fn known_command(name: &str, matou: Option<&Path>) -> Result<Vec<OsString>, Failure> {
    let listen = ["--listen", "127.0.0.1:0", "--buffer"];
    let buffer = BUFFER.to_string();
    let (program, first): (PathBuf, &[&str]) = match name {
        "epoll" | "tokio" => (std::env::current_exe()?, &["serve", name]),
        "matou" => (
            matou_echo(matou)?,
            // Domain 0 alone: one thread, as the others.
            &["--mode", "multi", "--domains", "0", "--quiet"],
        ),
        _ => return Err(format!("no server is called {name}; --also adds one").into()),
    };
    Ok([program.into_os_string()].into_iter().chain(first.iter().chain(&listen).map(OsString::from)).chain([buffer.into()]).collect())
}

/// Where matou's echo server is; an error that says how to build it, if it is not there.
fn matou_echo(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("bench/ is not inside a checkout")?;
    let path = given.map_or_else(|| root.join("target/release/echo"), Path::to_path_buf);
    if path.is_file() {
        // The launcher would look for a bare name in PATH.
        return Ok(fs::canonicalize(path)?);
    }
    Err(format!(
        "matou's echo server is not at {}\n\
         build it:       cargo build --release -p matou-echo --manifest-path {}\n\
         or say where:   --matou PATH\n\
         or go without:  --servers epoll,tokio",
        path.display(),
        root.join("Cargo.toml").display(),
    )
    .into())
}

/// One server in one round.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Of the server, for each round trip, in nanoseconds.
    cpu: f64,
    /// Round trips per second.
    rate: f64,
    /// The part of the window the server was on its core.
    busy: f64,
    /// In nanoseconds, as [`crate::process::Report::latency`].
    latency: [f64; 4],
}

/// A column of the table, as the windows file sees it: every measurement in order of the rounds.
type Samples = Vec<Sample>;

/// Something the table has a row for.
struct Measure {
    name: &'static str,
    unit: &'static str,
    /// What a figure is multiplied by to be in that unit.
    scale: f64,
    digits: usize,
    /// Whether a quotient means anything.
    ratio: bool,
    of: fn(&Sample) -> f64,
}

const MEASURES: [Measure; 6] = [
    Measure { name: "CPU per round trip", unit: "µs", scale: 1e-3, digits: 2, ratio: true, of: |sample| sample.cpu },
    Measure { name: "round trips", unit: "1/s", scale: 1.0, digits: 0, ratio: true, of: |sample| sample.rate },
    Measure { name: "p50", unit: "µs", scale: 1e-3, digits: 1, ratio: true, of: |sample| sample.latency[0] },
    Measure { name: "p99", unit: "µs", scale: 1e-3, digits: 1, ratio: true, of: |sample| sample.latency[1] },
    Measure { name: "p99.9", unit: "µs", scale: 1e-3, digits: 1, ratio: true, of: |sample| sample.latency[2] },
    Measure { name: "server busy", unit: "%", scale: 100.0, digits: 0, ratio: false, of: |sample| sample.busy },
];

/// What `compare` does.
pub fn run(args: Args) -> Result<(), Failure> {
    let options = Options::parse(args)?;
    let machine = kernel::machine();
    println!("{machine}");
    println!(
        "{} bytes a message, {} rounds of {} ms, {}; servers on core {}, load on core {}, {}\n",
        options.size,
        options.rounds,
        options.window.as_millis(),
        options.programs.iter().map(|program| program.name.as_str()).collect::<Vec<_>>().join(", "),
        options.server_cpu,
        options.load_cpu,
        match options.waiting {
            Waiting::Sleep => "sleeping",
            Waiting::Spin => "spinning",
        },
    );
    // This process only waits while a window runs, but it should not do even that on the servers' core.
    kernel::pin(options.load_cpu)?;

    let mut rows = Vec::new();
    let mut windows = String::from("connections\tserver\tround\tcpu_ns\tround_trips_per_s\tbusy\tp50_ns\tp99_ns\tp999_ns\tmax_ns\n");
    let start = Instant::now();
    let servers = options.programs.iter().map(|program| Server::start(program, options.server_cpu)).collect::<Result<Vec<_>, _>>()?;
    for &connections in &options.connections {
        let samples = measure(&options, &servers, connections)?;
        for (server, samples) in servers.iter().zip(&samples) {
            for (round, sample) in samples.iter().enumerate() {
                let [p50, p99, p999, max] = sample.latency;
                writeln!(
                    windows,
                    "{connections}\t{}\t{round}\t{:.1}\t{:.1}\t{:.4}\t{p50}\t{p99}\t{p999}\t{max}",
                    server.name(),
                    sample.cpu,
                    sample.rate,
                    sample.busy,
                )?;
            }
        }
        rows.extend(MEASURES.iter().map(|measure| row(measure, connections, &samples)));
        eprintln!("{connections} connections: {:.0?} so far", start.elapsed());
    }
    drop(servers);
    if options.idle > 0 {
        rows.push(memory(&options)?);
    }

    let names: Vec<&str> = options.programs.iter().map(|program| program.name.as_str()).collect();
    print!("{}", markdown("connections", &names, &rows));
    if let Some(path) = &options.out {
        fs::write(path, values("connections", &names, &rows)).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    if let Some(path) = &options.windows {
        fs::write(path, windows).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// All rounds for one number of connections.
fn measure(options: &Options, servers: &[Server], connections: usize) -> Result<Vec<Samples>, Failure> {
    let mut generators = Vec::new();
    for server in servers {
        let mut generator = Generator::start(server.address(), options.size, options.waiting, options.load_cpu)?;
        generator.open(connections).map_err(|error| format!("{}: {error}", server.name()))?;
        generators.push(generator);
    }
    let mut samples = vec![Samples::new(); servers.len()];
    for round in 0..options.rounds {
        for turn in 0..servers.len() {
            let turn = (round + turn) % servers.len();
            let sample = window(&servers[turn], &mut generators[turn], options.window)
                .map_err(|error| format!("{}: {error}", servers[turn].name()))?;
            samples[turn].push(sample);
        }
    }
    Ok(samples)
}

/// One window of one server, after a tenth of it that does not count: the caches are still the previous server's.
fn window(server: &Server, generator: &mut Generator, duration: Duration) -> Result<Sample, Failure> {
    generator.run(duration / 10)?;
    let before = kernel::settled_cpu_time(server.id())?;
    let report = generator.run(duration)?;
    let cpu = kernel::settled_cpu_time(server.id())?.saturating_sub(before);
    let cpu = cpu.as_nanos() as f64;
    let round_trips = report.round_trips as f64;
    let nanoseconds = report.nanoseconds as f64;
    Ok(Sample {
        cpu: cpu / round_trips,
        rate: round_trips * 1e9 / nanoseconds,
        busy: cpu / nanoseconds,
        latency: report.latency.map(|nanoseconds| nanoseconds as f64),
    })
}

fn row(measure: &Measure, connections: usize, samples: &[Samples]) -> Row {
    let figures: Vec<Vec<f64>> = samples.iter().map(|samples| samples.iter().map(measure.of).collect()).collect();
    Row {
        subject: connections.to_string(),
        what: format!("{}, {}", measure.name, measure.unit),
        digits: measure.digits,
        cells: paired(&figures, measure.scale, measure.ratio),
    }
}

/// What one more idle connection costs in memory. Of servers started for nothing else: one that has had many connections
/// before keeps the memory they needed.
fn memory(options: &Options) -> Result<Row, Failure> {
    let mut figures = vec![Vec::new(); options.programs.len()];
    for _ in 0..MEMORY_ROUNDS {
        for (program, figures) in options.programs.iter().zip(&mut figures) {
            let server = Server::start(program, options.server_cpu)?;
            let mut generator = Generator::start(server.address(), options.size, options.waiting, options.load_cpu)?;
            let mut resident_with = |connections| {
                generator.open(connections).map_err(|error| format!("{}: {error}", server.name()))?;
                kernel::settled_cpu_time(server.id())?;
                Ok::<_, Failure>(kernel::resident(server.id())? as f64)
            };
            // The first one brings in the code that serves it.
            let before = resident_with(1)?;
            let after = resident_with(1 + options.idle)?;
            figures.push((after - before) / options.idle as f64);
        }
    }
    let first = Median::of(figures[0].iter().copied()).value;
    let cells = figures
        .into_iter()
        .enumerate()
        .map(|(index, figures)| {
            let value = Median::of(figures).value;
            Cell { value, ratio: (index > 0 && first > 0.0).then(|| Median::of([value / first])) }
        })
        .collect();
    Ok(Row { subject: format!("{} idle", options.idle), what: "memory per connection, bytes".to_owned(), digits: 0, cells })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu: f64) -> Sample {
        Sample { cpu, rate: 1e9 / cpu, busy: 0.5, latency: [cpu; 4] }
    }

    #[test]
    fn ratios_are_paired_by_round() {
        // The machine is ten times slower in every other round; the second server always needs twice the time.
        let slow = |round: u32| if round.is_multiple_of(2) { 10.0 } else { 1.0 };
        let samples: Vec<Samples> = [100.0, 200.0].map(|cpu| (0..8).map(|round| sample(cpu * slow(round))).collect()).into();
        let row = row(&MEASURES[0], 7, &samples);
        let ratio = row.cells[1].ratio.unwrap();
        assert_eq!((ratio.value, ratio.interval), (2.0, Some((2.0, 2.0))));
        assert!(row.cells[0].ratio.is_none());
    }
}
