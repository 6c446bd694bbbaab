//! `growth`: what an operation costs among 100 to 1,000,000 tasks, timers or orphans, beside a bare walk over as many cells.

use super::run::{Executors, HEAP, OPTIONS, TIME};
use super::{Figures, Kind};
use crate::Failure;
use crate::args::Args;
use crate::report::{self, Line, Lines, Plot, Row};

/// What it accepts.
pub fn usage() -> String {
    format!(
        "growth: time per operation among so many suspended tasks, timers, orphans; heap per task (7 rounds of 200 ms)\n\n  \
         --counts LIST     how many (100,1000,10000,100000,1000000)\n{OPTIONS}"
    )
}

const KINDS: [Kind; 4] = [Kind::WakeAmong, Kind::SpawnAmong, Kind::TimerAmong, Kind::OrphanAmong];

/// What `growth` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let counts: Vec<usize> = args.list("--counts")?.unwrap_or_else(|| vec![100, 1000, 10_000, 100_000, 1_000_000]);
    let mut executors = Executors::take(&mut args, "walk,tokio,matou", 7, 200)?;
    args.finish()?;
    if counts.contains(&0) {
        return Err("at least one waits".into());
    }
    let mut report = executors.report("Growth of the executors");
    report.say(
        "The walk visits boxes of three cache lines, and touches two of each, in the order in which the tasks are woken, which is \
         not the order in which they were made.",
    );
    for kind in KINDS {
        let names = executors.names();
        let mut rows = Vec::new();
        let mut lines: Vec<Line> = names.iter().map(|name| ((*name).to_owned(), Vec::new())).collect();
        let mut first: Option<Vec<Vec<f64>>> = None;
        for &count in &counts {
            eprintln!("{}: {count}", kind.name());
            let figures = executors.ask(kind, count)?;
            let times: Vec<Vec<f64>> = figures.iter().map(|(times, _)| times.iter().map(|figures| figures.time).collect()).collect();
            let row = Row::paired(count.to_string(), TIME, &times);
            for (line, cell) in lines.iter_mut().zip(&row.cells) {
                line.1.extend(cell.map(|cell| (count as f64, cell.value)));
            }
            rows.push(row);
            rows.push(grown(count, first.get_or_insert_with(|| times.clone()), &times));
            if kind == Kind::WakeAmong {
                let live = |count: &Option<Figures>| count.iter().map(|figures| figures.live).collect();
                let heap: Vec<Vec<f64>> = figures.iter().map(|(_, count)| live(count)).collect();
                rows.push(Row::paired(count.to_string(), report::Kind { what: "heap of a task, bytes", ..HEAP }, &heap));
            }
        }
        report.say(&format!("#### {}", kind.name()));
        report.table("count", &names, &rows, Lines::Names);
        report.plot(Plot { title: kind.name().to_owned(), x: "so many".into(), y: "ns".into(), logarithmic: true, lines });
    }
    report.finish()
}

/// The median time as a multiple of that among the fewest.
fn grown(count: usize, first: &[Vec<f64>], times: &[Vec<f64>]) -> Row {
    let quotients: Vec<Vec<f64>> =
        times.iter().zip(first).map(|(times, first)| times.iter().zip(first).map(|(time, first)| time / first).collect()).collect();
    let kind = report::Kind { what: "times as long as among the fewest", scale: 1.0, digits: 2, ratio: false };
    Row::paired(count.to_string(), kind, &quotients)
}
