//! What time it is: CURRENT_TIMESTAMP and its kin, PROCTIME.
//!
//! Flink evaluates them for each row of a stream. Here they read the job's clock once a batch, which differs by as long
//! as a batch takes; they are never worked out while planning.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, TimeUnit};
use datafusion_common::{Result, not_impl_err};
use datafusion_expr::ScalarUDF;

use super::columns::{collect, local_ms_type};
use super::formatter::Moment;
use super::zone::Zone;
use crate::functions::FunctionContext;
use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions(context: &FunctionContext) -> Vec<Arc<ScalarUDF>> {
    let zone = Zone::of(context.time_zone);
    let clock = Arc::clone(&context.clock);
    let function = |name: &'static str, usage, about, returns: DataType, of: fn(i64, Zone) -> i64| {
        let clock = Arc::clone(&clock);
        let kernel = move |call: &Call<'_>| -> Result<ArrayRef> {
            let ms = of(clock.now_ms(), zone);
            collect(call.returns, call.rows, |_| Some(Moment { ms, nanos: 0 }))
        };
        Function::new(Subject::Time, name, usage, about, &[], returns, kernel).volatile()
    };
    vec![
        // Lowering puts a column in its place (lower/clocked.rs).
        Function::new(
            Subject::Time,
            "current_watermark",
            "CURRENT_WATERMARK(time)",
            "The watermark that the row comes under, of its own partition or device; NULL before the first.",
            &[Kind::Any],
            DataType::Timestamp(TimeUnit::Millisecond, None),
            |_| not_impl_err!("a watermark is known to the stream alone"),
        )
        .returns(|given| match given.types {
            [time @ DataType::Timestamp(TimeUnit::Millisecond, _)] => Some(time.clone()),
            _ => None,
        })
        .volatile()
        .build(),
        function(
            "current_timestamp",
            "CURRENT_TIMESTAMP",
            "The time when the batch is processed, as TIMESTAMP_LTZ(3).",
            local_ms_type(),
            |now, _| now,
        )
        .aliases(&["now", "current_row_timestamp"])
        .build(),
        function(
            "proctime",
            "PROCTIME()",
            "The time when the batch is processed, as a time attribute for windows.",
            local_ms_type(),
            |now, _| now,
        )
        .build(),
        function(
            "localtimestamp",
            "LOCALTIMESTAMP",
            "The time when the batch is processed, on the clocks of table.local-time-zone, as TIMESTAMP(3).",
            DataType::Timestamp(TimeUnit::Millisecond, None),
            |now, zone| zone.to_local(now),
        )
        .build(),
        function(
            "localtime",
            "LOCALTIME",
            "The time of the day in table.local-time-zone, in whole seconds.",
            DataType::Time32(TimeUnit::Millisecond),
            |now, zone| zone.to_local(now).div_euclid(1_000) * 1_000,
        )
        .aliases(&["current_time"])
        .build(),
        function(
            "current_date",
            "CURRENT_DATE",
            "The date in table.local-time-zone.",
            DataType::Date32,
            |now, zone| zone.to_local(now),
        )
        .build(),
    ]
}
