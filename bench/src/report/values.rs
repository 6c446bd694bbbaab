//! The tables for a program: one figure a line, with its interval, as tab-separated values; writing them, and reading them again.
//!
//! `SUBJECT what of over median low high`: a figure of someone (`over` is empty, the unit is that of `what`), or a quotient: over the
//! first of the table, over the best of the peers (`best other: NAME`), or over another one. What is not known is empty.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::table::Row;
use crate::Failure;
use crate::statistics::Median;

/// What stands before the name of the best of the peers.
const BEST: &str = "best other: ";
const COLUMNS: &str = "what\tof\tover\tmedian\tlow\thigh";

/// The lines of some rows, with their head.
pub(super) fn text(subject: &str, names: &[&str], rows: &[Row]) -> String {
    let mut text = format!("{subject}\t{COLUMNS}\n");
    for row in rows {
        let mut line = |of: &str, over: &str, median: Median, digits: usize| {
            let _ = write!(text, "{}\t{}\t{of}\t{over}\t{:.digits$}", row.subject, row.what, median.value);
            let (low, high) = median.interval.unzip();
            for end in [low, high] {
                text.push('\t');
                if let Some(end) = end {
                    let _ = write!(text, "{end:.digits$}");
                }
            }
            text.push('\n');
        };
        for (name, cell) in names.iter().zip(&row.cells).filter_map(|(name, cell)| Some((name, cell.as_ref()?))) {
            line(name, "", cell.value, row.digits + 3);
            if let Some(ratio) = cell.ratio {
                line(name, names[0], ratio, 5);
            }
        }
        for beside in &row.beside {
            let over = format!("{}{}", if beside.best { BEST } else { "" }, names[beside.other]);
            line(names[beside.ours], &over, beside.ratio, 5);
        }
    }
    text
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// What it is about: a number of connections, or an operation.
    pub subject: String,
    /// What was measured, and its unit.
    pub what: String,
    /// Of whom.
    pub of: String,
    /// What it was divided by; empty if by nothing.
    pub over: String,
    /// The figure.
    pub median: Median,
}

impl Value {
    /// Who was the best of the peers, of a quotient by that one's.
    pub fn best(&self) -> Option<&str> {
        self.over.strip_prefix(BEST)
    }
}

/// A file of them.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// What it says of itself: title, place and date, versions, load, command.
    pub head: Vec<String>,
    /// The figures.
    pub lines: Vec<Value>,
}

impl Values {
    /// Reads a file; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, Failure> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(Self::parse(&text).map_err(|line| format!("{}: not understood: {line}", path.display()))?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("{}: {error}", path.display()).into()),
        }
    }

    /// The line that is not understood is the error.
    fn parse(text: &str) -> Result<Self, String> {
        let mut values = Self::default();
        for line in text.lines() {
            if let Some(said) = line.strip_prefix("# ") {
                values.head.push(said.to_owned());
            } else if line.split_once('\t').is_none_or(|(_, columns)| columns != COLUMNS) {
                values.lines.push(value(line).ok_or(line)?);
            }
        }
        Ok(values)
    }
}

fn value(line: &str) -> Option<Value> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [subject, what, of, over, median, low, high] = fields[..] else { return None };
    let interval = match (low, high) {
        ("", "") => None,
        _ => Some((low.parse().ok()?, high.parse().ok()?)),
    };
    let [subject, what, of, over] = [subject, what, of, over].map(str::to_owned);
    Some(Value { subject, what, of, over, median: Median { value: median.parse().ok()?, interval } })
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::{NAMES, rows};
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let text = text("connections", &NAMES, &rows());
        assert_eq!(
            text,
            "connections\twhat\tof\tover\tmedian\tlow\thigh\n\
             1\tCPU, µs\tepoll\t\t5.50000\t1.00000\t10.00000\n\
             1\tCPU, µs\ttokio\t\t11.00000\t2.00000\t20.00000\n\
             1\tCPU, µs\ttokio\tepoll\t2.00000\t2.00000\t2.00000\n\
             1\tCPU, µs\traw-uring\t\t8.25000\t1.50000\t15.00000\n\
             1\tCPU, µs\traw-uring\tepoll\t1.50000\t1.50000\t1.50000\n\
             1\tCPU, µs\tmatou-uring\t\t16.50000\t3.00000\t30.00000\n\
             1\tCPU, µs\tmatou-uring\tepoll\t3.00000\t3.00000\t3.00000\n\
             1\tCPU, µs\tmatou-uring\tbest other: tokio\t1.50000\t1.50000\t1.50000\n\
             1\tCPU, µs\tmatou-uring\traw-uring\t2.00000\t2.00000\t2.00000\n"
        );
        let values = Values::parse(&format!("# Echo\n# today\n{text}2\tx\tmatou\t\t7\t\t\n")).unwrap();
        assert_eq!(values.head, ["Echo", "today"]);
        assert_eq!(values.lines.len(), 10);
        assert_eq!(values.lines[7].best(), Some("tokio"));
        assert_eq!(values.lines[8].best(), None);
        assert_eq!(values.lines[8].median, Median { value: 2.0, interval: Some((2.0, 2.0)) });
        assert_eq!(values.lines[9].median, Median { value: 7.0, interval: None });
    }

    #[test]
    fn what_is_not_a_figure_is_said() {
        assert_eq!(Values::parse("1\tx\tmatou\t\tseven\t\t\n").unwrap_err(), "1\tx\tmatou\t\tseven\t\t");
        assert!(Values::read(Path::new("/nowhere/at-all.tsv")).unwrap().is_none());
    }
}
