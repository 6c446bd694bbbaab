//! Connections that make one round trip each: connect, send, receive, close.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::epoll::Event;

use super::connection::Connection;
use super::schedule::Schedule;
use super::{Load, PATIENCE, Window, context, hung, ready};
use crate::histogram::Histogram;

/// The most that may be open at once: a server that falls behind is not buried under descriptors.
const MOST: usize = 4096;

impl Load {
    /// Keeps so many of them open for a time: where one has closed the next one connects. A latency is that from before
    /// `connect` until the message is back.
    pub fn churn(&mut self, at_once: usize, duration: Duration) -> io::Result<Window> {
        let start = Instant::now();
        let deadline = start + duration;
        self.supply(start, at_once.min(MOST), std::iter::from_fn(|| Some(Instant::now()).filter(|now| *now < deadline)))
    }

    /// So many connect each second, by a schedule; a latency counts from when one was due.
    pub fn arrive(&mut self, per_second: f64, duration: Duration) -> io::Result<Window> {
        let start = Instant::now();
        self.supply(start, MOST, Schedule::new(per_second).take_while(|time| *time < duration).map(|time| start + time))
    }

    /// One connection for each of the times given, not before it, and at most `most` at once.
    fn supply(&mut self, start: Instant, most: usize, times: impl Iterator<Item = Instant>) -> io::Result<Window> {
        let Self { server, epoll, connections, size, waiting, pattern, scratch } = self;
        if !connections.is_empty() {
            return Err(io::Error::other("connections that stay are open already"));
        }
        let message = |place: usize| &pattern[place..place + *size];
        let mut times = times.peekable();
        let mut latency = Histogram::default();
        let mut events = [MaybeUninit::<Event>::uninit(); 1024];
        let mut open: Vec<Option<Connection>> = Vec::new();
        let mut free = Vec::new();
        let mut last = start;
        loop {
            // One at a time between two looks at epoll: connecting costs as much as a round trip.
            let busy = open.len() - free.len();
            if busy < most
                && let Some(time) = times.next_if(|time| *time <= Instant::now())
            {
                let index = free.pop().unwrap_or_else(|| {
                    open.push(None);
                    open.len() - 1
                });
                let stream = TcpStream::connect(*server).map_err(|error| context(error, format_args!("a connection")))?;
                let connection = open[index].insert(Connection::new(stream, epoll, index)?);
                connection.begin(time);
                connection.send(epoll, index, message(connection.place))?;
            }
            let busy = open.len() - free.len();
            let next = times.peek().copied();
            if busy == 0 {
                last = Instant::now();
                if next.is_none() {
                    return Ok(Window { elapsed: last - start, latency });
                }
            }
            let ready = ready(epoll, &mut events, *waiting, next.filter(|_| busy < most))?;
            if ready.is_empty() && busy > 0 && last.elapsed() > PATIENCE {
                return Err(hung(busy));
            }
            for event in ready {
                let (flags, data) = (event.flags, event.data);
                let index = data.u64() as usize;
                let Some(connection) = &mut open[index] else { continue };
                if connection.advance(epoll, index, flags, message(connection.place), scratch)? {
                    last = Instant::now();
                    latency.record((last - connection.began).as_nanos() as u64);
                    // Closes it, and takes it out of epoll.
                    open[index] = None;
                    free.push(index);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Waiting;
    use super::*;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::thread;

    /// Serves one connection after the other, each to its end, and counts them.
    fn server() -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                count.fetch_add(1, SeqCst);
                let mut buffer = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    stream.write_all(&buffer[..read]).unwrap();
                }
            }
        });
        (address, counted)
    }

    #[test]
    fn every_round_trip_has_a_connection_of_its_own() {
        let (address, count) = server();
        let mut load = Load::new(address, 64, Waiting::Sleep).unwrap();
        let closed = load.churn(3, Duration::from_millis(20)).unwrap().latency.total();
        let open = load.arrive(1000.0, Duration::from_millis(50)).unwrap().latency.total();
        assert!(closed >= 3 && (30..70).contains(&open), "{closed} and {open}");
        assert_eq!(count.load(SeqCst), closed + open);
    }

    #[test]
    fn connections_that_stay_are_refused() {
        let mut load = Load::new(server().0, 64, Waiting::Sleep).unwrap();
        load.open(1).unwrap();
        assert!(load.churn(1, Duration::ZERO).is_err());
    }
}
