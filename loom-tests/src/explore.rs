//! Runs a model through every order that loom knows of, and checks that it met what it claims to cover.
//!
//! A model that never reaches the race it was written for passes all the same. So each names the outcomes that some execution has to
//! have, notes those it meets, and fails if one was met by none. The notes outlive the single execution, and are therefore kept in
//! ordinary atomics, which loom does not see.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What has been met so far, over all executions of one model.
pub(crate) struct Met {
    outcomes: &'static [&'static str],
    executions: Vec<AtomicUsize>,
}

impl Met {
    fn new(outcomes: &'static [&'static str]) -> Met {
        Met { outcomes, executions: outcomes.iter().map(|_| AtomicUsize::new(0)).collect() }
    }

    /// Tells what was met, and fails if something was not.
    fn tell(&self, executions: usize, how: &str, started: std::time::Instant) {
        let name = std::thread::current();
        let name = name.name().unwrap_or("a model");
        println!("{name}: {executions} executions, {how}, {:.1} s", started.elapsed().as_secs_f32());
        let counts: Vec<_> =
            self.outcomes.iter().zip(&self.executions).map(|(outcome, count)| (outcome, count.load(Ordering::Relaxed))).collect();
        for (outcome, count) in &counts {
            println!("{count:>10} × {outcome}");
        }
        for (outcome, count) in counts {
            assert!(count > 0, "no execution reached: {outcome}");
        }
    }

    /// This execution has this outcome.
    pub(crate) fn note(&self, outcome: &str) {
        let index = self.outcomes.iter().position(|&known| known == outcome);
        let Some(index) = index else { panic!("the model does not claim to reach {outcome:?}") };
        self.executions[index].fetch_add(1, Ordering::Relaxed);
    }

    /// As `note`, where it is so.
    #[cfg(loom)]
    pub(crate) fn note_if(&self, so: bool, outcome: &str) {
        if so {
            self.note(outcome);
        }
    }
}

/// Runs `model` in so many orders, made by chance from one seed, and fails if one of the `outcomes` was never noted. `SHUTTLE_ORDERS` sets
/// another number.
#[cfg(shuttle)]
pub(crate) fn explore(orders: usize, outcomes: &'static [&'static str], model: impl Fn(&Met) + Send + Sync + 'static) {
    let met = Arc::new(Met::new(outcomes));
    let started = std::time::Instant::now();
    let orders = std::env::var("SHUTTLE_ORDERS").ok().and_then(|orders| orders.parse().ok()).unwrap_or(orders);
    let scheduler = shuttle::scheduler::RandomScheduler::new_from_seed(0x6d61_746f_75, orders);
    let ran = shuttle::Runner::new(scheduler, shuttle::Config::new()).run({
        let met = Arc::clone(&met);
        move || model(&met)
    });
    met.tell(ran, "orders by chance", started);
}

/// Explores `model` in every order, and fails if one of the `outcomes` was never noted.
#[cfg(loom)]
pub(crate) fn explore(outcomes: &'static [&'static str], model: impl Fn(&Met) + Send + Sync + 'static) {
    run(loom::model::Builder::new(), outcomes, model);
}

/// As `explore`, for models with too many orders: only those in which threads are interrupted, where they could have gone on, at most
/// `preemptions` times. `LOOM_MAX_PREEMPTIONS` sets another bound.
#[cfg(loom)]
pub(crate) fn explore_bounded(preemptions: usize, outcomes: &'static [&'static str], model: impl Fn(&Met) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    run(builder, outcomes, model);
}

#[cfg(loom)]
fn run(builder: loom::model::Builder, outcomes: &'static [&'static str], model: impl Fn(&Met) + Send + Sync + 'static) {
    let met = Arc::new(Met::new(outcomes));
    let total = Arc::new(AtomicUsize::new(0));
    let bound = builder.preemption_bound;
    let started = std::time::Instant::now();
    builder.check({
        let (met, total) = (Arc::clone(&met), Arc::clone(&total));
        move || {
            total.fetch_add(1, Ordering::Relaxed);
            model(&met);
        }
    });
    let bound = bound.map_or(String::from("no bound"), |bound| format!("at most {bound} preemptions"));
    met.tell(total.load(Ordering::Relaxed), &bound, started);
}

/// What the models stand on: loom tries a load before and after another thread's write, although that thread loads first. Left to itself it
/// does not (see the atomics of `core/src/shim.rs`), and the races that the other models are about would pass unseen.
#[cfg(loom)]
#[test]
fn a_load_hides_no_order() {
    explore(&["the load came first", "the write came first"], |met| {
        let word = Arc::new(matou_core::model::AtomicUsize::new(0));
        let writer = loom::thread::spawn({
            let word = Arc::clone(&word);
            move || {
                let _ = word.load(Ordering::Relaxed);
                word.swap(1, Ordering::AcqRel);
            }
        });
        let seen = word.load(Ordering::Acquire);
        writer.join().unwrap();
        met.note(["the load came first", "the write came first"][seen]);
    });
}
