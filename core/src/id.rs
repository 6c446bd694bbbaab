//! Ids: names for domains, tasks and suspension points that are never used twice within a run.
//!
//! A [`TaskId`] is a number of the domain that *made* the task, so that no two domains have to agree on a counter.
//! A [`PointId`] is a place in its domain's table together with the place's generation: an id that outlived its point
//! is recognised as stale instead of naming its successor.

use core::fmt;

/// The name of a domain: 0 for the thread that called `run`, then 1, 2, … for the workers.
///
/// Miou: `Miou.Domain.Uid.t`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(u16);

impl DomainId {
    /// The domain of the thread that called `run`.
    pub const ZERO: DomainId = DomainId(0);

    /// How many domains a run can have, domain 0 included.
    pub const MAX: usize = 1 << TaskId::DOMAIN_BITS;

    /// The domain with this index.
    ///
    /// # Panics
    /// If `index` is not below [`DomainId::MAX`].
    ///
    /// Miou: `Miou.Domain.Uid.of_int`.
    pub const fn new(index: usize) -> DomainId {
        assert!(index < DomainId::MAX, "a run has at most DomainId::MAX domains");
        DomainId(index as u16)
    }

    /// The domain's place among the run's domains, from 0.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DomainId({})", self.0)
    }
}

/// The name of a task: the domain that made it, and how many that domain had made before. Never reused within a run.
///
/// Miou: `Miou.Promise.Uid.t`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(u64);

impl TaskId {
    const DOMAIN_BITS: u32 = 10;

    /// No task's name.
    pub(crate) const NOBODY: TaskId = TaskId(u64::MAX);

    pub(crate) const fn new(maker: DomainId, number: u64) -> TaskId {
        TaskId(number << Self::DOMAIN_BITS | maker.0 as u64)
    }

    /// The name of the task that the same domain makes next.
    pub(crate) const fn next(self) -> TaskId {
        TaskId(self.0 + (1 << Self::DOMAIN_BITS))
    }

    /// The domain whose task made this one; a task made by `call` lives on another.
    pub const fn maker(self) -> DomainId {
        DomainId((self.0 & ((1 << Self::DOMAIN_BITS) - 1)) as u16)
    }

    /// How many tasks that domain had made before this one.
    pub const fn number(self) -> u64 {
        self.0 >> Self::DOMAIN_BITS
    }

    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    #[cfg(feature = "alloc")]
    pub(crate) const fn from_bits(bits: u64) -> TaskId {
        TaskId(bits)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.maker(), self.number())
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

/// The name of a suspension point, as an event source keeps it.
///
/// Miou: `Miou.uid`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PointId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl PointId {
    /// The id as one number, for an event source that can keep only that (the `u64` of an `epoll_event`).
    ///
    /// The low 32 bits are the point's place in its domain's table: places are dense from 0 and used again, so that an event source may keep a
    /// table of its own beside. The high 32 bits tell the users of one place apart.
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The id that [`PointId::to_bits`] made the number of. A number made up is a stale id: it resumes nothing, or a point of this domain.
    pub const fn from_bits(bits: u64) -> PointId {
        PointId { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PointId({}.{})", self.index, self.generation)
    }
}
