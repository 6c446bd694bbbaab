//! Libraries that know no matou, on its streams: `tests/` has a small program with each, on every reactor that there is.

use std::error::Error;
use std::future::Future;

use matou_unix::net::{TcpListener, TcpStream};
use matou_unix::{Builder, Reactor, RunError};

/// Whatever went wrong.
pub type Fault = Box<dyn Error>;

/// Runs `main` on each reactor that there is.
pub fn on_each_reactor<F>(main: impl Fn() -> F)
where
    F: Future<Output = Result<(), Fault>>,
{
    for reactor in [Reactor::Uring, Reactor::Epoll, Reactor::Poll] {
        match Builder::new().environment(false).reactor(reactor).run(main()) {
            Ok(()) => {}
            Err(RunError::Events(_, error)) if reactor == Reactor::Uring => eprintln!("left out: {reactor}: {error}"),
            Err(error) => panic!("{reactor}: {error}"),
        }
    }
}

/// Two ends of a connection.
pub async fn pair() -> Result<(TcpStream, TcpStream), Fault> {
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _peer) = listener.accept().await?;
    Ok((client, server))
}

/// So many bytes that do not repeat soon.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| ((place * 31) >> 3) as u8).collect()
}
