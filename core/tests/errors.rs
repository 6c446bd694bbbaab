//! What the errors say, and what they become: in a `main` that returns them, and as errors of the system's.

#![cfg(feature = "std")]

mod support;

use std::error::Error;
use std::io::{self, ErrorKind};

use matou_core::platform::Bare;
use matou_core::suspension::PointError;
use matou_core::sync::{Closed, LazyError, SendError, TryAcquireError, TryReceiveError, TrySendError, channel};
use matou_core::time::Elapsed;
use matou_core::{Config, Exit, NoDomainAvailable, OwnershipError, RunError, run, spawn};

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
