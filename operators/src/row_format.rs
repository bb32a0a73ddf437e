//! Rows as bytes, to be kept in state: short, quick to write and read, equal exactly when the rows are.
//!
//! A row is a bit for each column that is NULL, then the values of fixed width at fixed places, then for each string
//! or binary value its length (a byte, or 255 and four) and its bytes; a NULL takes no room there. Arrays, maps and rows
//! are kept in arrow-row's encoding, as one such value. Nothing is padded and nothing escaped, so a row takes about half
//! of what an encoding that sorts would, and memory that is not touched is the largest saving of a join. Both
//! directions go column by column. Rows come from a batch that an operator keeps; row_store.rs holds them.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::ByteArrayType;
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, GenericByteArray, StringArray, make_array};
use arrow_buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_data::ArrayData;
use arrow_row::{RowConverter, Rows, SortField};
use arrow_schema::{ArrowError, DataType};
use millstream_engine::Result;

/// A length byte that says that the length comes in the next four.
const LONG: u8 = u8::MAX;

/// Writes and reads rows of certain columns.
#[derive(Debug)]
pub(crate) struct RowFormat {
    columns: Vec<Column>,
    /// Of each row: its NULLs and its values of fixed width.
    fixed_bytes: usize,
}

#[derive(Debug)]
struct Column {
    data_type: DataType,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// This many bytes at this place of the row.
    Fixed {
        at: usize,
        width: usize,
    },
    /// A byte at this place.
    Boolean {
        at: usize,
    },
    Text,
    Binary,
    Nested(Box<RowConverter>),
}

/// The rows of a batch, as bytes.
#[derive(Debug)]
pub(crate) struct EncodedRows {
    bytes: Vec<u8>,
    /// One more than there are rows.
    starts: Vec<usize>,
}

impl EncodedRows {
    pub fn row(&self, row: usize) -> &[u8] {
        &self.bytes[self.starts[row]..self.starts[row + 1]]
    }
}

/// A column of a batch whose values have lengths.
enum Lengths<'a> {
    Bytes { offsets: &'a [i32], values: &'a [u8] },
    Nested { rows: Rows },
}

impl Lengths<'_> {
    #[inline]
    fn value(&self, row: usize) -> &[u8] {
        match self {
            Self::Bytes { offsets, values } => &values[offsets[row] as usize..offsets[row + 1] as usize],
            Self::Nested { rows } => rows.row(row).data(),
        }
    }
}

impl RowFormat {
    /// A format for rows of columns of these types.
    ///
    /// # Errors
    /// If a type cannot be kept.
    pub fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        let types: Vec<DataType> = types.into_iter().collect();
        let mut fixed_bytes = types.len().div_ceil(8);
        let mut columns = Vec::with_capacity(types.len());
        for data_type in types {
            let at = fixed_bytes;
            let kind = match &data_type {
                DataType::Boolean => {
                    fixed_bytes += 1;
                    Kind::Boolean { at }
                }
                DataType::Utf8 => Kind::Text,
                DataType::Binary => Kind::Binary,
                other => match other.primitive_width() {
                    Some(width @ (1 | 2 | 4 | 8 | 16 | 32)) => {
                        fixed_bytes += width;
                        Kind::Fixed { at, width }
                    }
                    _ => Kind::Nested(Box::new(RowConverter::new(vec![SortField::new(other.clone())])?)),
                },
            };
            columns.push(Column { data_type, kind });
        }
        Ok(Self { columns, fixed_bytes })
    }

    /// The rows of a batch.
    ///
    /// # Errors
    /// If the columns are of other types.
    pub fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        let mismatch =
            self.columns.iter().zip(columns).find(|(own, given)| own.data_type != *given.data_type());
        if self.columns.len() != columns.len() || mismatch.is_some() {
            return Err(ArrowError::InvalidArgumentError("rows of other columns than are kept".into()).into());
        }
        let num_rows = columns.first().map_or(0, |column| column.len());
        let nulls: Vec<Option<NullBuffer>> = columns
            .iter()
            .map(|column| column.logical_nulls().filter(|nulls| nulls.null_count() > 0))
            .collect();
        let mut lengths: Vec<Option<Lengths<'_>>> = Vec::with_capacity(columns.len());
        let mut starts = vec![self.fixed_bytes; num_rows + 1];
        for ((own, column), nulls) in self.columns.iter().zip(columns).zip(&nulls) {
            let of = match &own.kind {
                Kind::Fixed { .. } | Kind::Boolean { .. } => None,
                Kind::Text => Some(bytes_of(column.as_string::<i32>())),
                Kind::Binary => Some(bytes_of(column.as_binary::<i32>())),
                Kind::Nested(converter) => {
                    Some(Lengths::Nested { rows: converter.convert_columns(&[Arc::clone(column)])? })
                }
            };
            if let Some(of) = &of {
                for (row, len) in starts[..num_rows].iter_mut().enumerate() {
                    if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
                        let value = of.value(row).len();
                        *len += value + if value < usize::from(LONG) { 1 } else { 5 };
                    }
                }
            }
            lengths.push(of);
        }
        let mut total = 0;
        for start in &mut starts {
            total += std::mem::replace(start, total);
        }
        // The last of them was no row.
        let mut bytes = vec![0; total - self.fixed_bytes];
        let mut ends: Vec<usize> = starts[..num_rows].iter().map(|start| start + self.fixed_bytes).collect();
        for (number, ((own, column), of)) in self.columns.iter().zip(columns).zip(&lengths).enumerate() {
            let nulls = nulls[number].as_ref();
            if let Some(nulls) = nulls {
                for (row, start) in starts[..num_rows].iter().enumerate() {
                    bytes[start + number / 8] |= u8::from(nulls.is_null(row)) << (number % 8);
                }
            }
            match (&own.kind, of) {
                (Kind::Fixed { at, width }, _) => {
                    let data = column.to_data();
                    let values = &data.buffers()[0].as_slice()[data.offset() * width..][..num_rows * width];
                    match width {
                        1 => write_fixed::<1>(&mut bytes, &starts, *at, values, nulls),
                        2 => write_fixed::<2>(&mut bytes, &starts, *at, values, nulls),
                        4 => write_fixed::<4>(&mut bytes, &starts, *at, values, nulls),
                        8 => write_fixed::<8>(&mut bytes, &starts, *at, values, nulls),
                        16 => write_fixed::<16>(&mut bytes, &starts, *at, values, nulls),
                        _ => write_fixed::<32>(&mut bytes, &starts, *at, values, nulls),
                    }
                }
                (Kind::Boolean { at }, _) => {
                    for (start, value) in starts.iter().zip(column.as_boolean()) {
                        bytes[start + at] = u8::from(value.unwrap_or_default());
                    }
                }
                (_, Some(of)) => {
                    for (row, end) in ends.iter_mut().enumerate() {
                        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                            *end = write_value(&mut bytes, *end, of.value(row));
                        }
                    }
                }
                (_, None) => {}
            }
        }
        Ok(EncodedRows { bytes, starts })
    }

    /// The columns of rows.
    ///
    /// # Errors
    /// If the bytes are not of this format, which would be a defect, or a column would be larger than 2 GiB.
    pub fn decode<'a>(&self, rows: impl Iterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let rows: Vec<&[u8]> = rows.collect();
        // Columns without a NULL are the common case.
        let mut any = vec![0_u8; self.columns.len().div_ceil(8)];
        for row in &rows {
            any.iter_mut().zip(*row).for_each(|(any, bits)| *any |= bits);
        }
        // Where the next value of each row that has a length begins.
        let mut cursors = vec![self.fixed_bytes as u32; rows.len()];
        let mut columns = Vec::with_capacity(self.columns.len());
        for (number, column) in self.columns.iter().enumerate() {
            let (byte, bit) = (number / 8, 1 << (number % 8));
            let nulls = (any[byte] & bit != 0).then(|| {
                NullBuffer::new(BooleanBuffer::collect_bool(rows.len(), |row| rows[row][byte] & bit == 0))
            });
            columns.push(match &column.kind {
                Kind::Fixed { at, width } => {
                    let values = match width {
                        1 => read_fixed::<1>(&rows, *at),
                        2 => read_fixed::<2>(&rows, *at),
                        4 => read_fixed::<4>(&rows, *at),
                        8 => read_fixed::<8>(&rows, *at),
                        16 => read_fixed::<16>(&rows, *at),
                        _ => read_fixed::<32>(&rows, *at),
                    };
                    let data = ArrayData::builder(column.data_type.clone()).len(rows.len()).nulls(nulls);
                    make_array(data.add_buffer(values).build()?)
                }
                Kind::Boolean { at } => {
                    let values = BooleanBuffer::collect_bool(rows.len(), |row| rows[row][*at] != 0);
                    Arc::new(BooleanArray::new(values, nulls))
                }
                Kind::Text => {
                    let (offsets, values) = read_bytes(&rows, &mut cursors, nulls.as_ref())?;
                    Arc::new(StringArray::try_new(offsets, values, nulls)?)
                }
                Kind::Binary => {
                    let (offsets, values) = read_bytes(&rows, &mut cursors, nulls.as_ref())?;
                    Arc::new(BinaryArray::try_new(offsets, values, nulls)?)
                }
                Kind::Nested(converter) => {
                    // NULL has an encoding there too.
                    let null = match &nulls {
                        None => None,
                        Some(_) => {
                            let null = arrow_array::new_null_array(&column.data_type, 1);
                            Some(converter.convert_columns(&[null])?)
                        }
                    };
                    let parser = converter.parser();
                    let mut values = Vec::with_capacity(rows.len());
                    for (row, (bytes, cursor)) in rows.iter().zip(&mut cursors).enumerate() {
                        values.push(parser.parse(match &null {
                            Some(null) if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => {
                                null.row(0).data()
                            }
                            _ => next_value(bytes, cursor),
                        }));
                    }
                    converter.convert_rows(values)?.remove(0)
                }
            });
        }
        Ok(columns)
    }
}

fn bytes_of<T: ByteArrayType<Offset = i32>>(column: &GenericByteArray<T>) -> Lengths<'_> {
    Lengths::Bytes { offsets: column.value_offsets(), values: column.value_data() }
}

fn write_fixed<const WIDTH: usize>(
    bytes: &mut [u8],
    starts: &[usize],
    at: usize,
    values: &[u8],
    nulls: Option<&NullBuffer>,
) {
    let (values, _) = values.as_chunks::<WIDTH>();
    for (row, (value, start)) in values.iter().zip(starts).enumerate() {
        // What a NULL has for a value is undefined, and must not tell two rows apart.
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            bytes[start + at..start + at + WIDTH].copy_from_slice(value);
        }
    }
}

/// Writes a value and its length at `at`, and answers where it ends.
#[inline]
fn write_value(bytes: &mut [u8], at: usize, value: &[u8]) -> usize {
    let len = value.len();
    let start = if len < usize::from(LONG) {
        bytes[at] = len as u8;
        at + 1
    } else {
        bytes[at] = LONG;
        // A value is a part of a column of at most 2 GiB.
        bytes[at + 1..at + 5].copy_from_slice(&(len as u32).to_le_bytes());
        at + 5
    };
    bytes[start..start + len].copy_from_slice(value);
    start + len
}

/// The value at `cursor`, which is moved behind it.
#[inline]
fn next_value<'a>(row: &'a [u8], cursor: &mut u32) -> &'a [u8] {
    let at = *cursor as usize;
    let (start, len) = match row[at] {
        LONG => {
            let len = [row[at + 1], row[at + 2], row[at + 3], row[at + 4]];
            (at + 5, u32::from_le_bytes(len) as usize)
        }
        len => (at + 1, usize::from(len)),
    };
    *cursor = (start + len) as u32;
    &row[start..start + len]
}

fn read_fixed<const WIDTH: usize>(rows: &[&[u8]], at: usize) -> Buffer {
    let mut values = MutableBuffer::from_len_zeroed(rows.len() * WIDTH);
    let (chunks, _) = values.as_slice_mut().as_chunks_mut::<WIDTH>();
    for (value, row) in chunks.iter_mut().zip(rows) {
        value.copy_from_slice(&row[at..at + WIDTH]);
    }
    values.into()
}

/// The next value of each row that is not NULL: where each ends, and all of them.
fn read_bytes(
    rows: &[&[u8]],
    cursors: &mut [u32],
    nulls: Option<&NullBuffer>,
) -> Result<(OffsetBuffer<i32>, Buffer)> {
    let mut offsets = Vec::with_capacity(rows.len() + 1);
    let (mut end, mut found) = (0_usize, Vec::with_capacity(rows.len()));
    offsets.push(0);
    for (row, (bytes, cursor)) in rows.iter().zip(cursors).enumerate() {
        if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
            let value = next_value(bytes, cursor);
            end += value.len();
            found.push(value);
        }
        offsets.push(i32::try_from(end).map_err(|_| ArrowError::OffsetOverflowError(end))?);
    }
    let mut values = Vec::with_capacity(end);
    found.into_iter().for_each(|value| values.extend_from_slice(value));
    Ok((OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(values)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::{
        Array, Decimal128Array, Decimal256Array, Float64Array, Int8Array, Int16Array, Int64Array,
        StructArray, TimestampMillisecondArray,
    };
    use arrow_schema::Fields;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// Columns of each kind, a third of whose values are NULL where `nulls`.
    fn columns(random: &mut SmallRng, rows: usize, nulls: bool) -> Vec<ArrayRef> {
        let some = |random: &mut SmallRng| !(nulls && random.random_ratio(1, 3));
        macro_rules! made {
            ($array:ty, $value:expr) => {
                Arc::new((0..rows).map(|_| some(random).then(|| $value(random))).collect::<$array>())
                    as ArrayRef
            };
        }
        fn text(random: &mut SmallRng) -> String {
            let len = [0, 1, 7, 253, 254, 255, 256, 70_000][random.random_range(0..8)];
            "ä".repeat(len / 2) + if len % 2 == 0 { "" } else { "x" }
        }
        let texts = made!(StringArray, text);
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in 0..rows {
            (0..row % 3).for_each(|item| lists.values().append_option((item > 0).then(|| text(random))));
            lists.append(row % 4 > 0);
        }
        let whole = made!(Int64Array, |random: &mut SmallRng| random.random::<i64>());
        let fields = Fields::from(vec![arrow_schema::Field::new("a", DataType::Int64, true)]);
        vec![
            made!(BooleanArray, |random: &mut SmallRng| random.random::<bool>()),
            made!(Int8Array, |random: &mut SmallRng| random.random::<i8>()),
            made!(Int16Array, |random: &mut SmallRng| random.random::<i16>()),
            Arc::clone(&texts),
            made!(Float64Array, |random: &mut SmallRng| [0.0, -0.0, f64::NAN, 1.5]
                [random.random_range(0..4)]),
            Arc::new(StructArray::new(fields, vec![Arc::clone(&whole)], None)),
            whole,
            made!(TimestampMillisecondArray, |random: &mut SmallRng| random.random::<i64>()),
            made!(Decimal128Array, |random: &mut SmallRng| random.random_range(-999..999_i128)),
            made!(Decimal256Array, |random: &mut SmallRng| random.random::<i64>().into()),
            made!(BinaryArray, |random: &mut SmallRng| text(random).into_bytes()),
            Arc::new(lists.finish()),
            texts,
        ]
    }

    #[test]
    fn rows_of_each_type_come_back() {
        let mut random = SmallRng::seed_from_u64(5);
        for rows in [1, 0, 3, 64, 500] {
            for nulls in [false, true] {
                let columns = columns(&mut random, rows, nulls);
                let format = RowFormat::new(columns.iter().map(|column| column.data_type().clone())).unwrap();
                let encoded = format.encode(&columns).unwrap();
                let read = format.decode((0..rows).map(|row| encoded.row(row))).unwrap();
                for (read, column) in read.iter().zip(&columns) {
                    // Bits and not numbers: NaN is what it was, and so is -0.
                    assert_eq!(format!("{read:?}"), format!("{column:?}"));
                    assert_eq!(read.data_type(), column.data_type());
                }
                // Some of them, in another order, out of a slice.
                let slices: Vec<ArrayRef> =
                    columns.iter().map(|column| column.slice(rows / 3, rows / 2)).collect();
                let of_slices = format.encode(&slices).unwrap();
                for row in 0..rows / 2 {
                    assert_eq!(of_slices.row(row), encoded.row(rows / 3 + row));
                }
                let back = format.decode((0..rows / 2).rev().map(|row| of_slices.row(row))).unwrap();
                let again = format.encode(&back).unwrap();
                assert!((0..rows / 2).all(|row| again.row(row) == of_slices.row(rows / 2 - 1 - row)));
            }
        }
    }

    #[test]
    fn what_stands_behind_a_null_tells_no_rows_apart() {
        let format = RowFormat::new([DataType::Int64, DataType::Boolean, DataType::Utf8]).unwrap();
        let nulls = || Some(NullBuffer::from(vec![false, false]));
        let columns: [ArrayRef; 3] = [
            Arc::new(Int64Array::new(vec![1, 2].into(), nulls())),
            Arc::new(BooleanArray::new(BooleanBuffer::from(vec![false, true]), nulls())),
            Arc::new(StringArray::new(OffsetBuffer::from_lengths([0, 3]), b"abc"[..].into(), nulls())),
        ];
        let encoded = format.encode(&columns).unwrap();
        assert_eq!(encoded.row(0), encoded.row(1));
        assert_eq!(encoded.row(0).len(), 1 + 8 + 1);
    }

    #[test]
    fn other_columns_are_refused() {
        let format = RowFormat::new([DataType::Int64]).unwrap();
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        assert!(format.encode(&[texts]).is_err());
        assert!(format.encode(&[]).is_err());
    }
}
