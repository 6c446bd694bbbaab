//! A bounded channel: values in the order in which they were sent, and senders that wait while it is full.
//!
//! Two lists of waiters count: the free places, which senders wait for, and the values, which receivers wait for. The queue itself has a lock
//! of its own. Who was granted a place or a value finds it, unless the channel was closed meanwhile.

mod error;

#[cfg(feature = "alloc")]
use alloc::{collections::VecDeque, sync::Arc};
use core::fmt;
use core::marker::PhantomData;

use heapless::Deque;

pub use self::error::{SendError, TryReceiveError, TrySendError};
use super::semaphore::Closed;
use super::waiters::{Grant, Refused, Waiters};
#[cfg(feature = "alloc")]
use crate::domain::Domain;
use crate::shim::{Lock, fault};
#[cfg(feature = "alloc")]
use crate::violation::ReportPlace;

/// Where a channel keeps its values.
trait Buffer<T> {
    /// There is a place: the sender was granted it.
    fn push(&mut self, value: T);
    fn pop(&mut self) -> Option<T>;
    fn len(&self) -> usize;
}

impl<T, const N: usize> Buffer<T> for Deque<T, N> {
    fn push(&mut self, value: T) {
        if self.push_back(value).is_err() {
            unreachable!("a place was granted");
        }
    }

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn len(&self) -> usize {
        Deque::len(self)
    }
}

#[cfg(feature = "alloc")]
impl<T> Buffer<T> for VecDeque<T> {
    fn push(&mut self, value: T) {
        self.push_back(value);
    }

    fn pop(&mut self) -> Option<T> {
        self.pop_front()
    }

    fn len(&self) -> usize {
        VecDeque::len(self)
    }
}

struct Queue<T, B> {
    buffer: B,
    closed: bool,
    _values: PhantomData<T>,
}

struct Shared<T, B> {
    queue: Lock<Queue<T, B>>,
    places: Waiters,
    values: Waiters,
}

impl<T, B> Shared<T, B> {
    crate::shim::const_unless_loom! {
        fn new(buffer: B, capacity: usize) -> Self {
            Shared {
                queue: Lock::new(Queue { buffer, closed: false, _values: PhantomData }),
                places: Waiters::new(capacity),
                values: Waiters::new(0),
            }
        }
    }
}

impl<T, B: Buffer<T>> Shared<T, B> {
    /// Puts a value into a place that was granted.
    fn push(&self, value: T) -> Result<(), T> {
        self.queue.with(|queue| {
            if queue.closed && !fault("channel_takes_when_closed") {
                return Err(value);
            }
            queue.buffer.push(value);
            Ok(())
        })?;
        self.values.release(1);
        Ok(())
    }

    fn pop(&self) -> Option<T> {
        let value = self.queue.with(|queue| queue.buffer.pop())?;
        self.places.release(1);
        Some(value)
    }

    async fn reserve(&self) -> Result<Place<'_, T, B>, Closed> {
        match self.places.wait(1, Waiters::release).await {
            Grant::Closed => Err(Closed),
            Grant::Granted | Grant::Swept => Ok(Place { shared: Some(self) }),
        }
    }

    async fn send(&self, value: T) -> Result<(), SendError<T>> {
        match self.reserve().await {
            Ok(place) => place.send(value),
            Err(Closed) => Err(SendError(value)),
        }
    }

    fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.places.try_take(1) {
            Ok(()) => self.push(value).map_err(TrySendError::Closed),
            Err(Refused::Closed) => Err(TrySendError::Closed(value)),
            Err(Refused::Busy) => Err(TrySendError::Full(value)),
        }
    }

    async fn receive(&self) -> Option<T> {
        loop {
            let grant = self.values.wait(1, Waiters::release).await;
            if let Some(value) = self.pop() {
                return Some(value);
            }
            // Granted, and nothing there: another took it after the channel was closed.
            if grant == Grant::Closed {
                return None;
            }
        }
    }

    fn try_receive(&self) -> Result<T, TryReceiveError> {
        match self.values.try_take(1) {
            Err(Refused::Busy) => Err(TryReceiveError::Empty),
            Ok(()) | Err(Refused::Closed) => self.pop().ok_or(TryReceiveError::Closed),
        }
    }

    fn close(&self) {
        self.queue.with(|queue| queue.closed = true);
        self.places.close();
        self.values.close();
    }

    fn len(&self) -> usize {
        self.queue.with(|queue| queue.buffer.len())
    }

    fn is_closed(&self) -> bool {
        self.queue.with(|queue| queue.closed)
    }
}

/// A place in a channel, for one value.
struct Place<'a, T, B: Buffer<T>> {
    shared: Option<&'a Shared<T, B>>,
}

impl<T, B: Buffer<T>> Place<'_, T, B> {
    fn send(mut self, value: T) -> Result<(), SendError<T>> {
        match self.shared.take() {
            Some(shared) => shared.push(value).map_err(SendError),
            None => unreachable!("a place is used once"),
        }
    }
}

impl<T, B: Buffer<T>> Drop for Place<'_, T, B> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared {
            shared.places.release(1);
        }
    }
}

/// A channel of at most `N` values that needs no allocator: it may be a `static`.
///
/// Any number of tasks send and receive, on any domains; each value goes to one receiver. `try_send` and `try_receive` work from outside the
/// runtime, too; with the feature `critical-section` in an interrupt handler.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, spawn, platform::Bare, sync::Channel, Config};
/// static KEYS: Channel<char, 16> = Channel::new();
///
/// # let ran = run(&Bare, Config::new(), async {
/// let typing = spawn(async {
///     let mut text = String::new();
///     while let Some(key) = KEYS.receive().await {
///         text.push(key);
///     }
///     text
/// });
/// for key in "matou".chars() {
///     KEYS.send(key).await?;
/// }
/// KEYS.close();
/// assert_eq!(typing.await.ok().as_deref(), Some("matou"));
/// # Ok::<_, matou_core::sync::SendError<char>>(())
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
pub struct Channel<T, const N: usize>(Shared<T, Deque<T, N>>);

impl<T, const N: usize> Channel<T, N> {
    crate::shim::const_unless_loom! {
        /// An empty channel.
        pub fn new() -> Channel<T, N> {
            const { assert!(N > 0, "a channel has room for one value at least") };
            Channel(Shared::new(Deque::new(), N))
        }
    }

    /// Sends a value; waits while the channel is full, behind those who came before.
    ///
    /// # Errors
    /// The value is given back if the channel was closed.
    ///
    /// # Cancellation
    /// Dropped early it leaves the queue, and the value is dropped with it.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value).await
    }

    /// Sends a value if there is a place and nobody waits for one.
    ///
    /// # Errors
    /// The value is given back, with the reason.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(value)
    }

    /// The next value; waits for one while there is none. `None` when the channel was closed and everything in it was received.
    ///
    /// # Cancellation
    /// Dropped early it leaves the queue; a value that was meant for it goes to the next.
    pub async fn receive(&self) -> Option<T> {
        self.0.receive().await
    }

    /// The next value, if there is one and nobody waits for it.
    ///
    /// # Errors
    /// [`TryReceiveError`] says why not.
    pub fn try_receive(&self) -> Result<T, TryReceiveError> {
        self.0.try_receive()
    }

    /// Ends sending: who waits to send gets the value back. What was sent can still be received.
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// How many values wait to be received.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no value waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T, const N: usize> Default for Channel<T, N> {
    fn default() -> Self {
        Channel::new()
    }
}

impl<T, const N: usize> fmt::Debug for Channel<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("len", &self.len()).field("capacity", &N).field("closed", &self.is_closed()).finish()
    }
}

/// A bounded channel with many senders and one receiver, on any domains.
///
/// It closes when the last sender or the receiver is dropped. It allocates here, and never again.
///
/// ```
/// # #[cfg(feature = "std")] {
/// # use matou_core::{run, spawn, platform::Bare, sync::channel, Config};
/// # let ran = run(&Bare, Config::new(), async {
/// let (sender, mut receiver) = channel(2);
/// let producer = spawn(async move {
///     for number in 1..=10 {
///         sender.send(number).await?; // Waits while two of them are on their way.
///     }
///     Ok::<_, matou_core::sync::SendError<u32>>(())
/// });
/// let mut sum = 0;
/// while let Some(number) = receiver.receive().await {
///     sum += number;
/// }
/// assert_eq!(sum, 55);
/// assert!(producer.await.is_ok());
/// # });
/// # assert!(ran.is_ok());
/// # }
/// ```
///
/// # Panics
/// If `capacity` is 0, or more than [`Semaphore::MOST_PERMITS`](super::Semaphore::MOST_PERMITS).
#[cfg(feature = "alloc")]
#[track_caller]
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "the capacity of a channel is 0: it has room for one value at least");
    assert!(capacity <= super::Semaphore::MOST_PERMITS, "a channel has at most `Semaphore::MOST_PERMITS` places");
    let shared = Arc::new(Shared::new(VecDeque::with_capacity(capacity), capacity));
    (Sender(Arc::new(Senders { shared: shared.clone(), capacity })), Receiver { shared })
}

#[cfg(feature = "alloc")]
type OnHeap<T> = Shared<T, VecDeque<T>>;

/// All senders of a channel: it closes when they are gone.
#[cfg(feature = "alloc")]
struct Senders<T> {
    shared: Arc<OnHeap<T>>,
    capacity: usize,
}

#[cfg(feature = "alloc")]
impl<T> Drop for Senders<T> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// One of the senders of a [`channel`].
#[cfg(feature = "alloc")]
pub struct Sender<T>(Arc<Senders<T>>);

#[cfg(feature = "alloc")]
impl<T> Sender<T> {
    /// Sends a value; waits while the channel is full, behind those who came before.
    ///
    /// # Errors
    /// The value is given back if the receiver is gone or has closed the channel.
    ///
    /// # Cancellation
    /// Dropped early it leaves the queue, and the value is dropped with it. Where that must not be, [`reserve`](Self::reserve) first.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.0.shared.send(value).await
    }

    /// Sends a value if there is a place and nobody waits for one.
    ///
    /// # Errors
    /// The value is given back, with the reason.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.0.shared.try_send(value)
    }

    /// Waits for a place in the channel and keeps it.
    ///
    /// # Errors
    /// [`Closed`], if the receiver is gone or has closed the channel.
    ///
    /// # Cancellation
    /// Dropped early it leaves the queue; a place that was already its own goes to the next.
    pub async fn reserve(&self) -> Result<Reserved<'_, T>, Closed> {
        self.0.shared.reserve().await.map(Reserved)
    }

    /// Whether the receiver is gone or has closed the channel.
    pub fn is_closed(&self) -> bool {
        self.0.shared.is_closed()
    }

    /// How many values the channel has room for.
    pub fn capacity(&self) -> usize {
        self.0.capacity
    }
}

#[cfg(feature = "alloc")]
impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(self.0.clone())
    }
}

#[cfg(feature = "alloc")]
impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("closed", &self.is_closed()).field("capacity", &self.capacity()).finish()
    }
}

/// A place in a [`channel`], given back when it is dropped.
#[cfg(feature = "alloc")]
#[must_use = "the place is given back at once when this is dropped"]
pub struct Reserved<'a, T>(Place<'a, T, VecDeque<T>>);

#[cfg(feature = "alloc")]
impl<T> Reserved<'_, T> {
    /// Sends a value into the place.
    ///
    /// # Errors
    /// The value is given back if the channel was closed meanwhile.
    pub fn send(self, value: T) -> Result<(), SendError<T>> {
        self.0.send(value)
    }
}

#[cfg(feature = "alloc")]
impl<T> fmt::Debug for Reserved<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").finish_non_exhaustive()
    }
}

/// The receiver of a [`channel`].
#[cfg(feature = "alloc")]
pub struct Receiver<T> {
    shared: Arc<OnHeap<T>>,
}

#[cfg(feature = "alloc")]
impl<T> Receiver<T> {
    /// The next value; waits for one while there is none. `None` when all senders are gone, or the channel was closed, and everything in it
    /// was received.
    ///
    /// # Cancellation
    /// Dropped early it loses nothing.
    pub async fn receive(&mut self) -> Option<T> {
        self.shared.receive().await
    }

    /// The next value, if there is one.
    ///
    /// # Errors
    /// [`TryReceiveError`] says why not.
    pub fn try_receive(&mut self) -> Result<T, TryReceiveError> {
        self.shared.try_receive()
    }

    /// Ends sending: who waits to send gets the value back. What was sent can still be received.
    pub fn close(&mut self) {
        self.shared.close();
    }

    /// How many values wait to be received.
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether no value waits to be received.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(feature = "alloc")]
impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.close();
        // What nobody will receive does not wait for the last sender to go.
        while let Some(value) = self.shared.pop() {
            Domain::contain(ReportPlace::Destructor, || drop(value));
        }
    }
}

#[cfg(feature = "alloc")]
impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("len", &self.len()).finish()
    }
}
