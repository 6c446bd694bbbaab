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
use crate::report::{Kind, Lines, Row};
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
    /// Nanoseconds: of messages, and of connections from `connect` to the first answer; p50, p99, p99.9.
    echo: [f64; 3],
    accept: [f64; 3],
    /// Steps of the computation while serving, divided by those while not serving.
    throughput: f64,
    /// Of the window without serving the part that was spent in steps.
    computing: f64,
}

const fn latency(what: &'static str) -> Kind {
    Kind { what, scale: 1e-6, digits: 2, ratio: true }
}

type Measure = (Kind, fn(&Sample) -> f64);

const MEASURES: [Measure; 8] = [
    (latency("echo p50, ms"), |sample| sample.echo[0]),
    (latency("echo p99, ms"), |sample| sample.echo[1]),
    (latency("echo p99.9, ms"), |sample| sample.echo[2]),
    (latency("accept p50, ms"), |sample| sample.accept[0]),
    (latency("accept p99, ms"), |sample| sample.accept[1]),
    (latency("accept p99.9, ms"), |sample| sample.accept[2]),
    (Kind { what: "steps while serving, of those while not", scale: 1.0, digits: 4, ratio: false }, |sample| sample.throughput),
    (Kind { what: "time in steps while not serving, %", scale: 100.0, digits: 1, ratio: false }, |sample| sample.computing),
];

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
        let three = |latency: [u64; 4]| [latency[0] as f64, latency[1] as f64, latency[2] as f64];
        Ok(Sample { echo: three(echo), accept: three(accept), throughput, computing: alone * STEP.as_secs_f64() / seconds })
    })?;
    let row = |(kind, of): &Measure| {
        let figures: Vec<Vec<f64>> = samples.iter().map(|samples| samples.iter().map(of).collect()).collect();
        let row = Row::paired("", *kind, &figures);
        if kind.ratio { row.beside_the_best(&figures, setup.ours(), |index| setup.is_peer(index)) } else { row }
    };
    let rows: Vec<Row> = MEASURES.iter().map(row).collect();
    // One line each: what is measured is the subject here.
    let rows: Vec<Row> = rows.into_iter().map(|row| Row { subject: row.what, what: "while computing".into(), ..row }).collect();
    report.table("what", &setup.names(), &rows, Lines::Subjects);
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
