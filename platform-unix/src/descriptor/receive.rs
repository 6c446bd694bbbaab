//! One awaited read of a stream.
//!
//! It is [`perform`](super::source::perform) for those reactors that put aside what comes for a read that waits: what was put aside
//! comes first, and the system is asked only where there is nothing. A read that ends, by its result or because it is dropped,
//! tells its source, so that nothing is put aside any more: [`Reading`].

use std::cell::Cell;
use std::future::poll_fn;
use std::io;

use matou_core::effect::poll_budget;
use matou_core::suspension::Point;

use super::source::{Holder, Source};
use crate::reactor::{Direction, Unarmed};

/// Reads from a stream, waiting where that would block. `call` is the system call. `copy` takes from what was put aside instead, and says how
/// many bytes; a read that takes some has `room` for so many, one that only looks has for none.
pub(crate) async fn read<H: Holder, R>(
    holder: &H,
    room: usize,
    mut copy: impl FnMut(&[u8]) -> io::Result<(R, usize)>,
    mut call: impl FnMut(&Source<H::Io>) -> io::Result<R>,
) -> io::Result<R> {
    poll_fn(poll_budget).await; // A wait takes another one by itself.
    let reading = Reading { holder, counted: Cell::new(None) };
    loop {
        let attempt = |source: &Source<H::Io>| {
            if source.arrive() {
                return None;
            }
            source.offer(&mut copy).or_else(|| source.try_here(Direction::Read, &mut call))
        };
        if let Some(result) = holder.hold(attempt)? {
            return result;
        }
        reading.wait(room).await?;
    }
}

/// A read under way. Its drop is its end.
struct Reading<'a, H: Holder> {
    holder: &'a H,
    /// The registration at which it is counted.
    counted: Cell<Option<u64>>,
}

impl<H: Holder> Reading<'_, H> {
    async fn wait(&self, room: usize) -> io::Result<()> {
        let point = Point::new()?;
        let suspended = point.suspend(|id| {
            let armed = self.holder.hold(|source| {
                let epoch = source.arm_for(Direction::Read, Some(room), id)?;
                if let Some(before) = self.counted.replace(epoch) {
                    source.done(before); // Counted twice, or no more there.
                }
                Ok(())
            });
            armed.map_err(Unarmed::Failed).flatten()
        });
        match suspended.await {
            Ok(()) | Err(Unarmed::Ready) => Ok(()),
            Err(Unarmed::Failed(error)) => Err(error),
        }
    }
}

impl<H: Holder> Drop for Reading<'_, H> {
    fn drop(&mut self) {
        if let Some(epoch) = self.counted.get() {
            // A stream that is another task's by now keeps the read counted.
            let _not_ours = self.holder.hold(|source| source.done(epoch));
        }
    }
}
