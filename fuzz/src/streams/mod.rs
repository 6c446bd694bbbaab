//! Streams over the system's own sockets, with the platform as it ships, on io_uring and on one of its other reactors: what a program does to
//! them, and to their far ends, is compared with a ledger of the bytes.
//!
//! A scripted kernel cannot have io_uring, so this one is the system's: when an event comes is not in the program's hand. What is promised
//! holds whenever it comes (R45, R46):
//!
//! - **no byte is lost, comes twice, or out of its order**, whoever reads: a read that was kept, one beside it, one after others were dropped
//!   or forgotten, `unread`, the standard library's socket that the stream was turned into, on whichever domain, in this run or the next;
//! - a read gives **no more than it has room for**, and the end when all has come, not before; only what was reset may end early;
//! - **nothing hangs** that has something to go on with;
//! - what is dropped is closed, and **no descriptor is left** after the run.
//!
//! A far end is driven by the task of its stream, between two polls, so that what was sent is known at each moment.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`program`] | the language, and how bytes are read as a program |
//! | [`ledger`] | the model |
//! | [`life`] | runs the steps of one stream |
//! | [`near`] | the two kinds of streams |

mod ledger;
mod life;
mod near;
mod program;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::OnceLock;

use platform_unix::net::{TcpStream, UnixStream};
use platform_unix::{Builder, DomainId, Reactor, Task, spawn};

pub use self::program::Program;

use self::ledger::Ledger;
use self::life::Life;
use self::near::Near;
use self::program::{Kind, Leave};
use crate::watch::watched;

type Checked<T = ()> = Result<T, String>;

/// A life that goes on in the next run, if it does.
enum Alive {
    Tcp(Life<TcpStream>),
    Unix(Life<UnixStream>),
    Over(Ledger),
}

/// Runs the program on two reactors. Descriptors are counted: nobody else opens some meanwhile.
///
/// # Errors
/// What differs from the model, in words.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    run(bytes, false).map(|_| ())
}

/// With far ends that lose a byte now and then.
///
/// # Errors
/// What differs.
pub fn check_leaky(bytes: &[u8]) -> Result<(), String> {
    run(bytes, true).map(|_| ())
}

/// What the program shows on the first of the reactors.
///
/// # Errors
/// What differs.
pub fn shows(bytes: &[u8]) -> Result<BTreeSet<&'static str>, String> {
    run(bytes, false)
}

/// Those that this system has, io_uring first.
pub fn reactors() -> &'static [Reactor] {
    static THERE: OnceLock<Vec<Reactor>> = OnceLock::new();
    THERE.get_or_init(|| {
        let all = [Reactor::Uring, Reactor::Epoll, Reactor::Poll].into_iter();
        all.filter(|&reactor| Builder::new().environment(false).domains(0).reactor(reactor).run(async {}).is_ok()).collect()
    })
}

fn run(bytes: &[u8], leaky: bool) -> Checked<BTreeSet<&'static str>> {
    let mut shown = BTreeSet::new();
    let beside = Program::decode(bytes).beside;
    for &reactor in reactors().iter().take(1).chain(reactors().iter().skip(1).nth(beside)) {
        let seen = watched(|| run_on(reactor, Program::decode(bytes), leaky)).map_err(|why| format!("{reactor}: {why}"))?;
        if shown.is_empty() {
            shown = seen;
        }
    }
    Ok(shown)
}

fn run_on(reactor: Reactor, program: Program, leaky: bool) -> Checked<BTreeSet<&'static str>> {
    near::prepare();
    let before = descriptors();
    let Program { workers, quanta, lent, lives, .. } = program;
    let mut alive = Vec::new();
    for (number, (kind, steps)) in lives.into_iter().enumerate() {
        let ledger = Ledger::new(number, reactor == Reactor::Uring);
        alive.push(match kind {
            Kind::Tcp => Life::new(steps, ledger, leaky).map(Alive::Tcp),
            Kind::Unix => Life::new(steps, ledger, leaky).map(Alive::Unix),
        });
    }
    let mut alive = alive.into_iter().collect::<Result<Vec<_>, _>>().map_err(|error| format!("no sockets: {error}"))?;
    loop {
        let builder = Builder::new().environment(false).reactor(reactor).domains(workers).seed(42).quanta(quanta).lent_buffer(lent);
        alive = builder.run(live(alive, workers, lent)).map_err(in_words)?;
        if alive.iter().all(|life| matches!(life, Alive::Over(_))) {
            break;
        }
    }
    let after = descriptors();
    if after != before {
        return Err(format!("{before} descriptors were open before the run, and {after} are after it"));
    }
    Ok(alive.into_iter().flat_map(|life| if let Alive::Over(ledger) = life { ledger.shown } else { BTreeSet::new() }).collect())
}

/// One run of all that are alive.
async fn live(alive: Vec<Alive>, workers: usize, lent: usize) -> Checked<Vec<Alive>> {
    let begun: Vec<_> = alive
        .into_iter()
        .enumerate()
        .map(|(number, life)| {
            spawn(async move {
                let lived = match life {
                    Alive::Tcp(life) => one(life, Alive::Tcp, workers, lent).await,
                    Alive::Unix(life) => one(life, Alive::Unix, workers, lent).await,
                    over => Ok(over),
                };
                lived.map_err(|why| format!("stream {number}: {why}"))
            })
        })
        .collect();
    let mut lived = Vec::new();
    for promise in begun {
        lived.push(promise.await.map_err(in_words)?);
    }
    Ok(lived)
}

/// One life, on whichever domains it wants, until it outlives the run or is over.
async fn one<S: Near>(mut life: Life<S>, alive: fn(Life<S>) -> Alive, workers: usize, lent: usize) -> Checked<Alive> {
    let mut next = life.stay(lent).await?;
    loop {
        match next {
            Leave::Move(domain) if (1..=workers).contains(&domain) => {
                let there = Task::new().pin(DomainId::new(domain)).call(move || async move {
                    let next = life.stay(lent).await.map_err(|why| format!("on domain {domain}: {why}"))?;
                    Checked::Ok((life, next))
                });
                (life, next) = there.map_err(|error| error.to_string())?.await.map_err(in_words)?;
            }
            Leave::Outlive => return Ok(alive(life)),
            Leave::Over => return life.end().await.map(Alive::Over),
            _ => next = life.stay(lent).await?,
        }
    }
}

fn in_words(error: impl Display) -> String {
    error.to_string()
}

/// How many are open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").or_else(|_| std::fs::read_dir("/dev/fd")).map_or(0, Iterator::count)
}
