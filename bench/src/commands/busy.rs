//! `busy`: how available a server is whose own tasks compute all the time, and what serving costs the computation.
//!
//! On the thread that serves, 1,000 tasks compute in steps of 10 µs and yield after each. Meanwhile messages are due, and
//! connections are opened, by schedules that do not ask the server. As all servers would compute at once, all but the one that
//! is measured are stopped.

use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use super::{OPTIONS, Setup, in_turn, of};
use crate::Failure;
use crate::args::Args;
use crate::load::Waiting;
use crate::process::{Generator, Load, Server};
use crate::report::{Kind, Lines};
use crate::serve::compute::STEP;
use crate::servers;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "busy: latency while the server's tasks compute, and their throughput (7 rounds of 1000 ms)\n\n  \
         --tasks N           that compute (1000)\n  \
         --rate N            messages a second (1000)\n  \
         --arrivals N        connections a second (100)\n  \
         --connections N     over which the messages go in turn (50)\n{OPTIONS}"
    )
}

/// One server in one round.
struct Sample {
    /// Nanoseconds: of messages, and of connections from `connect` to the first answer; p50, p99, p99.9, the longest.
    echo: [u64; 4],
    accept: [u64; 4],
    /// Steps of the computation while serving, divided by those while not serving.
    throughput: f64,
    /// Of the window without serving the part that was spent in steps.
    computing: f64,
}

pub(crate) const ECHO: Kind = Kind::less("echo while computing, ms", 1e-6, 2);
pub(crate) const ACCEPT: Kind = Kind::less("connect to echo while computing, ms", 1e-6, 2);
pub(crate) const KEPT: Kind = Kind::alone("steps while serving, % of those while not", 100.0, 2);
const COMPUTING: Kind = Kind::alone("time in steps while not serving, %", 100.0, 1);
const PERCENTILES: [&str; 3] = ["p50", "p99", "p99.9"];

/// What `busy` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let mut setup = Setup::take(&mut args, servers::COMPUTING, 7, 1000)?;
    setup.how.compute = args.option("--tasks")?.unwrap_or(1000);
    let rate = args.option("--rate")?.unwrap_or(1000);
    let arrivals = args.option("--arrivals")?.unwrap_or(100);
    let connections = args.option("--connections")?.unwrap_or(50);
    args.finish()?;
    // Two generators share the load's core, and latencies are of milliseconds: neither has to spin.
    setup.waiting = Waiting::Sleep;
    setup.find()?;
    let mut report = setup.report("Availability of a server that computes");
    report.say(&format!(
        "{} tasks in steps of {STEP:?}; {rate} messages a second over {connections} connections, and {arrivals} connections a second, \
         measured from `connect` to the first answer.",
        setup.how.compute
    ));
    let cpu = [setup.load_cpus[0]];
    let mut servers = Vec::new();
    let mut generators = Vec::new();
    for program in &setup.programs {
        let server = Server::start(program, &setup.server_cpus)?;
        let start = || Generator::start(server.address(), setup.size, setup.waiting, &cpu);
        let [mut messages, arriving] = [start()?, start()?];
        of(&server, messages.open(connections))?;
        generators.push([messages, arriving]);
        signal(&server, Signal::STOP)?;
        servers.push(server);
    }
    let samples = in_turn(setup.rounds, servers.len(), |turn| {
        let server = &mut servers[turn];
        signal(server, Signal::CONT)?;
        let [messages, arriving] = &mut generators[turn];
        // One after a stop knows of no time that has passed.
        thread::sleep(setup.window / 10);
        let before = (server.steps()?, Instant::now());
        thread::sleep(setup.window);
        let (alone, seconds) = steps(server, before)?;
        let before = (server.steps()?, Instant::now());
        messages.begin(Load::Paced(rate), setup.window)?;
        arriving.begin(Load::Arrive(arrivals), setup.window)?;
        let [echo, accept] = [messages.report(), arriving.report()].map(|report| of(server, report));
        let (echo, accept) = (echo?.latency, accept?.latency);
        let (serving, serving_seconds) = steps(server, before)?;
        signal(server, Signal::STOP)?;
        let throughput = (serving / serving_seconds) / (alone / seconds);
        Ok(Sample { echo, accept, throughput, computing: alone * STEP.as_secs_f64() / seconds })
    })?;
    let mut rows = Vec::new();
    for (index, name) in PERCENTILES.into_iter().enumerate() {
        rows.push(setup.row(name, ECHO, &samples, |sample| sample.echo[index] as f64));
        rows.push(setup.row(name, ACCEPT, &samples, |sample| sample.accept[index] as f64));
    }
    report.table("percentile", &setup.names(), &rows, Lines::Names);
    let all =
        [setup.row("all", KEPT, &samples, |sample| sample.throughput), setup.row("all", COMPUTING, &samples, |sample| sample.computing)];
    report.table("tasks", &setup.names(), &all, Lines::Names);
    report.finish()
}

/// Steps since then, and seconds.
fn steps(server: &mut Server, before: (u64, Instant)) -> Result<(f64, f64), Failure> {
    let now = server.steps()?;
    Ok(((now - before.0) as f64, before.1.elapsed().as_secs_f64()))
}

fn signal(server: &Server, signal: Signal) -> Result<(), Failure> {
    let process = Pid::from_raw(i32::try_from(server.id())?).ok_or("no process")?;
    Ok(kill_process(process, signal)?)
}
