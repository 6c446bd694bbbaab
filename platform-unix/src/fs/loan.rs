//! A value that jobs borrow, one after the other.
//!
//! A job may outlive the future that asked for it, so it cannot borrow what belongs to a handle. It is lent the value instead: the value moves
//! into the closure, and comes back when the closure is dropped, whatever became of it: run to its end, panicked, or never begun. Whoever wants
//! the value next waits until it is back. So the jobs of one handle follow each other in the order they were asked for, also behind one that
//! nobody awaits any more, and a buffer is never given to the pool by reference.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use matou_core::effect::poll_budget;
use matou_core::sync::Computation;

use crate::blocking::submit;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Lender<S>(Held<S>);

#[derive(Debug)]
enum Held<S> {
    Here(S),
    Out(Arc<Home<S>>),
}

/// Where a value comes back to, once.
type Home<S> = Computation<Mutex<Option<S>>>;

/// The value, as the job has it.
struct Loan<S> {
    value: Option<S>,
    home: Arc<Home<S>>,
}

impl<S> Drop for Loan<S> {
    fn drop(&mut self) {
        let _first = self.home.try_complete(Mutex::new(self.value.take()));
    }
}

impl<S: Send + 'static> Lender<S> {
    pub(super) fn new(value: S) -> Lender<S> {
        Lender(Held::Here(value))
    }

    /// The value, as soon as it is back. Dropped early it leaves nothing behind.
    pub(super) async fn here(&mut self) -> &mut S {
        if let Held::Out(home) = &self.0 {
            let value = home.wait().await.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.0 = Held::Here(value.expect("a value comes back once, and is taken once"));
        }
        match &mut self.0 {
            Held::Here(value) => value,
            Held::Out(_) => unreachable!("it is back"),
        }
    }

    /// Has `work` done with the value. Dropped early, `work` is not done if it had not begun, else it is let finish and its result is lost.
    pub(super) async fn lend<T: Send + 'static>(&mut self, work: impl FnOnce(&mut S) -> T + Send + 'static) -> io::Result<T> {
        self.here().await;
        // From here on nothing suspends before the job is the pool's: a future that is forgotten keeps no value.
        poll_fn(poll_budget).await;
        let home = Arc::new(Home::new());
        let Held::Here(value) = mem::replace(&mut self.0, Held::Out(Arc::clone(&home))) else { unreachable!("it is here") };
        let mut loan = Loan { value: Some(value), home };
        Ok(submit(move || work(loan.value.as_mut().expect("taken by its drop only"))).await?)
    }
}
