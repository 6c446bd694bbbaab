//! may: coroutines with stacks, on one worker thread.

// `coroutine::spawn` is unsafe: a coroutine must not use thread-local values across a switch, nor overflow its stack.
#![allow(unsafe_code)]

use std::convert::Infallible;
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::process::ExitCode;

use matou_bench::Failure;
use matou_bench::args::Args;
use matou_bench::counting::Counting;
use matou_bench::micro::{BATCH, Figures, Kind, MANY, Meter, Operation, TURNS};
use matou_bench::peer;
use matou_bench::serve::Serve;
use may::coroutine::{self, Builder, JoinHandle};
use may::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    may::config().set_workers(1).set_stack_size(0x1000);
    // Pinning is the launcher's work.
    may::config().set_worker_pin(false);
    peer::main(Some(serve), Some(measure))
}

fn go<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    // SAFETY: "no thread-locals, small frames". Nothing here keeps a thread-local value across a switch, and no function here
    // recurses or has large values on the stack of 32 KiB.
    unsafe { Builder::new().spawn(run) }.expect("there is memory for a stack")
}

fn serve(mut serve: Serve, args: Args) -> Result<Infallible, Failure> {
    args.finish()?;
    if serve.compute > 0 {
        return Err("may: accepts nothing while coroutines yield to each other".into());
    }
    let accepting = go(move || accept(&mut serve));
    let ended = accepting.join().map_err(|_| "the listener panicked")?;
    Ok(ended?)
}

fn accept(serve: &mut Serve) -> io::Result<Infallible> {
    let listener = TcpListener::bind(serve.listen)?;
    serve.listen = listener.local_addr()?;
    serve.say("may");
    let buffer = serve.buffer;
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // How a connection ends concerns nobody but its peer.
        drop(go(move || drop(echo(stream, buffer))));
    }
}

fn echo(mut stream: TcpStream, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count])?,
        }
    }
}

/// No calls: there is one thread. No timers and no heap: 100,000 stacks are more mappings than the kernel allows, and they are
/// not on the heap.
fn measure(operation: Operation, meter: Meter) -> Result<Option<Figures>, Failure> {
    let run: fn(Meter) -> Figures = match operation.kind {
        Kind::SpawnAwait => |meter| lap(meter, BATCH, || (0..BATCH).for_each(|_| number(go(|| black_box(1))))),
        Kind::SpawnAwaitMany => |meter| lap(meter, MANY, || all((0..MANY).map(|_| go(|| black_box(1))).collect())),
        Kind::YieldTwo => |meter| lap(meter, TURNS, || take_turns(2)),
        Kind::YieldMany => |meter| lap(meter, TURNS, || take_turns(MANY)),
        Kind::HandOff => |meter| lap(meter, TURNS, hand_off),
        Kind::SpawnCancel => |meter| lap(meter, BATCH, || (0..BATCH).for_each(|_| spawn_cancel())),
        _ => return Ok(None),
    };
    Ok(Some(go(move || run(meter)).join().map_err(|_| "the measurement panicked")?))
}

fn lap(meter: Meter, operations: usize, run: impl Fn()) -> Figures {
    let mut watch = meter.start();
    loop {
        run();
        if let Some(figures) = watch.lap(operations) {
            return figures;
        }
    }
}

fn number(handle: JoinHandle<u64>) {
    black_box(handle.join().unwrap_or_else(|_| panic!("a coroutine that only counts")));
}

fn all(handles: Vec<JoinHandle<u64>>) {
    handles.into_iter().for_each(number);
}

fn take_turns(count: usize) {
    let turns = TURNS / count;
    let one = move || {
        for _ in 0..turns {
            coroutine::yield_now();
        }
        0
    };
    all((0..count).map(|_| go(one)).collect());
}

/// Two coroutines that unpark each other in turn.
fn hand_off() {
    let (first, second) = (may::sync::mpsc::channel(), may::sync::mpsc::channel());
    let one = go(move || {
        let other: coroutine::Coroutine = first.1.recv().expect("the other one is there");
        for _ in 0..TURNS / 2 {
            other.unpark();
            coroutine::park();
        }
        0
    });
    let main = one.coroutine().clone();
    let two = go(move || {
        let other: coroutine::Coroutine = second.1.recv().expect("the other one is there");
        for _ in 0..TURNS / 2 {
            coroutine::park();
            other.unpark();
        }
        0
    });
    let there = first.0.send(two.coroutine().clone()).is_ok() && second.0.send(main).is_ok();
    assert!(there, "both wait for it");
    all(vec![one, two]);
}

fn spawn_cancel() {
    let handle = go(|| {
        coroutine::park();
        0_u64
    });
    coroutine::yield_now();
    // SAFETY: the coroutine holds nothing that its unwinding would leave broken.
    unsafe { handle.coroutine().cancel() };
    assert!(handle.join().is_err(), "a coroutine that was to be cancelled has ended");
}
