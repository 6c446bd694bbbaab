//! Counts effects: how many a task may take in one poll, and how far the polls go, one after the other, before the domain does more between two of
//! them than to take the next task.

#![allow(unsafe_code)] // Follows the pointer to the domain's place in the run's table, under *Run* (see `shared`).

use super::Domain;

impl Domain {
    /// Takes an effect from the current task's budget and counts it for the domain; `false` when the budget was used up.
    #[must_use]
    pub(crate) fn count_effect(&self) -> bool {
        // It does not overflow: one a nanosecond takes centuries.
        let effects = self.effects.get() + 1;
        self.effects.set(effects);
        let spent_at = self.spent_at.get();
        if self.current.get().is_none() {
            // It is not the poll's.
            self.spent_at.set(spent_at + 1);
            return true;
        }
        effects <= spent_at
    }

    /// Takes an effect that is not awaited, and therefore cannot wait, from the current task's budget, used up or not.
    #[inline]
    pub(crate) fn count_unawaited(&self) {
        debug_assert!(self.current.get().is_some(), "it is a task's");
        self.effects.set(self.effects.get() + 1);
    }

    /// A task's code begins to run, in a poll or in a destructor: a step of the domain's, with a budget of its own.
    pub(super) fn begin_budget(&self) {
        self.count_step();
        self.spent_at.set(self.effects.get() + self.quanta);
    }

    /// The domain does something that may take a task's time: it drops what is a task's.
    pub(super) fn count_step(&self) {
        self.effects.set(self.effects.get() + 1);
    }

    /// Whether the event source is to be asked before the next poll, if anybody waits for it.
    pub(super) fn is_time_up(&self) -> bool {
        self.effects.get() >= self.look_at.get() || self.points.are_pressing()
    }

    /// There is something to do before the next poll.
    pub(crate) fn pause(&self) {
        self.pause_at.set(0);
    }

    /// Whether there is nothing to do between two polls, as far as the domain was told since [`look_around`](Self::look_around).
    #[inline]
    pub(super) fn goes_on(&self) -> bool {
        // SAFETY: *Run*: it lies in the run's table.
        let place = unsafe { self.place.as_ref() };
        self.effects.get() < self.pause_at.get() && place.mailbox().looks_empty() && !place.is_hailed()
    }

    /// Looks how far the polls may go, one after the other: whatever comes in between is told, by [`pause`](Self::pause) or from elsewhere.
    #[inline]
    pub(super) fn look_around(&self) {
        // SAFETY: *Run*: it lies in the run's table.
        unsafe { self.place.as_ref() }.heed();
        let busy = !self.attending.is_empty()
            || self.runnable.any_cancelled()
            || self.hooks.any()
            || self.is_asked()
            || self.points.are_pressing()
            || self.has_broken_clock()
            || self.run().is_aborting();
        self.pause_at.set(if busy { 0 } else { self.look_at.get() });
    }

    /// Puts the next question to the event source off: it was just asked, or there is nothing to ask for.
    pub(super) fn put_off_looking(&self) {
        self.look_at.set(self.effects.get() + self.quanta);
    }

    /// Calls foreign code between polls: hooks, wakers. What that does brings the next question to the event source no nearer: else no poll might come
    /// between two of them.
    pub(super) fn uncounted(&self, f: impl FnOnce()) {
        let before = self.effects.get();
        f();
        self.look_at.set(self.look_at.get() + (self.effects.get() - before));
    }

    /// The effect just counted is pending: it did nothing yet.
    pub(crate) fn give_back_effect(&self) {
        if self.current.get().is_some() {
            self.spent_at.set(self.spent_at.get().max(self.effects.get()) + 1);
        }
    }
}
