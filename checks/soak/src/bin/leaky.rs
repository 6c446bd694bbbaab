//! An echo server that leaks what the variable `LEAK` names, for whoever asks whether the soak would notice: `task`, `descriptor`, `thread`,
//! `memory`, `bytes` (of which one is not sent back), `count` (of which one is not told), `none`.
//!
//! It says what the binary `echo` says, so far as the soak reads it, listens on one TCP address, and ignores other arguments.

use std::cell::Cell;
use std::env;
use std::future::pending;
use std::io;
use std::rc::Rc;
use std::thread;

use futures_lite::future;
use matou_unix::net::{TcpListener, TcpStream};
use matou_unix::signal::{Kind, signal};
use matou_unix::{Orphans, spawn};

#[derive(Default)]
struct Counts {
    accepted: Cell<u64>,
    bytes: Cell<u64>,
}

async fn handler(stream: TcpStream, counts: Rc<Counts>, leak: Rc<str>) -> io::Result<()> {
    let mut buffer = vec![0; 65_536];
    let mut total = 0;
    loop {
        let received = stream.read(&mut buffer).await?;
        total += received as u64;
        match received {
            0 => break,
            // Only the last byte of a stream, so that the peer sees an end that comes too soon.
            n => stream.write_all(&buffer[..n - usize::from(&*leak == "bytes" && n > 40_000)]).await?,
        }
    }
    counts.bytes.set(counts.bytes.get() + total);
    // One connection in a hundred is enough for all but memory.
    let seldom = counts.accepted.get().is_multiple_of(100);
    match &*leak {
        "task" if seldom => pending().await,
        "descriptor" if seldom => std::mem::forget(stream),
        "thread" if seldom => drop(thread::spawn(thread::park)),
        "memory" => std::mem::forget(vec![1_u8; 4096]),
        "count" if seldom => counts.bytes.set(counts.bytes.get() - total),
        _ => {}
    }
    Ok(())
}

async fn server(listen: String, leak: Rc<str>) -> io::Result<()> {
    let listener = TcpListener::bind(listen.parse().map_err(io::Error::other)?)?;
    let (mut asked, mut stop) = (signal(Kind::USER_1)?, signal(Kind::TERMINATE)?);
    eprintln!("listening on {} (leaky)", listener.local_addr()?);
    let dump = spawn(async move {
        loop {
            asked.recv().await?;
            eprint!("{}", matou_unix::dump().await);
        }
        #[allow(unreachable_code)]
        io::Result::Ok(())
    });
    let counts = Rc::new(Counts::default());
    let shared = Rc::clone(&counts);
    let accept = spawn(async move {
        let connections = Orphans::new();
        loop {
            let ended = async {
                if connections.is_empty() {
                    pending::<()>().await;
                }
                // However it ended: the peer knows.
                drop(connections.next().await);
                io::Result::Ok(None)
            };
            let arrived = async { listener.accept().await.map(Some) };
            let Some((stream, _)) = future::or(ended, arrived).await? else { continue };
            stream.set_nodelay(true)?;
            shared.accepted.set(shared.accepted.get() + 1);
            connections.spawn(handler(stream, Rc::clone(&shared), Rc::clone(&leak)));
        }
        #[allow(unreachable_code)]
        io::Result::Ok(())
    });
    stop.recv().await?;
    accept.cancel().await;
    dump.cancel().await;
    eprintln!("total: {} accepted, 0 round trips, {} bytes, 0 failures", counts.accepted.get(), counts.bytes.get());
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listen = env::args().skip_while(|argument| argument != "--listen").nth(1).ok_or("no --listen")?;
    let leak = env::var("LEAK").unwrap_or_else(|_| String::from("none"));
    matou_unix::Builder::new().domains(0).run(server(listen, leak.into()))?;
    Ok(())
}
