//! The peer: tokio on one thread, one task per connection, the buffer in the task. With several threads it is tokio's
//! multi-thread runtime.

use std::convert::Infallible;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::yield_now;

use super::{Serve, compute};

/// Serves until something goes wrong with the listener.
pub fn run(mut serve: Serve) -> io::Result<Infallible> {
    let mut builder = match serve.threads {
        1 => Builder::new_current_thread(),
        threads => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.enable_io().build()?.block_on(async move {
        let listener = TcpListener::from_std(serve.announced("tokio")?)?;
        for _ in 0..serve.compute {
            drop(tokio::spawn(compute::forever(yield_now)));
        }
        // A task, because that is what tokio serves best.
        tokio::spawn(accept(listener, serve.buffer)).await.map_err(io::Error::other)?
    })
}

async fn accept(listener: TcpListener, buffer: usize) -> io::Result<Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // How a connection ends concerns nobody but its peer.
        drop(tokio::spawn(async move {
            let _ = echo(stream, buffer).await;
        }));
    }
}

async fn echo(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}
