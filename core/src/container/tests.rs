//! The chain and the list over nodes of the tests' own, compared with what `std` has.

use std::collections::VecDeque;
use std::vec::Vec;

use super::fifo::Fifo;
use super::list::List;
use super::*;
use crate::random::Random;

/// A node of each kind of container.
pub(super) struct Node {
    next: Next<Node>,
    links: Links<Node>,
    pub(super) number: usize,
}

pub(super) enum Nodes {}

// SAFETY: `next` is used by this chain alone; the tests keep their nodes in place while they are in one.
unsafe impl Chain for Nodes {
    type Node = Node;

    unsafe fn next<'a>(node: NonNull<Node>) -> &'a Next<Node> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).next }
    }
}

// SAFETY: `links` is used by this list alone; as above.
unsafe impl Ring for Nodes {
    type Node = Node;

    unsafe fn links<'a>(node: NonNull<Node>) -> &'a Links<Node> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).links }
    }
}

/// Nodes with the numbers from 0. They stay where they are.
pub(super) fn nodes(count: usize) -> Vec<Node> {
    (0..count).map(|number| Node { next: Next::new(None), links: Links::new(), number }).collect()
}

pub(super) fn number(node: NonNull<Node>) -> usize {
    // SAFETY: a node in a container is valid.
    unsafe { node.as_ref() }.number
}

const COUNT: usize = 8;

#[test]
fn a_fifo_agrees_with_a_deque() {
    for seed in 0..20 {
        let (random, nodes) = (Random::new(seed, 0), nodes(COUNT));
        let (fifo, mut expected) = (Fifo::<Nodes>::new(), VecDeque::new());
        for _ in 0..200 {
            let node = NonNull::from(&nodes[random.below(COUNT)]);
            match random.below(2) {
                // SAFETY: it is in no chain.
                0 if !expected.contains(&number(node)) => unsafe {
                    fifo.push_back(node);
                    expected.push_back(number(node));
                },
                _ => assert_eq!(fifo.pop().map(number), expected.pop_front()),
            }
            assert_eq!((fifo.is_empty(), fifo.front().map(number)), (expected.is_empty(), expected.front().copied()));
        }
        while let Some(node) = fifo.pop() {
            assert_eq!(Some(number(node)), expected.pop_front());
        }
        assert!(expected.is_empty());
    }
}

/// The numbers in a list. A list that is torn has no end.
fn numbers(list: &List<Nodes>) -> Vec<usize> {
    let (mut numbers, mut next) = (Vec::new(), list.front());
    while let Some(node) = next {
        numbers.push(number(node));
        assert!(numbers.len() <= COUNT, "{numbers:?}");
        // SAFETY: it is in the list.
        next = unsafe { list.after(node) };
    }
    numbers
}

/// The same, from the last to the first.
fn numbers_from_the_back(list: &List<Nodes>) -> Vec<usize> {
    let (mut numbers, mut next) = (Vec::new(), list.back());
    while let Some(node) = next {
        numbers.push(number(node));
        assert!(numbers.len() <= COUNT, "{numbers:?}");
        // SAFETY: it is in the list.
        next = unsafe { list.before(node) };
    }
    numbers
}

#[test]
fn a_list_agrees_with_a_deque() {
    for seed in 0..50 {
        let (random, nodes) = (Random::new(seed, 0), nodes(COUNT));
        let (list, mut expected) = (List::<Nodes>::new(), VecDeque::new());
        for _ in 0..200 {
            let node = NonNull::from(&nodes[random.below(COUNT)]);
            let at = expected.iter().position(|&other| other == number(node));
            match (at, random.below(6)) {
                // SAFETY: it is in no list.
                (None, 0) => unsafe {
                    list.push_back(node);
                    expected.push_back(number(node));
                },
                // SAFETY: as above.
                (None, 1) => unsafe {
                    list.push_front(node);
                    expected.push_front(number(node));
                },
                (None, 2) if !expected.is_empty() => {
                    let place = random.below(expected.len());
                    // SAFETY: as above; the place is in the list.
                    unsafe { list.insert_before(NonNull::from(&nodes[expected[place]]), node) };
                    expected.insert(place, number(node));
                }
                (Some(at), 0 | 1) => {
                    // SAFETY: it is in the list.
                    unsafe { list.remove(node) };
                    expected.remove(at);
                }
                (_, 3) => assert_eq!(list.pop_front().map(number), expected.pop_front()),
                (_, 4) => {
                    list.turn();
                    expected.rotate_left(expected.len().min(1));
                }
                (_, 5) => {
                    list.turn_back();
                    expected.rotate_right(expected.len().min(1));
                }
                _ => {}
            }
            assert_eq!(expected, numbers(&list));
            assert_eq!(expected.iter().rev().copied().collect::<Vec<_>>(), numbers_from_the_back(&list));
            assert_eq!((list.is_empty(), list.front().map(number)), (expected.is_empty(), expected.front().copied()));
        }
    }
}

/// What leaves a list names no neighbour any more: it may go into another.
#[test]
fn a_node_that_was_removed_is_in_no_list() {
    let nodes = nodes(3);
    let list = List::<Nodes>::new();
    for node in &nodes {
        // SAFETY: it is in no list.
        unsafe { list.push_back(NonNull::from(node)) };
    }
    for removed in [1, 0, 2] {
        // SAFETY: it is in the list.
        unsafe { list.remove(NonNull::from(&nodes[removed])) };
        assert_eq!((nodes[removed].links.prev.get(), nodes[removed].links.next.get()), (None, None));
    }
    assert!(list.is_empty());
}
