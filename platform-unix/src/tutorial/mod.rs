// Nothing but documentation: each chapter is a file beside this one. Their blocks of code are doctests; `tests/examples` compares them with the
// examples, and their transcripts with what the examples print.
#![doc = include_str!("index.md")]

#[doc = include_str!("availability.md")]
pub mod availability {}

#[doc = include_str!("echo.md")]
pub mod echo {}

#[doc = include_str!("philosophers.md")]
pub mod philosophers {}

#[doc = include_str!("sleepers.md")]
pub mod sleepers {}

#[doc = include_str!("stream.md")]
pub mod stream {}
