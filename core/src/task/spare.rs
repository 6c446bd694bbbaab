//! The hold that a task's home domain has to spare, for the next waker (see *Counted* in [`task`](super)).
//!
//! A task is made with it. Who makes a waker at home takes it, if it is there, and a waker that goes at home leaves it, if it is not: so a task that
//! waits, is woken and waits again at home counts its waker once and for all, and a wake there does not wait for the line of the state word.
//! With the end of the task it goes. Only the home domain touches it, whatever other threads do with wakers of theirs, which count each for itself.

use super::{Header, home};

impl Header {
    /// A waker goes: leaves its hold, unless there is one or the task has ended. On its home domain.
    #[inline]
    pub(crate) fn leave_spare(&self) -> bool {
        let may = !self.home_flags.has(home::ENDED | home::SPARE);
        if may {
            self.home_flags.set(home::SPARE);
        }
        may
    }

    /// A waker comes: takes the hold that was left, if there is one. On its home domain.
    #[inline]
    pub(crate) fn take_spare(&self) -> bool {
        let has = self.home_flags.has(home::SPARE) && !self.home_flags.has(home::ENDED);
        if has {
            self.home_flags.clear(home::SPARE);
        }
        has
    }

    /// The task ends, and the hold that was left goes. Whether its node is in an inbox, or about to be. On its home domain, which holds it besides.
    #[inline]
    #[must_use]
    pub(crate) fn end(&self) -> bool {
        let flags = self.home_flags.0.get();
        self.home_flags.0.set(flags & !home::SPARE | home::ENDED);
        match flags & (home::SENT | home::SPARE) {
            // So do most.
            home::SPARE => self.state.end_alone(1),
            0 => self.state.end_alone(0),
            sent => {
                self.state.let_go(u32::from(sent != home::SENT));
                self.state.end()
            }
        }
    }
}
