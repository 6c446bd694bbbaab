//! The ways to read from a stream: where the bytes go.

use std::io::{self, IoSliceMut};
use std::ops::{Deref, Range};
use std::os::fd::AsFd;

use rustix::buffer::spare_capacity;
use rustix::net::RecvFlags;

use super::received::Received;
use crate::descriptor::awaited::Call;
use crate::descriptor::source::Source;
use crate::reactor::{self, Direction, DomainReactor};

/// How many buffers a system call takes at most (`IOV_MAX`). A longer list is cut: more than that is another call's.
const BUFFERS: usize = 1024;

/// Which of them a system call takes, from the first that is not empty on.
pub(super) fn at_once<B: Deref<Target = [u8]>>(bufs: &[B]) -> Range<usize> {
    let first = bufs.iter().position(|buf| !buf.is_empty()).unwrap_or(0);
    first..bufs.len().min(first + BUFFERS)
}

/// Into a buffer of the caller's.
pub(crate) struct IntoBuffer<'a>(pub(crate) &'a mut [u8]);

/// Into several, one after the other.
pub(crate) struct IntoBuffers<'a, 'b>(pub(crate) &'a mut [IoSliceMut<'b>]);

/// Into a buffer that the domain lends.
pub(super) struct IntoLent;

/// Into a buffer of the caller's, and they stay in the stream.
pub(super) struct Look<'a>(pub(super) &'a mut [u8]);

/// Copies as many bytes as there is room for, and says how many.
fn copied(buf: &mut [u8], bytes: &[u8]) -> usize {
    let length = buf.len().min(bytes.len());
    buf[..length].copy_from_slice(&bytes[..length]);
    length
}

impl<T: AsFd> Call<Source<T>> for IntoBuffer<'_> {
    type Output = usize;
    const READS: bool = true;

    fn direction(&self) -> Direction {
        Direction::Read
    }

    fn room(&self, _current: Option<&DomainReactor>) -> usize {
        self.0.len()
    }

    fn copy(&mut self, bytes: &[u8], _current: Option<&DomainReactor>) -> io::Result<(usize, usize)> {
        let taken = copied(self.0, bytes);
        Ok((taken, taken))
    }

    fn call(&mut self, source: &Source<T>, _current: Option<&DomainReactor>) -> io::Result<usize> {
        let (moved, _) = rustix::net::recv(source, &mut *self.0, RecvFlags::empty())?;
        source.moved(Direction::Read, moved, self.0.len());
        Ok(moved)
    }
}

impl<T: AsFd> Call<Source<T>> for IntoBuffers<'_, '_> {
    type Output = usize;
    const READS: bool = true;

    fn direction(&self) -> Direction {
        Direction::Read
    }

    fn room(&self, _current: Option<&DomainReactor>) -> usize {
        self.0.iter().map(|buf| buf.len()).sum()
    }

    fn copy(&mut self, bytes: &[u8], _current: Option<&DomainReactor>) -> io::Result<(usize, usize)> {
        let taken = self.0.iter_mut().fold(0, |taken, buf| taken + copied(buf, &bytes[taken..]));
        Ok((taken, taken))
    }

    fn call(&mut self, source: &Source<T>, _current: Option<&DomainReactor>) -> io::Result<usize> {
        let given = at_once(self.0);
        let bufs = &mut self.0[given];
        let moved = rustix::io::readv(source, bufs)?;
        source.moved(Direction::Read, moved, bufs.iter().map(|buf| buf.len()).sum());
        Ok(moved)
    }
}

impl<T: AsFd> Call<Source<T>> for IntoLent {
    type Output = Received;
    const READS: bool = true;

    fn direction(&self) -> Direction {
        Direction::Read
    }

    fn room(&self, current: Option<&DomainReactor>) -> usize {
        current.map_or(0, DomainReactor::lent_size)
    }

    fn copy(&mut self, bytes: &[u8], current: Option<&DomainReactor>) -> io::Result<(Received, usize)> {
        let mut lent = reactor::lend(current)?;
        let room = lent.room();
        let length = room.capacity().min(bytes.len());
        room.extend_from_slice(&bytes[..length]);
        Ok((Received::new(lent), length))
    }

    #[inline(always)]
    fn call(&mut self, source: &Source<T>, current: Option<&DomainReactor>) -> io::Result<Received> {
        // Only for a call that may find something: who waits holds none.
        let mut lent = reactor::lend(current)?;
        let room = lent.room();
        let possible = room.capacity();
        let (moved, _) = rustix::net::recv(source, spare_capacity(room), RecvFlags::empty())?;
        source.moved(Direction::Read, moved, possible);
        Ok(Received::new(lent))
    }
}

impl<T: AsFd> Call<Source<T>> for Look<'_> {
    type Output = usize;
    const READS: bool = true;

    fn direction(&self) -> Direction {
        Direction::Read
    }

    fn room(&self, _current: Option<&DomainReactor>) -> usize {
        0
    }

    fn copy(&mut self, bytes: &[u8], _current: Option<&DomainReactor>) -> io::Result<(usize, usize)> {
        Ok((copied(self.0, bytes), 0))
    }

    fn call(&mut self, source: &Source<T>, _current: Option<&DomainReactor>) -> io::Result<usize> {
        let (peeked, _) = rustix::net::recv(source, &mut *self.0, RecvFlags::PEEK)?;
        Ok(peeked)
    }
}
