//! The closed loop: each connection has a message on its way, and sends the next one as soon as it is back.

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::time::{Duration, Instant};

use rustix::event::epoll::Event;

use super::{Load, PATIENCE, Window, hung, ready};
use crate::histogram::Histogram;

impl Load {
    /// Keeps all connections busy for a time.
    pub fn run(&mut self, duration: Duration) -> io::Result<Window> {
        self.exchange(0..self.connections.len(), duration)
    }

    /// Keeps some of them busy; each makes one round trip at least.
    pub(super) fn exchange(&mut self, which: Range<usize>, duration: Duration) -> io::Result<Window> {
        let Self { epoll, connections, size, waiting, pattern, scratch, .. } = self;
        let message = |place: usize| &pattern[place..place + *size];
        let mut latency = Histogram::default();
        let mut on_their_way = which.len();
        let mut events = [MaybeUninit::<Event>::uninit(); 1024];

        let start = Instant::now();
        let deadline = start + duration;
        for index in which {
            let connection = &mut connections[index];
            connection.begin(Instant::now());
            connection.send(epoll, index, message(connection.place))?;
        }
        let mut last = start;
        while on_their_way > 0 {
            let ready = ready(epoll, &mut events, *waiting, None)?;
            if ready.is_empty() && last.elapsed() > PATIENCE {
                return Err(hung(on_their_way));
            }
            for event in ready {
                let (flags, data) = (event.flags, event.data);
                let index = data.u64() as usize;
                let connection = &mut connections[index];
                if !connection.advance(epoll, index, flags, message(connection.place), scratch)? {
                    continue;
                }
                last = Instant::now();
                latency.record((last - connection.began).as_nanos() as u64);
                if last < deadline {
                    connection.begin(last);
                    connection.send(epoll, index, message(connection.place))?;
                } else {
                    on_their_way -= 1;
                }
            }
        }
        Ok(Window { elapsed: last - start, latency })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Waiting;
    use super::*;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};
    use std::thread;

    /// Serves one connection: what `answer` makes of each read is sent back.
    pub(in crate::load) fn server(mut answer: impl FnMut(&mut Vec<u8>) + Send + 'static) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let mut bytes = buffer[..count].to_vec();
                answer(&mut bytes);
                if bytes.is_empty() || stream.write_all(&bytes).is_err() {
                    break;
                }
            }
        });
        address
    }

    #[test]
    fn an_honest_server_is_counted() {
        let mut load = Load::new(server(|_| {}), 64, Waiting::Sleep).unwrap();
        load.open(1).unwrap();
        let window = load.run(Duration::from_millis(20)).unwrap();
        assert!(window.latency.total() > 0);
        assert!(window.elapsed >= Duration::from_millis(20));
    }

    #[test]
    fn a_message_larger_than_every_buffer_comes_back() {
        let mut load = Load::new(server(|_| {}), 32 * 1024 * 1024, Waiting::Sleep).unwrap();
        load.open(1).unwrap();
        assert_eq!(load.run(Duration::ZERO).unwrap().latency.total(), 1);
    }

    #[test]
    fn a_server_that_changes_a_byte_is_found_out() {
        let mut trips = 0;
        let address = server(move |bytes| {
            trips += 1;
            if trips == 3 {
                bytes[5] ^= 1;
            }
        });
        let error = Load::new(address, 64, Waiting::Sleep)
            .and_then(|mut load| {
                load.open(1)?;
                load.run(Duration::from_secs(300)) // It ends with the third.
            })
            .unwrap_err();
        assert!(error.to_string().contains("not what was sent"), "{error}");
    }

    #[test]
    fn a_server_that_answers_too_much_or_hangs_up_is_found_out() {
        for (answer, complaint) in [((|bytes| bytes.push(0)) as fn(&mut Vec<u8>), "more came back"), (Vec::clear, "closed")] {
            let error = Load::new(server(answer), 64, Waiting::Sleep).and_then(|mut load| load.open(1)).unwrap_err();
            assert!(error.to_string().contains(complaint), "{error}");
        }
    }
}
