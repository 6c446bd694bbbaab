//! Hooks: called at every scheduling step of their domain, as long as they are there.

#![cfg(feature = "std")]

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use matou_core::hook::{self, Hook};
use matou_core::sync::Notify;
use matou_core::{ReportPlace, call, current_task, domain, spawn, yield_now};
use support::family::{Journal, Reports, go, go_reporting, pinned};
use support::wakers::panic_of;

fn counter() -> (Rc<Cell<usize>>, impl FnMut() + 'static) {
    let count = Rc::new(Cell::new(0));
    let counted = count.clone();
    (count, move || counted.set(counted.get() + 1))
}

#[test]
fn r39_a_hook_runs_at_every_step_of_its_domain_and_of_no_other() {
    go(2, 0, async {
        let (count, hook) = counter();
        let _hook = hook::add(hook);
        let busy = pinned(2, || async {
            for _ in 0..1000 {
                yield_now().await;
            }
        });
        let before = count.get();
        for polls in 1..=10 {
            yield_now().await;
            assert!(count.get() >= before + polls, "each poll is a step");
        }
        let there = pinned(1, || async {
            let (steps, mut count) = counter();
            let _hook = hook::add(move || {
                assert_eq!(domain::current().unwrap().index(), 1);
                count();
            });
            for _ in 0..10 {
                yield_now().await;
            }
            steps.get()
        });
        assert!(matches!(there.await, Ok(10..)));
        busy.await.unwrap();
    })
    .unwrap();
}

#[test]
fn r39_a_hook_that_panics_is_removed_and_reported_and_the_others_run_on() {
    static REPORTS: Reports = Reports::new();
    go_reporting(1, 0, |report| REPORTS.keep(report), async {
        let (before, hook) = counter();
        let _before = hook::add(hook);
        let calls = Rc::new(Cell::new(0));
        let called = calls.clone();
        let bad = hook::add(move || {
            called.set(called.get() + 1);
            if called.get() == 3 {
                panic!("a hook that panics");
            }
        });
        let (after, hook) = counter();
        let _after = hook::add(hook);
        for _ in 0..10 {
            yield_now().await;
        }
        assert_eq!(calls.get(), 3);
        assert!(before.get() >= 10 && after.get() == before.get());
        assert!(!bad.remove(), "it is gone");
        assert_eq!(REPORTS.take(), [(ReportPlace::Hook, 0, "a hook that panics".into())]);
    })
    .unwrap();
}

#[test]
fn r39_no_task_is_current_in_a_hook_which_may_wake_but_not_spawn() {
    static REPORTS: Reports = Reports::new();
    go_reporting(1, 0, |report| REPORTS.keep(report), async {
        let notify = Rc::new(Notify::new());
        let waiting = spawn({
            let notify = notify.clone();
            async move { notify.notified().await }
        });
        yield_now().await;
        let wakes = hook::add(move || {
            assert_eq!(current_task(), None);
            assert!(call(|| async {}).is_err(), "nobody calls");
            notify.notify_one();
        });
        waiting.await.unwrap();
        drop(wakes);
        let spawns = hook::add(|| drop(spawn(async {})));
        yield_now().await;
        assert!(!spawns.remove());
        let reports = REPORTS.take();
        assert!(matches!(&reports[..], [(ReportPlace::Hook, 0, message)] if message.contains("outside a task")), "{reports:?}");
    })
    .unwrap();
}

#[test]
fn r39_a_hook_is_removed_when_its_handle_is_dropped_and_kept_where_it_is_told_to() {
    let journal = Journal::new();
    go(0, 0, async {
        let (count, hook) = counter();
        let hook = hook::add(hook);
        yield_now().await;
        drop(hook);
        let counted = count.get();
        assert!(counted >= 1 && Rc::strong_count(&count) == 1, "its closure went with it");
        yield_now().await;
        assert_eq!(count.get(), counted);
        let gone = journal.at_drop("the end of the run");
        hook::add(move || {
            let _gone = &gone;
        })
        .keep();
        yield_now().await;
        assert_eq!(journal.read(), [""; 0]);
    })
    .unwrap();
    assert_eq!(journal.read(), ["the end of the run"]);
}

#[test]
fn r39_hooks_that_add_and_remove_hooks_themselves_included() {
    go(0, 0, async {
        let (journal, kept) = (Journal::new(), Rc::new(RefCell::new(Vec::<Hook>::new())));
        let (write, keep) = (journal.clone(), kept.clone());
        let outer = hook::add(move || {
            write.write("outer");
            // The others, and those it added before.
            keep.borrow_mut().clear();
            let write = write.clone();
            keep.borrow_mut().push(hook::add(move || write.write("inner")));
        });
        yield_now().await;
        yield_now().await;
        drop(outer);
        drop(kept);
        let said = journal.read();
        assert!(said.len() >= 2 && said.iter().all(|line| line == "outer"), "each inner one was removed before its first step: {said:?}");

        let itself = Rc::new(RefCell::new(None::<Hook>));
        let (count, mut counts) = counter();
        let handle = itself.clone();
        *itself.borrow_mut() = Some(hook::add(move || {
            counts();
            assert!(handle.take().unwrap().remove());
        }));
        for _ in 0..3 {
            yield_now().await;
        }
        assert_eq!((count.get(), Rc::strong_count(&count)), (1, 1));
    })
    .unwrap();
}

#[test]
fn r46_a_hook_that_outlives_its_run_does_nothing() {
    let (count, hook) = counter();
    let mut kept = None;
    go(0, 0, async { kept = Some(hook::add(hook)) }).unwrap();
    let counted = count.get();
    let kept = kept.unwrap();
    // Another run on the same thread, which has a hook of the same number.
    go(0, 0, async {
        let (other, hook) = counter();
        let _hook = hook::add(hook);
        assert!(!kept.remove());
        yield_now().await;
        assert!(other.get() > 0);
    })
    .unwrap();
    assert_eq!(count.get(), counted);
}

#[test]
fn r39_outside_a_run_there_is_nothing_to_hook() {
    assert!(panic_of(|| drop(hook::add(|| {}))).contains("outside a run"));
    go(0, 0, async {
        assert!(hook::add_static(&|| {}).unwrap().remove());
    })
    .unwrap();
}
