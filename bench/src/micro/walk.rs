//! What memory alone costs: a bare walk over as many cells as there would be tasks, in an order that has nothing to do with
//! where they are.

use std::hint::black_box;

use super::meter::{Figures, Meter};
use super::{Kind, Operation, shuffled};
use crate::Failure;

/// About what a task takes: three cache lines, of which two are touched, one by a write.
struct Cell {
    touched: u64,
    _rest: [u64; 15],
    next: u64,
    _more: [u64; 7],
}

/// The same wherever there are many.
pub(super) fn measure(operation: Operation, meter: Meter) -> Result<Option<Figures>, Failure> {
    if !matches!(operation.kind, Kind::WakeAmong | Kind::SpawnAmong | Kind::TimerAmong | Kind::OrphanAmong) {
        return Ok(None);
    }
    // Each on its own, as tasks are.
    let mut cells: Vec<Box<Cell>> =
        (0..operation.count).map(|_| Box::new(Cell { touched: 0, _rest: [0; 15], next: 1, _more: [0; 7] })).collect();
    let order = shuffled(operation.count);
    let batch = operation.count.min(super::BATCH);
    let mut next = 0;
    let mut watch = meter.start();
    loop {
        for _ in 0..batch {
            let cell = &mut cells[order[next] as usize];
            cell.touched += cell.next;
            next = (next + 1) % operation.count;
        }
        black_box(&mut cells);
        if let Some(figures) = watch.lap(batch) {
            let live = size_of::<Cell>() as f64;
            return Ok(Some(Figures { live: if meter.counting { live } else { 0.0 }, ..figures }));
        }
    }
}
