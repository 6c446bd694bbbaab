//! Why a channel did not take or give a value.

use core::fmt;

/// The channel was closed; the value is given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SendError<T>(pub T);

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SendError(..)")
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody receives from this channel any more")
    }
}

impl<T> core::error::Error for SendError<T> {}

/// Why `Sender::try_send` and [`Channel::try_send`](super::Channel::try_send) did not send. The value is given back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum TrySendError<T> {
    /// The channel is full, or others wait for a place.
    Full(T),
    /// The channel was closed.
    Closed(T),
}

impl<T> TrySendError<T> {
    /// The value.
    pub fn into_inner(self) -> T {
        match self {
            TrySendError::Full(value) | TrySendError::Closed(value) => value,
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "Full(..)",
            TrySendError::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TrySendError::Full(_) => "the channel is full at the moment: `send` waits for a place",
            TrySendError::Closed(_) => "nobody receives from this channel any more",
        })
    }
}

impl<T> core::error::Error for TrySendError<T> {}

/// Why `Receiver::try_receive` and [`Channel::try_receive`](super::Channel::try_receive) have no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryReceiveError {
    /// There is none at the moment.
    Empty,
    /// There is none, and none will come.
    Closed,
}

impl fmt::Display for TryReceiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryReceiveError::Empty => "no value was sent that was not received: `receive` waits for one",
            TryReceiveError::Closed => "everything was received, and nobody sends any more",
        })
    }
}

impl core::error::Error for TryReceiveError {}
