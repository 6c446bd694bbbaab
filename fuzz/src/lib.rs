//! Random programs of matou tasks, run and compared with a plain model of the rules.
//!
//! A [`program::Program`] spawns, awaits, cancels, forgets, keeps aside, gives, owns, transfers, fails and panics. [`check`] runs it on
//! matou ([`machine`]), lets a model that knows nothing but the rules predict what can be seen of it ([`model`]), and compares the two
//! ([`verdict`]). One program of four it runs once more: with one domain and the same seed, a run is the same to the last step (R21).
//!
//! | file | what it is |
//! | --- | --- |
//! | [`program`] | the language, and how bytes are read as a program |
//! | [`event`] | what can be seen of a run |
//! | [`machine`] | runs a program on matou and writes down what can be seen |
//! | [`model`] | predicts it from the rules |
//! | [`verdict`] | compares |
//! | `watch` | ends the process when a program does not end |
//! | [`domains`] | programs over several simulated domains, with a language, a machine and a model of their own |
//! | [`sync`] | what tasks wait for, polled by hand |
//! | [`containers`] | the containers of the core |
//! | [`points`] | its table of suspension points |
//! | [`sockets`] | the platform's reactor over a scripted kernel |
//! | [`streams`] | streams over the system's own sockets, io_uring among the reactors |
//! | [`echo`] | the echo servers over scripted sockets |
//! | `line` | the model of those who wait, for `domains` and `sync` |
//! | [`input`] | bytes as a row of choices, for all but the first |
//!
//! Three front ends use this library: the fuzz target, the same binary without libFuzzer, which tells what it thinks of files, and the
//! tests, which need no nightly compiler. See `fuzz/README.md`.

pub mod containers;
pub mod domains;
pub mod echo;
pub mod event;
pub mod input;
mod line;
pub mod machine;
pub mod model;
pub mod points;
pub mod program;
pub mod sockets;
pub mod streams;
pub mod sync;
pub mod verdict;
mod watch;

/// The containers of the core, which nobody else can reach: the very files that ship.
#[allow(dead_code, unused_imports)] // What the core uses of them, this crate need not.
#[path = "../../core/src/container/mod.rs"]
mod shipped;

/// Its table of suspension points, as it ships.
#[allow(dead_code, unreachable_pub)] // The same.
#[path = "../../core/src/domain/points.rs"]
mod points_shipped;

/// The ids that the table gives out.
#[allow(dead_code, unreachable_pub)] // The same.
#[path = "../../core/src/id.rs"]
mod id;

#[allow(dead_code)] // The same.
#[path = "../../platform-unix/src/interrupt.rs"]
mod interrupt;
/// The platform's reactor, with what stands around it: as they ship, over the kernel in `kernel/`.
#[allow(dead_code, unused_imports, unused_variables, unreachable_pub)] // The same; and what io_uring alone needs, which the kernel here has not.
#[path = "../../platform-unix/src/reactor/mod.rs"]
mod reactor;
#[path = "."]
mod descriptor {
    #[allow(dead_code)] // The same.
    #[path = "../../platform-unix/src/descriptor/source.rs"]
    pub(crate) mod source;
}

/// The echo servers, as they ship, but for what touches the system: sockets, signals, the command line.
#[allow(dead_code)] // The same.
#[path = "../../echo/src/acceptor.rs"]
mod acceptor;
#[path = "../../echo/src/context.rs"]
mod context;
#[allow(dead_code)] // The same.
#[path = "../../echo/src/door.rs"]
mod door;
#[path = "../../echo/src/failure.rs"]
mod failure;
#[path = "../../echo/src/handler.rs"]
mod handler;
#[path = "../../echo/src/servers"]
mod servers {
    pub(crate) mod concurrent;
    pub(crate) mod owned;
    pub(crate) mod parallel;
    pub(crate) mod sequential;
}
#[path = "echo/socket.rs"]
mod socket;
#[allow(dead_code)] // The same.
#[path = "../../echo/src/stats.rs"]
mod stats;

/// The stop of an accept loop, without the signals that ask for it.
mod stop {
    use std::sync::Arc;

    use matou_core::sync::Trigger;

    #[derive(Clone, Debug)]
    pub(crate) struct Stop(Arc<Trigger>);

    impl Stop {
        pub(crate) fn new() -> Stop {
            Stop(Arc::new(Trigger::new()))
        }

        pub(crate) async fn requested(&self) {
            self.0.wait().await;
        }

        pub(crate) fn request(&self) {
            self.0.signal();
        }
    }
}

// What those files name.
#[cfg(feature = "alloc")]
extern crate alloc;
extern crate matou_core as matou_unix;
use matou_core::platform;

/// The time of the core and of the platform, by the clock of the scripted kernel.
mod time {
    pub(crate) use std::time::Duration;

    pub(crate) use matou_core::time::Instant;

    pub(crate) fn clock() -> Instant {
        Instant::from_nanos(rustix::kernel::now())
    }
}

/// There are no signals here.
mod signal {
    use std::io;
    use std::rc::Rc;

    #[derive(Debug, Default)]
    pub(crate) struct Registry;

    #[allow(dead_code)] // The reactor keeps one where somebody listens.
    pub(crate) struct Hub;

    #[allow(dead_code)] // The same.
    impl Hub {
        pub(crate) fn new() -> io::Result<Rc<Hub>> {
            Ok(Rc::new(Hub))
        }

        pub(crate) fn close(&self) {}
    }
}

/// The core's shim, where one thread is all there is.
mod shim {
    pub(crate) use std::cell::Cell as HandedCell;
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

    pub(crate) use std::hint::spin_loop as pause;

    thread_local! {
        pub(crate) static SEEDED: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
    }

    pub(crate) fn fault(name: &str) -> bool {
        SEEDED.get() == Some(name)
    }
}

use crate::machine::Observed;
use crate::model::{Choices, Predicted, predict};
use crate::program::Program;

/// Runs a program and compares it with the model; one program of four is run twice. Gives what was seen and predicted.
///
/// # Errors
/// What differs, in words.
pub fn check(program: &Program) -> Result<(Observed, Predicted), String> {
    let observed = watch::watched(|| machine::observe(program));
    let predicted = predict(program, Choices::of(&observed.events));
    verdict::compare(program, &observed, &predicted)?;
    if !program.twice() {
        return Ok((observed, predicted));
    }
    let again = watch::watched(|| machine::observe(program));
    if again != observed {
        let first = observed.events.iter().zip(&again.events).position(|(first, second)| first != second);
        return Err(format!("R21: the same program and seed, and another run; they part at event {first:?}\n{observed:#?}\n{again:#?}"));
    }
    Ok((observed, predicted))
}

/// Calls `f` with the containers broken as one of the core's seeded faults says (`core/src/shim.rs`), on this thread: the tests see it found.
pub fn broken<R>(fault: &'static str, f: impl FnOnce() -> R) -> R {
    shim::SEEDED.set(Some(fault));
    let result = f();
    shim::SEEDED.set(None);
    result
}

/// Checks the files that the command line names: what a target is where there is no fuzzer.
pub fn each_file(check: impl Fn(&[u8]) -> Result<(), String>) -> std::process::ExitCode {
    let mut failed = false;
    for path in std::env::args_os().skip(1) {
        let checked = std::fs::read(&path).map_err(|error| error.to_string()).and_then(|bytes| check(&bytes));
        failed |= checked.is_err();
        match checked {
            Ok(()) => println!("{}: as it should be", path.display()),
            Err(why) => eprintln!("{}: {why}", path.display()),
        }
    }
    std::process::ExitCode::from(u8::from(failed))
}

/// Whether what was seen is what is due.
pub(crate) fn same<T: std::fmt::Debug + PartialEq>(what: &str, seen: T, due: T) -> Result<(), String> {
    if seen == due { Ok(()) } else { Err(format!("{what}: {seen:?}, and should be {due:?}")) }
}

/// Bytes by chance, the same for the same seed: programs for those who have no fuzzer.
pub fn chance(seed: u64, length: usize) -> Vec<u8> {
    // SplitMix64, written down once more: what is tested is not used to make the test.
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    (0..length).map(|_| next() as u8).collect()
}
