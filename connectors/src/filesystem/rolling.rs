//! The sink into a folder: files that are rolled by size and age, in folders by partition.
//!
//! Invariants: a file is hidden while it is written (part.rs) and gets its name when it is rolled, at the end, and when
//! the checkpoint that closed it is complete. At most 'sink.open-files.max' are open: the one that was not written to for
//! longest is rolled to make room. A task rolls by age where the stream rests; it and the worker share the files
//! behind a lock.
//!
//! Partitions that are due (commit.rs) are rolled, and marked when all their files have their names.
//!
//! A barrier closes all files; their paths are the state, and they get their names when it is complete, or when a
//! later run restores it. Where the job's state is on disk, files that are rolled in between wait for it too, and the
//! end is as a barrier, so that what has its name never comes again: exactly once. Files that a dead run left behind
//! there are removed, for they belong to no checkpoint and their rows come again; otherwise their rows would be lost, so
//! plain lines are cut after the last whole one and published, while compressed and parquet files, which cannot be read
//! without their end, are removed with a warning.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::SchemaRef;
use parking_lot::Mutex;

use millstream_engine::element::Epoch;
use millstream_engine::failpoint;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, ClockRef, Encoder, Error, InstanceContext, Ready, Result, Sink, Task};

use super::commit::{CommitPolicy, Commits};
use super::part::{Compression, Content, Part, failed, hidden_name, publish};
use super::partition::Partitioning;

/// When files are rolled, and what they hold.
#[derive(Clone)]
pub(super) struct Rolling {
    pub folder: PathBuf,
    pub partitioning: Partitioning,
    /// How partitions are marked, if they are.
    pub commit: Option<CommitPolicy>,
    pub compression: Compression,
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    pub parquet: bool,
    /// What follows the number in a file's name.
    pub extension: String,
    pub bytes_max: u64,
    pub age_max: Duration,
    pub check_interval: Duration,
    pub open_files_max: usize,
}

/// What the state of partitions that are to be marked begins with; no path does.
const WAITING: &str = "\u{1}waiting\n";

/// One instance of the sink.
pub(super) struct RollingSink {
    settings: Arc<Rolling>,
    encoder: Option<Box<dyn Encoder>>,
    parts: Arc<Mutex<Parts>>,
    _ticker: Option<Task>,
    clock: Option<ClockRef>,
    is_restored: bool,
    is_clean: bool,
}

/// The open files, by folder.
struct Parts {
    settings: Arc<Rolling>,
    open: HashMap<String, Part>,
    /// Closed and not yet named, with the barrier that names them when its checkpoint is complete; the next one if none.
    pending: Vec<(Option<Epoch>, PathBuf)>,
    /// The partitions to mark.
    commits: Option<Commits>,
    /// Nothing more will come.
    is_ended: bool,
    /// Names wait for checkpoints.
    is_durable: bool,
    instance: usize,
    next_number: u64,
    failure: Option<Error>,
}

impl RollingSink {
    /// A sink that is still to be opened; `encoder` is there for lines.
    pub fn new(settings: Arc<Rolling>, encoder: Option<Box<dyn Encoder>>) -> Self {
        let parts = Parts {
            settings: Arc::clone(&settings),
            open: HashMap::new(),
            pending: Vec::new(),
            commits: settings.commit.clone().map(Commits::new),
            is_ended: false,
            is_durable: false,
            instance: 0,
            next_number: 0,
            failure: None,
        };
        let parts = Arc::new(Mutex::new(parts));
        Self { settings, encoder, parts, _ticker: None, clock: None, is_restored: false, is_clean: false }
    }

    /// Sees to what a dead run left behind, once, when it is known whether there was a restore.
    fn clean(&mut self) -> Result<()> {
        if !self.is_clean {
            self.is_clean = true;
            let depth = self.settings.partitioning.depth();
            let comes_again = self.is_restored || self.parts.lock().is_durable;
            clean_folder(&self.settings.folder, depth, (self.is_restored, comes_again))?;
        }
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.clock.as_ref().map_or(0, |clock| clock.monotonic_ns())
    }

    fn now_ms(&self) -> i64 {
        self.clock.as_ref().map_or(0, |clock| clock.steady_ms())
    }
}

impl Sink for RollingSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        std::fs::create_dir_all(&self.settings.folder)
            .map_err(|error| failed(&self.settings.folder, &error))?;
        {
            let mut parts = self.parts.lock();
            parts.instance = context.instance;
            parts.is_durable = context.is_durable();
        }
        let (parts, interval) = (Arc::downgrade(&self.parts), self.settings.check_interval);
        let (clock, waker) = (Arc::clone(&context.clock), Arc::clone(&context.waker));
        self.clock = Some(Arc::clone(&clock));
        let tick = async move {
            loop {
                tokio::time::sleep(clock.sleep_for(interval)).await;
                let Some(parts) = parts.upgrade() else { return };
                let (now_ns, now_ms) = (clock.monotonic_ns(), clock.steady_ms());
                let rolled = tokio::task::spawn_blocking(move || {
                    let mut parts = parts.lock();
                    let rolled = parts.roll_due(now_ns).and_then(|()| parts.commit_due(now_ms));
                    let is_failed = rolled.is_err();
                    parts.failure = parts.failure.take().or(rolled.err());
                    is_failed
                });
                if rolled.await.unwrap_or(true) {
                    waker.notify();
                }
            }
        };
        self._ticker = Some(context.spawn(tick)?);
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        self.clean()?;
        let (now_ns, now_ms) = (self.now_ns(), self.now_ms());
        let split = self.settings.partitioning.split(batch)?;
        let mut parts = self.parts.lock();
        parts.check()?;
        for (folder, rows) in split {
            if let Some(commits) = &mut parts.commits {
                commits.touch(&folder, now_ms);
            }
            parts.write(folder, &rows, self.encoder.as_deref_mut(), now_ns)?;
        }
        parts.roll_due(now_ns)
    }

    fn on_watermark(&mut self, time_ms: i64) -> Result<()> {
        let now_ms = self.now_ms();
        let mut parts = self.parts.lock();
        let Some(commits) = &mut parts.commits else { return Ok(()) };
        commits.on_watermark(time_ms);
        parts.commit_due(now_ms)
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.clean()?;
        let (now_ns, now_ms) = (self.now_ns(), self.now_ms());
        let mut parts = self.parts.lock();
        parts.check()?;
        parts.open.values_mut().try_for_each(Part::flush)?;
        parts.roll_due(now_ns)?;
        parts.commit_due(now_ms)
    }

    fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.clean()?;
        self.parts.lock().hand_over(epoch, state)?;
        failpoint::hit("filesystem-handed-over");
        Ok(Ready::Yes)
    }

    fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        failpoint::hit("filesystem-before-rename");
        let now_ms = self.now_ms();
        let mut parts = self.parts.lock();
        parts.publish_until(epoch)?;
        failpoint::hit("filesystem-after-rename");
        parts.commit_due(now_ms)?;
        drop(parts);
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        self.is_restored = true;
        for blob in state.blobs() {
            let paths = String::from_utf8_lossy(blob).into_owned();
            if let Some(waiting) = paths.strip_prefix(WAITING) {
                if let Some(commits) = &mut self.parts.lock().commits {
                    commits.load(waiting);
                }
                continue;
            }
            for path in paths.lines().filter(|path| !path.is_empty()).map(Path::new) {
                let (folder, name) = (path.parent(), path.file_name());
                let hidden =
                    folder.zip(name).map(|(folder, name)| folder.join(hidden_name(&name.to_string_lossy())));
                if hidden.is_some_and(|hidden| hidden.exists()) {
                    publish(path)?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<Ready> {
        self.clean()?;
        let mut parts = self.parts.lock();
        parts.check()?;
        for (_, part) in std::mem::take(&mut parts.open) {
            publish(&part.close()?)?;
        }
        parts.publish_until(Epoch::MAX)?;
        parts.is_ended = true;
        parts.commit_due(i64::MAX)?;
        Ok(Ready::Yes)
    }

    fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        if !self.parts.lock().is_durable {
            return self.finish();
        }
        self.clean()?;
        let mut parts = self.parts.lock();
        parts.is_ended = true;
        parts.hand_over(epoch, state)?;
        Ok(Ready::Yes)
    }

    fn is_committed(&self) -> Result<bool> {
        Ok(self.parts.lock().pending.is_empty())
    }
}

impl Parts {
    /// What went wrong while the stream was at rest.
    fn check(&mut self) -> Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }

    fn write(
        &mut self,
        folder: String,
        rows: &Batch,
        encoder: Option<&mut (dyn Encoder + 'static)>,
        now_ns: u64,
    ) -> Result<()> {
        if !self.open.contains_key(&folder) {
            if self.open.len() >= self.settings.open_files_max {
                let oldest = self.open.iter().min_by_key(|(_, part)| part.used_ns);
                if let Some(oldest) = oldest.map(|(folder, _)| folder.clone()) {
                    self.roll(&oldest)?;
                }
            }
            let settings = Arc::clone(&self.settings);
            let part = Part::begin(
                &settings.folder.join(&folder),
                self.instance,
                &mut self.next_number,
                &settings.extension,
                &settings.content(&settings.partitioning.schema),
                now_ns,
            )?;
            self.open.insert(folder.clone(), part);
        }
        let Some(part) = self.open.get_mut(&folder) else { return Ok(()) };
        part.used_ns = now_ns;
        part.write(rows, encoder)?;
        if part.bytes >= self.settings.bytes_max { self.roll(&folder) } else { Ok(()) }
    }

    /// Closes all files, and puts into `state` what is to get its name when `epoch` is complete.
    fn hand_over(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<()> {
        self.check()?;
        for (_, part) in std::mem::take(&mut self.open) {
            let path = part.close()?;
            self.pending.push((None, path));
        }
        self.pending.iter_mut().for_each(|(closed, _)| *closed = closed.or(Some(epoch)));
        // One blob even where nothing is pending: it tells the next run that there was a checkpoint.
        let paths: Vec<String> =
            self.pending.iter().map(|(_, path)| path.to_string_lossy().into_owned()).collect();
        state.put_blob(paths.join("\n").into_bytes());
        if let Some(commits) = &self.commits {
            state.put_blob(format!("{WAITING}{}", commits.save()).into_bytes());
        }
        Ok(())
    }

    /// Marks the partitions that are due, all at the end. Where names wait for checkpoints, files of a partition that is
    /// due are closed, and it is marked once a checkpoint has named them.
    fn commit_due(&mut self, now_ms: i64) -> Result<()> {
        let Some(commits) = &self.commits else { return Ok(()) };
        let due = if self.is_ended { commits.all() } else { commits.due(now_ms) };
        for folder in due {
            self.roll(&folder)?;
            let path = self.settings.folder.join(&folder);
            let is_named = !self.pending.iter().any(|(_, file)| file.parent() == Some(path.as_path()));
            if let Some(commits) = self.commits.as_mut().filter(|_| is_named) {
                commits.mark(&self.settings.folder, &folder)?;
            }
        }
        Ok(())
    }

    fn roll(&mut self, folder: &str) -> Result<()> {
        match self.open.remove(folder) {
            Some(part) if self.is_durable => {
                let path = part.close()?;
                self.pending.push((None, path));
                Ok(())
            }
            Some(part) => publish(&part.close()?),
            None => Ok(()),
        }
    }

    /// Rolls the files that are old enough.
    fn roll_due(&mut self, now_ns: u64) -> Result<()> {
        let age_max = self.settings.age_max.as_nanos();
        let is_due = |part: &Part| u128::from(now_ns.saturating_sub(part.opened_ns)) >= age_max;
        let due: Vec<String> =
            self.open.iter().filter(|(_, part)| is_due(part)).map(|(folder, _)| folder.clone()).collect();
        due.iter().try_for_each(|folder| self.roll(folder))
    }

    fn publish_until(&mut self, epoch: Epoch) -> Result<()> {
        let is_safe = |closed: Option<Epoch>| closed.is_some_and(|closed| closed <= epoch);
        for (_, path) in self.pending.extract_if(.., |(closed, _)| is_safe(*closed)) {
            publish(&path)?;
        }
        Ok(())
    }
}

impl Rolling {
    fn content<'a>(&self, schema: &'a SchemaRef) -> Content<'a> {
        #[cfg(feature = "parquet")]
        if self.parquet {
            return Content::Parquet(self.compression, schema);
        }
        let _ = schema;
        Content::Lines(self.compression)
    }
}

/// Sees to the leftovers of dead runs in `folder`, and in folders of partitions `depth` deep.
fn clean_folder(folder: &Path, depth: usize, (is_restored, comes_again): (bool, bool)) -> Result<()> {
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if depth > 0 && name.contains('=') && path.is_dir() {
            clean_folder(&path, depth - 1, (is_restored, comes_again))?;
        }
        let inner = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".inprogress"));
        let Some(inner) = inner.filter(|inner| inner.starts_with("part-")) else { continue };
        let wrong = |error: std::io::Error| failed(&path, &error);
        let mut file = OpenOptions::new().read(true).write(true).open(&path).map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {}
            // Another job writes it now.
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(wrong(error)),
        }
        let is_plain = !["gz", "zst", "parquet"].iter().any(|kind| inner.ends_with(kind));
        let kept = if is_plain && !comes_again { whole_lines(&mut file).map_err(wrong)? } else { 0 };
        if kept == 0 {
            if !is_restored && file.metadata().map_err(wrong)?.len() > 0 {
                tracing::warn!(
                    "{} was left unfinished by a run that died, and its rows come again or cannot be read: removed",
                    path.display()
                );
            }
            std::fs::remove_file(&path).map_err(wrong)?;
            continue;
        }
        file.set_len(kept).and_then(|()| file.sync_all()).map_err(wrong)?;
        if folder.join(inner).exists() {
            tracing::warn!(
                "{} was left unfinished, and a file of its name is there: left as it is",
                path.display()
            );
            continue;
        }
        publish(&folder.join(inner))?;
        tracing::info!(
            "{} was left unfinished by a run that died: finished after {kept} bytes",
            path.display()
        );
    }
    Ok(())
}

/// How many bytes of a file are whole lines.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; 64 << 10];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let piece = &mut block[..usize::try_from(end - start).unwrap_or(0)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(piece)?;
        if let Some(at) = memchr::memrchr(b'\n', piece) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
