//! A descriptor and the place where it waits.
//!
//! A [`Source`] holds a non-blocking descriptor, or any value that has one, and knows whether, and in which domain's reactor, it is
//! registered. It is what makes a socket, and an [`Async`](super::Async), `Send` but not `Sync`: it may be moved to another thread,
//! and is then used from one domain at a time.
//!
//! # Where a descriptor is registered
//!
//! ```text
//!               (1) arm: a call found nothing
//!   nowhere ───────────────────────────────────▶ registered at domain A
//!      ▲                                           │            │
//!      │  (2) leave: dropped, or handed out        │            │ (3) attempt or arm on domain B: leave A,
//!      └───────────────────────────────────────────┘            │     and arm joins B
//!      ▲                                                        │
//!      └────────────────────────────────────────────────────────┘
//! ```
//!
//! A descriptor that never has to wait is never registered. (1) and (3) happen on the domain that uses it, (2) on whatever
//! thread drops it, inside a run or not. Several sources may stand on the same descriptor (two `Async` on standard input): they
//! share its registration, one that leaves ends it for all, and the others join anew when they next wait.
//!
//! # One awaited call
//!
//! [`perform`] is the only loop: take one effect of the budget; try the system call, unless it is known to find nothing; if it
//! found nothing, suspend until the reactor says otherwise; again. The call itself never blocks, and nothing is held across the
//! suspension but the caller's own buffer: dropping the future at any moment loses no byte. Reads of streams have a loop of their own,
//! [`receive`](super::receive), since a reactor may put aside what comes for them.
//!
//! # What came for nobody
//!
//! *Carried*: bytes that were put aside for a read of a stream, which was dropped before it took them, stay with the stream's source, and
//! are what its next read has. So between two reads a stream has nothing that it could leave behind on a domain. While a read
//! waits (`readers`), it may have; then who uses the stream elsewhere has it fetched first, and who closes it there leaves the closing to
//! the domain where it waits.
//!
//! The loop reaches the descriptor through a [`Holder`], each time anew: a plain socket is its own, and one under ownership is
//! checked every time (`owned`).
//!
//! *Foreign first*: `AsFd` may be implemented by users, and the calls of an `Async` are theirs. They run before or after anything
//! here or in the reactor is borrowed, never while it is.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use matou_core::PointId;
use matou_core::effect::poll_budget;
use matou_core::suspension::Point;

use crate::reactor::{self, Direction, DomainReactor, Handover, Shared, Token, Unarmed, Unread};

/// A value with a non-blocking descriptor that can be waited for.
#[derive(Debug)]
pub(crate) struct Source<T: AsFd = OwnedFd> {
    /// `None` only once it was handed out, by value.
    io: Option<T>,
    /// Whether a read may stop at a border within what has come: then a short one does not say that there was no more.
    bordered: bool,
    place: RefCell<Option<Place>>,
    /// *Carried*. Boxed, as it is rarely there.
    carried: RefCell<Option<Box<Unread>>>,
    /// For a stream: makes of what has the descriptor the descriptor, to be closed elsewhere.
    surrender: Option<fn(T) -> OwnedFd>,
}

/// Where a descriptor is registered.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    token: Token,
    /// Which registration it is, of all in the process.
    epoch: u64,
    /// How many reads wait for what is put aside there. One that was forgotten, or has lost its stream, stays counted.
    readers: Cell<u32>,
    /// What is being fetched from there.
    handover: Option<Arc<Handover>>,
}

impl Place {
    fn is_at(&self, reactor: &DomainReactor) -> bool {
        Arc::ptr_eq(&self.shared, reactor.shared())
    }
}

impl<T: AsFd> Source<T> {
    /// Takes a descriptor that is non-blocking already.
    pub(crate) fn new(io: T) -> Source<T> {
        Source { io: Some(io), bordered: false, place: RefCell::new(None), carried: RefCell::new(None), surrender: None }
    }

    /// What has the descriptor.
    pub(crate) fn io(&self) -> &T {
        self.io.as_ref().expect("only `into_io` takes it, with the source")
    }

    /// The same, to be changed or replaced: it is registered nowhere then.
    pub(crate) fn io_mut(&mut self) -> &mut T {
        self.leave();
        self.io.as_mut().expect("only `into_io` takes it, with the source")
    }

    /// Takes it out. It stays non-blocking, and is registered nowhere.
    ///
    /// # Panics
    /// If that would lose bytes of a stream: some are carried, or may be on another domain where a read of it waits.
    pub(crate) fn into_io(mut self) -> T {
        let elsewhere = self.arrive();
        assert!(
            !elsewhere,
            "a read of this stream, which was forgotten or has lost it, waits on another domain: it cannot be converted here"
        );
        self.leave();
        let carried = self.carried.borrow().is_some();
        assert!(!carried, "bytes came for a read of this stream that was dropped: `unread` gives them, before the stream is converted");
        self.io.take().expect("it is taken here only, by value")
    }

    /// Takes what came for a read that was dropped.
    pub(crate) fn unread(&self) -> Vec<u8> {
        let _elsewhere = self.arrive();
        let mut carried = self.carried.borrow_mut();
        let mut bytes = Vec::new();
        if let Some(unread) = &mut *carried {
            bytes.extend_from_slice(unread.bytes());
            let _taken = unread.offer(&mut |bytes| Ok(((), bytes.len())));
        }
        if carried.as_ref().is_some_and(|unread| unread.is_empty()) {
            *carried = None;
        }
        bytes
    }

    /// Leaves the domain it is registered at. Not called while something is to be fetched from there.
    fn leave(&self) {
        if let Some(place) = self.place.take() {
            self.quit(&place);
            place.shared.leave(self.as_fd(), place.token);
        }
    }

    /// If something may have been put aside here, takes it along.
    fn quit(&self, place: &Place) {
        if place.readers.replace(0) > 0 {
            let unread = reactor::with_current(|current| current.filter(|reactor| place.is_at(reactor))?.quit(place.token));
            self.carry(unread);
        }
    }

    fn carry(&self, unread: Option<Box<Unread>>) {
        if let Some(unread) = unread {
            let mut carried = self.carried.borrow_mut();
            debug_assert!(carried.is_none(), "nothing is put aside while something is carried");
            *carried = Some(unread);
        }
    }

    /// Calls `f` with the reactor this descriptor is registered at, if that is the current domain's.
    fn here<R>(&self, f: impl FnOnce(&DomainReactor, Token) -> R) -> Option<R> {
        match &*self.place.borrow() {
            Some(place) => reactor::with_current(|current| {
                let reactor = current.filter(|reactor| place.is_at(reactor))?;
                Some(f(reactor, place.token))
            }),
            None => None,
        }
    }

    /// Leaves the domain it is registered at, if that is another one. Says whether something has to be fetched from there first.
    #[must_use]
    pub(super) fn arrive(&self) -> bool {
        let mut place = self.place.borrow_mut();
        let Some(at) = &*place else { return false };
        let here = reactor::with_current(|current| current.is_some_and(|reactor| at.is_at(reactor)));
        if at.handover.is_none() && (here || at.readers.get() == 0) {
            drop(place);
            if !here {
                self.leave();
            }
            return false;
        }
        let handover = at.handover.clone().unwrap_or_default();
        if !at.shared.fetched(at.token, &handover) {
            return true;
        }
        *place = None;
        drop(place);
        self.carry(handover.take());
        false
    }

    /// Has what was put aside elsewhere fetched: `point` is resumed when it is there.
    fn fetch(&self, point: PointId) -> Result<(), Unarmed> {
        let mut place = self.place.borrow_mut();
        let Some(at) = &mut *place else { return Err(Unarmed::Ready) };
        let handover = at.handover.get_or_insert_default();
        reactor::with_current(|current| {
            let reactor = current.ok_or_else(|| Unarmed::Failed(reactor::outside()))?;
            if at.shared.fetch(at.token, handover, reactor.shared(), point) { Err(Unarmed::Ready) } else { Ok(()) }
        })
    }

    /// Tries a system call, unless it is known to find nothing. `None`: it would block.
    pub(crate) fn attempt<R>(&self, direction: Direction, call: &mut impl FnMut(&Source<T>) -> io::Result<R>) -> Option<io::Result<R>> {
        if self.arrive() {
            return None;
        }
        self.try_here(direction, call)
    }

    /// The same, where the source has arrived.
    pub(super) fn try_here<R>(&self, direction: Direction, call: &mut impl FnMut(&Source<T>) -> io::Result<R>) -> Option<io::Result<R>> {
        if self.here(|reactor, token| reactor.is_dry(token, direction)) == Some(true) {
            return None;
        }
        loop {
            let result = call(self);
            match result.as_ref().map_err(io::Error::kind) {
                Err(io::ErrorKind::Interrupted) => {}
                Err(io::ErrorKind::WouldBlock) => {
                    self.found_nothing(direction);
                    return None;
                }
                _ => return Some(result),
            }
        }
    }

    /// A call in `direction` found nothing.
    pub(crate) fn found_nothing(&self, direction: Direction) {
        self.here(|reactor, token| reactor.found_nothing(token, direction));
    }

    /// A call on a stream moved `moved` bytes of `possible`: if fewer, the next one would find nothing. None at all says nothing:
    /// that is an end of stream.
    pub(crate) fn moved(&self, direction: Direction, moved: usize, possible: usize) {
        let bordered = self.bordered && direction == Direction::Read;
        if 0 < moved && moved < possible && !bordered {
            self.here(|reactor, token| reactor.fell_short(token, direction));
        }
    }

    /// Lets everyone who waits here look again.
    pub(crate) fn rouse(&self) {
        self.here(DomainReactor::rouse);
    }

    /// Lets `point` wait until a call in `direction` may find something.
    pub(crate) fn arm(&self, direction: Direction, point: PointId) -> Result<(), Unarmed> {
        self.arm_for(direction, None, point).map(|_| ())
    }

    /// The same; for the read of a stream, `room` says how many bytes it has room for, and what comes may be put aside for it. Gives the
    /// registration at which that is done: the read is counted there, once for each `arm_for`.
    pub(super) fn arm_for(&self, direction: Direction, room: Option<usize>, point: PointId) -> Result<Option<u64>, Unarmed> {
        let fd = self.as_fd(); // *Foreign first*.
        if self.arrive() {
            return self.fetch(point).map(|()| None);
        }
        if room.is_some() && self.carried.borrow().is_some() {
            return Err(Unarmed::Ready); // It came for another read, which was dropped meanwhile.
        }
        reactor::with_current(|current| {
            let reactor = current.ok_or_else(|| Unarmed::Failed(reactor::outside()))?;
            let mut place = self.place.borrow_mut();
            if !place.as_ref().is_some_and(|place| reactor.knows(fd, place.token)) {
                let token = reactor.join(fd, direction).map_err(Unarmed::Failed)?;
                match &mut *place {
                    Some(place) => place.token = token, // Another source on the descriptor has left.
                    None => *place = Some(Place::new(Arc::clone(reactor.shared()), token)),
                }
            }
            let place = place.as_ref().expect("set above");
            let received = reactor.wait(fd, place.token, direction, room, point)?;
            if received {
                place.readers.set(place.readers.get() + 1);
            }
            Ok(received.then_some(place.epoch))
        })
    }

    /// Lets `take` have what is carried, and what was put aside here; it says how many bytes it has taken.
    pub(super) fn offer<R>(&self, take: &mut dyn FnMut(&[u8]) -> io::Result<(R, usize)>) -> Option<io::Result<R>> {
        let mut carried = self.carried.borrow_mut();
        if let Some(unread) = &mut *carried {
            let offered = unread.offer(take);
            if unread.is_empty() {
                *carried = None;
            }
            return offered;
        }
        self.here(|reactor, token| reactor.offer(token, take)).flatten()
    }

    /// A read that was counted at a registration waits no more.
    pub(super) fn done(&self, epoch: u64) {
        let place = self.place.borrow();
        let Some(place) = place.as_ref().filter(|place| place.epoch == epoch && place.handover.is_none()) else { return };
        match place.readers.get() {
            0 => {}
            // The last one. On another domain, nothing can be done about it: what is there is fetched when it is needed.
            1 if reactor::with_current(|current| current.is_some_and(|reactor| place.is_at(reactor))) => self.quit(place),
            1 => {}
            more => place.readers.set(more - 1),
        }
    }
}

impl Source {
    /// Takes the descriptor of a stream, non-blocking already.
    pub(crate) fn stream(fd: OwnedFd) -> Source {
        let mut source = Source::new(fd);
        source.surrender = Some(|fd| fd);
        source
    }

    /// The same, for one that has borders within.
    pub(crate) fn with_borders(fd: OwnedFd) -> Source {
        let mut source = Source::stream(fd);
        source.bordered = true;
        source
    }
}

impl Place {
    fn new(shared: Arc<Shared>, token: Token) -> Place {
        static EPOCHS: AtomicU64 = AtomicU64::new(0);
        Place { shared, token, epoch: EPOCHS.fetch_add(1, Ordering::Relaxed), readers: Cell::new(0), handover: None }
    }
}

impl<T: AsFd> AsFd for Source<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io().as_fd()
    }
}

impl<T: AsFd> Drop for Source<T> {
    fn drop(&mut self) {
        if self.io.is_none() {
            return;
        }
        if self.arrive()
            && let Some(place) = self.place.take()
            && let (Some(surrender), Some(io)) = (self.surrender, self.io.take())
        {
            return place.shared.close(place.token, surrender(io));
        }
        self.leave(); // Before the descriptor is closed.
    }
}

/// What leads to a descriptor.
pub(crate) trait Holder {
    /// What has the descriptor.
    type Io: AsFd;

    /// Calls `f` with its source, or says why there is none to be had.
    fn hold<R>(&self, f: impl FnOnce(&Source<Self::Io>) -> R) -> io::Result<R>;
}

impl<T: AsFd> Holder for Source<T> {
    type Io = T;

    fn hold<R>(&self, f: impl FnOnce(&Source<T>) -> R) -> io::Result<R> {
        Ok(f(self))
    }
}

/// Does one awaited system call, waiting where it would block.
pub(crate) async fn perform<H: Holder, R>(
    holder: &H,
    direction: Direction,
    mut call: impl FnMut(&Source<H::Io>) -> io::Result<R>,
) -> io::Result<R> {
    poll_fn(poll_budget).await; // A wait takes another one by itself.
    loop {
        if let Some(result) = holder.hold(|source| source.attempt(direction, &mut call))? {
            return result;
        }
        wait(holder, direction).await?;
    }
}

/// Waits until a call in `direction`, which just found nothing, may find something.
pub(crate) async fn wait(holder: &impl Holder, direction: Direction) -> io::Result<()> {
    let point = Point::new()?;
    let suspended = point.suspend(|id| match holder.hold(|source| source.arm(direction, id)) {
        Ok(armed) => armed,
        Err(error) => Err(Unarmed::Failed(error)),
    });
    match suspended.await {
        Ok(()) | Err(Unarmed::Ready) => Ok(()),
        Err(Unarmed::Failed(error)) => Err(error),
    }
}
