//! Other programs: started, talked to, and waited for, with the conventions of [`std::process`].
//!
//! ```
//! use matou_unix::process::{Command, Stdio};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! matou_unix::run(async {
//!     let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
//!     let stdin = cat.stdin.take().expect("it is piped");
//!     stdin.write_all(b"meow").await?;
//!     drop(stdin);
//!     let output = cat.wait_with_output().await?;
//!     assert!(output.status.success());
//!     assert_eq!(output.stdout, b"meow");
//!     Ok::<(), std::io::Error>(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # A program is like a child
//!
//! A [`Child`] belongs to whoever holds it. One that is dropped before it was waited for is killed, as a task's child is cancelled when the task
//! ends abnormally: no program runs on that nobody knows of. It is also reaped, so that no zombie stays: at once where it is dead already, else
//! by a thread of the run's pool, at the latest before `run` returns. [`Command::kill_on_drop`] lets a program outlive its handle.
//!
//! Only the program itself is killed, not those that it has started. A [`process_group`](Command::process_group) of its own is what all of them can
//! be sent signals by.
//!
//! # How it waits
//!
//! On Linux each child has a `pidfd`: it turns readable when the child ends, and a signal sent through it reaches this child and no other. Elsewhere,
//! and where there is no `pidfd`, the domain listens to `SIGCHLD` while a task waits; no process can get the child's number meanwhile, as the
//! system keeps it until the child was reaped, and nobody else reaps it. A program that lets the system reap its children, by ignoring `SIGCHLD`,
//! cannot wait for them.
//!
//! # Pipes
//!
//! The ends of pipes that stay here are [`Async`](crate::Async)s, and therefore non-blocking, which no other program expects. One that is handed on
//! is made blocking by `Stdio::try_from`; what [`into_inner`](crate::Async::into_inner) gives is not.
//!
//! ```
//! use matou_unix::process::{Command, Stdio};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! matou_unix::run(async {
//!     let mut says = Command::new("echo").arg("meow").stdout(Stdio::piped()).spawn()?;
//!     let said = says.stdout.take().expect("it is piped");
//!     let output = Command::new("tr").args(["a-z", "A-Z"]).stdin(Stdio::try_from(said)?).output().await?;
//!     assert_eq!(output.stdout, b"MEOW\n");
//!     says.wait().await
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! Or else make a pipe with [`std::io::pipe`] and give its ends to both.

mod child;
mod command;
mod left;

pub use std::process::{ExitStatus, Output, Stdio};

pub use self::child::{Child, ChildStderr, ChildStdin, ChildStdout};
pub use self::command::Command;
