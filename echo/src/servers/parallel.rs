//! The fourth server: domain 0 accepts, and calls a worker domain, picked by chance, for each connection.

use std::io;

use matou_unix::Task;

use crate::acceptor;
use crate::door::Door;
use crate::handler;
use crate::stop::Stop;

pub(crate) async fn serve(door: Door, stop: Stop) -> io::Result<()> {
    let context = door.context();
    acceptor::accept(door, stop, |connections, stream| {
        let context = context.clone();
        Task::new().name("connection").call_in(connections, move || handler::echo(stream, context))?;
        Ok(())
    })
    .await
}
