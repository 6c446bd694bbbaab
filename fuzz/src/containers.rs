//! The containers of the core against those of `std`: a row of operations on a queue, a list, a mailbox and a queue of timers.
//!
//! They are private to the core, so their files are compiled into this crate once more, as they are (`shipped`): what is tested is what
//! ships. Orphans, promises and the owners of resources lie in the same containers, and are reached through the public API by
//! [`program`](crate::program).
//!
//! Invariant *Once*: `chained` and `listed` say in which container a node is; a node is put into one only if it is in none that uses the same
//! links. The nodes lie in a slice that outlives all containers and is not moved.

#![allow(unsafe_code)] // Puts nodes into intrusive containers, under *Once*.

use std::collections::{BTreeSet, VecDeque};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use matou_core::time::Instant;

use crate::input::Input;
use crate::platform::Interrupt;
use crate::same;
use crate::shipped::fifo::Fifo;
use crate::shipped::list::List;
use crate::shipped::mailbox::{Mailbox, Slept};
use crate::shipped::timer_queue::{TimerNode, TimerQueue};
use crate::shipped::{Chain, Links, Next, Ring};

const NODES: usize = 12;

struct Node {
    number: usize,
    next: Next<Node>,
    links: Links<Node>,
}

enum Chained {}
enum Listed {}

// SAFETY: the one link of a node; *Once*.
unsafe impl Chain for Chained {
    type Node = Node;

    unsafe fn next<'a>(node: NonNull<Node>) -> &'a Next<Node> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).next }
    }
}

// SAFETY: the two links of a node; *Once*.
unsafe impl Ring for Listed {
    type Node = Node;

    unsafe fn links<'a>(node: NonNull<Node>) -> &'a Links<Node> {
        // SAFETY: the caller promises that the node is valid.
        unsafe { &(*node.as_ptr()).links }
    }
}

/// Counts how often it is rung, as the interrupt of a mailbox, or woken, as a waker.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Interrupt for Bell {
    fn interrupt(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.interrupt();
    }
}

/// What the containers should hold, by the numbers of the nodes.
#[derive(Debug, Default)]
struct Model {
    fifo: VecDeque<usize>,
    list: Vec<usize>,
    inbox: Vec<usize>,
    asleep: bool,
    rings: usize,
    /// By deadline, then by when they were added.
    timers: BTreeSet<(u64, usize, usize)>,
}

impl Model {
    fn chained(&self, node: usize) -> bool {
        self.fifo.contains(&node) || self.inbox.contains(&node)
    }

    fn wakes(&mut self) {
        self.rings += usize::from(std::mem::replace(&mut self.asleep, false));
    }
}

/// Does what these bytes say, and compares after each operation.
///
/// # Errors
/// What differs, in words.
pub fn check(bytes: &[u8]) -> Result<(), String> {
    let mut done = Vec::new();
    follow(&mut Input::new(bytes), &mut done).map_err(|why| format!("{why}; after these operations and nodes: {done:?}"))
}

fn follow(input: &mut Input<'_>, done: &mut Vec<(usize, usize)>) -> Result<(), String> {
    let node = |number| Node { number, next: Next::new(None), links: Links::new() };
    let nodes: Box<[Node]> = (0..NODES).map(node).collect();
    let timers: Box<[TimerNode]> = (0..NODES).map(|_| TimerNode::new(Instant::from_nanos(0))).collect();
    let wakers: Vec<Arc<Bell>> = (0..NODES).map(|_| Arc::default()).collect();
    let at = |index: usize| NonNull::from(&nodes[index]);
    // Few enough for the wheel to be used, mostly; and times that are near each other, or as far apart as its levels and beyond.
    let (few, scale) = ([0, 2, 4, NODES][input.below(4)], 6 * input.below(9));
    let time = |input: &mut Input<'_>| (input.below(16) as u64) << (scale - scale.min(6 * input.below(4)));
    // SAFETY: only nodes of the slice are in the containers.
    let number = |node: NonNull<Node>| unsafe { node.as_ref() }.number;
    let bell = Bell::default();
    let (fifo, list, inbox, queue) = (Fifo::<Chained>::new(), List::<Listed>::new(), Mailbox::<Chained>::new(), TimerQueue::new(few));
    // SAFETY: nobody sleeps yet; the bell outlives the mailbox, and does not panic.
    unsafe { inbox.install(NonNull::from(&bell as &dyn Interrupt)) };
    let mut model = Model::default();
    let mut order = 0;
    while !input.is_over() {
        let (operation, node) = (input.below(18), input.below(NODES));
        done.push((operation, node));
        let (chained, listed) = (model.chained(node), model.list.contains(&node));
        match operation {
            0..3 if !chained => {
                // SAFETY: *Once*.
                unsafe { fifo.push_back(at(node)) };
                model.fifo.push_back(node);
            }
            3 => same("popped", fifo.pop().map(number), model.fifo.pop_front())?,
            4 if !listed => {
                // SAFETY: *Once*.
                unsafe { list.push_back(at(node)) };
                model.list.push(node);
            }
            #[cfg(feature = "alloc")] // Without it, nobody needs it.
            5 if !listed => {
                // SAFETY: *Once*.
                unsafe { list.push_front(at(node)) };
                model.list.insert(0, node);
            }
            #[cfg(feature = "alloc")] // Without it, nobody needs it.
            6 if !listed && !model.list.is_empty() => {
                let place = input.below(model.list.len());
                // SAFETY: *Once*; the place is in the list.
                unsafe { list.insert_before(at(model.list[place]), at(node)) };
                model.list.insert(place, node);
            }
            7 | 8 if listed => {
                // SAFETY: it is in the list.
                unsafe { list.remove(at(node)) };
                model.list.retain(|&other| other != node);
            }
            9 => {
                let first = (!model.list.is_empty()).then(|| model.list.remove(0));
                same("the first of the list", list.pop_front().map(number), first)?;
            }
            10 | 11 if !chained => {
                // SAFETY: *Once*; the mailbox outlives the node's stay.
                unsafe { inbox.push(at(node)) };
                model.inbox.push(node);
                model.wakes();
            }
            12 => {
                same("what was taken", inbox.take().map(number).collect::<Vec<_>>(), std::mem::take(&mut model.inbox))?;
                model.asleep = false;
            }
            13 if node < NODES / 2 => {
                let may = model.inbox.is_empty() && !model.asleep;
                let (mut looked, flagged) = (false, node == 0);
                let slept = inbox.sleep(|| std::mem::replace(&mut looked, true) || flagged);
                let due = match (may, flagged) {
                    (false, _) => Slept::Refused,
                    (true, true) => Slept::Flagged,
                    (true, false) => Slept::Published,
                };
                same("whether it sleeps, and looked for flags", (slept, looked), (due, may))?;
                model.asleep |= may;
            }
            13 => {
                inbox.ring();
                model.wakes();
            }
            #[cfg(feature = "alloc")] // The same.
            17 if !model.asleep => {
                let mut patience = node;
                let seen = inbox.watch(|| {
                    patience = patience.saturating_sub(1);
                    patience > 0
                });
                same("whether a watch sees something", seen, !model.inbox.is_empty())?;
            }
            14 if !timers[node].is_linked() => {
                let (deadline, now) = (time(input), time(input));
                timers[node].set_deadline(Instant::from_nanos(deadline));
                drop(timers[node].set_waker(Some(Waker::from(wakers[node].clone()))));
                order += 1;
                model.timers.insert((deadline, order, node));
                // SAFETY: *Pinned*: not linked; the slice outlives the queue's use, and is not moved.
                unsafe { queue.insert(NonNull::from(&timers[node]), Instant::from_nanos(now)) };
            }
            15 => {
                timers[node].unlink();
                drop(timers[node].set_waker(None));
                model.timers.retain(|&(_, _, other)| other != node);
            }
            16 => {
                let now = time(input);
                let due = model.timers.first().copied().filter(|&(deadline, ..)| deadline <= now);
                let before = wakers.iter().map(|waker| waker.0.load(Ordering::Relaxed)).collect::<Vec<_>>();
                let popped = queue.pop_expired(Instant::from_nanos(now));
                same("whether a timer expired", popped.is_some(), due.is_some())?;
                popped.flatten().into_iter().for_each(Waker::wake);
                let woken = (0..NODES).find(|&other| wakers[other].0.load(Ordering::Relaxed) != before[other]);
                same("whose timer expired", woken, due.map(|(_, _, other)| other))?;
                model.timers.retain(|timer| Some(*timer) != due);
            }
            _ => {}
        }
        let mut walked = Vec::new();
        let mut next = list.front();
        while let Some(node) = next
            && walked.len() <= NODES
        {
            walked.push(number(node));
            // SAFETY: it is in the list.
            next = unsafe { list.after(node) };
        }
        same("the list", (&walked, list.is_empty()), (&model.list, model.list.is_empty()))?;
        same("the queue's front", (fifo.front().map(number), fifo.is_empty()), (model.fifo.front().copied(), model.fifo.is_empty()))?;
        same("whether the mailbox looks empty", inbox.looks_empty(), model.inbox.is_empty() && !model.asleep)?;
        same("how often the bell rang", bell.0.load(Ordering::Relaxed), model.rings)?;
        let earliest = model.timers.first().map(|&(deadline, ..)| deadline);
        same("whether there are no timers", queue.is_empty(), model.timers.is_empty())?;
        // Not each time: the question moves timers.
        if node % 2 == 0 {
            same("the earliest timer", queue.earliest().map(Instant::as_nanos), earliest)?;
        }
        let linked = |node: usize| model.timers.iter().any(|&(_, _, other)| other == node);
        for (node, timer) in timers.iter().enumerate() {
            same("whether a timer is set", timer.is_linked(), linked(node))?;
        }
    }
    while queue.clear().is_some() {}
    inbox.close();
    Ok(())
}
