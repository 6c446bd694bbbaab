//! Births: a new task, and its place in the tree.

#![allow(unsafe_code)] // Follows the pointers between parents and children, under *Counted*, *Home*, *Parent* and *Kept* of `task`.

use core::panic::Location;
use core::ptr::NonNull;

use crate::container::mailbox::Mailbox;
use crate::domain::Domain;
use crate::task::{Birth, InboxChain, Parent, ParentKind, TaskRef, home, parent};

impl Domain {
    /// A new child of `parent`, for this domain or for that of the mailbox `home`.
    #[inline]
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
        Birth { id: self.next_id(), home: home.unwrap_or_else(|| NonNull::from(self.mailbox())), parent, born, held, sent: home.is_some() }
    }

    /// Takes a task just made by the current one, for this domain, into the tree and the run queue.
    ///
    /// # Safety
    /// The task was just made with a [`Birth`] of this domain's, and nobody has seen it. `maker` is the current task.
    #[inline]
    pub(crate) unsafe fn adopt(&self, child: TaskRef, maker: TaskRef) {
        if !self.link(child) {
            return self.cancel_here(child);
        }
        // SAFETY: just made, so it is in no queue; the home domain holds it until it is popped. *Counted*: the current task is held.
        unsafe {
            child.as_ref().home_flags.set(home::RUNNABLE);
            let maker = maker.as_ref();
            let queued = maker.home_flags.has(home::RUNNABLE);
            if let Some(brood) = self.runnable.push_child(child, maker.brood(), queued) {
                maker.set_brood(brood);
            }
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

    /// Links a new child to its parent. `false` if it was made by a destructor of a task or a scope that is closed: it is to be cancelled, unpolled.
    #[inline]
    #[must_use]
    fn link(&self, child: TaskRef) -> bool {
        self.count_unawaited();
        // SAFETY: *Parent*: the child was just made here; its parent is the current task, or a group of its.
        unsafe {
            let header = child.as_ref();
            let closed = match header.parent.kind() {
                ParentKind::Nobody => return true,
                ParentKind::Task(maker) => {
                    maker.as_ref().children.push_back(child);
                    maker.as_ref().home_flags.has(home::CLOSED)
                }
                #[cfg(feature = "alloc")]
                ParentKind::Group(group) => {
                    let group = group.as_ref();
                    group.children.push_back(child);
                    group.len.set(group.len.get() + 1);
                    if group.running.get().is_none() {
                        group.running.set(Some(child));
                    }
                    group.is_closing() || group.owner().as_ref().home_flags.has(home::CLOSED)
                }
            };
            if closed {
                header.parent_flags.set(parent::CANCELLED);
            }
            !closed
        }
    }
}
