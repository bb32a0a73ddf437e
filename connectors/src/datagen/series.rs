//! Numbers of one column over rows: scattered, counted, or moving smoothly, one curve a device.
//!
//! Each is a pure function of the row, so nothing has to be kept in a checkpoint. A walk goes smoothly from one random
//! height to the next; so many readings apart that it never moves by more than its step.

use super::values::Row;
use crate::generator::Draws;

/// Numbers between two bounds, or from one on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Series<T> {
    /// Any of `min` to `max`.
    Random { min: T, max: T },
    /// `start`, one more with every row.
    Sequence { start: T },
    /// Between `min` and `max`, from one random height to the next in `span` readings of a device.
    Walk { min: T, max: T, span: u64 },
    /// Between `min` and `max` and back in `period_ms` of the rows' time, at a phase of the device's own.
    Sine { min: T, max: T, period_ms: i64 },
}

/// Readings between two heights of a walk, so that none moves by more than `step`.
pub(super) fn walk_span(min: f64, max: f64, step: f64) -> u64 {
    // The smooth curve is at most half again as steep as the line.
    ((max - min).abs() * 1.5 / step).ceil().clamp(1.0, 1e9) as u64
}

impl Series<f64> {
    /// The number of `row`.
    pub fn real(&self, draws: Draws, row: &Row) -> f64 {
        match *self {
            Self::Random { min, max } => min + (max - min) * draws.unit(row.n),
            Self::Sequence { start } => start + row.n as f64,
            Self::Walk { min, max, span } => min + (max - min) * height(draws, row, span),
            Self::Sine { min, max, period_ms } => min + (max - min) * swing(draws, row, period_ms),
        }
    }
}

impl Series<i128> {
    /// The number of `row`; of a DECIMAL, without its point.
    pub fn whole(&self, draws: Draws, row: &Row) -> i128 {
        let between = |min: i128, max: i128, at: f64| {
            let height = (max as f64 - min as f64) * at;
            min.saturating_add(height.round() as i128).clamp(min, max)
        };
        match *self {
            Self::Random { min, max } => {
                // The range may have more than 64 bits: each half is scaled by the draw.
                let (range, draw) = (max.wrapping_sub(min).cast_unsigned() + 1, u128::from(draws.at(row.n)));
                let scaled = (range >> 64) * draw + (((range & u128::from(u64::MAX)) * draw) >> 64);
                min.saturating_add_unsigned(scaled)
            }
            Self::Sequence { start } => start + i128::from(row.n),
            Self::Walk { min, max, span } => between(min, max, height(draws, row, span)),
            Self::Sine { min, max, period_ms } => between(min, max, swing(draws, row, period_ms)),
        }
    }
}

/// How high a walk is, from 0 to 1.
fn height(draws: Draws, row: &Row, span: u64) -> f64 {
    let (knot, inside) = (row.reading / span, row.reading % span);
    let of_device = row.device << 32;
    let from = draws.unit(of_device.wrapping_add(knot));
    let to = draws.unit(of_device.wrapping_add(knot + 1));
    let way = inside as f64 / span as f64;
    from + (to - from) * way * way * (3.0 - 2.0 * way)
}

/// How high a sine is, from 0 to 1.
fn swing(draws: Draws, row: &Row, period_ms: i64) -> f64 {
    let phase = draws.unit(row.device);
    let turns = row.time_ms.rem_euclid(period_ms) as f64 / period_ms as f64 + phase;
    0.5 + 0.5 * (std::f64::consts::TAU * turns).sin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(device: u64, reading: u64) -> Row {
        Row { n: reading * 3 + device, time_ms: 0, device, reading }
    }

    #[test]
    fn a_walk_stays_within_bounds_and_steps() {
        let draws = Draws::new(1, 1);
        let walk = Series::Walk { min: -10.0, max: 50.0, span: walk_span(-10.0, 50.0, 0.5) };
        let (mut low, mut high) = (f64::MAX, f64::MIN);
        let mut before = walk.real(draws, &reading(0, 0));
        for n in 1..20_000 {
            let now = walk.real(draws, &reading(0, n));
            assert!((now - before).abs() <= 0.5, "{before} to {now}");
            (low, high, before) = (low.min(now), high.max(now), now);
        }
        assert!((-10.0..-5.0).contains(&low) && (45.0..=50.0).contains(&high), "{low} to {high}");
        assert_ne!(walk.real(draws, &reading(0, 5)), walk.real(draws, &reading(1, 5)));
    }

    #[test]
    fn whole_numbers_cover_their_range_to_the_ends() {
        let draws = Draws::new(1, 1);
        let die = Series::Random { min: 1_i128, max: 6 };
        let mut seen = [0; 7];
        (0..6_000).for_each(|n| seen[die.whole(draws, &reading(0, n)) as usize] += 1);
        assert!(seen[0] == 0 && seen[1..].iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        let wide = Series::Random { min: -(10_i128.pow(38) - 1), max: 10_i128.pow(38) - 1 };
        let signs = (0..1_000).filter(|n| wide.whole(draws, &reading(0, *n)) < 0).count();
        assert!((400..600).contains(&signs), "{signs}");
    }
}
