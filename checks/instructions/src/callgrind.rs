//! Counting under valgrind's callgrind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use matou_instructions::operations::Operation;

/// What one operation costs, in instructions.
pub(crate) struct Count {
    pub(crate) name: &'static str,
    pub(crate) instructions: f64,
}

/// Runs `operations` with these words, and counts each of the operations that it does then.
pub(crate) fn count(folder: &Path, words: &[&str], operations: &[Operation]) -> Result<Vec<Count>, String> {
    let out = folder.join(format!("{}.out", words.join("-")));
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-before=matou_instructions_mark", "--dump-line=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(beside_me("operations")?)
        .args(words)
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !ran.status.success() {
        return Err(format!("operations {}: {}\n{}", words.join(" "), ran.status, String::from_utf8_lossy(&ran.stderr)));
    }
    operations
        .iter()
        .enumerate()
        .map(|(index, operation)| {
            let (once, twice) = (total(&out, 3 * index + 2)?, total(&out, 3 * index + 3)?);
            Ok(Count { name: operation.name, instructions: (twice as f64 - once as f64) / operation.times as f64 })
        })
        .collect()
}

/// What was counted up to a mark, since the one before it.
fn total(out: &Path, mark: usize) -> Result<u64, String> {
    let path = PathBuf::from(format!("{}.{mark}", out.display()));
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("totals: ").or_else(|| line.strip_prefix("summary: ")));
    line.and_then(|number| number.trim().parse().ok()).ok_or_else(|| format!("{} tells no total", path.display()))
}

/// Another program of this package.
pub(crate) fn beside_me(name: &str) -> Result<PathBuf, String> {
    std::env::current_exe().map(|me| me.with_file_name(name)).map_err(|error| error.to_string())
}
