//! The inbox: nodes pushed by several threads, taken by one.

use std::sync::Arc;

use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use matou_core::model::{Asked, AtomicUsize, Node, Seen};

use crate::explore::{explore, explore_bounded};
use crate::world::{Domain, Task, Watched};

/// A node, and what its sender writes before it pushes it.
struct Letter {
    node: Node,
    text: Watched<usize>,
}

const SENDERS: usize = 2;

/// Two senders push `each` letters; the domain takes them in two looks meanwhile and one afterwards. The sizes of the three parts, and the
/// ids in the order in which they came.
fn exchange(each: usize) -> ([usize; 3], Vec<usize>) {
    let domain = Arc::new(Domain::new());
    let letters: Arc<Vec<Letter>> = Arc::new((0..SENDERS * each).map(|id| Letter { node: Node::new(id), text: Watched::new(0) }).collect());
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (domain, letters) = (Arc::clone(&domain), Arc::clone(&letters));
            thread::spawn(move || {
                for letter in &letters[sender * each..][..each] {
                    letter.text.set(letter.node.id + 100);
                    domain.push(&letter.node);
                }
            })
        })
        .collect();

    let mut came = Vec::new();
    let mut look = || {
        let ids = domain.arrivals();
        for &id in &ids {
            assert_eq!(letters[id].text.get(), id + 100, "what was written before the push is seen after the take");
        }
        came.extend(&ids);
        ids.len()
    };
    let meanwhile = [look(), look()];
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    let afterwards = look();

    let mut sorted = came.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, (0..SENDERS * each).collect::<Vec<_>>(), "each letter comes once");
    for sender in 0..SENDERS {
        let of_one = came.iter().filter(|&&id| id / each == sender);
        assert!(of_one.is_sorted(), "the order of each sender is kept: {came:?}");
    }
    ([meanwhile[0], meanwhile[1], afterwards], came)
}

#[test]
fn two_pushes_meet_a_take() {
    const OUTCOMES: &[&str] =
        &["taken one by one, meanwhile", "taken together, meanwhile", "taken afterwards", "the second sender came first"];
    explore(OUTCOMES, |met| {
        let (parts, came) = exchange(1);
        met.note_if(parts == [1, 1, 0], "taken one by one, meanwhile");
        met.note_if(parts == [2, 0, 0], "taken together, meanwhile");
        met.note_if(parts == [0, 0, 2], "taken afterwards");
        met.note_if(came == [1, 0], "the second sender came first");
    });
}

#[test]
fn the_order_of_each_sender_is_kept() {
    const OUTCOMES: &[&str] =
        &["a part meanwhile, the rest later", "all at once", "in turn", "one sender after the other", "one sender within the other"];
    explore_bounded(3, OUTCOMES, |met| {
        let (parts, came) = exchange(2);
        met.note_if(parts[2] > 0 && parts[2] < 4, "a part meanwhile, the rest later");
        met.note_if(parts.contains(&4), "all at once");
        met.note_if(came == [0, 2, 1, 3] || came == [2, 0, 3, 1], "in turn");
        met.note_if(came == [0, 1, 2, 3] || came == [2, 3, 0, 1], "one sender after the other");
        met.note_if(came == [0, 2, 3, 1] || came == [2, 0, 1, 3], "one sender within the other");
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
