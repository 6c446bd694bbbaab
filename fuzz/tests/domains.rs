//! Programs over several simulated domains: the committed corpus, and some thousands by chance.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use matou_fuzz::chance;
use matou_fuzz::domains::{Program, check, end_of};

#[test]
fn the_corpus_of_domains_follows_the_rules() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/domains");
    let files: Vec<_> = fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "the corpus was not found");
    for file in files {
        check(&Program::decode(&fs::read(&file).unwrap())).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    }
}

#[test]
fn programs_by_chance_follow_the_rules_and_reach_every_end() {
    let mut ends = BTreeMap::<_, u32>::new();
    for seed in 0..6000 {
        let program = Program::decode(&chance(seed, 30 + (seed % 8) as usize * 30));
        check(&program).unwrap_or_else(|why| panic!("program {seed}: {why}"));
        *ends.entry(end_of(&program)).or_default() += 1;
    }
    for end in ["Outcome.Value", "Outcome.Error", "Outcome.Panicked", "Violation.StillHasChildren", "Violation.ResourceLeaked", "Deadlock"]
    {
        assert!(ends.get(end).is_some_and(|&times| times > 10), "the programs hardly ever end with {end}: {ends:?}");
    }
}
