//! The recorder: what a run does, as a file that <https://ui.perfetto.dev> and `chrome://tracing` open.
//!
//! It is a consumer of the core's trace events ([`matou_core::trace`]), one for the process, which finds the file of the current domain's run
//! in a thread-local that is set while the domain's event source lives.
//!
//! # The file
//!
//! `{"traceEvents":[…]}`, an event a line. The process is the run; each domain is a track.
//!
//! | matou | event |
//! | --- | --- |
//! | a poll; the drop of a cancelled task's future | `B` and `E` on its domain's track, named by the task: its name, else `file:line` |
//! | a task's life | `b` and `e`, with id, parent and place; in between, `n` for suspensions and awaits |
//! | a call | `s` where it was made, `f` where the task first runs: an arrow from domain to domain |
//! | a cancellation, a resource that changes hands, a violation | `i` |
//!
//! # Writing
//!
//! Each domain writes into a buffer of its own, without a lock, and hands it to the file when it is full, when the domain goes to sleep, and
//! when it ends. Each time the end of the JSON is written too, in one call, and written over the next time, so that the file is whole between
//! two such calls, also when the process is killed. Who reads in the middle of one may see a part of it.
//!
//! Several runs of a process write several files: `t.json`, `t.2.json`, and so on. So do those of several processes at the same time, as a
//! file is locked (`flock`) while its run lasts: a child inherits `MATOU_TRACE`.
//!
//! A file that cannot be created is an error of the run's start. One that cannot be written later is told on standard error, once, and the
//! run goes on without it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::fs::{File, TryLockError};
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use matou_core::trace::{Event, EventKind, Step, Trace};
use matou_core::{DomainId, TaskId};

/// How many bytes a domain keeps at most before it hands them over, but for one event.
const FULL: usize = 1 << 16;

const BEGIN: &str = "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n";
const END: &str = "\n]}\n";

/// The file of one run.
pub(crate) struct Recording {
    path: PathBuf,
    out: Mutex<Out>,
    /// Tasks made for another domain that have not run there: their makers know them.
    sent: Mutex<HashMap<TaskId, Label>>,
}

struct Out {
    file: File,
    /// Where [`END`] is.
    end: u64,
    /// It could not be written, which was told.
    failed: bool,
}

/// What a task is called.
#[derive(Clone, Copy)]
struct Label {
    name: Option<&'static str>,
    born: &'static Location<'static>,
}

/// What a domain has recorded and not handed over.
struct Track {
    recording: Arc<Recording>,
    domain: DomainId,
    buffer: String,
    /// The tasks that live here.
    labels: HashMap<TaskId, Label>,
    /// The program's own consumer.
    also: Option<&'static dyn Trace>,
}

thread_local! {
    /// It has no destructor, so that a run may begin also while the thread's locals are destroyed: [`uninstall`] takes out what is here.
    static TRACK: RefCell<Option<ManuallyDrop<Track>>> = const { RefCell::new(None) };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    /// Creates the file, or the one of that name that no other run has.
    pub(crate) fn create(path: &Path) -> io::Result<Arc<Recording>> {
        let asked = path;
        let (path, file) = loop {
            let path = numbered(asked);
            if let Some(file) = claim(&path).map_err(|error| unwritable(&path, &error))? {
                break (path, file);
            }
        };
        let mut out = Out { file, end: 0, failed: false };
        let mut begin = String::from(BEGIN);
        let program = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
        let program = program.file_name().unwrap_or_default().to_string_lossy();
        _ = write!(begin, "{{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":{},\"args\":{{\"name\":{}}}}}", process::id(), Json(&program));
        out.append(&begin).map_err(|error| unwritable(&path, &error))?;
        Ok(Arc::new(Recording { path, out: Mutex::new(out), sent: Mutex::default() }))
    }

    fn append(&self, events: &str) {
        let mut out = lock(&self.out);
        if out.failed {
            return;
        }
        if let Err(error) = out.append(events) {
            out.failed = true;
            drop(out);
            // A standard error that is closed is no reason to fail.
            let path = self.path.display();
            _ = io::Write::write_fmt(&mut io::stderr(), format_args!("matou: the trace file {path} cannot be written any more: {error}\n"));
        }
    }
}

impl Out {
    /// Writes in one go over the end that was, so that the file is whole before and after.
    fn append(&mut self, events: &str) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(events.len() + END.len());
        bytes.extend_from_slice(events.as_bytes());
        bytes.extend_from_slice(END.as_bytes());
        let written = self.file.write_all_at(&bytes, self.end);
        match &written {
            Ok(()) => self.end += events.len() as u64,
            // What was written in part goes again; the end that was there before needs no room.
            Err(_) => {
                _ = self.file.write_all_at(END.as_bytes(), self.end);
                _ = self.file.set_len(self.end + END.len() as u64);
            }
        }
        written
    }
}

fn unwritable(path: &Path, error: &io::Error) -> io::Error {
    let message = format!("the trace file {} cannot be written: {error}; MATOU_TRACE and `Builder::trace` name it", path.display());
    io::Error::new(error.kind(), message)
}

/// The file, empty, unless a run has it that is not over: of a parent or child, as they inherit `MATOU_TRACE`. Such a run holds a lock on it.
fn claim(path: &Path) -> io::Result<Option<File>> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.is_file() {
        // A file system without locks does without.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Ok(None);
        }
        file.set_len(0)?;
    }
    Ok(Some(file))
}

/// The path itself for the first run of the process that asks for it, then `name.2.json`, `name.3.json`, …
fn numbered(path: &Path) -> PathBuf {
    static USED: Mutex<Vec<(PathBuf, usize)>> = Mutex::new(Vec::new());
    let mut used = lock(&USED);
    match used.iter_mut().find(|(known, _)| known == path) {
        None => {
            used.push((path.to_owned(), 1));
            path.to_owned()
        }
        Some((_, count)) => {
            *count += 1;
            let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            path.with_file_name(format!("{stem}.{count}{extension}"))
        }
    }
}

/// From now on this thread's events are those of this domain.
pub(crate) fn install(recording: Arc<Recording>, domain: DomainId, also: Option<&'static dyn Trace>) {
    let mut track = Track { recording, domain, buffer: String::with_capacity(FULL), labels: HashMap::new(), also };
    for (what, value) in
        [("thread_name", format_args!("\"name\":\"domain {domain}\"")), ("thread_sort_index", format_args!("\"sort_index\":{domain}"))]
    {
        _ = write!(track.buffer, ",\n{{\"ph\":\"M\",\"name\":\"{what}\",\"pid\":{},\"tid\":{domain},\"args\":{{{value}}}}}", process::id());
    }
    TRACK.set(Some(ManuallyDrop::new(track)));
}

/// The domain of this thread sleeps, or ends.
pub(crate) fn flush() {
    TRACK.with_borrow_mut(|track| track.as_deref_mut().map(Track::flush));
}

/// This thread's domain has ended.
pub(crate) fn uninstall() {
    flush();
    drop(TRACK.take().map(ManuallyDrop::into_inner));
}

/// The consumer. Where a program brings its own, that is told afterwards; should it panic, both are done for on that domain.
pub(crate) struct Recorder;

pub(crate) static RECORDER: Recorder = Recorder;

impl Trace for Recorder {
    fn event(&self, event: &Event) {
        let also = TRACK.with_borrow_mut(|track| {
            let track = track.as_mut()?;
            track.record(event);
            track.also
        });
        if let Some(also) = also {
            also.event(event);
        }
    }
}

impl Track {
    fn flush(&mut self) {
        if !self.buffer.is_empty() {
            self.recording.append(&self.buffer);
            self.buffer.clear();
        }
    }

    /// Begins an event: what all have.
    fn begin(&mut self, phase: &str, event: &Event) {
        let (micros, nanos) = (event.at.as_nanos() / 1000, event.at.as_nanos() % 1000);
        let (process, domain) = (process::id(), self.domain);
        _ = write!(self.buffer, ",\n{{\"ph\":\"{phase}\",\"ts\":{micros}.{nanos:03},\"pid\":{process},\"tid\":{domain}");
    }

    /// An event with a name, and what is in `more` beside.
    fn event(&mut self, phase: &str, event: &Event, name: impl fmt::Display, more: fmt::Arguments<'_>) {
        self.begin(phase, event);
        _ = write!(self.buffer, ",\"name\":{}{more}}}", Json(name));
    }

    /// What a task that lives here is called, and whether it has just arrived from another domain.
    fn label(&mut self, task: TaskId) -> (Option<Label>, bool) {
        if let Some(&label) = self.labels.get(&task) {
            return (Some(label), false);
        }
        let sent = lock(&self.recording.sent).remove(&task);
        self.labels.extend(sent.map(|label| (task, label)));
        (sent, sent.is_some())
    }

    /// A point in a task's life.
    fn mark(&mut self, event: &Event, task: TaskId, name: &str, more: fmt::Arguments<'_>) {
        let id = Hex(task);
        self.event("n", event, name, format_args!(",\"cat\":\"task\",\"id\":{id},\"args\":{{\"task\":\"{task}\"{more}}}"));
    }

    fn record(&mut self, event: &Event) {
        match event.kind {
            EventKind::Spawn { task, parent, home, name, born } => {
                let label = Label { name: name.or(parent.is_none().then_some("main")), born };
                let id = Hex(task);
                self.begin("b", event);
                _ = write!(self.buffer, ",\"name\":{},\"cat\":\"task\",\"id\":{id},\"args\":{{\"task\":\"{task}\"", Json(label));
                if let Some(parent) = parent {
                    _ = write!(self.buffer, ",\"parent\":\"{parent}\"");
                }
                _ = write!(self.buffer, ",\"domain\":{home},\"made at\":{}}}}}", Json(born));
                if home == self.domain {
                    self.labels.insert(task, label);
                } else {
                    lock(&self.recording.sent).insert(task, label);
                    self.event("s", event, "call", format_args!(",\"cat\":\"call\",\"id\":{id}"));
                }
            }
            EventKind::RunBegin { task, step } => {
                let (label, arrived) = self.label(task);
                let more =
                    format_args!(",\"cat\":\"{}\",\"args\":{{\"task\":\"{task}\"}}", if step == Step::Drop { "drop" } else { "poll" });
                match (label, step) {
                    (Some(label), Step::Poll) => self.event("B", event, label, more),
                    (Some(label), Step::Drop) => self.event("B", event, format_args!("drop {label}"), more),
                    (None, _) => self.event("B", event, task, more),
                }
                if arrived {
                    self.event("f", event, "call", format_args!(",\"cat\":\"call\",\"id\":{},\"bp\":\"e\"", Hex(task)));
                }
            }
            EventKind::RunEnd { .. } => {
                self.begin("E", event);
                self.buffer.push('}');
            }
            EventKind::End { task, how } => {
                let (label, _) = self.label(task);
                self.labels.remove(&task);
                let more = format_args!(",\"cat\":\"task\",\"id\":{},\"args\":{{\"task\":\"{task}\",\"how\":\"{how:?}\"}}", Hex(task));
                match label {
                    Some(label) => self.event("e", event, label, more),
                    None => self.event("e", event, task, more),
                }
            }
            EventKind::Suspend { task, point } => self.mark(event, task, "suspend", format_args!(",\"point\":\"{point:?}\"")),
            EventKind::Resume { task, point } => self.mark(event, task, "resume", format_args!(",\"point\":\"{point:?}\"")),
            EventKind::GiveUp { task, point } => self.mark(event, task, "give up", format_args!(",\"point\":\"{point:?}\"")),
            EventKind::Await { task, child } => self.mark(event, task, "await", format_args!(",\"child\":\"{child}\"")),
            EventKind::Join { task, child } => self.mark(event, task, "join", format_args!(",\"child\":\"{child}\"")),
            EventKind::Cancel { task, by } => {
                let by = by.map(|by| format!(",\"by\":\"{by}\"")).unwrap_or_default();
                self.event("i", event, "cancel", format_args!(",\"s\":\"t\",\"args\":{{\"task\":\"{task}\"{by}}}"));
            }
            EventKind::Attach { task, resource, place } => self.resource(event, "attach", task, resource, place),
            EventKind::Detach { task, resource, place } => self.resource(event, "detach", task, resource, place),
            EventKind::Violation(violation) => {
                let more = format_args!(",\"s\":\"g\",\"args\":{{\"task\":\"{}\",\"text\":{}}}", violation.task, Json(violation));
                self.event("i", event, "violation", more);
            }
            // Of a later version of the core.
            _ => {}
        }
        if self.buffer.len() >= FULL {
            self.flush();
        }
    }

    fn resource(&mut self, event: &Event, name: &str, task: TaskId, resource: impl fmt::Display, place: &Location<'_>) {
        let place = Json(place);
        let more = format_args!(",\"s\":\"t\",\"args\":{{\"task\":\"{task}\",\"resource\":\"{resource}\",\"taken at\":{place}}}");
        self.event("i", event, name, more);
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{}:{}", self.born.file(), self.born.line()),
        }
    }
}

/// A task's id as the viewers like their ids.
struct Hex(TaskId);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{:#x}\"", self.0.number() * DomainId::MAX as u64 + self.0.maker().index() as u64)
    }
}

/// A text in quotation marks, as JSON has it.
struct Json<T>(T);

impl<T: fmt::Display> fmt::Display for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl fmt::Write for Escaping<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| match c {
                    '"' | '\\' => write!(self.0, "\\{c}"),
                    c if c < ' ' => write!(self.0, "\\u{:04x}", c as u32),
                    c => self.0.write_char(c),
                })
            }
        }
        f.write_char('"')?;
        write!(Escaping(f), "{}", self.0)?;
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_has_a_file() {
        let names: Vec<_> = (0..3).map(|_| numbered(Path::new("/x/each.run.json"))).collect();
        assert_eq!(names, ["/x/each.run.json", "/x/each.run.2.json", "/x/each.run.3.json"].map(PathBuf::from));
        assert_eq!([numbered(Path::new("each")), numbered(Path::new("each"))], ["each", "each.2"].map(PathBuf::from));
    }

    #[test]
    fn a_file_that_another_run_has_is_not_emptied() {
        let folder = std::env::temp_dir().join(format!("matou-claim-{}", process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("t.json");
        // As another process has it, which has counted no run of this one.
        let other = claim(&path).unwrap().unwrap();
        other.write_all_at(b"theirs", 0).unwrap();
        let ours = Recording::create(&path).unwrap();
        assert_eq!((&ours.path, std::fs::read(&path).unwrap()), (&folder.join("t.2.json"), b"theirs".to_vec()));
        drop(other);
        claim(&path).unwrap().expect("its run is over");
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(Json("a \"b\" \\ \n é").to_string(), "\"a \\\"b\\\" \\\\ \\u000a é\"");
    }
}
