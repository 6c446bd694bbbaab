//! The servers, from their listeners to their totals.
//!
//! [`run`] is the main task. It makes everything that can fail for want of a port or a descriptor before it starts
//! anything, so that such a failure is an error and a clean end. Then it has these children: the accept loops, which are what it
//! waits for; the task that awaits the signals to stop, the one that prints the tree of tasks at a signal, and the one that prints
//! statistics, which are cancelled when the loops have ended. Should a loop fail, the main task fails with it, and the runtime cancels the rest.
//!
//! `sequential`, `concurrent`, `owned` and `parallel` have one accept loop, on domain 0. `multi`, the default, has the
//! accept loop of `concurrent` on every domain, domain 0 included, each with listeners of its own: a connection stays
//! on the domain that accepted it, and nothing passes between domains.

mod concurrent;
mod owned;
mod parallel;
mod sequential;

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, iter};

use matou_unix::signal::{Kind, Signal, signal};
use matou_unix::{DomainId, Promise, Reactor, Task, await_one, domain, time};

use crate::cli::{Mode, Options};
use crate::console::{Console, warn};
use crate::context::Context;
use crate::door::Door;
use crate::listen::{Address, explain, listen};
use crate::problem::Problem;
use crate::stats::{Meter, Totals};
use crate::stop::{self, Signals, Stop};

/// Serves until a signal asks to stop, and gives what was counted.
pub(crate) async fn run(options: Options, console: Rc<Console>) -> Result<Totals, Problem> {
    let workers = domain::available();
    if options.mode == Mode::Parallel && workers == 0 {
        return Err(Problem::Usage(String::from("--mode parallel needs a worker domain: pass --domains 1 or more")));
    }
    let context = Arc::new(Context::new(options.idle_timeout, options.grace, workers, warn));
    let (addresses, doors) = doors(&options, &context, workers)?;
    let stops: Vec<Stop> = doors.iter().map(|_| Stop::new()).collect();
    let cannot = |error: io::Error| Problem::refused("cannot await signals", &error);
    let signals = Signals::listen().map_err(cannot)?;
    let asked = signal(Kind::USER_1).map_err(cannot)?;

    let reactor = Reactor::current().expect("this is a task of domain 0");
    for address in addresses {
        let plural = if workers == 1 { "" } else { "s" };
        console.must_say(format_args!("listening on {address} ({}, {workers} worker domain{plural}, {reactor})", options.mode));
    }
    let watcher = Task::new().name("stop").spawn(stop::watch(signals, stops.clone(), Arc::clone(&context), Rc::clone(&console)))?;
    let dumper = Task::new().name("dump").spawn(dump(asked, Rc::clone(&console)))?;
    let ticker = match options.stats {
        Some(interval) => Some(Task::new().name("statistics").spawn(tell(interval, Arc::clone(&context), console))?),
        None => None,
    };
    let mut loops = start(options.mode, doors, stops)?;
    while let Some(ended) = await_one(&mut loops).await {
        ended.map_err(|exit| Problem::System(format!("cannot accept connections: {exit}")))?;
    }
    watcher.cancel().await;
    dumper.cancel().await;
    if let Some(ticker) = ticker {
        ticker.cancel().await;
    }
    Ok(context.board.totals())
}

/// Starts the accept loops, one for each door.
fn start(mode: Mode, doors: Vec<Door>, stops: Vec<Stop>) -> io::Result<Vec<Promise<(), io::Error>>> {
    iter::zip(domain::all(), iter::zip(doors, stops))
        .map(|(domain, (door, stop))| {
            let accept = Task::new().name("accept");
            Ok(match mode {
                Mode::Sequential => accept.spawn(sequential::serve(door, stop))?,
                Mode::Owned => accept.spawn(owned::serve(door, stop))?,
                Mode::Parallel => accept.spawn(parallel::serve(door, stop))?,
                Mode::Concurrent | Mode::Multi if domain == DomainId::ZERO => accept.spawn(concurrent::serve(door, stop))?,
                Mode::Concurrent | Mode::Multi => accept.pin(domain).call(move || concurrent::serve(door, stop))?,
            })
        })
        .collect()
}

/// A door for each domain that accepts, domain 0 first, and the addresses they all listen on.
fn doors(options: &Options, context: &Arc<Context>, workers: usize) -> Result<(Vec<Address>, Vec<Door>), Problem> {
    let accepting = if options.mode == Mode::Multi { 1 + workers } else { 1 };
    let shares = shares(options.max_connections, accepting);
    let mut addresses = Vec::new();
    let mut listeners: Vec<Vec<_>> = shares.iter().map(|_| Vec::new()).collect();
    for asked in &options.listen {
        let listening = listen(asked, &options.listen, shares.len());
        let (address, sockets) = listening.map_err(|error| Problem::System(explain(asked, &error)))?;
        addresses.push(address);
        iter::zip(&mut listeners, sockets).for_each(|(of_door, socket)| of_door.push(socket));
    }
    let doors = iter::zip(listeners, shares)
        .map(|(listeners, share)| Door::new(listeners, share, Arc::clone(context)))
        .collect::<io::Result<_>>()?;
    Ok((addresses, doors))
}

/// How many connections each accepting domain may have. One that may have none must not listen: the system would give
/// it connections all the same, and nobody would ever accept them. So there is no share of zero, and fewer shares.
fn shares(limit: Option<NonZeroUsize>, domains: usize) -> Vec<usize> {
    let Some(limit) = limit.map(NonZeroUsize::get) else {
        return vec![usize::MAX; domains];
    };
    let count = domains.min(limit);
    (0..count).map(|index| limit / count + usize::from(index < limit % count)).collect()
}

/// Prints the live tree of tasks at every SIGUSR1, until it is cancelled.
async fn dump(mut asked: Signal, console: Rc<Console>) -> io::Result<()> {
    loop {
        asked.recv().await?;
        console.must_say_all(&matou_unix::dump().await).await;
    }
}

/// Prints a line of statistics at every interval, until it is cancelled.
async fn tell(interval: Duration, context: Arc<Context>, console: Rc<Console>) {
    let mut meter = Meter::new(Instant::now());
    loop {
        time::sleep(interval).await;
        console.say_live(meter.line(Instant::now(), context.board.totals()));
    }
}

#[cfg(test)]
mod tests {
    use super::shares;
    use std::num::NonZeroUsize;

    #[test]
    fn shares_are_even_and_never_zero() {
        for (limit, domains, expected) in
            [(1, 1, vec![1]), (10, 1, vec![10]), (10, 3, vec![4, 3, 3]), (3, 3, vec![1, 1, 1]), (2, 3, vec![1, 1]), (1, 3, vec![1])]
        {
            assert_eq!(shares(NonZeroUsize::new(limit), domains), expected, "{limit} over {domains}");
        }
        assert_eq!(shares(None, 2), [usize::MAX; 2]);
    }
}
