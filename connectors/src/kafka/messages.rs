//! Rows as messages: what both kinds of sink write, one key and payload a row.
//!
//! Invariants: every row is one message, but for the old form of a row whose new form, of the same key, follows. An
//! upserting sink writes a tombstone for a row that goes.

use std::sync::Arc;

use arrow_schema::SchemaRef;

use millstream_engine::batch::record_batch;
use millstream_engine::{Batch, ChangeKind, Encoder, Error, Result};

use super::writing::Writing;

/// Encodes rows.
pub(super) struct Messages {
    writing: Arc<Writing>,
    encoder: Box<dyn Encoder>,
    key_encoder: Option<Box<dyn Encoder>>,
}

impl Messages {
    /// # Errors
    /// If a format cannot encode the columns.
    pub fn new(writing: Arc<Writing>) -> Result<Self> {
        let encoder = writing.codec.encoder(Arc::clone(&writing.value_schema))?;
        let key_encoder = match &writing.key_codec {
            Some(codec) => Some(codec.encoder(Arc::clone(&writing.key_schema))?),
            None => None,
        };
        Ok(Self { writing, encoder, key_encoder })
    }

    /// Gives `take` the key and the payload of each message of `batch`; no payload is a tombstone.
    ///
    /// # Errors
    /// If a row cannot be encoded, and what `take` answers.
    pub fn each(
        &mut self,
        batch: &Batch,
        mut take: impl FnMut(Option<&[u8]>, Option<&[u8]>) -> Result<()>,
    ) -> Result<()> {
        let Self { writing, encoder, key_encoder } = self;
        let changes = batch.changes.as_deref().filter(|all| all.iter().any(|one| *one != ChangeKind::Insert));
        if changes.is_some() && !writing.is_upsert {
            let what = "a Kafka topic was given rows that update others";
            return Err(Error::internal(what).at(&writing.table));
        }
        encoder.encode(&project(batch, &writing.columns.value, &writing.value_schema)?)?;
        if let Some(encoder) = key_encoder {
            encoder.encode(&project(batch, &writing.columns.key, &writing.key_schema)?)?;
        }
        let mut keys = key_encoder.as_ref().map(|encoder| encoder.encoded().rows().peekable());
        for (row, payload) in encoder.encoded().rows().enumerate() {
            let key = keys.as_mut().and_then(Iterator::next);
            let kind = changes.map_or(ChangeKind::Insert, |kinds| kinds[row]);
            let payload = match kind {
                ChangeKind::Insert | ChangeKind::UpdateAfter => Some(payload),
                ChangeKind::UpdateBefore if keys.as_mut().and_then(|keys| keys.peek().copied()) == key => {
                    continue;
                }
                ChangeKind::UpdateBefore | ChangeKind::Delete => None,
            };
            take(key, payload)?;
        }
        Ok(())
    }
}

/// Some columns of a batch, under the names that `schema` gives them.
fn project(batch: &Batch, columns: &[usize], schema: &SchemaRef) -> Result<Batch> {
    let columns = columns.iter().map(|column| Arc::clone(batch.rows.column(*column))).collect();
    Ok(Batch::new(record_batch(Arc::clone(schema), columns, batch.num_rows())?))
}
