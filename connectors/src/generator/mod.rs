//! What generated sources (`datagen`, `nexmark`) have in common: a table whose row `n` is a pure function of a seed and `n`.
//!
//! Invariants: which rows exist, and what is in them, depends on neither batch size nor parallelism nor restarts; each
//! instance's rows have rising numbers. [`Lanes`] says which numbers an instance takes, [`Schedule`] when each is due,
//! [`Draws`] gives the randomness of a field. A connector brings a [`Rows`] and hands it to [`GeneratedSource`], which
//! polls it; the batches then go down the source's stage.

mod lanes;
mod origin;
mod random;
mod schedule;
mod source;
#[cfg(test)]
pub(crate) mod testing;
mod texts;

pub(crate) use lanes::Lanes;
pub(crate) use origin::BaseTime;
pub(crate) use random::{Draws, below, unit};
pub(crate) use schedule::{RateShape, Schedule};
pub(crate) use source::{GeneratedSource, Plan, Rows};
pub(crate) use texts::{RandomText, Texts};

use millstream_engine::Result;
use millstream_engine::options::Options;

/// Rows behind the time they should have: a share of them, and by how much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OutOfOrder {
    /// From 0 to 1.
    pub share: f64,
    /// The longest delay in ms.
    pub max_ms: u64,
}

impl OutOfOrder {
    /// Reads `'out-of-order'` (`'0.05'` or `'5 %'`) and `'out-of-order.max'`.
    ///
    /// # Errors
    /// If the share is not between 0 and 1, or the delay no duration.
    pub fn from_options(options: &Options, default_max_ms: u64) -> Result<Self> {
        let share = share(options, "out-of-order")?.unwrap_or(0.0);
        let max_ms = options.duration_ms("out-of-order.max")?.map_or(default_max_ms, i64::unsigned_abs);
        Ok(Self { share, max_ms: max_ms.max(1) })
    }

    /// How late row `n` is, in ms.
    pub fn delay_ms(self, draws: Draws, n: u64) -> i64 {
        let draw = draws.at(n);
        if unit(draw) >= self.share {
            return 0;
        }
        // A second mixing, since the first draw says already that it is small.
        i64::try_from(1 + below(draws.at(draw), self.max_ms)).unwrap_or(i64::MAX)
    }
}

/// A share: a number from 0 to 1, or a percentage.
///
/// # Errors
/// If the text is neither.
pub(crate) fn share(options: &Options, key: &str) -> Result<Option<f64>> {
    let Some(text) = options.get(key) else { return Ok(None) };
    let wanted = "a share such as '0.05' or '5 %'";
    let (number, scale) = match text.trim().strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let share = number.trim().parse::<f64>().map_err(|_| options.invalid(key, wanted))? / scale;
    if (0.0..=1.0).contains(&share) { Ok(Some(share)) } else { Err(options.invalid(key, wanted)) }
}
