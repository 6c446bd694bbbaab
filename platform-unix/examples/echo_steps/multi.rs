//! Step 5, at last: the accept loop of step 4 on every domain.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use matou_unix::net::TcpListener;
use matou_unix::{Care, Orphans, domain, parallel};

use crate::{handler, report};

pub async fn server(listener: TcpListener, connections: usize) -> io::Result<()> {
    let left = Arc::new(AtomicUsize::new(connections));
    let clones: Vec<TcpListener> = (0..domain::available()).map(|_| listener.try_clone()).collect::<io::Result<_>>()?;
    let elsewhere = parallel(
        {
            let left = left.clone();
            move |listener| accept(listener, left.clone())
        },
        clones,
    );
    accept(listener, left).await?;
    for result in elsewhere.await? {
        result?;
    }
    Ok(())
}

/// Accepts connections as long as there are some left to serve, of those that all domains share.
async fn accept(listener: TcpListener, left: Arc<AtomicUsize>) -> io::Result<()> {
    let orphans = Orphans::new();
    while left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
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
