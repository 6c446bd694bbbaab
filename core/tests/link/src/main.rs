//! The core without any feature, in a program without `std`, without an allocator and without an unwinder.
//!
//! Its platform is written by hand: a clock that moves only when everybody sleeps, and one device whose events are a script. It runs
//! tasks from a static pool over it, and exits with 0, or with the line of the check that failed (modulo 256).

#![no_std]
#![no_main]

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use core::time::Duration;

use matou_core::platform::{Events, Interrupt, Platform, Signals, Wait};
use matou_core::suspension::{POINTS, Point, PointError};
use matou_core::time::{self, Instant};
use matou_core::{
    Config, DomainId, Exit, PointId, Promise, RunError, TaskPool, ViolationKind, await_all_in, await_first_in, await_one_in, run, yield_now,
};

unsafe extern "C" {
    safe fn exit(status: i32) -> !;
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    exit(info.location().map_or(255, |place| 1 + (place.line() % 254) as i32))
}

/// The precompiled `core` of a hosted target was built to unwind and names this; nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// One thread and no interrupt handlers: one slot.
struct OneThread;

static CURRENT: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

// SAFETY: this program has one thread of execution, and no interrupt handler.
unsafe impl matou_core::Context for OneThread {
    fn get() -> *mut () {
        CURRENT.load(Ordering::Relaxed)
    }

    fn set(value: *mut ()) {
        CURRENT.store(value, Ordering::Relaxed);
    }
}

matou_core::set_context!(OneThread);

/// What the device and the runtime tell each other. Everything of it is on this one thread.
#[derive(Default)]
struct Device {
    now: Cell<u64>,
    /// Who waits for the device's next event.
    waiting: RefCell<[Option<PointId>; 4]>,
    given_up: Cell<u32>,
    sleeps: Cell<u32>,
}

impl Device {
    /// Waits for the device's next event.
    async fn event(&self) -> Result<(), PointError> {
        let registered: Result<(), Infallible> = Point::new()?
            .suspend(|id| {
                if let Some(place) = self.waiting.borrow_mut().iter_mut().find(|place| place.is_none()) {
                    *place = Some(id);
                }
                Ok(())
            })
            .await;
        registered.map_err(|never| match never {})
    }
}

static INTERRUPTS: AtomicU32 = AtomicU32::new(0);

struct Line;

impl Interrupt for Line {
    fn interrupt(&self) {
        INTERRUPTS.fetch_add(1, Ordering::Relaxed);
    }
}

struct Script<'a>(&'a Device);

impl Events for Script<'_> {
    type Interrupt = Line;
    type Error = &'static str;

    fn interrupter(&self) -> Line {
        Line
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.now.get())
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), &'static str> {
        let device = self.0;
        for id in cancelled {
            device.given_up.set(device.given_up.get() + 1);
            for place in device.waiting.borrow_mut().iter_mut().filter(|place| **place == Some(*id)) {
                *place = None;
            }
        }
        match wait {
            Wait::No => {}
            // The event comes before the time is over: a device that is waited for is quick.
            Wait::Until(_) | Wait::Forever if device.waiting.borrow().iter().any(Option::is_some) => {
                device.sleeps.set(device.sleeps.get() + 1);
                if let Some(place) = device.waiting.borrow_mut().iter_mut().find(|place| place.is_some())
                    && let Some(id) = place.take()
                {
                    signals.resume(id);
                }
            }
            Wait::Until(deadline) => {
                device.sleeps.set(device.sleeps.get() + 1);
                device.now.set(deadline.as_nanos());
            }
            Wait::Forever => return Err("everybody waits for nothing"),
        }
        Ok(())
    }
}

/// A `Platform` is shared between the threads it starts; this one starts none.
struct Board<'a>(&'a Device);

// SAFETY: `domains` calls `main` on the one thread there is.
unsafe impl Sync for Board<'_> {}

impl<'a> Platform for Board<'a> {
    type Error = &'static str;
    type Events = Script<'a>;

    fn events(&self, _: DomainId) -> Result<Script<'a>, &'static str> {
        Ok(Script(self.0))
    }

    fn domains(&self, _: usize, _: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        main();
        Ok(())
    }
}

static POOL: TaskPool<4, 256> = TaskPool::new();
static RAN: AtomicU32 = AtomicU32::new(0);

fn spawn<F>(future: F) -> Promise<u32>
where
    F: Future<Output = u32> + 'static,
{
    POOL.spawn(future).unwrap_or_else(|full| panic!("{full}"))
}

/// The device lives as long as the program; tasks are `'static`.
async fn checks(device: &'static Device) -> Result<u32, Exit> {
    // Promises, yields, and several at once.
    let one = spawn(async { 1 });
    assert_eq!(one.await?, 1);
    let mut promises = [1, 2, 3].map(|n| {
        Some(spawn(async move {
            yield_now().await;
            n
        }))
    });
    let mut sum = 0;
    while let Some(ended) = await_one_in(&mut promises).await {
        sum += ended?;
    }
    assert_eq!(sum, 6);
    let mut promises = [4, 5].map(|n| Some(spawn(async move { n })));
    let mut results = [None, None];
    await_all_in(&mut promises, &mut results).await;
    assert!(matches!(results, [Some(Ok(4)), Some(Ok(5))]));
    let mut promises = [Some(spawn(core::future::pending())), Some(spawn(async { 6 }))];
    assert!(matches!(await_first_in(&mut promises).await, Some(Ok(6))));

    // The pool is full, gives the future back, and is free again when its tasks have ended.
    let mut all = [0; 4].map(|_| Some(spawn(core::future::pending())));
    assert!(POOL.spawn(async { 7 }).is_err());
    for promise in all.iter_mut().filter_map(Option::take) {
        promise.cancel().await;
    }
    assert_eq!(POOL.free(), 4);

    // Events of the device, and one given up.
    let events = spawn(async move {
        for _ in 0..3 {
            assert!(device.event().await.is_ok());
        }
        3
    });
    assert_eq!(events.await?, 3);
    let abandoned = spawn(async move {
        assert!(device.event().await.is_ok());
        0
    });
    yield_now().await;
    abandoned.cancel().await;
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(device.given_up.get(), 1);

    // The table of points is full, and says so.
    let points: [Option<Point>; POINTS] = core::array::from_fn(|_| Point::new().ok());
    assert!(points.iter().all(Option::is_some));
    assert!(matches!(Point::new(), Err(PointError::Full)));
    drop(points);
    assert!(Point::new().is_ok());

    // Time passes when everybody sleeps.
    let before = time::now();
    let late = spawn(async {
        time::sleep(Duration::from_secs(3600)).await;
        RAN.fetch_add(1, Ordering::Relaxed)
    });
    let early = spawn(async {
        time::sleep(Duration::from_secs(60)).await;
        RAN.fetch_add(1, Ordering::Relaxed)
    });
    assert_eq!(late.await?, 1);
    assert_eq!(early.await?, 0);
    assert_eq!(before.elapsed(), Duration::from_secs(3600));
    Ok(sum)
}

#[unsafe(no_mangle)]
extern "C" fn main(_: i32, _: *const *const u8) -> i32 {
    // One device for the whole program; `static` would ask for `Sync`, which a device of cells is not.
    let device = Device::default();
    // SAFETY: `main` returns after both runs, and everything that borrows the device has ended with them.
    let device: &'static Device = unsafe { &*core::ptr::from_ref(&device) };

    match run(&Board(device), Config::new(), checks(device)) {
        Ok(6) => {}
        _ => return 1,
    }
    assert!(device.sleeps.get() > 0);
    assert_eq!(POOL.free(), 4);

    // A broken rule is reported here, too, with the line of the spawn.
    let broken = run(&Board(device), Config::new(), async {
        drop(spawn(core::future::pending()));
    });
    match broken {
        Err(RunError::Violation(violation)) => {
            assert!(matches!(violation.kind, ViolationKind::StillHasChildren { spawned, .. } if spawned.file().ends_with("main.rs")));
        }
        _ => return 2,
    }
    // And waiting for what cannot come is an error, not a hang.
    match run(&Board(device), Config::new(), core::future::pending::<()>()) {
        Err(RunError::Events(DomainId::ZERO, _)) => {}
        _ => return 3,
    }
    assert_eq!(POOL.free(), 4);
    0
}
