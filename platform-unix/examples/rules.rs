//! What is seen when a rule is broken, and what is not broken by an error; the chapters of `matou_unix::tutorial` quote it.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use matou_unix::net::{TcpListener, TcpStream};
use matou_unix::{Builder, Exit, Orphans, Resource, Task, call, owned, spawn};

/// Does something else, and then ends normally.
async fn child() -> io::Result<()> {
    Ok(())
}

/// A child whose promise is dropped.
#[allow(clippy::let_underscore_future)] // This, too, would have told.
async fn forget() -> io::Result<()> {
    let _ = spawn(child());
    Ok(())
}

/// Children that are kept aside, and left there.
async fn leave_orphans() -> io::Result<()> {
    let orphans = Orphans::new();
    orphans.spawn(child());
    Ok(())
}

/// A promise that is awaited by another than the parent.
async fn hand_on() -> io::Result<()> {
    let promise = spawn(child());
    spawn(async move { promise.await.is_ok() }).await?;
    Ok(())
}

/// An early return by `?`, with a child that is still running.
async fn fail() -> io::Result<()> {
    let listener = TcpListener::bind(loopback())?;
    let _accepting = spawn(async move { listener.accept().await.map(drop) });
    Err(io::Error::other("an error, and no rule is broken: the child was cancelled"))
}

/// A connection that the task that owns it does not close.
async fn leak() -> io::Result<()> {
    let (stream, _peer) = connection().await?;
    let stream = owned::TcpStream::new(stream)?;
    stream.write_all(b"meow").await?;
    Ok(())
}

/// A connection that is used after it was given away.
async fn use_what_was_given() -> io::Result<()> {
    let (stream, _peer) = connection().await?;
    let stream = owned::TcpStream::new(stream)?;
    let _owner = Task::new().give(stream.resource()).spawn({
        let stream = stream.clone();
        async move { stream.close() }
    })?;
    stream.write_all(b"meow").await
}

/// Owns something, and fails.
async fn owner() -> io::Result<()> {
    let lamp = Resource::new("the lamp", |lamp| println!("{lamp} is put out"));
    lamp.own()?;
    Err(io::Error::other("the power is gone"))
}

/// Sees its child fail.
async fn finalise() -> io::Result<()> {
    match spawn(owner()).await {
        Err(Exit::Failed(error)) => println!("the child failed: {error}"),
        other => println!("not as told: {other:?}"),
    }
    Ok(())
}

/// A call where there is nobody to call.
async fn call_nobody() -> io::Result<()> {
    call(child)?.await?;
    Ok(())
}

/// A child that panics.
async fn panic() -> io::Result<()> {
    let Err(exit) = spawn(async { panic!("a plate was dropped") }).await;
    println!("the child ended abnormally: {exit}");
    Ok(())
}

fn loopback() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Two ends of a connection.
async fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(loopback())?;
    let stream = TcpStream::connect(listener.local_addr()?).await?;
    let (peer, _addr) = listener.accept().await?;
    Ok((stream, peer))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    // One domain: nothing here is left to chance.
    let runtime = Builder::new().domains(0);
    let ran = match args.as_slice() {
        ["forget"] => runtime.run(forget()),
        ["orphans"] => runtime.run(leave_orphans()),
        ["stranger"] => runtime.run(hand_on()),
        ["fail"] => runtime.run(fail()),
        ["leak"] => runtime.run(leak()),
        ["give"] => runtime.run(use_what_was_given()),
        ["finalise"] => runtime.run(finalise()),
        ["call"] => runtime.run(call_nobody()),
        ["panic"] => runtime.run(panic()),
        _ => {
            eprintln!("usage: rules forget|orphans|stranger|fail|leak|give|finalise|call|panic");
            return ExitCode::from(2);
        }
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
