//! What the public types show in `Debug`: enough to tell which task or which state, and nothing of what they hold, which need not be `Debug`.

#![cfg(feature = "std")]

mod support;

use std::time::Duration;

use matou_core::dump::inspector;
use matou_core::platform::Bare;
use matou_core::suspension::Point;
use matou_core::sync::{self, Channel, Computation, Condition, Lazy, Mutex, Notify, Semaphore, SendError, Trigger, TrySendError, channel};
use matou_core::time::{Instant, interval_at, sleep_until, timeout_at};
use matou_core::trace::{Event, Trace};
use matou_core::{
    Anywhere, Config, DomainId, Full, Gift, LocalResource, NoDomainAvailable, Orphans, Outcome, Plain, Promise, Resource, Task, TaskPool,
    await_all, await_all_in, await_first, await_first_in, await_one, await_one_in, parallel, run, scope, spawn, yield_now,
};
use support::family::*;

/// A type that shows nothing.
struct Opaque;

fn ran<F: Future<Output: Outcome>>(main: F) -> Value<F> {
    run(&Bare, Config::new(), main).unwrap_or_else(|_| panic!("the run failed"))
}

#[test]
fn promises_and_cancellations_name_their_task() {
    ran(async {
        let promise = spawn(async { Plain(Opaque) });
        let id = promise.id();
        assert_eq!(format!("{promise:?}"), format!("Promise {{ id: {id:?}, ended: false, .. }}"));
        until(|| promise.is_ended()).await;
        assert_eq!(format!("{promise:?}"), format!("Promise {{ id: {id:?}, ended: true, .. }}"));
        let cancellation = promise.cancel();
        assert_eq!(cancellation.id(), id);
        assert!(format!("{cancellation:?}").starts_with("Cancellation {"), "{cancellation:?}");
        cancellation.await;
    });
}

#[test]
fn collectors_show_how_many_children_are_left() {
    ran(async {
        let orphans = Orphans::<Opaque>::default();
        assert_eq!(format!("{orphans:?}"), "Orphans { len: 0, .. }");
        orphans.spawn(async { Plain(Opaque) });
        assert_eq!(format!("{:?}", orphans.next()), "Next { orphans: Orphans { len: 1, .. }, .. }");
        assert!(orphans.next().await.is_some_and(|result| result.is_ok()));
    });
}

#[test]
fn resources_and_tasks_that_are_not_started_show_no_value() {
    ran(async {
        let sent = Resource::new(Opaque, drop);
        let local = LocalResource::new(Opaque, drop);
        assert_eq!(format!("{sent:?} {local:?}"), "Resource { .. } LocalResource { .. }");
        assert_eq!(format!("{:?}", Gift::<Anywhere>::handle(&sent)), "Handle { .. }");
        let task = Task::new().name("plumber").give(&sent);
        assert_eq!(format!("{task:?}"), "Task { name: Some(\"plumber\"), pin: None, gifts: 1 }");
    });
}

#[test]
fn waits_for_many_show_their_names() {
    ran(async {
        let mut none: [Option<Promise<Opaque>>; 0] = [];
        let mut results = [];
        let mut list: Vec<Promise<Opaque>> = Vec::new();
        assert_eq!(format!("{:?}", await_one_in(&mut none)), "AwaitOneIn { .. }");
        assert_eq!(format!("{:?}", await_first_in(&mut none)), "AwaitFirstIn { .. }");
        assert_eq!(format!("{:?}", await_all_in(&mut none, &mut results)), "AwaitAllIn { .. }");
        assert_eq!(format!("{:?}", await_one(&mut list)), "AwaitOne { .. }");
        assert_eq!(format!("{:?}", await_first(Vec::<Promise<Opaque>>::new())), "AwaitFirst { .. }");
        assert_eq!(format!("{:?}", await_all(Vec::<Promise<Opaque>>::new())), "AwaitAll { .. }");
        assert_eq!(format!("{:?}", parallel(|()| async {}, Vec::new())), "Parallel { .. }");
        let scope = scope(async { Plain(Opaque) });
        assert!(format!("{scope:?}").starts_with("Scope { frame: Frame {"), "{scope:?}");
    });
}

#[test]
fn a_pool_shows_its_free_places() {
    static POOL: TaskPool<3, 64> = TaskPool::new();
    ran(async {
        let task = POOL.spawn(yield_now()).unwrap();
        assert_eq!(format!("{POOL:?}"), "TaskPool { tasks: 3, bytes: 64, free: 2 }");
        task.await.unwrap();
    });
}

#[test]
fn suspensions_name_their_point() {
    let ran = run(&support::Threads::new(0), Config::new(), async {
        let point = Point::new().unwrap();
        let id = point.id();
        let suspended = point.suspend(|_| Ok::<(), ()>(()));
        let text = format!("{suspended:?}");
        assert!(text.starts_with("Suspend { point: Some(Point {") && text.contains(&format!("{id:?}")), "{text}");
    });
    assert!(ran.is_ok());
}

#[test]
fn locks_and_signals_show_their_state() {
    let mutex = Mutex::from(7);
    let guard = mutex.try_lock().unwrap();
    assert_eq!(format!("{guard:?} {guard}"), "7 7");
    drop(guard);
    let semaphore = Semaphore::new(3);
    let permit = semaphore.try_acquire_many(2).unwrap();
    assert_eq!(format!("{semaphore:?} {permit:?}"), "Semaphore { available_permits: 1, closed: false } Permit { permits: 2 }");
    assert_eq!(format!("{:?} {:?}", Condition::default(), Notify::default()), "Condition { .. } Notify { .. }");
    let trigger = Trigger::default();
    assert_eq!(format!("{trigger:?}"), "Trigger { signalled: false }");
    trigger.signal();
    assert_eq!(format!("{trigger:?}"), "Trigger { signalled: true }");
    let computation = Computation::default();
    assert_eq!(format!("{computation:?}"), "Computation { value: None }");
    computation.try_complete(7).unwrap();
    assert_eq!(format!("{computation:?}"), "Computation { value: Some(7) }");
    assert_eq!(format!("{:?}", Lazy::from_value(7)), "Lazy { value: Some(7), .. }");
}

#[test]
fn channels_show_how_full_they_are_and_not_with_what() {
    let channel_of_two = Channel::<Opaque, 2>::default();
    channel_of_two.try_send(Opaque).unwrap();
    assert_eq!(format!("{channel_of_two:?}"), "Channel { len: 1, capacity: 2, closed: false }");
    let (sender, mut receiver) = channel(2);
    assert!(receiver.is_empty());
    sender.try_send(Opaque).unwrap();
    assert!(!receiver.is_empty());
    assert_eq!(format!("{receiver:?}"), "Receiver { len: 1 }");
    ran(async {
        let reserved = sender.reserve().await.unwrap();
        assert_eq!(format!("{reserved:?}"), "Reserved { .. }");
    });
    receiver.close();
    assert_eq!(format!("{sender:?}"), "Sender { closed: true, capacity: 2 }");
    assert_eq!(format!("{:?} {:?}", SendError(Opaque), TrySendError::Full(Opaque)), "SendError(..) Full(..)");
    assert_eq!(format!("{:?} {:?}", TrySendError::Closed(Opaque), sync::Closed), "Closed(..) Closed");
}

#[test]
fn waits_for_a_time_show_what_is_left_of_them() {
    let period = Duration::from_nanos(5);
    ran(async {
        assert_eq!(format!("{:?}", sleep_until(Instant::from_nanos(0))), "Sleep { fired: false, .. }");
        let timeout = timeout_at(Instant::from_nanos(0), async { Plain(Opaque) });
        assert_eq!(format!("{timeout:?}"), "Timeout { sleep: Sleep { fired: false, .. }, .. }");
        let interval = interval_at(Instant::from_nanos(7), period);
        let shown = format!("{interval:?}");
        assert!(shown.starts_with("Interval { due: Some(Instant(7ns)), period: 5ns, missed: "), "{shown}");
    });
}

#[test]
fn what_is_given_back_is_not_shown() {
    ran(async {
        let refused = Task::new().name("plumber").call(|| async { Plain(Opaque) }).err().unwrap();
        assert_eq!(format!("{refused:?}"), "SpawnError { reason: NoDomainAvailable, .. }");
        assert_eq!(format!("{:?} {:?}", Full(Opaque), NoDomainAvailable(Opaque)), "Full(..) NoDomainAvailable(..)");
        assert_eq!(format!("{:?} {:?}", DomainId::ZERO, DomainId::new(7)), "DomainId(0) DomainId(7)");
        assert_eq!(format!("{:?}", Task::default()), format!("{:?}", Task::new()));
    });
}

#[test]
fn what_looks_into_a_run_shows_what_it_knows() {
    struct Deaf;
    impl Trace for Deaf {
        fn event(&self, _: &Event) {}
    }
    let consumer: &dyn Trace = &Deaf;
    assert_eq!(format!("{consumer:?}"), "Trace { .. }");
    ran(async {
        let inspector = inspector().unwrap();
        assert_eq!(format!("{inspector:?}"), "Inspector { .. }");
        let mut survey = inspector.survey();
        assert_eq!(format!("{survey:?}"), "Survey { complete: false, .. }");
        (&mut survey).await;
        assert_eq!(format!("{survey:?}"), "Survey { complete: true, .. }");
    });
}
