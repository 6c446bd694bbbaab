//! How a domain tells its part of the tree of tasks to whoever asks.
//!
//! A [`Question`] is put to a domain's place in the run's table, and rings it. The domain answers between two steps: it walks its own tasks,
//! from those it was asked for down, and for children that live elsewhere it puts a question to their domain, on behalf of the same asker.
//! So no domain ever looks into another's cells, nothing is kept beforehand, and a domain that is not asked pays one look at a flag in
//! each turn of its loop. What a domain that does not answer has started elsewhere stays unknown.
//!
//! The walk is a loop over a stack on the heap: chains of tasks may be deep.
//!
//! Invariants:
//!
//! - *Door*: a [`Run`] is only reached from outside by a visitor who was counted in before it was closed; the run's frame waits until all
//!   visitors have left.
//! - *Held*: a task named in a question is counted as held by it, so that its header is valid; all else about it is its home's to read.

#![allow(unsafe_code)] // Follows the lists of tasks, under *Home*, *Parent* and *Linked*; reaches a run through a pointer, under *Door*.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::panic::Location;
use core::ptr;
use core::task::Waker;
use core::time::Duration;

use super::Domain;
use super::group;
use super::shared::Run;
use crate::container::list::List;
use crate::id::{DomainId, TaskId};
use crate::outcome::{catch, discard};
use crate::shim::{self, AtomicPtr, AtomicUsize, Lock, Ordering, fault};
use crate::task::{self, BelongingKind, Siblings, TaskRef, home, parent};
use crate::time::Instant;
use crate::violation::ReportPlace;

/// How many tasks one domain tells of at a time: beyond that it would be away for too long.
pub(crate) const MOST: usize = 100_000;

/// What is told of a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// Its id.
    pub id: TaskId,
    /// The task that made it; none for the main task.
    pub parent: Option<TaskId>,
    /// The name it was given.
    pub name: Option<&'static str>,
    /// Where it was made. For the main task, where `run` was called.
    pub born: &'static Location<'static>,
    /// The domain it lives on.
    pub home: DomainId,
    /// What it does.
    pub state: TaskState,
    /// How long ago it was made. None where births are not kept: see [`Config::births`](crate::Config::births).
    pub age: Option<Duration>,
    /// Where it took the resources it owns into ownership, last owned first.
    pub owns: Vec<&'static Location<'static>>,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskState {
    /// It is being polled, or its destructors run: the question came from in there.
    Running,
    /// It waits for its turn.
    Runnable,
    /// It waits for something.
    Suspended,
    /// It was cancelled, and its subtree has not ended.
    Cancelled,
    /// Its future has ended, and it waits for its children.
    Ending,
    /// It has ended, and its parent has not taken its result.
    Ended,
    /// Its domain has not answered.
    Unknown,
}

/// Lets those who ask reach a run while it is there (*Door*).
pub(crate) struct Door {
    /// How many visitors there are, and [`CLOSED`].
    word: AtomicUsize,
    run: AtomicPtr<Run>,
}

const CLOSED: usize = 1 << (usize::BITS - 1);

impl Default for Door {
    fn default() -> Door {
        Door { word: AtomicUsize::new(CLOSED), run: AtomicPtr::new(ptr::null_mut()) }
    }
}

impl Door {
    pub(crate) fn open<'a>(&'a self, run: &'a Run) -> Opened<'a> {
        self.run.store(ptr::from_ref(run).cast_mut(), Ordering::Relaxed);
        let published = if fault("door_opened_relaxed") { Ordering::Relaxed } else { Ordering::Release };
        self.word.fetch_and(!CLOSED, published);
        Opened(self)
    }

    /// Calls `f` with the run, which stays meanwhile. `None` if it is over.
    pub(crate) fn visit<R>(&self, f: impl FnOnce(&Run) -> R) -> Option<R> {
        struct Leave<'a>(&'a AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, if fault("door_left_relaxed") { Ordering::Relaxed } else { Ordering::Release });
            }
        }
        // Who comes late is not counted: the run waits for none but those who were inside.
        if self.word.load(Ordering::Relaxed) & CLOSED != 0 {
            return None;
        }
        let before = self.word.fetch_add(1, Ordering::Acquire);
        let _leave = Leave(&self.word);
        // The look that was made before it was counted.
        let before = if fault("door_not_looked_at") { 0 } else { before };
        // SAFETY: *Door*: counted in before it was closed.
        (before & CLOSED == 0).then(|| f(unsafe { &*self.run.load(Ordering::Relaxed) }))
    }
}

/// A door that is open. Dropped, it is closed, and no visitor is inside.
pub(crate) struct Opened<'a>(&'a Door);

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.0.word.fetch_or(CLOSED, Ordering::AcqRel);
        while self.0.word.load(Ordering::Acquire) != CLOSED && !fault("door_not_waited") {
            shim::pause();
        }
    }
}

/// What one asker was told so far.
#[derive(Default)]
pub(crate) struct Answers(Lock<Told>);

pub(crate) struct Told {
    /// The domains that were asked and have not answered; one that was asked twice, twice.
    pub(crate) waiting: Vec<DomainId>,
    pub(crate) parts: Vec<Arc<[TaskInfo]>>,
    /// A domain had more than [`MOST`] tasks to tell of.
    pub(crate) cut_short: bool,
    waker: Option<Waker>,
    /// Nobody wants to know any more.
    pub(crate) dropped: bool,
}

impl Default for Lock<Told> {
    fn default() -> Self {
        Lock::new(Told { waiting: Vec::new(), parts: Vec::new(), cut_short: false, waker: None, dropped: false })
    }
}

impl Answers {
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Told) -> R) -> R {
        self.0.with(f)
    }

    /// Whether all have answered; else the waker is kept.
    pub(crate) fn is_complete_or_wake(&self, waker: &Waker) -> bool {
        // Cloned and dropped outside the lock: both are foreign code.
        let waker = waker.clone();
        let (complete, old) = self.0.with(|told| match told.waiting.is_empty() {
            true => (true, Some(waker)),
            false => (false, told.waker.replace(waker)),
        });
        drop(old);
        complete
    }

    /// The asker is gone.
    pub(crate) fn forget(&self) {
        drop(self.0.with(|told| {
            told.dropped = true;
            (told.waker.take(), core::mem::take(&mut told.parts))
        }));
    }

    fn settled(&self, domain: DomainId) {
        let waker = self.0.with(|told| {
            if let Some(index) = told.waiting.iter().position(|&waiting| waiting == domain) {
                told.waiting.swap_remove(index);
            }
            if told.waiting.is_empty() { told.waker.take() } else { None }
        });
        let Some(waker) = waker else { return };
        let mut waker = Some(waker);
        Domain::with(|domain| domain.foreign(ReportPlace::Waker, || waker.take().into_iter().for_each(Waker::wake)));
        if let Err(panic) = catch(|| waker.into_iter().for_each(Waker::wake)) {
            discard(panic);
        }
    }
}

/// A task that a question names (*Held*).
struct Held(TaskRef);

// SAFETY: *Held*: whoever has it touches what is atomic or never changed; the rest is for the home domain, on its own thread.
unsafe impl Send for Held {}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: *Held*: this was one of the holders.
        unsafe { task::release(self.0) };
    }
}

/// What a domain is asked for: the main task, or some of its tasks whose parents live elsewhere, and all below them that lives there.
pub(crate) struct Question {
    answers: Arc<Answers>,
    to: DomainId,
    /// None: the main task.
    of: Option<Vec<Held>>,
}

impl Question {
    /// A question for the main task.
    pub(crate) fn of_main(answers: &Arc<Answers>) -> Question {
        Question::new(answers, DomainId::ZERO, None)
    }

    /// Whether its asker is gone.
    pub(super) fn is_idle(&self) -> bool {
        self.answers.with(|told| told.dropped)
    }

    fn new(answers: &Arc<Answers>, to: DomainId, of: Option<Vec<Held>>) -> Question {
        answers.with(|told| told.waiting.push(to));
        Question { answers: answers.clone(), to, of }
    }
}

impl Drop for Question {
    /// Answered, or never to be.
    fn drop(&mut self) {
        self.answers.settled(self.to);
    }
}

/// A walk over the tasks of one domain.
struct Walk<'a> {
    domain: &'a Domain,
    now: Option<Instant>,
    found: Vec<TaskInfo>,
    /// Tasks of this domain whose children were not looked at.
    left: Vec<TaskRef>,
    /// Children that live elsewhere.
    elsewhere: Vec<(DomainId, Vec<Held>)>,
    cut_short: bool,
}

impl Domain {
    /// Whether somebody has put a question here.
    pub(crate) fn is_asked(&self) -> bool {
        // SAFETY: *Run*: it lies in the run's table.
        unsafe { self.place.as_ref() }.is_asked()
    }

    /// Answers the questions put here. Where foreign code may run.
    #[cold]
    pub(crate) fn answer(&self) {
        for question in self.run().questions(self.id) {
            if question.is_idle() {
                continue;
            }
            let now = self.births.is_some().then(|| self.time());
            let mut walk = Walk { domain: self, now, found: Vec::new(), left: Vec::new(), elsewhere: Vec::new(), cut_short: false };
            // SAFETY: *Home*: this is the domain of all of them; `run` holds the main task. *Held*.
            unsafe {
                match &question.of {
                    None => self.root.get().filter(|_| !self.root_ended.get()).into_iter().for_each(|root| walk.meet(root, None)),
                    Some(tasks) => tasks.iter().for_each(|task| walk.meet(task.0, None)),
                }
                walk.go();
            }
            for (domain, tasks) in walk.elsewhere {
                self.run().ask(domain, Question::new(&question.answers, domain, Some(tasks)));
            }
            let found = Arc::from(walk.found);
            question.answers.with(|told| {
                told.parts.push(found);
                told.cut_short |= walk.cut_short;
            });
        }
    }
}

impl Walk<'_> {
    /// Tells of a task of this domain, whose children are still to be met.
    ///
    /// # Safety
    /// *Home*; the task is held.
    unsafe fn meet(&mut self, task: TaskRef, parent: Option<TaskId>) {
        // SAFETY: promised by the caller. After the end the belongings are the parent's domain's; the children are none.
        unsafe {
            let state = self.state(task);
            let mut info = self.describe(task, parent, self.domain.id, state);
            if state != TaskState::Ended {
                let header = task.as_ref();
                let mut next = header.belongings.front();
                while let Some(belonging) = next {
                    if let BelongingKind::Resource(vtable) = belonging.as_ref().kind
                        && !(vtable.in_transit)(belonging)
                    {
                        info.owns.push((vtable.place)(belonging));
                    }
                    next = header.belongings.after(belonging);
                }
                self.left.push(task);
            }
            self.found.push(info);
        }
    }

    /// Tells of all below the tasks that were met.
    ///
    /// # Safety
    /// *Home*, for all of them; nobody edits the lists of the domain meanwhile.
    unsafe fn go(&mut self) {
        while let Some(task) = self.left.pop() {
            // SAFETY: promised by the caller; *Linked*, *Grouped*.
            unsafe {
                let header = task.as_ref();
                group::for_each_list_of_children(header, |children| self.meet_all(children, header.id));
            }
        }
    }

    /// # Safety
    /// *Parent*: the children of one of this domain's tasks.
    unsafe fn meet_all(&mut self, children: &List<Siblings>, parent: TaskId) {
        let mut next = children.front();
        while let Some(child) = next {
            if self.found.len() >= MOST {
                self.cut_short = true;
                return;
            }
            // SAFETY: *Linked*; the list holds the child. A child that lives elsewhere is only looked at as its parent's domain may.
            unsafe {
                next = children.after(child);
                let header = child.as_ref();
                if self.domain.is_home_of(header) {
                    self.meet(child, Some(parent));
                    continue;
                }
                let home = self.domain.run().domain_of(header.home);
                let state = if header.parent_flags.has(parent::DELIVERED) {
                    TaskState::Ended
                } else {
                    header.state.retain();
                    let held = Held(child);
                    match self.elsewhere.iter_mut().find(|(domain, _)| *domain == home) {
                        Some((_, tasks)) => tasks.push(held),
                        None => self.elsewhere.push((home, alloc::vec![held])),
                    }
                    if header.parent_flags.has(parent::CANCELLED) { TaskState::Cancelled } else { TaskState::Unknown }
                };
                let info = self.describe(child, Some(parent), home, state);
                self.found.push(info);
            }
        }
    }

    /// # Safety
    /// The task is held.
    unsafe fn describe(&self, task: TaskRef, parent: Option<TaskId>, home: DomainId, state: TaskState) -> TaskInfo {
        // SAFETY: promised by the caller; these are never changed.
        let (header, name) = unsafe { (task.as_ref(), task::name(task)) };
        let birth = self.domain.births.as_ref().and_then(|births| births.borrow().get(&header.id).copied());
        let age = birth.and_then(|birth| self.now.map(|now| now.saturating_duration_since(birth)));
        TaskInfo { id: header.id, parent, name, born: header.born, home, state, age, owns: Vec::new() }
    }

    /// # Safety
    /// *Home*; the task is held.
    unsafe fn state(&self, task: TaskRef) -> TaskState {
        // SAFETY: promised by the caller.
        let header = unsafe { task.as_ref() };
        if header.home_flags.has(home::ENDED) {
            TaskState::Ended
        } else if self.domain.current() == Some(task) {
            TaskState::Running
        } else if header.state.is_cancelled() {
            TaskState::Cancelled
        } else if header.home_flags.has(home::CLOSED) {
            TaskState::Ending
        } else if header.home_flags.has(home::RUNNABLE) || header.state.is_queued() {
            TaskState::Runnable
        } else {
            TaskState::Suspended
        }
    }
}
