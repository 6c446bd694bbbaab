//! Generators of load, each a process of its own: a process may not open enough files for several.

use std::env;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::Asked;
use crate::Failure;
use crate::args::Args;
use crate::load::{self, Waiting, Window};

/// What a generator reports about one stretch of load.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// How many messages came back.
    pub round_trips: u64,
    /// In how many nanoseconds.
    pub nanoseconds: u64,
    /// The median, the 99th and the 99.9th percentile, and the longest of the round trips, in nanoseconds.
    pub latency: [u64; 4],
}

/// A kind of load, as [`crate::load`] says.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// All connections busy all the time.
    Closed,
    /// So many messages a second.
    Paced(u64),
    /// So many connections at once, each for one round trip.
    Churn(u64),
    /// So many connections a second, each for one round trip.
    Arrive(u64),
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => write!(f, "run 0"),
            Self::Paced(rate) => write!(f, "pace {rate}"),
            Self::Churn(at_once) => write!(f, "churn {at_once}"),
            Self::Arrive(rate) => write!(f, "arrive {rate}"),
        }
    }
}

/// A process that puts load on one server.
#[derive(Debug)]
pub struct Generator(Asked);

impl Generator {
    /// Starts one, without connections.
    pub fn start(server: SocketAddr, size: usize, waiting: Waiting, cpus: &[usize]) -> Result<Self, Failure> {
        let arguments = ["generate".to_owned(), server.to_string(), size.to_string(), waiting.to_string()];
        let command = [env::current_exe()?.into_os_string()].into_iter().chain(arguments.map(Into::into));
        Ok(Self(Asked::start(cpus, command)?))
    }

    /// Opens connections until there are `count`.
    pub fn open(&mut self, count: usize) -> Result<(), Failure> {
        self.0.ask(&format!("open {count} 0"))?;
        Ok(())
    }

    /// Puts load on the server for a time, and then waits until it is idle.
    pub fn run(&mut self, load: Load, duration: Duration) -> Result<Report, Failure> {
        self.begin(load, duration)?;
        self.report()
    }

    /// Begins with it.
    pub fn begin(&mut self, load: Load, duration: Duration) -> Result<(), Failure> {
        self.0.tell(&format!("{load} {}", duration.as_nanos()))
    }

    /// Waits for the end of what was begun.
    pub fn report(&mut self) -> Result<Report, Failure> {
        let answer = self.0.answer()?;
        let answer: Vec<u64> = answer.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [round_trips, nanoseconds, p50, p99, p999, max] = answer[..] else {
            return Err("the generator's answer was not understood".into());
        };
        if round_trips == 0 {
            return Err("not one round trip".into());
        }
        Ok(Report { round_trips, nanoseconds, latency: [p50, p99, p999, max] })
    }
}

/// What `generate ADDRESS SIZE sleep|spin` does: answers [`Generator`]'s questions until its input ends.
pub fn generate(mut args: Args) -> Result<(), Failure> {
    let address = args.next("ADDRESS")?.parse()?;
    let size = args.next("SIZE")?.parse()?;
    let waiting: Waiting = args.next("sleep or spin")?.parse()?;
    args.finish()?;
    let mut load = load::Load::new(address, size, waiting)?;
    for line in io::stdin().lines() {
        let mut question = Args::new(line?.split_whitespace().map(str::to_owned));
        let verb = question.next("a verb")?;
        let number: u64 = question.next("a number")?.parse()?;
        let duration = Duration::from_nanos(question.next("a duration")?.parse()?);
        question.finish()?;
        match verb.as_str() {
            "open" => {
                load.open(number as usize)?;
                println!();
            }
            "run" => answer(&load.run(duration)?),
            "pace" => answer(&load.pace(number as f64, duration)?),
            "churn" => answer(&load.churn(number as usize, duration)?),
            "arrive" => answer(&load.arrive(number as f64, duration)?),
            _ => return Err(format!("what is {verb}?").into()),
        }
    }
    Ok(())
}

fn answer(window: &Window) {
    let latency = &window.latency;
    println!(
        "{} {} {} {} {} {}",
        latency.total(),
        window.elapsed.as_nanos(),
        latency.quantile(0.5),
        latency.quantile(0.99),
        latency.quantile(0.999),
        latency.max(),
    );
}
