//! `connect`: what a connection costs that makes one round trip: accepted, answered, closed.

use super::{OPTIONS, Sample, Setup, in_turn, of, window};
use crate::Failure;
use crate::args::Args;
use crate::process::{Generator, Load};
use crate::report::{Kind, Lines, Row};
use crate::servers;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "connect: CPU per connection that is opened, used once and closed (31 rounds of 100 ms)\n\n  \
         --at-once LIST      connections open at the same time (1,16)\n{OPTIONS}"
    )
}

const CPU: Kind = Kind { what: "CPU per connect-echo-close, µs", scale: 1e-3, digits: 2, ratio: true };
const P99: Kind = Kind { what: "connect to echo, p99, µs", scale: 1e-3, digits: 1, ratio: true };

/// What `connect` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut setup = Setup::take(&mut args, servers::ALL, 31, 100)?;
    let at_once: Vec<u64> = args.list("--at-once")?.unwrap_or_else(|| vec![1, 16]);
    args.finish()?;
    setup.find()?;
    let mut report = setup.report("Connections: connect, echo, close");
    let servers = setup.servers()?;
    let mut generators: Vec<Vec<Generator>> = servers.iter().map(|server| setup.generators(server)).collect::<Result<_, _>>()?;
    let mut rows = Vec::new();
    for at_once in at_once {
        let samples = in_turn(setup.rounds, servers.len(), |turn| {
            of(&servers[turn], window(&servers[turn], &mut generators[turn], Load::Churn(at_once), setup.window))
        })?;
        for (kind, figure) in [(CPU, (|sample| sample.cpu) as fn(&Sample) -> f64), (P99, |sample| sample.latency[1])] {
            let figures: Vec<Vec<f64>> = samples.iter().map(|samples| samples.iter().map(figure).collect()).collect();
            let row = Row::paired(at_once.to_string(), kind, &figures);
            rows.push(row.beside_the_best(&figures, setup.ours(), |index| setup.is_peer(index)));
        }
    }
    report.table("at once", &setup.names(), &rows, Lines::Names);
    report.finish()
}
