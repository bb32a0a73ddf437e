//! `datagen`: made-up rows of any table, Flink's DataGen connector and a fleet of devices on top.
//!
//! A connector in the smallest number of parts: [`OPTIONS`] says what a `WITH` clause may hold, [`Connector::source`]
//! reads it once into a provider, the provider makes instances. What a column holds is decided in fields.rs and made in
//! values.rs; when rows come, and from where a restored source goes on, is [`GeneratedSource`]'s.

mod fields;
mod series;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use millstream_engine::batch::record_batch;
use millstream_engine::options::OptionSpec;
use millstream_engine::{Connector, Error, Result, Source, SourceProvider, Table};

use crate::generator::{BaseTime, Draws, GeneratedSource, OutOfOrder, Plan, Rows, Schedule};
use fields::{Column, Fleet};
use values::{Row, make};

/// The connector.
pub struct Datagen;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("rows-per-second", "integer", "10000", "How fast rows come."),
    OptionSpec::new(
        "number-of-rows",
        "integer",
        "",
        "How many rows there are; without it (and a sequence) no end.",
    ),
    OptionSpec::new(
        "fields.*",
        "text",
        "",
        "fields.COLUMN.kind is random, sequence, walk or sine; further .min, .max, .length, .var-len, .null-rate, \
         .max-past, .start, .end, .values, .step and .period. A field of a ROW is COLUMN.FIELD, an item of an ARRAY \
         COLUMN.element.",
    ),
    OptionSpec::new(
        "devices",
        "integer",
        "1",
        "How many devices take turns; walks and sines are each device's own.",
    ),
    OptionSpec::new(
        "device-column",
        "text",
        "device_id",
        "The column that names the device, if 'devices' is given.",
    ),
    OptionSpec::new(
        "device-prefix",
        "text",
        "device-",
        "What a device's name begins with, where it is text.",
    ),
    OptionSpec::new("seed", "integer", "0", "Chooses other rows."),
    OptionSpec::new(
        "base-time",
        "now | time | integer",
        "now",
        "Time of the first row: a UTC time, ms since 1970, or the clock at the start.",
    ),
    OptionSpec::new(
        "out-of-order",
        "number",
        "0",
        "Share of rows whose time is behind their turn: '0.05' or '5 %'.",
    ),
    OptionSpec::new("out-of-order.max", "duration", "3 s", "How far behind at most."),
];

impl Connector for Datagen {
    fn name(&self) -> &'static str {
        "datagen"
    }
    fn help(&self) -> &'static str {
        "Made-up rows: random values, sequences, and measurements of a fleet of devices."
    }
    fn options(&self) -> Vec<OptionSpec> {
        OPTIONS.to_vec()
    }
    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        let options = &table.options;
        let seed = options.parse("seed", "an integer of at least 0")?.unwrap_or(0);
        let rate = options.parse("rows-per-second", "an integer of at least 1")?.unwrap_or(10_000);
        if rate == 0 {
            return Err(options.invalid("rows-per-second", "an integer of at least 1"));
        }
        let fleet = Fleet::from_options(table)?;
        let (columns, sequence_rows) = fields::columns(table, &fleet, seed)?;
        let rows: Option<u64> = options.parse("number-of-rows", "an integer of at least 0")?;
        let rows = rows.unwrap_or(u64::MAX).min(sequence_rows);
        let base = BaseTime::from_options(options)?.unwrap_or(BaseTime::Now);
        Ok(Arc::new(Provider {
            shared: Arc::new(Shared {
                columns,
                fleet,
                out_of_order: OutOfOrder::from_options(options, 3_000)?,
                delays: Draws::new(seed, u64::MAX),
            }),
            plan: Arc::new(Plan::new(Schedule::constant(rate), true, base, rows, false)),
        }))
    }
}

/// What all instances share.
struct Shared {
    columns: Vec<Column>,
    fleet: Fleet,
    out_of_order: OutOfOrder,
    delays: Draws,
}

struct Provider {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
}

impl SourceProvider for Provider {
    fn is_bounded(&self) -> bool {
        self.plan.is_bounded()
    }
    fn create(&self, schema: SchemaRef, instance: usize, parallelism: usize) -> Result<Box<dyn Source>> {
        let rows = Maker { shared: Arc::clone(&self.shared), plan: Arc::clone(&self.plan), schema };
        Ok(Box::new(GeneratedSource::new(Arc::clone(&self.plan), rows, instance, parallelism)))
    }
    fn describe(&self) -> String {
        match self.plan.rows {
            u64::MAX => "datagen".into(),
            rows => format!("datagen, {rows} rows"),
        }
    }
}

/// Makes the columns of `schema`.
struct Maker {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    schema: SchemaRef,
}

impl Rows for Maker {
    fn rows(&mut self, first: u64, len: usize, base_ms: i64) -> Result<RecordBatch> {
        let Shared { columns, fleet, out_of_order, delays } = &*self.shared;
        let times = self.plan.schedule.times_ms(first, len, base_ms);
        let rows: Vec<Row> = (first..)
            .zip(times)
            .map(|(n, time_ms)| Row {
                n,
                time_ms: time_ms - out_of_order.delay_ms(*delays, n),
                device: n % fleet.devices,
                reading: n / fleet.devices,
            })
            .collect();
        let columns = self
            .schema
            .fields()
            .iter()
            .map(|field| {
                let column = columns.iter().find(|column| column.name == *field.name());
                let column = column
                    .ok_or_else(|| Error::internal(format!("datagen has no column '{}'", field.name())))?;
                make(column, field.data_type(), fleet, &rows)
            })
            .collect::<Result<Vec<_>>>()?;
        record_batch(Arc::clone(&self.schema), columns, len)
    }
}
