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
pub(crate) async fn echo(stream: Stream, context: Arc<Context>) -> io::Result<()> {
    serve(&stream, &context).await
}

/// Echoes a connection that is a resource of this task. On an abnormal end the runtime finalises it; the normal end
/// gives it up explicitly.
pub(crate) async fn echo_owned(stream: OwnedStream, context: Arc<Context>) -> io::Result<()> {
    serve(&stream, &context).await?;
    Ok(stream.close()?)
}

async fn serve(stream: &impl Duplex, context: &Context) -> io::Result<()> {
    let counters = context.counters();
    match context.idle_timeout {
        None => copy(stream, counters, || ()).await,
        Some(limit) => {
            let last = Cell::new(time::now());
            let copied = copy(stream, counters, || last.set(time::now()));
            future::or(copied, silence(&last, limit)).await
        }
    }
}

/// Sends back what arrives, and calls `moved` whenever bytes moved.
async fn copy(stream: &impl Duplex, counters: &Counters, moved: impl Fn()) -> io::Result<()> {
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
