//! Prints nanoseconds: a yield among so many tasks, and a step of a bare walk over as many cells of their size, taken in turn.
//!
//!     walk COUNT...

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Instant;

use matou_core::{Promise, spawn, yield_now};
use matou_instructions::operations::within;
use matou_instructions::table;

/// As large as a task that waits.
const SIZE: usize = 128;
const ROUNDS: usize = 9;
/// Steps of one round, at least.
const STEPS: usize = 2_000_000;

struct Cell {
    next: usize,
    turns: u64,
    _rest: [u8; SIZE - 16],
}

fn main() {
    let mut rows = Vec::new();
    for count in std::env::args().skip(1) {
        let count: usize = count.parse().unwrap_or_else(|error| panic!("{count}: {error}"));
        let turns = STEPS.div_ceil(count).max(4);
        let mut cells: Vec<Box<Cell>> =
            (0..count).map(|index| Box::new(Cell { next: (index + 1) % count, turns: 0, _rest: [0; SIZE - 16] })).collect();
        let (mut yields, mut steps): (Vec<f64>, Vec<f64>) =
            (0..ROUNDS).map(|_| (yielding(count, turns), walking(&mut cells, turns))).unzip();
        // Paired: what else the machine does changes from round to round.
        let mut ratios: Vec<f64> = yields.iter().zip(&steps).map(|(one, other)| one / other).collect();
        let [time, step, ratio] = [&mut yields, &mut steps, &mut ratios].map(|figures| {
            figures.sort_by(f64::total_cmp);
            figures[ROUNDS / 2]
        });
        rows.push(vec![count.to_string(), format!("{time:.1}"), format!("{step:.1}"), format!("{ratio:.2}")]);
    }
    table::print(&["tasks", "a yield, ns", "a step of a walk, ns", "ratio"], &rows);
}

/// All take turns; what makes and ends them does not count.
fn yielding(count: usize, turns: usize) -> f64 {
    within(async move {
        let endless = || async {
            loop {
                yield_now().await;
            }
        };
        let tasks: Vec<Promise<Infallible>> = (0..count).map(|_| spawn(endless())).collect();
        yield_now().await;
        let start = Instant::now();
        for _ in 0..turns {
            yield_now().await;
        }
        let nanos = start.elapsed().as_nanos() as f64 / (turns * (count + 1)) as f64;
        tasks.into_iter().for_each(|task| drop(task.cancel()));
        nanos
    })
}

fn walking(cells: &mut [Box<Cell>], turns: usize) -> f64 {
    let start = Instant::now();
    let mut at = 0;
    for _ in 0..turns * cells.len() {
        let cell = &mut cells[at];
        cell.turns += 1;
        at = cell.next;
    }
    black_box(at);
    start.elapsed().as_nanos() as f64 / (turns * cells.len()) as f64
}
