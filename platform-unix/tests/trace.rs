//! The recorder: what is in its file, that it is whole between two writes, and what happens when it cannot be written.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use matou_unix::sync::Trigger;
use matou_unix::trace::{Event, Trace};
use matou_unix::{Builder, DomainId, Orphans, Resource, RunError, Task, call, spawn, time, yield_now};
use serde_json::Value;

/// A folder of its own, until the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = Folder(std::env::temp_dir().join(format!("matou-trace-{name}-{}", std::process::id())));
        fs::create_dir_all(&folder.0).unwrap();
        folder
    }

    fn file(&self) -> PathBuf {
        self.0.join("t.json")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn read(path: &Path) -> serde_json::Result<Vec<Value>> {
    let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap())?;
    Ok(file["traceEvents"].as_array().unwrap().clone())
}

fn events(path: &Path) -> Vec<Value> {
    read(path).unwrap()
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or_else(|| panic!("no {key} in {event}"))
}

/// What every file has to be, wherever the run ended: each track's slices nest, spans begin and end, arrows have both ends.
fn check(events: &[Value]) {
    let mut tracks: HashMap<u64, Vec<(f64, &str)>> = HashMap::new();
    let mut named = HashSet::new();
    let (mut spans, mut arrows) = (HashMap::new(), HashMap::new());
    for event in events {
        let phase = text(event, "ph");
        assert_eq!(event["pid"].as_u64(), Some(std::process::id().into()));
        if phase == "M" {
            if text(event, "name") == "thread_name" {
                named.insert(event["tid"].as_u64().unwrap());
            }
            continue;
        }
        let (track, at) = (event["tid"].as_u64().unwrap(), event["ts"].as_f64().unwrap());
        match phase {
            "B" => tracks.entry(track).or_default().push((at, text(event, "name"))),
            "E" => {
                let (began, _) = tracks.get_mut(&track).and_then(Vec::pop).expect("an end has a beginning");
                assert!(began <= at);
            }
            "b" | "e" | "n" => spans.entry(text(event, "id")).or_insert_with(Vec::new).push(phase),
            "s" | "f" => arrows.entry(text(event, "id")).or_insert_with(Vec::new).push((phase, at)),
            "i" => assert!(["t", "g"].contains(&text(event, "s"))),
            other => panic!("{other}"),
        }
        assert!(named.contains(&track), "{event}");
    }
    assert!(tracks.values().all(Vec::is_empty), "{tracks:?}");
    for (id, phases) in &spans {
        // Two domains write them, each in its own time.
        let count = |phase| phases.iter().filter(|seen| **seen == phase).count();
        assert_eq!((count("b"), count("e")), (1, 1), "{id}: {phases:?}");
    }
    for (id, ends) in &mut arrows {
        ends.sort_by(|left, right| right.0.cmp(left.0));
        assert!(matches!(ends[..], [("s", from), ("f", to)] if from <= to), "{id}: {ends:?}");
    }
}

fn names<'a>(events: &'a [Value], phase: &str) -> HashSet<&'a str> {
    events.iter().filter(|event| event["ph"] == *phase).map(|event| text(event, "name")).collect()
}

#[test]
fn a_run_is_recorded() {
    let folder = Folder::new("run");
    let ran = Builder::new().environment(false).domains(2).trace(folder.file()).run(async {
        let orphans = Orphans::new();
        for _ in 0..20 {
            orphans
                .call(|| async {
                    spawn(yield_now()).await.map_err(drop)?;
                    time::sleep(Duration::from_millis(1)).await;
                    Ok::<_, ()>(())
                })
                .map_err(drop)?;
        }
        while let Some(result) = orphans.next().await {
            result.map_err(drop)?;
        }
        let resource = Resource::new((), |()| {});
        resource.own().map_err(drop)?;
        let begun = Arc::new(Trigger::new());
        let begins = begun.clone();
        let waits = async move || {
            begins.signal();
            pending::<()>().await;
        };
        let named = Task::new().name("the \"named\" one").pin(DomainId::new(2)).give(&resource).call(waits).map_err(drop)?;
        begun.wait().await;
        named.cancel().await;
        Ok::<(), ()>(())
    });
    assert!(ran.is_ok(), "{:?}", ran.err());
    let events = events(&folder.file());
    check(&events);
    let polls = names(&events, "B");
    assert!(polls.contains("main") && polls.contains("the \"named\" one") && polls.contains("drop the \"named\" one"), "{polls:?}");
    assert!(polls.iter().any(|name| name.contains("trace.rs:")), "a task without a name is called by its place: {polls:?}");
    assert!(["cancel", "attach", "detach"].iter().all(|name| names(&events, "i").contains(name)));
    let count = |phase: &str| events.iter().filter(|event| event["ph"] == *phase).count();
    assert_eq!((count("b"), count("e"), count("s")), (42, 42, 21));
    let main = events.iter().find(|event| event["ph"] == "b" && event["name"] == "main").unwrap();
    assert_eq!(main["args"]["parent"], Value::Null);
    let child = events.iter().find(|event| event["ph"] == "b" && event["name"] == "the \"named\" one").unwrap();
    assert_eq!((&child["args"]["parent"], &child["args"]["domain"]), (&main["args"]["task"], &Value::from(2)));
}

#[test]
fn after_a_violation_it_is_whole() {
    let folder = Folder::new("violation");
    let ran = Builder::new().environment(false).domains(1).trace(folder.file()).run(async {
        let child = call(|| async {
            drop(spawn(pending::<()>()));
        });
        child.map_err(drop)?.await.map_err(drop)
    });
    assert!(matches!(ran, Err(RunError::Violation(_))));
    let events = events(&folder.file());
    check(&events);
    let violation = events.iter().find(|event| event["ph"] == "i" && event["name"] == "violation").unwrap();
    assert!(text(&violation["args"], "text").contains("StillHasChildren"));
}

/// What a process that is killed now would leave: each domain has handed over what it did before it went to sleep.
#[test]
fn in_the_middle_of_a_run_it_is_whole() {
    let folder = Folder::new("middle");
    let path = folder.file();
    let ran = Builder::new().environment(false).domains(1).trace(&path).run(async {
        let sleeper = Task::new().name("sleeper").call(pending::<()>).unwrap();
        time::sleep(Duration::from_millis(2)).await;
        loop {
            // Who reads while the other domain writes may see half of that.
            let so_far = read(&path).unwrap_or_default();
            let seen: Vec<_> = so_far.iter().filter(|event| event["name"] == "sleeper").map(|event| text(event, "ph").to_owned()).collect();
            if seen.contains(&String::from("b")) && seen.contains(&String::from("B")) {
                break;
            }
            time::sleep(Duration::from_millis(1)).await;
        }
        sleeper.cancel().await;
    });
    assert!(ran.is_ok());
    check(&events(&path));
}

/// More than a buffer holds, on domains that never sleep.
#[test]
fn much_is_recorded() {
    let folder = Folder::new("much");
    let ran = Builder::new().environment(false).domains(2).trace(folder.file()).run(async {
        let spin = || async {
            for _ in 0..3000 {
                yield_now().await;
            }
        };
        let there = [call(spin), call(spin)];
        spin().await;
        for promise in there {
            promise.map_err(io::Error::from)?.await.map_err(io::Error::from)?;
        }
        Ok::<(), io::Error>(())
    });
    assert!(ran.is_ok());
    let events = events(&folder.file());
    check(&events);
    assert!(events.iter().filter(|event| event["ph"] == "B").count() >= 9000);
}

/// Later runs of the process, also at the same time, have files of their own.
#[test]
fn each_run_has_its_file() {
    let folder = Folder::new("each");
    let path = folder.file();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| Builder::new().environment(false).domains(1).trace(&path).run(async { spawn(async {}).await }).unwrap());
        }
    });
    for name in ["t.json", "t.2.json", "t.3.json"] {
        check(&events(&folder.0.join(name)));
    }
}

#[test]
fn a_file_that_cannot_be_created_is_an_error_and_nothing_runs() {
    let path = Path::new("/nowhere/at/all/t.json");
    let ran = Builder::new().environment(false).trace(path).run(async { panic!("it ran") as () });
    let Err(RunError::Platform(error)) = ran else { panic!("{ran:?}") };
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().starts_with("the trace file /nowhere/at/all/t.json cannot be written: "), "{error}");
}

/// The system's device without room: it can be opened, and not be written.
#[test]
#[cfg(target_os = "linux")]
fn a_file_that_cannot_be_written_is_an_error_too() {
    let ran = Builder::new().environment(false).trace("/dev/full").run(async {});
    assert!(matches!(&ran, Err(RunError::Platform(error)) if error.to_string().contains("/dev/full")), "{ran:?}");
}

/// A disk that fills up: the child may write no file beyond 16 KiB or so, and is told by an error.
#[test]
fn what_could_be_written_is_whole() {
    const CHILD: &str = "MATOU_TEST_FULL";
    if let Some(path) = std::env::var_os(CHILD) {
        let spin = async {
            for _ in 0..3000 {
                time::sleep(Duration::ZERO).await;
                yield_now().await;
            }
        };
        Builder::new().environment(false).domains(0).trace(path).run(spin).unwrap();
        return;
    }
    let folder = Folder::new("full");
    let child = std::process::Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" --exact what_could_be_written_is_whole --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(CHILD, folder.file())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && told.contains("cannot be written any more"), "{told}");
    assert!(!events(&folder.file()).is_empty());
}

/// A program's own consumer hears the same beside the file, and without one.
#[test]
fn a_consumer_of_the_program() {
    struct Count(AtomicUsize);
    impl Trace for Count {
        fn event(&self, _: &Event) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    static BESIDE: Count = Count(AtomicUsize::new(0));
    static ALONE: Count = Count(AtomicUsize::new(0));
    let folder = Folder::new("beside");
    let builder = Builder::new().environment(false).domains(0);
    builder.clone().on_trace(&ALONE).run(async { spawn(async {}).await }).unwrap();
    builder.on_trace(&BESIDE).trace(folder.file()).run(async { spawn(async {}).await }).unwrap();
    assert_eq!(ALONE.0.load(Ordering::Relaxed), BESIDE.0.load(Ordering::Relaxed));
    assert_eq!(ALONE.0.load(Ordering::Relaxed), 12);
    check(&events(&folder.file()));
}
