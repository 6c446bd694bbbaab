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

#[cfg(feature = "alloc")]
pub(crate) mod cache;
pub(crate) mod cell;
pub(crate) mod pool;
mod spare;
pub(crate) mod state;
pub(crate) mod waker;

use core::cell::Cell;
use core::panic::Location;
use core::ptr::NonNull;
use core::task::{Context, Poll, Waker};

use self::state::State;
use crate::container::list::List;
use crate::container::mailbox::Mailbox;
use crate::container::{Chain, Links, Next, Ring};
#[cfg(feature = "alloc")]
use crate::domain::group::Group;
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

/// A few bits of one domain's.
#[derive(Debug)]
pub(crate) struct Flags(Cell<u8>);

impl Flags {
    pub(crate) const fn new(bits: u8) -> Self {
        Flags(Cell::new(bits))
    }

    pub(crate) fn has(&self, bits: u8) -> bool {
        self.0.get() & bits != 0
    }

    pub(crate) fn set(&self, bits: u8) {
        self.0.set(self.0.get() | bits);
    }

    pub(crate) fn clear(&self, bits: u8) {
        self.0.set(self.0.get() & !bits);
    }
}

/// Bits of `home_flags`.
pub(crate) mod home {
    /// The task is in the run queue.
    pub(crate) const RUNNABLE: u8 = 1;
    /// The future is gone or going: it is never polled again, and its children are cancelled.
    pub(crate) const CLOSED: u8 = 2;
    /// The task has ended.
    pub(crate) const ENDED: u8 = 4;
    /// It ended while its node was in this domain's inbox, or about to be: the domain keeps it until it takes the node.
    pub(crate) const LIMBO: u8 = 8;
    /// It broke a rule: it ends abnormally, whatever it returns.
    pub(crate) const VIOLATED: u8 = 16;
    /// It was made on another domain, where its parent is.
    pub(crate) const SENT: u8 = 32;
    /// Its end was sent to its parent's domain. (After its end.)
    pub(crate) const HANDED_OVER: u8 = 64;
    /// Its home has a hold to spare, for the next waker: the first one's, or that of one that has gone. (Until its end. There is no other bit.)
    pub(crate) const SPARE: u8 = HANDED_OVER;
    /// One of its belongings is what is kept of a child that was forgotten.
    #[cfg(feature = "alloc")]
    pub(crate) const FORGOT: u8 = 128;
}

/// Bits of `parent_flags`.
pub(crate) mod parent {
    /// The end has reached the parent.
    pub(crate) const DELIVERED: u8 = 1;
    /// The parent cancelled it; the result is dropped.
    pub(crate) const CANCELLED: u8 = 2;
    /// The promise was dropped; the result is dropped.
    pub(crate) const FORGOTTEN: u8 = 4;
    /// It is no longer in the parent's list: awaited, or cancelled or forgotten and ended.
    pub(crate) const UNLINKED: u8 = 8;
    /// A promise holds it. (In an `Orphans`, nobody does.)
    pub(crate) const HELD: u8 = 16;
    /// It was taken out of an `Orphans`, and is in its group's list of those.
    #[cfg(feature = "alloc")]
    pub(crate) const TAKEN: u8 = 32;
    /// Its promise has given the result.
    pub(crate) const AWAITED: u8 = 64;
    /// And the result was a value.
    pub(crate) const RESOLVED: u8 = 128;
}

/// What the payload holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The closure that makes the future.
    Closure,
    /// The future.
    Future,
    /// The result.
    Result,
    /// Nothing: never finished, or taken.
    Empty,
}

/// The stage, and the brood of a task that is not closed: both are its home's, and there is no byte to spare.
struct StageCell(Cell<u8>);

impl StageCell {
    const STAGES: [Stage; 4] = [Stage::Closure, Stage::Future, Stage::Result, Stage::Empty];

    const fn new(stage: Stage) -> StageCell {
        StageCell(Cell::new(stage as u8))
    }

    fn get(&self) -> Stage {
        StageCell::STAGES[(self.0.get() & 3) as usize]
    }

    fn set(&self, stage: Stage) {
        self.0.set(self.0.get() & !3 | stage as u8);
    }

    /// Sets the stage of a task that is closed: it has no brood.
    fn close(&self, stage: Stage) {
        self.0.set(stage as u8);
    }

    /// The same, and what it was.
    fn replace(&self, stage: Stage) -> Stage {
        let before = self.get();
        self.close(stage);
        before
    }

    fn brood(&self) -> Brood {
        Brood::from_bits(self.0.get() >> 2)
    }

    fn set_brood(&self, brood: Brood) {
        self.0.set(self.0.get() & 3 | brood.to_bits() << 2);
    }
}

/// The parent of a task: a task, or a group of children (an `Orphans`, a scope) of a task, or nobody for the main task.
#[derive(Clone, Copy)]
pub(crate) struct Parent(*mut ());

/// [`Parent`], told apart.
pub(crate) enum ParentKind {
    Nobody,
    Task(TaskRef),
    #[cfg(feature = "alloc")]
    Group(NonNull<Group>),
}

impl Parent {
    pub(crate) const NOBODY: Parent = Parent(core::ptr::null_mut());
    #[cfg(feature = "alloc")]
    const GROUP: usize = 1;

    pub(crate) fn task(task: TaskRef) -> Parent {
        Parent(task.as_ptr().cast())
    }

    #[cfg(feature = "alloc")]
    pub(crate) fn group(group: NonNull<Group>) -> Parent {
        Parent(group.as_ptr().cast::<()>().map_addr(|address| address | Self::GROUP))
    }

    /// Whether it is this task itself.
    pub(crate) fn is(self, task: TaskRef) -> bool {
        core::ptr::eq(self.0, task.as_ptr().cast())
    }

    pub(crate) fn kind(self) -> ParentKind {
        #[cfg(feature = "alloc")]
        if self.0.addr() & Self::GROUP != 0 {
            return match NonNull::new(self.0.map_addr(|address| address & !Self::GROUP)) {
                Some(group) => ParentKind::Group(group.cast()),
                None => ParentKind::Nobody,
            };
        }
        match NonNull::new(self.0) {
            Some(task) => ParentKind::Task(task.cast()),
            None => ParentKind::Nobody,
        }
    }
}

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

/// Where a new task comes from.
pub(crate) struct Birth {
    pub(crate) id: TaskId,
    pub(crate) home: NonNull<Mailbox<InboxChain>>,
    pub(crate) parent: Parent,
    pub(crate) born: &'static Location<'static>,
    pub(crate) held: bool,
    /// It is made for another domain, whose inbox its maker pushes it to.
    pub(crate) sent: bool,
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

/// What a task owns beside its future: resources, groups of children, and what is kept of a forgotten one.
#[repr(C)]
pub(crate) struct Belonging {
    links: Links<Belonging>,
    pub(crate) kind: BelongingKind,
}

/// What a [`Belonging`] is part of.
#[derive(Clone, Copy)]
pub(crate) enum BelongingKind {
    /// A `Group`.
    #[cfg(feature = "alloc")]
    Group,
    /// A `Forgotten`.
    #[cfg(feature = "alloc")]
    Forgotten,
    /// A resource, and what can be done with it.
    #[cfg(feature = "alloc")]
    Resource(&'static ResourceVTable),
}

/// What a resource's type knows.
#[cfg(feature = "alloc")]
pub(crate) struct ResourceVTable {
    /// Runs the finaliser, after the resource was unlinked. Panics as that does.
    ///
    /// Safety: the resource was owned by a task of this domain.
    pub(crate) finalise: unsafe fn(NonNull<Belonging>),
    /// Makes the task its owner, after it was linked to its belongings.
    ///
    /// Safety: on the task's home domain.
    pub(crate) adopt: unsafe fn(NonNull<Belonging>, &Header),
    /// Whether it is on its way to the parent.
    ///
    /// Safety: on the owner's domain.
    pub(crate) in_transit: unsafe fn(NonNull<Belonging>) -> bool,
    /// Where it was taken into ownership.
    ///
    /// Safety: on the owner's domain.
    pub(crate) place: unsafe fn(NonNull<Belonging>) -> &'static Location<'static>,
}

#[cfg(feature = "alloc")]
impl Belonging {
    pub(crate) const fn new(kind: BelongingKind) -> Self {
        Belonging { links: Links::new(), kind }
    }
}

/// Lists what one task owns.
pub(crate) enum Belongings {}

// SAFETY: `links` is used by this list alone; a group and a resource are kept by their list.
unsafe impl Ring for Belongings {
    type Node = Belonging;

    unsafe fn links<'a>(node: NonNull<Belonging>) -> &'a Links<Belonging> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).links }
    }
}
