//! Step 4: as step 2, with promises that are cleaned up as their tasks end.

use std::io;

use matou_unix::net::TcpListener;
use matou_unix::{Care, Orphans};

use crate::{handler, report};

pub async fn server(listener: TcpListener, connections: usize) -> io::Result<()> {
    let orphans = Orphans::new();
    for _ in 0..connections {
        while let Care::Ready(promise) = orphans.care() {
            report(promise.await);
        }
        let (stream, _peer) = listener.accept().await?;
        orphans.spawn(handler(stream));
    }
    while let Some(result) = orphans.next().await {
        report(result);
    }
    Ok(())
}
