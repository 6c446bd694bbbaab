//! What goes wrong with a connection is that connection's problem only, and is counted by its kind.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, set_socket_recv_buffer_size};

use crate::crowd::{Crowd, message};
use crate::server::{Server, Setup, again, read_to_end};

/// Sends a byte and waits for it to come back: the server has accepted, and is reading again or about to.
fn greet(mut stream: &TcpStream) {
    stream.write_all(b"?").unwrap();
    let mut byte = [0];
    stream.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"?");
}

/// Writes until the server takes no more, and gives how much that was.
fn fill(server: &Server, mut stream: &TcpStream) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let (mut sent, mut was_asleep) = (0, false);
    loop {
        match again(|| stream.write(&message(0, 1 << 20)[sent % (1 << 20)..])) {
            Ok(count) => (sent, was_asleep) = (sent + count, false),
            // All of it has waited so long, and a server that is to go on with it does not sleep.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if was_asleep {
                    return sent;
                }
                was_asleep = server.is_asleep();
            }
            Err(error) => panic!("the server should take no more: {error}"),
        }
    }
}

/// The server goes on as if nothing had been.
fn others_go_on(server: &Server) {
    Crowd::new(server.address, [1, 1_000, 70_000, 1_000_000]).finish().unwrap();
}

fn half_close(setup: Setup) {
    let server = setup.start(&[]);
    let before = server.descriptors();
    let mut stream = server.connect();
    for piece in message(3, 100_000).chunks(9_973) {
        stream.write_all(piece).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&stream) == message(3, 100_000));
    server.await_descriptors(before);
    let totals = server.stop().totals();
    assert_eq!((totals.accepted, totals.bytes, totals.failures), (1, 100_000, 0));
}

in_every_mode!(half_close);

/// A connection that says nothing at all is no failure either.
fn connect_and_leave(setup: Setup) {
    let server = setup.start(&[]);
    let before = server.descriptors();
    for _ in 0..20 {
        drop(server.connect());
    }
    others_go_on(&server);
    server.await_accepted();
    server.await_descriptors(before);
    let totals = server.stop().totals();
    assert_eq!((totals.accepted, totals.failures), (24, 0));
}

in_every_mode!(connect_and_leave);

fn reset_in_mid_message(setup: Setup) {
    let server = setup.start(&[]);
    let before = server.descriptors();
    let count = if setup.is_sequential() { 1 } else { 20 };
    let mut crowd = Crowd::new(server.address, vec![1_000; count]);
    crowd.greet().unwrap();
    crowd.reset();
    others_go_on(&server);
    server.await_descriptors(before);
    let totals = server.stop().totals();
    let count = count as u64;
    assert_eq!((totals.accepted, totals.failures, totals.of("reset")), (count + 4, count, count), "{totals:?}");
}

in_every_mode!(reset_in_mid_message);

/// The server is in the middle of a write when the peer goes.
fn reset_while_the_server_writes(setup: Setup) {
    let server = setup.start(&[]);
    let before = server.descriptors();
    for half_closed in [false, true] {
        let stream = server.connect();
        set_socket_recv_buffer_size(&stream, 4_096).unwrap();
        greet(&stream);
        fill(&server, &stream);
        if half_closed {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    }
    others_go_on(&server);
    server.await_descriptors(before);
    let totals = server.stop().totals();
    // Which of the two it is depends on how much of the stream had arrived.
    assert_eq!(totals.of("reset") + totals.of("broken pipe"), 2, "{totals:?}");
    assert_eq!((totals.accepted, totals.failures), (6, 2), "{totals:?}");
}

in_every_mode!(reset_while_the_server_writes);

/// Others are served while one never reads; and when that one reads after all, not a byte is missing.
fn a_peer_that_never_reads(setup: Setup) {
    let server = setup.start(&[]);
    let before = server.descriptors();
    let mut stream = server.connect();
    greet(&stream);
    let sent = fill(&server, &stream);
    others_go_on(&server);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut received = 0;
    let mut buffer = vec![0; 100_000];
    loop {
        let count = again(|| stream.read(&mut buffer)).unwrap();
        if count == 0 {
            break;
        }
        for byte in &buffer[..count] {
            assert_eq!(*byte, message(0, 1 << 20)[received % (1 << 20)], "byte {received}");
            received += 1;
        }
    }
    assert_eq!(received, sent);
    server.await_descriptors(before);
    let totals = server.stop().totals();
    assert_eq!((totals.accepted, totals.failures), (5, 0), "{totals:?}");
}

in_every_mode!(a_peer_that_never_reads: concurrent owned parallel multi);
