//! The table of a comparison, for a person and for a program.
//!
//! Who is who follows from the names: the first is what the others are divided by, `matou…` is ours, `epoll…`, `raw…` and `walk`
//! are what one writes by hand, all others are peers.

use std::fmt::Write as _;

use crate::statistics::Median;

/// A figure of everyone compared, of everyone but the first the quotient by the first one's, and how ours stand beside others.
#[derive(Clone, Debug)]
pub struct Row {
    /// What the row is about: a number of connections, or an operation.
    pub subject: String,
    /// What was measured, and its unit.
    pub what: String,
    /// After the decimal point.
    pub digits: usize,
    /// Of everyone, in order; `None` where there is no such figure.
    pub cells: Vec<Option<Cell>>,
    /// Of ours the quotients by one of the others, where they are asked for.
    pub beside: Vec<Beside>,
}

/// A figure of one of those compared.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// The median.
    pub value: Median,
    /// The median of the quotients by the first one's.
    pub ratio: Option<Median>,
}

/// One of ours beside one of the others.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// The place of ours.
    pub ours: usize,
    /// The place of the other.
    pub other: usize,
    /// Whether the other was chosen because no peer's figure is smaller.
    pub best: bool,
    /// The median of the quotients.
    pub ratio: Median,
}

/// What is measured of each in turn, round by round.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name, and its unit.
    pub what: &'static str,
    /// What a figure is multiplied by to be in that unit.
    pub scale: f64,
    /// After the decimal point.
    pub digits: usize,
    /// Whether a quotient by the first one's means anything.
    pub first: bool,
    /// Whether the smallest is the best, and ours are put beside it.
    pub best: bool,
}

impl Kind {
    /// Of which less is better.
    pub const fn less(what: &'static str, scale: f64, digits: usize) -> Self {
        Self { what, scale, digits, first: true, best: true }
    }

    /// Of which more is better; it follows from others, and says nothing more about who is the best.
    pub const fn more(what: &'static str, scale: f64, digits: usize) -> Self {
        Self { best: false, ..Self::less(what, scale, digits) }
    }

    /// Which is for itself.
    pub const fn alone(what: &'static str, scale: f64, digits: usize) -> Self {
        Self { first: false, ..Self::more(what, scale, digits) }
    }
}

/// What the second of them is built to reach.
const PAIRS: [(&str, &str); 1] = [("matou-uring", "raw-uring")];

pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with("matou")
}

fn is_peer(name: &str) -> bool {
    !is_ours(name) && !["epoll", "raw", "walk"].iter().any(|hand| name.starts_with(hand))
}

impl Row {
    /// From figures that were measured side by side, round by round: the median of each, and of the quotients within the
    /// rounds. Who has no figures has no cell.
    pub fn compared(subject: impl Into<String>, kind: Kind, names: &[&str], figures: &[Vec<f64>]) -> Self {
        let first = &figures[0];
        let cells = figures.iter().enumerate().map(|(index, figures)| {
            (!figures.is_empty()).then(|| Cell {
                value: Median::of(figures.iter().map(|figure| figure * kind.scale)),
                ratio: (kind.first && index > 0).then(|| quotient(figures, first)).flatten(),
            })
        });
        let beside = if kind.best { beside(names, figures) } else { Vec::new() };
        Self { subject: subject.into(), what: kind.what.to_owned(), digits: kind.digits, cells: cells.collect(), beside }
    }

    /// From everyone's own figures the quotients by what they were at first, round by round.
    pub fn grown(subject: impl Into<String>, what: impl Into<String>, first: &[Vec<f64>], figures: &[Vec<f64>]) -> Self {
        let cells = figures.iter().zip(first).map(|(figures, first)| quotient(figures, first).map(|value| Cell { value, ratio: None }));
        Self { subject: subject.into(), what: what.into(), digits: 3, cells: cells.collect(), beside: Vec::new() }
    }
}

/// Each of ours beside the best of the peers, the one with the smallest median, and beside what it is built to reach.
fn beside(names: &[&str], figures: &[Vec<f64>]) -> Vec<Beside> {
    let there = |index: &usize| !figures[*index].is_empty();
    let median = |index: &usize| Median::of(figures[*index].iter().copied()).value;
    let peers = (0..names.len()).filter(|index| is_peer(names[*index])).filter(there);
    let best = peers.min_by(|one, other| median(one).total_cmp(&median(other)));
    let mut all = Vec::new();
    for ours in (0..names.len()).filter(|index| is_ours(names[*index])).filter(there) {
        let asked = PAIRS.iter().filter(|pair| pair.0 == names[ours]).filter_map(|pair| names.iter().position(|name| *name == pair.1));
        for (other, best) in best.into_iter().map(|best| (best, true)).chain(asked.map(|other| (other, false))) {
            all.extend(quotient(&figures[ours], &figures[other]).map(|ratio| Beside { ours, other, best, ratio }));
        }
    }
    all
}

/// Of each pair; none where that is no number, as a quotient by nothing.
fn quotient(these: &[f64], those: &[f64]) -> Option<Median> {
    let quotients: Vec<f64> = these.iter().zip(those).map(|(this, that)| this / that).filter(|quotient| quotient.is_finite()).collect();
    (!quotients.is_empty()).then(|| Median::of(quotients))
}

/// Which way a table lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// A line for each of those compared, a column for each subject.
    Names,
    /// A line for each subject, a column for each of those compared.
    Subjects,
}

/// What stands for a figure that there is not.
const NONE: &str = "–";

/// The tables for a person, one for each thing that was measured.
pub(super) fn markdown(subject: &str, names: &[&str], rows: &[Row], way: Lines) -> String {
    let mut text = String::new();
    for what in each_once(rows.iter().map(|row| row.what.as_str())) {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.what == what).collect();
        let title = |beside: &Beside| {
            let other = if beside.best { "best other" } else { names[beside.other] };
            format!("{} / {other}", names[beside.ours])
        };
        let titles = each_once(rows.iter().flat_map(|row| &row.beside).map(title));
        let corner = if subject.is_empty() { what.to_owned() } else { format!("{what}; {subject}:") };
        let head = [corner].into_iter().chain(names.iter().map(|name| (*name).to_owned())).chain(titles.iter().cloned());
        let mut lines = vec![head.collect::<Vec<_>>()];
        for row in rows {
            let mut line = vec![row.subject.clone()];
            line.extend(row.cells.iter().map(|cell| cell.map_or_else(|| NONE.to_owned(), |cell| person(cell, row.digits))));
            line.extend(titles.iter().map(|wanted| {
                let beside = row.beside.iter().find(|beside| title(beside) == *wanted);
                beside.map_or_else(
                    || NONE.to_owned(),
                    |beside| {
                        let who = if beside.best { names[beside.other] } else { "" };
                        format!("{} {who}", beside.ratio.show(3)).trim_end().to_owned()
                    },
                )
            }));
            lines.push(line);
        }
        if way == Lines::Names {
            lines = (0..lines[0].len()).map(|column| lines.iter().map(|line| line[column].clone()).collect()).collect();
        }
        if !text.is_empty() {
            text.push('\n');
        }
        aligned(&mut text, &lines);
    }
    text
}

fn each_once<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

fn person(cell: Cell, digits: usize) -> String {
    let value = format!("{:.digits$}", cell.value.value);
    cell.ratio.map_or_else(|| value.clone(), |ratio| format!("{value} = {}", ratio.show(3)))
}

/// A markdown table of lines of the same length, of which the first is its head.
pub fn aligned(text: &mut String, lines: &[Vec<String>]) {
    let widths: Vec<usize> =
        (0..lines[0].len()).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)).collect();
    for (index, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:width$} ");
        }
        text.push_str("|\n");
        if index == 0 {
            for width in &widths {
                let _ = write!(text, "| {} ", "-".repeat(*width));
            }
            text.push_str("|\n");
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const KIND: Kind = Kind::less("CPU, µs", 0.5, 2);

    pub(in crate::report) const NAMES: [&str; 5] = ["epoll", "tokio", "raw-uring", "matou-uring", "matou-none"];

    pub(in crate::report) fn rows() -> [Row; 1] {
        // The machine is ten times slower in every other round; the second needs twice the time of the first, the fourth thrice.
        let slow = |round: u32| if round.is_multiple_of(2) { 10.0 } else { 1.0 };
        let figures: Vec<Vec<f64>> =
            [2.0, 4.0, 3.0, 6.0].map(|cpu| (0..8).map(|round| cpu * slow(round)).collect()).into_iter().chain([Vec::new()]).collect();
        [Row::compared("1", KIND, &NAMES, &figures)]
    }

    #[test]
    fn ratios_are_paired_by_round() {
        let text = markdown("connections", &NAMES, &rows(), Lines::Names);
        assert!(text.contains("| tokio                    | 11.00 = 2.000 [2.000, 2.000] |\n"), "{text}");
        assert!(text.contains("| matou-none               | –                            |\n"), "{text}");
        assert!(text.contains("| matou-uring / best other | 1.500 [1.500, 1.500] tokio   |\n"), "{text}");
        assert!(text.contains("| matou-uring / raw-uring  | 2.000 [2.000, 2.000]         |\n"), "{text}");
        let across = markdown("connections", &NAMES, &rows(), Lines::Subjects);
        assert!(across.starts_with("| CPU, µs; connections: | epoll | tokio "), "{across}");
    }

    #[test]
    fn a_quotient_by_nothing_is_left_out() {
        let row = Row::compared("1", KIND, &["a", "b"], &[vec![0.0], vec![3.0]]);
        assert!(row.cells[1].unwrap().ratio.is_none());
    }

    #[test]
    fn growth_is_everyones_own() {
        let row = Row::grown("100", "times", &[vec![1.0, 10.0], vec![]], &[vec![2.0, 20.0], vec![]]);
        assert_eq!(row.cells[0].unwrap().value.value, 2.0);
        assert!(row.cells[1].is_none());
    }
}
