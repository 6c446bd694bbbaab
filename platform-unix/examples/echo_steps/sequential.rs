//! Step 1: one connection after the other.

use std::io;

use matou_unix::net::TcpListener;

use crate::handler;

pub async fn server(listener: TcpListener, connections: usize) -> io::Result<()> {
    for _ in 0..connections {
        let (stream, _peer) = listener.accept().await?;
        handler(stream).await?;
    }
    Ok(())
}
