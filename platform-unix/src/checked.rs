//! What the model checker puts something else in place of, in the files that `loom-tests` takes from here.

pub(crate) use std::sync::Mutex;

/// Whether this step is to be done wrongly: a seeded fault, which the models must catch. Here there is none.
pub(crate) const fn fault(_name: &str) -> bool {
    false
}
