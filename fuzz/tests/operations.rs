//! Rows of operations on the parts of the core: the committed corpus, and some thousands by chance.

use std::fs;
use std::path::Path;

use matou_fuzz::chance;

fn replay(target: &str, check: impl Fn(&[u8]) -> Result<(), String>) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files: Vec<_> = fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "the corpus of {target} was not found");
    for file in files {
        check(&fs::read(&file).unwrap()).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    }
    for seed in 0..20_000 {
        check(&chance(seed, 20 + (seed % 16) as usize * 20)).unwrap_or_else(|why| panic!("{target}, seed {seed}: {why}"));
    }
}

#[test]
fn what_tasks_wait_for_does_what_a_line_does() {
    replay("sync", matou_fuzz::sync::check);
}

#[test]
fn the_containers_do_what_those_of_std_do() {
    replay("containers", matou_fuzz::containers::check);
}
