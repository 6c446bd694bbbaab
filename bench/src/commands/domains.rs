//! `domains`: what a round trip costs when several threads serve, from one to as many as there are cores.
//!
//! Each server has a core for each thread. The load has the last core, and more if the servers leave some; where they take
//! all, the two compete for it, and the CPU per round trip says more than the rate.

use std::time::Instant;

use super::{OPTIONS, Setup, echo};
use crate::Failure;
use crate::args::Args;
use crate::kernel;
use crate::report::{Line, Lines, Plot};
use crate::servers;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "domains: CPU per round trip with several threads (31 rounds of 100 ms)\n\n  \
         --threads LIST      how many serve (1,2,4.. up to the cores)\n  \
         --connections LIST  how many at once (50,1000)\n{OPTIONS}"
    )
}

/// What `domains` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let cores = kernel::cores();
    let given_cpus = args.option::<String>("--load-cpu")?;
    let mut setup = Setup::take(&mut args, servers::THREADS, 31, 100)?;
    let doubled = || (0..).map(|power| 1 << power).take_while(|threads| *threads < cores).chain([cores]).collect();
    let threads: Vec<usize> = args.list("--threads")?.unwrap_or_else(doubled);
    let connections: Vec<usize> = args.list("--connections")?.unwrap_or_else(|| vec![50, 1000]);
    args.finish()?;
    if threads.contains(&0) {
        return Err("at least one thread serves".into());
    }
    let loads = match given_cpus {
        Some(list) => Some(list.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?),
        None => None,
    };
    let mut rows = Vec::new();
    let mut lines: Vec<Line> = Vec::new();
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
        lines.resize_with(servers.len(), Default::default);
        for &count in &connections {
            let samples = echo::measure(&setup, &servers, count)?;
            let of_all = echo::table(&setup, &format!("{threads} threads, {count}"), &samples);
            if count == *connections.last().unwrap_or(&0) {
                for ((line, name), cell) in lines.iter_mut().zip(setup.names()).zip(&of_all[1].cells) {
                    name.clone_into(&mut line.0);
                    line.1.extend(cell.map(|cell| (threads as f64, cell.value)));
                }
            }
            rows.extend(of_all);
            eprintln!("{threads} threads, {count} connections: {:.0?} so far", start.elapsed());
        }
    }
    let mut report = report.ok_or("nothing was measured")?;
    report.table("connections", &setup.names(), &rows, Lines::Names);
    report.plot(Plot { title: "Round trips a second".into(), x: "threads".into(), y: "1/s".into(), logarithmic: false, lines });
    report.finish()
}
