//! R26: a resource may be given to any domain, so its value is `Send`; a `LocalResource` may not.

use std::rc::Rc;

fn main() {
    let _resource = matou_core::Resource::new(Rc::new(7), drop);
}
