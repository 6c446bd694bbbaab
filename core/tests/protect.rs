//! `protect`: `finally` once, whatever happens, and `on_cancellation` where the future was dropped before its end.

#![cfg(feature = "std")]

mod support;

use matou_core::{Config, platform::Bare};
use matou_core::{Exit, ReportPlace, current_task, protect, run, spawn, yield_now};
use support::family::{Journal, Reports, each, go, go_reporting, until};

/// A future that says what becomes of it.
fn protected<F: Future>(journal: &Journal, future: F) -> impl Future<Output = F::Output> + use<F> {
    let (cancelled, ended) = (journal.clone(), journal.clone());
    protect(future, move || cancelled.write("on_cancellation"), move |cancelled| ended.write(format!("finally({cancelled})")))
}

#[test]
fn r14_finally_after_an_ordinary_end() {
    each(|reach, seed| {
        let journal = Journal::new();
        go(1, seed, async {
            let inside = journal.clone();
            let child = reach.start(move || {
                protected(&inside.clone(), async move {
                    let _dropped = inside.at_drop("dropped");
                    yield_now().await;
                    7
                })
            });
            assert_eq!(child.await.unwrap(), 7);
        })
        .unwrap();
        assert_eq!(journal.read(), ["dropped", "finally(false)"]);
    });
}

#[test]
fn r14_finally_then_on_cancellation_after_a_cancellation() {
    each(|reach, seed| {
        let journal = Journal::new();
        go(1, seed, async {
            let inside = journal.clone();
            let child = reach.start(move || {
                protected(&inside.clone(), async move {
                    let _dropped = inside.at_drop("dropped");
                    inside.write("begun");
                    std::future::pending::<()>().await;
                })
            });
            until(|| journal.has("begun")).await;
            child.cancel().await;
        })
        .unwrap();
        assert_eq!(journal.read(), ["begun", "dropped", "finally(true)", "on_cancellation"]);
    });
}

#[test]
fn r14_cancelled_is_true_where_the_future_was_never_polled() {
    let journal = Journal::new();
    go(0, 0, async {
        let future = protected(&journal, {
            let dropped = journal.at_drop("dropped");
            async move {
                let _dropped = dropped;
            }
        });
        let child = spawn(future);
        child.cancel().await;
    })
    .unwrap();
    assert_eq!(journal.read(), ["dropped", "finally(true)", "on_cancellation"]);
    // Nor was it ever given to a task.
    let journal = Journal::new();
    drop(protected(&journal, async {}));
    assert_eq!(journal.read(), ["finally(true)", "on_cancellation"]);
}

#[test]
fn r14_cut_short_by_a_combinator_it_was_cancelled() {
    let journal = Journal::new();
    go(0, 0, async {
        futures_util::select_biased! {
            () = futures_util::FutureExt::fuse(Box::pin(protected(&journal, std::future::pending()))) => unreachable!(),
            () = futures_util::FutureExt::fuse(Box::pin(yield_now())) => {}
        }
    })
    .unwrap();
    assert_eq!(journal.read(), ["finally(true)", "on_cancellation"]);
}

#[test]
fn r14_a_failure_and_a_panic_are_no_cancellation_but_that_of_another_future_is() {
    let journal = Journal::new();
    go(0, 0, async {
        let failing = spawn(protected(&journal, async { Err::<(), _>("it fails") }));
        assert!(matches!(failing.await, Err(Exit::Failed("it fails"))));
        assert_eq!(journal.read(), ["finally(false)"]);
        let panicking = spawn(protected(&journal, async {
            yield_now().await;
            if true {
                panic!("it panics");
            }
        }));
        assert!(matches!(panicking.await, Err(Exit::Panicked(_))));
        assert_eq!(journal.read(), ["finally(false)", "finally(false)"]);
        let beside = journal.clone();
        let other = spawn(async move {
            futures_util::join!(protected(&beside, std::future::pending::<()>()), async { panic!("another panics") });
        });
        assert!(matches!(other.await, Err(Exit::Panicked(_))));
        assert_eq!(journal.read()[2..], ["finally(true)", "on_cancellation"]);
    })
    .unwrap();
}

#[test]
fn r14_the_task_is_the_current_one_in_both() {
    each(|reach, seed| {
        go(1, seed, async {
            let journal = Journal::new();
            let (one, two, begun) = (journal.clone(), journal.clone(), journal.clone());
            let child = reach.start(move || {
                let future = async move {
                    begun.write("begun");
                    std::future::pending::<()>().await;
                };
                protect(
                    future,
                    move || one.write(current_task().unwrap().to_string()),
                    move |_| two.write(current_task().unwrap().to_string()),
                )
            });
            let id = child.id().to_string();
            until(|| journal.has("begun")).await;
            child.cancel().await;
            assert_eq!(journal.read()[1..], [id.clone(), id]);
        })
        .unwrap();
    });
}

#[test]
fn r14_a_panic_of_finally_is_the_callers_at_the_end_and_reported_otherwise() {
    static REPORTS: Reports = Reports::new();
    go_reporting(0, 0, |report| REPORTS.keep(report), async {
        let journal = Journal::new();
        let ended = spawn(protect(async { 7 }, || {}, |_| panic!("finally panics")));
        assert!(matches!(ended.await, Err(Exit::Panicked(panic)) if panic.message() == "finally panics"));
        assert_eq!(REPORTS.take(), []);
        let still = journal.clone();
        let cancelled = spawn(protect(std::future::pending::<()>(), move || still.write("on_cancellation"), |_| panic!("finally panics")));
        yield_now().await;
        cancelled.cancel().await;
        assert_eq!(journal.read(), ["on_cancellation"], "one panic does not keep the other from being called");
        assert_eq!(REPORTS.take(), [(ReportPlace::Destructor, 0, "finally panics".into())]);
    })
    .unwrap();
    // Outside a run there is nobody to report to.
    drop(protect(async {}, || {}, |_| panic!("nobody hears")));
    assert!(run(&Bare, Config::new(), protect(async {}, || unreachable!(), |_| {})).is_ok());
}
