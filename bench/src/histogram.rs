//! A log-linear histogram of nanoseconds.
//!
//! Values below 128 have a bucket each; above, every power of two is cut into 64 equal buckets. A quantile is therefore never
//! more than 1/64 (1.6 %) above the true one, recording is a shift and an increment, and the whole of `u64` fits in 30 KiB.

/// Buckets per power of two, as a number of bits.
const BITS: u32 = 6;
/// The last bucket is that of `u64::MAX`.
const BUCKETS: usize = bucket(u64::MAX) + 1;

const fn bucket(value: u64) -> usize {
    // The bits above the lowest seven say how often the bucket width has doubled.
    let doublings = (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    ((doublings as usize) << BITS) + (value >> doublings) as usize
}

/// The largest value that falls into a bucket.
const fn upper_bound(bucket: usize) -> u64 {
    let doublings = (bucket >> BITS).saturating_sub(1);
    let first = (bucket - (doublings << BITS)) as u64;
    (first << doublings) + ((1 << doublings) - 1)
}

/// Counts of values by size.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), total: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.total += 1;
        self.max = self.max.max(value);
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The largest value, exactly; 0 if there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The smallest value that at least this part (0 to 1) of all values does not exceed, to within a bucket; 0 if there is none.
    pub fn quantile(&self, part: f64) -> u64 {
        let rank = ((part * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(index).min(self.max);
            }
        }
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for index in 0..BUCKETS {
            let last = upper_bound(index);
            assert_eq!(bucket(last), index);
            if last < u64::MAX {
                assert_eq!(bucket(last + 1), index + 1);
            }
        }
        assert_eq!(upper_bound(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn quantiles_are_within_a_sixty_fourth() {
        let mut histogram = Histogram::default();
        for value in 1..=100_000 {
            histogram.record(value);
        }
        for (part, exact) in [(0.5, 50_000.0), (0.99, 99_000.0), (0.999, 99_900.0)] {
            let found = histogram.quantile(part) as f64;
            assert!(found >= exact && found <= exact * (1.0 + 1.0 / 64.0), "{part}: {found}");
        }
        assert_eq!(histogram.quantile(1.0), 100_000);
        assert_eq!(histogram.quantile(0.0), 1);
    }

    #[test]
    fn merging_is_recording_both() {
        let mut both = Histogram::default();
        let mut halves = [Histogram::default(), Histogram::default()];
        for value in 0..1000_u64 {
            both.record(value * value);
            halves[(value % 2) as usize].record(value * value);
        }
        let [mut merged, other] = halves;
        merged.merge(&other);
        assert_eq!(merged.total(), both.total());
        assert_eq!(merged.max(), both.max());
        assert_eq!(merged.counts, both.counts);
    }

    #[test]
    fn an_empty_one_answers_zero() {
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }
}
