//! `run`: from the first poll of the main task to the last thread joined.

#![allow(unsafe_code)] // The main future is neither `'static` nor `Send`: the runtime holds it by a raw pointer into `run`'s frame.

use core::cell::UnsafeCell;
use core::panic::Location;
use core::pin::Pin;
use core::ptr::NonNull;
use core::task::{Context, Poll};
#[cfg(feature = "alloc")]
use core::time::Duration;

use crate::domain::drive::{Source, drive};
use crate::domain::shared::Run;
use crate::domain::{Domain, identity};
use crate::error::{EventsError, RunError};
use crate::id::{DomainId, TaskId};
use crate::outcome::{Exit, Outcome, catch, discard};
use crate::platform::{Events, Platform};
use crate::shim::Lock;
use crate::task::{self, Birth, Parent, TaskRef};
use crate::trace::Trace;
use crate::violation::Report;

/// The settings of a run.
///
/// ```
/// use matou_core::Config;
/// let config = Config::new().domains(3).seed(42);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Config {
    pub(crate) domains: usize,
    pub(crate) quanta: u32,
    pub(crate) seed: u64,
    pub(crate) on_report: Option<fn(&Report)>,
    pub(crate) trace: Option<&'static dyn Trace>,
    #[cfg(feature = "alloc")]
    pub(crate) births: bool,
    #[cfg(feature = "alloc")]
    pub(crate) spin: Duration,
}

impl Config {
    /// No workers, 64 quanta, seed 0; reports go to standard error under `std` and nowhere without.
    pub const fn new() -> Config {
        Config {
            domains: 0,
            quanta: 64,
            seed: 0,
            on_report: DEFAULT_REPORT,
            trace: None,
            #[cfg(feature = "alloc")]
            births: false,
            #[cfg(feature = "alloc")]
            spin: Duration::ZERO,
        }
    }

    /// How many worker domains there are beside domain 0. More than 0 needs the feature `alloc`.
    pub const fn domains(mut self, workers: usize) -> Config {
        self.domains = workers;
        self
    }

    /// How many effects a task may do in one poll before it has to let others run, and after how many effects and polls a domain
    /// looks at its events. At least 1.
    pub const fn quanta(mut self, quanta: u32) -> Config {
        self.quanta = if quanta == 0 { 1 } else { quanta };
        self
    }

    /// Where chance comes from: two runs with one domain, the same seed, program and events behave identically.
    pub const fn seed(mut self, seed: u64) -> Config {
        self.seed = seed;
        self
    }

    /// Whom to tell of panics that cannot be returned to anybody.
    pub const fn on_report(mut self, on_report: fn(&Report)) -> Config {
        self.on_report = Some(on_report);
        self
    }

    /// Whom to tell of what happens to tasks: see [`trace`](crate::trace).
    pub const fn trace(mut self, trace: &'static dyn Trace) -> Config {
        self.trace = Some(trace);
        self
    }

    /// Whether the time at which each task was made is kept, beside it, so that a [`dump`](crate::dump) can tell its age. It is not, unless
    /// this is called with `true`: it costs a look at the clock and a place in a tree of its domain's for each task.
    #[cfg(feature = "alloc")]
    pub const fn births(mut self, kept: bool) -> Config {
        self.births = kept;
        self
    }

    /// How long a domain that has nothing to do may look, awake, for what other domains send it, before it sleeps. Zero unless this is called:
    /// it sleeps at once.
    ///
    /// Meanwhile it costs others nothing to reach it: they do not call its [`Interrupt`](crate::platform::Interrupt). It does so only where
    /// its last waits were ended by other threads within such a time, so that a domain that stays idle uses no processor time. Its timers are
    /// in time; its event source is asked later by twice this at most. The platform's clock is looked at often meanwhile.
    ///
    /// It pays where each domain has a processor of its own and a wake-up costs a system call: some microseconds, as long as a wake-up takes.
    #[cfg(feature = "alloc")]
    pub const fn spin(mut self, at_most: Duration) -> Config {
        self.spin = at_most;
        self
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

#[cfg(feature = "std")]
const DEFAULT_REPORT: Option<fn(&Report)> = Some(|report| {
    use std::io::Write;
    // A standard error that is closed is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{report}");
});
#[cfg(not(feature = "std"))]
const DEFAULT_REPORT: Option<fn(&Report)> = None;

/// What is said where a platform breaks the contract of [`Platform::domains`].
const REFUSED: &str = "the platform called for a domain that it may not";

/// The main future and its result, in the frame of `run`.
struct Main<F: Future<Output: Outcome>> {
    future: Option<F>,
    result: Option<Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>>,
}

/// The main task's future, as the runtime holds it: a pointer to a [`Main`].
///
/// Invariant *Main*: `run` returns after the main task has ended, when its future is dropped and is never touched again, whatever
/// wakers of it are still about.
struct Root {
    main: NonNull<()>,
    poll: unsafe fn(NonNull<()>, &mut Context<'_>) -> Poll<bool>,
    drop: unsafe fn(NonNull<()>),
}

impl Root {
    fn new<F: Future<Output: Outcome>>(main: NonNull<Main<F>>) -> Root {
        /// # Safety
        /// `main` leads to a `Main<F>` that nobody else uses at the moment (*Main*).
        unsafe fn poll<F: Future<Output: Outcome>>(main: NonNull<()>, cx: &mut Context<'_>) -> Poll<bool> {
            // SAFETY: *Main*, promised by the caller; the future stays in `run`'s frame.
            unsafe {
                let main = main.cast::<Main<F>>().as_mut();
                let Some(future) = &mut main.future else { unreachable!("polled after it was dropped") };
                Pin::new_unchecked(future).poll(cx).map(|output| {
                    let result = output.into_result();
                    let normal = result.is_ok();
                    main.result = Some(result);
                    normal
                })
            }
        }

        /// # Safety
        /// As for `poll`.
        unsafe fn drop<F: Future<Output: Outcome>>(main: NonNull<()>) {
            // SAFETY: *Main*, promised by the caller. Dropped where it is, as it is pinned.
            unsafe { main.cast::<Main<F>>().as_mut() }.future = None;
        }

        Root { main: main.cast(), poll: poll::<F>, drop: drop::<F> }
    }
}

impl Future for Root {
    type Output = Result<(), ()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: *Main*.
        unsafe { (self.poll)(self.main, cx) }.map(|normal| if normal { Ok(()) } else { Err(()) })
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // SAFETY: *Main*.
        unsafe { (self.drop)(self.main) };
    }
}

#[cfg(feature = "alloc")]
fn place_root(birth: &Birth, root: Root) -> Option<TaskRef> {
    use crate::task::cell::{Heap, Made, TaskCell};
    Some(TaskCell::<Made, Root, (), Heap>::of_future(birth, root, ()).boxed())
}

#[cfg(not(feature = "alloc"))]
fn place_root(birth: &Birth, root: Root) -> Option<TaskRef> {
    use crate::task::pool::TaskPool;
    /// The main tasks of the runs under way, and of those whose main waker is still about.
    static ROOTS: TaskPool<4, { size_of::<[usize; 8]>() }> = TaskPool::new();
    ROOTS.root(birth, root)
}

/// Runs `main` as the main task on this thread, domain 0, with the workers of `config` beside it, and returns its value when it and
/// everything it started has ended.
///
/// `main` is neither `Send` nor `'static`; what it spawns is `'static`. `run` may be called again, and from several threads at once.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use matou_core::{run, spawn, platform::Bare, Config, RunError};
///
/// let forgetful = run(&Bare, Config::new().seed(7), async {
///     drop(spawn(async { 42 }));
/// });
/// match forgetful {
///     Ok(()) => unreachable!(),
///     Err(RunError::Violation(violation)) => println!("{violation}"), // It names both tasks and their source lines.
///     Err(other) => println!("{other}"),
/// }
/// # }
/// ```
///
/// # Errors
/// [`RunError::Failed`] and [`RunError::Panicked`] are the main task's abnormal ends. [`RunError::Violation`] tells which rule was
/// broken by which task. In each case every task was cancelled, every finaliser has run and every thread was joined.
///
/// # Panics
/// If the platform breaks the contract of [`Platform::domains`].
///
/// Miou: `Miou.run`.
#[track_caller]
pub fn run<P, F>(
    platform: &P,
    config: Config,
    main: F,
) -> Result<<F::Output as Outcome>::Value, RunError<<F::Output as Outcome>::Error, P::Error>>
where
    P: Platform,
    F: Future<Output: Outcome>,
{
    let born = Location::caller();
    let running = Running::new(config)?;
    #[cfg(feature = "alloc")]
    let door = running.shared.open();
    let main = MainCell::new(main);
    let fail = |domain, error| running.fail(domain, error);

    let worker = |id: DomainId| {
        if identity::is_set() || id == DomainId::ZERO || !running.shared.claim(id) {
            running.shared.refuse();
            panic!("{REFUSED}: `worker({id})`, which is no worker, was called before, or has no thread of its own");
        }
        let source = running.source(id, || platform.events(id));
        // SAFETY: *Run*: the platform returns when every worker has returned.
        let domain = unsafe { running.domain(id, P::Events::SUSPENDS) };
        running.shared.started();
        drive(&domain, source, None, &fail);
    };
    let mut end = None;
    let mut domain_zero = || {
        if identity::is_set() || !running.shared.claim(DomainId::ZERO) {
            running.shared.refuse();
            panic!("{REFUSED}: `main`, twice or on a thread that runs a domain");
        }
        // SAFETY: *Run*.
        let domain = unsafe { running.domain(DomainId::ZERO, P::Events::SUSPENDS) };
        // SAFETY: *Main*: it is driven to its end here.
        end = Some(match unsafe { main.root(&domain, born) } {
            None => Err(RunError::TooManyRuns),
            Some(root) => {
                let source = running.source(DomainId::ZERO, || platform.events(DomainId::ZERO));
                drive(&domain, source, Some(root), &fail);
                // SAFETY: *Stage*: the main task has ended.
                Ok(unsafe { end_of(root) })
            }
        });
        running.shared.stop();
    };
    let started = platform.domains(config.domains, &worker, &mut domain_zero);
    #[cfg(feature = "alloc")]
    drop(door);

    assert!(!running.shared.is_refused(), "{REFUSED}, and kept the panic to itself");
    match (started, end) {
        (Err(error), None) => Err(RunError::Platform(error)),
        (_, None) => panic!("the platform returned without having called `main`"),
        (_, Some(end)) => running.result(end?, main),
    }
}

/// A run under way, whoever drives its domains. `X` is the error of their event sources.
pub(crate) struct Running<X> {
    pub(crate) shared: Run,
    /// The first failure of an event source: those that follow from it are not told.
    failure: Lock<Option<(DomainId, EventsError<X>)>>,
}

/// How the main task ended; `None` if it was cancelled.
pub(crate) type End = Option<Result<(), Exit<()>>>;

impl<X> Running<X> {
    pub(crate) fn new<E>(config: Config) -> Result<Running<X>, RunError<E, X>> {
        if identity::is_set() {
            return Err(RunError::Nested);
        }
        if config.domains > Run::MOST_WORKERS {
            return Err(RunError::TooManyDomains { asked: config.domains, most: Run::MOST_WORKERS });
        }
        Ok(Running { shared: Run::new(config), failure: Lock::new(None) })
    }

    /// One of its domains.
    ///
    /// # Safety
    /// *Run*: this value stays where it is, and outlives the domain.
    pub(crate) unsafe fn domain(&self, id: DomainId, suspends: bool) -> Domain {
        // SAFETY: passed on to the caller.
        unsafe { Domain::new(id, NonNull::from(&self.shared), suspends) }
    }

    /// Keeps why an event source failed.
    pub(crate) fn fail(&self, domain: DomainId, error: EventsError<X>) {
        let later = self.failure.with(|first| match first {
            None => {
                *first = Some((domain, error));
                None
            }
            Some(_) => Some(error),
        });
        if let Err(panic) = catch(|| drop(later)) {
            discard(panic);
        }
    }

    /// The event source of a domain. `None`, and the run aborts, if it cannot be made.
    pub(crate) fn source<E: Events>(&self, id: DomainId, make: impl FnOnce() -> Result<E, X>) -> Option<Source<E>> {
        let error = match catch(|| make().map(Source::new)) {
            Ok(Ok(source)) => return Some(source),
            Ok(Err(error)) => EventsError::Failed(error),
            Err(panic) => EventsError::Panicked(panic),
        };
        self.fail(id, error);
        self.shared.abort();
        None
    }

    /// What `run` returns. When every domain has ended.
    pub(crate) fn result<F: Future<Output: Outcome>>(self, end: End, main: MainCell<F>) -> Ended<F, X> {
        // What is not returned is dropped as foreign code: it changes no outcome.
        fn let_go<T>(gone: T) {
            if let Err(panic) = catch(move || drop(gone)) {
                discard(panic);
            }
        }
        let broken = match (self.shared.violation(), self.failure.with(Option::take)) {
            (Some(violation), failure) => {
                let_go(failure);
                RunError::Violation(violation)
            }
            (None, Some((domain, error))) => RunError::Events(domain, error),
            (None, None) => return Self::ended(end, main),
        };
        let_go(end);
        let_go(main);
        Err(broken)
    }

    /// How the main task ended, where nothing else ended the run.
    fn ended<F: Future<Output: Outcome>>(end: End, main: MainCell<F>) -> Ended<F, X> {
        match (end, main.0.into_inner().result) {
            (Some(Ok(())), Some(Ok(value))) => Ok(value),
            (Some(Err(Exit::Failed(()))), Some(Err(error))) => Err(RunError::Failed(error)),
            (Some(Err(Exit::Panicked(panic))), _) => Err(RunError::Panicked(panic)),
            _ => unreachable!("the main task is cancelled only for a violation or a failed event source"),
        }
    }
}

/// How a run with this main task ends.
pub(crate) type Ended<F, X> = Result<<<F as Future>::Output as Outcome>::Value, RunError<<<F as Future>::Output as Outcome>::Error, X>>;

/// The place of the main future, in the frame of who runs it.
pub(crate) struct MainCell<F: Future<Output: Outcome>>(UnsafeCell<Main<F>>);

impl<F: Future<Output: Outcome>> MainCell<F> {
    pub(crate) fn new(main: F) -> Self {
        MainCell(UnsafeCell::new(Main { future: Some(main), result: None }))
    }

    /// The main task, for domain 0. `None` if there is no place for it.
    ///
    /// # Safety
    /// *Main*: this value stays where it is until the task has ended.
    pub(crate) unsafe fn root(&self, domain: &Domain, born: &'static Location<'static>) -> Option<TaskRef> {
        let home = domain.run().address(domain.id);
        let birth = Birth { id: domain.next_id(), home, parent: Parent::NOBODY, born, held: false, sent: false };
        // SAFETY: a cell is never null.
        place_root(&birth, Root::new(unsafe { NonNull::new_unchecked(self.0.get()) }))
    }
}

/// Takes how the main task ended, and lets go of it.
///
/// # Safety
/// *Stage*: it has ended, was made by [`MainCell::root`], and this is called once.
pub(crate) unsafe fn end_of(root: TaskRef) -> End {
    // SAFETY: promised by the caller; this was its type's result. `run` was the other holder.
    unsafe {
        let end = task::take::<Result<(), Exit<()>>>(root);
        task::release_near(root);
        end
    }
}

/// The id of the current task; `None` outside a task.
///
/// Miou: `Miou.self`.
pub fn current_task() -> Option<TaskId> {
    // SAFETY: *Counted*: the domain holds its current task.
    Domain::with_task(|_, task| unsafe { task.as_ref() }.id)
}
