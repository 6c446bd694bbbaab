//! A domain's mailbox: what other threads tell it, and how they wake it.
//!
//! It is an inbox and a doorbell in ONE atomic word, so that "is the domain asleep?" and "add my node" are one decision.
//!
//! # The word
//!
//! ```text
//!             push (1)                  push (1)
//!   EMPTY ───────────────▶ node ───────────────▶ node → node …
//!    │ ▲                     │                       │
//!    │ │        take (2)     │        take (2)       │
//!    │ └─────────────────────┴───────────────────────┘
//!    │ ▲
//!    │ └── take (2), ring (4): the bell, no node
//!    ▼ │
//!   ASLEEP ──── push (5) ──▶ node      and the one who pushed rings
//!      (3: sleep)
//! ```
//!
//! 1. [`push`](Mailbox::push) puts a node before those already there, by compare-and-swap.
//! 2. [`take`](Mailbox::take) takes all nodes at once; they are handed out oldest first. There is no state in which the
//!    domain waits for a sender (a Vyukov queue has one).
//! 3. [`sleep`](Mailbox::sleep) succeeds only from EMPTY: a node pushed before it keeps the domain awake, a node pushed after it
//!    finds ASLEEP. Since one word decides, no fence is needed, and none can be forgotten. Before it a domain may
//!    [`watch`](Mailbox::watch) the word for a while: it stays EMPTY, so nobody rings.
//! 4. [`ring`](Mailbox::ring) wakes the domain without a node. Whoever moves the word away from ASLEEP, and nobody else, calls the
//!    domain's `Interrupt`: many senders cost one wake-up.
//!
//! # How long it lives
//!
//! A sender may touch the mailbox after its node has been taken only to ring. Before it makes the node visible it counts itself
//! in `ringers`, and it leaves as its last act. A domain that ends waits until `ringers` is zero
//! ([`close`](Mailbox::close)). That it does not end *before* the push is the runtime's part: a task marked queued keeps its home
//! domain (invariant *Queued* in [`task`](crate::task)).
//!
//! Source: the inbox is R. K. Treiber's stack ("Systems programming: coping with parallelism", 1986), which is free of the ABA
//! problem when it is only ever taken whole.

#![allow(unsafe_code)] // Nodes are raw pointers handed between threads; the interrupt is called through one.

use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::Chain;
use crate::platform::Interrupt;
use crate::shim::{self, AtomicPtr, AtomicU32, HandedCell, Ordering, fault};

/// The inbox and doorbell of one domain, for nodes chained by `C`.
pub(crate) struct Mailbox<C: Chain> {
    /// EMPTY (null), ASLEEP (a mark that is no node), or the youngest node.
    word: AtomicPtr<C::Node>,
    /// How many senders are between "I may have to ring" and "I have rung".
    ringers: AtomicU32,
    /// What ends the domain's sleep. Written by the domain before it first sleeps, read by who found it ASLEEP.
    interrupt: HandedCell<Option<NonNull<dyn Interrupt>>>,
}

// SAFETY: `word` and `ringers` are atomic. `interrupt` is written by the owner before the first ASLEEP is published (release),
// and read only after that was seen (acquire): invariant *Bell*. Nodes are handed over by `word`.
unsafe impl<C: Chain> Sync for Mailbox<C> {}
// SAFETY: nothing in it belongs to the thread it was made on; an `Interrupt` is `Send` and `Sync`.
unsafe impl<C: Chain> Send for Mailbox<C> {}

/// How an attempt to sleep went.
#[allow(unreachable_pub)] // Lent to the models.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slept {
    /// There are nodes: the domain must not sleep.
    Refused,
    /// The sleep is published, but what others ring for has come already.
    Flagged,
    /// The sleep is published: whoever has something for the domain rings.
    Published,
}

/// What a domain took out of its mailbox: nodes, oldest first.
pub(crate) struct Taken<C: Chain> {
    next: Option<NonNull<C::Node>>,
    chain: PhantomData<C>,
}

impl<C: Chain> Mailbox<C> {
    pub(crate) fn new() -> Self {
        Mailbox { word: AtomicPtr::new(ptr::null_mut()), ringers: AtomicU32::new(0), interrupt: HandedCell::new(None) }
    }

    fn asleep() -> *mut C::Node {
        ptr::without_provenance_mut(1)
    }

    /// Says what rings this domain.
    ///
    /// # Safety
    /// Called by the domain itself, before it first sleeps; `interrupt` is valid until `close` has returned, and does not panic: who rings
    /// would not leave `ringers`.
    pub(crate) unsafe fn install(&self, interrupt: NonNull<dyn Interrupt>) {
        // *Bell*: nobody reads it before the first ASLEEP.
        self.interrupt.set(Some(interrupt));
    }

    /// Adds a node, and rings if the domain sleeps. From any thread and from an interrupt handler.
    ///
    /// # Safety
    /// The node is valid until it is taken, and no other chain of `C` holds it; its link is handed over by this call. The
    /// mailbox is alive until the node is taken.
    pub(crate) unsafe fn push(&self, node: NonNull<C::Node>) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let asleep = word == Self::asleep();
            // SAFETY: the caller holds the node until it is visible.
            unsafe { C::next(node).set(if asleep { None } else { NonNull::new(word) }) };
            let counted = asleep && !fault("push_not_counted");
            if counted {
                // Before the node is visible: afterwards the domain may take it and end.
                self.ringers.fetch_add(1, Ordering::Relaxed);
            }
            let published = if fault("inbox_push_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
            match self.word.compare_exchange_weak(word, node.as_ptr(), published, Ordering::Relaxed) {
                Ok(_) => {
                    if (asleep && !fault("doorbell_not_rung")) || fault("doorbell_always_rung") {
                        self.interrupt();
                    }
                    if counted {
                        self.ringers.fetch_sub(1, Ordering::Release);
                    }
                    return;
                }
                Err(seen) => {
                    if counted {
                        self.ringers.fetch_sub(1, Ordering::Release);
                    }
                    word = seen;
                }
            }
        }
    }

    /// Wakes the domain if it sleeps, without a node: for a flag the caller has just set. The mailbox is alive; its domain may be ending.
    ///
    /// A domain that sleeps looks at the flag again within [`sleep`](Self::sleep). The word is written here even where it
    /// stays the same: then that `sleep` comes after this write and sees the flag, or before it and is seen here.
    pub(crate) fn ring(&self) {
        // Counted first: a domain that wakes by itself meanwhile may end, and must keep its interrupt for us.
        let counted = !fault("ring_not_counted");
        if counted {
            self.ringers.fetch_add(1, Ordering::Relaxed);
        }
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let asleep = word == Self::asleep();
            if fault("ring_skips_write") && !asleep {
                break;
            }
            let awake = if asleep || fault("ring_drops_nodes") { ptr::null_mut() } else { word };
            match self.word.compare_exchange_weak(word, awake, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if asleep => {
                    self.interrupt();
                    break;
                }
                Ok(_) => break,
                Err(seen) => word = seen,
            }
        }
        if counted {
            self.ringers.fetch_sub(1, Ordering::Release);
        }
    }

    fn interrupt(&self) {
        // *Bell*: ASLEEP was seen with acquire, so `install` came before and nobody writes any more.
        if let Some(interrupt) = self.interrupt.get() {
            // SAFETY: the caller counted itself in `ringers` before it moved the word from ASLEEP, and the domain lets go of its
            // interrupt only after `close`.
            unsafe { interrupt.as_ref() }.interrupt();
        }
    }

    /// Whether nothing was pushed since the last `take`. A hint: a push may be under way.
    pub(crate) fn looks_empty(&self) -> bool {
        self.word.load(Ordering::Relaxed).is_null()
    }

    /// Takes all nodes, and wakes the word if it was ASLEEP. By the domain only.
    pub(crate) fn take(&self) -> Taken<C> {
        let mut word = if fault("inbox_take_in_two_steps") {
            // Two operations where one must decide: a node pushed in between is overwritten.
            let word = self.word.load(Ordering::Acquire);
            self.word.store(ptr::null_mut(), Ordering::Release);
            word
        } else {
            let taken = if fault("inbox_take_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
            self.word.swap(ptr::null_mut(), taken)
        };
        if word == Self::asleep() {
            word = ptr::null_mut();
        }
        if fault("inbox_not_reversed") {
            return Taken { next: NonNull::new(word), chain: PhantomData };
        }
        // Youngest first as it is: turn it round.
        let mut oldest = None;
        let mut rest = NonNull::new(word);
        while let Some(node) = rest {
            // SAFETY: the node was pushed and is taken by us alone, link included.
            rest = unsafe { C::next(node).replace(oldest) };
            oldest = Some(node);
        }
        Taken { next: oldest, chain: PhantomData }
    }

    /// Looks, awake, until there are nodes or the patience is over: meanwhile nobody rings. Whether there are nodes. By the domain only.
    ///
    /// It decides nothing: who gives up looks once more, in [`sleep`](Self::sleep).
    #[cfg(feature = "alloc")]
    pub(crate) fn watch(&self, mut patience: impl FnMut() -> bool) -> bool {
        if fault("watch_asleep") {
            let _ = self.word.compare_exchange(ptr::null_mut(), Self::asleep(), Ordering::AcqRel, Ordering::Relaxed);
        }
        loop {
            if !self.looks_empty() && !fault("watch_blind") {
                return true;
            }
            if !patience() && !fault("watch_endless") {
                return false;
            }
        }
    }

    /// Publishes that the domain sleeps, and looks at what others ring for. Not if there are nodes. By the domain only.
    ///
    /// Whoever raises a flag rings afterwards: it is seen here, or its ring finds the sleep published.
    pub(crate) fn sleep(&self, flagged: impl FnOnce() -> bool) -> Slept {
        if !self.publish_sleep() {
            return Slept::Refused;
        }
        if flagged() && !fault("sleep_skips_flags") { Slept::Flagged } else { Slept::Published }
    }

    fn publish_sleep(&self) -> bool {
        if fault("doorbell_unchecked") {
            // Two operations where one must decide: a node pushed in between is overwritten.
            if !self.looks_empty() {
                return false;
            }
            self.word.store(Self::asleep(), Ordering::Release);
            return true;
        }
        if fault("watch_trusted") {
            // Without the last look: what came after the watch is overwritten.
            self.word.store(Self::asleep(), Ordering::Release);
            return true;
        }
        let published = if fault("doorbell_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
        self.word.compare_exchange(ptr::null_mut(), Self::asleep(), published, Ordering::Relaxed).is_ok()
    }

    /// Waits until no sender touches the mailbox any more. By the domain, when no node can come.
    pub(crate) fn close(&self) {
        if fault("close_does_not_wait") {
            return;
        }
        // Who rang counted itself before it moved the word from ASLEEP, but the domain may have seen that by a relaxed look only: what is
        // read here, at least as new, brings the count with it.
        if !fault("close_unordered") {
            self.word.load(Ordering::Acquire);
        }
        while self.ringers.load(Ordering::Acquire) != 0 {
            shim::pause();
        }
    }
}

impl<C: Chain> Iterator for Taken<C> {
    type Item = NonNull<C::Node>;

    fn next(&mut self) -> Option<NonNull<C::Node>> {
        let node = self.next?;
        // SAFETY: the nodes taken are ours, links included, until each is handed out.
        self.next = unsafe { C::next(node).replace(None) };
        Some(node)
    }
}

#[cfg(test)]
#[cfg(all(feature = "std", not(loom)))]
mod tests {
    use std::boxed::Box;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use std::vec::Vec;

    use super::super::tests::{Node, Nodes, nodes, number};
    use super::*;

    /// Counts how often it is rung.
    struct Bell {
        mailbox: Arc<Mailbox<Nodes>>,
        rung: AtomicU32,
    }

    impl Interrupt for Bell {
        fn interrupt(&self) {
            assert_eq!(self.mailbox.ringers.load(Ordering::SeqCst), 1, "who rings has counted itself");
            self.rung.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Bell {
        /// How often it was rung since this was asked.
        fn rung(&self) -> u32 {
            assert_eq!(self.mailbox.ringers.load(Ordering::SeqCst), 0, "who rang has left");
            self.rung.swap(0, Ordering::SeqCst)
        }
    }

    /// A mailbox and its bell, which is to outlive the last ring.
    fn with_bell() -> (Arc<Mailbox<Nodes>>, Box<Bell>) {
        let mailbox = Arc::new(Mailbox::new());
        let bell = Box::new(Bell { mailbox: mailbox.clone(), rung: AtomicU32::new(0) });
        // SAFETY: it has not slept; the tests keep the bell to their end.
        unsafe { mailbox.install(NonNull::<Bell>::from(&*bell)) };
        (mailbox, bell)
    }

    fn push(mailbox: &Mailbox<Nodes>, node: &Node) {
        // SAFETY: the tests keep their nodes in place, and push none that is in a mailbox.
        unsafe { mailbox.push(NonNull::from(node)) };
    }

    fn taken(mailbox: &Mailbox<Nodes>) -> Vec<usize> {
        mailbox.take().map(number).collect()
    }

    fn sleeps(mailbox: &Mailbox<Nodes>) -> bool {
        mailbox.sleep(|| false) == Slept::Published
    }

    #[test]
    fn a_flag_raised_before_a_sleep_is_seen_in_it() {
        let (mailbox, bell) = with_bell();
        assert_eq!(mailbox.sleep(|| true), Slept::Flagged);
        // The sleep is published all the same: who comes now rings.
        mailbox.ring();
        assert_eq!(bell.rung(), 1);
        mailbox.close();
    }

    #[test]
    fn a_watch_ends_with_a_node_or_with_the_patience() {
        let (mailbox, bell) = with_bell();
        let nodes = nodes(1);
        let mut looks = 0;
        let mut watch = |pushed_at| {
            looks = 0;
            let came = mailbox.watch(|| {
                looks += 1;
                if looks == pushed_at {
                    push(&mailbox, &nodes[0]);
                }
                looks < 3
            });
            (came, looks)
        };
        assert_eq!(watch(0), (false, 3));
        assert_eq!(watch(2), (true, 2));
        assert_eq!(watch(0), (true, 0), "it is still there");
        assert_eq!((bell.rung(), taken(&mailbox)), (0, Vec::from([0])), "who watches is awake");
        mailbox.close();
    }

    #[test]
    fn nodes_come_out_oldest_first_and_once() {
        let (mailbox, bell) = with_bell();
        let nodes = nodes(4);
        for round in 0..3 {
            assert!(mailbox.looks_empty() && taken(&mailbox).is_empty(), "round {round}");
            nodes[..3].iter().for_each(|node| push(&mailbox, node));
            assert!(!mailbox.looks_empty());
            mailbox.ring();
            assert_eq!(mailbox.sleep(|| panic!("it does not sleep")), Slept::Refused, "there are nodes");
            // One that is pushed while others are handed out is in the next take.
            let mut out = mailbox.take();
            push(&mailbox, &nodes[3]);
            assert_eq!(out.by_ref().map(number).collect::<Vec<_>>(), [0, 1, 2]);
            assert_eq!(taken(&mailbox), [3]);
        }
        assert_eq!(bell.rung(), 0, "it never slept");
        mailbox.close();
    }

    #[test]
    fn a_sleeper_is_rung_once_by_the_first_that_comes() {
        let (mailbox, bell) = with_bell();
        let nodes = nodes(2);
        for by_ring in [false, true] {
            assert!(sleeps(&mailbox) && !mailbox.looks_empty());
            assert_eq!(bell.rung(), 0);
            if by_ring {
                mailbox.ring();
                assert!(mailbox.looks_empty());
                assert_eq!(bell.rung(), 1);
                mailbox.ring();
            } else {
                push(&mailbox, &nodes[0]);
                assert_eq!(bell.rung(), 1);
            }
            push(&mailbox, &nodes[1]);
            mailbox.ring();
            assert_eq!(bell.rung(), 0, "it is awake");
            assert_eq!(taken(&mailbox), if by_ring { &[1][..] } else { &[0, 1] });
        }
        // It wakes by itself: nobody rings.
        assert!(sleeps(&mailbox) && taken(&mailbox).is_empty() && mailbox.looks_empty());
        mailbox.ring();
        push(&mailbox, &nodes[0]);
        assert_eq!((bell.rung(), taken(&mailbox)), (0, Vec::from([0])));
        mailbox.close();
    }

    /// Rings until it is let go.
    struct LongBell {
        entered: Sender<()>,
        closing: Mutex<Receiver<()>>,
        left: Arc<AtomicBool>,
    }

    impl Interrupt for LongBell {
        fn interrupt(&self) {
            self.entered.send(()).unwrap();
            self.closing.lock().unwrap().recv().unwrap();
            for _ in 0..1000 {
                std::thread::yield_now();
            }
            self.left.store(true, Ordering::SeqCst);
        }
    }

    struct Sent(NonNull<Node>);
    // SAFETY: the one thread that gets it pushes it, and the mailbox hands it over.
    unsafe impl Sync for Sent {}

    impl Sent {
        fn push_to(&self, mailbox: &Mailbox<Nodes>) {
            // SAFETY: it is in no mailbox, and stays in place.
            unsafe { mailbox.push(self.0) };
        }
    }

    #[test]
    fn a_domain_that_ends_waits_for_who_is_ringing() {
        for by_ring in [false, true] {
            let ((entered, has_entered), (closing, is_closing)) = (channel(), channel());
            let (mailbox, nodes) = (Mailbox::<Nodes>::new(), nodes(1));
            let bell = LongBell { entered, closing: Mutex::new(is_closing), left: Arc::default() };
            let (left, node) = (bell.left.clone(), Sent(NonNull::from(&nodes[0])));
            // SAFETY: it has not slept; the bell is there until `close` has returned.
            unsafe { mailbox.install(NonNull::<LongBell>::from(&bell)) };
            assert!(sleeps(&mailbox));
            std::thread::scope(|threads| {
                threads.spawn(|| if by_ring { mailbox.ring() } else { node.push_to(&mailbox) });
                has_entered.recv_timeout(Duration::from_secs(10)).expect("it is rung");
                assert_eq!(taken(&mailbox).len(), usize::from(!by_ring));
                closing.send(()).unwrap();
                mailbox.close();
                assert!(left.load(Ordering::SeqCst));
            });
        }
    }
}
