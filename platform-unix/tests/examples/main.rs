//! The tutorial is true: its programs run, its chapters show their code, and show what they print.
//!
//! Each example is started as a process ([`program`]), with ports of the system's choice, and is killed and reaped when its test ends, on
//! panics too. Nothing is awaited by sleeping: what a program says is read to a line or to the end, with a deadline.
//!
//! `cargo test` builds the examples. `cargo test --test examples` alone does not, and says so where one is missing or old.

mod chapters;
mod echo_steps;
mod merkle;
mod program;
mod small;
