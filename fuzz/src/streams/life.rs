//! One stream, from its connection to its end: the steps of its program, each compared with the [ledger](super::ledger).

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::Shutdown;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::task::Poll;
use std::time::{Duration, Instant};
use std::vec;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use platform_unix::time::{sleep, timeout};
use platform_unix::yield_now;

use super::Checked;
use super::ledger::Ledger;
use super::near::Near;
use super::program::{Last, Leave, Pause, ROOMS, Step, Way};

/// What takes longer than this does not come.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many reads of a stream wait at once.
const MOST_KEPT: usize = 4;
const PIECE: usize = 1 << 16;

/// A stream, and what is to become of it.
pub(super) struct Life<S: Near> {
    /// `None` once it was dropped.
    near: Option<S>,
    rest: Rest<S>,
}

/// All but the stream.
struct Rest<S: Near> {
    far: Option<S::Std>,
    steps: std::iter::Enumerate<vec::IntoIter<Step>>,
    ledger: Ledger,
    /// The far end loses a byte: the tests see it found.
    leaky: bool,
}

/// A read that has begun.
struct Kept<'a> {
    read: Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + 'a>>,
    room: usize,
    looks: bool,
}

impl<'a> Kept<'a> {
    fn begin<S: Near>(near: &'a S, way: Way, lent: usize) -> Kept<'a> {
        let (room, looks) = match way {
            Way::Read(room) | Way::Vectored(room) => (room, false),
            Way::Look(room) => (room, true),
            Way::Receive => (lent, false),
        };
        let read = async move {
            let mut buf = vec![0; room];
            let length = match way {
                Way::Read(_) => near.read(&mut buf).await?,
                Way::Look(_) => near.peek(&mut buf).await?,
                Way::Receive => return Ok(near.receive().await?.to_vec()),
                Way::Vectored(room) => {
                    let (one, other) = buf.split_at_mut(room / 3);
                    near.read_vectored(&mut [IoSliceMut::new(one), IoSliceMut::new(other)]).await?
                }
            };
            buf.get(..length).map(Vec::from).ok_or_else(|| io::Error::other(format!("{length} bytes, with room for {room}")))
        };
        Kept { read: Box::pin(read), room, looks }
    }

    async fn poll_once(&mut self) -> Option<io::Result<Vec<u8>>> {
        once(self.read.as_mut()).await
    }

    /// It is never dropped. Its memory stays known, so that nobody takes it for a leak.
    fn forget(self) {
        static FORGOTTEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        let place = (&raw const *self.read).cast::<()>().addr();
        FORGOTTEN.lock().expect("nobody panics with it").push(place);
        std::mem::forget(self.read);
    }
}

/// What a future gives in its next poll, if anything.
async fn once<F: Future + ?Sized>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// What must come, and in time.
async fn in_time<T>(what: &str, future: impl Future<Output = io::Result<T>>) -> Checked<io::Result<T>> {
    timeout(PATIENCE, future).await.map_err(|_| format!("{what} hangs"))
}

async fn pause(pause: Pause) {
    match pause {
        Pause::None => {}
        Pause::Yields(times) => {
            for _ in 0..times {
                yield_now().await;
            }
        }
        Pause::Sleep(micros) => sleep(Duration::from_micros(micros)).await,
    }
}

impl<S: Near> Life<S> {
    pub(super) fn new(steps: Vec<Step>, ledger: Ledger, leaky: bool) -> io::Result<Life<S>> {
        let (near, far) = S::pair()?;
        let rest = Rest { far: Some(far), steps: steps.into_iter().enumerate(), ledger, leaky };
        Ok(Life { near: Some(near), rest })
    }

    /// Goes on, on this domain, until the stream is to be somewhere else, or no more.
    pub(super) async fn stay(&mut self, lent: usize) -> Checked<Leave> {
        loop {
            let next = match &self.near {
                Some(near) => self.rest.steps_of(near, lent).await?,
                None => self.rest.without_stream()?,
            };
            match next {
                Leave::Convert(room) => {
                    let near = self.near.take().ok_or("there is a stream to be converted")?;
                    let near = self.rest.convert(near, room).await.map_err(|why| format!("converted with room for {room}: {why}"))?;
                    self.near = Some(near);
                }
                Leave::Wrap(times) => {
                    let near = self.near.take().ok_or("there is a stream to be wrapped")?;
                    let near = self.rest.wrapped(near, times).await.map_err(|why| format!("wrapped {times} times: {why}"))?;
                    self.near = Some(near);
                }
                Leave::Close => {
                    self.near = None;
                    let ledger = &mut self.rest.ledger;
                    ledger.write_shut = true;
                    ledger.cut |= ledger.come.given < ledger.come.sent; // The far end has a reset.
                }
                Leave::Move(_) | Leave::Outlive | Leave::Over => {
                    match next {
                        Leave::Move(1..) => self.rest.shows("moved"),
                        Leave::Outlive => self.rest.shows("outlived"),
                        _ => {}
                    }
                    return Ok(next);
                }
            }
        }
    }

    /// There are no more steps: each byte that is on its way has to come.
    pub(super) async fn end(mut self) -> Checked<Ledger> {
        let Life { near, rest } = &mut self;
        if let Some(near) = near.take() {
            if let Some(far) = &rest.far
                && !std::mem::replace(&mut rest.ledger.ended, true)
            {
                rest.ledger.far(S::end(far, Shutdown::Write), "the far end is not ended")?;
            }
            let before = rest.ledger.come.given;
            for number in 0.. {
                rest.drain()?; // One direction that is full may hold up the other.
                let mut read = Kept::begin(&near, Way::Read(PIECE), 0);
                let result = in_time("the last read", read.read.as_mut()).await?;
                let is_over = result.as_ref().map_or(true, Vec::is_empty);
                rest.ledger.read(result, PIECE, false).map_err(|why| format!("at the end, read {number} behind {before}: {why}"))?;
                if is_over {
                    break;
                }
            }
            rest.ledger.write_shut = true;
        }
        let begun = Instant::now();
        while !rest.drain()? {
            if begun.elapsed() > PATIENCE {
                return Err(String::from("the stream was dropped, and the far end does not see it"));
            }
            sleep(Duration::from_micros(50)).await;
        }
        if let Some(far) = rest.far.take() {
            S::reset(far).map_err(|error| format!("the far end is not closed: {error}"))?;
        }
        Ok(self.rest.ledger)
    }
}

impl<S: Near> Rest<S> {
    /// The steps that leave the stream where it is.
    async fn steps_of(&mut self, near: &S, lent: usize) -> Checked<Leave> {
        let mut kept = Vec::new();
        let (leave, forgets) = loop {
            let Some((number, step)) = self.steps.next() else { break (Leave::Over, false) };
            if let Step::Leave(leave, forgets) = step {
                break (leave, forgets);
            }
            self.step(near, step, lent, &mut kept).await.map_err(|why| format!("step {number}, {step:?}: {why}"))?;
        };
        for read in kept {
            self.desert(read, forgets);
        }
        Ok(leave)
    }

    /// Those of the far end alone.
    fn without_stream(&mut self) -> Checked<Leave> {
        while let Some((_, step)) = self.steps.next() {
            match step {
                Step::Drain => _ = self.drain()?,
                Step::Close => self.close()?,
                Step::Leave(leave @ (Leave::Move(_) | Leave::Outlive), _) => return Ok(leave),
                _ => {}
            }
        }
        Ok(Leave::Over)
    }

    async fn step<'a>(&mut self, near: &'a S, step: Step, lent: usize, kept: &mut Vec<Kept<'a>>) -> Checked {
        match step {
            Step::Send(length) => self.send(length)?,
            Step::End => self.end(Shutdown::Write)?,
            Step::Close => self.close()?,
            Step::Reset => self.reset()?,
            Step::Drain => _ = self.drain()?,
            Step::Begin(way, rest) => {
                let mut read = Kept::begin(near, way, lent);
                match read.poll_once().await {
                    Some(result) => self.ledger.read(result, read.room, read.looks)?,
                    None if kept.len() < MOST_KEPT => kept.push(read),
                    None => self.desert(read, false),
                }
                pause(rest).await;
            }
            Step::Again(place) => {
                if let Some(read) = kept.get_mut(place)
                    && let Some(result) = read.poll_once().await
                {
                    self.over(result, kept.remove(place))?;
                }
            }
            Step::Drop(place) | Step::Forget(place) => {
                if place < kept.len() {
                    self.desert(kept.remove(place), matches!(step, Step::Forget(_)));
                }
            }
            Step::Await(place) => {
                if place < kept.len() && self.ledger.is_due() {
                    let mut read = kept.remove(place);
                    let result = in_time("a read", read.read.as_mut()).await?;
                    self.shows("awaited");
                    self.over(result, read)?;
                }
            }
            Step::Rounds { count, way, length, pause: between, last } => {
                for round in 1..=count {
                    let mut read = Kept::begin(near, way, lent);
                    let mut result = read.poll_once().await;
                    if result.is_none() {
                        pause(between).await;
                        match last {
                            Last::More if round == count => self.send(PIECE)?,
                            Last::Reset if round == count => self.reset()?,
                            _ => self.send(length)?,
                        }
                        if round == count && last == Last::End {
                            self.end(Shutdown::Write)?;
                        }
                        if !self.ledger.is_due() {
                            self.desert(read, false);
                            return Ok(());
                        }
                        self.shows("a round");
                        result = Some(in_time("a read in a row", read.read.as_mut()).await?);
                    }
                    result.map_or(Ok(()), |result| self.over(result, read))?;
                }
            }
            Step::Exactly(length) => self.exactly(near, length).await?,
            Step::Write(length) => {
                let result = once(pin!(near.write(self.ledger.gone.next(length)))).await;
                if let Some(result) = result {
                    self.ledger.wrote(&result, length)?;
                }
            }
            Step::WriteAll(length) => self.write_all(near, length).await?,
            Step::Fill if S::IS_SMALL => self.fill(near).await?,
            Step::Fill => {}
            Step::Shutdown(how) => {
                let result = near.shutdown(how);
                self.ledger.write_shut |= how == Shutdown::Write;
                self.ledger.read_shut |= how == Shutdown::Read;
                // What comes to a TCP socket that is shut both ways is answered by a reset.
                self.ledger.cut |= self.ledger.read_shut && self.ledger.write_shut;
                let is_gone = self.ledger.cut || self.ledger.ended;
                if let Err(error) = result
                    && !(is_gone && error.kind() == ErrorKind::NotConnected)
                {
                    return Err(format!("it fails: {error}"));
                }
            }
            Step::Unread => self.ledger.unread(&near.unread(), !kept.is_empty())?,
            Step::TakeError => {
                if let Some(error) = near.take_error().map_err(|error| format!("no error can be taken: {error}"))? {
                    self.ledger.failed(&error)?;
                }
            }
            Step::Stamp => near.stamp(),
            Step::Pause(rest) => pause(rest).await,
            Step::Leave(..) => {}
        }
        Ok(())
    }

    fn shows(&mut self, what: &'static str) {
        self.ledger.shown.insert(what);
    }

    /// A read has its result.
    fn over(&mut self, result: io::Result<Vec<u8>>, read: Kept<'_>) -> Checked {
        self.ledger.read(result, read.room, read.looks)
    }

    /// A read is given up.
    fn desert(&mut self, read: Kept<'_>, forgets: bool) {
        self.ledger.deserted = true;
        if forgets {
            self.shows("forgotten");
            read.forget();
        }
    }

    async fn exactly(&mut self, near: &S, length: usize) -> Checked {
        let there = self.ledger.come.sent - self.ledger.come.given;
        let unsure = self.ledger.cut || self.ledger.read_shut;
        if unsure || (length > there && !self.ledger.ended) {
            return Ok(());
        }
        let mut buf = vec![0; length];
        match in_time("reading all", near.read_exact(&mut buf)).await? {
            Ok(()) => self.ledger.come.give(&buf),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && length > there => {
                self.ledger.come.given = self.ledger.come.sent;
                Ok(())
            }
            Err(error) => Err(format!("behind which there are {there}, it fails: {error}")),
        }
    }

    async fn write_all(&mut self, near: &S, length: usize) -> Checked {
        let mut write = pin!(near.write_all(self.ledger.gone.next(length)));
        let begun = Instant::now();
        let before = self.ledger.gone.sent;
        if !self.ledger.write_shut {
            self.ledger.gone.sent += length; // The far end may have them before this one knows.
        }
        loop {
            // First the write, since the sleep may take what is left of the budget.
            let mut a_while = pin!(sleep(Duration::from_micros(10)));
            let result = poll_fn(|cx| match write.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => a_while.as_mut().poll(cx).map(|()| None),
            });
            if let Some(result) = result.await {
                self.ledger.gone.sent = before;
                self.ledger.wrote(&result.map(|()| length), length)?;
                return Ok(());
            }
            self.drain()?;
            if begun.elapsed() > PATIENCE {
                return Err(String::from("it hangs"));
            }
        }
    }

    async fn fill(&mut self, near: &S) -> Checked {
        for _ in 0..8 {
            let mut write = pin!(near.write(self.ledger.gone.next(PIECE)));
            let result = match once(write.as_mut()).await {
                Some(result) => result,
                None => {
                    sleep(Duration::from_micros(20)).await;
                    self.drain()?;
                    self.shows("a write that waits");
                    let result = in_time("a write", write).await?;
                    self.ledger.wrote(&result, PIECE)?;
                    return Ok(());
                }
            };
            if self.ledger.wrote(&result, PIECE)? {
                break;
            }
        }
        Ok(())
    }

    async fn convert(&mut self, near: S, room: usize) -> Checked<S> {
        let std = match near.into_std() {
            Ok(std) => std,
            Err(near) => {
                if !self.ledger.puts_aside || !self.ledger.deserted {
                    return Err(String::from("nothing can be lost, and it is refused"));
                }
                self.shows("a conversion that is refused");
                let _whatever_it_says = in_time("a write of nothing", near.write(&[])).await?;
                self.ledger.unread(&near.unread(), false)?;
                near.into_std().map_err(|_| "it is refused again")?
            }
        };
        self.ledger.owes_error &= !self.ledger.deserted; // It may have come for a read that was dropped.
        let mut buf = vec![0; room];
        let result = S::drain(&std, &mut buf);
        if !matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock) {
            self.ledger.read(result.map(|length| buf[..length].to_vec()), room, false)?;
        }
        S::from_std(std).map_err(|error| format!("it does not come back: {error}"))
    }

    /// Reads and writes it by the traits of `futures-io`: a read that waits is polled on with other buffers, and given up at last.
    async fn wrapped(&mut self, near: S, times: usize) -> Checked<S> {
        let mut io = near.wrap();
        for time in 0..times {
            let room = ROOMS[(times + 3 * time) % ROOMS.len()];
            let mut buf = vec![0; room];
            if let Some(result) = once(pin!(io.read(&mut buf))).await {
                self.ledger.read(result.map(|length| buf[..length].to_vec()), room, false)?;
            } else {
                // In the last round it is given up with this on its way.
                self.send(1 + room)?;
                self.ledger.deserted = true;
                pause([Pause::None, Pause::Yields(1), Pause::Sleep(40)][(times + time) % 3]).await;
            }
            let length = 1 + 97 * time;
            if let Some(result) = once(pin!(io.write(self.ledger.gone.next(length)))).await {
                self.ledger.wrote(&result, length)?;
            }
        }
        self.shows("wrapped");
        Ok(S::unwrap(io))
    }

    /// The far end sends so many bytes, or as many as there is room for.
    fn send(&mut self, length: usize) -> Checked {
        let Some(far) = &self.far else { return Ok(()) };
        if self.ledger.ended {
            return Ok(());
        }
        let tape = &mut self.ledger.come;
        let skipped = usize::from(self.leaky && tape.sent > 0 && length > 1);
        match S::send(far, &tape.next(length)[skipped..]) {
            Ok(sent) => tape.sent += sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) if self.ledger.read_shut || self.ledger.cut => {}
            Err(error) => return Err(format!("the far end cannot send: {error}")),
        }
        Ok(())
    }

    fn end(&mut self, how: Shutdown) -> Checked {
        let Some(far) = &self.far else { return Ok(()) };
        if std::mem::replace(&mut self.ledger.ended, true) {
            return Ok(());
        }
        self.ledger.far(S::end(far, how), "the far end is not ended")
    }

    fn close(&mut self) -> Checked {
        self.drain()?;
        self.ledger.cut |= self.ledger.gone.given < self.ledger.gone.sent;
        if self.far.take().is_some() {
            (self.ledger.ended, self.ledger.closed) = (true, true);
        }
        Ok(())
    }

    fn reset(&mut self) -> Checked {
        let Some(far) = self.far.take() else { return Ok(()) };
        let ledger = &self.ledger;
        self.ledger.owes_error = S::TELLS_RESETS && !ledger.ended && !ledger.cut && !ledger.read_shut;
        (self.ledger.ended, self.ledger.closed, self.ledger.cut) = (true, true, true);
        S::reset(far).map_err(|error| format!("the far end is not reset: {error}"))
    }

    /// The far end takes what came. Says whether that was all there will ever be.
    fn drain(&mut self) -> Checked<bool> {
        let mut buf = [0; 1 << 13];
        loop {
            let Some(far) = &self.far else { return Ok(true) };
            match S::drain(far, &mut buf) {
                Ok(0) if !self.ledger.write_shut => return Err(String::from("the far end sees an end, and there was none")),
                Ok(0) if self.ledger.gone.given < self.ledger.gone.sent && !self.ledger.cut => {
                    return Err(format!("the far end has {} of {} bytes", self.ledger.gone.given, self.ledger.gone.sent));
                }
                Ok(0) => return Ok(true),
                Ok(length) => self.ledger.gone.give(&buf[..length]).map_err(|why| format!("the far end has {why}"))?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(_) if self.ledger.cut => return Ok(true),
                Err(error) => return Err(format!("the far end cannot read: {error}")),
            }
        }
    }
}
