//! What the model checker sees of the lock-free parts: the mailbox over nodes of its own, a task's state word, its memory, the places of
//! a pool, and the door of a run.
//!
//! Thin wrappers, so that the models run the code that ships.

#![allow(unsafe_code, missing_docs, missing_debug_implementations)] // For the models alone.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::{Ready, ready};
use core::panic::Location;
use core::ptr::NonNull;
use core::task::Waker;

use crate::container::mailbox::Mailbox;
pub use crate::container::mailbox::Slept;
use crate::container::{Chain, Next};
use crate::domain::shared::Run;
use crate::domain::survey::Door;
use crate::id::{DomainId, TaskId};
use crate::platform::Interrupt;
use crate::run::Config;
pub use crate::shim::fault;
pub use crate::shim::modelled::{AtomicBool, AtomicUsize};
use crate::task::cell::{Beside, Made, Storage, TaskCell};
use crate::task::pool::TaskPool;
use crate::task::state::{Found, State};
use crate::task::{self, Birth, InboxChain, Parent, TaskRef, waker};

/// A node with a state word, as a task has.
pub struct Node {
    next: Next<Node>,
    state: State,
    pub id: usize,
}

enum Nodes {}

// SAFETY: the one link of a node; models keep their nodes alive and in place.
unsafe impl Chain for Nodes {
    type Node = Node;

    unsafe fn next<'a>(node: NonNull<Node>) -> &'a Next<Node> {
        // SAFETY: promised by the caller.
        unsafe { &(*node.as_ptr()).next }
    }
}

// SAFETY: what the protocol under test is there to make true.
unsafe impl Send for Node {}
// SAFETY: as above.
unsafe impl Sync for Node {}

impl Node {
    pub fn new(id: usize) -> Self {
        Node { next: Next::new(None), state: State::idle(1), id }
    }

    pub fn wake(&self) -> Asked {
        Asked::from(self.state.wake())
    }

    pub fn cancel(&self) -> Asked {
        Asked::from(self.state.cancel())
    }

    pub fn attend(&self) -> Seen {
        // A domain queues the nodes it took by the same link, and lets go of it before it attends.
        self.next.set(None);
        Seen::from(self.state.attend())
    }

    /// A node that its maker is about to push.
    pub fn queued(id: usize) -> Self {
        Node { next: Next::new(None), state: State::queued(1), id }
    }

    pub fn is_cancelled(&self) -> bool {
        self.state.is_cancelled()
    }

    /// Whether the node is in an inbox, or about to be.
    #[must_use]
    pub fn end(&self) -> bool {
        self.state.end()
    }

    pub fn pass_on(&self) {
        self.state.pass_on();
    }
}

/// What is to be done with a node after a wake or a cancellation.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    Push,
    OnItsWay,
    Ended,
}

impl From<crate::task::state::Send> for Asked {
    fn from(sent: crate::task::state::Send) -> Self {
        match sent {
            crate::task::state::Send::Push => Asked::Push,
            crate::task::state::Send::OnItsWay => Asked::OnItsWay,
            crate::task::state::Send::Ended => Asked::Ended,
        }
    }
}

/// What the domain that took a node finds.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    Woken,
    Cancelled,
    Ended,
}

impl From<Found> for Seen {
    fn from(found: Found) -> Self {
        match found {
            Found::Woken => Seen::Woken,
            Found::Cancelled => Seen::Cancelled,
            Found::Ended => Seen::Ended,
        }
    }
}

/// A domain's mailbox.
pub struct Inbox(Mailbox<Nodes>);

impl Default for Inbox {
    fn default() -> Self {
        Inbox(Mailbox::new())
    }
}

impl Inbox {
    /// # Safety
    /// As `Mailbox::install`.
    pub unsafe fn install(&self, interrupt: NonNull<dyn Interrupt>) {
        // SAFETY: passed on.
        unsafe { self.0.install(interrupt) };
    }

    /// # Safety
    /// As `Mailbox::push`.
    pub unsafe fn push(&self, node: &Node) {
        // SAFETY: passed on.
        unsafe { self.0.push(NonNull::from(node)) };
    }

    /// The ids of the nodes taken, oldest first.
    pub fn take(&self) -> Vec<usize> {
        // SAFETY: a node in an inbox is valid.
        self.0.take().map(|node| unsafe { node.as_ref() }.id).collect()
    }

    pub fn looks_empty(&self) -> bool {
        self.0.looks_empty()
    }

    /// Watches for so many looks.
    pub fn watch(&self, looks: usize) -> bool {
        let mut left = looks;
        self.0.watch(|| {
            left -= 1;
            left > 0
        })
    }

    pub fn sleep(&self, flagged: impl FnOnce() -> bool) -> Slept {
        self.0.sleep(flagged)
    }

    pub fn ring(&self) {
        self.0.ring();
    }

    pub fn close(&self) {
        self.0.close();
    }
}

/// A task without a run, as its holders see it: its header, its wakers, its memory, and the mailbox of its home.
///
/// There are three holds: that of the home domain, that of its parent's list, and that of its promise. The first is near the others where
/// the task was not sent.
pub struct Memory {
    task: TaskRef,
    sent: bool,
    home: Box<Mailbox<InboxChain>>,
}

type Cell = TaskCell<Made, Ready<()>, Freed, Watching>;

/// What is called when the memory is freed.
struct Freed(Box<dyn Fn()>);

impl Beside for Freed {
    fn name(&self) -> Option<&'static str> {
        None
    }
}

enum Watching {}

impl Storage for Watching {
    unsafe fn free<T>(task: TaskRef) {
        // SAFETY: a `Memory` alone has this storage, and is a `Cell` in a box.
        let cell = unsafe { Box::from_raw(task.cast::<Cell>().as_ptr()) };
        (cell.beside().0)();
    }
}

// SAFETY: what the protocol under test is there to make true.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub fn new(sent: bool, freed: impl Fn() + 'static) -> Memory {
        let home = Box::new(Mailbox::new());
        let birth = Birth {
            id: TaskId::new(DomainId::ZERO, 0),
            home: NonNull::from(&*home),
            parent: Parent::NOBODY,
            born: Location::caller(),
            held: true,
            sent,
        };
        let cell = Box::new(Cell::of_future(&birth, ready(()), Freed(Box::new(freed))));
        let task: TaskRef = NonNull::from(Box::leak(cell)).cast();
        if sent {
            // Its home has taken it from the inbox.
            // SAFETY: just made.
            let _woken = unsafe { task.as_ref() }.state.attend();
        }
        Memory { task, sent, home }
    }

    /// One more holder.
    pub fn waker(&self) -> Waker {
        // SAFETY: one of the three holds is there.
        Waker::clone(&waker::borrowed(self.task))
    }

    /// The list or the promise lets go.
    ///
    /// # Safety
    /// By the parent's thread, twice.
    pub unsafe fn let_go(&self) {
        // SAFETY: promised by the caller.
        unsafe { task::release_near(self.task) };
    }

    /// The home domain lets go, as `Domain::let_go`.
    ///
    /// # Safety
    /// By the home domain, once.
    pub unsafe fn leave(&self) {
        // SAFETY: promised by the caller.
        unsafe { if self.sent { task::release(self.task) } else { task::release_near(self.task) } };
    }

    /// Drops the future and ends the task. Whether its node is in the inbox, or about to be.
    ///
    /// # Safety
    /// By the home domain, which holds it, once.
    pub unsafe fn end(&self) -> bool {
        // SAFETY: promised by the caller.
        unsafe {
            task::clear(self.task);
            self.task.as_ref().end()
        }
    }

    /// Takes the node from the inbox, if it is there. By the home domain, which holds it.
    pub fn attend(&self) -> Option<Seen> {
        // SAFETY: who is in the inbox is held by its home.
        self.home.take().last().map(|node| Seen::from(unsafe { node.as_ref() }.state.attend()))
    }
}

/// The places of a pool of one task.
#[derive(Clone, Copy)]
pub struct Place(&'static TaskPool<1, 16>);

impl Default for Place {
    fn default() -> Self {
        Place(Box::leak(Box::new(TaskPool::new())))
    }
}

impl Place {
    /// Calls `f` if the place was free, and frees it.
    pub fn with<R>(self, f: impl FnOnce() -> R) -> Option<R> {
        let place = self.0.take_place()?;
        let result = f();
        // SAFETY: taken above.
        unsafe { TaskPool::<1, 16>::free_place(place) };
        Some(result)
    }
}

/// A run, as those see it who ask for its tree of tasks, or end it.
pub struct House {
    door: Arc<Door>,
    run: Run,
}

impl Default for House {
    fn default() -> Self {
        let run = Run::new(Config::new());
        House { door: run.door().clone(), run }
    }
}

impl House {
    /// The door is open while `f` runs. Afterwards nobody is inside.
    pub fn while_open<R>(&self, f: impl FnOnce() -> R) -> R {
        let _opened = self.door.open(&self.run);
        f()
    }

    /// Ends the run.
    pub fn abort(&self) {
        self.run.abort();
    }

    /// Puts a question, which nobody answers.
    pub fn ask(&self) {
        let answers = Arc::new(crate::domain::survey::Answers::default());
        self.run.ask(DomainId::ZERO, crate::domain::survey::Question::of_main(&answers));
    }

    /// What a busy domain does between two polls: if it is hailed, it looks whether the run is to end.
    pub fn look(&self) -> Option<bool> {
        let place = self.run.place(DomainId::ZERO);
        place.is_hailed().then(|| {
            place.heed();
            self.run.is_aborting()
        })
    }

    /// Calls `f` inside, if the door is open.
    pub fn visit<R>(&self, f: impl FnOnce() -> R) -> Option<R> {
        self.door.visit(|_| f())
    }
}

// SAFETY: a run is shared by its domains' threads; a model asks for nothing else.
unsafe impl Sync for House {}
// SAFETY: as above.
unsafe impl Send for House {}
