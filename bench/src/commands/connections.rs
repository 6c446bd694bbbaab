//! `connections`: how the cost of a round trip grows with the number of connections. All numbers are measured in each round, so
//! that what a server spends with many is divided by what it spent with few a moment ago.

use super::{OPTIONS, Setup, echo, in_turn, of, window};
use crate::Failure;
use crate::args::Args;
use crate::process::Load;
use crate::report::{Lines, Plot, Row};

/// What it accepts.
pub fn usage() -> String {
    format!(
        "connections: growth of the CPU per round trip over connections (15 rounds of 100 ms)\n\n  \
         --connections LIST  how many are busy at once, the fewest first (10,100,1000,10000); the others are open meanwhile\n{OPTIONS}"
    )
}

/// Those that are measured: who looks at all connections to find the busy ones would show here.
const SERVERS: &str = "epoll,raw-uring,tokio,matou,matou-uring";

/// What `connections` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut setup = Setup::take(&mut args, SERVERS, 15, 100)?;
    let counts: Vec<usize> = args.list("--connections")?.unwrap_or_else(|| vec![10, 100, 1000, 10_000]);
    args.finish()?;
    if counts.contains(&0) || counts.is_empty() {
        return Err("at least one connection is needed".into());
    }
    setup.find()?;
    let mut report = setup.report("Echo: growth over connections");
    let servers = setup.servers()?;
    // Of each number those of all servers.
    let mut generators = counts.iter().map(|count| setup.loaded(&servers, *count)).collect::<Result<Vec<_>, _>>()?;
    // The numbers of one server follow each other.
    let samples = in_turn(setup.rounds, servers.len() * counts.len(), |turn| {
        let (server, count) = (turn / counts.len(), turn % counts.len());
        of(&servers[server], window(&servers[server], &mut generators[count][server], Load::Closed, setup.window))
    })?;
    let mut plot = Plot::new("CPU per round trip", "connections", echo::CPU.what, &setup.names());
    let mut rows = Vec::new();
    let mut first: Option<Vec<Vec<f64>>> = None;
    for (index, count) in counts.iter().enumerate() {
        let figures: Vec<Vec<f64>> =
            samples.chunks(counts.len()).map(|of_server| of_server[index].iter().map(|sample| sample.cpu).collect()).collect();
        let row = Row::compared(count.to_string(), echo::CPU, &setup.names(), &figures);
        plot.add(*count as f64, &row);
        rows.push(row);
        match &first {
            Some(first) => rows.push(Row::grown(count.to_string(), grown(counts[0]), first, &figures)),
            None => first = Some(figures),
        }
    }
    report.table("connections", &setup.names(), &rows, Lines::Names);
    report.plot(plot);
    report.finish()
}

/// What the table calls a quotient by the cost with the fewest.
pub(crate) fn grown(fewest: usize) -> String {
    format!("CPU per round trip, times that with {fewest}")
}
