//! `growth`: what an operation costs among 100 to 1,000,000 tasks, timers or orphans, beside a bare walk over as many cells.

use super::Kind;
use super::run::{ALLOCATIONS, Executors, HEAP, OPTIONS, TIME, timed};
use crate::Failure;
use crate::args::Args;
use crate::report::{Lines, Plot, Row};

/// What it accepts.
pub fn usage() -> String {
    format!(
        "growth: time per operation among so many suspended tasks, timers, orphans; heap per task (7 rounds of 200 ms)\n\n  \
         --counts LIST     how many (100,1000,10000,100000,1000000)\n{OPTIONS}"
    )
}

pub(crate) const KINDS: [Kind; 4] = [Kind::WakeAmong, Kind::SpawnAmong, Kind::TimerAmong, Kind::OrphanAmong];

/// What `growth` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let counts: Vec<usize> = args.list("--counts")?.unwrap_or_else(|| vec![100, 1000, 10_000, 100_000, 1_000_000]);
    let mut executors = Executors::take(&mut args, "walk,tokio,matou", 7, 200)?;
    args.finish()?;
    if counts.contains(&0) || counts.is_empty() {
        return Err("at least one waits".into());
    }
    let mut report = executors.report("Growth of the executors");
    report.say(
        "The walk visits boxes of three cache lines, and touches two of each, in the order in which the tasks are woken, which is \
         not the order in which they were made. It is the same for all operations.",
    );
    let names = executors.names();
    for kind in KINDS {
        eprintln!("{}", kind.name());
        let mut plot = Plot::new(kind.name(), "so many", TIME.what, &names);
        let mut rows = Vec::new();
        let mut first: Option<Vec<Vec<f64>>> = None;
        for (count, answers) in counts.iter().zip(executors.ask(kind, &counts)?) {
            let subject = count.to_string();
            let time = executors.row(&subject, TIME, &answers, |figures| figures.time);
            plot.add(*count as f64, &time);
            rows.push(Row { what: of(kind, TIME.what), ..time });
            let times = timed(&answers, |figures| figures.time);
            match &first {
                Some(first) => rows.push(Row::grown(&subject, grown(kind, counts[0]), first, &times)),
                None => first = Some(times),
            }
            if kind == Kind::TimerAmong {
                let counted = executors.counted(&subject, ALLOCATIONS, &answers, |figures| figures.allocations);
                rows.push(Row { what: of(kind, ALLOCATIONS.what), ..counted });
            }
            if kind == Kind::WakeAmong {
                rows.push(Row { what: HEAP_OF_ONE.to_owned(), ..executors.counted(&subject, HEAP, &answers, |figures| figures.live) });
            }
        }
        report.table("so many", &names, &rows, Lines::Names);
        report.plot(plot);
    }
    report.finish()
}

/// What the tables call a figure of an operation.
pub(crate) fn of(kind: Kind, what: &str) -> String {
    format!("{}: {what}", kind.name())
}

/// What they call the quotient of its time by that among the fewest.
pub(crate) fn grown(kind: Kind, fewest: usize) -> String {
    of(kind, &format!("times that among {fewest}"))
}

/// What they call the heap of each of so many tasks.
pub(crate) const HEAP_OF_ONE: &str = "heap of a suspended task, bytes";
