//! Randomness that can be addressed: draw `n` of a field costs two multiplications, whichever draw came before.
//!
//! This is SplitMix64 (Steele, Lea and Flood, 2014) read at position `n`: every field has a start of its own in the
//! generator's sequence of 2^64 numbers. So a column can be made without the columns nobody asked for.

/// The step of SplitMix64's sequence.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The draws of one field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draws {
    start: u64,
}

impl Draws {
    /// The draws of field `field` under `seed`.
    pub fn new(seed: u64, field: u64) -> Self {
        Self { start: mix(mix(seed.wrapping_add(GOLDEN)) ^ field.wrapping_mul(0xd134_2543_de82_ef95)) }
    }

    /// Draws of the same field for another purpose.
    pub fn derived(self) -> Self {
        Self { start: mix(self.start ^ GOLDEN) }
    }

    /// The draw of row `n`: 64 random bits.
    #[inline]
    pub fn at(self, n: u64) -> u64 {
        mix(self.start.wrapping_add(n.wrapping_mul(GOLDEN)))
    }

    /// A number from 0 to `bound - 1` for row `n`; 0 when `bound` is 0.
    #[inline]
    pub fn below(self, n: u64, bound: u64) -> u64 {
        below(self.at(n), bound)
    }

    /// A number in [0, 1) for row `n`.
    #[inline]
    pub fn unit(self, n: u64) -> f64 {
        unit(self.at(n))
    }
}

#[inline]
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// `draw` as a number from 0 to `bound - 1`.
#[inline]
pub(crate) fn below(draw: u64, bound: u64) -> u64 {
    ((u128::from(draw) * u128::from(bound)) >> 64) as u64
}

/// `draw` as a number in [0, 1).
#[inline]
pub(crate) fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_fields_differ() {
        let (one, other) = (Draws::new(7, 1), Draws::new(7, 2));
        let mean = (0..10_000).map(|n| one.unit(n)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert!((0..1_000).all(|n| one.below(n, 10) < 10 && one.at(n) != other.at(n)));
        let together = (0..10_000).filter(|n| one.below(*n, 2) == other.below(*n, 2)).count();
        assert!((4_700..5_300).contains(&together), "{together}");
        assert_ne!(Draws::new(8, 1).at(0), one.at(0));
    }
}
