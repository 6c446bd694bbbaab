//! Standard error: everything the servers say, a line at a time.
//!
//! Saying something never ends the server and never stops it. A reader that has gone (`EPIPE`) is ignored; one that
//! does not read fills its pipe or stops its terminal, and a write would then block the whole of domain 0: so the
//! descriptor is asked first, and a line it has no room for is lost. A line is far smaller than the smallest room a
//! pipe reports (`PIPE_BUF`), so what is asked for one line holds for that line. What is longer waits for its reader line by line, in a task.
//!
//! On a terminal the statistics are one live line, written over the last; whatever else is said first wipes it.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use matou_unix::time;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long the last words of a run may wait for a reader.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often a reader that is slow is looked for: ever more seldom, from the first to the last of these.
const PAUSES: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(500)];

/// Back to the first column, and away with what is there.
const WIPE: &str = "\r\x1b[K";

/// Where lines are said. One for the process, used on domain 0 only.
#[derive(Debug)]
pub(crate) struct Console {
    quiet: bool,
    terminal: bool,
    /// Whether the cursor stands at the end of a live line.
    live: Cell<bool>,
}

impl Console {
    /// A quiet one says only what it must.
    pub(crate) fn new(quiet: bool) -> Console {
        Console { quiet, terminal: io::stderr().is_terminal(), live: Cell::new(false) }
    }

    /// A line that is said even by a quiet console: what is listened on.
    pub(crate) fn must_say(&self, line: impl fmt::Display) {
        self.write(format_args!("{line}\n"), Duration::ZERO);
    }

    /// Lines that belong together, said even by a quiet console: none is lost to a slow reader.
    ///
    /// # Cancellation
    /// Dropped early it has said some of them.
    pub(crate) async fn must_say_all(&self, lines: &str) {
        for line in lines.lines() {
            let mut pause = PAUSES[0];
            while !has_room(&io::stderr(), Duration::ZERO) {
                time::sleep(pause).await;
                pause = (2 * pause).min(PAUSES[1]);
            }
            self.must_say(line);
        }
    }

    /// A line.
    pub(crate) fn say(&self, line: impl fmt::Display) {
        if !self.quiet {
            self.must_say(line);
        }
    }

    /// The line that replaces the last one of its kind on a terminal, and follows it elsewhere.
    pub(crate) fn say_live(&self, line: impl fmt::Display) {
        match (self.quiet, self.terminal) {
            (true, _) => {}
            (false, false) => self.must_say(line),
            (false, true) => {
                self.write(format_args!("{line}"), Duration::ZERO);
                // Where there was no room for it, another one is there, or none, which is as good to wipe.
                self.live.set(true);
            }
        }
    }

    /// The last line of a run that went well. Nothing is left to be held up, so that it waits a little for a reader.
    pub(crate) fn say_last(&self, line: impl fmt::Display) {
        if !self.quiet {
            self.write(format_args!("{line}\n"), PATIENCE);
        }
    }

    /// The one line of a run that failed.
    pub(crate) fn fail(&self, problem: impl fmt::Display) {
        self.write(format_args!("echo: {problem}\n"), PATIENCE);
    }

    fn write(&self, text: fmt::Arguments<'_>, patience: Duration) {
        let stderr = io::stderr();
        if has_room(&stderr, patience) {
            let wipe = if self.live.take() { WIPE } else { "" };
            // One call of `write`, so that lines of several processes on one terminal do not mix.
            // A failure has nobody left to be told to.
            let _ = stderr.lock().write_all(format!("{wipe}{text}").as_bytes());
        }
    }
}

/// A line that any domain may have to say, about something that an operator has to do something about.
pub(crate) fn warn(line: &str) {
    let console = Console::new(true);
    // Whether there is a live line, domain 0 knows alone.
    console.live.set(console.terminal);
    console.must_say(format_args!("echo: {line}"));
}

fn has_room(stderr: &io::Stderr, patience: Duration) -> bool {
    let timeout = Timespec::try_from(patience).unwrap_or_default();
    let mut descriptors = [PollFd::new(stderr, PollFlags::OUT)];
    // A hang-up counts as room: the write fails at once, which is ignored.
    poll(&mut descriptors, Some(&timeout)).is_ok_and(|ready| ready > 0)
}
