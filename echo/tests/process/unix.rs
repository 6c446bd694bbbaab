//! The servers on Unix sockets: all that they do over TCP, and what becomes of the socket file.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, fs, process, thread};

use rustix::process::Signal;

use crate::limits::{trickles, with_few_descriptors};
use crate::server::{PATIENCE, Server, Setup, again, connect, echo, until};
use crate::usage::refuses;

in_every_mode!(serves);
in_every_mode!(beside_tcp: concurrent multi);
in_every_mode!(peers_that_go);
in_every_mode!(limits: concurrent owned parallel multi);
in_every_mode!(out_of_descriptors: concurrent multi);
in_every_mode!(stops_with_connections_open);

/// A path that no other test has, with nothing there in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        Place(env::temp_dir().join(format!("matou-echo-{}-{number}.socket", process::id())))
    }

    fn argument(&self) -> String {
        format!("unix:{}", self.0.display())
    }

    fn exists(&self) -> bool {
        fs::symlink_metadata(&self.0).is_ok()
    }

    /// A connection whose reads and writes fail after a while instead of blocking for ever.
    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.0).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Mostly the server has removed it.
        let _ = fs::remove_file(&self.0);
    }
}

fn command(setup: Setup, place: &Place, more: &[&str]) -> Command {
    let mut command = echo();
    command.args(["--mode", setup.mode, "--reactor", setup.reactor, "--domains", "2", "--listen", &place.argument()]).args(more);
    command
}

fn start(setup: Setup, place: &Place, more: &[&str]) -> Server {
    Server::attempt(&mut command(setup, place, more))
}

const CONCURRENT: Setup = Setup { mode: "concurrent", reactor: "epoll" };

/// Sends these bytes, and has them back.
fn round_trip(stream: &UnixStream, bytes: &[u8]) {
    let (mut reader, mut writer) = (stream, stream);
    let mut back = vec![0; bytes.len()];
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(bytes).expect("the server reads"));
        reader.read_exact(&mut back).expect("the server answers");
    });
    assert!(back == bytes, "{} bytes came back different", bytes.len());
}

fn serves(setup: Setup) {
    let place = Place::new();
    let server = start(setup, &place, &[]);
    let said = format!("listening on {} ({}, 2 worker domains, {})", place.argument(), setup.mode, setup.reactor);
    assert_eq!(server.greeting, said);
    thread::scope(|scope| {
        for number in 0..20_usize {
            let place = &place;
            scope.spawn(move || {
                let mut stream = place.connect();
                for length in [1, 255, 4096, 65_537, 300_000 + number] {
                    round_trip(&stream, &(0..length).map(|at| (at * 7 + number) as u8).collect::<Vec<_>>());
                }
                stream.write_all(b"the last").expect("the server reads");
                stream.shutdown(Shutdown::Write).expect("it is connected");
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).expect("the server ends its side, too");
                assert_eq!(rest, b"the last");
            });
        }
    });
    assert!(place.exists());
    let totals = server.stop().totals();
    let bytes: u64 = (0..20).map(|number| 1 + 255 + 4096 + 65_537 + 300_000 + number + 8).sum();
    assert_eq!((totals.accepted, totals.bytes, totals.failures), (20, bytes, 0), "{totals:?}");
    assert!(!place.exists(), "the file goes with its server");
}

fn beside_tcp(setup: Setup) {
    let (one, other) = (Place::new(), Place::new());
    let server = setup.start(&["--listen", &one.argument(), "--listen", &other.argument()]);
    assert!(server.line_with("listening on unix:").contains(&one.argument()));
    assert!(server.line_with("listening on unix:").contains(&other.argument()));
    for place in [&one, &other] {
        round_trip(&place.connect(), b"meow");
    }
    let mut tcp = connect(server.address);
    tcp.write_all(b"meow").unwrap();
    tcp.read_exact(&mut [0; 4]).unwrap();
    drop(tcp);
    assert_eq!(server.stop().totals().accepted, 3);
    assert!(!one.exists() && !other.exists());
}

/// Those that leave with an answer on its way: a failure of theirs, and of nobody else's.
fn peers_that_go(setup: Setup) {
    let place = Place::new();
    let server = start(setup, &place, &[]);
    const MANY: usize = 5;
    for _ in 0..MANY {
        let mut stream = place.connect();
        stream.write_all(&[7; 100_000]).expect("the server reads");
        stream.read_exact(&mut [0; 1]).expect("the server answers");
        drop(stream); // What is not read yet makes it a reset.
    }
    drop(place.connect());
    round_trip(&place.connect(), b"meow");
    let totals = server.stop().totals();
    assert_eq!(totals.accepted, MANY as u64 + 2);
    assert!(totals.failures <= MANY as u64 && totals.of("reset") + totals.of("broken pipe") == totals.failures, "{totals:?}");
    assert!(totals.failures > 0, "{totals:?}");
}

fn limits(setup: Setup) {
    let place = Place::new();
    const TIMEOUT: Duration = Duration::from_secs(1);
    let server = start(setup, &place, &["--max-connections", "1", "--idle-timeout", "1s", "--stats", "20ms"]);
    let connect = || place.connect();
    let (mut first, last, late) = trickles(connect, 1, TIMEOUT);
    server.line_with(&format!(" accepted {},", 1 + late));
    // It waits in the queue, until the first has been silent for too long, and only then can be silent itself.
    let (mut second, last, later) = trickles(connect, 1, TIMEOUT + TIMEOUT.saturating_sub(last.elapsed()));
    assert_eq!(again(|| first.read(&mut [0; 1])).expect("an end in order"), 0);
    let _ended_already = second.shutdown(Shutdown::Write);
    assert_eq!(again(|| second.read(&mut [0; 1])).expect("an end in order"), 0);
    // Its end was in time, or may have been too late, too.
    let at_last = u64::from(last.elapsed() >= TIMEOUT);
    let (totals, late) = (server.stop().totals(), late + later);
    assert_eq!((totals.accepted, totals.failures), (2 + late, totals.of("idle")), "{totals:?}");
    assert!((1 + late..=1 + late + at_last).contains(&totals.failures), "{late} or {at_last} more were late: {totals:?}");
}

/// Out of descriptors the server turns connections away, serves those it has, and takes new ones when there are descriptors again.
fn out_of_descriptors(setup: Setup) {
    let place = Place::new();
    let server = Server::attempt(&mut with_few_descriptors(setup, 48, &place.argument()));
    let before = server.descriptors();
    let (mut inside, mut waiting, mut away) = (Vec::new(), Vec::new(), 0);
    for _ in 0..100 {
        let mut stream = place.connect();
        stream.set_read_timeout(Some(Duration::from_millis(30))).expect("a timeout can be set");
        match stream.write_all(b"x") {
            Ok(()) => waiting.push(stream),
            Err(_) => away += 1,
        }
    }
    until(
        || {
            for mut stream in std::mem::take(&mut waiting) {
                match again(|| stream.read(&mut [0; 1])) {
                    Ok(1) => inside.push(stream),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => waiting.push(stream),
                    _ => away += 1,
                }
            }
            inside.len() >= 20 && away > 0
        },
        || String::from("twenty of a hundred should be let in, and some be turned away"),
    );
    for stream in &inside {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        round_trip(stream, b"still here");
    }
    drop((inside, waiting));
    server.await_descriptors(before);
    round_trip(&place.connect(), b"again");
    server.await_descriptors(before);
    let totals = server.stop().totals();
    assert!(totals.of("shed") >= 1, "{totals:?}");
}

fn stops_with_connections_open(setup: Setup) {
    let place = Place::new();
    let server = start(setup, &place, &["--grace", "60s"]);
    let stream = place.connect();
    round_trip(&stream, b"before");
    server.signal(Signal::TERM);
    // The next one may start while the last connections of this one go on.
    until(|| !place.exists(), || String::from("the file stays, though nobody accepts"));
    let next = start(setup, &place, &[]);
    round_trip(&stream, b"meanwhile");
    round_trip(&place.connect(), b"at the next");
    drop(stream);
    assert_eq!(server.wait().totals().accepted, 1);
    assert!(place.exists(), "it is the next one's");
    assert_eq!(next.stop().totals().accepted, 1);
    assert!(!place.exists());
}

#[test]
fn a_server_that_was_killed_is_replaced() {
    let place = Place::new();
    let killed = start(CONCURRENT, &place, &[]);
    killed.signal(Signal::KILL);
    assert!(!killed.wait().status.success());
    assert!(place.exists(), "nobody could remove it");
    let server = start(CONCURRENT, &place, &[]);
    round_trip(&place.connect(), b"meow");
    assert_eq!(server.stop().totals().accepted, 1);
}

#[test]
fn a_path_in_use() {
    let place = Place::new();
    let server = start(CONCURRENT, &place, &[]);
    for mode in ["sequential", "concurrent", "owned", "parallel", "multi"] {
        let setup = Setup { mode, reactor: "epoll" };
        refuses(&mut command(setup, &place, &[]), 1, &[&place.argument(), "in use by another server"]);
    }
    round_trip(&place.connect(), b"meow");
    assert_eq!(server.stop().totals().accepted, 1, "who asks whether it lives is no connection");

    // Not one of these servers, and too busy to accept.
    let holder = UnixListener::bind(&place.0).unwrap();
    refuses(&mut command(CONCURRENT, &place, &[]), 1, &["in use by another server"]);
    drop(holder);
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let place = Place::new();
    fs::write(&place.0, "precious").unwrap();
    refuses(&mut command(CONCURRENT, &place, &[]), 1, &[&place.argument(), "not a socket"]);
    assert_eq!(fs::read_to_string(&place.0).unwrap(), "precious");
}

#[test]
fn a_file_that_is_another_servers_is_left_alone() {
    let place = Place::new();
    let server = start(CONCURRENT, &place, &[]);
    fs::remove_file(&place.0).unwrap();
    let _other = UnixListener::bind(&place.0).unwrap();
    assert_eq!(server.stop().totals().accepted, 0);
    assert!(place.exists());
}

#[test]
fn paths_that_cannot_be() {
    let long = Path::new("/tmp").join("x".repeat(120));
    let words = ["cannot listen on unix:/tmp/xxx", "125 bytes are too many"];
    refuses(echo().args(["--listen", &format!("unix:{}", long.display())]), 1, &words);
    refuses(echo().args(["--listen", "unix:/nowhere/at/all"]), 1, &["/nowhere/at/all", "folder does not exist"]);
    // The first is made and removed again, as the second cannot be.
    let place = Place::new();
    refuses(&mut command(CONCURRENT, &place, &["--listen", "192.0.2.1:0"]), 1, &["no such address"]);
    assert!(!place.exists());
}
