//! Columns under construction, into which formats append values row by row.
//!
//! Conversions are Flink's lenient ones: a number becomes the text of a STRING column, text is read as a number, 1.0 is
//! whole and 1.5 is not. Invariants: a row that turns out bad half-way is taken back whole ([`RowBuilder::roll_back`]);
//! whatever arrives, columns stay of one length; lengths that a payload claims reserve nothing.

// csv alone uses a part of this.
#![cfg_attr(not(any(feature = "cbor", feature = "msgpack", feature = "protobuf")), allow(dead_code))]

use std::sync::Arc;

use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, ListArray, MapArray, PrimitiveArray, RecordBatch,
    StringArray, StructArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, FieldRef, Fields, SchemaRef};
use millstream_engine::batch::record_batch;
use millstream_engine::{Error, Result};

use super::convert::{self, Scalar};

/// One column.
pub(crate) struct ColumnBuilder {
    kind: DataType,
    nulls: NullBufferBuilder,
    store: Store,
}

enum Store {
    Bools(Vec<bool>),
    /// Whole numbers, dates, times and timestamps, in the column's own unit.
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Decimals(Vec<i128>),
    /// Text and bytes: where each value ends.
    Bytes {
        bytes: Vec<u8>,
        ends: Vec<usize>,
    },
    Row(RowBuilder),
    List {
        items: Box<ColumnBuilder>,
        ends: Vec<usize>,
    },
    Map {
        keys: Box<ColumnBuilder>,
        values: Box<ColumnBuilder>,
        ends: Vec<usize>,
    },
}

impl ColumnBuilder {
    /// An empty column of type `kind`.
    ///
    /// # Errors
    /// If formats do not fill columns of that type.
    pub fn new(kind: &DataType) -> Result<Self> {
        use DataType as T;
        let store = match kind {
            T::Boolean => Store::Bools(Vec::new()),
            T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Date32 | T::Time32(_) | T::Timestamp(..) => {
                Store::Ints(Vec::new())
            }
            T::Float32 | T::Float64 => Store::Floats(Vec::new()),
            T::Decimal128(..) => Store::Decimals(Vec::new()),
            T::Utf8 | T::Binary => Store::Bytes { bytes: Vec::new(), ends: Vec::new() },
            T::Struct(fields) => Store::Row(RowBuilder::new(fields)?),
            T::List(item) => Store::List { items: Box::new(Self::new(item.data_type())?), ends: Vec::new() },
            T::Map(entries, _) => {
                let T::Struct(fields) = entries.data_type() else {
                    return Err(Error::internal("a map without entries"));
                };
                let of = |index: usize| Self::new(fields[index].data_type()).map(Box::new);
                Store::Map { keys: of(0)?, values: of(1)?, ends: Vec::new() }
            }
            other => {
                return Err(Error::config(format!("this format does not fill a column of type {other}")));
            }
        };
        Ok(Self { kind: kind.clone(), nulls: NullBufferBuilder::new(0), store })
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Appends NULL.
    pub fn null(&mut self) {
        self.nulls.append_null();
        match &mut self.store {
            Store::Bools(values) => values.push(false),
            Store::Ints(values) => values.push(0),
            Store::Floats(values) => values.push(0.0),
            Store::Decimals(values) => values.push(0),
            Store::Bytes { bytes, ends } => ends.push(bytes.len()),
            Store::Row(row) => row.null(),
            Store::List { items, ends } => ends.push(items.len()),
            Store::Map { keys, ends, .. } => ends.push(keys.len()),
        }
    }

    /// Appends a value that is no ROW, ARRAY or MAP.
    ///
    /// # Errors
    /// `Data` when it does not fit the column; nothing is appended then.
    pub fn scalar(&mut self, value: Scalar<'_>) -> Result<()> {
        if matches!(value, Scalar::Null) {
            self.null();
            return Ok(());
        }
        match &mut self.store {
            Store::Bools(values) => values.push(convert::boolean(value)?),
            Store::Ints(values) => values.push(convert::whole(value, &self.kind)?),
            Store::Floats(values) => values.push(convert::float(value, &self.kind)?),
            Store::Decimals(values) => values.push(convert::decimal(value, &self.kind)?),
            Store::Bytes { bytes, ends } => {
                convert::bytes(value, bytes, self.kind == DataType::Utf8)?;
                ends.push(bytes.len());
            }
            Store::Row(_) | Store::List { .. } | Store::Map { .. } => {
                return Err(convert::mismatch(&value, &self.kind));
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// The ROW's fields, to append one ROW to; [`ColumnBuilder::end_nested`] follows. `None` for other types.
    pub fn row(&mut self) -> Option<&mut RowBuilder> {
        match &mut self.store {
            Store::Row(row) => Some(row),
            _ => None,
        }
    }

    /// The ARRAY's items, to append those of one ARRAY to; [`ColumnBuilder::end_nested`] follows.
    pub fn items(&mut self) -> Option<&mut ColumnBuilder> {
        match &mut self.store {
            Store::List { items, .. } => Some(items),
            _ => None,
        }
    }

    /// True when items were appended to an ARRAY that is not complete.
    pub fn has_open_items(&self) -> bool {
        match &self.store {
            Store::List { items, ends } => items.len() > ends.last().copied().unwrap_or(0),
            _ => false,
        }
    }

    /// The MAP's keys and values, to append as many of each; [`ColumnBuilder::end_nested`] follows.
    pub fn entries(&mut self) -> Option<(&mut ColumnBuilder, &mut ColumnBuilder)> {
        match &mut self.store {
            Store::Map { keys, values, .. } => Some((keys, values)),
            _ => None,
        }
    }

    /// The ROW, ARRAY or MAP whose parts were appended is complete.
    pub fn end_nested(&mut self) {
        match &mut self.store {
            Store::Row(row) => row.end(),
            Store::List { items, ends } => ends.push(items.len()),
            Store::Map { keys, ends, .. } => ends.push(keys.len()),
            _ => return,
        }
        self.nulls.append_non_null();
    }

    /// Keeps the first `len` values, and nothing of what was begun behind them.
    pub fn truncate(&mut self, len: usize) {
        self.nulls.truncate(len);
        let last = |ends: &[usize]| ends.last().copied().unwrap_or(0);
        match &mut self.store {
            Store::Bools(values) => values.truncate(len),
            Store::Ints(values) => values.truncate(len),
            Store::Floats(values) => values.truncate(len),
            Store::Decimals(values) => values.truncate(len),
            Store::Bytes { bytes, ends } => {
                ends.truncate(len);
                bytes.truncate(last(ends));
            }
            Store::Row(row) => row.truncate(len),
            Store::List { items, ends } => {
                ends.truncate(len);
                items.truncate(last(ends));
            }
            Store::Map { keys, values, ends } => {
                ends.truncate(len);
                keys.truncate(last(ends));
                values.truncate(last(ends));
            }
        }
    }

    /// The column; empty again after.
    ///
    /// # Errors
    /// If it is longer than Arrow's offsets reach (2 GiB of text).
    fn finish(&mut self) -> Result<ArrayRef> {
        use DataType as T;
        let nulls = self.nulls.finish();
        Ok(match &mut self.store {
            Store::Bools(values) => {
                Arc::new(BooleanArray::new(BooleanBuffer::from(std::mem::take(values)), nulls))
            }
            Store::Ints(values) => {
                let values = std::mem::take(values);
                // Checked to be in range when they were appended.
                macro_rules! ints {
                    ($kind:ty) => {{
                        let values: ScalarBuffer<_> = values.iter().map(|value| *value as _).collect();
                        Arc::new(PrimitiveArray::<$kind>::new(values, nulls))
                    }};
                }
                match &self.kind {
                    T::Int8 => ints!(Int8Type),
                    T::Int16 => ints!(Int16Type),
                    T::Int32 => ints!(Int32Type),
                    T::Date32 => ints!(Date32Type),
                    T::Time32(_) => cast(&(ints!(Time32MillisecondType) as ArrayRef), &self.kind)?,
                    kind => {
                        let whole: ArrayRef =
                            Arc::new(PrimitiveArray::<Int64Type>::new(values.into(), nulls));
                        if *kind == T::Int64 { whole } else { cast(&whole, kind)? }
                    }
                }
            }
            Store::Floats(values) => {
                let values = std::mem::take(values);
                if self.kind == T::Float32 {
                    let values: ScalarBuffer<f32> = values.iter().map(|value| *value as f32).collect();
                    Arc::new(PrimitiveArray::<Float32Type>::new(values, nulls))
                } else {
                    Arc::new(Float64Array::new(values.into(), nulls))
                }
            }
            Store::Decimals(values) => {
                let values: ScalarBuffer<i128> = std::mem::take(values).into();
                Arc::new(
                    PrimitiveArray::<Decimal128Type>::new(values, nulls).with_data_type(self.kind.clone()),
                )
            }
            Store::Bytes { bytes, ends } => {
                let offsets = offsets(ends)?;
                let bytes = Buffer::from(std::mem::take(bytes));
                if self.kind == T::Utf8 {
                    Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
                } else {
                    Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
                }
            }
            Store::Row(row) => {
                let (fields, columns) = row.finish_columns()?;
                Arc::new(match columns.is_empty() {
                    true => {
                        StructArray::new_empty_fields(nulls.as_ref().map_or(0, |nulls| nulls.len()), nulls)
                    }
                    false => StructArray::try_new(fields, columns, nulls)?,
                })
            }
            Store::List { items, ends } => {
                let T::List(item) = &self.kind else { return Err(Error::internal("a list is a list")) };
                let offsets = offsets(ends)?;
                Arc::new(ListArray::try_new(Arc::clone(item), offsets, items.finish()?, nulls)?)
            }
            Store::Map { keys, values, ends } => {
                let T::Map(entries, _) = &self.kind else { return Err(Error::internal("a map is a map")) };
                let T::Struct(fields) = entries.data_type() else {
                    return Err(Error::internal("a map without entries"));
                };
                let offsets = offsets(ends)?;
                let columns = vec![keys.finish()?, values.finish()?];
                let pairs = StructArray::try_new(fields.clone(), columns, None)?;
                Arc::new(MapArray::try_new(Arc::clone(entries), offsets, pairs, nulls, false)?)
            }
        })
    }
}

fn offsets(ends: &mut Vec<usize>) -> Result<OffsetBuffer<i32>> {
    let too_long = |_| Error::data("more than 2 GiB in one column of one batch");
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    for end in ends.drain(..) {
        offsets.push(i32::try_from(end).map_err(too_long)?);
    }
    Ok(OffsetBuffer::new(offsets.into()))
}

/// The columns of a table or the fields of a ROW, a row at a time.
pub(crate) struct RowBuilder {
    fields: Vec<FieldRef>,
    columns: Vec<ColumnBuilder>,
    rows: usize,
    /// Where the next name is looked for first: payloads of one kind have their fields in one order.
    next: usize,
}

impl RowBuilder {
    /// No rows of `fields`.
    ///
    /// # Errors
    /// If formats do not fill columns of such types.
    pub fn new(fields: &Fields) -> Result<Self> {
        let make = |field: &Arc<Field>| {
            ColumnBuilder::new(field.data_type())
                .map_err(|error| error.at(format!("column {}", field.name())))
        };
        let columns = fields.iter().map(make).collect::<Result<_>>()?;
        Ok(Self { fields: fields.iter().cloned().collect(), columns, rows: 0, next: 0 })
    }

    /// How many rows are complete.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// The number of the column called `name`, if it is wanted.
    pub fn position(&mut self, name: &str) -> Option<usize> {
        let found = match self.fields.get(self.next) {
            Some(field) if field.name() == name => Some(self.next),
            _ => self.fields.iter().position(|field| field.name() == name),
        };
        self.next = found.map_or(self.next, |index| index + 1);
        found
    }

    /// Column `index`, to append the value of the row under way to. A second value for a column replaces the first.
    pub fn column(&mut self, index: usize) -> &mut ColumnBuilder {
        let column = &mut self.columns[index];
        if column.len() > self.rows {
            column.truncate(self.rows);
        }
        column
    }

    /// True when column `index` has the value of the row under way.
    pub fn has_value(&self, index: usize) -> bool {
        self.columns[index].len() > self.rows
    }

    /// Says in an error which column it is about.
    pub fn name_in(&self, index: usize, error: &Error) -> Error {
        let message = error.message();
        // Of a field inside a ROW: its own name is there already.
        match message.strip_prefix('\'') {
            Some(inner) => Error::data(format!("'{}.{inner}", self.fields[index].name())),
            None => Error::data(format!("'{}': {message}", self.fields[index].name())),
        }
    }

    /// The row is complete: columns without a value get NULL.
    pub fn end(&mut self) {
        self.rows += 1;
        self.next = 0;
        for column in &mut self.columns {
            if column.len() < self.rows {
                column.null();
            }
        }
    }

    /// Takes back what was appended of the row under way.
    pub fn roll_back(&mut self) {
        self.truncate(self.rows);
    }

    /// Keeps the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.rows = rows;
        self.next = 0;
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    fn null(&mut self) {
        self.rows += 1;
        self.columns.iter_mut().for_each(ColumnBuilder::null);
    }

    fn finish_columns(&mut self) -> Result<(Fields, Vec<ArrayRef>)> {
        self.rows = 0;
        self.next = 0;
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect::<Result<_>>()?;
        Ok((self.fields.iter().cloned().collect(), columns))
    }

    /// The complete rows as a batch of `schema`; empty again after.
    ///
    /// # Errors
    /// If a column has become too long.
    pub fn finish(&mut self, schema: &SchemaRef) -> Result<RecordBatch> {
        let rows = self.rows;
        match self.finish_columns() {
            Ok((_, columns)) => record_batch(Arc::clone(schema), columns, rows),
            Err(error) => {
                // Columns may have been finished in part: begin anew.
                *self = Self::new(schema.fields())?;
                Err(error)
            }
        }
    }
}
