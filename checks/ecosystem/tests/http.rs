//! HTTP by hyper: a server with a task per connection, and a client.

use std::convert::Infallible;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper::{Request, Response};
use matou_ecosystem::{Fault, on_each_reactor, pattern};
use matou_unix::net::{TcpListener, TcpStream};
use matou_unix::{Care, Exit, FuturesIo, Orphans, Promise, spawn};
use smol_hyper::rt::FuturesIo as HyperIo;

/// Sends the body back.
async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    Ok(Response::new(Full::new(request.into_body().collect().await?.to_bytes())))
}

async fn connection(stream: TcpStream) -> Result<(), hyper::Error> {
    let io = HyperIo::new(FuturesIo::new(stream));
    hyper::server::conn::http1::Builder::new().serve_connection(io, service_fn(echo)).await
}

async fn server(listener: TcpListener) -> Result<Infallible, Fault> {
    let connections = Orphans::new();
    loop {
        while let Care::Ready(ended) = connections.care() {
            match ended.await {
                // One that goes away in the middle is no reason to stop.
                Ok(()) | Err(Exit::Failed(_)) => {}
                Err(exit) => return Err(exit.into()),
            }
        }
        let (stream, _peer) = listener.accept().await?;
        connections.spawn(connection(stream));
    }
}

/// A connection: the half that asks, and the task that carries it.
async fn connect(listening: std::net::SocketAddr) -> Result<(SendRequest<Full<Bytes>>, Promise<(), hyper::Error>), Fault> {
    let stream = TcpStream::connect(listening).await?;
    let (requests, connection) = hyper::client::conn::http1::handshake(HyperIo::new(FuturesIo::new(stream))).await?;
    Ok((requests, spawn(connection)))
}

fn request(body: Vec<u8>) -> Result<Request<Full<Bytes>>, Fault> {
    Ok(Request::post("/").header("host", "localhost").body(Full::new(body.into()))?)
}

#[test]
fn bodies_of_many_sizes_come_back() {
    on_each_reactor(async || {
        let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
        let addr = listener.local_addr()?;
        let server = spawn(server(listener));
        let (mut requests, connection) = connect(addr).await?;
        for size in [0, 1, 4096, 1_000_000] {
            let answer = requests.send_request(request(pattern(size))?).await?;
            assert_eq!(answer.status(), 200);
            assert!(answer.into_body().collect().await?.to_bytes() == pattern(size), "{size} bytes came back different");
        }
        drop(requests);
        connection.await?;
        // In the middle of a request.
        let (mut requests, connection) = connect(addr).await?;
        let asking = spawn(async move { requests.send_request(request(pattern(3_000_000)).unwrap()).await.map(drop) });
        matou_unix::yield_now().await;
        connection.cancel().await;
        assert!(asking.await.is_err());
        // And others are served still.
        let (mut requests, connection) = connect(addr).await?;
        assert_eq!(requests.send_request(request(b"meow".to_vec())?).await?.into_body().collect().await?.to_bytes(), "meow");
        drop(requests);
        connection.await?;
        server.cancel().await;
        Ok(())
    });
}
