//! Rows on their way to the task, and as the outbox has them.
//!
//! Layout of a record: version (u8); how many columns (u16), the name of each (u16 and bytes); the rows (rows.rs). Written by
//! sink.rs, read by the outbox's pump for delivery.rs. The names are there because a table may be declared otherwise when
//! its rows are sent: values must not end in a column that they were not made for.

use std::sync::Arc;

use arrow_schema::Schema;
use bytes::{Buf, BufMut, Bytes};

use millstream_engine::Result;
use millstream_engine::outbox::{Parcel, Ticket};

use super::rows::Rows;

/// The form of a record.
const VERSION: u8 = 1;

/// Rows that are handed over together.
pub(super) struct Handed {
    pub rows: Rows,
    /// Of the record of an outbox: its ticket, and the columns that it is of.
    pub record: Option<(Arc<Ticket>, Vec<String>)>,
}

/// Makes `to` the bytes of a record.
pub(super) fn write(to: &mut Vec<u8>, rows: &Rows, schema: &Schema) {
    to.clear();
    to.put_u8(VERSION);
    to.put_u16_le(schema.fields().len() as u16);
    for field in schema.fields() {
        to.put_u16_le(field.name().len() as u16);
        to.put_slice(field.name().as_bytes());
    }
    rows.write_to(to);
}

/// The rows of a record and the names of their columns; none if it is none of this version.
fn read(record: &[u8]) -> Option<(Rows, Vec<String>)> {
    let mut from = record;
    if from.try_get_u8().ok()? != VERSION {
        return None;
    }
    let mut names = Vec::new();
    for _ in 0..from.try_get_u16_le().ok()? {
        let name_bytes = usize::from(from.try_get_u16_le().ok()?);
        names.push(String::from_utf8(from.split_off(..name_bytes)?.to_vec()).ok()?);
    }
    let rows = Rows::read_from(&mut from, names.len()).ok()?;
    (from.is_empty() && rows.len() > 0).then_some((rows, names))
}

/// The rows of a record as objects of texts, for people; none if it is none of this version.
pub(super) fn objects(record: &[u8]) -> Option<Vec<Bytes>> {
    read(record).map(|(rows, names)| rows.payloads(&names))
}

impl Parcel for Handed {
    fn read(bytes: Bytes, ticket: Arc<Ticket>) -> Result<Self> {
        let (rows, names) = read(&bytes).ok_or_else(|| ticket.unreadable("rows"))?;
        Ok(Self { rows, record: Some((ticket, names)) })
    }

    fn num_bytes(&self) -> usize {
        self.rows.num_bytes()
    }

    fn rows(&self) -> Vec<Bytes> {
        self.record.as_ref().map_or_else(Vec::new, |(_, names)| self.rows.payloads(names))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use millstream_engine::Batch;

    use super::*;

    fn record() -> Vec<u8> {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("a", Arc::new(Int64Array::from(vec![Some(1), None]))),
            ("ä", Arc::new(StringArray::from(vec!["x", ""]))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut rows = Rows::opened(2, 0);
        rows.append(&Batch::new(batch.clone())).unwrap();
        let mut bytes = vec![1, 2, 3];
        write(&mut bytes, &rows, &batch.schema());
        bytes
    }

    #[test]
    fn rows_come_back_with_the_names_of_their_columns() {
        let (rows, names) = read(&record()).unwrap();
        assert_eq!((rows.len(), &names[..]), (2, &["a".to_owned(), "ä".to_owned()][..]));
        assert_eq!(objects(&record()).unwrap(), [r#"{"a":"1","ä":"x"}"#, r#"{"a":null,"ä":""}"#]);
    }

    #[test]
    fn other_bytes_are_none_and_never_a_panic() {
        let record = record();
        assert!((0..record.len()).all(|cut| read(&record[..cut]).is_none()));
        for at in 0..record.len() {
            for bit in 0..8 {
                let mut flipped = record.clone();
                flipped[at] ^= 1 << bit;
                let _ = objects(&flipped);
            }
        }
    }
}
