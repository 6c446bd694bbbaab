//! A task: a header of at most 112 bytes (128 without a heap), and behind it, in the same memory, its closure, then its future, then its result.
//!
//! # Who may touch what
//!
//! *Home* is the domain the task lives on. *Parent* is the domain of the task that made it: the same for `spawn`, another for
//! `call`. Only the fields in the first group are touched by several threads at once.
//!
//! | field | who writes | who reads | under |
//! | --- | --- | --- | --- |
//! | `state` | anybody | anybody | atomic |
//! | `inbox` | who set `QUEUED`, then who took the node | the same | *Queued* (see [`state`]) |
//! | `id`, `vtable`, `home`, `parent`, `born` | the maker, before anybody else knows the task | anybody | never changed |
//! | `home_flags`, `run`, `children`, `belongings` | home | home | *Home* |
//! | `belongings`, after the end | parent | parent | handed over by `ENDED` |
//! | `parent_flags`, `near`, `siblings`, `waker` | parent | parent | *Parent* |
//! | `stage` (with the brood) and the payload | home until the end, then parent | the same | *Stage* |
//!
//! # Invariants
//!
//! - *Awaited*: the waker that waits for a child's end is the parent's own, uncounted, or another. It is in the child's header only while the
//!   child is linked, so by *Kept* the parent outlives it there, and only until the child is delivered, which takes it out.
//! - *Counted*: a header is valid while it has holders. Four kinds of them count: the home domain until it has no link to the task any
//!   more, the parent's list of children, the promise, and each waker. The list and the promise, and the home domain too where it is the
//!   parent's, are *near*: one thread's, which counts them in `near`; together they are one holder in the state word. Until the end the home
//!   domain may have one hold more, for the next waker (`home::SPARE`): so one that goes there and one that comes need no atomic step.
//! - *Home*, *Parent*: those fields are only touched on that domain's thread, the maker's first touch excepted.
//! - *Stage*: the payload holds what `stage` says. It never moves while it holds a future.
//! - *Queued*: see [`state`].
//! - *Kept*: a parent ends only after each child was delivered to it, so a child's `parent` is valid until the child is unlinked; a
//!   domain ends only after its tasks have ended and each of their nodes that was marked as queued was taken, so `home` is valid
//!   for who has set `QUEUED`.

#![allow(unsafe_code)] // Headers are shared through raw pointers, under the invariants above.

mod belonging;
mod birth;
#[cfg(feature = "alloc")]
pub(crate) mod cache;
pub(crate) mod cell;
mod flags;
pub(crate) mod pool;
mod spare;
mod stage;
pub(crate) mod state;
pub(crate) mod waker;

use core::cell::Cell;
use core::panic::Location;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

pub(crate) use self::belonging::Belongings;
#[cfg(feature = "alloc")]
pub(crate) use self::belonging::{Belonging, BelongingKind, ResourceVTable};
pub(crate) use self::birth::{Birth, Parent, ParentKind};
pub(crate) use self::flags::{Flags, home, parent};
pub(crate) use self::stage::Stage;
use self::stage::StageCell;
use self::state::State;
use crate::container::list::List;
use crate::container::mailbox::Mailbox;
use crate::container::{Chain, Links, Next, Ring};
use crate::domain::run_queue::Brood;
use crate::id::TaskId;
use crate::trace::How;

/// A task, as the runtime holds it.
pub(crate) type TaskRef = NonNull<Header>;

/// What every task begins with.
///
/// In this order: what a wake and a poll touch comes last, beside the beginning of the future. With a million tasks each line of theirs comes from
/// memory, and this is one of them, or two. And so that there is no gap where pointers have 32 bits.
#[repr(C, align(16))]
pub(crate) struct Header {
    /// The first child that was forgotten and has ended: all that is kept of it.
    #[cfg(not(feature = "alloc"))]
    pub(crate) forgotten: Cell<Option<(TaskId, &'static Location<'static>)>>,
    pub(crate) born: &'static Location<'static>,
    pub(crate) parent: Parent,
    pub(crate) waker: Cell<Option<Waker>>,
    siblings: Links<Header>,
    pub(crate) children: List<Siblings>,
    pub(crate) belongings: List<Belongings>,
    inbox: Next<Header>,
    run: Next<Header>,
    pub(crate) home: NonNull<Mailbox<InboxChain>>,
    vtable: &'static VTable,
    pub(crate) id: TaskId,
    pub(crate) state: State,
    pub(crate) home_flags: Flags,
    pub(crate) parent_flags: Flags,
    stage: StageCell,
    near: Cell<u8>,
}

#[cfg(all(target_pointer_width = "64", not(any(loom, shuttle))))]
const _: () =
    assert!(size_of::<Header>() <= if cfg!(feature = "alloc") { 112 } else { 128 }, "a task costs at most so much beside its payload");

/// What a task's type knows about its payload.
pub(crate) struct VTable {
    /// Polls, the closure first if need be. `Ready(true)` is a normal end; the result is then in the payload.
    ///
    /// Safety: on the home domain; the payload holds a closure or a future.
    poll: unsafe fn(TaskRef, &mut Context<'_>) -> Poll<bool>,
    /// Drops what the payload holds. May panic, as destructors do; then it holds nothing all the same.
    ///
    /// Safety: on the domain that *Stage* names.
    clear: unsafe fn(TaskRef),
    /// How many bytes the payload is behind the task's beginning.
    payload: usize,
    /// Gives the memory back.
    ///
    /// Safety: nobody holds the task any more.
    free: unsafe fn(TaskRef),
    /// The name it was given.
    ///
    /// Safety: the task is valid.
    name: unsafe fn(TaskRef) -> Option<&'static str>,
    /// How it has ended.
    ///
    /// Safety: on the home domain; the task is closed, and its result was not taken.
    how: unsafe fn(TaskRef) -> How,
}

impl Header {
    fn new(birth: &Birth, vtable: &'static VTable, stage: Stage) -> Header {
        let held = if birth.held { parent::HELD } else { 0 };
        Header {
            // The home domain, if it is another, those near, and the first waker.
            state: if birth.sent { State::queued(3) } else { State::idle(2) },
            home_flags: Flags::new(home::SPARE | if birth.sent { home::SENT } else { 0 }),
            parent_flags: Flags::new(held),
            stage: StageCell::new(stage),
            // The parent's list, the home domain if it is here, and the promise if there is one. The main task is in no list, but `run`
            // holds it.
            near: Cell::new(2 - u8::from(birth.sent) + u8::from(birth.held)),
            id: birth.id,
            vtable,
            home: birth.home,
            parent: birth.parent,
            inbox: Next::new(None),
            run: Next::new(None),
            siblings: Links::new(),
            children: List::new(),
            belongings: List::new(),
            waker: Cell::new(None),
            born: birth.born,
            #[cfg(not(feature = "alloc"))]
            forgotten: Cell::new(None),
        }
    }

    /// Whether it has no children and owns nothing. On its home domain.
    pub(crate) fn has_nothing(&self) -> bool {
        #[cfg(not(feature = "alloc"))]
        if self.forgotten.get().is_some() {
            return false;
        }
        self.children.is_empty() && self.belongings.is_empty()
    }

    /// Whether it hands nothing over with its end, which was delivered.
    pub(crate) fn brings_nothing(&self) -> bool {
        self.belongings.is_empty()
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Where its youngest children stand. On its home domain, and not after its end.
    #[inline]
    pub(crate) fn brood(&self) -> Brood {
        self.stage.brood()
    }

    pub(crate) fn set_brood(&self, brood: Brood) {
        self.stage.set_brood(brood);
    }

    /// One more holder near.
    #[cfg(feature = "alloc")]
    pub(crate) fn retain_near(&self) {
        self.near.set(self.near.get() + 1);
    }
}

/// One holder near less; the last frees the task.
///
/// # Safety
/// *Parent*, and as for [`release`].
#[inline]
pub(crate) unsafe fn release_near(task: TaskRef) {
    // SAFETY: *Counted*, *Parent*: promised by the caller.
    unsafe {
        let near = task.as_ref().near.get() - 1;
        task.as_ref().near.set(near);
        if near == 0 {
            release(task);
        }
    }
}

/// One holder less; the last frees the task.
///
/// # Safety
/// The caller is one of the holders, and is no longer afterwards.
pub(crate) unsafe fn release(task: TaskRef) {
    // SAFETY: *Counted*: the caller holds it.
    unsafe {
        if task.as_ref().state.release() {
            debug_assert_eq!(task.as_ref().stage(), Stage::Empty, "whoever unlinked the task took or dropped its result");
            (task.as_ref().vtable.free)(task);
        }
    }
}

/// The task will be polled before long: what its poll begins with may come from memory meanwhile. A hint, and nothing where there is none.
#[inline]
pub(crate) fn expect(task: TaskRef) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it does nothing to what is there, and nothing wrong where nothing is.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(task.as_ptr().wrapping_add(1).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = task;
}

/// # Safety
/// As [`VTable::poll`].
pub(crate) unsafe fn poll(task: TaskRef, cx: &mut Context<'_>) -> Poll<bool> {
    // SAFETY: passed on to the caller.
    unsafe { (task.as_ref().vtable.poll)(task, cx) }
}

/// # Safety
/// As [`VTable::clear`].
pub(crate) unsafe fn clear(task: TaskRef) {
    // SAFETY: passed on to the caller.
    unsafe { (task.as_ref().vtable.clear)(task) }
}

/// Takes the result out. `None` if the task was cancelled before it had one.
///
/// # Safety
/// On the parent's domain, after the end (*Stage*); `R` is the type of the task's result; nobody took it before.
pub(crate) unsafe fn take<R>(task: TaskRef) -> Option<R> {
    // SAFETY: passed on to the caller. A union's fields are at its beginning.
    unsafe {
        let header = task.as_ref();
        (header.stage.replace(Stage::Empty) == Stage::Result).then(|| task.byte_add(header.vtable.payload).cast::<R>().read())
    }
}

/// The result, where it is. `None` if the task was cancelled before it had one.
///
/// # Safety
/// As for [`take`], which is not called while the reference is in use.
pub(crate) unsafe fn peek<'a, R>(task: TaskRef) -> Option<&'a R> {
    // SAFETY: passed on to the caller.
    unsafe { (task.as_ref().stage() == Stage::Result).then(|| task.byte_add(task.as_ref().vtable.payload).cast::<R>().as_ref()) }
}

/// # Safety
/// The task is valid.
pub(crate) unsafe fn name(task: TaskRef) -> Option<&'static str> {
    // SAFETY: passed on to the caller.
    unsafe { (task.as_ref().vtable.name)(task) }
}

/// # Safety
/// As [`VTable::how`].
pub(crate) unsafe fn how(task: TaskRef) -> How {
    // SAFETY: passed on to the caller.
    unsafe { (task.as_ref().vtable.how)(task) }
}

/// Ends the process, where going on would be unsound.
pub(crate) fn abort(why: &str) -> ! {
    struct Twice;
    impl Drop for Twice {
        fn drop(&mut self) {
            panic!("a panic during a panic ends the process");
        }
    }
    let _twice = Twice;
    panic!("matou: {why}");
}

/// Chains tasks by their inbox link (*Queued*).
pub(crate) enum InboxChain {}

// SAFETY: `inbox` is used by this chain alone; *Counted* and *Queued* keep a queued task where it is.
unsafe impl Chain for InboxChain {
    type Node = Header;

    unsafe fn next<'a>(node: TaskRef) -> &'a Next<Header> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).inbox }
    }
}

/// Chains tasks by their run-queue link (*Home*).
pub(crate) enum RunChain {}

// SAFETY: `run` is used by this chain alone; the home domain holds a task that is RUNNABLE.
unsafe impl Chain for RunChain {
    type Node = Header;

    unsafe fn next<'a>(node: TaskRef) -> &'a Next<Header> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).run }
    }
}

/// Lists the children of one parent (*Parent*).
pub(crate) enum Siblings {}

// SAFETY: `siblings` is used by this list alone; the list is one of the holders.
unsafe impl Ring for Siblings {
    type Node = Header;

    unsafe fn links<'a>(node: TaskRef) -> &'a Links<Header> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).siblings }
    }
}
