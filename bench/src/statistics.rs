//! A median, and an interval for it that assumes nothing about how the values are distributed.

/// The middle of several measurements, with the interval that holds the true median with a probability of at least 95 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Median {
    /// The middle value, or the mean of the two middle ones.
    pub value: f64,
    /// The interval; `None` below six measurements, where even the whole range does not reach 95 %.
    pub interval: Option<(f64, f64)>,
}

impl Median {
    /// Of any number of values but none.
    ///
    /// The interval is that of the sign test: the number of values below the true median is binomial with one half, so
    /// cutting equally many values off both ends, as long as the chance of having cut too much stays below 5 %, leaves it.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "a median of nothing");
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let value = (values[(count - 1) / 2] + values[count / 2]) / 2.0;
        let cut = cut(count);
        let interval = (cut > 0).then(|| (values[cut - 1], values[count - cut]));
        Self { value, interval }
    }

    /// `1.023 [1.011, 1.040]`, with so many digits after the decimal point.
    pub fn show(self, digits: usize) -> String {
        match self.interval {
            Some((low, high)) => format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", self.value),
            None => format!("{:.digits$}", self.value),
        }
    }
}

/// The largest `k` for which the `k`-th values from both ends enclose the median with at least 95 %; 0 if there is none.
fn cut(count: usize) -> usize {
    // `term` is the probability of exactly `below` values below the median, `tail` that of at most so many.
    let mut term = 0.5_f64.powi(count as i32);
    let mut tail = 0.0;
    for below in 0..count / 2 {
        tail += term;
        if tail > 0.025 {
            return below;
        }
        term *= (count - below) as f64 / (below + 1) as f64;
    }
    count / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_those_of_the_sign_test() {
        // From published tables of the sign test's interval for the median.
        for (count, expected) in [(1, 0), (5, 0), (6, 1), (9, 2), (15, 4), (20, 6), (21, 6)] {
            assert_eq!(cut(count), expected, "{count} values");
        }
    }

    #[test]
    fn a_median_and_its_interval() {
        let median = Median::of((1..=20).rev().map(f64::from));
        assert_eq!(median.value, 10.5);
        assert_eq!(median.interval, Some((6.0, 15.0)));
        assert_eq!(Median::of([3.0, 1.0, 2.0]).value, 2.0);
        assert_eq!(Median::of([3.0, 1.0, 2.0]).interval, None);
    }
}
