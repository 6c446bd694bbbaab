//! A task's state word: wakes, cancellations and ends that meet.

use std::sync::Arc;

use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use matou_core::model::{Asked, AtomicUsize, Seen};

use crate::explore::{explore, explore_bounded};
use crate::world::{Domain, Task, Until, Watched};

/// A task, the domain it lives on, that of its parent, and what its wakers and itself write.
struct Scene {
    task: Task,
    home: Domain,
    parent: Domain,
    /// One for each waker. Relaxed: the wakes alone have to publish them.
    data: [AtomicUsize; 2],
    /// Home's until the end was delivered, then the parent's.
    result: Watched<usize>,
}

impl Scene {
    fn new() -> Arc<Scene> {
        Arc::new(Scene {
            task: Task::new(0),
            home: Domain::new(),
            parent: Domain::new(),
            data: [AtomicUsize::new(0), AtomicUsize::new(0)],
            result: Watched::new(0),
        })
    }

    /// What a poll of the task sees.
    fn poll(&self) -> [usize; 2] {
        [0, 1].map(|index| self.data[index].load(Relaxed))
    }

    fn write_and_wake(&self, index: usize) -> Asked {
        self.data[index].store(1, Relaxed);
        self.task.wake(&self.home)
    }

    /// The end of the task, on its home domain: as `Domain::end` and `Domain::hand_over`. Whether the node was in the inbox.
    fn end(&self) -> bool {
        self.result.set(7);
        let limbo = self.task.end();
        if limbo {
            self.wait(&self.home);
            assert_eq!(self.task.attend(), Seen::Ended);
        }
        limbo
    }

    /// Waits for the task's node. By the domain.
    fn wait(&self, domain: &Domain) {
        while domain.arrivals().is_empty() {
            let _ = domain.sleep(|| false, Until::Bell);
        }
    }

    /// The end arrives at the parent's domain.
    fn deliver(&self) {
        self.wait(&self.parent);
        assert_eq!(self.task.attend(), Seen::Ended);
        assert_eq!(self.result.get(), 7);
        self.result.set(0);
    }
}

/// A wake that finds the node queued does not push it: the poll that is to come must see what this waker wrote, too.
#[test]
fn a_wake_that_joins_another_publishes_its_data() {
    const OUTCOMES: &[&str] = &["the wakes became one", "each wake had a poll", "the first poll saw both", "the first poll saw one"];
    explore(OUTCOMES, |met| {
        let scene = Scene::new();
        let wakers = [0, 1].map(|index| {
            let scene = Arc::clone(&scene);
            thread::spawn(move || scene.write_and_wake(index))
        });
        let mut polls = Vec::new();
        let mut attend = || {
            for _ in scene.home.arrivals() {
                assert_eq!(scene.task.attend(), Seen::Woken);
                polls.push(scene.poll());
            }
        };
        attend();
        let asked = wakers.map(|waker| waker.join().unwrap());
        attend();
        assert_eq!(polls.len(), asked.iter().filter(|&&asked| asked == Asked::Push).count());
        assert_eq!(polls.last(), Some(&[1, 1]), "the last poll sees what every waker wrote");
        met.note_if(asked.contains(&Asked::OnItsWay), "the wakes became one");
        met.note_if(polls.len() == 2, "each wake had a poll");
        met.note_if(polls[0] == [1, 1], "the first poll saw both");
        met.note_if(polls[0] != [1, 1], "the first poll saw one");
    });
}

/// The same, by a domain that sleeps until it has seen everything: a lost wake would never end.
#[test]
fn no_wake_is_lost() {
    const OUTCOMES: &[&str] = &["one poll saw everything", "there were two polls", "the domain slept", "the domain did not sleep"];
    explore_bounded(3, OUTCOMES, |met| {
        let scene = Scene::new();
        let wakers = [0, 1].map(|index| {
            let scene = Arc::clone(&scene);
            thread::spawn(move || scene.write_and_wake(index))
        });
        scene.home.start();
        let mut polls = 0;
        loop {
            scene.wait(&scene.home);
            assert_eq!(scene.task.attend(), Seen::Woken);
            polls += 1;
            if scene.poll() == [1, 1] {
                break;
            }
        }
        // A wake may still be under way, as its data is seen before it.
        for waker in wakers {
            let _ = waker.join().unwrap();
        }
        for _ in scene.home.arrivals() {
            assert_eq!(scene.task.attend(), Seen::Woken);
        }
        scene.home.end();
        met.note_if(polls == 1, "one poll saw everything");
        met.note_if(polls == 2, "there were two polls");
        met.note_if(scene.home.sleeps() > 0, "the domain slept");
        met.note_if(scene.home.sleeps() == 0, "the domain did not sleep");
    });
}

/// The domain of a task that has ended goes. Nobody may push to it any more.
#[test]
fn a_wake_meets_the_end() {
    const OUTCOMES: &[&str] = &["it was attended before the end", "the end saw it on its way", "it did nothing"];
    explore(OUTCOMES, |met| {
        let scene = Scene::new();
        let waker = thread::spawn({
            let scene = Arc::clone(&scene);
            move || scene.write_and_wake(0)
        });
        scene.home.start();
        let mut attended = false;
        for _ in scene.home.arrivals() {
            assert_eq!(scene.task.attend(), Seen::Woken);
            assert_eq!(scene.poll(), [1, 0]);
            attended = true;
        }
        let limbo = scene.end();
        scene.home.end();
        let asked = waker.join().unwrap();
        assert_eq!(asked == Asked::Push, attended || limbo);
        assert!(!(attended && limbo));
        met.note_if(attended, "it was attended before the end");
        met.note_if(limbo, "the end saw it on its way");
        met.note_if(asked == Asked::Ended, "it did nothing");
    });
}

/// The parent, on another domain, cancels a task that is ending. The end travels to the parent by the same node.
#[test]
fn a_cancellation_meets_the_end() {
    const OUTCOMES: &[&str] = &["it was attended before the end", "the end saw it on its way", "it did nothing"];
    explore(OUTCOMES, |met| {
        let scene = Scene::new();
        let parent = thread::spawn({
            let scene = Arc::clone(&scene);
            move || {
                scene.parent.start();
                let asked = scene.task.cancel(&scene.home);
                scene.deliver();
                scene.parent.end();
                asked
            }
        });
        scene.home.start();
        let mut attended = false;
        for _ in scene.home.arrivals() {
            assert_eq!(scene.task.attend(), Seen::Cancelled);
            attended = true;
        }
        let limbo = scene.end();
        scene.task.pass_on(&scene.parent);
        scene.home.end();
        let asked = parent.join().unwrap();
        assert_eq!(asked == Asked::Push, attended || limbo);
        assert!(!(attended && limbo));
        met.note_if(attended, "it was attended before the end");
        met.note_if(limbo, "the end saw it on its way");
        met.note_if(asked == Asked::Ended, "it did nothing");
    });
}

/// A waker on a third thread meets an end that is passed on: the node is in one inbox at a time.
#[test]
fn a_wake_meets_an_end_that_is_passed_on() {
    const OUTCOMES: &[&str] =
        &["the node went home, then to the parent", "the node only went to the parent", "the wake came after the delivery"];
    explore_bounded(3, OUTCOMES, |met| {
        let scene = Scene::new();
        let delivered = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let waker = thread::spawn({
            let (scene, delivered) = (Arc::clone(&scene), Arc::clone(&delivered));
            move || {
                let late = delivered.load(std::sync::atomic::Ordering::Relaxed);
                let asked = scene.task.wake(&scene.home);
                assert!(!late || asked == Asked::Ended);
                (asked, late)
            }
        });
        let home = thread::spawn({
            let scene = Arc::clone(&scene);
            move || {
                scene.home.start();
                let limbo = scene.end();
                scene.task.pass_on(&scene.parent);
                scene.home.end();
                limbo
            }
        });
        scene.parent.start();
        scene.deliver();
        delivered.store(true, std::sync::atomic::Ordering::Relaxed);
        scene.parent.end();
        let (asked, late) = waker.join().unwrap();
        let limbo = home.join().unwrap();
        assert_eq!(asked, if limbo { Asked::Push } else { Asked::Ended });
        met.note_if(limbo, "the node went home, then to the parent");
        met.note_if(!limbo, "the node only went to the parent");
        met.note_if(late, "the wake came after the delivery");
    });
}

/// Both set bits of one word and push one node: neither may swallow the other.
#[test]
fn a_cancellation_meets_a_wake() {
    const OUTCOMES: &[&str] =
        &["woken, then cancelled", "cancelled, then woken", "the cancellation joined the wake", "the wake joined the cancellation"];
    explore_bounded(3, OUTCOMES, |met| {
        let scene = Scene::new();
        let waker = thread::spawn({
            let scene = Arc::clone(&scene);
            move || scene.task.wake(&scene.home)
        });
        let parent = thread::spawn({
            let scene = Arc::clone(&scene);
            move || scene.task.cancel(&scene.home)
        });
        scene.home.start();
        let mut seen = Vec::new();
        while !seen.contains(&Seen::Cancelled) {
            scene.wait(&scene.home);
            seen.push(scene.task.attend());
        }
        let (woken, cancelled) = (waker.join().unwrap(), parent.join().unwrap());
        for _ in scene.home.arrivals() {
            seen.push(scene.task.attend());
        }
        scene.home.end();
        met.note_if(seen == [Seen::Woken, Seen::Cancelled], "woken, then cancelled");
        met.note_if(seen == [Seen::Cancelled, Seen::Cancelled], "cancelled, then woken");
        met.note_if(cancelled == Asked::OnItsWay, "the cancellation joined the wake");
        met.note_if(woken == Asked::OnItsWay, "the wake joined the cancellation");
    });
}

/// A child is sent to its domain and cancelled at once: its domain polls it before it learns of that, or never.
#[test]
fn a_cancellation_meets_the_first_poll() {
    const OUTCOMES: &[&str] =
        &["it was never polled: cancelled before it arrived", "it was never polled: cancelled as it was to be", "it was polled once"];
    explore_bounded(3, OUTCOMES, |met| {
        let (home, task) = (Arc::new(Domain::new()), Arc::new(Task::sent(0)));
        let parent = thread::spawn({
            let (home, task) = (Arc::clone(&home), Arc::clone(&task));
            move || {
                task.send(&home);
                task.cancel(&home)
            }
        });
        home.start();
        let mut polls = 0;
        let mut late = false;
        let mut seen = Vec::new();
        while seen.last() != Some(&Seen::Cancelled) {
            while home.arrivals().is_empty() {
                let _ = home.sleep(|| false, Until::Bell);
            }
            seen.push(task.attend());
            // As `Domain::poll_next`.
            if seen.last() == Some(&Seen::Woken) {
                if task.is_cancelled() { late = true } else { polls += 1 }
            }
        }
        home.end();
        let asked = parent.join().unwrap();
        assert_eq!(asked == Asked::Push, seen.len() == 2, "cancelled before it was taken, it is not sent again");
        assert!(polls <= 1);
        met.note_if(seen.len() == 1, OUTCOMES[0]);
        met.note_if(late, OUTCOMES[1]);
        met.note_if(polls == 1, OUTCOMES[2]);
    });
}
