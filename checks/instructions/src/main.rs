//! Counts the instructions of each operation, compares them with those written down, and sees that they do not grow with what is beside.
//!
//!     instructions [--full] [--bless] [--out FILE]
//!
//! `counts.tsv` beside `Cargo.toml` has the expected ones.

mod callgrind;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use callgrind::{Count, beside_me, count};
use matou_instructions::Kind;
use matou_instructions::operations::{MORE_TIMERS, OPERATIONS, TIMERS};
use matou_instructions::table;

/// How far a count may be from the one written down.
const TOLERANCE: f64 = 0.01;
/// How much more an operation may cost with very many beside it than with a hundred.
const GROWTH: f64 = 1.1;
/// How many are beside the operations; the last only with `--full`.
const SIZES: [usize; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];

fn main() -> ExitCode {
    match check() {
        Ok(complaints) if complaints.is_empty() => ExitCode::SUCCESS,
        Ok(complaints) => {
            complaints.iter().for_each(|complaint| eprintln!("instructions: {complaint}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::from(2)
        }
    }
}

/// What is said of the options.
struct Options {
    full: bool,
    bless: bool,
    out: Option<PathBuf>,
}

fn options() -> Result<Options, String> {
    let mut options = Options { full: false, bless: false, out: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--full" => options.full = true,
            "--bless" => options.bless = true,
            "--out" => options.out = Some(words.next().ok_or("--out names no file")?.into()),
            _ => return Err(format!("{word}: it knows --full, --bless and --out FILE")),
        }
    }
    Ok(options)
}

fn check() -> Result<Vec<String>, String> {
    let options = options()?;
    let folder = std::env::temp_dir().join(format!("matou-instructions-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let checked = check_in(&folder, &options);
    let _ = fs::remove_dir_all(&folder);
    checked
}

fn check_in(folder: &Path, options: &Options) -> Result<Vec<String>, String> {
    let mut complaints = Vec::new();
    let alone = count(folder, &[], &OPERATIONS)?;
    let mut timers = count(folder, &["timers"], &TIMERS)?;
    let measured: Vec<(String, f64)> =
        alone.iter().chain(&timers).map(|count| (count.name.to_owned(), count.instructions)).chain(memory()?).collect();
    exact(&measured, options.bless, &mut complaints)?;

    let sizes = if options.full { &SIZES[..] } else { &SIZES[..SIZES.len() - 1] };
    if options.full {
        timers.extend(count(folder, &["more-timers"], &[MORE_TIMERS])?);
    }
    let mut kept: Vec<Vec<String>> =
        measured.iter().map(|(name, number)| vec![name.clone(), String::new(), String::new(), format!("{number:.1}")]).collect();
    for kind in Kind::ALL {
        let counts =
            sizes.iter().map(|size| count(folder, &[kind.name(), &size.to_string()], &OPERATIONS)).collect::<Result<Vec<_>, _>>()?;
        flat(kind, sizes, &counts, &mut kept, &mut complaints);
    }
    logarithmic(sizes, &timers, &mut complaints);
    if let Some(path) = &options.out {
        let head = ["operation", "beside", "how many", "instructions or bytes"].map(str::to_owned).to_vec();
        fs::write(path, table::values([&head].into_iter().chain(&kept))).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(complaints)
}

/// What `memory` finds.
fn memory() -> Result<Vec<(String, f64)>, String> {
    let ran = Command::new(beside_me("memory")?).output().map_err(|error| error.to_string())?;
    let lines = String::from_utf8_lossy(&ran.stdout).into_owned();
    lines
        .lines()
        .map(|line| line.split_once('\t').and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?))))
        .collect::<Option<_>>()
        .ok_or_else(|| format!("memory says {lines}"))
}

/// The compiler that counts are true of, and the library whose functions for memory are counted, too.
fn compiler() -> Result<String, String> {
    let told = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into())).arg("--version").output();
    let told = told.map_err(|error| format!("rustc: {error}"))?;
    let library = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let library = library.map_err(|error| format!("getconf: {error}"))?;
    let [compiler, library] = [told, library].map(|told| String::from_utf8_lossy(&told.stdout).trim().to_owned());
    Ok(format!("{compiler} {} {library}", std::env::consts::ARCH))
}

/// Compares with what is written down, or writes it down.
fn exact(measured: &[(String, f64)], bless: bool, complaints: &mut Vec<String>) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.tsv");
    let compiler = compiler()?;
    let before = match fs::read_to_string(&path) {
        Err(_) if bless => String::new(),
        read => read.map_err(|error| format!("{}: {error}", path.display()))?,
    };
    let known = before.lines().next() == Some(&format!("# {compiler}"));
    let expected: BTreeMap<&str, f64> =
        before.lines().filter_map(|line| line.split_once('\t')).filter_map(|(name, number)| Some((name, number.parse().ok()?))).collect();
    let mut rows = Vec::new();
    for (name, number) in measured {
        let (was, by) = match expected.get(name.as_str()) {
            Some(was) => (format!("{was:.1}"), number / was - 1.0),
            None => ("-".to_owned(), f64::INFINITY),
        };
        let change = if by.is_finite() { format!("{:+.1} %", by * 100.0) } else { "new".to_owned() };
        if known && !bless && by.abs() > TOLERANCE {
            let what = if by < 0.0 { "less than is written down; keep it so with --bless" } else { "more than is written down" };
            complaints.push(format!("{name}: {number:.1}, {was} written down ({change}): {what}"));
        }
        rows.push(vec![name.clone(), format!("{number:.1}"), was, change]);
    }
    for name in expected.keys().filter(|name| known && !bless && !measured.iter().any(|(measured, _)| measured == *name)) {
        complaints.push(format!("{name} is written down and was not measured"));
    }
    table::print(&["operation", "instructions or bytes", "written down", "change"], &rows);
    if bless {
        let lines: String = measured.iter().map(|(name, number)| format!("{name}\t{number:.1}\n")).collect();
        fs::write(&path, format!("# {compiler}\n{lines}")).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("written down in {}\n", path.display());
    } else if !known {
        println!("not compared: counts.tsv is of another compiler or processor than {compiler}\n");
    }
    Ok(())
}

/// Each operation costs the same whatever is beside it.
fn flat(kind: Kind, sizes: &[usize], counts: &[Vec<Count>], kept: &mut Vec<Vec<String>>, complaints: &mut Vec<String>) {
    let mut rows = Vec::new();
    for (index, operation) in OPERATIONS.iter().enumerate() {
        let numbers: Vec<f64> = counts.iter().map(|counts| counts[index].instructions).collect();
        let worst = numbers.iter().copied().fold(0.0, f64::max) / numbers[0];
        if worst > GROWTH {
            complaints.push(format!("{}: {worst:.2} times as much with many {} beside as with {}", operation.name, kind.name(), sizes[0]));
        }
        for (size, number) in sizes.iter().zip(&numbers) {
            kept.push(vec![operation.name.to_owned(), kind.name().to_owned(), size.to_string(), format!("{number:.1}")]);
        }
        let row = numbers.iter().map(|number| format!("{number:.1}")).chain([format!("{worst:.3}")]);
        rows.push([operation.name.to_owned()].into_iter().chain(row).collect());
    }
    let sizes: Vec<String> = sizes.iter().map(|size| format!("{size} {}", kind.name())).collect();
    let head: Vec<&str> = ["instructions beside"].into_iter().chain(sizes.iter().map(String::as_str)).chain(["most / first"]).collect();
    table::print(&head, &rows);
}

/// A timer costs no more than the logarithm of how many there are.
fn logarithmic(sizes: &[usize], timers: &[Count], complaints: &mut Vec<String>) {
    let mut rows = Vec::new();
    for (size, count) in sizes.iter().zip(timers) {
        let grown = count.instructions / timers[0].instructions;
        let allowed = GROWTH * (*size as f64).ln() / (sizes[0] as f64).ln();
        if grown > allowed {
            complaints.push(format!("{}: {grown:.2} times as much a timer as of {}, {allowed:.2} allowed", count.name, sizes[0]));
        }
        rows.push(vec![count.name.to_owned(), format!("{:.1}", count.instructions), format!("{grown:.2}"), format!("{allowed:.2}")]);
    }
    table::print(&["instructions a timer", "", "grown", "allowed"], &rows);
}
