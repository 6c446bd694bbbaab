//! The echo servers that are known by name. To compare one more, add a line to [`KNOWN`], or say `--also NAME=COMMAND`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::process::{Program, Server};
use crate::serve::BUFFER;

/// Which program a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// This one.
    Bench,
    /// The checkout's `echo`; where it is to compute meanwhile, matou's server of this one.
    Echo,
    /// A peer's, by its name; it lies beside this one.
    Peer(&'static str),
}

/// One server.
#[derive(Clone, Copy, Debug)]
struct Known {
    name: &'static str,
    of: Of,
    arguments: &'static [&'static str],
    /// A word of its first line, without which it is not what its name says.
    says: &'static str,
    /// Whether it serves on several threads if asked to.
    threads: bool,
    /// Whether it computes meanwhile if asked to.
    computes: bool,
}

const fn peer(name: &'static str, peer: &'static str, arguments: &'static [&'static str]) -> Known {
    Known { name, of: Of::Peer(peer), arguments, says: "", threads: false, computes: true }
}

/// Raw loops first, matou last.
const KNOWN: [Known; 12] = [
    Known { name: "epoll", of: Of::Bench, arguments: &["serve", "epoll"], says: "", threads: true, computes: false },
    Known { computes: false, ..peer("raw-uring", "raw-uring", &["serve"]) },
    Known { name: "tokio", of: Of::Bench, arguments: &["serve", "tokio"], says: "", threads: true, computes: true },
    peer("smol", "smol", &["serve"]),
    peer("monoio-epoll", "monoio", &["serve", "--driver", "epoll"]),
    peer("monoio-uring", "monoio", &["serve", "--driver", "uring"]),
    peer("glommio", "glommio", &["serve"]),
    peer("compio", "compio", &["serve"]),
    // Its sockets are not looked at while coroutines yield to each other: nothing is accepted.
    Known { computes: false, ..peer("may", "may", &["serve"]) },
    Known { name: "matou", of: Of::Echo, arguments: &["--reactor", "epoll"], says: "epoll", threads: true, computes: true },
    Known { name: "matou-uring", of: Of::Echo, arguments: &["--reactor", "uring"], says: "uring", threads: true, computes: true },
    // The same, to see what of a difference is noise.
    Known { name: "epoll-again", of: Of::Bench, arguments: &["serve", "epoll"], says: "", threads: true, computes: false },
];

/// Those that echo on one thread, for the tables of all.
pub const ALL: &str = "epoll,raw-uring,tokio,smol,monoio-epoll,monoio-uring,glommio,compio,may,matou,matou-uring";
/// Those that serve on several threads.
pub const THREADS: &str = "epoll,tokio,matou,matou-uring";
/// Those that compute meanwhile.
pub const COMPUTING: &str = "tokio,smol,monoio-epoll,monoio-uring,glommio,compio,matou,matou-uring";

/// How a server is to be started.
#[derive(Clone, Debug)]
pub struct How {
    /// Matou's echo server, if it is not where it is built.
    pub matou: Option<PathBuf>,
    /// Threads that serve.
    pub threads: usize,
    /// Tasks that compute meanwhile.
    pub compute: usize,
}

impl Default for How {
    fn default() -> Self {
        Self { matou: None, threads: 1, compute: 0 }
    }
}

/// The program of a server that is known by its name.
pub fn program(name: &str, how: &How) -> Result<Program, Failure> {
    let known = KNOWN
        .iter()
        .find(|known| known.name == name)
        .ok_or_else(|| format!("no server is called {name}: there are {ALL}, and --also adds one"))?;
    if how.threads > 1 && !known.threads {
        return Err(format!("{name}: serves on one thread only").into());
    }
    if how.compute > 0 && !known.computes {
        return Err(format!("{name}: does not compute").into());
    }
    let mut command: Vec<OsString> = match known.of {
        Of::Bench => vec![std::env::current_exe()?.into()],
        Of::Echo if how.compute > 0 => vec![std::env::current_exe()?.into(), "serve".into(), "matou".into()],
        Of::Echo => vec![matou_echo(how.matou.as_deref())?.into()],
        Of::Peer(peer) => vec![peer_program(peer)?.into()],
    };
    command.extend(known.arguments.iter().map(OsString::from));
    let common = ["--listen", "127.0.0.1:0", "--buffer", &BUFFER.to_string()].map(OsString::from);
    command.extend(common);
    let own = match known.of {
        // Domain 0 is one of the threads.
        Of::Echo if how.compute == 0 => {
            vec!["--mode".to_owned(), "multi".into(), "--quiet".into(), "--domains".into(), (how.threads - 1).to_string()]
        }
        _ => vec!["--threads".into(), how.threads.to_string(), "--compute".into(), how.compute.to_string()],
    };
    command.extend(own.into_iter().map(OsString::from));
    Ok(Program { name: name.to_owned(), command, says: known.says })
}

/// Those of the programs that can be had, each tried once; of the others why not.
pub fn available(names: &[String], how: &How, also: Vec<Program>) -> (Vec<Program>, Vec<String>) {
    let mut there = Vec::new();
    let mut missing = Vec::new();
    let programs = names.iter().map(|name| program(name, how)).chain(also.into_iter().map(Ok));
    for program in programs {
        // Whatever a server cannot do here, it says when it starts.
        match program.and_then(|program| Server::start(&program, &[0]).map(|_| program)) {
            Ok(program) => there.push(program),
            Err(error) => missing.push(error.to_string()),
        }
    }
    (there, missing)
}

/// A peer's program, built beside this one.
pub fn peer_program(peer: &str) -> Result<PathBuf, Failure> {
    let path = std::env::current_exe()?.with_file_name(format!("peer-{peer}"));
    if path.is_file() { Ok(path) } else { Err(format!("{peer}: not built (cargo build --release -p peer-{peer})").into()) }
}

/// Where matou's echo server is; an error that says how to build it, if it is not there.
fn matou_echo(given: Option<&Path>) -> Result<PathBuf, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("bench/ is not inside a checkout")?;
    let path = given.map_or_else(|| root.join("target/release/echo"), Path::to_path_buf);
    if path.is_file() {
        // The launcher would look for a bare name in PATH.
        return Ok(fs::canonicalize(path)?);
    }
    Err(format!("matou: not at {} (cargo build --release -p matou-echo in the checkout, or --matou PATH)", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_list_is_known_and_can_what_the_list_says() {
        let find = |name: &str| *KNOWN.iter().find(|known| known.name == name).unwrap();
        assert!(ALL.split(',').all(|name| find(name).name == name));
        assert!(THREADS.split(',').all(|name| find(name).threads));
        assert!(COMPUTING.split(',').all(|name| find(name).computes));
    }

    #[test]
    fn what_a_server_cannot_do_is_said() {
        let threads = How { threads: 2, ..How::default() };
        assert!(program("smol", &threads).unwrap_err().to_string().contains("one thread only"));
        assert!(program("ngixn", &How::default()).unwrap_err().to_string().contains("no server is called ngixn"));
        let (there, missing) = available(&["ngixn".to_owned()], &How::default(), Vec::new());
        assert!(there.is_empty() && missing.len() == 1);
    }
}
