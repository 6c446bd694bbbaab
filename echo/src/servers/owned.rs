//! The third server: as the second, with sockets as resources. The accept loop owns what it accepts until it gives it to
//! the connection's task; from then on only that task may use it, and the runtime closes it should the task end
//! abnormally. A task that forgot to close it would be reported.

use std::io;

use crate::acceptor;
use crate::door::Door;
use crate::handler;
use crate::socket::OwnedStream;
use crate::stop::Stop;

pub(crate) async fn serve(door: Door, stop: Stop) -> io::Result<()> {
    let context = door.context();
    acceptor::accept(door, stop, |connections, stream| {
        let stream = OwnedStream::new(stream)?;
        stream.give().name("connection").spawn_in(connections, handler::echo_owned(stream, context.clone()))?;
        Ok(())
    })
    .await
}
