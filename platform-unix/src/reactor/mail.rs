//! What other domains tell a reactor.
//!
//! A domain looks at its [`Mail`] in each `select`, and who posts something rings its bell. *Answered*: a letter is either taken by the domain, or
//! was never posted, because the domain had ended: then it is given back, and what the domain left behind can be asked for
//! ([`left`](Mail::left)). Closing and posting exclude each other by the lock.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use matou_core::PointId;

use super::Shared;
use super::table::Token;
use super::unread::Unread;

/// What another domain has to say.
#[derive(Debug)]
pub(super) enum Letter {
    /// A descriptor has left.
    Left(Token),
    /// A stream was dropped whose read waits here: it is to be closed when that has been taken back.
    Closed(Token, OwnedFd),
    /// A stream is used there whose read waits here: it leaves, and what came for it is asked for.
    Fetch { token: Token, handover: Arc<Handover>, to: Arc<Shared>, point: PointId },
    /// What this point waits for has been done.
    Resume(PointId),
}

/// What came for a stream on the domain it left: filled once.
#[derive(Debug, Default)]
pub(crate) struct Handover(Mutex<Option<Option<Box<Unread>>>>);

impl Handover {
    /// Puts in what `unread` gives, unless that was done before.
    pub(super) fn fill(&self, unread: impl FnOnce() -> Option<Box<Unread>>) {
        lock(&self.0).get_or_insert_with(unread);
    }

    pub(super) fn is_filled(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Takes out what there is.
    pub(crate) fn take(&self) -> Option<Box<Unread>> {
        lock(&self.0).as_mut().and_then(Option::take)
    }
}

#[derive(Debug, Default)]
pub(super) struct Mail {
    /// Whether there may be letters: looked at in every `select`, where a lock would be too much.
    any: AtomicBool,
    closed: AtomicBool,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    letters: Vec<Letter>,
    /// What came for streams that had not fetched it when the domain ended, with the places it belonged to.
    left: Vec<(usize, Box<Unread>)>,
}

impl Mail {
    /// Posts a letter, unless nobody will read it any more.
    pub(super) fn post(&self, letter: Letter) -> Result<(), Letter> {
        let mut contents = lock(&self.contents);
        if self.closed.load(Ordering::Relaxed) {
            return Err(letter);
        }
        contents.letters.push(letter);
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    /// The letters that have come.
    pub(super) fn take(&self) -> Vec<Letter> {
        if !self.any.load(Ordering::Relaxed) || !self.any.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        core::mem::take(&mut lock(&self.contents).letters)
    }

    /// Whether the domain has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The domain ends: `end` gives what it leaves behind. Who asked for that is answered.
    pub(super) fn close(&self, end: impl FnOnce() -> Vec<(usize, Box<Unread>)>) {
        let mut contents = lock(&self.contents);
        contents.left = end();
        self.closed.store(true, Ordering::Release);
        let letters = core::mem::take(&mut contents.letters);
        drop(contents);
        for letter in letters {
            if let Letter::Fetch { token, handover, to, point } = letter {
                handover.fill(|| self.left(token));
                let _it_ended = to.send(Letter::Resume(point));
            }
        }
    }

    /// What an ended domain has left behind for a stream.
    pub(super) fn left(&self, token: Token) -> Option<Box<Unread>> {
        let left = &mut lock(&self.contents).left;
        let place = left.iter().position(|(index, _)| *index == token.index())?;
        Some(left.swap_remove(place).1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
