//! The shortest way through each part.

#![cfg(feature = "std")]

mod support;

use std::time::Duration;

use matou_core::time::{sleep, timeout};
use matou_core::{Config, Exit, Orphans, Plain, RunError, ViolationKind, call, parallel, run, spawn, yield_now};
use support::Threads;

#[test]
fn spawn_call_parallel_orphans_and_timers() {
    let platform = Threads::new(2);
    for seed in 0..200 {
        let result = run(&platform, Config::new().domains(2).seed(seed), async {
            let a = spawn(async { 1 });
            let b = call(|| async { 2 }).unwrap();
            let all = parallel(|n: i32| async move { n }, [3, 4, 5]).await.unwrap();
            let mut sum: i32 = all.into_iter().map(|r| r.unwrap()).sum();
            sum += a.await.unwrap() + b.await.unwrap();
            let orphans = Orphans::new();
            orphans.spawn(async { 6 });
            orphans
                .call(|| async {
                    yield_now().await;
                    7
                })
                .unwrap();
            while let Some(result) = orphans.next().await {
                sum += result.unwrap();
            }
            sleep(Duration::from_micros(10)).await;
            assert!(timeout(Duration::from_micros(10), std::future::pending::<()>()).await.is_err());
            let cancelled = call(std::future::pending::<()>).unwrap();
            cancelled.cancel().await;
            let dropped = spawn(std::future::pending::<()>());
            drop(dropped.cancel());
            Ok::<_, Exit>(sum)
        });
        assert_eq!(result.unwrap(), 28);
    }
}

#[test]
fn a_violation_on_a_worker_ends_the_run() {
    let platform = Threads::new(3);
    for seed in 0..200 {
        let result: Result<_, RunError<_, _>> = run(&platform, Config::new().domains(3).seed(seed), async {
            let bad = call(|| async {
                let _forgotten = spawn(std::future::pending::<()>());
                Plain(())
            })
            .unwrap();
            let _busy = call(std::future::pending::<()>).unwrap();
            bad.await
        });
        match result {
            Err(RunError::Violation(violation)) => assert!(matches!(violation.kind, ViolationKind::StillHasChildren { .. })),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_chain_of_100_000_tasks_is_cancelled() {
    fn link(depth: u32) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            if depth > 0 {
                let child = spawn(link(depth - 1));
                let _ = child.await;
            } else {
                std::future::pending::<()>().await;
            }
        })
    }
    let platform = Threads::new(0);
    let result = run(&platform, Config::new(), async {
        let chain = spawn(link(100_000));
        for _ in 0..100_010 {
            yield_now().await;
        }
        chain.cancel().await;
    });
    assert!(result.is_ok());
}
