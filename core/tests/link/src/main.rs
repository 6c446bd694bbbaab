//! The core without any feature, in a program without `std`, without an allocator and without an unwinder.
//!
//! It runs tasks from a static pool on a [`device`] made by hand, and looks at everything that is there without `alloc`. It exits with 0, or says
//! on standard error which check failed and exits with 1 + its line, modulo 254 (255 for a panic without a place).

#![no_std]
#![no_main]

mod device;

use core::cell::Cell;
use core::fmt::{self, Write};
use core::future::{pending, poll_fn};
use core::panic::PanicInfo;
use core::pin::Pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Poll, Waker};
use core::time::Duration;

use matou_core::platform::Bare;
use matou_core::suspension::{POINTS, Point, PointError};
use matou_core::time::{self, Instant};
use matou_core::trace::{Event, EventKind, Trace};
use matou_core::{
    Config, DomainId, Exit, Full, Promise, RunError, TaskPool, ViolationKind, await_all_in, await_first_in, await_one_in, current_task,
    domain, run, yield_now,
};

use device::{Board, Device, Refused};

unsafe extern "C" {
    safe fn exit(status: i32) -> !;
    fn write(file: i32, bytes: *const u8, length: usize) -> isize;
}

struct StandardError;

impl Write for StandardError {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: the bytes are there. What was not written is not missed.
        unsafe { write(2, text.as_ptr(), text.len()) };
        Ok(())
    }
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    let _ = writeln!(StandardError, "{info}");
    exit(info.location().map_or(255, |place| 1 + (place.line() % 254) as i32))
}

/// The precompiled `core` of a hosted target was built to unwind and names this; nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

static POOL: TaskPool<4, 512> = TaskPool::new();

fn spawn<F>(future: F) -> Promise<u32>
where
    F: Future<Output = u32> + 'static,
{
    POOL.spawn(future).unwrap_or_else(|full| panic!("{full}"))
}

/// Promises: one after the other, and several at once.
async fn promises() {
    let one = spawn(async { 1 });
    assert_eq!(one.await.ok(), Some(1));

    let mut some = [1, 2, 3].map(|n| {
        Some(spawn(async move {
            yield_now().await;
            n
        }))
    });
    let mut sum = 0;
    while let Some(ended) = await_one_in(&mut some).await {
        sum += ended.unwrap_or(100);
    }
    assert_eq!(sum, 6);

    let mut some = [4, 5].map(|n| Some(spawn(async move { n })));
    let mut results = [None, None];
    await_all_in(&mut some, &mut results).await;
    assert!(matches!(results, [Some(Ok(4)), Some(Ok(5))]));

    let mut some = [Some(spawn(pending())), Some(spawn(async { 6 }))];
    assert!(matches!(await_first_in(&mut some).await, Some(Ok(6))));
    assert!(some.iter().all(Option::is_none));

    let failed = POOL.spawn(async { Err::<u32, &str>("torn") });
    let Ok(failed) = failed else { panic!("there is room") };
    assert!(matches!(failed.await, Err(Exit::Failed("torn"))));
}

/// A pool that is full gives the future back, and has room again when its tasks have ended; what a cancelled task holds is dropped.
async fn pool() {
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    struct Held;
    impl Drop for Held {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    let mut all = [Held, Held, Held, Held].map(|held| {
        Some(spawn(async move {
            let _held = held;
            pending().await
        }))
    });
    yield_now().await;
    assert_eq!(POOL.free(), 0);
    let Err(Full(future)) = POOL.spawn(async { 7 }) else { panic!("there are four places") };
    assert_eq!(future.await, 7);
    for promise in all.iter_mut().filter_map(Option::take) {
        promise.cancel().await;
    }
    assert_eq!(DROPPED.load(Ordering::Relaxed), 4);
    assert_eq!(POOL.free(), 4);
}

/// Suspension points: resumed in the order of the script, refused, given up, and all taken.
async fn points(device: &'static Device) {
    device.play(&[2, 0, 1]);
    let mut order: [_; 3] = core::array::from_fn(|channel| {
        Some(spawn(async move {
            assert_eq!(device.event(channel).await, Ok(()));
            channel as u32
        }))
    });
    for expected in [2, 0, 1] {
        assert!(matches!(await_one_in(&mut order).await, Some(Ok(channel)) if channel == expected));
    }

    let abandoned = spawn(async move {
        assert_eq!(device.event(3).await, Ok(()));
        0
    });
    yield_now().await;
    assert_eq!(device.event(3).await, Err(Refused::Taken));
    abandoned.cancel().await;
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(device.given_up.get(), 1);

    let all: [Option<Point>; POINTS] = core::array::from_fn(|_| Point::new().ok());
    assert!(all.iter().all(Option::is_some));
    assert!(matches!(Point::new(), Err(PointError::Full)));
    assert_eq!(device.event(0).await, Err(Refused::NoPoint(PointError::Full)));
    drop(all);
    assert!(Point::new().is_ok());
    assert_eq!(device.given_up.get(), 1);
}

/// Points given up take the last places of the table: the event source is told of them before the next poll, long before a look falls due.
async fn crowd() {
    let _live: [Option<Point>; POINTS - 8] = core::array::from_fn(|_| Point::new().ok());
    for _ in 0..3 {
        let mut rest: [_; 8] = core::array::from_fn(|_| match Point::new() {
            Ok(point) => point.suspend(|_| Ok::<(), ()>(())),
            Err(error) => panic!("{error}"),
        });
        poll_fn(|cx| {
            assert!(rest.iter_mut().all(|point| Pin::new(point).poll(cx).is_pending()));
            Poll::Ready(())
        })
        .await;
        drop(rest);
        assert!(matches!(Point::new(), Err(PointError::Full)));
        yield_now().await;
    }
}

/// Time passes when everybody sleeps.
async fn timers() {
    let before = time::now();
    let late = spawn(async {
        time::sleep(Duration::from_secs(3600)).await;
        3600
    });
    let early = spawn(async move {
        time::sleep_until(before + Duration::from_secs(60)).await;
        before.elapsed().as_secs() as u32
    });
    let never = spawn(async {
        time::sleep_until(Instant::MAX).await;
        0
    });
    assert_eq!(early.await.ok(), Some(60));
    assert_eq!(late.await.ok(), Some(3600));
    assert_eq!(before.elapsed(), Duration::from_secs(3600));
    never.cancel().await;
}

/// A waker that is used in an interrupt handler, where no domain is current, ends the sleep with one interrupt.
async fn interrupts(device: &'static Device) {
    let before = device::interrupts();
    device.line().await;
    assert_eq!(device::interrupts(), before + 1);
}

/// Counts, of tasks and of what they run for, beginnings and ends.
struct Counted([[AtomicU32; 2]; 2]);

static EVENTS: Counted = Counted([const { [const { AtomicU32::new(0) }; 2] }; 2]);

impl Trace for Counted {
    fn event(&self, event: &Event) {
        let (kind, end) = match event.kind {
            EventKind::Spawn { .. } => (0, 0),
            EventKind::End { .. } => (0, 1),
            EventKind::RunBegin { .. } => (1, 0),
            EventKind::RunEnd { .. } => (1, 1),
            _ => return,
        };
        self.0[kind][end].fetch_add(1, Ordering::Relaxed);
    }
}

/// All of it, as one main task. The device lives as long as the program; tasks are `'static`.
async fn checks(device: &'static Device) -> Result<u32, &'static str> {
    promises().await;
    pool().await;
    points(device).await;
    crowd().await;
    timers().await;
    interrupts(device).await;
    assert!(matches!(run(&Board(device), Config::new(), async {}), Err(RunError::Nested)));
    assert_eq!(domain::current(), Some(DomainId::ZERO));
    assert!(current_task().is_some());
    Ok(6)
}

/// A waker of the current task.
async fn waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

#[unsafe(no_mangle)]
extern "C" fn main(_: i32, _: *const *const u8) -> i32 {
    // One device for the whole program; `static` would ask for `Sync`, which a device of cells is not.
    let device = Device::default();
    // SAFETY: `main` returns after all runs, and everything that borrows the device has ended with them.
    let device: &'static Device = unsafe { &*core::ptr::from_ref(&device) };
    let board = Board(device);

    assert!(matches!(run(&board, Config::new(), checks(device)), Ok(6)));
    assert!(device.sleeps.get() > 0);
    assert_eq!(POOL.free(), 4);

    // Outside a run nothing is current.
    assert!(domain::current().is_none() && current_task().is_none());
    assert!(matches!(Point::new(), Err(PointError::NoDomain)));

    // The ends of a run: its own error, a broken rule with the line of the spawn, waiting for what cannot come, and more domains than there are.
    assert!(matches!(run(&board, Config::new(), async { Err::<(), _>("torn") }), Err(RunError::Failed("torn"))));
    let broken = run(&board, Config::new(), async { drop(spawn(pending())) });
    let Err(RunError::Violation(violation)) = broken else { panic!("a forgotten child is a broken rule") };
    assert!(matches!(violation.kind, ViolationKind::StillHasChildren { spawned, .. } if spawned.file().ends_with("main.rs")));
    assert!(matches!(run(&board, Config::new(), pending::<()>()), Err(RunError::Events(DomainId::ZERO, _))));
    assert!(matches!(run(&board, Config::new().domains(1), async {}), Err(RunError::TooManyDomains { asked: 1, most: 0 })));
    assert!(matches!(run(&Bare, Config::new(), async { matches!(Point::new(), Err(PointError::NoEvents)) }), Ok(true)));

    // A traced run tells of each task's birth and end, and of each poll's.
    let traced = run(&board, Config::new().trace(&EVENTS), async {
        let Ok(child) = POOL.spawn(yield_now()) else { panic!("there is room") };
        child.await
    });
    assert!(traced.is_ok());
    let [tasks, runs] = [0, 1].map(|kind: usize| [0, 1].map(|end: usize| EVENTS.0[kind][end].load(Ordering::Relaxed)));
    assert_eq!((tasks, runs), ([2, 2], [4, 4]));

    // A waker that outlives its run is inert, and keeps its task's place until it is dropped.
    let kept = Cell::new(None);
    let sent = &kept;
    assert!(run(&board, Config::new(), async move { sent.set(Some(waker().await)) }).is_ok());
    let of_a_child = run(&board, Config::new(), async {
        let child = POOL.spawn(async { [waker().await] });
        let Ok(child) = child else { panic!("there is room") };
        child.await
    });
    assert_eq!(POOL.free(), 3);
    let Ok([of_a_child]) = of_a_child else { panic!("it ended normally") };
    kept.take().map_or_else(|| panic!("it was set"), Waker::wake);
    of_a_child.wake();
    assert_eq!(POOL.free(), 4);

    // So do wakers of main tasks, for which there are four places.
    let kept: [Waker; 4] = core::array::from_fn(|_| {
        let one = Cell::new(None);
        assert!(run(&board, Config::new(), async { one.set(Some(waker().await)) }).is_ok());
        one.take().unwrap_or_else(|| panic!("it was set"))
    });
    assert!(matches!(run(&board, Config::new(), async {}), Err(RunError::TooManyRuns)));
    drop(kept);
    assert!(run(&board, Config::new(), async {}).is_ok());
    0
}
