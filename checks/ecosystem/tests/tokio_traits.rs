//! What is written against tokio's traits, by way of `tokio_util::compat`. There is no runtime of tokio's.

use futures_util::{SinkExt, StreamExt};
use matou_ecosystem::{on_each_reactor, pair, pattern};
use matou_unix::{FuturesIo, spawn};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio_util::codec::{Framed, LinesCodec};
use tokio_util::compat::FuturesAsyncReadCompatExt;

#[test]
fn a_proxy_carries_both_directions() {
    on_each_reactor(async || {
        let ((client, left), (right, server)) = (pair().await?, pair().await?);
        let proxy = spawn(async move {
            let carried = copy_bidirectional(&mut FuturesIo::new(left).compat(), &mut FuturesIo::new(right).compat()).await?;
            Ok::<_, std::io::Error>(carried)
        });
        let upper = spawn(async move {
            let mut server = BufReader::new(FuturesIo::new(server).compat());
            let mut line = String::new();
            while server.read_line(&mut line).await? > 0 {
                server.write_all(line.to_uppercase().as_bytes()).await?;
                line.clear();
            }
            server.write_all(&pattern(500_000)).await?;
            server.shutdown().await
        });
        let mut client = FuturesIo::new(client).compat();
        client.write_all(b"meow\npurr\n").await?;
        client.shutdown().await?;
        let mut all = Vec::new();
        client.read_to_end(&mut all).await?;
        assert!(all == [b"MEOW\nPURR\n".to_vec(), pattern(500_000)].concat());
        upper.await?;
        assert_eq!(proxy.await?, (10, 500_010));
        Ok(())
    });
}

#[test]
fn lines_as_a_sink_and_a_stream() {
    on_each_reactor(async || {
        let (near, far) = pair().await?;
        let echo = spawn(async move {
            let (sink, lines) = Framed::new(FuturesIo::new(far).compat(), LinesCodec::new()).split();
            lines.forward(sink).await
        });
        let mut lines = Framed::new(FuturesIo::new(near).compat(), LinesCodec::new());
        for line in ["meow", "", "purr"] {
            lines.send(line).await?;
            assert_eq!(lines.next().await.transpose()?.as_deref(), Some(line));
        }
        SinkExt::<&str>::close(&mut lines).await?;
        assert!(lines.next().await.is_none());
        echo.await?;
        Ok(())
    });
}
