//! What the pages on evidence name is there: the models, seeded faults, fuzz targets, files and functions of `docs/`, of `checks/README.md` and
//! of `loom-tests/README.md`; and each rule of the table in `README.md` has a test.
//!
//! It reads the pages and the sources as text. Outside the repository, in a crate from a registry, there are no such pages, and nothing is asked.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::sources;

/// The repository, if this is one.
fn repository() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.join("docs/verification.md").is_file().then_some(root)
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands in backticks.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The cells below a header, of all tables that have it.
fn column<'a>(text: &'a str, header: &str) -> Vec<&'a str> {
    let (mut cells, mut place, mut in_table) = (Vec::new(), None, false);
    for line in text.lines() {
        let row = line.strip_prefix('|').map(|row| row.split('|').map(str::trim));
        match row {
            Some(mut row) if !in_table => place = row.position(|cell| cell == header),
            Some(mut row) if !line.starts_with("| ---") => cells.extend(place.and_then(|place| row.nth(place))),
            _ => {}
        }
        in_table = line.starts_with('|');
    }
    assert!(!cells.is_empty(), "no table has a column '{header}'");
    cells
}

/// Whether a name is what a pattern with stars says.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| (0..=rest.len()).any(|at| matches(tail, &rest[at..]))),
    }
}

/// Each pattern matches a name, and each name a pattern.
fn answer_each_other(page: &str, patterns: &BTreeSet<&str>, names: &BTreeSet<String>) {
    let dead: Vec<_> = patterns.iter().filter(|pattern| !names.iter().any(|name| matches(pattern, name))).collect();
    assert!(dead.is_empty(), "{page} names what is not there: {dead:?}");
    let missing: Vec<_> = names.iter().filter(|name| !patterns.iter().any(|pattern| matches(pattern, name))).collect();
    assert!(missing.is_empty(), "{page} does not name {missing:?}");
}

/// The functions that follow `#[test]`.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[test]\n").skip(1).filter_map(|test| test.split_once("fn ")?.1.split('(').next())
}

/// The models of `loom-tests`, as `module::name`.
fn models(root: &Path) -> BTreeSet<String> {
    let mut files = Vec::new();
    sources(&root.join("loom-tests/src"), &mut files);
    let of_file = |(path, text): &(PathBuf, String)| {
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        tests_in(text).map(|test| format!("{module}::{test}")).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_file).collect()
}

/// The seeded faults: the rows of the table in `loom-tests/faults.sh`.
fn faults(root: &Path) -> BTreeSet<String> {
    let script = read(root, "loom-tests/faults.sh");
    let table = script.split("<<'TABLE'\n").nth(1).and_then(|rest| rest.split("\nTABLE").next()).expect("a table of faults");
    table.lines().map(|row| row.split(':').next().unwrap().to_string()).collect()
}

#[test]
fn models_and_seeded_faults_are_those_of_loom_tests() {
    let Some(root) = repository() else { return };
    let (models, faults) = (models(&root), faults(&root));
    for (page, model, fault) in
        [("docs/verification.md", "models", "seeded faults"), ("loom-tests/README.md", "model", "seeded faults that it catches")]
    {
        let text = read(&root, page);
        answer_each_other(page, &column(&text, model).into_iter().flat_map(names).collect(), &models);
        answer_each_other(page, &column(&text, fault).into_iter().flat_map(names).collect(), &faults);
    }
}

#[test]
fn fuzz_targets_are_those_of_fuzz() {
    let Some(root) = repository() else { return };
    let mut files = Vec::new();
    sources(&root.join("fuzz/fuzz_targets"), &mut files);
    let targets = files.iter().map(|(path, _)| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let text = read(&root, "docs/verification.md");
    let cells = [column(&text, "fuzz targets"), column(&text, "fuzz target, beside what")].concat();
    answer_each_other("docs/verification.md", &cells.into_iter().flat_map(names).filter(|name| *name != "std").collect(), &targets);
}

/// The paths that a page names: the targets of its links, and what is in backticks with a slash in it, up to the first blank.
fn paths_in(text: &str) -> impl Iterator<Item = &str> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()).filter(|path| !path.contains("://"));
    let is_prose = |line: &&str| !line.starts_with("    ");
    let quoted = text.lines().filter(is_prose).flat_map(names).filter_map(|name| name.split(' ').next());
    links
        .chain(quoted.filter(|path| path.contains('/') && !path.starts_with('/') && !path.contains(['*', '<', '…', '='])))
        .map(|path| path.trim_start_matches("./"))
}

#[test]
fn files_are_there() {
    let Some(root) = repository() else { return };
    for page in ["docs/verification.md", "docs/coverage.md", "checks/README.md", "loom-tests/README.md"] {
        let text = read(&root, page);
        let folders = [root.join(page).parent().unwrap().to_path_buf(), root.clone(), root.join("core"), root.join("core/src")];
        let gone: Vec<&str> = paths_in(&text)
            .filter(|path| !folders.iter().any(|folder| folder.join(path).exists() || folder.join(format!("{path}.rs")).exists()))
            .collect();
        assert!(gone.is_empty(), "{page} names files that are not there: {gone:?}");
    }
    let text = read(&root, "checks/README.md");
    for script in fs::read_dir(root.join("checks")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        let is_run = script.ends_with(".sh") && script != "common.sh";
        assert!(!is_run || text.contains(&format!("| `checks/{script}")), "checks/README.md has no row for {script}");
    }
}

#[test]
fn what_coverage_explains_is_there() {
    let Some(root) = repository() else { return };
    let text = read(&root, "docs/coverage.md");
    let rows: Vec<_> = column(&text, "file").into_iter().zip(column(&text, "function")).collect();
    assert!(rows.len() > 50, "the scan finds no table");
    let is_there = |(file, function): &(&str, &str)| {
        let (file, function) = (names(file).next().unwrap(), names(function).next().unwrap());
        let path = root.join(file);
        path.exists() && fs::read_to_string(path).unwrap().split(&format!("fn {function}")).skip(1).any(|rest| rest.starts_with(['(', '<']))
    };
    let gone: Vec<_> = rows.iter().filter(|row| !is_there(row)).collect();
    assert!(gone.is_empty(), "docs/coverage.md explains functions that are not there: {gone:?}");
    let twice: Vec<_> = rows.iter().enumerate().filter(|(number, row)| rows[..*number].contains(row)).collect();
    assert!(twice.is_empty(), "docs/coverage.md explains functions twice: {twice:?}");
}

/// The numbers of the rules in a cell: `R1, R9–R11` are 1, 9, 10 and 11.
fn rules_in(cell: &str) -> impl Iterator<Item = u32> {
    cell.split(", ").flat_map(|part| {
        let mut ends = part.split('–').map(|rule| rule.trim_start_matches('R').parse::<u32>().unwrap());
        let first = ends.next().unwrap();
        first..=ends.next().unwrap_or(first)
    })
}

/// The rules that tests are named for: 9 for `fn r09_…`.
fn rules_tested(text: &str) -> impl Iterator<Item = u32> {
    text.split("fn r").skip(1).filter_map(|rest| rest.split_once('_')?.0.parse().ok())
}

#[test]
fn each_rule_has_a_test() {
    let Some(root) = repository() else { return };
    let text = read(&root, "README.md");
    let rules: BTreeSet<u32> = column(&text, "rules").into_iter().flat_map(rules_in).collect();
    assert!(rules.len() >= 47 && rules.iter().copied().eq(1..=rules.len() as u32), "README.md leaves out rules: {rules:?}");
    let mut files = Vec::new();
    for folder in ["core/src", "core/tests", "platform-unix/src", "platform-unix/tests", "echo/tests"] {
        sources(&root.join(folder), &mut files);
    }
    let tested: BTreeSet<u32> = files.iter().flat_map(|(_, text)| rules_tested(text)).collect();
    let without: Vec<_> = rules.difference(&tested).collect();
    assert!(without.is_empty(), "no test names these rules: {without:?}");
    let unknown: Vec<_> = tested.difference(&rules).collect();
    assert!(unknown.is_empty(), "tests name rules that there are not: {unknown:?}");
}
