//! A platform for the tests: domains are threads, and a domain sleeps on a condition variable.
//!
//! Events are made by hand: a test keeps a [`Hand`], and whoever calls [`Hand::fire`] with a point's id, on any thread, has the domain's next
//! `select` resume it. What the runtime tells the source (waits, given-up points) is recorded.

#![allow(dead_code, unreachable_pub)] // Each test file uses a part of it.

pub mod probe;
pub mod script;
pub mod simulate;
pub mod watched;

pub mod family;
pub mod leak;
pub mod stacks;
pub mod wakers;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant as StdInstant};

use matou_core::platform::{Events, Interrupt, Platform, Signals, Wait};
use matou_core::time::Instant;
use matou_core::{DomainId, PointId};

/// One domain's source of events, as the test sees it.
#[derive(Debug, Default)]
pub struct Hand {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    interrupted: bool,
    fired: Vec<PointId>,
    log: Log,
}

/// What the runtime asked the source and told it.
#[derive(Debug, Default, Clone)]
pub struct Log {
    /// `select` calls that may not wait.
    pub looks: usize,
    /// `select` calls that may wait.
    pub sleeps: usize,
    /// Calls of `interrupt`.
    pub interrupts: usize,
    /// Points told as given up, in order.
    pub cancelled: Vec<PointId>,
}

impl Hand {
    /// Has the next `select` resume the point.
    pub fn fire(&self, point: PointId) {
        self.state.lock().unwrap().fired.push(point);
        self.bell.notify_all();
    }

    /// What the domain's [`Interrupt`] does.
    pub fn interrupt(&self) {
        let mut state = self.state.lock().unwrap();
        state.interrupted = true;
        state.log.interrupts += 1;
        self.bell.notify_all();
    }

    pub fn log(&self) -> Log {
        self.state.lock().unwrap().log.clone()
    }

    /// Waits until the log says so.
    pub fn wait_until(&self, condition: impl Fn(&Log) -> bool) {
        let mut state = self.state.lock().unwrap();
        while !condition(&state.log) {
            state = self.bell.wait(state).unwrap();
        }
    }
}

/// Where the time comes from.
#[derive(Debug, Clone)]
enum Clock {
    /// The system's, since this moment.
    Runs(StdInstant),
    /// It stands still, at so many nanoseconds, and goes on only when a domain sleeps until then: however slow the machine, no time passes meanwhile.
    Stands(Arc<AtomicU64>),
}

impl Clock {
    fn now(&self) -> Instant {
        Instant::from_nanos(match self {
            Clock::Runs(epoch) => epoch.elapsed().as_nanos() as u64,
            Clock::Stands(now) => now.load(Ordering::SeqCst),
        })
    }
}

/// The platform: one [`Hand`] a domain.
#[derive(Debug, Clone)]
pub struct Threads {
    pub hands: Vec<Arc<Hand>>,
    clock: Clock,
}

impl Threads {
    /// For runs with this many workers.
    pub fn new(workers: usize) -> Threads {
        Threads { hands: (0..=workers).map(|_| Arc::default()).collect(), clock: Clock::Runs(StdInstant::now()) }
    }

    /// With a clock that goes on only while a domain sleeps.
    pub fn with_time_of_sleeps(self) -> Threads {
        Threads { clock: Clock::Stands(Arc::default()), ..self }
    }

    pub fn hand(&self, domain: usize) -> Arc<Hand> {
        self.hands[domain].clone()
    }
}

pub struct ByHand {
    hand: Arc<Hand>,
    clock: Clock,
}

pub struct Bell(Arc<Hand>);

impl Interrupt for Bell {
    fn interrupt(&self) {
        self.0.interrupt();
    }
}

impl Events for ByHand {
    type Interrupt = Bell;
    type Error = &'static str;

    fn interrupter(&self) -> Bell {
        Bell(self.hand.clone())
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), &'static str> {
        let mut state = self.hand.state.lock().unwrap();
        state.log.cancelled.extend_from_slice(cancelled);
        match wait {
            Wait::No => state.log.looks += 1,
            Wait::Until(_) | Wait::Forever => state.log.sleeps += 1,
        }
        self.hand.bell.notify_all();
        while !state.interrupted && state.fired.is_empty() {
            let left = match wait {
                Wait::No => break,
                Wait::Forever => Duration::MAX,
                Wait::Until(deadline) => deadline.saturating_duration_since(self.clock.now()),
            };
            if let (Clock::Stands(now), Wait::Until(deadline)) = (&self.clock, wait) {
                now.fetch_max(deadline.as_nanos(), Ordering::SeqCst);
                break;
            }
            if left.is_zero() {
                break;
            }
            state = if left == Duration::MAX {
                self.hand.bell.wait(state).unwrap()
            } else {
                self.hand.bell.wait_timeout(state, left).unwrap().0
            };
        }
        state.interrupted = false;
        for point in std::mem::take(&mut state.fired) {
            signals.resume(point);
        }
        Ok(())
    }

    fn is_interrupted(&self) -> bool {
        self.hand.state.lock().unwrap().interrupted
    }
}

impl Platform for Threads {
    type Error = &'static str;
    type Events = ByHand;

    fn events(&self, domain: DomainId) -> Result<ByHand, &'static str> {
        Ok(ByHand { hand: self.hand(domain.index()), clock: self.clock.clone() })
    }

    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        std::thread::scope(|scope| {
            for id in 1..=workers {
                scope.spawn(move || worker(DomainId::new(id)));
            }
            main();
        });
        Ok(())
    }
}
