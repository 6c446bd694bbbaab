//! What a command gives: tables and plots, with what a reader must know of where they come from.
//!
//! Everything is printed as markdown; with `--out PATH` it goes to `PATH.md`, `PATH.tsv` and, where there is a plot, `PATH.svg`.

mod about;
pub mod plot;
mod table;
mod values;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

pub use self::plot::{Line, Plot, Scale};
pub use self::table::{Kind, Lines, Row, aligned};
pub use self::values::{Value, Values};
use crate::Failure;

/// One of them.
#[derive(Debug)]
pub struct Report {
    markdown: String,
    values: String,
    plots: Vec<Plot>,
    /// Where to write it; only printed if there is none.
    pub out: Option<PathBuf>,
}

impl Report {
    /// With its head: what it is, where, when, of what, and how it was asked for.
    pub fn new(title: &str, out: Option<PathBuf>) -> Self {
        let mut markdown = format!("### {title}\n\n");
        let mut values = format!("# {title}\n");
        for line in about::lines() {
            let _ = writeln!(markdown, "{line}  ");
            let _ = writeln!(values, "# {line}");
        }
        Self { markdown, values, plots: Vec::new(), out }
    }

    /// A sentence between the tables.
    pub fn say(&mut self, text: &str) {
        let _ = write!(self.markdown, "\n{text}\n");
        for line in text.lines() {
            let _ = writeln!(self.values, "# {line}");
        }
    }

    /// Tables, one for each thing measured.
    pub fn table(&mut self, subject: &str, names: &[&str], rows: &[Row], lines: Lines) {
        let _ = write!(self.markdown, "\n{}", table::markdown(subject, names, rows, lines));
        self.values.push_str(&values::text(subject, names, rows));
    }

    /// A plot; nothing if there is no point in it.
    pub fn plot(&mut self, plot: Plot) {
        if plot.lines.iter().any(|(_, points)| !points.is_empty()) {
            self.plots.push(plot);
        }
    }

    /// Prints it, and writes it.
    pub fn finish(mut self) -> Result<(), Failure> {
        let Some(out) = self.out else {
            print!("{}", self.markdown);
            return Ok(());
        };
        if let Some(folder) = out.parent() {
            fs::create_dir_all(folder)?;
        }
        if !self.plots.is_empty() {
            let path = with(&out, "svg");
            fs::write(&path, plot::svg(&self.plots))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let _ = write!(self.markdown, "\n![{name}]({name})\n");
        }
        print!("{}", self.markdown);
        fs::write(with(&out, "md"), &self.markdown)?;
        fs::write(with(&out, "tsv"), &self.values)?;
        Ok(())
    }
}

fn with(path: &Path, extension: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".");
    path.push(extension);
    path.into()
}
