//! `domains`: what a round trip costs when several threads serve, from one to as many as there are cores.
//!
//! Each server has a core for each thread. The load has the last core, and more if the servers leave some; where they take
//! all, the two compete for it, and the CPU per round trip says more than the rate.

use std::time::Instant;

use super::{OPTIONS, Setup, echo};
use crate::Failure;
use crate::args::Args;
use crate::kernel;
use crate::report::{Lines, Plot, Row, Scale};
use crate::servers;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "domains: CPU per round trip with several threads (31 rounds of 100 ms)\n\n  \
         --threads LIST      how many serve (1,2,4.. up to the cores but one; two at least)\n  \
         --connections LIST  how many at once (50,1000)\n{OPTIONS}"
    )
}

/// What `domains` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let cores = kernel::cores();
    let given_cpus = args.option::<String>("--load-cpu")?;
    let mut setup = Setup::take(&mut args, servers::THREADS, 31, 100)?;
    // The last core is the load's, if two are left without it.
    let threads = args.list("--threads")?.unwrap_or_else(|| kernel::doubled(cores.min(2).max(cores - 1)));
    let connections: Vec<usize> = args.list("--connections")?.unwrap_or_else(|| vec![50, 1000]);
    args.finish()?;
    if threads.contains(&0) || connections.is_empty() {
        return Err("at least one thread serves at least one connection".into());
    }
    let loads = match given_cpus {
        Some(list) => Some(list.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?),
        None => None,
    };
    let mut rows: Vec<Row> = Vec::new();
    let mut plot = None;
    let mut report = None;
    let start = Instant::now();
    for threads in threads {
        setup.how.threads = threads;
        setup.server_cpus = (0..threads.min(cores)).collect();
        setup.load_cpus = loads.clone().unwrap_or_else(|| (threads.min(cores - 1)..cores).collect());
        setup.find()?;
        let report = report.get_or_insert_with(|| setup.report("Echo on several threads"));
        report.say(&format!("{threads} threads: servers on cores {:?}, load on cores {:?}.", setup.server_cpus, setup.load_cpus));
        let servers = setup.servers()?;
        let plot = plot.get_or_insert_with(|| {
            let title = format!("Echo over {} connections", connections[connections.len() - 1]);
            Plot::new(title, "threads", echo::RATE.what, &setup.names()).scaled(Scale::Linear, Scale::Linear)
        });
        for &count in &connections {
            let samples = echo::measure(&setup, &servers, count)?;
            rows.extend(echo::table(&setup, &subject(threads, count), &samples));
            eprintln!("{threads} threads, {count} connections: {:.0?} so far", start.elapsed());
        }
        // The rate with the most of them.
        rows.iter().rev().find(|row| row.what == echo::RATE.what).into_iter().for_each(|row| plot.add(threads as f64, row));
    }
    let mut report = report.ok_or("nothing was measured")?;
    report.table("connections", &setup.names(), &rows, Lines::Names);
    plot.into_iter().for_each(|plot| report.plot(plot));
    report.finish()
}

/// What a row is about.
pub(crate) fn subject(threads: usize, connections: usize) -> String {
    format!("{threads} thread{}, {connections}", if threads == 1 { "" } else { "s" })
}
