//! The echo servers over listeners and streams that follow a script, in a simulation.
//!
//! The accept loops, the doors, the handlers and the counters are the files that ship; their sockets are [`socket`](crate::socket). Bytes come
//! in pieces of all sizes, are taken back in others, or not at all; calls wait, for a while or for ever, and fail in every way; peers fall
//! silent, connections are cut by the idle timeout, by the stop and its grace, at whatever they await; over several domains where
//! the server has them. Then:
//!
//! - what is sent back is what came, in order, and nothing is read before that;
//! - each connection is closed once, and not touched after its end or its error;
//! - each is cut only for a reason, and where time is exact, at that very moment;
//! - never are there more of them than the limit;
//! - the totals are those of the script: accepted, round trips, bytes, and each failure once, under its kind.

use std::sync::Arc;
use std::time::Duration;

use matou_core::simulation::Simulation;
use matou_core::{Exit, Promise, Task, time};
use rustix::io::Errno;

use crate::context::Context;
use crate::door::Door;
use crate::failure::Failure;
use crate::input::Input;
use crate::machine::quietly;
use crate::socket::{self, Arrival, Connection, Ending, Listener, Step, Way, World};

use crate::stop::Stop;
use crate::{same, watch};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Sequential,
    Concurrent,
    Owned,
    Parallel,
}

#[derive(Debug)]
struct Script {
    seed: u64,
    mode: Mode,
    workers: usize,
    latency: Duration,
    pace: Duration,
    idle: Option<Duration>,
    grace: Duration,
    stop: Duration,
    limit: usize,
    listeners: Vec<Vec<Arrival>>,
    connections: Vec<(Vec<Step>, Vec<Step>)>,
}

/// Runs what these bytes say.
///
/// # Errors
/// What is against the rules, in words.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let script = Script::decode(bytes);
    watch::watched(|| follow(&script, false)).map(drop).map_err(|why| format!("{why}\n{script:#?}"))
}

/// The same over streams that garble what they give: the detector is tested with it.
///
/// # Errors
/// As [`check`].
pub fn check_garbled(bytes: &[u8]) -> Result<(), String> {
    follow(&Script::decode(bytes), true).map(drop)
}

/// What the connections of a run came to, in words.
pub fn shows(bytes: &[u8]) -> Vec<String> {
    follow(&Script::decode(bytes), false).unwrap_or_default()
}

impl Script {
    fn decode(bytes: &[u8]) -> Script {
        let mut input = Input::new(bytes);
        let seed = input.below(256) as u64;
        let mode = [Mode::Sequential, Mode::Concurrent, Mode::Owned, Mode::Parallel][input.below(4)];
        let micros = |few: [u64; 4], pick: usize| Duration::from_micros(few[pick]);
        let (latency, pace) = (micros([0, 0, 0, 300], input.below(4)), micros([0, 0, 0, 40], input.below(4)));
        let millis = |input: &mut Input<'_>, most: usize| Duration::from_millis(input.below(most) as u64);
        let idle = (input.below(2) == 1).then(|| millis(&mut input, 40) + Duration::from_millis(1));
        let (grace, stop) = (millis(&mut input, 30), millis(&mut input, 250));
        let (workers, limit) = (1 + input.below(3), [1, 2, 3, usize::MAX][input.below(4)]);
        let mut connections = Vec::new();
        let mut listeners = vec![Vec::new(); 1 + input.below(2)];
        while !input.is_over() && connections.len() < 8 {
            let count = listeners.len();
            let arrivals = &mut listeners[input.below(count)];
            match input.below(8) {
                0 | 1 => arrivals.push(Arrival::Pause(millis(&mut input, 60))),
                2 => {
                    let errors = [Errno::MFILE, Errno::PERM, Errno::NFILE, Errno::NETDOWN, Errno::XDEV, Errno::MFILE, Errno::NOBUFS];
                    // One that makes the listener useless ends the server: seldom.
                    let errno = if input.one_of(40) { Errno::BADF } else { errors[input.below(7)] };
                    arrivals.push(Arrival::Fail(errno));
                }
                _ => {
                    arrivals.push(Arrival::Connection);
                    let mut way = |most: usize| (0..input.below(most)).map(|_| step(&mut input)).collect::<Vec<_>>();
                    connections.push((way(8), way(12)));
                }
            }
        }
        Script { seed, mode, workers, latency, pace, idle, grace, stop, limit, listeners, connections }
    }
}

fn step(input: &mut Input<'_>) -> Step {
    match input.below(16) {
        0..=4 => Step::Move(1 + input.below(12)),
        5..=7 => Step::Move(1 + 37 * input.below(256)),
        8 => Step::Move([256, 512, 255, 257][input.below(4)]),
        9..=11 => Step::Pause(Duration::from_micros(250 * input.below(200) as u64)),
        12 if input.one_of(2) => Step::Hang,
        13 if input.one_of(4) => Step::Move(0),
        14 | 15 if input.one_of(4) => {
            Step::Fail([Errno::CONNRESET, Errno::PIPE, Errno::TIMEDOUT, Errno::HOSTUNREACH, Errno::CONNABORTED][input.below(5)])
        }
        _ => Step::Move(1 + input.below(300)),
    }
}

fn world(script: &Script, garbled: bool) -> World {
    let connection = |(read, write): &(Vec<Step>, Vec<Step>)| Connection {
        read: Way::new(read.iter().copied()),
        write: Way::new(write.iter().copied()),
        ..Connection::default()
    };
    World {
        listeners: script.listeners.iter().map(|arrivals| Way::new(arrivals.iter().copied())).collect(),
        connections: script.connections.iter().map(connection).collect(),
        limit: script.limit,
        idle: script.idle,
        exact: script.latency.is_zero() && script.pace.is_zero(),
        garbled,
        ..World::default()
    }
}

fn follow(script: &Script, garbled: bool) -> Result<Vec<String>, String> {
    socket::with(|it| *it = world(script, garbled));
    let context = Arc::new(Context::new(script.idle, script.grace, script.workers, |_| {}));
    let simulation = Simulation::new(script.seed)
        .domains(script.workers)
        .latency(script.latency)
        .pace(script.pace)
        .limit(500_000)
        .on_report(|report| socket::with(|world| world.require(false, || format!("something panicked: {report}"))));
    let served = quietly(|| simulation.run(serve(script, Arc::clone(&context))));
    let served = served.map_err(|error| format!("the run ends badly: {error}"))?;
    socket::with(|world| verdict(std::mem::take(world), served, &context))
}

/// The server, and the stop.
async fn serve(script: &Script, context: Arc<Context>) -> Result<bool, Exit> {
    let listeners = (0..script.listeners.len()).map(Listener).collect();
    let door = Door::new(listeners, script.limit, context).map_err(|error| panic!("no door: {error}"))?;
    let stop = Stop::new();
    let server = match script.mode {
        Mode::Sequential => start(crate::servers::sequential::serve(door, stop.clone())),
        Mode::Concurrent => start(crate::servers::concurrent::serve(door, stop.clone())),
        Mode::Owned => start(crate::servers::owned::serve(door, stop.clone())),
        Mode::Parallel => start(crate::servers::parallel::serve(door, stop.clone())),
    };
    time::sleep(script.stop).await;
    socket::with(|world| world.over = Some(time::now() + script.grace));
    stop.request();
    match server.await {
        Ok(()) => Ok(true),
        Err(Exit::Failed(_)) => Ok(false),
        Err(other) => panic!("a server ends so: {other}"),
    }
}

fn start(server: impl Future<Output = std::io::Result<()>> + 'static) -> Promise<(), std::io::Error> {
    Task::new().name("accept").spawn(server).unwrap_or_else(|error| panic!("{error}"))
}

/// What the world and the counters say at the end. `served`: the listeners were usable to the end.
fn verdict(world: World, served: bool, context: &Context) -> Result<Vec<String>, String> {
    if let Some(wrong) = world.wrong {
        return Err(wrong);
    }
    let accepted = &world.connections[..world.accepted];
    let totals = context.board.totals();
    let mut endings = Vec::new();
    for (number, connection) in accepted.iter().enumerate() {
        let ending = connection.ending.ok_or(format!("connection {number} was not closed"))?;
        same("whether a connection was closed", (number, connection.dropped.is_some()), (number, true))?;
        let groundless = ending == Ending::Cut { idle: false, stopped: false };
        if served && groundless {
            return Err(format!("connection {number} was cut for no reason"));
        }
        // Its end and the end of the grace may meet on two domains.
        let may_be_cut = world.over.zip(connection.dropped).is_some_and(|(over, dropped)| dropped >= over);
        endings.push((ending, may_be_cut));
    }
    if !served {
        return Ok(vec!["Unusable".into()]);
    }
    let told = totals.to_string();
    let numbers: Vec<usize> = told.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect();
    let bytes = accepted.iter().map(|it| it.echoed).sum();
    let round_trips = accepted.iter().map(|it| it.round_trips).sum();
    same("accepted, round trips, bytes", (numbers[0], numbers[1], numbers[2]), (accepted.len(), round_trips, bytes))?;
    // `open` does not tell more ends than beginnings; only the debugger's text does.
    same("how many have ended", format!("{totals:?}").contains(&format!(" ended: {},", accepted.len())), true)?;
    same("how many are open at the end", totals.open(), 0)?;
    let shown = |kind: Failure| {
        let kind = format!(" {kind}");
        let part =
            told.split(['(', ',', ')']).find(|part| part.trim_start_matches(|c: char| c == ' ' || c.is_ascii_digit()) == kind.trim_start());
        part.and_then(|part| part.split_whitespace().next()).map_or(0, |count| count.parse().unwrap_or(usize::MAX))
    };
    let kinds = |(ending, may_be_cut): (Ending, bool)| {
        let mut kinds = match ending {
            Ending::Well => vec![None],
            Ending::Badly(kind) => vec![Some(kind)],
            Ending::Cut { idle, stopped } => [(idle, Failure::Idle), (stopped, Failure::Cancelled)]
                .into_iter()
                .filter_map(|(is, kind)| is.then_some(Some(kind)))
                .collect(),
        };
        if may_be_cut && !kinds.contains(&Some(Failure::Cancelled)) {
            kinds.push(Some(Failure::Cancelled));
        }
        kinds
    };
    let endings: Vec<_> = endings.into_iter().map(kinds).collect();
    let mut failures = 0;
    for kind in Failure::ALL {
        let refused = if kind == Failure::Other { world.refused } else { 0 };
        let least = refused + endings.iter().filter(|kinds| **kinds == [Some(kind)]).count();
        let most = refused + endings.iter().filter(|kinds| kinds.contains(&Some(kind))).count();
        let count = shown(kind);
        failures += count;
        if !(least..=most).contains(&count) {
            return Err(format!("{count} failures are {kind}, and should be {least} to {most}: {told}, {endings:?}"));
        }
    }
    let (least, most) =
        (endings.iter().filter(|kinds| !kinds.contains(&None)).count(), endings.iter().filter(|kinds| **kinds != [None]).count());
    let of_connections = failures - world.refused;
    same("whether each failure is counted once", (least..=most).contains(&of_connections), true)?;
    same("all failures", numbers[3], failures)?;
    Ok(endings.iter().map(|kinds| format!("{kinds:?}")).collect())
}
