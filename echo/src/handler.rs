//! What is done with one connection: everything that arrives is sent back, in order, until the peer ends its side.
//!
//! A handler is a task of its own in all servers but the first. It holds at most one buffer of bytes that are not yet
//! sent back, and reads only when that is empty: a peer that never reads is held back by its own connection, and costs
//! the server a buffer. The buffer is the domain's, lent with the bytes in it: a handler that waits holds none, and
//! thousands of quiet connections cost the memory of their tasks.
//!
//! The peer's end of stream (a half-close too) is the normal end: it comes after the last byte was sent back, and closing
//! the socket then sends ours. Every error is an abnormal end, told apart by the accept loop.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future;
use matou_unix::time;

use crate::context::Context;
use crate::failure::Idle;
use crate::socket::{Duplex, OwnedStream, Stream};
use crate::stats::Counters;

/// Echoes a connection to its end.
#[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
pub(crate) fn echo(stream: Stream, context: Arc<Context>) -> impl Future<Output = io::Result<()>> {
    async move {
        match &stream {
            Stream::Tcp(stream) => serve(stream, &context).await,
            Stream::Unix(stream) => serve(stream, &context).await,
        }
    }
}

/// Echoes a connection that is a resource of this task. On an abnormal end the runtime finalises it; the normal end
/// gives it up explicitly.
#[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
pub(crate) fn echo_owned(stream: OwnedStream, context: Arc<Context>) -> impl Future<Output = io::Result<()>> {
    async move {
        match &stream {
            OwnedStream::Tcp(stream) => serve(stream, &context).await?,
            OwnedStream::Unix(stream) => serve(stream, &context).await?,
        }
        Ok(stream.close()?)
    }
}

#[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
fn serve(stream: &impl Duplex, context: &Context) -> impl Future<Output = io::Result<()>> {
    async move {
        match context.idle_timeout {
            None => copy(stream, context.counters(), || ()).await,
            // In memory of its own: a timer is larger than all else, and who has none should not pay for it.
            Some(limit) => Box::pin(copy_within(limit, stream, context.counters())).await,
        }
    }
}

/// Sends back what arrives, and fails once nothing has moved for `limit`.
async fn copy_within(limit: Duration, stream: &impl Duplex, counters: &Counters) -> io::Result<()> {
    let last = Cell::new(time::now());
    let copied = copy(stream, counters, || last.set(time::now()));
    future::or(copied, silence(&last, limit)).await
}

/// Sends back what arrives, and calls `moved` whenever bytes moved.
#[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
fn copy(stream: &impl Duplex, counters: &Counters, moved: impl Fn()) -> impl Future<Output = io::Result<()>> {
    async move {
        loop {
            let received = stream.receive().await?;
            moved();
            if received.is_empty() {
                return Ok(());
            }
            let mut rest = &*received;
            while !rest.is_empty() {
                let sent = stream.write(rest).await?;
                if sent == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                moved();
                counters.echoed(sent);
                rest = &rest[sent..];
            }
            counters.round_trip();
        }
    }
}

/// Fails once nothing has moved for `limit`. It looks again only when that could be, so that traffic sets no timers.
async fn silence(last: &Cell<time::Instant>, limit: Duration) -> io::Result<()> {
    loop {
        let due = last.get() + limit;
        if time::now() >= due {
            return Err(Idle.into());
        }
        time::sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::echo;
    use crate::context::Context;
    use crate::socket::Stream;
    use matou_unix::net::UnixStream;
    use std::sync::Arc;
    use std::time::Duration;

    /// What thousands of quiet connections cost is this, each with the header of its task.
    #[test]
    fn a_handler_is_small() {
        let context = Context::new(None, Duration::ZERO, 0, |_| {});
        let stream = Stream::Unix(UnixStream::pair().unwrap().0);
        let handler = echo(stream, Arc::new(context));
        assert!(size_of_val(&handler) <= 216, "{} bytes", size_of_val(&handler));
    }
}
