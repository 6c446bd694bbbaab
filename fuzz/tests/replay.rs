//! The committed corpus, and some thousands of programs by chance, without a fuzzer and on any toolchain.
//!
//! The seeds of the corpus that are named after what they show are written here; their files are what [`Program::encode`] makes of them, and
//! `MATOU_FUZZ_SEEDS=write cargo test` writes them anew after a change of the language. The seeds that are numbered are inputs that the
//! fuzzer found, each for something that no other showed; after such a change they are other programs, and as good as any.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use matou_fuzz::event::{Event, Outcome};
use matou_fuzz::machine::{Ended, Observed};
use matou_fuzz::program::{Body, Cancel, End, Inside, Into, Many, OnDrop, Program, Step, Tidy, TidyPromises, Use, Which};
use matou_fuzz::{chance, check};

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/programs")
}

#[test]
fn the_corpus_does_what_the_model_says() {
    let mut files: Vec<_> = fs::read_dir(corpus()).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= seeds().len(), "the corpus was not found");
    for file in files {
        if let Err(difference) = check(&Program::decode(&fs::read(&file).unwrap())) {
            panic!("{}: {difference}", file.display());
        }
    }
}

#[test]
fn the_named_seeds_are_the_programs_written_here() {
    for (name, program) in seeds() {
        let path = corpus().join(format!("seed-{name}"));
        if std::env::var("MATOU_FUZZ_SEEDS").is_ok_and(|value| value == "write") {
            fs::write(&path, program.encode()).unwrap();
        }
        assert_eq!(Program::decode(&program.encode()), program, "{name}");
        assert!(fs::read(&path).is_ok_and(|bytes| bytes == program.encode()), "{}: write it anew (see above)", path.display());
    }
}

#[test]
fn what_is_written_is_read_as_the_same_program() {
    for seed in 0..2000 {
        let program = Program::decode(&chance(seed, 300));
        let bytes = program.encode();
        assert_eq!(Program::decode(&bytes), program);
        assert_eq!(Program::decode(&bytes).encode(), bytes);
    }
}

/// A model must reach every outcome: what the programs never show, they do not test.
#[test]
fn programs_by_chance_and_the_named_seeds_do_what_the_model_says_and_show_everything() {
    let mut shown = BTreeSet::new();
    let by_chance = (0..20_000).map(|seed| (seed.to_string(), Program::decode(&chance(seed, 40 + (seed % 12) as usize * 30))));
    for (name, program) in by_chance.chain(seeds().into_iter().map(|(name, program)| (name.into(), program))) {
        match check(&program) {
            Ok((observed, _)) => shown.append(&mut shows(&observed)),
            Err(difference) => panic!("program {name}: {difference}"),
        }
    }
    let missing: Vec<_> = EVERYTHING.split_whitespace().filter(|what| !shown.contains(*what)).collect();
    assert!(missing.is_empty(), "the programs never show {missing:?}, only {shown:?}");
}

/// What must be shown. An outcome stands behind the event that brings it, an answer behind the use of a resource.
const EVERYTHING: &str = "
    Suspended Returned.Value Returned.Error Unwound Spawned Full Unborn NotYet
    Refused.NotOwner Refused.NotOwned Refused.Gone Refused.InUse
    Got.Value Got.Error Got.Cancelled Got.Panicked
    One.None One.Value One.Error One.Panicked First.None First.Value First.Error First.Panicked All.0 All.1 All.2 All.3
    CancelCalled CancelOver Looked.Running Looked.Resolved Looked.Exited
    Care.Ready Care.Pending Care.Empty Took.None Took.Some Next.None Next.Value Next.Error Next.Panicked Len.0 Len.1 Len.2
    Own.Ok Own.AlreadyOwned Own.NotOwned Own.Gone
    Check.Ok Check.NotOwner Check.NotOwned Check.Gone Check.InUse
    With.Ok With.NotOwner With.NotOwned With.Gone With.InUse
    Disown.Ok Disown.NotOwner Disown.NotOwned Disown.Gone Disown.InUse
    Release.Ok Release.NotOwner Release.NotOwned Release.Gone Release.InUse
    Transfer.Ok Transfer.NotOwner Transfer.NotOwned Transfer.Gone Transfer.InUse Transfer.NoParent
    Give.Ok Owner.None Owner.Some
    Dropped.Task Dropped.Late ReleasedOnDrop.true ReleasedOnDrop.false Finalised
    Reported.Destructor.Destructor Reported.Destructor.Finaliser Reported.Finaliser.Finaliser
    End.Value End.Error End.Panicked End.Stuck End.StillHasChildren End.NotAChild End.NotItsOrphans End.ResourceLeaked
";

fn shows(observed: &Observed) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    let word = |thing: &dyn std::fmt::Debug| format!("{thing:?}").split([' ', '(']).next().unwrap_or_default().to_owned();
    let outcome = |outcome: Option<&Outcome>| outcome.map_or("None".into(), |outcome| word(outcome));
    for event in &observed.events {
        let name = word(event);
        shown.insert(match event {
            Event::Returned(how) | Event::Got(_, how) => format!("{name}.{}", word(how)),
            Event::Refused(refusal) => format!("{name}.{}", word(refusal)),
            Event::One(one) => format!("{name}.{}", outcome(one.as_ref().map(|(_, outcome)| outcome))),
            Event::First(how) | Event::Next(how) => format!("{name}.{}", outcome(how.as_ref())),
            Event::All(all) => format!("{name}.{}", all.len()),
            Event::Len(len) => format!("{name}.{len}"),
            Event::Looked(_, stands, _) => format!("{name}.{}", word(stands)),
            Event::Care(found) => format!("{name}.{}", word(found)),
            Event::Took(taken) => format!("{name}.{}", word(taken)),
            Event::Owner(_, owner) => format!("{name}.{}", word(owner)),
            Event::Used(_, kind, Ok(())) => format!("{kind:?}.Ok"),
            Event::Used(_, kind, Err(refusal)) => format!("{kind:?}.{}", word(refusal)),
            Event::Dropped { who, .. } => format!("{name}.{}", word(who)),
            Event::ReleasedOnDrop(_, _, done) => format!("{name}.{done}"),
            Event::Reported(place, said) => format!("{name}.{place:?}.{}", word(said)),
            _ => name,
        });
    }
    shown.insert(match &observed.end {
        Ended::Outcome(outcome) => format!("End.{}", word(outcome)),
        Ended::Violation(violation) => match violation.kind {
            matou_core::ViolationKind::NotAChild { child: None, .. } => "End.NotItsOrphans".into(),
            kind => format!("End.{}", word(&kind)),
        },
        other => format!("End.{}", word(other)),
    });
    shown
}

// ---- the named seeds

const TIDY: Tidy = Tidy { promises: TidyPromises::Await, orphans: true, resources: true };
const LEAVE: Tidy = Tidy { promises: TidyPromises::Leave, orphans: false, resources: false };

fn body(steps: impl IntoIterator<Item = Step>, tidy: Tidy, end: End) -> Body {
    Body { steps: steps.into_iter().collect(), tidy, end, on_drop: OnDrop::Nothing }
}

fn main_and(bodies: impl IntoIterator<Item = Body>) -> Program {
    Program { seed: 3, quanta: 0, local: false, bodies: bodies.into_iter().collect() }
}

fn spawn(body: u8) -> Step {
    Step::Spawn { more: 0, body, gifts: vec![], into: Into::Held, named: false }
}

fn spawn_aside(body: u8, more: u8) -> Step {
    Step::Spawn { more, body, gifts: vec![], into: Into::Orphans(Which::Own), named: false }
}

fn give(body: u8, gifts: &[u8]) -> Step {
    Step::Spawn { more: 0, body, gifts: gifts.to_vec(), into: Into::Held, named: true }
}

const OWNED: Step = Step::New { panics: false, owned: true };

/// Each with what it shows. Body 0 is the main task's, and a spawn names the body behind it by its distance less one.
fn seeds() -> Vec<(&'static str, Program)> {
    let twice = |local, steps: &[Step]| Program { local, ..main_and([body(steps.to_vec(), TIDY, End::Ok)]) };
    vec![
        // Trees: values, errors and panics come up through three floors.
        (
            "tree",
            main_and([
                body([spawn(0), spawn(1), spawn(2)], TIDY, End::Ok),
                body([spawn(0), Step::Yield, spawn(1)], TIDY, End::Ok),
                body([Step::Yield, spawn(0)], TIDY, End::Err),
                body([Step::Yield], TIDY, End::Panic),
            ]),
        ),
        // A parent that ends with a child is a violation; one that fails takes its children with it.
        ("forgotten", main_and([body([spawn(0), Step::Forget(0), Step::Yield, Step::Yield], LEAVE, End::Ok), body([], TIDY, End::Ok)])),
        ("fails-with-children", main_and([body([spawn(0), Step::Yield], LEAVE, End::Err), body([spawn(0)], LEAVE, End::Park)])),
        // Cancellation: of one that never ran, one that sleeps, one that has ended; with descendants, and from a destructor.
        (
            "cancel",
            main_and([
                body(
                    [
                        spawn(0),
                        Step::Cancel(0, Cancel::Drop),
                        spawn(0),
                        Step::Yield,
                        Step::Cancel(0, Cancel::Await),
                        spawn(1),
                        Step::Yield,
                        Step::Yield,
                        Step::Yield,
                        Step::Cancel(0, Cancel::Keep),
                        Step::AwaitCancellation(0),
                    ],
                    TIDY,
                    End::Ok,
                ),
                Body { on_drop: OnDrop::Spawn, ..body([spawn(0), OWNED, OWNED], LEAVE, End::Park) },
                Body { on_drop: OnDrop::Cancel, ..body([spawn(0)], LEAVE, End::Ok) },
            ]),
        ),
        // Several at once.
        (
            "several",
            main_and([
                body(
                    [
                        Step::Spawn { more: 3, body: 0, gifts: vec![], into: Into::Held, named: false },
                        Step::Several { many: Many::One, most: 7, once: false },
                        Step::Several { many: Many::All, most: 0, once: false },
                        spawn(1),
                        Step::Several { many: Many::First, most: 7, once: false },
                    ],
                    TIDY,
                    End::Ok,
                ),
                body([Step::Yield], TIDY, End::Ok),
                body([Step::Yield], TIDY, End::Park),
            ]),
        ),
        ("join-and-race", twice(false, &[spawn(0), spawn(0), spawn(0), Step::Race(0, 1), Step::Join(0, 1), Step::Glance(0)])),
        // A promise in the wrong hands.
        (
            "not-a-child",
            main_and([
                body([spawn(1), Step::Post(0), spawn(0), Step::Await { promise: 0, keep: false }], TIDY, End::Ok),
                body([Step::Fetch(0), Step::Await { promise: 0, keep: false }], TIDY, End::Ok),
                body([Step::Yield], TIDY, End::Park),
            ]),
        ),
        // One that outlived its parent.
        (
            "outlived",
            main_and([
                body(
                    [
                        spawn(0),
                        Step::Await { promise: 0, keep: true },
                        Step::Fetch(0),
                        Step::Look(1),
                        Step::Await { promise: 1, keep: false },
                        Step::Fetch(0),
                        Step::Cancel(1, Cancel::Await),
                        Step::Await { promise: 0, keep: false },
                    ],
                    TIDY,
                    End::Ok,
                ),
                body([spawn(0), spawn(0), Step::Post(0), Step::Post(0), Step::Yield], TIDY, End::Err),
                body([Step::Yield], TIDY, End::Park),
            ]),
        ),
        // Orphans: all ways to get them back, and those that are left.
        (
            "orphans",
            main_and([
                body(
                    [
                        spawn_aside(0, 3),
                        Step::Care(Which::Own),
                        Step::Yield,
                        Step::Yield,
                        Step::Care(Which::Own),
                        Step::Take(Which::Own),
                        Step::Len(Which::Own),
                        Step::Next { orphans: Which::Own, once: false },
                    ],
                    TIDY,
                    End::Ok,
                ),
                body([Step::Yield], TIDY, End::Ok),
            ]),
        ),
        (
            "orphans-first-used-by-care",
            main_and([
                body([Step::Care(Which::Own), spawn(0)], TIDY, End::Ok),
                body([Step::Spawn { more: 0, body: 0, gifts: vec![], into: Into::Orphans(Which::Place(0)), named: false }], TIDY, End::Ok),
            ]),
        ),
        (
            "orphans-dropped",
            main_and([body(
                [spawn_aside(0, 1), Step::Yield, Step::DropOrphans { orphans: Which::Own, later: true }],
                Tidy { orphans: false, ..TIDY },
                End::Ok,
            )]),
        ),
        // Ownership: gifts, transfers up two floors, refusals, leaks.
        (
            "give-and-transfer",
            main_and([
                body([OWNED, OWNED, give(0, &[0, 1]), Step::Await { promise: 0, keep: false }], TIDY, End::Ok),
                body([give(0, &[0]), Step::Await { promise: 0, keep: true }, Step::Resource(0, Use::Transfer)], TIDY, End::Ok),
                body([Step::Resource(0, Use::Transfer), Step::Resource(0, Use::Check)], TIDY, End::Err),
            ]),
        ),
        ("leak-before-child", main_and([body([OWNED, spawn(0)], LEAVE, End::Ok), body([], TIDY, End::Park)])),
        (
            "finalisers-in-order",
            Program {
                local: true,
                ..main_and([
                    body([spawn(0), Step::Await { promise: 0, keep: false }], TIDY, End::Ok),
                    body([OWNED, Step::New { panics: true, owned: true }, OWNED, Step::Yield], LEAVE, End::Panic),
                ])
            },
        ),
        (
            "inside-with",
            twice(
                true,
                &[
                    OWNED,
                    OWNED,
                    Step::Inside(0, Inside::Use(0, Use::Release)),
                    Step::Inside(0, Inside::Use(1, Use::Release)),
                    Step::Inside(0, Inside::Use(0, Use::Give)),
                    Step::Inside(0, Inside::Panic),
                ],
            ),
        ),
        // The budget: effects that are always ready let the others have their turn.
        (
            "budget",
            Program {
                quanta: 1,
                ..main_and([
                    body([spawn(0), spawn(0), spawn(0), OWNED, Step::Resource(0, Use::Check)], TIDY, End::Ok),
                    body([spawn(0), spawn(0), Step::Yield], TIDY, End::Ok),
                ])
            },
        ),
    ]
}
