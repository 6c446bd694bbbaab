//! R17: the value of a call is sent back.

use std::rc::Rc;

fn main() {
    let _promise = matou_core::call(|| async { Rc::new(7) });
}
