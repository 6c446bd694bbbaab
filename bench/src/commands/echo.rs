//! `echo`: what a round trip costs, with so many connections.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use super::{OPTIONS, Sample, Setup, in_turn, of, window};
use crate::Failure;
use crate::args::Args;
use crate::process::{Generator, Load, Server};
use crate::report::{Kind, Line, Lines, Plot, Row};
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

const fn kind(what: &'static str, scale: f64, digits: usize, ratio: bool) -> Kind {
    Kind { what, scale, digits, ratio }
}

pub(super) const CPU: Kind = kind("CPU per round trip, µs", 1e-3, 2, true);

const MEASURES: [Measure; 6] = [
    (CPU, |sample| sample.cpu),
    (kind("round trips, 1/s", 1.0, 0, true), |sample| sample.rate),
    (kind("p50, µs", 1e-3, 1, true), |sample| sample.latency[0]),
    (kind("p99, µs", 1e-3, 1, true), |sample| sample.latency[1]),
    (kind("p99.9, µs", 1e-3, 1, true), |sample| sample.latency[2]),
    (kind("server busy, %", 100.0, 0, false), |sample| sample.busy),
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
    let mut lines: Vec<Line> = setup.names().into_iter().map(|name| (name.to_owned(), Vec::new())).collect();
    let mut every = String::from("connections\tserver\tround\tcpu_ns\tround_trips_per_s\tbusy\tp50_ns\tp99_ns\tp999_ns\tmax_ns\n");
    for count in connections {
        let samples = measure(&setup, &servers, count)?;
        write_windows(&mut every, count, &servers, &samples);
        let of_all = table(&setup, &count.to_string(), &samples);
        for (line, cell) in lines.iter_mut().zip(&of_all[0].cells) {
            line.1.extend(cell.map(|cell| (count as f64, cell.value)));
        }
        rows.extend(of_all);
        eprintln!("{count} connections: {:.0?} so far", start.elapsed());
    }
    report.table("connections", &setup.names(), &rows, Lines::Names);
    report.plot(Plot { title: "CPU per round trip".into(), x: "connections".into(), y: "µs".into(), logarithmic: true, lines });
    if let Some(path) = windows {
        fs::write(&path, every).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    report.finish()
}

/// All rounds for one number of connections.
pub(super) fn measure(setup: &Setup, servers: &[Server], connections: usize) -> Result<Vec<Vec<Sample>>, Failure> {
    let mut generators: Vec<Vec<Generator>> = Vec::new();
    for server in servers {
        let mut load = setup.generators(server)?;
        of(server, Setup::open(&mut load, connections))?;
        generators.push(load);
    }
    in_turn(setup.rounds, servers.len(), |turn| {
        of(&servers[turn], window(&servers[turn], &mut generators[turn], Load::Closed, setup.window))
    })
}

/// The rows of one number of connections.
pub(super) fn table(setup: &Setup, subject: &str, samples: &[Vec<Sample>]) -> Vec<Row> {
    let row = |(kind, of): &Measure| {
        let figures: Vec<Vec<f64>> = samples.iter().map(|samples| samples.iter().map(of).collect()).collect();
        let row = Row::paired(subject, *kind, &figures);
        // The rate is the one figure of which more is better; it follows from the others.
        if kind.ratio && !kind.what.contains("1/s") {
            row.beside_the_best(&figures, setup.ours(), |index| setup.is_peer(index))
        } else {
            row
        }
    };
    MEASURES.iter().map(row).collect()
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
