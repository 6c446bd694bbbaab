//! Values that are leaked on purpose.

use std::sync::Mutex;

/// Leaks a value for good, as `mem::forget` does, and notes where it is.
///
/// A leak checker (`checks/asan.sh`) takes what can be reached from a note for used: whatever else it reports was not meant to be leaked.
pub fn leak<'a, T: 'a>(value: T) -> &'a mut T {
    static NOTES: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let leaked = Box::leak(Box::new(value));
    NOTES.lock().unwrap().push(std::ptr::from_mut(leaked).expose_provenance());
    leaked
}
