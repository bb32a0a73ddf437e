//! Rows by partition: `'sink.partition-by' = 'day,site'` writes folders `day=2026-01-31/site=A/`, as Hive and Flink do.
//!
//! Invariants: the partition's columns are in the folder's name and not in its files; a value's text is escaped as Hive
//! does it, so that no value leaves its folder; NULL and empty text are `__HIVE_DEFAULT_PARTITION__`.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, UInt32Array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_ord::partition::partition;
use arrow_schema::{Schema, SchemaRef};

use millstream_engine::{Batch, Error, Result, Table};

/// What stands for NULL and for empty text.
const DEFAULT_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// How rows become folders.
#[derive(Debug, Clone)]
pub(super) struct Partitioning {
    /// The partition's columns.
    columns: Vec<(usize, String)>,
    /// All others.
    kept: Vec<usize>,
    /// The columns that files have.
    pub schema: SchemaRef,
}

impl Partitioning {
    /// Reads 'sink.partition-by'.
    pub fn read(table: &Table) -> Result<Self> {
        let mut columns = Vec::new();
        let names = table.options.get("sink.partition-by").unwrap_or_default();
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Ok(index) = table.schema.index_of(name) else {
                return Err(table
                    .options
                    .invalid("sink.partition-by", &format!("columns of the table, '{name}' is none")));
            };
            columns.push((index, name.to_owned()));
        }
        let all = 0..table.schema.fields().len();
        let kept: Vec<usize> =
            all.filter(|index| columns.iter().all(|(column, _)| column != index)).collect();
        if kept.is_empty() {
            return Err(Error::config("every column is in 'sink.partition-by', so files would be empty")
                .at(table.options.owner()));
        }
        let schema = Schema::new(table.schema.project(&kept)?.fields().clone());
        Ok(Self { columns, kept, schema: schema.into() })
    }

    /// How many folders deep partitions are.
    pub fn depth(&self) -> usize {
        self.columns.len()
    }

    /// The rows of each partition, by its folder.
    pub fn split(&self, batch: Batch) -> Result<Vec<(String, Batch)>> {
        if self.columns.is_empty() {
            return Ok(vec![(String::new(), batch)]);
        }
        let options = FormatOptions::new();
        let values = self
            .columns
            .iter()
            .map(|(column, _)| Ok(ArrayFormatter::try_new(batch.rows.column(*column).as_ref(), &options)?))
            .collect::<Result<Vec<_>>>()?;
        let mut rows_of: HashMap<String, Vec<u32>> = HashMap::new();
        let (mut folder, mut text) = (String::new(), String::new());
        // Rows of one partition mostly come together: its folder is found once for as many as do.
        let columns: Vec<ArrayRef> =
            self.columns.iter().map(|(column, _)| Arc::clone(batch.rows.column(*column))).collect();
        for together in partition(&columns)?.ranges() {
            let row = together.start;
            folder.clear();
            for (((_, name), column), values) in self.columns.iter().zip(&columns).zip(&values) {
                text.clear();
                if !column.is_null(row) {
                    let value = values.value(row);
                    value.write(&mut text).map_err(|error| Error::data(error.to_string()))?;
                }
                escape(name, &mut folder);
                folder.push('=');
                escape(if text.is_empty() { DEFAULT_PARTITION } else { &text }, &mut folder);
                folder.push('/');
            }
            let rows = u32::try_from(together.start)
                .and_then(|start| Ok(start..u32::try_from(together.end)?))
                .map_err(|_| Error::internal("a batch of too many rows"))?;
            match rows_of.get_mut(&folder) {
                Some(more) => more.extend(rows),
                None => drop(rows_of.insert(folder.clone(), rows.collect())),
            }
        }
        let rows = batch.rows.project(&self.kept)?;
        let kept = Batch { event_time: None, rows, ..batch };
        if rows_of.len() == 1 {
            return Ok(rows_of.into_keys().map(|folder| (folder, kept.clone())).collect());
        }
        rows_of.into_iter().map(|(folder, rows)| Ok((folder, kept.take(&UInt32Array::from(rows))?))).collect()
    }
}

/// Writes `text` as a folder's name may have it: what is special to file systems, URLs or Hive as `%XX`.
fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        if letter.is_ascii_control() || "\"#%'*/:=?\\{}[]^".contains(letter) {
            let _ = write!(out, "%{:02X}", u32::from(letter));
        } else {
            out.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int64Array, RecordBatch, StringArray};
    use millstream_engine::options::Options;

    use super::*;

    #[test]
    fn rows_go_to_the_folder_of_their_values() {
        let sites = StringArray::from(vec![Some("a/../b"), None, Some("a/../b"), Some("")]);
        let rows = RecordBatch::try_from_iter([
            ("site", Arc::new(sites) as arrow_array::ArrayRef),
            ("n", Arc::new(Int64Array::from(vec![1, 2, 3, 4]))),
        ])
        .unwrap();
        let table = |by| Table {
            name: "t".to_owned(),
            schema: rows.schema(),
            metadata: Vec::new(),
            primary_key: Vec::new(),
            options: Options::from_pairs("table t", [("sink.partition-by", by)]),
            formats: Default::default(),
        };
        let mut split = Partitioning::read(&table("site")).unwrap().split(Batch::new(rows.clone())).unwrap();
        split.sort_by(|a, b| a.0.cmp(&b.0));
        let folders: Vec<_> = split.iter().map(|(folder, rows)| (folder.as_str(), rows.num_rows())).collect();
        assert_eq!(folders, [("site=__HIVE_DEFAULT_PARTITION__/", 2), ("site=a%2F..%2Fb/", 2)]);
        assert_eq!(split[0].1.rows.num_columns(), 1);
        assert!(Partitioning::read(&table("nope")).unwrap_err().to_string().contains("'nope' is none"));
        assert!(Partitioning::read(&table("site, n")).is_err());
    }
}
