//! A pool's places have a size.

use matou_core::TaskPool;

static POOL: TaskPool<2, 64> = TaskPool::new();

fn main() {
    let large = [1_u8; 100];
    let _promise = POOL.spawn(async move { large.len() });
}
