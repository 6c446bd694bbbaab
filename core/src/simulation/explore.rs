//! Many seeds: each is another order of events, and one that fails can be run again.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::Display;
use std::env;

use super::Simulation;
use crate::outcome::{Outcome, catch};

/// The variable whose seed alone is run, where it is set.
const REPLAY: &str = "MATOU_SEED";

/// Runs a test with each of the seeds, and gives what it gave.
///
/// The test gets a [`Simulation`] with the seed, which it sets up and runs, as often as it wishes. It fails by a panic or by an error.
/// Where the environment has `MATOU_SEED`, that seed is run, and no other.
///
/// ```
/// use matou_core::simulation;
/// use matou_core::{call, await_one};
///
/// // Which of two domains is faster?
/// let faster = simulation::check(0..50, |simulation| {
///     simulation.domains(2).run(async {
///         let mut racers: Vec<_> = (0..2).map(|racer| call(move || async move { racer }).unwrap()).collect();
///         let winner = await_one(&mut racers).await;
///         racers.pop().unwrap().cancel().await;
///         winner.unwrap().unwrap()
///     })
/// });
/// faster.reaches("the first", |&racer| racer == 0);
/// faster.reaches("the second", |&racer| racer == 1);
/// ```
///
/// # Panics
/// If the test fails, with its reason, and with the seed and how to replay it; and if `MATOU_SEED` is not a number.
#[track_caller]
pub fn check<T: Outcome<Error: Display>>(seeds: impl IntoIterator<Item = u64>, test: impl Fn(Simulation) -> T) -> Explored<T::Value> {
    let replayed = env::var(REPLAY).ok().map(|seed| match seed.parse() {
        Ok(seed) => seed,
        Err(error) => panic!("{REPLAY}={seed} is no seed: {error}"),
    });
    let seeds = match replayed {
        Some(seed) => vec![seed],
        None => seeds.into_iter().collect(),
    };
    let mut values = Vec::new();
    for seed in seeds {
        let failed = match catch(|| test(Simulation::new(seed)).into_result()) {
            Ok(Ok(value)) => {
                values.push((seed, value));
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.message(),
        };
        panic!("seed = {seed}: replay with {REPLAY}={seed}: {failed}");
    }
    Explored { values, replayed: replayed.is_some() }
}

/// What [`check`] found: what the test gave for each seed.
#[derive(Clone, Debug)]
pub struct Explored<T> {
    values: Vec<(u64, T)>,
    replayed: bool,
}

impl<T> Explored<T> {
    /// Each seed with what the test gave.
    pub fn values(&self) -> &[(u64, T)] {
        &self.values
    }

    /// Asserts that some seed led to this: a test that never sees the order it is about shows nothing. Where one seed is replayed, it
    /// asserts nothing.
    ///
    /// # Panics
    /// If none did.
    #[track_caller]
    pub fn reaches(&self, what: &str, is_it: impl Fn(&T) -> bool) -> &Self {
        let reached = self.replayed || self.values.iter().any(|(_, value)| is_it(value));
        assert!(reached, "none of the {} seeds reached: {what}", self.values.len());
        self
    }
}
