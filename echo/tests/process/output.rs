//! What the server says, to whom, and that it lives on when nobody listens.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::Stdio;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::crowd::Crowd;
use crate::server::{Server, Setup, address_in, echo, free_address, until};

fn greeting(setup: Setup) {
    let server = setup.start(&[]);
    let expected = format!("listening on {} ({}, 2 worker domains, {})", server.address, setup.mode, setup.reactor);
    assert_eq!(server.greeting, expected);
    assert_ne!(server.address.port(), 0);
}

in_every_mode!(greeting);

#[test]
fn number_of_domains() {
    for (count, words) in [("0", "0 worker domains"), ("1", "1 worker domain"), ("3", "3 worker domains")] {
        let server = Server::start(&["--domains", count]);
        let end = |reactor| format!(" (multi, {words}, {reactor})");
        assert!(["uring", "epoll"].iter().any(|reactor| server.greeting.ends_with(&end(reactor))), "{}", server.greeting);
        Crowd::new(server.address, [100; 8]).finish().unwrap();
    }
}

/// A line for each address, of either protocol; connections come in at all of them.
fn several_addresses(setup: Setup) {
    let mut args = vec!["--listen", "127.0.0.1:0"];
    if fs::read_to_string("/proc/net/if_inet6").is_ok_and(|addresses| addresses.contains(" lo")) {
        args.extend(["--listen", "[::1]:0"]);
    } else {
        eprintln!("only in part: this machine has no [::1]");
    }
    let server = setup.start(&args);
    let others = args.iter().filter(|arg| **arg != "--listen").map(|_| address_in(&server.line()));
    let mut addresses: Vec<SocketAddr> = others.collect();
    addresses.push(server.address);
    for (round, address) in addresses.iter().cycle().take(9).enumerate() {
        Crowd::new(*address, [1 + round, 1_000]).finish().unwrap();
    }
    let totals = server.stop().totals();
    assert_eq!((totals.accepted, totals.failures), (18, 0));
}

in_every_mode!(several_addresses);

/// The wildcards of both protocols, on one port.
#[test]
fn both_wildcards() {
    if fs::read_to_string("/proc/net/if_inet6").is_err() {
        eprintln!("skipped: this machine has no IPv6");
        return;
    }
    for mode in ["concurrent", "multi"] {
        // The ports below those that the system hands out, from anywhere on, until one is free.
        let start = std::process::id() % 10_000;
        let (server, port) = (0..100)
            .map(|attempt| u16::try_from(20_000 + (start + attempt * 97) % 10_000).expect("it is a port"))
            .map(|port| (wildcards(mode, port), port))
            .find(|(server, _)| !server.greeting.contains("in use"))
            .expect("one of a hundred ports is free");
        assert_eq!(address_in(&server.greeting), format!("[::]:{port}").parse().unwrap());
        assert_eq!(address_in(&server.line()), format!("0.0.0.0:{port}").parse().unwrap());
        Crowd::new(([127, 0, 0, 1], port).into(), [1_000; 8]).finish().unwrap();
        assert_eq!(server.stop().totals().accepted, 8);
    }
}

fn wildcards(mode: &str, port: u16) -> Server {
    let (v4, v6) = (format!("0.0.0.0:{port}"), format!("[::]:{port}"));
    Server::attempt(echo().args(["--mode", mode, "--domains", "2", "--listen", &v6, "--listen", &v4]))
}

/// The numbers in a line of statistics: open, accepted, round trips a second, MiB a second, failures.
fn numbers(line: &str) -> [f64; 5] {
    let numbers: Vec<f64> = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let names: Vec<&str> = line.split([' ', ',']).filter(|w| !w.is_empty() && w.parse::<f64>().is_err()).collect();
    assert_eq!(names.join(" "), "open accepted round trips/s MiB/s failures", "{line:?}");
    numbers.try_into().unwrap_or_else(|_| panic!("five numbers in {line:?}"))
}

fn stats(setup: Setup) {
    let server = setup.start(&["--stats", "20ms"]);
    assert_eq!(numbers(&server.line()), [0.0; 5]);
    let count = if setup.is_sequential() { 1 } else { 5 };
    let mut crowd = Crowd::new(server.address, vec![100_000; count]);
    crowd.greet().unwrap();
    let count = count as f64;
    until(
        || matches!(numbers(&server.line()), [open, accepted, _, _, 0.0] if open == count && accepted == count),
        || format!("{count} should be open"),
    );
    crowd.finish().unwrap();
    let mut moved = (0.0, 0.0);
    until(
        || {
            let [open, accepted, round_trips, mib, failures] = numbers(&server.line());
            assert!(accepted == count && failures == 0.0);
            moved = (moved.0 + round_trips, moved.1 + mib);
            open == 0.0
        },
        || String::from("none should be open"),
    );
    assert!(moved.0 > 0.0 && moved.1 > 0.0, "{moved:?}");
    server.stop().totals();
}

in_every_mode!(stats);

/// On a terminal there is one line, written over again and again, and wiped before anything else.
#[test]
fn live_line() {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    // It is the server's, and not what this process is ended with if it has no other.
    let end = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let child = echo().args(["--listen", "127.0.0.1:0", "--domains", "0", "--stats", "10ms"]).stderr(Stdio::from(end)).spawn().unwrap();
    let server = Server::bare(child);
    let mut screen = File::from(terminal);
    let mut seen = String::new();
    let mut buffer = [0; 1_000];
    while seen.matches("open 0, accepted 0").count() < 3 {
        let count = screen.read(&mut buffer).unwrap();
        seen += std::str::from_utf8(&buffer[..count]).unwrap();
    }
    server.signal(rustix::process::Signal::TERM);
    while !(seen.contains("total: ") && seen.ends_with('\n')) {
        let count = screen.read(&mut buffer).unwrap();
        seen += std::str::from_utf8(&buffer[..count]).unwrap();
    }
    assert_eq!(server.wait().status.code(), Some(0));
    let lines: Vec<&str> = seen.lines().collect();
    assert!(lines[0].starts_with("listening on "), "{seen:?}");
    let (live, rest) = (lines[1], &lines[2..]);
    assert!(live.starts_with("open 0, accepted 0, 0.0 round trips/s, 0.00 MiB/s, failures 0\r\x1b[Kopen 0"), "{seen:?}");
    assert!(live.ends_with("\r\x1b[Kstopping: 0 open, 5s of grace"), "{seen:?}");
    assert!(rest[0].ends_with("total: 0 accepted, 0 round trips, 0 bytes, 0 failures"), "{seen:?}");
}

/// A quiet server says where it listens, and nothing else.
fn quiet(setup: Setup) {
    let server = setup.start(&["--quiet", "--stats", "1ms", "--grace", "0s"]);
    assert!(server.greeting.starts_with("listening on "), "{}", server.greeting);
    Crowd::new(server.address, [10_000]).finish().unwrap();
    let _open = server.connect();
    let end = server.stop();
    assert_eq!((end.status.code(), end.lines.len()), (Some(0), 0), "{end:?}");
}

in_every_mode!(quiet);

/// The reader of standard error goes away: every further line meets a broken pipe.
fn nobody_listens(setup: Setup) {
    let mut command = echo();
    command.args(["--listen", &free_address(), "--mode", setup.mode, "--reactor", setup.reactor, "--domains", "2"]);
    let mut child = command.args(["--stats", "1ms"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut greeting = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let server = Server::bare(child);
    stderr.read_line(&mut greeting).unwrap();
    drop(stderr);
    for _ in 0..5 {
        Crowd::new(address_in(&greeting), [50_000]).finish().unwrap();
    }
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait().status.code(), Some(0));
}

in_every_mode!(nobody_listens);

/// The reader of standard error stays, and does not read: the pipe fills up, and the server must not wait for it.
#[test]
fn nobody_reads() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&reader, 4_096).unwrap();
    let mut command = echo();
    command.args(["--listen", &free_address(), "--domains", "0", "--stats", "1ms"]);
    let mine = writer.try_clone().unwrap();
    let server = Server::bare(command.stderr(Stdio::from(writer)).spawn().unwrap());
    drop(command);
    let mut greeting = String::new();
    let mut reader = BufReader::new(File::from(reader));
    reader.read_line(&mut greeting).unwrap();
    let full = || poll(&mut [PollFd::new(&mine, PollFlags::OUT)], Some(&Timespec::default())) == Ok(0);
    until(full, || String::from("the pipe should be full"));
    drop(mine);
    for _ in 0..20 {
        Crowd::new(address_in(&greeting), [50_000, 1]).finish().unwrap();
    }
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.wait().status.code(), Some(0));
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(said.lines().all(|line| line.starts_with("open ")) && said.ends_with('\n'), "{said}");
}
