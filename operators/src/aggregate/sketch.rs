//! A histogram whose bars grow in width by a hundredth or so: values by rank to within one per cent of their size.
//!
//! Bar `i` holds the values from γ^(i-1) to γ^i, so that its middle is off by at most [`ERROR`]. There are at most
//! [`BARS_MAX`] bars a sign; where more are needed, those of the smallest size become one. Adding is exact in whole
//! numbers, so the histogram of a set of values is one whatever their order and however they are merged: t-digests and KLL
//! are not so. Zero, infinities and NaN are counted apart, and the least and greatest value kept.
//! DDSketch: Masson, Rim and Lee, 2019.

use super::percentile::Distribution;

/// How far a value is off, of its size.
pub(super) const ERROR: f64 = 0.01;
/// Bars of one sign: values of which the largest is 10^17 times the smallest.
const BARS_MAX: i32 = 2_048;

/// The bars of one sign: index and count, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Bars {
    bars: Vec<(i32, u64)>,
}

impl Bars {
    fn add(&mut self, index: i32, times: u64) {
        // Below the bars that may be kept, all of them are one.
        let floor = self.bars.last().map_or(index, |(last, _)| (*last).max(index)) - (BARS_MAX - 1);
        let below = self.bars.partition_point(|(known, _)| *known < floor);
        if below > 0 {
            let moved: u64 = self.bars.drain(..below).map(|(_, times)| times).sum();
            self.put(floor, moved);
        }
        self.put(index.max(floor), times);
    }

    fn put(&mut self, index: i32, times: u64) {
        match self.bars.binary_search_by_key(&index, |(known, _)| *known) {
            Ok(at) => self.bars[at].1 += times,
            Err(at) => self.bars.insert(at, (index, times)),
        }
    }

    fn count(&self) -> u64 {
        self.bars.iter().map(|(_, times)| times).sum()
    }
}

/// See the module's page.
#[derive(Debug, PartialEq)]
pub(super) struct Sketch {
    negative: Bars,
    positive: Bars,
    zeros: u64,
    below: u64,
    above: u64,
    nans: u64,
    least: f64,
    greatest: f64,
}

impl Default for Sketch {
    fn default() -> Self {
        Self {
            negative: Bars::default(),
            positive: Bars::default(),
            zeros: 0,
            below: 0,
            above: 0,
            nans: 0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        }
    }
}

fn gamma() -> f64 {
    (1.0 + ERROR) / (1.0 - ERROR)
}

/// The bar of a value that is greater than zero and finite.
fn bar_of(size: f64) -> i32 {
    // From -35,400 to 35,500.
    (size.ln() / gamma().ln()).ceil() as i32
}

/// The middle of a bar.
fn middle(bar: i32) -> f64 {
    2.0 * (f64::from(bar) * gamma().ln()).exp() / (gamma() + 1.0)
}

impl Sketch {
    fn add_bars(&mut self, other: &Self) {
        other.negative.bars.iter().for_each(|(bar, times)| self.negative.add(*bar, *times));
        other.positive.bars.iter().for_each(|(bar, times)| self.positive.add(*bar, *times));
    }

    /// The value that has `rank` others before it.
    fn at(&self, rank: u64) -> f64 {
        let mut seen = self.below;
        if rank < seen {
            return f64::NEG_INFINITY;
        }
        // The largest of the negative ones come first.
        let negative = self.negative.bars.iter().rev().map(|(bar, times)| (-middle(*bar), *times));
        let positive = self.positive.bars.iter().map(|(bar, times)| (middle(*bar), *times));
        for (value, times) in negative.chain([(0.0, self.zeros)]).chain(positive) {
            seen += times;
            if rank < seen {
                return value.clamp(self.least, self.greatest);
            }
        }
        if rank < seen + self.above { f64::INFINITY } else { f64::NAN }
    }
}

impl Distribution for Sketch {
    const TAKES_BACK: bool = false;
    const IS_SMALL: bool = true;

    fn add(&mut self, value: f64, times: i64) {
        let times = times.max(0) as u64;
        match value {
            value if value.is_nan() => self.nans += times,
            f64::INFINITY => self.above += times,
            f64::NEG_INFINITY => self.below += times,
            value => {
                self.least = self.least.min(value);
                self.greatest = self.greatest.max(value);
                if value.abs() < f64::MIN_POSITIVE {
                    self.zeros += times;
                } else if value > 0.0 {
                    self.positive.add(bar_of(value), times);
                } else {
                    self.negative.add(bar_of(-value), times);
                }
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.add_bars(other);
        self.zeros += other.zeros;
        self.below += other.below;
        self.above += other.above;
        self.nans += other.nans;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    fn count(&self) -> i64 {
        let bars = self.negative.count() + self.positive.count();
        (bars + self.zeros + self.below + self.above + self.nans) as i64
    }

    /// The value whose rank is nearest.
    fn percentile(&self, fraction: f64) -> f64 {
        match (fraction * (self.count() - 1) as f64).round() as u64 {
            0 if self.below == 0 && self.least <= self.greatest => self.least,
            rank => self.at(rank),
        }
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        for number in [self.zeros, self.below, self.above, self.nans] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for bound in [self.least, self.greatest] {
            bytes.extend_from_slice(&bound.to_le_bytes());
        }
        bytes.extend_from_slice(&(self.negative.bars.len() as u64).to_le_bytes());
        for (bar, times) in self.negative.bars.iter().chain(&self.positive.bars) {
            bytes.extend_from_slice(&i64::from(*bar).to_le_bytes());
            bytes.extend_from_slice(&times.to_le_bytes());
        }
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (words, []) = bytes.as_chunks::<8>() else { return None };
        let word = |at: usize| words.get(at).map(|word| u64::from_le_bytes(*word));
        let (head, bars) = words.split_at_checked(7)?;
        let (bars, []) = bars.as_chunks::<2>() else { return None };
        let negative = usize::try_from(u64::from_le_bytes(*head.last()?)).ok()?;
        let read = |bars: &[[[u8; 8]; 2]]| {
            let mut read = Bars::default();
            for [bar, times] in bars {
                read.add(i32::try_from(i64::from_le_bytes(*bar)).ok()?, u64::from_le_bytes(*times));
            }
            Some(read)
        };
        let (negative, positive) = bars.split_at_checked(negative)?;
        Some(Self {
            negative: read(negative)?,
            positive: read(positive)?,
            zeros: word(0)?,
            below: word(1)?,
            above: word(2)?,
            nans: word(3)?,
            least: f64::from_bits(word(4)?),
            greatest: f64::from_bits(word(5)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, seq::SliceRandom};

    fn of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value, 1));
        sketch
    }

    #[test]
    fn values_are_within_a_hundredth_whatever_their_order_and_parts() {
        let mut random = rand::rngs::SmallRng::seed_from_u64(3);
        for round in 0..60 {
            let mut values: Vec<f64> = (0..random.random_range(1..3_000))
                .map(|_| match round % 3 {
                    0 => random.random_range(-50.0..1_000.0),
                    1 => f64::from(random.random_range(0..40_u8)) / 8.0,
                    _ => 10_f64.powf(random.random_range(-8.0..8.0)),
                })
                .collect();
            let whole = of(&values);
            values.shuffle(&mut random);
            let (one, other) = values.split_at(random.random_range(0..values.len()));
            let mut merged = of(one);
            merged.merge(&of(other));
            assert_eq!(merged, whole);
            let mut bytes = Vec::new();
            whole.write(&mut bytes);
            assert_eq!(Sketch::read(&bytes).as_ref(), Some(&whole));
            values.sort_by(f64::total_cmp);
            for fraction in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0] {
                let exact = values[(fraction * (values.len() - 1) as f64).round() as usize];
                let found = whole.percentile(fraction);
                assert!(
                    (found - exact).abs() <= exact.abs() * (ERROR + 1e-9),
                    "{fraction} of {}: {found}, not {exact}",
                    values.len()
                );
            }
            assert_eq!(
                (whole.percentile(0.0), whole.percentile(1.0).min(values[values.len() - 1])),
                (values[0], whole.percentile(1.0))
            );
        }
    }

    #[test]
    fn it_stays_small_and_knows_what_is_no_number() {
        let mut exponents: Vec<i32> = (-1_000..1_000).collect();
        let sketch = of(&exponents.iter().map(|e| 2_f64.powi(*e)).collect::<Vec<_>>());
        assert!(sketch.positive.bars.len() <= BARS_MAX as usize);
        assert_eq!(sketch.count(), 2_000);
        exponents.reverse();
        assert_eq!(of(&exponents.iter().map(|e| 2_f64.powi(*e)).collect::<Vec<_>>()), sketch);
        let top = sketch.percentile(0.999);
        assert!((top / 2_f64.powi(997) - 1.0).abs() <= ERROR + 1e-9, "{top}");
        let strange = of(&[f64::NAN, f64::INFINITY, 0.0, -0.0, f64::NEG_INFINITY, 5e-324, -3.0]);
        let at = |rank: f64| strange.percentile(rank / 6.0);
        assert_eq!((at(0.0), at(5.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!((at(1.0) + 3.0).abs() <= 0.03 && at(6.0).is_nan());
        assert_eq!((at(2.0), at(4.0)), (0.0, 0.0));
        assert!(Sketch::read(&[0; 55]).is_none() && Sketch::read(&[1; 64]).is_none());
    }
}
