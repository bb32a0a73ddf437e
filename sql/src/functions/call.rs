//! What a kernel sees of a call: its arguments, each a column or a constant, by row.

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_schema::DataType;
use datafusion_common::{Result, ScalarValue, internal_err};
use datafusion_expr::ColumnarValue;
use std::sync::Arc;

/// See the module's page.
pub(crate) struct Call<'a> {
    pub arguments: &'a [ColumnarValue],
    pub rows: usize,
    /// The type of the result.
    pub returns: &'a DataType,
}

/// An argument by row; a constant is the same in every row.
pub(crate) enum Values<'a, A, V> {
    Constant(Option<V>),
    Column(&'a A),
}

impl<'a> Values<'a, StringArray, &'a str> {
    pub fn get(&self, row: usize) -> Option<&'a str> {
        match self {
            Self::Constant(value) => *value,
            Self::Column(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

impl<'a> Values<'a, BinaryArray, &'a [u8]> {
    pub fn get(&self, row: usize) -> Option<&'a [u8]> {
        match self {
            Self::Constant(value) => *value,
            Self::Column(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

impl Values<'_, Int64Array, i64> {
    pub fn get(&self, row: usize) -> Option<i64> {
        match self {
            Self::Constant(value) => *value,
            Self::Column(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

impl Values<'_, Float64Array, f64> {
    pub fn get(&self, row: usize) -> Option<f64> {
        match self {
            Self::Constant(value) => *value,
            Self::Column(column) => column.is_valid(row).then(|| column.value(row)),
        }
    }
}

pub(crate) type Texts<'a> = Values<'a, StringArray, &'a str>;
pub(crate) type Bytes<'a> = Values<'a, BinaryArray, &'a [u8]>;
pub(crate) type Wholes<'a> = Values<'a, Int64Array, i64>;
pub(crate) type Doubles<'a> = Values<'a, Float64Array, f64>;

impl<'a> Call<'a> {
    /// How many arguments there are.
    pub fn len(&self) -> usize {
        self.arguments.len()
    }

    pub fn texts(&self, index: usize) -> Result<Texts<'a>> {
        match self.arguments.get(index) {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(value))) => Ok(Values::Constant(value.as_deref())),
            Some(ColumnarValue::Array(column)) if column.data_type() == &DataType::Utf8 => {
                Ok(Values::Column(column.as_string::<i32>()))
            }
            other => unexpected(index, other),
        }
    }

    pub fn bytes(&self, index: usize) -> Result<Bytes<'a>> {
        match self.arguments.get(index) {
            Some(ColumnarValue::Scalar(ScalarValue::Binary(value))) => Ok(Values::Constant(value.as_deref())),
            Some(ColumnarValue::Array(column)) if column.data_type() == &DataType::Binary => {
                Ok(Values::Column(column.as_binary::<i32>()))
            }
            other => unexpected(index, other),
        }
    }

    pub fn wholes(&self, index: usize) -> Result<Wholes<'a>> {
        match self.arguments.get(index) {
            Some(ColumnarValue::Scalar(ScalarValue::Int64(value))) => Ok(Values::Constant(*value)),
            Some(ColumnarValue::Array(column)) if column.data_type() == &DataType::Int64 => {
                Ok(Values::Column(column.as_primitive::<Int64Type>()))
            }
            other => unexpected(index, other),
        }
    }

    pub fn doubles(&self, index: usize) -> Result<Doubles<'a>> {
        match self.arguments.get(index) {
            Some(ColumnarValue::Scalar(ScalarValue::Float64(value))) => Ok(Values::Constant(*value)),
            Some(ColumnarValue::Array(column)) if column.data_type() == &DataType::Float64 => {
                Ok(Values::Column(column.as_primitive::<Float64Type>()))
            }
            other => unexpected(index, other),
        }
    }

    pub fn argument_type(&self, index: usize) -> Option<DataType> {
        self.arguments.get(index).map(ColumnarValue::data_type)
    }

    pub fn is_whole(&self, index: usize) -> bool {
        self.arguments.get(index).is_some_and(|value| value.data_type() == DataType::Int64)
    }

    /// An argument of any type as a column.
    pub fn column(&self, index: usize) -> Result<ArrayRef> {
        match self.arguments.get(index) {
            Some(value) => value.to_array(self.rows),
            None => unexpected(index, None),
        }
    }

    /// A string a row: `write` appends it to the buffer and says whether there is one (`false` is NULL).
    pub fn text(&self, mut write: impl FnMut(usize, &mut String) -> Result<bool>) -> Result<ArrayRef> {
        let mut builder = StringBuilder::with_capacity(self.rows, self.rows * 8);
        let mut buffer = String::new();
        for row in 0..self.rows {
            buffer.clear();
            if write(row, &mut buffer)? {
                builder.append_value(&buffer);
            } else {
                builder.append_null();
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    /// A piece of an argument a row.
    pub fn piece<'b>(&self, of: impl Fn(usize) -> Option<&'b str>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(of).collect::<StringArray>()))
    }

    pub fn boolean(&self, of: impl FnMut(usize) -> Option<bool>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(of).collect::<BooleanArray>()))
    }

    pub fn int(&self, of: impl Fn(usize) -> Option<i32>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(of).collect::<arrow_array::Int32Array>()))
    }

    pub fn double(&self, of: impl Fn(usize) -> Option<f64>) -> Result<ArrayRef> {
        Ok(Arc::new((0..self.rows).map(of).collect::<Float64Array>()))
    }
}

fn unexpected<T>(index: usize, found: Option<&ColumnarValue>) -> Result<T> {
    let found = found.map_or_else(|| "nothing".to_owned(), |value| value.data_type().to_string());
    internal_err!("argument {index} of a function came as {found}")
}
