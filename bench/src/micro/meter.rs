//! How an operation is measured from inside an executor that has warmed up.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::counting;
use crate::kernel;

/// What one operation cost on average.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Nanoseconds.
    pub time: f64,
    /// Nanoseconds of CPU time, all threads together.
    pub cpu: f64,
    /// How often a thread went to sleep, and was woken.
    pub sleeps: f64,
    /// Allocations.
    pub allocations: f64,
    /// Bytes on the heap that were not given back.
    pub live: f64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {} {}", self.time, self.cpu, self.sleeps, self.allocations, self.live)
    }
}

impl FromStr for Figures {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [time, cpu, sleeps, allocations, live] = numbers[..] else { return Err(format!("not understood: {text}").into()) };
        Ok(Self { time, cpu, sleeps, allocations, live })
    }
}

/// For how long to measure, and whether the time or the allocations.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// How long.
    pub window: Duration,
    /// Whether the allocations; the time is not to be looked at then.
    pub counting: bool,
}

impl Meter {
    /// Begins with the warm-up, a tenth of the window, in which nothing is counted.
    pub fn start(self) -> Watch {
        Watch { meter: self, start: Instant::now(), spent: Duration::ZERO, cpu: Duration::ZERO, sleeps: 0, operations: None }
    }
}

/// A measurement in progress.
#[derive(Debug)]
pub struct Watch {
    meter: Meter,
    start: Instant,
    /// Of the operations alone, where other things were done between them.
    spent: Duration,
    cpu: Duration,
    sleeps: u64,
    /// So many so far; `None` during the warm-up.
    operations: Option<usize>,
}

impl Watch {
    /// So many operations have been done since the last time. Gives the figures when the window is over.
    pub fn lap(&mut self, operations: usize) -> Option<Figures> {
        self.lap_of(operations, None)
    }

    /// The same, where the operations took only a part of the time.
    pub fn lap_of(&mut self, operations: usize, spent: Option<Duration>) -> Option<Figures> {
        let elapsed = self.start.elapsed();
        match &mut self.operations {
            None if elapsed < self.meter.window / 10 => None,
            None => {
                self.operations = Some(0);
                self.sleeps = kernel::own_sleeps();
                self.cpu = kernel::own_cpu_time();
                if self.meter.counting {
                    counting::start();
                }
                self.start = Instant::now();
                None
            }
            Some(sum) => {
                *sum += operations;
                self.spent += spent.unwrap_or_default();
                if elapsed < self.meter.window {
                    return None;
                }
                let count = if self.meter.counting { counting::stop() } else { counting::Count::default() };
                let cpu = kernel::own_cpu_time() - self.cpu;
                let sleeps = kernel::own_sleeps() - self.sleeps;
                let operations = *sum as f64;
                let time = if spent.is_some() { self.spent } else { elapsed };
                Some(Figures {
                    time: time.as_nanos() as f64 / operations,
                    cpu: cpu.as_nanos() as f64 / operations,
                    sleeps: sleeps as f64 / operations,
                    allocations: count.allocations as f64 / operations,
                    live: count.live as f64 / operations,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warm_up_does_not_count() {
        let meter = Meter { window: Duration::ZERO, counting: false };
        let mut watch = meter.start();
        assert!(watch.lap(1_000_000).is_none());
        let figures = watch.lap_of(2, Some(Duration::from_nanos(60))).unwrap();
        assert_eq!(figures.time, 30.0);
    }
}
