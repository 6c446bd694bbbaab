//! Who holds a task: the last frees it, and who is alone need not contend.

use std::sync::Arc;

use loom::thread;
use matou_core::model::{Asked, Node, Seen};

use crate::explore::explore;
use crate::world::Watched;

/// A task that its home domain and a waker on another thread hold.
struct Held {
    task: Node,
    /// What lies behind the state word: read by every holder, written by who frees it.
    memory: Watched<bool>,
}

impl Held {
    /// With the home domain's hold, and that of a waker.
    fn new() -> Arc<Held> {
        let held = Arc::new(Held { task: Node::new(0), memory: Watched::new(false) });
        held.task.retain();
        held
    }

    /// Whether that freed the task.
    fn let_go(&self) -> bool {
        assert!(!self.memory.get(), "a holder finds the task freed");
        let last = self.task.release();
        if last {
            self.memory.set(true);
        }
        last
    }
}

/// One of them frees it, after the other's last look.
#[test]
fn the_last_holder_frees() {
    const OUTCOMES: &[&str] = &["the home domain freed it", "the waker freed it"];
    explore(OUTCOMES, |met| {
        let held = Held::new();
        let waker = thread::spawn({
            let held = Arc::clone(&held);
            move || held.let_go()
        });
        let home = held.let_go();
        let waker = waker.join().unwrap();
        assert!(home != waker, "one of them frees it");
        met.note_if(home, "the home domain freed it");
        met.note_if(waker, "the waker freed it");
    });
}

/// A wake before the end is seen by the end; one after it does nothing. So it is where the waker may be gone already, too.
#[test]
fn a_wake_meets_an_end_alone() {
    const OUTCOMES: &[&str] = &["the end saw the wake of a waker that was gone", "the end saw the wake", "the wake did nothing"];
    explore(OUTCOMES, |met| {
        let held = Held::new();
        let waker = thread::spawn({
            let held = Arc::clone(&held);
            move || {
                let asked = held.task.wake();
                (asked, held.let_go())
            }
        });
        let gone = held.task.is_alone();
        let limbo = held.task.end_alone();
        let home = held.let_go();
        let (asked, waker) = waker.join().unwrap();
        assert_eq!(limbo, asked == Asked::Push, "a node that is pushed is waited for, and no other");
        if limbo {
            assert_eq!(held.task.attend(), Seen::Ended);
        }
        assert!(home != waker, "one of them frees it");
        met.note_if(limbo && gone, "the end saw the wake of a waker that was gone");
        met.note_if(limbo && !gone, "the end saw the wake");
        met.note_if(asked == Asked::Ended, "the wake did nothing");
    });
}
