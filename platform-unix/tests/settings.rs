//! Where the settings of a run come from.

mod support;

use std::io;

use matou_unix::{Builder, Plain, Reactor, RunError, domain};
use support::{Watchdog, assert_succeeded, in_a_child, is_there};

/// In a process of its own: what a plain `run` makes of the environment.
#[test]
fn what_the_environment_says() {
    let _watchdog = Watchdog::new("what_the_environment_says");
    let child = |environment: &[(&str, &str)]| in_a_child("what_the_environment_says", environment);
    let Some(output) = child(&[("MATOU_DOMAINS", "3"), ("MATOU_QUANTA", "7")]) else {
        match matou_unix::run(async { io::Result::Ok(domain::available()) }) {
            Ok(workers) => println!("{workers} workers"),
            Err(error) => println!("{error}"),
        }
        return;
    };
    let said = |output: std::process::Output| {
        assert_succeeded(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    let said_of = |environment: &[(&str, &str)]| said(child(environment).unwrap());
    assert!(said(output).contains("3 workers"));
    assert!(said_of(&[("MATOU_DOMAINS", "0")]).contains("0 workers"));
    let bad = said_of(&[("MATOU_DOMAINS", "three")]);
    assert!(bad.contains("MATOU_DOMAINS is \"three\": expected a number of worker domains from 0 to 1023"), "{bad}");
    let bad = said_of(&[("MATOU_QUANTA", "0")]);
    assert!(bad.contains("MATOU_QUANTA is \"0\": expected a number of effects from 1 to 4294967295"), "{bad}");
    let default = (std::thread::available_parallelism().unwrap().get() - 1).max(1);
    assert!(said_of(&[]).contains(&format!("{default} workers")));
}

#[test]
fn the_program_has_the_first_word() {
    let workers = Builder::new().domains(2).run(async { domain::available() });
    assert_eq!(workers.unwrap(), 2);
    let workers = Builder::from_env().unwrap().domains(1).run(async { domain::available() });
    assert_eq!(workers.unwrap(), 1);
    assert_eq!(format!("{:?}", Builder::default()), format!("{:?}", Builder::new()));
    let ran = Builder::new().quanta(0).run(async {});
    assert!(matches!(ran, Err(RunError::Platform(error)) if error.kind() == io::ErrorKind::InvalidInput));
    let ran = Builder::new().domains(1 << 20).run(async {});
    assert!(matches!(ran, Err(RunError::TooManyDomains { .. })));
}

#[test]
fn the_reactor_is_the_one_asked_for_or_the_first_there_is() {
    let used = |builder: Builder| builder.domains(0).run(async { Plain(Reactor::current()) }).unwrap();
    assert_eq!(Reactor::current(), None, "outside a run");
    let all = if cfg!(target_os = "linux") { &[Reactor::Epoll, Reactor::Uring, Reactor::Poll][..] } else { &[Reactor::Poll] };
    let all: Vec<_> = all.iter().copied().filter(|&reactor| is_there(reactor)).collect();
    for &reactor in &all {
        assert_eq!(used(Builder::new().reactor(reactor)), Some(reactor));
        assert_eq!(reactor.to_string().parse(), Ok(reactor));
    }
    assert_eq!("select".parse::<Reactor>().unwrap_err().to_string(), "a reactor is `uring`, `epoll` or `poll`");
    let chosen = used(Builder::new().environment(false)).unwrap();
    if cfg!(matou_test_poll) {
        assert_eq!(chosen, Reactor::Poll);
    } else if cfg!(matou_test_epoll) {
        assert_eq!(chosen, Reactor::Epoll);
    } else if cfg!(matou_test_uring) {
        assert_eq!(chosen, Reactor::Uring);
    } else {
        assert!(all.contains(&chosen) && (chosen != Reactor::Poll || all.len() == 1), "{chosen}");
        assert_eq!(used(Builder::new().environment(false)), Some(chosen), "and the same again");
    }
}

#[test]
fn main_is_neither_send_nor_static() {
    let mut log = Vec::new();
    let borrowed = &mut log;
    let local = std::rc::Rc::new("meow");
    let ran = matou_unix::run(async {
        borrowed.push(*local);
        io::Result::Ok(borrowed.len())
    });
    assert_eq!((ran.unwrap(), log), (1, vec!["meow"]));
}

#[test]
fn reports_go_where_they_should() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static REPORTS: AtomicUsize = AtomicUsize::new(0);
    let builder = Builder::new().domains(0).on_report(|report| {
        assert!(report.to_string().contains("in a finaliser"), "{report}");
        REPORTS.fetch_add(1, Ordering::SeqCst);
    });
    let ran = builder.run(async {
        let resource = matou_unix::Resource::new((), |()| panic!("in a finaliser"));
        resource.own()?;
        Err::<(), _>(io::Error::other("enough"))
    });
    assert!(matches!(ran, Err(RunError::Failed(_))));
    assert_eq!(REPORTS.load(Ordering::SeqCst), 1);
}
