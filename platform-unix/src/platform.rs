//! What plugs the runtime into a system; here, into Unix.
//!
//! The traits are the core's, for those who write a platform of their own. This crate's is used by [`Builder`](crate::Builder): its
//! domains are threads, and each has a reactor.
//!
//! # The gate
//!
//! A worker's part of a run returns only after the main task ran. So when the seventh of eight threads cannot be started, the
//! six must not have begun: they wait at a gate, which is opened when all exist, or given up. Then they leave, `main` is not
//! called, and the error is told.
//!
//! Threads are scoped, and joined: whatever happens, [`Platform::domains`] returns after the last of them.

use std::io;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use matou_core::trace::Trace;
use matou_core::{DomainId, PointId};

pub use matou_core::platform::*;

use crate::blocking::{Entered, Pool};
use crate::interrupt::{Interrupter, Material};
use crate::reactor::{DomainReactor, Reactor};
use crate::record::{self, Recording};
use crate::signal::Registry;
use crate::time::{Instant, clock};

/// What a run on Unix needs to know. One for each run: its signal handlers are in it.
pub(crate) struct Unix {
    /// None takes the best that there is.
    pub(crate) reactor: Option<Reactor>,
    pub(crate) bell: Material,
    pub(crate) lent_buffer: usize,
    pub(crate) stack_size: Option<usize>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) blocking: Arc<Pool>,
    /// What its domains record, and whom else they tell.
    pub(crate) recording: Option<(Arc<Recording>, Option<&'static dyn Trace>)>,
}

impl Platform for Unix {
    type Error = io::Error;
    type Events = UnixEvents;

    fn events(&self, domain: DomainId) -> io::Result<UnixEvents> {
        let blocking = Entered::new(&self.blocking);
        let reactor = DomainReactor::install(self.reactor, self.bell, Arc::clone(&self.registry), self.lent_buffer)?;
        // From here on what was done is undone, whatever happens.
        let mut events = UnixEvents { reactor, _blocking: blocking, recorded: false };
        if let Some((recording, also)) = &self.recording {
            record::install(Arc::clone(recording), domain, *also);
            events.recorded = true;
        }
        Ok(events)
    }

    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> io::Result<()> {
        let gate = Gate::default();
        thread::scope(|scope| {
            let mut threads = Vec::with_capacity(workers);
            // Opened or given up, whatever happens: else the scope would wait for ever.
            let keeper = Keeper { gate: &gate };
            for index in 1..=workers {
                let gate = &gate;
                let part = move || {
                    if gate.pass() {
                        worker(DomainId::new(index));
                    }
                };
                let started = self.thread(index).spawn_scoped(scope, part);
                threads.push(started.map_err(|error| {
                    let message = format!("the thread of domain {index} of {workers} could not be started: {error}");
                    io::Error::new(error.kind(), message)
                })?);
            }
            keeper.open();
            main();
            // The scope would wait for their work, but not for the threads themselves.
            let ended: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
            // A worker catches what its tasks do: this is a fault of the runtime, not to be hidden.
            ended.into_iter().try_for_each(|ended| ended).unwrap_or_else(|panic| resume_unwind(panic));
            Ok(())
        })
    }
}

impl Unix {
    fn thread(&self, index: usize) -> thread::Builder {
        let thread = thread::Builder::new().name(format!("matou-{index}"));
        match self.stack_size {
            Some(bytes) => thread.stack_size(bytes),
            None => thread,
        }
    }
}

/// Where threads wait until all of them exist.
#[derive(Default)]
struct Gate {
    /// Whether to go on; none while that is not known.
    decided: Mutex<Option<bool>>,
    changed: Condvar,
}

impl Gate {
    /// Waits, and tells whether to go on.
    fn pass(&self) -> bool {
        let decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        let decided = self.changed.wait_while(decided, |decided| decided.is_none());
        *decided.unwrap_or_else(PoisonError::into_inner) == Some(true)
    }

    fn decide(&self, go_on: bool) {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(go_on);
        self.changed.notify_all();
    }
}

/// Gives the gate up unless it was opened.
struct Keeper<'a> {
    gate: &'a Gate,
}

impl Keeper<'_> {
    fn open(&self) {
        self.gate.decide(true);
    }
}

impl Drop for Keeper<'_> {
    fn drop(&mut self) {
        self.gate.decide(false);
    }
}

/// A domain's source of events. It belongs to its thread, and takes its reactor along when it goes.
pub(crate) struct UnixEvents {
    reactor: Rc<DomainReactor>,
    _blocking: Entered,
    recorded: bool,
}

impl Events for UnixEvents {
    type Interrupt = Interrupter;
    type Error = io::Error;

    fn interrupter(&self) -> Interrupter {
        Interrupter(Arc::clone(self.reactor.shared()))
    }

    fn now(&self) -> Instant {
        clock()
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> io::Result<()> {
        if self.recorded && wait != Wait::No {
            record::flush();
        }
        self.reactor.select(wait, cancelled, &mut |point| signals.resume(point))
    }

    /// Another domain has something to say, as that a stream which rests here was dropped there.
    fn is_interrupted(&self) -> bool {
        self.reactor.shared().bell().is_rung()
    }
}

impl Drop for UnixEvents {
    fn drop(&mut self) {
        self.reactor.uninstall();
        if self.recorded {
            record::uninstall();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn unix(stack_size: Option<usize>) -> Unix {
        let (registry, blocking) = (Arc::default(), Pool::new(1, None));
        Unix { reactor: None, bell: Material::DEFAULT, lent_buffer: 1, stack_size, registry, blocking, recording: None }
    }

    #[test]
    fn all_workers_and_main_are_called() {
        let (workers, mains) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let worker = |domain: DomainId| {
            assert_eq!(thread::current().name(), Some(&*format!("matou-{domain}")));
            workers.fetch_add(domain.index(), Ordering::Relaxed);
        };
        let mut main = || _ = mains.fetch_add(1, Ordering::Relaxed);
        unix(None).domains(3, &worker, &mut main).unwrap();
        assert_eq!((workers.into_inner(), mains.into_inner()), (6, 1));
    }

    #[test]
    fn when_a_thread_cannot_be_started_nothing_is_called() {
        // No machine has this much address space for a stack.
        let unix = unix(Some(1 << 60));
        let error = unix.domains(2, &|_| panic!("a worker was called"), &mut || panic!("`main` was called")).unwrap_err();
        assert!(error.to_string().starts_with("the thread of domain 1 of 2 could not be started: "), "{error}");
    }

    #[test]
    fn a_gate_given_up_lets_nobody_pass() {
        let gate = Gate::default();
        thread::scope(|scope| {
            let waiting = [scope.spawn(|| gate.pass()), scope.spawn(|| gate.pass())];
            drop(Keeper { gate: &gate });
            for thread in waiting {
                assert!(!thread.join().unwrap());
            }
        });
        Keeper { gate: &gate }.open();
        assert!(!gate.pass(), "the first decision stands");
    }
}
