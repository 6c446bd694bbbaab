//! What was received into a buffer of the domain's, not the caller's: see [`Received`].

use std::fmt;
use std::ops::Deref;

use crate::reactor::Lent;

/// Bytes that a stream gave, in a buffer that the domain lends: what [`TcpStream::receive`](super::TcpStream::receive) and its like give.
///
/// No bytes at all are the end of the stream. The buffer goes back to its domain when this is dropped: keep it as long as the bytes are
/// worked on, and not while the next ones are waited for. It belongs to the domain and stays there, also when the stream goes to another
/// one, and it may outlive both. One that is forgotten costs its memory.
///
/// ```
/// use matou_unix::net::TcpStream;
///
/// /// Echoes. While it waits, it holds no buffer.
/// async fn echo(stream: &TcpStream) -> std::io::Result<()> {
///     loop {
///         let received = stream.receive().await?;
///         if received.is_empty() {
///             return Ok(());
///         }
///         stream.write_all(&received).await?;
///     }
/// }
/// ```
///
/// ```compile_fail,E0277
/// fn may_be_sent<T: Send>() {}
/// may_be_sent::<matou_unix::net::Received>();
/// ```
#[must_use = "the bytes are taken out of the stream, and lost with this"]
pub struct Received {
    lent: Lent,
}

impl Received {
    pub(super) fn new(lent: Lent) -> Received {
        Received { lent }
    }
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.lent.bytes()
    }
}

impl AsRef<[u8]> for Received {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Received").field(&self.lent).finish()
    }
}
