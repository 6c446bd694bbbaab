//! The goals, as the issue "Fast: ahead of every peer, at the kernel's limit" numbers them, each as a line of one of the results.

use crate::commands::{busy, connect, connections, domains, echo, memory, syscalls};
use crate::micro::run::{ALLOCATIONS, HEAP, SLEEPS, TIME};
use crate::micro::{Kind, growth};

/// What a figure has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What a figure is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// Nothing: the figure itself.
    Nothing,
    /// One that is named.
    Named(&'static str),
    /// The best of the peers.
    Best,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    /// Its point in the issue.
    pub(super) point: u8,
    /// The command whose result says it, which is the name of the file.
    pub(super) table: &'static str,
    /// Which line of it.
    pub(super) line: Line,
    pub(super) bound: Bound,
}

/// A line of a table.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) what: String,
    pub(super) subject: String,
    pub(super) of: &'static str,
    pub(super) over: Over,
}

/// Both servers.
const OURS: [&str; 2] = ["matou", "matou-uring"];
const CONNECTIONS: [usize; 4] = [1, 50, 1000, 10_000];
/// How many connect at once.
const AT_ONCE: [usize; 2] = [1, 16];
/// What "none" is where it is counted while the machine does other things, too.
const NONE: f64 = 0.01;
/// What the loops themselves make: a few things for a thousand operations and more.
const MADE: f64 = 0.001;
/// Bytes of a task as DESIGN states them: its future and at most 128, where the future is of 16.
const TASK: f64 = 144.0;

const EPOLL: Over = Over::Named("epoll");
const RAW_URING: Over = Over::Named("raw-uring");

/// All of them, in the order of the points.
pub(super) fn all() -> Vec<Goal> {
    [on_epoll(), on_uring(), memory(), operations(), across_domains(), availability(), growth()].concat()
}

/// The same line for several subjects.
fn each<S: ToString>(
    (point, table): (u8, &'static str),
    what: impl Into<String>,
    subjects: impl IntoIterator<Item = S>,
    (of, over): (&'static str, Over),
    bound: Bound,
) -> Vec<Goal> {
    let what = what.into();
    let goal = |subject: S| Goal { point, table, line: Line { what: what.clone(), subject: subject.to_string(), of, over }, bound };
    subjects.into_iter().map(goal).collect()
}

fn on_epoll() -> Vec<Goal> {
    let ours = ("matou", EPOLL);
    [
        each((1, "echo"), echo::CPU.what, CONNECTIONS, ours, Bound::AtMost(1.0)),
        each((1, "connect"), connect::CPU.what, AT_ONCE, ours, Bound::AtMost(1.0)),
        each((1, "syscalls"), syscalls::CALLS.what, [1], ("matou", Over::Nothing), Bound::AtMost(3.0)),
        each((1, "syscalls"), syscalls::CALLS.what, [50], ("matou", Over::Nothing), Bound::AtMost(2.15)),
        // A window in which one connection of them has no answer is an error, and there is no figure.
        each((1, "echo"), echo::RATE.what, [10_000], ("matou", Over::Nothing), Bound::AtLeast(1.0)),
        each((1, "echo"), echo::P999.what, CONNECTIONS, ("matou", Over::Best), Bound::AtMost(1.0)),
    ]
    .concat()
}

fn on_uring() -> Vec<Goal> {
    let ours = ("matou-uring", RAW_URING);
    [
        each((2, "echo"), echo::CPU.what, CONNECTIONS, ours, Bound::AtMost(1.0)),
        each((2, "connect"), connect::CPU.what, AT_ONCE, ours, Bound::AtMost(1.0)),
        each((2, "syscalls"), syscalls::CALLS.what, [1, 50], ours, Bound::AtMost(1.0)),
        each((2, "memory"), memory::BYTES.what, [1000, 10_000], ours, Bound::AtMost(1.0)),
    ]
    .concat()
}

fn memory() -> Vec<Goal> {
    OURS.map(|ours| each((3, "memory"), memory::BYTES.what, [1000, 10_000], (ours, Over::Nothing), Bound::AtMost(512.0))).concat()
}

fn operations() -> Vec<Goal> {
    let times = [
        Kind::SpawnAwait,
        Kind::SpawnAwaitMany,
        Kind::YieldTwo,
        Kind::YieldMany,
        Kind::HandOff,
        Kind::SpawnCancel,
        Kind::Timers,
        Kind::Call,
    ];
    let unallocated =
        [Kind::SpawnAwait, Kind::SpawnAwaitMany, Kind::YieldTwo, Kind::YieldMany, Kind::HandOff, Kind::SpawnCancel, Kind::Call];
    [
        each((4, "micro"), TIME.what, times.map(Kind::name), ("matou", Over::Best), Bound::AtMost(0.5)),
        each((4, "micro"), HEAP.what, [Kind::Heap.name()], ("matou", Over::Nothing), Bound::AtMost(TASK)),
        each((4, "micro"), ALLOCATIONS.what, unallocated.map(Kind::name), ("matou", Over::Nothing), Bound::AtMost(MADE)),
        // Each of the timers of `micro` has a task of its own that is made for it.
        each((4, "growth"), growth::of(Kind::TimerAmong, ALLOCATIONS.what), [10_000], ("matou", Over::Nothing), Bound::AtMost(MADE)),
    ]
    .concat()
}

fn across_domains() -> Vec<Goal> {
    let ours = ("matou", Over::Nothing);
    let two = [50, 1000].map(|connections| domains::subject(2, connections));
    [
        // One each way.
        each((5, "micro"), SLEEPS.what, [Kind::CallRested.name()], ours, Bound::AtMost(2.0 + NONE)),
        each((5, "micro"), SLEEPS.what, [Kind::Call.name(), Kind::CallAwake.name()], ours, Bound::AtMost(NONE)),
        each((5, "micro"), TIME.what, [Kind::CallMany.name()], ours, Bound::AtMost(300.0)),
        OURS.map(|ours| each((5, "domains"), echo::CPU.what, two.clone(), (ours, EPOLL), Bound::AtMost(1.05))).concat(),
    ]
    .concat()
}

fn availability() -> Vec<Goal> {
    OURS.map(|ours| {
        [
            each((6, "busy"), busy::ECHO.what, ["p99"], (ours, Over::Best), Bound::AtMost(1.0)),
            each((6, "busy"), busy::ACCEPT.what, ["p99"], (ours, Over::Best), Bound::AtMost(1.0)),
            each((6, "busy"), busy::KEPT.what, ["all"], (ours, Over::Nothing), Bound::AtLeast(95.0)),
        ]
        .concat()
    })
    .concat()
}

fn growth() -> Vec<Goal> {
    let flat = |kind| each((7, "growth"), growth::grown(kind, 100), [1000, 10_000], ("matou", Over::Nothing), Bound::AtMost(1.5));
    let walk = |kind| each((7, "growth"), growth::of(kind, TIME.what), [1_000_000], ("matou", Over::Named("walk")), Bound::AtMost(1.5));
    [
        growth::KINDS.map(flat).concat(),
        growth::KINDS.map(walk).concat(),
        each((7, "growth"), growth::HEAP_OF_ONE, [100, 10_000, 1_000_000], ("matou", Over::Nothing), Bound::AtMost(TASK)),
        OURS.map(|ours| each((7, "connections"), connections::grown(10), [10_000], (ours, Over::Nothing), Bound::AtMost(1.2))).concat(),
    ]
    .concat()
}
