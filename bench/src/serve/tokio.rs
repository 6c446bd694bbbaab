//! The peer: tokio on one thread, one task per connection, the buffer in the task.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// Serves until something goes wrong with the listener.
pub fn run(address: SocketAddr, buffer: usize) -> io::Result<Infallible> {
    Builder::new_current_thread().enable_io().build()?.block_on(async move {
        let listener = TcpListener::bind(address).await?;
        eprintln!("listening on {} (tokio)", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a connection ends concerns nobody but its peer.
            drop(tokio::spawn(async move {
                let _ = echo(stream, buffer).await;
            }));
        }
    })
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
