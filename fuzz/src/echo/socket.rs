//! What the echo servers take for their sockets: listeners and streams that follow a script, and look at what the servers do with them.
//!
//! All domains of a simulation take turns on one thread, so the world is a thread's. What is against the rules is noted where it is seen,
//! once, and the run goes on.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::ops::Deref;
use std::time::Duration;

use matou_core::time::{self, Instant};
use matou_core::{OwnershipError, Resource, Task, domain};
use rustix::io::Errno;

use crate::failure::Failure;

/// What the next call on a socket does; after the last one it does what is easiest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// It waits so long first.
    Pause(Duration),
    /// It waits for ever.
    Hang,
    /// It moves up to so many bytes, which may be none: the end of what is read, or a system that takes nothing.
    Move(usize),
    Fail(Errno),
}

/// What comes to a listener.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival {
    Pause(Duration),
    Fail(Errno),
    Connection,
}

/// One direction of a connection, or a listener: what is still to come, and until when the step under way pauses.
#[derive(Debug)]
pub(crate) struct Way<T> {
    steps: VecDeque<T>,
    due: Option<Instant>,
}

impl<T> Way<T> {
    pub(crate) fn new(steps: impl IntoIterator<Item = T>) -> Way<T> {
        Way { steps: steps.into_iter().collect(), due: None }
    }
}

impl<T> Default for Way<T> {
    fn default() -> Way<T> {
        Way::new([])
    }
}

/// How the handler of a connection must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Well,
    Badly(Failure),
    /// It was cut short: for silence, for the stop, or for either.
    Cut {
        idle: bool,
        stopped: bool,
    },
}

#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub(crate) read: Way<Step>,
    pub(crate) write: Way<Step>,
    pub(crate) taken: Vec<u8>,
    pub(crate) echoed: usize,
    pub(crate) round_trips: usize,
    pub(crate) opened: bool,
    pub(crate) ending: Option<Ending>,
    pub(crate) dropped: Option<Instant>,
    pub(crate) moved: Option<Instant>,
}

/// The connections and listeners of a run, and what is against the rules.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) listeners: Vec<Way<Arrival>>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) accepted: usize,
    /// Errors of `accept` that are counted.
    pub(crate) refused: usize,
    pub(crate) limit: usize,
    pub(crate) idle: Option<Duration>,
    /// When the last connections are cut.
    pub(crate) over: Option<Instant>,
    /// Time passes only while everybody sleeps: what is due happens at that very moment.
    pub(crate) exact: bool,
    /// For the test of the detector: of every stream the third byte is another than it was.
    pub(crate) garbled: bool,
    pub(crate) wrong: Option<String>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

pub(crate) fn with<R>(f: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with_borrow_mut(f)
}

impl World {
    pub(crate) fn require(&mut self, holds: bool, why: impl FnOnce() -> String) {
        if !holds && self.wrong.is_none() {
            self.wrong = Some(why());
        }
    }

    fn open(&self) -> usize {
        self.connections.iter().filter(|it| it.opened && it.dropped.is_none()).count()
    }

    /// Something is asked of a connection, or happens on it.
    fn touch(&mut self, number: usize, what: &str) {
        let it = &self.connections[number];
        let (ending, dropped) = (it.ending, it.dropped.is_some());
        self.require(!dropped && ending.is_none(), || format!("{what} on connection {number}, which is over: {ending:?}"));
    }

    /// Bytes moved, or the end came.
    fn moves(&mut self, number: usize) {
        let now = time::now();
        let before = self.connections[number].moved.replace(now);
        let silent = self.idle.zip(before).is_some_and(|(limit, before)| now > before + limit);
        let late = self.over.is_some_and(|over| now > over);
        self.require(!self.exact || !silent, || format!("connection {number} was silent for longer than it may"));
        self.require(!self.exact || !late, || format!("connection {number} goes on after the grace"));
    }
}

/// The byte at a place of what a peer sends.
fn byte(number: usize, place: usize) -> u8 {
    (place as u8).wrapping_mul(7) ^ (place >> 8) as u8 ^ number as u8
}

/// Waits as the script says, and takes the first step that is no wait.
async fn next<T: Copy>(way: impl Fn(&mut World) -> &mut Way<T>, wait: impl Fn(T) -> Option<Option<Duration>>) -> Option<T> {
    loop {
        let step = with(|world| way(world).steps.front().copied())?;
        match wait(step) {
            None => {
                with(|world| way(world).steps.pop_front());
                return Some(step);
            }
            Some(None) => std::future::pending().await,
            Some(Some(pause)) => {
                // The pause goes on though the call is given up and made again.
                let due = with(|world| *way(world).due.get_or_insert_with(|| time::now() + pause));
                time::sleep_until(due).await;
                with(|world| {
                    way(world).steps.pop_front();
                    way(world).due = None;
                });
            }
        }
    }
}

fn pause(step: Step) -> Option<Option<Duration>> {
    match step {
        Step::Pause(pause) => Some(Some(pause)),
        Step::Hang => Some(None),
        Step::Move(_) | Step::Fail(_) => None,
    }
}

/// What an error of the system must be counted as.
pub(crate) fn kind(errno: Errno) -> Failure {
    match errno {
        Errno::CONNRESET | Errno::CONNABORTED => Failure::Reset,
        Errno::PIPE => Failure::BrokenPipe,
        Errno::TIMEDOUT => Failure::TimedOut,
        _ => Failure::Other,
    }
}

/// Bytes that were received.
pub(crate) struct Received(Vec<u8>);

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

async fn receive(number: usize) -> io::Result<Received> {
    with(|world| {
        world.touch(number, "a read");
        let it = &mut world.connections[number];
        let (taken, echoed) = (it.taken.len(), it.echoed);
        it.moved.get_or_insert_with(time::now);
        world.require(taken == echoed, || format!("connection {number} is read, and {echoed} of {taken} bytes were sent back"));
    });
    let step = next(|world| &mut world.connections[number].read, pause).await.unwrap_or(Step::Move(0));
    with(|world| {
        let garbled = world.garbled;
        let it = &mut world.connections[number];
        match step {
            Step::Fail(errno) => {
                it.ending = Some(Ending::Badly(kind(errno)));
                Err(errno.into())
            }
            Step::Move(bytes) => {
                let before = it.taken.len();
                it.taken.extend((before..before + bytes).map(|place| byte(number, place)));
                if bytes == 0 {
                    it.ending = Some(Ending::Well);
                }
                let mut received = it.taken[before..].to_vec();
                if let Some(third) = received.get_mut(2).filter(|_| garbled) {
                    *third ^= 1;
                }
                world.moves(number);
                Ok(Received(received))
            }
            Step::Pause(_) | Step::Hang => unreachable!("they are waited for"),
        }
    })
}

async fn write(number: usize, bytes: &[u8]) -> io::Result<usize> {
    with(|world| {
        world.touch(number, "a write");
        let it = &world.connections[number];
        let same = it.taken[it.echoed..] == *bytes;
        world.require(same, || format!("connection {number}: other bytes are sent back than those that came"));
    });
    let step = next(|world| &mut world.connections[number].write, pause).await.unwrap_or(Step::Move(usize::MAX));
    with(|world| {
        let it = &mut world.connections[number];
        match step {
            Step::Fail(errno) => {
                it.ending = Some(Ending::Badly(kind(errno)));
                Err(errno.into())
            }
            Step::Move(0) => {
                it.ending = Some(Ending::Badly(Failure::Other));
                Ok(0)
            }
            Step::Move(most) => {
                let moved = most.min(bytes.len());
                it.echoed += moved;
                it.round_trips += usize::from(it.echoed == it.taken.len());
                world.moves(number);
                Ok(moved)
            }
            Step::Pause(_) | Step::Hang => unreachable!("they are waited for"),
        }
    })
}

/// Where connections come in.
#[derive(Debug)]
pub(crate) struct Listener(pub(crate) usize);

impl Listener {
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        let wait = |arrival| match arrival {
            Arrival::Pause(pause) => Some(Some(pause)),
            Arrival::Fail(_) | Arrival::Connection => None,
        };
        match next(|world| &mut world.listeners[self.0], wait).await {
            None => std::future::pending().await,
            Some(Arrival::Fail(errno)) => {
                let counted = !matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::BADF);
                with(|world| world.refused += usize::from(counted));
                Err(errno.into())
            }
            Some(_) => Ok(with(|world| {
                let number = world.accepted;
                world.accepted += 1;
                world.connections[number].opened = true;
                let (open, limit) = (world.open(), world.limit);
                world.require(open <= limit, || format!("{open} connections are open, of {limit}"));
                Stream::new(number)
            })),
        }
    }
}

/// A connection, as far as a handler cares.
pub(crate) trait Duplex {
    fn receive(&self) -> impl Future<Output = io::Result<Received>>;
    fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>>;
}

/// A connection that belongs to whoever holds it. The two kinds are one here.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(Scripted),
    Unix(Scripted),
}

impl Stream {
    fn new(number: usize) -> Stream {
        let scripted = Scripted { number };
        if number.is_multiple_of(2) { Stream::Tcp(scripted) } else { Stream::Unix(scripted) }
    }
}

/// What follows the script of the connection with this number.
#[derive(Debug)]
pub(crate) struct Scripted {
    number: usize,
}

impl Duplex for Scripted {
    fn receive(&self) -> impl Future<Output = io::Result<Received>> {
        receive(self.number)
    }

    fn write(&self, bytes: &[u8]) -> impl Future<Output = io::Result<usize>> {
        write(self.number, bytes)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // Behind the end of the run there is no clock.
        let now = domain::current().map(|_| time::now());
        with(|world| {
            let (idle, over) = (world.idle, world.over);
            let it = &mut world.connections[self.number];
            let twice = it.dropped.is_some();
            it.dropped = now.or(Some(Instant::from_nanos(u64::MAX)));
            let idle = idle.zip(it.moved).zip(now).is_some_and(|((limit, moved), now)| now >= moved + limit);
            let stopped = over.zip(now).is_some_and(|(over, now)| now >= over);
            it.ending.get_or_insert(Ending::Cut { idle, stopped });
            world.require(!twice, || format!("connection {} is closed twice", self.number));
        });
    }
}

/// A connection that belongs to a task.
#[derive(Debug)]
pub(crate) enum OwnedStream {
    Tcp(Owned),
    Unix(Owned),
}

/// What is owned, and its number.
#[derive(Debug)]
pub(crate) struct Owned {
    resource: Resource<Scripted>,
    number: usize,
}

impl Owned {
    fn new(scripted: Scripted) -> Result<Owned, OwnershipError> {
        let number = scripted.number;
        let resource = Resource::new(scripted, drop);
        resource.own()?;
        Ok(Owned { resource, number })
    }
}

impl OwnedStream {
    pub(crate) fn new(stream: Stream) -> Result<OwnedStream, OwnershipError> {
        Ok(match stream {
            Stream::Tcp(stream) => OwnedStream::Tcp(Owned::new(stream)?),
            Stream::Unix(stream) => OwnedStream::Unix(Owned::new(stream)?),
        })
    }

    fn owned(&self) -> &Owned {
        let (OwnedStream::Tcp(owned) | OwnedStream::Unix(owned)) = self;
        owned
    }

    pub(crate) fn give(&self) -> Task {
        Task::new().give(&self.owned().resource)
    }

    pub(crate) fn close(&self) -> Result<(), OwnershipError> {
        self.owned().resource.release()
    }
}

impl Duplex for Owned {
    async fn receive(&self) -> io::Result<Received> {
        self.resource.check()?;
        receive(self.number).await
    }

    async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.resource.check()?;
        write(self.number, bytes).await
    }
}
