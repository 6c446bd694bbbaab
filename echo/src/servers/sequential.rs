//! The first server: one connection after the other, in one task. Who connects meanwhile waits in the backlog.

use std::io;

use futures_lite::future;
use matou_unix::{Exit, time};

use crate::door::Door;
use crate::failure::Failure;
use crate::handler;
use crate::stop::Stop;

pub(crate) async fn serve(mut door: Door, stop: Stop) -> io::Result<()> {
    let context = door.context();
    loop {
        let arrived = async { Some(door.accept().await) };
        let stopped = async {
            stop.requested().await;
            None
        };
        let Some(stream) = future::or(stopped, arrived).await else {
            return Ok(());
        };
        let stream = stream?;
        let handled = async { handler::echo(stream, context.clone()).await.map_err(Exit::Failed) };
        let overdue = async {
            stop.requested().await;
            door.close();
            time::sleep(context.grace).await;
            Err(Exit::Cancelled)
        };
        let result = future::or(handled, overdue).await;
        context.counters().ended(result.err().map(|exit| Failure::of(&exit)));
    }
}
