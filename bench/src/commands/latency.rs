//! `latency`: latency over load. Messages are due by a schedule that does not ask the server, and a latency counts from when
//! one was due: who falls behind shows it.

use super::{OPTIONS, Setup, in_turn, of};
use crate::Failure;
use crate::args::Args;
use crate::process::{Load, Report};
use crate::report::{Kind, Lines, Plot, Scale};
use crate::servers;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "latency: latency over load, in an open loop (6 rounds of 300 ms for each load)\n\n  \
         --connections N     over which the messages go in turn (50)\n  \
         --loads LIST        in percent of what the first server does in a closed loop (10,30,50,60,70,80,90)\n{OPTIONS}"
    )
}

const LATENCIES: [(Kind, usize); 3] =
    [(Kind::less("p50, µs", 1e-3, 1), 0), (Kind::less("p99, µs", 1e-3, 1), 1), (Kind::less("p99.9, µs", 1e-3, 1), 2)];

/// What `latency` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut setup = Setup::take(&mut args, servers::ALL, 6, 300)?;
    let connections = args.option("--connections")?.unwrap_or(50);
    let loads: Vec<u64> = args.list("--loads")?.unwrap_or_else(|| vec![10, 30, 50, 60, 70, 80, 90]);
    args.finish()?;
    setup.find()?;
    let mut report = setup.report("Latency over load");
    let servers = setup.servers()?;
    let mut generators = setup.loaded(&servers, connections)?;
    let most = of(&servers[0], super::window(&servers[0], &mut generators[0], Load::Closed, setup.window))?.rate;
    report.say(&format!(
        "100 % is {most:.0} messages a second, over {connections} connections; they are due at random (exponential distances)."
    ));

    let mut rows = Vec::new();
    let mut plots = LATENCIES.map(|(kind, _)| {
        let title = format!("Latency over load, {}", kind.what.trim_end_matches(", µs"));
        Plot::new(title, "messages a second", kind.what, &setup.names()).scaled(Scale::Linear, Scale::Logarithmic)
    });
    for percent in loads {
        let rate = most * percent as f64 / 100.0;
        let each = Load::Paced((rate / setup.load_cpus.len() as f64) as u64);
        let samples: Vec<Vec<Vec<Report>>> =
            in_turn(setup.rounds, servers.len(), |turn| of(&servers[turn], super::run(&mut generators[turn], each, setup.window)))?;
        for ((kind, index), plot) in LATENCIES.into_iter().zip(&mut plots) {
            let row = setup.row(format!("{percent} %"), kind, &samples, |reports| super::worst(reports, index));
            plot.add(rate, &row);
            rows.push(row);
        }
    }
    report.table("load", &setup.names(), &rows, Lines::Names);
    plots.into_iter().for_each(|plot| report.plot(plot));
    report.finish()
}
