//! What came for a read that did not take it.

use rustix::io::Errno;
use std::io;

/// Bytes, and the error behind them, that were taken out of a stream and given to nobody yet: the next read's.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    bytes: Vec<u8>,
    /// How many of them were read since.
    read: usize,
    error: Option<Errno>,
}

impl Unread {
    pub(crate) fn of_bytes(bytes: &[u8]) -> Unread {
        Unread { bytes: bytes.to_vec(), read: 0, error: None }
    }

    /// More came: bytes, or an error behind those that there are.
    pub(crate) fn push(&mut self, bytes: &[u8], error: Option<Errno>) {
        self.bytes.extend_from_slice(bytes);
        self.error = self.error.or(error);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.read..]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes().is_empty() && self.error.is_none()
    }

    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        let bytes = self.bytes().to_vec();
        self.read = self.bytes.len();
        bytes
    }

    /// None while there are bytes before it.
    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        if self.bytes().is_empty() { self.error.take().map(io::Error::from) } else { None }
    }

    /// Lets `take` have the bytes, and forgets as many as it says; behind them there is the error, once. None if there is nothing.
    pub(crate) fn offer<R>(&mut self, take: &mut dyn FnMut(&[u8]) -> io::Result<(R, usize)>) -> Option<io::Result<R>> {
        if self.bytes().is_empty() {
            return self.error.take().map(|error| Err(error.into()));
        }
        Some(take(self.bytes()).map(|(result, taken)| {
            self.read += taken;
            result
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_in_order_and_the_error_behind_them_once() {
        let mut unread = Unread { error: Some(Errno::CONNRESET), ..Unread::of_bytes(b"meow") };
        let mut offer = |most: usize| unread.offer(&mut |bytes| Ok((bytes[..most].to_vec(), most)));
        assert_eq!(offer(1).unwrap().unwrap(), b"m");
        assert_eq!(offer(0).unwrap().unwrap(), b"", "a look takes nothing");
        assert_eq!(offer(3).unwrap().unwrap(), b"eow");
        assert_eq!(offer(1).unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(offer(1).is_none());
        assert!(unread.is_empty());
    }
}
