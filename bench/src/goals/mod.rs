//! `goals`: reads the results of the other commands, and says of each goal what was measured and whether it is reached, and in
//! which lines a peer is ahead. What was not measured is said to be that.

mod list;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use self::list::{Bound, Goal, Over};
use crate::Failure;
use crate::args::Args;
use crate::report::{Value, Values, aligned};
use crate::statistics::Median;

/// What it accepts.
pub fn usage() -> String {
    "goals: what was to be reached, and was, as a table of the results' own figures; it measures nothing\n\n  \
     --results FOLDER    of NAME.tsv files (results)"
        .to_owned()
}

/// What `goals` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let folder: PathBuf = args.option("--results")?.unwrap_or_else(|| "results".into());
    args.finish()?;
    let mut results = Results::new();
    for goal in list::all() {
        if !results.contains_key(goal.table)
            && let Some(values) = Values::read(&folder.join(format!("{}.tsv", goal.table)))?
        {
            results.insert(goal.table, values);
        }
    }
    print!("{}", page(&results));
    Ok(())
}

/// Of each command that was run what it gave.
type Results = BTreeMap<&'static str, Values>;

/// Whether a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The median is where it has to be.
    Reached,
    /// It is not, but what it has to be is within the interval: the rule does not call that missed.
    Within,
    /// The whole interval is beyond it, or there is none and the median is.
    Missed,
    /// There is no figure.
    NotMeasured,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reached => "reached",
            Self::Within => "reached, within the interval",
            Self::Missed => "**missed**",
            Self::NotMeasured => "not measured",
        })
    }
}

impl Bound {
    fn verdict(self, median: Median) -> Verdict {
        // What the table shows decides: 1.000 is not more than 1.
        let scale = 10_f64.powi(digits(median) as i32);
        let reached = |figure: f64| match self {
            Self::AtMost(most) => (figure * scale).round() <= most * scale,
            Self::AtLeast(least) => (figure * scale).round() >= least * scale,
        };
        let nearest = median.interval.map(|(low, high)| match self {
            Self::AtMost(_) => low,
            Self::AtLeast(_) => high,
        });
        match nearest {
            _ if reached(median.value) => Verdict::Reached,
            Some(nearest) if reached(nearest) => Verdict::Within,
            _ => Verdict::Missed,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

impl Goal {
    /// Its line of the results, if that was measured.
    fn value<'r>(&self, results: &'r Results) -> Option<&'r Value> {
        let line = &self.line;
        let over = |value: &Value| match line.over {
            Over::Nothing => value.over.is_empty(),
            Over::Named(name) => value.over == name,
            Over::Best => value.best().is_some(),
        };
        let is = |value: &&Value| value.what == line.what && value.subject == line.subject && value.of == line.of && over(value);
        results.get(self.table)?.lines.iter().find(is)
    }

    fn verdict(&self, results: &Results) -> Verdict {
        self.value(results).map_or(Verdict::NotMeasured, |value| self.bound.verdict(value.median))
    }

    fn line(&self, results: &Results) -> Vec<String> {
        let line = &self.line;
        let over = match line.over {
            Over::Nothing => String::new(),
            Over::Named(name) => format!(" / {name}"),
            Over::Best => " / best peer".to_owned(),
        };
        let measured = self.value(results).map_or_else(String::new, |value| {
            let who = value.best().map_or_else(String::new, |best| format!(" {best}"));
            format!("{}{who}", shown(value.median))
        });
        vec![
            self.point.to_string(),
            format!("{}: {}", line.what, line.subject),
            format!("{}{over}", line.of),
            self.bound.to_string(),
            measured,
            self.verdict(results).to_string(),
            format!("[{0}]({0}.md)", self.table),
        ]
    }
}

/// With as many digits as say something.
fn shown(median: Median) -> String {
    median.show(digits(median))
}

fn digits(median: Median) -> usize {
    match median.value.abs() {
        10_000.0.. => 0,
        100.0.. => 1,
        _ => 3,
    }
}

fn page(results: &Results) -> String {
    let goals = list::all();
    let count = |verdict| goals.iter().filter(|goal| goal.verdict(results) == verdict).count();
    let mut text = format!(
        "## Goals\n\n\
         {} goals: {} reached, {} reached within the interval (the median is beyond the goal, the interval is not), {} missed, {} not \
         measured. A goal is missed when the whole interval is beyond it; a figure without an interval was counted once, or in too few \
         rounds, and is judged by itself. A quotient is paired, window by window. That all of 10,000 connections are served is seen from \
         there being a rate: a window in which one of them has no answer is an error. By `matou-bench goals`, from the tables below.\n\n",
        goals.len(),
        count(Verdict::Reached),
        count(Verdict::Within),
        count(Verdict::Missed),
        count(Verdict::NotMeasured),
    );
    let head = ["point", "what", "of", "goal", "measured", "", "table"].map(str::to_owned).to_vec();
    aligned(&mut text, &[head].into_iter().chain(goals.iter().map(|goal| goal.line(results))).collect::<Vec<_>>());
    text.push_str(
        "\nPoints that are no times of these tables are held by tests: instructions and bytes by \
         [`checks/instructions.sh`](../../checks/README.md), what the three reactors do by the tests of `platform-unix`.\n",
    );
    text.push_str("\n## Where a peer is ahead\n\n");
    let ahead: Vec<Vec<String>> = results.iter().flat_map(|(table, values)| ahead(table, values)).collect();
    if ahead.is_empty() {
        text.push_str("Nowhere, in what was measured.\n");
    } else {
        text.push_str("All figures of which less is better, and of which the interval of ours by the best peer's is above 1, or without an interval the figure.\n\n");
        let head = ["what", "of", "/ best peer", "table"].map(str::to_owned).to_vec();
        aligned(&mut text, &[head].into_iter().chain(ahead).collect::<Vec<_>>());
    }
    text.push_str("\n## When\n\n");
    for (table, values) in results {
        // The title; then place and date, versions, load, command.
        let said = values.head.get(1..4).unwrap_or_default();
        text.push_str(&format!("- {table}: {}\n", said.join("; ")));
    }
    text
}

/// The lines of a table in which a peer is ahead.
fn ahead(table: &str, values: &Values) -> Vec<Vec<String>> {
    let behind = |value: &&Value| value.best().is_some() && Bound::AtMost(1.0).verdict(value.median) == Verdict::Missed;
    let line = |value: &Value| {
        vec![
            format!("{}: {}", value.what, value.subject),
            value.of.clone(),
            format!("{} {}", value.median.show(3), value.best().unwrap_or_default()),
            format!("[{table}]({table}.md)"),
        ]
    };
    values.lines.iter().filter(behind).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn median(value: f64, low: f64, high: f64) -> Median {
        Median { value, interval: Some((low, high)) }
    }

    #[test]
    fn missed_is_wholly_beyond() {
        let most = Bound::AtMost(1.0);
        assert_eq!(most.verdict(median(0.98, 0.9, 1.1)), Verdict::Reached);
        assert_eq!(most.verdict(median(1.02, 1.0, 1.1)), Verdict::Within);
        assert_eq!(most.verdict(median(1.02, 1.01, 1.1)), Verdict::Missed);
        assert_eq!(most.verdict(Median { value: 1.02, interval: None }), Verdict::Missed);
        assert_eq!(most.verdict(median(1.0004, 1.0001, 1.1)), Verdict::Reached, "shown as 1.000");
        assert_eq!(most.verdict(median(1.0006, 1.0006, 1.1)), Verdict::Missed);
        let least = Bound::AtLeast(95.0);
        assert_eq!(least.verdict(median(96.0, 94.0, 97.0)), Verdict::Reached);
        assert_eq!(least.verdict(median(94.0, 93.0, 95.0)), Verdict::Within);
        assert_eq!(least.verdict(median(94.0, 93.0, 94.9)), Verdict::Missed);
    }

    /// Of each goal a line that is just its own, as it would be in the results.
    fn results(figure: f64) -> Results {
        let mut results = Results::new();
        for goal in list::all() {
            let over = match goal.line.over {
                Over::Nothing => String::new(),
                Over::Named(name) => name.to_owned(),
                Over::Best => "best other: tokio".to_owned(),
            };
            let list::Line { what, subject, of, .. } = goal.line;
            let value = Value { subject, what, of: of.to_owned(), over, median: median(figure, figure, figure) };
            results.entry(goal.table).or_default().lines.push(value);
        }
        results
    }

    #[test]
    fn every_goal_has_a_line_of_its_own() {
        let results = results(1e9);
        for (table, values) in &results {
            for (index, value) in values.lines.iter().enumerate() {
                assert!(!values.lines[..index].contains(value), "{table}: twice: {value:?}");
            }
        }
        for goal in list::all() {
            let most = matches!(goal.bound, Bound::AtMost(_));
            assert_eq!(goal.verdict(&results), if most { Verdict::Missed } else { Verdict::Reached }, "{goal:?}");
            assert_eq!(goal.verdict(&Results::new()), Verdict::NotMeasured);
        }
        assert_eq!(list::all().iter().map(|goal| goal.point).max(), Some(7));
        assert!(list::all().is_sorted_by_key(|goal| goal.point));
    }

    #[test]
    fn the_page_says_who_is_ahead_and_what_was_not_measured() {
        let ahead = page(&results(1.5));
        assert!(ahead.contains("| 1.500 [1.500, 1.500] tokio |"), "{ahead}");
        assert!(page(&results(0.4)).contains("Nowhere"));
        let nothing = page(&Results::new());
        assert!(nothing.contains("not measured") && !nothing.contains("**missed**"), "{nothing}");
    }
}
