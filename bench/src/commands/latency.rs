//! `latency`: latency over load. Messages are due by a schedule that does not ask the server, and a latency counts from when
//! one was due: who falls behind shows it.

use super::{OPTIONS, Setup, in_turn, of};
use crate::Failure;
use crate::args::Args;
use crate::process::{Generator, Load, Report};
use crate::report::{Kind, Line, Lines, Plot, Row};
use crate::servers;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "latency: latency over load, in an open loop (7 rounds of 300 ms for each load)\n\n  \
         --connections N     over which the messages go in turn (50)\n  \
         --loads LIST        in percent of what the first server does in a closed loop (10,30,50,60,70,80,90)\n{OPTIONS}"
    )
}

const LATENCIES: [(&str, usize); 3] = [("p50, µs", 0), ("p99, µs", 1), ("p99.9, µs", 2)];

/// What `latency` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut setup = Setup::take(&mut args, servers::ALL, 7, 300)?;
    let connections = args.option("--connections")?.unwrap_or(50);
    let loads: Vec<u64> = args.list("--loads")?.unwrap_or_else(|| vec![10, 30, 50, 60, 70, 80, 90]);
    args.finish()?;
    setup.find()?;
    let mut report = setup.report("Latency over load");
    let servers = setup.servers()?;
    let mut generators: Vec<Vec<Generator>> = servers.iter().map(|server| setup.generators(server)).collect::<Result<_, _>>()?;
    for (server, generators) in servers.iter().zip(&mut generators) {
        of(server, Setup::open(generators, connections))?;
    }
    let most = of(&servers[0], super::window(&servers[0], &mut generators[0], Load::Closed, setup.window))?.rate;
    report.say(&format!(
        "100 % is {most:.0} messages a second, over {connections} connections; they are due at random (exponential distances)."
    ));

    let mut rows = Vec::new();
    let mut lines: Vec<Vec<Line>> = LATENCIES.map(|_| setup.names().into_iter().map(|name| (name.to_owned(), Vec::new())).collect()).into();
    for percent in loads {
        let rate = most * percent as f64 / 100.0;
        let each = Load::Paced((rate / setup.load_cpus.len() as f64) as u64);
        let samples: Vec<Vec<Vec<Report>>> =
            in_turn(setup.rounds, servers.len(), |turn| of(&servers[turn], super::run(&mut generators[turn], each, setup.window)))?;
        for ((what, index), lines) in LATENCIES.into_iter().zip(&mut lines) {
            let worst = |reports: &Vec<Report>| reports.iter().map(|report| report.latency[index]).max().unwrap_or(0) as f64;
            let figures: Vec<Vec<f64>> = samples.iter().map(|samples| samples.iter().map(worst).collect()).collect();
            let kind = Kind { what, scale: 1e-3, digits: 1, ratio: true };
            let row = Row::paired(format!("{percent} %"), kind, &figures);
            for (line, cell) in lines.iter_mut().zip(&row.cells) {
                line.1.extend(cell.map(|cell| (rate, cell.value)));
            }
            rows.push(row.beside_the_best(&figures, setup.ours(), |index| setup.is_peer(index)));
        }
    }
    report.table("load", &setup.names(), &rows, Lines::Names);
    for ((what, _), lines) in LATENCIES.into_iter().zip(lines) {
        let title = format!("Latency over load, {}", what.trim_end_matches(", µs"));
        report.plot(Plot { title, x: "messages a second".into(), y: "µs".into(), logarithmic: false, lines });
    }
    report.finish()
}
