//! For those who come from elsewhere: what they know, by its name here. There is no code in these modules.
//!
//! [`matou_core::guide`] has the chapter on the scheduler `Miou`.

/// From Miou: every public item of `Miou_unix`, what answers to it here, and what differs.
///
#[doc = include_str!("from_miou.md")]
pub mod from_miou {}

/// From tokio: the names, and what `select!`, timeouts, `?`, dropped handles and panics do to children here.
///
#[doc = include_str!("from_tokio.md")]
pub mod from_tokio {}
