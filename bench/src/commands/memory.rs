//! `memory`: what an idle connection costs in the server's memory; what the kernel keeps for a socket is not in it.

use super::{OPTIONS, Setup, in_turn, of};
use crate::Failure;
use crate::args::Args;
use crate::kernel;
use crate::process::Server;
use crate::report::{Kind, Lines};
use crate::servers;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "memory: growth of the resident set for each connection that has made one round trip (6 rounds)\n\n  \
         --idle LIST         connections (1000,10000)\n{OPTIONS}"
    )
}

/// The hand-written loop keeps next to nothing: a quotient by it means nothing.
pub(crate) const BYTES: Kind = Kind { first: false, ..Kind::less("memory per idle connection, bytes", 1.0, 0) };

/// What `memory` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut setup = Setup::take(&mut args, servers::ALL, 6, 0)?;
    let idle: Vec<usize> = args.list("--idle")?.unwrap_or_else(|| vec![1000, 10_000]);
    args.finish()?;
    setup.find()?;
    let mut report = setup.report("Memory of an idle connection");
    let mut rows = Vec::new();
    for idle in idle {
        let figures = in_turn(setup.rounds, setup.programs.len(), |turn| {
            // Of a server started for nothing else: one that has had many connections before keeps the memory they needed.
            let server = Server::start(&setup.programs[turn], &setup.server_cpus)?;
            of(&server, growth(&setup, &server, idle))
        })?;
        rows.push(setup.row(idle.to_string(), BYTES, &figures, |bytes| *bytes));
    }
    report.table("connections", &setup.names(), &rows, Lines::Names);
    report.finish()
}

fn growth(setup: &Setup, server: &Server, idle: usize) -> Result<f64, Failure> {
    let mut generators = setup.generators(server)?;
    let mut resident_with = |connections| {
        Setup::open(&mut generators, connections)?;
        kernel::settled_cpu_time(server.id())?;
        Ok::<_, Failure>(kernel::resident(server.id())? as f64)
    };
    // The first one brings in the code that serves it.
    let before = resident_with(1)?;
    let after = resident_with(1 + idle)?;
    Ok((after - before) / idle as f64)
}
