//! When messages are due: at random, so many a second on average, and the same for every server.
//!
//! The times between are exponential, as those of messages from many clients that know nothing of each other are. They do
//! not depend on what the server does: whoever waits for a slow answer before sending the next message leaves out of the
//! figures just those that would have had to wait ("coordinated omission").

use std::time::Duration;

/// Times since the beginning, in order, without an end.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    state: u64,
    /// Nanoseconds between two on average.
    mean: f64,
    now: f64,
}

impl Schedule {
    pub(super) fn new(per_second: f64) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15, mean: 1e9 / per_second, now: 0.0 }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        // 53 bits, of (0, 1].
        let part = ((self.state >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        self.now -= part.ln() * self.mean;
        Some(Duration::from_nanos(self.now as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_a_second_at_exponential_distances() {
        let times: Vec<Duration> = Schedule::new(1000.0).take_while(|time| *time < Duration::from_secs(100)).collect();
        assert!((99_000..101_000).contains(&times.len()), "{}", times.len());
        assert!(times.is_sorted());
        // Of an exponential distribution 1/e is above the mean.
        let above = times.windows(2).filter(|pair| pair[1] - pair[0] > Duration::from_millis(1)).count() as f64 / times.len() as f64;
        assert!((0.36..0.376).contains(&above), "{above}");
    }
}
