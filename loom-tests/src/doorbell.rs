//! The doorbell: a domain that falls asleep, and those who have something to tell it.

use std::sync::Arc;

use loom::sync::atomic::Ordering::Relaxed;
use loom::thread;
use matou_core::model::{AtomicBool, Node};

use crate::explore::{explore, explore_bounded};
use crate::world::{Domain, Slept, Until};

/// Receives until `count` nodes have come, asleep in between. How the sleeps went.
fn receive(domain: &Domain, count: usize) -> Vec<Slept> {
    let mut came = 0;
    let mut sleeps = Vec::new();
    loop {
        came += domain.arrivals().len();
        if came == count {
            return sleeps;
        }
        sleeps.push(domain.sleep(|| false, Until::Bell));
    }
}

#[test]
fn a_push_ends_the_sleep() {
    const OUTCOMES: &[&str] = &["it came before the domain looked", "it came between look and sleep", "it came during the sleep"];
    explore(OUTCOMES, |met| {
        let domain = Arc::new(Domain::new());
        let node = Arc::new(Node::new(0));
        let sender = thread::spawn({
            let (domain, node) = (Arc::clone(&domain), Arc::clone(&node));
            move || domain.push(&node)
        });
        domain.start();
        let sleeps = receive(&domain, 1);
        domain.end();
        sender.join().unwrap();
        met.note_if(sleeps.is_empty(), "it came before the domain looked");
        met.note_if(sleeps == [Slept::Refused], "it came between look and sleep");
        met.note_if(sleeps == [Slept::Rung], "it came during the sleep");
        assert_eq!(domain.rings(), domain.sleeps());
    });
}

/// The same with a domain that watches first: what comes meanwhile costs nobody a ring, and what comes after its last look is not slept over.
#[test]
fn a_push_ends_the_watch_or_the_sleep() {
    const OUTCOMES: &[&str] = &["it came while the domain watched", "it came between watch and sleep", "it came during the sleep"];
    explore(OUTCOMES, |met| {
        let domain = Arc::new(Domain::new());
        let node = Arc::new(Node::new(0));
        let sender = thread::spawn({
            let (domain, node) = (Arc::clone(&domain), Arc::clone(&node));
            move || domain.push(&node)
        });
        domain.start();
        let seen = domain.watch(2);
        let slept = (!seen).then(|| domain.sleep(|| false, Until::Bell));
        assert_eq!(domain.arrivals(), [0], "it was told of the node, or woken for it");
        domain.end();
        sender.join().unwrap();
        assert_eq!(domain.rings(), usize::from(slept == Some(Slept::Rung)), "who watches is not rung");
        met.note_if(seen, "it came while the domain watched");
        met.note_if(slept == Some(Slept::Refused), "it came between watch and sleep");
        met.note_if(slept == Some(Slept::Rung), "it came during the sleep");
    });
}

#[test]
fn many_pushes_cost_one_interrupt_for_each_sleep() {
    const OUTCOMES: &[&str] = &[
        "two pushes, one interrupt",
        "two pushes, two sleeps",
        "two pushes, no sleep",
        "a sender found the domain asleep and came second",
    ];
    explore_bounded(2, OUTCOMES, |met| {
        let domain = Arc::new(Domain::new());
        let nodes = Arc::new([Node::new(0), Node::new(1)]);
        let senders = [0, 1].map(|index| {
            let (domain, nodes) = (Arc::clone(&domain), Arc::clone(&nodes));
            thread::spawn(move || domain.push(&nodes[index]))
        });
        domain.start();
        let sleeps = receive(&domain, 2);
        domain.end();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert_eq!(domain.rings(), domain.sleeps(), "each sleep is ended by one interrupt");
        met.note_if(domain.rings() == 1, "two pushes, one interrupt");
        met.note_if(domain.sleeps() == 2, "two pushes, two sleeps");
        met.note_if(domain.sleeps() == 0, "two pushes, no sleep");
        met.note_if(sleeps.contains(&Slept::Refused) && sleeps.contains(&Slept::Rung), "a sender found the domain asleep and came second");
    });
}

#[test]
fn a_flag_is_seen_or_its_bell_ends_the_sleep() {
    const OUTCOMES: &[&str] = &["it was seen awake", "it was seen after the sleep was published", "the bell ended the sleep"];
    explore(OUTCOMES, |met| {
        let domain = Arc::new(Domain::new());
        let flag = Arc::new(AtomicBool::new(false));
        let ringer = thread::spawn({
            let (domain, flag) = (Arc::clone(&domain), Arc::clone(&flag));
            move || {
                // Relaxed: the bell alone has to publish it.
                flag.store(true, Relaxed);
                domain.ring();
            }
        });
        domain.start();
        let mut slept = None;
        while !flag.load(Relaxed) {
            assert_eq!(slept, None, "whatever ended the sleep, the flag is seen after it");
            assert!(domain.arrivals().is_empty());
            slept = Some(domain.sleep(|| flag.load(Relaxed), Until::Bell));
            assert!(domain.arrivals().is_empty());
        }
        domain.end();
        ringer.join().unwrap();
        match slept {
            None => met.note("it was seen awake"),
            Some(Slept::Flagged) => met.note("it was seen after the sleep was published"),
            Some(Slept::Rung) => met.note("the bell ended the sleep"),
            Some(Slept::Refused | Slept::ByItself) => unreachable!("there is no node, and no timer"),
        }
    });
}

#[test]
fn a_ring_and_a_push_meet() {
    const OUTCOMES: &[&str] = &[
        "the ring ended the sleep, the push found the domain awake",
        "the push ended the sleep, the ring found a node",
        "neither had to ring",
    ];
    explore_bounded(2, OUTCOMES, |met| {
        let domain = Arc::new(Domain::new());
        let node = Arc::new(Node::new(0));
        let flag = Arc::new(AtomicBool::new(false));
        let ringer = thread::spawn({
            let (domain, flag) = (Arc::clone(&domain), Arc::clone(&flag));
            move || {
                flag.store(true, Relaxed);
                domain.ring();
            }
        });
        let sender = thread::spawn({
            let (domain, node) = (Arc::clone(&domain), Arc::clone(&node));
            move || domain.push(&node)
        });
        domain.start();
        let mut came = 0;
        let mut seen = false;
        let mut rung = Vec::new();
        loop {
            came += domain.arrivals().len();
            seen |= flag.load(Relaxed);
            if came == 1 && seen {
                break;
            }
            if domain.sleep(|| !seen && flag.load(Relaxed), Until::Bell) == Slept::Rung {
                rung.push((came, seen));
            }
        }
        domain.end();
        ringer.join().unwrap();
        sender.join().unwrap();
        assert!(came == 1 && domain.rings() <= domain.sleeps());
        met.note_if(rung == [(0, false)] && domain.sleeps() == 1, "the ring ended the sleep, the push found the domain awake");
        met.note_if(rung == [(0, true)], "the push ended the sleep, the ring found a node");
        met.note_if(domain.rings() == 0, "neither had to ring");
    });
}

/// A sleep that ends by itself, at its deadline, while somebody is about to ring; then the domain ends, and frees what is rung.
#[test]
fn a_ringer_keeps_the_interrupt() {
    const OUTCOMES: &[&str] = &["it rang and was gone", "it rang and was waited for", "it found the domain awake"];
    explore(OUTCOMES, |met| {
        let domain = Arc::new(Domain::new());
        let ringer = thread::spawn({
            let domain = Arc::clone(&domain);
            move || domain.ring()
        });
        domain.start();
        assert_eq!(domain.sleep(|| false, Until::Now), Slept::ByItself);
        assert!(domain.arrivals().is_empty());
        let inside = domain.is_somebody_inside();
        domain.end();
        let rings = domain.rings();
        ringer.join().unwrap();
        assert_eq!(domain.rings(), rings, "a domain that has ended is not rung");
        met.note_if(rings == 1 && !inside, "it rang and was gone");
        met.note_if(rings == 1 && inside, "it rang and was waited for");
        met.note_if(rings == 0, "it found the domain awake");
    });
}

/// The same with a sender, whose node the domain has to wait for.
#[test]
fn a_sender_keeps_the_interrupt() {
    const OUTCOMES: &[&str] =
        &["it rang the first sleep", "it rang the second sleep", "it rang and was waited for", "it found the domain awake"];
    explore(OUTCOMES, |met| {
        let domain = Arc::new(Domain::new());
        let node = Arc::new(Node::new(0));
        let sender = thread::spawn({
            let (domain, node) = (Arc::clone(&domain), Arc::clone(&node));
            move || domain.push(&node)
        });
        domain.start();
        let first = domain.sleep(|| false, Until::Now);
        let sleeps = receive(&domain, 1);
        let inside = domain.is_somebody_inside();
        domain.end();
        let rings = domain.rings();
        sender.join().unwrap();
        assert_eq!(domain.rings(), rings, "a domain that has ended is not rung");
        met.note_if(first == Slept::ByItself && sleeps.is_empty() && rings == 1, "it rang the first sleep");
        met.note_if(sleeps == [Slept::Rung], "it rang the second sleep");
        met.note_if(rings == 1 && inside, "it rang and was waited for");
        met.note_if(rings == 0, "it found the domain awake");
    });
}
