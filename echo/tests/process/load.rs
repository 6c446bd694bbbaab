//! Many connections, and messages of many sizes: every byte comes back in order, and every descriptor is given back.

use std::sync::Mutex;
use std::time::Duration;

use crate::crowd::{Crowd, LONGEST};
use crate::server::{Server, Setup, can_open};

/// Lengths of messages: the smallest, those around the powers of two that buffers have, and the largest.
const LENGTHS: [usize; 16] = [1, 2, 3, 17, 255, 256, 257, 1_023, 4_095, 4_097, 16_383, 16_384, 16_385, 65_537, 262_147, LONGEST];

/// Puts the crowd through the server: all at once, except where the server has one at a time.
fn load(server: &Server, setup: Setup, lengths: impl IntoIterator<Item = usize>) {
    let mut crowd = Crowd::new(server.address, lengths);
    if !setup.is_sequential() {
        crowd.greet().unwrap();
    }
    crowd.finish().unwrap();
}

fn one_connection(setup: Setup) {
    let server = setup.start(&[]);
    let before = server.descriptors();
    for length in LENGTHS {
        load(&server, setup, [length]);
    }
    server.await_descriptors(before);
    let totals = server.stop().totals();
    assert_eq!((totals.accepted, totals.failures), (16, 0), "{totals:?}");
    assert_eq!(totals.bytes, LENGTHS.iter().map(|length| *length as u64).sum::<u64>());
}

in_every_mode!(one_connection);

/// With a buffer of seven bytes, so that reads end at odd places too.
fn a_hundred_connections(setup: Setup) {
    let server = setup.start(&["--buffer", "7"]);
    let before = server.descriptors();
    let lengths = LENGTHS.into_iter().filter(|length| *length < 10_000);
    let lengths: Vec<usize> = lengths.cycle().take(100).collect();
    load(&server, setup, lengths.iter().copied());
    server.await_descriptors(before);
    let totals = server.stop().totals();
    assert_eq!((totals.accepted, totals.failures), (100, 0), "{totals:?}");
    assert_eq!(totals.bytes, lengths.iter().map(|length| *length as u64).sum::<u64>());
}

in_every_mode!(a_hundred_connections);

/// One of the messages in a thousand is the longest, so that a few are long while all the others go on.
fn five_thousand_connections(setup: Setup) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // Another test's failure is no reason not to run this one.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !can_open(6_000) {
        eprintln!("skipped: the limit of open files is too low for 5,000 connections");
        return;
    }
    let server = setup.start(&[]);
    let before = server.descriptors();
    load(&server, setup, (0..5_000).map(|index| if index % 1_000 == 500 { LONGEST } else { 1 + index * 7 % 2_000 }));
    server.await_descriptors(before);
    let totals = server.stop().totals();
    assert_eq!((totals.accepted, totals.failures), (5_000, 0), "{totals:?}");
}

in_every_mode!(five_thousand_connections: concurrent owned parallel multi);

/// A server with nothing to do uses no processor time, with connections and without.
fn idle(setup: Setup) {
    let server = setup.start(&["--idle-timeout", "1h"]);
    let mut crowd = Crowd::new(server.address, [10]);
    crowd.greet().unwrap();
    // The kernel counts in hundredths of a second.
    server.assert_idle(Duration::from_millis(10));
    crowd.finish().unwrap();
}

in_every_mode!(idle);
