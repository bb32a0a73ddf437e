//! State on its way into and out of a checkpoint.
//!
//! Keyed state is written per key group (keys.rs), so that it can be handed to another number of instances; what
//! belongs to an instance as a whole (a source's position, say) is written as a blob that every instance of the
//! operator is offered at restore. The bytes are opaque here; `encode_rows` and `decode_rows` (Arrow IPC) are the
//! form most operators use. A [`StateStore`] keeps them: in memory here, in a folder in disk.rs.

mod disk;
mod file;

pub use disk::DiskStateStore;

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::element::Epoch;
use crate::error::{Error, Result};
use crate::keys::KeyGroup;

/// Where an operator puts its state when a barrier passes.
#[derive(Debug, Default)]
pub struct StateWriter {
    snapshot: InstanceSnapshot,
}

/// What one instance wrote at one barrier.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct InstanceSnapshot {
    /// Keyed state; a key group may occur several times, in order.
    pub groups: Vec<(KeyGroup, Bytes)>,
    /// State of the instance as a whole.
    pub blobs: Vec<Bytes>,
}

impl StateWriter {
    /// Adds keyed state of `group`.
    pub fn put_group(&mut self, group: KeyGroup, bytes: impl Into<Bytes>) {
        self.snapshot.groups.push((group, bytes.into()));
    }

    /// Adds state of this instance as a whole.
    pub fn put_blob(&mut self, bytes: impl Into<Bytes>) {
        self.snapshot.blobs.push(bytes.into());
    }

    /// What was written.
    pub fn finish(self) -> InstanceSnapshot {
        self.snapshot
    }
}

/// What an operator instance restores from.
#[derive(Debug, Default, Clone)]
pub struct StateReader {
    groups: Vec<(KeyGroup, Bytes)>,
    blobs: Vec<Bytes>,
}

impl StateReader {
    /// Gathers, from all instances' snapshots of one operator, what an instance that owns `groups` needs.
    pub fn gather<'a>(
        snapshots: impl IntoIterator<Item = &'a InstanceSnapshot>,
        groups: &Range<KeyGroup>,
    ) -> Self {
        let mut reader = Self::default();
        for snapshot in snapshots {
            reader.groups.extend(snapshot.groups.iter().filter(|(group, _)| groups.contains(group)).cloned());
            reader.blobs.extend(snapshot.blobs.iter().cloned());
        }
        reader
    }

    /// Keyed state of the key groups this instance owns.
    pub fn groups(&self) -> impl Iterator<Item = (KeyGroup, &[u8])> {
        self.groups.iter().map(|(group, bytes)| (*group, bytes.as_ref()))
    }

    /// The blobs of all former instances.
    pub fn blobs(&self) -> impl Iterator<Item = &[u8]> {
        self.blobs.iter().map(AsRef::as_ref)
    }

    /// True when there is nothing to restore.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.blobs.is_empty()
    }
}

/// Keeps snapshots. An epoch counts once it is complete, that is, once every instance of the job has put its own.
pub trait StateStore: Send + Sync {
    /// Keeps what instance `instance` of `operator` wrote at the barrier of `epoch`.
    ///
    /// # Errors
    /// If it cannot be kept; the job then stops.
    fn put(&self, epoch: Epoch, operator: &str, instance: usize, snapshot: InstanceSnapshot) -> Result<()>;

    /// Makes `epoch` the one to restore from.
    ///
    /// # Errors
    /// If it cannot be made so; the job then stops.
    fn complete(&self, epoch: Epoch) -> Result<()>;

    /// The last complete epoch.
    fn latest(&self) -> Option<Epoch>;

    /// What an instance that owns `groups` needs of `operator` at `epoch`.
    ///
    /// # Errors
    /// If the state of that epoch cannot be read.
    fn read(&self, epoch: Epoch, operator: &str, groups: &Range<KeyGroup>) -> Result<StateReader>;

    /// Where the job may keep more on disk, next to the checkpoints and under the same lock; none where they are not on the
    /// machine's own disk.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// True when completing an epoch takes its time, because a disk does: a thread of the job then does it, so that no
    /// worker waits.
    fn is_durable(&self) -> bool {
        false
    }
}

/// Snapshots in memory: for tests, and for jobs that need none on disk.
#[derive(Debug, Default)]
pub struct MemoryStateStore {
    inner: Mutex<MemoryInner>,
}

#[derive(Debug, Default)]
struct MemoryInner {
    epochs: HashMap<Epoch, HashMap<String, Vec<InstanceSnapshot>>>,
    latest: Option<Epoch>,
}

impl StateStore for MemoryStateStore {
    fn put(&self, epoch: Epoch, operator: &str, _instance: usize, snapshot: InstanceSnapshot) -> Result<()> {
        let mut inner = self.inner.lock();
        inner.epochs.entry(epoch).or_default().entry(operator.to_owned()).or_default().push(snapshot);
        Ok(())
    }

    fn complete(&self, epoch: Epoch) -> Result<()> {
        let mut inner = self.inner.lock();
        inner.latest = Some(epoch);
        // One complete epoch is enough in memory; younger ones are still being written.
        inner.epochs.retain(|kept, _| *kept >= epoch);
        Ok(())
    }

    fn latest(&self) -> Option<Epoch> {
        self.inner.lock().latest
    }

    fn read(&self, epoch: Epoch, operator: &str, groups: &Range<KeyGroup>) -> Result<StateReader> {
        let inner = self.inner.lock();
        let operators = inner
            .epochs
            .get(&epoch)
            .ok_or_else(|| Error::state(format!("there is no checkpoint {epoch} in memory")))?;
        Ok(StateReader::gather(operators.get(operator).into_iter().flatten(), groups))
    }
}

/// Rows as Arrow IPC stream bytes.
///
/// # Errors
/// If a column's type cannot be written.
pub fn encode_rows(rows: &RecordBatch) -> Result<Bytes> {
    let unwritable = |error| Error::state(format!("rows cannot be encoded: {error}"));
    let mut writer = StreamWriter::try_new(Vec::new(), rows.schema_ref()).map_err(unwritable)?;
    writer.write(rows).map_err(unwritable)?;
    Ok(writer.into_inner().map_err(unwritable)?.into())
}

/// Rows that [`encode_rows`] wrote.
///
/// # Errors
/// If the bytes are not such rows.
pub fn decode_rows(bytes: &[u8]) -> Result<RecordBatch> {
    let unreadable = |error| Error::state(format!("rows cannot be decoded: {error}"));
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(unreadable)?;
    match reader.next() {
        Some(rows) => rows.map_err(unreadable),
        None => Ok(RecordBatch::new_empty(reader.schema())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::Int64Array;
    use arrow_schema::{DataType, Field, Schema};

    #[test]
    fn groups_go_to_their_new_owner_and_blobs_to_all() {
        let store = MemoryStateStore::default();
        for (instance, group) in [(0, 3), (1, 100)] {
            let mut writer = StateWriter::default();
            writer.put_group(group, vec![u8::try_from(group).unwrap()]);
            writer.put_blob(vec![instance]);
            store.put(1, "window", usize::from(instance), writer.finish()).unwrap();
        }
        store.complete(1).unwrap();
        let low = store.read(1, "window", &(0..64)).unwrap();
        assert_eq!(low.groups().collect::<Vec<_>>(), vec![(3, &[3_u8][..])]);
        assert_eq!(low.blobs().count(), 2);
        assert!(store.read(2, "window", &(0..64)).is_err());
    }

    #[test]
    fn rows_survive_encoding() {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let rows =
            RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![Some(1), None]))]).unwrap();
        assert_eq!(decode_rows(&encode_rows(&rows).unwrap()).unwrap(), rows);
        assert!(decode_rows(b"nonsense").is_err());
    }
}
