//! The buffers that a domain lends to those who receive: who waits holds none.
//!
//! A [`Pool`] belongs to its domain's reactor. A buffer is [lent](Pool::lend) for one call that may find something, and comes back when
//! what it holds is dropped, or at once where the call found nothing. So there are about as many buffers as tasks that are busy with
//! what they received, not as connections.
//!
//! *Bounded*: a pool keeps at most [`KEPT`] bytes, but always one buffer. What comes back beyond goes to the allocator: a moment in which
//! thousands of buffers are out is not paid for ever after.
//!
//! *Late*: what is lent holds its pool, so it may outlive the reactor, which [closes](Pool::close) it: from then on nothing is kept. The last one
//! takes the pool along. One that is forgotten costs its own memory, and the empty pool's.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;

/// How large a buffer is, where the program has not said.
pub(crate) const DEFAULT_SIZE: usize = 16 << 10;

/// How many bytes of free buffers a domain keeps.
const KEPT: usize = 256 << 10;

/// See the [module](self).
pub(crate) struct Pool {
    /// Of each buffer, in bytes. Not zero.
    size: usize,
    /// How many are kept.
    most: Cell<usize>,
    /// Free buffers, empty, each with its capacity. The last one used is the first one lent: the processor has it at hand.
    #[expect(clippy::vec_box, reason = "it is the box that is lent")]
    kept: RefCell<Vec<Box<Buffer>>>,
}

/// Boxed, so that whatever passes on what it holds passes on a word.
struct Buffer {
    /// Its capacity is the pool's size. Filled in place, it is never moved to another place.
    bytes: Vec<u8>,
    /// Where it goes back to, while it is lent.
    pool: Option<Rc<Pool>>,
}

impl Pool {
    pub(crate) fn new(size: usize) -> Rc<Pool> {
        Rc::new(Pool { size, most: Cell::new((KEPT / size).max(1)), kept: RefCell::default() })
    }

    /// The domain ends: nothing is kept any more.
    pub(crate) fn close(&self) {
        self.most.set(0);
        self.kept.take();
    }

    /// How many bytes each has.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Lends an empty buffer.
    #[inline]
    pub(crate) fn lend(self: &Rc<Self>) -> io::Result<Lent> {
        let kept = self.kept.borrow_mut().pop();
        let mut buffer = match kept {
            Some(buffer) => buffer,
            None => self.buffer()?,
        };
        buffer.pool = Some(Rc::clone(self));
        Ok(Lent { buffer: Some(buffer) })
    }

    #[cold]
    fn buffer(&self) -> io::Result<Box<Buffer>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(self.size).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(Box::new(Buffer { bytes, pool: None }))
    }
}

/// A buffer that was lent, and what it holds.
pub(crate) struct Lent {
    /// There until it is dropped.
    buffer: Option<Box<Buffer>>,
}

impl Lent {
    /// What it holds.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.as_ref().map_or(&[], |buffer| &buffer.bytes)
    }

    /// Where to put what comes: room is in its capacity.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        &mut self.buffer.as_mut().expect("it is there until this is dropped").bytes
    }
}

impl Drop for Lent {
    #[inline]
    fn drop(&mut self) {
        let Some(mut buffer) = self.buffer.take() else { return };
        buffer.bytes.clear();
        let Some(pool) = buffer.pool.take() else { return };
        let mut kept = pool.kept.borrow_mut();
        if kept.len() < pool.most.get() {
            kept.push(buffer);
        }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.bytes()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem;

    fn kept(pool: &Pool) -> usize {
        pool.kept.borrow().len()
    }

    #[test]
    fn a_buffer_that_came_back_is_lent_again_empty() {
        let pool = Pool::new(1 << 10);
        let mut lent = pool.lend().unwrap();
        lent.room().extend_from_slice(b"meow");
        let place = lent.bytes().as_ptr();
        drop(lent);
        assert_eq!(kept(&pool), 1);
        let mut lent = pool.lend().unwrap();
        assert_eq!((lent.bytes().as_ptr(), lent.bytes()), (place, &[][..]));
        assert_eq!(lent.room().capacity(), 1 << 10);
        assert_eq!(kept(&pool), 0);
    }

    #[test]
    fn a_crowd_leaves_a_bounded_number_behind() {
        for (size, expected) in [(KEPT / 4, 4), (KEPT - 1, 1), (4 * KEPT, 1)] {
            let pool = Pool::new(size);
            let crowd: Vec<_> = (0..100).map(|_| pool.lend().unwrap()).collect();
            drop(crowd);
            assert_eq!(kept(&pool), expected, "of {size} bytes each");
        }
    }

    #[test]
    fn what_is_lent_may_outlive_its_domain() {
        let pool = Pool::new(8);
        let gone = Rc::downgrade(&pool);
        let mut lent = pool.lend().unwrap();
        lent.room().extend_from_slice(b"late");
        drop(pool);
        assert_eq!(lent.bytes(), b"late");
        drop(lent);
        assert_eq!(gone.strong_count(), 0);
    }

    #[test]
    fn what_is_forgotten_costs_no_other_buffer() {
        let pool = Pool::new(8);
        let [early, late, forgotten] = [(); 3].map(|()| pool.lend().unwrap());
        mem::forget(forgotten);
        drop(early);
        assert_eq!(kept(&pool), 1);
        pool.close();
        drop(late);
        assert_eq!(kept(&pool), 0);
    }

    #[test]
    fn more_than_there_is_is_an_error() {
        let error = Pool::new(isize::MAX as usize).lend().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    }
}
