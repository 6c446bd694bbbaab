//! The echo servers of the tutorial, on matou.
//!
//! `echo` listens, sends back whatever it receives, and stops in order at SIGINT or SIGTERM. It is the tutorial's
//! servers in one program, and a server fit for use: limits, timeouts, statistics, and every failure of a connection
//! kept to that connection.
//!
//! From the outside in: [`cli`] reads the command line, [`servers`] runs one of them, [`door`] lets
//! connections in, [`acceptor`] keeps a task for each, [`handler`] is what such a task does, [`stop`] ends it all.
//! The exit status is 0 after a stop in order, 2 for a usage error, 1 for a refusal of the system.

mod acceptor;
mod cli;
mod console;
mod context;
mod door;
mod failure;
mod handler;
mod listen;
mod problem;
mod servers;
mod socket;
mod socket_file;
mod stats;
mod stop;
mod units;

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::rc::Rc;

use matou_unix::{Builder, EventsError, RunError};

use crate::cli::{Answer, Options};
use crate::console::Console;
use crate::problem::Problem;
use crate::stats::Totals;

fn main() -> ExitCode {
    let options = match cli::parse(env::args_os()) {
        Ok(options) => options,
        Err(Answer::Asked(text)) => {
            // Whoever closed standard output does not want to read it.
            let _ = io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(Answer::Misused(text)) => {
            let problem = Problem::Usage(text);
            Console::new(true).fail(&problem);
            return problem.status();
        }
    };
    let console = Rc::new(Console::new(options.quiet));
    match run(options, Rc::clone(&console)) {
        Ok(totals) => {
            console.say_last(totals);
            ExitCode::SUCCESS
        }
        Err(problem) => {
            console.fail(&problem);
            problem.status()
        }
    }
}

fn run(options: Options, console: Rc<Console>) -> Result<Totals, Problem> {
    let mut builder = Builder::new().lent_buffer(options.buffer);
    if let Some(reactor) = options.reactor {
        builder = builder.reactor(reactor.into());
    }
    if let Some(domains) = options.domains {
        builder = builder.domains(domains);
    }
    builder.run(servers::run(options, console)).map_err(|error| match error {
        RunError::Failed(problem) => problem,
        RunError::TooManyDomains { .. } => Problem::Usage(error.to_string()),
        // A variable of the environment that cannot be understood.
        RunError::Platform(error) if error.kind() == io::ErrorKind::InvalidInput => Problem::Usage(error.to_string()),
        RunError::Platform(error) => Problem::refused("the domains could not be started", &error),
        RunError::Events(domain, EventsError::Failed(error)) => {
            Problem::refused(format_args!("domain {domain} cannot wait for events"), &error)
        }
        other => Problem::System(other.to_string()),
    })
}
