//! Step 2: a task for each connection, all on one domain.

use std::io;

use matou_unix::net::TcpListener;
use matou_unix::{await_all, spawn};

use crate::{handler, report};

pub async fn server(listener: TcpListener, connections: usize) -> io::Result<()> {
    let mut promises = Vec::new();
    for _ in 0..connections {
        let (stream, _peer) = listener.accept().await?;
        promises.push(spawn(handler(stream)));
    }
    for result in await_all(promises).await {
        report(result);
    }
    Ok(())
}
