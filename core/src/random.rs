//! Chance from a seed: SplitMix64.
//!
//! Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014. Not for secrets. Each domain
//! has its own, made from the run's seed and the domain's number, so that one domain's choices do not shift another's.

use core::cell::Cell;

/// A domain's source of chance. Touched by its domain only.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

    /// The source of `domain` in a run with this seed.
    pub(crate) fn new(seed: u64, domain: u64) -> Self {
        let random = Random(Cell::new(seed ^ domain.wrapping_mul(0xD1B5_4A32_D192_ED03)));
        random.next();
        random
    }

    fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(Self::GAMMA);
        self.0.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0. The bias of the multiplication (Lemire 2019) is below 2⁻³² for the small bounds used here.
    pub(crate) fn below(&self, bound: usize) -> usize {
        (((self.next() >> 32) * bound as u64) >> 32) as usize
    }

    /// A number from 0 to `most`, which may be large.
    #[cfg(feature = "simulation")]
    pub(crate) fn up_to(&self, most: u64) -> u64 {
        ((u128::from(self.next()) * (u128::from(most) + 1)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_same_seed_gives_the_same_choices_and_another_domain_others() {
        let draw = |seed, domain| {
            let random = Random::new(seed, domain);
            core::array::from_fn::<usize, 32, _>(|_| random.below(1000))
        };
        assert_eq!(draw(1, 0), draw(1, 0));
        assert_ne!(draw(1, 0), draw(1, 1));
        assert_ne!(draw(1, 0), draw(2, 0));
    }

    #[test]
    fn below_reaches_every_number_and_none_beyond() {
        let random = Random::new(7, 3);
        let mut seen = [0u32; 5];
        for _ in 0..5000 {
            seen[random.below(5)] += 1;
        }
        assert!(seen.iter().all(|&n| (800..1200).contains(&n)), "{seen:?}");
    }
}
