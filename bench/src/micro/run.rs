//! `micro`, and what it shares with `growth`: starting the executors, and asking them in turn.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use super::{CPU, Figures, Kind, NONE, OTHER_CPU};
use crate::Failure;
use crate::args::Args;
use crate::process::Asked;
use crate::report::{self, Lines, Report, Row};
use crate::servers::peer_program;

/// What it accepts.
pub fn usage() -> String {
    format!(
        "micro: single operations of the executors, in time, CPU and heap (21 rounds of 50 ms)\n\n  \
         --only LIST   operations whose name contains one of these\n{OPTIONS}"
    )
}

/// The options of both.
pub(super) const OPTIONS: &str = "\
  --executors LIST  the first is what the others are divided by
  --rounds N        windows for each executor and operation
  --window MS       duration of one
  --out PATH        writes PATH.md, PATH.tsv and, where there is a plot, PATH.svg";

/// All executors. A suffix is an argument of a peer's.
const ALL: &str = "tokio,tokio-local,smol,monoio,monoio-uring,glommio,compio,may,embassy,matou";

/// Operations of `micro`; the others are `growth`'s.
const KINDS: usize = 12;

/// Of one executor the figures of all rounds, and those of a window in which the heap was watched.
pub(super) type Answers = (Vec<Figures>, Option<Figures>);

/// Executors that can be had, and how they are asked.
#[derive(Debug)]
pub(super) struct Executors {
    pub(super) names: Vec<String>,
    commands: Vec<Vec<OsString>>,
    left_out: Vec<String>,
    pub(super) rounds: usize,
    pub(super) window: u64,
    out: Option<PathBuf>,
}

impl Executors {
    pub(super) fn take(args: &mut Args, all: &str, rounds: usize, window: u64) -> Result<Self, Failure> {
        let names: Vec<String> = args.list("--executors")?.unwrap_or_else(|| all.split(',').map(str::to_owned).collect());
        let mut executors = Self {
            names: Vec::new(),
            commands: Vec::new(),
            left_out: Vec::new(),
            rounds: args.option("--rounds")?.unwrap_or(rounds).max(1),
            window: args.option("--window")?.unwrap_or(window),
            out: args.option("--out")?,
        };
        for name in names {
            // Whatever an executor cannot do here, it says when it is asked for the first time.
            let tried = command(&name).and_then(|command| {
                ask(&command, &question(Kind::SpawnAwait, 1, 0, false)).map_err(|error| format!("{name}: {error}"))?;
                Ok(command)
            });
            match tried {
                Ok(command) => {
                    executors.names.push(name);
                    executors.commands.push(command);
                }
                Err(error) => {
                    eprintln!("left out: {error}");
                    executors.left_out.push(error.to_string());
                }
            }
        }
        if executors.names.is_empty() { Err("no executor is left".into()) } else { Ok(executors) }
    }

    pub(super) fn report(&mut self, title: &str) -> Report {
        let mut report = Report::new(title, self.out.take());
        report.say(&format!(
            "{} rounds of {} ms; what is measured on core {CPU}, the other threads of calls on core {OTHER_CPU} and those after it. \
             Ratios are to {}, in brackets the interval that holds the true median with 95 %.",
            self.rounds, self.window, self.names[0],
        ));
        for missing in &self.left_out {
            report.say(&format!("Left out: {missing}"));
        }
        report
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.names.iter().map(String::as_str).collect()
    }

    /// For each of the numbers, of each executor the figures of all rounds, in order, and those of a window in which the heap was
    /// watched; none from one that has no such operation. A round holds all numbers, so that they may be divided by each other.
    pub(super) fn ask(&self, kind: Kind, counts: &[usize]) -> Result<Vec<Vec<Answers>>, Failure> {
        let mut all: Vec<Answers> = Vec::new();
        let mut asked = Vec::new();
        for &count in counts {
            for (command, name) in self.commands.iter().zip(&self.names) {
                // In processes of their own: what an executor keeps from earlier tasks is not asked for again.
                let heap = ask(command, &question(kind, count, self.window, true)).map_err(|error| format!("{name}: {error}"))?;
                if heap.is_some() && kind != Kind::Heap {
                    asked.push((all.len(), start(command)?, question(kind, count, self.window, false)));
                }
                all.push((Vec::new(), heap));
            }
        }
        for round in 0..self.rounds {
            for turn in 0..asked.len() {
                let turn = (round + turn) % asked.len();
                let (place, child, question) = &mut asked[turn];
                let answer = child.ask(question).and_then(|answer| figures(&answer));
                all[*place].0.extend(answer.map_err(|error| format!("{}: {error}", self.names[*place % self.names.len()]))?);
            }
        }
        Ok(all.chunks(self.names.len()).map(<[Answers]>::to_vec).collect())
    }

    /// A row of one figure of each in all rounds.
    pub(super) fn row(&self, subject: &str, kind: report::Kind, answers: &[Answers], figure: fn(&Figures) -> f64) -> Row {
        Row::compared(subject, kind, &self.names(), &timed(answers, figure))
    }

    /// A row of one figure of each in the window in which the heap was watched.
    pub(super) fn counted(&self, subject: &str, kind: report::Kind, answers: &[Answers], figure: fn(&Figures) -> f64) -> Row {
        let figures: Vec<Vec<f64>> = answers.iter().map(|(_, heap)| heap.iter().map(figure).collect()).collect();
        Row::compared(subject, kind, &self.names(), &figures)
    }
}

/// Of each executor one figure in all rounds.
pub(super) fn timed(answers: &[Answers], figure: fn(&Figures) -> f64) -> Vec<Vec<f64>> {
    answers.iter().map(|(times, _)| times.iter().map(figure).collect()).collect()
}

fn command(name: &str) -> Result<Vec<OsString>, Failure> {
    Ok(match name {
        "tokio" | "tokio-local" | "matou" | "walk" => vec![env::current_exe()?.into(), "measure".into(), name.into()],
        _ => {
            // The first part is the program, the second one a driver.
            let (peer, driver) = name.split_once('-').map_or((name, None), |(peer, driver)| (peer, Some(driver)));
            let mut command: Vec<OsString> = vec![peer_program(peer)?.into(), "micro".into()];
            command.extend(driver.map(OsString::from));
            command
        }
    })
}

fn start(command: &[OsString]) -> Result<Asked, Failure> {
    Asked::start(&[CPU], command.iter().cloned())
}

/// In a process of its own.
fn ask(command: &[OsString], question: &str) -> Result<Option<Figures>, Failure> {
    figures(&start(command)?.ask(question)?)
}

fn question(kind: Kind, count: usize, window: u64, counting: bool) -> String {
    let place = Kind::ALL.iter().position(|other| *other == kind).unwrap_or(0);
    format!("{place} {count} {} {}", window * 1_000_000, u8::from(counting))
}

fn figures(answer: &str) -> Result<Option<Figures>, Failure> {
    if answer.trim() == NONE { Ok(None) } else { answer.parse().map(Some) }
}

pub(crate) const TIME: report::Kind = report::Kind::less("time, ns", 1.0, 1);
pub(crate) const CPU_TIME: report::Kind = report::Kind::less("CPU of all threads, ns", 1.0, 1);
pub(crate) const SLEEPS: report::Kind = report::Kind::alone("wake-ups", 1.0, 3);
pub(crate) const ALLOCATIONS: report::Kind = report::Kind::alone("allocations", 1.0, 3);
pub(crate) const HEAP: report::Kind = report::Kind::less("heap, bytes", 1.0, 0);

/// What `micro` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let only: Vec<String> = args.list("--only")?.unwrap_or_else(|| vec![String::new()]);
    let mut executors = Executors::take(&mut args, ALL, 21, 50)?;
    args.finish()?;
    let mut report = executors.report("Operations of the executors");
    let mut rows = Vec::new();
    for kind in Kind::ALL.into_iter().take(KINDS).filter(|kind| only.iter().any(|part| kind.name().contains(part.as_str()))) {
        eprintln!("{}", kind.name());
        let answers = &executors.ask(kind, &[0])?[0];
        if kind == Kind::Heap {
            rows.push(executors.counted(kind.name(), HEAP, answers, |figures| figures.live));
            continue;
        }
        rows.push(executors.row(kind.name(), TIME, answers, |figures| figures.time));
        // Elsewhere the one thread is always busy, and the two are the same.
        if matches!(kind, Kind::Timers | Kind::Call | Kind::CallMany) {
            rows.push(executors.row(kind.name(), CPU_TIME, answers, |figures| figures.cpu));
        }
        if matches!(kind, Kind::Call | Kind::CallRested | Kind::CallAwake | Kind::CallMany) {
            rows.push(executors.row(kind.name(), SLEEPS, answers, |figures| figures.sleeps));
        }
        rows.push(executors.counted(kind.name(), ALLOCATIONS, answers, |figures| figures.allocations));
    }
    report.table("operation", &executors.names(), &rows, Lines::Subjects);
    report.finish()
}
