//! The platform of the tests, with little stack for every domain.

#![allow(dead_code, unreachable_pub)] // Each test file uses a part of it.

use matou_core::DomainId;
use matou_core::platform::Platform;

use super::{ByHand, Threads};

/// As [`Threads`], with this many bytes of stack for each worker. [`on_small_stack`](SmallStacks::on_small_stack) gives domain 0 no more.
#[derive(Debug, Clone)]
pub struct SmallStacks {
    threads: Threads,
    bytes: usize,
}

impl SmallStacks {
    pub fn new(workers: usize, bytes: usize) -> SmallStacks {
        SmallStacks { threads: Threads::new(workers), bytes }
    }

    /// Calls `f`, which runs something on this platform, on a thread with as little stack.
    pub fn on_small_stack<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(self.bytes).spawn_scoped(scope, f).unwrap();
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Platform for SmallStacks {
    type Error = &'static str;
    type Events = ByHand;

    fn events(&self, domain: DomainId) -> Result<ByHand, &'static str> {
        self.threads.events(domain)
    }

    fn domains(&self, workers: usize, worker: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        std::thread::scope(|scope| {
            for id in 1..=workers {
                let thread = std::thread::Builder::new().stack_size(self.bytes);
                thread.spawn_scoped(scope, move || worker(DomainId::new(id))).unwrap();
            }
            main();
        });
        Ok(())
    }
}
