//! The open loop: messages are due by a schedule, whatever the server does, and a latency counts from when one was due.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

use rustix::event::epoll::Event;

use super::schedule::Schedule;
use super::{Load, PATIENCE, Window, hung, ready};
use crate::histogram::Histogram;

impl Load {
    /// Sends so many messages a second for a time, over all connections in turn, and waits for all of them. One that is due
    /// while its connection still waits for an answer is sent after it, and has waited since it was due.
    pub fn pace(&mut self, per_second: f64, duration: Duration) -> io::Result<Window> {
        let Self { epoll, connections, size, waiting, pattern, scratch, .. } = self;
        let message = |place: usize| &pattern[place..place + *size];
        let mut latency = Histogram::default();
        let mut events = [MaybeUninit::<Event>::uninit(); 1024];
        // Of each connection the messages that were due and are not back, the first of which is on its way.
        let mut due: Vec<VecDeque<Instant>> = vec![VecDeque::new(); connections.len()];
        let mut outstanding = 0;
        let mut turn = 0;

        let start = Instant::now();
        let mut schedule = Schedule::new(per_second).take_while(|time| *time < duration).map(|time| start + time).peekable();
        let mut last = start;
        loop {
            let now = Instant::now();
            while let Some(time) = schedule.next_if(|time| *time <= now) {
                turn = (turn + 1) % connections.len();
                due[turn].push_back(time);
                outstanding += 1;
                if due[turn].len() == 1 {
                    let connection = &mut connections[turn];
                    connection.begin(time);
                    connection.send(epoll, turn, message(connection.place))?;
                }
            }
            let next = schedule.peek().copied();
            if outstanding == 0 {
                // The server is idle until then, and is not hung.
                last = now;
                if next.is_none() {
                    return Ok(Window { elapsed: now - start, latency });
                }
            }
            let ready = ready(epoll, &mut events, *waiting, next)?;
            if ready.is_empty() && outstanding > 0 && last.elapsed() > PATIENCE {
                return Err(hung(outstanding));
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
                outstanding -= 1;
                due[index].pop_front();
                if let Some(time) = due[index].front() {
                    connection.begin(*time);
                    connection.send(epoll, index, message(connection.place))?;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Waiting;
    use super::super::closed::tests::server;
    use super::*;
    use std::thread;

    #[test]
    fn a_stall_of_the_server_is_felt_by_all_that_were_due() {
        let mut trips = 0;
        let address = server(move |_| {
            trips += 1;
            if trips == 10 {
                thread::sleep(Duration::from_millis(100));
            }
        });
        let mut load = Load::new(address, 64, Waiting::Sleep).unwrap();
        load.open(1).unwrap();
        let window = load.pace(1000.0, Duration::from_millis(200)).unwrap();
        assert!((150..250).contains(&window.latency.total()), "{}", window.latency.total());
        // A closed loop would have felt it once; here some hundred messages were due meanwhile, and half of them waited 50 ms and more.
        assert!(window.latency.quantile(0.8) > 40_000_000, "{}", window.latency.quantile(0.8));
    }
}
