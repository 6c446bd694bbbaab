//! R17: the closure of a call travels, and so does what it captures.

use std::rc::Rc;

fn main() {
    let shared = Rc::new(7);
    let _promise = matou_core::call(move || async move { *shared });
}
