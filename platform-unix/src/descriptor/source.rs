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
//! # What came for nobody
//!
//! *Carried*: bytes that were put aside for a read of a stream, which was dropped before it took them, stay with the stream's source, and
//! are what its next read has. So between two reads a stream has nothing that it could leave behind on a domain. While a read
//! waits (`readers`), it may have; then who uses the stream elsewhere has it fetched first, and who closes it there leaves the closing to
//! the domain where it waits. Where it `rests`, between two reads, its domain may be ready to put something aside, and does not: that is taken back on
//! that domain, and matters nowhere else, but that the kernel has the descriptor open until then.
//!
//! *Foreign first*: `AsFd` may be implemented by users, and the calls of an `Async` are theirs. They run before or after anything
//! here or in the reactor is borrowed, never while it is.

use std::cell::Cell;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use matou_core::PointId;

use crate::reactor::{self, Direction, DomainReactor, Handover, Shared, Token, Unarmed, Unread};

/// A value with a non-blocking descriptor that can be waited for.
pub(crate) struct Source<T: AsFd = OwnedFd> {
    /// `None` only once it was handed out, by value.
    io: Option<T>,
    /// Whether a read may stop at a border within what has come: then a short one does not say that there was no more.
    bordered: bool,
    /// What the call under way has said of itself: it moved less than it could.
    short: Cell<bool>,
    /// How many reads wait for what is put aside where it is registered. One that was forgotten, or has lost its stream, stays counted; where
    /// the count is wrong for that it is so for a moment, since who ends the last one lets all others look again. At its most it stays.
    readers: Cell<u16>,
    /// Whether the reactor where it is registered may be ready to put something aside for the next read. It does nothing before that waits, or gives it up.
    rests: Cell<bool>,
    place: Place,
    /// Boxed, as it is rarely there.
    aside: Cell<Option<Box<Aside>>>,
    /// Whether it is.
    any_aside: Cell<bool>,
    /// For a stream: makes of what has the descriptor the descriptor, to be closed elsewhere.
    surrender: Option<fn(T) -> OwnedFd>,
}

/// In whose domain's reactor a descriptor is registered, if it is, and as what.
#[derive(Default)]
struct Place {
    shared: Cell<Option<Arc<Shared>>>,
    /// Where that is in memory, and nothing else while it is held. To be looked at without being moved.
    at: Cell<Option<(NonZeroUsize, Token)>>,
}

/// What came for a read that did not take it. There is none while a read waits to have something put aside, unless that is being fetched.
enum Aside {
    /// *Carried*.
    Carried(Box<Unread>),
    /// Being fetched from where the source is registered.
    Fetched(Arc<Handover>),
}

/// What a read finds that came before it asked the system.
pub(super) enum Offered<R> {
    /// Its result.
    Taken(io::Result<R>),
    /// Nothing yet, and the system is not to be asked: it puts aside what comes next.
    OnItsWay,
    /// Nothing.
    Nothing,
}

/// Why bytes would be lost of a stream that became a bare descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Some came for a read that was dropped.
    Carried,
    /// Some may have been put aside on another domain.
    Elsewhere,
}

/// Something is to be fetched from the domain where it is registered, before it can be used.
#[derive(Debug)]
pub(super) struct Elsewhere;

impl Place {
    fn set(&self, shared: Arc<Shared>, token: Token) {
        self.at.set(Some((Place::address(&shared), token)));
        self.shared.set(Some(shared));
    }

    fn take(&self) -> Option<(Arc<Shared>, Token)> {
        let (_, token) = self.at.take()?;
        Some((self.shared.take()?, token))
    }

    fn get(&self) -> Option<(Arc<Shared>, Token)> {
        let (shared, token) = self.take()?;
        self.set(Arc::clone(&shared), token);
        Some((shared, token))
    }

    /// The token, where it is registered at this domain's reactor.
    #[inline]
    fn token_at(&self, reactor: &DomainReactor) -> Option<Token> {
        self.at.get().filter(|(at, _)| *at == Place::address(reactor.shared())).map(|(_, token)| token)
    }

    #[inline]
    fn address(shared: &Arc<Shared>) -> NonZeroUsize {
        NonNull::from(&**shared).addr()
    }
}

impl<T: AsFd> Source<T> {
    /// Takes a descriptor that is non-blocking already.
    pub(crate) fn new(io: T) -> Source<T> {
        Source {
            io: Some(io),
            bordered: false,
            short: Cell::new(false),
            readers: Cell::new(0),
            rests: Cell::new(false),
            place: Place::default(),
            aside: Cell::new(None),
            any_aside: Cell::new(false),
            surrender: None,
        }
    }

    /// The same, for a stream that has borders within.
    pub(crate) fn with_borders(io: T) -> Source<T> {
        let mut source = Source::new(io);
        source.bordered = true;
        source
    }

    /// What has the descriptor.
    pub(crate) fn io(&self) -> &T {
        self.io.as_ref().expect("only `try_into_io` takes it, with the source")
    }

    /// The same, to be changed or replaced: it is registered nowhere then.
    pub(crate) fn io_mut(&mut self) -> &mut T {
        self.leave();
        self.io.as_mut().expect("only `try_into_io` takes it, with the source")
    }

    /// Takes it out. It stays non-blocking, and is registered nowhere.
    ///
    /// Of what is no stream: there is nothing that it could lose.
    pub(crate) fn into_io(self) -> T {
        self.try_into_io().unwrap_or_else(|_| unreachable!("something is put aside for streams alone"))
    }

    /// The same of a stream, unless that would lose bytes of it.
    pub(crate) fn try_into_io(mut self) -> Result<T, (Source<T>, Loss)> {
        if self.arrive(reactor::current().as_deref()).is_err() {
            return Err((self, Loss::Elsewhere));
        }
        self.leave();
        if self.with_carried(|unread| !unread.bytes().is_empty()) == Some(true) {
            return Err((self, Loss::Carried));
        }
        Ok(self.io.take().expect("it is taken here only, by value"))
    }

    /// Takes what came for a read that was dropped.
    ///
    /// Also for one that was forgotten; one that waits looks again.
    pub(crate) fn unread(&self) -> Vec<u8> {
        self.stop_putting_aside();
        self.with_carried(Unread::take_bytes).unwrap_or_default()
    }

    /// Takes the error that came for a read that was dropped.
    pub(crate) fn unread_error(&self) -> Option<io::Error> {
        self.with_carried(Unread::take_error).flatten()
    }

    /// Nothing is put aside from now on where this is registered, if that is here, until a read waits again; what was is carried.
    fn stop_putting_aside(&self) {
        if let Ok(Some(_)) = self.arrive(reactor::current().as_deref()) {
            self.quit();
        }
    }

    /// Leaves the domain it is registered at. Not called while something is to be fetched from there.
    fn leave(&self) {
        let Some((shared, token)) = self.place.get() else { return };
        self.quit();
        self.place.take();
        shared.leave(self.as_fd(), token);
    }

    /// If something may have been put aside here, takes it along.
    fn quit(&self) {
        if (self.readers.replace(0) > 0) | self.rests.take() {
            let unread = self.here(DomainReactor::quit).flatten();
            self.carry(unread);
        }
    }

    fn carry(&self, unread: Option<Box<Unread>>) {
        if let Some(unread) = unread {
            let before = self.aside(|aside| aside.replace(Box::new(Aside::Carried(unread))));
            debug_assert!(before.is_none(), "nothing is put aside while something is carried");
        }
    }

    /// Looks at what is aside. `f` runs no foreign code.
    fn aside<R>(&self, f: impl FnOnce(&mut Option<Box<Aside>>) -> R) -> R {
        let mut aside = self.aside.take();
        let result = f(&mut aside);
        self.any_aside.set(aside.is_some());
        self.aside.set(aside);
        result
    }

    /// Looks at what is carried, if anything is, and forgets it once it is empty. `f` runs no foreign code.
    #[inline]
    fn with_carried<R>(&self, f: impl FnOnce(&mut Unread) -> R) -> Option<R> {
        if self.any_aside.get() { self.with_aside(f) } else { None }
    }

    #[inline(never)]
    fn with_aside<R>(&self, f: impl FnOnce(&mut Unread) -> R) -> Option<R> {
        self.aside(|aside| {
            let Some(Aside::Carried(unread)) = aside.as_deref_mut() else { return None };
            let result = f(unread);
            if unread.is_empty() {
                *aside = None;
            }
            Some(result)
        })
    }

    /// Whether there is something that came for another read.
    pub(super) fn carries(&self) -> bool {
        self.with_carried(|_| ()).is_some()
    }

    /// What is being fetched.
    fn fetching(&self) -> Option<Arc<Handover>> {
        if !self.any_aside.get() {
            return None;
        }
        self.aside(|aside| match aside.as_deref() {
            Some(Aside::Fetched(handover)) => Some(Arc::clone(handover)),
            _ => None,
        })
    }

    /// Lets `take` have what is carried; it says how many bytes it has taken.
    fn carried<R>(&self, take: &mut dyn FnMut(&[u8]) -> io::Result<(R, usize)>) -> Option<io::Result<R>> {
        self.with_carried(|unread| unread.offer(take)).flatten()
    }

    /// Calls `f` with the reactor this descriptor is registered at, if that is the current domain's.
    fn here<R>(&self, f: impl FnOnce(&DomainReactor, Token) -> R) -> Option<R> {
        self.at(reactor::current().as_deref(), f)
    }

    /// The same, where that is at hand.
    fn at<R>(&self, current: Option<&DomainReactor>, f: impl FnOnce(&DomainReactor, Token) -> R) -> Option<R> {
        let reactor = current?;
        Some(f(reactor, self.place.token_at(reactor)?))
    }

    /// Where it is registered, if that is at `current`. Else it is registered nowhere afterwards, unless something has to be fetched first.
    #[inline]
    pub(super) fn arrive(&self, current: Option<&DomainReactor>) -> Result<Option<Token>, Elsewhere> {
        match current.and_then(|reactor| self.place.token_at(reactor)) {
            Some(token) if !self.any_aside.get() => Ok(Some(token)),
            here => self.arrive_anew(here),
        }
    }

    /// The same, which is rare: where it is registered `here`, something is aside.
    #[inline(never)]
    fn arrive_anew(&self, here: Option<Token>) -> Result<Option<Token>, Elsewhere> {
        let Some((shared, token)) = self.place.get() else { return Ok(None) };
        let fetching = self.fetching();
        if fetching.is_none() {
            if here.is_some() {
                return Ok(here);
            }
            if self.readers.get() == 0 {
                self.leave();
                return Ok(None);
            }
        }
        let handover = fetching.unwrap_or_default();
        if !shared.fetched(token, &handover) {
            return Err(Elsewhere);
        }
        self.place.take();
        self.readers.set(0);
        self.aside(Option::take);
        self.carry(handover.take());
        Ok(None)
    }

    /// Has what was put aside elsewhere fetched: `point` is resumed when it is there.
    fn fetch(&self, reactor: &DomainReactor, point: PointId) -> Result<(), Unarmed> {
        let Some((shared, token)) = self.place.get() else { return Err(Unarmed::Ready) };
        let handover = self.fetching().unwrap_or_default();
        self.aside(|aside| *aside = Some(Box::new(Aside::Fetched(Arc::clone(&handover)))));
        if shared.fetch(token, &handover, reactor.shared(), point) { Err(Unarmed::Ready) } else { Ok(()) }
    }

    /// Tries a system call, unless it is known to find nothing; who was just `resumed` tries. `None`: it would block.
    #[inline]
    pub(crate) fn attempt<R>(
        &self,
        current: Option<&DomainReactor>,
        direction: Direction,
        resumed: bool,
        call: &mut impl FnMut(&Source<T>) -> io::Result<R>,
    ) -> Option<io::Result<R>> {
        let here = current.zip(self.arrive(current).ok()?);
        if !resumed && here.is_some_and(|(reactor, token)| reactor.is_dry(token, direction)) {
            return None;
        }
        self.short.set(false);
        loop {
            let result = call(self);
            match result.as_ref().map_err(io::Error::kind) {
                Err(io::ErrorKind::Interrupted) => continue,
                Err(io::ErrorKind::WouldBlock) => {
                    here.inspect(|(reactor, token)| reactor.found_nothing(*token, direction));
                    return None;
                }
                _ if self.short.get() => _ = here.inspect(|(reactor, token)| reactor.fell_short(*token, direction)),
                _ => {}
            }
            return Some(result);
        }
    }

    /// A call that receives found nothing. Where there is a reason to, the system is asked whether it `has_ended`: the call was just `resumed`, or an event
    /// has told of an end, also while nobody waited.
    #[inline(never)]
    pub(super) fn is_at_its_end(
        &self,
        current: Option<&DomainReactor>,
        resumed: bool,
        has_ended: impl FnOnce() -> io::Result<bool>,
    ) -> bool {
        let announced = self.at(current, DomainReactor::take_announced_end) == Some(true);
        let ended = (resumed || announced) && has_ended().unwrap_or(false);
        if ended {
            self.at(current, DomainReactor::found_end);
        }
        ended
    }

    /// A call in `direction` found nothing.
    pub(crate) fn found_nothing(&self, direction: Direction) {
        self.here(|reactor, token| reactor.found_nothing(token, direction));
    }

    /// Said by a call on a stream, of itself: it moved `moved` bytes of `possible`. If fewer, the next one would find nothing. None at all
    /// says nothing: that is an end of stream.
    pub(crate) fn moved(&self, direction: Direction, moved: usize, possible: usize) {
        let bordered = self.bordered && direction == Direction::Read;
        self.short.set(0 < moved && moved < possible && !bordered);
    }

    /// Lets everyone who waits here look again.
    pub(crate) fn rouse(&self) {
        self.here(DomainReactor::rouse);
    }

    /// The same, where calls that found nothing may have a result now without an event: whoever comes next tries, too.
    pub(crate) fn try_anew(&self) {
        self.here(DomainReactor::try_anew);
    }

    /// Lets `point` wait until a call in `direction` may find something.
    pub(crate) fn arm(&self, direction: Direction, point: PointId) -> Result<(), Unarmed> {
        self.arm_for(reactor::current().as_deref(), direction, None, point).map(|_| ())
    }

    /// The same; for the read of a stream, `room` says, if asked, how many bytes it has room for, and what comes may be put aside for it. Says whether it
    /// will be: then the read is to be [counted](Source::count), and says when it is [done](Source::done).
    pub(super) fn arm_for(
        &self,
        current: Option<&DomainReactor>,
        direction: Direction,
        room: Option<&dyn Fn() -> usize>,
        point: PointId,
    ) -> Result<bool, Unarmed> {
        let fd = self.as_fd();
        let reactor = current.ok_or_else(|| Unarmed::Failed(reactor::outside()))?;
        let Ok(here) = self.arrive(Some(reactor)) else { return self.fetch(reactor, point).map(|()| false) };
        if room.is_some() && self.carries() {
            return Err(Unarmed::Ready); // It came for another read, which was dropped meanwhile.
        }
        if let Some(armed) = here.and_then(|token| reactor.wait(fd, token, direction, room, point)) {
            return armed;
        }
        let token = self.join(reactor, fd, direction).map_err(Unarmed::Failed)?;
        // It has just joined: if it were not there, it would look again.
        reactor.wait(fd, token, direction, room, point).unwrap_or(Err(Unarmed::Ready))
    }

    /// Something will be put aside for a read, which was `counted` before or not.
    #[cold]
    pub(super) fn count(&self, counted: bool) {
        if !counted || self.readers.get() == 0 {
            self.readers.set(self.readers.get().saturating_add(1));
        }
    }

    /// Registers it here, where it was not known, or by a token that is old.
    #[cold]
    fn join(&self, reactor: &DomainReactor, fd: BorrowedFd<'_>, direction: Direction) -> io::Result<Token> {
        let token = reactor.join(fd, direction)?;
        self.place.set(Arc::clone(reactor.shared()), token);
        Ok(token)
    }

    /// Whether something may have come for a read already. With a reactor that puts nothing aside, never.
    #[inline]
    pub(super) fn may_have_aside(&self) -> bool {
        self.readers.get() > 0 || self.any_aside.get()
    }

    /// Lets `take` have what is carried, and what was put aside here; it says how many bytes it has taken.
    #[inline(never)]
    pub(super) fn offer_aside<R>(
        &self,
        current: Option<&DomainReactor>,
        take: &mut dyn FnMut(&[u8]) -> io::Result<(R, usize)>,
    ) -> Offered<R> {
        let Ok(here) = self.arrive(current) else { return Offered::Nothing };
        if let Some(carried) = self.carried(take) {
            return Offered::Taken(carried);
        }
        let Some((reactor, token)) = current.zip(here) else { return Offered::Nothing };
        match reactor.offer(token, take) {
            Some(ahead) => Offered::Taken(ahead),
            // Whoever tries now, because of another event or as a second reader, must not read past what is being received.
            None if reactor.is_receiving(token) => {
                reactor.found_nothing(token, Direction::Read);
                Offered::OnItsWay
            }
            None => Offered::Nothing,
        }
    }

    /// A read that was counted waits no more: it has its result, or was dropped.
    pub(super) fn done(&self, current: Option<&DomainReactor>, has_result: bool) {
        if self.fetching().is_some() {
            return;
        }
        match self.readers.get() {
            0 | u16::MAX => {}
            // The last one. On another domain, nothing can be done about it: what is there is fetched when it is needed.
            // What stands behind a border may be another call's.
            1 => match self.at(current, |reactor, token| has_result && !self.bordered && reactor.rest(token)) {
                Some(true) => {
                    self.readers.set(0);
                    self.rests.set(true);
                }
                Some(false) => {
                    self.quit();
                    if !has_result {
                        self.at(current, DomainReactor::asked_in_vain);
                    }
                }
                None => {}
            },
            more => self.readers.set(more - 1),
        }
    }
}

impl Source {
    /// The same, for a stream: one that reads of it may have something put aside for.
    pub(crate) fn streaming(mut self) -> Source {
        self.surrender = Some(|fd| fd);
        self
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
        if self.arrive(reactor::current().as_deref()).is_err()
            && let Some((shared, token)) = self.place.get()
            && let Some(surrender) = self.surrender
            && let Some(io) = self.io.take()
        {
            return shared.close(token, surrender(io));
        }
        self.leave(); // Before the descriptor is closed.
    }
}
