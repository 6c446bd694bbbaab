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

/// Those of the mailbox's seeded faults that one thread can see.
#[test]
fn a_broken_mailbox_is_found() {
    for fault in FAULTS {
        let found =
            (0..2000).filter(|&seed| matou_fuzz::broken(fault, || matou_fuzz::containers::check(&chance(seed, 200))).is_err()).count();
        assert!(found > 10, "{fault} was found {found} times");
    }
}

const FAULTS: [&str; 7] = [
    "doorbell_not_rung",
    "doorbell_always_rung",
    "inbox_not_reversed",
    "ring_drops_nodes",
    "sleep_skips_flags",
    "watch_asleep",
    "watch_trusted",
];

#[test]
fn the_table_of_points_does_what_those_of_std_do() {
    replay("points", matou_fuzz::points::check);
}

#[test]
fn the_reactor_loses_no_wake_up() {
    replay("reactor", matou_fuzz::sockets::check);
}

/// What the rows never show, they do not test; and a kernel that forgets edges must be found.
#[test]
fn rows_by_chance_show_all_of_the_reactor_and_a_deaf_kernel_is_found() {
    let (mut shown, mut found) = (std::collections::BTreeMap::<_, u32>::new(), 0);
    for seed in 0..2000 {
        let bytes = chance(seed, 20 + (seed % 16) as usize * 20);
        matou_fuzz::sockets::shows(&bytes).into_iter().for_each(|what| *shown.entry(what).or_default() += 1);
        found += u32::from(matou_fuzz::sockets::check_deaf(&bytes).is_err_and(|why| why.starts_with("a lost wake-up")));
    }
    let all = "moved end error armed refused resumed shared duplicated betrayed restarted moved.away slept.for.ever left.elsewhere";
    let rare: Vec<_> = all.split(' ').filter(|&what| shown.get(what.replace('.', " ").as_str()).is_none_or(|&times| times < 50)).collect();
    assert!(rare.is_empty(), "the rows hardly ever show {rare:?}: {shown:?}");
    assert!(found > 100, "a kernel that forgets edges was found {found} times");
}

#[test]
fn the_echo_servers_send_back_what_came_and_count_it() {
    replay("echo", matou_fuzz::echo::check);
}

/// The same for the servers, and streams that garble.
#[test]
fn rows_by_chance_end_connections_in_every_way_and_garbled_bytes_are_found() {
    let (mut shown, mut found) = (std::collections::BTreeMap::<_, u32>::new(), 0);
    for seed in 0..3000 {
        let bytes = chance(seed, 20 + (seed % 16) as usize * 20);
        matou_fuzz::echo::shows(&bytes).into_iter().for_each(|what| *shown.entry(what).or_default() += 1);
        found += u32::from(matou_fuzz::echo::check_garbled(&bytes).is_err_and(|why| why.contains("other bytes")));
    }
    let all = "[None] [Some(Reset)] [Some(BrokenPipe)] [Some(TimedOut)] [Some(Idle)] [Some(Other)] [Some(Cancelled)] Unusable";
    let rare: Vec<_> = all.split(' ').filter(|&what| shown.get(what).is_none_or(|&times| times < 10)).collect();
    assert!(rare.is_empty(), "the rows hardly ever show {rare:?}: {shown:?}");
    assert!(found > 100, "garbled bytes were found {found} times");
}
