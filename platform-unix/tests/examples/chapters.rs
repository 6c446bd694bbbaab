//! The chapters show the examples' code and output as they are.
//!
//! - What a block of Rust code shows stands in an example, line for line: each run of lines that no hidden line (`# …`) interrupts. Hidden
//!   lines make a block compile; that it does is seen by its doctest. A `compile_fail` block is of another program.
//! - What a `console` block shows is what its commands print. In a `console figures` block, words that contain a digit may differ: they are
//!   times and counts. A server, told by its address `127.0.0.1:9000`, gets a port of its own, and is ended by Ctrl-C.

use std::fs;
use std::path::Path;

use crate::program::{Program, package, sources, workspace};

/// A fenced block of a chapter.
struct Block {
    /// Chapter and line.
    place: String,
    /// What follows the opening fence.
    kind: String,
    lines: Vec<String>,
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for chapter in files(&package().join("src/tutorial")).filter(|path| path.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(&chapter).unwrap();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let Some(kind) = line.strip_prefix("```") else { continue };
            let place = format!("{}:{}", chapter.display(), number + 1);
            let lines = lines.by_ref().map(|(_, line)| String::from(line)).take_while(|line| line != "```").collect();
            blocks.push(Block { place, kind: kind.into(), lines });
        }
    }
    blocks
}

fn files(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

/// The lines without the indentation that all of them have.
fn dedented(lines: &[String]) -> Vec<&str> {
    let indentation = |line: &&String| line.len() - line.trim_start().len();
    let least = lines.iter().filter(|line| !line.trim().is_empty()).map(|line| indentation(&line)).min().unwrap_or(0);
    lines.iter().map(|line| line.get(least..).unwrap_or_default()).collect()
}

#[test]
fn chapters_show_the_code_of_the_examples() {
    let mut examples: Vec<Vec<String>> = Vec::new();
    for entry in files(&package().join("examples")) {
        let name = entry.file_stem().unwrap().to_str().unwrap();
        examples.extend(sources(name).iter().map(|file| fs::read_to_string(file).unwrap().lines().map(String::from).collect()));
    }
    let mut shown = 0;
    for block in blocks().iter().filter(|block| block.kind.starts_with("rust") && !block.kind.contains("compile_fail")) {
        for run in block.lines.split(|line| line == "#" || line.starts_with("# ")) {
            let run = trimmed(run);
            if run.is_empty() {
                continue;
            }
            let there = examples.iter().any(|file| file.windows(run.len()).any(|window| dedented(window) == dedented(run)));
            assert!(there, "{}: no example has these lines:\n{}", block.place, run.join("\n"));
            shown += run.len();
        }
    }
    assert!(shown > 200, "the chapters show {shown} lines of code");
}

/// The lines without the empty ones at both ends.
fn trimmed(lines: &[String]) -> &[String] {
    let full = |line: &String| !line.trim().is_empty();
    let start = lines.iter().position(full).unwrap_or(lines.len());
    let end = lines.iter().rposition(full).map_or(start, |last| last + 1);
    &lines[start..end]
}

/// The line, with words that contain a digit made equal, if figures may differ.
fn folded(line: &str, figures: bool) -> String {
    let word = |word| if figures && str::contains(word, |letter: char| letter.is_ascii_digit()) { "#" } else { word };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn chapters_show_what_the_examples_print() {
    let mut commands = 0;
    for block in blocks().iter().filter(|block| block.kind.starts_with("console")) {
        let mut lines = block.lines.iter().peekable();
        while let Some(line) = lines.next() {
            let Some(command) = line.strip_prefix("$ ") else { panic!("{}: begins with no command: {line}", block.place) };
            let printed = std::iter::from_fn(|| lines.next_if(|line| !line.starts_with("$ ")));
            check(block, command, &printed.map(String::as_str).collect::<Vec<_>>());
            commands += 1;
        }
    }
    assert!(commands > 10, "the chapters show {commands} commands");
}

fn check(block: &Block, command: &str, printed: &[&str]) {
    const CARGO: &str = "cargo run -q -p matou-unix --example ";
    let unknown = || -> ! { panic!("{}: not a command that is understood: {command}", block.place) };
    let Some((settings, call)) = command.split_once(CARGO) else { unknown() };
    let environment: Vec<_> = settings.split_whitespace().map(|setting| setting.split_once('=').unwrap_or_else(|| unknown())).collect();
    let Some((example, args)) = call.split_once(" -- ") else { unknown() };
    let is_server = args.contains("127.0.0.1:9000");
    let program = Program::start_with(example, args.replace(":9000", ":0").split_whitespace(), &environment);
    let figures = is_server || block.kind == "console figures";
    let same = |line: String, expected: &str| {
        assert_eq!(folded(&line, figures), folded(expected, figures), "{}: {command}\nprinted: {line}", block.place);
    };
    if is_server {
        printed.iter().for_each(|expected| same(program.line(), expected));
        program.interrupt();
        assert_eq!(program.end().success(), [""; 0], "{}: {command}", block.place);
        return;
    }
    let lines = program.end().lines;
    let as_shown = lines.len() == printed.len();
    assert!(as_shown, "{}: {command}\nprinted, in {}:\n{}", block.place, workspace().display(), lines.join("\n"));
    lines.into_iter().zip(printed).for_each(|(line, expected)| same(line, expected));
}
