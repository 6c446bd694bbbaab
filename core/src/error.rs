//! What the functions of this crate give instead of a result, each with what to do about it.

use core::convert::Infallible;
use core::fmt;

use crate::id::DomainId;
#[cfg(feature = "alloc")]
use crate::id::TaskId;
use crate::outcome::Panic;
use crate::violation::Violation;

/// Why `run` has no value.
///
/// Its `Debug` says what its `Display` says, so that a `main` that returns it tells what to do. (An error of the program's own, and of the
/// platform, is shown by its own `Debug` there.)
#[non_exhaustive]
pub enum RunError<E, X> {
    /// The main task failed with this error.
    Failed(E),
    /// The main task panicked.
    Panicked(Panic),
    /// A task broke a rule: everything was cancelled, finalised and joined.
    Violation(Violation),
    /// The event source of this domain could not be made, failed, or panicked: everything was cancelled, finalised and joined.
    Events(DomainId, EventsError<X>),
    /// The platform could not start its domains: nothing ran.
    Platform(X),
    /// `run` was called inside a run: by a task, a finaliser, a destructor.
    Nested,
    /// More domains were asked for than a run can have.
    TooManyDomains {
        /// How many workers were asked for.
        asked: usize,
        /// How many there can be.
        most: usize,
    },
    /// Too many runs that have ended still have wakers of their main task about. Only without `alloc`.
    TooManyRuns,
}

/// What went wrong in an event source.
#[derive(Debug)]
pub enum EventsError<X> {
    /// It gave this error.
    Failed(X),
    /// It panicked.
    Panicked(Panic),
}

impl<X: fmt::Display> fmt::Display for EventsError<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventsError::Failed(error) => error.fmt(f),
            EventsError::Panicked(panic) => write!(f, "it panicked: {}", panic.message()),
        }
    }
}

impl<E, X> RunError<E, X> {
    /// Says what it is; the errors of others say it by `failed` and `platform`.
    fn say(
        &self,
        f: &mut fmt::Formatter<'_>,
        failed: fn(&E, &mut fmt::Formatter<'_>) -> fmt::Result,
        platform: fn(&X, &mut fmt::Formatter<'_>) -> fmt::Result,
    ) -> fmt::Result {
        match self {
            RunError::Failed(error) => failed(error, f),
            RunError::Panicked(panic) => write!(f, "the main task panicked: {}", panic.message()),
            RunError::Violation(violation) => fmt::Display::fmt(violation, f),
            RunError::Events(domain, error) => {
                write!(f, "the event source of domain {domain} failed: ")?;
                match error {
                    EventsError::Failed(error) => platform(error, f),
                    EventsError::Panicked(panic) => write!(f, "it panicked: {}", panic.message()),
                }
            }
            RunError::Platform(error) => {
                f.write_str("the domains could not be started: ")?;
                platform(error, f)
            }
            RunError::Nested => f.write_str("`run` was called inside a run: call it from a thread that runs no domain, or spawn a task"),
            RunError::TooManyDomains { asked, most } => {
                write!(f, "{asked} worker domains were asked for, and there can be {most}: ask for fewer")
            }
            RunError::TooManyRuns => {
                f.write_str("wakers of the main tasks of earlier runs are still about and hold every place for a main task: drop them")
            }
        }
    }
}

impl<E, X> RunError<E, X> {
    /// The error that the main task returned, or one that says why else there is no value: as [`Exit::into_error`](crate::Exit::into_error), and for the same types.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use std::error::Error;
    ///
    /// use matou_core::{Config, RunError, platform::Bare, run};
    ///
    /// fn port(text: &str) -> Result<u16, Box<dyn Error>> {
    ///     run(&Bare, Config::new(), async { Ok(text.parse()?) }).map_err(RunError::into_error)
    /// }
    /// assert_eq!(port("http").unwrap_err().to_string(), "invalid digit found in string");
    /// # }
    /// ```
    pub fn into_error(self) -> E
    where
        E: From<RunError<Infallible, X>>,
    {
        let other = match self {
            RunError::Failed(error) => return error,
            RunError::Panicked(panic) => RunError::Panicked(panic),
            RunError::Violation(violation) => RunError::Violation(violation),
            RunError::Events(domain, error) => RunError::Events(domain, error),
            RunError::Platform(error) => RunError::Platform(error),
            RunError::Nested => RunError::Nested,
            RunError::TooManyDomains { asked, most } => RunError::TooManyDomains { asked, most },
            RunError::TooManyRuns => RunError::TooManyRuns,
        };
        other.into()
    }
}

impl<E: fmt::Display, X: fmt::Display> fmt::Display for RunError<E, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.say(f, E::fmt, X::fmt)
    }
}

impl<E: fmt::Debug, X: fmt::Debug> fmt::Debug for RunError<E, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.say(f, E::fmt, X::fmt)
    }
}

impl<E, X> core::error::Error for RunError<E, X>
where
    E: core::error::Error + 'static,
    X: core::error::Error + 'static,
{
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            RunError::Failed(error) => Some(error),
            RunError::Violation(violation) => Some(violation),
            RunError::Events(_, EventsError::Failed(error)) | RunError::Platform(error) => Some(error),
            _ => None,
        }
    }
}

/// Every place of a `TaskPool` is taken. The future is given back.
pub struct Full<F>(pub F);

impl<F> fmt::Debug for Full<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

impl<F> fmt::Display for Full<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("every place of the task pool is taken: await or cancel a task of it first, or make the pool larger")
    }
}

impl<F> core::error::Error for Full<F> {}

/// No domain can take a `call`: there is none besides domain 0 and the caller's, or the caller is not a task. The closure is given back.
///
/// Miou: `Miou.No_domain_available`.
#[doc(alias = "No_domain_available")]
#[cfg(feature = "alloc")]
pub struct NoDomainAvailable<F = ()>(pub F);

#[cfg(feature = "alloc")]
impl<F> fmt::Debug for NoDomainAvailable<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NoDomainAvailable(..)")
    }
}

#[cfg(feature = "alloc")]
impl<F> fmt::Display for NoDomainAvailable<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "no domain can take this call: it needs a worker domain besides domain 0 and the caller's own, and a task that makes it; \
             start the run with more domains, or spawn the task here",
        )
    }
}

#[cfg(feature = "alloc")]
impl<F> core::error::Error for NoDomainAvailable<F> {}

/// Why a [`Task`](crate::Task) did not start a task. Nothing was moved, and the future or closure is given back.
#[cfg(feature = "alloc")]
pub struct SpawnError<F> {
    /// The future or closure.
    pub task: F,
    /// The reason.
    pub reason: SpawnRefusal,
}

/// The reasons for which a [`Task`](crate::Task) does not start.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpawnRefusal {
    /// A resource to give cannot be given.
    Ownership(OwnershipError),
    /// See [`NoDomainAvailable`].
    NoDomainAvailable,
    /// The run has no domain of this number.
    UnknownDomain(DomainId),
    /// The task was pinned to the caller's own domain: use `spawn`.
    OwnDomain,
    /// The task was pinned to domain 0, which takes no calls.
    DomainZero,
    /// `spawn` with a pin to another domain: use `call`.
    PinnedElsewhere(DomainId),
    /// There is no current task whose child this could be.
    NoTask,
}

#[cfg(feature = "alloc")]
impl fmt::Display for SpawnRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnRefusal::Ownership(error) => write!(f, "a resource cannot be given to the task: {error}"),
            SpawnRefusal::NoDomainAvailable => NoDomainAvailable(()).fmt(f),
            SpawnRefusal::UnknownDomain(domain) => write!(f, "this run has no domain {domain}: see `domain::all()`"),
            SpawnRefusal::OwnDomain => f.write_str("a call to the caller's own domain: use `spawn` instead"),
            SpawnRefusal::DomainZero => f.write_str("domain 0 takes no calls: pin the task to a worker domain"),
            SpawnRefusal::PinnedElsewhere(domain) => {
                write!(f, "a spawned task lives on its parent's domain and cannot be pinned to domain {domain}: use `call`")
            }
            SpawnRefusal::NoTask => f.write_str("there is no current task here whose child this could be: do it inside `run`, from a task"),
        }
    }
}

#[cfg(feature = "alloc")]
impl<F> fmt::Debug for SpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnError").field("reason", &self.reason).finish_non_exhaustive()
    }
}

#[cfg(feature = "alloc")]
impl<F> fmt::Display for SpawnError<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

#[cfg(feature = "alloc")]
impl<F> core::error::Error for SpawnError<F> {}

/// Why a resource cannot be used as asked.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnershipError {
    /// Another task owns it: this one.
    ///
    /// Miou: `Miou.Not_owner`.
    #[doc(alias = "Not_owner")]
    NotOwner(TaskId),
    /// It cannot be taken, as this task owns it.
    AlreadyOwned(TaskId),
    /// No task owns it: take it with `own` first.
    NotOwned,
    /// It was released, disowned or finalised: there is no value any more.
    Gone,
    /// It is being used, by a `with` further up.
    InUse,
    /// It is on its way from a task to its parent, or the main task has no parent to transfer to.
    NoParent,
    /// It may not leave its domain, and the other task lives elsewhere.
    OtherDomain,
    /// There is no current task that could own it.
    NoTask,
}

#[cfg(feature = "alloc")]
impl fmt::Display for OwnershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OwnershipError::NotOwner(owner) => write!(f, "the resource is owned by task {owner}: only its owner may use it"),
            OwnershipError::AlreadyOwned(owner) => write!(f, "the resource is already owned by task {owner}"),
            OwnershipError::NotOwned => f.write_str("no task owns the resource: call `own` first, or it is on its way to the parent"),
            OwnershipError::Gone => f.write_str("the resource was released, disowned or finalised: its value is gone"),
            OwnershipError::InUse => f.write_str("the resource is in use by a `with` further up: wait until that returns"),
            OwnershipError::NoParent => f.write_str("the main task has no parent to transfer a resource to: release or disown it"),
            OwnershipError::OtherDomain => {
                f.write_str("the resource may not leave its domain: make it a `Resource`, whose value and finaliser are `Send`")
            }
            OwnershipError::NoTask => f.write_str("there is no current task that could own a resource: do it inside `run`, from a task"),
        }
    }
}

#[cfg(feature = "alloc")]
impl core::error::Error for OwnershipError {}

#[cfg(feature = "std")]
mod io {
    use std::io::{Error, ErrorKind};
    use std::string::ToString;

    use super::{NoDomainAvailable, OwnershipError, SpawnError};
    use crate::outcome::Exit;
    use crate::suspension::PointError;
    use crate::sync::{Closed, LazyError, SendError, TryAcquireError, TryReceiveError, TrySendError};
    use crate::time::Elapsed;

    impl<F> From<NoDomainAvailable<F>> for Error {
        fn from(error: NoDomainAvailable<F>) -> Error {
            Error::new(ErrorKind::Unsupported, error.to_string())
        }
    }

    impl<F> From<SpawnError<F>> for Error {
        fn from(error: SpawnError<F>) -> Error {
            Error::other(error.to_string())
        }
    }

    impl From<OwnershipError> for Error {
        fn from(error: OwnershipError) -> Error {
            Error::new(ErrorKind::PermissionDenied, error)
        }
    }

    impl From<PointError> for Error {
        fn from(error: PointError) -> Error {
            Error::other(error)
        }
    }

    impl From<LazyError> for Error {
        fn from(error: LazyError) -> Error {
            Error::other(error)
        }
    }

    impl From<Closed> for Error {
        fn from(closed: Closed) -> Error {
            Error::new(ErrorKind::BrokenPipe, closed)
        }
    }

    impl From<TryAcquireError> for Error {
        fn from(error: TryAcquireError) -> Error {
            match error {
                TryAcquireError::Closed => Error::from(Closed),
                TryAcquireError::NoPermits => Error::new(ErrorKind::WouldBlock, error),
            }
        }
    }

    /// The value is dropped.
    impl<T> From<SendError<T>> for Error {
        fn from(error: SendError<T>) -> Error {
            Error::new(ErrorKind::BrokenPipe, error.to_string())
        }
    }

    /// The value is dropped.
    impl<T> From<TrySendError<T>> for Error {
        fn from(error: TrySendError<T>) -> Error {
            let kind = match error {
                TrySendError::Full(_) => ErrorKind::WouldBlock,
                TrySendError::Closed(_) => ErrorKind::BrokenPipe,
            };
            Error::new(kind, error.to_string())
        }
    }

    impl From<TryReceiveError> for Error {
        fn from(error: TryReceiveError) -> Error {
            let kind = match error {
                TryReceiveError::Empty => ErrorKind::WouldBlock,
                TryReceiveError::Closed => ErrorKind::UnexpectedEof,
            };
            Error::new(kind, error)
        }
    }

    impl From<Exit> for Error {
        fn from(exit: Exit) -> Error {
            Error::from(exit.map::<Error>(|never| match never {}))
        }
    }

    /// A task that failed with one of these failed with the error of the system's that it converts to.
    macro_rules! exits {
        ($($error:ty),+) => {$(
            impl From<Exit<$error>> for Error {
                fn from(exit: Exit<$error>) -> Error {
                    Error::from(exit.map::<Error>(Error::from))
                }
            }
        )+};
    }

    exits!(NoDomainAvailable, OwnershipError, PointError, Elapsed, LazyError, Closed, TryAcquireError, TryReceiveError);

    impl From<Exit<Error>> for Error {
        fn from(exit: Exit<Error>) -> Error {
            match exit {
                Exit::Failed(error) => error,
                Exit::Cancelled => Error::new(ErrorKind::Interrupted, "the task was cancelled"),
                Exit::Panicked(panic) => Error::other(panic.to_string()),
            }
        }
    }
}
