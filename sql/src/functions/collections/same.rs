//! Which items of a column are equal, NULL being equal to NULL; also in sets.
//!
//! Items are compared by their row encoding. Of floating-point numbers, -0.0 is equal to 0.0, and NaN to nothing.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::BooleanBuffer;
use arrow_row::{Row, RowConverter, Rows, SortField};
use arrow_schema::DataType;
use datafusion_common::Result;
use hashbrown::HashMap;

/// See the module's page.
pub(super) struct Same {
    rows: Rows,
    /// Which are NaN.
    not_a_number: Option<BooleanBuffer>,
}

impl Same {
    pub fn of(items: &ArrayRef) -> Result<Self> {
        let (items, not_a_number): (ArrayRef, _) = match items.data_type() {
            DataType::Float64 => {
                let numbers = items.as_primitive::<Float64Type>();
                let nan = numbers.values().iter().map(|value| value.is_nan()).collect();
                // Adding 0.0 takes the sign of -0.0.
                (Arc::new(numbers.unary::<_, Float64Type>(|value| value + 0.0)), Some(nan))
            }
            DataType::Float32 => {
                let numbers = items.as_primitive::<Float32Type>();
                let nan = numbers.values().iter().map(|value| value.is_nan()).collect();
                (Arc::new(numbers.unary::<_, Float32Type>(|value| value + 0.0)), Some(nan))
            }
            _ => (Arc::clone(items), None),
        };
        let converter = RowConverter::new(vec![SortField::new(items.data_type().clone())])?;
        Ok(Self { rows: converter.convert_columns(&[items])?, not_a_number })
    }

    fn is_nan(&self, number: usize) -> bool {
        self.not_a_number.as_ref().is_some_and(|nan| nan.value(number))
    }

    pub fn equal(&self, a: usize, b: usize) -> bool {
        !self.is_nan(a) && self.rows.row(a) == self.rows.row(b)
    }

    /// An empty set of items of the column.
    pub fn set(&self) -> Set<'_> {
        Set { same: self, places: HashMap::new() }
    }
}

/// Items, each with a place that is its own.
pub(super) struct Set<'a> {
    same: &'a Same,
    places: HashMap<Row<'a>, usize>,
}

impl Set<'_> {
    pub fn clear(&mut self) {
        self.places.clear();
    }

    pub fn contains(&self, number: usize) -> bool {
        !self.same.is_nan(number) && self.places.contains_key(&self.same.rows.row(number))
    }

    /// Puts an item in; whether it was not there.
    pub fn insert(&mut self, number: usize) -> bool {
        self.place(number, 0).is_none()
    }

    /// The place of an item; one that was not there gets `place`, and `None` is the answer.
    pub fn place(&mut self, number: usize, place: usize) -> Option<usize> {
        if self.same.is_nan(number) {
            return None;
        }
        match self.places.entry(self.same.rows.row(number)) {
            hashbrown::hash_map::Entry::Occupied(known) => Some(*known.get()),
            hashbrown::hash_map::Entry::Vacant(free) => {
                free.insert(place);
                None
            }
        }
    }
}
