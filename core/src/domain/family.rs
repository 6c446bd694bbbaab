//! The tree of tasks: births, cancellations and ends.
//!
//! # A task's life on its home domain
//!
//! ```text
//!            poll: Ready(Ok)                          no child left
//!   live ──────────────────────▶ closed (normal) ─────────────────────▶ ended ──▶ delivered to the parent
//!    │ │     poll: Ready(Err), panic, a rule broken      no child left    ▲
//!    │ └───▶ closed (abnormal): children cancelled ───────────────────────┤
//!    │                                                    no child left   │
//!    └─ cut: future dropped, ▶ closed (cancelled): children cancelled ────┘
//! ```
//!
//! Between `closed` and `ended` a task waits for its children without being polled. Going down the tree (cancellations) and up (ends)
//! is done by queues and loops, never by recursion: a chain of 100,000 tasks needs no deep stack.
//!
//! Everything here runs on the domain's own thread. What is marked *between polls* is never called while a task is polled; foreign
//! code runs in it with lists in a consistent state.

#![allow(unsafe_code)] // Follows the pointers between parents and children, under *Counted*, *Home*, *Parent* and *Kept* of `task`.

use core::panic::Location;
use core::ptr::NonNull;
use core::task::Context;

use super::Domain;
#[cfg(feature = "alloc")]
use super::group::{self, Group};
use crate::container::fifo::Fifo;
use crate::container::list::List;
use crate::container::mailbox::Mailbox;
use crate::effect;
use crate::id::TaskId;
#[cfg(feature = "alloc")]
use crate::task::BelongingKind;
use crate::task::state::{Found, Send};
use crate::task::waker::borrowed;
use crate::task::{self, Birth, Header, InboxChain, Parent, ParentKind, Siblings, Stage, TaskRef, home, parent};
use crate::trace::{EventKind, Step};
use crate::violation::{ReportPlace, ViolationKind};

/// What [`Domain::mark_cancelled`] leaves to be done.
enum Marked {
    /// Nothing: its domain knows.
    Told,
    /// To push it to its domain, which may call that domain's interrupt.
    ToSend,
    /// It had ended: to drop its result.
    Ended(Ended),
}

/// Children met on a walk over lists that foreign code would edit: interrupts and destructors are called when the walk is over.
struct Aside {
    to_send: Fifo<InboxChain>,
    ended: List<Siblings>,
}

impl Aside {
    fn new() -> Aside {
        Aside { to_send: Fifo::new(), ended: List::new() }
    }
}

impl Domain {
    // ---- births

    /// A new child of `parent`, for this domain or for that of the mailbox `home`.
    pub(crate) fn birth(
        &self,
        parent: TaskRef,
        born: &'static Location<'static>,
        held: bool,
        home: Option<NonNull<Mailbox<InboxChain>>>,
    ) -> Birth {
        #[cfg(feature = "alloc")]
        let parent = match self.scope.get() {
            // SAFETY: *Frame*: set while the frame is alive, further up this thread's stack.
            Some(frame) => Parent::group(unsafe { frame.as_ref() }.group(self, parent)),
            None => Parent::task(parent),
        };
        #[cfg(not(feature = "alloc"))]
        let parent = Parent::task(parent);
        Birth { id: self.next_id(), home: home.unwrap_or_else(|| self.run().address(self.id)), parent, born, held, sent: home.is_some() }
    }

    /// Takes a task just made, for this domain, into the tree and the run queue.
    ///
    /// # Safety
    /// The task was just made with a [`Birth`] of this domain's, and nobody has seen it.
    pub(crate) unsafe fn adopt(&self, child: TaskRef) {
        if self.link(child) {
            self.make_runnable(child);
        } else {
            self.cancel_here(child);
        }
    }

    /// Takes a task just made for another domain into the tree, and sends it there.
    ///
    /// # Safety
    /// As for [`adopt`](Self::adopt).
    #[cfg(feature = "alloc")]
    pub(crate) unsafe fn send(&self, child: TaskRef) {
        if !self.link(child) {
            // SAFETY: just made.
            unsafe { child.as_ref() }.state.mark_cancelled();
        }
        // SAFETY: just made, and marked as queued; *Kept*: its home lives until it was delivered.
        unsafe { child.as_ref().home.as_ref().push(child) };
    }

    /// The main task.
    ///
    /// # Safety
    /// The task was just made for this domain, as nobody's child.
    pub(crate) unsafe fn adopt_root(&self, root: TaskRef) {
        // SAFETY: promised by the caller. Nobody's child is unlinked from the beginning.
        unsafe {
            root.as_ref().parent_flags.set(parent::UNLINKED);
            self.announce(root);
        }
        #[cfg(feature = "alloc")]
        self.root.set(Some(root));
        self.make_runnable(root);
    }

    /// Links a new child to its parent. `false` if it was made by a destructor of a task that is closed: it is to be cancelled, unpolled.
    #[must_use]
    fn link(&self, child: TaskRef) -> bool {
        effect::count(self);
        // SAFETY: *Parent*: the child was just made here; its parent is the current task, or a group of its.
        unsafe {
            let header = child.as_ref();
            let maker = match header.parent.kind() {
                ParentKind::Nobody => return true,
                ParentKind::Task(maker) => {
                    maker.as_ref().children.push_back(child);
                    maker
                }
                #[cfg(feature = "alloc")]
                ParentKind::Group(group) => {
                    let group = group.as_ref();
                    group.children.push_back(child);
                    group.len.set(group.len.get() + 1);
                    if group.running.get().is_none() {
                        group.running.set(Some(child));
                    }
                    group.owner()
                }
            };
            let closed = maker.as_ref().home_flags.has(home::CLOSED);
            if closed {
                header.parent_flags.set(parent::CANCELLED);
            }
            !closed
        }
    }

    // ---- cancellation

    /// Marks a child as cancelled and has its domain drop it. By its parent's domain. A child that has ended is unlinked; its result is
    /// then for the caller to drop, with [`bury`].
    #[must_use]
    pub(crate) fn cancel(&self, child: TaskRef) -> Option<Ended> {
        match self.mark_cancelled(child) {
            Marked::Ended(ended) => return Some(ended),
            // SAFETY: *Queued*: we set the bit. *Kept*: its home lives until it was delivered.
            Marked::ToSend => unsafe { child.as_ref().home.as_ref().push(child) },
            Marked::Told => {}
        }
        None
    }

    /// Marks a child as cancelled; what is still to be done for it may run foreign code.
    fn mark_cancelled(&self, child: TaskRef) -> Marked {
        // SAFETY: *Parent*: the child is linked, so its list holds it.
        let header = unsafe { child.as_ref() };
        if header.parent_flags.has(parent::CANCELLED) {
            return Marked::Told;
        }
        header.parent_flags.set(parent::CANCELLED);
        if header.parent_flags.has(parent::DELIVERED) {
            // SAFETY: linked, as it was neither cancelled nor awaited.
            return Marked::Ended(unsafe { self.unlink(child) });
        }
        if self.is_home_of(header) {
            self.cancel_here(child);
        } else if header.state.cancel() == Send::Push {
            return Marked::ToSend;
        }
        Marked::Told
    }

    /// Cancels a task of this domain: it is looked at before any task is polled.
    ///
    /// Only where another thread is at this moment between marking the task as queued and pushing it, and the task is in the run queue
    /// too, does it wait for its turn there, or for the push: no link is free to queue it by.
    fn cancel_here(&self, child: TaskRef) {
        // SAFETY: *Parent* and *Home*: this domain is both.
        let header = unsafe { child.as_ref() };
        match header.state.cancel() {
            // SAFETY: *Queued*: we set the bit, so the inbox link is ours.
            Send::Push => unsafe { self.attending.push_back(child) },
            Send::OnItsWay if !header.home_flags.has(home::RUNNABLE | home::CLOSED) => {
                header.home_flags.set(home::RUNNABLE);
                // SAFETY: not in the run queue, as RUNNABLE was not set.
                unsafe { self.runnable.push_front(child) };
            }
            Send::OnItsWay | Send::Ended => {}
        }
    }

    /// Ends the run on this domain: cancels the main task. Between polls.
    pub(crate) fn cancel_root(&self, root: TaskRef) {
        // SAFETY: `run` holds the main task.
        let header = unsafe { root.as_ref() };
        if !header.parent_flags.has(parent::CANCELLED) {
            header.parent_flags.set(parent::CANCELLED);
            self.cancel_here(root);
            self.trace(|| EventKind::Cancel { task: header.id, by: None });
        }
    }

    /// Cancels all children of a task. Between polls.
    fn cancel_children(&self, of: TaskRef) {
        // SAFETY: *Home*: the task is this domain's.
        let header = unsafe { of.as_ref() };
        let aside = Aside::new();
        self.cancel_list(&header.children, &aside);
        #[cfg(feature = "alloc")]
        {
            let mut next = header.belongings.front();
            while let Some(belonging) = next {
                // SAFETY: *Linked*; `next` is read before the group, which may go with the last of its children.
                unsafe {
                    next = header.belongings.after(belonging);
                    if matches!(belonging.as_ref().kind, BelongingKind::Group) {
                        self.cancel_group(belonging.cast(), &aside);
                    }
                }
            }
        }
        self.settle(&aside);
    }

    /// Cancels the children of a group.
    ///
    /// # Safety
    /// *Grouped*: the group is valid; it may be gone afterwards.
    #[cfg(feature = "alloc")]
    unsafe fn cancel_group(&self, group: NonNull<Group>, aside: &Aside) {
        // SAFETY: promised by the caller. A group goes when its last child does, so there is another list to walk only if it has more.
        unsafe {
            let more = !group.as_ref().taken.is_empty();
            self.cancel_list(&group.as_ref().children, aside);
            if more {
                self.cancel_list(&group.as_ref().taken, aside);
            }
        }
    }

    /// Cancels the children of a scope. By the code of its owner: a result that nobody takes is dropped within.
    ///
    /// # Safety
    /// *Grouped*: the caller has the group's handle.
    #[cfg(feature = "alloc")]
    pub(crate) unsafe fn cancel_scope(&self, group: NonNull<Group>) {
        let aside = Aside::new();
        // SAFETY: promised by the caller.
        unsafe {
            group.as_ref().settle(|collector| self.cancel_group(collector, &aside));
            self.cancel_group(group, &aside);
        }
        self.settle(&aside);
    }

    /// Does what was put aside, when no list is walked any more.
    fn settle(&self, aside: &Aside) {
        while let Some(child) = aside.to_send.pop() {
            // SAFETY: *Queued*: `mark_cancelled` set the bit. *Kept*: its home lives until it was delivered, which takes this push.
            unsafe { child.as_ref().home.as_ref().push(child) };
        }
        while let Some(child) = aside.ended.pop_front() {
            // SAFETY: put aside by `cancel_list`, unlinked.
            bury(self, unsafe { Ended::new(child) });
        }
    }

    fn cancel_list(&self, children: &List<Siblings>, aside: &Aside) {
        let mut next = children.front();
        while let Some(child) = next {
            // SAFETY: *Linked*: `child` is in the list; `mark_cancelled` unlinks no other, and runs no foreign code.
            next = unsafe { children.after(child) };
            match self.mark_cancelled(child) {
                // SAFETY: unlinked, and held by its place in this list from now on.
                Marked::Ended(child) => unsafe { aside.ended.push_back(child.into_inner()) },
                // SAFETY: *Queued*: we set the bit, so the inbox link is ours until it is pushed.
                Marked::ToSend => unsafe { aside.to_send.push_back(child) },
                Marked::Told => {}
            }
        }
    }

    // ---- the nodes taken from the inbox

    /// Looks at all that other threads have sent and at what was cancelled here. Between polls.
    pub(crate) fn attend(&self) {
        self.attend_to_arrivals();
        // Not asked again for arrivals: senders that never stop must not keep the tasks from running.
        while let Some(node) = self.attending.pop() {
            // SAFETY: *Queued*: marked as queued, so somebody holds it: its home, until it has ended and was taken.
            unsafe { self.attend_to(node) };
        }
        #[cfg(feature = "alloc")]
        if self.is_asked() {
            self.answer();
        }
    }

    /// Takes what other threads have sent, and tells them that the domain is awake.
    pub(crate) fn attend_to_arrivals(&self) {
        if !self.mailbox().looks_empty() {
            for node in self.mailbox().take() {
                // SAFETY: *Queued*: taken, so its link is ours until `attend` clears the bit.
                unsafe { self.attending.push_back(node) };
            }
        }
    }

    /// # Safety
    /// The node was taken from an inbox or a queue by its inbox link.
    unsafe fn attend_to(&self, node: TaskRef) {
        // SAFETY: promised by the caller.
        let header = unsafe { node.as_ref() };
        let ours = self.is_home_of(header);
        match header.state.attend() {
            Found::Woken => self.make_runnable(node),
            Found::Cancelled => self.cut(node),
            // A child of ours on another domain has ended.
            Found::Ended if !ours => {
                let parent = self.deliver(node);
                self.finish_all(parent);
            }
            // A wake, or the parent's cancellation, overtook the end of our task.
            Found::Ended => {
                header.home_flags.clear(home::LIMBO);
                self.limbo.set(self.limbo.get() - 1);
                self.hand_over(node);
            }
        }
    }

    // ---- polls

    /// Takes the next task from the run queue and polls it. `false` if there is none.
    pub(crate) fn poll_next(&self, polling: bool) -> bool {
        let Some(task) = self.runnable.pop() else { return false };
        // SAFETY: *Counted*: the home domain holds a task that is RUNNABLE.
        let header = unsafe { task.as_ref() };
        header.home_flags.clear(home::RUNNABLE);
        if header.home_flags.has(home::ENDED) {
            self.let_go(task);
        } else if header.home_flags.has(home::CLOSED) {
            // It waits for its children.
        } else if header.state.is_cancelled() {
            self.cut(task);
        } else if polling {
            self.poll(task);
        }
        true
    }

    fn poll(&self, task: TaskRef) {
        self.budget.set(self.quanta);
        self.since_select.set(self.since_select.get().saturating_add(1));
        let waker = borrowed(task);
        // SAFETY: *Stage*: live, on its home domain, so the payload holds a closure or a future.
        let polled = self.run_step(task, Step::Poll, || unsafe { task::poll(task, &mut Context::from_waker(&waker)) });
        if let core::task::Poll::Ready(normal) = polled {
            self.completed(task, normal);
        }
    }

    // ---- ends

    /// The future has ended and is dropped; the result is kept. Checks what a normal end must not leave behind.
    fn completed(&self, task: TaskRef, normal: bool) {
        // SAFETY: *Home*.
        let header = unsafe { task.as_ref() };
        let mut normal = normal && !header.home_flags.has(home::VIOLATED);
        if normal
            // SAFETY: *Home*: between polls, on its home domain.
            && let Some(broken) = unsafe { self.left_behind(task) }
        {
            self.violate(task, broken);
            normal = false;
        }
        if !normal {
            self.cancel_children(task);
        }
        self.finish_all(self.childless(task));
    }

    /// What a task that ends normally must not leave behind.
    ///
    /// # Safety
    /// Between polls, on the task's home domain.
    unsafe fn left_behind(&self, task: TaskRef) -> Option<ViolationKind> {
        // SAFETY: *Home*, promised by the caller; *Linked* for the lists.
        unsafe {
            let header = task.as_ref();
            #[cfg(feature = "alloc")]
            {
                let mut next = header.belongings.front();
                while let Some(belonging) = next {
                    if let BelongingKind::Resource(vtable) = belonging.as_ref().kind
                        && !(vtable.in_transit)(belonging)
                    {
                        return Some(ViolationKind::ResourceLeaked { owned: (vtable.place)(belonging) });
                    }
                    next = header.belongings.after(belonging);
                }
            }
            if let Some((child, spawned)) = header.forgotten.get() {
                return Some(ViolationKind::StillHasChildren { child, spawned });
            }
            if let Some(broken) = uncared(&header.children) {
                return Some(broken);
            }
            #[cfg(feature = "alloc")]
            {
                let mut next = header.belongings.front();
                while let Some(belonging) = next {
                    if matches!(belonging.as_ref().kind, BelongingKind::Group)
                        && let Some(broken) = belonging.cast::<Group>().as_ref().uncared()
                    {
                        return Some(broken);
                    }
                    next = header.belongings.after(belonging);
                }
            }
            None
        }
    }

    /// Drops the future of a cancelled task, unpolled from now on. Between polls.
    fn cut(&self, task: TaskRef) {
        // SAFETY: *Home*: the task has not ended.
        let header = unsafe { task.as_ref() };
        if header.home_flags.has(home::CLOSED) {
            return;
        }
        header.home_flags.set(home::CLOSED);
        // SAFETY: *Stage*: on its home domain.
        let dropped = self.run_step(task, Step::Drop, || crate::outcome::catch(|| unsafe { task::clear(task) }));
        if let Err(panic) = dropped {
            Domain::report(ReportPlace::Destructor, panic);
        }
        self.cancel_children(task);
        self.finish_all(self.childless(task));
    }

    /// The task, if it is closed and has no child left: it can end.
    fn childless(&self, task: TaskRef) -> Option<TaskRef> {
        // SAFETY: *Home*: the task has not ended.
        let header = unsafe { task.as_ref() };
        if !header.home_flags.has(home::CLOSED) || header.home_flags.has(home::ENDED) || !header.children.is_empty() {
            return None;
        }
        #[cfg(feature = "alloc")]
        {
            let mut next = header.belongings.front();
            while let Some(belonging) = next {
                // SAFETY: *Linked*.
                unsafe {
                    if matches!(belonging.as_ref().kind, BelongingKind::Group) && !belonging.cast::<Group>().as_ref().is_childless() {
                        return None;
                    }
                    next = header.belongings.after(belonging);
                }
            }
        }
        Some(task)
    }

    /// Ends a task, then its parent if that waited for it alone, and so on up. Between polls.
    fn finish_all(&self, mut next: Option<TaskRef>) {
        while let Some(task) = next {
            self.finalise(task);
            next = self.end(task);
        }
    }

    /// Runs the finalisers of what the task still owns, last owned first; what it transferred stays. Groups become inert.
    fn finalise(&self, task: TaskRef) {
        #[cfg(feature = "alloc")]
        {
            // SAFETY: *Home*: the task is about to end.
            let header = unsafe { task.as_ref() };
            loop {
                let mut next = header.belongings.front();
                let mut found = None;
                while let Some(belonging) = next {
                    // SAFETY: *Linked*.
                    unsafe {
                        next = header.belongings.after(belonging);
                        match belonging.as_ref().kind {
                            BelongingKind::Resource(vtable) if (vtable.in_transit)(belonging) => {}
                            kind => {
                                found = Some((belonging, kind));
                                break;
                            }
                        }
                    }
                }
                match found {
                    None => return,
                    // SAFETY: *Grouped*: it has no children; its handle, if there is one, finds it inert.
                    Some((belonging, BelongingKind::Group)) => unsafe {
                        header.belongings.remove(belonging);
                        let group = belonging.cast::<Group>();
                        group.as_ref().inert.set(true);
                        group::free_if_done(group);
                    },
                    // SAFETY: owned by this task, and unlinked first.
                    Some((belonging, BelongingKind::Resource(vtable))) => unsafe {
                        header.belongings.remove(belonging);
                        self.trace_resource(false, header.id, belonging);
                        self.foreign(ReportPlace::Finaliser, || (vtable.finalise)(belonging));
                    },
                }
            }
        }
        #[cfg(not(feature = "alloc"))]
        let _ = task;
    }

    /// The task has ended: tells its parent. Gives the parent if it can end now, too.
    fn end(&self, task: TaskRef) -> Option<TaskRef> {
        // SAFETY: *Home*: this domain holds the task.
        let header = unsafe { task.as_ref() };
        self.trace_end(task);
        header.home_flags.set(home::ENDED);
        if header.state.end() {
            // Its node is in our inbox, or about to be: this domain does not end before it was taken.
            header.home_flags.set(home::LIMBO);
            self.limbo.set(self.limbo.get() + 1);
        }
        if header.home_flags.has(home::SENT) {
            if !header.home_flags.has(home::LIMBO) {
                self.hand_over(task);
            }
            return None;
        }
        let parent = self.deliver(task);
        if matches!(header.parent.kind(), ParentKind::Nobody) {
            self.root_ended.set(true);
        }
        self.let_go(task);
        parent
    }

    pub(super) fn parent_of(&self, header: &Header) -> Option<TaskRef> {
        match header.parent.kind() {
            ParentKind::Nobody => None,
            ParentKind::Task(parent) => Some(parent),
            #[cfg(feature = "alloc")]
            // SAFETY: *Grouped*: the child is one of the group's until it was delivered. The owner is never changed.
            ParentKind::Group(group) => Some(unsafe { group.as_ref() }.owner()),
        }
    }

    /// A task of ours has ended and its node is in no inbox: sends it to its parent's domain if that is another, and lets go of it.
    fn hand_over(&self, task: TaskRef) {
        // SAFETY: *Counted*: this domain holds the task.
        let header = unsafe { task.as_ref() };
        let parent =
            if header.home_flags.has(home::SENT) && !header.home_flags.has(home::HANDED_OVER) { self.parent_of(header) } else { None };
        let Some(parent) = parent else { return self.let_go(task) };
        header.home_flags.set(home::HANDED_OVER);
        header.state.pass_on();
        // Let go of first, so that the parent is the last and its domain keeps the memory: its list holds the task until it was delivered.
        self.let_go(task);
        // SAFETY: *Queued*: we set the bit. *Kept*: the parent, and so its domain, lives until the child was delivered.
        unsafe { parent.as_ref().home.as_ref().push(task) };
    }

    /// This domain lets go of a task that has ended, unless it still has a link to it.
    fn let_go(&self, task: TaskRef) {
        // SAFETY: *Counted*: this domain holds the task until here.
        unsafe {
            if !task.as_ref().home_flags.has(home::RUNNABLE | home::LIMBO) {
                task::release(task);
            }
        }
    }

    /// A child of a task of this domain has ended. Gives the parent if it can end now, too. Between polls.
    fn deliver(&self, child: TaskRef) -> Option<TaskRef> {
        // SAFETY: *Parent*: the child is linked, and its parent lives.
        let header = unsafe { child.as_ref() };
        #[cfg(feature = "alloc")]
        self.forget_birth(header.id);
        let parent = self.parent_of(header)?;
        header.parent_flags.set(parent::DELIVERED);
        #[cfg(feature = "alloc")]
        if let ParentKind::Group(group) = header.parent.kind()
            // SAFETY: *Grouped*: the child is one of the group's.
            && !unsafe { group.as_ref() }.is_handled()
            && !header.parent_flags.has(parent::HELD)
        {
            header.parent_flags.set(parent::FORGOTTEN);
        }
        let waker = header.waker.take();
        if header.parent_flags.has(parent::CANCELLED | parent::FORGOTTEN) {
            // SAFETY: delivered just now, and linked.
            unsafe {
                if !header.parent_flags.has(parent::CANCELLED) {
                    note_forgotten(child);
                }
                self.give_up(child, parent);
            }
        } else {
            let adopted = self.receive(child, parent, false);
            #[cfg(feature = "alloc")]
            {
                let group = match header.parent.kind() {
                    ParentKind::Group(group) if !header.parent_flags.has(parent::TAKEN) => Some(group),
                    _ => None,
                };
                // SAFETY: *Grouped*: the child is one of its own; held, the group stays until those who wait are woken. Foreign code runs only
                // after the child is where those that have ended are: it may drop the very `Orphans` or promise, which buries the child.
                unsafe {
                    if let Some(group) = group {
                        move_to_ended(group, child);
                        group.as_ref().hold();
                    }
                    self.trace_adopted(parent, adopted);
                    if let Some(group) = group {
                        group::wake_waiting(group, |waker| self.foreign(ReportPlace::Waker, || waker.wake()));
                    }
                }
            }
            #[cfg(not(feature = "alloc"))]
            let _ = adopted;
        }
        if let Some(waker) = waker {
            self.foreign(ReportPlace::Waker, || waker.wake());
        }
        self.childless(parent)
    }

    /// Unlinks a child that nobody awaits, and drops what it leaves.
    ///
    /// It leaves the lists before foreign code runs: that may drop the very `Orphans` it is in, which buries those that have ended.
    ///
    /// # Safety
    /// *Parent*: the child was delivered and is linked; `parent` is its parent.
    unsafe fn give_up(&self, child: TaskRef, parent: TaskRef) {
        // SAFETY: *Grouped*: the child is one of the group's; held, it and the scope it is in stay until those who wait are woken.
        unsafe {
            #[cfg(feature = "alloc")]
            let groups = match child.as_ref().parent.kind() {
                ParentKind::Group(group) => [Some(group), group.as_ref().scope.get()],
                _ => [None, None],
            };
            #[cfg(feature = "alloc")]
            groups.iter().flatten().for_each(|group| group.as_ref().hold());
            let ended = self.unlink(child);
            self.receive(child, parent, true);
            #[cfg(feature = "alloc")]
            for group in groups.into_iter().flatten() {
                group::wake_waiting(group, |waker| self.foreign(ReportPlace::Waker, || waker.wake()));
            }
            bury(self, ended);
        }
    }

    /// Takes over what a child transferred: it becomes the parent's, or is finalised if nobody is there to use it. How much became the
    /// parent's: it is in front of its belongings.
    fn receive(&self, child: TaskRef, parent: TaskRef, given_up: bool) -> usize {
        #[cfg(feature = "alloc")]
        let mut adopted = 0;
        #[cfg(feature = "alloc")]
        // SAFETY: the child's belongings were handed over with its end; *Home* for the parent.
        unsafe {
            let closed = parent.as_ref().home_flags.has(home::CLOSED);
            while let Some(belonging) = child.as_ref().belongings.pop_front() {
                match belonging.as_ref().kind {
                    BelongingKind::Group => unreachable!("a task that has ended has no groups"),
                    BelongingKind::Resource(vtable) if given_up || closed => {
                        self.foreign(ReportPlace::Finaliser, || (vtable.finalise)(belonging));
                    }
                    BelongingKind::Resource(vtable) => {
                        parent.as_ref().belongings.push_front(belonging);
                        (vtable.adopt)(belonging, parent.as_ref());
                        adopted += 1;
                    }
                }
            }
            adopted
        }
        #[cfg(not(feature = "alloc"))]
        {
            let _ = (child, parent, given_up);
            0
        }
    }

    /// Takes a delivered child out of its parent's list. Its result is for the caller to take or to bury.
    ///
    /// # Safety
    /// *Parent*: the child was delivered and is linked.
    pub(crate) unsafe fn unlink(&self, child: TaskRef) -> Ended {
        // SAFETY: *Parent*, promised by the caller; *Grouped*.
        unsafe {
            let header = child.as_ref();
            header.parent_flags.set(parent::UNLINKED);
            match header.parent.kind() {
                ParentKind::Nobody => {}
                ParentKind::Task(parent) => parent.as_ref().children.remove(child),
                #[cfg(feature = "alloc")]
                ParentKind::Group(group) => {
                    group.as_ref().remove(child);
                    group::free_if_done(group);
                }
            }
            Ended::new(child)
        }
    }

    /// Whether this domain has nothing left that leads to a task.
    pub(crate) fn is_empty(&self) -> bool {
        self.runnable.is_empty() && self.attending.is_empty() && self.limbo.get() == 0
    }

    /// The task that [`poll_next`](Self::poll_next) takes.
    pub(crate) fn next_runnable(&self) -> Option<TaskId> {
        // SAFETY: *Counted*: the home domain holds a task that is RUNNABLE.
        self.runnable.front().map(|task| unsafe { task.as_ref() }.id)
    }
}

/// Moves a child of a group from those that run to those that have ended.
///
/// # Safety
/// *Grouped*: the child is one of the group's.
#[cfg(feature = "alloc")]
unsafe fn move_to_ended(group: NonNull<Group>, child: TaskRef) {
    // SAFETY: promised by the caller; *Linked*. `running` is in the list.
    unsafe {
        let this = group.as_ref();
        if this.running.get() == Some(child) {
            this.running.set(this.children.after(child));
        } else if let Some(running) = this.running.get() {
            this.children.remove(child);
            this.children.insert_before(running, child);
        }
    }
}

/// A child that was forgotten has ended: keeps its id and place, for rule 3, where nothing of the kind is kept yet.
///
/// # Safety
/// *Parent*: the child is linked; its parent lives.
pub(crate) unsafe fn note_forgotten(child: TaskRef) {
    // SAFETY: promised by the caller; *Grouped*.
    unsafe {
        let header = child.as_ref();
        let forgotten = match header.parent.kind() {
            ParentKind::Nobody => return,
            ParentKind::Task(parent) => &(*parent.as_ptr()).forgotten,
            #[cfg(feature = "alloc")]
            ParentKind::Group(group) => &(*group.as_ptr()).forgotten,
        };
        forgotten.set(forgotten.get().or(Some((header.id, header.born))));
    }
}

/// A child that must not be left behind by a task that ends normally.
///
/// # Safety
/// *Parent*: on the domain of the list's owner.
pub(super) unsafe fn uncared(children: &List<Siblings>) -> Option<ViolationKind> {
    let mut next = children.front();
    while let Some(child) = next {
        // SAFETY: *Linked*.
        unsafe {
            let header = child.as_ref();
            if !header.parent_flags.has(parent::CANCELLED) {
                return Some(ViolationKind::StillHasChildren { child: header.id, spawned: header.born });
            }
            next = children.after(child);
        }
    }
    None
}

/// A child that was delivered and is no longer in its parent's list, whose place as one of its holders passed to this value. It must be
/// disposed of: its result taken, or [buried](bury).
#[must_use]
pub(crate) struct Ended(TaskRef);

impl Ended {
    /// # Safety
    /// The child was delivered and just unlinked.
    unsafe fn new(child: TaskRef) -> Self {
        Ended(child)
    }

    pub(crate) fn into_inner(self) -> TaskRef {
        self.0
    }

    /// Takes the result. `None` if the task was cancelled before it had one.
    ///
    /// # Safety
    /// `R` is the type of the task's result.
    pub(crate) unsafe fn take<R>(self) -> Option<R> {
        // SAFETY: *Stage*: delivered, and unlinked once only. *Counted*: the list's place is ours.
        unsafe {
            let result = task::take(self.0);
            task::release(self.0);
            result
        }
    }
}

/// Drops the result that nobody took, as foreign code, and lets go of the task.
pub(crate) fn bury(domain: &Domain, ended: Ended) {
    let child = ended.into_inner();
    // SAFETY: *Stage*: delivered, on the parent's domain. *Counted*: the list's place is ours.
    unsafe {
        if child.as_ref().stage() == Stage::Result {
            domain.foreign(ReportPlace::Result, || task::clear(child));
        }
        task::release(child);
    }
}
