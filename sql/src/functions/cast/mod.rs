//! CAST and TRY_CAST where Flink's meaning is not arrow's.
//!
//! CAST fails on text that is no value of the type; TRY_CAST gives NULL. Numbers never fail: whole numbers keep their
//! low bits, doubles stop at the ends of the range, and what a DECIMAL does not hold is NULL, as in Flink.

mod nested;
mod numbers;
mod read;
mod time;
mod write;

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use chrono_tz::Tz;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use super::FunctionContext;
use super::call::Call;
use super::function::{Function, Kind, Subject};
use millstream_engine::type_name;

pub(super) use time::Times;
pub(super) use write::{java_double, java_float};

type Kernel = Box<dyn Fn(&ArrayRef) -> Result<ArrayRef> + Send + Sync>;

/// The function that casts `from` to `to`, if arrow would do it otherwise.
pub(super) fn function(
    from: &DataType,
    to: &DataType,
    try_cast: bool,
    context: &FunctionContext,
) -> Option<Arc<ScalarUDF>> {
    let kernel = kernel(from, to, try_cast, context.time_zone)?;
    let returns = to.clone();
    let about = "Gives a value another type.";
    let cast = Function::new(
        Subject::Type,
        "cast",
        "CAST(value AS type)",
        about,
        &[Kind::Any],
        returns,
        move |call: &Call<'_>| kernel(&call.column(0)?),
    );
    let name = if try_cast { "TRY_CAST" } else { "CAST" };
    let reads_text = from.is_string() || from.is_nested();
    let cast = cast.never_fails(try_cast || !reads_text);
    Some(cast.detail(format!("{name} {} {}", type_name(from), type_name(to))).build())
}

fn kernel(from: &DataType, to: &DataType, try_cast: bool, zone: Tz) -> Option<Kernel> {
    use DataType as T;
    match (from, to) {
        (T::Null, _) => None,
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, _) => read::kernel(to, try_cast, zone),
        (_, T::Utf8) => write::kernel(from, zone),
        (T::List(_) | T::Struct(_) | T::Map(..), _) => nested::kernel(from, to, try_cast, zone),
        (T::Timestamp(..) | T::Date32 | T::Time32(_), _) => time::kernel(from, to, zone),
        _ => numbers::kernel(from, to),
    }
}

/// Casts that Flink refuses, and what to write instead.
pub(super) fn refused(from: &DataType, to: &DataType) -> Option<&'static str> {
    use DataType as T;
    let time = |kind: &DataType| matches!(kind, T::Timestamp(..) | T::Date32 | T::Time32(_) | T::Time64(_));
    let number = |kind: &DataType| kind.is_numeric() || matches!(kind, T::Boolean);
    match (from, to) {
        (from, to) if number(from) && matches!(to, T::Timestamp(..)) => {
            Some("TO_TIMESTAMP_LTZ(number, 3) makes a time of milliseconds since 1970")
        }
        (from, to) if number(from) && time(to) => {
            Some("make a TIMESTAMP first, by TO_TIMESTAMP_LTZ(number, 3)")
        }
        (T::Timestamp(..), to) if number(to) => Some(
            "UNIX_TIMESTAMP(CAST(time AS STRING)) gives seconds since 1970, EXTRACT(unit FROM time) a part of the time",
        ),
        (from, to) if time(from) && number(to) => Some("EXTRACT(unit FROM time) gives a part of it"),
        (T::Date32, T::Time32(_)) | (T::Time32(_), T::Date32) => {
            Some("a DATE has no time and a TIME no date")
        }
        (T::Struct(from), T::Struct(to)) if from.len() != to.len() => {
            Some("a row is cast to one of as many fields")
        }
        (T::Struct(from), T::Struct(to)) => {
            from.iter().zip(to).find_map(|(from, to)| refused(from.data_type(), to.data_type()))
        }
        (T::List(from), T::List(to)) | (T::Map(from, _), T::Map(to, _)) => {
            refused(from.data_type(), to.data_type())
        }
        (from, to) if from.is_nested() && !to.is_nested() && !to.is_string() => {
            Some("name the part that is wanted: row.field, array[1], map['key']")
        }
        (from, to) if to.is_nested() && !from.is_nested() && !from.is_null() => {
            Some("ARRAY[value], MAP[key, value] and ROW(value) make one")
        }
        _ => None,
    }
}
