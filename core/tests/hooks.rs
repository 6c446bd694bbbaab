//! Hooks: called at every scheduling step of their domain, as long as they are there.

#![cfg(feature = "std")]
#![allow(unsafe_code)] // A waker that owns what is not `Send`, on one thread.

mod support;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use matou_core::hook::{self, Hook};
use matou_core::sync::Notify;
use matou_core::{ReportPlace, await_all, call, current_task, domain, spawn, yield_now};
use support::family::{Gate, Journal, Reports, at_drop, go, go_reporting, pinned};
use support::leak::leak;
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
fn r39_a_hook_that_a_hook_adds_runs_from_the_next_step_on() {
    static REPORTS: Reports = Reports::new();
    go_reporting(0, 0, |report| REPORTS.keep(report), async {
        let (count, mut counts) = counter();
        let bad = at_drop(|| panic!("a hook whose destructor panics"));
        let (added, handle) = (Rc::new(RefCell::new(None::<Hook>)), Rc::new(RefCell::new(None::<Hook>)));
        let (add, mut inner) = (
            added.clone(),
            Some(move || {
                let _bad = &bad;
                counts();
            }),
        );
        *handle.borrow_mut() = Some(hook::add(move || {
            if let Some(inner) = inner.take() {
                *add.borrow_mut() = Some(hook::add(inner));
            }
        }));
        for _ in 0..5 {
            yield_now().await;
        }
        assert!(count.get() >= 3, "called {} times", count.get());
        assert_eq!(REPORTS.take(), []);
        assert!(added.take().unwrap().remove());
        assert_eq!(REPORTS.take(), [(ReportPlace::Hook, 0, "a hook whose destructor panics".into())]);
        drop(handle.take());
    })
    .unwrap();
}

#[test]
fn r11_a_cancellation_made_in_a_hook_is_not_slept_over() {
    go(0, 0, async {
        let gate = Gate::new();
        let opens = gate.clone();
        let child = spawn(async move {
            let _opens = at_drop(move || opens.open());
            std::future::pending::<()>().await;
        });
        yield_now().await;
        yield_now().await;
        let (mut held, armed) = (Some(Box::pin(await_all(vec![child]))), Rc::new(Cell::new(false)));
        let fires = armed.clone();
        let _hook = hook::add(move || {
            if fires.get() {
                drop(held.take());
            }
        });
        armed.set(true);
        gate.passed().await;
    })
    .unwrap();
}

#[test]
fn r46_a_hook_added_at_the_very_end_of_a_run_is_dropped_in_it() {
    static REPORTS: Reports = Reports::new();
    let ended = go_reporting(0, 0, |report| REPORTS.keep(report), async {
        let bad = at_drop(|| panic!("a hook whose destructor panics"));
        let adds = std::sync::Mutex::new(Some(at_drop(move || {
            hook::add(move || {
                let _bad = &bad;
            })
            .keep();
        })));
        // A waker that adds a hook when it is dropped, kept by a timer that was leaked.
        let waker = on_wake_owning(adds);
        let mut sleep = Box::pin(matou_core::time::sleep(std::time::Duration::from_secs(1000)));
        assert!(sleep.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        leak(sleep);
    });
    assert!(ended.is_ok());
    assert_eq!(REPORTS.take(), [(ReportPlace::Hook, 0, "a hook whose destructor panics".into())]);
}

/// A waker that does nothing but own this.
fn on_wake_owning<T: 'static>(value: T) -> std::task::Waker {
    struct Owning<T>(#[allow(dead_code)] T);
    // SAFETY: made, used and dropped by one thread.
    unsafe impl<T> Send for Owning<T> {}
    // SAFETY: as above.
    unsafe impl<T> Sync for Owning<T> {}
    impl<T> std::task::Wake for Owning<T> {
        fn wake(self: std::sync::Arc<Self>) {}
    }
    std::sync::Arc::new(Owning(value)).into()
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
