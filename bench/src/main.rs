//! `matou-bench`: echo servers, the load, and the comparisons. See the README beside `Cargo.toml`.

use std::convert::Infallible;
use std::env;
use std::process::ExitCode;

use matou_bench::args::Args;
use matou_bench::commands::{busy, connect, domains, echo, latency, memory, syscalls};
use matou_bench::counting::Counting;
use matou_bench::micro::{self, growth};
use matou_bench::serve::{self, Serve, compute};
use matou_bench::{Failure, load, process};

/// Counts for `micro`; for everything else it costs one load of a flag.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

const USAGE: &str = "\
matou-bench COMMAND [OPTIONS]: each writes one table; COMMAND --help lists its options

  echo       CPU per round trip and latency, over connections, in a closed loop
  connect    CPU per connection that is opened, used once and closed
  memory     memory of an idle connection
  syscalls   system calls of a round trip
  latency    latency over load, in an open loop
  busy       latency while the server's tasks compute, and their throughput
  domains    CPU per round trip with several threads
  micro      operations of the executors alone
  growth     operations of the executors with 100 to 1,000,000 tasks, timers, orphans

  serve epoll|tokio|matou [--listen ADDRESS] [--buffer BYTES] [--threads N] [--compute TASKS]   is an echo server
  load ADDRESS [OPTIONS]     puts load on one echo server";

fn main() -> ExitCode {
    let mut args = Args::new(env::args().skip(1));
    let command = match args.next("a command") {
        Ok(command) if command != "--help" => command,
        _ => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
    };
    let help = args.flag("--help");
    let done = match (command.as_str(), help) {
        ("echo", true) => said(echo::usage()),
        ("echo", false) => echo::run(args),
        ("connect", true) => said(connect::usage()),
        ("connect", false) => connect::run(args),
        ("memory", true) => said(memory::usage()),
        ("memory", false) => memory::run(args),
        ("syscalls", true) => said(syscalls::usage()),
        ("syscalls", false) => syscalls::run(args),
        ("latency", true) => said(latency::usage()),
        ("latency", false) => latency::run(args),
        ("busy", true) => said(busy::usage()),
        ("busy", false) => busy::run(args),
        ("domains", true) => said(domains::usage()),
        ("domains", false) => domains::run(args),
        ("micro", true) => said(micro::usage()),
        ("micro", false) => micro::run(args),
        ("growth", true) => said(growth::usage()),
        ("growth", false) => growth::run(args),
        ("load", true) => said(load::tool::USAGE.to_owned()),
        ("load", false) => load::tool::run(args),
        ("serve", false) => serve(args).map(|never| match never {}),
        // What the others start their children with.
        ("launch", false) => process::launch(args).map(|never| match never {}),
        ("generate", false) => process::generate(args),
        ("measure", false) => micro::own(args),
        _ => Err(format!("what is {command}?\n\n{USAGE}").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("matou-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn said(text: String) -> Result<(), Failure> {
    println!("{text}");
    Ok(())
}

fn serve(mut args: Args) -> Result<Infallible, Failure> {
    let which = args.next("epoll, tokio or matou")?;
    let options = Serve::take(&mut args)?;
    args.finish()?;
    if options.compute > 0 {
        compute::answer();
    }
    match which.as_str() {
        "epoll" if options.compute == 0 => Ok(serve::epoll::run(options)?),
        "epoll" => Err("epoll: does not compute".into()),
        "tokio" => Ok(serve::tokio::run(options)?),
        "matou" => serve::matou::run(options),
        _ => Err(format!("no server is called {which}").into()),
    }
}
