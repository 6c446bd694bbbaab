//! How a run is set up: by the program, else by the environment, else by the machine.
//!
//! Each setting is taken from the first that has it: the [`Builder`]'s method, then the environment variable, then the default.
//! A variable that cannot be understood is an error that names it, never a default in disguise.
//!
//! | setting | variable | default |
//! | --- | --- | --- |
//! | [`domains`](Builder::domains) | `MATOU_DOMAINS` | one less than the processors this process may use, and one at least |
//! | [`quanta`](Builder::quanta) | `MATOU_QUANTA` | 64 |
//! | [`seed`](Builder::seed) | | a new one each time |
//! | [`blocking_threads`](Builder::blocking_threads) | `MATOU_BLOCKING_THREADS` | 64 |
//! | [`trace`](Builder::trace) | `MATOU_TRACE` | no file |
//! | [`births`](Builder::births) | `MATOU_BIRTHS` | 0: not kept |
//! | [`spin`](Builder::spin) | `MATOU_SPIN` | 20 µs where each domain can have a processor, else 0 |
//! | [`reactor`](Builder::reactor) | `MATOU_REACTOR` | on Linux io_uring where it is worth it, else epoll; `poll(2)` elsewhere |
//! | [`lent_buffer`](Builder::lent_buffer) | | 16 KiB |

use std::env;
use std::ffi::OsString;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use matou_core::trace::Trace;
use matou_core::{Config, DomainId, Outcome, Report, RunError};

use crate::blocking::{self, Closing, Pool};
use crate::dump::Registration;
use crate::interrupt::Material;
use crate::platform::Unix;
use crate::reactor::{Reactor, lent};
use crate::record::{RECORDER, Recording};
use crate::signal::{Dispatch, Registry};

/// The most workers a run can have: domain 0 is not one.
const MOST_WORKERS: usize = DomainId::MAX - 1;

/// The longest time, in microseconds, that `MATOU_SPIN` may say: a second.
const MOST_SPIN: u64 = 1_000_000;

/// How a run is set up.
///
/// ```
/// use matou_unix::{Builder, call};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let six = Builder::new().domains(2).seed(42).run(async {
///     let three = call(|| async { Ok::<i32, std::io::Error>(3) })?;
///     Ok::<i32, std::io::Error>(2 * three.await?)
/// })?;
/// assert_eq!(six, 6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder runs nothing before `run`"]
pub struct Builder {
    domains: Option<usize>,
    quanta: Option<u32>,
    seed: Option<u64>,
    blocking_threads: Option<usize>,
    reactor: Option<Reactor>,
    bell: Material,
    lent_buffer: usize,
    stack_size: Option<usize>,
    on_report: Option<fn(&Report)>,
    on_trace: Option<&'static dyn Trace>,
    trace: Option<PathBuf>,
    births: Option<bool>,
    spin: Option<Duration>,
    environment: bool,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder::new()
    }
}

impl Builder {
    /// Nothing set. What stays so is looked up in the environment by [`run`](Builder::run).
    pub fn new() -> Builder {
        Builder {
            domains: None,
            quanta: None,
            seed: None,
            blocking_threads: None,
            reactor: None,
            bell: Material::DEFAULT,
            lent_buffer: lent::DEFAULT_SIZE,
            stack_size: None,
            on_report: None,
            on_trace: None,
            trace: None,
            births: None,
            spin: None,
            environment: true,
        }
    }

    /// Sets what the environment says, now: so that a program can complain about it in its own way.
    ///
    /// # Errors
    /// If a variable cannot be understood.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let builder = matou_unix::Builder::from_env()?;
    /// # let _ = builder;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_env() -> io::Result<Builder> {
        Builder::new().completed(&|name| env::var_os(name))
    }

    /// Whether the environment has a say. It has, unless this is called with `false`.
    pub fn environment(mut self, looked_up: bool) -> Builder {
        self.environment = looked_up;
        self
    }

    /// How many worker domains there are beside domain 0, each a thread. With 0 of them `call` gives
    /// [`NoDomainAvailable`](crate::NoDomainAvailable).
    ///
    /// Miou: `?domains` of `Miou.run`.
    pub fn domains(mut self, workers: usize) -> Builder {
        self.domains = Some(workers);
        self
    }

    /// How many effects a task may do in one poll before it has to let others run, and after how many effects and polls a domain
    /// asks the system for events. At least 1.
    ///
    /// Miou: `?quanta` of `Miou.run`.
    pub fn quanta(mut self, quanta: u32) -> Builder {
        self.quanta = Some(quanta);
        self
    }

    /// Where chance comes from, so that a run can be had again.
    ///
    /// Miou: `?g` of `Miou.run`.
    #[doc(alias = "g")]
    pub fn seed(mut self, seed: u64) -> Builder {
        self.seed = Some(seed);
        self
    }

    /// Which system call the domains ask for events. The environment says it in one word: `uring`, `epoll` or `poll`.
    ///
    /// One that the system does not have is [`RunError::Events`], and nothing runs. Which one was taken where nothing was asked for,
    /// [`Reactor::current`] tells.
    pub fn reactor(mut self, reactor: Reactor) -> Builder {
        self.reactor = Some(reactor);
        self
    }

    /// How many bytes each buffer has that a domain lends to those who receive ([`Received`](crate::net::Received)), from 1: so much is
    /// received at once at most. It is 16 KiB unless this is called. Only what is written to takes memory: large ones cost where large
    /// messages come. A domain keeps 256 KiB of free ones, but at least one.
    pub fn lent_buffer(mut self, bytes: usize) -> Builder {
        self.lent_buffer = bytes;
        self
    }

    /// How many threads may do [`blocking`](crate::blocking()) work at the same time, from 1 to 4096. They are started when they are needed, and
    /// end when they have been idle for some seconds.
    pub fn blocking_threads(mut self, most: usize) -> Builder {
        self.blocking_threads = Some(most);
        self
    }

    /// How many bytes of stack each thread of the run has, workers and those for blocking work. The standard library's default is 2 MiB.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// Whom to tell of panics that cannot be returned to anybody: in finalisers, hooks, wakers. By default they are a line on
    /// standard error.
    pub fn on_report(mut self, on_report: fn(&Report)) -> Builder {
        self.on_report = Some(on_report);
        self
    }

    /// Records what the tasks do into this file, for <https://ui.perfetto.dev> or `chrome://tracing`: a track for each domain, a slice for
    /// each poll, a span for each task's life, and an arrow for each call.
    ///
    /// A second run of the process with the same name writes `name.2.json` beside `name.json`, and so on; files that are there are written
    /// over. The file is whole whenever no domain is writing, also after a violation, and when the process is killed. It has to be one that
    /// can be written at any place, which pipes cannot. What cannot be created is [`RunError::Platform`] and nothing runs; what cannot be written later is told
    /// on standard error, once, and the run goes on. It grows by some hundred bytes with each poll, and nothing is ever taken out: it is for a run of
    /// minutes.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let path = std::env::temp_dir().join(format!("matou-doc-{}.json", std::process::id()));
    /// matou_unix::Builder::new().domains(0).trace(&path).run(async { matou_unix::spawn(async {}).await })?;
    /// assert!(std::fs::read_to_string(&path)?.starts_with('{'));
    /// # std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn trace(mut self, path: impl Into<PathBuf>) -> Builder {
        self.trace = Some(path.into());
        self
    }

    /// Whom to tell of what happens to tasks: see [`trace`](crate::trace). Beside [`trace`](Builder::trace) it is told after the file; should
    /// it panic then, that domain is not recorded any more either.
    ///
    /// Miou: `Miou.Trace`.
    pub fn on_trace(mut self, trace: &'static dyn Trace) -> Builder {
        self.on_trace = Some(trace);
        self
    }

    /// Whether the time at which each task was made is kept, so that a [`dump`](crate::dump()) can tell its age.
    pub fn births(mut self, kept: bool) -> Builder {
        self.births = Some(kept);
        self
    }

    /// How long a domain that has nothing to do may look, awake, for what other domains send it, before it sleeps: see [`Config::spin`]. Zero: it
    /// sleeps at once. `MATOU_SPIN` gives it in microseconds.
    ///
    /// A call to a domain that looks costs no system call. An idle domain does not look for long: it does so only while others keep sending it
    /// something within such a time. An event of the system may have to wait for twice so long. More than a second is an error of
    /// [`run`](Builder::run).
    ///
    /// By default it is 20 µs, about what a wake-up takes; and zero where the process may use one processor only, or fewer than there are
    /// domains, since a domain that looks would keep others from theirs. What is asked for is done in any case.
    pub fn spin(mut self, at_most: Duration) -> Builder {
        self.spin = Some(at_most);
        self
    }

    /// Lets domains wake each other by a pipe, as they do where there is no `eventfd`. For the tests of this crate.
    #[doc(hidden)]
    pub fn wake_by_pipe(mut self) -> Builder {
        self.bell = Material::Pipe;
        self
    }

    /// Runs `main` as the main task on this thread, and returns its value when it and everything it started has ended.
    ///
    /// # Errors
    /// As [`run`].
    ///
    /// Miou: `Miou_unix.run`.
    #[track_caller]
    #[allow(clippy::type_complexity)] // An alias would hide the two errors.
    pub fn run<F>(self, main: F) -> Result<<F::Output as Outcome>::Value, RunError<<F::Output as Outcome>::Error, io::Error>>
    where
        F: Future<Output: Outcome>,
    {
        let environment = self.environment;
        let completed = self.completed(&|name| if environment { env::var_os(name) } else { None });
        let builder = completed.map_err(RunError::Platform)?;
        let workers = builder.domains.unwrap_or_else(default_workers);
        let mut config = Config::new().domains(workers).seed(builder.seed.unwrap_or_else(random_seed));
        if let Some(quanta) = builder.quanta {
            config = config.quanta(quanta);
        }
        if let Some(on_report) = builder.on_report {
            config = config.on_report(on_report);
        }
        config = config
            .births(builder.births.unwrap_or(false))
            .spin(builder.spin.unwrap_or_else(|| if workers == 0 { Duration::ZERO } else { default_spin(workers, processors()) }));
        // Inside a run there will be no run to record.
        let path = builder.trace.filter(|_| matou_core::domain::current().is_none());
        let recording = path.map(|path| Recording::create(&path)).transpose().map_err(RunError::Platform)?;
        let recording = recording.map(|recording| (recording, builder.on_trace));
        let tracer: Option<&'static dyn Trace> = if recording.is_some() { Some(&RECORDER) } else { builder.on_trace };
        if let Some(tracer) = tracer {
            config = config.trace(tracer);
        }
        let registration = Registration::default();
        let registry = Arc::<Registry>::default();
        let mut dispatch = Dispatch::new(Arc::clone(&registry));
        let main = async {
            let mut main = pin!(main);
            poll_fn(|cx| {
                registration.enter();
                dispatch.poll(cx);
                main.as_mut().poll(cx)
            })
            .await
        };
        let blocking = Pool::new(builder.blocking_threads.unwrap_or(blocking::DEFAULT_THREADS), builder.stack_size);
        // The domains are gone when it is dropped, and nothing of the run is left after it.
        let _closing = Closing(Arc::clone(&blocking));
        let unix = Unix {
            reactor: builder.reactor,
            bell: builder.bell,
            lent_buffer: builder.lent_buffer,
            stack_size: builder.stack_size,
            registry,
            blocking,
            recording,
        };
        matou_core::run(&unix, config, main)
    }

    /// Fills what is not set from the environment, and refuses what cannot be.
    fn completed(mut self, variable: &dyn Fn(&str) -> Option<OsString>) -> io::Result<Builder> {
        if self.domains.is_none() {
            let what = format!("a number of worker domains from 0 to {MOST_WORKERS}");
            self.domains = parse(variable, "MATOU_DOMAINS", &what, |&workers: &usize| workers <= MOST_WORKERS)?;
        }
        if self.quanta.is_none() {
            self.quanta = parse(variable, "MATOU_QUANTA", "a number of effects from 1 to 4294967295", |&quanta: &u32| quanta > 0)?;
        }
        if self.reactor.is_none() {
            self.reactor = parse(variable, "MATOU_REACTOR", "`uring`, `epoll` or `poll`", |_| true)?;
        }
        if self.trace.is_none() {
            self.trace = variable("MATOU_TRACE").filter(|path| !path.is_empty()).map(PathBuf::from);
        }
        if self.births.is_none() {
            self.births = parse(variable, "MATOU_BIRTHS", "0 or 1", |&kept: &u8| kept <= 1)?.map(|kept| kept == 1);
        }
        if self.spin.is_none() {
            let what = format!("a number of microseconds from 0 to {MOST_SPIN}");
            self.spin = parse(variable, "MATOU_SPIN", &what, |&micros: &u64| micros <= MOST_SPIN)?.map(Duration::from_micros);
        }
        if self.quanta == Some(0) {
            return Err(invalid("`quanta` is 0: a task that may do no effect cannot run".into()));
        }
        if self.lent_buffer == 0 {
            return Err(invalid("`lent_buffer` is 0: nothing can be received into a buffer of no bytes".into()));
        }
        let threads = 1..=blocking::MOST_THREADS;
        if self.blocking_threads.is_none() {
            let what = format!("a number of threads from 1 to {}", blocking::MOST_THREADS);
            self.blocking_threads = parse(variable, "MATOU_BLOCKING_THREADS", &what, |most| threads.contains(most))?;
        }
        if let Some(spin) = self.spin
            && spin > Duration::from_micros(MOST_SPIN)
        {
            return Err(invalid(format!("`spin` is {spin:?}: expected at most {:?}", Duration::from_micros(MOST_SPIN))));
        }
        if let Some(most) = self.blocking_threads
            && !threads.contains(&most)
        {
            return Err(invalid(format!("`blocking_threads` is {most}: expected a number from 1 to {}", blocking::MOST_THREADS)));
        }
        Ok(self)
    }
}

fn parse<T: std::str::FromStr>(
    variable: &dyn Fn(&str) -> Option<OsString>,
    name: &str,
    what: &str,
    fits: impl Fn(&T) -> bool,
) -> io::Result<Option<T>> {
    let Some(value) = variable(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let number = value.to_str().and_then(|text| text.trim().parse().ok()).filter(fits);
    let message = || invalid(format!("{name} is {value:?}: expected {what}"));
    number.map(Some).ok_or_else(message)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// How many processors this process may use. Where the system does not tell, there is at least the one we are on.
fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn default_workers() -> usize {
    // One at least, so that what calls on a large machine does on the smallest as well.
    (processors() - 1).clamp(1, MOST_WORKERS)
}

/// About what a wake-up takes, where each domain can have a processor of its own.
fn default_spin(workers: usize, processors: usize) -> Duration {
    if workers < processors { Duration::from_micros(20) } else { Duration::ZERO }
}

fn random_seed() -> u64 {
    // The standard library keys its hash tables with the system's random numbers.
    RandomState::new().hash_one(0)
}

/// Runs `main` as the main task on this thread, domain 0, and returns its value when it and everything it started has ended.
///
/// There are as many worker domains as the environment (`MATOU_DOMAINS`) or the machine says; see [`Builder`] for more to say.
/// `main` is neither `Send` nor `'static`. `run` may be called again, and from several threads at once.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let greeting = matou_unix::run(async {
///     let child = matou_unix::spawn(async { "meow" });
///     child.await.map_err(std::io::Error::other)
/// })?;
/// assert_eq!(greeting, "meow");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`RunError::Failed`] and [`RunError::Panicked`] are the main task's abnormal ends, [`RunError::Violation`] tells which rule was
/// broken by which task; in each case every task was cancelled, every finaliser has run and every thread was joined.
/// [`RunError::Platform`] tells that nothing ran: a variable of the environment cannot be understood, or a thread not be started.
/// [`RunError::Events`] tells that a domain could not ask the system for events.
///
/// Miou: `Miou_unix.run`.
#[track_caller]
#[allow(clippy::type_complexity)] // An alias would hide the two errors.
pub fn run<F>(main: F) -> Result<<F::Output as Outcome>::Value, RunError<<F::Output as Outcome>::Error, io::Error>>
where
    F: Future<Output: Outcome>,
{
    Builder::new().run(main)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> io::Result<Builder> {
        Builder::new().completed(&|asked| (asked == name).then(|| value.into()))
    }

    #[test]
    fn the_environment_is_understood() {
        assert_eq!(with("MATOU_DOMAINS", "3").unwrap().domains, Some(3));
        assert_eq!(with("MATOU_DOMAINS", "0").unwrap().domains, Some(0));
        assert_eq!(with("MATOU_DOMAINS", " 3\n").unwrap().domains, Some(3));
        assert_eq!(with("MATOU_QUANTA", "1").unwrap().quanta, Some(1));
        assert_eq!(with("MATOU_BLOCKING_THREADS", "1").unwrap().blocking_threads, Some(1));
        assert_eq!(with("MATOU_QUANTA", "").unwrap().quanta, None, "empty is as good as not set");
        assert_eq!(with("MATOU_REACTOR", "poll").unwrap().reactor, Some(Reactor::Poll));
        assert_eq!(with("MATOU_TRACE", "t.json").unwrap().trace, Some("t.json".into()));
        assert_eq!(with("MATOU_TRACE", "").unwrap().trace, None);
        assert_eq!(with("MATOU_SPIN", "7").unwrap().spin, Some(Duration::from_micros(7)));
        assert_eq!(with("MATOU_SPIN", "0").unwrap().spin, Some(Duration::ZERO));
        assert_eq!([with("MATOU_BIRTHS", "1").unwrap().births, with("MATOU_BIRTHS", "0").unwrap().births], [Some(true), Some(false)]);
    }

    #[test]
    fn what_cannot_be_understood_is_named() {
        for value in ["three", "-1", "1.5", "1023x", "1024", "99999999999999999999"] {
            let error = with("MATOU_DOMAINS", value).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let expected = format!("MATOU_DOMAINS is {value:?}: expected a number of worker domains from 0 to 1023");
            assert_eq!(error.to_string(), expected);
        }
        let error = with("MATOU_BLOCKING_THREADS", "0").unwrap_err();
        assert_eq!(error.to_string(), "MATOU_BLOCKING_THREADS is \"0\": expected a number of threads from 1 to 4096");
        let error = with("MATOU_BIRTHS", "yes").unwrap_err();
        assert_eq!(error.to_string(), "MATOU_BIRTHS is \"yes\": expected 0 or 1");
        let error = with("MATOU_REACTOR", "select").unwrap_err();
        assert_eq!(error.to_string(), "MATOU_REACTOR is \"select\": expected `uring`, `epoll` or `poll`");
        let error = with("MATOU_SPIN", "20us").unwrap_err();
        assert_eq!(error.to_string(), "MATOU_SPIN is \"20us\": expected a number of microseconds from 0 to 1000000");
        let error = with("MATOU_QUANTA", "0").unwrap_err();
        assert_eq!(error.to_string(), "MATOU_QUANTA is \"0\": expected a number of effects from 1 to 4294967295");
    }

    #[test]
    fn the_program_has_the_first_word() {
        let environment = |_: &str| Some("nonsense".into());
        let builder = Builder::new()
            .domains(7)
            .quanta(8)
            .blocking_threads(9)
            .births(false)
            .trace("t.json")
            .spin(Duration::ZERO)
            .reactor(Reactor::Poll)
            .completed(&environment)
            .unwrap();
        assert_eq!(builder.spin, Some(Duration::ZERO));
        assert_eq!((builder.domains, builder.quanta, builder.blocking_threads), (Some(7), Some(8), Some(9)));
        assert_eq!((builder.births, builder.trace), (Some(false), Some("t.json".into())));
        assert!(Builder::new().quanta(0).completed(&|_| None).is_err());
        let error = Builder::new().lent_buffer(0).completed(&|_| None).unwrap_err();
        assert_eq!(error.to_string(), "`lent_buffer` is 0: nothing can be received into a buffer of no bytes");
        let error = Builder::new().spin(Duration::MAX).completed(&|_| None).unwrap_err();
        assert!(error.to_string().starts_with("`spin` is 18446744073709551615.999999999s: expected at most 1s"), "{error}");
        assert!(Builder::new().spin(Duration::from_secs(1)).completed(&|_| None).is_ok());
        let error = Builder::new().blocking_threads(0).completed(&|_| None).unwrap_err();
        assert_eq!(error.to_string(), "`blocking_threads` is 0: expected a number from 1 to 4096");
    }

    #[test]
    fn a_domain_without_a_processor_of_its_own_does_not_spin() {
        let spins = |workers, processors| !default_spin(workers, processors).is_zero();
        assert!(!spins(0, 0) && !spins(1, 1) && !spins(2, 2) && !spins(7, 4));
        assert!(spins(1, 2) && spins(3, 4) && spins(3, 8));
    }
}
