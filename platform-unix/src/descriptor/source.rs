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
//! suspension but the caller's own buffer: dropping the future at any moment loses no byte.
//!
//! The loop reaches the descriptor through a [`Holder`], each time anew: a plain socket is its own, and one under ownership is
//! checked every time (`owned`).
//!
//! *Foreign first*: `AsFd` may be implemented by users, and the calls of an `Async` are theirs. They run before or after anything
//! here or in the reactor is borrowed, never while it is.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use matou_core::PointId;
use matou_core::effect::poll_budget;
use matou_core::suspension::Point;

use crate::reactor::{self, Direction, DomainReactor, Shared, Token, Unarmed};

/// A value with a non-blocking descriptor that can be waited for.
#[derive(Debug)]
pub(crate) struct Source<T: AsFd = OwnedFd> {
    /// `None` only once it was handed out, by value.
    io: Option<T>,
    /// Whether a read may stop at a border within what has come: then a short one does not say that there was no more.
    bordered: bool,
    place: RefCell<Option<Place>>,
}

/// Where a descriptor is registered.
#[derive(Debug)]
struct Place {
    shared: Arc<Shared>,
    token: Token,
}

impl Place {
    fn is_at(&self, reactor: &DomainReactor) -> bool {
        Arc::ptr_eq(&self.shared, reactor.shared())
    }
}

impl<T: AsFd> Source<T> {
    /// Takes a descriptor that is non-blocking already.
    pub(crate) fn new(io: T) -> Source<T> {
        Source { io: Some(io), bordered: false, place: RefCell::new(None) }
    }

    /// The same, for a stream that has borders within.
    pub(crate) fn with_borders(io: T) -> Source<T> {
        let mut source = Source::new(io);
        source.bordered = true;
        source
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
    pub(crate) fn into_io(mut self) -> T {
        self.leave();
        self.io.take().expect("it is taken here only, by value")
    }

    fn leave(&self) {
        if let Some(place) = self.place.take() {
            place.shared.leave(self.as_fd(), place.token);
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

    /// Leaves the domain it is registered at, if that is another one.
    fn arrive(&self) {
        let elsewhere = match &*self.place.borrow() {
            Some(place) => !reactor::with_current(|current| current.is_some_and(|reactor| place.is_at(reactor))),
            None => false,
        };
        if elsewhere {
            self.leave();
        }
    }

    /// Tries a system call, unless it is known to find nothing. `None`: it would block.
    pub(crate) fn attempt<R>(&self, direction: Direction, call: &mut impl FnMut(&Source<T>) -> io::Result<R>) -> Option<io::Result<R>> {
        self.arrive();
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
        let fd = self.as_fd(); // *Foreign first*.
        self.arrive();
        reactor::with_current(|current| {
            let reactor = current.ok_or_else(|| Unarmed::Failed(reactor::outside()))?;
            let mut place = self.place.borrow_mut();
            let token = match &*place {
                Some(place) if reactor.knows(fd, place.token) => place.token,
                _ => {
                    let token = reactor.join(fd, direction).map_err(Unarmed::Failed)?;
                    *place = Some(Place { shared: Arc::clone(reactor.shared()), token });
                    token
                }
            };
            reactor.wait(fd, token, direction, point)
        })
    }
}

impl<T: AsFd> AsFd for Source<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io().as_fd()
    }
}

impl<T: AsFd> Drop for Source<T> {
    fn drop(&mut self) {
        if self.io.is_some() {
            self.leave(); // Before the descriptor is closed.
        }
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
