//! Step 3: as step 2, with sockets that belong to a task.

use std::io;

use matou_unix::net::TcpListener;
use matou_unix::{Task, await_all, owned};

use crate::report;

async fn handler(stream: owned::TcpStream) -> io::Result<()> {
    let mut buf = [0; 0x100];
    loop {
        match stream.read(&mut buf).await? {
            0 => return Ok(stream.close()?),
            n => stream.write_all(&buf[..n]).await?,
        }
    }
}

pub async fn server(listener: TcpListener, connections: usize) -> io::Result<()> {
    let listener = owned::TcpListener::new(listener)?;
    let mut promises = Vec::new();
    for _ in 0..connections {
        let (stream, _peer) = listener.accept().await?;
        promises.push(Task::new().give(stream.resource()).spawn(handler(stream))?);
    }
    listener.close()?;
    for result in await_all(promises).await {
        report(result);
    }
    Ok(())
}
