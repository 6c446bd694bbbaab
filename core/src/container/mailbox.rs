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
use crate::shim::{self, AtomicPtr, AtomicU32, HandedCell, Ordering};

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
            let counted = asleep && !cfg!(matou_fault = "push_not_counted");
            if counted {
                // Before the node is visible: afterwards the domain may take it and end.
                self.ringers.fetch_add(1, Ordering::Relaxed);
            }
            let published = if cfg!(matou_fault = "inbox_push_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
            match self.word.compare_exchange_weak(word, node.as_ptr(), published, Ordering::Relaxed) {
                Ok(_) => {
                    if (asleep && !cfg!(matou_fault = "doorbell_not_rung")) || cfg!(matou_fault = "doorbell_always_rung") {
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
        let counted = !cfg!(matou_fault = "ring_not_counted");
        if counted {
            self.ringers.fetch_add(1, Ordering::Relaxed);
        }
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let asleep = word == Self::asleep();
            if cfg!(matou_fault = "ring_skips_write") && !asleep {
                break;
            }
            let awake = if asleep || cfg!(matou_fault = "ring_drops_nodes") { ptr::null_mut() } else { word };
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
        let mut word = if cfg!(matou_fault = "inbox_take_in_two_steps") {
            // Two operations where one must decide: a node pushed in between is overwritten.
            let word = self.word.load(Ordering::Acquire);
            self.word.store(ptr::null_mut(), Ordering::Release);
            word
        } else {
            let taken = if cfg!(matou_fault = "inbox_take_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
            self.word.swap(ptr::null_mut(), taken)
        };
        if word == Self::asleep() {
            word = ptr::null_mut();
        }
        if cfg!(matou_fault = "inbox_not_reversed") {
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
    pub(crate) fn watch(&self, mut patience: impl FnMut() -> bool) -> bool {
        if cfg!(matou_fault = "watch_asleep") {
            let _ = self.word.compare_exchange(ptr::null_mut(), Self::asleep(), Ordering::AcqRel, Ordering::Relaxed);
        }
        loop {
            if !self.looks_empty() {
                return true;
            }
            if !patience() {
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
        if flagged() && !cfg!(matou_fault = "sleep_skips_flags") { Slept::Flagged } else { Slept::Published }
    }

    fn publish_sleep(&self) -> bool {
        if cfg!(matou_fault = "doorbell_unchecked") {
            // Two operations where one must decide: a node pushed in between is overwritten.
            if !self.looks_empty() {
                return false;
            }
            self.word.store(Self::asleep(), Ordering::Release);
            return true;
        }
        if cfg!(matou_fault = "watch_trusted") {
            // Without the last look: what came after the watch is overwritten.
            self.word.store(Self::asleep(), Ordering::Release);
            return true;
        }
        let published = if cfg!(matou_fault = "doorbell_relaxed") { Ordering::Relaxed } else { Ordering::AcqRel };
        self.word.compare_exchange(ptr::null_mut(), Self::asleep(), published, Ordering::Relaxed).is_ok()
    }

    /// Waits until no sender touches the mailbox any more. By the domain, when no node can come.
    pub(crate) fn close(&self) {
        if cfg!(matou_fault = "close_does_not_wait") {
            return;
        }
        // Who rang counted itself before it moved the word from ASLEEP, but the domain may have seen that by a relaxed look only: what is
        // read here, at least as new, brings the count with it.
        if !cfg!(matou_fault = "close_unordered") {
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
