//! smol on one thread: a thread-local executor inside `smol::block_on`.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_executor::{Executor as Shared, LocalExecutor};
use matou_bench::Failure;
use matou_bench::args::Args;
use matou_bench::counting::Counting;
use matou_bench::micro::executor::{Executor, Far, NoOrphans, Others, Spinner};
use matou_bench::micro::{self, Figures, one, step_aside};
use matou_bench::peer;
use matou_bench::serve::{Serve, compute};
use smol::Task;
use smol::future::yield_now;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static LOCAL: Rc<LocalExecutor<'static>> = Rc::default();
}

fn main() -> ExitCode {
    peer::main(Some(serve), Some(micro::measure::<Smol>))
}

fn local() -> Rc<LocalExecutor<'static>> {
    LOCAL.with(Rc::clone)
}

fn serve(mut serve: Serve, args: Args) -> Result<Infallible, Failure> {
    args.finish()?;
    let listener = TcpListener::try_from(serve.announced("smol")?)?;
    for _ in 0..serve.compute {
        local().spawn(compute::forever(yield_now)).detach();
    }
    let accepting = local().spawn(accept(listener, serve.buffer));
    Ok(smol::block_on(local().run(accepting))?)
}

async fn accept(listener: TcpListener, buffer: usize) -> io::Result<Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // How a connection ends concerns nobody but its peer.
        local().spawn(async move { drop(echo(stream, buffer).await) }).detach();
    }
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

struct Smol;

impl Executor for Smol {
    type Task = Task<u64>;
    type Far = Thread;
    type Orphans = NoOrphans;
    const CANCELS: bool = true;

    fn run(measure: impl Future<Output = Figures> + 'static) -> Result<Figures, Failure> {
        let measure = local().spawn(measure);
        Ok(smol::block_on(local().run(measure)))
    }

    fn spawn(future: impl Future<Output = u64> + 'static) -> Task<u64> {
        LOCAL.with(|local| local.spawn(future))
    }

    fn detach(task: Task<u64>) {
        task.detach();
    }

    async fn cancel(task: Task<u64>) {
        task.cancel().await;
    }

    fn yield_now() -> impl Future<Output = ()> {
        yield_now()
    }

    async fn sleep(duration: Duration) {
        smol::Timer::after(duration).await;
    }

    fn elsewhere<F>(others: Others, measure: impl FnOnce(Thread) -> F + 'static) -> Result<Figures, Failure>
    where
        F: Future<Output = Figures> + 'static,
    {
        let far = Arc::new(Shared::new());
        let (stop, stopped) = smol::channel::bounded::<()>(1);
        let handle = Thread(Arc::clone(&far));
        thread::scope(|scope| {
            scope.spawn(move || {
                step_aside(0);
                if others.awake() {
                    // Dropped with the executor.
                    far.spawn(async {
                        loop {
                            yield_now().await;
                        }
                    })
                    .detach();
                }
                // Ends with an error when `stop` is dropped, which is as good.
                let _ = smol::block_on(far.run(stopped.recv()));
            });
            let figures = Self::run(async move {
                let spinner = others.awake().then(Spinner::<Self>::start);
                let figures = measure(handle).await;
                if let Some(spinner) = spinner {
                    spinner.stop().await;
                }
                figures
            });
            drop(stop);
            figures
        })
    }
}

/// Another thread, which runs this executor.
struct Thread(Arc<Shared<'static>>);

impl Far for Thread {
    type Call = Task<u64>;

    fn call(&self) -> Task<u64> {
        self.0.spawn(one())
    }
}
