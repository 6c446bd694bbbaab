//! The second server: a task for each connection, all on domain 0.

use std::io;

use matou_unix::Task;

use crate::acceptor;
use crate::door::Door;
use crate::handler;
use crate::stop::Stop;

pub(crate) async fn serve(door: Door, stop: Stop) -> io::Result<()> {
    let context = door.context();
    acceptor::accept(door, stop, |connections, stream| {
        Task::new().name("connection").spawn_in(connections, handler::echo(stream, context.clone()))?;
        Ok(())
    })
    .await
}
