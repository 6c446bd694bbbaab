//! Programs over several simulated domains: the committed corpus, and some thousands by chance.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use matou_fuzz::chance;
use matou_fuzz::domains::{Program, check, shows};

#[test]
fn the_corpus_of_domains_follows_the_rules() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/domains");
    let files: Vec<_> = fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "the corpus was not found");
    for file in files {
        check(&Program::decode(&fs::read(&file).unwrap())).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    }
}

/// A model must reach everything: what the programs never show, they do not test.
#[test]
fn programs_by_chance_follow_the_rules_and_show_everything() {
    let mut shown = BTreeMap::<_, u32>::new();
    for seed in 0..6000 {
        let program = Program::decode(&chance(seed, 30 + (seed % 8) as usize * 30));
        check(&program).unwrap_or_else(|why| panic!("program {seed}: {why}"));
        shows(&program).into_iter().for_each(|what| *shown.entry(what).or_default() += 1);
    }
    let rare: Vec<_> = EVERYTHING.split_whitespace().filter(|&what| shown.get(what).is_none_or(|&times| times < 10)).collect();
    assert!(rare.is_empty(), "the programs hardly ever show {rare:?}: {shown:?}");
}

/// Lines 0 and 1 are the mutexes, 2 the semaphore, 3 the channel's places, 4 its values.
const EVERYTHING: &str = "
    Born Refused Poll Returned Dropped CancelCalled CancelOver Left Gave Sent Received Protects OnCancellation Finally.true Finally.false
    Got.Value Got.Error Got.Panicked Scoped.true Scoped.false Owned Releasing Finalised Hooked HookRan HookGone
    Asked.0.true Asked.0.false Asked.1.true Asked.1.false Asked.2.true Asked.2.false Asked.3.true Asked.3.false Asked.4.true Asked.4.false
    Cared.Ready Cared.Pending Cared.Empty Took.true Took.false NoNext Aside Forgot Ordered Disowned Transfers Arrived
    Outcome.Value Outcome.Error Outcome.Panicked Violation.StillHasChildren Violation.ResourceLeaked Deadlock
";
