//! Awaiting several promises: one of them, the first of them, all of them.
//!
//! Each comes twice: over a `Vec` that it owns or empties, and over a slice of `Option`s, without `alloc`. Where several have ended, a
//! normal end is preferred, then chance from the run's seed.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::domain::Domain;
use crate::effect;
use crate::outcome::Exit;
use crate::promise::{Promise, State};

#[cfg(feature = "alloc")]
pub use self::owned::{AwaitAll, AwaitFirst, AwaitOne, await_all, await_first, await_one};

/// Which of the ended ones to take: a normal one if there is one, by chance among equals.
fn choose<'a, T: 'a, E: 'a>(promises: impl Iterator<Item = (usize, &'a Promise<T, E>)> + Clone) -> Option<usize> {
    let normal = promises.clone().filter(|(_, promise)| promise.state() == State::Resolved);
    let count = normal.clone().count();
    if count > 0 {
        return normal.map(|(index, _)| index).nth(chance(count));
    }
    let ended = promises.filter(|(_, promise)| promise.is_ended());
    let count = ended.clone().count();
    if count == 0 { None } else { ended.map(|(index, _)| index).nth(chance(count)) }
}

fn chance(count: usize) -> usize {
    Domain::with(|domain| domain.random.below(count)).unwrap_or(0)
}

/// Over a slice of optional promises: gives the result of one that ended and leaves `None` in its place. `None` if there is no promise.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, await_one_in, platform::Bare, Config, TaskPool};
/// static WORKERS: TaskPool<2, 64> = TaskPool::new();
///
/// # let ran = run(&Bare, Config::new(), async {
/// let mut promises = [WORKERS.spawn(async { 20 }).ok(), WORKERS.spawn(async { 22 }).ok()];
/// let mut sum = 0;
/// while let Some(result) = await_one_in(&mut promises).await {
///     sum += result.unwrap_or(0);
/// }
/// assert_eq!(sum, 42);
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// # Cancellation
/// Dropped early it loses nothing.
pub fn await_one_in<T, E>(promises: &mut [Option<Promise<T, E>>]) -> AwaitOneIn<'_, T, E> {
    AwaitOneIn { promises }
}

/// The future of [`await_one_in`].
#[must_use = "it waits only when awaited"]
pub struct AwaitOneIn<'a, T, E> {
    promises: &'a mut [Option<Promise<T, E>>],
}

impl<T, E> Future for AwaitOneIn<'_, T, E> {
    type Output = Option<Result<T, Exit<E>>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        effect::poll_effect(cx, |cx| poll_one_in(self.promises, cx))
    }
}

fn poll_one_in<T, E>(promises: &mut [Option<Promise<T, E>>], cx: &mut Context<'_>) -> Poll<Option<Result<T, Exit<E>>>> {
    let listed = promises.iter().enumerate().filter_map(|(index, promise)| promise.as_ref().map(|promise| (index, promise)));
    if listed.clone().next().is_none() {
        return Poll::Ready(None);
    }
    match choose(listed) {
        Some(index) => {
            let Some(promise) = &mut promises[index] else { return Poll::Ready(None) };
            let result = promise.poll_quietly(cx);
            if result.is_ready() {
                promises[index] = None;
            }
            result.map(Some)
        }
        None => {
            for promise in promises.iter_mut().flatten() {
                // None has ended, so this only leaves the waker.
                let pending = promise.poll_quietly(cx);
                debug_assert!(pending.is_pending());
            }
            Poll::Pending
        }
    }
}

/// Over a slice of optional promises: gives the result of the first to end, cancels the others, and waits until they have ended. `None`
/// if there is no promise. Afterwards every place is `None`.
///
/// # Cancellation
/// Dropped early it cancels them.
pub fn await_first_in<T, E>(promises: &mut [Option<Promise<T, E>>]) -> AwaitFirstIn<'_, T, E> {
    AwaitFirstIn { promises, first: None }
}

/// The future of [`await_first_in`].
#[must_use = "dropped, it cancels the tasks"]
pub struct AwaitFirstIn<'a, T, E> {
    promises: &'a mut [Option<Promise<T, E>>],
    first: Option<Result<T, Exit<E>>>,
}

impl<T, E> Unpin for AwaitFirstIn<'_, T, E> {}

impl<T, E> Future for AwaitFirstIn<'_, T, E> {
    type Output = Option<Result<T, Exit<E>>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        effect::poll_effect(cx, |cx| {
            if this.first.is_none() {
                match poll_one_in(this.promises, cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Ready(first) => this.first = first,
                }
                for promise in this.promises.iter_mut().flatten() {
                    promise.request_cancel();
                }
            }
            let mut left = false;
            for place in this.promises.iter_mut() {
                let over = place.as_mut().is_some_and(|promise| promise.poll_cancelled(cx).is_ready());
                if over {
                    *place = None;
                }
                left |= place.is_some();
            }
            if left { Poll::Pending } else { Poll::Ready(this.first.take()) }
        })
    }
}

impl<T, E> Drop for AwaitFirstIn<'_, T, E> {
    fn drop(&mut self) {
        for place in self.promises.iter_mut() {
            if let Some(promise) = place.take() {
                promise.abandon();
            }
        }
    }
}

/// Over a slice of optional promises: awaits each and puts its result in `results`, in the same place.
///
/// # Panics
/// If the slices differ in length.
///
/// # Cancellation
/// Dropped early it cancels those that have not ended.
pub fn await_all_in<'a, T, E>(
    promises: &'a mut [Option<Promise<T, E>>],
    results: &'a mut [Option<Result<T, Exit<E>>>],
) -> AwaitAllIn<'a, T, E> {
    assert_eq!(promises.len(), results.len(), "each promise needs a place for its result");
    AwaitAllIn { promises, results }
}

/// The future of [`await_all_in`].
#[must_use = "dropped, it cancels the tasks"]
pub struct AwaitAllIn<'a, T, E> {
    promises: &'a mut [Option<Promise<T, E>>],
    results: &'a mut [Option<Result<T, Exit<E>>>],
}

impl<T, E> Unpin for AwaitAllIn<'_, T, E> {}

impl<T, E> Future for AwaitAllIn<'_, T, E> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        effect::poll_effect(cx, |cx| poll_all(this.promises, this.results, cx))
    }
}

fn poll_all<T, E>(promises: &mut [Option<Promise<T, E>>], results: &mut [Option<Result<T, Exit<E>>>], cx: &mut Context<'_>) -> Poll<()> {
    let mut left = false;
    for (place, result) in promises.iter_mut().zip(results) {
        if let Some(promise) = place {
            match promise.poll_quietly(cx) {
                Poll::Ready(ended) => {
                    *result = Some(ended);
                    *place = None;
                }
                Poll::Pending => left = true,
            }
        }
    }
    if left { Poll::Pending } else { Poll::Ready(()) }
}

impl<T, E> Drop for AwaitAllIn<'_, T, E> {
    fn drop(&mut self) {
        for place in self.promises.iter_mut() {
            if let Some(promise) = place.take() {
                promise.abandon();
            }
        }
    }
}

macro_rules! opaque_debug {
    ($($name:ident $(<$lifetime:lifetime>)?),+) => {$(
        impl<$($lifetime,)? T, E> fmt::Debug for $name<$($lifetime,)? T, E> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )+};
}
opaque_debug!(AwaitOneIn<'a>, AwaitFirstIn<'a>, AwaitAllIn<'a>);

#[cfg(feature = "alloc")]
mod owned {
    use alloc::vec::Vec;

    use super::*;

    /// Gives the result of one promise that ended and takes it out of the list; the others stay. `None` if the list is empty.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// # use matou_core::{run, spawn, await_one, platform::Bare, Config};
    /// # let ran = run(&Bare, Config::new(), async {
    /// let mut promises: Vec<_> = (1..=3).map(|n| spawn(async move { n })).collect();
    /// let mut sum = 0;
    /// while let Some(result) = await_one(&mut promises).await {
    ///     sum += result.unwrap_or(0);
    /// }
    /// assert_eq!(sum, 6);
    /// # });
    /// # assert!(ran.is_ok());
    /// # }
    /// ```
    ///
    /// # Cancellation
    /// Dropped early it loses nothing.
    ///
    /// Miou: `Miou.await_one`.
    pub fn await_one<T, E>(promises: &mut Vec<Promise<T, E>>) -> AwaitOne<'_, T, E> {
        AwaitOne { promises }
    }

    /// The future of [`await_one`].
    #[must_use = "it waits only when awaited"]
    pub struct AwaitOne<'a, T, E> {
        promises: &'a mut Vec<Promise<T, E>>,
    }

    impl<T, E> Future for AwaitOne<'_, T, E> {
        type Output = Option<Result<T, Exit<E>>>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let promises = &mut *self.promises;
            effect::poll_effect(cx, |cx| {
                if promises.is_empty() {
                    return Poll::Ready(None);
                }
                match choose(promises.iter().enumerate()) {
                    Some(index) => {
                        let result = promises[index].poll_quietly(cx);
                        if result.is_ready() {
                            drop(promises.remove(index));
                        }
                        result.map(Some)
                    }
                    None => {
                        for promise in promises.iter_mut() {
                            let pending = promise.poll_quietly(cx);
                            debug_assert!(pending.is_pending());
                        }
                        Poll::Pending
                    }
                }
            })
        }
    }

    /// Gives the result of the first promise to end, cancels the others, and waits until they have ended. `None` if the list is empty.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// # use matou_core::{run, spawn, await_first, platform::Bare, yield_now, Config};
    /// # let ran = run(&Bare, Config::new(), async {
    /// let hare = spawn(async { "hare" });
    /// let tortoise = spawn(async {
    ///     for _ in 0..1000 {
    ///         yield_now().await;
    ///     }
    ///     "tortoise"
    /// });
    /// let winner = await_first(vec![tortoise, hare]).await;
    /// assert!(matches!(winner, Some(Ok("hare")))); // The other is cancelled, and has ended.
    /// # });
    /// # assert!(ran.is_ok());
    /// # }
    /// ```
    ///
    /// # Cancellation
    /// Dropped early it cancels them all.
    ///
    /// Miou: `Miou.await_first`.
    pub fn await_first<T, E>(promises: Vec<Promise<T, E>>) -> AwaitFirst<T, E> {
        AwaitFirst { promises: promises.into_iter().map(Some).collect(), first: None }
    }

    /// The future of [`await_first`].
    #[must_use = "dropped, it cancels the tasks"]
    pub struct AwaitFirst<T, E> {
        promises: Vec<Option<Promise<T, E>>>,
        first: Option<Result<T, Exit<E>>>,
    }

    impl<T, E> Unpin for AwaitFirst<T, E> {}

    impl<T, E> Future for AwaitFirst<T, E> {
        type Output = Option<Result<T, Exit<E>>>;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let this = self.get_mut();
            let mut inner = AwaitFirstIn { promises: &mut this.promises, first: this.first.take() };
            let result = Pin::new(&mut inner).poll(cx);
            this.first = inner.first.take();
            // Its drop would cancel what is still awaited.
            core::mem::forget(inner);
            result
        }
    }

    impl<T, E> Drop for AwaitFirst<T, E> {
        fn drop(&mut self) {
            drop(AwaitFirstIn { promises: &mut self.promises, first: None });
        }
    }

    /// Awaits all promises and gives their results in the same order.
    ///
    /// ```
    /// # #[cfg(feature = "std")] {
    /// # use matou_core::{run, spawn, await_all, platform::Bare, Config, Exit};
    /// # let ran = run(&Bare, Config::new(), async {
    /// let halves: Vec<_> = (0..4).map(|n| spawn(async move { if n % 2 == 0 { Ok(n / 2) } else { Err("odd") } })).collect();
    /// let results = await_all(halves).await; // All of them, whether any fails or not.
    /// assert!(matches!(results[..], [Ok(0), Err(Exit::Failed("odd")), Ok(1), Err(Exit::Failed("odd"))]));
    /// # });
    /// # assert!(ran.is_ok());
    /// # }
    /// ```
    ///
    /// # Cancellation
    /// Dropped early it cancels those that have not ended.
    ///
    /// Miou: `Miou.await_all`.
    pub fn await_all<T, E>(promises: Vec<Promise<T, E>>) -> AwaitAll<T, E> {
        AwaitAll::new(promises)
    }

    /// The future of [`await_all`].
    #[must_use = "dropped, it cancels the tasks"]
    pub struct AwaitAll<T, E> {
        promises: Vec<Option<Promise<T, E>>>,
        results: Vec<Option<Result<T, Exit<E>>>>,
    }

    impl<T, E> AwaitAll<T, E> {
        pub(crate) fn new(promises: Vec<Promise<T, E>>) -> Self {
            let results = promises.iter().map(|_| None).collect();
            AwaitAll { promises: promises.into_iter().map(Some).collect(), results }
        }

        pub(crate) fn push(&mut self, promise: Promise<T, E>) {
            self.promises.push(Some(promise));
            self.results.push(None);
        }
    }

    impl<T, E> Unpin for AwaitAll<T, E> {}

    impl<T, E> Future for AwaitAll<T, E> {
        type Output = Vec<Result<T, Exit<E>>>;

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            let this = self.get_mut();
            effect::poll_effect(cx, |cx| {
                poll_all(&mut this.promises, &mut this.results, cx).map(|()| this.results.drain(..).flatten().collect())
            })
        }
    }

    impl<T, E> Drop for AwaitAll<T, E> {
        fn drop(&mut self) {
            for promise in self.promises.iter_mut().filter_map(Option::take) {
                promise.abandon();
            }
        }
    }

    opaque_debug!(AwaitOne<'a>, AwaitFirst, AwaitAll);
}
