//! R17: the error of a call is sent back, too.

use std::rc::Rc;

fn main() {
    let _promise = matou_core::call(|| async { Err::<(), _>(Rc::new(7)) });
}
