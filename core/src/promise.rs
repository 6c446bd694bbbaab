//! A promise: the parent's handle on a child task. It is a future of the child's result.
//!
//! A promise cannot leave its domain (it is not `Send`), and only the task that made the child may await or cancel it. Dropping it
//! neither cancels nor detaches: the child is *forgotten*, and a parent that ends normally after that has broken rule 3.

#![allow(unsafe_code)] // Holds its task by a counted raw pointer.

use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use crate::domain::Domain;
use crate::domain::family::{bury, note_forgotten};
use crate::effect;
use crate::id::TaskId;
use crate::outcome::{Exit, Outcome};
use crate::task::{self, Header, ParentKind, TaskRef, parent, waker};
use crate::trace::EventKind;
use crate::violation::ViolationKind;

/// The parent's handle on a child task: a future of its result.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use matou_core::{run, spawn, platform::Bare, Config};
/// let sum = run(&Bare, Config::new(), async {
///     let left = spawn(async { 20_u32 });
///     let right = spawn(async { 22_u32 });
///     Ok::<_, matou_core::Exit>(left.await? + right.await?)
/// });
/// assert_eq!(sum.ok(), Some(42));
/// # }
/// ```
///
/// # Panics
/// Polled again after its result, or outside a task, it panics. Polled by another task than the parent it is the violation `NotAChild`.
///
/// # Cancellation
/// `(&mut promise).await` may be dropped and tried again; nothing is lost. Dropping the promise itself forgets the child.
///
/// Miou: `'a Miou.t`.
#[doc(alias = "await")]
#[doc(alias = "JoinHandle")]
#[must_use = "a promise that is dropped is a forgotten child: await it or cancel it"]
pub struct Promise<T, E = Infallible> {
    task: TaskRef,
    _result: PhantomData<(*mut (), fn() -> Result<T, E>)>,
}

/// The promise of a task with this future.
pub type PromiseOf<F> = Promise<<<F as Future>::Output as Outcome>::Value, <<F as Future>::Output as Outcome>::Error>;

/// How a child stands, as its parent knows it.
///
/// Miou: `Miou.Promise.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It has not ended, or its end is on its way.
    ///
    /// Miou: `Miou.Promise.Running`.
    Running,
    /// It ended with a value, which waits to be awaited or was.
    ///
    /// Miou: `Miou.Promise.Finished`.
    Resolved,
    /// It failed or panicked, or was cancelled with the run.
    ///
    /// Miou: `Miou.Promise.Exited`.
    Exited,
}

impl<T, E> Promise<T, E> {
    /// A promise of a task made with `held`.
    pub(crate) fn new(task: TaskRef) -> Self {
        Promise { task, _result: PhantomData }
    }

    fn header(&self) -> &Header {
        // SAFETY: *Counted*: the promise is one of the holders.
        unsafe { self.task.as_ref() }
    }

    /// The child's id.
    ///
    /// Miou: `Miou.Promise.uid`.
    #[doc(alias = "uid")]
    pub fn id(&self) -> TaskId {
        self.header().id
    }

    /// Where the child was made.
    pub fn location(&self) -> &'static Location<'static> {
        self.header().born
    }

    /// The name the child was given.
    pub fn name(&self) -> Option<&'static str> {
        // SAFETY: *Counted*.
        unsafe { task::name(self.task) }
    }

    /// How the child stands.
    ///
    /// Miou: `Miou.Promise.state`.
    pub fn state(&self) -> State {
        if !self.header().parent_flags.has(parent::DELIVERED) {
            return State::Running;
        }
        // SAFETY: *Stage*: delivered to this domain, and `T`, `E` are the task's.
        let there = unsafe { task::peek::<Result<T, Exit<E>>>(self.task) };
        match there {
            Some(Ok(_)) => State::Resolved,
            None if self.header().parent_flags.has(parent::RESOLVED) => State::Resolved,
            _ => State::Exited,
        }
    }

    /// Whether the child has ended, so that awaiting it does not block.
    pub fn is_ended(&self) -> bool {
        self.header().parent_flags.has(parent::DELIVERED)
    }

    /// Cancels the child: marks it and returns. Its future is dropped by its own domain, before any ordinary task there runs.
    ///
    /// Await the [`Cancellation`] to wait until the child and all its descendants have ended; drop it to go on at once. A child that has
    /// already ended loses its result, which is dropped.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// # use matou_core::{run, spawn, yield_now, platform::Bare, Config};
    /// # let ran = run(&Bare, Config::new(), async {
    /// let endless = spawn(async {
    ///     loop {
    ///         yield_now().await;
    ///     }
    ///     # #[allow(unreachable_code)] ()
    /// });
    /// endless.cancel().await;
    /// # });
    /// # assert!(ran.is_ok());
    /// # }
    /// ```
    ///
    /// From a task that is not the parent it is the violation `NotAChild`.
    ///
    /// # Panics
    /// Outside a task, while the run goes on.
    ///
    /// # Cancellation
    /// The child is cancelled by the call. Dropping the [`Cancellation`] early takes nothing back; it only does not wait.
    ///
    /// Miou: `Miou.cancel`.
    #[doc(alias = "abort")]
    pub fn cancel(self) -> Cancellation {
        let task = self.task;
        Domain::with(|domain| {
            effect::count(domain);
            // Where it panics, the promise is dropped: the child is forgotten.
            if is_linked(task) && check_parent(domain, task) {
                request(domain, task);
            }
        });
        core::mem::forget(self);
        Cancellation { task, _local: PhantomData }
    }

    /// As [`cancel`](Self::cancel), for those who keep the promise as its [`Cancellation`]: see [`poll_cancelled`](Self::poll_cancelled).
    pub(crate) fn request_cancel(&mut self) {
        let task = self.task;
        Domain::with(|domain| {
            if is_linked(task) && check_parent(domain, task) {
                request(domain, task);
            }
        });
    }

    /// As [`cancel`](Self::cancel), for the destructors of futures that hold promises: outside a task, where a finaliser or another value's
    /// destructor may drop them, it cancels all the same.
    pub(crate) fn abandon(self) {
        let task = self.task;
        Domain::with(|domain| {
            if is_linked(task) && (domain.current().is_none() || check_parent(domain, task)) {
                request(domain, task);
            }
        });
    }

    /// Waits for the end of a child after [`request_cancel`](Self::request_cancel).
    pub(crate) fn poll_cancelled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !is_linked(self.task) {
            return Poll::Ready(());
        }
        Domain::with(|domain| {
            // A stranger is not woken: the child may have been delivered, and nobody would take the waker.
            if check_parent(domain, self.task) {
                keep_waker(domain, self.task, cx);
            }
        });
        Poll::Pending
    }

    /// Polls without taking an effect: for those who hold many.
    pub(crate) fn poll_quietly(&mut self, cx: &mut Context<'_>) -> Poll<Result<T, Exit<E>>> {
        Domain::with(|domain| self.poll_on(domain, cx)).unwrap_or_else(|| outside())
    }

    fn poll_on(&mut self, domain: &Domain, cx: &mut Context<'_>) -> Poll<Result<T, Exit<E>>> {
        let task = self.task;
        let header = self.header();
        if !is_linked(task) {
            assert!(!header.parent_flags.has(parent::AWAITED), "a promise was polled after its result: await it once");
            // Its scope has cancelled it, or its parent has ended.
            header.parent_flags.set(parent::AWAITED);
            return Poll::Ready(Err(Exit::Cancelled));
        }
        if !check_parent(domain, task) {
            return Poll::Pending;
        }
        if header.parent_flags.has(parent::DELIVERED) {
            // SAFETY: *Parent*: linked and delivered. `T`, `E` are the task's.
            let result = unsafe { domain.unlink(task).take::<T, E>() };
            header.parent_flags.set(parent::AWAITED | if result.is_ok() { parent::RESOLVED } else { 0 });
            domain.trace_join(header.id);
            return Poll::Ready(result);
        }
        keep_waker(domain, task, cx);
        Poll::Pending
    }
}

#[cold]
fn outside() -> ! {
    panic!("a promise was polled outside its run: await it inside `run`, from the task that made the child")
}

/// Cancels a linked child; told once.
fn request(domain: &Domain, task: TaskRef) {
    // SAFETY: *Counted*: the caller holds the task.
    let header = unsafe { task.as_ref() };
    let first = !header.parent_flags.has(parent::CANCELLED);
    let ended = domain.cancel(task);
    if first {
        // SAFETY: *Counted*: the domain holds its current task.
        domain.trace(|| EventKind::Cancel { task: header.id, by: domain.current().map(|by| unsafe { by.as_ref() }.id) });
    }
    if let Some(ended) = ended {
        bury(domain, ended);
    }
}

/// Keeps the waker to wake at the end, unless it is there.
///
/// The parent's own needs no count, as the parent outlives its linked children: most of those who wait cost no atomic step.
#[inline]
fn keep_waker(domain: &Domain, task: TaskRef, cx: &Context<'_>) {
    // SAFETY: *Counted*: the caller holds the task.
    let header = unsafe { task.as_ref() };
    debug_assert!(!header.parent_flags.has(parent::DELIVERED), "*Awaited*: what was delivered wakes nobody any more");
    let old = header.waker.take();
    let first = old.is_none();
    match parent_of(task).filter(|&parent| waker::is_of(cx.waker(), parent)) {
        Some(parent) => {
            // SAFETY: *Awaited*: the child is linked.
            header.waker.set(Some(unsafe { waker::uncounted(parent) }));
            drop(old);
        }
        None => keep_foreign(header, old, cx.waker()),
    }
    if first {
        domain.trace_await(header.id);
    }
}

#[inline(never)]
fn keep_foreign(header: &Header, old: Option<Waker>, new: &Waker) {
    match old {
        Some(old) if old.will_wake(new) => header.waker.set(Some(old)),
        old => {
            // A clone that panics leaves no waker behind, and the poll that panics is the task's last.
            let new = new.clone();
            drop(header.waker.replace(Some(new)));
            drop(old);
        }
    }
}

/// Whether the child is still in its parent's list: then its parent lives, and so does its run.
fn is_linked(task: TaskRef) -> bool {
    // SAFETY: *Counted*: the caller holds the task.
    !unsafe { task.as_ref() }.parent_flags.has(parent::UNLINKED)
}

/// The parent of a linked child.
fn parent_of(task: TaskRef) -> Option<TaskRef> {
    // SAFETY: *Counted*, and *Kept*: the child is linked.
    match unsafe { task.as_ref() }.parent.kind() {
        ParentKind::Nobody => None,
        ParentKind::Task(parent) => Some(parent),
        #[cfg(feature = "alloc")]
        // SAFETY: *Grouped*: the child is one of the group's.
        ParentKind::Group(group) => Some(unsafe { group.as_ref() }.owner()),
    }
}

/// Whether the current task is the parent. If not, that is a violation. Outside a task it is a panic.
#[inline]
fn check_parent(domain: &Domain, task: TaskRef) -> bool {
    let Some(current) = domain.current() else {
        panic!("a promise was awaited or cancelled outside a task: only the task that made the child may");
    };
    // SAFETY: *Counted*: the caller holds the task.
    if unsafe { task.as_ref() }.parent.is(current) {
        return true;
    }
    is_stepchild(domain, task, current)
}

/// Where the parent is not the current task itself: it may have the child in a group.
#[inline(never)]
fn is_stepchild(domain: &Domain, task: TaskRef, current: TaskRef) -> bool {
    let parent = parent_of(task);
    if parent == Some(current) {
        return true;
    }
    if let Some(parent) = parent {
        // SAFETY: *Kept*: the child is linked, so its parent lives. *Counted*: the caller holds the task.
        let (child, parent) = unsafe { (task.as_ref(), parent.as_ref()) };
        let kind = ViolationKind::NotAChild { child: Some(child.id), parent: parent.id, spawned: child.born };
        domain.violate(current, kind);
    }
    false
}

impl<T, E> Future for Promise<T, E> {
    type Output = Result<T, Exit<E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Domain::with(|domain| effect::poll_effect_on(domain, cx, |cx| self.poll_on(domain, cx))).unwrap_or_else(|| outside())
    }
}

impl<T, E> Drop for Promise<T, E> {
    fn drop(&mut self) {
        let task = self.task;
        if is_linked(task) {
            return forget(task);
        }
        // SAFETY: *Counted*: the promise was one of the holders.
        unsafe { task::release_near(task) };
    }
}

/// The promise of a linked child is dropped: its result will be, or is.
#[inline(never)]
fn forget(task: TaskRef) {
    // SAFETY: *Counted*: the promise holds it.
    let header = unsafe { task.as_ref() };
    header.parent_flags.set(parent::FORGOTTEN);
    header.parent_flags.clear(parent::HELD);
    let waker = header.waker.take();
    if header.parent_flags.has(parent::DELIVERED) {
        // A linked child's domain is alive, and a promise stays on its thread.
        Domain::with(|domain| {
            // SAFETY: *Parent*: linked and delivered.
            let ended = unsafe {
                note_forgotten(task);
                domain.unlink(task)
            };
            bury(domain, ended);
        });
    }
    // SAFETY: *Counted*: the promise was one of the holders.
    unsafe { task::release_near(task) };
    // Last, as its destructor may panic.
    drop(waker);
}

impl<T, E> fmt::Debug for Promise<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Promise").field("id", &self.id()).field("ended", &self.is_ended()).finish_non_exhaustive()
    }
}

/// A cancellation under way: a future of the end of the child's whole subtree. Dropping it is allowed; the parent may then end, and its own
/// end waits for the child's.
///
/// # Cancellation
/// May be dropped at any time; nothing is lost.
#[derive(Debug)]
pub struct Cancellation {
    task: TaskRef,
    _local: PhantomData<*mut ()>,
}

impl Cancellation {
    /// The child's id.
    #[doc(alias = "uid")]
    pub fn id(&self) -> TaskId {
        // SAFETY: *Counted*: it has the promise's place among the holders.
        unsafe { self.task.as_ref() }.id
    }
}

impl Future for Cancellation {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.task;
        let polled = Domain::with(|domain| {
            effect::poll_effect_on(domain, cx, |cx| {
                if !is_linked(task) {
                    return Poll::Ready(());
                }
                if check_parent(domain, task) {
                    keep_waker(domain, task, cx);
                }
                Poll::Pending
            })
        });
        // Outside a run, nobody tells.
        polled.unwrap_or(if is_linked(task) { Poll::Pending } else { Poll::Ready(()) })
    }
}

impl Drop for Cancellation {
    fn drop(&mut self) {
        // SAFETY: *Counted*: it has the promise's place among the holders.
        let waker = unsafe {
            let waker = if is_linked(self.task) { self.task.as_ref().waker.take() } else { None };
            task::release_near(self.task);
            waker
        };
        // Last, as its destructor may panic.
        drop(waker);
    }
}
