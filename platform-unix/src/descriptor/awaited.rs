//! One awaited call.
//!
//! [`Awaited`] is the only loop: take one effect of the budget; try the system call, unless it is known to find nothing; if it
//! found nothing, suspend until the reactor says otherwise; again. The call itself never blocks, and nothing is held across the
//! suspension but the caller's own buffer: dropping the future at any moment loses no byte.
//!
//! The loop reaches the descriptor through a [`Holder`], each time anew: a plain socket is its own, and one under ownership is
//! checked every time (`owned`).
//!
//! For the read of a stream, reactors may put aside what comes while it waits: that comes first, and the system is asked only where there is
//! nothing. A read that ends, by its result or because it is dropped, tells its source, so that nothing is put aside any more.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use matou_core::effect::poll_budget;
use matou_core::suspension::Point;

use super::has_ended;
use super::source::{Offered, Source};
use crate::reactor::{self, Direction, DomainReactor, Unarmed};

/// What leads to a descriptor.
pub(crate) trait Holder {
    /// What has the descriptor.
    type Io: AsFd;

    /// Calls `f` with its source, or says why there is none to be had.
    fn hold<R>(&self, f: impl FnOnce(&Source<Self::Io>) -> R) -> io::Result<R>;
}

impl<T: AsFd> Holder for Source<T> {
    type Io = T;

    fn hold<R>(&self, f: impl FnOnce(&Source<T>) -> R) -> io::Result<R> {
        Ok(f(self))
    }
}

/// A call that may have to wait.
pub(crate) trait Call<S> {
    /// What it gives.
    type Output;

    /// Whether it reads from a stream: then it may be given what was put aside instead.
    const READS: bool;

    /// Whether it finds nothing also where nothing will come any more, as on a datagram socket that was shut down: then the system is asked, and
    /// [`end`](Call::end) is what it gives.
    const HIDES_ITS_END: bool = false;

    /// Which way its bytes go.
    fn direction(&self) -> Direction;

    /// Whether to try it though nobody was resumed for it. Where not, it is as if it had found nothing.
    fn is_worth_trying(&self, _source: &S) -> bool {
        true
    }

    /// The system call, on the domain with this reactor.
    fn call(&mut self, source: &S, current: Option<&DomainReactor>) -> io::Result<Self::Output>;

    /// What it gives at an end that it [hides](Call::HIDES_ITS_END).
    fn end(&mut self) -> io::Result<Self::Output> {
        unreachable!("it tells")
    }

    /// For how many bytes a read has room. One that only looks has none: what it does not take is not to be taken for it.
    fn room(&self, _current: Option<&DomainReactor>) -> usize {
        0
    }

    /// Takes from what was put aside, and says how many bytes.
    fn copy(&mut self, _bytes: &[u8], _current: Option<&DomainReactor>) -> io::Result<(Self::Output, usize)> {
        unreachable!("it reads from no stream")
    }
}

/// Any call but the read of a stream.
pub(crate) struct Plain<F> {
    direction: Direction,
    call: F,
}

impl<F> Plain<F> {
    pub(crate) fn new(direction: Direction, call: F) -> Plain<F> {
        Plain { direction, call }
    }
}

impl<S, R, F: FnMut(&S) -> io::Result<R>> Call<S> for Plain<F> {
    type Output = R;
    const READS: bool = false;

    fn direction(&self) -> Direction {
        self.direction
    }

    fn call(&mut self, source: &S, _current: Option<&DomainReactor>) -> io::Result<R> {
        (self.call)(source)
    }
}

/// A call that receives, of a socket perhaps, and hides its end: `end` gives what stands for it.
pub(crate) struct Hiding<F, E> {
    call: F,
    end: E,
}

impl<F, E> Hiding<F, E> {
    pub(crate) fn new(call: F, end: E) -> Hiding<F, E> {
        Hiding { call, end }
    }
}

impl<S, R, F: FnMut(&S) -> io::Result<R>, E: FnMut() -> io::Result<R>> Call<S> for Hiding<F, E> {
    type Output = R;
    const READS: bool = false;
    const HIDES_ITS_END: bool = true;

    fn direction(&self) -> Direction {
        Direction::Read
    }

    fn call(&mut self, source: &S, _current: Option<&DomainReactor>) -> io::Result<R> {
        (self.call)(source)
    }

    fn end(&mut self) -> io::Result<R> {
        (self.end)()
    }
}

/// Receives by one awaited system call, which may find nothing for ever: `end` gives what stands for the end then.
pub(crate) async fn receive<H, R>(
    holder: &H,
    call: impl FnMut(&Source<H::Io>) -> io::Result<R>,
    end: impl FnMut() -> io::Result<R>,
) -> io::Result<R>
where
    H: Holder,
{
    Awaited::new(holder, Hiding::new(call, end)).await
}

/// Does one awaited system call, waiting where it would block.
pub(crate) fn perform<H, R, F>(holder: &H, direction: Direction, call: F) -> Awaited<'_, H, Plain<F>>
where
    H: Holder,
    F: FnMut(&Source<H::Io>) -> io::Result<R>,
{
    Awaited::new(holder, Plain::new(direction, call))
}

/// The future of a call. It is written by hand because it is what a connection that waits is made of: there is nothing in it twice.
#[must_use = "a call is made only when this is awaited"]
pub(crate) struct Awaited<'a, H: Holder, C> {
    holder: &'a H,
    call: C,
    wait: Wait,
}

// Nothing in it is pinned: the call is only called.
impl<H: Holder, C> Unpin for Awaited<'_, H, C> {}

impl<'a, H: Holder, C> Awaited<'a, H, C> {
    pub(crate) fn new(holder: &'a H, call: C) -> Self {
        Awaited { holder, call, wait: Wait::default() }
    }
}

impl<H: Holder, C: Call<Source<H::Io>>> Future for Awaited<'_, H, C> {
    type Output = io::Result<C::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<C::Output>> {
        let this = self.get_mut();
        this.wait.poll(this.holder, &mut this.call, cx)
    }
}

impl<H: Holder, C> Drop for Awaited<'_, H, C> {
    fn drop(&mut self) {
        self.wait.end(self.holder);
    }
}

/// How far a call is, and where it waits. It may be another one at each poll, as long as all of them go the same way.
#[derive(Debug, Default)]
pub(crate) struct Wait {
    point: Option<Point>,
    /// Whether it is counted among those that wait for what is put aside.
    counted: bool,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    /// It has not taken its effect from the budget.
    #[default]
    New,
    /// It is tried, or waits.
    Begun,
    /// It gave its result.
    Over,
}

impl Wait {
    /// Tries `call`, and waits until it has a result.
    #[inline(always)] // It is all of `Awaited::poll`.
    pub(crate) fn poll<H, C>(&mut self, holder: &H, call: &mut C, cx: &mut Context<'_>) -> Poll<io::Result<C::Output>>
    where
        H: Holder,
        C: Call<Source<H::Io>>,
    {
        match self.stage {
            Stage::New => ready!(poll_budget(cx)), // A wait takes another one by itself.
            Stage::Begun => {}
            Stage::Over => panic!("a call was polled after its result"),
        }
        self.stage = Stage::Begun;
        let current = reactor::current();
        let current = current.as_deref();
        let mut resumed = false;
        let result = loop {
            if self.point.is_none()
                && let Some(result) = attempt(holder, call, current, resumed)
            {
                break result;
            }
            if let Err(error) = ready!(self.poll_wait(holder, call, current, cx)) {
                break Err(error);
            }
            resumed = true;
        };
        self.stage = Stage::Over;
        if self.counted {
            self.settle(holder, current, true);
        }
        Poll::Ready(result)
    }

    /// Waits. Whether there is something to be found is not known afterwards.
    #[inline]
    fn poll_wait<H, C>(&mut self, holder: &H, call: &C, current: Option<&DomainReactor>, cx: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        H: Holder,
        C: Call<Source<H::Io>>,
    {
        let Wait { point, counted, .. } = self;
        let waited = Point::poll_at(point, cx, |point| {
            let armed = holder.hold(|source| {
                let room: Option<&dyn Fn() -> usize> = if C::READS { Some(&|| call.room(current)) } else { None };
                if source.arm_for(current, call.direction(), room, point)? {
                    source.count(std::mem::replace(counted, true));
                }
                Ok(())
            });
            armed.map_err(Unarmed::Failed).flatten()
        });
        waited.map(looked_again)
    }

    /// Tells the source, if a call is under way, that it is given up. The point is the caller's, to be dropped.
    pub(crate) fn end(&mut self, holder: &impl Holder) {
        if self.counted {
            self.settle(holder, reactor::current().as_deref(), false);
        }
    }

    /// It waits no more, and was counted.
    fn settle(&mut self, holder: &impl Holder, current: Option<&DomainReactor>, has_result: bool) {
        self.counted = false;
        // A stream that is another task's by now keeps the read counted.
        let _not_ours = holder.hold(|source| source.done(current, has_result));
    }
}

/// Tries it. `None`: it would block.
#[inline]
fn attempt<H, C>(holder: &H, call: &mut C, current: Option<&DomainReactor>, resumed: bool) -> Option<io::Result<C::Output>>
where
    H: Holder,
    C: Call<Source<H::Io>>,
{
    let tried = holder.hold(|source| {
        if C::READS && source.may_have_aside() {
            match source.offer_aside(current, &mut |bytes| call.copy(bytes, current)) {
                Offered::Taken(result) => return Some(result),
                Offered::OnItsWay => return None,
                Offered::Nothing => {}
            }
        }
        let result = source.attempt(current, call.direction(), resumed, &mut |source: &Source<H::Io>| {
            // What was being fetched may have arrived since: it comes first.
            if (C::READS && source.carries()) || (!resumed && !call.is_worth_trying(source)) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            call.call(source, current)
        });
        if C::HIDES_ITS_END && result.is_none() && source.is_at_its_end(current, resumed, || has_ended(source)) {
            // Something may have come before the end, and after the call, or while that was known to find nothing.
            return loop {
                match call.call(source, current) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Some(call.end()),
                    result => break Some(result),
                }
            };
        }
        result
    });
    tried.unwrap_or_else(|error| Some(Err(error)))
}

/// Whoever found out before the wait began that it may be over looks again, too.
fn looked_again(waited: Result<(), Unarmed>) -> io::Result<()> {
    match waited {
        Ok(()) | Err(Unarmed::Ready) => Ok(()),
        Err(Unarmed::Failed(error)) => Err(error),
    }
}

/// Waits until a call in `direction`, which just found nothing, may find something. `in_vain` is asked before the wait begins: somebody else
/// may have found it since.
pub(crate) async fn wait<T: AsFd>(source: &Source<T>, direction: Direction, in_vain: impl Fn() -> bool) -> io::Result<()> {
    let mut point = None;
    let arm = |id| if in_vain() { Err(Unarmed::Ready) } else { source.arm(direction, id) };
    looked_again(poll_fn(|cx| Point::poll_at(&mut point, cx, arm)).await)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    struct Reluctant<'a> {
        log: &'a RefCell<Vec<&'static str>>,
    }

    impl Call<Source<UnixStream>> for Reluctant<'_> {
        type Output = ();
        const READS: bool = false;

        fn direction(&self) -> Direction {
            Direction::Read
        }

        fn is_worth_trying(&self, _source: &Source<UnixStream>) -> bool {
            self.log.borrow_mut().push("asked");
            false
        }

        fn call(&mut self, _source: &Source<UnixStream>, _current: Option<&DomainReactor>) -> io::Result<()> {
            self.log.borrow_mut().push("tried");
            Ok(())
        }
    }

    #[test]
    fn what_is_not_worth_trying_is_tried_after_an_event() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.write_all(b"meow").unwrap();
        let log = RefCell::default();
        crate::run(async {
            let source = Source::new(ours);
            Awaited::new(&source, Reluctant { log: &log }).await
        })
        .unwrap();
        assert_eq!(log.into_inner(), ["asked", "tried"]);
    }
}
