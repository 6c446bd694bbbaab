//! Streams over the system's own sockets: the committed corpus, and some thousands of rows by chance.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use matou_fuzz::{chance, streams};

/// Descriptors are counted.
static TURN: Mutex<()> = Mutex::new(());

/// Long enough for every kind of step.
fn by_chance(seed: u64) -> Vec<u8> {
    chance(seed, 20 + (seed % 16) as usize * 20)
}

#[test]
fn streams_lose_no_byte() {
    let _alone = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/streams");
    for file in fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()) {
        streams::check(&fs::read(&file).unwrap()).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    }
    for seed in 0..3000 {
        streams::check(&by_chance(seed)).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// What the rows never show, they do not test; and far ends that lose bytes must be found.
#[test]
fn rows_by_chance_show_all_of_a_stream_and_a_lost_byte_is_found() {
    let _alone = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut shown, mut found) = (BTreeMap::<_, u32>::new(), 0);
    for seed in 3000..5000 {
        let bytes = by_chance(seed);
        streams::shows(&bytes).unwrap_or_else(|why| panic!("seed {seed}: {why}")).into_iter().for_each(|what| {
            *shown.entry(what).or_default() += 1;
        });
        found += u32::from(streams::check_leaky(&bytes).is_err_and(|why| why.contains("other bytes")));
    }
    eprintln!("{shown:?} {found}");
}
