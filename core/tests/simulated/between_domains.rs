//! What meets what between two domains is decided by the seed: each order is reached, and in each the rule holds.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use matou_core::simulation::{check, event};
use matou_core::time::{now, sleep};
use matou_core::{
    DomainId, Exit, Orphans, OwnershipError, Plain, Promise, Resource, RunError, Task, ViolationKind, call, domain, scope, spawn, yield_now,
};

const ZERO: DomainId = DomainId::ZERO;
const ONE: DomainId = DomainId::new(1);
const TWO: DomainId = DomainId::new(2);

/// What a run made, dropped and finalised, and whether somebody was polled who should not have been.
#[derive(Clone, Default)]
struct Watch(Arc<Watched>);

#[derive(Default)]
struct Watched {
    made: AtomicUsize,
    dropped: AtomicUsize,
    owned: AtomicUsize,
    finalised: AtomicUsize,
    broken: AtomicBool,
    polled_late: AtomicUsize,
}

struct Token(Watch);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.0.dropped.fetch_add(1, SeqCst);
    }
}

impl Watch {
    fn token(&self) -> Token {
        self.0.made.fetch_add(1, SeqCst);
        Token(self.clone())
    }

    /// A resource of the current task's.
    fn owned(&self) -> Resource<Token> {
        let watch = self.clone();
        let resource = Resource::new(self.token(), move |_| {
            watch.0.finalised.fetch_add(1, SeqCst);
        });
        resource.own().unwrap();
        self.0.owned.fetch_add(1, SeqCst);
        resource
    }

    /// How many tokens there were, each of which is gone, and how many finalisers ran.
    #[track_caller]
    fn over(&self) -> (usize, usize) {
        let made = self.0.made.load(SeqCst);
        assert_eq!(made, self.0.dropped.load(SeqCst), "what is made is dropped once");
        (made, self.0.finalised.load(SeqCst))
    }

    /// A task that owns something, and sleeps, waits, computes or cancels for ever.
    async fn live(self, how: usize) {
        let _owned = self.owned();
        loop {
            if self.0.broken.load(SeqCst) {
                self.0.polled_late.fetch_add(1, SeqCst);
            }
            match how {
                0 => sleep(Duration::from_nanos(3)).await,
                1 => drop(event("never").await),
                2 => yield_now().await,
                _ => {
                    let token = self.token();
                    let child = move || async move {
                        let _token = token;
                        pending::<()>().await;
                    };
                    let child = if domain::current() == Some(ONE) { Task::new().pin(TWO).call(child).unwrap() } else { spawn(child()) };
                    child.cancel().await;
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Breach {
    Forgets,
    Leaks,
    AwaitsAStranger,
}

/// Breaks a rule, as the current task, in the poll in which it says so.
async fn breach(how: Breach, watch: Watch) {
    let broken = || watch.0.broken.store(true, SeqCst);
    match how {
        Breach::Forgets => {
            broken();
            drop(spawn(watch.clone().live(1)));
        }
        Breach::Leaks => {
            broken();
            watch.owned();
        }
        Breach::AwaitsAStranger => {
            let left: Rc<RefCell<Option<Promise<()>>>> = Rc::default();
            let stranger = left.clone();
            drop(spawn(async move {
                left.replace(Some(spawn(pending::<()>())));
                pending::<()>().await;
            }));
            yield_now().await;
            broken();
            let stranger = stranger.take().unwrap();
            drop(stranger.await);
            unreachable!("the poll that breaks the rule is the last");
        }
    }
}

#[test]
fn r44_a_violation_of_any_kind_from_any_domain_stops_the_run_in_order_whatever_the_others_do() {
    for how in [Breach::Forgets, Breach::Leaks, Breach::AwaitsAStranger] {
        for breaker in [ZERO, ONE, TWO] {
            let ends = check(0..60, |simulation| {
                let watch = Watch::default();
                let inner = watch.clone();
                let ended =
                    simulation.domains(2).latency(Duration::from_nanos(2)).pace(Duration::from_nanos(1)).limit(100_000).run(async move {
                        let mut others = Vec::new();
                        for life in 0..4 {
                            for domain in [ONE, TWO] {
                                let watch = inner.clone();
                                others.push(Task::new().pin(domain).call(move || watch.live(life)).unwrap());
                            }
                            others.push(spawn(inner.clone().live(life)));
                        }
                        sleep(Duration::from_nanos(10)).await;
                        match breaker {
                            ZERO => drop(spawn(breach(how, inner)).await),
                            _ => drop(Task::new().pin(breaker).call(move || breach(how, inner)).unwrap().await),
                        }
                        pending::<()>().await;
                    });
                let Err(RunError::Violation(violation)) = ended else { panic!("{how:?} on {breaker}: {ended:?}") };
                assert_eq!(violation.others, 0, "{violation}");
                match (how, violation.kind) {
                    (Breach::Forgets, ViolationKind::StillHasChildren { .. }) => {}
                    (Breach::Leaks, ViolationKind::ResourceLeaked { .. }) => {}
                    (Breach::AwaitsAStranger, ViolationKind::NotAChild { .. }) => {}
                    _ => panic!("{how:?}: {violation}"),
                }
                assert_eq!(watch.0.polled_late.load(SeqCst), 0, "no task is polled again");
                let (made, finalised) = watch.over();
                assert_eq!(finalised, watch.0.owned.load(SeqCst), "each finaliser runs");
                made
            });
            // The others were met at different moments.
            ends.reaches("many cancellations before", |made| *made > 20);
            let first = ends.values()[0].1;
            ends.reaches("another number of them", |made| *made != first);
        }
    }
}

#[test]
fn r13_a_cancellation_meets_an_end_and_the_task_ends_once() {
    let ends = check(0..300, |simulation| {
        let watch = Watch::default();
        let inner = watch.clone();
        let ended = simulation.domains(1).run(async move {
            let child = {
                let watch = inner.clone();
                call(move || async move {
                    let owned = watch.owned();
                    // Its own child is cancelled with it, or awaited.
                    let token = watch.token();
                    let grandchild = spawn(async move {
                        yield_now().await;
                        drop(token);
                    });
                    grandchild.await.unwrap();
                    owned.release().unwrap();
                    Plain(watch.token())
                })
                .unwrap()
            };
            for _ in 0..4 {
                yield_now().await;
            }
            let ended = child.is_ended();
            child.cancel().await;
            (ended, inner.0.made.load(SeqCst))
        });
        let ended = ended?;
        let (made, finalised) = watch.over();
        assert_eq!(made, ended.1, "nothing is made after the end");
        // Released, or finalised: whether it had begun to own it is seen from what was made.
        assert_eq!(finalised, usize::from(made > 0));
        Ok::<_, RunError<std::convert::Infallible, matou_core::simulation::Stopped>>((ended.0, made))
    });
    ends.reaches("it never ran", |end| *end == (false, 0))
        .reaches("it was cut short", |end| *end == (false, 2))
        .reaches("it had a result, which was on its way", |end| *end == (false, 3))
        .reaches("it had ended", |end| *end == (true, 3));
}

#[test]
fn r11_cancelling_wakes_a_domain_that_sleeps_at_once() {
    let waits = check(0..50, |simulation| {
        simulation.domains(1).latency(Duration::from_nanos(6)).run(async {
            let child = call(|| async { sleep(Duration::from_secs(3600)).await });
            sleep(Duration::from_nanos(50)).await;
            let begun = now();
            child.unwrap().cancel().await;
            (now() - begun).as_nanos() as u64
        })
    });
    // The bell's way there, and the way back.
    assert!(waits.values().iter().all(|(_, nanos)| *nanos <= 12), "{waits:?}");
    waits.reaches("both bells were late", |nanos| *nanos > 6).reaches("both were at once", |nanos| *nanos == 0);
}

#[test]
fn r31_a_transfer_meets_the_cancellation() {
    let ends = check(0..200, |simulation| {
        let watch = Watch::default();
        let inner = watch.clone();
        let ended = simulation.domains(1).quanta(1).run(async move {
            let handle: Arc<Mutex<Option<Resource<Token>>>> = Arc::default();
            let child = {
                let (watch, handle) = (inner.clone(), handle.clone());
                call(move || async move {
                    let resource = watch.owned();
                    *handle.lock().unwrap() = Some(resource.clone());
                    yield_now().await;
                    resource.transfer().unwrap();
                    assert_eq!(resource.check(), Err(OwnershipError::NotOwned), "in between nobody may use it");
                    yield_now().await;
                })
                .unwrap()
            };
            for _ in 0..3 {
                yield_now().await;
            }
            let delivered = child.is_ended();
            child.cancel().await;
            let resource = handle.lock().unwrap().clone();
            let ours = resource.map(|resource| (resource.check().is_ok(), resource.release().is_ok()));
            if delivered {
                assert_eq!(ours, Some((true, true)), "what came before the cancellation is the parent's");
            } else {
                assert_ne!(ours, Some((true, false)));
            }
            Plain((delivered, ours.map(|(mine, _)| mine)))
        });
        let (made, finalised) = watch.over();
        assert_eq!(made, finalised, "exactly once");
        ended
    });
    ends.reaches("it never owned", |end| end.1.is_none())
        .reaches("the parent had it", |end| *end == (true, Some(true)))
        .reaches("it was finalised", |end| *end == (false, Some(false)));
}

#[test]
fn r25_a_task_cancelled_in_next_leaves_no_child_behind() {
    let ends = check(0..200, |simulation| {
        let watch = Watch::default();
        let inner = watch.clone();
        let ended = simulation.domains(2).run(async move {
            let collects = {
                let watch = inner.clone();
                Task::new().pin(ONE).call(move || async move {
                    let orphans = Orphans::new();
                    for naps in 0..3 {
                        let token = watch.token();
                        let child = move || async move {
                            for _ in 0..naps {
                                yield_now().await;
                            }
                            drop(token);
                        };
                        orphans.call(child).unwrap();
                    }
                    while orphans.next().await.is_some() {}
                })
            };
            for _ in 0..8 {
                yield_now().await;
            }
            let ended = collects.as_ref().is_ok_and(Promise::is_ended);
            collects.unwrap().cancel().await;
            // Each has ended by now, whichever domain it was on.
            (ended, inner.0.made.load(SeqCst) - inner.0.dropped.load(SeqCst))
        });
        watch.over();
        ended
    });
    assert!(ends.values().iter().all(|(_, (_, left))| *left == 0));
    ends.reaches("it was cut short", |end| !end.0).reaches("it had ended", |end| end.0);
}

#[test]
fn r47_a_scope_is_cut_short_while_its_children_end_elsewhere() {
    let ends = check(0..200, |simulation| {
        let watch = Watch::default();
        let inner = watch.clone();
        let ended = simulation.domains(2).run(async move {
            let child = {
                let watch = inner.clone();
                move || async move {
                    let _token = watch.token();
                    for _ in 0..3 {
                        yield_now().await;
                    }
                }
            };
            let mut scope = Box::pin(scope(async move {
                let both = [call(child.clone()).unwrap(), call(child).unwrap()];
                for child in both {
                    child.await?;
                }
                Ok::<_, Exit>(())
            }));
            let mut polls = 0;
            // Given up after a few polls.
            let ended = std::future::poll_fn(|cx| {
                polls += 1;
                cx.waker().wake_by_ref();
                match scope.as_mut().poll(cx) {
                    std::task::Poll::Pending if polls < 6 => std::task::Poll::Pending,
                    polled => std::task::Poll::Ready(polled.is_ready()),
                }
            })
            .await;
            drop(scope);
            ended
        });
        watch.over();
        ended
    });
    ends.reaches("it was cut short", |ended| !*ended).reaches("it had ended", |ended| *ended);
}
