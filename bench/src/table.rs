//! The table of a comparison, for a person and for a program.

use std::fmt::Write as _;

use crate::statistics::Median;

/// One row: a figure of everyone compared, and of everyone but the first the quotient by the first one's.
pub(crate) struct Row {
    /// What the row is about: a number of connections, or an operation.
    pub(crate) subject: String,
    pub(crate) what: String,
    /// After the decimal point.
    pub(crate) digits: usize,
    pub(crate) cells: Vec<Cell>,
}

/// One of them.
pub(crate) struct Cell {
    pub(crate) value: f64,
    pub(crate) ratio: Option<Median>,
}

/// The cells of figures that were measured side by side, round by round: the median of each, times `scale`, and if `ratios`
/// are wanted the median of the quotients within the rounds.
pub(crate) fn paired(figures: &[Vec<f64>], scale: f64, ratios: bool) -> Vec<Cell> {
    let first = &figures[0];
    figures
        .iter()
        .enumerate()
        .map(|(index, figures)| Cell {
            value: Median::of(figures.iter().copied()).value * scale,
            ratio: (ratios && index > 0).then(|| Median::of(figures.iter().zip(first).map(|(mine, first)| mine / first))),
        })
        .collect()
}

/// The table for a person. `subject` heads the first column.
pub(crate) fn markdown(subject: &str, names: &[&str], rows: &[Row]) -> String {
    let first = names.first().copied().unwrap_or_default();
    let mut lines = vec![[subject, "what"].into_iter().chain(names.iter().copied()).map(str::to_owned).collect::<Vec<_>>()];
    for row in rows {
        let mut line = vec![row.subject.clone(), row.what.clone()];
        for cell in &row.cells {
            let mut text = format!("{:.*}", row.digits, cell.value);
            if let Some(ratio) = cell.ratio {
                let _ = write!(text, " = {:.3} {first}", ratio.value);
                if let Some((low, high)) = ratio.interval {
                    let _ = write!(text, " [{low:.3}, {high:.3}]");
                }
            }
            line.push(text);
        }
        lines.push(line);
    }
    let widths: Vec<usize> =
        (0..lines[0].len()).map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
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
    text
}

/// The table for a program: one figure a line.
pub(crate) fn values(subject: &str, names: &[&str], rows: &[Row]) -> String {
    let mut text = format!("{subject}\twhat\tof\tvalue\tratio\tlow\thigh\n");
    for row in rows {
        for (name, cell) in names.iter().zip(&row.cells) {
            let _ = write!(text, "{}\t{}\t{name}\t{:.*}", row.subject, row.what, row.digits + 3, cell.value);
            let ratio = cell.ratio.map(|ratio| ratio.value);
            let (low, high) = cell.ratio.and_then(|ratio| ratio.interval).unzip();
            for figure in [ratio, low, high] {
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

    #[test]
    fn both_tables_say_the_same() {
        let rows = [Row {
            subject: "1".into(),
            what: "CPU per round trip, µs".into(),
            digits: 2,
            cells: vec![
                Cell { value: 1.0, ratio: None },
                Cell { value: 1.5, ratio: Some(Median { value: 1.5, interval: Some((1.25, 1.75)) }) },
            ],
        }];
        let names = ["epoll", "tokio"];
        assert!(
            markdown("connections", &names, &rows).contains("| 1.00  | 1.50 = 1.500 epoll [1.250, 1.750] |"),
            "{}",
            markdown("connections", &names, &rows)
        );
        assert_eq!(
            values("connections", &names, &rows),
            "connections\twhat\tof\tvalue\tratio\tlow\thigh\n\
             1\tCPU per round trip, µs\tepoll\t1.00000\t\t\t\n\
             1\tCPU per round trip, µs\ttokio\t1.50000\t1.50000\t1.25000\t1.75000\n"
        );
    }
}
