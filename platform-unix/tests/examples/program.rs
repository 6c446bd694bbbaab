//! An example, as a process.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, pipe};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before a test gives up. Generous: the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running example. What it prints is read by a thread, so that it is never held up.
pub(crate) struct Program {
    child: Child,
    lines: Receiver<String>,
}

/// How one ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// What it printed, after the lines that were taken.
    pub(crate) lines: Vec<String>,
}

impl Program {
    /// Starts an example with two workers, in the root of the workspace.
    pub(crate) fn start<A: AsRef<OsStr>>(example: &str, args: impl IntoIterator<Item = A>) -> Program {
        Program::start_with(example, args, &[])
    }

    /// The same, with more to say in the environment.
    pub(crate) fn start_with<A: AsRef<OsStr>>(example: &str, args: impl IntoIterator<Item = A>, environment: &[(&str, &str)]) -> Program {
        // One pipe for both, as at a terminal: the order of the lines is kept.
        let (reader, writer) = pipe().unwrap();
        let mut command = Command::new(built(example));
        command.args(args).current_dir(workspace()).stdin(Stdio::null());
        command.env("MATOU_DOMAINS", "2").env("RUST_BACKTRACE", "0").env_remove("MATOU_QUANTA").envs(environment.iter().copied());
        let child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        drop(command); // Its ends of the pipe: the reader is to see the program's.
        let (sender, lines) = channel();
        // The receiver may go first; what is said afterwards is of no interest.
        thread::spawn(move || BufReader::new(reader).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Program { child, lines }
    }

    /// The next line it prints.
    #[track_caller]
    pub(crate) fn line(&self) -> String {
        self.next().expect("a line, not the end")
    }

    #[track_caller]
    fn next(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the program neither said anything nor ended"),
        }
    }

    /// The address in its first line.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        let line = self.line();
        let address = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("not an address: {line}"));
        address.parse().unwrap()
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> End {
        let lines = std::iter::from_fn(|| self.next()).collect();
        End { status: self.child.wait().unwrap(), lines }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended, and been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl End {
    /// The lines of a program that ended well.
    #[track_caller]
    pub(crate) fn success(self) -> Vec<String> {
        assert!(self.status.success(), "{self:?}");
        self.lines
    }
}

/// The root of the workspace, where the chapters' commands are to be run.
pub(crate) fn workspace() -> PathBuf {
    package().parent().unwrap().into()
}

pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where cargo puts an example: beside the folder of this test.
fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let binary = test.parent().and_then(Path::parent).unwrap().join("examples").join(example);
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let newest = sources(example).iter().filter_map(|source| changed(source)).max().unwrap_or(SystemTime::UNIX_EPOCH);
    let built = changed(&binary).unwrap_or(SystemTime::UNIX_EPOCH);
    assert!(
        built >= newest,
        "{} is missing or old: `cargo test -p matou-unix` builds it, `--test examples` alone does not",
        binary.display()
    );
    binary
}

/// The files of an example.
pub(crate) fn sources(example: &str) -> Vec<PathBuf> {
    let examples = package().join("examples");
    match fs::read_dir(examples.join(example)) {
        Ok(files) => files.map(|file| file.unwrap().path()).collect(),
        Err(_) => vec![examples.join(example).with_extension("rs")],
    }
}
