//! What several threads hold and one of them frees: a task's memory, the place of a pool, and a run that is looked into from outside.
//!
//! A cell that loom watches stands for the memory: holders read it, who frees it writes. So a holder that is not ordered before the end is
//! found out.

#![allow(unsafe_code)] // Gives up holds on a task.

use std::sync::{Arc, Mutex as StdMutex};

use loom::thread::{self, ThreadId};
use matou_core::model::{House, Memory, Place, Seen};

use crate::explore::{explore, explore_bounded};
use crate::world::Watched;

/// A task, whether its memory was freed, and by which thread.
struct Scene {
    memory: Memory,
    freed: Arc<Watched<bool>>,
    /// Not watched: it orders nothing.
    by: Arc<StdMutex<Option<ThreadId>>>,
}

impl Scene {
    /// A task whose parent is on the same domain, or on another.
    fn new(sent: bool) -> Arc<Scene> {
        let (freed, by) = (Arc::new(Watched::new(false)), Arc::new(StdMutex::new(None)));
        let memory = Memory::new(sent, {
            let (freed, by) = (Arc::clone(&freed), Arc::clone(&by));
            move || {
                assert!(!freed.get(), "it is freed once");
                freed.set(true);
                *by.lock().unwrap() = Some(thread::current().id());
            }
        });
        Arc::new(Scene { memory, freed, by })
    }

    /// A holder looks at the memory, as it may.
    fn look(&self) {
        assert!(!self.freed.get(), "it is there while somebody holds it");
    }

    /// The parent's list or the promise gives up its hold.
    fn let_go(&self) {
        self.look();
        // SAFETY: each model gives up two, on one thread.
        unsafe { self.memory.let_go() };
    }

    /// The home domain ends the task, takes its node if that is on its way, and lets go. Whether it was.
    fn end(&self) -> bool {
        // SAFETY: by the home domain, which has not let go.
        let limbo = unsafe { self.memory.end() };
        while limbo {
            match self.memory.attend() {
                Some(seen) => {
                    assert_eq!(seen, Seen::Ended);
                    break;
                }
                None => thread::yield_now(),
            }
        }
        self.look();
        // SAFETY: by the home domain, as above.
        unsafe { self.memory.leave() };
        limbo
    }

    fn was_freed_by(&self, thread: ThreadId) -> bool {
        self.by.lock().unwrap().expect("the last holder frees it") == thread
    }
}

/// The waker of a task that has ended, on a domain that may have gone.
#[test]
fn a_waker_outlives_its_task() {
    const OUTCOMES: &[&str] =
        &["the waker was the last", "the task was the last", "it was woken before its end", "it was woken after its end"];
    explore(OUTCOMES, |met| {
        let scene = Scene::new(false);
        let other = thread::spawn({
            let (scene, waker) = (Arc::clone(&scene), scene.memory.waker());
            move || {
                waker.wake_by_ref();
                scene.look();
                drop(waker);
            }
        });
        let id = other.thread().id();
        scene.let_go();
        scene.let_go();
        let limbo = scene.end();
        other.join().unwrap();
        let last = scene.was_freed_by(id);
        met.note(OUTCOMES[usize::from(!last)]);
        met.note(OUTCOMES[2 + usize::from(!limbo)]);
        assert_eq!(scene.memory.attend(), None, "nobody is left in the inbox of a domain that has gone");
    });
}

/// The promise is dropped on the parent's domain while the task ends on its own, and a waker is cloned and dropped on a third.
#[test]
fn a_promise_dropped_meets_the_end() {
    const OUTCOMES: &[&str] = &["the parent was the last", "the home was the last", "the waker was the last"];
    explore_bounded(3, OUTCOMES, |met| {
        let scene = Scene::new(true);
        let parent = thread::spawn({
            let scene = Arc::clone(&scene);
            move || {
                scene.let_go();
                scene.let_go();
            }
        });
        let third = thread::spawn({
            let (scene, waker) = (Arc::clone(&scene), scene.memory.waker());
            move || {
                let another = waker.clone();
                drop(waker);
                scene.look();
                drop(another);
            }
        });
        let ids = [parent.thread().id(), third.thread().id()];
        assert!(!scene.end(), "nobody wakes it");
        parent.join().unwrap();
        third.join().unwrap();
        let [parent, third] = ids.map(|id| scene.was_freed_by(id));
        met.note(OUTCOMES[if parent { 0 } else { 1 + usize::from(third) }]);
    });
}

/// Two threads use the one place of a pool: never both, and the second sees what the first has left.
#[test]
fn a_place_is_used_again() {
    const OUTCOMES: &[&str] = &["one after the other", "the pool was full"];
    explore(OUTCOMES, |met| {
        let place = Place::default();
        let memory = Arc::new(Watched::new(0));
        let use_it = {
            let memory = Arc::clone(&memory);
            move |number| {
                place.with(|| {
                    let before = memory.get();
                    memory.set(before + number);
                    assert_eq!(memory.get(), before + number);
                })
            }
        };
        let other = thread::spawn({
            let use_it = use_it.clone();
            move || use_it(1).is_some()
        });
        let here = use_it(10).is_some();
        let there = other.join().unwrap();
        assert!(place.with(|| assert_eq!(memory.get(), i32::from(there) + 10 * i32::from(here))).is_some(), "it is free again");
        met.note(OUTCOMES[usize::from(!(here && there))]);
    });
}

/// Somebody outside looks into a run that begins and ends.
#[test]
fn a_visitor_meets_the_end_of_the_run() {
    const OUTCOMES: &[&str] = &["it was let in", "it was not let in"];
    explore(OUTCOMES, |met| {
        let house = Arc::new(House::default());
        let memory = Arc::new(Watched::new("not there yet"));
        let visitor = thread::spawn({
            let (house, memory) = (Arc::clone(&house), Arc::clone(&memory));
            move || {
                house
                    .visit(|| {
                        assert_eq!(memory.get(), "there");
                        thread::yield_now();
                        assert_eq!(memory.get(), "there");
                    })
                    .is_some()
            }
        });
        memory.set("there");
        house.while_open(thread::yield_now);
        memory.set("gone");
        met.note(OUTCOMES[usize::from(!visitor.join().unwrap())]);
    });
}

#[test]
fn who_is_hailed_sees_why() {
    const OUTCOMES: &[&str] = &["at once", "at the next look"];
    explore(OUTCOMES, |met| {
        let house = Arc::new(House::default());
        let other = thread::spawn({
            let house = Arc::clone(&house);
            move || house.abort()
        });
        let seen = house.look();
        assert_ne!(seen, Some(false), "it heeded the hail, and will not look again");
        other.join().unwrap();
        if seen.is_none() {
            assert_eq!(house.look(), Some(true));
        }
        met.note(OUTCOMES[usize::from(seen.is_none())]);
    });
}

#[test]
fn who_is_hailed_twice_sees_why() {
    const OUTCOMES: &[&str] = &["at once", "at the next look"];
    explore(OUTCOMES, |met| {
        let house = Arc::new(House::default());
        let aborting = thread::spawn({
            let house = Arc::clone(&house);
            move || house.abort()
        });
        let asking = thread::spawn({
            let house = Arc::clone(&house);
            move || house.ask()
        });
        let seen = house.look();
        aborting.join().unwrap();
        asking.join().unwrap();
        // What it heeded was the question's hail: the other one is to come.
        if seen != Some(true) {
            assert_eq!(house.look(), Some(true), "it heeded the hail of who aborts, and did not see why");
        }
        met.note(OUTCOMES[usize::from(seen != Some(true))]);
    });
}
