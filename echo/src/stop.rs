//! Stopping: how a signal reaches every accept loop, and what the second signal does.
//!
//! Signals are awaited on domain 0, by one task. The first one requests the stop: every accept loop has a [`Stop`] of
//! its own, which that task triggers whatever domain the loop is on. The grace is each loop's own affair. A second
//! signal ends the process at once, with the status a shell gives to a process that died of it.

use std::io;
use std::process;
use std::rc::Rc;
use std::sync::Arc;

use futures_lite::future;
use matou_unix::signal::{Kind, Signal, signal};
use matou_unix::sync::Trigger;

use crate::console::Console;
use crate::context::Context;

/// The stop of one accept loop, which is the only one to wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<Trigger>);

impl Stop {
    /// One that was not requested.
    pub(crate) fn new() -> Stop {
        Stop(Arc::new(Trigger::new()))
    }

    /// Returns once the stop is requested; at once ever after.
    ///
    /// # Cancellation
    /// Dropped early it loses nothing.
    pub(crate) async fn requested(&self) {
        self.0.wait().await;
    }

    fn request(&self) {
        self.0.signal();
    }
}

/// The signals that ask to stop, listened to from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Signals> {
        Ok(Signals { interrupt: signal(Kind::INTERRUPT)?, terminate: signal(Kind::TERMINATE)? })
    }

    async fn next(&mut self) -> io::Result<Kind> {
        let (interrupt, terminate) = (&mut self.interrupt, &mut self.terminate);
        let interrupted = async { interrupt.recv().await.map(|()| Kind::INTERRUPT) };
        let terminated = async { terminate.recv().await.map(|()| Kind::TERMINATE) };
        future::or(interrupted, terminated).await
    }
}

/// Waits for signals, until it is cancelled.
pub(crate) async fn watch(mut signals: Signals, stops: Vec<Stop>, context: Arc<Context>, console: Rc<Console>) -> io::Result<()> {
    signals.next().await?;
    let grace = if context.grace.is_zero() { String::from("no") } else { format!("{:?} of", context.grace) };
    console.say(format_args!("stopping: {} open, {grace} grace", context.board.totals().open()));
    stops.iter().for_each(Stop::request);
    let again = signals.next().await?;
    process::exit(128 + again.as_raw())
}
