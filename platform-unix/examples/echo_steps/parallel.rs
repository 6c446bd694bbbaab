//! Step 5: as step 4, with each connection on another domain.

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
        orphans.call(move || handler(stream))?;
    }
    while let Some(result) = orphans.next().await {
        report(result);
    }
    Ok(())
}
