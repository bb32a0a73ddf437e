//! Rows as PostgreSQL takes them: each column a `text[]` in the protocol's binary form, which the server casts to the
//! column's own type. Text is the one form that every type has, numeric and enum alike, and a whole statement's rows
//! travel in one message.
//!
//! Invariants: all columns of [`Rows`] have the same number of values; the buffers are flat, so that no row is an
//! allocation of its own; a statement names the rows it takes by index ([`Chosen`]), so that halving copies nothing.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field, Schema};
use bytes::{BufMut, Bytes, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use millstream_engine::keys::hash_bytes;
use millstream_engine::{Batch, ChangeKind, Encoder, Error, Result};

use crate::format::JsonEncoder;

use super::epoch::{damaged, take};

/// The values of one column, as text.
#[derive(Debug, Default)]
pub(super) struct TextColumn {
    text: String,
    /// Where each value ends in `text`.
    ends: Vec<usize>,
    nulls: Vec<bool>,
}

impl TextColumn {
    /// Value `row`; `None` is NULL.
    pub fn get(&self, row: usize) -> Option<&str> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        (!self.nulls[row]).then(|| &self.text[start..self.ends[row]])
    }

    fn end(&mut self, is_null: bool) {
        self.ends.push(self.text.len());
        self.nulls.push(is_null);
    }

    /// Adds a column of a batch.
    fn append(&mut self, column: &ArrayRef) -> Result<()> {
        match column.data_type() {
            DataType::Struct(_) | DataType::List(_) | DataType::LargeList(_) | DataType::Map(_, _) => {
                return self.append_json(column);
            }
            DataType::Binary => {
                for value in column.as_binary::<i32>() {
                    if let Some(bytes) = value {
                        self.text.push_str("\\x");
                        bytes
                            .iter()
                            .try_for_each(|byte| write!(self.text, "{byte:02x}"))
                            .map_err(unwritable)?;
                    }
                    self.end(value.is_none());
                }
                return Ok(());
            }
            DataType::Utf8 => {
                for value in column.as_string::<i32>() {
                    self.text.push_str(value.unwrap_or_default());
                    self.end(value.is_none());
                }
                return Ok(());
            }
            _ => {}
        }
        let options = FormatOptions::new();
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        for row in 0..column.len() {
            let is_null = column.is_null(row);
            if !is_null {
                formatter.value(row).write(&mut self.text).map_err(unwritable)?;
            }
            self.end(is_null);
        }
        Ok(())
    }

    /// Nested values, as the json format writes them.
    fn append_json(&mut self, column: &ArrayRef) -> Result<()> {
        const BEFORE: usize = "{\"v\":".len();
        let schema = Schema::new(vec![Field::new("v", column.data_type().clone(), true)]);
        let rows = RecordBatch::try_new(schema.into(), vec![ArrayRef::clone(column)])?;
        let mut encoder = JsonEncoder::new(false);
        encoder.encode(&Batch::new(rows))?;
        for (row, object) in encoder.encoded().rows().enumerate() {
            let is_null = column.is_null(row);
            if !is_null {
                let value = object.get(BEFORE..object.len().saturating_sub(1)).unwrap_or_default();
                self.text.push_str(std::str::from_utf8(value).map_err(unwritable)?);
            }
            self.end(is_null);
        }
        Ok(())
    }
}

fn unwritable(error: impl std::fmt::Display) -> Error {
    Error::data(format!("a value cannot be written as text: {error}"))
}

/// Rows that go to the server together.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub columns: Vec<TextColumn>,
    /// For each row whether it removes its key's row.
    deletes: Vec<bool>,
    /// When the first row came, by the job's monotonic clock.
    pub opened_ns: u64,
}

impl Rows {
    /// No rows yet, of `columns` columns.
    pub fn opened(columns: usize, opened_ns: u64) -> Self {
        let columns = (0..columns).map(|_| TextColumn::default()).collect();
        Self { columns, deletes: Vec::new(), opened_ns }
    }

    pub fn len(&self) -> usize {
        self.deletes.len()
    }

    /// Bytes of all values.
    pub fn num_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.text.len()).sum::<usize>()
            + 9 * self.len() * self.columns.len()
    }

    /// Adds a batch's rows.
    pub fn append(&mut self, batch: &Batch) -> Result<()> {
        for (column, values) in self.columns.iter_mut().zip(batch.rows.columns()) {
            column.append(values)?;
        }
        match &batch.changes {
            Some(kinds) => self.deletes.extend(
                kinds.iter().map(|kind| matches!(kind, ChangeKind::UpdateBefore | ChangeKind::Delete)),
            ),
            None => self.deletes.resize(self.deletes.len() + batch.num_rows(), false),
        }
        Ok(())
    }

    /// Adds them to a checkpoint: `rows u32`, what removes, then for each column `bytes of text u64`, text, ends, nulls.
    pub fn write_to(&self, bytes: &mut Vec<u8>) {
        bytes.extend((self.len() as u32).to_le_bytes());
        bytes.extend((self.columns.len() as u32).to_le_bytes());
        bytes.extend(self.deletes.iter().map(|deletes| u8::from(*deletes)));
        for column in &self.columns {
            bytes.extend((column.text.len() as u64).to_le_bytes());
            bytes.extend(column.text.as_bytes());
            column.ends.iter().for_each(|end| bytes.extend((*end as u64).to_le_bytes()));
            bytes.extend(column.nulls.iter().map(|null| u8::from(*null)));
        }
    }

    /// What [`Rows::write_to`] wrote, of a table of `columns` columns.
    ///
    /// # Errors
    /// If it is damaged or of another table.
    pub fn read_from(rest: &mut &[u8], columns: usize) -> Result<Self> {
        let rows = u32::from_le_bytes(take(rest)?) as usize;
        if u32::from_le_bytes(take(rest)?) as usize != columns {
            return Err(damaged());
        }
        let flags = |rest: &mut &[u8]| -> Result<Vec<bool>> {
            let bytes = rest.split_off(..rows).ok_or_else(damaged)?;
            Ok(bytes.iter().map(|byte| *byte != 0).collect())
        };
        let mut read = Self { deletes: flags(rest)?, ..Self::opened(0, 0) };
        for _ in 0..columns {
            let length = usize::try_from(u64::from_le_bytes(take(rest)?)).map_err(|_| damaged())?;
            let text = rest.split_off(..length).ok_or_else(damaged)?;
            let text = String::from_utf8(text.to_vec()).map_err(|_| damaged())?;
            let mut ends = Vec::new();
            for _ in 0..rows {
                let end = usize::try_from(u64::from_le_bytes(take(rest)?)).map_err(|_| damaged())?;
                if !text.is_char_boundary(end) || ends.last().is_some_and(|before| *before > end) {
                    return Err(damaged());
                }
                ends.push(end);
            }
            read.columns.push(TextColumn { text, ends, nulls: flags(rest)? });
        }
        Ok(read)
    }

    /// The rows to write and the rows to remove. With a key, only a key's last row counts: one statement cannot
    /// touch a row twice, and what came before is overwritten anyway.
    pub fn settled(&self, key: &[usize]) -> (Vec<u32>, Vec<u32>) {
        let all = 0..u32::try_from(self.len()).unwrap_or(u32::MAX);
        if key.is_empty() {
            return (all.collect(), Vec::new());
        }
        let mut last: HashMap<u64, Vec<u32>> = HashMap::with_capacity(self.len());
        let (mut writes, mut removes) = (Vec::new(), Vec::new());
        for row in all.rev() {
            let same_hash = last.entry(self.key_hash(key, row as usize)).or_default();
            let is_later = |other: &u32| {
                key.iter().all(|column| {
                    let column = &self.columns[*column];
                    column.get(*other as usize) == column.get(row as usize)
                })
            };
            if same_hash.iter().any(is_later) {
                continue;
            }
            same_hash.push(row);
            if self.deletes[row as usize] { removes.push(row) } else { writes.push(row) }
        }
        writes.reverse();
        removes.reverse();
        (writes, removes)
    }

    fn key_hash(&self, key: &[usize], row: usize) -> u64 {
        key.iter().fold(0, |hash: u64, column| {
            hash.rotate_left(17) ^ hash_bytes(self.columns[*column].get(row).unwrap_or_default().as_bytes())
        })
    }

    /// Row `row` as a JSON object of texts, for the dead letters; `names` are those of its columns.
    pub fn payload<'a>(&self, names: impl Iterator<Item = &'a String>, row: usize) -> Vec<u8> {
        let object: serde_json::Map<String, serde_json::Value> =
            names.zip(&self.columns).map(|(name, column)| (name.clone(), column.get(row).into())).collect();
        serde_json::to_vec(&object).unwrap_or_default()
    }

    /// All rows so.
    pub fn payloads(&self, names: &[String]) -> Vec<Bytes> {
        (0..self.len()).map(|row| self.payload(names.iter(), row).into()).collect()
    }
}

/// Some rows of a column, as a parameter of type `text[]`.
#[derive(Debug)]
pub(super) struct Chosen<'a> {
    pub column: &'a TextColumn,
    pub rows: &'a [u32],
}

impl ToSql for Chosen<'_> {
    fn to_sql(&self, _type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let has_null = self.rows.iter().any(|row| self.column.nulls[*row as usize]);
        out.put_i32(1);
        out.put_i32(i32::from(has_null));
        out.put_u32(Type::TEXT.oid());
        out.put_i32(i32::try_from(self.rows.len())?);
        out.put_i32(1);
        for row in self.rows {
            match self.column.get(*row as usize) {
                Some(text) => {
                    out.put_i32(i32::try_from(text.len())?);
                    out.put_slice(text.as_bytes());
                }
                None => out.put_i32(-1),
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(wanted: &Type) -> bool {
        *wanted == Type::TEXT_ARRAY
    }

    to_sql_checked!();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, StringArray};
    use arrow_array::{ListArray, TimestampMillisecondArray, types::Int64Type};

    use super::*;

    fn rows(columns: Vec<ArrayRef>, changes: Option<Vec<ChangeKind>>) -> Rows {
        let names =
            columns.iter().enumerate().map(|(at, column)| (format!("c{at}"), ArrayRef::clone(column)));
        let mut batch = Batch::new(RecordBatch::try_from_iter(names).unwrap());
        batch.changes = changes.map(Into::into);
        let mut rows = Rows::opened(columns.len(), 0);
        rows.append(&batch).unwrap();
        rows
    }

    #[test]
    fn values_are_what_the_server_reads() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from(vec![Some(-0.1), None])),
            Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0, 255][..]), None])),
            Arc::new(Decimal128Array::from(vec![Some(-1205), None]).with_precision_and_scale(10, 2).unwrap()),
            Arc::new(TimestampMillisecondArray::from(vec![Some(1_500), None])),
            Arc::new(TimestampMillisecondArray::from(vec![Some(1_500), None]).with_timezone("UTC")),
            Arc::new(BooleanArray::from(vec![Some(true), None])),
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(vec![
                Some(vec![Some(1), None]),
                None,
            ])),
        ];
        let rows = rows(columns, None);
        let first: Vec<_> = rows.columns.iter().map(|column| column.get(0).unwrap()).collect();
        assert_eq!(
            first,
            [
                "-0.1",
                "\\x00ff",
                "-12.05",
                "1970-01-01T00:00:01.500",
                "1970-01-01T00:00:01.500Z",
                "true",
                "[1,null]"
            ]
        );
        assert!(rows.columns.iter().all(|column| column.get(1).is_none()));
    }

    #[test]
    fn the_last_row_of_a_key_counts() {
        use ChangeKind::{Delete, Insert, UpdateAfter, UpdateBefore};
        let keys = Arc::new(Int64Array::from(vec![1, 2, 1, 1, 3, 3]));
        let values = Arc::new(StringArray::from(vec!["a", "b", "a", "c", "d", "d"]));
        let changes = vec![Insert, Insert, UpdateBefore, UpdateAfter, Insert, Delete];
        let rows = rows(vec![keys, values], Some(changes));
        assert_eq!(rows.settled(&[0]), (vec![1, 3], vec![5]));
        assert_eq!(rows.settled(&[]).0.len(), 6);
    }

    #[test]
    fn a_parameter_is_an_array_of_the_chosen_rows() {
        let rows = rows(vec![Arc::new(StringArray::from(vec![Some("x"), None, Some("yz")]))], None);
        let mut out = BytesMut::new();
        Chosen { column: &rows.columns[0], rows: &[1, 2] }.to_sql(&Type::TEXT_ARRAY, &mut out).unwrap();
        let expected: &[&[u8]] = &[
            &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 2, 0, 0, 0, 1],
            &[255, 255, 255, 255],
            &[0, 0, 0, 2, b'y', b'z'],
        ];
        assert_eq!(&out[..], expected.concat());
    }
}
