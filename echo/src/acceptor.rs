//! The accept loop that all servers but one share: one task for each connection, and a place for each task.
//!
//! The servers differ in how a connection's task is started, which they pass in. The loop keeps the promises in an
//! `Orphans`, and waits for the first of three things, in this order: the stop, the end of a connection (so that
//! finished tasks are collected though nobody connects), a new connection. New ones are let in only while there are
//! fewer than the door's limit; those beyond wait in the backlog.
//!
//! Invariant *Account*: a connection that was counted as accepted is counted as ended exactly once, with the kind of
//! its failure if it failed: here, on the domain of the accept loop, when its promise is awaited or cancelled.
//!
//! The loop ends normally only when every connection has ended: it stops accepting first (the listeners are closed),
//! waits for the connections as long as the grace allows, and cancels the rest. It ends abnormally only when a
//! listener is unusable; its children are then cancelled by the runtime.

use std::future::pending;
use std::io;

use futures_lite::future;
use matou_unix::{Care, Exit, Orphans, time};

use crate::context::Context;
use crate::door::Door;
use crate::failure::Failure;
use crate::socket::Stream;
use crate::stop::Stop;

/// The promises of an accept loop's connections.
pub(crate) type Connections = Orphans<(), io::Error>;

/// What an accept loop waits for.
enum Event {
    Stop,
    Ended(Option<Result<(), Exit<io::Error>>>),
    Arrived(io::Result<Stream>),
}

/// Accepts until the stop, starting a task for each connection with `start`, and sees all of them to their end.
pub(crate) async fn accept(mut door: Door, stop: Stop, start: impl Fn(&Connections, Stream) -> io::Result<()>) -> io::Result<()> {
    let context = door.context();
    let connections = Connections::new();
    loop {
        while let Care::Ready(connection) = connections.care() {
            count(&context, connection.await);
        }
        let stopped = async {
            stop.requested().await;
            Event::Stop
        };
        let ended = async {
            if connections.is_empty() {
                pending::<()>().await;
            }
            Event::Ended(connections.next().await)
        };
        let arrived = async {
            if connections.len() >= door.limit {
                pending::<()>().await;
            }
            Event::Arrived(door.accept().await)
        };
        match future::or(stopped, future::or(ended, arrived)).await {
            Event::Stop => break,
            Event::Ended(result) => result.into_iter().for_each(|result| count(&context, result)),
            Event::Arrived(stream) => start(&connections, stream?)?,
        }
    }
    drop(door);
    finish(&connections, &context).await;
    Ok(())
}

/// Waits for the open connections within the grace, then cancels those left and waits for their ends.
async fn finish(connections: &Connections, context: &Context) {
    let all = async {
        while let Some(result) = connections.next().await {
            count(context, result);
        }
    };
    future::or(all, time::sleep(context.grace)).await;

    let mut cancellations = Vec::new();
    while let Some(connection) = connections.take() {
        if connection.is_ended() {
            count(context, connection.await);
        } else {
            cancellations.push(connection.cancel());
        }
    }
    for cancellation in cancellations {
        cancellation.await;
        count(context, Err(Exit::Cancelled));
    }
}

fn count(context: &Context, result: Result<(), Exit<io::Error>>) {
    context.counters().ended(result.err().map(|exit| Failure::of(&exit)));
}
