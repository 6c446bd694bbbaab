//! A small random source, and the pattern of the bytes that are sent.

/// xorshift: good enough to choose among peers, and the same from the same seed.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number of the range, whose end is not in it.
    pub(crate) fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + (self.next() >> 11) % (range.end - range.start)
    }

    pub(crate) fn chance(&mut self, one_in: u64) -> bool {
        self.within(0..one_in) == 0
    }
}

/// The byte at this place of the stream with this seed: two places a little apart are told from one another.
pub(crate) fn byte(seed: u64, place: u64) -> u8 {
    (seed.wrapping_add(place).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}
