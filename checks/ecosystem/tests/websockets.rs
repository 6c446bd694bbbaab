//! WebSockets by tungstenite.

use async_tungstenite::tungstenite::Message;
use async_tungstenite::{accept_async, client_async};
use futures_util::StreamExt;
use matou_ecosystem::{Fault, on_each_reactor, pair, pattern};
use matou_unix::{Exit, FuturesIo, spawn};

#[test]
fn messages_come_back() {
    on_each_reactor(async || {
        let (near, far) = pair().await?;
        let echo = spawn(async move {
            let mut messages = accept_async(FuturesIo::new(far)).await?;
            while let Some(message) = messages.next().await {
                match message? {
                    Message::Close(_) => break,
                    message => messages.send(message).await?,
                }
            }
            Ok::<(), Fault>(())
        });
        let (mut messages, _answer) = client_async("ws://localhost/", FuturesIo::new(near)).await?;
        for message in [Message::text("meow"), Message::binary(pattern(1_000_000)), Message::text("")] {
            messages.send(message.clone()).await?;
            assert!(messages.next().await.transpose()? == Some(message));
        }
        messages.close(None).await?;
        echo.await.map_err(Exit::into_error)?;
        Ok(())
    });
}
