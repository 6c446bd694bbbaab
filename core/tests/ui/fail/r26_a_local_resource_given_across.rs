//! R26: a `LocalResource` is given with `spawn` alone.

use matou_core::{LocalResource, Task};

fn main() {
    let local = LocalResource::new(7, drop);
    let _promise = Task::new().give(&local).call(|| async {});
}
