//! The inbox: nodes pushed by several threads, taken by one.

use std::sync::Arc;

use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use matou_core::model::{Asked, AtomicUsize, Node, Seen};

use crate::explore::explore_bounded;
use crate::world::{Domain, Task, Watched};

/// A node, and what its sender writes before it pushes it.
struct Letter {
    node: Node,
    text: Watched<usize>,
}

const SENDERS: usize = 2;
const EACH: usize = 2;

#[test]
fn nothing_is_lost_doubled_or_out_of_order() {
    const OUTCOMES: &[&str] = &[
        "nothing was there at first",
        "a part came, the rest later",
        "all came at once",
        "a sender was overtaken between its two pushes",
        "a sender pushed twice before the other did",
    ];
    explore_bounded(3, OUTCOMES, |met| {
        let domain = Arc::new(Domain::new());
        let letters: Arc<Vec<Letter>> =
            Arc::new((0..SENDERS * EACH).map(|id| Letter { node: Node::new(id), text: Watched::new(0) }).collect());
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (domain, letters) = (Arc::clone(&domain), Arc::clone(&letters));
                thread::spawn(move || {
                    for letter in &letters[sender * EACH..][..EACH] {
                        letter.text.set(letter.node.id + 100);
                        domain.push(&letter.node);
                    }
                })
            })
            .collect();

        let mut came = Vec::new();
        let mut parts = Vec::new();
        let mut receive = |ids: Vec<usize>| {
            parts.push(ids.len());
            for id in ids {
                assert_eq!(letters[id].text.get(), id + 100, "what was written before the push is seen after the take");
                came.push(id);
            }
        };
        receive(domain.arrivals());
        receive(domain.arrivals());
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        receive(domain.arrivals());
        receive(domain.arrivals());

        let mut sorted = came.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..SENDERS * EACH).collect::<Vec<_>>(), "each node comes once");
        for sender in 0..SENDERS {
            let of_one = came.iter().filter(|&&id| id / EACH == sender);
            assert!(of_one.is_sorted(), "the order of each sender is kept: {came:?}");
        }
        assert_eq!(parts[3], 0, "what was pushed before is taken at once");
        met.note_if(parts[0] == 0, "nothing was there at first");
        met.note_if(parts.iter().filter(|&&part| part > 0).count() > 1, "a part came, the rest later");
        met.note_if(parts.contains(&(SENDERS * EACH)), "all came at once");
        met.note_if(came[0] / EACH == came[came.len()-1] / EACH, "a sender was overtaken between its two pushes");
        met.note_if(came[0] / EACH == came[1] / EACH, "a sender pushed twice before the other did");
    });
}

/// The classical trap of stacks: a sender has read the youngest node; meanwhile that node is taken and pushed anew.
#[test]
fn a_node_that_goes_round_meets_a_push() {
    const OUTCOMES: &[&str] = &["the first node went round twice", "the second was pushed on its second round", "two wakes became one"];
    explore_bounded(3, OUTCOMES, |met| {
        let domain = Arc::new(Domain::new());
        let tasks = Arc::new([Task::new(0), Task::new(1)]);
        let data = Arc::new(AtomicUsize::new(0));
        let twice = thread::spawn({
            let (domain, tasks, data) = (Arc::clone(&domain), Arc::clone(&tasks), Arc::clone(&data));
            move || {
                [1, 2].map(|number| {
                    data.store(number, Relaxed);
                    usize::from(tasks[0].wake(&domain) == Asked::Push)
                })
            }
        });
        let once = thread::spawn({
            let (domain, tasks) = (Arc::clone(&domain), Arc::clone(&tasks));
            move || assert_eq!(tasks[1].wake(&domain), Asked::Push)
        });

        let mut rounds = Vec::new();
        let mut last = 0;
        let mut receive = || {
            let ids = domain.arrivals();
            for &id in &ids {
                assert_eq!(tasks[id].attend(), Seen::Woken);
                if id == 0 {
                    last = data.load(Relaxed);
                }
            }
            if !ids.is_empty() {
                rounds.push(ids);
            }
        };
        receive();
        receive();
        let pushes: usize = twice.join().unwrap().into_iter().sum();
        once.join().unwrap();
        receive();

        let came = rounds.concat();
        assert_eq!(came.iter().filter(|&&id| id == 0).count(), pushes, "each push comes once");
        assert_eq!(came.iter().filter(|&&id| id == 1).count(), 1, "each push comes once");
        assert_eq!(last, 2, "the last wake was seen");
        met.note_if(pushes == 2, "the first node went round twice");
        met.note_if(rounds == [vec![0], vec![0, 1]], "the second was pushed on its second round");
        met.note_if(pushes == 1, "two wakes became one");
    });
}
