//! When each row is due: at a constant rate, or one that goes up and down.
//!
//! Times are whole milliseconds from the first row, computed from the row's number, so they neither drift nor depend
//! on who asks.

/// How the rate moves between its two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RateShape {
    /// Half of the period at the first rate, half at the next.
    Square,
    /// Ten steps along a cosine.
    Sine,
}

/// Rows from `first` on come at `rate` a second.
#[derive(Debug, Clone, Copy)]
struct Step {
    first: u64,
    start_ms: u64,
    rate: u64,
}

/// See the module's page.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    steps: Vec<Step>,
    /// After this many rows and ms it starts over; `u64::MAX` for never.
    period_rows: u64,
    period_ms: u64,
}

impl Schedule {
    /// `rate` rows a second, at least one.
    pub fn constant(rate: u64) -> Self {
        let step = Step { first: 0, start_ms: 0, rate: rate.max(1) };
        Self { steps: vec![step], period_rows: u64::MAX, period_ms: u64::MAX }
    }

    /// A rate between `first_rate` and `next_rate`, once up and down in `period_s` seconds.
    pub fn shaped(shape: RateShape, first_rate: u64, next_rate: u64, period_s: u64) -> Self {
        if first_rate == next_rate {
            return Self::constant(first_rate);
        }
        let rates: Vec<u64> = match shape {
            RateShape::Square => vec![first_rate, next_rate],
            RateShape::Sine => {
                let (first, next) = (first_rate as f64, next_rate as f64);
                let at = |step: u32| {
                    let turn = std::f64::consts::TAU * f64::from(step) / 10.0;
                    f64::midpoint(first, next) + (first - next) / 2.0 * turn.cos()
                };
                (0..10).map(|step| at(step).round().max(1.0) as u64).collect()
            }
        };
        let step_ms = (period_s * 1_000).div_ceil(rates.len() as u64).max(1);
        let mut schedule = Self { steps: Vec::new(), period_rows: 0, period_ms: 0 };
        for rate in rates {
            let rate = rate.max(1);
            schedule.steps.push(Step { first: schedule.period_rows, start_ms: schedule.period_ms, rate });
            schedule.period_rows += (step_ms.saturating_mul(rate) / 1_000).max(1);
            schedule.period_ms += step_ms;
        }
        schedule
    }

    /// The rate it begins with, in rows a second.
    pub fn first_rate(&self) -> u64 {
        self.steps.first().map_or(1, |step| step.rate)
    }

    /// When row `n` is due, in ms from the start.
    pub fn time_ms(&self, n: u64) -> u64 {
        let (period, row, index) = self.locate(n);
        let step = self.steps[index];
        let inside = u128::from(row - step.first) * 1_000 / u128::from(step.rate);
        (period.saturating_mul(self.period_ms))
            .saturating_add(step.start_ms)
            .saturating_add(u64::try_from(inside).unwrap_or(u64::MAX))
    }

    /// How many rows are due when `elapsed_ms` have passed: those whose time is at most that.
    pub fn rows_due(&self, elapsed_ms: u64) -> u64 {
        let (period, inside_ms) = (elapsed_ms / self.period_ms, elapsed_ms % self.period_ms);
        let index = self.steps.partition_point(|step| step.start_ms <= inside_ms).saturating_sub(1);
        let step = self.steps[index];
        let end = self.steps.get(index + 1).map_or(self.period_rows, |next| next.first);
        let rows = (u128::from(inside_ms - step.start_ms + 1) * u128::from(step.rate)).div_ceil(1_000);
        let row = step.first.saturating_add(u64::try_from(rows).unwrap_or(u64::MAX)).min(end);
        period.saturating_mul(self.period_rows).saturating_add(row)
    }

    /// The times of rows `first .. first + len`, added to `base_ms`.
    pub fn times_ms(&self, first: u64, len: usize, base_ms: i64) -> Vec<i64> {
        let mut times = Vec::with_capacity(len);
        let mut n = first;
        while times.len() < len {
            let (_, row, index) = self.locate(n);
            let step = self.steps[index];
            let end = self.steps.get(index + 1).map_or(self.period_rows, |next| next.first);
            let rows = (len - times.len()).min(usize::try_from(end - row).unwrap_or(usize::MAX));
            let mut time = base_ms.saturating_add_unsigned(self.time_ms(n));
            // Whole and left-over thousandths of a row's distance: exact, and no division a row.
            let mut part = (u128::from(row - step.first) * 1_000 % u128::from(step.rate)) as u64;
            let (whole, rest) = ((1_000 / step.rate) as i64, 1_000 % step.rate);
            for _ in 0..rows {
                times.push(time);
                part += rest;
                let carry = part >= step.rate;
                part -= if carry { step.rate } else { 0 };
                time += whole + i64::from(carry);
            }
            n += rows as u64;
        }
        times
    }

    /// Period, row within it, and index of the step of row `n`.
    fn locate(&self, n: u64) -> (u64, u64, usize) {
        let (period, row) = (n / self.period_rows, n % self.period_rows);
        let index = self.steps.partition_point(|step| step.first <= row).saturating_sub(1);
        (period, row, index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agrees(schedule: &Schedule, rows: u64) {
        let times = schedule.times_ms(0, rows as usize, 5);
        assert!(times.is_sorted());
        for n in 0..rows {
            let time = schedule.time_ms(n);
            assert_eq!(times[n as usize], 5 + time as i64, "row {n}");
            let due = schedule.rows_due(time);
            assert!(due > n, "row {n} is due at {time}");
            assert!(time == 0 || schedule.rows_due(time - 1) <= n, "row {n} is not due before {time}");
        }
        assert_eq!(schedule.times_ms(rows / 2, 7, 5), times[rows as usize / 2..][..7]);
    }

    #[test]
    fn times_and_counts_agree() {
        for rate in [1, 3, 7, 999, 1_000, 1_001, 10_000_000] {
            agrees(&Schedule::constant(rate), 5_000);
        }
        agrees(&Schedule::shaped(RateShape::Square, 100, 7, 4), 2_000);
        agrees(&Schedule::shaped(RateShape::Sine, 1, 50, 10), 2_000);
    }

    #[test]
    fn a_rate_is_kept_exactly() {
        let schedule = Schedule::constant(3);
        assert_eq!(schedule.time_ms(3_000_000_000), 1_000_000_000_000);
        let square = Schedule::shaped(RateShape::Square, 100, 10, 10);
        assert_eq!(
            (square.rows_due(4_999), square.rows_due(9_999), square.rows_due(14_999)),
            (500, 550, 1_050)
        );
    }
}
