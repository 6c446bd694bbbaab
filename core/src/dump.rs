//! The live tree of tasks, asked for from any thread while the run goes on.
//!
//! ```
//! # #[cfg(feature = "std")] {
//! use matou_core::{dump, run, Task, platform::Bare, Config};
//!
//! let tree = run(&Bare, Config::new(), async {
//!     let cat = Task::new().name("cat").spawn(async {}).unwrap();
//!     let mut survey = dump::inspector().unwrap().survey();
//!     (&mut survey).await;
//!     cat.await.unwrap();
//!     matou_core::Plain(survey.tree())
//! })
//! .unwrap();
//! assert_eq!(tree.tasks.len(), 2);
//! assert!(tree.to_string().contains("cat"), "{tree}");
//! # }
//! ```
//!
//! # Where it comes from
//!
//! Nothing is kept for it: each domain is asked, tells its own part between two steps, and has the domains of children that live elsewhere
//! asked in turn. That is why a domain that sleeps answers at once, and one that is in a long poll does not answer: the tree then
//! [says so](Tree::silent), and what that domain's tasks have started on other domains is not in it. It is not a snapshot either: the parts
//! are told one after the other.
//!
//! A domain that is not asked pays one look at a flag in each turn of its loop, and one note of which task it runs. One that is asked is away
//! for the time of a walk over its tasks. Ages need the times of births, which are kept only where
//! [`Config::births`](crate::Config::births) says so.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

pub use crate::domain::survey::{TaskInfo, TaskState};

use crate::domain::Domain;
use crate::domain::survey::{Answers, Door, MOST, Question};
use crate::id::{DomainId, TaskId};

/// Deeper tasks are not shown further to the right, but with their depth.
const DEEPEST: usize = 32;

/// Asks one run for its tasks, from any thread, also after the run.
#[derive(Clone)]
pub struct Inspector {
    door: Arc<Door>,
}

/// The inspector of the current run; `None` outside a run.
pub fn inspector() -> Option<Inspector> {
    Domain::with(|domain| Inspector { door: domain.run().door().clone() })
}

impl Inspector {
    /// Asks the run. The domains answer on their own; await the survey, or wait for it, or look at what there is.
    ///
    /// A run that is over, or whose main task does not run yet, has no tasks.
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind; the domains answer nobody.
    pub fn survey(&self) -> Survey {
        let answers = Arc::<Answers>::default();
        let question = Question::of_main(&answers);
        // Where the run is over the question goes unanswered, and the survey is complete.
        self.door.visit(move |run| run.ask(DomainId::ZERO, question));
        Survey { door: self.door.clone(), answers }
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").finish_non_exhaustive()
    }
}

/// A question to a run: a future of the moment when every domain has answered. A domain in a long poll answers late: bound the wait, and
/// take the [`tree`](Survey::tree) as it is then.
///
/// # Cancellation
/// May be dropped at any time, and awaited again through a reference.
#[must_use = "it tells nothing unless it is looked at"]
pub struct Survey {
    door: Arc<Door>,
    answers: Arc<Answers>,
}

impl Survey {
    /// Whether every domain has answered.
    pub fn is_complete(&self) -> bool {
        self.answers.with(|told| told.waiting.is_empty())
    }

    /// Blocks this thread until every domain has answered, for at most this long. Whether they have.
    ///
    /// For threads outside; in a task, await it. On a domain's thread it answers for that domain itself, so that two domains that wait for
    /// each other do not wait in vain; the domain does nothing else meanwhile.
    #[cfg(feature = "std")]
    pub fn wait(&mut self, patience: core::time::Duration) -> bool {
        use std::sync::Arc as StdArc;
        use std::task::{Wake, Waker};
        use std::thread::{self, Thread};
        use std::time::{Duration, Instant};

        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: StdArc<Self>) {
                self.0.unpark();
            }
        }

        /// How often a domain that waits here looks for questions put to it: its bell does not end this wait.
        const LOOK: Duration = Duration::from_millis(1);

        let deadline = Instant::now().checked_add(patience);
        let waker = Waker::from(StdArc::new(Unpark(thread::current())));
        while !self.answers.is_complete_or_wake(&waker) {
            let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            match Domain::with(Domain::answer) {
                Some(()) if self.is_complete() => return true,
                Some(()) => thread::park_timeout(left.min(LOOK)),
                None if left == Duration::MAX => thread::park(),
                None => thread::park_timeout(left),
            }
        }
        true
    }

    /// What was told so far.
    pub fn tree(&self) -> Tree {
        let (parts, mut waiting, cut_short) = self.answers.with(|told| (told.parts.clone(), told.waiting.clone(), told.cut_short));
        waiting.sort_unstable();
        waiting.dedup();
        let silent =
            waiting.into_iter().map(|domain| Silent { domain, task: self.door.visit(|run| run.place(domain).running()).flatten() });
        Tree { tasks: arrange(&parts), silent: silent.collect(), cut_short }
    }
}

impl Future for Survey {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.answers.is_complete_or_wake(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Survey {
    fn drop(&mut self) {
        self.answers.forget();
    }
}

impl fmt::Debug for Survey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survey").field("complete", &self.is_complete()).finish_non_exhaustive()
    }
}

/// The tasks of a run, as told by its domains. Printed, it is a text with a line for each task, children indented under their parents.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tree {
    /// The tasks: each is followed by its descendants, children in the order in which they were made.
    pub tasks: Vec<TaskInfo>,
    /// The domains that had not answered.
    pub silent: Vec<Silent>,
    /// A domain had more tasks to tell of than are asked for at a time, 100,000.
    pub cut_short: bool,
}

/// A domain that has not answered.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Silent {
    /// The domain.
    pub domain: DomainId,
    /// The task whose code it began to run last; as it was read from another thread, a hint.
    pub task: Option<TaskId>,
}

impl Tree {
    /// How far down the tree each task is, the main task being at 0.
    fn depths(&self) -> impl Iterator<Item = (usize, &TaskInfo)> {
        let mut path: Vec<TaskId> = Vec::new();
        self.tasks.iter().map(move |task| {
            while path.last().is_some_and(|last| Some(*last) != task.parent) {
                path.pop();
            }
            let depth = path.len();
            path.push(task.id);
            (depth, task)
        })
    }
}

/// Puts what the domains have told into one order. A task whose parent lives elsewhere is told of twice: by its parent's domain, which knows
/// where it belongs, and by its own, which knows how it stands.
fn arrange(parts: &[Arc<[TaskInfo]>]) -> Vec<TaskInfo> {
    let mut all: BTreeMap<TaskId, TaskInfo> = BTreeMap::new();
    for info in parts.iter().flat_map(|part| part.iter().cloned()) {
        match all.get_mut(&info.id) {
            None => _ = all.insert(info.id, info),
            Some(known) if known.parent.is_some() => (known.state, known.owns) = (info.state, info.owns),
            Some(known) => (known.parent, known.age) = (info.parent, info.age),
        }
    }
    // Siblings have one maker, whose numbers grow: in the order of ids they are in the order of their births, and the last comes off the stack
    // first.
    let mut children: BTreeMap<Option<TaskId>, Vec<TaskId>> = BTreeMap::new();
    for info in all.values() {
        let parent = info.parent.filter(|parent| all.contains_key(parent));
        children.entry(parent).or_default().push(info.id);
    }
    let mut left = children.remove(&None).unwrap_or_default();
    left.reverse();
    let mut arranged = Vec::with_capacity(all.len());
    while let Some(id) = left.pop() {
        arranged.extend(all.remove(&id));
        left.extend(children.remove(&Some(id)).into_iter().flatten().rev());
    }
    arranged
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, task) in self.depths() {
            match depth {
                0..=DEEPEST => write!(f, "{:indent$}", "", indent = 2 * depth)?,
                _ => write!(f, "{:indent$}({depth} deep) ", "", indent = 2 * DEEPEST)?,
            }
            writeln!(f, "{task}")?;
        }
        for silent in &self.silent {
            writeln!(f, "{silent}")?;
        }
        if self.cut_short {
            writeln!(f, "and more: a domain tells of {MOST} tasks at a time")?;
        }
        Ok(())
    }
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        match self.name {
            Some(name) => write!(f, " {name}")?,
            None if self.parent.is_none() && self.id.maker() == DomainId::ZERO && self.id.number() == 0 => f.write_str(" main")?,
            None => {}
        }
        write!(f, ", domain {}, {}, made at {}", self.home, self.state, self.born)?;
        if let Some(age) = self.age {
            write!(f, ", {:.3} s old", age.as_secs_f64())?;
        }
        for (index, place) in self.owns.iter().enumerate() {
            write!(f, "{} {place}", if index == 0 { ", owns what it took at" } else { " and at" })?;
        }
        Ok(())
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskState::Running => "running",
            TaskState::Runnable => "runnable",
            TaskState::Suspended => "suspended",
            TaskState::Cancelled => "cancelled",
            TaskState::Ending => "ending",
            TaskState::Ended => "ended",
            TaskState::Unknown => "unknown",
        })
    }
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "domain {} does not answer", self.domain)?;
        match self.task {
            Some(task) => write!(f, ": busy in task {task}; what its tasks have started on other domains is not shown"),
            None => f.write_str(": it has run no task yet"),
        }
    }
}
