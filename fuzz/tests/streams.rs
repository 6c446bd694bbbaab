//! Streams over the system's own sockets: the committed corpus, and some thousands of rows by chance.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use matou_fuzz::{chance, streams};
use platform_unix::Reactor;

/// Descriptors are counted, so one test at a time has some.
static TURN: Mutex<()> = Mutex::new(());

fn by_chance(seed: u64) -> Vec<u8> {
    chance(seed, 20 + (seed % 16) as usize * 20)
}

#[test]
fn streams_lose_no_byte() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/streams");
    let files: Vec<_> = fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "the corpus was not found");
    for file in files {
        streams::check(&fs::read(&file).unwrap()).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    }
    for seed in 0..2000 {
        streams::check(&by_chance(seed)).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

/// What the rows never show, they do not test; and a far end that loses a byte must be found.
#[test]
fn rows_by_chance_show_all_of_a_stream_and_a_lost_byte_is_found() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rare = vec![
        "a round",
        "awaited",
        "an end",
        "an end after a cut",
        "a reset",
        "a write that waits",
        "forgotten",
        "moved",
        "outlived",
        "wrapped",
    ];
    if streams::reactors().first() == Some(&Reactor::Uring) {
        rare.extend(["unread", "a conversion that is refused"]);
    }
    let (mut shown, mut found) = (BTreeMap::<_, u32>::new(), 0);
    // Some of it only the kernel's timing shows: where a thousand rows do not, more may.
    for seed in 2000..20_000 {
        let bytes = by_chance(seed);
        let shows = streams::shows(&bytes).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        shows.into_iter().for_each(|what| *shown.entry(what).or_default() += 1);
        rare.retain(|what| shown.get(what).is_none_or(|&times| times < 3));
        if seed < 3000 {
            found += u32::from(streams::check_leaky(&bytes).is_err_and(|why| why.contains("other bytes")));
        } else if rare.is_empty() {
            break;
        }
    }
    assert!(rare.is_empty(), "the rows hardly ever show {rare:?}: {shown:?}");
    assert!(found > 300, "a lost byte was found {found} times");
}
