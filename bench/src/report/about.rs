//! Where and when figures were taken, of which versions, and by which command.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::kernel;

/// Of these crates the versions are said: those that `Cargo.lock` has pinned.
const CRATES: [&str; 9] = ["tokio", "smol", "monoio", "glommio", "compio", "may", "embassy-executor", "io-uring", "matou-unix"];

/// A few lines.
pub(super) fn lines() -> Vec<String> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?").to_owned();
    // The program by its name: its folder says nothing to a reader.
    let program = env::args().next().and_then(|path| Some(Path::new(&path).file_name()?.to_string_lossy().into_owned()));
    let command: Vec<String> = program.into_iter().chain(env::args().skip(1)).collect();
    vec![
        format!("{}, {}", date(seconds), kernel::machine()),
        format!("{}; {}; commit {}", said("rustc", &["--version"]), versions(), said("git", &["rev-parse", "--short", "HEAD"])),
        format!("load of the machine at the start: {load}"),
        format!("`{}`", command.join(" ")),
    ]
}

/// The first line that a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().next().map_or_else(|| format!("{program} unknown"), str::to_owned)
}

fn versions() -> String {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap_or_default();
    let known: Vec<String> = CRATES.iter().filter_map(|name| Some(format!("{name} {}", version(&lock, name)?))).collect();
    known.join(", ")
}

/// The last of several versions: the one that is asked for by name.
fn version<'l>(lock: &'l str, name: &str) -> Option<&'l str> {
    let mut found = None;
    for package in lock.split("[[package]]") {
        let field = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'));
        if field("name") == Some(name) {
            found = field("version");
        }
    }
    found
}

/// `2026-11-22 21:45 UTC`: days to a date of the Gregorian calendar, by Howard Hinnant's arithmetic.
fn date(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3600 % 24, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_795_383_900), "2026-11-22 21:45 UTC");
    }

    #[test]
    fn versions_are_those_of_the_lock() {
        let lock = "[[package]]\nname = \"io-uring\"\nversion = \"0.6.4\"\n[[package]]\nname = \"io-uring\"\nversion = \"0.7.15\"\n";
        assert_eq!(version(lock, "io-uring"), Some("0.7.15"));
        assert_eq!(version(lock, "tokio"), None);
        assert!(versions().contains("tokio 1."));
    }
}
