//! For those who come from elsewhere: what they know, by its name here. There is no code in these modules.
//!
//! The crate `matou-unix` has a guide of its own, for Miou's Unix layer and for those who come from tokio.

/// From Miou: every public item of `Miou` 0.7, what answers to it here, and what differs.
///
#[doc = include_str!("from_miou.md")]
pub mod from_miou {}
