//! What a program does: bytes read as the lives of some streams.

use crate::input::Input;

const MOST_STREAMS: usize = 4;
const MOST_STEPS: usize = 64;
/// What reads have room for, in bytes.
pub(super) const ROOMS: [usize; 8] = [4096, 16_384, 1000, 100, 24, 3, 1, 0];
/// What is sent at once.
const LENGTHS: [usize; 8] = [4, 60, 1, 900, 4096, 5000, 16_384, 40_000];

/// The lives of some streams, in one run or in several.
#[derive(Debug)]
pub struct Program {
    /// Beside which reactor io_uring is tried: the place of one among the others.
    pub(super) beside: usize,
    pub(super) workers: usize,
    pub(super) quanta: u32,
    /// The size of the buffers that are lent.
    pub(super) lent: usize,
    pub(super) lives: Vec<(Kind, Vec<Step>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Tcp,
    Unix,
}

/// How a read is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Read(usize),
    /// Into two buffers.
    Vectored(usize),
    Look(usize),
    Receive,
}

/// What the last of some reads in a row is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// As much as the others.
    Same,
    More,
    /// As much, and the end behind it.
    End,
    Reset,
}

/// How others come to their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    None,
    Yields(usize),
    /// So short a sleep, in microseconds, that the reactor is asked and waits.
    Sleep(u64),
}

/// What the stream of a life does, or its far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The far end.
    Send(usize),
    End,
    Close,
    Reset,
    Drain,
    /// A read begins, and is kept while it waits.
    Begin(Way, Pause),
    /// One that is kept is polled again, dropped, forgotten, awaited if there is something for it.
    Again(usize),
    Drop(usize),
    Forget(usize),
    Await(usize),
    /// Reads in a row, each sent so much while it waits, and the last one something else.
    Rounds {
        count: usize,
        way: Way,
        length: usize,
        pause: Pause,
        last: Last,
    },
    Exactly(usize),
    Write(usize),
    WriteAll(usize),
    /// Writes until there is no room, and goes on once there is.
    Fill,
    Shutdown(std::net::Shutdown),
    Unread,
    TakeError,
    /// From now on something is in its error queue after each write.
    Stamp,
    Pause(Pause),
    /// What ends a [stay](super::life::Life::stay), with the reads that are kept dropped, or forgotten.
    Leave(Leave, bool),
}

/// What is done with the stream as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It becomes the standard library's, is read there once with so much room, and comes back.
    Convert(usize),
    /// It is read and written behind the traits of `futures-io` so often, and comes back.
    Wrap(usize),
    Move(usize),
    /// It outlives its run.
    Outlive,
    Close,
    /// There are no more steps.
    Over,
}

impl Program {
    /// Every row of bytes is a program.
    pub fn decode(bytes: &[u8]) -> Program {
        let input = &mut Input::new(bytes);
        let workers = [0, 0, 1, 2][input.below(4)];
        let quanta = [64, 8, 2, 1][input.below(4)];
        let lent = [16_384, 4096, 100, 1][input.below(4)];
        let beside = usize::from(input.one_of(4));
        let streams = 1 + input.below(MOST_STREAMS);
        let mut lives: Vec<_> = (0..streams).map(|_| (if input.one_of(3) { Kind::Unix } else { Kind::Tcp }, Vec::new())).collect();
        let closes: Vec<_> = (0..streams).map(|_| input.below(6)).collect();
        for _ in 0..MOST_STEPS {
            if input.is_over() {
                break;
            }
            let life = input.below(streams);
            lives[life].1.push(step(input, workers));
        }
        for (life, closed) in lives.iter_mut().zip(closes) {
            if closed > 3 {
                life.1.push(Step::Leave(Leave::Close, closed > 4));
            }
        }
        Program { beside, workers, quanta, lent, lives }
    }
}

fn step(input: &mut Input<'_>, workers: usize) -> Step {
    match input.below(40) {
        0..=5 => Step::Begin(way(input), pause(input)),
        6..=10 => Step::Send(LENGTHS[input.below(LENGTHS.len())]),
        11..=14 => Step::Rounds {
            count: 2 + input.below(7),
            way: way(input),
            length: LENGTHS[input.below(4)],
            pause: pause(input),
            last: last(input),
        },
        15 | 16 => Step::Again(input.below(4)),
        17 | 18 => Step::Drop(input.below(4)),
        19 => Step::Forget(input.below(4)),
        20..=22 => Step::Await(input.below(4)),
        23 => Step::Exactly(1 + input.below(64)),
        24 => Step::Write(LENGTHS[input.below(LENGTHS.len())]),
        25 => Step::WriteAll(LENGTHS[input.below(LENGTHS.len())]),
        26 => Step::Drain,
        27 => Step::Unread,
        28 => match input.below(8) {
            0 => Step::Fill,
            1 => Step::Shutdown(std::net::Shutdown::Write),
            2 => Step::Shutdown(std::net::Shutdown::Read),
            3 => Step::TakeError,
            4 | 5 => Step::Stamp,
            _ => Step::Unread,
        },
        29 => match input.below(8) {
            0..=2 => Step::End,
            3 | 4 => Step::Close,
            5 | 6 => Step::Reset,
            _ => Step::Leave(Leave::Close, input.one_of(2)),
        },
        30..=32 => Step::Leave(Leave::Convert(ROOMS[input.below(ROOMS.len())]), input.one_of(4)),
        33..=35 => Step::Leave(Leave::Move(input.below(workers + 1)), input.one_of(3)),
        36 => Step::Leave(if input.one_of(3) { Leave::Outlive } else { Leave::Move(0) }, input.one_of(3)),
        37 => Step::Leave(Leave::Wrap(1 + input.below(6)), false),
        _ => Step::Pause(pause(input)),
    }
}

fn way(input: &mut Input<'_>) -> Way {
    let room = ROOMS[input.below(ROOMS.len())];
    match input.below(8) {
        0..=4 => Way::Read(room),
        5 => Way::Receive,
        6 => Way::Vectored(room),
        _ => Way::Look(room),
    }
}

fn last(input: &mut Input<'_>) -> Last {
    match input.below(16) {
        0 | 1 => Last::More,
        2 => Last::End,
        3 => Last::Reset,
        _ => Last::Same,
    }
}

fn pause(input: &mut Input<'_>) -> Pause {
    match input.below(6) {
        0 => Pause::None,
        1 => Pause::Yields(1),
        2 => Pause::Yields(3),
        3 => Pause::Yields(100),
        4 => Pause::Sleep(1),
        _ => Pause::Sleep(40),
    }
}
