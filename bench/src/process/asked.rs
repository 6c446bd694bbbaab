//! A child that answers questions: a line on its standard input, a line on its standard output.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};

use super::{Child, launcher};
use crate::Failure;

/// Ends when its input does, at the latest when this value is dropped.
#[derive(Debug)]
pub struct Asked {
    // Closed first: the field order lets a child that is not hung end by itself.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    child: Child,
}

impl Asked {
    /// Starts it on these cores: the program, then its arguments.
    pub fn start(cpus: &[usize], command: impl IntoIterator<Item = OsString>) -> Result<Self, Failure> {
        let mut parts = command.into_iter();
        let program = parts.next().ok_or("an empty command")?;
        Self::of(Child(launcher(cpus, program)?.args(parts).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    /// Takes over a child that was started with both of them piped.
    pub(super) fn of(mut child: Child) -> Result<Self, Failure> {
        let input = child.0.stdin.take().ok_or("no stdin")?;
        let output = BufReader::new(child.0.stdout.take().ok_or("no stdout")?);
        Ok(Self { input, output, child })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// Asks without waiting for the answer.
    pub fn tell(&mut self, question: &str) -> Result<(), Failure> {
        // It has said on stderr why it ended, if it did.
        writeln!(self.input, "{question}").map_err(|_| "a child is gone")?;
        Ok(())
    }

    /// Waits for the answer to the oldest question.
    pub fn answer(&mut self) -> Result<String, Failure> {
        let mut answer = String::new();
        if self.output.read_line(&mut answer)? == 0 {
            return Err("a child ended".into());
        }
        Ok(answer)
    }

    /// Both.
    pub fn ask(&mut self, question: &str) -> Result<String, Failure> {
        self.tell(question)?;
        self.answer()
    }
}
