//! A platform in which nothing happens by itself: one domain, a clock that only moves when it is asked or slept on, and events that
//! come when the script says. Whatever differs between two runs on it comes from the runtime or from the program.

#![allow(dead_code, unreachable_pub)] // Each test file uses a part of it.

use std::sync::{Arc, Mutex};

use matou_core::platform::{Events, NoInterrupt, Platform, Signals, Wait};
use matou_core::time::Instant;
use matou_core::{DomainId, PointId};

use super::probe::Trace;

/// Numbers from a seed, for programs and scripts (Knuth's MMIX generator, whose high bits are used).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64, stream: u64) -> Chance {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03));
        chance.below(2);
        chance.below(2);
        chance
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) * bound) >> 31
    }
}

/// The platform. What the source was asked and what it said is noted in `trace`, where tasks note their own steps.
#[derive(Clone)]
pub struct Script {
    pub trace: Trace<String>,
    state: Arc<Mutex<State>>,
}

struct State {
    chance: Chance,
    now: u64,
    /// When each registered point is resumed.
    due: Vec<(u64, PointId)>,
}

impl Script {
    /// The script of this number.
    pub fn new(number: u64) -> Script {
        let state = State { chance: Chance::new(number, 1), now: 0, due: Vec::new() };
        Script { trace: Trace::new(), state: Arc::new(Mutex::new(state)) }
    }

    pub fn note(&self, what: String) {
        self.trace.note(what);
    }

    /// The point is resumed some time later.
    pub fn register(&self, point: PointId) {
        let mut state = self.state.lock().unwrap();
        let at = state.now + 1 + state.chance.below(500);
        state.due.push((at, point));
    }
}

impl Platform for Script {
    type Error = &'static str;
    type Events = Script;

    fn events(&self, _: DomainId) -> Result<Script, &'static str> {
        Ok(self.clone())
    }

    fn domains(&self, workers: usize, _: &(dyn Fn(DomainId) + Sync), main: &mut dyn FnMut()) -> Result<(), &'static str> {
        assert_eq!(workers, 0, "a script is for one domain");
        main();
        Ok(())
    }
}

impl Events for Script {
    type Interrupt = NoInterrupt;
    type Error = &'static str;

    fn interrupter(&self) -> NoInterrupt {
        NoInterrupt
    }

    /// Asking takes time, so that how often it is asked shows.
    fn now(&self) -> Instant {
        let mut state = self.state.lock().unwrap();
        state.now += 1;
        Instant::from_nanos(state.now)
    }

    fn select(&mut self, wait: Wait, cancelled: &[PointId], signals: &mut Signals<'_>) -> Result<(), &'static str> {
        let state = &mut *self.state.lock().unwrap();
        state.due.retain(|(_, point)| !cancelled.contains(point));
        let next = state.due.iter().map(|(at, _)| *at).min();
        match (wait, next) {
            (Wait::No, _) => state.now += 10,
            (Wait::Until(deadline), next) => {
                let deadline = deadline.as_nanos();
                state.now = state.now.max(next.map_or(deadline, |next| next.min(deadline)));
            }
            (Wait::Forever, Some(next)) => state.now = state.now.max(next),
            (Wait::Forever, None) => return Err("nothing will ever happen"),
        }
        // In the order of registration.
        let now = state.now;
        let resumed: Vec<_> = state.due.iter().filter(|(at, _)| *at <= now).map(|(_, point)| *point).collect();
        state.due.retain(|(at, _)| *at > now);
        resumed.iter().for_each(|point| signals.resume(*point));
        self.trace.note(format!("select({wait:?}, {cancelled:?}) at {now}: {resumed:?}"));
        Ok(())
    }
}
