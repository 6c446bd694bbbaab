//! The result takes the future's place.

use matou_core::TaskPool;

static POOL: TaskPool<2, 64> = TaskPool::new();

fn main() {
    let _promise = POOL.spawn(async { [1_u8; 100] });
}
