//! What the servers count, and how it is told.
//!
//! Every domain has counters of its own on cache lines of its own, and only tasks of that domain write them: a
//! handler on domain 2 writes domain 2's, the accept loop that started it writes its own domain's. A counter thus has
//! one writer, which adds with a plain load and a plain store, and any number of readers, which see a value that was
//! true a moment ago. Sums over domains are not a snapshot: `open` is accepted less ended, read in the order that
//! keeps it from being negative.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::failure::Failure;

/// One number, written by one domain.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Counter {
    /// Adds, from the domain that owns the counter: with one writer nothing is lost between load and store.
    fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One domain's counters. The alignment keeps domains from writing to one another's cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    accepted: Counter,
    ended: Counter,
    round_trips: Counter,
    bytes: Counter,
    failures: [Counter; Failure::KINDS],
}

impl Counters {
    /// A connection was accepted and will be served.
    pub(crate) fn accepted(&self) {
        self.accepted.add(1);
    }

    /// A connection that was served has ended, well or not.
    pub(crate) fn ended(&self, failure: Option<Failure>) {
        self.ended.add(1);
        if let Some(kind) = failure {
            self.failed(kind);
        }
    }

    /// Something failed that never was a connection served.
    pub(crate) fn failed(&self, kind: Failure) {
        self.failures[kind as usize].add(1);
    }

    /// So many bytes were sent back.
    pub(crate) fn echoed(&self, bytes: usize) {
        self.bytes.add(bytes as u64);
    }

    /// All that one read gave was sent back.
    pub(crate) fn round_trip(&self) {
        self.round_trips.add(1);
    }
}

/// The counters of all domains, by domain.
#[derive(Debug)]
pub(crate) struct Board(Box<[Counters]>);

impl Board {
    /// Counters for domain 0 and this many workers.
    pub(crate) fn new(workers: usize) -> Board {
        Board((0..=workers).map(|_| Counters::default()).collect())
    }

    /// The counters of the domain with this index.
    pub(crate) fn domain(&self, index: usize) -> &Counters {
        &self.0[index]
    }

    /// The sums of this moment.
    pub(crate) fn totals(&self) -> Totals {
        let sum = |counter: fn(&Counters) -> &Counter| self.0.iter().map(|of| counter(of).get()).sum();
        // Ended first: what is accepted meanwhile can only make `open` larger.
        let ended = sum(|of| &of.ended);
        Totals {
            ended,
            accepted: sum(|of| &of.accepted),
            round_trips: sum(|of| &of.round_trips),
            bytes: sum(|of| &of.bytes),
            failures: std::array::from_fn(|kind| self.0.iter().map(|of| of.failures[kind].get()).sum()),
        }
    }
}

/// Sums over all domains. Displayed, they are the line that ends a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    accepted: u64,
    ended: u64,
    round_trips: u64,
    bytes: u64,
    failures: [u64; Failure::KINDS],
}

impl Totals {
    /// Connections accepted and not ended.
    pub(crate) fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.ended)
    }

    fn failed(&self) -> u64 {
        self.failures.iter().sum()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "total: {} accepted, {} round trips, {} bytes, {} failures", self.accepted, self.round_trips, self.bytes, self.failed())?;
        let kinds = Failure::ALL.into_iter().zip(self.failures).filter(|(_, count)| *count > 0);
        for (position, (kind, count)) in kinds.enumerate() {
            write!(f, "{}{count} {kind}", if position == 0 { " (" } else { ", " })?;
        }
        f.write_str(if self.failed() > 0 { ")" } else { "" })
    }
}

/// Turns sums into rates: what came to be since the last line.
#[derive(Debug)]
pub(crate) struct Meter {
    since: Instant,
    before: Totals,
}

impl Meter {
    /// Begins with nothing, now.
    pub(crate) fn new(now: Instant) -> Meter {
        Meter { since: now, before: Totals::default() }
    }

    /// The line for the time since the last one.
    pub(crate) fn line(&mut self, now: Instant, totals: Totals) -> String {
        let elapsed = now.saturating_duration_since(self.since);
        let round_trips = rate(totals.round_trips.saturating_sub(self.before.round_trips), elapsed);
        let bytes = rate(totals.bytes.saturating_sub(self.before.bytes), elapsed);
        let line = format!(
            "open {}, accepted {}, {round_trips:.1} round trips/s, {:.2} MiB/s, failures {}",
            totals.open(),
            totals.accepted,
            bytes / f64::from(1 << 20),
            totals.failed()
        );
        *self = Meter { since: now, before: totals };
        line
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with a few digits")]
fn rate(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::{Board, Meter};
    use crate::failure::Failure;
    use std::time::{Duration, Instant};

    fn board() -> Board {
        let board = Board::new(2);
        for index in 0..3 {
            let counters = board.domain(index);
            counters.accepted();
            counters.accepted();
            counters.round_trip();
            counters.echoed(1 << 20);
        }
        board.domain(1).ended(None);
        board.domain(2).ended(Some(Failure::Reset));
        board.domain(0).failed(Failure::Shed);
        board
    }

    #[test]
    fn totals_are_sums_over_the_domains() {
        let text = board().totals().to_string();
        assert_eq!(text, "total: 6 accepted, 3 round trips, 3145728 bytes, 2 failures (1 reset, 1 shed)");
        let text = Board::new(0).totals().to_string();
        assert_eq!(text, "total: 0 accepted, 0 round trips, 0 bytes, 0 failures");
    }

    #[test]
    fn a_line_tells_the_rates_since_the_last_one() {
        let (board, start) = (board(), Instant::now());
        let mut meter = Meter::new(start);
        let line = meter.line(start + Duration::from_secs(2), board.totals());
        assert_eq!(line, "open 4, accepted 6, 1.5 round trips/s, 1.50 MiB/s, failures 2");
        board.domain(2).round_trip();
        let line = meter.line(start + Duration::from_millis(2_500), board.totals());
        assert_eq!(line, "open 4, accepted 6, 2.0 round trips/s, 0.00 MiB/s, failures 2");
        let line = meter.line(start + Duration::from_millis(2_500), board.totals());
        assert!(line.contains(" 0.0 round trips/s"), "{line}");
    }
}
