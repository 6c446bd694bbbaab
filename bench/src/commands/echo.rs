//! `echo`: what a round trip costs, with so many connections.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::{OPTIONS, Sample, Setup, in_turn, of, window};
use crate::Failure;
use crate::args::Args;
use crate::process::{Load, Server};
use crate::report::{Kind, Lines, Plot, Row};
use crate::servers;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "echo: CPU per round trip and latency in a closed loop (31 rounds of 100 ms)\n\n  \
         --connections LIST  how many at once, a comma between (1,50,1000,10000)\n  \
         --windows FILE      every single window as tab-separated values\n{OPTIONS}"
    )
}

/// A figure, and where it is in a sample.
type Measure = (Kind, fn(&Sample) -> f64);

pub(crate) const CPU: Kind = Kind::less("CPU per round trip, µs", 1e-3, 2);
pub(crate) const RATE: Kind = Kind::more("round trips, 1/s", 1.0, 0);
pub(crate) const P999: Kind = Kind::less("p99.9, µs", 1e-3, 1);

const MEASURES: [Measure; 6] = [
    (CPU, |sample| sample.cpu),
    (RATE, |sample| sample.rate),
    (Kind::less("p50, µs", 1e-3, 1), |sample| sample.latency[0]),
    (Kind::less("p99, µs", 1e-3, 1), |sample| sample.latency[1]),
    (P999, |sample| sample.latency[2]),
    (Kind::alone("server busy, %", 100.0, 0), |sample| sample.busy),
];

/// What `echo` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut setup = Setup::take(&mut args, servers::ALL, 31, 100)?;
    let connections = args.list("--connections")?.unwrap_or_else(|| vec![1, 50, 1000, 10_000]);
    let windows: Option<PathBuf> = args.option("--windows")?;
    args.finish()?;
    if connections.contains(&0) {
        return Err("at least one connection is needed".into());
    }
    setup.find()?;
    let mut report = setup.report("Echo: a round trip");
    let start = Instant::now();
    let servers = setup.servers()?;
    let mut rows = Vec::new();
    let mut plot = Plot::new("CPU per round trip", "connections", CPU.what, &setup.names());
    let mut every = String::from("connections\tserver\tround\tcpu_ns\tround_trips_per_s\tbusy\tp50_ns\tp99_ns\tp999_ns\tmax_ns\n");
    for count in connections {
        let samples = measure(&setup, &servers, count)?;
        write_windows(&mut every, count, &servers, &samples);
        let of_all = table(&setup, &count.to_string(), &samples);
        plot.add(count as f64, &of_all[0]);
        rows.extend(of_all);
        eprintln!("{count} connections: {:.0?} so far", start.elapsed());
    }
    report.table("connections", &setup.names(), &rows, Lines::Names);
    report.plot(plot);
    if let Some(path) = windows {
        fs::write(&path, every).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    report.finish()
}

/// All rounds for one number of connections.
pub(super) fn measure(setup: &Setup, servers: &[Server], connections: usize) -> Result<Vec<Vec<Sample>>, Failure> {
    let mut generators = setup.loaded(servers, connections)?;
    in_turn(setup.rounds, servers.len(), |turn| {
        of(&servers[turn], window(&servers[turn], &mut generators[turn], Load::Closed, setup.window))
    })
}

/// The rows of one number of connections.
pub(super) fn table(setup: &Setup, subject: &str, samples: &[Vec<Sample>]) -> Vec<Row> {
    MEASURES.iter().map(|(kind, figure)| setup.row(subject, *kind, samples, figure)).collect()
}

fn write_windows(text: &mut String, connections: usize, servers: &[Server], samples: &[Vec<Sample>]) {
    for (server, samples) in servers.iter().zip(samples) {
        for (round, sample) in samples.iter().enumerate() {
            let Sample { cpu, rate, busy, latency: [p50, p99, p999, max] } = sample;
            let name = server.name();
            let _ = writeln!(text, "{connections}\t{name}\t{round}\t{cpu:.1}\t{rate:.1}\t{busy:.4}\t{p50}\t{p99}\t{p999}\t{max}");
        }
    }
}
