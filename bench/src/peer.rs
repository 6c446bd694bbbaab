//! What a peer's program is: `serve` makes it an echo server, `micro` an executor that measures itself.

use std::convert::Infallible;
use std::env;
use std::process::ExitCode;

use crate::Failure;
use crate::args::Args;
use crate::micro::{self, Measured};
use crate::serve::{Serve, compute};

/// An echo server: gets what is left of the arguments too, and does not return in good order.
pub type Server = fn(Serve, Args) -> Result<Infallible, Failure>;

/// The `main` of a peer's program.
pub fn main(serve: Option<Server>, measured: Option<Measured>) -> ExitCode {
    ended(run(Args::new(env::args().skip(1)), serve, measured))
}

/// The same, of one that knows already that it is to measure itself.
pub fn measure(measured: Measured) -> ExitCode {
    ended(micro::answer(measured))
}

/// What a program ends with.
pub fn ended(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Args, serve: Option<Server>, measured: Option<Measured>) -> Result<(), Failure> {
    let command = args.next("serve or micro")?;
    match (command.as_str(), serve, measured) {
        ("serve", Some(serve), _) => {
            let options = Serve::take(&mut args)?;
            options.alone()?;
            if options.compute > 0 {
                compute::answer();
            }
            serve(options, args).map(|never| match never {})
        }
        ("micro", _, Some(measured)) => {
            args.finish()?;
            micro::answer(measured)
        }
        _ => Err(format!("{command}: not of this peer").into()),
    }
}
