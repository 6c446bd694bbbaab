//! `matou-bench`: echo servers, the load, and the comparisons. See the README beside `Cargo.toml`.

use std::convert::Infallible;
use std::env;
use std::process::ExitCode;

use matou_bench::args::Args;
use matou_bench::commands::{busy, connect, connections, domains, echo, latency, memory, syscalls};
use matou_bench::counting::Counting;
use matou_bench::micro::{self, calls, growth};
use matou_bench::serve::{self, Serve, compute};
use matou_bench::{Failure, goals, load, peer, process};

/// Counts for `micro`; for everything else it costs one load of a flag.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A command, what it measures, its help, and what it does.
type Command = (&'static str, &'static str, fn() -> String, fn(Args) -> Result<(), Failure>);

const COMMANDS: [Command; 13] = [
    ("echo", "CPU per round trip and latency, over connections, in a closed loop", echo::usage, echo::run),
    ("connections", "growth of the CPU per round trip over connections", connections::usage, connections::run),
    ("connect", "CPU per connection that is opened, used once and closed", connect::usage, connect::run),
    ("memory", "memory of an idle connection", memory::usage, memory::run),
    ("syscalls", "system calls of a round trip", syscalls::usage, syscalls::run),
    ("latency", "latency over load, in an open loop", latency::usage, latency::run),
    ("busy", "latency while the server's tasks compute, and their throughput", busy::usage, busy::run),
    ("domains", "CPU per round trip with several threads", domains::usage, domains::run),
    ("calls", "calls over several threads", calls::usage, calls::run),
    ("micro", "operations of the executors alone", micro::usage, micro::run),
    ("growth", "operations of the executors with 100 to 1,000,000 tasks, timers, orphans", growth::usage, growth::run),
    ("goals", "what of all these was to be reached, and was", goals::usage, goals::run),
    ("load", "puts load on one echo server", load::tool::usage, load::tool::run),
];

const SERVE: &str = "serve epoll|tokio|matou [--listen ADDRESS] [--buffer BYTES] [--threads N] [--compute TASKS] [--reactor NAME]";

fn usage() -> String {
    let commands = COMMANDS.map(|(name, what, ..)| format!("  {name:<11}  {what}\n")).concat();
    format!("matou-bench COMMAND [OPTIONS]; COMMAND --help lists its options\n\n{commands}\n  {SERVE}\n               is an echo server")
}

fn main() -> ExitCode {
    let mut args = Args::new(env::args().skip(1));
    let command = match args.next("a command") {
        Ok(command) if command != "--help" => command,
        _ => {
            println!("{}", usage());
            return ExitCode::SUCCESS;
        }
    };
    let done = match COMMANDS.iter().find(|(name, ..)| *name == command) {
        Some((.., help, _)) if args.flag("--help") => {
            println!("{}", help());
            Ok(())
        }
        Some((.., run)) => run(args),
        None => match command.as_str() {
            "serve" => serve(args).map(|never| match never {}),
            // What the others start their children with.
            "launch" => process::launch(args).map(|never| match never {}),
            "generate" => process::generate(args),
            "measure" => micro::own(args),
            _ => Err(format!("what is {command}?\n\n{}", usage()).into()),
        },
    };
    peer::ended(done)
}

fn serve(mut args: Args) -> Result<Infallible, Failure> {
    let which = args.next("epoll, tokio or matou")?;
    let options = Serve::take(&mut args)?;
    let reactor = if which == "matou" { args.option("--reactor")? } else { None };
    args.finish()?;
    if options.compute > 0 {
        compute::answer();
    }
    match which.as_str() {
        "epoll" if options.compute == 0 => Ok(serve::epoll::run(options)?),
        "epoll" => Err("epoll: does not compute".into()),
        "tokio" => Ok(serve::tokio::run(options)?),
        "matou" => serve::matou::run(options, reactor),
        _ => Err(format!("no server is called {which}").into()),
    }
}
