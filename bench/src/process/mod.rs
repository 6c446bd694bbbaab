//! The processes of a comparison: servers under test, generators of load, executors that measure themselves.
//!
//! Each is started through this same executable (`launch`), which binds it to its cores and to the life of its parent before
//! it becomes the program asked for. A child is thus killed by the kernel when its parent ends in whatever way, and killed
//! and reaped by `Child`'s drop when the parent ends in order.

mod asked;
mod generator;
mod server;

pub use asked::Asked;
pub use generator::{Generator, Load, Report, generate};
pub use server::{Program, Server};

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{self, Command};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::Failure;
use crate::args::Args;
use crate::kernel;

/// A child process that does not outlive this value.
#[derive(Debug)]
struct Child(process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // It fails only for a child that has ended, which is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that runs `program` on these cores and for no longer than this process lives.
fn launcher(cpus: &[usize], program: OsString) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
    command
        .arg("launch")
        .arg(process::id().to_string())
        .arg(cpus.join(","))
        .arg(program)
        // The servers are compared as they come.
        .env_remove("MATOU_DOMAINS")
        .env_remove("MATOU_QUANTA");
    Ok(command)
}

/// What `launch PARENT CPUS PROGRAM ARGUMENTS...` does.
pub fn launch(mut args: Args) -> Result<Infallible, Failure> {
    let parent: i32 = args.next("PARENT")?.parse()?;
    let cpus = args.next("CPUS")?.split(',').map(str::parse).collect::<Result<Vec<_>, _>>()?;
    let program = args.next("PROGRAM")?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A parent that ended before it could be watched will never be seen to end.
    if getppid().is_none_or(|now| now.as_raw_nonzero().get() != parent) {
        return Err("the parent is gone".into());
    }
    kernel::pin(&cpus)?;
    kernel::raise_file_limit()?;
    let error = Command::new(&program).args(args.into_rest()).exec();
    Err(format!("{program}: {error}").into())
}
