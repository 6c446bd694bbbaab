//! The live tree of tasks: asked for from a task and from threads outside, across domains, and from domains that do not answer.

#![cfg(feature = "std")]

mod support;

use std::future::pending;
use std::pin::Pin;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use matou_core::dump::{Inspector, Survey, TaskState, Tree, inspector};
use matou_core::platform::Bare;
use matou_core::{Config, Orphans, Plain, Resource, Task, run, scope, spawn, yield_now};
use support::Threads;
use support::family::pinned;
use support::probe::{Flag, OnDrop};

/// Nobody waits so long: each answer comes, or the test hangs.
const LONG: Duration = Duration::from_secs(3600);

/// The text, without the numbers of lines.
fn text(tree: &Tree) -> String {
    let mut text = String::new();
    for (index, part) in tree.to_string().split(file!()).enumerate() {
        let rest = part.trim_start_matches(|c: char| index > 0 && (c == ':' || c.is_ascii_digit()));
        if index > 0 {
            text += "HERE";
        }
        text += rest;
    }
    text
}

async fn ask() -> Tree {
    let mut survey = inspector().unwrap().survey();
    (&mut survey).await;
    survey.tree()
}

/// A task that raises a flag and waits for another.
async fn park(ready: Flag, stop: Flag) -> Result<(), ()> {
    ready.raise();
    stop.raised().await;
    Ok(())
}

#[test]
fn a_tree_across_three_domains() {
    let ran = run(&Threads::new(2), Config::new().domains(2), async {
        let stop = Flag::new();
        let ready: Vec<_> = (0..4).map(|_| Flag::new()).collect();

        let near = Task::new().name("near").spawn({
            let (ready, stop) = (ready[0].clone(), stop.clone());
            async move {
                let resources = [Resource::new((), |()| {}), Resource::new((), |()| {})];
                resources.iter().for_each(|resource| resource.own().unwrap());
                park(ready, stop).await?;
                resources.iter().for_each(|resource| resource.release().unwrap());
                Ok::<_, ()>(())
            }
        });
        let far = Task::new().name("far").pin(matou_core::DomainId::new(1)).call({
            let (ready, stop) = (ready.clone(), stop.clone());
            move || async move {
                let orphans = Orphans::new();
                orphans.spawn(park(ready[1].clone(), stop.clone()));
                let (there, on) = (ready[2].clone(), stop.clone());
                let back = Task::new().name("deep").pin(matou_core::DomainId::new(2)).call(move || async move {
                    let scoped = scope(async {
                        let inner = Task::new().name("scoped").spawn(park(there, on)).unwrap();
                        inner.await.map_err(drop)
                    });
                    scoped.await
                });
                park(ready[3].clone(), stop).await?;
                orphans.next().await;
                back.unwrap().await.map_err(drop)
            }
        });
        for ready in &ready {
            ready.raised().await;
        }
        let ended = spawn(async {});
        yield_now().await;
        let runnable = spawn(async {});

        let tree = ask().await;
        assert_eq!(
            text(&tree),
            "0:0 main, domain 0, suspended, made at HERE\n  \
               0:1 near, domain 0, suspended, made at HERE, owns what it took at HERE and at HERE\n  \
               0:2 far, domain 1, suspended, made at HERE\n    \
                 1:0, domain 1, suspended, made at HERE\n    \
                 1:1 deep, domain 2, suspended, made at HERE\n      \
                   2:0 scoped, domain 2, suspended, made at HERE\n  \
               0:3, domain 0, ended, made at HERE\n  \
               0:4, domain 0, runnable, made at HERE\n"
        );
        assert!(tree.silent.is_empty() && !tree.cut_short);
        let near_info = &tree.tasks[1];
        assert!(near_info.owns.iter().all(|place| place.file() == file!()) && near_info.age.is_none());

        stop.raise();
        for promise in [near.unwrap(), far.unwrap()] {
            promise.await.unwrap();
        }
        ended.await.unwrap();
        runnable.await.unwrap();
    });
    assert!(ran.is_ok(), "{:?}", ran.err());
}

/// A domain in a long poll does not answer: the tree says so, and which task it runs. Tasks being cancelled, and one that waits for its
/// children, are there.
#[test]
fn a_domain_in_a_long_poll_is_silent() {
    let ran = run(&Threads::new(2), Config::new().domains(2), async {
        let (busy, go_on) = (Flag::new(), Flag::new());
        let block = {
            let (busy, go_on) = (busy.clone(), go_on.clone());
            move || async move {
                busy.raise();
                go_on.block();
            }
        };
        let ready = Flag::new();
        let cancelled = Task::new().name("cancelled").spawn({
            let ready = ready.clone();
            async move {
                let blocking = Task::new().name("blocking").pin(matou_core::DomainId::new(2)).call(block).unwrap();
                ready.raise();
                blocking.await.unwrap();
            }
        });
        // A test that fails ends.
        let _unblock = OnDrop({
            let go_on = go_on.clone();
            move || go_on.raise()
        });
        busy.raised().await;
        let ending = Task::new().name("ending").spawn(async {
            let _waiting = pinned(2, pending::<()>);
            Err::<(), ()>(())
        });
        ready.raised().await;
        yield_now().await;
        let cancellation = cancelled.unwrap().cancel();
        let mut survey = inspector().unwrap().survey();
        // Domain 0 answers while this task yields; domain 2 cannot.
        while survey.tree().tasks.is_empty() {
            yield_now().await;
        }
        assert!(!survey.is_complete());
        assert_eq!(
            text(&survey.tree()),
            "0:0 main, domain 0, runnable, made at HERE\n  \
               0:1 cancelled, domain 0, cancelled, made at HERE\n    \
                 0:2 blocking, domain 2, cancelled, made at HERE\n  \
               0:3 ending, domain 0, ending, made at HERE\n    \
                 0:4, domain 2, cancelled, made at HERE\n\
             domain 2 does not answer: busy in task 0:2; what its tasks have started on other domains is not shown\n"
        );
        go_on.raise();
        // It answers late.
        (&mut survey).await;
        assert!(survey.tree().silent.is_empty());
        cancellation.await;
        drop(ending.unwrap().await);
    });
    assert!(ran.is_ok(), "{:?}", ran.err());
}

#[test]
fn from_a_thread_outside() {
    let (ready, stop) = (Flag::new(), Flag::new());
    let inspected: Mutex<Option<Inspector>> = Mutex::new(None);
    let tree = std::thread::scope(|scope| {
        let outside = scope.spawn(|| {
            ready.block();
            let inspector = inspected.lock().unwrap().clone().unwrap();
            let mut survey = inspector.survey();
            let complete = survey.wait(LONG);
            stop.raise();
            (complete, survey.tree(), inspector)
        });
        let ran = run(&Threads::new(1), Config::new().domains(1).births(true), async {
            *inspected.lock().unwrap() = inspector();
            let child = pinned(1, {
                let (ready, stop) = (ready.clone(), stop.clone());
                move || park(ready, stop)
            });
            child.await.unwrap();
        });
        assert!(ran.is_ok());
        outside.join().unwrap()
    });
    let (complete, tree, inspector) = tree;
    assert!(complete);
    let states: Vec<_> = tree.tasks.iter().map(|task| (task.home.index(), task.state)).collect();
    assert_eq!(states, [(0, TaskState::Suspended), (1, TaskState::Suspended)]);
    assert!(tree.tasks.iter().all(|task| task.age.is_some()) && tree.tasks[0].age >= tree.tasks[1].age);
    assert!(tree.to_string().contains(" s old"));
    // Afterwards there is nobody, and no waiting.
    let mut survey = inspector.survey();
    assert!(survey.wait(LONG) && survey.tree().tasks.is_empty());
}

/// Whoever waits on a domain's thread answers for it meanwhile, so two that wait for each other have their answers.
#[test]
fn domains_that_wait_for_each_other() {
    let ran = run(&Threads::new(2), Config::new().domains(2), async {
        let both = Arc::new(std::sync::Barrier::new(2));
        let asking = |domain| {
            let both = both.clone();
            pinned(domain, move || async move {
                both.wait();
                let mut survey = inspector().unwrap().survey();
                // The other may have gone on, or may wait here: it answers in either case.
                assert!(survey.wait(LONG));
                Plain(survey.tree())
            })
        };
        for (index, asked) in [asking(1), asking(2)].into_iter().enumerate() {
            let tree = asked.await.unwrap();
            assert_eq!((tree.tasks.len(), tree.tasks[1 + index].state), (3, TaskState::Running));
        }
    });
    assert!(ran.is_ok(), "{:?}", ran.err());
}

/// Domains that have nothing else to look at answer too: no point, no timer, and always something runnable.
#[test]
fn a_domain_that_never_sleeps_answers() {
    let ran = run(&Bare, Config::new(), async {
        let busy = spawn(async {
            loop {
                yield_now().await;
            }
            #[allow(unreachable_code)]
            ()
        });
        assert_eq!(ask().await.tasks.len(), 2);
        busy.cancel().await;
    });
    assert!(ran.is_ok());
}

/// Deep trees are walked without a deep stack, and printed without a wide margin.
#[test]
fn a_deep_tree() {
    fn nest(depth: usize) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            match depth {
                0 => pending().await,
                _ => spawn(nest(depth - 1)).await.unwrap(),
            }
        })
    }
    let ran = run(&Bare, Config::new(), async {
        let chain = spawn(nest(20_000));
        for _ in 0..20_001 {
            yield_now().await;
        }
        let tree = ask().await;
        assert_eq!(tree.tasks.len(), 20_002);
        let text = tree.to_string();
        assert!(text.len() < 4_000_000 && text.contains("(20001 deep) "));
        chain.cancel().await;
    });
    assert!(ran.is_ok());
}

/// Threads ask all the time, while tasks are made, cancelled and ended on all domains, and when the run begins and ends.
#[test]
fn whoever_asks_whenever_does_no_harm() {
    for seed in 0..30 {
        let inspected: Mutex<Option<Inspector>> = Mutex::new(None);
        let over = Flag::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.is_raised() {
                    let inspector = inspected.lock().unwrap().clone();
                    let Some(inspector) = inspector else { continue };
                    let mut survey = inspector.survey();
                    survey.wait(Duration::from_millis(20));
                    // Every child is below its parent, and nobody is there twice.
                    let tree = survey.tree();
                    let mut ids: Vec<_> = tree.tasks.iter().map(|task| task.id).collect();
                    ids.sort_unstable();
                    ids.dedup();
                    assert_eq!(ids.len(), tree.tasks.len());
                }
            });
            let ran = run(&Threads::new(2), Config::new().domains(2).seed(seed).births(seed % 2 == 0), async {
                *inspected.lock().unwrap() = inspector();
                for round in 0..40 {
                    let orphans = Orphans::new();
                    for _ in 0..4 {
                        let inner = move || async move {
                            let resource = Resource::new((), |()| {});
                            resource.own().map_err(drop)?;
                            let child = spawn(yield_now());
                            let far = matou_core::call(pending::<()>);
                            child.await.map_err(drop)?;
                            drop(far);
                            if round % 3 == 0 { resource.transfer().map_err(drop) } else { Err(()) }
                        };
                        orphans.call(inner).unwrap();
                    }
                    if round % 2 == 0 {
                        while orphans.next().await.is_some() {}
                    } else {
                        while let Some(promise) = orphans.take() {
                            promise.cancel().await;
                        }
                    }
                }
                Err::<(), ()>(())
            });
            over.raise();
            assert!(ran.is_err());
        });
    }
}

/// The last moment before a domain sleeps: whoever was answered asks again at once, on the domain's own thread.
#[test]
fn a_question_put_just_before_a_domain_sleeps_is_answered() {
    struct Again {
        inspector: Inspector,
        survey: Mutex<Option<Survey>>,
        asked: Flag,
    }
    impl Wake for Again {
        fn wake(self: Arc<Self>) {
            *self.survey.lock().unwrap() = Some(self.inspector.survey());
            self.asked.raise();
        }
    }
    let stop = Flag::new();
    let (sender, receiver) = channel::<Arc<Again>>();
    let answered = std::thread::scope(|scope| {
        let stopping = stop.clone();
        let outside = scope.spawn(move || {
            let again = receiver.recv().unwrap();
            again.asked.block();
            let mut survey = again.survey.lock().unwrap().take().unwrap();
            // Not for ever, so that a failing test ends.
            let answered = survey.wait(Duration::from_secs(20));
            stopping.raise();
            answered
        });
        let ran = run(&Threads::new(0), Config::new(), async {
            let again = Arc::new(Again { inspector: inspector().unwrap(), survey: Mutex::default(), asked: Flag::new() });
            let mut survey = again.inspector.survey();
            assert!(Pin::new(&mut survey).poll(&mut Context::from_waker(&Waker::from(again.clone()))).is_pending());
            sender.send(again).unwrap();
            stop.raised().await;
        });
        assert!(ran.is_ok());
        outside.join().unwrap()
    });
    assert!(answered);
}

#[test]
fn a_tree_of_more_tasks_than_a_domain_tells_of_says_so() {
    let ran = run(&Bare, Config::new(), async {
        let orphans = Orphans::new();
        for _ in 0..100_000 {
            orphans.spawn(pending::<()>());
        }
        let tree = ask().await;
        assert!(tree.cut_short && tree.tasks.len() == 100_000, "the main task is one of them: {}", tree.tasks.len());
        assert!(tree.to_string().ends_with("\nand more: a domain tells of 100000 tasks at a time\n"));
        orphans.take().unwrap().cancel().await;
        assert!(!ask().await.cut_short);
        // An abnormal end takes them along.
        Err::<(), _>("enough")
    });
    assert!(matches!(ran, Err(matou_core::RunError::Failed("enough"))));
}
