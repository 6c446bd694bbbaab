//! Runs a program in a simulation, and writes down what happens.
//!
//! The log is this thread's, on which all domains take turns. An event is written before what it is about where others may see its effects
//! (a lock given back, a child started), and behind it where it tells a result.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use matou_core::simulation::{Reason, Recording, Simulation};
use matou_core::sync::{Channel, Mutex, MutexGuard, Permit, Semaphore};
use matou_core::{
    Care, DomainId, EventsError, Exit, Orphans, Promise, Report, Resource, RunError, Task, TaskId, await_all, await_first, await_one,
    current_task, domain, hook, parallel, protect, scope, time, yield_now,
};

use super::{
    Body, End, Ended, Event, For, Found, MOST_HOOKS, MOST_TASKS, MUTEXES, Outcome, PERMITS, PLACES, Program, ROOM, SEMAPHORE, Step, VALUES,
    Whither,
};
use crate::machine::quietly;

/// What was seen of a run.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) workers: usize,
    pub(super) events: Vec<Event>,
    pub(super) end: Ended,
    /// Values of tasks that were not dropped, or dropped twice.
    pub(super) leaked: isize,
    pub(super) recording: Recording,
}

#[derive(Default)]
struct World {
    events: RefCell<Vec<Event>>,
    bodies: RefCell<Rc<Vec<Body>>>,
    locks: RefCell<Rc<Locks>>,
    /// The runtime's name of each task, once it was seen.
    ids: RefCell<Vec<Option<TaskId>>>,
    /// Resources that tasks have passed to their parents.
    passed: RefCell<Vec<(usize, Owned)>>,
    resources: Cell<usize>,
    sent: Cell<usize>,
    hooks: Cell<usize>,
    tokens: Cell<isize>,
}

struct Locks {
    mutexes: [Mutex<()>; MUTEXES],
    semaphore: Semaphore,
    channel: Channel<usize, ROOM>,
}

impl Default for Locks {
    fn default() -> Self {
        Locks { mutexes: std::array::from_fn(|_| Mutex::new(())), semaphore: Semaphore::new(PERMITS), channel: Channel::new() }
    }
}

thread_local! {
    static WORLD: World = World::default();
}

fn log(event: Event) {
    WORLD.with(|world| world.events.borrow_mut().push(event));
}

/// A number from a counter of the world's.
fn count(counter: impl FnOnce(&World) -> &Cell<usize>) -> usize {
    WORLD.with(|world| {
        let counter = counter(world);
        counter.replace(counter.get() + 1)
    })
}

fn reported(report: &Report) {
    log(Event::Reported(report.to_string()));
}

pub(super) fn observe(program: &Program) -> Seen {
    WORLD.with(|world| {
        world.events.take();
        world.bodies.replace(Rc::new(program.bodies.clone()));
        world.locks.replace(Rc::default());
        world.ids.replace(vec![None]);
        world.passed.take();
        world.resources.set(0);
        world.sent.set(0);
        world.hooks.set(0);
        world.tokens.set(0);
    });
    let simulation = Simulation::new(program.seed)
        .domains(program.workers)
        .quanta(1000)
        .latency(Duration::from_micros(program.latency))
        .pace(Duration::from_nanos(program.pace))
        .limit(200_000)
        .on_report(reported);
    let (ended, recording) = quietly(|| simulation.record(Traced::of(Alive(0), 0, None)));
    let end = match ended {
        Ok(value) => Ended::Outcome(Outcome::Value(value.0)),
        Err(RunError::Failed(error)) => Ended::Outcome(Outcome::Error(error.0)),
        Err(RunError::Panicked(panic)) => Ended::Outcome(panicked(&panic.message())),
        Err(RunError::Violation(violation)) => Ended::Violation(violation.kind),
        Err(RunError::Events(_, EventsError::Failed(stopped))) if stopped.reason() == Reason::Deadlock => Ended::Deadlock,
        Err(other) => Ended::Unexpected(other.to_string()),
    };
    WORLD.with(|world| Seen { workers: program.workers, events: world.events.take(), end, leaked: world.tokens.get(), recording })
}

fn panicked(message: &str) -> Outcome {
    message.strip_prefix("fuzzed task ").and_then(|task| task.parse().ok()).map_or(Outcome::Unexpected, Outcome::Panicked)
}

fn outcome(result: Result<Token, Exit<Token>>) -> Outcome {
    match result {
        Ok(value) => Outcome::Value(value.0),
        Err(Exit::Failed(error)) => Outcome::Error(error.0),
        Err(Exit::Panicked(panic)) => panicked(&panic.message()),
        Err(Exit::Cancelled) => Outcome::Unexpected,
    }
}

/// A task's value or error. It crosses between domains.
struct Token(usize);

impl Token {
    fn new(task: usize) -> Token {
        WORLD.with(|world| world.tokens.set(world.tokens.get() + 1));
        Token(task)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        WORLD.with(|world| world.tokens.set(world.tokens.get() - 1));
    }
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "task {} failed", self.0)
    }
}

type Performance = Pin<Box<dyn Future<Output = Result<Token, Token>>>>;

/// The future of a task, or what is to make it: either says when it is dropped.
struct Traced {
    alive: Alive,
    inner: Option<Performance>,
}

/// Says, when it is dropped, that the task is.
struct Alive(usize);

/// The domain, hook, and whether the current task is this one.
fn here(task: usize) -> (usize, bool) {
    let current = current_task();
    let itself = WORLD.with(|world| {
        let known = &mut world.ids.borrow_mut()[task];
        *known = known.or(current);
        current.is_some() && *known == current
    });
    (domain::current().map_or(usize::MAX, DomainId::index), itself)
}

impl Drop for Alive {
    fn drop(&mut self) {
        let (domain, itself) = here(self.0);
        log(Event::Dropped { task: self.0, domain, itself });
    }
}

impl Traced {
    fn of(alive: Alive, body: usize, gift: Option<Owned>) -> Traced {
        let inner = Box::pin(perform(alive.0, body, gift));
        Traced { alive, inner: Some(inner) }
    }
}

impl Future for Traced {
    type Output = Result<Token, Token>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        struct Unwinding(usize);
        impl Drop for Unwinding {
            fn drop(&mut self) {
                log(Event::Returned(Outcome::Panicked(self.0)));
            }
        }
        let task = self.alive.0;
        let (domain, itself) = here(task);
        log(Event::Poll { task, domain, itself });
        crate::watch::step();
        let unwinding = Unwinding(task);
        let polled = self.inner.as_mut().expect("it was not dropped").as_mut().poll(cx);
        std::mem::forget(unwinding);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Ok(value)) => log(Event::Returned(Outcome::Value(value.0))),
            Poll::Ready(Err(error)) => log(Event::Returned(Outcome::Error(error.0))),
        }
        polled
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        // First what it holds; then `alive` says that all of it is gone.
        self.inner = None;
    }
}

/// What a task holds of a line; says when it gives it back.
struct Held<'a> {
    line: usize,
    permits: usize,
    _kept: Kept<'a>,
}

enum Kept<'a> {
    Guard { _guard: MutexGuard<'a, ()> },
    Permit { _permit: Permit<'a> },
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        log(Event::Gave { line: self.line, permits: self.permits });
    }
}

/// Awaits what waits in a line, and tells of each poll, and of a wait that is dropped early.
async fn wait<F: Future>(task: usize, line: usize, needs: usize, future: F) -> F::Output {
    struct Leave(usize, usize, bool);
    impl Drop for Leave {
        fn drop(&mut self) {
            if self.2 {
                log(Event::Left { task: self.0, line: self.1 });
            }
        }
    }
    log(Event::Waits(task, For::Line(line)));
    let mut leave = Leave(task, line, false);
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        leave.2 = polled.is_pending();
        log(Event::Asked { task, line, needs, ready: polled.is_ready() });
        polled
    })
    .await
}

type Child = (usize, Promise<Token, Token>);
type Owned = (usize, Resource<usize>);

fn take(children: &mut Vec<Child>, pick: usize) -> Option<Child> {
    (!children.is_empty()).then(|| children.remove(pick % children.len()))
}

fn own(task: usize) -> Owned {
    let resource = count(|world| &world.resources);
    let made = Resource::new(resource, |resource| log(Event::Finalised { resource, nobody: current_task().is_none() }));
    log(Event::Owned { task, resource });
    made.own().expect("it is nobody's");
    (resource, made)
}

/// A hook, until it is dropped.
struct Hooked {
    hook: usize,
    _added: hook::Hook,
}

impl Drop for Hooked {
    fn drop(&mut self) {
        log(Event::HookGone(self.hook));
    }
}

/// Not many: each runs at every step of its domain.
fn hooked() -> Option<Hooked> {
    let hook = count(|world| &world.hooks);
    let here = || domain::current().map_or(usize::MAX, DomainId::index);
    (hook < MOST_HOOKS).then(|| {
        log(Event::Hooked { hook, domain: here() });
        let ran = move || log(Event::HookRan { hook, domain: here(), nobody: current_task().is_none() });
        Hooked { hook, _added: hook::add(ran) }
    })
}

/// A new task's number.
fn number() -> usize {
    WORLD.with(|world| {
        let mut ids = world.ids.borrow_mut();
        ids.push(None);
        ids.len() - 1
    })
}

/// The number of a task that was started.
fn number_of(id: TaskId) -> usize {
    WORLD.with(|world| world.ids.borrow().iter().position(|known| *known == Some(id)).expect("its id was noted at the start"))
}

/// Where a child comes to.
type Aside = Orphans<Token, Token>;

/// Starts a child, which is kept aside where there is one to keep it. What was to be given to one that is refused is the task's own.
fn start(task: usize, body: usize, whither: Whither, gift: bool, aside: Option<&Aside>, owned: &mut Vec<Owned>) -> Option<Child> {
    let child = number();
    let gift = gift.then(|| own(task));
    let mut how = Task::new();
    let (pin, here) = match whither {
        Whither::Pinned(domain) => (Some(domain), false),
        Whither::Anywhere => (None, false),
        Whither::Here => (None, true),
    };
    if let Some(domain) = pin {
        how = how.pin(DomainId::new(domain));
    }
    let given = gift.as_ref().map(|(resource, _)| *resource);
    log(Event::Born { task: child, parent: task, pin, here, gift: given, aside: aside.is_some(), turn: None });
    if let Some((_, resource)) = &gift {
        how = how.give(resource);
    }
    let alive = Alive(child);
    let given = gift.clone();
    let held = |promise: Promise<_, _>| (promise.id(), Some(promise));
    let kept = |id| (id, None);
    let started = match (here, aside) {
        (true, None) => how.spawn(Traced::of(alive, body, given)).map(held).map_err(drop),
        (false, None) => how.call(move || Traced::of(alive, body, given)).map(held).map_err(drop),
        (true, Some(aside)) => how.spawn_in(aside, Traced::of(alive, body, given)).map(kept).map_err(drop),
        (false, Some(aside)) => how.call_in(aside, move || Traced::of(alive, body, given)).map(kept).map_err(drop),
    };
    match started {
        Ok((id, promise)) => {
            WORLD.with(|world| world.ids.borrow_mut()[child] = Some(id));
            promise.map(|promise| (child, promise))
        }
        Err(()) => {
            log(Event::Refused(child));
            owned.extend(gift);
            None
        }
    }
}

/// The outcome of a child, and what it has passed on.
fn got(parent: usize, result: Result<Token, Exit<Token>>, owned: &mut Vec<Owned>) -> Outcome {
    let outcome = outcome(result);
    log(Event::Got { parent, outcome });
    let passed: Vec<_> = WORLD.with(|world| world.passed.borrow_mut().extract_if(.., |(child, _)| outcome.of() == Some(*child)).collect());
    for (_, (resource, handle)) in passed {
        log(Event::Arrived { parent, resource });
        owned.push((resource, handle));
    }
    outcome
}

/// Whether the last event is that this task was dropped.
fn dropped_last(child: usize) -> bool {
    WORLD.with(|world| matches!(world.events.borrow().last(), Some(Event::Dropped { task, .. }) if *task == child))
}

/// Children that are started in a time limit, by number: cut short, they are cancelled.
struct Limited(Vec<usize>);

impl Drop for Limited {
    fn drop(&mut self) {
        self.0.iter().for_each(|child| log(Event::CancelCalled(*child)));
    }
}

fn numbers(children: &[Child]) -> Vec<usize> {
    children.iter().map(|(child, _)| *child).collect()
}

async fn awaited(parent: usize, children: &mut Vec<Child>, pick: usize, owned: &mut Vec<Owned>) {
    if let Some((child, promise)) = take(children, pick) {
        log(Event::Waits(parent, For::All(vec![child])));
        let result = promise.await;
        got(parent, result, owned);
    }
}

/// Awaits the next of those aside. Whether there was one.
async fn next(parent: usize, aside: &Aside, owned: &mut Vec<Owned>) -> bool {
    log(Event::Waits(parent, For::Aside));
    match aside.next().await {
        Some(result) => drop(got(parent, result, owned)),
        None => {
            log(Event::NoNext(parent));
            return false;
        }
    }
    true
}

async fn perform(task: usize, body: usize, gift: Option<Owned>) -> Result<Token, Token> {
    let (bodies, locks) = WORLD.with(|world| (world.bodies.borrow().clone(), world.locks.borrow().clone()));
    let room = || WORLD.with(|world| world.ids.borrow().len()) < MOST_TASKS;
    let behind = |pick: usize| (body + 1 < bodies.len() && room()).then(|| body + 1 + pick % (bodies.len() - body - 1));
    let mut held: Vec<Held<'_>> = Vec::new();
    let (mut hooks, mut aside) = (Vec::new(), Aside::new());
    let (mut children, mut owned) = (Vec::new(), Vec::from_iter(gift));
    for step in &bodies[body].steps {
        match *step {
            Step::Start { body, whither, gift } => {
                if let Some(body) = behind(body) {
                    children.extend(start(task, body, whither, gift, None, &mut owned));
                }
            }
            Step::Await(pick) => awaited(task, &mut children, pick, &mut owned).await,
            Step::One => {
                log(Event::Waits(task, For::One(numbers(&children))));
                let (mut names, mut promises): (Vec<_>, Vec<_>) = std::mem::take(&mut children).into_iter().unzip();
                if let Some(one) = await_one(&mut promises).await {
                    let outcome = got(task, one, &mut owned);
                    names.retain(|&child| outcome.of() != Some(child));
                }
                children = names.into_iter().zip(promises).collect();
            }
            Step::First => {
                let names = numbers(&children);
                log(Event::Waits(task, For::First(names.clone())));
                if let Some(first) = await_first(std::mem::take(&mut children).into_iter().map(|(_, promise)| promise).collect()).await {
                    let outcome = got(task, first, &mut owned);
                    names.into_iter().filter(|&child| outcome.of() != Some(child)).for_each(|child| log(Event::CancelOver(child)));
                }
            }
            Step::All => {
                let asked = numbers(&children);
                log(Event::Waits(task, For::All(asked.clone())));
                let all = await_all(std::mem::take(&mut children).into_iter().map(|(_, promise)| promise).collect()).await;
                let got = all.into_iter().map(|result| got(task, result, &mut owned).of()).collect();
                log(Event::Ordered { asked, got });
            }
            Step::Cancel { child, wait } => {
                if let Some((child, promise)) = take(&mut children, child) {
                    let cancellation = promise.cancel();
                    log(Event::CancelCalled(child));
                    if wait {
                        log(Event::Waits(task, For::All(vec![child])));
                        cancellation.await;
                        log(Event::CancelOver(child));
                    }
                }
            }
            Step::Forget(pick) => drop(take(&mut children, pick)),
            Step::Yield => {
                log(Event::Waits(task, For::Soon));
                yield_now().await;
            }
            Step::Sleep(millis) => {
                log(Event::Waits(task, For::Soon));
                time::sleep(Duration::from_millis(millis)).await;
            }
            Step::Lock(line) => {
                let guard = wait(task, line, 1, locks.mutexes[line].lock()).await;
                held.push(Held { line, permits: 1, _kept: Kept::Guard { _guard: guard } });
            }
            Step::Acquire(permits) => {
                if let Ok(permit) = wait(task, SEMAPHORE, permits, locks.semaphore.acquire_many(permits)).await {
                    held.push(Held { line: SEMAPHORE, permits, _kept: Kept::Permit { _permit: permit } });
                }
            }
            Step::Give => drop(held.pop()),
            Step::Send => {
                let value = count(|world| &world.sent);
                if wait(task, PLACES, 1, locks.channel.send(value)).await.is_ok() {
                    log(Event::Sent(value));
                }
            }
            Step::Receive => {
                if let Some(value) = wait(task, VALUES, 1, locks.channel.receive()).await {
                    log(Event::Received(value));
                }
            }
            Step::Protect(millis) => {
                log(Event::Waits(task, For::Soon));
                log(Event::Protects(task));
                let finally = move |cancelled| log(Event::Finally { task, cancelled });
                protect(time::sleep(Duration::from_millis(millis)), move || log(Event::OnCancellation(task)), finally).await;
            }
            Step::Scope { body, fails } => {
                let mut inner = Vec::new();
                let over = scope(async {
                    for whither in [Whither::Here, Whither::Anywhere] {
                        if let Some(body) = behind(body) {
                            inner.extend(start(task, body, whither, false, None, &mut owned));
                        }
                    }
                    if fails {
                        inner.iter().for_each(|(child, _)| log(Event::CancelCalled(*child)));
                        log(Event::Waits(task, For::All(numbers(&inner))));
                        return Err(());
                    }
                    while !inner.is_empty() {
                        awaited(task, &mut inner, 0, &mut owned).await;
                    }
                    Ok(())
                })
                .await;
                log(Event::Scoped { task, failed: over.is_err() });
            }
            Step::Aside { body, whither, gift } => {
                if let Some(body) = behind(body) {
                    start(task, body, whither, gift, Some(&aside), &mut owned);
                }
            }
            Step::Care => {
                log(Event::Aside { task, count: aside.len() });
                let cared = aside.care();
                let found = match &cared {
                    Care::Ready(promise) => Found::Ready(number_of(promise.id())),
                    Care::Pending => Found::Pending,
                    Care::Empty => Found::Empty,
                };
                log(Event::Cared { task, found });
                if let Care::Ready(mut promise) = cared {
                    match poll_fn(|cx| Poll::Ready(Pin::new(&mut promise).poll(cx))).await {
                        Poll::Ready(result) => drop(got(task, result, &mut owned)),
                        Poll::Pending => log(Event::Blocked(task)),
                    }
                }
            }
            Step::Take => {
                let taken = aside.take();
                log(Event::Took { task, child: taken.as_ref().map(|promise| number_of(promise.id())) });
                children.extend(taken.map(|promise| (number_of(promise.id()), promise)));
            }
            Step::Next(None) => drop(next(task, &aside, &mut owned).await),
            Step::Next(Some(millis)) => {
                let _cut = time::timeout(Duration::from_millis(millis), next(task, &aside, &mut owned)).await;
                log(Event::Waits(task, For::Soon));
            }
            Step::DropAside => {
                log(Event::Forgot(task));
                aside = Aside::new();
            }
            Step::Parallel { body, items } => {
                let mut asked = Vec::new();
                let items = (0..items).map_while(|turn| behind(body).map(|body| (turn, body))).map(|(turn, body)| {
                    let child = number();
                    asked.push(child);
                    log(Event::Born { task: child, parent: task, pin: None, here: false, gift: None, aside: false, turn: Some(turn) });
                    (Alive(child), body)
                });
                let all = parallel(|(alive, body)| Traced::of(alive, body, None), items);
                // One that is refused is dropped at once.
                if let Some(child) = asked.pop_if(|child| dropped_last(*child)) {
                    log(Event::Refused(child));
                }
                log(Event::Waits(task, For::All(asked.clone())));
                if let Ok(all) = all.await {
                    let got = all.into_iter().map(|result| got(task, result, &mut owned).of()).collect();
                    log(Event::Ordered { asked, got });
                }
            }
            Step::Timeout { body, millis } => {
                let inner = async {
                    let mut promises = Vec::new();
                    for whither in [Whither::Here, Whither::Anywhere] {
                        if let Some(body) = behind(body) {
                            promises.extend(start(task, body, whither, false, None, &mut owned));
                        }
                    }
                    let mut limited = Limited(numbers(&promises));
                    for (child, promise) in promises {
                        log(Event::Waits(task, For::All(vec![child])));
                        let result = promise.await;
                        limited.0.retain(|&other| other != child);
                        got(task, result, &mut owned);
                    }
                };
                let _cut = time::timeout(Duration::from_millis(millis), inner).await;
                log(Event::Waits(task, For::Soon));
            }
            Step::Transfer if task != 0 => {
                if let Some((resource, handle)) = owned.pop() {
                    log(Event::Transfers { task, resource });
                    handle.transfer().expect("it is its own");
                    WORLD.with(|world| world.passed.borrow_mut().push((task, (resource, handle))));
                }
            }
            Step::Transfer => {}
            Step::Disown => {
                if let Some((resource, handle)) = owned.pop() {
                    log(Event::Disowned(resource));
                    assert_eq!(handle.disown().expect("it is its own"), resource, "R29: the value is given back");
                }
            }
            Step::Own => owned.push(own(task)),
            Step::Hook => hooks.extend(hooked()),
            Step::Release => {
                if let Some((resource, handle)) = owned.pop() {
                    log(Event::Releasing(resource));
                    handle.release().expect("it is its own");
                }
            }
        }
    }
    if bodies[body].tidy {
        drop(std::mem::take(&mut held));
        while !children.is_empty() {
            awaited(task, &mut children, 0, &mut owned).await;
        }
        while next(task, &aside, &mut owned).await {}
        while let Some((resource, handle)) = owned.pop() {
            log(Event::Releasing(resource));
            handle.release().expect("it is its own");
        }
    }
    match bodies[body].end {
        End::Ok => Ok(Token::new(task)),
        End::Err => Err(Token::new(task)),
        End::Panic => panic!("fuzzed task {task}"),
        End::Park => {
            log(Event::Waits(task, For::Ever));
            pending().await
        }
    }
}
