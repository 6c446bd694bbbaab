//! How a task ends: normally with a value, or abnormally as an [`Exit`].
//!
//! A future's output says which through [`Outcome`]. For `Result` an `Err` is an ABNORMAL end: an early return by `?` is this
//! language's exception, and an exception cancels the children that are still running. Were it a normal end, every error path
//! with a live child would break R3, "no forgotten child".

use core::convert::Infallible;
use core::fmt;

#[cfg(feature = "alloc")]
use alloc::borrow::{Cow, ToOwned};
#[cfg(feature = "alloc")]
use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
#[cfg(feature = "alloc")]
use alloc::{boxed::Box, rc::Rc, string::String, sync::Arc, vec::Vec};

use crate::id::{DomainId, TaskId};
use crate::sync::{MutexGuard, Permit};

/// What a task may end with: a value, or an error that is an abnormal end.
///
/// Implemented for `Result<T, E>` (an `Err` is abnormal), for `()`, numbers, `bool`, `char`, `&'static str`, `String`, `Box`,
/// `Rc`, `Arc`, `Vec` and other collections, addresses, paths, times, `Option`, tuples, arrays, guards of this crate's locks, and `!`. Any other value is
/// carried by [`Plain`].
///
/// ```
/// use matou_core::{Outcome, Plain};
/// struct Measurement(f32);
/// assert_eq!(7.into_result().ok(), Some(7));
/// assert_eq!(Err::<(), _>("torn").into_result(), Err("torn"));
/// assert!(Plain(Measurement(1.5)).into_result().is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "a task, a scope or a timeout cannot end with `{Self}`: it does not say whether that is a normal or an abnormal end",
    label = "this future's output is `{Self}`",
    note = "return `Ok(..)` from the future where it may also fail with `Err(..)`, or `Plain(..)` to carry any value as a normal end"
)]
pub trait Outcome {
    /// What a normal end gives.
    type Value;
    /// What an abnormal end gives, as [`Exit::Failed`].
    type Error;

    /// The outcome, told apart.
    fn into_result(self) -> Result<Self::Value, Self::Error>;

    /// Whether it is a normal end: whether [`into_result`](Outcome::into_result) would give `Ok`.
    fn is_normal(&self) -> bool {
        true
    }
}

impl<T, E> Outcome for Result<T, E> {
    type Value = T;
    type Error = E;

    fn into_result(self) -> Result<T, E> {
        self
    }

    fn is_normal(&self) -> bool {
        self.is_ok()
    }
}

/// Any value, as a normal end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plain<T>(pub T);

impl<T> Outcome for Plain<T> {
    type Value = T;
    type Error = Infallible;

    fn into_result(self) -> Result<T, Infallible> {
        Ok(self.0)
    }
}

macro_rules! normal {
    ($([$($generics:tt)*])? $($type:ty),+ $(,)?) => {$(
        impl Outcome for $type {
            type Value = Self;
            type Error = Infallible;

            fn into_result(self) -> Result<Self, Infallible> {
                Ok(self)
            }
        }
    )+};
}

macro_rules! normal_generic {
    ($(($($generics:tt)*) $type:ty),+ $(,)?) => {$(
        impl<$($generics)*> Outcome for $type {
            type Value = Self;
            type Error = Infallible;

            fn into_result(self) -> Result<Self, Infallible> {
                Ok(self)
            }
        }
    )+};
}

normal!((), bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64, &'static str);
normal!(core::cmp::Ordering, core::time::Duration, crate::time::Instant, TaskId, DomainId);
normal!(core::net::IpAddr, core::net::Ipv4Addr, core::net::Ipv6Addr);
normal!(core::net::SocketAddr, core::net::SocketAddrV4, core::net::SocketAddrV6);
normal_generic!(
    (T) Option<T>,
    (T, const N: usize) [T; N],
    (A) (A,),
    (A, B) (A, B),
    (A, B, C) (A, B, C),
    (A, B, C, D) (A, B, C, D),
    (A, B, C, D, E) (A, B, C, D, E),
    (A, B, C, D, E, F) (A, B, C, D, E, F),
);

#[cfg(feature = "alloc")]
normal!(String);
#[cfg(feature = "alloc")]
normal_generic!((T: ?Sized) Box<T>, (T: ?Sized) Rc<T>, (T: ?Sized) Arc<T>, (T) Vec<T>);
#[cfg(feature = "alloc")]
normal_generic!((T) VecDeque<T>, (T) BinaryHeap<T>, (T) BTreeSet<T>, (K, V) BTreeMap<K, V>, (T: ?Sized + ToOwned) Cow<'static, T>);

#[cfg(feature = "std")]
normal!(std::ffi::OsString, std::path::PathBuf, std::time::Instant, std::time::SystemTime);
#[cfg(feature = "std")]
normal!(std::process::ExitCode, std::process::ExitStatus, std::process::Output);
#[cfg(feature = "std")]
normal_generic!((K, V, S) std::collections::HashMap<K, V, S>, (T, S) std::collections::HashSet<T, S>);

// What a lock is waited for with, in a `timeout`.
normal_generic!(('a, T: ?Sized) MutexGuard<'a, T>, ('a) Permit<'a>);

/// Names `!` on stable: the output of `fn() -> !`. It is how [`Outcome`] is implemented for it, and of no other use.
pub trait Returns {
    /// What the function returns.
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

/// An endless task. It has no value, so nobody ever sees it end but by cancellation or a panic.
impl Outcome for <fn() -> ! as Returns>::Output {
    type Value = Infallible;
    type Error = Infallible;

    fn into_result(self) -> Result<Infallible, Infallible> {
        self
    }
}

/// An abnormal end.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use matou_core::{Exit, Promise};
///
/// async fn told(child: Promise<(), std::io::Error>) -> String {
///     match child.await {
///         Ok(()) => "it ended normally".into(),
///         Err(Exit::Failed(error)) => format!("it returned an error: {error}"),
///         Err(Exit::Cancelled) => "it was cancelled".into(),
///         Err(Exit::Panicked(panic)) => format!("it panicked: {}", panic.message()),
///     }
/// }
/// # }
/// ```
///
/// Miou: the exception that `Miou.await` gives in `Error`; `Cancelled` is `Miou.Cancelled`.
#[derive(Debug)]
pub enum Exit<E = Infallible> {
    /// The task returned this error.
    Failed(E),
    /// The task was cancelled before it ended.
    Cancelled,
    /// The task panicked.
    Panicked(Panic),
}

impl<E> Exit<E> {
    /// The same end, with the error of a failure made into another.
    pub fn map<F>(self, f: impl FnOnce(E) -> F) -> Exit<F> {
        match self {
            Exit::Failed(error) => Exit::Failed(f(error)),
            Exit::Cancelled => Exit::Cancelled,
            Exit::Panicked(panic) => Exit::Panicked(panic),
        }
    }

    /// The error that the task returned, or one that says how else it ended. For types that any error can be made into, as `Box<dyn Error>` and
    /// `anyhow::Error`: those are no errors themselves, so that `?` does not convert an `Exit` with one of them in it.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// use std::error::Error;
    ///
    /// use matou_core::{Exit, spawn};
    ///
    /// async fn port(text: &'static str) -> Result<u16, Box<dyn Error>> {
    ///     let child = spawn(async move { Ok::<u16, Box<dyn Error>>(text.parse()?) });
    ///     Ok(child.await.map_err(Exit::into_error)?)
    /// }
    /// # let said = matou_core::run(&matou_core::platform::Bare, matou_core::Config::new(), port("http")).unwrap_err().to_string();
    /// # assert_eq!(said, "invalid digit found in string");
    /// # }
    /// ```
    pub fn into_error(self) -> E
    where
        E: From<Exit>,
    {
        match self {
            Exit::Failed(error) => error,
            Exit::Cancelled => Exit::Cancelled.into(),
            Exit::Panicked(panic) => Exit::Panicked(panic).into(),
        }
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Exit::Cancelled)
    }
}

impl<E: fmt::Display> fmt::Display for Exit<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Failed(error) => error.fmt(f),
            Exit::Cancelled => f.write_str("the task was cancelled"),
            Exit::Panicked(panic) => panic.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Exit<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Exit::Failed(error) => Some(error),
            _ => None,
        }
    }
}

/// A panic that was caught. Without `std` there is nothing to catch, and no value of this type.
pub struct Panic {
    #[cfg(feature = "std")]
    /// Boxed once more, as every task has room for its end: most end otherwise.
    payload: Box<std::sync::Mutex<Box<dyn core::any::Any + Send>>>,
    #[cfg(not(feature = "std"))]
    never: Infallible,
}

impl Panic {
    #[cfg(feature = "std")]
    #[cold]
    fn new(payload: Box<dyn core::any::Any + Send>) -> Panic {
        Panic { payload: Box::new(std::sync::Mutex::new(payload)) }
    }

    /// What the panic said, where it said it in words.
    pub fn message(&self) -> PanicMessage {
        #[cfg(feature = "std")]
        {
            let payload = self.payload.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if let Some(text) = payload.downcast_ref::<&'static str>() {
                (*text).into()
            } else if let Some(text) = payload.downcast_ref::<String>() {
                text.clone()
            } else {
                "(a payload that is not text)".into()
            }
        }
        #[cfg(not(feature = "std"))]
        match self.never {}
    }

    /// The payload, as `std::panic::catch_unwind` gives it and `std::panic::resume_unwind` takes it.
    #[cfg(feature = "std")]
    pub fn into_payload(self) -> Box<dyn core::any::Any + Send> {
        self.payload.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// What [`Panic::message`] gives.
#[cfg(feature = "std")]
pub type PanicMessage = String;
/// What [`Panic::message`] gives.
#[cfg(not(feature = "std"))]
pub type PanicMessage = &'static str;

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task panicked: {}", self.message())
    }
}

impl fmt::Debug for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panic").field(&self.message()).finish()
    }
}

/// Runs foreign code; under `std` its panic becomes a value.
///
/// The state that the code shares with the runtime is made of cells that hold no broken intermediate values across foreign calls.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Panic> {
    #[cfg(feature = "std")]
    {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(Panic::new)
    }
    #[cfg(not(feature = "std"))]
    {
        Ok(f())
    }
}

/// Drops a panic whose payload's own destructor may panic again.
pub(crate) fn discard(panic: Panic) {
    #[cfg(feature = "std")]
    if let Err(second) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(panic))) {
        // A payload whose destructor panics with a payload whose destructor panics has no end: let it leak.
        core::mem::forget(second);
    }
    #[cfg(not(feature = "std"))]
    match panic.never {}
}
