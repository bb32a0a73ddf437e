//! Columns to lines, as Flink writes them: times in SQL form, fields in quotes where they hold a delimiter, quote or
//! line end.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, SchemaRef};
use millstream_engine::format::Encoded;
use millstream_engine::{Batch, Encoder, Result};

use super::super::json::write_plain;
use super::Dialect;

/// Encodes rows. One per sink instance.
pub(super) struct CsvEncoder {
    dialect: Dialect,
    /// Bytes that make quotes necessary.
    special: [u8; 4],
    out: Encoded,
    /// A field that needs quotes.
    quoted: Vec<u8>,
}

impl CsvEncoder {
    pub fn new(dialect: Dialect, _schema: &SchemaRef) -> Self {
        let special = [dialect.delimiter, dialect.quote.unwrap_or(b'\n'), b'\n', b'\r'];
        Self { dialect, special, out: Encoded::default(), quoted: Vec::new() }
    }

    fn field(&mut self, column: &ArrayRef, row: usize) -> Result<()> {
        if column.is_null(row) {
            let null = self.dialect.null.as_deref().unwrap_or_default();
            self.out.bytes.extend_from_slice(null.as_bytes());
            return Ok(());
        }
        // Most fields stand as they are written; those that need quotes are taken back.
        let start = self.out.bytes.len();
        match column.data_type() {
            DataType::List(_) => {
                let items = column.as_list::<i32>().value(row);
                for index in 0..items.len() {
                    self.part(&items, index, index > 0)?;
                }
            }
            DataType::Struct(_) => {
                for (index, part) in column.as_struct().columns().iter().enumerate() {
                    self.part(part, row, index > 0)?;
                }
            }
            _ => write_plain(&mut self.out.bytes, column, row)?,
        }
        let Some(quote) = self.dialect.quote else { return Ok(()) };
        let out = &mut self.out.bytes;
        let is_text = matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let field = &out[start..];
        // White space alone would be an empty line, an empty text NULL where others are.
        let needs_quotes = field.iter().any(|byte| self.special.contains(byte))
            || (is_text && field.trim_ascii_start().is_empty());
        if !needs_quotes {
            return Ok(());
        }
        self.quoted.clear();
        self.quoted.extend_from_slice(field);
        out.truncate(start);
        out.push(quote);
        for byte in &self.quoted {
            if *byte == quote {
                out.push(self.dialect.escape.unwrap_or(quote));
            } else if Some(*byte) == self.dialect.escape {
                out.push(*byte);
            }
            out.push(*byte);
        }
        out.push(quote);
        Ok(())
    }

    fn part(&mut self, column: &ArrayRef, row: usize, follows: bool) -> Result<()> {
        if follows {
            self.out.bytes.extend_from_slice(self.dialect.items.as_bytes());
        }
        if column.is_null(row) {
            let null = self.dialect.null.as_deref().unwrap_or_default();
            self.out.bytes.extend_from_slice(null.as_bytes());
            return Ok(());
        }
        write_plain(&mut self.out.bytes, column, row)
    }
}

impl Encoder for CsvEncoder {
    fn encode(&mut self, batch: &Batch) -> Result<()> {
        self.out.clear();
        for row in 0..batch.num_rows() {
            for (index, column) in batch.rows.columns().iter().enumerate() {
                if index > 0 {
                    self.out.bytes.push(self.dialect.delimiter);
                }
                self.field(column, row)?;
            }
            self.out.end_row();
        }
        Ok(())
    }

    fn encoded(&self) -> &Encoded {
        &self.out
    }
}
