//! One awaited read of a stream.
//!
//! It is [`perform`](super::source::perform) for those reactors that put aside what comes for a read that waits: what was put aside
//! comes first, and the system is asked only where there is nothing. A read that ends, by its result or because it is dropped,
//! tells its source, so that nothing is put aside any more.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use matou_core::effect::poll_budget;
use matou_core::suspension::Point;

use super::source::{Holder, Source};
use crate::reactor::{Direction, Unarmed};

/// A way to read from a stream.
pub(crate) trait Reads<S> {
    /// What it gives.
    type Output;

    /// For how many bytes it has room. One that only looks has none: what it does not take is not to be taken for it.
    fn room(&self) -> usize;

    /// Takes from what was put aside, and says how many bytes.
    fn copy(&mut self, bytes: &[u8]) -> io::Result<(Self::Output, usize)>;

    /// The system call.
    fn call(&mut self, source: &S) -> io::Result<Self::Output>;
}

/// Reads from a stream, waiting where that would block.
pub(crate) fn read<H: Holder, W: Reads<Source<H::Io>>>(holder: &H, way: W) -> Read<'_, H, W> {
    Read { holder, way, point: None, counted: false, stage: Stage::New }
}

/// The future of [`read`], written by hand as [`Perform`](super::source::Perform) is.
#[must_use = "a call is made only when this is awaited"]
pub(crate) struct Read<'a, H: Holder, W> {
    holder: &'a H,
    way: W,
    /// Where it waits.
    point: Option<Point>,
    /// Whether it is counted among those that wait for what is put aside.
    counted: bool,
    stage: Stage,
}

/// How far a read is.
enum Stage {
    /// It has not taken its effect from the budget.
    New,
    /// It is tried, or waits.
    Begun,
    /// It gave its result.
    Over,
}

// Nothing in it is pinned: the calls are only called.
impl<H: Holder, W> Unpin for Read<'_, H, W> {}

impl<H: Holder, W: Reads<Source<H::Io>>> Future for Read<'_, H, W> {
    type Output = io::Result<W::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<W::Output>> {
        let this = self.get_mut();
        match this.stage {
            Stage::New => ready!(poll_budget(cx)), // A wait takes another one by itself.
            Stage::Begun => {}
            Stage::Over => panic!("a call was polled after its result"),
        }
        this.stage = Stage::Begun;
        let mut resumed = false;
        let result = loop {
            if this.point.is_some() {
                let waited = ready!(this.poll_wait(cx));
                this.point = None;
                if let Err(error) = waited {
                    break Err(error);
                }
                resumed = true;
            }
            let way = &mut this.way;
            let tried = this.holder.hold(|source| {
                source
                    .offer(&mut |bytes| way.copy(bytes))
                    .or_else(|| source.attempt(Direction::Read, resumed, &mut |source: &Source<H::Io>| way.call(source)))
            });
            match tried {
                Ok(None) => {}
                Ok(Some(result)) => break result,
                Err(error) => break Err(error),
            }
            match Point::new() {
                Ok(point) => this.point = Some(point),
                Err(error) => break Err(error.into()),
            }
        };
        this.stage = Stage::Over;
        this.end();
        Poll::Ready(result)
    }
}

impl<H: Holder, W> Read<'_, H, W> {
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        W: Reads<Source<H::Io>>,
    {
        let Read { holder, way, point, counted, .. } = self;
        let point = point.as_mut().expect("asked by the caller");
        let resumed = ready!(point.poll_suspend(cx, |id| {
            let armed = holder.hold(|source| {
                *counted |= source.arm_for(Direction::Read, Some(way.room()), *counted, id)?;
                Ok(())
            });
            armed.map_err(Unarmed::Failed).flatten()
        }));
        Poll::Ready(match resumed {
            Ok(()) | Err(Unarmed::Ready) => Ok(()),
            Err(Unarmed::Failed(error)) => Err(error),
        })
    }

    /// It waits no more.
    fn end(&mut self) {
        if std::mem::take(&mut self.counted) {
            // A stream that is another task's by now keeps the read counted.
            let _not_ours = self.holder.hold(|source| source.done());
        }
    }
}

impl<H: Holder, W> Drop for Read<'_, H, W> {
    fn drop(&mut self) {
        self.end();
    }
}
