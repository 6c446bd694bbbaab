//! What is io_uring's alone: that it may be refused, and when a receive that is repeated takes what.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

use matou_core::PointId;
use matou_core::platform::Wait;
use rustix::io::Errno;

use super::super::kernel::Kernel;
use super::super::{Direction, DomainReactor, Reactor, State, Token};
use super::ring::refusal::{REFUSED, REPEATS_NONE};
use crate::interrupt::Material;

/// Whether the reactor is chosen, and not forced by how the tests were built.
const IS_CHOSEN: bool = cfg!(not(any(matou_test_epoll, matou_test_poll, matou_test_uring)));

#[test]
fn a_system_that_refuses_is_an_error_only_for_those_who_asked() {
    let install = |reactor| DomainReactor::install(reactor, Material::DEFAULT, Arc::default(), 64);
    REFUSED.set(Some(Errno::NOSYS));
    let error = install(Some(Reactor::Uring)).err().expect("it was refused");
    assert_eq!((error.kind(), error.to_string().contains("this kernel has none")), (std::io::ErrorKind::Unsupported, true), "{error}");
    if IS_CHOSEN {
        let instead = install(None).unwrap();
        assert_eq!(Reactor::current(), Some(Reactor::Epoll));
        instead.uninstall();
    }
    REFUSED.set(None);
    let asked = install(Some(Reactor::Uring)).unwrap();
    assert_eq!(Reactor::current(), Some(Reactor::Uring));
    asked.uninstall();
}

#[test]
fn a_kernel_that_repeats_no_receives_is_asked_by_epoll_unless_told_otherwise() {
    let install = |reactor| DomainReactor::install(reactor, Material::DEFAULT, Arc::default(), 64).unwrap();
    let kind = |reactor| {
        let reactor = install(reactor);
        let kind = Reactor::current();
        reactor.uninstall();
        kind
    };
    if !IS_CHOSEN {
        return;
    }
    REPEATS_NONE.set(true);
    assert_eq!((kind(None), kind(Some(Reactor::Uring))), (Some(Reactor::Epoll), Some(Reactor::Uring)));
    REPEATS_NONE.set(false);
    let repeats = Bench::new().is_some();
    assert_eq!(kind(None), Some(if repeats { Reactor::Uring } else { Reactor::Epoll }));
}

/// A stream that is read here, and its other end.
struct Bench {
    reactor: Rc<DomainReactor>,
    near: OwnedFd,
    far: std::os::unix::net::UnixStream,
    token: Token,
}

impl Bench {
    /// None where the kernel does not know how to end what is repeated.
    fn new() -> Option<Bench> {
        let reactor = DomainReactor::install(Some(Reactor::Uring), Material::DEFAULT, Arc::default(), 64).ok()?;
        if !matches!(&reactor.state.borrow().kernel, Kernel::Uring(uring) if uring.repeats) {
            reactor.uninstall();
            return None;
        }
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let near = OwnedFd::from(near);
        let token = reactor.join(near.as_fd(), Direction::Read).unwrap();
        Some(Bench { reactor, near, far, token })
    }

    fn select(&self) -> usize {
        let mut resumed = 0;
        self.reactor.select(Wait::No, &[], &mut |_| resumed += 1).unwrap();
        resumed
    }

    fn wait(&self, room: usize) {
        let waits = self.reactor.wait(self.near.as_fd(), self.token, Direction::Read, Some(&|| room), PointId::from_bits(0));
        assert!(waits.unwrap().unwrap());
    }

    /// What was put aside.
    fn aside(&self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(result) = self.reactor.offer(self.token, &mut |bytes| Ok((all.extend_from_slice(bytes), bytes.len()))) {
            result.unwrap();
        }
        all
    }

    /// What is in the system.
    fn left(&self) -> usize {
        let mut buf = [0; 1 << 14];
        rustix::net::recv(&self.near, &mut buf[..], rustix::net::RecvFlags::empty()).map_or(0, |(_, length)| length)
    }

    /// Reads regularly, and is left with a read that waits.
    fn regularly(&mut self, room: usize) {
        self.wait(room);
        for _ in 0..10 {
            self.select();
            self.far.write_all(b"meow").unwrap();
            assert_eq!((self.select(), self.aside()), (1, b"meow".to_vec()));
            self.reactor.rest(self.token);
            self.wait(room);
        }
        self.select();
        let State { table, kernel } = &mut *self.reactor.state.borrow_mut();
        let Kernel::Uring(uring) = kernel else { unreachable!("it was asked for") };
        assert!(table.is_dry(self.token, Direction::Read) && uring.is_repeated(self.token.index()));
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.reactor.uninstall();
    }
}

#[test]
fn what_is_repeated_takes_no_more_than_the_read_has_room_for() {
    for room in [24, 50, 1000, 4096, 10_000] {
        let Some(mut bench) = Bench::new() else { return };
        bench.regularly(room);
        bench.far.write_all(&[7; 1 << 14]).unwrap();
        for _ in 0..10 {
            bench.select();
        }
        let aside = bench.aside().len();
        assert!((1..=room).contains(&aside), "{aside} for {room}");
        assert_eq!(aside + bench.left(), 1 << 14);
    }
}

#[test]
fn what_is_repeated_takes_nothing_when_no_read_waits() {
    for early in [false, true] {
        let Some(mut bench) = Bench::new() else { return };
        bench.regularly(4096);
        bench.far.write_all(b"purr").unwrap();
        assert_eq!((bench.select(), bench.aside()), (1, b"purr".to_vec()));
        if early {
            bench.far.write_all(b"hiss").unwrap(); // The kernel knows already.
        }
        assert!(bench.reactor.rest(bench.token));
        bench.select();
        if !early {
            bench.far.write_all(b"hiss").unwrap();
        }
        for _ in 0..10 {
            bench.select();
        }
        assert_eq!((bench.aside(), bench.left()), (Vec::new(), 4));
        assert!(!bench.reactor.is_receiving(bench.token), "it has ended");
    }
}

#[test]
fn what_is_repeated_takes_nothing_when_another_stream_leaves() {
    let Some(mut bench) = Bench::new() else { return };
    bench.regularly(4096);
    let (other, _far) = std::os::unix::net::UnixStream::pair().unwrap();
    let token = bench.reactor.join(other.as_fd(), Direction::Read).unwrap();
    let waits = bench.reactor.wait(other.as_fd(), token, Direction::Read, Some(&|| 8), PointId::from_bits(1));
    assert!(waits.unwrap().unwrap());
    bench.far.write_all(b"purr").unwrap();
    assert_eq!((bench.select(), bench.aside()), (1, b"purr".to_vec()));
    assert!(bench.reactor.rest(bench.token));
    bench.far.write_all(b"hiss").unwrap();
    assert!(bench.reactor.quit(token).is_none(), "which asks the kernel");
    assert_eq!((bench.aside(), bench.left()), (Vec::new(), 4));
}

#[test]
fn a_read_with_less_room_gets_no_more_than_that() {
    let Some(mut bench) = Bench::new() else { return };
    bench.regularly(4096);
    bench.far.write_all(b"purr").unwrap();
    assert_eq!((bench.select(), bench.aside()), (1, b"purr".to_vec()));
    assert!(bench.reactor.rest(bench.token));
    bench.wait(3);
    bench.far.write_all(b"hiss").unwrap();
    while bench.select() == 0 {}
    assert_eq!((bench.aside(), bench.left()), (b"his".to_vec(), 1));
}

/// Another domain has closed it, this one has a new file under its number, and the news of the first is not here yet.
#[test]
fn what_rests_is_of_no_use_for_another_file_of_the_same_number() {
    let Some(mut bench) = Bench::new() else { return };
    bench.regularly(4096);
    bench.far.write_all(b"purr").unwrap();
    assert_eq!((bench.select(), bench.aside()), (1, b"purr".to_vec()));
    assert!(bench.reactor.rest(bench.token));
    let (other, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    rustix::io::dup2(&other, &mut bench.near).unwrap();
    assert_eq!(bench.reactor.join(bench.near.as_fd(), Direction::Read).unwrap(), bench.token);
    bench.wait(4096);
    far.write_all(b"hiss").unwrap();
    assert!((0..10).any(|_| bench.select() == 1), "it is received from");
    assert_eq!(bench.aside(), b"hiss");
}

#[test]
fn what_another_read_had_room_for_is_not_asked_for_by_the_next() {
    let Ok(reactor) = DomainReactor::install(Some(Reactor::Uring), Material::DEFAULT, Arc::default(), 64) else { return };
    let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
    let near = OwnedFd::from(near);
    let token = reactor.join(near.as_fd(), Direction::Read).unwrap();
    let wait = |room, point| {
        let waits = reactor.wait(near.as_fd(), token, Direction::Read, Some(&|| room), PointId::from_bits(point));
        assert!(waits.unwrap().unwrap());
    };
    let select = || {
        let mut resumed = 0;
        reactor.select(Wait::No, &[], &mut |_| resumed += 1).unwrap();
        resumed
    };
    let aside = || reactor.offer(token, &mut |bytes| Ok((bytes.len(), bytes.len()))).unwrap().unwrap();
    wait(1, 0);
    assert_eq!(select(), 0);
    wait(10, 1); // Its room is noted while the first one's receive is under way.
    far.write_all(b"m").unwrap();
    assert_eq!((select(), aside()), (2, 1));
    reactor.found_nothing(token, Direction::Read);
    wait(5, 2);
    far.write_all(b"0123456789").unwrap();
    assert_eq!((select(), aside()), (1, 5), "the rest stays in the system");
    let _nothing = reactor.quit(token);
    reactor.uninstall();
}
