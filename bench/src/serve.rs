//! The echo servers matou is compared with. Both are one thread, both write on stderr `listening on ADDRESS (NAME)` first.

pub mod epoll;
pub mod tokio;

/// What a server reads at most at once, unless told otherwise: 4 KiB.
pub const BUFFER: usize = 4096;
