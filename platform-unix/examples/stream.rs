//! A bounded stream between tasks of several domains, built on a mutex and two conditions, and the same program on a channel;
//! `matou_unix::tutorial::stream` tells the story.

use std::collections::VecDeque;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use matou_unix::sync::{Condition, Mutex, Receiver, Sender, channel};
use matou_unix::{Builder, parallel, spawn};

/// A queue of at most `capacity` values: who puts one in waits until there is room, who takes one out until there is one.
struct Stream<T> {
    capacity: usize,
    queue: Mutex<Queue<T>>,
    not_full: Condition,
    not_empty: Condition,
}

struct Queue<T> {
    values: VecDeque<T>,
    closed: bool,
}

impl<T> Stream<T> {
    fn new(capacity: usize) -> Stream<T> {
        let queue = Mutex::new(Queue { values: VecDeque::new(), closed: false });
        Stream { capacity, queue, not_full: Condition::new(), not_empty: Condition::new() }
    }

    /// Puts a value in; gives it back if the stream is closed.
    async fn put(&self, value: T) -> Result<(), T> {
        let queue = self.queue.lock().await;
        let mut queue = self.not_full.wait_while(queue, |queue| !queue.closed && queue.values.len() == self.capacity).await;
        if queue.closed {
            return Err(value);
        }
        queue.values.push_back(value);
        self.not_empty.signal();
        Ok(())
    }

    /// Takes the oldest value out; none if the stream is closed and empty.
    async fn take(&self) -> Option<T> {
        let queue = self.queue.lock().await;
        let mut queue = self.not_empty.wait_while(queue, |queue| !queue.closed && queue.values.is_empty()).await;
        let value = queue.values.pop_front();
        self.not_full.signal();
        value
    }

    /// Lets nothing in any more. What is in it can still be taken out.
    async fn close(&self) {
        self.queue.lock().await.closed = true;
        self.not_full.broadcast();
        self.not_empty.broadcast();
    }
}

/// Puts in the numbers up to `last`.
async fn producer(stream: Arc<Stream<u64>>, last: u64) -> io::Result<()> {
    for number in 1..=last {
        stream.put(number).await.map_err(|_| io::Error::other("the stream was closed"))?;
    }
    Ok(())
}

/// Takes numbers out until the stream is closed, and adds them up.
async fn consumer(stream: Arc<Stream<u64>>) -> u64 {
    let mut sum = 0;
    while let Some(number) = stream.take().await {
        sum += number;
    }
    sum
}

/// Three producers on the other domains, a consumer on this one.
async fn by_hand(capacity: usize, last: u64) -> io::Result<u64> {
    let stream = Arc::new(Stream::new(capacity));
    let sum = spawn(consumer(stream.clone()));
    for produced in parallel(move |stream| producer(stream, last), vec![stream.clone(); 3]).await? {
        produced?;
    }
    stream.close().await;
    Ok(sum.await?)
}

async fn channel_producer(sender: Sender<u64>, last: u64) -> io::Result<()> {
    for number in 1..=last {
        sender.send(number).await.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn channel_consumer(mut receiver: Receiver<u64>) -> u64 {
    let mut sum = 0;
    while let Some(number) = receiver.receive().await {
        sum += number;
    }
    sum
}

/// The same on a channel, which closes itself when the last of its senders goes.
async fn by_channel(capacity: usize, last: u64) -> io::Result<u64> {
    let (sender, receiver) = channel(capacity);
    let sum = spawn(channel_consumer(receiver));
    for produced in parallel(move |sender| channel_producer(sender, last), vec![sender; 3]).await? {
        produced?;
    }
    Ok(sum.await?)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers = match args.as_slice() {
        [_, capacity, last] => capacity.parse().ok().filter(|&capacity: &usize| capacity > 0).zip(last.parse::<u32>().ok()),
        _ => None,
    };
    let runtime = Builder::new().domains(2);
    let ran = match (args.first().map(String::as_str), numbers) {
        (Some("by-hand"), Some((capacity, last))) => runtime.run(by_hand(capacity, last.into())),
        (Some("channel"), Some((capacity, last))) => runtime.run(by_channel(capacity, last.into())),
        _ => {
            eprintln!("usage: stream by-hand|channel CAPACITY LAST");
            return ExitCode::from(2);
        }
    };
    match ran {
        Ok(sum) => {
            println!("three producers put in 1 to {}: the sum of all is {sum}", args[2]);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
