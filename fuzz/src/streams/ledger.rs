//! The model: what one end of a connection has sent, and what the other was given, both ways.
//!
//! The bytes of each direction are those of one long tape, from a place on that is the stream's own. So what is lost, comes twice, or is
//! another stream's, does not match.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::LazyLock;

use super::Checked;
use crate::chance;

/// A prime, and more than any one call moves.
const TAPE: usize = 130_003;
const BEHIND: usize = 1 << 16;

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut bytes = chance(42, TAPE);
    bytes.extend_from_within(..BEHIND);
    bytes
});

/// Which bytes a direction has, and how far it is.
#[derive(Debug)]
pub(super) struct Tape {
    start: usize,
    pub(super) sent: usize,
    pub(super) given: usize,
}

impl Tape {
    fn new(start: usize) -> Tape {
        Tape { start, sent: 0, given: 0 }
    }

    fn at(&self, place: usize, length: usize) -> &'static [u8] {
        let start = (self.start + place) % TAPE;
        &BYTES[start..start + length]
    }

    /// The next ones to be sent.
    pub(super) fn next(&self, length: usize) -> &'static [u8] {
        self.at(self.sent, length)
    }

    /// These are the next ones that were given.
    pub(super) fn fits(&self, bytes: &[u8]) -> Checked {
        if self.given + bytes.len() > self.sent {
            return Err(format!("{} bytes behind {}, and only {} were sent", bytes.len(), self.given, self.sent));
        }
        let due = self.at(self.given, bytes.len());
        match bytes.iter().zip(due).position(|(byte, due)| byte != due) {
            None => Ok(()),
            Some(place) => {
                Err(format!("other bytes than were sent, from {} on, in {} behind {}", self.given + place, bytes.len(), self.given))
            }
        }
    }

    pub(super) fn give(&mut self, bytes: &[u8]) -> Checked {
        self.fits(bytes)?;
        self.given += bytes.len();
        Ok(())
    }
}

/// What has become of one connection.
#[derive(Debug)]
pub(super) struct Ledger {
    /// From the far end to the stream, and from the stream to the far end.
    pub(super) come: Tape,
    pub(super) gone: Tape,
    /// The far end sends no more.
    pub(super) ended: bool,
    /// It is gone.
    pub(super) closed: bool,
    /// It may be that the connection was reset: what came before it may be lost.
    pub(super) cut: bool,
    /// That was told.
    told: bool,
    /// It has to be told before there is an end.
    pub(super) owes_error: bool,
    pub(super) read_shut: bool,
    pub(super) write_shut: bool,
    /// A read of it was dropped or forgotten while it waited, so that something may be carried.
    pub(super) deserted: bool,
    /// Whether its reactor may put something aside.
    pub(super) puts_aside: bool,
    /// What its life has shown.
    pub(super) shown: BTreeSet<&'static str>,
}

impl Ledger {
    pub(super) fn new(number: usize, puts_aside: bool) -> Ledger {
        Ledger {
            come: Tape::new(1009 * number),
            gone: Tape::new(1009 * number + 50_021),
            ended: false,
            closed: false,
            cut: false,
            told: false,
            owes_error: false,
            read_shut: false,
            write_shut: false,
            deserted: false,
            puts_aside,
            shown: BTreeSet::new(),
        }
    }

    /// Whether a read has something to end with.
    pub(super) fn is_due(&self) -> bool {
        self.come.given < self.come.sent || self.ended || self.cut || self.read_shut
    }

    /// A read gave this; one that looks leaves it there.
    pub(super) fn read(&mut self, result: io::Result<Vec<u8>>, room: usize, looks: bool) -> Checked {
        let bytes = match result {
            Ok(bytes) => bytes,
            Err(error) => return self.failed(&error),
        };
        if bytes.len() > room {
            return Err(format!("{} bytes, with room for {room}", bytes.len()));
        }
        if bytes.is_empty() && room > 0 {
            if self.owes_error {
                return Err(String::from("an end, and the reset was not told"));
            }
            let all = self.come.given == self.come.sent;
            let may_end = self.cut || self.read_shut || self.ended && all;
            self.shown.insert(if self.cut { "an end after a cut" } else { "an end" });
            return if may_end { Ok(()) } else { Err(format!("an end, behind {} of {}", self.come.given, self.come.sent)) };
        }
        if looks { self.come.fits(&bytes) } else { self.come.give(&bytes) }
    }

    /// A read failed with this error, or it was the one that the socket had.
    pub(super) fn failed(&mut self, error: &io::Error) -> Checked {
        let is_cut = self.cut && matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
        self.shown.insert("a reset");
        self.owes_error = false;
        if !is_cut || std::mem::replace(&mut self.told, true) { Err(format!("a read fails: {error}")) } else { Ok(()) }
    }

    /// Bytes that came for another read than the next one.
    pub(super) fn unread(&mut self, bytes: &[u8], one_waits: bool) -> Checked {
        if bytes.is_empty() {
            return Ok(());
        }
        self.shown.insert("unread");
        if !self.puts_aside || !(self.deserted || one_waits) {
            return Err(format!("{} bytes are unread, for no read", bytes.len()));
        }
        self.come.give(bytes)
    }

    /// A write gave this. Says whether it was an error.
    pub(super) fn wrote(&mut self, result: &io::Result<usize>, possible: usize) -> Checked<bool> {
        let may_fail = self.write_shut || self.closed || self.cut;
        self.cut |= self.closed; // What comes to a socket that is gone is answered by a reset.
        self.owes_error &= result.is_ok();
        match result {
            Ok(moved) if *moved > possible || (*moved == 0 && possible > 0) => Err(format!("a write of {possible} moves {moved}")),
            Ok(moved) => {
                self.gone.sent += moved;
                Ok(false)
            }
            Err(error) if may_fail && matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(true),
            Err(error) => Err(format!("a write fails: {error}")),
        }
    }

    /// A call on the far end, which may fail only where the connection is no more.
    pub(super) fn far(&self, result: io::Result<()>, what: &str) -> Checked {
        if self.cut { Ok(()) } else { result.map_err(|error| format!("{what}: {error}")) }
    }
}
