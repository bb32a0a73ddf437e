//! Dates, times and timestamps to each other. A TIMESTAMP_LTZ is an instant; what its clock shows is the session's zone's
//! matter. A local time that a change of clocks leaves out moves forward by the gap; of two the earlier is taken.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{
    Array, ArrayRef, Date32Array, Time32MillisecondArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow_cast::cast as arrow_cast;
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Timelike as _};
use chrono_tz::Tz;
use datafusion_common::{Result, exec_datafusion_err, internal_err};

use super::Kernel;

/// Digits of a second that a unit holds.
pub(super) fn digits_of(unit: TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// A column of times as date and clock, in UTC where it is one of instants.
pub(in crate::functions) struct Times<'a> {
    column: &'a ArrayRef,
    /// Units a second.
    read: fn(&ArrayRef, usize) -> Option<NaiveDateTime>,
}

fn since_epoch(seconds: i64, nanoseconds: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(seconds, u32::try_from(nanoseconds).ok()?).map(|time| time.naive_utc())
}

fn at(value: i64, per_second: i64) -> Option<NaiveDateTime> {
    since_epoch(value.div_euclid(per_second), value.rem_euclid(per_second) * (1_000_000_000 / per_second))
}

impl<'a> Times<'a> {
    pub fn of(column: &'a ArrayRef) -> Result<Self> {
        use DataType as T;
        let read: fn(&ArrayRef, usize) -> Option<NaiveDateTime> = match column.data_type() {
            T::Timestamp(TimeUnit::Second, _) => {
                |column, row| at(column.as_primitive::<TimestampSecondType>().value(row), 1)
            }
            T::Timestamp(TimeUnit::Millisecond, _) => {
                |column, row| at(column.as_primitive::<TimestampMillisecondType>().value(row), 1_000)
            }
            T::Timestamp(TimeUnit::Microsecond, _) => {
                |column, row| at(column.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000)
            }
            T::Timestamp(TimeUnit::Nanosecond, _) => {
                |column, row| at(column.as_primitive::<TimestampNanosecondType>().value(row), 1_000_000_000)
            }
            T::Date32 => {
                |column, row| at(i64::from(column.as_primitive::<Date32Type>().value(row)) * 86_400, 1)
            }
            T::Time32(TimeUnit::Second) => {
                |column, row| at(column.as_primitive::<Time32SecondType>().value(row).into(), 1)
            }
            T::Time32(_) => {
                |column, row| at(column.as_primitive::<Time32MillisecondType>().value(row).into(), 1_000)
            }
            T::Time64(TimeUnit::Nanosecond) => {
                |column, row| at(column.as_primitive::<Time64NanosecondType>().value(row), 1_000_000_000)
            }
            T::Time64(_) => {
                |column, row| at(column.as_primitive::<Time64MicrosecondType>().value(row), 1_000_000)
            }
            other => return internal_err!("a time came as {other}"),
        };
        Ok(Self { column, read })
    }

    pub fn value(&self, row: usize) -> Option<NaiveDateTime> {
        if self.column.is_null(row) { None } else { (self.read)(self.column, row) }
    }
}

/// The instant at which clocks of `zone` show `time`.
pub(super) fn instant(time: NaiveDateTime, zone: Tz) -> Option<NaiveDateTime> {
    if zone == Tz::UTC {
        return Some(time);
    }
    match zone.from_local_datetime(&time) {
        chrono::LocalResult::Single(found) | chrono::LocalResult::Ambiguous(found, _) => {
            Some(found.naive_utc())
        }
        chrono::LocalResult::None => {
            // In the gap the offset before it still counts, which is what shifts the time behind the gap.
            let before = time.checked_sub_signed(Duration::days(1))?;
            let before = zone.from_local_datetime(&before).earliest()?;
            before.naive_utc().checked_add_signed(Duration::days(1))
        }
    }
}

/// `times` as a column of type `to`; what `to` cannot hold is an error.
pub(super) fn build(times: impl Iterator<Item = Option<NaiveDateTime>>, to: &DataType) -> Result<ArrayRef> {
    let too_far = || exec_datafusion_err!("a time is too far away for {}", crate::functions::type_name(to));
    let epoch = NaiveDate::default();
    match to {
        DataType::Date32 => Ok(Arc::new(
            times
                .map(|time| time.and_then(|time| i32::try_from((time.date() - epoch).num_days()).ok()))
                .collect::<Date32Array>(),
        )),
        DataType::Time32(_) => {
            let millis = |time: NaiveTime| {
                time.num_seconds_from_midnight() * 1_000 + time.nanosecond() % 1_000_000_000 / 1_000_000
            };
            Ok(Arc::new(
                times
                    .map(|time| i32::try_from(millis(time?.time())).ok())
                    .collect::<Time32MillisecondArray>(),
            ))
        }
        DataType::Timestamp(unit, zone) => {
            let value = |time: NaiveDateTime| match unit {
                TimeUnit::Second => Some(time.and_utc().timestamp()),
                TimeUnit::Millisecond => Some(time.and_utc().timestamp_millis()),
                TimeUnit::Microsecond => Some(time.and_utc().timestamp_micros()),
                TimeUnit::Nanosecond => time.and_utc().timestamp_nanos_opt(),
            };
            let values = times
                .map(|time| time.map(|time| value(time).ok_or_else(too_far)).transpose())
                .collect::<Result<Vec<Option<i64>>>>()?;
            Ok(match unit {
                TimeUnit::Second => {
                    Arc::new(TimestampSecondArray::from(values).with_timezone_opt(zone.clone()))
                }
                TimeUnit::Millisecond => {
                    Arc::new(TimestampMillisecondArray::from(values).with_timezone_opt(zone.clone()))
                }
                TimeUnit::Microsecond => {
                    Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zone.clone()))
                }
                TimeUnit::Nanosecond => {
                    Arc::new(TimestampNanosecondArray::from(values).with_timezone_opt(zone.clone()))
                }
            })
        }
        other => internal_err!("a time is asked for as {other}"),
    }
}

/// How `from` becomes `to`; `None` where arrow does the same.
pub(super) fn kernel(from: &DataType, to: &DataType, zone: Tz) -> Option<Kernel> {
    use DataType as T;
    let is_instant = |kind: &DataType| matches!(kind, T::Timestamp(_, Some(_)));
    if !matches!(to, T::Timestamp(..) | T::Date32 | T::Time32(_)) {
        return None;
    }
    let (gives_instant, takes_instant) = (is_instant(to), is_instant(from));
    let to = to.clone();
    // Only the unit changes, or in UTC nothing but the type's name.
    let is_plain = matches!((from, &to), (T::Timestamp(..), T::Timestamp(..)))
        && (gives_instant == takes_instant || zone == Tz::UTC);
    if is_plain {
        return Some(Box::new(move |column| rescaled(column, &to)));
    }
    Some(Box::new(move |column| {
        let times = Times::of(column)?;
        let converted = (0..column.len()).map(|row| {
            let time = times.value(row)?;
            match (takes_instant, gives_instant) {
                (true, false) => Some(zone.from_utc_datetime(&time).naive_local()),
                (false, true) => instant(time, zone),
                _ => Some(time),
            }
        });
        // Flink cuts a TIMESTAMP towards 1970: the last second of 1969 is of January 1st. An instant it does not.
        let cut = |time: NaiveDateTime| {
            let is_early = to == DataType::Date32
                && !takes_instant
                && time < NaiveDateTime::default()
                && time.time() != NaiveTime::MIN;
            if is_early { time.checked_add_signed(Duration::days(1)) } else { Some(time) }
        };
        let converted = converted.map(|time: Option<NaiveDateTime>| time.and_then(cut));
        build(converted, &to)
    }))
}

/// Another unit, cut towards the past where arrow cuts towards 1970.
fn rescaled(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let (DataType::Timestamp(from, _), DataType::Timestamp(unit, _)) = (column.data_type(), to) else {
        return internal_err!("a TIMESTAMP is asked for");
    };
    if digits_of(*from) <= digits_of(*unit) {
        return Ok(arrow_cast(column, to)?);
    }
    let times = Times::of(column)?;
    build((0..column.len()).map(|row| times.value(row)), to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_the_gap_moves_behind_it() {
        let zone: Tz = "Europe/Berlin".parse().unwrap();
        let at = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
        // Clocks go from 02:00 to 03:00: half past two is shown as half past three, which is 01:30 in UTC.
        assert_eq!(instant(at("2026-03-29 02:30:00"), zone), Some(at("2026-03-29 01:30:00")));
        // Clocks go back: the earlier of the two half past two.
        assert_eq!(instant(at("2026-10-25 02:30:00"), zone), Some(at("2026-10-25 00:30:00")));
    }
}
