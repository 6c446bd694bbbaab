//! The table of suspension points against the collections of `std`: points that are opened, registered, waited for, resumed, closed and told
//! of, with the ids of those that are gone.
//!
//! The table is private to the core, so its file is compiled into this crate once more, as it is (`points_shipped`). Without the feature
//! `alloc` it is the bounded one: `cargo test --no-default-features --test operations`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::id::{DomainId, PointId, TaskId};
use crate::input::Input;
use crate::points_shipped::{POINTS, Points, Signals, Standing, TOLD_AT_ONCE};
use crate::same;

/// How many points there can be at a time.
const MOST: usize = if cfg!(feature = "alloc") { usize::MAX } else { POINTS };
/// How many wakers there are to be kept.
const WAKERS: usize = 4;

struct Idle;

impl Wake for Idle {
    fn wake(self: Arc<Self>) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Fresh,
    Waiting,
    /// Resumed, and in the line of those that are taken out.
    Resumed,
    /// Resumed, and taken out.
    Taken,
    GivenUp,
}

#[derive(Debug)]
struct Point {
    stands: Stands,
    /// By its number.
    waker: Option<usize>,
    by: Option<u64>,
}

/// What the table should hold, by the ids of the points as numbers.
#[derive(Debug, Default)]
struct Model {
    points: BTreeMap<u64, Point>,
    /// In the order in which they were resumed. One that is not in `points` was closed meanwhile; with the task that was noted.
    resumed: VecDeque<(u64, Option<u64>)>,
    given_up: VecDeque<u64>,
}

impl Model {
    /// How many places are taken: those closed before they came out of the line keep theirs until then.
    fn places(&self) -> usize {
        self.points.len() + self.resumed.iter().filter(|(id, _)| !self.points.contains_key(id)).count()
    }

    fn open(&self) -> usize {
        self.points.len()
    }

    /// The waker of a point that is there.
    fn waker(&mut self, id: u64) -> Option<usize> {
        self.points.get_mut(&id).and_then(|point| point.waker.take())
    }
}

/// Does what these bytes say, and compares after each operation.
///
/// # Errors
/// What differs, in words.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let mut done = Vec::new();
    follow(&mut Input::new(bytes), &mut done).map_err(|why| format!("{why}; after these operations and ids: {done:?}"))
}

/// How a point stands in a poll with this waker.
fn stands(points: &Points, model: &Model, id: PointId, wakers: &[Waker], waker: usize) -> Result<(), String> {
    let due = match model.points.get(&id.to_bits()) {
        Some(Point { stands: Stands::Fresh, .. }) => Standing::Fresh,
        Some(Point { stands: Stands::Waiting, waker: kept, .. }) if *kept == Some(waker) => Standing::Waiting,
        Some(Point { stands: Stands::Waiting, .. }) => Standing::WaitingElsewhere,
        _ => Standing::Resumed,
    };
    same("how a point stands", points.standing(id, &wakers[waker]) == due, true)
}

fn follow(input: &mut Input<'_>, done: &mut Vec<(usize, u64)>) -> Result<(), String> {
    let idle: Vec<Arc<Idle>> = (0..WAKERS).map(|_| Arc::new(Idle)).collect();
    let wakers: Vec<Waker> = idle.iter().map(|idle| Waker::from(idle.clone())).collect();
    let number = |waker: Option<Waker>| waker.map(|waker| wakers.iter().position(|other| other.will_wake(&waker)));
    let same_waker = |what, seen, due: Option<usize>| same(what, number(seen), due.map(Some));
    let points = Points::new();
    let mut model = Model::default();
    let mut ever = BTreeSet::new();
    let mut ids = Vec::new();
    // Places that were taken at a time.
    let mut most = 0;
    while !input.is_over() {
        let operation = input.below(16);
        // Any that ever was, rather one of the last; at times one that nobody was given.
        let id = match input.below(64) {
            63 => PointId { index: input.below(80) as u32, generation: input.below(4) as u32 },
            back => ids.get(ids.len().saturating_sub(1 + back % 40)).copied().unwrap_or(PointId { index: 0, generation: 0 }),
        };
        let bits = id.to_bits();
        done.push((operation, bits));
        match operation {
            0..=2 => {
                let places = model.places();
                let Some(id) = points.open() else {
                    same("whether there is room", false, places < MOST)?;
                    continue;
                };
                same("whether there is room", true, places < MOST)?;
                same("whether an id is new", ever.insert(id.to_bits()), true)?;
                model.points.insert(id.to_bits(), Point { stands: Stands::Fresh, waker: None, by: None });
                ids.push(id);
                most = most.max(model.places());
                same("whether places are dense", (id.index as usize) < most, true)?;
            }
            3 => {
                for _ in 0..input.below(40) {
                    let Some(id) = points.open() else { break };
                    same("whether an id is new", ever.insert(id.to_bits()), true)?;
                    model.points.insert(id.to_bits(), Point { stands: Stands::Fresh, waker: None, by: None });
                    ids.push(id);
                    most = most.max(model.places());
                }
            }
            4..=6 => {
                let waker = input.below(WAKERS);
                let waited = points.wait(id, wakers[waker].clone());
                match (waited, model.points.get_mut(&bits)) {
                    (Ok(replaced), Some(point)) if matches!(point.stands, Stands::Fresh | Stands::Waiting) => {
                        point.stands = Stands::Waiting;
                        let due = point.waker.replace(waker);
                        same_waker("the waker that was replaced", replaced, due)?;
                    }
                    (Err(given), point) if point.as_ref().is_none_or(|it| !matches!(it.stands, Stands::Fresh | Stands::Waiting)) => {
                        same_waker("the waker that is not kept", Some(given), Some(waker))?;
                    }
                    (_, point) => return Err(format!("a wait finds another state than {point:?}")),
                }
            }
            7 | 8 => {
                let waker = input.below(WAKERS);
                stands(&points, &model, id, &wakers, waker)?;
            }
            9 => {
                let by = input.below(3) as u64;
                points.note(id, TaskId::new(DomainId::new(0), by));
                if let Some(point) = model.points.get_mut(&bits) {
                    point.by = Some(by);
                    model.resumed.iter_mut().filter(|(other, _)| *other == bits).for_each(|(_, noted)| *noted = Some(by));
                }
            }
            10 | 11 => {
                let waker = points.close(id);
                same_waker("the waker of what was closed", waker, model.waker(bits))?;
                match model.points.get_mut(&bits) {
                    Some(point) if point.stands == Stands::Waiting => {
                        point.stands = Stands::GivenUp;
                        model.given_up.push_back(bits);
                    }
                    Some(Point { stands: Stands::GivenUp, .. }) | None => {}
                    Some(_) => drop(model.points.remove(&bits)),
                }
            }
            12 | 13 => {
                Signals::new(&points).resume(id);
                if let Some(point) = model.points.get_mut(&bits).filter(|it| matches!(it.stands, Stands::Fresh | Stands::Waiting)) {
                    point.stands = Stands::Resumed;
                    model.resumed.push_back((bits, point.by));
                }
            }
            14 => {
                let resumed = points.next_resumed();
                let due = model.resumed.pop_front();
                same("whether one was resumed", resumed.is_some(), due.is_some())?;
                if let (Some(resumed), Some((id, by))) = (resumed, due) {
                    same_waker("the waker of one that was resumed", resumed.waker, model.waker(id))?;
                    let told = resumed.told.map(|(task, id)| (task.number(), id.to_bits()));
                    same("who is told to have been resumed", told, by.map(|by| (by, id)))?;
                    if let Some(point) = model.points.get_mut(&id) {
                        point.stands = Stands::Taken;
                    }
                }
            }
            _ => {
                let mut told = [PointId { index: 0, generation: 0 }; TOLD_AT_ONCE];
                let room = input.below(TOLD_AT_ONCE + 1);
                let count = points.given_up(&mut told[..room]);
                let due: Vec<_> = model.given_up.drain(..room.min(model.given_up.len())).collect();
                same("which were given up", told[..count].iter().map(|id| id.to_bits()).collect(), due.clone())?;
                due.iter().for_each(|id| drop(model.points.remove(id)));
            }
        }
        same("whether there is any", points.any(), model.open() > 0)?;
        same("whether any was given up", points.any_given_up(), !model.given_up.is_empty())?;
        let full = model.places() >= MOST;
        let pressing = model.given_up.len() >= TOLD_AT_ONCE || (full && !model.given_up.is_empty());
        same("whether that presses", points.are_pressing(), pressing)?;
        for id in ids.iter().rev().take(40) {
            let point = model.points.get(&id.to_bits());
            stands(&points, &model, *id, &wakers, 0)?;
            let noted = point.filter(|point| point.stands == Stands::Waiting).and_then(|point| point.by);
            same("who waits", points.noted(*id).map(TaskId::number), noted)?;
        }
    }
    let mut left: Vec<_> = std::iter::from_fn(|| points.clear()).map(|waker| number(Some(waker)).flatten()).collect();
    let mut due: Vec<_> = model.points.values().filter_map(|point| point.waker).map(Some).collect();
    left.sort_unstable();
    due.sort_unstable();
    same("the wakers that are left", left, due)?;
    drop(points);
    drop(wakers);
    same("whether all wakers are gone", idle.iter().map(Arc::strong_count).collect(), vec![1; WAKERS])
}
