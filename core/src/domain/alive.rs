//! Who is still there: the tasks of a run that have not ended, from the main task down.
//!
//! Called between the steps of a simulation, which runs all domains on one thread: nobody edits a list meanwhile.

#![allow(unsafe_code)] // Walks the lists of children, under *Linked* and *Parent* of `task`.

use alloc::vec;

use super::group;
use super::shared::Run;
use crate::id::{DomainId, TaskId};
use crate::task::{TaskRef, home, parent};

/// A task that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alive {
    pub(crate) task: TaskId,
    pub(crate) name: Option<&'static str>,
    pub(crate) domain: DomainId,
    pub(crate) born: &'static core::panic::Location<'static>,
    /// Its future is gone: it waits for its children alone.
    pub(crate) closed: bool,
}

/// Calls `f` with each task that has not ended, parents before their children. Tells whether the node of any is in an inbox, or about to be: then
/// something is still to happen.
///
/// # Safety
/// All domains of the run are this thread's and are between two steps; the root is held.
pub(crate) unsafe fn survey(run: &Run, root: TaskRef, mut f: impl FnMut(Alive)) -> bool {
    let domain_of = |task: TaskRef| {
        // SAFETY: *Linked*, as below.
        let home = unsafe { task.as_ref() }.home;
        (0..run.domains()).map(DomainId::new).find(|&id| run.address(id) == home)
    };
    // Not recursive: a tree may be deep.
    let mut found = vec![root];
    let mut queued = false;
    while let Some(task) = found.pop() {
        // SAFETY: *Linked*: promised by the caller for the root, and each of the others is in a list of children.
        unsafe {
            let header = task.as_ref();
            if header.parent_flags.has(parent::DELIVERED) {
                continue;
            }
            queued |= header.state.is_queued();
            if !header.home_flags.has(home::ENDED)
                && let Some(domain) = domain_of(task)
            {
                let closed = header.home_flags.has(home::CLOSED);
                f(Alive { task: header.id, name: crate::task::name(task), domain, born: header.born, closed });
            }
            let first = found.len();
            group::for_each_list_of_children(header, |children| {
                let mut next = children.front();
                while let Some(child) = next {
                    found.push(child);
                    next = children.after(child);
                }
            });
            found[first..].reverse();
        }
    }
    queued
}
