//! Checkpoints in a folder: one file an epoch, the two youngest kept, with the files that they refer to (stored.rs).
//!
//! What instances put waits, up to [`WAITING_BYTES_MAX`], for the job's checkpoint thread to write it into one file
//! ([`super::file`]), which gets its name when the epoch is complete and is safe or not there (disk/folder.rs). The graph's shape is written with it: state of an operator that now
//! does something else would give wrong answers, so it is refused unless told to be dropped. A file whose bytes have
//! changed is refused too, never skipped in silence, because going back further makes sinks see rows twice.
//!
//! Source of the order of syncs: "All File Systems Are Not Created Equal" (Pillai et al., OSDI 2014).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::file::{Checkpoint, CheckpointWriter};
use super::fit::Fit;
use super::folder::{epochs_in, name_of, newest};
use super::stored::{Stored, Storing, seed};
use super::{InstanceSnapshot, OperatorShape, StateReader, StateStore};
use crate::disk::Room;
use crate::disk::folder::{Begun, Folder};
use crate::element::Epoch;
use crate::error::{Error, Result};
use crate::journal::{self, OtherJournal};
use crate::keys::KeyGroup;

/// Checkpoints that stay: the last, and the one before it for a person to go back to.
const CHECKPOINTS_KEPT: usize = 2;
/// State that waits to be written before no more is asked for.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// State that is written in one go, but for a piece that is larger: rows that wait for room go on behind it.
const WRITTEN_BYTES_MAX: usize = 2 << 20;

/// Snapshots on disk. See the module's page.
#[derive(Debug)]
pub struct DiskStateStore {
    folder: Folder,
    /// Ends its waiting for room on the disk.
    room: Arc<Room>,
    /// Operators of the graph that runs.
    shape: Vec<OperatorShape>,
    inner: Mutex<Inner>,
    /// Only who writes takes this lock, so that who puts never waits for a disk.
    files: Mutex<Files>,
    waiting_bytes: AtomicUsize,
}

#[derive(Debug)]
struct Files {
    /// Those of epochs that are not complete.
    begun: BTreeMap<Epoch, (Begun, CheckpointWriter)>,
    /// All others, each with its bytes where this run wrote it.
    there: BTreeMap<Epoch, Option<u64>>,
    /// What the last complete checkpoint of this run is made of. The first refers to nothing.
    last: Arc<Stored>,
    seed: u64,
}

/// A checkpoint that stays.
#[derive(Debug)]
struct Kept {
    epoch: Epoch,
    /// The epochs whose files it is made of.
    files: BTreeSet<Epoch>,
}

#[derive(Debug, Default)]
struct Inner {
    /// What was put and is still to be written.
    waiting: VecDeque<Piece>,
    /// What there was at the start, until every instance has read it.
    restored: Option<Checkpoint>,
    /// The checkpoints that stay, in order.
    kept: Vec<Kept>,
    /// Journals that go with the next epoch, which counts nothing of them.
    journals: Vec<OtherJournal>,
}

#[derive(Debug)]
struct Piece {
    epoch: Epoch,
    /// Its number in the shape.
    operator: u32,
    instance: u32,
    state: InstanceSnapshot,
}

impl DiskStateStore {
    /// Opens `folder` for a graph of `shape`, making it where it is missing. State of operators, and journals of
    /// sources, that the graph does not have any more are an error, unless `allow_dropped_state`.
    ///
    /// # Errors
    /// If the folder cannot be used or is in use, its last checkpoint is damaged, or belongs to another query.
    pub fn open(folder: &Path, shape: Vec<OperatorShape>, allow_dropped_state: bool) -> Result<Self> {
        let room = Arc::new(Room::default());
        let open = Folder::open(folder)?.waiting_for_room(Arc::clone(&room));
        let of_graph: Vec<&str> = shape.iter().map(|operator| operator.id.as_str()).collect();
        let journals = journal::of_others(folder, &of_graph)?;
        Self::on(open, room, shape, journals, allow_dropped_state)
    }

    fn on(
        folder: Folder,
        room: Arc<Room>,
        shape: Vec<OperatorShape>,
        journals: Vec<OtherJournal>,
        allow_dropped_state: bool,
    ) -> Result<Self> {
        let there = epochs_in(&folder)?;
        // Those of former runs may be made of any file that is older.
        let kept = |end: usize| Kept { epoch: there[end - 1], files: there[..end].iter().copied().collect() };
        let first = there.len().saturating_sub(CHECKPOINTS_KEPT) + 1;
        let kept: Vec<Kept> = (first..=there.len()).map(kept).collect();
        let restored = newest(&folder)?;
        let (restored, fit) = match restored {
            None => (None, Fit::default()),
            Some(mut checkpoint) => {
                let fit = Fit::of(&mut checkpoint, &shape);
                (Some(checkpoint), fit)
            }
        };
        let place = there.last().map(|epoch| folder.place(&name_of(*epoch)));
        fit.check(&journals, allow_dropped_state)
            .map_err(|error| place.map_or_else(|| error.clone(), |place| error.clone().at(place)))?;
        Ok(Self {
            folder,
            room,
            shape,
            inner: Mutex::new(Inner { restored, kept, journals, ..Inner::default() }),
            files: Mutex::new(Files {
                begun: BTreeMap::new(),
                there: there.into_iter().map(|epoch| (epoch, None)).collect(),
                last: Arc::default(),
                seed: seed(),
            }),
            waiting_bytes: AtomicUsize::new(0),
        })
    }

    /// The file of an epoch, begun with what stands before all pieces where it is not yet.
    fn begun<'a>(&self, epoch: Epoch, files: &'a mut Files) -> Result<&'a mut (Begun, CheckpointWriter)> {
        match files.begun.entry(epoch) {
            Entry::Occupied(found) => Ok(found.into_mut()),
            Entry::Vacant(free) => {
                let storing = Storing::behind(&files.last, &files.there, files.seed);
                let mut begun = self.folder.begin(&name_of(epoch))?;
                let mut writer = CheckpointWriter::new(epoch, storing);
                self.folder.add(&mut begun, |to| writer.begin(to, &self.shape))?;
                Ok(free.insert((begun, writer)))
            }
        }
    }

    /// Takes files away that no checkpoint is made of which stays or is being written.
    fn clear(&self, files: &mut Files, kept: &[Kept]) -> Result<()> {
        let mut needed: BTreeSet<Epoch> =
            kept.iter().flat_map(|kept| kept.files.iter().copied().chain([kept.epoch])).collect();
        needed.extend(files.begun.values().flat_map(|(_, writer)| writer.storing().epochs()));
        let away: Vec<Epoch> = files.there.keys().filter(|epoch| !needed.contains(epoch)).copied().collect();
        for epoch in away {
            self.folder.remove(&name_of(epoch))?;
            files.there.remove(&epoch);
        }
        Ok(())
    }
}

impl StateStore for DiskStateStore {
    fn put(&self, epoch: Epoch, operator: &str, instance: usize, state: InstanceSnapshot) -> Result<()> {
        if state.is_empty() {
            return Ok(());
        }
        let number = self.shape.iter().position(|known| known.id == operator);
        let (Some(Ok(operator)), Ok(instance)) = (number.map(u32::try_from), u32::try_from(instance)) else {
            return Err(Error::internal(format!("state of '{operator}', which is not in the graph")));
        };
        let bytes = state.num_bytes();
        let mut inner = self.inner.lock();
        inner.waiting.push_back(Piece { epoch, operator, instance, state });
        self.waiting_bytes.fetch_add(bytes, Ordering::AcqRel);
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        !self.inner.lock().waiting.is_empty()
    }

    fn is_full(&self) -> bool {
        self.waiting_bytes.load(Ordering::Acquire) >= WAITING_BYTES_MAX
    }

    fn write(&self) -> Result<()> {
        let mut files = self.files.lock();
        let mut written_bytes = 0;
        while written_bytes < WRITTEN_BYTES_MAX {
            let Some(piece) = self.inner.lock().waiting.pop_front() else { break };
            let Piece { epoch, operator, instance, state } = piece;
            let (begun, writer) = self.begun(epoch, &mut files)?;
            self.folder.add(begun, |to| writer.piece(to, operator, instance, &state))?;
            let bytes = state.num_bytes();
            self.waiting_bytes.fetch_sub(bytes, Ordering::AcqRel);
            written_bytes += bytes;
        }
        Ok(())
    }

    fn complete(&self, epoch: Epoch) -> Result<()> {
        while self.is_waiting() {
            self.write()?;
        }
        let mut files = self.files.lock();
        let (begun, writer) = self.begun(epoch, &mut files)?;
        self.folder.add(begun, |to| writer.end(to))?;
        let begun = files.begun.remove(&epoch);
        let (begun, writer) = begun.ok_or_else(|| Error::internal("the file of an epoch is gone"))?;
        self.folder.end(begun)?;
        files.there.insert(epoch, Some(writer.num_bytes()));
        files.last = Arc::new(writer.into_storing().finish());
        let mut inner = self.inner.lock();
        inner.kept.push(Kept { epoch, files: files.last.epochs().collect() });
        let gone = inner.kept.len().saturating_sub(CHECKPOINTS_KEPT);
        inner.kept.drain(..gone);
        self.clear(&mut files, &inner.kept)?;
        inner.journals.drain(..).try_for_each(|journal| journal.remove())
    }

    fn stop_waiting(&self) {
        self.room.give_up();
    }

    fn restored(&self) {
        self.inner.lock().restored = None;
    }

    fn latest(&self) -> Option<Epoch> {
        self.inner.lock().kept.last().map(|kept| kept.epoch)
    }

    fn read(&self, epoch: Epoch, operator: &str, groups: &Range<KeyGroup>) -> Result<StateReader> {
        let inner = self.inner.lock();
        let checkpoint = inner
            .restored
            .as_ref()
            .filter(|checkpoint| checkpoint.epoch == epoch)
            .ok_or_else(|| Error::state(format!("checkpoint {epoch} is not the one that was opened")))?;
        let own = checkpoint.snapshots.iter().filter(|(of, _, _)| of == operator);
        Ok(StateReader::gather(own.map(|(_, _, snapshot)| snapshot), groups))
    }

    fn folder(&self) -> Option<&Path> {
        self.folder.path()
    }

    fn is_durable(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::simulated::{Random, SimulatedDisk};
    use crate::state::StateWriter;
    use crate::state::folder::epoch_of;

    fn operator(id: &str, does: &str) -> OperatorShape {
        OperatorShape { identity: format!("{id}: {does}"), id: id.into(), does: does.into() }
    }

    fn shape() -> Vec<OperatorShape> {
        vec![operator("window", "TUMBLE(1 min)"), operator("result", "print")]
    }

    fn put(store: &DiskStateStore, epoch: Epoch, text: &str) {
        let mut writer = StateWriter::default();
        writer.put_group(3, text.as_bytes().to_vec());
        store.put(epoch, "window", 0, writer.finish()).unwrap();
        store.put(epoch, "result", 0, InstanceSnapshot::default()).unwrap();
    }

    fn state(store: &DiskStateStore) -> Option<String> {
        let reader = store.read(store.latest()?, "window", &(0..128)).unwrap();
        let bytes = reader.groups().next()?.1.to_vec();
        Some(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_last_complete_epoch_is_there_after_a_restart_and_two_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStateStore::open(folder.path(), shape(), false).unwrap();
        assert_eq!(store.latest(), None);
        for epoch in 1..=4 {
            put(&store, epoch, &format!("of {epoch}"));
            store.complete(epoch).unwrap();
        }
        put(&store, 5, "never complete");
        let error = DiskStateStore::open(folder.path(), shape(), false).unwrap_err().to_string();
        assert!(error.contains("is in use"), "{error}");
        drop(store);
        std::fs::write(folder.path().join("checkpoint-00000000000000000005.writing"), "half").unwrap();
        let store = DiskStateStore::open(folder.path(), shape(), false).unwrap();
        assert_eq!((store.latest(), state(&store).as_deref()), (Some(4), Some("of 4")));
        let mut names: Vec<_> = store.folder.names().unwrap();
        names.sort();
        assert_eq!(names, ["checkpoint-00000000000000000003", "checkpoint-00000000000000000004", "lock"]);
    }

    #[test]
    fn a_damaged_checkpoint_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStateStore::open(folder.path(), shape(), false).unwrap();
        put(&store, 1, "safe");
        store.complete(1).unwrap();
        drop(store);
        let path = folder.path().join(name_of(1));
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[30] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = DiskStateStore::open(folder.path(), shape(), false).unwrap_err().to_string();
        assert!(error.contains("checksum") && error.contains("move this file away"), "{error}");
    }

    #[test]
    fn state_of_another_query_is_refused_by_name_and_dropped_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStateStore::open(folder.path(), shape(), false).unwrap();
        put(&store, 1, "minutes");
        store.complete(1).unwrap();
        drop(store);
        // The sink had no state, so it may be another one.
        let hours = vec![operator("window", "TUMBLE(1 h)"), operator("result", "blackhole")];
        let error = DiskStateStore::open(folder.path(), hours.clone(), false).unwrap_err().to_string();
        assert!(error.contains("'window' was \"TUMBLE(1 min)\" and is \"TUMBLE(1 h)\""), "{error}");
        assert!(!error.contains("result") && error.contains("--allow-dropped-state"), "{error}");
        let store = DiskStateStore::open(folder.path(), hours, true).unwrap();
        assert_eq!((store.latest(), state(&store)), (Some(1), None));
    }

    #[test]
    fn the_journal_of_a_table_that_is_gone_is_kept_until_told() {
        let folder = tempfile::tempdir().unwrap();
        let tables = || {
            vec![operator("window", "TUMBLE(1 min)"), operator("result", "print"), operator("in/1", "source")]
        };
        let (gone, stays) = (
            journal::folder(folder.path(), "journal", "old/t", 0),
            journal::folder(folder.path(), "journal", "in/1", 0),
        );
        for journal in [&gone, &stays] {
            std::fs::create_dir_all(journal).unwrap();
            std::fs::write(journal.join("segment"), "acknowledged").unwrap();
        }
        let error = DiskStateStore::open(folder.path(), tables(), false).unwrap_err().to_string();
        assert!(
            error.contains("'old/t'") && error.contains("12 bytes") && !error.contains("in/1"),
            "{error}"
        );
        let store = DiskStateStore::open(folder.path(), tables(), true).unwrap();
        assert!(gone.exists(), "nothing is taken away before there is a checkpoint without it");
        put(&store, 1, "text");
        store.complete(1).unwrap();
        assert!(!gone.exists() && stays.exists());
    }

    /// What the first version of the format wrote goes on under identities that it did not know.
    #[test]
    fn a_checkpoint_of_version_1_is_gone_on_from() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: &[u8] = include_bytes!("fixtures/version-1.checkpoint");
        std::fs::write(folder.path().join(name_of(42)), bytes).unwrap();
        let mut shape = vec![operator("window", "TUMBLE(1 min) by d"), operator("result", "print")];
        shape[0].identity = "TUMBLE(1 min) by d of (t)".into();
        let store = DiskStateStore::open(folder.path(), shape, false).unwrap();
        assert_eq!((store.latest(), state(&store).as_deref()), (Some(42), Some("keyed")));
    }

    /// Random lives of a folder on a disk that forgets: the last epoch that was complete before a power cut, or one whose
    /// completion was under way, is restored as it was put.
    #[test]
    fn power_cuts_leave_the_last_complete_epoch() {
        let seeds = std::env::var("SIMULATION_SEEDS").map_or(2_000, |seeds| seeds.parse().unwrap());
        for seed in 0..seeds {
            let mut random = Random(seed);
            let mut disk = SimulatedDisk::default();
            let (mut complete, mut tried) = (0, 0);
            for _ in 0..4 {
                let folder = Folder::on(Arc::new(disk.clone())).unwrap();
                let store = DiskStateStore::on(folder, Arc::default(), shape(), Vec::new(), false)
                    .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                let epoch = store.latest().unwrap_or(0);
                assert!(epoch >= complete && epoch <= tried, "seed {seed}: {epoch}");
                let found = (epoch > 0).then(|| {
                    let reader = store.read(epoch, "window", &(0..128)).unwrap();
                    reader.groups().map(|(_, bytes)| String::from_utf8(bytes.to_vec()).unwrap()).collect()
                });
                assert_eq!(found, (epoch > 0).then(|| texts(epoch)), "seed {seed}");
                (complete, tried) = (epoch, epoch);
                for _ in 0..random.below(6) {
                    match random.below(6) {
                        0 => disk.set_room(Some(random.below(400) as usize)),
                        1 => disk.fail_sync_in(random.below(4)),
                        _ => {}
                    }
                    tried += 1;
                    let mut writer = StateWriter::default();
                    texts(tried).iter().for_each(|text| writer.put_group(3, text.as_bytes().to_vec()));
                    store.put(tried, "window", 0, writer.finish()).unwrap();
                    // A job stops at the first that fails.
                    if store.complete(tried).is_err() {
                        break;
                    }
                    complete = tried;
                }
                disk = disk.restart(&mut random);
            }
        }
    }

    /// State of an epoch: the first of it is new in each, others stay for some.
    fn texts(epoch: Epoch) -> Vec<String> {
        let text = |since: u64| format!("of {since} ").repeat(1 + since as usize * 7 % 50);
        (1..8).map(|epochs| text(epoch / epochs)).collect()
    }

    /// What a checkpoint refers to stays while it does, over restarts too, and goes then.
    #[test]
    fn files_stay_as_long_as_a_kept_checkpoint_is_made_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let sizes = || {
            let files = std::fs::read_dir(folder.path()).unwrap().flatten();
            files
                .filter_map(|file| {
                    Some((epoch_of(file.file_name().to_str()?)?, file.metadata().unwrap().len()))
                })
                .collect::<BTreeMap<Epoch, u64>>()
        };
        let still = "state that stays as it is ".repeat(40);
        let state_of = |epoch: Epoch| vec![still.clone(), format!("of {epoch}")];
        for from in [1, 7] {
            let store = DiskStateStore::open(folder.path(), shape(), false).unwrap();
            assert_eq!(store.latest(), Some(from - 1).filter(|epoch| *epoch > 0));
            for epoch in from..from + 6 {
                let mut writer = StateWriter::default();
                state_of(epoch).into_iter().for_each(|text| writer.put_group(3, text.into_bytes()));
                store.put(epoch, "window", 0, writer.finish()).unwrap();
                store.complete(epoch).unwrap();
            }
            let sizes = sizes();
            assert_eq!(sizes.keys().copied().collect::<Vec<_>>(), [from, from + 4, from + 5]);
            assert!(sizes[&from] > 1_000 && sizes[&(from + 5)] < 300, "{sizes:?}");
        }
        let store = DiskStateStore::open(folder.path(), shape(), false).unwrap();
        let reader = store.read(12, "window", &(0..128)).unwrap();
        drop(store);
        assert!(reader.groups().map(|(_, bytes)| bytes).eq(state_of(12).iter().map(String::as_bytes)));
        std::fs::remove_file(folder.path().join(name_of(7))).unwrap();
        let error = DiskStateStore::open(folder.path(), shape(), false).unwrap_err().to_string();
        assert!(error.contains(&name_of(7)) && error.contains("which it refers to"), "{error}");
    }
}
