//! A receive that the kernel repeats until it has brought so many bytes.
//!
//! What is repeated (`IORING_RECV_MULTISHOT`) spares an operation for each wait, and would take whatever comes, read or not. A recent kernel (6.18 does) can
//! be told after how many bytes to end, and how many to take at once: so it takes no more than both together. An earlier kernel refuses the
//! operation. The `io-uring` crate does not know of the first yet.

#![allow(unsafe_code)] // A field of an operation that the crate does not give is written by its place; a descriptor is known by its number.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use io_uring::{cqueue, opcode, squeue, types};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown, socketpair};

use super::buffers::{Buffers, GROUP, SIZE};
use super::receive::POLL_FIRST;
use super::ring::{Ring, Sleep};
use crate::descriptor::is_ready;
use crate::time::Duration;

/// Where an operation says how (`ioprio`), and how much (`optlen`): the layout of `struct io_uring_sqe` never changes.
const HOW: usize = 2;
const MOST: usize = 44;

/// How many bytes are taken at once, where there is room for so many.
pub(super) fn at_once(room: u16) -> u16 {
    (room / 4).clamp(1, SIZE as u16)
}

/// Receives what comes, again and again, as long as there is room for what it takes [at once](at_once); at first it waits.
pub(super) fn receive(fd: i32, room: u16) -> squeue::Entry {
    const { assert!(size_of::<squeue::Entry>() == 64) };
    let at_once = at_once(room);
    let mut entry = opcode::RecvMulti::new(types::Fd(fd), GROUP).len(at_once.into()).build();
    let place = (&raw mut entry).cast::<u8>();
    // SAFETY: both places are within the 64 bytes of the entry, which is the kernel's struct (`repr(C)`), and aligned for what is there.
    unsafe {
        *place.add(HOW).cast::<u16>() |= POLL_FIRST;
        *place.add(MOST).cast::<u32>() = u32::from(room - at_once + 1);
    }
    entry
}

/// Whether the peer has ended or reset the connection. What is repeated does not tell of a reset that stood behind its first bytes when it was
/// begun: nothing wakes it any more.
///
/// # Safety
///
/// The descriptor is open.
pub(super) unsafe fn is_over(fd: i32) -> bool {
    // SAFETY: the caller's.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    // An error of the call is taken for one of the stream: that costs the repetition, and no more.
    is_ready(fd, PollFlags::RDHUP).unwrap_or(true)
}

/// Whether this kernel keeps to such a limit, takes nothing once such a receive is taken back, and tells of an end that comes with bytes: it is
/// tried once. An error, for which it is taken not to, leaves perhaps something under way in this ring.
pub(super) fn is_known(ring: &mut Ring, buffers: &mut Buffers) -> io::Result<bool> {
    #[cfg(test)]
    if super::ring::refusal::REPEATS_NONE.get() {
        return Ok(false);
    }
    if let Some(&known) = KNOWN.get() {
        return Ok(known);
    }
    let tried = try_it(ring, buffers);
    let known = *KNOWN.get_or_init(|| *tried.as_ref().unwrap_or(&false));
    tried.map(|_| known)
}

/// Whether it was tried, and this kernel does not.
pub(super) fn is_unknown() -> bool {
    KNOWN.get() == Some(&false)
}

static KNOWN: OnceLock<bool> = OnceLock::new();

/// Nothing else is under way in this ring.
fn try_it(ring: &mut Ring, buffers: &mut Buffers) -> io::Result<bool> {
    Ok(keeps_to_it(ring, buffers)? && ends_when_asked(ring, buffers)? && sees_the_end_behind_bytes(ring, buffers)?)
}

/// Two bytes are taken one by one, and that is all.
fn keeps_to_it(ring: &mut Ring, buffers: &mut Buffers) -> io::Result<bool> {
    let (near, far) = pair()?;
    send(&far, b"meow", SendFlags::NOSIGNAL)?;
    drop(far); // So that it ends in any case.
    ring.push(&receive(near.as_raw_fd(), 2))?;
    let mut came = Vec::new();
    while next(ring, buffers, &mut came)? {}
    Ok(came == [1, 1])
}

/// It is taken back in the call that finds more to be received, and leaves that where it is.
fn ends_when_asked(ring: &mut Ring, buffers: &mut Buffers) -> io::Result<bool> {
    const NAME: u64 = 1;
    let (near, far) = pair()?;
    let mut came = Vec::new();
    send(&far, b"m", SendFlags::NOSIGNAL)?;
    ring.push(&receive(near.as_raw_fd(), 64).user_data(NAME))?;
    let goes_on = next(ring, buffers, &mut came)?;
    send(&far, b"eow", SendFlags::NOSIGNAL)?;
    drop(far);
    if goes_on {
        ring.push(&opcode::AsyncCancel::new(NAME).build().flags(squeue::Flags::SKIP_SUCCESS))?;
        while next(ring, buffers, &mut came)? {}
    }
    let (left, _) = recv(&near, &mut [0; 8], RecvFlags::DONTWAIT)?;
    Ok(goes_on && came == [1, -Errno::CANCELED.raw_os_error()] && left == 3)
}

/// Bytes, and then the end, come before it looks: it tells both. Of kernels that have the limit, early ones may lose the second.
fn sees_the_end_behind_bytes(ring: &mut Ring, buffers: &mut Buffers) -> io::Result<bool> {
    const NAME: u64 = 2;
    let (near, far) = pair()?;
    let mut came = Vec::new();
    ring.push(&receive(near.as_raw_fd(), 64).user_data(NAME))?;
    ring.enter(Sleep::No)?; // It waits.
    send(&far, b"m", SendFlags::NOSIGNAL)?;
    shutdown(&far, Shutdown::Write)?;
    let goes_on = next(ring, buffers, &mut came)?;
    ring.enter(Sleep::No)?;
    if goes_on {
        // So that it ends in any case.
        ring.push(&opcode::AsyncCancel::new(NAME).build().flags(squeue::Flags::SKIP_SUCCESS))?;
        while next(ring, buffers, &mut came)? {}
    }
    Ok(goes_on && came == [1, 0])
}

/// Waits for the next completion, notes its result, and says whether there is another one to come.
fn next(ring: &mut Ring, buffers: &mut Buffers, came: &mut Vec<i32>) -> io::Result<bool> {
    loop {
        if let Some(completion) = ring.next() {
            if let Some(filled) = cqueue::buffer_select(completion.flags()).and_then(|id| buffers.take(id, 0)) {
                buffers.give_back(filled);
            }
            came.push(completion.result());
            return Ok(cqueue::more(completion.flags()));
        }
        ring.enter(Sleep::For(Duration::from_millis(10)))?;
    }
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A system without io_uring, or with a filter before it, has nothing to say.
    #[test]
    fn a_kernel_that_knows_the_limit_is_found_to_know_it() {
        let Ok(mut ring) = Ring::new() else { return };
        let mut buffers = Buffers::new(&ring).unwrap();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
        let version = (numbers.next().unwrap(), numbers.next().unwrap());
        let known = try_it(&mut ring, &mut buffers).unwrap();
        assert!(known || version < (6, 20), "{release}"); // Early ones of 6.18 and 6.19 do not tell of the end.
        assert!(!known || version > (6, 15), "{release}");
        assert!(buffers.are_all_there());
        buffers.let_go();
    }
}
