//! The names of what the kernel is busy with: each of its completions bears one.
//!
//! There is at most one receive for a descriptor, begun only when the one before has completed for the last time: the descriptor's number names it, and a
//! stream that waits pays for no more. Of polls there may be several, as one that is given up is still under way for a while. Each has a slot
//! from the moment it is pushed to its last completion, however early it is given up: *Kept to the end*. A slot has a generation, and the poll's number
//! names both, so that nothing is taken for its slot's next user.

use std::num::NonZeroU32;

use super::super::table::{Direction, Token};

/// Whose completion it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// To say when a descriptor is ready.
    Poll(Number),
    /// To put what comes for this descriptor into a buffer.
    Receive(u32),
    Bell,
    /// To take something back.
    Cancellation,
}

impl Name {
    /// Stands where polls have their generation, which never comes so far.
    const RECEIVE: u32 = u32::MAX - 1;
    const OTHER: u32 = u32::MAX;

    pub(super) fn to_bits(self) -> u64 {
        let (high, low) = match self {
            Name::Poll(number) => (number.generation, number.slot.index() as u32),
            Name::Receive(index) => (Name::RECEIVE, index),
            Name::Bell => (Name::OTHER, 0),
            Name::Cancellation => (Name::OTHER, 1),
        };
        u64::from(high) << 32 | u64::from(low)
    }

    pub(super) fn from_bits(bits: u64) -> Name {
        match ((bits >> 32) as u32, bits as u32) {
            (Name::OTHER, 0) => Name::Bell,
            (Name::OTHER, _) => Name::Cancellation,
            (Name::RECEIVE, index) => Name::Receive(index),
            (generation, index) => Name::Poll(Number { slot: Slot::new(index as usize), generation }),
        }
    }
}

/// Where a poll is kept. It names the poll that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(NonZeroU32);

impl Slot {
    fn new(index: usize) -> Slot {
        let above = u32::try_from(index).ok().and_then(|index| NonZeroU32::MIN.checked_add(index));
        Slot(above.expect("there are no more descriptors than that"))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Names one poll for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    slot: Slot,
    generation: u32,
}

impl Number {
    pub(super) fn slot(self) -> Slot {
        self.slot
    }
}

/// A poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Poll {
    pub(super) token: Token,
    pub(super) direction: Direction,
    /// Whether it was given up: what it says is of no use for waiting.
    pub(super) cancelled: bool,
}

/// Those that are under way.
#[derive(Default)]
pub(super) struct Polls {
    slots: Vec<(u32, Option<Poll>)>,
    free: Vec<Slot>,
}

impl Polls {
    pub(super) fn begin(&mut self, token: Token, direction: Direction) -> Number {
        let poll = Some(Poll { token, direction, cancelled: false });
        match self.free.pop() {
            Some(slot) => {
                let place = &mut self.slots[slot.index()];
                place.0 = if place.0 + 1 < Name::RECEIVE { place.0 + 1 } else { 1 };
                place.1 = poll;
                Number { slot, generation: place.0 }
            }
            None => {
                self.slots.push((1, poll));
                Number { slot: Slot::new(self.slots.len() - 1), generation: 1 }
            }
        }
    }

    /// The poll in this slot, which it has not left.
    pub(super) fn at(&self, slot: Slot) -> Option<(Number, Token)> {
        let (generation, poll) = self.slots[slot.index()];
        Some((Number { slot, generation }, poll?.token))
    }

    /// The poll, if it is still under way.
    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut Poll> {
        let (generation, poll) = self.slots.get_mut(number.slot.index())?;
        poll.as_mut().filter(|_| *generation == number.generation)
    }

    /// The poll has completed for the last time.
    pub(super) fn end(&mut self, number: Number) -> Option<Poll> {
        let poll = *self.get_mut(number)?;
        self.slots[number.slot.index()].1 = None;
        self.free.push(number.slot);
        Some(poll)
    }

    /// Those that are under way.
    pub(super) fn numbers(&self) -> impl Iterator<Item = Number> {
        (0..self.slots.len()).filter_map(|index| Some(self.at(Slot::new(index))?.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(bits: u64) -> Token {
        Token::from_bits(bits)
    }

    #[test]
    fn a_slot_is_kept_to_the_end_and_then_used_again_under_another_number() {
        let mut polls = Polls::default();
        let (one, two) = (polls.begin(token(1), Direction::Read), polls.begin(token(2), Direction::Read));
        polls.get_mut(one).unwrap().cancelled = true;
        assert_ne!(polls.begin(token(3), Direction::Read).slot, one.slot, "it was given up, and has not ended");
        let ended = polls.end(one).unwrap();
        assert!(ended.cancelled && ended.token == token(1));
        assert!(polls.end(one).is_none() && polls.get_mut(one).is_none() && polls.at(one.slot).is_none());
        assert_eq!(polls.numbers().count(), 2);
        let next = polls.begin(token(4), Direction::Read);
        assert_eq!(next.slot, one.slot);
        assert_ne!(next, one);
        assert_eq!(polls.end(one), None, "an old number ends nobody");
        assert_eq!(polls.at(next.slot), Some((next, token(4))));
        assert_eq!(polls.end(two).unwrap().token, token(2));
    }

    #[test]
    fn names_are_told_apart() {
        let mut polls = Polls::default();
        let first = polls.begin(token(0), Direction::Read);
        polls.end(first);
        polls.slots[0].0 = Name::RECEIVE - 1;
        let again = polls.begin(token(0), Direction::Read);
        assert_eq!(again.generation, 1, "no poll is taken for something else");
        for name in [Name::Poll(again), Name::Receive(0), Name::Receive(i32::MAX as u32), Name::Bell, Name::Cancellation] {
            assert_eq!(Name::from_bits(name.to_bits()), name);
        }
    }
}
