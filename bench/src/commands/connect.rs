//! `connect`: what a connection costs that makes one round trip: accepted, answered, closed.

use super::{OPTIONS, Setup, in_turn, of, window};
use crate::Failure;
use crate::args::Args;
use crate::process::Load;
use crate::report::{Kind, Lines};
use crate::servers;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "connect: CPU per connection that is opened, used once and closed (31 rounds of 100 ms)\n\n  \
         --at-once LIST      connections open at the same time (1,16)\n{OPTIONS}"
    )
}

pub(crate) const CPU: Kind = Kind::less("CPU per connect-echo-close, µs", 1e-3, 2);
const P99: Kind = Kind::less("connect to echo, p99, µs", 1e-3, 1);

/// What `connect` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut setup = Setup::take(&mut args, servers::ALL, 31, 100)?;
    let at_once: Vec<u64> = args.list("--at-once")?.unwrap_or_else(|| vec![1, 16]);
    args.finish()?;
    setup.find()?;
    let mut report = setup.report("Connections: connect, echo, close");
    let servers = setup.servers()?;
    let mut generators = setup.loaded(&servers, 0)?;
    let mut rows = Vec::new();
    for at_once in at_once {
        let samples = in_turn(setup.rounds, servers.len(), |turn| {
            of(&servers[turn], window(&servers[turn], &mut generators[turn], Load::Churn(at_once), setup.window))
        })?;
        rows.push(setup.row(at_once.to_string(), CPU, &samples, |sample| sample.cpu));
        rows.push(setup.row(at_once.to_string(), P99, &samples, |sample| sample.latency[1]));
    }
    report.table("at once", &setup.names(), &rows, Lines::Names);
    report.finish()
}
