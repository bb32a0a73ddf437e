//! The texts of Nexmark, embedded: nexmark-flink's table, views and queries (benches/nexmark), and its one function.

use std::sync::Arc;

use millstream::arrow::array::{Array, ArrayRef, Int64Array, StringArray};
use millstream::arrow::schema::DataType;
use millstream::engine::{Error, Result};
use millstream::sql::ScalarFunction;

/// The table of events, whose options `${SOURCE}` stands for, and its views.
pub const TABLES: &str = include_str!("../../../../benches/nexmark/tables.sql");

macro_rules! queries {
    ($($name:literal),*) => {
        /// Name and text of every query.
        pub const QUERIES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../../../benches/nexmark/", $name, ".sql")))),*];
    };
}

queries!(
    "q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9", "q10", "q11", "q12", "q13", "q14", "q15",
    "q16", "q17", "q18", "q19", "q20", "q21", "q22", "q23", "cep0", "cep1", "cep2", "cep3"
);

/// The text of query `name`.
pub fn text(name: &str) -> Option<&'static str> {
    QUERIES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// `count_char(text, character)` of q14, as com.github.nexmark.flink.udf.CountChar: how often the first byte of
/// `character` is in `text`; 0 for NULL.
pub struct CountChar;

impl ScalarFunction for CountChar {
    fn name(&self) -> &str {
        "COUNT_CHAR"
    }

    fn arguments(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [_, _] => Ok(vec![DataType::Utf8; 2]),
            _ => Err(Error::config("COUNT_CHAR takes a text and a character")),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn evaluate(&self, arguments: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let (texts, wanted) = (strings(&arguments[0])?, strings(&arguments[1])?);
        let count = |row: usize| {
            if texts.is_null(row) || wanted.is_null(row) {
                return 0;
            }
            let first = wanted.value(row).as_bytes().first();
            first.map_or(0, |first| texts.value(row).bytes().filter(|byte| byte == first).count() as i64)
        };
        Ok(Arc::new(Int64Array::from_iter_values((0..rows).map(count))))
    }
}

fn strings(column: &ArrayRef) -> Result<&StringArray> {
    column.as_any().downcast_ref().ok_or_else(|| Error::internal("a STRING was asked for"))
}
