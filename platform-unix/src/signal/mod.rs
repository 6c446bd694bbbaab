//! Signals of the system: to be awaited on any domain, or handled on domain 0.
//!
//! A signal is told to the whole process, so it is told to every run in it, to every listener and to every handler. Signals that
//! come faster than they are looked at count as one, as with the system itself.
//!
//! - [`signal`] gives a listener, [`ctrl_c`] and [`terminate`] wait for one signal. They may be used by any task on any domain.
//! - [`on`] installs a handler. Handlers run on domain 0, within the main task, between its own steps: never in the middle of
//!   anything, so they may do what any code may do, except await.
//!
//! # What becomes of the default action
//!
//! The first listener or handler for a kind of signal replaces the process's default action, which ends the process for most
//! kinds, until the process ends: not when the listener is dropped, and not when `run` returns. Until then a signal nobody listens
//! to does nothing. [`default_action`] does what the system would have done.
//!
//! ```
//! use matou_unix::signal::{self, Kind};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! matou_unix::run(async {
//!     let mut hangups = signal::signal(Kind::HANGUP)?;
//!     signal::raise(Kind::HANGUP)?;
//!     hangups.recv().await
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! Miou: `Miou.sys_signal`.

mod handlers;
mod hub;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::rc::Rc;

use matou_core::effect::poll_budget;
use signal_hook::consts;

pub use self::handlers::{HandlerId, off, on};

pub(crate) use self::handlers::{Dispatch, Registry};
pub(crate) use self::hub::Hub;

use crate::reactor;

/// A kind of signal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind(i32);

impl Kind {
    /// `SIGINT`: Ctrl-C at the terminal.
    pub const INTERRUPT: Kind = Kind(consts::SIGINT);
    /// `SIGTERM`: the polite request to end.
    pub const TERMINATE: Kind = Kind(consts::SIGTERM);
    /// `SIGHUP`: the terminal has gone; daemons take it for "read your configuration again".
    pub const HANGUP: Kind = Kind(consts::SIGHUP);
    /// `SIGQUIT`: Ctrl-\ at the terminal.
    pub const QUIT: Kind = Kind(consts::SIGQUIT);
    /// `SIGUSR1`: for the program to give a meaning to.
    pub const USER_1: Kind = Kind(consts::SIGUSR1);
    /// `SIGUSR2`: for the program to give a meaning to.
    pub const USER_2: Kind = Kind(consts::SIGUSR2);
    /// `SIGCHLD`: a child process stopped or ended.
    pub const CHILD: Kind = Kind(consts::SIGCHLD);
    /// `SIGWINCH`: the terminal's window changed its size.
    pub const WINDOW_CHANGE: Kind = Kind(consts::SIGWINCH);

    /// The kind with this number of the system's.
    pub const fn from_raw(number: i32) -> Kind {
        Kind(number)
    }

    /// The system's number.
    pub const fn as_raw(self) -> i32 {
        self.0
    }

    /// Refuses what must not, or cannot, be handled: `SIGKILL` and `SIGSTOP`, and the signals by which the processor reports a fault.
    fn check(self) -> io::Result<()> {
        if consts::FORBIDDEN.contains(&self.0) {
            let message = format!("{self:?} cannot be handled");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(())
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match signal_hook::low_level::signal_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// A listener: it counts the signals of its kind from the moment it was made.
///
/// It belongs to the domain it was made on. Made by [`signal`].
pub struct Signal {
    hub: Rc<Hub>,
    kind: Kind,
    seen: u64,
}

impl Signal {
    /// Waits until a signal of this kind has come since the last one it told.
    ///
    /// # Errors
    /// Outside a run, and what the system says.
    ///
    /// # Cancellation
    /// Dropped early it has taken no signal: the next call tells it.
    pub async fn recv(&mut self) -> io::Result<()> {
        loop {
            poll_fn(poll_budget).await;
            if self.hub.take(self.kind, &mut self.seen) {
                return Ok(());
            }
            self.hub.wait(self.hub.heard()).await?;
        }
    }

    /// The kind it listens to.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// Listens to a kind of signal, from now on.
///
/// # Errors
/// For a kind that cannot be handled, outside a run, and what the system says.
pub fn signal(kind: Kind) -> io::Result<Signal> {
    kind.check()?;
    let reactor = reactor::current().ok_or_else(outside)?;
    let hub = Rc::clone(reactor.hub()?);
    let seen = hub.listen(kind)?;
    Ok(Signal { hub, kind, seen })
}

/// Waits for the next Ctrl-C, from the moment of the call.
///
/// Until that call a Ctrl-C ends the process. So make it before the program says that it is ready (`let stop = signal::ctrl_c();`), and await
/// it afterwards.
///
/// ```
/// use matou_unix::signal;
///
/// async fn server() -> std::io::Result<()> {
///     // accept, answer, and so on
/// # Ok(())
/// }
///
/// async fn supervisor() -> std::io::Result<()> {
///     let stop = signal::ctrl_c(); // from here on
///     let server = matou_unix::spawn(server());
///     println!("listening");
///     stop.await?;
///     server.cancel().await;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// As [`signal`] and [`Signal::recv`].
///
/// # Cancellation
/// Dropped early it listens no more. To listen without a gap keep a [`Signal`].
pub fn ctrl_c() -> impl Future<Output = io::Result<()>> {
    next(Kind::INTERRUPT)
}

/// Waits for the next `SIGTERM`, from the moment of the call.
///
/// # Errors
/// As [`signal`] and [`Signal::recv`].
///
/// # Cancellation
/// Dropped early it listens no more. To listen without a gap keep a [`Signal`].
pub fn terminate() -> impl Future<Output = io::Result<()>> {
    next(Kind::TERMINATE)
}

fn next(kind: Kind) -> impl Future<Output = io::Result<()>> {
    // Listens at the call, not at the first poll: in between the signal would end the process.
    let signal = signal(kind);
    async move { signal?.recv().await }
}

/// Sends a signal to this process.
///
/// # Errors
/// For a number the system does not know.
pub fn raise(kind: Kind) -> io::Result<()> {
    signal_hook::low_level::raise(kind.0)
}

/// Does what the system does with this kind of signal where nobody handles it: for most it ends the process.
///
/// ```no_run
/// use matou_unix::signal::{self, Kind};
/// # async fn example() -> std::io::Result<()> {
/// signal::ctrl_c().await?;
/// // clean up, and end as if it had never been handled: the shell sees it.
/// signal::default_action(Kind::INTERRUPT)
/// # }
/// ```
///
/// # Errors
/// For a number the system does not know.
pub fn default_action(kind: Kind) -> io::Result<()> {
    signal_hook::low_level::emulate_default_handler(kind.0)
}

fn outside() -> io::Error {
    io::Error::other("signals are listened to and handled inside `matou_unix::run` only")
}
