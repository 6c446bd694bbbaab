//! Ownership: values with a finaliser, owned by at most one task at a time (R26–R32).
//!
//! Each rule is shown for a child on its parent's domain and on another, with the parent on domain 0 and on a worker. A resource here
//! notes what became of it in a [`Trace`]: which finaliser ran, on which domain, and whether a task was current. A finaliser that ran
//! twice, or not at all, or out of order, is seen by comparing the whole trace.

#![cfg(feature = "std")]

mod support;

use std::future::pending;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, Barrier, mpsc};

use matou_core::platform::Bare;
use matou_core::suspension::Point;
use matou_core::{
    Care, Config, DomainId, Exit, LocalResource, Orphans, OwnershipError, Plain, Promise, ReportPlace, Resource, RunError, SpawnRefusal,
    Task, Violation, ViolationKind, call, current_task, domain, run, scope, spawn, yield_now,
};
use support::Threads;
use support::probe::{
    Census, Counter, Flag, OnDrop, PLACES, Place, Trace, attempt, counted, record_report, shared, sites, take_reports, trial,
};
use support::simulate::SIMULATED;

/// Which resource was finalised, and on which domain.
type Finalised = Trace<(u32, usize)>;

fn here() -> usize {
    domain::current().unwrap().index()
}

/// A resource of this number that notes its end. Nobody owns it yet.
fn noting(number: u32, finalised: &Finalised) -> Resource<u32> {
    let finalised = finalised.clone();
    Resource::new(number, move |number| {
        assert_eq!(current_task(), None, "a finaliser is no task's");
        finalised.note((number, here()));
    })
}

/// The same, owned by the current task.
#[track_caller]
fn owned(number: u32, finalised: &Finalised) -> Resource<u32> {
    let resource = noting(number, finalised);
    resource.own().unwrap();
    resource
}

/// Whatever the current task tries, short of taking it into ownership, it gets this error.
#[track_caller]
fn assert_refused(resource: &Resource<u32>, error: OwnershipError) {
    assert_eq!(resource.check(), Err(error), "check");
    assert_eq!(resource.with(|_| panic!("it was lent")), Err::<(), _>(error), "with");
    assert_eq!(resource.disown(), Err(error), "disown");
    assert_eq!(resource.release(), Err(error), "release");
    assert_eq!(resource.transfer(), Err(error), "transfer");
    let given = || Task::new().give(resource);
    let refusal = if current_task().is_some() { SpawnRefusal::Ownership(error) } else { SpawnRefusal::NoTask };
    assert_eq!(given().spawn(pending::<()>()).map(drop).unwrap_err().reason, refusal, "give, spawn");
    let called = given().call(pending::<()>).map(drop).unwrap_err().reason;
    assert!(called == refusal || called == SpawnRefusal::NoDomainAvailable, "give, call: {called}");
}

/// How a task ends abnormally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fails,
    Panics,
    CancelledWhileRunnable,
    CancelledWhileSuspended,
}

const ENDS: [End; 4] = [End::Fails, End::Panics, End::CancelledWhileRunnable, End::CancelledWhileSuspended];

impl End {
    /// The task's part.
    async fn come(self, ready: Flag) -> Result<(), &'static str> {
        match self {
            End::Fails => Err("it failed"),
            End::Panics => panic!("it panicked"),
            End::CancelledWhileRunnable => {
                ready.raise();
                loop {
                    yield_now().await;
                }
            }
            End::CancelledWhileSuspended => {
                Point::new()
                    .unwrap()
                    .suspend(|_| {
                        ready.raise();
                        Ok::<_, &str>(())
                    })
                    .await
            }
        }
    }

    /// The parent's.
    async fn see(self, child: Promise<(), &'static str>, ready: Flag) {
        match self {
            End::Fails => assert!(matches!(child.await, Err(Exit::Failed("it failed")))),
            End::Panics => match child.await {
                Err(Exit::Panicked(panic)) => assert_eq!(panic.message(), "it panicked"),
                other => panic!("{other:?}"),
            },
            End::CancelledWhileRunnable | End::CancelledWhileSuspended => {
                ready.raised().await;
                child.cancel().await;
            }
        }
    }
}

/// For each place of a child and each abnormal end.
fn ends() -> impl Iterator<Item = (usize, Place, End)> {
    sites().flat_map(|(at, place)| ENDS.map(|end| (at, place, end)))
}

#[track_caller]
fn violation<T: std::fmt::Debug>(ended: Result<T, RunError<impl std::fmt::Debug, impl std::fmt::Debug>>) -> Violation {
    match ended {
        Err(RunError::Violation(violation)) => violation,
        other => panic!("a violation was expected, and there was {other:?}"),
    }
}

#[track_caller]
fn assert_place(place: &Location<'_>, line: u32) {
    assert_eq!((place.file(), place.line()), (file!(), line));
}

/// Has the domain `at` in one long poll until the flag is raised; waits until that has begun.
async fn occupy(at: usize, until: &Flag) -> Promise<()> {
    let (begun, until) = (Flag::new(), until.clone());
    let begins = begun.clone();
    let occupied = Task::new().pin(DomainId::new(at)).call(move || async move {
        begins.raise();
        until.block();
    });
    begun.raised().await;
    occupied.unwrap()
}

// ---- R26: at most one owner

#[test]
fn r26_a_resource_is_nobodys_until_a_task_owns_it() {
    for (at, place) in sites() {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(2, 0, at, move || async move {
            let resource = noting(1, &inner);
            assert_eq!(resource.owner(), None);
            assert_refused(&resource, OwnershipError::NotOwned);
            let child = {
                let resource = resource.clone();
                place.start(move || async move {
                    assert_refused(&resource, OwnershipError::NotOwned);
                    resource.own().unwrap();
                    assert_eq!(resource.owner(), current_task());
                    assert_eq!((resource.check(), resource.with(|number| *number)), (Ok(()), Ok(1)));
                    resource.disown().unwrap()
                })
            };
            assert_eq!(child.await.unwrap(), 1);
        });
        assert_eq!(finalised.take(), []);
    }
}

#[test]
fn r26_own_by_a_second_task_is_already_owned_and_names_the_owner() {
    for (at, place) in sites() {
        trial(2, 0, at, move || async move {
            let finalised = Finalised::new();
            let resource = owned(1, &finalised);
            let owner = current_task().unwrap();
            // By the owner itself, too.
            assert_eq!(resource.own(), Err(OwnershipError::AlreadyOwned(owner)));
            let child = {
                let resource = resource.clone();
                place.start(move || async move {
                    assert_eq!(resource.own(), Err(OwnershipError::AlreadyOwned(owner)));
                    yield_now().await;
                    assert_eq!(resource.own(), Err(OwnershipError::AlreadyOwned(owner)));
                    assert_eq!(resource.owner(), Some(owner));
                })
            };
            child.await.unwrap();
            assert_eq!((resource.owner(), resource.check()), (Some(owner), Ok(())));
            assert_eq!(resource.disown(), Ok(1));
        });
    }
}

#[test]
fn r26_use_by_another_task_is_not_owner_and_names_the_owner() {
    for (at, place) in sites() {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(2, 0, at, move || async move {
            // The parent owns, and the child tries.
            let resource = owned(1, &inner);
            let owner = current_task().unwrap();
            let child = {
                let resource = resource.clone();
                place.start(move || async move { assert_refused(&resource, OwnershipError::NotOwner(owner)) })
            };
            child.await.unwrap();
            assert_eq!(resource.with(|number| *number), Ok(1));
            assert_eq!(resource.disown(), Ok(1));

            // The child owns, and the parent tries.
            let resource = noting(2, &inner);
            let (owns, leave) = (Flag::new(), Flag::new());
            let child = {
                let (resource, owns, leave) = (resource.clone(), owns.clone(), leave.clone());
                place.start(move || async move {
                    resource.own().unwrap();
                    owns.raise();
                    leave.raised().await;
                    resource.disown().unwrap()
                })
            };
            owns.raised().await;
            assert_refused(&resource, OwnershipError::NotOwner(child.id()));
            assert_eq!(resource.own(), Err(OwnershipError::AlreadyOwned(child.id())));
            leave.raise();
            assert_eq!(child.await.unwrap(), 2);
        });
        assert_eq!(finalised.take(), []);
    }
}

#[test]
fn r26_with_inside_with_and_moving_or_releasing_inside_it_is_in_use() {
    for at in [0, 1] {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(3, 0, at, move || async move {
            let resource = owned(1, &inner);
            let other = owned(2, &inner);
            let ran = resource.with(|number| {
                assert_refused(&resource, OwnershipError::InUse);
                assert_eq!(resource.own(), Err(OwnershipError::AlreadyOwned(current_task().unwrap())));
                // Another resource is not in use.
                assert_eq!(other.with(|other| *other), Ok(2));
                *number += 10;
                *number
            });
            assert_eq!(ran, Ok(11));
            assert_eq!(resource.check(), Ok(()));
            assert_eq!((resource.disown(), other.disown()), (Ok(11), Ok(2)));
        });
        assert_eq!(finalised.take(), []);
    }
}

#[test]
fn r26_a_panic_inside_with_leaves_the_resource_usable() {
    trial(0, 0, 0, || async {
        let resource = owned(1, &Finalised::new());
        let caught = catch_unwind(AssertUnwindSafe(|| resource.with(|_| panic!("inside"))));
        assert!(caught.is_err());
        assert_eq!(resource.with(|number| *number), Ok(1));
        assert_eq!(resource.disown(), Ok(1));
    });
}

#[test]
fn r26_what_was_released_disowned_or_finalised_is_gone() {
    for (at, place) in sites() {
        trial(2, 0, at, move || async move {
            let finalised = Finalised::new();
            let [released, disowned] = [1, 2].map(|number| owned(number, &finalised));
            released.release().unwrap();
            disowned.disown().unwrap();
            let left = noting(3, &finalised);
            let child = {
                let left = left.clone();
                place.start(move || async move {
                    left.own().unwrap();
                    Err::<(), _>("it failed")
                })
            };
            assert!(child.await.is_err());
            for gone in [&released, &disowned, &left] {
                assert_eq!(gone.owner(), None);
                assert_eq!(gone.own(), Err(OwnershipError::Gone));
                assert_refused(gone, OwnershipError::Gone);
            }
        });
    }
}

#[test]
fn r26_of_tasks_that_own_at_the_same_moment_one_succeeds() {
    if SIMULATED {
        return; // Each domain waits for the others in one poll.
    }
    let finalised = Finalised::new();
    for seed in 0..10 {
        let inner = finalised.clone();
        trial(4, seed, 0, move || async move {
            for round in 0..10 {
                let (resource, together) = (noting(round, &inner), Arc::new(Barrier::new(4)));
                let attempts: Vec<_> = (1..=4)
                    .map(|worker| {
                        let (resource, together) = (resource.clone(), together.clone());
                        let attempt = move || async move {
                            together.wait();
                            let owned = resource.own();
                            together.wait();
                            match owned {
                                Ok(()) => assert_eq!(resource.with(|number| *number), Ok(round)),
                                Err(OwnershipError::AlreadyOwned(_)) => assert!(resource.check().is_err()),
                                Err(other) => panic!("{other}"),
                            }
                            together.wait();
                            if owned.is_ok() {
                                resource.release().unwrap();
                            }
                            usize::from(owned.is_ok())
                        };
                        Task::new().pin(DomainId::new(worker)).call(attempt).unwrap()
                    })
                    .collect();
                let mut owners = 0;
                for attempt in attempts {
                    owners += attempt.await.unwrap();
                }
                assert_eq!(owners, 1);
            }
        });
        assert_eq!(finalised.take().into_iter().map(|(number, _)| number).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }
}

#[test]
fn r26_a_local_resource_does_not_leave_its_domain() {
    for (at, place) in sites() {
        trial(2, 0, at, move || async move {
            let child = place.start(move || async move {
                // Neither the value nor the finaliser is `Send`.
                let finalised = shared(Vec::new());
                let local = {
                    let finalised = finalised.clone();
                    LocalResource::new(std::rc::Rc::new(7), move |value| finalised.borrow_mut().push(*value))
                };
                assert_eq!(local.check(), Err(OwnershipError::NotOwned));
                local.own().unwrap();
                assert_eq!(local.owner(), current_task());
                if place == Place::Across {
                    assert_eq!(local.transfer(), Err(OwnershipError::OtherDomain));
                    // Refused, it is still the task's.
                    assert_eq!(local.with(|value| **value), Ok(7));
                }
                // A child here may have it.
                let grandchild = Task::new().give(&local).spawn({
                    let local = local.clone();
                    async move {
                        assert_eq!(local.with(|value| **value), Ok(7));
                        local.transfer().unwrap();
                    }
                });
                grandchild.unwrap().await.unwrap();
                assert_eq!(local.check(), Ok(()));
                local.release().unwrap();
                assert_eq!(*finalised.borrow(), [7]);
            });
            child.await.unwrap();
        });
    }
}

#[test]
fn r26_outside_a_task_there_is_nobody_to_own() {
    fn outside() {
        let resource = Resource::new(1, |_| panic!("nobody owned it"));
        assert_eq!(resource.own(), Err(OwnershipError::NoTask));
        assert_refused(&resource, OwnershipError::NoTask);
        assert_eq!(LocalResource::new(1, drop).own(), Err(OwnershipError::NoTask));
    }
    outside();
    trial(0, 0, 0, || async {
        let resource = Resource::new((), |()| outside());
        resource.own().unwrap();
        resource.release().unwrap();
    });
    outside();
}

#[test]
fn r26_the_errors_name_the_owner_in_words() {
    for (at, place) in sites() {
        trial(2, 0, at, move || async move {
            let resource = owned(1, &Finalised::new());
            let owner = current_task().unwrap();
            let child = {
                let resource = resource.clone();
                place.start(move || async move {
                    let text = resource.check().unwrap_err().to_string();
                    assert!(text.contains(&format!("owned by task {owner}")), "{text}");
                    let text = resource.own().unwrap_err().to_string();
                    assert!(text.contains(&format!("already owned by task {owner}")), "{text}");
                    let refused = Task::new().give(&resource).spawn(async {}).map(drop).unwrap_err();
                    assert!(refused.to_string().contains(&format!("owned by task {owner}")), "{refused}");
                })
            };
            child.await.unwrap();
            resource.disown().unwrap();
        });
    }
}

// ---- R27: abnormal ends

#[test]
fn r27_an_abnormal_end_finalises_once_last_owned_first_on_its_domain() {
    for (at, place, end) in ends() {
        for seed in 0..3 {
            let finalised = Finalised::new();
            let inner = finalised.clone();
            let domain = trial(2, seed, at, move || async move {
                let ready = Flag::new();
                let domain = Trace::new();
                let child = {
                    let (ready, domain, inner) = (ready.clone(), domain.clone(), inner.clone());
                    place.start(move || async move {
                        domain.note(here());
                        // What was given back is not finalised, and leaves no hole.
                        let numbers: Vec<_> = (0..5).map(|number| owned(number, &inner)).collect();
                        numbers[2].disown().unwrap();
                        numbers[0].disown().unwrap();
                        let _later = owned(5, &inner);
                        yield_now().await;
                        end.come(ready).await
                    })
                };
                end.see(child, ready).await;
                // All had run when the end was known.
                assert_eq!(inner.len(), 4);
                domain.take()[0]
            });
            assert_eq!(domain == at, place == Place::Here);
            assert_eq!(finalised.take(), [5, 4, 3, 1].map(|number| (number, domain)), "{at} {place:?} {end:?}");
        }
    }
}

#[test]
fn r27_finalisers_run_after_the_future_is_dropped_and_the_children_have_ended() {
    for (at, place, end) in ends() {
        let order = Trace::new();
        let inner = order.clone();
        trial(3, 0, at, move || async move {
            let note = |what: &'static str| {
                let order = inner.clone();
                move || order.note(what)
            };
            let ready = Flag::new();
            let [parent_future, child_future] = ["parent's future", "child's future"].map(note);
            let [parent_finaliser, child_finaliser] = ["parent's finaliser", "child's finaliser"].map(note);
            let child = {
                let ready = ready.clone();
                place.start(move || async move {
                    let parents = Resource::new((), move |()| parent_finaliser());
                    parents.own().unwrap();
                    let runs = Flag::new();
                    let _forgotten = {
                        let runs = runs.clone();
                        place.start(move || async move {
                            let childs = Resource::new((), move |()| child_finaliser());
                            childs.own().unwrap();
                            let _future = OnDrop(child_future);
                            runs.raise();
                            pending::<()>().await;
                        })
                    };
                    let _future = OnDrop(parent_future);
                    runs.raised().await;
                    end.come(ready).await
                })
            };
            end.see(child, ready).await;
            inner.note("known");
        });
        let expected = ["parent's future", "child's future", "child's finaliser", "parent's finaliser", "known"];
        assert_eq!(order.take(), expected, "{at} {place:?} {end:?}");
    }
}

#[test]
fn r27_a_finaliser_that_panics_does_not_keep_the_others_from_running() {
    for (at, place, end) in ends() {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        let platform = Threads::new(2);
        let message = format!("r27 finaliser {at} {place:?} {end:?}");
        let panics = message.clone();
        let ended = attempt(&platform, Config::new().domains(2).on_report(record_report), at, move || async move {
            let ready = Flag::new();
            let child = {
                let ready = ready.clone();
                place.start(move || async move {
                    let _first = owned(1, &inner);
                    let bad = [(); 2].map(|()| Resource::new(panics.clone(), |message| panic!("{message}")));
                    bad[0].own().unwrap();
                    let _second = owned(2, &inner);
                    bad[1].own().unwrap();
                    let _third = owned(3, &inner);
                    end.come(ready).await
                })
            };
            // The outcome is what it would have been.
            end.see(child, ready).await;
        });
        ended.unwrap();
        let finalised = finalised.take();
        let on = finalised[0].1;
        assert_eq!(finalised, [3, 2, 1].map(|number| (number, on)));
        assert_eq!(take_reports(&message), [(ReportPlace::Finaliser, DomainId::new(on)); 2]);
    }
}

#[test]
fn r27_whoever_is_told_of_it_may_panic_too() {
    for (at, place) in sites() {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        let platform = Threads::new(2);
        let config = Config::new().domains(2).on_report(|_| panic!("a bad listener"));
        attempt(&platform, config, at, move || async move {
            let child = place.start(move || async move {
                let _first = owned(1, &inner);
                let bad = Resource::new((), |()| panic!("a bad finaliser"));
                bad.own().unwrap();
                let _last = owned(2, &inner);
                Err::<(), _>("it failed")
            });
            assert!(matches!(child.await, Err(Exit::Failed("it failed"))));
        })
        .unwrap();
        assert_eq!(finalised.take().into_iter().map(|(number, _)| number).collect::<Vec<_>>(), [2, 1]);
    }
}

#[test]
fn r27_local_resources_are_finalised_among_the_others() {
    for (at, place, end) in ends() {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(2, 0, at, move || async move {
            let ready = Flag::new();
            let child = {
                let ready = ready.clone();
                place.start(move || async move {
                    let _first = owned(1, &inner);
                    let thread = std::thread::current().id();
                    let local = LocalResource::new(std::rc::Rc::new(2), move |number: std::rc::Rc<u32>| {
                        assert_eq!(std::thread::current().id(), thread);
                        inner.note((*number, here()));
                    });
                    local.own().unwrap();
                    end.come(ready).await
                })
            };
            end.see(child, ready).await;
        });
        assert_eq!(finalised.take().into_iter().map(|(number, _)| number).collect::<Vec<_>>(), [2, 1]);
    }
}

#[test]
fn r27_the_main_tasks_resources_are_finalised_before_run_returns() {
    for panics in [false, true] {
        let finalised = Finalised::new();
        let ended = run(&Threads::new(1), Config::new().domains(1), async {
            let _owned = [1, 2].map(|number| owned(number, &finalised));
            yield_now().await;
            if panics {
                panic!("it panicked");
            }
            Err::<(), _>("it failed")
        });
        assert!(matches!(ended, Err(RunError::Failed("it failed") | RunError::Panicked(_))));
        assert_eq!(finalised.take(), [(2, 0), (1, 0)]);
    }
}

#[test]
fn r27_the_last_handle_need_not_exist_any_more() {
    for (at, place, end) in ends() {
        let census = Census::new();
        let inner = census.clone();
        trial(2, 0, at, move || async move {
            let ready = Flag::new();
            let child = {
                let (ready, census) = (ready.clone(), inner.clone());
                place.start(move || async move {
                    drop(census.resource_here());
                    drop(census.resource_here());
                    assert_eq!(census.gone(), 0);
                    end.come(ready).await
                })
            };
            end.see(child, ready).await;
            inner.assert_all_gone(2);
        });
        census.assert_all_gone(2);
    }
}

// ---- R28: normal ends

#[test]
fn r28_a_normal_end_with_a_resource_runs_its_finaliser_and_is_a_violation() {
    for (at, place) in sites() {
        for seed in 0..4 {
            let finalised = Finalised::new();
            let inner = finalised.clone();
            let platform = Threads::new(2);
            let (leaked, made) = (Trace::new(), Trace::new());
            let (leaking, making) = (leaked.clone(), made.clone());
            let ended = attempt(&platform, Config::new().domains(2).seed(seed), at, move || async move {
                let leak = move || async move {
                    let resource = noting(1, &inner);
                    leaking.note((current_task().unwrap(), here(), line!() + 1));
                    resource.own().unwrap();
                };
                making.note(line!() + 1);
                let child = place.start_as(Task::new().name("leaker"), leak);
                let _ = child.await;
                unreachable!("the run is being stopped");
            });
            let violation = violation(ended);
            let ((task, domain, owned_at), born_at) = (leaked.take()[0], made.take()[0]);
            let ViolationKind::ResourceLeaked { owned } = violation.kind else { panic!("{violation}") };
            assert_place(owned, owned_at);
            assert_place(violation.born, born_at);
            assert_eq!((violation.task, violation.name, violation.others), (task, Some("leaker"), 0));
            let text = violation.to_string();
            let places = [owned_at, born_at].map(|line| format!("{}:{line}:", file!()));
            for part in ["ResourceLeaked (R28)", &format!("task {task} (leaker)"), &places[0], &places[1]] {
                assert!(text.contains(part), "{part} in {text}");
            }
            assert_eq!(finalised.take(), [(1, domain)]);
        }
    }
}

#[test]
fn r28_holds_for_the_main_task() {
    let finalised = Finalised::new();
    let line = Trace::new();
    let born = line!() + 1;
    let ended = run(&Bare, Config::new(), async {
        let resource = noting(1, &finalised);
        line.note(line!() + 1);
        resource.own().unwrap();
    });
    let violation = violation(ended);
    let ViolationKind::ResourceLeaked { owned } = violation.kind else { panic!("{violation}") };
    assert_place(owned, line.take()[0]);
    assert_place(violation.born, born);
    assert_eq!(violation.task.to_string(), "0:0");
    assert_eq!(finalised.take(), [(1, 0)]);
}

#[test]
fn r28_every_resource_of_the_task_is_finalised_and_one_violation_reported() {
    for place in PLACES {
        let finalised = Finalised::new();
        let ended = run(&Threads::new(1), Config::new().domains(1), async {
            let inner = finalised.clone();
            let child = place.start(move || async move {
                for number in 0..4 {
                    owned(number, &inner);
                }
            });
            child.await
        });
        assert_eq!(violation(ended).others, 0);
        let on = usize::from(place == Place::Across);
        assert_eq!(finalised.take(), [3, 2, 1, 0].map(|number| (number, on)));
    }
}

#[test]
fn r28_comes_before_r3() {
    for place in PLACES {
        let (finalised, census) = (Finalised::new(), Census::new());
        let ended = run(&Threads::new(2), Config::new().domains(2), async {
            let (inner, census) = (finalised.clone(), census.clone());
            let child = place.start(move || async move {
                let guard = census.guard_here();
                let forgotten = spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                });
                drop(forgotten);
                let _in_orphans = Orphans::new().spawn(async {});
                owned(1, &inner);
            });
            child.await
        });
        let violation = violation(ended);
        assert!(matches!(violation.kind, ViolationKind::ResourceLeaked { .. }), "{violation}");
        assert_eq!((violation.others, finalised.len()), (0, 1));
        census.assert_all_gone(1);
    }
}

#[test]
fn r28_is_kept_by_what_was_released_disowned_given_or_transferred() {
    for (at, place) in sites() {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(2, 0, at, move || async move {
            let finalised = inner.clone();
            let child = place.start(move || async move {
                let [released, disowned, given, transferred] = [1, 2, 3, 4].map(|number| owned(number, &inner));
                released.release().unwrap();
                disowned.disown().unwrap();
                let taker = Task::new().give(&given).spawn(async move { given.release().unwrap() });
                taker.unwrap().await.unwrap();
                transferred.transfer().unwrap();
                Plain(transferred)
            });
            let transferred = child.await.unwrap();
            assert_eq!(finalised.len(), 2);
            transferred.release().unwrap();
        });
        assert_eq!(finalised.take().into_iter().map(|(number, _)| number).collect::<Vec<_>>(), [1, 3, 4]);
    }
}

// ---- R29: disown and release

#[test]
fn r29_disown_gives_the_value_back_and_does_not_run_the_finaliser() {
    for (at, place) in sites() {
        let (value, capture) = (Census::new(), Census::new());
        let (values, captures) = (value.clone(), capture.clone());
        trial(2, 0, at, move || async move {
            let child = place.start(move || async move {
                let (guard, captured) = (values.guard_here(), captures.guard_here());
                let resource = Resource::new(guard, move |_| panic!("the finaliser ran, with {captured:?}"));
                resource.own().unwrap();
                let guard = resource.disown().unwrap();
                // The finaliser is gone, the value lives on.
                assert_eq!((captures.gone(), values.gone()), (1, 0));
                assert_eq!(resource.disown().map(drop), Err(OwnershipError::Gone));
                drop(guard);
            });
            child.await.unwrap();
        });
        value.assert_all_gone(1);
        capture.assert_all_gone(1);
    }
}

#[test]
fn r29_release_runs_the_finaliser_once_before_it_returns() {
    for (at, place) in sites() {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(2, 0, at, move || async move {
            let child = place.start(move || async move {
                let [first, second] = [1, 2].map(|number| owned(number, &inner));
                first.release().unwrap();
                assert_eq!(inner.take(), [(1, here())]);
                assert_eq!(first.release(), Err(OwnershipError::Gone));
                second.release().unwrap();
                assert_eq!(inner.take(), [(2, here())]);
                // Nothing is left for an abnormal end.
                Err::<(), _>("it failed")
            });
            assert!(matches!(child.await, Err(Exit::Failed("it failed"))));
        });
        assert_eq!(finalised.take(), []);
    }
}

#[test]
fn r29_a_finaliser_that_panics_in_release_is_not_run_again() {
    for place in PLACES {
        let ran = Counter::new();
        let inner = ran.clone();
        trial(1, 0, 0, move || async move {
            let ran = inner.clone();
            let child = place.start(move || async move {
                let resource = Resource::new((), move |()| {
                    inner.add();
                    panic!("a bad finaliser");
                });
                resource.own().unwrap();
                let released = catch_unwind(AssertUnwindSafe(|| resource.release()));
                assert_eq!(resource.check(), Err(OwnershipError::Gone));
                assert!(current_task().is_some(), "the task is current again");
                drop(released);
                Err::<(), _>("it failed")
            });
            assert!(matches!(child.await, Err(Exit::Failed("it failed"))));
            assert_eq!(ran.get(), 1);
        });
        assert_eq!(ran.get(), 1);
    }
}

#[test]
fn r29_what_nobody_owns_is_dropped_without_its_finaliser() {
    let (value, capture) = (Census::new(), Census::new());
    let captured = capture.guard();
    let resource = Resource::new(value.guard(), move |_| panic!("the finaliser ran, with {captured:?}"));
    let clone = resource.clone();
    drop(resource);
    assert_eq!(value.gone(), 0);
    drop(clone);
    value.assert_all_gone(1);
    capture.assert_all_gone(1);
}

// ---- R30: give

#[test]
fn r30_give_makes_the_child_the_owner_at_its_creation() {
    for (at, place) in sites() {
        for seed in 0..4 {
            let finalised = Finalised::new();
            let inner = finalised.clone();
            trial(2, seed, at, move || async move {
                let [first, second] = [1, 2].map(|number| owned(number, &inner));
                let kept = owned(3, &inner);
                let release = Flag::new();
                let child = {
                    let (first, second, kept, release) = (first.clone(), second.clone(), kept.clone(), release.clone());
                    let parent = current_task().unwrap();
                    place.start_as(Task::new().give(&first).give(&second), move || async move {
                        assert_eq!((first.owner(), second.owner()), (current_task(), current_task()));
                        assert_eq!((first.with(|number| *number), second.with(|number| *number)), (Ok(1), Ok(2)));
                        assert_refused(&kept, OwnershipError::NotOwner(parent));
                        release.raised().await;
                        first.release().unwrap();
                        second.release().unwrap();
                    })
                };
                // At once: the child cannot have run yet, or might have.
                assert_refused(&first, OwnershipError::NotOwner(child.id()));
                assert_refused(&second, OwnershipError::NotOwner(child.id()));
                assert_eq!((first.owner(), kept.check()), (Some(child.id()), Ok(())));
                release.raise();
                child.await.unwrap();
                kept.disown().unwrap();
            });
            assert_eq!(finalised.take().into_iter().map(|(number, _)| number).collect::<Vec<_>>(), [1, 2]);
        }
    }
}

#[test]
fn r30_give_works_for_orphans() {
    for (at, place) in sites() {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(2, 0, at, move || async move {
            let orphans = Orphans::new();
            let resource = owned(1, &inner);
            let make = {
                let resource = resource.clone();
                move || async move { resource.release().unwrap() }
            };
            let task = Task::new().give(&resource);
            let id = match place {
                Place::Here => task.spawn_in(&orphans, make()).unwrap(),
                Place::Across => task.call_in(&orphans, make).unwrap(),
            };
            assert!(matches!(resource.check(), Err(OwnershipError::NotOwner(owner)) if owner == id) || resource.owner().is_none());
            orphans.next().await.unwrap().unwrap();
        });
        assert_eq!(finalised.len(), 1);
    }
}

#[test]
fn r30_a_child_cancelled_before_it_ever_runs_has_its_gifts_finalised() {
    if SIMULATED {
        return; // It occupies a domain in the middle of a poll.
    }
    for (at, place) in sites() {
        let (finalised, census) = (Finalised::new(), Census::new());
        let (inner, guards) = (finalised.clone(), census.clone());
        let on = trial(2, 0, at, move || async move {
            // Across: on a domain that is in a long poll meanwhile.
            let worker = 2;
            let free = Flag::new();
            let occupied = if place == Place::Across { Some(occupy(worker, &free).await) } else { None };
            let gifts = [1, 2, 3].map(|number| owned(number, &inner));
            let (guard, ran) = (guards.guard(), Counter::new());
            let runs = ran.clone();
            let make = move || async move {
                runs.add();
                drop(guard);
            };
            let task = Task::new().give(&gifts[1]).give(&gifts[2]).give(&gifts[0]);
            let child = match place {
                Place::Here => task.spawn(make()).unwrap(),
                Place::Across => task.pin(DomainId::new(worker)).call(make).unwrap(),
            };
            let cancelled = child.cancel();
            assert_eq!(inner.len(), 0, "not inside the call");
            free.raise();
            cancelled.await;
            assert_eq!((inner.len(), guards.gone(), ran.get()), (3, 1, 0));
            if let Some(occupied) = occupied {
                occupied.await.unwrap();
            }
            if place == Place::Here { at } else { worker }
        });
        // Last given first.
        assert_eq!(finalised.take(), [1, 3, 2].map(|number| (number, on)));
        census.assert_all_gone(1);
    }
}

#[test]
fn r30_gifts_are_finalised_when_the_closure_panics_and_after_what_the_child_owned_later() {
    for at in [0, 1] {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(2, 0, at, move || async move {
            let gift = owned(1, &inner);
            let bad = Task::new().give(&gift).call(|| {
                assert!(current_task().is_none(), "a broken closure");
                async {}
            });
            assert!(matches!(bad.unwrap().await, Err(Exit::Panicked(panic)) if panic.message() == "a broken closure"));
            assert_eq!(inner.take().len(), 1);

            let gift = owned(2, &inner);
            let own = inner.clone();
            let failing = Task::new().give(&gift).call(move || async move {
                owned(3, &own);
                Err::<(), _>("it failed")
            });
            assert!(failing.unwrap().await.is_err());
        });
        assert_eq!(finalised.take().into_iter().map(|(number, _)| number).collect::<Vec<_>>(), [3, 2]);
    }
}

#[test]
fn r30_a_start_that_fails_moves_nothing() {
    for (workers, at) in [(0, 0), (1, 1), (2, 0), (2, 1)] {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(workers, 0, at, move || async move {
            let mine = [1, 2].map(|number| owned(number, &inner));
            let nobodys = noting(3, &inner);
            let orphans = Orphans::new();
            let give = || Task::new().give(&mine[0]).give(&mine[1]);
            let spawned = |task: Task, reason| {
                let refused = task.spawn(async { 7 }).map(drop).unwrap_err();
                assert_eq!(refused.reason, reason);
            };
            let spawned_aside = |task: Task, reason| {
                let refused = task.spawn_in(&orphans, async { 7 }).unwrap_err();
                assert_eq!(refused.reason, reason);
            };
            let called = |task: Task, reason| {
                let refused = task.call(|| async { 7 }).map(drop).unwrap_err();
                assert_eq!(refused.reason, reason);
            };
            let called_aside = |task: Task, reason| {
                let refused = task.call_in(&orphans, || async { 7 }).unwrap_err();
                assert_eq!(refused.reason, reason);
            };
            let elsewhere = DomainId::new(workers + 1);
            let not_owned = SpawnRefusal::Ownership(OwnershipError::NotOwned);
            let in_use = SpawnRefusal::Ownership(OwnershipError::InUse);
            for (give, refusal) in [
                (give().pin(elsewhere), SpawnRefusal::PinnedElsewhere(elsewhere)),
                (give().give(&nobodys), not_owned),
                // The same one twice.
                (give().give(&mine[0]), in_use),
            ] {
                spawned(give, refusal);
            }
            spawned_aside(give().give(&nobodys), not_owned);
            for (pin, refusal) in [
                (Some(DomainId::ZERO), SpawnRefusal::DomainZero),
                (Some(elsewhere), SpawnRefusal::UnknownDomain(elsewhere)),
                (Some(DomainId::new(at)), if at == 0 { SpawnRefusal::DomainZero } else { SpawnRefusal::OwnDomain }),
                (None, SpawnRefusal::NoDomainAvailable),
            ] {
                let task = |task: Task| match pin {
                    Some(pin) => task.pin(pin),
                    None => task,
                };
                if pin.is_none() && workers == 2 {
                    // There is a domain: what fails is the gift.
                    called(give().give(&nobodys), not_owned);
                    called_aside(give().give(&mine[1]), in_use);
                    continue;
                }
                called(task(give()), refusal);
                called_aside(task(give()), refusal);
            }
            mine[0].with(|_| spawned(give(), in_use)).unwrap();
            for resource in &mine {
                assert_eq!((resource.owner(), resource.check()), (current_task(), Ok(())));
            }
            assert_eq!((nobodys.owner(), orphans.len(), inner.len()), (None, 0, 0));
            for resource in &mine {
                resource.release().unwrap();
            }
        });
        assert_eq!(finalised.take(), [(1, at), (2, at)]);
    }
}

#[test]
fn r30_gifts_pass_from_hand_to_hand_across_domains() {
    /// Gives the resource on, `left` times, each time to another domain.
    fn pass(resource: Resource<u32>, left: u32) -> std::pin::Pin<Box<dyn Future<Output = Result<u32, Exit<u32>>>>> {
        Box::pin(async move {
            resource.with(|number| *number += 1).unwrap();
            if left == 0 {
                return Ok(resource.disown().unwrap());
            }
            let on = resource.clone();
            let task = Task::new().give(&resource);
            let next = if left.is_multiple_of(3) {
                task.spawn(pass(on, left - 1)).unwrap()
            } else {
                task.call(move || pass(on, left - 1)).unwrap()
            };
            next.await.map_err(|_| Exit::Cancelled)
        })
    }
    let finalised = Finalised::new();
    for seed in 0..10 {
        let inner = finalised.clone();
        let hands = trial(3, seed, 0, move || async move {
            let resource = owned(0, &inner);
            let first = Task::new().give(&resource).call({
                let resource = resource.clone();
                move || pass(resource, 20)
            });
            let hands = first.unwrap().await.unwrap();
            assert_eq!(resource.check(), Err(OwnershipError::Gone));
            hands
        });
        assert_eq!(hands, 21);
    }
    assert_eq!(finalised.take(), []);
}

#[test]
fn r30_a_gift_to_a_child_made_by_a_destructor_is_finalised() {
    for place in PLACES {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(2, 0, 0, move || async move {
            let (runs, ran) = (Flag::new(), Counter::new());
            let child = {
                let (runs, ran, inner) = (runs.clone(), ran.clone(), inner.clone());
                place.start(move || async move {
                    let resource = owned(1, &inner);
                    let _leaving = OnDrop(move || {
                        let (ran_here, ran_there) = (ran.clone(), ran.clone());
                        let here = Task::new().give(&resource).spawn(async move {
                            ran_here.add();
                        });
                        drop(here.unwrap());
                        let there = Task::new().give(&owned(2, &inner)).call(move || async move {
                            ran_there.add();
                        });
                        drop(there.unwrap());
                    });
                    runs.raise();
                    pending::<()>().await;
                })
            };
            runs.raised().await;
            child.cancel().await;
            assert_eq!((inner.len(), ran.get()), (2, 0));
        });
        let mut numbers: Vec<_> = finalised.take().into_iter().map(|(number, _)| number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2]);
    }
}

// ---- R31: transfer

/// How a task ends after it has transferred.
#[derive(Clone, Copy, Debug)]
enum After {
    Returns,
    Fails,
    Panics,
}

#[test]
fn r31_transfer_makes_the_parent_the_owner_no_later_than_its_promise_resolves() {
    for (at, place) in sites() {
        for after in [After::Returns, After::Fails, After::Panics] {
            for seed in 0..4 {
                let finalised = Finalised::new();
                let inner = finalised.clone();
                trial(2, seed, at, move || async move {
                    let resource = noting(1, &inner);
                    let kept = noting(2, &inner);
                    let child = {
                        let (resource, kept) = (resource.clone(), kept.clone());
                        place.start(move || async move {
                            resource.own().unwrap();
                            kept.own().unwrap();
                            resource.transfer().unwrap();
                            if matches!(after, After::Returns) {
                                kept.release().unwrap();
                            }
                            yield_now().await;
                            match after {
                                After::Returns => Ok(()),
                                After::Fails => Err("it failed"),
                                After::Panics => panic!("it panicked"),
                            }
                        })
                    };
                    let id = child.id();
                    let ended = child.await;
                    // In the same poll.
                    assert_eq!((resource.owner(), resource.check()), (current_task(), Ok(())), "from {id}");
                    assert_eq!(ended.is_ok(), matches!(after, After::Returns));
                    // What the child kept is finalised, what it transferred is not.
                    assert_eq!(inner.take().into_iter().map(|(number, _)| number).collect::<Vec<_>>(), [2]);
                    assert_eq!(resource.with(|number| *number), Ok(1));
                    resource.release().unwrap();
                });
                assert_eq!(finalised.take(), [(1, at)]);
            }
        }
    }
}

#[test]
fn r31_in_between_nobody_may_use_it() {
    for (at, place) in sites() {
        trial(2, 0, at, move || async move {
            let resource = noting(1, &Finalised::new());
            let (transferred, leave) = (Flag::new(), Flag::new());
            let child = {
                let (resource, transferred, leave) = (resource.clone(), transferred.clone(), leave.clone());
                place.start(move || async move {
                    resource.own().unwrap();
                    resource.transfer().unwrap();
                    // Not the child,
                    assert_refused(&resource, OwnershipError::NotOwned);
                    assert_eq!(resource.own(), Err(OwnershipError::NotOwned));
                    transferred.raise();
                    leave.raised().await;
                    assert_refused(&resource, OwnershipError::NotOwned);
                })
            };
            transferred.raised().await;
            // nor the parent, nor anybody else.
            assert_eq!(resource.owner(), None);
            assert_refused(&resource, OwnershipError::NotOwned);
            assert_eq!(resource.own(), Err(OwnershipError::NotOwned));
            for place in PLACES {
                let resource = resource.clone();
                let other = place.start(move || async move {
                    assert_eq!(resource.own(), Err(OwnershipError::NotOwned));
                    assert_refused(&resource, OwnershipError::NotOwned);
                });
                other.await.unwrap();
            }
            leave.raise();
            child.await.unwrap();
            assert_eq!(resource.disown(), Ok(1));
        });
    }
}

#[test]
fn r31_the_main_task_has_no_parent() {
    let ended = run(&Bare, Config::new(), async {
        let resource = owned(1, &Finalised::new());
        assert_eq!(resource.transfer(), Err(OwnershipError::NoParent));
        let local = LocalResource::new(1, drop);
        local.own().unwrap();
        assert_eq!(local.transfer(), Err(OwnershipError::NoParent));
        // Refused, both are still its own.
        assert_eq!((resource.disown(), local.disown()), (Ok(1), Ok(1)));
    });
    ended.unwrap();
}

#[test]
fn r30_several_local_resources_go_to_one_task_with_one_that_is_not() {
    let ended = run(&Bare, Config::new(), async {
        let finalised = Finalised::new();
        let sent = owned(1, &finalised);
        let local = [2, 3].map(|number| {
            let finalised = finalised.clone();
            let local = LocalResource::new(std::rc::Rc::new(number), move |number| finalised.note((*number, here())));
            local.own().unwrap();
            local
        });
        let failing = Task::new().give(&local[0]).give(&sent).give(&local[1]).spawn(async { Err::<(), _>("it fails") }).unwrap();
        assert!(matches!(failing.await, Err(Exit::Failed("it fails"))));
        assert_eq!(finalised.take(), [(3, 0), (1, 0), (2, 0)], "last given first");
    });
    ended.unwrap();
}

#[test]
fn r31_what_a_cancelled_child_transferred_is_finalised_quietly() {
    for (at, place) in sites() {
        for seed in 0..4 {
            let finalised = Finalised::new();
            let inner = finalised.clone();
            trial(2, seed, at, move || async move {
                let transferred = Flag::new();
                let child = {
                    let (transferred, inner) = (transferred.clone(), inner.clone());
                    place.start(move || async move {
                        for number in 0..3 {
                            owned(number, &inner).transfer().unwrap();
                        }
                        transferred.raise();
                        pending::<()>().await;
                    })
                };
                transferred.raised().await;
                assert_eq!(inner.len(), 0);
                child.cancel().await;
                assert_eq!(inner.len(), 3);
                // The parent ends normally and owns nothing.
            });
            let mut numbers: Vec<_> = finalised.take().into_iter().map(|(number, _)| number).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, [0, 1, 2]);
        }
    }
}

#[test]
fn r31_what_a_forgotten_child_transferred_is_finalised_quietly() {
    for (at, place) in sites() {
        for in_orphans in [false, true] {
            let finalised = Finalised::new();
            let inner = finalised.clone();
            trial(2, 0, at, move || async move {
                let parent = place.start(move || async move {
                    let (go, gone) = (Flag::new(), Flag::new());
                    let child = {
                        let (go, inner, gone) = (go.clone(), inner.clone(), gone.clone());
                        move || async move {
                            go.raised().await;
                            let noted = inner.clone();
                            let resource = Resource::new((), move |()| {
                                noted.note((1, here()));
                                gone.raise();
                            });
                            resource.own().unwrap();
                            resource.transfer().unwrap();
                        }
                    };
                    if in_orphans {
                        let orphans = Orphans::new();
                        match place {
                            Place::Here => drop((orphans.spawn(child()), orphans)),
                            Place::Across => drop((orphans.call(child).unwrap(), orphans)),
                        }
                    } else {
                        drop(place.start(child));
                    }
                    go.raise();
                    // The child ends by itself, while the parent lives.
                    gone.raised().await;
                    assert_eq!(inner.len(), 1);
                    // An abnormal end forgives a forgotten child; there is no other violation.
                    Err::<(), _>("it failed")
                });
                assert!(matches!(parent.await, Err(Exit::Failed("it failed"))));
            });
            assert_eq!(finalised.len(), 1);
        }
    }
}

#[test]
fn r31_what_arrives_after_the_parents_future_ended_is_finalised_quietly() {
    if SIMULATED {
        return; // It keeps a domain in the middle of a poll.
    }
    for (at, place) in sites() {
        for seed in 0..4 {
            let finalised = Finalised::new();
            let inner = finalised.clone();
            trial(2, seed, at, move || async move {
                let parent = place.start(move || async move {
                    // It is in a long poll, across, when its parent's future ends; here it has transferred and waits.
                    let (transferred, ended) = (Flag::new(), Flag::new());
                    let child = {
                        let (transferred, ended, inner) = (transferred.clone(), ended.clone(), inner.clone());
                        place.start(move || async move {
                            owned(1, &inner).transfer().unwrap();
                            transferred.raise();
                            if place == Place::Across {
                                ended.block();
                            } else {
                                pending::<()>().await;
                            }
                        })
                    };
                    transferred.raised().await;
                    drop(child.cancel());
                    let _last = OnDrop(move || ended.raise());
                });
                parent.await.unwrap();
            });
            assert_eq!(finalised.len(), 1, "{at} {place:?}");
        }
    }
}

#[test]
fn r31_what_came_before_the_cancellation_is_the_parents() {
    for (at, place) in sites() {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(2, 0, at, move || async move {
            let resource = noting(1, &inner);
            let child = {
                let resource = resource.clone();
                place.start(move || async move {
                    resource.own().unwrap();
                    resource.transfer().unwrap();
                })
            };
            while !child.is_ended() {
                yield_now().await;
            }
            assert_eq!(resource.check(), Ok(()), "before it is awaited");
            child.cancel().await;
            assert_eq!(resource.disown(), Ok(1));
        });
        assert_eq!(finalised.take(), []);
    }
}

#[test]
fn r31_a_transfer_that_meets_a_cancellation_leaves_the_parent_the_owner_or_is_finalised_once() {
    if SIMULATED {
        return; // A domain waits for another in one poll.
    }
    let finalised = Finalised::new();
    for seed in 0..10 {
        let inner = finalised.clone();
        trial(1, seed, 0, move || async move {
            for round in 0..40_u32 {
                let (resource, runs) = (noting(round, &inner), Flag::new());
                let child = {
                    let (resource, runs) = (resource.clone(), runs.clone());
                    call(move || async move {
                        runs.raise();
                        for _ in 0..round * 40 {
                            std::hint::spin_loop();
                        }
                        resource.own().unwrap();
                        resource.transfer().unwrap();
                    })
                };
                // Not awaited: the cancellation is to come as near to the child's end as it may.
                while !runs.is_raised() {
                    std::hint::spin_loop();
                }
                child.unwrap().cancel().await;
                if resource.check().is_ok() {
                    resource.release().unwrap();
                }
                assert_eq!(resource.check(), Err(OwnershipError::Gone));
                assert_eq!(inner.len(), round as usize + 1);
            }
        });
        assert_eq!(finalised.take(), (0..40).map(|number| (number, 0)).collect::<Vec<_>>());
    }
}

#[test]
fn r31_transfers_go_up_the_tree_across_domains() {
    /// Goes down `left` levels and hands up what the lowest one owns.
    fn level(left: u32, finalised: Finalised, lowest: Trace<Resource<u32>>) -> std::pin::Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            if left == 0 {
                let resource = owned(0, &finalised);
                lowest.note(resource.clone());
                return resource.transfer().unwrap();
            }
            let below = lowest.clone();
            if left.is_multiple_of(2) {
                spawn(level(left - 1, finalised, below)).await.unwrap();
            } else {
                call(move || level(left - 1, finalised, below)).unwrap().await.unwrap();
            }
            let resource = lowest.take().remove(0);
            resource.with(|number| *number += 1).unwrap();
            lowest.note(resource.clone());
            resource.transfer().unwrap();
        })
    }
    let finalised = Finalised::new();
    for seed in 0..10 {
        let inner = finalised.clone();
        trial(3, seed, 0, move || async move {
            let lowest = Trace::new();
            let below = lowest.clone();
            call(move || level(9, inner, below)).unwrap().await.unwrap();
            lowest.take()[0].release().unwrap();
        });
        assert_eq!(finalised.take(), [(9, 0)]);
    }
}

#[test]
fn r31_what_the_parent_got_is_the_parents_under_every_rule() {
    for place in PLACES {
        let finalised = Finalised::new();
        // It ends normally and still owns it: R28, with the place where it was taken.
        let line = Trace::new();
        let ended = run(&Threads::new(1), Config::new().domains(1), async {
            let (inner, line) = (finalised.clone(), line.clone());
            let child = place.start(move || async move {
                let resource = noting(1, &inner);
                line.note(line!() + 1);
                resource.own().unwrap();
                resource.transfer().unwrap();
            });
            child.await
        });
        let violation = violation(ended);
        let ViolationKind::ResourceLeaked { owned: owned_at } = violation.kind else { panic!("{violation}") };
        assert_place(owned_at, line.take()[0]);
        assert_eq!(violation.task.to_string(), "0:0");
        assert_eq!(finalised.take(), [(1, 0)]);

        // It fails: R27, last owned first, in the order of arrival.
        let ended = run(&Threads::new(1), Config::new().domains(1), async {
            let _own = owned(1, &finalised);
            for number in [2, 3] {
                let inner = finalised.clone();
                place.start(move || async move { owned(number, &inner).transfer().unwrap() }).await.unwrap();
            }
            let _own = owned(4, &finalised);
            Err::<(), _>("it failed")
        });
        assert!(matches!(ended, Err(RunError::Failed("it failed"))));
        assert_eq!(finalised.take(), [(4, 0), (3, 0), (2, 0), (1, 0)]);
    }
}

/// Whatever part of it was transferred, and wherever that stands among the rest.
#[test]
fn r31_what_was_transferred_keeps_its_place_while_the_rest_is_finalised() {
    const COUNT: u32 = 5;
    for (place, transferred) in PLACES.into_iter().flat_map(|place| (0..1 << COUNT).map(move |mask| (place, mask))) {
        let finalised = Finalised::new();
        let ended = run(&Threads::new(1), Config::new().domains(1), async {
            let inner = finalised.clone();
            let child = place.start(move || async move {
                let all: Vec<_> = (0..COUNT).map(|number| owned(number, &inner)).collect();
                for resource in all.iter().filter(|resource| transferred & resource.with(|number| 1 << *number).unwrap() != 0) {
                    resource.transfer().unwrap();
                }
                Err::<(), _>("it failed")
            });
            assert!(matches!(child.await, Err(Exit::Failed("it failed"))));
            // Last owned first, and nothing twice.
            let numbers: Vec<_> = finalised.take().into_iter().map(|(number, _)| number).collect();
            assert_eq!(numbers, (0..COUNT).rev().filter(|number| transferred & 1 << number == 0).collect::<Vec<_>>(), "{transferred:b}");
            Err::<(), _>("so did this")
        });
        assert!(matches!(ended, Err(RunError::Failed("so did this"))));
        // The parent's, they are finalised in the same order.
        let numbers: Vec<_> = finalised.take().into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, (0..COUNT).rev().filter(|number| transferred & 1 << number != 0).collect::<Vec<_>>(), "{transferred:b}");
    }
}

/// What a finaliser drops may take itself out of what its owner has, and leave there what it knows of a forgotten child.
#[test]
fn r27_a_finaliser_may_drop_the_orphans_of_its_owner() {
    for (older, transferred) in [(false, false), (false, true), (true, false), (true, true)] {
        let finalised = Finalised::new();
        let ended = run(&Bare, Config::new(), async {
            let inner = finalised.clone();
            let child = spawn(async move {
                let make = || {
                    let orphans = Orphans::new();
                    orphans.spawn(async {});
                    orphans
                };
                let first = older.then(make);
                let _first = owned(1, &inner);
                let orphans = first.unwrap_or_else(make);
                // Forgotten, and noted by the group when it ends.
                drop(orphans.take());
                yield_now().await;
                let noted = inner.clone();
                let local = LocalResource::new(orphans, move |orphans| {
                    drop(orphans);
                    noted.note((2, here()));
                });
                local.own().unwrap();
                let last = owned(3, &inner);
                if transferred {
                    last.transfer().unwrap();
                }
                Err::<(), _>("it failed")
            });
            assert!(matches!(child.await, Err(Exit::Failed("it failed"))));
            let expected: &[_] = if transferred { &[(2, 0), (1, 0)] } else { &[(3, 0), (2, 0), (1, 0)] };
            assert_eq!(finalised.take(), expected);
            Err::<(), _>("so did this")
        });
        assert!(matches!(ended, Err(RunError::Failed("so did this"))));
        assert_eq!(finalised.take(), if transferred { vec![(3, 0)] } else { vec![] });
    }
}

/// Children kept aside in several places, with resources owned before, between and after; some places stay, and have no children.
#[test]
fn r27_finalisers_run_after_the_children_kept_aside_have_ended() {
    for (at, place) in sites() {
        let order = Trace::new();
        let inner = order.clone();
        trial(3, 0, at, move || async move {
            let kept = shared(Vec::new());
            let handles = kept.clone();
            let ready = Flag::new();
            let (owner, runs) = (inner.clone(), ready.clone());
            let parent = spawn(async move {
                let resource = |number: u32| {
                    let order = owner.clone();
                    Resource::new(number, move |number| order.note(number)).own().unwrap();
                };
                let groups: Vec<_> = (0..4)
                    .map(|number| {
                        resource(number);
                        let group = Orphans::<()>::new();
                        assert!(matches!(group.care(), Care::Empty));
                        group
                    })
                    .collect();
                resource(4);
                for group in [&groups[0], &groups[2]] {
                    for _ in 0..2 {
                        let (order, started) = (owner.clone(), Flag::new());
                        let began = started.clone();
                        let child = move || async move {
                            let _gone = OnDrop(|| order.note(100));
                            began.raise();
                            pending::<()>().await;
                        };
                        match place {
                            Place::Here => drop(group.spawn(child())),
                            Place::Across => drop(group.call(child).unwrap()),
                        }
                        started.raised().await;
                    }
                }
                handles.borrow_mut().extend(groups);
                runs.raise();
                pending::<()>().await;
            });
            ready.raised().await;
            parent.cancel().await;
            assert_eq!(inner.take(), [100, 100, 100, 100, 4, 3, 2, 1, 0], "{at} {place:?}");
            // Their owner has ended: so have they.
            let kept = kept.take();
            assert_eq!(kept.len(), 4);
            for group in kept {
                assert!(catch_unwind(AssertUnwindSafe(|| drop(group.care()))).is_err());
            }
        });
        assert_eq!(order.take(), []);
    }
}

#[test]
fn r31_transfers_reach_the_owner_of_orphans_and_of_a_scope() {
    for (at, place) in sites() {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(2, 0, at, move || async move {
            let orphans = Orphans::new();
            let [aside, scoped] = [1, 2].map(|number| noting(number, &inner));
            let transfer = |resource: &Resource<u32>| {
                let resource = resource.clone();
                move || async move {
                    resource.own().unwrap();
                    resource.transfer().unwrap();
                }
            };
            match place {
                Place::Here => orphans.spawn(transfer(&aside)()),
                Place::Across => orphans.call(transfer(&aside)).unwrap(),
            };
            orphans.next().await.unwrap().unwrap();
            assert_eq!(aside.disown(), Ok(1));
            scope(async {
                place.start(transfer(&scoped)).await.unwrap();
                assert_eq!(scoped.check(), Ok(()));
            })
            .await;
            assert_eq!(scoped.disown(), Ok(2));
        });
        assert_eq!(finalised.take(), []);
    }
}

// ---- R32: plain calls

#[test]
fn r32_ownership_calls_do_not_yield_whatever_the_budget() {
    for at in [0, 1] {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        let polls = Counter::new();
        let counting = polls.clone();
        let platform = Threads::new(1);
        attempt(&platform, Config::new().domains(1).quanta(1), at, move || {
            counted(&counting, async move {
                for number in 0..100 {
                    let resource = noting(number, &inner);
                    resource.own().unwrap();
                    resource.check().unwrap();
                    resource.with(|_| ()).unwrap();
                    if number % 2 == 0 {
                        resource.release().unwrap();
                    } else {
                        resource.disown().unwrap();
                    }
                }
            })
        })
        .unwrap();
        assert_eq!((polls.get(), finalised.len()), (1, 50));
    }
}

#[test]
fn r32_no_cancellation_falls_between_check_and_use() {
    if SIMULATED {
        return; // A domain waits for another in one poll.
    }
    for seed in 0..20 {
        let finalised = Finalised::new();
        let inner = finalised.clone();
        trial(1, seed, 0, move || async move {
            let used = Flag::new();
            let (checked, cancelled) = (mpsc::channel(), mpsc::channel::<()>());
            let child = {
                let (checked, cancelled, used, inner) = (checked.0, cancelled.1, used.clone(), inner.clone());
                call(move || async move {
                    let resource = owned(1, &inner);
                    resource.check().unwrap();
                    checked.send(()).unwrap();
                    cancelled.recv().unwrap();
                    // Cancelled by now, and still the owner, in this poll.
                    assert_eq!(resource.with(|number| *number), Ok(1));
                    used.raise();
                    yield_now().await;
                    unreachable!("it is not polled again");
                })
            };
            checked.1.recv().unwrap();
            let cancelling = child.unwrap().cancel();
            cancelled.0.send(()).unwrap();
            cancelling.await;
            assert!(used.is_raised());
            assert_eq!(inner.len(), 1);
        });
        assert_eq!(finalised.take(), [(1, 1)]);
    }
}
