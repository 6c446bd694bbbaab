//! `micro`: what one operation of an executor costs. See the README beside `Cargo.toml`.

use std::env;
use std::process::ExitCode;

use matou_bench::args::Args;
use matou_bench::counting::Counting;
use matou_bench::micro::{self, matou, tokio};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    let mut args = Args::new(env::args().skip(1));
    if args.flag("--help") {
        println!("{}", micro::USAGE);
        return ExitCode::SUCCESS;
    }
    let executors: [(&str, micro::Executor); 3] = [("tokio", tokio::send), ("tokio, LocalSet", tokio::local), ("matou", matou::run)];
    match micro::run(args, &executors) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("micro: {error}");
            ExitCode::FAILURE
        }
    }
}
