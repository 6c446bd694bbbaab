//! The budget: how much a task may do in one poll, how often a domain looks at its events, and whose turn it is (R35, R36).
//!
//! Tasks note their steps in the same trace as their domain's event source notes its calls, so that a whole schedule can be compared with
//! the one that the rules ask for. A poll counts one towards the next look, and so does each effect: `yield_now` in a loop counts two a poll.

#![cfg(feature = "std")]

mod support;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use matou_core::effect::poll_budget;
use matou_core::suspension::Point;
use matou_core::time::sleep;
use matou_core::{
    Care, Config, Orphans, Promise, Resource, Task, TaskPool, await_all, await_first, await_one, call, scope, spawn, yield_now,
};
use support::Hand;
use support::probe::{Counter, Flag, OnDrop, Trace, attempt, counted, counting_waker};
use support::watched::{Borrowed, Step, Watched};

/// Runs `body` on domain 0 and on a worker, with that domain's trace. Gives what was noted from the first step of a task to the last.
fn schedules<C, F>(quanta: u32, body: C) -> [Vec<Step>; 2]
where
    C: Fn(Trace<Step>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    schedules_by_hand(quanta, move |steps, _| body(steps))
}

/// The same; `body` gets the hand that resumes points of its domain, too.
fn schedules_by_hand<C, F>(quanta: u32, body: C) -> [Vec<Step>; 2]
where
    C: Fn(Trace<Step>, Arc<Hand>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    schedules_on(|| Watched::new(2), quanta, body)
}

/// The same on this platform.
fn schedules_on<C, F>(platform: impl Fn() -> Watched, quanta: u32, body: C) -> [Vec<Step>; 2]
where
    C: Fn(Trace<Step>, Arc<Hand>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    [0, 1].map(|at| {
        let platform = platform();
        let (steps, hand, body) = (platform.steps[at].clone(), platform.threads.hand(at), body.clone());
        let noted = steps.clone();
        attempt(&Borrowed(&platform), Config::new().domains(2).quanta(quanta), at, move || body(noted, hand)).unwrap();
        let steps = steps.take();
        let is_tasks = |step: &Step| matches!(step, Step::Task(..));
        let first = steps.iter().position(is_tasks).unwrap();
        let last = steps.iter().rposition(is_tasks).unwrap();
        steps[first..=last].to_vec()
    })
}

/// What the tasks said, without the source's calls.
fn tasks(steps: &[Step]) -> Vec<(&'static str, usize)> {
    let said = |step: &Step| match step {
        Step::Task(what, number) => Some((*what, *number)),
        _ => None,
    };
    steps.iter().filter_map(said).collect()
}

/// How many polls of tasks there were before, between and after the looks.
fn between_looks(steps: &[Step]) -> Vec<usize> {
    steps.split(|step| *step == Step::Look).map(<[Step]>::len).collect()
}

/// A point that nobody resumes: somebody waits for the event source.
async fn waiting() -> impl Sized {
    let mut suspended = Box::pin(Point::new().unwrap().suspend(|_| Ok::<_, ()>(())));
    poll_fn(|cx| {
        assert!(suspended.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    suspended
}

/// Waits until the next look at events.
async fn resumed(hand: &Hand) {
    let point = Point::new().unwrap();
    let registered = point.suspend(|id| {
        hand.fire(id);
        Ok::<_, ()>(())
    });
    registered.await.unwrap();
}

/// Ends the poll and is runnable again, without an effect.
async fn turn() {
    let mut turned = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut turned, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How many effects are left in the budget of this poll; then none is.
async fn use_up() -> u32 {
    let mut left = 0;
    poll_fn(|cx| {
        while poll_budget(cx).is_ready() {
            left += 1;
        }
        Poll::Ready(())
    })
    .await;
    left
}

// ---- R35: looking at events

#[test]
fn r35_the_source_is_asked_after_quanta_polls() {
    for quanta in [1, 2, 3, 8, 64] {
        for steps in schedules(quanta, move |steps| async move {
            let _waiting = waiting().await;
            // The count begins with a look.
            while steps.count(|step| *step == Step::Look) == 0 {
                turn().await;
            }
            for poll in 0..5 * quanta as usize {
                steps.note(Step::Task("poll", poll));
                turn().await;
            }
            steps.note(Step::Task("over", 0));
        }) {
            let quanta = quanta as usize;
            assert_eq!(between_looks(&steps), [quanta, quanta, quanta, quanta, quanta, 1]);
            assert!(!steps.contains(&Step::Sleep));
        }
    }
}

#[test]
fn r35_effects_count_as_polls_do() {
    for (quanta, effects) in [(1, 1), (2, 1), (8, 1), (64, 1), (8, 3), (9, 2), (64, 15), (10, 4)] {
        for steps in schedules(quanta, move |steps| async move {
            let _waiting = waiting().await;
            while steps.count(|step| *step == Step::Look) == 0 {
                turn().await;
            }
            for poll in 0..100 {
                steps.note(Step::Task("poll", poll));
                poll_fn(|cx| {
                    for _ in 0..effects {
                        let _ = poll_budget(cx);
                    }
                    Poll::Ready(())
                })
                .await;
                turn().await;
            }
        }) {
            // At the first boundary at which they are `quanta` or more.
            let polls = (quanta as usize).div_ceil(1 + effects);
            let between = between_looks(&steps);
            let (last, full) = between.split_last().unwrap();
            assert!(full.iter().all(|&between| between == polls) && *last <= polls, "{quanta} {effects}: {between:?}");
            assert_eq!(between.iter().sum::<usize>(), 100);
        }
    }
}

#[test]
fn r35_a_long_poll_is_followed_by_one_look() {
    for steps in schedules(8, |steps| async move {
        let _waiting = waiting().await;
        while steps.count(|step| *step == Step::Look) == 0 {
            turn().await;
        }
        let resource = Resource::new((), drop);
        resource.own().unwrap();
        for _ in 0..3 {
            steps.note(Step::Task("poll", 0));
            for _ in 0..100 {
                resource.check().unwrap();
            }
            turn().await;
        }
        resource.release().unwrap();
        steps.note(Step::Task("over", 0));
    }) {
        assert_eq!(between_looks(&steps), [1, 1, 1, 1]);
    }
}

#[test]
fn r35_the_polls_of_all_tasks_count_together() {
    for steps in schedules(10, |steps| async move {
        let _waiting = waiting().await;
        while steps.count(|step| *step == Step::Look) == 0 {
            turn().await;
        }
        let children: Vec<_> = (0..7)
            .map(|number| {
                let steps = steps.clone();
                spawn(async move {
                    for _ in 0..20 {
                        steps.note(Step::Task("poll", number));
                        turn().await;
                    }
                })
            })
            .collect();
        await_all(children).await;
    }) {
        let between = between_looks(&steps);
        // The parent's own poll and effects are in the first count; then it only waits.
        let (_, whole) = between.split_first().unwrap();
        let (_, whole) = whole.split_last().unwrap();
        assert!(whole.len() >= 12 && whole.iter().all(|&between| between == 10), "{between:?}");
    }
}

#[test]
fn r35_a_sleep_is_a_look() {
    // On a clock that runs a timer may be due before its domain gets to sleep.
    for steps in schedules_on(
        || Watched::new(2).with_time_of_sleeps(),
        10,
        |steps, _| async move {
            let _waiting = waiting().await;
            for _ in 0..3 {
                sleep(Duration::from_micros(100)).await;
                for poll in 0..9 {
                    steps.note(Step::Task("poll", poll));
                    if poll < 8 {
                        turn().await;
                    }
                }
            }
        },
    ) {
        // Nine polls, and the last one goes to sleep again: no look falls due.
        assert!(!steps.contains(&Step::Look), "{steps:?}");
        assert_eq!(steps.iter().filter(|step| **step == Step::Sleep).count(), 2);
    }
}

#[test]
fn r35_nobody_is_asked_while_nobody_waits() {
    for steps in schedules(4, |steps| async move {
        for poll in 0..1000 {
            steps.note(Step::Task("poll", poll));
            yield_now().await;
        }
        // A point alone, before it is registered, is somebody who waits; so is a timer.
        let point = Point::new().unwrap();
        steps.note(Step::Task("a point", 0));
        for _ in 0..10 {
            yield_now().await;
        }
        drop(point);
        steps.note(Step::Task("no point", 0));
        for _ in 0..10 {
            yield_now().await;
        }
        let mut far = Box::pin(sleep(Duration::from_secs(3600)));
        poll_fn(|cx| {
            assert!(far.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        steps.note(Step::Task("a timer", 0));
        for _ in 0..10 {
            yield_now().await;
        }
        drop(far);
        steps.note(Step::Task("no timer", 0));
        for _ in 0..10 {
            yield_now().await;
        }
        steps.note(Step::Task("over", 0));
    }) {
        let looks_after = |what| {
            let begin = steps.iter().position(|step| *step == Step::Task(what, 0)).unwrap();
            let rest = &steps[begin + 1..];
            rest.iter().take_while(|step| !matches!(step, Step::Task(..))).count()
        };
        assert!(steps[..1000].iter().all(|step| matches!(step, Step::Task("poll", _))));
        assert_eq!((looks_after("no point"), looks_after("no timer")), (0, 0));
        assert!(looks_after("a point") >= 4 && looks_after("a timer") >= 4, "{:?}", &steps[1000..]);
    }
}

#[test]
fn r35_the_source_may_wait_only_when_no_task_is_runnable() {
    for steps in schedules(4, |steps| async move {
        let _waiting = waiting().await;
        let children: Vec<_> = [30, 10, 20]
            .into_iter()
            .map(|polls| {
                let steps = steps.clone();
                spawn(async move {
                    for left in (0..polls).rev() {
                        steps.note(Step::Task("runnable", left));
                        turn().await;
                    }
                })
            })
            .collect();
        await_all(children).await;
        steps.note(Step::Task("over", 0));
    }) {
        assert!(!steps.contains(&Step::Sleep), "{steps:?}");
        assert!(steps.contains(&Step::Look));
    }
}

#[test]
fn r35_an_event_is_seen_while_a_task_is_always_runnable() {
    for at in [0, 1] {
        for quanta in [1, 8, 64] {
            let platform = Watched::new(2);
            let hand = platform.threads.hand(at);
            let polls = attempt(&Borrowed(&platform), Config::new().domains(2).quanta(quanta), at, move || async move {
                let (stop, polls) = (Rc::new(Cell::new(false)), Counter::new());
                let busy = {
                    let stop = stop.clone();
                    spawn(counted(&polls, async move {
                        while !stop.get() {
                            yield_now().await;
                        }
                    }))
                };
                let mut most = 0;
                for _ in 0..20 {
                    let before = Cell::new(0);
                    let register = |id| {
                        hand.fire(id);
                        before.set(polls.get());
                        Ok::<_, ()>(())
                    };
                    Point::new().unwrap().suspend(register).await.unwrap();
                    most = most.max(polls.get() - before.get());
                }
                // A timer, too.
                sleep(Duration::from_nanos(1)).await;
                stop.set(true);
                busy.await.unwrap();
                most
            });
            // Two a poll: a poll and an effect. One more is its turn before the one that was woken.
            let most = polls.unwrap();
            assert!(most <= (quanta as usize).div_ceil(2) + 1, "{most} polls of another task with quanta {quanta}");
        }
    }
}

// ---- R36: the budget of a poll

#[test]
fn r36_each_poll_starts_a_budget_of_quanta() {
    for quanta in [1, 2, 3, 7, 64, 1000] {
        for _ in schedules(quanta, move |steps| async move {
            steps.note(Step::Task("here", 0));
            for _ in 0..5 {
                assert_eq!(use_up().await, quanta);
                // Used up within the poll; a new poll has all of it, whatever ended the last one.
                assert_eq!(use_up().await, 0);
                turn().await;
            }
            // The budget is the poll's, not the domain's.
            let child = spawn(async move { assert_eq!(use_up().await, quanta) });
            turn().await;
            child.await.unwrap();
        }) {}
    }
}

#[test]
fn r36_quanta_of_zero_is_one() {
    for _ in schedules(0, |steps| async move {
        steps.note(Step::Task("here", 0));
        assert_eq!(use_up().await, 1);
    }) {}
}

/// How much of a poll's budget of 50 this many of an effect take, and what they gave.
async fn cost<T>(times: usize, effect: impl FnMut(usize) -> T) -> (u32, Vec<T>) {
    turn().await;
    let given = (0..times).map(effect).collect();
    (50 - use_up().await, given)
}

#[test]
fn r36_every_effect_takes_one() {
    static POOL: TaskPool<64, 64> = TaskPool::new();
    for _ in schedules(50, |steps| async move {
        steps.note(Step::Task("here", 0));
        // Tasks, made in each of the ways there are.
        let mut children: Vec<Promise<()>> = Vec::new();
        let starts: [fn(usize) -> Promise<()>; 5] = [
            |_| spawn(pending::<()>()),
            |_| POOL.spawn(pending::<()>()).unwrap(),
            |_| call(pending::<()>).unwrap(),
            |_| Task::new().name("named").spawn(pending::<()>()).unwrap(),
            |_| Task::new().name("named").call(pending::<()>).unwrap(),
        ];
        for start in starts {
            let (cost, made) = cost(7, start).await;
            assert_eq!(cost, 7);
            children.extend(made);
        }
        let (spent, cancellations) = cost(7, |_| children.pop().unwrap().cancel()).await;
        assert_eq!(spent, 7);
        for cancellation in cancellations {
            cancellation.await;
        }
        let (spent, cancellations) = cost(28, |_| children.pop().unwrap().cancel()).await;
        assert_eq!(spent, 28);
        drop(cancellations);

        let orphans: Orphans<()> = Orphans::new();
        assert_eq!(cost(7, |_| assert!(matches!(orphans.care(), Care::Empty))).await.0, 7);
        assert_eq!(cost(7, |_| assert!(orphans.take().is_none())).await.0, 7);
        assert_eq!(cost(7, |_| orphans.spawn(async {})).await.0, 7);
        assert_eq!(cost(7, |_| orphans.call(|| async {}).unwrap()).await.0, 7);
        let (spent, taken) = cost(14, |_| orphans.take().unwrap()).await;
        assert_eq!(spent, 14);
        await_all(taken).await;

        let resources: Vec<_> = (0..7).map(|_| Resource::new((), drop)).collect();
        assert_eq!(cost(7, |_| assert!(resources[0].check().is_err())).await.0, 7);
        assert_eq!(cost(7, |number| resources[number].own().unwrap()).await.0, 7);
        assert_eq!(cost(7, |number| resources[number].check().unwrap()).await.0, 7);
        assert_eq!(cost(7, |number| resources[number].with(|()| ()).unwrap()).await.0, 7);
        // More than there is.
        assert_eq!(cost(80, |_| resources[0].check().unwrap()).await.0, 50);
        assert_eq!(cost(6, |number| resources[number].release().unwrap()).await.0, 6);
        assert_eq!(cost(1, |_| resources[6].disown().unwrap()).await.0, 1);
    }) {}
}

/// Something to await that is ready, but for the budget.
type Ready = (&'static str, Pin<Box<dyn Future<Output = ()>>>);

/// One of each kind of awaited effect.
#[allow(clippy::async_yields_async)] // A promise that has ended is what is wanted.
async fn ready_effects() -> Vec<Ready> {
    let ended = || async {
        let child = spawn(async {});
        while !child.is_ended() {
            turn().await;
        }
        child
    };
    let orphans = Orphans::new();
    orphans.spawn(async {});
    turn().await;
    turn().await;
    let (promise, one, first, all) = (ended().await, ended().await, ended().await, ended().await);
    let empty: Orphans<()> = Orphans::new();
    let mut fired = Box::pin(sleep(Duration::from_millis(1)));
    assert!(poll_fn(|cx| Poll::Ready(fired.as_mut().poll(cx).is_pending())).await);
    sleep(Duration::from_millis(2)).await;
    assert!(fired.is_elapsed());
    vec![
        ("a promise", Box::pin(async move { promise.await.unwrap() })),
        ("await_one", Box::pin(async move { await_one(&mut vec![one]).await.unwrap().unwrap() })),
        ("await_one of none", Box::pin(async move { assert!(await_one::<(), ()>(&mut Vec::new()).await.is_none()) })),
        ("await_first", Box::pin(async move { await_first(vec![first]).await.unwrap().unwrap() })),
        ("await_all", Box::pin(async move { assert_eq!(await_all(vec![all]).await.len(), 1) })),
        ("Orphans::next", Box::pin(async move { orphans.next().await.unwrap().unwrap() })),
        ("Orphans::next of none", Box::pin(async move { assert!(empty.next().await.is_none()) })),
        ("a sleep that is over", Box::pin(sleep(Duration::ZERO))),
        ("a sleep that has fired", fired),
        ("a registration that fails", Box::pin(async { Point::new().unwrap().suspend(|_| Err(())).await.unwrap_err() })),
        ("poll_budget", Box::pin(poll_fn(poll_budget))),
        ("a scope", Box::pin(scope(poll_fn(poll_budget)))),
    ]
}

#[test]
fn r36_at_zero_the_next_awaited_effect_wakes_its_waker_and_is_pending() {
    for quanta in [1, 2, 5, 64] {
        for _ in schedules(quanta, move |steps| async move {
            steps.note(Step::Task("here", 0));
            for (name, mut effect) in ready_effects().await {
                turn().await;
                use_up().await;
                // It is the waker it was polled with that is woken, which may be a combinator's.
                let wakes = Counter::new();
                let waker = counting_waker(&wakes);
                for polls in 1..=3 {
                    assert!(effect.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "{name}");
                    assert_eq!(wakes.get(), polls, "{name}");
                }
                turn().await;
                let ready = poll_fn(|cx| Poll::Ready(effect.as_mut().poll(cx))).await;
                assert!(ready.is_ready(), "{name}");
                assert_eq!(wakes.get(), 3);
            }
        }) {}
    }
}

#[test]
fn r36_an_awaited_effect_takes_one_from_the_poll_it_is_ready_in() {
    for _ in schedules(10, |steps| async move {
        steps.note(Step::Task("here", 0));
        for (name, effect) in ready_effects().await {
            turn().await;
            effect.await;
            assert_eq!(use_up().await, 9, "{name}");
        }
    }) {}
}

#[test]
fn r36_an_awaited_effect_that_is_not_ready_leaves_the_budget_to_those_that_are() {
    for _ in schedules(10, |steps| async move {
        steps.note(Step::Task("here", 0));
        // A task that looks at many things of which none is ready looks at all of them.
        let mut children: Vec<_> = (0..30).map(|_| spawn(pending::<()>())).collect();
        let orphans: Orphans<()> = Orphans::new();
        orphans.spawn(pending::<()>());
        let mut all: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
        let (one, rest) = children.split_at_mut(1);
        all.extend(rest.iter_mut().map(|child| -> Pin<Box<dyn Future<Output = ()>>> { Box::pin(async move { child.await.unwrap() }) }));
        all.push(Box::pin(async { (&mut one[0]).await.unwrap() }));
        all.push(Box::pin(async { orphans.next().await.unwrap().unwrap() }));
        all.push(Box::pin(sleep(Duration::from_secs(3600))));
        turn().await;
        for left in [10, 0] {
            poll_fn(|cx| {
                for waiting in &mut all {
                    assert!(waiting.as_mut().poll(cx).is_pending());
                }
                Poll::Ready(())
            })
            .await;
            assert_eq!(use_up().await, left);
        }
        drop(all);
        for child in children {
            child.cancel().await;
        }
        orphans.take().unwrap().cancel().await;
    }) {}
}

#[test]
fn r36_what_cannot_wait_goes_on_without_a_budget() {
    for _ in schedules(3, |steps| async move {
        steps.note(Step::Task("here", 0));
        let polls = Counter::new();
        let inner = counted(&polls, async {
            use_up().await;
            let resource = Resource::new((), drop);
            resource.own().unwrap();
            resource.release().unwrap();
            (spawn(async { 7 }), call(|| async { 8 }).unwrap())
        });
        let (here, across) = inner.await;
        assert_eq!(polls.get(), 1);
        assert_eq!((here.await.unwrap(), across.await.unwrap()), (7, 8));
    }) {}
}

#[test]
fn r36_a_task_that_always_finds_its_data_ready_lets_the_others_run() {
    for quanta in [1, 4, 64] {
        for steps in schedules(quanta, move |steps| async move {
            let greedy = {
                let steps = steps.clone();
                spawn(async move {
                    for number in 0..3 * quanta as usize {
                        poll_fn(poll_budget).await;
                        steps.note(Step::Task("greedy", number));
                    }
                })
            };
            let modest = spawn(async move {
                for number in 0..3 {
                    steps.note(Step::Task("modest", number));
                    turn().await;
                }
            });
            greedy.await.unwrap();
            modest.await.unwrap();
        }) {
            let quanta = quanta as usize;
            let expected: Vec<_> =
                (0..3).flat_map(|round| (round * quanta..(round + 1) * quanta).map(|n| ("greedy", n)).chain([("modest", round)])).collect();
            assert_eq!(tasks(&steps), expected);
        }
    }
}

// ---- R36: whose turn it is

#[test]
fn r36_runnable_tasks_run_first_in_first_out() {
    for steps in schedules(64, |steps| async move {
        let children: Vec<_> = (0..5)
            .map(|number| {
                let steps = steps.clone();
                spawn(async move {
                    for round in 0..4 {
                        steps.note(Step::Task(["first", "second", "third", "fourth"][round], number));
                        yield_now().await;
                    }
                })
            })
            .collect();
        await_all(children).await;
    }) {
        let expected: Vec<_> =
            ["first", "second", "third", "fourth"].into_iter().flat_map(|round| (0..5).map(move |number| (round, number))).collect();
        assert_eq!(tasks(&steps), expected);
    }
}

#[test]
fn r36_tasks_run_in_the_order_in_which_they_were_woken_each_once() {
    for steps in schedules(64, |steps| async move {
        let flags: Vec<_> = (0..8).map(|_| Flag::new()).collect();
        let children: Vec<_> = flags
            .iter()
            .enumerate()
            .map(|(number, flag)| {
                let (steps, raised) = (steps.clone(), flag.raised());
                spawn(async move {
                    raised.await;
                    steps.note(Step::Task("woken", number));
                })
            })
            .collect();
        turn().await;
        for number in [5, 2, 7, 0, 1, 3, 6, 4] {
            flags[number].raise();
            flags[number].raise();
        }
        // Behind them all.
        let last = steps.clone();
        let made = spawn(async move { last.note(Step::Task("made", 0)) });
        await_all(children).await;
        made.await.unwrap();
    }) {
        let expected: Vec<_> = [5, 2, 7, 0, 1, 3, 6, 4].into_iter().map(|number| ("woken", number)).chain([("made", 0)]).collect();
        assert_eq!(tasks(&steps), expected);
    }
}

#[test]
fn r36_a_task_without_budget_goes_behind_the_others() {
    for steps in schedules(2, |steps| async move {
        let children: Vec<_> = (0..3)
            .map(|number| {
                let steps = steps.clone();
                spawn(async move {
                    for _ in 0..4 {
                        poll_fn(poll_budget).await;
                        steps.note(Step::Task("effect", number));
                    }
                })
            })
            .collect();
        await_all(children).await;
    }) {
        // Two effects a turn.
        let turns = [0, 0, 1, 1, 2, 2].map(|number| ("effect", number));
        assert_eq!(tasks(&steps), [turns, turns].concat());
    }
}

/// Tasks that are always runnable, and note each of their polls.
fn computing(steps: &Trace<Step>, count: usize) -> Vec<Promise<Infallible>> {
    let compute = |number| {
        let steps = steps.clone();
        spawn(async move {
            loop {
                steps.note(Step::Task("computes", number));
                turn().await;
            }
        })
    };
    (0..count).map(compute).collect()
}

#[test]
fn r36_whoever_is_resumed_passes_those_that_compute_and_so_does_what_it_spawns() {
    const QUANTA: u32 = 8;
    for steps in schedules_by_hand(QUANTA, |steps, hand| async move {
        let computing = computing(&steps, 100);
        let server = spawn(async move {
            for number in 0..20 {
                resumed(&hand).await;
                steps.note(Step::Task("resumed", number));
                let handled = steps.clone();
                let handler = spawn(async move {
                    handled.note(Step::Task("handler", number));
                    turn().await;
                    handled.note(Step::Task("its turn", number));
                });
                handler.await.unwrap();
            }
        });
        server.await.unwrap();
        for promise in computing {
            promise.cancel().await;
        }
    }) {
        let computed = |steps: &[Step]| steps.iter().filter(|step| matches!(step, Step::Task("computes", _))).count();
        let at = |what| steps.iter().position(move |step| *step == what).unwrap();
        for number in 0..20 {
            let [resumed, handler, its_turn] = ["resumed", "handler", "its turn"].map(|what| at(Step::Task(what, number)));
            let look = steps[..resumed].iter().rposition(|step| *step == Step::Look).unwrap();
            assert_eq!(computed(&steps[look..handler]), 0, "between the look that resumed it and its child's first poll");
            assert_eq!(computed(&steps[handler..its_turn]), 100, "who wakes itself was not resumed: it goes behind the others");
        }
    }
}

#[test]
fn r36_those_that_are_resumed_do_not_keep_the_others_from_running() {
    for quanta in [1_u32, 4, 64] {
        for steps in schedules_by_hand(quanta, |steps, hand| async move {
            let computing = computing(&steps, 1);
            let waits = |number| {
                let (steps, hand) = (steps.clone(), hand.clone());
                spawn(async move {
                    steps.note(Step::Task("begins", number));
                    for _ in 0.. {
                        resumed(&hand).await;
                        steps.note(Step::Task("resumed", number));
                    }
                })
            };
            let waiting: Vec<_> = (0..300).map(waits).collect();
            for _ in 0..20 {
                resumed(&hand).await;
                steps.note(Step::Task("resumed", 300));
            }
            steps.note(Step::Task("over", 0));
            for promise in waiting {
                promise.cancel().await;
            }
            for promise in computing {
                promise.cancel().await;
            }
        }) {
            let (mut ahead, mut most) = (0_i64, 0);
            for (what, _) in tasks(&steps).into_iter().take_while(|&(what, _)| what != "over") {
                ahead = if what == "resumed" { ahead + 1 } else { (ahead - 1).max(0) };
                most = most.max(ahead);
            }
            assert!(most > 0 && most <= i64::from(quanta) + 1, "{most} passed with quanta {quanta}");
        }
    }
}

/// Children of a task that was resumed, made in several polls. In which order they run.
fn order_of(quanta: u32, first: usize) -> Vec<usize> {
    let [steps, _] = schedules_by_hand(quanta, move |steps, hand| async move {
        let child = |number| {
            let steps = steps.clone();
            spawn(async move { steps.note(Step::Task("child", number)) })
        };
        resumed(&hand).await;
        let mut children: Vec<_> = (0..first).map(&child).collect();
        yield_now().await;
        children.push(child(first));
        // Its own turn comes first, and the children made before it stand in the other line.
        yield_now().await;
        children.push(child(first + 1));
        resumed(&hand).await;
        children.push(child(first + 2));
        await_all(children).await;
    });
    tasks(&steps).into_iter().map(|(_, number)| number).collect()
}

#[test]
fn r01_children_run_in_the_order_of_creation_whoever_resumed_their_parent() {
    for (quanta, first) in [(1, 4), (2, 1), (4, 10), (64, 3), (64, 200)] {
        assert_eq!(order_of(quanta, first), (0..first + 3).collect::<Vec<_>>(), "quanta {quanta}");
    }
}

#[test]
fn r01_a_child_made_after_a_resume_does_not_pass_those_made_before() {
    let [steps, _] = schedules_by_hand(64, |steps, hand| async move {
        let computing = computing(&steps, 100);
        turn().await;
        let parent = spawn({
            let steps = steps.clone();
            async move {
                let child = |number| {
                    let steps = steps.clone();
                    spawn(async move { steps.note(Step::Task("child", number)) })
                };
                // Woken already, so it stands before its child.
                poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::Ready(())
                })
                .await;
                let mut children = vec![child(0)];
                for number in 1..20 {
                    resumed(&hand).await;
                    children.push(child(number));
                }
                await_all(children).await;
            }
        });
        parent.await.unwrap();
        for promise in computing {
            promise.cancel().await;
        }
    });
    let children: Vec<_> = tasks(&steps).into_iter().filter(|(what, _)| *what == "child").map(|(_, number)| number).collect();
    assert_eq!(children, (0..20).collect::<Vec<_>>());
}

#[test]
fn r36_cancellations_and_ends_are_handled_between_polls_and_pass_nobody_over() {
    for steps in schedules(64, |steps| async move {
        let note = |what, number| {
            let steps = steps.clone();
            move || steps.note(Step::Task(what, number))
        };
        // Three to be cancelled, each with a child; all asleep.
        let doomed: Vec<_> = (0..3)
            .map(|number| {
                let (dropped, childs) = (note("dropped", number), note("child dropped", number));
                spawn(async move {
                    let _leaving = OnDrop(dropped);
                    let child = spawn(async move {
                        let _leaving = OnDrop(childs);
                        pending::<()>().await;
                    });
                    child.await.unwrap();
                })
            })
            .collect();
        turn().await;
        turn().await;
        // Two that are runnable when they are cancelled.
        let runnable: Vec<_> = (0..2)
            .map(|number| {
                let polled = note("polled", number);
                spawn(async move {
                    for _ in 0..2 {
                        polled();
                        yield_now().await;
                    }
                })
            })
            .collect();
        note("canceller", 0)();
        let cancellations: Vec<_> = doomed.into_iter().map(Promise::cancel).collect();
        note("cancelled", 0)();
        for cancellation in cancellations {
            cancellation.await;
        }
        note("ended", 0)();
        await_all(runnable).await;
    }) {
        let expected = [
            ("canceller", 0),
            // Not inside the calls,
            ("cancelled", 0),
            // and before any ordinary task;
            ("dropped", 0),
            ("dropped", 1),
            ("dropped", 2),
            ("child dropped", 0),
            ("child dropped", 1),
            ("child dropped", 2),
            // then those that were runnable, in their order, and behind them the one that their ends have woken.
            ("polled", 0),
            ("polled", 1),
            ("ended", 0),
            ("polled", 0),
            ("polled", 1),
        ];
        assert_eq!(tasks(&steps), expected);
    }
}

#[test]
fn r36_an_end_wakes_the_parent_behind_those_that_are_runnable() {
    for steps in schedules(64, |steps| async move {
        let note = |what, number| {
            let steps = steps.clone();
            move || steps.note(Step::Task(what, number))
        };
        let parent = {
            let (ends, woken) = (note("child ends", 0), note("parent", 0));
            spawn(async move {
                spawn(async move { ends() }).await.unwrap();
                woken();
            })
        };
        turn().await;
        let others: Vec<_> = (0..3)
            .map(|number| {
                let polled = note("other", number);
                spawn(async move { polled() })
            })
            .collect();
        parent.await.unwrap();
        await_all(others).await;
    }) {
        assert_eq!(tasks(&steps), [("child ends", 0), ("other", 0), ("other", 1), ("other", 2), ("parent", 0)]);
    }
}
