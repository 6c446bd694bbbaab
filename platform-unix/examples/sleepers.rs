//! An event source of one's own: a platform that knows nothing but sleepers; `matou_unix::tutorial::sleepers` tells the story.
//!
//! Each domain keeps a list of who sleeps until when. `sleep` is the effect, a suspension point that it puts on the list; `select` looks
//! at the list, sleeps until the first of them is due, and resumes whose time has come. Time is real or virtual: virtual time does not
//! pass, it jumps.

use std::cell::RefCell;
use std::io;
use std::process::ExitCode;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use matou_core::platform::{Events, Interrupt, Platform, Signals, Wait};
use matou_core::suspension::Point;
use matou_core::time::{self, Instant};
use matou_core::{Config, DomainId, Orphans, PointId, call, run, spawn, yield_now};

thread_local! {
    /// Who sleeps on this domain: the next to wake is the last.
    static SLEEPERS: RefCell<Vec<(Instant, PointId)>> = const { RefCell::new(Vec::new()) };
}

/// Sleeps: the effect.
async fn sleep(duration: Duration) -> io::Result<()> {
    let deadline = time::now() + duration;
    let register = |id| {
        SLEEPERS.with_borrow_mut(|sleepers| {
            let place = sleepers.partition_point(|&(other, _)| other > deadline);
            sleepers.insert(place, (deadline, id));
        });
        Ok(())
    };
    Point::new()?.suspend(register).await
}

/// A domain's source of events.
struct Alarms {
    clock: Clock,
    bell: Bell,
}

impl Events for Alarms {
    type Interrupt = Bell;
    type Error = io::Error;

    fn interrupter(&self) -> Bell {
        self.bell.clone()
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> io::Result<()> {
        let first = SLEEPERS.with_borrow_mut(|sleepers| {
            sleepers.retain(|(_, id)| !cancelled.contains(id));
            sleepers.last().map(|&(deadline, _)| deadline)
        });
        match wait {
            Wait::No => {}
            Wait::Until(timer) => self.wait(Some(first.map_or(timer, |first| first.min(timer)))),
            Wait::Forever => self.wait(first),
        }
        let now = self.now();
        SLEEPERS.with_borrow_mut(|sleepers| {
            while let Some((_, id)) = sleepers.pop_if(|(deadline, _)| *deadline <= now) {
                signals.resume(id);
            }
        });
        Ok(())
    }
}

impl Alarms {
    /// Lets time pass, to that moment at most.
    fn wait(&mut self, until: Option<Instant>) {
        match (&mut self.clock, until) {
            (Clock::Virtual(now), Some(until)) => *now = until.max(*now),
            (Clock::Virtual(_), None) => self.bell.wait(None),
            (Clock::Real(_), until) => self.bell.wait(until.map(|until| until - self.clock.now())),
        }
    }
}

impl Drop for Alarms {
    fn drop(&mut self) {
        SLEEPERS.with_borrow_mut(Vec::clear);
    }
}

/// What a domain's clock shows.
#[derive(Clone, Copy)]
enum Clock {
    Real(std::time::Instant),
    Virtual(Instant),
}

impl Clock {
    fn now(&self) -> Instant {
        match *self {
            Clock::Real(start) => Instant::from_nanos(0) + start.elapsed(),
            Clock::Virtual(now) => now,
        }
    }
}

/// What ends a domain's sleep from another thread. It stays rung until the domain looks.
#[derive(Clone, Default)]
struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Interrupt for Bell {
    fn interrupt(&self) {
        let (rung, changed) = &*self.0;
        *rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_one();
    }
}

impl Bell {
    /// Sleeps until it is rung, or for so long.
    fn wait(&self, limit: Option<Duration>) {
        let (rung, changed) = &*self.0;
        let guard = rung.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = limit.unwrap_or(Duration::MAX);
        let (mut guard, _) = changed.wait_timeout_while(guard, limit, |rung| !*rung).unwrap_or_else(PoisonError::into_inner);
        *guard = false;
    }
}

/// The platform: its domains are threads that can sleep, and nothing else.
struct Dormitory {
    clock: Clock,
}

impl Platform for Dormitory {
    type Events = Alarms;
    type Error = io::Error;

    fn events(&self, _domain: DomainId) -> io::Result<Alarms> {
        Ok(Alarms { clock: self.clock, bell: Bell::default() })
    }

    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> io::Result<()> {
        // Either all threads can be started, or none of them begins.
        let complete = OnceLock::new();
        let part = &|index| {
            if *complete.wait() {
                worker(DomainId::new(index));
            }
        };
        thread::scope(|scope| {
            let start = |index| thread::Builder::new().spawn_scoped(scope, move || part(index)).map(drop);
            let started = (1..=workers).try_for_each(start);
            let _ = complete.set(started.is_ok());
            started.map(|()| main())
        })
    }
}

/// A task for each of those who sleep so many seconds, and one that is not allowed to sleep on.
async fn night(seconds: Vec<f64>) -> io::Result<()> {
    let begun = time::now();
    let orphans = Orphans::new();
    for seconds in seconds {
        orphans.spawn(async move {
            sleep(Duration::from_secs_f64(seconds)).await?;
            println!("at {:.2} s: woke up, after {seconds} s of sleep", begun.elapsed().as_secs_f64());
            Ok::<(), io::Error>(())
        });
    }
    let long = spawn(sleep(Duration::from_secs(3600)));
    // Children begin in the order in which they were made: after this all of them sleep.
    yield_now().await;
    println!("at {:.2} s: {} sleep", begun.elapsed().as_secs_f64(), SLEEPERS.with_borrow(Vec::len));
    long.cancel().await;
    while let Some(result) = orphans.next().await {
        result?;
    }
    println!("at {:.2} s: {} sleep", begun.elapsed().as_secs_f64(), SLEEPERS.with_borrow(Vec::len));
    Ok(())
}

/// Another domain sleeps for an hour, and is woken by a cancellation from here.
async fn elsewhere() -> io::Result<()> {
    let begun = time::now();
    let long = call(|| sleep(Duration::from_secs(3600)))?;
    long.cancel().await;
    println!("after {:.0} s: an hour's sleep on another domain was cancelled", begun.elapsed().as_secs_f64());
    Ok(())
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let seconds = args.iter().skip(1).map(|word| word.parse().ok().filter(|seconds| (0.0..1e9).contains(seconds)));
    let seconds: Option<Vec<f64>> = seconds.collect();
    let ran = match (args.first().map(String::as_str), seconds) {
        (Some("virtual"), Some(seconds)) => {
            let platform = Dormitory { clock: Clock::Virtual(Instant::from_nanos(0)) };
            run(&platform, Config::new(), night(seconds))
        }
        (Some("real"), Some(seconds)) => {
            let platform = Dormitory { clock: Clock::Real(std::time::Instant::now()) };
            run(&platform, Config::new().domains(1), async {
                night(seconds).await?;
                elsewhere().await
            })
        }
        _ => {
            eprintln!("usage: sleepers real|virtual SECONDS...");
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
