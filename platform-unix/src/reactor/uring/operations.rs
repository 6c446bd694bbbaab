//! The operations that the kernel is busy with.
//!
//! Each has a slot from the moment it is pushed to its last completion, however early it is given up: *Kept to the end*. A slot has a
//! generation, and the number that a completion bears names both, so that nothing is taken for its slot's next user.

use std::num::NonZeroU64;

use super::super::table::{Direction, Token};

/// What is asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To say when the descriptor is ready.
    Poll(Direction),
    /// To put what comes into a buffer.
    Receive,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    pub(super) token: Token,
    pub(super) kind: Kind,
    /// Whether it was given up: what it brings is of no use for waiting.
    pub(super) cancelled: bool,
}

/// The number of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number(NonZeroU64);

impl Number {
    fn new(index: usize, generation: u32) -> Number {
        Number(NonZeroU64::new(u64::from(generation) << 32 | index as u64).expect("generations begin with 1"))
    }

    fn index(self) -> usize {
        self.0.get() as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    pub(super) fn to_bits(self) -> u64 {
        self.0.get()
    }

    pub(super) fn from_bits(bits: u64) -> Option<Number> {
        NonZeroU64::new(bits).map(Number)
    }
}

#[derive(Default)]
pub(super) struct Operations {
    slots: Vec<(u32, Option<Operation>)>,
    free: Vec<u32>,
}

impl Operations {
    /// Generations end before this, so that no operation has one of the numbers beyond.
    const GENERATIONS: u32 = u32::MAX;

    /// A number that no operation has.
    pub(super) const fn reserved(index: u32) -> u64 {
        (Operations::GENERATIONS as u64) << 32 | index as u64
    }

    pub(super) fn begin(&mut self, token: Token, kind: Kind) -> Number {
        let operation = Some(Operation { token, kind, cancelled: false });
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                slot.0 = if slot.0 + 1 < Operations::GENERATIONS { slot.0 + 1 } else { 1 };
                slot.1 = operation;
                Number::new(index as usize, slot.0)
            }
            None => {
                self.slots.push((1, operation));
                Number::new(self.slots.len() - 1, 1)
            }
        }
    }

    /// The operation, if it is still under way.
    pub(super) fn get_mut(&mut self, number: Number) -> Option<&mut Operation> {
        let (generation, operation) = self.slots.get_mut(number.index())?;
        operation.as_mut().filter(|_| *generation == number.generation())
    }

    /// The operation has completed for the last time.
    pub(super) fn end(&mut self, number: Number) -> Option<Operation> {
        let operation = *self.get_mut(number)?;
        self.slots[number.index()].1 = None;
        self.free.push(number.index() as u32);
        Some(operation)
    }

    /// Those that are under way.
    pub(super) fn numbers(&self) -> Vec<Number> {
        let number =
            |(index, (generation, operation)): (usize, &(u32, Option<Operation>))| operation.map(|_| Number::new(index, *generation));
        self.slots.iter().enumerate().filter_map(number).collect()
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
        let mut operations = Operations::default();
        let poll = Kind::Poll(Direction::Read);
        let (one, two) = (operations.begin(token(1), poll), operations.begin(token(2), poll));
        operations.get_mut(one).unwrap().cancelled = true;
        assert_ne!(operations.begin(token(3), poll).index(), one.index(), "it was given up, and has not ended");
        let ended = operations.end(one).unwrap();
        assert!(ended.cancelled && ended.token == token(1));
        assert!(operations.end(one).is_none() && operations.get_mut(one).is_none());
        assert_eq!(operations.numbers().len(), 2);
        let next = operations.begin(token(4), poll);
        assert_eq!(next.index(), one.index());
        assert_ne!(next, one);
        assert_eq!(operations.end(one), None, "an old number ends nobody");
        assert_eq!(operations.end(two).unwrap().token, token(2));
        assert_eq!(Number::from_bits(next.to_bits()), Some(next));
    }

    #[test]
    fn no_operation_has_a_reserved_number() {
        let mut operations = Operations::default();
        let number = operations.begin(token(0), Kind::Poll(Direction::Read));
        operations.end(number);
        operations.slots[0].0 = Operations::GENERATIONS - 1;
        let next = operations.begin(token(0), Kind::Poll(Direction::Read));
        assert_eq!(next.generation(), 1);
        assert_ne!(next.to_bits(), Operations::reserved(0));
    }
}
