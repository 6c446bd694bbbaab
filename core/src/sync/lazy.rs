//! A value that is computed when it is first asked for.
//!
//! Who computes has the turn: one permit, that goes to the next when a computation is cut short. When there is a value the turn is closed.

use core::fmt;
use core::future::{Future, Ready, poll_fn};
use core::pin::pin;
use core::task::Poll;

use super::computation::Computation;
use super::waiters::{Grant, Waiters};
use crate::domain::identity::current_thread;
use crate::effect::poll_budget;
use crate::outcome::{PanicMessage, catch, discard};
use crate::shim::{AtomicUsize, Ordering, const_unless_loom, fault};

/// A value computed once, by the first task that asks for it, while the others wait.
///
/// The computation is a future; it runs as a part of the task that forces it, and what it spawns is that task's.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, spawn, platform::Bare, sync::Lazy, yield_now, Config};
/// # let ran = run(&Bare, Config::new(), async {
/// let settings = std::rc::Rc::new(Lazy::new(|| async {
///     yield_now().await; // As reading a file would.
///     vec!["read", "once"]
/// }));
/// let other = settings.clone();
/// let words = spawn(async move { other.force().await.map(Vec::len) });
/// assert_eq!(settings.force().await.unwrap()[0], "read");
/// assert_eq!(words.await.ok(), Some(2));
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// Miou: `'a Miou.Lazy.t`.
pub struct Lazy<T, F> {
    make: F,
    turn: Waiters,
    value: Computation<Result<T, PanicMessage>>,
    /// The thread on which the computation is being polled at the moment, or 0.
    computing: AtomicUsize,
}

impl<T, F> Lazy<T, F> {
    const_unless_loom! {
        /// A value that `make` computes. Where a computation is cut short `make` is called again.
        ///
        /// Miou: `Miou.Lazy.from_fun`.
        #[doc(alias = "from_fun")]
        pub fn new(make: F) -> Lazy<T, F> {
            Lazy { make, turn: Waiters::new(1), value: Computation::new(), computing: AtomicUsize::new(0) }
        }
    }

    /// The value; computes it if nobody did, and waits for who does.
    ///
    /// # Errors
    /// [`LazyError::Undefined`] where the computation asks for its own value (a child of its that does waits for ever); [`LazyError::Panicked`], now and ever after, where it panicked.
    ///
    /// # Cancellation
    /// Dropped early, the computation is dropped, and the next who waits begins it anew.
    ///
    /// Miou: `Miou.Lazy.force`.
    pub async fn force<Fut>(&self) -> Result<&T, LazyError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = T>,
    {
        poll_fn(poll_budget).await;
        loop {
            if let Some(value) = self.value.peek() {
                return value.as_ref().map_err(|message| LazyError::Panicked(PanicMessage::clone(message)));
            }
            let mut turn = pin!(self.turn.wait(1, Waiters::release));
            // Asked at each poll: a wait that was begun outside may be awaited within.
            let grant = poll_fn(|cx| if self.is_within() { Poll::Ready(None) } else { turn.as_mut().poll(cx).map(Some) }).await;
            let Some(grant) = grant else { return Err(LazyError::Undefined) };
            if grant == Grant::Granted {
                let turn = Turn(&self.turn);
                let value = self.compute().await;
                // Only who has the turn sets the value.
                let _first = self.value.try_complete(value);
                self.turn.close();
                drop(turn);
            }
        }
    }

    /// Whether this is inside the computation: it is being polled further up this thread's stack.
    fn is_within(&self) -> bool {
        let here = current_thread();
        here != 0 && self.computing.load(Ordering::Relaxed) == here
    }

    async fn compute<Fut>(&self) -> Result<T, PanicMessage>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = T>,
    {
        let mut computation = pin!(async { (self.make)().await });
        poll_fn(|cx| {
            let _within = Within::new(&self.computing);
            match catch(|| computation.as_mut().poll(cx)) {
                Ok(polled) => polled.map(Ok),
                Err(panic) => {
                    let message = panic.message();
                    discard(panic);
                    Poll::Ready(Err(message))
                }
            }
        })
        .await
    }

    /// The value, if it was computed.
    pub fn peek(&self) -> Option<&T> {
        self.value.peek()?.as_ref().ok()
    }
}

impl<T> Lazy<T, fn() -> Ready<T>> {
    /// A value that is there already: [`Lazy::force`] gives it.
    ///
    /// Miou: `Miou.Lazy.from_val`.
    #[doc(alias = "from_val")]
    pub fn from_value(value: T) -> Self {
        let lazy = Lazy::new((|| unreachable!("there is a value already")) as fn() -> Ready<T>);
        let _first = lazy.value.try_complete(Ok(value));
        lazy
    }
}

/// Gives the turn to the next.
struct Turn<'a>(&'a Waiters);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !fault("lazy_turn_kept") {
            self.0.release(1);
        }
    }
}

/// The computation is being polled on this thread.
struct Within<'a>(&'a AtomicUsize);

impl<'a> Within<'a> {
    fn new(computing: &'a AtomicUsize) -> Self {
        // Read on this thread only to be compared with what this thread wrote: no order is needed.
        computing.store(current_thread(), Ordering::Relaxed);
        Within(computing)
    }
}

impl Drop for Within<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl<T: fmt::Debug, F> fmt::Debug for Lazy<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lazy").field("value", &self.peek()).finish_non_exhaustive()
    }
}

/// Why a [`Lazy`] has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LazyError {
    /// The computation asked for its own value.
    ///
    /// Miou: `Miou.Lazy.Undefined`.
    Undefined,
    /// The computation panicked with this message.
    Panicked(PanicMessage),
}

impl fmt::Display for LazyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LazyError::Undefined => f.write_str("the computation of a `Lazy` forced the same `Lazy`: its value is undefined"),
            LazyError::Panicked(message) => write!(f, "the computation of a `Lazy` panicked: {message}"),
        }
    }
}

impl core::error::Error for LazyError {}
