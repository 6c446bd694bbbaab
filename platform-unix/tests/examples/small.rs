//! The examples that end by themselves, beyond what the chapters show of them.

use crate::program::Program;

const EXAMPLES: [&str; 6] = ["echo_steps", "sleepers", "merkle", "philosophers", "stream", "rules"];

#[track_caller]
fn prints(example: &str, args: &str) -> Vec<String> {
    Program::start(example, args.split_whitespace()).end().success()
}

#[test]
fn each_tells_its_usage() {
    for example in EXAMPLES {
        for args in [&[][..], &["what?"], &["what?", "1", "2", "3", "4"]] {
            let end = Program::start(example, args).end();
            assert_eq!(end.status.code(), Some(2), "{example} {args:?}: {end:?}");
            assert_eq!(end.lines.len(), 1, "{example}: {end:?}");
            assert!(end.lines[0].starts_with(&format!("usage: {example} ")), "{end:?}");
        }
    }
}

#[test]
fn sleepers_wake_in_the_order_of_their_time() {
    let lines = prints("sleepers", "virtual 40 30.5 0 1e3 30.5");
    let expected = [
        "at 0.00 s: 6 sleep",
        "at 0.00 s: woke up, after 0 s of sleep",
        "at 30.50 s: woke up, after 30.5 s of sleep",
        "at 30.50 s: woke up, after 30.5 s of sleep",
        "at 40.00 s: woke up, after 40 s of sleep",
        "at 1000.00 s: woke up, after 1000 s of sleep",
        "at 1000.00 s: 0 sleep",
    ];
    assert_eq!(lines, expected);
}

/// The hour's sleep on a worker would outlast the test's patience.
#[test]
fn a_sleeper_of_another_domain_is_cancelled_at_once() {
    let lines = prints("sleepers", "real 0.02 0.01");
    let woken: Vec<_> = lines.iter().filter_map(|line| line.split_once("woke up, ")).map(|(_, after)| after).collect();
    assert_eq!(woken, ["after 0.01 s of sleep", "after 0.02 s of sleep"]);
    assert!(lines.last().unwrap().ends_with(": an hour's sleep on another domain was cancelled"), "{lines:?}");
}

#[test]
fn every_philosopher_eats() {
    let lines = prints("philosophers", "table 100 20");
    let expected = (1..100).map(|seat| format!("philosopher {seat} ate 20 times"));
    assert_eq!(lines[1..], expected.collect::<Vec<_>>());
}

#[test]
fn a_stream_loses_nothing() {
    for how in ["by-hand", "channel"] {
        for capacity in [1, 2, 1_000] {
            let lines = prints("stream", &format!("{how} {capacity} 200"));
            assert_eq!(lines, ["three producers put in 1 to 200: the sum of all is 60300"]);
        }
    }
}
