//! The reactors without a runtime above them: real sockets, points made up, one `select` at a time.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::Instant as Clock;

use rustix::net::{RecvFlags, SendFlags};
use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::descriptor::source::Source;
use crate::net::sys::SEND;
use crate::time::clock;

/// Each test for all reactors, and for both bells.
macro_rules! everywhere {
    ($($name:ident)*) => {
        #[cfg(target_os = "linux")]
        everywhere!(uring Reactor::Uring, Material::Best; $($name)*);
        #[cfg(target_os = "linux")]
        everywhere!(uring_pipe Reactor::Uring, Material::Pipe; $($name)*);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        everywhere!(epoll Reactor::Epoll, Material::Best; $($name)*);
        everywhere!(poll Reactor::Poll, Material::Best; $($name)*);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        everywhere!(epoll_pipe Reactor::Epoll, Material::Pipe; $($name)*);
        everywhere!(poll_pipe Reactor::Poll, Material::Pipe; $($name)*);
    };
    ($module:ident $reactor:expr, $bell:expr; $($name:ident)*) => {
        mod $module {
            use super::*;
            $(#[test] fn $name() {
                if let Some(bench) = Bench::of($reactor, $bell) {
                    super::$name(&bench)
                }
            })*
        }
    };
}

mod shared;

everywhere! {
    an_event_that_was_there_before_is_seen
    a_wait_is_ended_by_data
    what_nobody_waits_for_is_remembered
    r20_what_nobody_takes_keeps_nobody_awake
    an_end_of_stream_behind_a_short_read_is_found
    an_end_of_stream_after_a_short_read_is_found
    a_reset_wakes_both_directions
    urgent_data_does_not_hide_what_stands_behind_it
    a_full_socket_turns_writable
    both_directions_wait_on_their_own
    r34_a_point_given_up_is_not_resumed
    r38_a_bell_before_the_sleep_ends_it
    r38_a_bell_from_another_thread_ends_the_sleep
    r38_many_bells_are_one_wake_up
    a_deadline_ends_the_sleep_and_not_early
    r20_a_sleep_costs_no_time
    r45_a_socket_used_elsewhere_leaves_and_frees_who_waited
    r45_a_socket_dropped_elsewhere_leaves
    r45_a_socket_that_leaves_ends_the_sleep_of_who_waited
    r45_bytes_are_where_they_were_after_a_move
    a_socket_that_left_is_not_reported_though_a_duplicate_lives
    a_descriptor_number_is_reused
    after_the_end_a_socket_leaves_nobody
    many_sockets_come_and_go
}

struct Bench {
    reactor: Rc<DomainReactor>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.reactor.uninstall();
    }
}

impl Bench {
    /// None where the system has no such reactor: not every kernel has io_uring, or lets it be used.
    fn of(reactor: Reactor, bell: Material) -> Option<Bench> {
        match DomainReactor::install(Some(reactor), bell, Arc::default(), 64) {
            Ok(reactor) => Some(Bench { reactor }),
            Err(error) if reactor == Reactor::Uring => {
                eprintln!("left out: {error}");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn new(reactor: Reactor, bell: Material) -> Bench {
        Bench { reactor: DomainReactor::install(Some(reactor), bell, Arc::default(), 64).unwrap() }
    }

    fn like(other: &Bench) -> (Reactor, Material) {
        let reactor = other.reactor.state.borrow().kernel.kind();
        (reactor, if other.reactor.shared.bell.has_edges() { Material::Best } else { Material::Pipe })
    }

    fn select(&self, wait: Wait, given_up: &[u64]) -> Vec<u64> {
        let given_up: Vec<_> = given_up.iter().copied().map(PointId::from_bits).collect();
        let mut resumed = Vec::new();
        self.reactor.select(wait, &given_up, &mut |point| resumed.push(point.to_bits())).unwrap();
        resumed
    }

    /// Selects until a point is resumed, as a domain does.
    fn resumed(&self) -> Vec<u64> {
        loop {
            let resumed = self.select(Wait::Until(clock() + Duration::from_secs(10)), &[]);
            if !resumed.is_empty() {
                return resumed;
            }
        }
    }

    /// What comes in a while in which nothing should.
    fn quiet(&self) -> Vec<u64> {
        let deadline = clock() + Duration::from_millis(20);
        let mut resumed = Vec::new();
        while clock() < deadline {
            resumed.extend(self.select(Wait::Until(deadline), &[]));
        }
        resumed
    }
}

fn pair() -> (Source, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (near, _) = listener.accept().unwrap();
    near.set_nonblocking(true).unwrap();
    (Source::new(OwnedFd::from(near)), far)
}

/// One try to read up to `most` bytes: how many, or `None` if it would block.
fn read(source: &Source<impl AsFd>, most: usize) -> Option<usize> {
    let mut buf = vec![0; most];
    let attempt = source.attempt(current().as_deref(), Direction::Read, false, &mut |source| {
        let (moved, _) = rustix::net::recv(source, &mut buf[..], RecvFlags::empty())?;
        source.moved(Direction::Read, moved, most);
        Ok(moved)
    });
    attempt.map(Result::unwrap)
}

/// Writes until it would block: how many bytes.
fn fill(source: &Source<impl AsFd>) -> usize {
    let mut sum = 0;
    let bytes = [0; 1 << 16];
    while let Some(moved) = source.attempt(current().as_deref(), Direction::Write, false, &mut |source| {
        let moved = rustix::net::send(source, &bytes, SEND)?;
        source.moved(Direction::Write, moved, bytes.len());
        Ok(moved)
    }) {
        sum += moved.unwrap();
    }
    sum
}

/// Lets a point wait, as `perform` does: a direction that is not known to be dry is tried first.
fn arm(source: &Source<impl AsFd>, direction: Direction, point: u64) {
    while let Err(unarmed) = source.arm(direction, PointId::from_bits(point)) {
        assert!(matches!(unarmed, Unarmed::Ready));
        match direction {
            Direction::Read => assert_eq!(read(source, 8), None),
            Direction::Write => assert_eq!(fill(source), 0),
        }
    }
}

/// Selects and reads until a read finds something.
fn read_later(bench: &Bench, source: &Source<impl AsFd>, most: usize) -> usize {
    loop {
        if let Some(moved) = read(source, most) {
            return moved;
        }
        if source.arm(Direction::Read, PointId::from_bits(0)).is_ok() {
            assert_eq!(bench.resumed(), [0]);
        }
    }
}

fn an_event_that_was_there_before_is_seen(bench: &Bench) {
    let (near, mut far) = pair();
    assert_eq!(read(&near, 8), None);
    far.write_all(b"early").unwrap(); // After the try, before the registration.
    arm(&near, Direction::Read, 1);
    assert_eq!(bench.resumed(), [1]);
    assert_eq!(read(&near, 8), Some(5));
}

fn a_wait_is_ended_by_data(bench: &Bench) {
    let (near, mut far) = pair();
    for round in 1..10 {
        assert_eq!(read(&near, 8), None);
        arm(&near, Direction::Read, round);
        assert_eq!(bench.quiet(), [0_u64; 0]);
        far.write_all(b"late").unwrap();
        assert_eq!(bench.resumed(), [round]);
        assert_eq!(read(&near, 8), Some(4));
    }
}

fn what_nobody_waits_for_is_remembered(bench: &Bench) {
    let (near, mut far) = pair();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    assert_eq!(bench.select(Wait::No, &[1]), [0_u64; 0]);
    far.write_all(b"data").unwrap();
    assert_eq!(bench.quiet(), [0_u64; 0], "nobody waits");
    assert_eq!(read_later(bench, &near, 8), 4);
}

fn r20_what_nobody_takes_keeps_nobody_awake(bench: &Bench) {
    let (near, mut far) = pair();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    far.write_all(b"data").unwrap();
    assert_eq!(bench.resumed(), [1]);
    let (deadline, mut sleeps) = (clock() + Duration::from_millis(20), 0);
    while clock() < deadline {
        assert_eq!(bench.select(Wait::Until(deadline), &[]), [0_u64; 0]);
        sleeps += 1;
    }
    assert!(sleeps <= 3, "it woke up {sleeps} times, for nobody");
    assert_eq!(read(&near, 8), Some(4));
}

fn an_end_of_stream_behind_a_short_read_is_found(bench: &Bench) {
    let (near, mut far) = pair();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    far.write_all(b"last").unwrap();
    drop(far); // Data and end are one event.
    assert_eq!(bench.resumed(), [1]);
    assert_eq!(read(&near, 8), Some(4));
    assert_eq!(read_later(bench, &near, 8), 0);
    assert_eq!(read_later(bench, &near, 8), 0, "the end stays");
}

fn an_end_of_stream_after_a_short_read_is_found(bench: &Bench) {
    let (near, mut far) = pair();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    far.write_all(b"last").unwrap();
    assert_eq!(bench.resumed(), [1]);
    drop(far); // After the event, before the read.
    assert_eq!(read(&near, 8), Some(4));
    assert_eq!(read_later(bench, &near, 8), 0);
}

fn a_reset_wakes_both_directions(bench: &Bench) {
    let (near, far) = pair();
    fill(&near);
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    arm(&near, Direction::Write, 2);
    assert_eq!(bench.quiet(), [0_u64; 0]);
    rustix::net::sockopt::set_socket_linger(&far, Some(Duration::ZERO)).unwrap();
    drop(far);
    let mut resumed = Vec::new();
    while resumed.len() < 2 {
        resumed.extend(bench.resumed());
    }
    assert_eq!(resumed, [1, 2]);
    let mut receive = |near: &Source| Ok(rustix::net::recv(near, &mut [0; 8], RecvFlags::empty())?);
    let failed = near.attempt(current().as_deref(), Direction::Read, false, &mut receive);
    assert_eq!(failed.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

fn urgent_data_does_not_hide_what_stands_behind_it(bench: &Bench) {
    let (near, mut far) = pair();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    far.write_all(b"before").unwrap();
    rustix::net::send(&far, b"!", SendFlags::OOB).unwrap();
    far.write_all(b"behind").unwrap();
    assert_eq!(bench.resumed(), [1]);
    // A read stops at the mark, though there is more. The urgent byte is not in the stream.
    let mut sum = 0;
    while sum < 12 {
        sum += read_later(bench, &near, 64);
    }
    assert_eq!(sum, 12);
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 2);
    assert_eq!(bench.quiet(), [0_u64; 0], "what was not taken keeps nobody awake");
}

fn a_full_socket_turns_writable(bench: &Bench) {
    let (near, mut far) = pair();
    let mut sent = fill(&near);
    assert!(sent > 0);
    arm(&near, Direction::Write, 1);
    assert_eq!(bench.quiet(), [0_u64; 0]);
    let mut buf = vec![0; 1 << 16];
    let mut received = 0;
    for point in 2..6 {
        while received < sent {
            received += far.read(&mut buf).unwrap();
        }
        assert_eq!(bench.resumed(), [point - 1]);
        sent += fill(&near);
        assert!(received < sent);
        arm(&near, Direction::Write, point);
    }
}

fn both_directions_wait_on_their_own(bench: &Bench) {
    let (near, mut far) = pair();
    let sent = fill(&near);
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Write, 1);
    arm(&near, Direction::Read, 2);
    arm(&near, Direction::Read, 3);
    far.write_all(b"data").unwrap();
    assert_eq!(bench.resumed(), [2, 3], "both readers, not the writer");
    let mut buf = vec![0; sent];
    far.read_exact(&mut buf).unwrap();
    assert_eq!(bench.resumed(), [1]);
}

fn r34_a_point_given_up_is_not_resumed(bench: &Bench) {
    let (near, mut far) = pair();
    assert_eq!(read(&near, 8), None);
    for point in 0..3 {
        arm(&near, Direction::Read, point);
    }
    far.write_all(b"data").unwrap();
    let mut resumed = bench.select(Wait::Forever, &[1]);
    if resumed.is_empty() {
        resumed = bench.resumed();
    }
    assert_eq!(resumed, [0, 2]);
    assert_eq!(bench.select(Wait::No, &[0, 7, 1 << 32]), [0_u64; 0], "stale and unknown ids are ignored");
}

fn r38_a_bell_before_the_sleep_ends_it(bench: &Bench) {
    for _ in 0..3 {
        bench.reactor.shared.bell.ring();
        bench.select(Wait::Forever, &[]);
    }
}

fn r38_a_bell_from_another_thread_ends_the_sleep(bench: &Bench) {
    let shared = Arc::clone(bench.reactor.shared());
    let (sender, receiver) = std::sync::mpsc::channel();
    let ringer = thread::spawn(move || receiver.iter().for_each(|()| shared.bell.ring()));
    for _ in 0..1_000 {
        sender.send(()).unwrap();
        bench.select(Wait::Forever, &[]);
    }
    drop(sender);
    ringer.join().unwrap();
}

fn r38_many_bells_are_one_wake_up(bench: &Bench) {
    for _ in 0..1_000 {
        bench.reactor.shared.bell.ring();
    }
    bench.select(Wait::Forever, &[]);
    let before = clock();
    bench.select(Wait::Until(before + Duration::from_millis(20)), &[]);
    assert!(clock() - before >= Duration::from_millis(20), "a bell rang twice");
}

fn a_deadline_ends_the_sleep_and_not_early(bench: &Bench) {
    for micros in [0, 1, 50, 300, 999, 1_000, 1_700, 12_345] {
        let (before, deadline) = (Clock::now(), clock() + Duration::from_micros(micros));
        while clock() < deadline {
            bench.select(Wait::Until(deadline), &[]);
        }
        assert!(before.elapsed() < Duration::from_micros(micros) + Duration::from_secs(1));
    }
    // A deadline that is past still looks at the events.
    let (near, mut far) = pair();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    far.write_all(b"data").unwrap();
    while bench.select(Wait::Until(matou_core::time::Instant::from_nanos(0)), &[]).is_empty() {}
}

fn r20_a_sleep_costs_no_time(bench: &Bench) {
    let (near, _far) = pair();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    let used = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    bench.quiet(); // The first events, of the registration itself.
    let (deadline, before, mut sleeps) = (clock() + Duration::from_millis(200), used(), 0);
    while clock() < deadline {
        bench.select(Wait::Until(deadline), &[]);
        sleeps += 1;
    }
    assert!(used() - before < Duration::from_millis(20), "{:?} of 200 ms, in {sleeps} sleeps", used() - before);
    assert!(sleeps <= 3, "{sleeps}");
}

/// Calls `f` in another domain with a reactor of the same kind.
fn elsewhere<R: Send>(bench: &Bench, f: impl FnOnce(&Bench) -> R + Send) -> R {
    let (reactor, bell) = Bench::like(bench);
    thread::scope(|scope| scope.spawn(|| f(&Bench::new(reactor, bell))).join().unwrap())
}

fn r45_a_socket_used_elsewhere_leaves_and_frees_who_waited(bench: &Bench) {
    let (near, mut far) = pair();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    let near = elsewhere(bench, |there| {
        far.write_all(b"data").unwrap();
        assert_eq!(read_later(there, &near, 8), 4);
        near
    });
    assert_eq!(bench.select(Wait::Forever, &[]), [1], "who waited finds out, and the sleep is ended for it");
    // And back, the other direction.
    far.write_all(b"more").unwrap();
    assert_eq!(read_later(bench, &near, 8), 4);
}

fn r45_a_socket_dropped_elsewhere_leaves(bench: &Bench) {
    let (near, far) = pair();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    thread::scope(|scope| scope.spawn(|| drop(near)).join().unwrap()); // On a thread that has no domain.
    assert_eq!(bench.select(Wait::Forever, &[]), [1]);
    let mut far = far;
    assert_eq!(far.read(&mut [0; 8]).unwrap(), 0, "it was closed");
}

fn r45_a_socket_that_leaves_ends_the_sleep_of_who_waited(bench: &Bench) {
    let (near, _far) = pair();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    bench.quiet();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(20)); // Until the other one sleeps.
            drop(near);
        });
        let before = clock();
        assert_eq!(bench.resumed(), [1]);
        assert!(clock() - before < Duration::from_secs(5), "it was found by the deadline, not by the bell");
    });
}

fn r45_bytes_are_where_they_were_after_a_move(bench: &Bench) {
    let (mut near, mut far) = pair();
    let mut sum = 0;
    for round in 0..50 {
        far.write_all(&[0; 1000]).unwrap();
        if round % 2 == 0 {
            sum += read_later(bench, &near, 700);
        } else {
            (near, sum) = elsewhere(bench, |there| {
                let sum = sum + read_later(there, &near, 700);
                (near, sum)
            });
        }
    }
    drop(far);
    loop {
        match read_later(bench, &near, 700) {
            0 => break,
            moved => sum += moved,
        }
    }
    assert_eq!(sum, 50_000);
}

fn a_socket_that_left_is_not_reported_though_a_duplicate_lives(bench: &Bench) {
    let (near, mut far) = pair();
    let duplicate = rustix::io::dup(&near).unwrap();
    assert_eq!(read(&near, 8), None);
    arm(&near, Direction::Read, 1);
    drop(near);
    assert_eq!(bench.select(Wait::Forever, &[]), [1], "who waited finds out");
    far.write_all(b"data").unwrap();
    let (before, mut sleeps) = (clock(), 0);
    while clock() - before < Duration::from_millis(20) {
        bench.select(Wait::Until(before + Duration::from_millis(20)), &[]);
        sleeps += 1;
    }
    assert!(sleeps <= 3, "it is still reported");
    assert_eq!(rustix::io::read(&duplicate, &mut [0; 8]), Ok(4));
}

fn a_descriptor_number_is_reused(bench: &Bench) {
    let (one, _far) = pair();
    assert_eq!(read(&one, 8), None);
    arm(&one, Direction::Read, 1);
    assert_eq!(bench.quiet(), [0_u64; 0]);
    let mut number = one.into_io();
    let (two, mut far) = pair();
    rustix::io::dup2(two, &mut number).unwrap(); // Closes the old socket, and gives its number to the new one.
    rustix::io::fcntl_setfd(&number, rustix::io::FdFlags::CLOEXEC).unwrap();
    let two = Source::new(number);
    assert_eq!(read(&two, 8), None);
    arm(&two, Direction::Read, 2);
    assert_eq!(bench.select(Wait::No, &[]), [1]);
    far.write_all(b"data").unwrap();
    assert_eq!(bench.resumed(), [2]);
}

fn after_the_end_a_socket_leaves_nobody(bench: &Bench) {
    let (near, mut far) = pair();
    let near = elsewhere(bench, |there| {
        assert_eq!(read(&near, 8), None);
        arm(&near, Direction::Read, 1);
        there.quiet();
        near
    });
    far.write_all(b"data").unwrap();
    assert_eq!(read_later(bench, &near, 8), 4, "it joins here, and the other domain is gone");
    let near = elsewhere(bench, |_| near);
    drop(near);
}

fn many_sockets_come_and_go(bench: &Bench) {
    let mut seed = 1u32;
    let mut random = move |below: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % below
    };
    let mut sockets: Vec<_> = (0..40).map(|_| pair()).collect();
    let mut points = 0;
    for _ in 0..500 {
        let index = random(40) as usize;
        match random(4) {
            0 => sockets[index] = pair(),
            _ => {
                points += 1;
                let point = points << 32 | index as u64;
                let (near, far) = &mut sockets[index];
                while read(near, 8).is_some() {}
                while near.arm(Direction::Read, PointId::from_bits(point)).is_err() {
                    assert_eq!(read(near, 8), None);
                }
                if random(2) == 0 {
                    far.write_all(b"data").unwrap();
                    while !bench.resumed().contains(&point) {}
                    assert_eq!(read(near, 8), Some(4));
                } else {
                    assert!(!bench.select(Wait::No, &[point]).contains(&point));
                }
            }
        }
    }
}
