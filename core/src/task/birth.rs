//! Where a task comes from: who its parent is, and what it is made with.

use core::panic::Location;
use core::ptr::NonNull;

use super::{InboxChain, TaskRef};
use crate::container::mailbox::Mailbox;
#[cfg(feature = "alloc")]
use crate::domain::group::Group;
use crate::id::TaskId;

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
