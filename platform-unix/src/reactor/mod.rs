//! A domain's reactor: it knows which tasks wait for which descriptors, and asks the system what has happened to them.
//!
//! One reactor serves one domain. Sockets, and all other descriptors (it is `Source`s that come here), reach the reactor of the current domain through a thread-local ([`current`]), which
//! is set while the domain's event source lives. There are three back ends with the same inherent methods, [`uring`], [`epoll`] and
//! [`poll`]; what they share is the [`table`].
//!
//! # Who may call what
//!
//! | part | by |
//! | --- | --- |
//! | [`Reactor`], and the table and back end in it | its domain only; never while foreign code is above it on the stack but below `select` |
//! | [`Shared`] | any thread: the bell, the mail, the epoll descriptor |
//!
//! # How a socket leaves
//!
//! A socket that waited here and is then used or dropped here leaves at once. One that was moved to another domain leaves from
//! there ([`Shared::leave`]): it takes itself out of epoll, posts a letter with its token and rings the bell ([`mail`]), and this domain
//! closes the entry at its next `select`. Points that still wait at the entry then are resumed, and find out that the socket has
//! gone: a task must not sleep on a socket it gave away. In between an event for the old token does nothing worse than to resume
//! them early.
//!
//! Several sources may stand on one descriptor number: two on standard input, or one whose descriptor was closed behind its back
//! beside the number's next user. They share the entry while epoll confirms that it is the same file, and what takes the number out
//! of epoll closes the entry *whoever* holds it, since it has taken out the others' registration too. Those find their token old
//! ([`DomainReactor::knows`]) and join anew. So a source that waits is always registered, or about to be resumed.
//!
//! No byte is lost on the way, because none is ever taken before a call asks for it. With [`uring`] the kernel takes bytes for a read that
//! waits; so a stream whose read waits here, and which is used on another domain nevertheless (the read was forgotten, or the stream
//! belongs to another task by now), has what came *fetched*: the other domain asks for it by a letter, and waits for the answer
//! before it uses the stream. One that is dropped there sends its descriptor along, to be closed here: until this domain has quit, it must not
//! become the number of another file.

mod choice;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;
mod kernel;
pub(crate) mod lent;
mod mail;
mod poll;
mod table;
#[cfg(test)]
mod tests;
mod unread;
#[cfg(all(target_os = "linux", not(matou_scripted_kernel)))]
mod uring;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use matou_core::PointId;
use matou_core::platform::Wait;
use matou_core::suspension::PointError;
use rustix::event::Timespec;

pub use self::choice::{Reactor, UnknownReactor};
pub(crate) use self::lent::Lent;
pub(crate) use self::mail::Handover;
pub(crate) use self::table::{Direction, Token};
pub(crate) use self::unread::Unread;

use self::kernel::{Kernel, kernel};
use self::lent::Pool;
use self::mail::{Letter, Mail};
use self::table::Table;
use crate::interrupt::{Bell, Material};
use crate::signal::{Hub, Registry};
use crate::time::Duration;

/// What other threads may touch of a reactor. It outlives the reactor where a socket or the core still holds it.
#[derive(Debug)]
pub(crate) struct Shared {
    bell: Bell,
    /// What other domains have to say.
    mail: Mail,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    epoll: Option<Arc<std::os::fd::OwnedFd>>,
}

/// Why a point does not wait.
#[derive(Debug)]
pub(crate) enum Unarmed {
    /// The socket turned ready meanwhile: try again.
    Ready,
    /// It cannot be waited for.
    Failed(io::Error),
}

impl From<PointError> for Unarmed {
    fn from(error: PointError) -> Unarmed {
        Unarmed::Failed(match error {
            PointError::NoDomain => outside(), // Who waits for a socket has made no point.
            error => error.into(),
        })
    }
}

/// The reactor of one domain.
pub(crate) struct DomainReactor {
    shared: Arc<Shared>,
    state: RefCell<State>,
    /// What it lends to those who receive.
    buffers: Rc<Pool>,
    /// Signals that are listened to on this domain; made by the first listener.
    hub: OnceCell<Rc<Hub>>,
    /// The signal handlers of the run.
    registry: Arc<Registry>,
}

struct State {
    table: Table,
    kernel: Kernel,
}

thread_local! {
    /// It has no destructor, so that to look at it asks nothing: [`uninstall`](DomainReactor::uninstall) takes out what is here.
    static CURRENT: Cell<Option<ManuallyDrop<Rc<DomainReactor>>>> = const { Cell::new(None) };
}

/// The reactor of the domain that runs on this thread. It is held, not borrowed: whatever runs meanwhile may ask for it too.
#[inline]
pub(crate) fn current() -> Option<Rc<DomainReactor>> {
    let current = CURRENT.take();
    let held = current.as_deref().cloned();
    CURRENT.set(current);
    held
}

/// No reactor is current any more.
fn leave_current() {
    drop(CURRENT.take().map(ManuallyDrop::into_inner));
}

/// A buffer of the current domain, to receive into.
#[inline(always)]
pub(crate) fn lend(current: Option<&DomainReactor>) -> io::Result<Lent> {
    match current {
        Some(reactor) => reactor.buffers.lend(),
        None => Err(io::Error::other(
            "a buffer to receive into is lent only inside `matou_unix::run`, by a task's domain: `read` brings its own",
        )),
    }
}

/// There is no reactor to wait with.
pub(crate) fn outside() -> io::Error {
    io::Error::other("a descriptor can be waited for only inside `matou_unix::run`, by a task")
}

impl DomainReactor {
    /// Makes the reactor of the domain that runs on this thread, and makes it current.
    /// It is of the kind that was asked for, else of the first one that there is.
    pub(crate) fn install(
        reactor: Option<Reactor>,
        bell: Material,
        registry: Arc<Registry>,
        lent_buffer: usize,
    ) -> io::Result<Rc<DomainReactor>> {
        let bell = Bell::new(bell)?;
        let kernel = Kernel::new(reactor, &bell)?;
        let shared = Shared {
            bell,
            mail: Mail::default(),
            #[cfg(any(target_os = "linux", target_os = "android"))]
            epoll: match &kernel {
                Kernel::Epoll(epoll) => Some(epoll.handle()),
                _ => None,
            },
        };
        let state = RefCell::new(State { table: Table::default(), kernel });
        let (shared, buffers) = (Arc::new(shared), Pool::new(lent_buffer));
        let reactor = Rc::new(DomainReactor { shared, state, buffers, hub: OnceCell::new(), registry });
        reactor.enter();
        Ok(reactor)
    }

    /// Makes it the one of the domain that runs on this thread. A fuzz target has several in turn.
    pub(crate) fn enter(self: &Rc<Self>) {
        leave_current();
        CURRENT.set(Some(ManuallyDrop::new(Rc::clone(self))));
    }

    /// Takes it out of the thread: sockets that are still registered here find nobody to tell.
    pub(crate) fn uninstall(self: &Rc<Self>) {
        if let Some(hub) = self.hub.get() {
            hub.close();
        }
        self.buffers.close();
        let State { table, kernel } = &mut *self.state.borrow_mut();
        self.shared.mail.close(|| kernel.end(table));
        if current().is_some_and(|current| Rc::ptr_eq(&current, self)) {
            leave_current();
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// How many bytes a [lent](lend) buffer has.
    pub(crate) fn lent_size(&self) -> usize {
        self.buffers.size()
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The signals of this domain.
    pub(crate) fn hub(&self) -> io::Result<&Rc<Hub>> {
        if self.hub.get().is_none() {
            let hub = Hub::new()?;
            let _first = self.hub.set(hub);
        }
        Ok(self.hub.get().expect("set above"))
    }

    /// Registers a descriptor on which a call in `direction` just found nothing.
    pub(crate) fn join(&self, fd: BorrowedFd<'_>, direction: Direction) -> io::Result<Token> {
        let State { table, kernel } = &mut *self.state.borrow_mut();
        // Another source is there, on the same file: they share. What is known of it stays, as an event may have come after the
        // call that found nothing.
        if let Some(token) = table.open_at(fd.as_raw_fd())
            && kernel!(kernel, still_watches(fd, token))
        {
            return Ok(token);
        }
        let token = table.open(fd.as_raw_fd(), direction);
        if let Err(error) = kernel!(kernel, join(fd, token, direction)) {
            table.close(token);
            return Err(error);
        }
        Ok(token)
    }

    /// Lets `point` wait for a socket that has joined. `None`: `fd` is not registered here under `token`, or no longer.
    ///
    /// For a stream that is to be read, `room` says, if asked, how many bytes its reader has room for: with some, what comes may be put aside for it. Says
    /// whether it will be: then the reader [quits](DomainReactor::quit) when it waits no more.
    pub(crate) fn wait(
        &self,
        fd: BorrowedFd<'_>,
        token: Token,
        direction: Direction,
        room: Option<&dyn Fn() -> usize>,
        point: PointId,
    ) -> Option<Result<bool, Unarmed>> {
        let State { table, kernel } = &mut *self.state.borrow_mut();
        if !token.is_of(fd) {
            return None;
        }
        if !table.is_open_and_dry(token, direction)? || (room.is_some() && kernel.is_ahead(token)) {
            return Some(Err(Unarmed::Ready));
        }
        let received = room.is_some_and(|room| kernel.want(token, room));
        if !received && let Err(error) = kernel!(kernel, watch(fd, token, direction)) {
            return Some(Err(Unarmed::Failed(error)));
        }
        table.wait(token, direction, point);
        Some(Ok(received))
    }

    /// Whether a call in `direction` is known to find nothing.
    pub(crate) fn is_dry(&self, token: Token, direction: Direction) -> bool {
        self.state.borrow_mut().table.is_dry(token, direction)
    }

    /// A call found nothing.
    pub(crate) fn found_nothing(&self, token: Token, direction: Direction) {
        self.state.borrow_mut().table.found_nothing(token, direction);
    }

    /// Whether an event has told of an end of the reading direction, or of an error; it is not told again.
    pub(crate) fn take_announced_end(&self, token: Token) -> bool {
        self.state.borrow_mut().table.take_announced_end(token)
    }

    /// Nothing more will come, and the calls do not say so: the next one is to find out, too.
    pub(crate) fn found_end(&self, token: Token) {
        self.state.borrow_mut().table.found_end(token);
    }

    /// A call on a stream moved fewer bytes than it could have.
    pub(crate) fn fell_short(&self, token: Token, direction: Direction) {
        self.state.borrow_mut().table.fell_short(token, direction);
    }

    /// Lets `take` have what came for a read of this stream; it says how many bytes it has taken.
    pub(crate) fn offer<R>(&self, token: Token, take: &mut dyn FnMut(&[u8]) -> io::Result<(R, usize)>) -> Option<io::Result<R>> {
        self.state.borrow_mut().kernel.offer(token, take)
    }

    /// Whether something is on its way to be put aside.
    pub(crate) fn is_receiving(&self, token: Token) -> bool {
        self.state.borrow().kernel.is_receiving(token)
    }

    /// The last read of this stream that waited has its result. Says whether all is ready to put something aside for another one: that waits here before
    /// the system is asked again, or that is given up.
    pub(crate) fn rest(&self, token: Token) -> bool {
        let State { table, kernel } = &mut *self.state.borrow_mut();
        table.rouse_readers(token);
        kernel.rest(token)
    }

    /// The last read of this stream that waited was dropped: the next one tries.
    pub(crate) fn asked_in_vain(&self, token: Token) {
        self.state.borrow_mut().table.asked_in_vain(token, Direction::Read);
    }

    /// No read of this stream is known to wait here any more: nothing is put aside from now on, and what was is given back. Should one wait
    /// nevertheless, it looks again.
    pub(crate) fn quit(&self, token: Token) -> Option<Box<Unread>> {
        let State { table, kernel } = &mut *self.state.borrow_mut();
        table.rouse_readers(token);
        kernel.quit(token, table)
    }

    /// Closes the entry of a descriptor that has left: everyone who waits there looks again.
    fn close(&self, token: Token) {
        let State { table, kernel } = &mut *self.state.borrow_mut();
        table.close(token);
        kernel.leave(token, table);
    }

    /// Lets everyone who waits at this token look again.
    pub(crate) fn rouse(&self, token: Token) {
        let State { table, kernel } = &mut *self.state.borrow_mut();
        table.rouse(token);
        kernel!(kernel, settle(token.index(), table));
    }

    /// The same, and nothing is known of the descriptor any more.
    pub(crate) fn try_anew(&self, token: Token) {
        self.state.borrow_mut().table.end_dryness(token);
        self.rouse(token);
    }

    /// What the core calls: see [`matou_core::platform::Events::select`].
    pub(crate) fn select(&self, wait: Wait, cancelled: &[PointId], resume: &mut dyn FnMut(PointId)) -> io::Result<()> {
        let State { table, kernel } = &mut *self.state.borrow_mut();
        for &point in cancelled {
            if let Some(index) = table.give_up(point) {
                kernel!(kernel, settle(index, table));
            }
        }
        let mut answered = false;
        for letter in self.shared.mail.take() {
            let token = match letter {
                Letter::Left(token) => token,
                Letter::Closed(token, fd) => {
                    let _nobody_reads_it = kernel.quit(token, table);
                    kernel.leave(token, table);
                    drop(fd);
                    token
                }
                Letter::Fetch { token, handover, to, point } => {
                    handover.fill(|| kernel.quit(token, table));
                    let _it_ended = to.send(Letter::Resume(point));
                    token
                }
                Letter::Resume(point) => {
                    answered = true;
                    resume(point);
                    continue;
                }
            };
            table.close(token);
            kernel.leave(token, table);
        }
        // Who was resumed just now is runnable: no sleep.
        let wait = if table.resume_released(resume) || answered { Wait::No } else { wait };
        kernel!(kernel, select(wait, &self.shared.bell, table, resume))
    }
}

impl Shared {
    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Takes a descriptor out of this reactor, on whatever thread. Afterwards it may join another one, or be closed.
    pub(crate) fn leave(self: &Arc<Self>, fd: BorrowedFd<'_>, token: Token) {
        if self.mail.is_closed() {
            return;
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Some(epoll) = &self.epoll
            && token.is_of(fd)
        {
            epoll::remove(epoll, fd);
        }
        match current() {
            Some(reactor) if Arc::ptr_eq(reactor.shared(), self) => reactor.close(token),
            _ => {
                let _it_ended = self.send(Letter::Left(token));
            }
        }
    }

    /// Has a stream closed whose read waits there, on another domain.
    pub(crate) fn close(&self, token: Token, fd: OwnedFd) {
        let _closed_at_once = self.send(Letter::Closed(token, fd));
    }

    /// Asks that domain for what came for a read of a stream; `point`, of the domain `to`, is resumed when it is there. Says whether it is
    /// there already.
    pub(crate) fn fetch(&self, token: Token, handover: &Arc<Handover>, to: &Arc<Shared>, point: PointId) -> bool {
        let letter = Letter::Fetch { token, handover: Arc::clone(handover), to: Arc::clone(to), point };
        self.send(letter).is_err() && self.fetched(token, handover)
    }

    /// Whether what came is there, where the domain has ended at the latest.
    pub(crate) fn fetched(&self, token: Token, handover: &Handover) -> bool {
        if self.mail.is_closed() {
            handover.fill(|| self.mail.left(token));
        }
        handover.is_filled()
    }

    /// Rings after it, so that the domain looks. An ended one gives it back.
    fn send(&self, letter: Letter) -> Result<(), Letter> {
        self.mail.post(letter)?;
        self.bell.ring();
        Ok(())
    }
}

fn timespec(duration: Duration) -> Timespec {
    // Seconds that do not fit are no different from for ever; every caller has cut them off before.
    Timespec { tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}
