//! `nexmark`: the auction site of the Nexmark benchmark, as nexmark-flink's table of the same columns and options.
//!
//! Event `n` is a person, an auction or a bid by its place in a cycle of 1, 3 and 46 (or other proportions), and a
//! pure function of the seed and `n`. Options are in config.rs, rows are put together in events.rs from people.rs,
//! auctions.rs and bids.rs; only the columns and fields that the query reads are made. Reading is
//! [`crate::generator::GeneratedSource`].

mod auctions;
mod bids;
mod config;
mod events;
mod people;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_schema::{DataType, Field, Fields, SchemaRef, TimeUnit};
use millstream_engine::options::OptionSpec;
use millstream_engine::{Connector, Result, Source, SourceProvider, Table};

use crate::generator::{GeneratedSource, Plan};
use config::Config;
use events::{Events, Tables};

/// The connector.
pub struct Nexmark;

impl Connector for Nexmark {
    fn name(&self) -> &'static str {
        "nexmark"
    }
    fn help(&self) -> &'static str {
        "Persons, auctions and bids of the Nexmark benchmark; nexmark-flink's table and options."
    }
    fn options(&self) -> Vec<OptionSpec> {
        config::OPTIONS.to_vec()
    }
    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        table.expect_columns(&declarable())?;
        let (config, plan) = Config::from_options(&table.options)?;
        let push_down = table.options.bool("projection.push-down")?.unwrap_or(true);
        Ok(Arc::new(Provider {
            tables: Arc::new(Tables::new(config)),
            plan: Arc::new(plan),
            whole: (!push_down).then(|| Arc::clone(&table.schema)),
        }))
    }
}

struct Provider {
    tables: Arc<Tables>,
    plan: Arc<Plan>,
    /// All columns of the table, when they are to be made whether read or not.
    whole: Option<SchemaRef>,
}

impl SourceProvider for Provider {
    fn is_bounded(&self) -> bool {
        self.plan.is_bounded()
    }
    fn parallelism(&self, workers: usize) -> usize {
        workers
    }
    fn create(&self, schema: SchemaRef, instance: usize, parallelism: usize) -> Result<Box<dyn Source>> {
        let events =
            Events::new(Arc::clone(&self.tables), Arc::clone(&self.plan), schema, self.whole.clone());
        Ok(Box::new(GeneratedSource::new(Arc::clone(&self.plan), events, instance, parallelism)))
    }
    fn describe(&self) -> String {
        match self.plan.rows {
            u64::MAX => "nexmark".into(),
            rows => format!("nexmark, {rows} events"),
        }
    }
}

/// The columns of nexmark-flink's table, of which a table may declare any.
fn columns() -> [Field; 4] {
    let time = || DataType::Timestamp(TimeUnit::Millisecond, None);
    let row = |name: &str, fields: &[(&str, DataType)]| {
        let fields: Fields =
            fields.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect();
        Field::new(name, DataType::Struct(fields), true)
    };
    let (text, number) = (DataType::Utf8, DataType::Int64);
    [
        Field::new("event_type", DataType::Int32, true),
        row(
            "person",
            &[
                ("id", number.clone()),
                ("name", text.clone()),
                ("emailAddress", text.clone()),
                ("creditCard", text.clone()),
                ("city", text.clone()),
                ("state", text.clone()),
                ("dateTime", time()),
                ("extra", text.clone()),
            ],
        ),
        row(
            "auction",
            &[
                ("id", number.clone()),
                ("itemName", text.clone()),
                ("description", text.clone()),
                ("initialBid", number.clone()),
                ("reserve", number.clone()),
                ("dateTime", time()),
                ("expires", time()),
                ("seller", number.clone()),
                ("category", number.clone()),
                ("extra", text.clone()),
            ],
        ),
        row(
            "bid",
            &[
                ("auction", number.clone()),
                ("bidder", number.clone()),
                ("price", number),
                ("channel", text.clone()),
                ("url", text.clone()),
                ("dateTime", time()),
                ("extra", text),
            ],
        ),
    ]
}

/// What a table may declare: an event's rows of another kind are NULL, and nothing else is.
fn declarable() -> Fields {
    let never_null = |field: &Field| field.clone().with_nullable(false);
    let columns = columns().map(|column| match column.data_type() {
        DataType::Struct(fields) => {
            let fields: Fields = fields.iter().map(|field| never_null(field)).collect();
            column.clone().with_data_type(DataType::Struct(fields))
        }
        _ => never_null(&column),
    });
    columns.into_iter().collect()
}
