//! Where connections come in: the listeners of one accept loop, and what is done when descriptors run out.
//!
//! A door keeps one descriptor in reserve. Accepting fails with `EMFILE` or `ENFILE` while the connection stays in the
//! backlog, where nobody would tell its peer. So the reserve is given up for it, and from then on:
//!
//! - *Reserve*: a connection is let in only while the reserve is held. One accepted without it first takes the reserve
//!   back; where that fails, the connection took the last descriptor, and is closed: load is shed, and counted.
//!
//! Without its reserve a door waits in `accept` as ever, with a descriptor free for the next peer, and tries now and then
//! to take it back. Should another domain take that descriptor, accepting fails with nothing left to give up: then the
//! door rests. In neither state does it spin, and in both whoever polls it may make it try again earlier, by
//! dropping the future and asking anew, which is what an accept loop does whenever a connection of its own ends.
//!
//! Connections that were given up in the backlog are passed over by `accept` itself. What else can go wrong with the one
//! that was about to come in is counted, and the next is waited for. An error that says that the listener itself is
//! unusable is given to the caller.

use std::fs::File;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_lite::future;
use matou_unix::time;
use rustix::io::Errno;

use crate::context::Context;
use crate::failure::Failure;
use crate::socket::{Listener, Stream};

/// How long a door rests when accepting fails and there is nothing to do about it, and how often it tries to get its
/// reserve back.
const REST: Duration = Duration::from_millis(100);

/// The listeners of one accept loop.
#[derive(Debug)]
pub(crate) struct Door {
    listeners: Vec<Listener>,
    /// The listener that is asked first, so that a busy one does not keep the others waiting.
    turn: usize,
    reserve: Reserve,
    /// How many connections may be open behind this door at once.
    pub(crate) limit: usize,
    context: Arc<Context>,
}

impl Door {
    /// A door that lets in what arrives at these listeners.
    pub(crate) fn new(listeners: Vec<Listener>, limit: usize, context: Arc<Context>) -> io::Result<Door> {
        Ok(Door { listeners, turn: 0, reserve: Reserve::new()?, limit, context })
    }

    /// What the tasks behind this door share.
    pub(crate) fn context(&self) -> Arc<Context> {
        Arc::clone(&self.context)
    }

    /// Stops listening: who waits in the backlog is turned away, and nothing comes in any more.
    pub(crate) fn close(&mut self) {
        self.listeners.clear();
    }

    /// The next connection. It is counted as accepted: whoever gets it counts its end.
    ///
    /// # Cancellation
    /// Dropped early it loses no connection.
    pub(crate) async fn accept(&mut self) -> io::Result<Stream> {
        loop {
            let arrived = if self.reserve.is_held() {
                self.arrival().await
            } else {
                let rested = async {
                    time::sleep(REST).await;
                    None
                };
                let Some(arrived) = future::or(async { Some(self.arrival().await) }, rested).await else {
                    self.reserve.restore();
                    continue;
                };
                arrived
            };
            match arrived {
                Ok(stream) if self.reserve.restore() => {
                    self.context.counters().accepted();
                    return Ok(stream);
                }
                Ok(stream) => {
                    drop(stream);
                    self.context.counters().failed(Failure::Shed);
                    self.context.tell_shortage();
                }
                Err(error) => match Trouble::of(&error) {
                    Trouble::Connection => self.context.counters().failed(Failure::of_error(&error)),
                    Trouble::Descriptors if self.reserve.give_up() => {}
                    Trouble::Descriptors => {
                        self.context.tell_shortage();
                        time::sleep(REST).await;
                    }
                    Trouble::Unknown => {
                        self.context.counters().failed(Failure::Other);
                        time::sleep(REST).await;
                    }
                    Trouble::Listener => return Err(error),
                },
            }
        }
    }

    /// Whatever the first listener that has something gives.
    async fn arrival(&mut self) -> io::Result<Stream> {
        if let [listener] = &self.listeners[..] {
            return listener.accept().await;
        }
        let count = self.listeners.len();
        self.turn = (self.turn + 1) % count;
        let (before, from) = self.listeners.split_at(self.turn);
        let mut arrivals: Vec<_> = from.iter().chain(before).map(|listener| Box::pin(listener.accept())).collect();
        poll_fn(|cx| {
            for arrival in &mut arrivals {
                if let Poll::Ready(arrived) = arrival.as_mut().poll(cx) {
                    return Poll::Ready(arrived);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// A descriptor that is held so that it can be given up.
#[derive(Debug)]
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> io::Result<Reserve> {
        Reserve::open().map(|file| Reserve(Some(file)))
    }

    fn open() -> io::Result<File> {
        // Not a duplicate of another descriptor: `ENFILE` is about open files. And the root is there in the emptiest jail.
        File::open("/")
    }

    fn is_held(&self) -> bool {
        self.0.is_some()
    }

    /// Whether there was one to give up.
    fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Whether it is held, after having tried to take it back.
    fn restore(&mut self) -> bool {
        if self.0.is_none() {
            self.0 = Reserve::open().ok();
        }
        self.0.is_some()
    }
}

/// What a failure to accept says.
#[derive(Debug, Eq, PartialEq)]
enum Trouble {
    /// The connection that was about to come in is lost; the next may be better.
    Connection,
    /// There are no descriptors, or no memory for them. The connection waits.
    Descriptors,
    /// The listener cannot be used any more.
    Listener,
    /// Nobody knows; asking again at once might spin.
    Unknown,
}

impl Trouble {
    fn of(error: &io::Error) -> Trouble {
        let Some(errno) = Errno::from_io_error(error) else {
            return Trouble::Listener;
        };
        match errno {
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Trouble::Descriptors,
            Errno::BADF | Errno::FAULT | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP => Trouble::Listener,
            // A firewall forbids it.
            Errno::PERM => Trouble::Connection,
            _ => Trouble::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reserve, Trouble};
    use rustix::io::Errno;
    use std::io;

    #[test]
    fn troubles() {
        for (errno, trouble) in [
            (Errno::MFILE, Trouble::Descriptors),
            (Errno::NFILE, Trouble::Descriptors),
            (Errno::PERM, Trouble::Connection),
            (Errno::INVAL, Trouble::Listener),
            (Errno::XDEV, Trouble::Unknown),
        ] {
            assert_eq!(Trouble::of(&errno.into()), trouble, "{errno}");
        }
        assert_eq!(Trouble::of(&io::Error::other("no events")), Trouble::Listener);
    }

    #[test]
    fn a_reserve_is_given_up_once_and_taken_back() {
        let mut reserve = Reserve::new().unwrap();
        assert!(reserve.give_up());
        assert!(!reserve.give_up() && !reserve.is_held());
        assert!(reserve.restore() && reserve.restore());
        assert!(reserve.give_up());
    }
}
