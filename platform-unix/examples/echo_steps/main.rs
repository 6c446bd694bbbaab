//! The tutorial's echo server, step by step; `matou_unix::tutorial::echo` tells the story.
//!
//! Each step is a file with a function `server`, which differs from the one before by a few lines. What they share is here: the handler of
//! a connection, and how the program starts and ends.
#![allow(unreachable_pub)] // `pub` reads better than `pub(crate)` in a tutorial.

mod concurrent;
mod multi;
mod orphans;
mod owned;
mod parallel;
mod sequential;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::ExitCode;

use matou_unix::net::{TcpListener, TcpStream};
use matou_unix::{Exit, await_first, signal, spawn};

/// Serves so many connections, then ends.
type Server = fn(TcpListener, usize) -> Pin<Box<dyn Future<Output = io::Result<()>>>>;

const STEPS: [(&str, Server); 6] = [
    ("sequential", |listener, connections| Box::pin(sequential::server(listener, connections))),
    ("concurrent", |listener, connections| Box::pin(concurrent::server(listener, connections))),
    ("owned", |listener, connections| Box::pin(owned::server(listener, connections))),
    ("orphans", |listener, connections| Box::pin(orphans::server(listener, connections))),
    ("parallel", |listener, connections| Box::pin(parallel::server(listener, connections))),
    ("multi", |listener, connections| Box::pin(multi::server(listener, connections))),
];

/// Sends back what arrives, until the peer has no more to say.
async fn handler(stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; 0x100];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(()),
            n => stream.write_all(&buf[..n]).await?,
        }
    }
}

/// A connection that fails is no reason for the others to end.
fn report(result: Result<(), Exit<io::Error>>) {
    if let Err(exit) = result {
        eprintln!("a connection ended abnormally: {exit}");
    }
}

/// Runs a step until it ends by itself or by Ctrl-C.
async fn until_interrupted(server: Server, address: SocketAddr, connections: usize) -> io::Result<()> {
    let interrupted = spawn(signal::ctrl_c());
    let listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let served = spawn(server(listener, connections));
    // Whichever ends first, the other is cancelled, and its children with it.
    await_first(vec![interrupted, served]).await.unwrap_or(Ok(()))?;
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((server, address, connections)) = understand(&args) else {
        let steps = STEPS.map(|(name, _)| name).join("|");
        eprintln!("usage: echo_steps {steps} ADDRESS [CONNECTIONS]");
        return ExitCode::from(2);
    };
    match matou_unix::run(until_interrupted(server, address, connections)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn understand(args: &[String]) -> Option<(Server, SocketAddr, usize)> {
    let (step, address, connections) = match args {
        [step, address] => (step, address, usize::MAX),
        [step, address, connections] => (step, address, connections.parse().ok()?),
        _ => return None,
    };
    let (_, server) = STEPS.iter().find(|(name, _)| name == step)?;
    Some((*server, address.parse().ok()?, connections))
}
