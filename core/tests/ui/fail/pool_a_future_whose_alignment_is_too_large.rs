//! A pool's places are aligned to 16.

use matou_core::{Plain, TaskPool};

static POOL: TaskPool<2, 256> = TaskPool::new();

#[repr(align(32))]
struct Wide(u8);

fn main() {
    let wide = Plain(Wide(1));
    let _promise = POOL.spawn(std::future::ready(wide));
}
