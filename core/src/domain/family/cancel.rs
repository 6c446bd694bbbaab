//! Cancellations: marked at once, down the tree; the drop is a step of the task's own domain.
//!
//! Interrupts and destructors are foreign code: what a walk over lists meets is put aside, and sent or dropped when the walk is over.

#![allow(unsafe_code)] // Follows the pointers between parents and children, under *Counted*, *Home*, *Parent* and *Kept* of `task`.

#[cfg(feature = "alloc")]
use core::ptr::NonNull;

use super::end::{Ended, bury};
use crate::container::fifo::Fifo;
use crate::container::list::List;
use crate::domain::Domain;
#[cfg(feature = "alloc")]
use crate::domain::group::{self, Group};
use crate::shim::fault;
use crate::task::state::Send;
use crate::task::{InboxChain, Siblings, TaskRef, home, parent};
use crate::trace::EventKind;

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
    pub(super) fn new() -> Aside {
        Aside { to_send: Fifo::new(), ended: List::new() }
    }
}

impl Domain {
    /// Marks a child as cancelled and has its domain drop it. By its parent's domain. A child that has ended is unlinked; its result is
    /// then for the caller to drop, with [`bury`].
    #[must_use]
    pub(crate) fn cancel(&self, child: TaskRef) -> Option<Ended> {
        match self.mark_cancelled(child) {
            Marked::Ended(ended) => return Some(ended),
            // SAFETY: *Queued*: we set the bit. *Kept*: its home lives until it was delivered.
            Marked::ToSend if !fault("cancel_not_sent") => unsafe { child.as_ref().home.as_ref().push(child) },
            Marked::ToSend | Marked::Told => {}
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
    pub(super) fn cancel_here(&self, child: TaskRef) {
        // SAFETY: *Parent* and *Home*: this domain is both.
        let header = unsafe { child.as_ref() };
        match header.state.cancel() {
            // SAFETY: *Queued*: we set the bit, so the inbox link is ours.
            Send::Push => unsafe { self.attend_later(child) },
            Send::OnItsWay if !header.home_flags.has(home::RUNNABLE | home::CLOSED) => {
                header.home_flags.set(home::RUNNABLE);
                // SAFETY: not in the run queue, as RUNNABLE was not set.
                unsafe { self.runnable.push_cancelled(child) };
                self.pause();
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
    pub(super) fn cancel_children(&self, of: TaskRef) {
        // SAFETY: *Home*: the task is this domain's.
        let header = unsafe { of.as_ref() };
        let aside = Aside::new();
        self.cancel_list(&header.children, &aside);
        #[cfg(feature = "alloc")]
        // SAFETY: *Home*; *Grouped*: a group may go with the last of its children, and no other with it.
        unsafe {
            for group in group::groups(header) {
                self.cancel_group(group, &aside);
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
}
