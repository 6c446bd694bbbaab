//! What one domain hears of signals.
//!
//! For each kind somebody on the domain listens to, two actions are installed, in this order: one sets a flag, one writes a byte
//! into a socket pair that all kinds of the domain share. The reactor watches the other end as it watches any socket, so a signal
//! ends a sleep and resumes every listener; each looks whether it was its kind, and else waits again.
//!
//! # Invariants
//!
//! - *Flag before byte*: the system's handler runs the actions in the order they were installed. Who finds the byte finds the flag.
//! - *Emptied, then looked at*: [`collect`](Hub::collect) empties the pair, then looks at the flags. A signal in between leaves a byte, and
//!   so an event, behind.
//! - *All are told*: whoever collects may take a byte that was on its way to another listener's event. Therefore, when it finds any
//!   flag set, it rouses all who wait.
//!
//! The hub belongs to its domain. Only the two actions run in the system's signal handler, on any thread.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;
use rustix::net::RecvFlags;
use signal_hook::SigId;
use signal_hook::low_level::{pipe, unregister};

use super::{Kind, outside};
use crate::descriptor::awaited;
use crate::descriptor::source::Source;
use crate::reactor::Direction;

pub(crate) struct Hub {
    source: Source,
    writer: UnixStream,
    kinds: RefCell<Vec<Heard>>,
    /// How often something was.
    heard: Cell<u64>,
    /// Its domain has ended, and whatever is left of it hears nothing.
    closed: Cell<bool>,
}

/// One kind of signal that somebody here listens to, or has listened to.
struct Heard {
    kind: Kind,
    arrived: Arc<AtomicBool>,
    /// How often `arrived` was found set.
    count: u64,
    actions: [SigId; 2],
}

impl Hub {
    pub(crate) fn new() -> io::Result<Rc<Hub>> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        writer.set_nonblocking(true)?;
        let source = Source::new(OwnedFd::from(reader));
        Ok(Rc::new(Hub { source, writer, kinds: RefCell::default(), heard: Cell::new(0), closed: Cell::new(false) }))
    }

    /// Hears `kind` from now on. Gives how often it has been heard.
    pub(crate) fn listen(&self, kind: Kind) -> io::Result<u64> {
        self.collect(); // What came before is the others' business.
        let mut kinds = self.kinds.borrow_mut();
        if let Some(heard) = kinds.iter().find(|heard| heard.kind == kind) {
            return Ok(heard.count);
        }
        let arrived = Arc::new(AtomicBool::new(false));
        let flag = signal_hook::flag::register(kind.as_raw(), Arc::clone(&arrived))?;
        let byte = self.writer.try_clone().and_then(|writer| pipe::register(kind.as_raw(), writer));
        let byte = byte.inspect_err(|_| {
            unregister(flag);
        })?;
        kinds.push(Heard { kind, arrived, count: 0, actions: [flag, byte] });
        Ok(0)
    }

    /// Whether `kind` was heard since `seen`, which is brought up to date.
    pub(crate) fn take(&self, kind: Kind, seen: &mut u64) -> bool {
        self.collect();
        let kinds = self.kinds.borrow();
        // After the domain's end there are no kinds and no news: `wait` tells why.
        let count = kinds.iter().find(|heard| heard.kind == kind).map_or(*seen, |heard| heard.count);
        core::mem::replace(seen, count) != count
    }

    /// How often any signal was heard: for who looks with [`take`](Hub::take) and then waits. Nothing may come between the two, or this goes first.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.get()
    }

    /// Waits until some signal was heard, since it had been `heard` so often; or nothing, as it may be for no reason.
    pub(crate) async fn wait(&self, heard: u64) -> io::Result<()> {
        if self.closed.get() {
            return Err(outside());
        }
        // Another listener may have taken what came out of the pipe.
        awaited::wait(&self.source, Direction::Read, || self.heard.get() != heard).await
    }

    fn collect(&self) {
        let mut bytes = [0; 64];
        while let Ok((1.., _)) | Err(Errno::INTR) = rustix::net::recv(&self.source, &mut bytes, RecvFlags::empty()) {}
        self.source.found_nothing(Direction::Read);
        let mut any = false;
        for heard in self.kinds.borrow_mut().iter_mut() {
            if heard.arrived.swap(false, Ordering::SeqCst) {
                heard.count += 1;
                any = true;
            }
        }
        if any {
            self.heard.set(self.heard.get() + 1);
            self.source.rouse();
        }
    }

    /// Hears nothing any more: the domain ends.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        for heard in self.kinds.take() {
            heard.actions.into_iter().for_each(|action| _ = unregister(action));
        }
    }
}
