//! The table of a comparison, for a person and for a program.

use std::fmt::Write as _;

use crate::statistics::Median;

/// A figure of everyone compared, and of everyone but the first the quotient by the first one's.
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
    /// How matou stands beside the best of the others, if that is asked: who that is, and the quotient.
    pub best: Option<(usize, Median)>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// The median.
    pub value: f64,
    /// The median of the quotients.
    pub ratio: Option<Median>,
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
    /// Whether a quotient means anything.
    pub ratio: bool,
}

impl Row {
    /// From figures that were measured side by side, round by round: the median of each, and of the quotients within the
    /// rounds. Who has no figures has no cell.
    pub fn paired(subject: impl Into<String>, kind: Kind, figures: &[Vec<f64>]) -> Self {
        let first = &figures[0];
        let cells = figures.iter().enumerate().map(|(index, figures)| {
            (!figures.is_empty()).then(|| Cell {
                value: Median::of(figures.iter().copied()).value * kind.scale,
                ratio: (kind.ratio && index > 0).then(|| quotient(figures, first)).flatten(),
            })
        });
        Self { subject: subject.into(), what: kind.what.to_owned(), digits: kind.digits, cells: cells.collect(), best: None }
    }

    /// Puts `ours` beside the best of the others, the one with the smallest median.
    #[must_use]
    pub fn beside_the_best(mut self, figures: &[Vec<f64>], ours: Option<usize>, others: impl Fn(usize) -> bool) -> Self {
        let Some(ours) = ours.filter(|ours| !figures[*ours].is_empty()) else { return self };
        let median = |index: usize| Median::of(figures[index].iter().copied()).value;
        self.best = (0..figures.len())
            .filter(|index| others(*index) && !figures[*index].is_empty())
            .min_by(|one, other| median(*one).total_cmp(&median(*other)))
            .and_then(|best| Some((best, quotient(&figures[ours], &figures[best])?)));
        self
    }
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

/// The tables for a person, one for each thing that was measured.
pub(super) fn markdown(subject: &str, names: &[&str], rows: &[Row], way: Lines) -> String {
    let mut text = String::new();
    let mut whats: Vec<&str> = Vec::new();
    for row in rows {
        if !whats.contains(&row.what.as_str()) {
            whats.push(&row.what);
        }
    }
    for what in whats {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.what == what).collect();
        let best = rows.iter().any(|row| row.best.is_some());
        let corner = format!("{what}; {subject}:");
        let mut lines = vec![[corner].into_iter().chain(names.iter().map(|name| (*name).to_owned())).collect::<Vec<_>>()];
        if best {
            lines[0].push("matou / best other".to_owned());
        }
        for row in rows {
            let mut line = vec![row.subject.clone()];
            line.extend(row.cells.iter().map(|cell| cell.map_or_else(|| "–".to_owned(), |cell| person(cell, row.digits))));
            if best {
                line.push(row.best.map_or_else(|| "–".to_owned(), |(index, ratio)| format!("{} {}", show(ratio), names[index])));
            }
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

fn person(cell: Cell, digits: usize) -> String {
    let value = format!("{:.digits$}", cell.value);
    cell.ratio.map_or_else(|| value.clone(), |ratio| format!("{value} = {}", show(ratio)))
}

fn show(ratio: Median) -> String {
    match ratio.interval {
        Some((low, high)) => format!("{:.3} [{low:.3}, {high:.3}]", ratio.value),
        None => format!("{:.3}", ratio.value),
    }
}

fn aligned(text: &mut String, lines: &[Vec<String>]) {
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

/// The table for a program: one figure a line.
pub(super) fn values(subject: &str, names: &[&str], rows: &[Row]) -> String {
    let mut text = format!("{subject}\twhat\tof\tvalue\tratio\tlow\thigh\n");
    for row in rows {
        let cells =
            names.iter().zip(&row.cells).filter_map(|(name, cell)| Some(((*name).to_owned(), cell.as_ref()?.value, cell.as_ref()?.ratio)));
        let best = row.best.map(|(index, ratio)| (format!("matou / {}", names[index]), ratio.value, Some(ratio)));
        for (name, value, ratio) in cells.chain(best) {
            let _ = write!(text, "{}\t{}\t{name}\t{:.*}", row.subject, row.what, row.digits + 3, value);
            let (low, high) = ratio.and_then(|ratio| ratio.interval).unzip();
            for figure in [ratio.map(|ratio| ratio.value), low, high] {
                text.push('\t');
                if let Some(figure) = figure {
                    let _ = write!(text, "{figure:.5}");
                }
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { what: "CPU, µs", scale: 0.5, digits: 2, ratio: true };

    fn rows() -> [Row; 1] {
        // The machine is ten times slower in every other round; the second needs twice the time of the first, the third thrice.
        let slow = |round: u32| if round.is_multiple_of(2) { 10.0 } else { 1.0 };
        let figures: Vec<Vec<f64>> =
            [2.0, 4.0, 6.0].map(|cpu| (0..8).map(|round| cpu * slow(round)).collect()).into_iter().chain([Vec::new()]).collect();
        [Row::paired("1", KIND, &figures).beside_the_best(&figures, Some(2), |index| index == 1)]
    }

    #[test]
    fn ratios_are_paired_by_round_and_both_tables_say_the_same() {
        let names = ["epoll", "tokio", "matou", "none"];
        let text = markdown("connections", &names, &rows(), Lines::Names);
        assert!(text.contains("| tokio                 | 11.00 = 2.000 [2.000, 2.000] |\n"), "{text}");
        assert!(text.contains("| none                  | –                            |\n"), "{text}");
        assert!(text.contains("| matou / best other    | 1.500 [1.500, 1.500] tokio   |\n"), "{text}");
        let across = markdown("connections", &names, &rows(), Lines::Subjects);
        assert!(across.starts_with("| CPU, µs; connections: | epoll | tokio "), "{across}");
        assert_eq!(
            values("connections", &names, &rows()),
            "connections\twhat\tof\tvalue\tratio\tlow\thigh\n\
             1\tCPU, µs\tepoll\t5.50000\t\t\t\n\
             1\tCPU, µs\ttokio\t11.00000\t2.00000\t2.00000\t2.00000\n\
             1\tCPU, µs\tmatou\t16.50000\t3.00000\t3.00000\t3.00000\n\
             1\tCPU, µs\tmatou / tokio\t1.50000\t1.50000\t1.50000\t1.50000\n"
        );
    }

    #[test]
    fn a_quotient_by_nothing_is_left_out() {
        let row = Row::paired("1", KIND, &[vec![0.0], vec![3.0]]);
        assert!(row.cells[1].unwrap().ratio.is_none());
    }
}
