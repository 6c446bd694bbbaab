//! Loads an echo server with peers of all kinds for a while, and fails unless the server is afterwards what it was before.
//!
//! `soak SECONDS orderly|rude PROGRAM ARGUMENTS..` starts the program, which is the binary `echo` or something that says the same lines, and
//! goes through these steps:
//!
//! 1. the server at rest, that is, when twice in a row it has the same: its descriptors, threads and tasks are noted;
//! 2. a fifth of the time, but no less than three seconds: load, rest, and its memory is noted. What it has allocated once it may keep;
//! 3. the rest of the time: load, rest, and all four are looked at again;
//! 4. the server is asked to stop, and its totals are compared with what the peers have counted.
//!
//! What must hold:
//!
//! - *Rest*: within [`PATIENCE`] of the last peer's end, descriptors, threads and tasks are exactly those of step 1;
//! - *Memory*: the resident set of step 3 is at most [`GROWTH`] larger than that of step 2;
//! - *Bytes*: every byte that came back was the one that was sent, in order; a peer of an orderly kind has got all of its bytes and then the
//!   end of the stream. `orderly`: the server's bytes are the peers'. `rude`: some peers go away with answers under way, so that the server's
//!   bytes are at least those received, and at most those sent;
//! - *Connections*: those that the server accepted, and those it shed for want of descriptors, are those that the peers made; `orderly`:
//!   there is no failure at all.
//!
//! `rude` is meant for a server with few descriptors (`ulimit -n`) and an idle timeout: there is a crowd that uses up the one, and peers
//! that wait for the other. The kinds of peers are in [`peers`], what is known of the server comes from [`server`].

mod peers;
mod random;
mod server;

use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use crate::peers::{Account, Manners};
use crate::server::{Figures, Server};

/// How long the server may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much the resident set may grow between the two rests, in KiB.
const GROWTH: u64 = 1536;
/// The least time of load before the memory is noted.
const WARM: Duration = Duration::from_secs(3);
/// From the moment when all is closed to the look at the memory: the allocator's and the kernel's own time.
const SETTLE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (seconds, manners, command) = match &arguments[..] {
        [seconds, manners, command @ ..] if !command.is_empty() => (seconds.parse().ok(), Manners::named(manners), command),
        _ => (None, None, &[][..]),
    };
    let (Some(seconds), Some(manners)) = (seconds, manners) else {
        eprintln!("usage: soak SECONDS orderly|rude PROGRAM ARGUMENTS..");
        return ExitCode::from(2);
    };
    match soak(Duration::from_secs(seconds), manners, command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("soak: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn soak(time: Duration, manners: Manners, command: &[String]) -> Result<(), Vec<String>> {
    let mut server = Server::start(command);
    let account = Account::default();
    let fresh = begun(&mut server);
    println!("at rest, fresh:  {fresh}");

    let warm = (time / 5).max(WARM);
    let before = load(&mut server, warm, manners, &account, fresh);
    println!("after {:>4} s:    {before}", warm.as_secs());
    // What does not come to rest now does not do so later.
    let rest = if before.is_at_rest_as(&fresh) { time.saturating_sub(warm) } else { Duration::ZERO };
    let after = load(&mut server, rest, manners, &account, fresh);
    println!("after {:>4} s:    {after}", time.as_secs());
    let totals = server.stop();

    let mut problems = account.problems.into_inner().expect("no peer panics with it");
    let mut must = |holds: bool, problem: String| {
        if !holds {
            problems.push(problem);
        }
    };
    must(
        after.descriptors == fresh.descriptors,
        format!("descriptors leak: {} at first, {} at last", fresh.descriptors, after.descriptors),
    );
    must(after.threads == fresh.threads, format!("threads leak: {} at first, {} at last", fresh.threads, after.threads));
    must(after.tasks == fresh.tasks, format!("tasks leak: {} at first, {} at last", fresh.tasks, after.tasks));
    must(
        after.memory <= before.memory + GROWTH,
        format!("memory leaks: {} KiB after {warm:?}, {} KiB at last", before.memory, after.memory),
    );

    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed);
    let (connected, sent, received) = (get(&account.connected), get(&account.sent), get(&account.received));
    println!("peers:           {connected} connections, {sent} bytes sent, {received} received, {} turned away", get(&account.turned_away));
    println!("server:          {}", totals.line);
    let known = totals.accepted + totals.of("shed");
    must(known == connected, format!("connections: the peers made {connected}, the server knows of {known}"));
    must(received <= totals.bytes && totals.bytes <= sent, format!("bytes: sent {sent}, echoed {}, received {received}", totals.bytes));
    must(connected > 0 && received > 0, String::from("there was no load"));
    match manners {
        Manners::Orderly => {
            must(sent == received, format!("bytes: sent {sent}, received {received}"));
            must(totals.failures == 0, format!("failures: {}", totals.line));
        }
        // Were none of these met, the load would not be what it is said to be.
        Manners::Rude => ["reset", "broken pipe", "idle", "shed"]
            .into_iter()
            .for_each(|kind| must(totals.of(kind) > 0, format!("the load never made the failure {kind:?}"))),
    }
    must(totals.of("other") == 0 && totals.of("cancelled") == 0, format!("failures that no peer asked for: {}", totals.line));
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// What it has when it has begun: it may listen before each of its domains runs.
fn begun(server: &mut Server) -> Figures {
    let mut before = server.figures();
    loop {
        thread::sleep(SETTLE);
        let now = server.figures();
        if now.is_at_rest_as(&before) {
            return now;
        }
        before = now;
    }
}

/// Load for this long, then rest until the server is what it was at first, or patience is out; and what it is then.
fn load(server: &mut Server, time: Duration, manners: Manners, account: &Account, fresh: Figures) -> Figures {
    let deadline = Instant::now() + time;
    peers::load(server, deadline, manners, account);
    let patience = Instant::now() + PATIENCE;
    loop {
        let now = server.figures();
        if now.is_at_rest_as(&fresh) || Instant::now() >= patience {
            thread::sleep(SETTLE);
            let settled = server.figures();
            if settled.is_at_rest_as(&fresh) || Instant::now() >= patience {
                return settled;
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}
