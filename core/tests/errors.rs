//! What the errors say, and what they become: in a `main` that returns them, and as errors of the system's.

#![cfg(feature = "std")]

mod support;

use std::error::Error;
use std::io::{self, ErrorKind};

use matou_core::platform::{Bare, NothingToWaitFor};
use matou_core::suspension::PointError;
use matou_core::sync::{Closed, LazyError, SendError, TryAcquireError, TryReceiveError, TrySendError, channel};
use matou_core::time::Elapsed;
use matou_core::{
    Config, DomainId, EventsError, Exit, NoDomainAvailable, OwnershipError, Plain, Report, ReportPlace, RunError, SpawnError, SpawnRefusal,
    current_task, run, spawn, yield_now,
};

/// What the standard library prints of the error that `main` returns.
fn printed(error: impl Error + 'static) -> String {
    format!("{:?}", Box::<dyn Error>::from(error))
}

#[test]
fn r44_a_main_that_returns_the_error_shows_the_advice() {
    let error = run(&Bare, Config::new(), async {
        drop(spawn(async {}));
        Ok::<(), io::Error>(())
    })
    .unwrap_err();
    let RunError::Violation(violation) = &error else { panic!("{error}") };
    assert_eq!(printed(*violation), violation.to_string());
    let text = error.to_string();
    assert!(text.starts_with("StillHasChildren (R3)") && text.ends_with("return an error"), "{text}");
    assert_eq!(printed(error), text);
}

#[test]
fn the_other_errors_of_a_run_show_what_they_say() {
    let nested = run(&Bare, Config::new(), async { run(&Bare, Config::new(), async {}).unwrap_err().to_string() });
    let nested_again = run(&Bare, Config::new(), async { format!("{:?}", run(&Bare, Config::new(), async {}).unwrap_err()) });
    assert_eq!(nested.unwrap(), nested_again.unwrap());
    let panicked = run(&Bare, Config::new(), async { panic!("why") }).unwrap_err();
    assert_eq!(format!("{panicked:?}"), "the main task panicked: why");
    // An error that is the program's own is shown as it would be without a run.
    let failed = run(&Bare, Config::new(), async { "x".parse::<u8>().map(drop) }).unwrap_err();
    assert_eq!(format!("{failed:?}"), "ParseIntError { kind: InvalidDigit }");
    assert_eq!(failed.to_string(), "invalid digit found in string");
    let refused: RunError<(), _> = RunError::Platform(io::Error::from(ErrorKind::NotFound));
    assert_eq!(format!("{refused:?}"), "the domains could not be started: Kind(NotFound)");
}

#[test]
fn what_fails_here_is_an_error_of_the_systems_under_a_question_mark() {
    fn told<E: ToString>(error: E) -> (ErrorKind, String)
    where
        io::Error: From<E>,
    {
        let text = error.to_string();
        let error = io::Error::from(error);
        assert_eq!(error.to_string(), text);
        (error.kind(), text)
    }
    assert_eq!(told(SendError(7)).0, ErrorKind::BrokenPipe);
    assert_eq!(told(TrySendError::Closed(7)).0, ErrorKind::BrokenPipe);
    assert_eq!(told(TrySendError::Full(7)).0, ErrorKind::WouldBlock);
    assert_eq!(told(TryReceiveError::Empty).0, ErrorKind::WouldBlock);
    assert_eq!(told(TryReceiveError::Closed).0, ErrorKind::UnexpectedEof);
    assert_eq!(told(Closed).0, ErrorKind::BrokenPipe);
    assert_eq!(told(TryAcquireError::Closed).0, ErrorKind::BrokenPipe);
    assert_eq!(told(TryAcquireError::NoPermits).0, ErrorKind::WouldBlock);
    assert_eq!(told(LazyError::Undefined).0, ErrorKind::Other);
    // A task's exit is the error of its failure.
    assert_eq!(told(Exit::Failed(PointError::NoEvents)).0, ErrorKind::Other);
    assert_eq!(told(Exit::Failed(OwnershipError::NotOwned)).0, ErrorKind::PermissionDenied);
    assert_eq!(told(Exit::Failed(NoDomainAvailable(()))).0, ErrorKind::Unsupported);
    assert_eq!(told(Exit::Failed(Elapsed)).0, ErrorKind::TimedOut);
    assert_eq!(told(Exit::<Closed>::Cancelled).0, ErrorKind::Interrupted);
}

#[test]
fn a_task_passes_on_what_its_children_fail_with() {
    let ran = run(&Bare, Config::new(), async {
        spawn(async {
            let (sender, receiver) = channel(1);
            drop(receiver);
            sender.send("nobody").await?;
            io::Result::Ok(())
        })
        .await?;
        spawn(async { Err::<(), _>(LazyError::Undefined) }).await?;
        io::Result::Ok(())
    });
    assert!(matches!(ran, Err(RunError::Failed(error)) if error.kind() == ErrorKind::BrokenPipe));
}

#[test]
fn a_refused_start_says_what_to_do_instead() {
    let said: [(SpawnRefusal, &str); 7] = [
        (SpawnRefusal::Ownership(OwnershipError::InUse), "cannot be given"),
        (SpawnRefusal::NoDomainAvailable, "more domains"),
        (SpawnRefusal::UnknownDomain(DomainId::new(7)), "no domain 7"),
        (SpawnRefusal::OwnDomain, "use `spawn`"),
        (SpawnRefusal::DomainZero, "pin the task to a worker"),
        (SpawnRefusal::PinnedElsewhere(DomainId::new(7)), "domain 7: use `call`"),
        (SpawnRefusal::NoTask, "inside `run`"),
    ];
    for (reason, says) in said {
        let refused = SpawnError { task: (), reason };
        assert_eq!(refused.to_string(), reason.to_string());
        assert!(reason.to_string().contains(says), "{reason}");
        let error = io::Error::from(refused);
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Other, reason.to_string()));
    }
}

#[test]
fn a_refused_resource_says_why() {
    let task = run(&Bare, Config::new(), async { Plain(current_task().unwrap()) }).unwrap();
    let said: [(OwnershipError, &str); 8] = [
        (OwnershipError::NotOwner(task), "owned by task 0:0"),
        (OwnershipError::AlreadyOwned(task), "already owned by task 0:0"),
        (OwnershipError::NotOwned, "call `own` first"),
        (OwnershipError::Gone, "value is gone"),
        (OwnershipError::InUse, "in use"),
        (OwnershipError::NoParent, "no parent"),
        (OwnershipError::OtherDomain, "make it a `Resource`"),
        (OwnershipError::NoTask, "inside `run`"),
    ];
    for (error, says) in said {
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn an_error_leads_to_the_one_it_came_from() {
    type Of<E> = RunError<E, io::Error>;
    let broken = || io::Error::from(ErrorKind::BrokenPipe);
    let source = |error: &dyn Error| error.source().map(ToString::to_string);
    assert_eq!(source(&Of::Failed(broken())), Some(broken().to_string()));
    assert_eq!(source(&Of::<Elapsed>::Platform(broken())), Some(broken().to_string()));
    let events = Of::<Elapsed>::Events(DomainId::ZERO, EventsError::Failed(broken()));
    assert_eq!(source(&events), Some(broken().to_string()));
    assert_eq!(source(&Of::<Elapsed>::Nested), None);
    let forgetful = async {
        drop(spawn(async {}));
        Ok::<(), Elapsed>(())
    };
    let error = run(&Bare, Config::new(), forgetful).unwrap_err();
    assert_eq!(error.source().map(ToString::to_string), Some(error.to_string()));
    assert_eq!(source(&Exit::Failed(broken())), Some(broken().to_string()));
    assert_eq!(source(&Exit::<Closed>::Cancelled), None);
}

#[test]
fn an_exit_keeps_its_kind_when_its_error_becomes_another() {
    let ran = run(&Bare, Config::new(), async {
        let panicked = spawn(async { panic!("why") }).await.unwrap_err();
        assert!(!panicked.is_cancelled());
        let panicked = panicked.map(|never| match never {});
        assert!(matches!(&panicked, Exit::<io::Error>::Panicked(panic) if panic.message() == "why"));
        let error = io::Error::from(panicked);
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Other, "the task panicked: why"));
    });
    assert!(ran.is_ok());
    let cancelled: Exit = Exit::Cancelled;
    assert!(cancelled.is_cancelled() && !Exit::Failed(7).is_cancelled());
    assert_eq!(io::Error::from(cancelled).kind(), ErrorKind::Interrupted);
    assert!(matches!(Exit::Failed(7).map(|n| n + 1), Exit::Failed(8)));
}

#[test]
fn an_event_source_that_panics_is_named_with_what_it_said() {
    let panicked = run(&Bare, Config::new(), async { panic!("why") }).unwrap_err();
    let RunError::Panicked(panic) = panicked else { panic!("{panicked}") };
    let error: EventsError<&str> = EventsError::Panicked(panic);
    assert_eq!(error.to_string(), "it panicked: why");
    let error: RunError<(), &str> = RunError::Events(DomainId::new(7), error);
    assert_eq!(format!("{error:?}"), "the event source of domain 7 failed: it panicked: why");
}

#[test]
fn what_runs_out_is_told_with_what_to_do() {
    let many: RunError<(), ()> = RunError::TooManyRuns;
    assert!(format!("{many:?}").contains("drop them"), "{many:?}");
    for (error, says) in
        [(PointError::Full, "wait for fewer"), (PointError::NoEvents, "on a platform that has"), (PointError::NoDomain, "inside `run`")]
    {
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(told_by_a_source_without_events(), (true, true));
}

/// Whether a source that has no events can be looked at, and cannot be waited for.
fn told_by_a_source_without_events() -> (bool, bool) {
    let ran = run(&Bare, Config::new(), async { yield_now().await });
    let waits = run(&Bare, Config::new(), std::future::pending::<()>());
    (ran.is_ok(), matches!(waits, Err(RunError::Events(DomainId::ZERO, EventsError::Failed(NothingToWaitFor)))))
}

#[test]
fn a_report_names_what_panicked() {
    let panic = || match run(&Bare, Config::new(), async { panic!("why") }) {
        Err(RunError::Panicked(panic)) => panic,
        _ => unreachable!("it panics"),
    };
    for (place, named) in [
        (ReportPlace::Destructor, "the destructor of a task's future"),
        (ReportPlace::Result, "the destructor of a result that was not taken"),
        (ReportPlace::Finaliser, "a resource's finaliser"),
        (ReportPlace::Waker, "a waker"),
        (ReportPlace::Hook, "a hook, which is removed,"),
        (ReportPlace::Interrupt, "an interrupt"),
        (ReportPlace::Trace, "the consumer of trace events"),
    ] {
        let report = Report { place, domain: DomainId::new(7), panic: panic() };
        assert_eq!(report.to_string(), format!("matou: {named} panicked on domain 7: why"));
    }
}
