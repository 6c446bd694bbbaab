//! A domain's table of suspension points.
//!
//! A place in the table is named by its index and its generation; the generation grows each time the place is freed, so an id
//! that outlived its point names nothing.
//!
//! ```text
//!   free ──(1)──▶ FRESH ──(2)──▶ WAITING ──(3)──▶ RESUMED ──(4)──▶ free
//!                   │  │            │                                ▲
//!                   │  └────(3)─────┼──▶ RESUMED                     │
//!                   └───(4)─────────┼────────────────────────────────┤
//!                                   └──(5)──▶ GIVEN UP ──(6)─────────┘
//! ```
//!
//! 1. [`Points::open`]. 2. [`Points::wait`], after the registration. 3. [`Signals::resume`], in `select`: it only queues.
//! 4. [`Points::close`]. 5. [`Points::close`] of a registered point: the event source has to be told.
//! 6. [`Points::given_up`], which puts it on the list that the next `select` is handed.
//!
//! The lists of resumed, given-up and free places are chained through the places themselves, so none can overflow.
//!
//! Invariant *Alone*: the table is reached by [`Points::with`] alone, in which nothing is done that could lead back there: wakers are moved in and
//! out and compared, never called, cloned or dropped, and no memory is asked for or given back. All foreign code is kept out, an allocator's too.

#![allow(unsafe_code)] // One cell, under *Alone*: each wait looks into the table seven times.

use core::cell::{Cell, UnsafeCell};
use core::task::Waker;

use crate::id::{PointId, TaskId};

/// How many suspension points a domain can have at a time without `alloc`.
pub const POINTS: usize = 64;

/// How many given-up points are told to `select` at a time.
pub(crate) const TOLD_AT_ONCE: usize = 32;

#[cfg(feature = "alloc")]
type Places = alloc::vec::Vec<Place>;
#[cfg(not(feature = "alloc"))]
type Places = heapless::Vec<Place, POINTS>;

/// The end of a list.
const NONE: u32 = u32::MAX;

struct Place {
    generation: u32,
    state: State,
    /// It is in the list of the resumed, which is not edited in the middle: it is freed when it comes out.
    listed: bool,
    next: u32,
    /// The task that waits, where that is traced.
    by: TaskId,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Fresh,
    Waiting,
    Resumed,
    GivenUp,
}

/// See the [module](self).
pub(crate) struct Points {
    table: UnsafeCell<Table>,
    /// Places that are not free: while there are any, the event source has something to look for.
    open: Cell<u32>,
    /// How many points are in the list of the given up.
    untold: Cell<usize>,
}

struct Table {
    places: Places,
    free: u32,
    resumed: List,
    given_up: List,
}

/// First in, first out.
struct List {
    first: u32,
    last: u32,
}

impl List {
    const fn new() -> Self {
        List { first: NONE, last: NONE }
    }

    fn push(&mut self, places: &mut Places, index: u32) {
        places[index as usize].next = NONE;
        match self.last {
            NONE => self.first = index,
            last => places[last as usize].next = index,
        }
        self.last = index;
    }

    fn pop(&mut self, places: &Places) -> Option<u32> {
        let index = self.first;
        if index == NONE {
            return None;
        }
        self.first = places[index as usize].next;
        if self.first == NONE {
            self.last = NONE;
        }
        Some(index)
    }
}

/// How a poll of a suspended future finds its point.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not registered, not resumed.
    Fresh,
    /// Registered, not resumed, with the waker of this poll.
    Waiting,
    /// The same, with another one.
    WaitingElsewhere,
    /// Resumed.
    Resumed,
}

/// A point that was resumed.
pub(crate) struct Resumed {
    /// None if its owner has not waited yet, or is gone.
    pub(crate) waker: Option<Waker>,
    /// The task that waited, and the point, where that is traced.
    pub(crate) told: Option<(TaskId, PointId)>,
}

impl Table {
    fn get(&mut self, id: PointId) -> Option<&mut Place> {
        self.places.get_mut(id.index as usize).filter(|place| place.generation == id.generation && place.state != State::Free)
    }

    /// Whether there is no place for another point.
    fn is_full(&self) -> bool {
        self.free == NONE && self.places.len() == POINTS
    }

    fn free(&mut self, index: u32) {
        let place = &mut self.places[index as usize];
        place.state = State::Free;
        place.generation = place.generation.wrapping_add(1);
        place.next = self.free;
        self.free = index;
    }
}

impl Points {
    pub(crate) const fn new() -> Self {
        Points {
            table: UnsafeCell::new(Table { places: Places::new(), free: NONE, resumed: List::new(), given_up: List::new() }),
            open: Cell::new(0),
            untold: Cell::new(0),
        }
    }

    /// Lends the table out. See *Alone* for what `f` may not do.
    #[inline(always)] // A few instructions each time.
    fn with<R>(&self, f: impl FnOnce(&mut Table) -> R) -> R {
        // SAFETY: *Alone*: there is no other reference. It is one thread's, as `Points` is not `Sync`.
        f(unsafe { &mut *self.table.get() })
    }

    /// Whether the event source has anything to look for or to be told.
    pub(crate) fn any(&self) -> bool {
        self.open.get() > 0
    }

    /// A new point. `None` if the table is full.
    #[inline]
    pub(crate) fn open(&self) -> Option<PointId> {
        #[cfg(feature = "alloc")]
        if self.with(|table| table.free == NONE) {
            self.make_room();
        }
        let id = self.with(|table| {
            let index = match table.free {
                NONE => {
                    let index = u32::try_from(table.places.len()).ok().filter(|&index| index != NONE)?;
                    let place = Place { generation: 0, state: State::Free, listed: false, next: NONE, by: TaskId::NOBODY, waker: None };
                    #[cfg(feature = "alloc")]
                    table.places.push(place);
                    #[cfg(not(feature = "alloc"))]
                    table.places.push(place).ok()?;
                    index
                }
                index => {
                    table.free = table.places[index as usize].next;
                    index
                }
            };
            let place = &mut table.places[index as usize];
            place.state = State::Fresh;
            place.by = TaskId::NOBODY;
            Some(PointId { index, generation: place.generation })
        })?;
        self.open.set(self.open.get() + 1);
        Some(id)
    }

    /// Room for another place. Memory is asked for and given back while nobody has the table (*Alone*), which may be another one afterwards.
    #[cfg(feature = "alloc")]
    #[cold]
    fn make_room(&self) {
        let is_full = |table: &mut Table| table.places.len() == table.places.capacity();
        while let Some(capacity) = self.with(|table| is_full(table).then(|| (2 * table.places.len()).max(8))) {
            let mut places = Places::with_capacity(capacity);
            self.with(|table| {
                if table.places.len() < places.capacity() {
                    places.append(&mut table.places);
                    core::mem::swap(&mut places, &mut table.places);
                }
            });
        }
    }

    /// How the point stands, in a poll with this waker.
    pub(crate) fn standing(&self, id: PointId, waker: &Waker) -> Standing {
        self.with(|table| match table.get(id) {
            Some(Place { state: State::Fresh, .. }) => Standing::Fresh,
            Some(Place { state: State::Waiting, waker: Some(kept), .. }) if kept.will_wake(waker) => Standing::Waiting,
            Some(Place { state: State::Waiting, .. }) => Standing::WaitingElsewhere,
            _ => Standing::Resumed,
        })
    }

    /// Closes a point that was resumed and whose waker was taken for that, and says whether it is such a one.
    #[inline]
    pub(crate) fn take_resumed(&self, id: PointId) -> bool {
        self.with(|table| {
            let resumed = table.get(id).is_some_and(|place| place.state == State::Resumed && !place.listed);
            if resumed {
                self.open.set(self.open.get() - 1);
                table.free(id.index);
            }
            resumed
        })
    }

    /// Keeps the waker of a point that was registered: from now on giving it up is told to the event source. The waker it replaces is handed
    /// out, or this one where the point was resumed.
    pub(crate) fn wait(&self, id: PointId, waker: Waker) -> Result<Option<Waker>, Waker> {
        self.with(|table| match table.get(id) {
            Some(place) if matches!(place.state, State::Fresh | State::Waiting) => {
                place.state = State::Waiting;
                Ok(place.waker.replace(waker))
            }
            _ => Err(waker),
        })
    }

    /// Keeps which task waits, where that is traced.
    pub(crate) fn note(&self, id: PointId, by: TaskId) {
        self.with(|table| {
            if let Some(place) = table.get(id) {
                place.by = by;
            }
        });
    }

    /// The task that waits at a point that was not resumed, where that is traced.
    pub(crate) fn noted(&self, id: PointId) -> Option<TaskId> {
        self.with(|table| table.get(id).filter(|place| place.state == State::Waiting && place.by != TaskId::NOBODY).map(|place| place.by))
    }

    /// The point's owner lets go of it. The waker is handed out, for the caller to drop.
    pub(crate) fn close(&self, id: PointId) -> Option<Waker> {
        self.with(|table| {
            let place = table.get(id)?;
            let waker = place.waker.take();
            if place.state == State::Waiting {
                place.state = State::GivenUp;
                table.given_up.push(&mut table.places, id.index);
                self.untold.set(self.untold.get() + 1);
            } else if place.state != State::GivenUp {
                self.open.set(self.open.get() - 1);
                if place.listed {
                    // Freed when it comes out of the list; until then its id is stale already.
                    place.state = State::Free;
                    place.generation = place.generation.wrapping_add(1);
                } else {
                    table.free(id.index);
                }
            }
            waker
        })
    }

    fn resume(&self, id: PointId) {
        self.with(|table| {
            if let Some(place) = table.get(id)
                && matches!(place.state, State::Waiting | State::Fresh)
            {
                place.state = State::Resumed;
                place.listed = true;
                table.resumed.push(&mut table.places, id.index);
            }
        });
    }

    /// The next point that was resumed.
    #[inline]
    pub(crate) fn next_resumed(&self) -> Option<Resumed> {
        self.with(|table| {
            let index = table.resumed.pop(&table.places)?;
            let place = &mut table.places[index as usize];
            place.listed = false;
            let waker = place.waker.take();
            let gone = place.state == State::Free;
            let id = PointId { index, generation: place.generation.wrapping_sub(u32::from(gone)) };
            let told = (place.by != TaskId::NOBODY).then_some((place.by, id));
            if gone {
                place.next = table.free;
                table.free = index;
            }
            Some(Resumed { waker, told })
        })
    }

    pub(crate) fn any_given_up(&self) -> bool {
        self.untold.get() > 0
    }

    /// Whether the event source is to be told of those given up before anything else is done: they are as many as it is told of at once,
    /// or take the last places of a table that cannot grow.
    pub(crate) fn are_pressing(&self) -> bool {
        self.untold.get() >= TOLD_AT_ONCE || (!cfg!(feature = "alloc") && self.any_given_up() && self.with(|table| table.is_full()))
    }

    /// Fills `ids` with points that were given up, and frees them. How many there were.
    pub(crate) fn given_up(&self, ids: &mut [PointId]) -> usize {
        self.with(|table| {
            let mut count = 0;
            while count < ids.len() {
                let Some(index) = table.given_up.pop(&table.places) else { break };
                ids[count] = PointId { index, generation: table.places[index as usize].generation };
                table.free(index);
                self.open.set(self.open.get() - 1);
                count += 1;
            }
            self.untold.set(self.untold.get() - count);
            count
        })
    }

    /// The waker of some point, for a domain that ends. `None` when there is none left.
    pub(crate) fn clear(&self) -> Option<Waker> {
        self.with(|table| table.places.iter_mut().find_map(|place| place.waker.take()))
    }
}

/// What an event source tells its domain in [`select`](crate::platform::Events::select): which points to resume.
pub struct Signals<'a> {
    points: &'a Points,
}

impl<'a> Signals<'a> {
    pub(crate) fn new(points: &'a Points) -> Self {
        Signals { points }
    }

    /// Resumes a point, at most once. It only queues: the point's task is woken after `select` has returned. A stale id is ignored.
    ///
    /// Miou: `Miou.signal`.
    #[doc(alias = "signal")]
    pub fn resume(&mut self, id: PointId) {
        self.points.resume(id);
    }
}

impl core::fmt::Debug for Signals<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}
