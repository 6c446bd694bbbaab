//! How a domain tells the run's consumer of events, and keeps the births of tasks.
//!
//! Where neither is asked for, each place costs one branch. The rest is out of line.

#![allow(unsafe_code)] // Reads the headers of tasks, under the invariants of `task`.

#[cfg(feature = "alloc")]
use core::ptr::NonNull;
use core::task::Waker;

use super::Domain;
use crate::id::{PointId, TaskId};
use crate::outcome::catch;
use crate::task::{self, TaskRef, home};
#[cfg(feature = "alloc")]
use crate::task::{Belonging, BelongingKind};
use crate::trace::{Event, EventKind, How, Step};
use crate::violation::ReportPlace;

impl Domain {
    /// Tells the consumer, if there is one. Not while anything of the domain's is borrowed, nor in the middle of a walk over a list: it is
    /// foreign code.
    #[inline]
    pub(crate) fn trace(&self, kind: impl FnOnce() -> EventKind) {
        if self.tracer.get().is_some() {
            self.tell(kind());
        }
    }

    /// Whether there is a consumer, for what is to be prepared for it.
    #[inline]
    pub(crate) fn is_traced(&self) -> bool {
        self.tracer.get().is_some()
    }

    #[cold]
    #[inline(never)]
    fn tell(&self, kind: EventKind) {
        // Away while it runs: what it does itself is not traced, and one that panics does not come back.
        let Some(tracer) = self.tracer.take() else { return };
        let event = Event { at: self.time(), domain: self.id, kind };
        self.as_task(None, || match catch(|| tracer.event(&event)) {
            Ok(()) => self.tracer.set(Some(tracer)),
            Err(panic) => Domain::report(ReportPlace::Trace, panic),
        });
    }

    /// A task was just made, and is in no list yet.
    ///
    /// # Safety
    /// It was made with a birth of this domain's, and nobody else knows it.
    #[inline]
    pub(crate) unsafe fn announce(&self, task: TaskRef) {
        if self.watched {
            // SAFETY: passed on to the caller.
            unsafe { self.announce_watched(task) };
        }
    }

    /// # Safety
    /// As for [`announce`](Self::announce).
    #[cold]
    #[inline(never)]
    unsafe fn announce_watched(&self, task: TaskRef) {
        // SAFETY: promised by the caller. Its parent is the current task, or there is none.
        let (header, parent) = unsafe {
            let header = task.as_ref();
            (header, self.parent_of(header).map(|parent| parent.as_ref().id))
        };
        #[cfg(feature = "alloc")]
        if let Some(births) = &self.births {
            let now = self.time();
            births.borrow_mut().insert(header.id, now);
        }
        self.trace(|| EventKind::Spawn {
            task: header.id,
            parent,
            home: self.run().domain_of(header.home),
            // SAFETY: valid, as above.
            name: unsafe { task::name(task) },
            born: header.born,
        });
    }

    /// The task's end has reached its maker's domain: its birth is forgotten.
    #[cfg(feature = "alloc")]
    #[inline]
    pub(super) fn forget_birth(&self, task: TaskId) {
        if self.watched {
            self.forget_watched(task);
        }
    }

    #[cfg(feature = "alloc")]
    #[cold]
    #[inline(never)]
    fn forget_watched(&self, task: TaskId) {
        if let Some(births) = &self.births {
            births.borrow_mut().remove(&task);
        }
    }

    /// Has a task's code run, as the current task. Between polls.
    #[inline]
    pub(super) fn run_step<R>(&self, task: TaskRef, step: Step, f: impl FnOnce() -> R) -> R {
        // SAFETY: *Counted*: the home domain holds the task.
        let id = unsafe { task.as_ref() }.id;
        // SAFETY: *Run*: it lies in the run's table.
        unsafe { self.place.as_ref() }.note_running(id);
        if self.is_traced() {
            return self.run_step_traced(task, step, f);
        }
        self.as_current(task, f)
    }

    #[cold]
    #[inline(never)]
    fn run_step_traced<R>(&self, task: TaskRef, step: Step, f: impl FnOnce() -> R) -> R {
        // SAFETY: *Counted*: the home domain holds the task.
        let id = unsafe { task.as_ref() }.id;
        self.trace(|| EventKind::RunBegin { task: id, step });
        let result = self.as_current(task, f);
        self.trace(|| EventKind::RunEnd { task: id, step });
        result
    }

    /// Tells that the current task waits for a child.
    pub(crate) fn trace_await(&self, child: TaskId) {
        self.trace_of_current(|task| EventKind::Await { task, child });
    }

    /// Tells that the current task took a child's result.
    pub(crate) fn trace_join(&self, child: TaskId) {
        self.trace_of_current(|task| EventKind::Join { task, child });
    }

    #[inline]
    fn trace_of_current(&self, kind: impl FnOnce(TaskId) -> EventKind) {
        if self.is_traced()
            && let Some(task) = self.current.get()
        {
            // SAFETY: *Counted*: the domain holds its current task.
            self.tell(kind(unsafe { task.as_ref() }.id));
        }
    }

    /// Without the heap nobody can ask.
    #[cfg(not(feature = "alloc"))]
    pub(crate) fn is_asked(&self) -> bool {
        false
    }

    /// Tells of a task's end, just before it.
    pub(super) fn trace_end(&self, task: TaskRef) {
        self.trace(|| {
            // SAFETY: *Home* and *Stage*: the task is closed and has not ended.
            let (header, how) = unsafe { (task.as_ref(), task::how(task)) };
            EventKind::End { task: header.id, how: if header.home_flags.has(home::VIOLATED) { How::Violated } else { how } }
        });
    }

    /// Tells that the current task waits at a point, which was registered just now.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_suspended(&self, point: PointId) {
        // SAFETY: *Counted*: the domain holds its current task.
        let Some(task) = self.current.get().map(|task| unsafe { task.as_ref() }.id) else { return };
        if self.points.noted(point) == Some(task) {
            return;
        }
        self.points.note(point, task);
        self.trace(|| EventKind::Suspend { task, point });
    }

    /// Tells that a point is let go of, if a task still waits there.
    #[cold]
    #[inline(never)]
    pub(crate) fn trace_given_up(&self, point: PointId) {
        if let Some(task) = self.points.noted(point) {
            self.trace(|| EventKind::GiveUp { task, point });
        }
    }

    /// The waker of the next point that was resumed: `Some(None)` if its owner has not waited yet, or is gone.
    #[inline]
    pub(crate) fn next_resumed(&self) -> Option<Option<Waker>> {
        let resumed = self.points.next_resumed()?;
        if let Some((task, point)) = resumed.told {
            self.tell_resumed(task, point);
        }
        Some(resumed.waker)
    }

    #[cold]
    #[inline(never)]
    fn tell_resumed(&self, task: TaskId, point: PointId) {
        self.trace(|| EventKind::Resume { task, point });
    }

    /// Tells that a task became the owner of the first so many of its belongings, which are resources, the first owned first.
    ///
    /// # Safety
    /// *Home*: this domain's task, which has not ended.
    #[cfg(feature = "alloc")]
    pub(super) unsafe fn trace_adopted(&self, task: TaskRef, count: usize) {
        if !self.is_traced() {
            return;
        }
        // SAFETY: *Home*, promised by the caller. *Linked*: a consumer has no current task, so it puts nothing in front of them and takes
        // none of them away.
        unsafe {
            let belongings = &task.as_ref().belongings;
            let mut next = belongings.front();
            for _ in 1..count {
                next = next.and_then(|belonging| belongings.after(belonging));
            }
            for _ in 0..count {
                let Some(belonging) = next else { return };
                self.trace_resource(true, task.as_ref().id, belonging);
                next = belongings.before(belonging);
            }
        }
    }

    /// Tells that a task became the owner of one of its belongings, or gave it up.
    ///
    /// # Safety
    /// It is valid and, if it is a resource, the task's domain is this.
    #[cfg(feature = "alloc")]
    pub(crate) unsafe fn trace_resource(&self, attached: bool, task: TaskId, belonging: NonNull<Belonging>) {
        self.trace(|| {
            let resource = crate::trace::ResourceId::new(belonging.as_ptr().addr());
            // SAFETY: promised by the caller.
            let place = match unsafe { belonging.as_ref() }.kind {
                // SAFETY: as above.
                BelongingKind::Resource(vtable) => unsafe { (vtable.place)(belonging) },
                BelongingKind::Group | BelongingKind::Forgotten => unreachable!("it is no resource"),
            };
            if attached { EventKind::Attach { task, resource, place } } else { EventKind::Detach { task, resource, place } }
        });
    }
}
