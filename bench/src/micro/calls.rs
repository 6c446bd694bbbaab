//! `calls`: calls over several threads, from one to as many as there are cores beside the caller's.
//!
//! Once one thread makes all calls and the others answer, and once all the others call each other, each while it answers. tokio's
//! other threads are those of its multi-thread runtime, and a call is a `Handle::spawn` there that is awaited.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::growth::of;
use super::run::{CPU_TIME, Executors, OPTIONS, TIME};
use super::{Kind, MANY};
use crate::Failure;
use crate::args::Args;
use crate::kernel;
use crate::report::{self, Lines, Plot, Scale};

/// What it accepts.
pub fn usage() -> String {
    format!(
        "calls: calls a second over several threads, 1000 on their way at once (15 rounds of 100 ms)\n\n  \
         --workers LIST    how many answer (1,2,4.. up to the cores but one)\n{OPTIONS}"
    )
}

const RATE: report::Kind = report::Kind::more("calls, 1/s", 1.0, 0);

/// What `calls` does.
pub fn run(mut args: Args) -> Result<(), Failure> {
    let most = kernel::processors().saturating_sub(1).max(1);
    let workers = args.list("--workers")?.unwrap_or_else(|| kernel::doubled(most));
    let mut executors = Executors::take(&mut args, "tokio,matou", 15, 100)?;
    args.finish()?;
    if workers.contains(&0) {
        return Err("at least one answers".into());
    }
    let mut report = executors.report("Calls over several threads");
    report.say(&format!(
        "{MANY} calls are on their way at once. Each thread has a core of its own up to {most} beside the caller's; with more of them \
         they share."
    ));
    let names = executors.names();
    for kind in [Kind::CallsByOne, Kind::CallsByAll] {
        eprintln!("{}", kind.name());
        let mut plot = Plot::new(kind.name(), "threads that answer", RATE.what, &names).scaled(Scale::Linear, Scale::Linear);
        let mut rows = Vec::new();
        for (count, answers) in workers.iter().zip(executors.ask(kind, &workers)?) {
            // One alone has nobody to call.
            if answers.iter().all(|(_, heap)| heap.is_none()) {
                continue;
            }
            let count_of = count.to_string();
            let rate = executors.row(&count_of, RATE, &answers, |figures| 1e9 / figures.time);
            plot.add(*count as f64, &rate);
            rows.push(rate);
            rows.push(executors.row(&count_of, TIME, &answers, |figures| figures.time));
            rows.push(executors.row(&count_of, CPU_TIME, &answers, |figures| figures.cpu));
        }
        rows.iter_mut().for_each(|row| row.what = of(kind, &row.what));
        if !rows.is_empty() {
            report.table("threads", &names, &rows, Lines::Names);
            report.plot(plot);
        }
    }
    report.finish()
}

/// How many calls each of some threads has made.
#[derive(Debug)]
pub struct Tally {
    stopped: AtomicBool,
    calls: Vec<Alone<AtomicUsize>>,
}

/// On a cache line of its own, and the one fetched with it.
#[repr(align(128))]
#[derive(Debug, Default)]
struct Alone<T>(T);

impl Tally {
    /// Of so many threads.
    pub fn new(threads: usize) -> Self {
        Self { stopped: AtomicBool::new(false), calls: (0..threads).map(|_| Alone::default()).collect() }
    }

    /// How many there are.
    pub fn threads(&self) -> usize {
        self.calls.len()
    }

    /// All calls so far.
    pub fn sum(&self) -> usize {
        self.calls.iter().map(|calls| calls.0.load(Relaxed)).sum()
    }

    /// Nobody begins any more.
    pub fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    /// What one of the threads does until then: makes its part of [`MANY`] calls, and awaits them.
    pub async fn calls<T: Future<Output = u64>>(&self, place: usize, call: impl Fn() -> T) {
        let batch = MANY.div_ceil(self.threads());
        let mut calls = Vec::with_capacity(batch);
        while !self.stopped.load(Relaxed) {
            calls.extend((0..batch).map(|_| call()));
            for call in calls.drain(..) {
                black_box(call.await);
            }
            self.calls[place].0.fetch_add(batch, Relaxed);
        }
    }
}
