//! Which columns messages' keys and payloads hold, as Flink's 'key.fields', 'key.fields-prefix' and
//! 'value.fields-include' say. Shared by source and sink.
//!
//! Invariants: metadata columns are in neither; a column's name in the key's format is without the prefix; with
//! 'EXCEPT_KEY' a column is in one of the two, otherwise the payload has them all and decides what a reader sees.

use std::sync::Arc;

use arrow_schema::{FieldRef, Schema, SchemaRef};
use millstream_engine::options::Options;
use millstream_engine::registry::Table;
use millstream_engine::{Codec, Error, Result};

/// Indices in the table's schema.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub key: Vec<usize>,
    pub value: Vec<usize>,
    pub is_key_in_value: bool,
    prefix: String,
}

impl Columns {
    /// What the options say of a `kafka` table.
    ///
    /// # Errors
    /// If one is wrong, or names what is no column of the payload.
    pub fn of_options(table: &Table) -> Result<Self> {
        let options = &table.options;
        let wrong = |what: String, remedy: &str| Error::config(what).at(options.owner()).remedy(remedy);
        let find = |name: &str| {
            let index = table.schema.index_of(name).map_err(|_| {
                wrong(
                    format!("option 'key.fields' names '{name}', which is no column"),
                    "name columns of the table, separated by ';'",
                )
            })?;
            if table.metadata_key(index).is_some() {
                let what = format!("option 'key.fields' names '{name}', which is a metadata column");
                return Err(wrong(what, "keys hold columns of the table's own"));
            }
            Ok(index)
        };
        let names = options.get("key.fields").unwrap_or_default().split(';').map(str::trim);
        let key: Vec<usize> = names.filter(|name| !name.is_empty()).map(find).collect::<Result<_>>()?;
        if key.is_empty() && options.get("key.format").is_some() {
            return Err(wrong(
                "option 'key.format' is there and no column is in the key".to_owned(),
                "name the key's columns: 'key.fields' = 'a;b'",
            ));
        }
        Self::new(table, key)
    }

    /// What the options and the primary key say of an `upsert-kafka` table.
    ///
    /// # Errors
    /// If the table has no primary key, an option is wrong, or a format is not named.
    pub fn of_primary_key(table: &Table) -> Result<Self> {
        let options = &table.options;
        if table.primary_key.is_empty() {
            return Err(Error::config("an upsert-kafka table needs a primary key: it is the messages' key")
                .at(options.owner())
                .remedy("add PRIMARY KEY (...) NOT ENFORCED, or use 'connector' = 'kafka'"));
        }
        options.require("key.format")?;
        if options.get("format").is_none() {
            options.require("value.format")?;
        }
        Self::new(table, table.primary_key.clone())
    }

    fn new(table: &Table, key: Vec<usize>) -> Result<Self> {
        let options = &table.options;
        let include = [("all", true), ("except_key", false)];
        let is_key_in_value = options.choice("value.fields-include", &include)?.unwrap_or(true);
        let prefix = options.get("key.fields-prefix").unwrap_or_default().to_owned();
        if !prefix.is_empty() {
            check_prefix(table, &key, &prefix, is_key_in_value)?;
        }
        let is_value =
            |index: &usize| table.metadata_key(*index).is_none() && (is_key_in_value || !key.contains(index));
        let value = (0..table.schema.fields().len()).filter(is_value).collect();
        Ok(Self { key, value, is_key_in_value, prefix })
    }

    /// A key's column as the key's format names it.
    pub fn key_field(&self, field: &FieldRef) -> FieldRef {
        match field.name().strip_prefix(self.prefix.as_str()) {
            Some(name) if !self.prefix.is_empty() => Arc::new(field.as_ref().clone().with_name(name)),
            _ => Arc::clone(field),
        }
    }

    /// All columns that a key holds.
    pub fn key_schema(&self, table: &Table) -> SchemaRef {
        let fields = self.key.iter().map(|index| self.key_field(&table.schema.fields()[*index]));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// All columns that a payload holds.
    pub fn value_schema(&self, table: &Table) -> SchemaRef {
        let fields = self.value.iter().map(|index| Arc::clone(&table.schema.fields()[*index]));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// The format of keys.
    ///
    /// # Errors
    /// If there is no such format, or one of its options is wrong.
    pub fn key_codec(&self, table: &Table) -> Result<Arc<dyn Codec>> {
        let mut options: Options = table.options.clone();
        // In a registry, keys have a subject of their own.
        if let (Some(topic), None) = (table.options.get("topic"), options.get("key.avro-confluent.subject")) {
            options.set("key.avro-confluent.subject", format!("{topic}-key"));
        }
        table.formats.codec(&options, "key.format", Some("json"), &self.key_schema(table))
    }

    /// The format, by either of its names, of payloads.
    ///
    /// # Errors
    /// If there is no such format, or one of its options is wrong.
    pub fn value_codec(&self, table: &Table) -> Result<Arc<dyn Codec>> {
        let columns = self.value_schema(table);
        match table.options.get("value.format") {
            Some(_) => table.formats.codec(&table.options, "value.format", None, &columns),
            None => table.codec_for(&columns),
        }
    }
}

fn check_prefix(table: &Table, key: &[usize], prefix: &str, is_key_in_value: bool) -> Result<()> {
    let refused =
        |what: String, remedy: &str| Err(Error::config(what).at(table.options.owner()).remedy(remedy));
    if is_key_in_value {
        let what =
            "option 'key.fields-prefix' tells a key's columns from the payload's, which holds them all";
        return refused(what.to_owned(), "add 'value.fields-include' = 'EXCEPT_KEY'");
    }
    for index in key {
        let name = table.schema.field(*index).name();
        if !name.starts_with(prefix) {
            let what = format!("the key's column '{name}' does not begin with '{prefix}'");
            return refused(what, "'key.fields-prefix' is in front of each of them in the table");
        }
    }
    Ok(())
}
