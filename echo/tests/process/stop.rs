//! Stopping: what a signal lets finish, what it cuts short, and what a second one does.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::crowd::Crowd;
use crate::server::{Server, Setup};

/// An idle server ends at once, by either signal.
fn idle(setup: Setup) {
    for signal in [Signal::INT, Signal::TERM] {
        let server = setup.start(&["--grace", "1h"]);
        server.signal(signal);
        let totals = server.wait().totals();
        assert_eq!((totals.accepted, totals.failures), (0, 0));
    }
}

in_every_mode!(idle);

/// Connections in the middle of their messages lose nothing; nobody new is let in; the end comes with the last one.
fn in_the_middle(setup: Setup) {
    let server = setup.start(&["--grace", "1h"]);
    let count = if setup.is_sequential() { 1 } else { 50 };
    let mut crowd = Crowd::new(server.address, vec![200_000; count]);
    crowd.greet().unwrap();
    server.signal(Signal::TERM);
    assert_eq!(server.line_with("stopping"), format!("stopping: {count} open, 3600s of grace"));
    server.await_refusal();
    crowd.finish().unwrap();
    let totals = server.wait().totals();
    // Whoever asked whether it still accepts may have been accepted.
    assert!(totals.accepted >= count as u64, "{totals:?}");
    assert_eq!((totals.bytes, totals.failures), (200_000 * count as u64, 0));
}

in_every_mode!(in_the_middle);

/// While bytes are on their way in both directions.
fn under_load(setup: Setup) {
    let server = setup.start(&["--grace", "1h"]);
    let lengths = if setup.is_sequential() { vec![1_000_000] } else { vec![300_000; 30] };
    let mut crowd = Crowd::new(server.address, lengths.iter().copied());
    crowd.greet().unwrap();
    thread::scope(|scope| {
        let finished = scope.spawn(|| crowd.finish());
        server.signal(Signal::INT);
        finished.join().unwrap().unwrap();
    });
    let totals = server.wait().totals();
    assert_eq!((totals.bytes, totals.failures), (lengths.iter().sum::<usize>() as u64, 0));
}

in_every_mode!(under_load);

/// What is open when the grace is over is cancelled, a connection whose peer does not read included.
fn grace_is_over(setup: Setup) {
    let server = setup.start(&["--grace", "200ms"]);
    let count = if setup.is_sequential() { 1 } else { 10 };
    let mut silent: Vec<_> = (0..count).map(|_| server.connect()).collect();
    for stream in &mut silent {
        stream.write_all(b"?").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    let began = Instant::now();
    let end = server.stop();
    let lasted = began.elapsed();
    assert!(lasted >= Duration::from_millis(200), "{lasted:?}");
    let totals = end.totals();
    let count = count as u64;
    assert_eq!((totals.accepted, totals.failures, totals.of("cancelled")), (count, count, count), "{totals:?}");
    for stream in &mut silent {
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
    }
}

in_every_mode!(grace_is_over);

/// Without grace nothing is waited for.
fn no_grace(setup: Setup) {
    let server = setup.start(&["--grace", "0s"]);
    let mut stream = server.connect();
    stream.write_all(b"?").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    assert_eq!(server.stop().totals().of("cancelled"), 1);
}

in_every_mode!(no_grace);

/// A second signal does not wait, whichever it is.
fn second_signal(setup: Setup) {
    for (second, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let server = setup.start(&["--grace", "1h"]);
        let mut stream = server.connect();
        stream.write_all(b"?").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        server.signal(Signal::TERM);
        server.line_with("stopping");
        server.signal(second);
        let end = server.wait();
        assert_eq!(end.status.code(), Some(status), "{end:?}");
        assert!(end.lines.is_empty(), "{end:?}");
    }
}

in_every_mode!(second_signal);

/// Signals that come at once may be one to the system; the server ends either way.
#[test]
fn two_signals_at_once() {
    let server = Server::start(&["--domains", "1", "--grace", "1ms"]);
    server.signal(Signal::TERM);
    server.signal(Signal::INT);
    let end = server.wait();
    assert!(matches!(end.status.code(), Some(0 | 130 | 143)), "{end:?}");
}
