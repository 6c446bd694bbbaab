//! compio on one thread, on io_uring.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::Duration;

use compio::BufResult;
use compio::buf::{IntoInner, IoBuf};
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{JoinHandle, Runtime, spawn};
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
    peer::main(Some(serve), Some(micro::measure::<Compio>))
}

fn serve(mut serve: Serve, args: Args) -> Result<Infallible, Failure> {
    args.finish()?;
    let runtime = Runtime::new()?;
    Ok(runtime.block_on(async move {
        let listener = TcpListener::from_std(serve.announced("compio")?)?;
        for _ in 0..serve.compute {
            spawn(compute::forever(async || Compio::yield_now().await)).detach();
        }
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a connection ends concerns nobody but its peer.
            spawn(async move { drop(echo(stream, serve.buffer).await) }).detach();
        }
        #[expect(unreachable_code, reason = "says what comes of it")]
        io::Result::<Infallible>::Err(io::Error::other("ended"))
    })?)
}

async fn echo(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(buffer);
    loop {
        let BufResult(count, read) = stream.read(buffer).await;
        let count = count?;
        if count == 0 {
            return Ok(());
        }
        let BufResult(written, whole) = stream.write_all(read.slice(..count)).await;
        written?;
        buffer = whole.into_inner();
        buffer.clear();
    }
}

/// A handle whose task only counts: did it panic, the figures would mean nothing.
struct Counted(JoinHandle<u64>);

impl Future for Counted {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        Pin::new(&mut self.0).poll(context).map(|result| result.unwrap_or_else(|_| panic!("a task that only counts")))
    }
}

struct Compio;

impl Executor for Compio {
    type Task = Counted;
    type Far = ByChannel;
    type Orphans = NoOrphans;
    const CANCELS: bool = true;

    fn run(measure: impl Future<Output = Figures> + 'static) -> Result<Figures, Failure> {
        Runtime::new()?.block_on(async { spawn(measure).await.map_err(|_| "the measurement panicked".into()) })
    }

    fn spawn(future: impl Future<Output = u64> + 'static) -> Counted {
        Counted(spawn(future))
    }

    fn detach(task: Counted) {
        task.0.detach();
    }

    async fn cancel(task: Counted) {
        task.0.cancel().await;
    }

    async fn sleep(duration: Duration) {
        compio::time::sleep(duration).await;
    }

    fn elsewhere<F>(others: Others, measure: impl FnOnce(ByChannel) -> F + 'static) -> Result<Figures, Failure>
    where
        F: Future<Output = Figures> + 'static,
    {
        by_channel::<Self, F>(others, measure)
    }
}
