//! What the public documentation has to say, checked over the sources of the core and, where they are beside it, of the Unix platform:
//!
//! - whatever gives a future (an `async fn`, a function that returns one) has a section `# Cancellation`; a public type that is a future has
//!   one too, or names the function whose future it is;
//! - the chapters for those who come from Miou answer every public item of Miou, as `miou/*.txt` list them.
//!   The lists were made from the interfaces `miou.mli`, `miou_unix.mli` and those they include, and from the changes up to Miou 0.10.
//!
//! The pages on what shows that it holds are looked at in `evidence.rs`.
//!
//! The scan reads the sources as `rustfmt` leaves them, line by line: it needs no compiler and sees what macros make, too.

mod evidence;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The sources of the crates: this one's, and its neighbour's in the repository.
fn crates() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    [root.join("src"), root.join("../platform-unix/src")].into_iter().filter(|path| path.is_dir()).collect()
}

fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && path.file_name().is_some_and(|name| name != "tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// The types that are futures: the `X` of each `impl Future for X`.
fn futures_in(text: &str) -> impl Iterator<Item = &str> {
    let names = text.lines().filter_map(|line| {
        let (head, of) = line.trim_start().split_once(" Future for ")?;
        head.starts_with("impl").then(|| &of[..of.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(of.len())])
    });
    names.filter(|name| !name.is_empty())
}

/// The other names of futures: the `X` of each `pub type X = Future<..>`.
fn aliases_in<'a>(text: &'a str, futures: &BTreeSet<&str>) -> Vec<&'a str> {
    let definitions = text.lines().filter_map(|line| line.strip_prefix("pub type ")?.split_once('='));
    definitions
        .filter(|(_, of)| mentions(of.split('<').next().unwrap_or(of), futures))
        .filter_map(|(name, _)| name.split(['<', ' ']).next())
        .collect()
}

/// Whether a type names one of `names` as a word.
fn mentions(text: &str, names: &BTreeSet<&str>) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| names.contains(word))
}

/// The public items that lack `# Cancellation`, as "line: signature".
fn without_cancellation(text: &str, futures: &BTreeSet<&str>) -> Vec<String> {
    let own: BTreeSet<&str> = futures_in(text).collect();
    let mut lacking = Vec::new();
    let (mut docs, mut attributes) = (String::new(), String::new());
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if let Some(doc) = line.strip_prefix("///") {
            docs += doc;
            docs += "\n";
            continue;
        }
        if line.starts_with("#[") {
            attributes += line;
            continue;
        }
        if line.starts_with("pub ") && !attributes.contains("doc(hidden)") {
            let mut item = line.to_string();
            while !item.ends_with('{') && !item.ends_with(';') && !item.ends_with('}') && item.contains(" fn ") {
                let Some((_, more)) = lines.next() else { break };
                item += " ";
                item += more.trim();
            }
            let result = item.split_once("->").map_or("", |(_, result)| result.split(" where ").next().unwrap_or(result));
            let gives = item.contains(" fn ") && (item.contains("async fn") || result.contains("impl Future") || mentions(result, futures));
            let is = (item.starts_with("pub struct ") || item.starts_with("pub enum ")) && {
                let name = item.split(|c: char| !c.is_alphanumeric() && c != '_').nth(2).unwrap_or("");
                own.contains(name) && !docs.contains("The future of [`")
            };
            if (gives || is) && !docs.lines().any(|doc| doc.trim() == "# Cancellation") {
                lacking.push(format!("{}: {item}", number + 1));
            }
        }
        docs.clear();
        attributes.clear();
    }
    lacking
}

#[test]
fn what_gives_a_future_says_what_its_cancellation_leaves_behind() {
    let mut texts = Vec::new();
    crates().iter().for_each(|folder| sources(folder, &mut texts));
    let mut futures: BTreeSet<&str> = texts.iter().flat_map(|(_, text)| futures_in(text)).collect();
    let aliases: Vec<&str> = texts.iter().flat_map(|(_, text)| aliases_in(text, &futures)).collect();
    futures.extend(aliases);
    assert!(futures.contains("PromiseOf") && futures.contains("Sleep"), "the scan finds no futures: {futures:?}");
    let lacking: Vec<String> = texts
        .iter()
        .flat_map(|(path, text)| without_cancellation(text, &futures).into_iter().map(move |item| format!("{}:{item}", path.display())))
        .collect();
    assert!(lacking.is_empty(), "these need a section `# Cancellation`:\n{}", lacking.join("\n"));
}

/// What stands in backticks in the first cells of a text's tables.
fn first_cells(text: &str) -> Vec<&str> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    cells.flat_map(|cell| cell.trim_end_matches('`').split("`, `")).collect()
}

/// Compares a chapter's first cells with a list of Miou's items: each is there, once, and nothing else.
fn answers(chapter: &Path, list: &str) {
    let text = fs::read_to_string(chapter).unwrap();
    let (mut found, mut items) = (first_cells(&text), list.lines().collect::<Vec<_>>());
    found.sort();
    items.sort();
    let without = |these: &[&str], others: &[&str]| {
        these.iter().filter(|item| !others.contains(item)).map(|item| item.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(without(&items, &found), [""; 0], "{}: these have no row", chapter.display());
    assert_eq!(without(&found, &items), [""; 0], "{}: these are no items of Miou's", chapter.display());
    assert!(found.windows(2).all(|two| two[0] != two[1]), "{}: an item has two rows", chapter.display());
}

#[test]
fn every_item_of_miou_has_an_answer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    answers(&root.join("src/guide/from_miou.md"), include_str!("miou/miou.txt"));
    let unix = root.join("../platform-unix/src/guide/from_miou.md");
    if unix.exists() {
        answers(&unix, include_str!("miou/miou_unix.txt"));
    }
}

#[test]
fn the_scan_finds_what_it_is_for() {
    let text = "
impl<T> Future for Waiting<T> {
/// Has none.
#[must_use]
pub async fn one() {
/// Has one.
///
/// # Cancellation
/// Dropped early it loses nothing.
#[inline]
pub async fn two() {
/// Spread over lines.
pub fn three(
    argument: u8,
) -> Result<Waiting<u8>, Error> {
/// Is a future, and tells nothing of it.
pub struct Waiting<T> {
/// The future of [`three`].
pub struct Waiting<T> {
/// Takes a future and gives none.
pub fn four(waiting: Waiting<u8>) -> u8 {
/// Gives an opaque one.
pub const fn five<F>(f: F) -> impl Future<Output = u8>
where
    F: Fn(),
{
/// Not public.
pub(crate) async fn six() {}
/// Not to be seen.
#[doc(hidden)]
pub async fn seven() {}
";
    let futures: BTreeSet<&str> = futures_in(text).collect();
    assert_eq!(futures, BTreeSet::from(["Waiting"]));
    assert_eq!(aliases_in("pub type WaitingFor<F> = Waiting<Option<F>>;\npub type Plain = Vec<Waiting<u8>>;", &futures), ["WaitingFor"]);
    assert_eq!(first_cells("| Miou | here |\n| --- | --- |\n| `a`, `B.c` | `d` |\n| `?e` | f |"), ["a", "B.c", "?e"]);
    let lacking: Vec<usize> =
        without_cancellation(text, &futures).iter().map(|item| item.split(':').next().unwrap().parse().unwrap()).collect();
    assert_eq!(lacking, [5, 13, 17, 23]);
}
