//! How a program is started.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;

use super::{Child, ExitStatus, Output, Stdio, left};

/// A program to be started, with the conventions of [`std::process::Command`].
///
/// ```
/// use matou_unix::process::Command;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// matou_unix::run(async {
///     let output = Command::new("echo").arg("meow").output().await?;
///     assert_eq!(output.stdout, b"meow\n");
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Command {
    std: std::process::Command,
    /// Which of standard input, output and error were set.
    set: [bool; 3],
    kill_on_drop: bool,
    by_signal: bool,
}

impl Command {
    /// A program without arguments, in this process's environment and directory. A name without a slash is looked for in `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command { std: std::process::Command::new(program), set: [false; 3], kill_on_drop: true, by_signal: false }
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Self {
        self.std.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Self {
        self.std.args(arguments);
        self
    }

    /// Sets what the program takes for its own name.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.std.arg0(name);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Self {
        self.std.env(name, value);
        self
    }

    /// Sets variables of its environment.
    pub fn envs(&mut self, variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> &mut Self {
        self.std.envs(variables);
        self
    }

    /// Takes a variable out of its environment.
    pub fn env_remove(&mut self, name: impl AsRef<OsStr>) -> &mut Self {
        self.std.env_remove(name);
        self
    }

    /// Takes all variables out of its environment.
    pub fn env_clear(&mut self) -> &mut Self {
        self.std.env_clear();
        self
    }

    /// Sets the directory it starts in.
    pub fn current_dir(&mut self, dir: impl AsRef<Path>) -> &mut Self {
        self.std.current_dir(dir);
        self
    }

    /// Puts it into this process group, or with 0 into one of its own, which then has its [`id`](Child::id).
    pub fn process_group(&mut self, group: i32) -> &mut Self {
        self.std.process_group(group);
        self
    }

    /// Sets its standard input: this process's own, unless it is set; nothing, for [`output`](Command::output).
    pub fn stdin(&mut self, stdin: impl Into<Stdio>) -> &mut Self {
        self.std.stdin(stdin);
        self.set[0] = true;
        self
    }

    /// Sets its standard output: this process's own, unless it is set; a pipe, for [`output`](Command::output).
    pub fn stdout(&mut self, stdout: impl Into<Stdio>) -> &mut Self {
        self.std.stdout(stdout);
        self.set[1] = true;
        self
    }

    /// Sets its standard error: this process's own, unless it is set; a pipe, for [`output`](Command::output).
    pub fn stderr(&mut self, stderr: impl Into<Stdio>) -> &mut Self {
        self.std.stderr(stderr);
        self.set[2] = true;
        self
    }

    /// Whether a [`Child`] that is dropped before it was waited for is killed. It is, unless this is called with `false`.
    ///
    /// A program that is left alone runs on when its handle is dropped, also beyond the end of the run. It is reaped, if it has
    /// ended by then, when this process next starts a program or leaves one alone.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Self {
        self.kill_on_drop = kill;
        self
    }

    /// Lets children be waited for by `SIGCHLD`, as they are where there is no `pidfd`. For the tests of this crate.
    #[doc(hidden)]
    pub fn wait_by_signal(&mut self) -> &mut Self {
        self.by_signal = true;
        self
    }

    /// The standard library's command, for what is missing here: the user's id, and so on. What it says of standard input, output and error is
    /// overruled.
    pub fn as_std_mut(&mut self) -> &mut std::process::Command {
        &mut self.std
    }

    /// Starts the program. This may be done outside a run.
    ///
    /// It returns when the system has loaded the program, as only then it is known whether there is one. Usually that takes less than a
    /// millisecond; where the domain must not wait for a slow disk, do it beside it: `blocking(move || command.spawn()).await??`.
    ///
    /// # Errors
    /// As [`std::process::Command::spawn`]: `NotFound`, `PermissionDenied`, no process or descriptor left.
    pub fn spawn(&mut self) -> io::Result<Child> {
        self.start([Stdio::inherit, Stdio::inherit, Stdio::inherit])
    }

    fn start(&mut self, unset: [fn() -> Stdio; 3]) -> io::Result<Child> {
        left::reap();
        let set = [std::process::Command::stdin, std::process::Command::stdout, std::process::Command::stderr];
        for index in (0..3).filter(|&index| !self.set[index]) {
            set[index](&mut self.std, unset[index]());
        }
        Child::new(self.std.spawn()?, self.kill_on_drop, self.by_signal)
    }

    /// Runs the program to its end, and gives how it ended.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait`].
    ///
    /// # Cancellation
    /// Dropped early it drops the child: the program is killed, unless [`kill_on_drop`](Command::kill_on_drop) says otherwise.
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait().await
    }

    /// Runs the program to its end, and gives how it ended and what it has written. Unless they are set, its standard input is empty, and its
    /// standard output and error are collected.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn) and [`Child::wait_with_output`]. That the program failed is no error: see [`Output::status`].
    ///
    /// # Cancellation
    /// Dropped early it drops the child: the program is killed, unless [`kill_on_drop`](Command::kill_on_drop) says otherwise.
    pub async fn output(&mut self) -> io::Result<Output> {
        self.start([Stdio::null, Stdio::piped, Stdio::piped])?.wait_with_output().await
    }
}
