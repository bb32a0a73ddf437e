//! State on its way into and out of a checkpoint.
//!
//! Keyed state says which key groups (keys.rs) it is of, so that it can be handed to another number of instances: one
//! group, or all of the instance that wrote it, of which those that restore then take their own keys. What belongs to
//! an instance as a whole (a source's position, say) is a blob that every instance of the operator is offered. The bytes
//! are opaque here; `encode_rows` and `decode_rows` (Arrow IPC) are the form most operators use. A [`StateStore`] keeps
//! them: in memory here, in a folder in disk.rs.

mod disk;
mod file;
mod files;
mod fit;
mod folder;
pub mod savepoint;
mod shape;
mod stored;

pub use disk::DiskStateStore;
pub use files::{FILES_MAX, StateFile, StateFiles};
pub(crate) use folder::newest;
pub use shape::OperatorShape;

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::element::Epoch;
use crate::error::{Error, Result};
use crate::keys::{KEY_GROUPS, KeyGroup};

/// Where an operator puts its state when a barrier passes.
#[derive(Debug)]
pub struct StateWriter {
    own: Range<KeyGroup>,
    snapshot: InstanceSnapshot,
}

/// What one instance wrote at one barrier, or a piece of it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct InstanceSnapshot {
    /// Keyed state and the key groups it is of; a group may occur several times, in order.
    pub groups: Vec<(Range<KeyGroup>, Bytes)>,
    /// State of the instance as a whole.
    pub blobs: Vec<Bytes>,
}

impl InstanceSnapshot {
    /// Bytes of state.
    pub fn num_bytes(&self) -> usize {
        self.groups.iter().map(|(_, bytes)| bytes).chain(&self.blobs).map(Bytes::len).sum()
    }

    /// True when there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.blobs.is_empty()
    }
}

impl Default for StateWriter {
    /// Of an instance that owns every key.
    fn default() -> Self {
        Self::of(0..KEY_GROUPS)
    }
}

impl StateWriter {
    /// Of an instance that owns `groups`.
    pub fn of(groups: Range<KeyGroup>) -> Self {
        Self { own: groups, snapshot: InstanceSnapshot::default() }
    }

    /// Adds keyed state of `group`.
    pub fn put_group(&mut self, group: KeyGroup, bytes: impl Into<Bytes>) {
        self.snapshot.groups.push((group..group + 1, bytes.into()));
    }

    /// Adds keyed state of any of the instance's keys. Who restores it may be given keys of other instances with it, and
    /// asks [`StateReader::owns`].
    pub fn put_keyed(&mut self, bytes: impl Into<Bytes>) {
        self.snapshot.groups.push((self.own.clone(), bytes.into()));
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
    own: Range<KeyGroup>,
    groups: Vec<(Range<KeyGroup>, Bytes)>,
    blobs: Vec<Bytes>,
}

impl StateReader {
    /// Gathers, from all instances' snapshots of one operator, what an instance that owns `groups` needs.
    pub fn gather<'a>(
        snapshots: impl IntoIterator<Item = &'a InstanceSnapshot>,
        groups: &Range<KeyGroup>,
    ) -> Self {
        let mut reader = Self { own: groups.clone(), ..Self::default() };
        let is_wanted = |of: &Range<KeyGroup>| of.start < groups.end && groups.start < of.end;
        for snapshot in snapshots {
            reader.groups.extend(snapshot.groups.iter().filter(|(of, _)| is_wanted(of)).cloned());
            reader.blobs.extend(snapshot.blobs.iter().cloned());
        }
        reader
    }

    /// Keyed state that holds keys which this instance owns, and the key groups it is of.
    pub fn groups(&self) -> impl Iterator<Item = (&Range<KeyGroup>, &[u8])> {
        self.groups.iter().map(|(of, bytes)| (of, bytes.as_ref()))
    }

    /// True when this instance owns every key of `groups`.
    pub fn owns_all(&self, groups: &Range<KeyGroup>) -> bool {
        self.own.start <= groups.start && groups.end <= self.own.end
    }

    /// True when this instance owns the keys of `group`.
    pub fn owns(&self, group: KeyGroup) -> bool {
        self.own.contains(&group)
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
    /// Keeps what instance `instance` of `operator` wrote at the barrier of `epoch`, or a piece of it: pieces add up.
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

    /// False where nothing can be restored from it: operators do not write their state then, which may take as long as all
    /// that came before, at the end of a bounded job as well.
    fn keeps_state(&self) -> bool {
        true
    }

    /// Where the job may keep more on disk, next to the checkpoints and under the same lock; none where they are not on the
    /// machine's own disk.
    fn folder(&self) -> Option<&Path> {
        None
    }

    /// True when something that was put waits for [`StateStore::write`].
    fn is_waiting(&self) -> bool {
        false
    }

    /// True when so much waits that no more should be put until some of it is written.
    fn is_full(&self) -> bool {
        false
    }

    /// The job is to end: what waits for anything but the disk itself, such as room on it, is to fail instead.
    fn stop_waiting(&self) {}

    /// Writes some of what waits, where completing an epoch takes its time: called by the job's thread for that, as long as
    /// some waits, so that state is not held until its epoch is complete. Rows that wait for room go on behind each.
    ///
    /// # Errors
    /// If it cannot be written; the job then stops.
    fn write(&self) -> Result<()> {
        Ok(())
    }

    /// Every instance has read what it needs: what is held for that can go.
    fn restored(&self) {}

    /// True when completing an epoch takes its time, because a disk does: a thread of the job then does it, so that no
    /// worker waits.
    fn is_durable(&self) -> bool {
        false
    }
}

/// Snapshots in memory: for tests, and for programs that start a job again themselves.
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

/// For jobs that begin anew when they are started again: epochs are counted, for sinks that go by them, and nothing is kept.
#[derive(Debug, Default)]
pub struct NoStateStore {
    latest: Mutex<Option<Epoch>>,
}

impl StateStore for NoStateStore {
    fn put(
        &self,
        _epoch: Epoch,
        _operator: &str,
        _instance: usize,
        _snapshot: InstanceSnapshot,
    ) -> Result<()> {
        Ok(())
    }

    fn complete(&self, epoch: Epoch) -> Result<()> {
        *self.latest.lock() = Some(epoch);
        Ok(())
    }

    fn latest(&self) -> Option<Epoch> {
        *self.latest.lock()
    }

    fn read(&self, epoch: Epoch, _operator: &str, _groups: &Range<KeyGroup>) -> Result<StateReader> {
        Err(Error::state(format!("there is no checkpoint {epoch}, because none are kept")))
    }

    fn keeps_state(&self) -> bool {
        false
    }
}

/// Rows as Arrow IPC stream bytes.
///
/// # Errors
/// If a column's type cannot be written.
pub fn encode_rows(rows: &RecordBatch) -> Result<Bytes> {
    let unwritable = |error| Error::state(format!("rows cannot be encoded: {error}"));
    // The columns, and what the format has in front of and behind them.
    let bytes_of = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
    let bytes: usize = rows.columns().iter().map(bytes_of).sum();
    let to = Vec::with_capacity(bytes + 1_024 + 128 * rows.num_columns());
    let mut writer = StreamWriter::try_new(to, rows.schema_ref()).map_err(unwritable)?;
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
        assert_eq!(low.groups().collect::<Vec<_>>(), vec![(&(3..4), &[3_u8][..])]);
        assert_eq!(low.blobs().count(), 2);
        assert!(store.read(2, "window", &(0..64)).is_err());
    }

    #[test]
    fn state_of_any_of_an_instances_keys_goes_to_all_who_own_some() {
        let mut writer = StateWriter::of(32..64);
        writer.put_keyed(vec![1]);
        let snapshots = [writer.finish()];
        let read = |groups: Range<KeyGroup>| StateReader::gather(&snapshots, &groups);
        assert!(read(0..32).is_empty() && read(64..128).is_empty());
        let whole = read(0..64);
        let (of, bytes) = whole.groups().next().unwrap();
        assert!(whole.owns_all(of) && bytes == [1]);
        let half = read(63..128);
        assert!(!half.owns_all(half.groups().next().unwrap().0) && half.owns(63) && !half.owns(62));
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
