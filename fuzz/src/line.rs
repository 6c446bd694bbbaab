//! A line of those who wait for permits, as the rules say it should be: the model of everything in `sync` (R40, R41).
//!
//! First come, first served; what is granted to one is its own; who leaves takes nothing along.

use std::collections::{BTreeMap, VecDeque};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// With what was asked for.
    Given,
    /// With all who waited.
    Swept,
}

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    /// What nobody has.
    pub(crate) permits: usize,
    /// Nothing is given any more.
    pub(crate) closed: bool,
    queue: VecDeque<(usize, usize)>,
    granted: BTreeMap<usize, (Grant, usize)>,
}

impl Line {
    /// A line with so many permits.
    pub(crate) fn new(permits: usize) -> Self {
        Line { permits, ..Line::default() }
    }

    /// Who asks for so many: what it gets, or `None` while it must wait. On a closed line `Swept`.
    pub(crate) fn ask(&mut self, who: usize, needs: usize) -> Option<Grant> {
        if let Some((grant, _)) = self.granted.remove(&who) {
            return Some(grant);
        }
        if self.queue.iter().any(|&(other, _)| other == who) {
            return None;
        }
        if self.closed {
            return Some(Grant::Swept);
        }
        if self.try_take(needs) {
            return Some(Grant::Given);
        }
        self.queue.push_back((who, needs));
        None
    }

    /// Takes what is there, if nobody waits.
    pub(crate) fn try_take(&mut self, needs: usize) -> bool {
        let there = !self.closed && self.queue.is_empty() && needs <= self.permits;
        if there {
            self.permits -= needs;
        }
        there
    }

    /// Permits come back.
    pub(crate) fn release(&mut self, permits: usize) {
        self.permits += permits;
        while let Some(&(who, needs)) = self.queue.front()
            && needs <= self.permits
        {
            self.permits -= needs;
            self.queue.pop_front();
            self.granted.insert(who, (Grant::Given, needs));
        }
    }

    /// The first gets what it waits for, whatever it is.
    pub(crate) fn signal(&mut self) -> bool {
        let first = self.queue.pop_front();
        if let Some((who, needs)) = first {
            self.granted.insert(who, (Grant::Given, needs));
        }
        first.is_some()
    }

    /// All who wait go on.
    pub(crate) fn sweep(&mut self) {
        for (who, needs) in self.queue.drain(..) {
            self.granted.insert(who, (Grant::Swept, needs));
        }
    }

    /// All who wait go on, and so does everybody from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.sweep();
    }

    /// Who waited goes away: what it was given and did not use, for the caller to pass on.
    pub(crate) fn leave(&mut self, who: usize) -> Option<usize> {
        if let Some((grant, needs)) = self.granted.remove(&who) {
            return (grant == Grant::Given).then_some(needs);
        }
        self.queue.retain(|&(other, _)| other != who);
        self.release(0);
        None
    }

    /// Whether this one has been given what it waits for, and does not know yet.
    pub(crate) fn is_granted(&self, who: usize) -> bool {
        self.granted.contains_key(&who)
    }
}
