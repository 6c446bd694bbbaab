//! Tables, as they are printed and as they are kept.

/// Prints a table, its columns as wide as they must be, the first to the left and the others to the right.
pub fn print(head: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).chain([head[column].len()]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &[&str]| {
        let mut cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        println!("| {} |", cells.by_ref().collect::<Vec<_>>().join(" | "));
    };
    line(head);
    println!("|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
    rows.iter().for_each(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>()));
    println!();
}

/// The rows as tab-separated values, a line each.
pub fn values<'a>(rows: impl IntoIterator<Item = &'a Vec<String>>) -> String {
    rows.into_iter().map(|row| row.join("\t") + "\n").collect()
}
