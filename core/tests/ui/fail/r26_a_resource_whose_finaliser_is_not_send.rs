//! R26: the finaliser runs on the owner's domain, so it is `Send`.

use std::rc::Rc;

fn main() {
    let shared = Rc::new(7);
    let _resource = matou_core::Resource::new(7, move |_| drop(shared));
}
