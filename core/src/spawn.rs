//! Starting tasks: `spawn` on this domain, `call` on another, `parallel` on all others, and [`Task`] for those with more to say.
//!
//! The functions are plain ones with `#[track_caller]`: the place where a child was made is what a violation names.

#![allow(unsafe_code)] // Hands tasks just made to the domain.

use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::panic::Location;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::await_many::AwaitAll;
use crate::domain::Domain;
use crate::error::{NoDomainAvailable, SpawnError, SpawnRefusal};
use crate::id::{DomainId, TaskId};
use crate::orphans::Orphans;
use crate::outcome::{Exit, Outcome};
use crate::ownership::{Gift, Handle};
use crate::promise::Promise;
use crate::task::cell::{Closure, Heap, Made, Name, TaskCell};
use crate::task::{Birth, TaskRef};

/// The value of a future's normal end.
pub(crate) type Value<F> = <<F as Future>::Output as Outcome>::Value;
/// The error of a future's abnormal end.
pub(crate) type Error<F> = <<F as Future>::Output as Outcome>::Error;

/// What `parallel` gives: the results in the order of the items.
pub type Results<T, E> = Vec<Result<T, Exit<E>>>;

/// Starts a child task on the current domain. The parent runs on; the child first runs at a later scheduling point.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, spawn, platform::Bare, Config};
/// let length = run(&Bare, Config::new(), async {
///     let text = std::rc::Rc::new("shared on one domain");
///     let child = spawn({
///         let text = text.clone();
///         async move { text.len() }
///     });
///     child.await
/// });
/// assert_eq!(length.ok(), Some(20));
/// # }
/// ```
///
/// # Panics
/// Outside a task.
///
/// # Cancellation
/// Dropping the promise does not cancel the child, it forgets it: see [`Promise`]. [`Promise::cancel`] cancels it, and so does an abnormal end
/// of its parent.
///
/// Miou: `Miou.async`, `call_cc` in the tutorial.
#[track_caller]
#[doc(alias = "async")]
#[doc(alias = "call_cc")]
pub fn spawn<F>(future: F) -> Promise<Value<F>, Error<F>>
where
    F: Future<Output: Outcome> + 'static,
{
    let born = Location::caller();
    Domain::with_task(|domain, parent| {
        let birth = domain.birth(parent, born, true, None);
        let task = TaskCell::<Made, F, (), Heap>::of_future(&birth, future, ()).boxed();
        // SAFETY: just made, for this domain, by the current task.
        unsafe {
            domain.announce(task);
            domain.adopt(task, parent);
        }
        Promise::new(task)
    })
    .expect("`spawn` was called outside a task: call it inside `run`, from a task")
}

/// Starts a child task on another domain, neither this one nor domain 0, picked by chance from the run's seed.
///
/// The closure travels; the future is made where it runs, and need not be `Send`. Its value and error are sent back.
///
/// ```
/// use matou_core::{call, Exit};
///
/// async fn word_count(text: String) -> Result<usize, Exit> {
///     let counting = call(move || async move {
///         // An `Rc` never leaves the domain that the closure runs on.
///         let text = std::rc::Rc::new(text);
///         text.split_whitespace().count()
///     });
///     match counting {
///         Ok(promise) => promise.await,
///         Err(_no_domain) => Ok(0),
///     }
/// }
/// ```
///
/// # Errors
/// [`NoDomainAvailable`], with the closure, if the run has no other worker, and outside a task. A task on the only worker has no other, and how many there are depends on the
/// machine; work that may as well be done here is:
///
/// ```
/// use matou_core::{NoDomainAvailable, Promise, call, spawn};
///
/// /// A child on another domain, or else on this one.
/// fn elsewhere_or_here(number: u64) -> Promise<u64> {
///     call(move || async move { number * number }).unwrap_or_else(|NoDomainAvailable(make)| spawn(make()))
/// }
/// # let _ = elsewhere_or_here;
/// ```
///
/// # Cancellation
/// Dropping the promise does not cancel the child, it forgets it: as for [`spawn`]. [`Promise::cancel`] cancels it, and so does an abnormal end
/// of its parent.
///
/// Miou: `Miou.call`.
#[track_caller]
pub fn call<C, F>(make: C) -> Result<Promise<Value<F>, Error<F>>, NoDomainAvailable<C>>
where
    C: FnOnce() -> F + Send + 'static,
    F: Future<Output: Outcome> + 'static,
    Value<F>: Send + 'static,
    Error<F>: Send + 'static,
{
    match Task::new().call(make) {
        Ok(promise) => Ok(promise),
        Err(refused) => Err(NoDomainAvailable(refused.task)),
    }
}

/// Calls `f` with each item on the other worker domains, in turn, and gives the results in the order of the items.
///
/// The tasks are started by this call; the future that it returns waits for them.
///
/// ```
/// use matou_core::{parallel, NoDomainAvailable};
///
/// async fn squares() -> Result<Vec<u64>, NoDomainAvailable> {
///     let results = parallel(|n: u64| async move { n * n }, 1..=4).await?;
///     Ok(results.into_iter().map(|result| result.unwrap_or(0)).collect())
/// }
/// ```
///
/// # Errors
/// [`NoDomainAvailable`] if the run has no other worker and there are items; then nothing was started. No items give `Ok([])`.
///
/// # Cancellation
/// Dropped early it cancels the tasks that have not ended.
///
/// Miou: `Miou.parallel`.
#[track_caller]
pub fn parallel<I, F>(f: impl Fn(I::Item) -> F + Clone + Send + 'static, items: I) -> Parallel<Value<F>, Error<F>>
where
    I: IntoIterator<Item: Send + 'static>,
    F: Future<Output: Outcome> + 'static,
    Value<F>: Send + 'static,
    Error<F>: Send + 'static,
{
    let born = Location::caller();
    // From the beginning, as it cancels what was started should `items` or a clone of `f` panic.
    let mut all = AwaitAll::new(Vec::new());
    let mut refused = false;
    let workers = workers();
    for (turn, item) in items.into_iter().enumerate() {
        let Some(&domain) = workers.get(turn % workers.len().max(1)) else {
            refused = true;
            break;
        };
        let f = f.clone();
        match Task::new().pin(domain).call_at(move || f(item), born) {
            Ok(promise) => all.push(promise),
            Err(_) => {
                refused = true;
                break;
            }
        }
    }
    Parallel { state: if refused { Err(NoDomainAvailable(())) } else { Ok(all) } }
}

/// The future of [`parallel`].
#[must_use = "dropped, it cancels the tasks it has started"]
pub struct Parallel<T, E> {
    state: Result<AwaitAll<T, E>, NoDomainAvailable>,
}

impl<T, E> Future for Parallel<T, E> {
    type Output = Result<Results<T, E>, NoDomainAvailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            Ok(all) => Pin::new(all).poll(cx).map(Ok),
            Err(_) => Poll::Ready(Err(NoDomainAvailable(()))),
        }
    }
}

impl<T, E> fmt::Debug for Parallel<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parallel").finish_non_exhaustive()
    }
}

/// The domains that take calls from this one.
fn workers() -> Vec<DomainId> {
    Domain::with(|domain| (1..domain.run().domains()).map(DomainId::new).filter(|&id| id != domain.id).collect()).unwrap_or_default()
}

/// A [`Task`] whose gifts may go anywhere.
#[derive(Debug)]
pub enum Anywhere {}

/// A [`Task`] with a gift that may not leave its domain: it can be spawned here, not called there.
#[derive(Debug)]
pub enum Here {}

/// A [`Task`] that may go to another domain: one without a gift that stays [`Here`].
#[diagnostic::on_unimplemented(
    message = "a task that is given a `LocalResource` cannot be called on another domain",
    label = "its gift may not leave its domain",
    note = "start it with `spawn`, or give it a `Resource`, whose value and finaliser are `Send`"
)]
pub trait MayLeave {}

impl MayLeave for Anywhere {}

/// How to start a task with more to say: its name, its domain, the resources it is given, the `Orphans` it belongs to.
///
/// It keeps handles, not borrows. A start that fails gives the future or closure back and moves nothing.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, Task, Resource, platform::Bare, Config};
/// # let ran = run(&Bare, Config::new(), async {
/// let log = Resource::new(Vec::new(), |lines: Vec<&str>| println!("{} lines", lines.len()));
/// log.own().unwrap();
/// let writer = Task::new().name("writer").give(&log).spawn({
///     let log = log.clone();
///     async move {
///         log.with(|lines| lines.push("begun")).unwrap();
///         log.release().unwrap();
///     }
/// });
/// writer.unwrap().await.unwrap();
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// Miou: the optional arguments of `Miou.async` and `Miou.call`.
#[must_use = "it starts nothing by itself"]
pub struct Task<Reach = Anywhere> {
    name: Option<&'static str>,
    pin: Option<DomainId>,
    gifts: Vec<Handle>,
    reach: PhantomData<fn() -> Reach>,
}

impl Task {
    /// A task with nothing said yet.
    pub const fn new() -> Task {
        Task { name: None, pin: None, gifts: Vec::new(), reach: PhantomData }
    }
}

impl Default for Task {
    fn default() -> Task {
        Task::new()
    }
}

impl<Reach> Task<Reach> {
    /// Names it, for violations and traces.
    pub fn name(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }

    /// Says which domain `call` uses.
    pub fn pin(mut self, domain: DomainId) -> Self {
        self.pin = Some(domain);
        self
    }

    /// Gives it a resource of the current task's: its owner changes when the task is made.
    ///
    /// Miou: `?give`.
    pub fn give<G: Gift<Reach>>(mut self, gift: &G) -> Task<G::Reach> {
        self.gifts.push(gift.handle());
        Task { name: self.name, pin: self.pin, gifts: self.gifts, reach: PhantomData }
    }

    /// Starts it as [`spawn`] does.
    ///
    /// # Errors
    /// [`SpawnRefusal`] tells why not: a gift that is not the current task's, a pin to another domain, no current task.
    ///
    /// # Cancellation
    /// As for [`spawn`].
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> Result<Promise<Value<F>, Error<F>>, SpawnError<F>>
    where
        F: Future<Output: Outcome> + 'static,
    {
        self.spawn_as(future, None, Location::caller()).map(Promise::new)
    }

    /// Starts it as [`spawn`] does, as one of `orphans`.
    ///
    /// # Errors
    /// As [`Task::spawn`].
    #[track_caller]
    pub fn spawn_in<F>(self, orphans: &Orphans<Value<F>, Error<F>>, future: F) -> Result<TaskId, SpawnError<F>>
    where
        F: Future<Output: Outcome> + 'static,
    {
        // SAFETY: linked in the orphans, whose list holds it.
        self.spawn_as(future, Some(orphans), Location::caller()).map(|task| unsafe { task.as_ref() }.id)
    }

    fn spawn_as<F>(
        self,
        future: F,
        orphans: Option<&Orphans<Value<F>, Error<F>>>,
        born: &'static Location<'static>,
    ) -> Result<TaskRef, SpawnError<F>>
    where
        F: Future<Output: Outcome> + 'static,
    {
        let prepared = Domain::with_task(|domain, parent| {
            if let Some(pin) = self.pin
                && pin != domain.id
            {
                return Err(SpawnRefusal::PinnedElsewhere(pin));
            }
            Handle::check_all(&self.gifts, parent).map_err(SpawnRefusal::Ownership)?;
            Ok(birth(orphans, born, || domain.birth(parent, born, orphans.is_none(), None)))
        });
        let birth = match prepared.unwrap_or(Err(SpawnRefusal::NoTask)) {
            Ok(birth) => birth,
            Err(reason) => return Err(SpawnError { task: future, reason }),
        };
        let task = match self.name {
            None => TaskCell::<Made, F, (), Heap>::of_future(&birth, future, ()).boxed(),
            Some(name) => TaskCell::<Made, F, Name, Heap>::of_future(&birth, future, Name(name)).boxed(),
        };
        // SAFETY: just made, for this domain, by the current task.
        Domain::with_task(|domain, parent| unsafe {
            domain.announce(task);
            Handle::give_all(self.gifts, task);
            domain.adopt(task, parent);
        });
        Ok(task)
    }
}

impl<Reach> Task<Reach> {
    /// Starts it as [`call`] does.
    ///
    /// # Errors
    /// [`SpawnRefusal`] tells why not: a gift that is not the current task's, no other worker, a pin to an unknown domain, to domain 0 or
    /// to the current one.
    ///
    /// # Cancellation
    /// As for [`call`].
    ///
    /// Miou: `Miou.call`.
    #[track_caller]
    pub fn call<C, F>(self, make: C) -> Result<Promise<Value<F>, Error<F>>, SpawnError<C>>
    where
        Reach: MayLeave,
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Outcome> + 'static,
        Value<F>: Send + 'static,
        Error<F>: Send + 'static,
    {
        self.call_at(make, Location::caller())
    }

    fn call_at<C, F>(self, make: C, born: &'static Location<'static>) -> Result<Promise<Value<F>, Error<F>>, SpawnError<C>>
    where
        Reach: MayLeave,
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Outcome> + 'static,
        Value<F>: Send + 'static,
        Error<F>: Send + 'static,
    {
        self.call_as(make, None, born).map(Promise::new)
    }

    /// Starts it as [`call`] does, as one of `orphans`.
    ///
    /// # Errors
    /// As [`Task::call`].
    #[track_caller]
    pub fn call_in<C, F>(self, orphans: &Orphans<Value<F>, Error<F>>, make: C) -> Result<TaskId, SpawnError<C>>
    where
        Reach: MayLeave,
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Outcome> + 'static,
        Value<F>: Send + 'static,
        Error<F>: Send + 'static,
    {
        // SAFETY: linked in the orphans, whose list holds it.
        self.call_as(make, Some(orphans), Location::caller()).map(|task| unsafe { task.as_ref() }.id)
    }

    fn call_as<C, F>(
        self,
        make: C,
        orphans: Option<&Orphans<Value<F>, Error<F>>>,
        born: &'static Location<'static>,
    ) -> Result<TaskRef, SpawnError<C>>
    where
        Reach: MayLeave,
        C: FnOnce() -> F + Send + 'static,
        F: Future<Output: Outcome> + 'static,
        Value<F>: Send + 'static,
        Error<F>: Send + 'static,
    {
        let prepared = Domain::with_task(|domain, parent| -> Result<Birth, SpawnRefusal> {
            let target = target(domain, self.pin)?;
            Handle::check_all(&self.gifts, parent).map_err(SpawnRefusal::Ownership)?;
            let home = domain.run().address(target);
            Ok(birth(orphans, born, || domain.birth(parent, born, orphans.is_none(), Some(home))))
        });
        let birth = match prepared.unwrap_or(Err(SpawnRefusal::NoTask)) {
            Ok(birth) => birth,
            Err(reason) => return Err(SpawnError { task: make, reason }),
        };
        let task = match self.name {
            None => TaskCell::<Closure<C>, F, (), Heap>::of_closure(&birth, make, ()).boxed(),
            Some(name) => TaskCell::<Closure<C>, F, Name, Heap>::of_closure(&birth, make, Name(name)).boxed(),
        };
        // SAFETY: just made, for the domain in its birth. What is in it is `Send`: the closure, the gifts, and later the result.
        Domain::with(|domain| unsafe {
            domain.announce(task);
            Handle::give_all(self.gifts, task);
            domain.send(task);
        });
        Ok(task)
    }
}

/// Makes the birth of a child, in the orphans if there are any.
fn birth<T, E>(orphans: Option<&Orphans<T, E>>, born: &'static Location<'static>, make: impl FnOnce() -> Birth) -> Birth {
    match orphans {
        Some(orphans) => orphans.adopting(born, make),
        None => make(),
    }
}

/// The domain that takes a call: the pinned one, or one by chance.
fn target(domain: &Domain, pin: Option<DomainId>) -> Result<DomainId, SpawnRefusal> {
    let domains = domain.run().domains();
    if let Some(pin) = pin {
        return match pin {
            DomainId::ZERO => Err(SpawnRefusal::DomainZero),
            pin if pin == domain.id => Err(SpawnRefusal::OwnDomain),
            pin if pin.index() >= domains => Err(SpawnRefusal::UnknownDomain(pin)),
            pin => Ok(pin),
        };
    }
    let own = domain.id.index();
    let others = domains - 1 - usize::from(own != 0);
    if others == 0 {
        return Err(SpawnRefusal::NoDomainAvailable);
    }
    let pick = 1 + domain.random.below(others);
    Ok(DomainId::new(if own != 0 && pick >= own { pick + 1 } else { pick }))
}

impl<Reach> fmt::Debug for Task<Reach> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("name", &self.name).field("pin", &self.pin).field("gifts", &self.gifts.len()).finish()
    }
}
