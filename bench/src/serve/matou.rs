//! matou, where it computes beside serving: domain 0 alone. Everywhere else the program `echo` of the checkout is measured.

use std::convert::Infallible;
use std::io;

use matou_unix::net::{TcpListener, TcpStream};
use matou_unix::{Builder, Care, Orphans, Reactor, yield_now};

use super::{Serve, compute};
use crate::Failure;

/// Serves until something goes wrong with the listener.
pub fn run(serve: Serve, reactor: Option<Reactor>) -> Result<Infallible, Failure> {
    serve.alone()?;
    let mut builder = Builder::new().domains(0);
    if let Some(reactor) = reactor {
        builder = builder.reactor(reactor);
    }
    let ended = builder.run(accept(serve));
    Err(ended.err().map_or_else(|| "the listener ended".to_owned(), |error| error.to_string()).into())
}

async fn accept(mut serve: Serve) -> io::Result<()> {
    let listener = TcpListener::bind(serve.listen)?;
    serve.listen = listener.local_addr()?;
    serve.say(&Reactor::current().map_or_else(|| "matou".to_owned(), |reactor| format!("matou, {reactor}")));
    let computing = Orphans::new();
    for _ in 0..serve.compute {
        computing.spawn(async { compute::forever(yield_now).await });
    }
    let handlers = Orphans::new();
    loop {
        while let Care::Ready(ended) = handlers.care() {
            // How a connection ends concerns nobody but its peer.
            let _ = ended.await;
        }
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        handlers.spawn(echo(stream, serve.buffer));
    }
}

async fn echo(stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}
