//! `protect`: what is to be done at the end of a future, however it ends.

use core::cell::Cell;
use core::future::{Future, poll_fn};
use core::pin::pin;

use crate::domain::Domain;
use crate::violation::ReportPlace;

/// Runs `future`, and when it has ended `finally`, which is told whether it was cancelled; then, if it was, `on_cancellation`.
///
/// It counts as cancelled whenever it is dropped before its end, polled or not: by the cancellation of its task, or by a `select!` or a
/// timeout inside it. A panic of the future is an end, and no cancellation. Neither function awaits: where something must be waited for,
/// do that in a task of its own, and cancel that.
///
/// A panic of `finally` after an ordinary end is the caller's; in the other cases it is reported, as a destructor's is.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{protect, run, spawn, platform::Bare, yield_now, Config};
/// # use std::{cell::RefCell, rc::Rc};
/// # let ran = run(&Bare, Config::new(), async {
/// let said = Rc::new(RefCell::new(Vec::new()));
/// let (one, two) = (said.clone(), said.clone());
/// let endless = spawn(protect(
///     std::future::pending::<()>(),
///     move || one.borrow_mut().push("tell the others"),
///     move |cancelled| two.borrow_mut().push(if cancelled { "cut short" } else { "done" }),
/// ));
/// yield_now().await;
/// endless.cancel().await;
/// assert_eq!(*said.borrow(), ["cut short", "tell the others"]);
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// # Cancellation
/// The future is dropped, then `finally(true)` is called, then `on_cancellation`, with the task still the current one.
///
/// Miou: `Miou.protect`.
#[doc(alias = "finally")]
pub fn protect<F, C, L>(future: F, on_cancellation: C, finally: L) -> impl Future<Output = F::Output>
where
    F: Future,
    C: FnOnce(),
    L: FnOnce(bool),
{
    // One value, so that the future is dropped before what follows it, also where nothing was polled.
    let whole =
        Protected { future, last: Last { on_cancellation: Some(on_cancellation), finally: Some(finally), ended: Cell::new(false) } };
    async move {
        let whole = whole;
        let Protected { future, mut last } = whole;
        let output = {
            let mut future = pin!(future);
            poll_fn(|cx| {
                // Where the poll panics, this was the end.
                last.ended.set(true);
                let polled = future.as_mut().poll(cx);
                last.ended.set(polled.is_ready());
                polled
            })
            .await
        };
        if let Some(finally) = last.finally.take() {
            finally(false);
        }
        output
    }
}

/// Dropped in the order of its fields.
struct Protected<F, L> {
    future: F,
    last: L,
}

struct Last<C: FnOnce(), L: FnOnce(bool)> {
    on_cancellation: Option<C>,
    finally: Option<L>,
    ended: Cell<bool>,
}

impl<C: FnOnce(), L: FnOnce(bool)> Drop for Last<C, L> {
    fn drop(&mut self) {
        // Taken out before it was called at the ordinary end.
        let Some(finally) = self.finally.take() else { return };
        let cancelled = !self.ended.get();
        Domain::contain(ReportPlace::Destructor, || finally(cancelled));
        if cancelled && let Some(on_cancellation) = self.on_cancellation.take() {
            Domain::contain(ReportPlace::Destructor, on_cancellation);
        }
    }
}
