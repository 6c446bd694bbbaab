//! Looking inside a server: the tree of its tasks at SIGUSR1, and the file that MATOU_TRACE names.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::Signal;
use serde_json::Value;

use crate::server::{Server, Setup, address_in, connect, echo, free_address, until};
use crate::usage::Folder;

/// A round trip, so that the connection's task is there.
fn echo_once(server: &Server) -> std::net::TcpStream {
    let mut stream = server.connect();
    stream.write_all(b"meow").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    stream
}

/// The tree that is printed at a signal, without the first line and without the places where tasks were made.
fn tree(server: &Server) -> Vec<String> {
    server.signal(Signal::USR1);
    let count = server.line_with("matou: ");
    let count: usize = count.split(' ').nth(1).and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{count}"));
    let line = |line: String| {
        let (task, place) = line.split_once(", made at ").unwrap_or_else(|| panic!("{line}"));
        assert!(place.contains("src/") && place.contains(".rs:"), "{line}");
        task.to_owned()
    };
    let first = server.line();
    if first.starts_with("matou: not every domain has answered") {
        return tree(server); // One was too busy for that. What is left of this tree is passed over.
    }
    std::iter::once(first).chain((1..count).map(|_| server.line())).map(line).collect()
}

fn sigusr1_prints_the_tree_of_tasks(setup: Setup) {
    let server = setup.start(&["--quiet", "--grace", "0s"]);
    let streams: Vec<_> = (0..2).map(|_| echo_once(&server)).collect();
    let lines = tree(&server);
    let count = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!(lines[0], "0:0 main, domain 0, suspended", "{lines:?}");
    let (accepting, connections) = match setup.mode {
        "multi" => (3, 2),
        _ => (1, 2),
    };
    assert_eq!((count(" accept, domain "), count(" connection, domain ")), (accepting, connections), "{lines:?}");
    assert_eq!((count(" stop, domain 0, suspended"), count(" dump, domain 0, suspended")), (1, 1), "{lines:?}");
    // Each connection is one further in than the loop that accepted it.
    let indented = |line: &String| line.len() - line.trim_start().len();
    for line in &lines[1..] {
        assert_eq!(indented(line), if line.contains(" connection, ") { 4 } else { 2 }, "{lines:?}");
    }
    // It goes on, and tells again.
    drop(streams);
    let _another = echo_once(&server);
    assert!(!tree(&server).is_empty());
    assert_eq!(server.stop().status.code(), Some(0));
}

in_every_mode!(sigusr1_prints_the_tree_of_tasks: concurrent owned parallel multi);

#[test]
fn ages_are_told_where_they_are_kept() {
    let server = Server::launch(echo().args(["--listen", &free_address(), "--domains", "0"]).env("MATOU_BIRTHS", "1"));
    server.signal(Signal::USR1);
    assert!(server.line_with("0:0 main").ends_with(" s old"));
    let server = Server::start(&["--domains", "0"]);
    server.signal(Signal::USR1);
    assert!(server.line_with("matou: ").ends_with("for their ages set MATOU_BIRTHS=1"));
}

/// A tree is longer than a pipe, and whoever reads it may take its time; nothing is lost, and others are served meanwhile.
#[test]
fn the_tree_is_told_whole_to_a_slow_reader() {
    const MANY: usize = 300;
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&reader, 4_096).unwrap();
    let mut command = echo();
    command.args(["--listen", &free_address(), "--domains", "1"]);
    let mine = writer.try_clone().unwrap();
    let server = Server::bare(command.stderr(Stdio::from(writer)).spawn().unwrap());
    drop(command);
    let mut lines = BufReader::new(File::from(reader)).lines().map(Result::unwrap);
    let address = address_in(&lines.next().unwrap());
    let exchange = |mut stream: std::net::TcpStream| {
        stream.write_all(b"meow").unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        stream
    };
    let streams: Vec<_> = (0..MANY).map(|_| exchange(connect(address))).collect();
    server.signal(Signal::USR1);
    let full = || poll(&mut [PollFd::new(&mine, PollFlags::OUT)], Some(&Timespec::default())) == Ok(0);
    until(full, || String::from("the pipe should be full"));
    drop(mine);
    exchange(connect(address));
    let connections = lines.by_ref().filter(|line| line.contains(" connection")).take(MANY).count();
    assert_eq!(connections, MANY);
    server.signal(Signal::TERM);
    drop(streams);
    assert!(lines.last().unwrap().starts_with("total: "));
    assert_eq!(server.wait().status.code(), Some(0));
}

fn events(path: &std::path::Path) -> Vec<Value> {
    let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    file["traceEvents"].as_array().unwrap().clone()
}

#[test]
fn matou_trace_records_the_server() {
    let folder = Folder::new("trace");
    let path = folder.0.join("t.json");
    let server = Server::launch(
        echo().args(["--listen", &free_address(), "--mode", "parallel", "--domains", "2", "--grace", "0s"]).env("MATOU_TRACE", &path),
    );
    let streams: Vec<_> = (0..3).map(|_| echo_once(&server)).collect();
    assert_eq!(server.stop().totals().accepted, 3);
    drop(streams);
    let events = events(&path);
    let count = |phase: &str, name: &str| events.iter().filter(|event| event["ph"] == *phase && event["name"] == *name).count();
    assert_eq!((count("b", "accept"), count("e", "accept"), count("b", "connection"), count("e", "connection")), (1, 1, 3, 3));
    assert!(count("B", "connection") >= 3 && count("B", "drop connection") == 3);
    assert_eq!((count("s", "call"), count("f", "call"), count("i", "cancel")), (3, 3, 5));
    let begins = |phase: &str| events.iter().filter(|event| event["ph"] == *phase).count();
    assert_eq!(begins("B"), begins("E"));
}

/// Killed, it leaves a file that can be read, with what was done before the domains went to sleep.
#[test]
fn a_trace_survives_a_kill() {
    let folder = Folder::new("kill");
    let path = folder.0.join("t.json");
    let server = Server::launch(echo().args(["--listen", &free_address(), "--domains", "2"]).env("MATOU_TRACE", &path));
    let _stream = echo_once(&server);
    // Each domain hands over what it has when it goes to sleep, in its own time; and who reads while one writes may see half of that.
    let is_there = |name: &str, events: &[Value]| events.iter().any(|event| event["name"] == *name);
    let all_is_there = || {
        let file: Result<Value, _> = serde_json::from_str(&fs::read_to_string(&path).unwrap());
        file.is_ok_and(|file| {
            let events = file["traceEvents"].as_array().unwrap();
            ["accept", "connection", "suspend"].iter().all(|name| is_there(name, events))
        })
    };
    crate::server::until(all_is_there, || format!("while the server sleeps, no more is written than {:?}", fs::read_to_string(&path)));
    server.signal(Signal::KILL);
    assert!(server.wait().status.code().is_none());
    assert!(is_there("connection", &events(&path)));
}
