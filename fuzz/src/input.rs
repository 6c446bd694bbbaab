//! Bytes as a row of choices: what the targets read that are not programs of [`crate::program`].
//!
//! Every choice takes one byte, so a change of one byte is a change of one choice. Behind the last byte come zeros.

use std::slice::Iter;

/// See the [module](self).
#[derive(Debug)]
pub struct Input<'a>(Iter<'a, u8>);

impl<'a> Input<'a> {
    /// The choices of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Input(bytes.iter())
    }

    /// Whether there are no more bytes.
    pub fn is_over(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or(0)) % n
    }

    /// True for one of `n`.
    pub fn one_of(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}
