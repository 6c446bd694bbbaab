//! The live tree of tasks of the runs of this process, as text.
//!
//! The core asks each domain for its part ([`matou_core::dump`]): nothing is kept for it, and nothing has to be switched on before. This
//! module knows which runs there are, and bounds the wait: a domain in a long poll does not answer, and is then named with the task it runs.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use matou_core::time::{Sleep, sleep};

pub use matou_core::dump::{Inspector, Silent, Survey, TaskInfo, TaskState, Tree, inspector};

/// How long domains have for their answers.
const PATIENCE: Duration = Duration::from_millis(100);

static RUNS: Mutex<Vec<(u64, Inspector)>> = Mutex::new(Vec::new());

fn runs() -> MutexGuard<'static, Vec<(u64, Inspector)>> {
    RUNS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A run, from the first poll of its main task to its end.
#[derive(Default)]
pub(crate) struct Registration(std::cell::Cell<Option<u64>>);

impl Registration {
    /// The main task is being polled.
    pub(crate) fn enter(&self) {
        if self.0.get().is_none()
            && let Some(inspector) = inspector()
        {
            static SERIAL: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
            let serial = SERIAL.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.0.set(Some(serial));
            runs().push((serial, inspector));
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(serial) = self.0.get() {
            runs().retain(|(other, _)| *other != serial);
        }
    }
}

/// Asks for the live tree of tasks: of the current run, on one of its domains; else of every run of this process.
///
/// Await it in a task; on a thread outside [`wait`](Dump::wait) for it. Each line is a task: its id, name, domain, state, where it was
/// made, its age where births are kept ([`Builder::births`](crate::Builder::births), `MATOU_BIRTHS=1`), and where it took what it owns.
/// Children are indented under their parents, also those on other domains.
///
/// A domain that is in a long poll does not answer; then the text says in which task it is. Two domains may ask at the same time.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = matou_unix::run(async {
///     let cat = matou_unix::Task::new().name("cat").spawn(async {});
///     let text = matou_unix::dump().await;
///     cat.map_err(std::io::Error::from)?.await.map_err(std::io::Error::from)?;
///     Ok::<_, std::io::Error>(text)
/// })?;
/// assert!(text.contains("0:1 cat, domain 0, runnable, made at "), "{text}");
/// # Ok(())
/// # }
/// ```
///
/// # Cancellation
/// Dropped early it leaves nothing behind; the domains answer nobody.
pub fn dump() -> Dump {
    let asked = match inspector() {
        Some(current) => vec![current],
        None => runs().iter().map(|(_, inspector)| inspector.clone()).collect(),
    };
    Dump { surveys: asked.iter().map(Inspector::survey).collect(), patience: PATIENCE, sleep: None }
}

/// The future of [`dump`].
///
/// # Cancellation
/// Dropped early it leaves nothing behind.
#[derive(Debug)]
#[must_use = "it asks, and tells nothing unless it is awaited or waited for"]
pub struct Dump {
    surveys: Vec<Survey>,
    patience: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Dump {
    /// How long the domains have for their answers, from now on; 100 ms unless this says otherwise.
    ///
    /// # Cancellation
    /// Dropped early it leaves nothing behind; the domains answer nobody.
    pub fn patience(mut self, patience: Duration) -> Dump {
        self.patience = patience;
        self
    }

    /// Blocks this thread until the domains have answered, for at most as long as they have. In a task, await it instead.
    pub fn wait(mut self) -> String {
        let deadline = std::time::Instant::now().checked_add(self.patience);
        for survey in &mut self.surveys {
            survey.wait(deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(std::time::Instant::now())));
        }
        self.text()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for tree in self.surveys.iter().map(Survey::tree) {
            let (tasks, plural) = (tree.tasks.len(), if tree.tasks.len() == 1 { "" } else { "s" });
            let hint = if tree.tasks.iter().all(|task| task.age.is_none()) { "; for their ages set MATOU_BIRTHS=1" } else { "" };
            // Writing into a string does not fail.
            _ = writeln!(text, "matou: {tasks} task{plural}{hint}");
            if !tree.silent.is_empty() {
                _ = writeln!(text, "matou: not every domain has answered within {:?}", self.patience);
            }
            _ = write!(text, "{tree}");
        }
        if self.surveys.is_empty() {
            text += "matou: no run is under way\n";
        }
        text
    }
}

impl Future for Dump {
    type Output = String;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<String> {
        let answered = self.surveys.iter_mut().all(|survey| Pin::new(survey).poll(cx).is_ready());
        let patience = self.patience;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(patience)));
        if answered || sleep.as_mut().poll(cx).is_ready() { Poll::Ready(self.text()) } else { Poll::Pending }
    }
}
