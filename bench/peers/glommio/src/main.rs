//! glommio on one thread.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement, Task, spawn_local};
use matou_bench::Failure;
use matou_bench::args::Args;
use matou_bench::counting::Counting;
use matou_bench::micro::executor::{ByChannel, Executor, NoOrphans, Others, by_channel};
use matou_bench::micro::{self, Figures};
use matou_bench::peer;
use matou_bench::serve::{Serve, compute};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    peer::main(Some(serve), Some(micro::measure::<Glommio>))
}

fn serve(mut serve: Serve, args: Args) -> Result<Infallible, Failure> {
    args.finish()?;
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().map_err(|error| error.to_string())?;
    executor.run(async move {
        let listener = TcpListener::bind(serve.listen)?;
        serve.listen = listener.local_addr()?;
        serve.say("glommio");
        for _ in 0..serve.compute {
            spawn_local(compute::forever(async || Glommio::yield_now().await)).detach();
        }
        loop {
            let stream = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a connection ends concerns nobody but its peer.
            spawn_local(async move { drop(echo(stream, serve.buffer).await) }).detach();
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

struct Glommio;

impl Executor for Glommio {
    type Task = Task<u64>;
    type Far = ByChannel;
    type Orphans = NoOrphans;
    const CANCELS: bool = true;
    // A call between two threads that are always awake was not answered within seconds.
    const HEARS: bool = false;

    fn run(measure: impl Future<Output = Figures> + 'static) -> Result<Figures, Failure> {
        let executor = LocalExecutorBuilder::new(Placement::Unbound).make().map_err(|error| error.to_string())?;
        Ok(executor.run(async { spawn_local(measure).await }))
    }

    fn spawn(future: impl Future<Output = u64> + 'static) -> Task<u64> {
        spawn_local(future)
    }

    fn detach(task: Task<u64>) {
        drop(task.detach());
    }

    async fn cancel(task: Task<u64>) {
        task.cancel().await;
    }

    async fn sleep(duration: Duration) {
        sleep(duration).await;
    }

    fn elsewhere<F>(others: Others, measure: impl FnOnce(ByChannel) -> F + 'static) -> Result<Figures, Failure>
    where
        F: Future<Output = Figures> + 'static,
    {
        by_channel::<Self, F>(others, measure)
    }
}
