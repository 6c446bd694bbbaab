//! monoio on one thread, on epoll or on io_uring.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use matou_bench::Failure;
use matou_bench::args::Args;
use matou_bench::counting::Counting;
use matou_bench::micro::executor::{ByChannel, Executor, NoOrphans, Others, by_channel};
use matou_bench::micro::{self, Figures};
use matou_bench::peer;
use matou_bench::serve::{Serve, compute};
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::task::JoinHandle;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Whether io_uring is to be used.
static URING: OnceLock<bool> = OnceLock::new();

fn main() -> ExitCode {
    // `micro uring`: which driver measures itself; the rest is the same for all peers.
    let uring = std::env::args().nth(2).is_some_and(|driver| driver == "uring");
    if uring && std::env::args().nth(1).is_some_and(|command| command == "micro") {
        let _ = URING.set(true);
        return peer::measure(micro::measure::<Monoio>);
    }
    peer::main(Some(serve), Some(micro::measure::<Monoio>))
}

/// On the driver that was chosen, with timers.
fn run<F>(future: F) -> io::Result<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    if *URING.get_or_init(|| false) {
        Ok(RuntimeBuilder::<IoUringDriver>::new().enable_timer().build()?.block_on(future))
    } else {
        Ok(RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?.block_on(future))
    }
}

fn serve(mut serve: Serve, mut args: Args) -> Result<Infallible, Failure> {
    let uring = match args.option::<String>("--driver")?.as_deref() {
        None | Some("epoll") => false,
        Some("uring") => true,
        Some(other) => return Err(format!("what is {other}?").into()),
    };
    args.finish()?;
    let _ = URING.set(uring);
    let listener = serve.listener()?;
    serve.listen = listener.local_addr()?;
    // A future given to `block_on` is served as a task is, here.
    run(async move {
        // Said from inside: the driver is there.
        serve.say(if uring { "monoio, uring" } else { "monoio, epoll" });
        let listener = TcpListener::from_std(listener)?;
        for _ in 0..serve.compute {
            drop(monoio::spawn(compute::forever(async || Monoio::yield_now().await)));
        }
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // How a connection ends concerns nobody but its peer.
            drop(monoio::spawn(async move { drop(echo(stream, serve.buffer).await) }));
        }
    })?
}

async fn echo(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        let (count, read) = stream.read(buffer).await;
        buffer = read;
        let count = count?;
        if count == 0 {
            return Ok(());
        }
        // What is written is the vector's length.
        let size = buffer.capacity();
        buffer.truncate(count);
        let (written, whole) = stream.write_all(buffer).await;
        buffer = whole;
        written?;
        buffer.resize(size, 0);
    }
}

struct Monoio;

impl Executor for Monoio {
    type Task = JoinHandle<u64>;
    type Far = ByChannel;
    type Orphans = NoOrphans;
    // A `JoinHandle` has nothing of the kind.
    const CANCELS: bool = false;

    fn run(measure: impl Future<Output = Figures> + 'static) -> Result<Figures, Failure> {
        Ok(run(async { monoio::spawn(measure).await })?)
    }

    fn spawn(future: impl Future<Output = u64> + 'static) -> JoinHandle<u64> {
        monoio::spawn(future)
    }

    // Wake-ups from other threads are looked at when there is nothing to run.
    const HEARS: bool = false;

    async fn cancel(_: JoinHandle<u64>) {}

    /// A task that wakes itself comes before all others here: what hands over is to wait for one that has just been made.
    async fn yield_now() {
        monoio::spawn(async {}).await;
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(duration)
    }

    fn elsewhere<F>(others: Others, measure: impl FnOnce(ByChannel) -> F + 'static) -> Result<Figures, Failure>
    where
        F: Future<Output = Figures> + 'static,
    {
        by_channel::<Self, F>(others, measure)
    }
}
