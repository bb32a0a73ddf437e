//! Connectors by name: how SQL and builders find sources and sinks without knowing their crate.
//!
//! A [`Connector`] reads a [`Table`]'s options once, into a provider; the provider then makes the instances. A
//! registry is a value that its owner fills, never a global.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{DataType, Fields, Schema, SchemaRef};
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::{Codec, Format, Formats};
use crate::lookup::LookupProvider;
use crate::options::{OptionSpec, Options};
use crate::sink::Sink;
use crate::source::Source;
use crate::suggest::did_you_mean;
use crate::type_name::type_name;

/// A table as its connector sees it.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns in declared order, metadata columns included, computed columns not.
    pub schema: SchemaRef,
    /// Which columns are metadata: (index in `schema`, metadata key).
    pub metadata: Vec<(usize, String)>,
    /// Indices of the primary key's columns.
    pub primary_key: Vec<usize>,
    /// The `WITH` options.
    pub options: Options,
    /// The formats of this build.
    pub formats: Formats,
}

impl Table {
    /// The columns that are no metadata, in order.
    pub fn payload_schema(&self) -> SchemaRef {
        let is_payload = |index: &usize| self.metadata_key(*index).is_none();
        let fields = (0..self.schema.fields().len()).filter(is_payload);
        Arc::new(Schema::new(
            fields.map(|index| Arc::clone(&self.schema.fields()[index])).collect::<Vec<_>>(),
        ))
    }

    /// Checks that the table declares nothing but columns of `known`, each in its type, ROW fields included: for sources
    /// whose columns are given.
    ///
    /// # Errors
    /// Names the first column that is not so, and what there is.
    pub fn expect_columns(&self, known: &Fields) -> Result<()> {
        let connector = self.options.get("connector").unwrap_or(&self.name);
        expect_fields(connector, "column", self.schema.fields(), known)
            .map_err(|error| error.at(self.options.owner()))
    }

    /// The codec of the format that `'format'` names, `json` if it names none, for payloads that hold all columns but
    /// metadata.
    ///
    /// # Errors
    /// If there is no such format, or one of its options is wrong.
    pub fn codec(&self) -> Result<Arc<dyn Codec>> {
        self.codec_for(&self.payload_schema())
    }

    /// As [`Table::codec`], for payloads that hold `columns`.
    ///
    /// # Errors
    /// If there is no such format, or one of its options is wrong.
    pub fn codec_for(&self, columns: &SchemaRef) -> Result<Arc<dyn Codec>> {
        self.formats.codec(&self.options, "format", Some("json"), columns)
    }

    /// The metadata key of column `index`, if it is a metadata column.
    pub fn metadata_key(&self, index: usize) -> Option<&str> {
        self.metadata.iter().find(|(column, _)| *column == index).map(|(_, key)| key.as_str())
    }
}

fn expect_fields(connector: &str, what: &str, declared: &Fields, known: &Fields) -> Result<()> {
    for field in declared {
        let name = field.name();
        let Some(found) = known.iter().find(|known| known.name() == name) else {
            let near = did_you_mean(name, known.iter().map(|field| field.name().as_str()));
            let near = near.map_or(String::new(), |near| format!("did you mean '{near}'? "));
            let all = known.iter().map(|field| format!("{} {}", field.name(), type_name(field.data_type())));
            return Err(Error::config(format!("connector '{connector}' has no {what} '{name}'"))
                .remedy(format!("{near}it has: {}", all.collect::<Vec<_>>().join(", "))));
        };
        if found.is_nullable() && !field.is_nullable() {
            return Err(Error::config(format!("{what} '{name}' of connector '{connector}' may be NULL"))
                .remedy("leave out its NOT NULL"));
        }
        match (field.data_type(), found.data_type()) {
            (DataType::Struct(declared), DataType::Struct(known)) => {
                expect_fields(connector, &format!("field of {name} called"), declared, known)?;
            }
            (declared, known) if declared == known => {}
            (declared, known) => {
                let (declared, known) = (type_name(declared), type_name(known));
                return Err(Error::config(format!(
                    "{what} '{name}' of connector '{connector}' is {known}, not {declared}"
                ))
                .remedy(format!("declare it as {name} {known}")));
            }
        }
    }
    Ok(())
}

/// A metadata column that a connector offers.
#[derive(Debug, Clone)]
pub struct MetadataSpec {
    /// Its key, as in `METADATA FROM 'topic'`.
    pub key: &'static str,
    /// The type it comes in.
    pub data_type: DataType,
    /// One sentence.
    pub help: &'static str,
}

/// A kind of source, sink or both.
pub trait Connector: Send + Sync {
    /// The value of `'connector'`.
    fn name(&self) -> &'static str;

    /// One sentence.
    fn help(&self) -> &'static str;

    /// All options it takes, formats' included; `connector` itself need not be listed.
    fn options(&self) -> Vec<OptionSpec>;

    /// The metadata columns it offers to readers.
    fn metadata(&self) -> Vec<MetadataSpec> {
        Vec::new()
    }

    /// Keys of the metadata that can be written too. A column of it that is not VIRTUAL then takes a value in
    /// `INSERT INTO`, and [`Connector::sink`] finds it in [`Table::metadata`].
    fn writable_metadata(&self) -> &'static [&'static str] {
        &[]
    }

    /// Reads `table`'s options for reading from it.
    ///
    /// # Errors
    /// If an option is wrong, or the connector cannot be read from.
    fn source(&self, _table: &Table) -> Result<Arc<dyn SourceProvider>> {
        Err(Error::config(format!("connector '{}' can be written to, not read from", self.name())))
    }

    /// Reads `table`'s options for looking rows up in it (`FOR SYSTEM_TIME AS OF` a processing time).
    ///
    /// # Errors
    /// If an option is wrong, or the connector cannot be looked up in.
    fn lookup(&self, _table: &Table) -> Result<Arc<dyn LookupProvider>> {
        Err(Error::config(format!("rows cannot be looked up in a table of connector '{}'", self.name()))
            .remedy("look up in a 'filesystem' or 'postgres' table, or join by event time"))
    }

    /// Reads `table`'s options for writing to it.
    ///
    /// # Errors
    /// If an option is wrong, or the connector cannot be written to.
    fn sink(&self, _table: &Table) -> Result<Arc<dyn SinkProvider>> {
        Err(Error::config(format!("connector '{}' can be read from, not written to", self.name())))
    }

    /// The format of what its sink has put among the dead letters of `table`, by which each becomes a row again, with all
    /// columns that were written.
    ///
    /// # Errors
    /// If they do not hold all of a row, or one that was refused must not be written later.
    fn letters(&self, table: &Table) -> Result<Arc<dyn Codec>> {
        Err(Error::config(format!("dead letters of connector '{}' cannot be sent again", self.name()))
            .at(table.options.owner())
            .remedy("look at them with dead-letters list --rows, and write them by a query of your own"))
    }

    /// The rows of what its sinks have put into an outbox, for people; none if it is nothing of theirs.
    fn outbox_rows(&self, _record: &Bytes) -> Option<Vec<Bytes>> {
        None
    }
}

/// Makes the instances of one source.
pub trait SourceProvider: Send + Sync {
    /// True when the source ends by itself.
    fn is_bounded(&self) -> bool;

    /// How many instances it can be read by, given as many workers.
    fn parallelism(&self, workers: usize) -> usize {
        workers.min(1)
    }

    /// How far ahead of the clock an event time may be before its row counts as bad, in ms, when the table does
    /// not say; none for sources of the past, such as files.
    fn ahead_max_ms(&self) -> Option<i64> {
        None
    }

    /// Makes one instance that produces exactly the columns of `schema`: a subset of the table's columns, in the
    /// table's order, ROW columns possibly with a subset of their fields.
    ///
    /// # Errors
    /// If it cannot be made.
    fn create(&self, schema: SchemaRef, instance: usize, parallelism: usize) -> Result<Box<dyn Source>>;

    /// What EXPLAIN shows beside the table's name; never a secret.
    fn describe(&self) -> String {
        String::new()
    }
}

/// Makes the instances of one sink.
pub trait SinkProvider: Send + Sync {
    /// How many instances may write, given as many workers.
    fn parallelism(&self, workers: usize) -> usize {
        workers.min(1)
    }

    /// Whether its rows go into an outbox where the job keeps state on disk. One instance then has them all: a key's rows
    /// stay in order over runs with other numbers of workers, because all that wait are in one log.
    fn has_outbox(&self) -> bool {
        false
    }

    /// Whether the sink is to be told how far event time has come ([`Sink::on_watermark`]), where a table has it.
    fn wants_watermarks(&self) -> bool {
        false
    }

    /// Whether the sink takes `-U`, `+U` and `-D` rows.
    fn accepts_updates(&self) -> bool {
        false
    }

    /// Columns whose rows must stay in order: rows with equal values go to the same instance. Empty: none.
    fn order_keys(&self) -> Vec<usize> {
        Vec::new()
    }

    /// Makes one instance.
    ///
    /// # Errors
    /// If it cannot be made.
    fn create(&self, instance: usize, parallelism: usize) -> Result<Box<dyn Sink>>;

    /// What EXPLAIN shows beside the table's name; never a secret.
    fn describe(&self) -> String {
        String::new()
    }
}

/// Connectors and formats by name.
#[derive(Clone, Default)]
pub struct Registry {
    connectors: BTreeMap<&'static str, Arc<dyn Connector>>,
    formats: Formats,
}

impl Registry {
    /// Adds a connector, replacing one of the same name.
    pub fn add(&mut self, connector: Arc<dyn Connector>) {
        self.connectors.insert(connector.name(), connector);
    }

    /// Adds a format, replacing one of the same name.
    pub fn add_format(&mut self, format: Arc<dyn Format>) {
        self.formats.add(format);
    }

    /// All formats.
    pub fn formats(&self) -> &Formats {
        &self.formats
    }

    /// All connectors, by name.
    pub fn connectors(&self) -> impl Iterator<Item = &Arc<dyn Connector>> {
        self.connectors.values()
    }

    /// The connector that `table`'s `'connector'` option names, after checking that it knows all its options.
    ///
    /// # Errors
    /// If there is no such connector, or an option is unknown to it.
    pub fn connector(&self, table: &Table) -> Result<&Arc<dyn Connector>> {
        let name = table.options.require("connector")?;
        let Some(connector) = self.connectors.get(name) else {
            let known: Vec<_> = self.connectors.keys().copied().collect();
            let nearest = did_you_mean(name, known.iter().copied());
            return Err(Error::config(format!("there is no connector '{name}'"))
                .at(table.options.owner())
                .remedy(format!(
                    "{}this build has: {}",
                    nearest.map_or(String::new(), |near| format!("did you mean '{near}'? ")),
                    known.join(", ")
                )));
        };
        let own = connector.options();
        let of_formats = self.formats.options_of(&table.options, &own);
        let mut specs: Vec<(&str, &[OptionSpec])> = vec![("", &own), ("", TABLE_OPTIONS)];
        specs.extend(of_formats.iter().map(|(prefix, list)| (*prefix, list.as_slice())));
        table.options.check_known(&format!("connector '{name}'"), &specs)?;
        Ok(connector)
    }
}

/// Options that every table takes, whatever its connector; read by the planner.
pub const TABLE_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("connector", "text", "", "Which connector reads or writes the table."),
    OptionSpec::new(
        "scan.watermark.idle-timeout",
        "duration",
        "",
        "After this long without a row, a partition no longer holds back the watermark.",
    ),
    OptionSpec::new(
        "scan.watermark.key",
        "text",
        "",
        "Column (several: comma separated) whose every value keeps a watermark of its own: one clock a device.",
    ),
    OptionSpec::new(
        "scan.watermark.ahead-max",
        "duration",
        "",
        "A row whose event time is further ahead of the clock than this is a bad row; 0 turns the guard off.",
    ),
    OptionSpec::new(
        "sink.parallelism",
        "integer",
        "",
        "How many instances write, at most as many as there are workers; connectors with one connection have one.",
    ),
    OptionSpec::new(
        "dead-letter",
        "text",
        "",
        "Table that bad rows go to, with some of the columns payload, error, source and time.",
    ),
    OptionSpec::new(
        "late-rows",
        "text",
        "",
        "Table that rows too late for their window go to, with some of this table's columns.",
    ),
];
