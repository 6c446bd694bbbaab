//! What cannot be done is said in one line, with the status a script can act on.

use std::io::{ErrorKind, Read};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::{env, fs, process};

use crate::server::{Server, echo};

/// How a run that was not to serve has ended.
#[derive(Debug)]
struct Run {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs it to its end, which has to come by itself.
fn run(command: &mut Command) -> Run {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary can be started");
    let (stdout, stderr) = (child.stdout.take().expect("it was piped"), child.stderr.take().expect("it was piped"));
    let end = Server::bare(child).wait();
    // It says far less than a pipe can hold.
    let read = |pipe: &mut dyn Read| {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("it says text");
        text
    };
    Run { status: end.status.code(), stdout: read(&mut { stdout }), stderr: read(&mut { stderr }) }
}

/// Runs it to its end, which has to be this one: a line with these words, and nothing else.
pub(crate) fn refuses(command: &mut Command, status: i32, words: &[&str]) {
    let run = run(command);
    assert_eq!(run.status, Some(status), "{command:?}: {run:?}");
    assert!(run.stderr.starts_with("echo: ") && run.stderr.ends_with('\n') && run.stderr.lines().count() == 1, "{run:?}");
    for word in words {
        assert!(run.stderr.contains(word), "{run:?} should contain {word:?}");
    }
    assert!(run.stdout.is_empty(), "{run:?}");
}

#[test]
fn usage_errors() {
    for (args, words) in [
        (&["--mode", "best"][..], &["--mode", "best", "sequential"][..]),
        (&["--reactor", "kqueue"], &["--reactor", "kqueue", "epoll, uring, poll"]),
        (&["--listen", "nowhere"], &["--listen", "nowhere", "127.0.0.1:9000"]),
        (&["--listen", "127.0.0.1"], &["--listen", "127.0.0.1:9000"]),
        (&["--listen", "127.0.0.1:65536"], &["--listen", "65536"]),
        (&["--listen", "unix:"], &["--listen", "path is missing"]),
        (&["--domains", "some"], &["--domains", "some"]),
        (&["--domains", "-1"], &["--domains", "such as 0 or 7"]),
        (&["--domains", "99999999999999999999999"], &["--domains", "more than there can be"]),
        (&["--buffer", "0"], &["--buffer", "between"]),
        (&["--buffer", "4 KiB"], &["--buffer", "64KiB"]),
        (&["--max-connections", "0"], &["--max-connections", "1 or more"]),
        (&["--idle-timeout", "0s"], &["--idle-timeout", "zero"]),
        (&["--grace", "5"], &["--grace", "30s"]),
        (&["--stats", "fast"], &["--stats", "fast"]),
        (&["--stats"], &["--stats", "INTERVAL"]),
        (&["--verbose"], &["--verbose"]),
        (&["9000"], &["9000"]),
        (&["--mode", "parallel", "--domains", "0"], &["parallel", "--domains 1"]),
    ] {
        refuses(echo().args(args), 2, words);
    }
}

/// More domains than a run can have.
#[test]
fn too_many_domains() {
    refuses(echo().args(["--listen", "127.0.0.1:0", "--domains", "1000000000"]), 2, &["1000000000"]);
}

#[test]
fn bad_environment() {
    refuses(echo().args(["--listen", "127.0.0.1:0"]).env("MATOU_DOMAINS", "many"), 2, &["MATOU_DOMAINS", "many"]);
    refuses(echo().args(["--listen", "127.0.0.1:0"]).env("MATOU_BIRTHS", "some"), 2, &["MATOU_BIRTHS", "some", "0 or 1"]);
    refuses(echo().args(["--listen", "127.0.0.1:0"]).env("MATOU_TRACE", "/nowhere/t.json"), 1, &["/nowhere/t.json", "MATOU_TRACE"]);
}

#[test]
fn help_and_version() {
    for (arg, words) in [("--help", "--max-connections"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let run = run(echo().arg(arg));
        assert!(run.status == Some(0) && run.stdout.contains(words) && run.stderr.is_empty(), "{run:?}");
    }
}

/// In use by another program, in every mode: sockets that share a port must not make it look free.
#[test]
fn port_in_use() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    for mode in ["sequential", "concurrent", "owned", "parallel", "multi"] {
        let words = [address.as_str(), "the port is in use"];
        refuses(echo().args(["--mode", mode, "--domains", "2", "--listen", &address]), 1, &words);
    }
}

/// In use by another of these servers, whose sockets share their port among themselves.
#[test]
fn port_in_use_by_itself() {
    let server = Server::start(&["--domains", "2"]);
    let address = server.address.to_string();
    for mode in ["concurrent", "multi"] {
        let words = [address.as_str(), "the port is in use"];
        refuses(echo().args(["--mode", mode, "--domains", "2", "--listen", &address]), 1, &words);
    }
    assert_eq!(server.stop().totals().accepted, 0);
}

#[test]
fn address_that_is_not_here() {
    // 192.0.2.0/24 is for documentation: no machine has it.
    refuses(echo().args(["--listen", "192.0.2.1:0"]), 1, &["192.0.2.1:0", "no such address"]);
}

#[test]
fn privileged_port() {
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    if lowest.trim().parse::<u32>().is_ok_and(|lowest| lowest <= 1) {
        eprintln!("skipped: this system has no privileged ports");
        return;
    }
    let words = ["127.0.0.1:1", "permission denied"];
    if !rustix::process::geteuid().is_root() {
        refuses(echo().args(["--listen", "127.0.0.1:1"]), 1, &words);
        return;
    }
    // Root may take any port, and nobody may not. Nor may nobody look into root's folders, so that the binary has to be
    // where all can read it.
    let folder = Folder::new("port");
    let binary = folder.0.join("echo");
    // By another process: were it open for writing in this one, a test that starts a server right now would inherit that, and
    // what is open for writing cannot be run.
    let copied = Command::new("install").args(["-m", "755"]).arg(echo().get_program()).arg(&binary).status();
    assert!(copied.is_ok_and(|status| status.success()));
    refuses(Command::new(binary).args(["--listen", "127.0.0.1:1"]).uid(65_534).gid(65_534), 1, &words);
}

/// A folder that all can read, until the test ends.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        // Another process of this number may have been killed, and have left its own.
        let mut paths = (0_u32..).map(|number| env::temp_dir().join(format!("matou-echo-{name}-{}-{number}", process::id())));
        let is_made = |path: &PathBuf| match fs::create_dir(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
            made => made.map(|()| true).unwrap(),
        };
        let folder = Folder(paths.find(is_made).expect("one is free"));
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is in the system's folder for what may be left behind.
        let _ = fs::remove_dir_all(&self.0);
    }
}
