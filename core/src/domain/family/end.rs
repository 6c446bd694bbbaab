//! Ends: up the tree, each task after its last child, and what a task that ended leaves to its parent.

#![allow(unsafe_code)] // Follows the pointers between parents and children, under *Counted*, *Home*, *Parent* and *Kept* of `task`.

#[cfg(feature = "alloc")]
use core::ptr::NonNull;
use core::task::Waker;

use super::forgotten;
use crate::container::list::List;
use crate::domain::Domain;
#[cfg(feature = "alloc")]
use crate::domain::group::{self, Group};
use crate::outcome::Exit;
use crate::shim::fault;
#[cfg(feature = "alloc")]
use crate::task::BelongingKind;
use crate::task::{self, Header, ParentKind, Siblings, Stage, TaskRef, home, parent, waker};
use crate::trace::Step;
use crate::violation::{ReportPlace, ViolationKind};

impl Domain {
    /// The future has ended and is dropped; the result is kept.
    #[inline]
    pub(super) fn completed(&self, task: TaskRef, normal: bool) {
        // SAFETY: *Home*.
        let header = unsafe { task.as_ref() };
        if normal && !header.home_flags.has(home::VIOLATED) && header.has_nothing() {
            // Nothing was left behind, and nothing is waited for. The parent seldom ends with it.
            let parent = self.end(task);
            if parent.is_some() {
                self.finish_all(parent);
            }
        } else {
            self.completed_with_much(task, normal);
        }
    }

    /// Checks what a normal end must not leave behind.
    #[inline(never)]
    fn completed_with_much(&self, task: TaskRef, normal: bool) {
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
            if let Some((child, spawned)) = forgotten::kept(header) {
                return Some(ViolationKind::StillHasChildren { child, spawned });
            }
            if let Some(broken) = uncared(&header.children) {
                return Some(broken);
            }
            #[cfg(feature = "alloc")]
            return group::groups(header).find_map(|group| group.as_ref().uncared());
            #[cfg(not(feature = "alloc"))]
            None
        }
    }

    /// Drops the future of a cancelled task, unpolled from now on. Between polls.
    pub(super) fn cut(&self, task: TaskRef) {
        // SAFETY: *Home*: the task has not ended.
        let header = unsafe { task.as_ref() };
        if header.home_flags.has(home::CLOSED) {
            return;
        }
        header.home_flags.set(home::CLOSED);
        // The destructor finds the same, whoever was polled last.
        self.begin_budget();
        // SAFETY: *Stage*: on its home domain.
        let dropped = self.run_step(task, Step::Drop, || crate::outcome::catch(|| unsafe { task::clear(task) }));
        if let Err(panic) = dropped {
            Domain::report(ReportPlace::Destructor, panic);
        }
        if header.has_nothing() {
            return self.finish_all(Some(task));
        }
        self.cancel_children(task);
        self.finish_all(self.childless(task));
    }

    /// The task, if it is closed and has no child left: it can end.
    #[inline]
    fn childless(&self, task: TaskRef) -> Option<TaskRef> {
        // SAFETY: *Home*: the task has not ended.
        let header = unsafe { task.as_ref() };
        if header.home_flags.has(home::CLOSED) { self.childless_and_closed(task) } else { None }
    }

    #[inline(never)]
    fn childless_and_closed(&self, task: TaskRef) -> Option<TaskRef> {
        // SAFETY: *Home*: the task has not ended.
        let header = unsafe { task.as_ref() };
        if header.home_flags.has(home::ENDED) || !header.children.is_empty() {
            return None;
        }
        // Once closed it gets no more children. So a group that has none goes to the front, and whoever asks again does not meet it.
        #[cfg(feature = "alloc")]
        {
            let mut first = None;
            // SAFETY: *Linked*; *Grouped*.
            while let Some(belonging) = header.belongings.back().filter(|belonging| unsafe { belonging.as_ref() }.is_group())
                && first != Some(belonging)
            {
                // SAFETY: *Grouped*.
                if !unsafe { belonging.cast::<Group>().as_ref() }.is_childless() {
                    return None;
                }
                first = first.or(Some(belonging));
                header.belongings.turn_back();
            }
        }
        Some(task)
    }

    /// Ends a task, then its parent if that waited for it alone, and so on up. Between polls.
    pub(super) fn finish_all(&self, mut next: Option<TaskRef>) {
        while let Some(task) = next {
            #[cfg(feature = "alloc")]
            // SAFETY: *Home*: the task is about to end.
            if !unsafe { task.as_ref() }.belongings.is_empty() {
                self.count_step();
                self.finalise(task);
            }
            next = self.end(task);
        }
    }

    /// Runs the finalisers of what the task still owns, last owned first; what it transferred stays. Groups become inert.
    #[cfg(feature = "alloc")]
    #[inline(never)]
    fn finalise(&self, task: TaskRef) {
        // SAFETY: *Home*: the task is about to end.
        let header = unsafe { task.as_ref() };
        // What was transferred goes to the back as it is met, and so keeps its order: when the first of it comes again, nothing else is left.
        // No place in the list is remembered while finalisers run, but that one's, which nobody takes out before the end.
        let mut first = None;
        while let Some(belonging) = header.belongings.front() {
            // SAFETY: *Linked*.
            match unsafe { belonging.as_ref() }.kind {
                // SAFETY: *Home*: on the owner's domain.
                BelongingKind::Resource(vtable) if unsafe { (vtable.in_transit)(belonging) } => {
                    if first == Some(belonging) {
                        return;
                    }
                    first = first.or(Some(belonging));
                    header.belongings.turn();
                }
                // SAFETY: *Grouped*: it has no children; its handle, if there is one, finds it inert.
                BelongingKind::Group => unsafe {
                    header.belongings.remove(belonging);
                    let group = belonging.cast::<Group>();
                    group.as_ref().inert.set(true);
                    group::free_if_done(group);
                },
                // SAFETY: *Kept once*: the task ends, and asks no more.
                BelongingKind::Forgotten => unsafe {
                    header.belongings.remove(belonging);
                    forgotten::free(belonging);
                },
                // SAFETY: owned by this task, and unlinked first.
                BelongingKind::Resource(vtable) => unsafe {
                    header.belongings.remove(belonging);
                    self.trace_resource(false, header.id, belonging);
                    self.foreign(ReportPlace::Finaliser, || (vtable.finalise)(belonging));
                },
            }
        }
    }

    /// The task has ended: tells its parent. Gives the parent if it can end now, too.
    // Into `completed`, where most ends come from. Small processors have small memories.
    #[cfg_attr(target_pointer_width = "64", inline(always))]
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn end(&self, task: TaskRef) -> Option<TaskRef> {
        // SAFETY: *Home*: this domain holds the task.
        let header = unsafe { task.as_ref() };
        self.trace_end(task);
        if header.end() {
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
        if !header.home_flags.has(home::RUNNABLE | home::LIMBO) {
            // SAFETY: *Counted*: this domain holds the task until here. *Parent*: that is on this domain.
            unsafe { task::release_near(task) };
        }
        parent
    }

    #[inline]
    pub(in crate::domain) fn parent_of(&self, header: &Header) -> Option<TaskRef> {
        match header.parent.kind() {
            ParentKind::Nobody => None,
            ParentKind::Task(parent) => Some(parent),
            #[cfg(feature = "alloc")]
            // SAFETY: *Grouped*: the child is one of the group's until it was delivered. The owner is never changed.
            ParentKind::Group(group) => Some(unsafe { group.as_ref() }.owner()),
        }
    }

    /// A task of ours has ended and its node is in no inbox: sends it to its parent's domain if that is another, and lets go of it.
    pub(super) fn hand_over(&self, task: TaskRef) {
        // SAFETY: *Counted*: this domain holds the task.
        let header = unsafe { task.as_ref() };
        let parent =
            if header.home_flags.has(home::SENT) && !header.home_flags.has(home::HANDED_OVER) { self.parent_of(header) } else { None };
        let Some(parent) = parent else { return self.let_go(task) };
        header.home_flags.set(home::HANDED_OVER);
        header.state.pass_on();
        // Let go of first, so that the parent is the last and its domain keeps the memory: its list holds the task until it was delivered.
        self.let_go(task);
        if !fault("end_not_sent") {
            // SAFETY: *Queued*: we set the bit. *Kept*: the parent, and so its domain, lives until the child was delivered.
            unsafe { parent.as_ref().home.as_ref().push(task) };
        }
    }

    /// This domain lets go of a task that has ended, unless it still has a link to it.
    #[inline]
    pub(super) fn let_go(&self, task: TaskRef) {
        // SAFETY: *Counted*: this domain holds the task until here.
        unsafe {
            let flags = &task.as_ref().home_flags;
            if !flags.has(home::RUNNABLE | home::LIMBO) {
                if flags.has(home::SENT) { task::release(task) } else { task::release_near(task) }
            }
        }
    }

    /// A child of a task of this domain has ended on another. Gives the parent if it can end now, too. Between polls.
    #[inline(never)]
    pub(super) fn deliver_arrival(&self, child: TaskRef) -> Option<TaskRef> {
        self.deliver(child)
    }

    /// A child of a task of this domain has ended. Gives the parent if it can end now, too. Between polls.
    #[cfg_attr(target_pointer_width = "64", inline(always))] // Into `end`, too.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))]
    fn deliver(&self, child: TaskRef) -> Option<TaskRef> {
        // SAFETY: *Parent*: the child is linked, and its parent lives.
        let header = unsafe { child.as_ref() };
        #[cfg(feature = "alloc")]
        self.forget_birth(header.id);
        match header.parent.kind() {
            ParentKind::Nobody => {
                self.root_ended.set(true);
                None
            }
            // It brings nothing, and belongs to no group: so do most.
            ParentKind::Task(parent) if !header.parent_flags.has(parent::FORGOTTEN) && header.brings_nothing() => {
                header.parent_flags.set(parent::DELIVERED);
                let waiting = header.waker.take();
                if header.parent_flags.has(parent::CANCELLED) {
                    // SAFETY: delivered just now, and linked.
                    bury(self, unsafe { self.unlink(child) });
                }
                self.wake_waiting(waiting, parent);
                self.childless(parent)
            }
            _ => self.deliver_with_much(child),
        }
    }

    /// Wakes who waits for a child of `parent`.
    #[inline]
    fn wake_waiting(&self, waiting: Option<Waker>, parent: TaskRef) {
        match waiting {
            None => {}
            Some(waker) if waker::is_uncounted(&waker) => self.make_runnable(parent),
            Some(waker) => self.foreign(ReportPlace::Waker, || waker.wake()),
        }
    }

    #[inline(never)]
    fn deliver_with_much(&self, child: TaskRef) -> Option<TaskRef> {
        // SAFETY: *Parent*: the child is linked, and its parent lives.
        let header = unsafe { child.as_ref() };
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
        self.wake_waiting(waker, parent);
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
            let finalised = given_up || parent.as_ref().home_flags.has(home::CLOSED);
            let belongings = &child.as_ref().belongings;
            // Finalised the last owned first; handed up the first owned first, so that they stand as they stood here.
            while let Some(belonging) = if finalised { belongings.front() } else { belongings.back() } {
                belongings.remove(belonging);
                let BelongingKind::Resource(vtable) = belonging.as_ref().kind else {
                    unreachable!("a task that has ended has resources only")
                };
                if finalised {
                    self.foreign(ReportPlace::Finaliser, || (vtable.finalise)(belonging));
                } else {
                    parent.as_ref().belongings.push_front(belonging);
                    (vtable.adopt)(belonging, parent.as_ref());
                    adopted += 1;
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
    #[inline]
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
        let child = (header.id, header.born);
        match header.parent.kind() {
            ParentKind::Nobody => {}
            ParentKind::Task(parent) => forgotten::keep(parent.as_ref(), child),
            #[cfg(feature = "alloc")]
            ParentKind::Group(group) => group.as_ref().keep_forgotten(child),
        }
    }
}

/// A child that must not be left behind by a task that ends normally.
///
/// # Safety
/// *Parent*: on the domain of the list's owner.
pub(in crate::domain) unsafe fn uncared(children: &List<Siblings>) -> Option<ViolationKind> {
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
    pub(super) unsafe fn new(child: TaskRef) -> Self {
        Ended(child)
    }

    pub(crate) fn into_inner(self) -> TaskRef {
        self.0
    }

    /// Takes the result.
    ///
    /// # Safety
    /// `Result<T, Exit<E>>` is the type of the task's result.
    pub(crate) unsafe fn take<T, E>(self) -> Result<T, Exit<E>> {
        // SAFETY: *Stage*: delivered, and unlinked once only. *Counted*: the list's place is ours.
        unsafe {
            let result = match task::take(self.0) {
                Some(result) => result,
                // It was cancelled before it had one.
                None => Err(Exit::Cancelled),
            };
            task::release_near(self.0);
            result
        }
    }
}

/// Drops the result that nobody took, as foreign code, and lets go of the task.
pub(crate) fn bury(domain: &Domain, ended: Ended) {
    let child = ended.into_inner();
    if fault("result_not_buried") {
        return;
    }
    // SAFETY: *Stage*: delivered, on the parent's domain. *Counted*: the list's place is ours.
    unsafe {
        if child.as_ref().stage() == Stage::Result {
            domain.foreign(ReportPlace::Result, || task::clear(child));
        }
        task::release_near(child);
    }
}
