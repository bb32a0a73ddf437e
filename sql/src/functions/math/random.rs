//! RAND, RAND_INTEGER and UUID.
//!
//! A given seed is Java's: the same numbers as in Flink, row after row. Without one the seed is the session's, so that
//! a run can be repeated. The state of a generator is not part of a checkpoint: after a restore it starts anew.

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::{Float64Array, Int32Array};
use arrow_schema::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::ScalarUDF;
use parking_lot::Mutex;

use crate::functions::FunctionContext;
use crate::functions::call::Wholes;
use crate::functions::function::{Function, Kind, Subject};

/// `java.util.Random`: 48 bits, linear congruential.
pub(super) struct JavaRandom(u64);

impl JavaRandom {
    const MULTIPLIER: u64 = 0x5_deec_e66d;
    const MASK: u64 = (1 << 48) - 1;

    pub fn new(seed: i64) -> Self {
        Self((seed.cast_unsigned() ^ Self::MULTIPLIER) & Self::MASK)
    }

    fn bits(&mut self, bits: u32) -> u32 {
        self.0 = self.0.wrapping_mul(Self::MULTIPLIER).wrapping_add(0xb) & Self::MASK;
        u32::try_from(self.0 >> (48 - bits)).unwrap_or(u32::MAX)
    }

    fn double(&mut self) -> f64 {
        let (high, low) = (u64::from(self.bits(26)), u64::from(self.bits(27)));
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
        let value = ((high << 27) + low) as f64;
        value * 2f64.powi(-53)
    }

    fn below(&mut self, bound: i32) -> i32 {
        let bound = bound.cast_unsigned();
        let mut bits = self.bits(31);
        if bound.is_power_of_two() {
            let value = (u64::from(bound) * u64::from(bits)) >> 31;
            return i32::try_from(value).unwrap_or(0);
        }
        // Values of the incomplete last stretch would be likelier than others.
        while bits - bits % bound + (bound - 1) > i32::MAX.cast_unsigned() {
            bits = self.bits(31);
        }
        (bits % bound).cast_signed()
    }
}

/// The generators of one function, each kept from batch to batch.
#[derive(Default)]
struct Generators(Mutex<Vec<(i64, JavaRandom)>>);

/// How many seeds a function remembers; a seed that comes back after so many others starts anew.
const SEEDS_KEPT: usize = 64;

impl Generators {
    /// Asks the generator of each row's seed; a seed that varies from row to row starts anew at each change.
    fn each<T>(
        &self,
        rows: usize,
        seed: &dyn Fn(usize) -> Option<i64>,
        mut of: impl FnMut(usize, &mut JavaRandom) -> Result<Option<T>>,
    ) -> Result<Vec<Option<T>>> {
        let mut kept = self.0.lock();
        let mut results = Vec::with_capacity(rows);
        for row in 0..rows {
            let Some(seed) = seed(row) else {
                results.push(None);
                continue;
            };
            let at = match kept.iter().position(|(known, _)| *known == seed) {
                Some(at) => at,
                None => {
                    if kept.len() == SEEDS_KEPT {
                        kept.remove(0);
                    }
                    kept.push((seed, JavaRandom::new(seed)));
                    kept.len() - 1
                }
            };
            results.push(of(row, &mut kept[at].1)?);
        }
        Ok(results)
    }
}

pub(super) fn functions(context: &FunctionContext) -> Vec<Arc<ScalarUDF>> {
    let session = context.seed.cast_signed();
    vec![rand(session), rand_integer(session), uuid(session)]
}

/// The seed of a row: the argument's, or the session's without one.
fn seed_of(seeds: Option<&Wholes<'_>>, session: i64, row: usize) -> Option<i64> {
    match seeds {
        Some(seeds) => seeds.get(row),
        None => Some(session),
    }
}

/// With a seed each call counts for itself; without one all calls draw from one generator.
fn rand(session: i64) -> Arc<ScalarUDF> {
    let about = "A random number from 0 to below 1; the same ones for the same seed.";
    let generators = Generators::default();
    Function::new(Subject::Math, "rand", "RAND([seed])", about, &[], DataType::Float64, move |call| {
        let seeds = if call.len() > 0 { Some(call.wholes(0)?) } else { None };
        let values =
            generators.each(call.rows, &|row| seed_of(seeds.as_ref(), session, row), |_, random| {
                Ok(Some(random.double()))
            })?;
        Ok(Arc::new(Float64Array::from(values)))
    })
    .optional(&[Kind::Whole])
    .per_call(1, move || rand(session))
    .volatile()
    .build()
}

fn rand_integer(session: i64) -> Arc<ScalarUDF> {
    let about = "A random whole number from 0 to below the bound.";
    let usage = "RAND_INTEGER([seed,] bound)";
    let generators = Generators::default();
    Function::new(Subject::Math, "rand_integer", usage, about, &[Kind::Whole], DataType::Int32, move |call| {
        let bounds = call.wholes(call.len() - 1)?;
        let seeds = if call.len() > 1 { Some(call.wholes(0)?) } else { None };
        let values =
            generators.each(call.rows, &|row| seed_of(seeds.as_ref(), session, row), |row, random| {
                match bounds.get(row) {
                    None => Ok(None),
                    Some(bound) => match i32::try_from(bound) {
                        Ok(bound) if bound > 0 => Ok(Some(random.below(bound))),
                        _ => exec_err!("RAND_INTEGER takes a bound from 1 to 2147483647, not {bound}"),
                    },
                }
            })?;
        Ok(Arc::new(Int32Array::from(values)))
    })
    .optional(&[Kind::Whole])
    .per_call(2, move || rand_integer(session))
    .volatile()
    .build()
}

fn uuid(session: i64) -> Arc<ScalarUDF> {
    let about = "A random identifier, RFC 4122 version 4.";
    let generator = Mutex::new(JavaRandom::new(session ^ 0x7575));
    Function::new(Subject::Math, "uuid", "UUID()", about, &[], DataType::Utf8, move |call| {
        let mut random = generator.lock();
        let mut next = || (u64::from(random.bits(32)) << 32) | u64::from(random.bits(32));
        call.text(|_, out| {
            let (high, low) = ((next() & !0xf000) | 0x4000, (next() >> 2) | (0b10 << 62));
            let (first, second, third) = (high >> 32, (high >> 16) & 0xffff, high & 0xffff);
            let (fourth, last) = (low >> 48, low & 0xffff_ffff_ffff);
            let written = write!(out, "{first:08x}-{second:04x}-{third:04x}-{fourth:04x}-{last:012x}");
            Ok(written.is_ok())
        })
    })
    .volatile()
    .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_javas() {
        let mut random = JavaRandom::new(42);
        assert_eq!(random.double(), 0.727_563_680_032_868_1);
        let mut random = JavaRandom::new(42);
        assert_eq!([random.below(10), random.below(10), random.below(10)], [0, 3, 8]);
    }
}
