//! The commands that measure servers: one table each.
//!
//! What a machine gives changes from second to second, so nothing is compared across time. All servers run at once, all on
//! the same cores; the load runs on another. The time is cut into short windows that go to one server after the other, in an
//! order that moves on by one each round. Within a round every server is divided by the first one, and the tables show the
//! median of those quotients with its 95 % interval.

pub mod busy;
pub mod connect;
pub mod connections;
pub mod domains;
pub mod echo;
pub mod latency;
pub mod memory;
mod setup;
pub mod syscalls;

pub use setup::{OPTIONS, Setup};

use std::time::Duration;

use crate::Failure;
use crate::kernel;
use crate::process::{Generator, Load, Report, Server};

/// One server in one round.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Of the server, for each round trip, in nanoseconds.
    cpu: f64,
    /// Round trips per second.
    rate: f64,
    /// The part of the window the server was on its core.
    busy: f64,
    /// In nanoseconds, as [`Report::latency`].
    latency: [f64; 4],
}

/// One window of one server, after a tenth of it that does not count: the caches are still the previous server's.
///
/// The server's CPU time is read before and after, while it has nothing to do: what is between the two is what the round
/// trips of the window cost, the waking up and the going to sleep included.
fn window(server: &Server, generators: &mut [Generator], load: Load, duration: Duration) -> Result<Sample, Failure> {
    run(generators, load, duration / 10)?;
    let before = kernel::settled_cpu_time(server.id())?;
    let reports = run(generators, load, duration)?;
    let cpu = kernel::settled_cpu_time(server.id())?.saturating_sub(before).as_nanos() as f64;
    let round_trips: u64 = reports.iter().map(|report| report.round_trips).sum();
    let nanoseconds = reports.iter().map(|report| report.nanoseconds).max().unwrap_or(1) as f64;
    Ok(Sample {
        cpu: cpu / round_trips as f64,
        rate: round_trips as f64 * 1e9 / nanoseconds,
        busy: cpu / nanoseconds,
        latency: [0, 1, 2, 3].map(|index| worst(&reports, index)),
    })
}

/// A latency, of several generators the worst.
fn worst(reports: &[Report], index: usize) -> f64 {
    reports.iter().map(|report| report.latency[index]).max().unwrap_or(0) as f64
}

/// All of them at once.
fn run(generators: &mut [Generator], load: Load, duration: Duration) -> Result<Vec<Report>, Failure> {
    for generator in &mut *generators {
        generator.begin(load, duration)?;
    }
    generators.iter_mut().map(Generator::report).collect()
}

/// Windows in turn: of `count` servers `one` is measured in each round, in an order that moves on by one. Gives the samples of
/// each, in order of the rounds.
fn in_turn<T>(rounds: usize, count: usize, mut one: impl FnMut(usize) -> Result<T, Failure>) -> Result<Vec<Vec<T>>, Failure> {
    let mut samples: Vec<Vec<T>> = (0..count).map(|_| Vec::with_capacity(rounds)).collect();
    for round in 0..rounds {
        for turn in 0..count {
            let turn = (round + turn) % count;
            samples[turn].push(one(turn)?);
        }
    }
    Ok(samples)
}

/// The error of one server.
fn of<T>(server: &Server, result: Result<T, Failure>) -> Result<T, Failure> {
    result.map_err(|error| format!("{}: {error}", server.name()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_always_first() {
        let mut order = Vec::new();
        let samples = in_turn(3, 3, |turn| {
            order.push(turn);
            Ok(turn)
        });
        assert_eq!(order, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
        assert_eq!(samples.unwrap(), [[0; 3], [1; 3], [2; 3]]);
    }
}
