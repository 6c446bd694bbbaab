//! Children kept apart from a task's other children: those of an `Orphans`, and those made in a scope.
//!
//! A group is one of its owner's belongings, and its children name it as their parent. Its handle (the `Orphans`, the scope) may go
//! before the children do; the group stays until the last of both is gone, so that dropping a handle walks over nobody.
//!
//! A promise taken out of an `Orphans` is still one of the group's: its task may be ending on another domain, which reads who its parent is.
//!
//! An `Orphans` belongs to its task; while a scope is polled in which it was first used, it is among the scope's *collectors*. If it is
//! dropped in there, its children are the scope's to wait for and to cancel; if it outlives the scope, it goes on as the task's.
//!
//! The list of children has the ended ones in front, in the order of their ends, then those that still run: `care` looks at the first.
//!
//! Invariant *Grouped*: a group is valid while its handle exists or it has children. It is linked in its owner's belongings while
//! it has an owner that has not ended.
//!
//! Invariant *Behind*: behind a group in its owner's belongings are groups alone, until the owner is closed, and then wherever a group has
//! children. So whoever looks for children passes no resources.
//!
//! Invariant *Collected*: a group whose `scope` is set is linked in that scope's `collectors`. The scope's handle exists: a scope that
//! loses it lets go of its collectors first.

#![allow(unsafe_code)] // Groups are shared by raw pointer between their handle, their children and their owner, all on one domain.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::{Cell, RefCell};
use core::panic::Location;
use core::ptr::NonNull;
use core::task::Waker;

use super::family::forgotten::{self, Child};
use super::family::uncared;
use super::{Domain, Epoch};
use crate::container::list::List;
use crate::container::{Links, Ring};
use crate::id::TaskId;
use crate::task::{Belonging, BelongingKind, Belongings, Header, Siblings, TaskRef, parent};
use crate::violation::ViolationKind;

#[repr(C)]
pub(crate) struct Group {
    /// First, so that the owner's belongings lead here.
    belonging: Belonging,
    owner: TaskRef,
    pub(crate) owner_id: TaskId,
    pub(crate) epoch: Epoch,
    pub(crate) place: &'static Location<'static>,
    pub(crate) children: List<Siblings>,
    /// Children whose promise was taken out: no longer kept aside, and still children of the owner.
    pub(crate) taken: List<Siblings>,
    /// The first child that was forgotten and has ended: all that is kept of it.
    forgotten: Cell<Option<Child>>,
    /// It is a scope's, not that of an `Orphans`.
    is_scope: bool,
    /// Of a scope: its future has ended, and is being dropped.
    closing: Cell<bool>,
    /// The scope it was first used in (*Collected*).
    pub(crate) scope: Cell<Option<NonNull<Group>>>,
    links: Links<Group>,
    /// Of a scope: the groups that were first used in it (*Collected*).
    collectors: List<Collectors>,
    /// The first child that has not ended.
    pub(crate) running: Cell<Option<TaskRef>>,
    pub(crate) len: Cell<usize>,
    /// The `Orphans` or scope still exists.
    handled: Cell<bool>,
    /// Who waits is being woken: the group stays meanwhile.
    waking: Cell<bool>,
    /// The owner has ended.
    pub(crate) inert: Cell<bool>,
    /// Whom to wake when a child ends, each under the number it was given.
    waiting: RefCell<Vec<(u64, Waker)>>,
    waited: Cell<u64>,
}

impl Group {
    /// A group of this task's, linked in its belongings, with a handle.
    fn new(domain: &Domain, owner: TaskRef, place: &'static Location<'static>, is_scope: bool) -> NonNull<Group> {
        // SAFETY: the owner is the current task.
        let header = unsafe { owner.as_ref() };
        let group = NonNull::from(Box::leak(Box::new(Group {
            belonging: Belonging::new(BelongingKind::Group),
            owner,
            owner_id: header.id,
            epoch: domain.epoch(),
            place,
            children: List::new(),
            taken: List::new(),
            forgotten: Cell::new(None),
            is_scope,
            closing: Cell::new(false),
            scope: Cell::new(None),
            links: Links::new(),
            collectors: List::new(),
            running: Cell::new(None),
            len: Cell::new(0),
            handled: Cell::new(true),
            waking: Cell::new(false),
            inert: Cell::new(false),
            waiting: RefCell::new(Vec::new()),
            waited: Cell::new(0),
        })));
        // SAFETY: *Grouped*: it is unlinked before it is freed. *Home*: the owner is the current task.
        unsafe { header.belongings.push_back(group.cast()) };
        group
    }

    /// The owner, while it has not ended.
    pub(crate) fn owner(&self) -> TaskRef {
        debug_assert!(!self.inert.get(), "a group without an owner has no children");
        self.owner
    }

    /// Whether a child that is made in it now is made by the destructor of a scope's future: it is to be cancelled, unpolled.
    pub(crate) fn is_closing(&self) -> bool {
        // SAFETY: *Collected*.
        self.closing.get() || self.scope.get().is_some_and(|scope| unsafe { scope.as_ref() }.closing.get())
    }

    pub(crate) fn is_childless(&self) -> bool {
        self.children.is_empty() && self.taken.is_empty()
    }

    /// Of a scope whose future is gone: whether all its children have left.
    pub(crate) fn is_over(&self) -> bool {
        self.is_childless() && self.collectors.is_empty()
    }

    /// Whether the `Orphans` or scope still exists.
    pub(crate) fn is_handled(&self) -> bool {
        self.handled.get()
    }

    /// The first child kept aside that has ended, else one that runs.
    pub(crate) fn first(&self) -> First {
        match self.children.front() {
            None => First::Empty,
            // SAFETY: *Linked*, on this domain.
            Some(child) if unsafe { child.as_ref() }.parent_flags.has(parent::DELIVERED) => First::Ended(child),
            Some(child) => First::Running(child),
        }
    }

    /// Takes a child out of those kept aside: it has a promise from now on.
    ///
    /// # Safety
    /// It is one of `children`.
    pub(crate) unsafe fn give_out(&self, child: TaskRef) {
        // SAFETY: *Linked*, promised by the caller.
        unsafe {
            self.remove(child);
            self.taken.push_back(child);
            child.as_ref().parent_flags.set(parent::TAKEN | parent::HELD);
            child.as_ref().retain_near();
        }
    }

    /// Unlinks a child.
    ///
    /// # Safety
    /// It is one of `children` or of `taken`, as its flags say.
    pub(crate) unsafe fn remove(&self, child: TaskRef) {
        // SAFETY: *Linked*, promised by the caller.
        unsafe {
            if child.as_ref().parent_flags.has(parent::TAKEN) {
                return self.taken.remove(child);
            }
            if self.running.get() == Some(child) {
                self.running.set(self.children.after(child));
            }
            self.children.remove(child);
            self.len.set(self.len.get() - 1);
        }
    }

    /// Keeps what is kept of a forgotten child that has ended, unless one is kept.
    pub(crate) fn keep_forgotten(&self, child: Child) {
        self.forgotten.set(self.forgotten.get().or(Some(child)));
    }

    /// A child that must not be left behind by a normal end.
    ///
    /// # Safety
    /// On the owner's domain.
    pub(crate) unsafe fn uncared(&self) -> Option<ViolationKind> {
        if let Some((child, spawned)) = self.forgotten.get() {
            return Some(ViolationKind::StillHasChildren { child, spawned });
        }
        // SAFETY: promised by the caller.
        unsafe { uncared(&self.children).or_else(|| uncared(&self.taken)) }
    }

    /// Of a scope whose future is gone: as [`uncared`](Self::uncared), the children of its collectors included.
    ///
    /// # Safety
    /// As for [`uncared`](Self::uncared).
    pub(crate) unsafe fn uncared_in_scope(&self) -> Option<ViolationKind> {
        // SAFETY: promised by the caller; *Collected*, *Linked*.
        unsafe {
            let mut broken = self.uncared();
            let mut next = self.collectors.front();
            while let Some(group) = next
                && broken.is_none()
            {
                next = self.collectors.after(group);
                if !group.as_ref().handled.get() {
                    broken = group.as_ref().uncared();
                }
            }
            broken
        }
    }

    /// Of a scope whose future is gone: calls `f` with each collector that was dropped in it, and lets go of the others, which outlive it.
    ///
    /// # Safety
    /// *Grouped*: the scope has its handle. `f` runs no foreign code; it may free the group it is called with.
    pub(crate) unsafe fn settle(&self, mut f: impl FnMut(NonNull<Group>)) {
        self.forgotten.set(None);
        let mut next = self.collectors.front();
        while let Some(group) = next {
            // SAFETY: *Collected*, *Linked*: `f` unlinks no other group than this.
            unsafe {
                next = self.collectors.after(group);
                if group.as_ref().handled.get() {
                    self.let_go(group);
                } else {
                    group.as_ref().forgotten.set(None);
                    f(group);
                }
            }
        }
    }

    /// The scope ends before the collector: that goes on in the scope around, if there is one, else as the task's.
    ///
    /// # Safety
    /// *Collected*: the group is one of the collectors.
    unsafe fn let_go(&self, group: NonNull<Group>) {
        // SAFETY: promised by the caller. The scope around has its handle, as this one is among its collectors.
        unsafe {
            self.forget(group);
            if let Some(around) = self.scope.get() {
                around.as_ref().collect(group);
            }
        }
    }

    /// # Safety
    /// *Collected*: this scope has its handle; the group is in no scope.
    unsafe fn collect(&self, group: NonNull<Group>) {
        // SAFETY: promised by the caller.
        unsafe {
            group.as_ref().scope.set(Some(NonNull::from(self)));
            self.collectors.push_back(group);
        }
    }

    /// # Safety
    /// *Collected*: the group is one of the collectors.
    unsafe fn forget(&self, group: NonNull<Group>) {
        // SAFETY: promised by the caller.
        unsafe {
            group.as_ref().scope.set(None);
            self.collectors.remove(group);
        }
    }

    /// A number under which to wait.
    pub(crate) fn ticket(&self) -> u64 {
        self.waited.set(self.waited.get() + 1);
        self.waited.get()
    }

    /// Keeps a waker to wake when a child ends, in place of the one of the same ticket. The caller has looked since it cloned it.
    pub(crate) fn wait(&self, ticket: u64, waker: Waker) {
        let mut waiting = self.waiting.borrow_mut();
        let old = match waiting.iter_mut().find(|(number, _)| *number == ticket) {
            Some((_, old)) => Some(core::mem::replace(old, waker)),
            None => {
                waiting.push((ticket, waker));
                None
            }
        };
        drop(waiting);
        // Outside the borrow: it is foreign code.
        drop(old);
    }

    /// Keeps the group, though its last child leaves, until [`wake_waiting`] has woken who waits.
    pub(crate) fn hold(&self) {
        self.waking.set(true);
    }

    /// Forgets the waker of this ticket.
    pub(crate) fn unwait(&self, ticket: u64) {
        let mut waiting = self.waiting.borrow_mut();
        let index = waiting.iter().position(|(number, _)| *number == ticket);
        let gone = index.map(|index| waiting.swap_remove(index));
        drop(waiting);
        drop(gone);
    }
}

/// Lists the groups first used in one scope.
pub(crate) enum Collectors {}

// SAFETY: `links` is used by this list alone; *Collected*: a group that is freed leaves the list first.
unsafe impl Ring for Collectors {
    type Node = Group;

    unsafe fn links<'a>(node: NonNull<Group>) -> &'a Links<Group> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).links }
    }
}

/// What [`Group::first`] finds.
pub(crate) enum First {
    Ended(TaskRef),
    Running(TaskRef),
    Empty,
}

/// Wakes all who wait for a child to end.
///
/// # Safety
/// *Grouped*: the group is valid, or [held](Group::hold); it may be gone afterwards.
pub(crate) unsafe fn wake_waiting(group: NonNull<Group>, wake: impl Fn(Waker)) {
    // SAFETY: *Grouped*, promised by the caller; `waking` keeps it while foreign code runs.
    unsafe {
        let this = group.as_ref();
        this.hold();
        let mut woken = core::mem::take(&mut *this.waiting.borrow_mut());
        for (_, waker) in woken.drain(..) {
            wake(waker);
        }
        // Gives the memory back, so that waiting allocates nothing in steady state.
        let mut waiting = this.waiting.borrow_mut();
        if waiting.capacity() == 0 {
            *waiting = woken;
        }
        drop(waiting);
        this.waking.set(false);
        free_if_done(group);
    }
}

/// The handle is gone. The group stays for its children.
///
/// # Safety
/// *Grouped*: the caller had the handle.
pub(crate) unsafe fn unhandle(group: NonNull<Group>) {
    // SAFETY: *Grouped*, promised by the caller.
    unsafe {
        let this = group.as_ref();
        while let Some(collector) = this.collectors.front() {
            this.let_go(collector);
        }
        this.handled.set(false);
        free_if_done(group);
    }
}

/// The owner ends, or an ended child has left: frees the group if nobody needs it.
///
/// # Safety
/// *Grouped*: the group is valid, and the caller uses it no more unless it has the handle or knows of a child.
pub(crate) unsafe fn free_if_done(group: NonNull<Group>) {
    // SAFETY: *Grouped*: with neither handle nor children, nobody leads here but the owner's belongings.
    unsafe {
        let this = group.as_ref();
        if this.handled.get() || this.waking.get() || !this.is_childless() {
            return;
        }
        let scope = this.scope.get();
        if let Some(scope) = scope {
            scope.as_ref().forget(group);
        }
        if !this.inert.get() {
            this.owner.as_ref().belongings.remove(group.cast());
            // A scope was asked before, or was cut short. What an `Orphans` knows of is kept by whom its children are left to.
            if !this.is_scope
                && let Some(child) = this.forgotten.get()
            {
                match scope {
                    Some(scope) => scope.as_ref().keep_forgotten(child),
                    None => forgotten::keep(this.owner.as_ref(), child),
                }
            }
        }
        let freed = Box::from_raw(group.as_ptr());
        // Who waits takes its waker along when it goes: this one was leaked. Its destructor is foreign, and may not run here.
        freed.waiting.take().into_iter().for_each(core::mem::forget);
    }
}

/// Where the children made at the moment belong: a scope being polled, or an `Orphans` whose child is being made. Its group is made with
/// its first child, so that a scope without children (most timeouts) costs no allocation.
///
/// Invariant *Frame*: a domain's `scope` leads to a frame further up its thread's stack, or in a future being polled there.
#[derive(Debug)]
pub(crate) struct Frame {
    group: Cell<Option<NonNull<Group>>>,
    place: &'static Location<'static>,
    is_scope: bool,
    closing: Cell<bool>,
    /// While this frame is the domain's: the one it is in.
    within: Cell<Option<NonNull<Frame>>>,
}

impl Frame {
    /// A scope's.
    pub(crate) const fn scope(place: &'static Location<'static>) -> Self {
        Frame { group: Cell::new(None), place, is_scope: true, closing: Cell::new(false), within: Cell::new(None) }
    }

    /// That of an `Orphans` with this group, in what is being polled now.
    pub(crate) fn orphans(domain: &Domain, place: &'static Location<'static>, group: Option<NonNull<Group>>) -> Self {
        Frame { group: Cell::new(group), place, is_scope: false, closing: Cell::new(false), within: Cell::new(domain.scope.get()) }
    }

    /// The group, if it was needed.
    pub(crate) fn made(&self) -> Option<NonNull<Group>> {
        self.group.get()
    }

    /// The group, made for this owner if need be. It is a collector of the scope it is made in.
    pub(crate) fn group(&self, domain: &Domain, owner: TaskRef) -> NonNull<Group> {
        self.group.get().unwrap_or_else(|| {
            let group = Group::new(domain, owner, self.place, self.is_scope);
            // SAFETY: just made.
            unsafe { group.as_ref() }.closing.set(self.closing.get());
            self.group.set(Some(group));
            if let Some(within) = self.within.get() {
                // SAFETY: *Frame*: the scope is being polled. *Collected*: its handle exists, and the group was just made.
                unsafe { within.as_ref().group(domain, owner).as_ref().collect(group) };
            }
            group
        })
    }

    /// The scope's future has ended, and is dropped now.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        if let Some(group) = self.group.get() {
            // SAFETY: *Grouped*: the scope has the handle.
            unsafe { group.as_ref() }.closing.set(true);
        }
    }

    /// Forgets the group.
    pub(crate) fn take(&self) -> Option<NonNull<Group>> {
        self.group.take()
    }
}

impl Domain {
    /// Calls `f`; the children made in it belong to the frame's group.
    pub(crate) fn in_frame<R>(&self, frame: &Frame, f: impl FnOnce() -> R) -> R {
        struct Restore<'a>(&'a Domain, &'a Frame);
        impl Drop for Restore<'_> {
            fn drop(&mut self) {
                self.0.scope.set(self.1.within.take());
            }
        }
        frame.within.set(self.scope.replace(Some(NonNull::from(frame))));
        let _restore = Restore(self, frame);
        f()
    }
}

/// Calls `f` with each list that has children of a task in it: its own, and those of its groups, with what was taken out of them.
///
/// # Safety
/// *Linked*: the lists are those of a task whose domain is this thread's, and are edited by nobody meanwhile.
pub(super) unsafe fn for_each_list_of_children(task: &Header, mut f: impl FnMut(&List<Siblings>)) {
    f(&task.children);
    // SAFETY: promised by the caller; *Grouped*.
    unsafe {
        for group in groups(task) {
            f(&group.as_ref().children);
            f(&group.as_ref().taken);
        }
    }
}

/// The groups of a task, the youngest first; once it is closed, those that may have children (*Behind*).
///
/// # Safety
/// *Home*: on the task's domain; while the groups are gone through, none goes but the one that was given last.
pub(super) unsafe fn groups(task: &Header) -> Groups<'_> {
    Groups { belongings: &task.belongings, next: task.belongings.back() }
}

pub(super) struct Groups<'a> {
    belongings: &'a List<Belongings>,
    next: Option<NonNull<Belonging>>,
}

impl Iterator for Groups<'_> {
    type Item = NonNull<Group>;

    fn next(&mut self) -> Option<NonNull<Group>> {
        // SAFETY: *Linked*: promised to `groups`. What is before this one is read now: it may be gone when the next is asked for.
        unsafe {
            let belonging = self.next.filter(|belonging| belonging.as_ref().is_group())?;
            self.next = self.belongings.before(belonging);
            Some(belonging.cast())
        }
    }
}
