//! The dead letters that a text's tables keep in folders of files, for people: what they are, another try for them, and
//! taking them away, while a pipeline runs or not.
//!
//! Invariants: files that are still being written are hidden, and not looked at. A file is removed when each of its letters
//! is delivered, or is in a new file: one that was refused again, with the new reason, or one that was not meant. So a kill
//! leaves letters twice, and none is lost. What a letter becomes again is its connector's
//! ([`Connector::letters`](millstream_engine::Connector::letters)); it is sent as a new row, behind all that were sent since.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, BinaryArray, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream_connectors::format::{PayloadDecoder, PayloadOptions};
use millstream_connectors::memory::{MemorySink, MemorySource, Pusher};
use millstream_engine::dead_letter::{OnError, RowErrors, check_schema};
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::options::Options;
use millstream_engine::{
    ClockRef, Codec, Error, Graph, Input, Job, JobConfig, Registry, Result, SystemClock, Table,
};
use millstream_operators::Union;
use millstream_sql::Program;

/// The option that names a table's table of dead letters.
const DEAD_LETTER: &str = "dead-letter";
/// Bytes of letters that are in memory on their way from one job to another.
const EXCHANGE_BYTES_MAX: usize = 4 << 20;
/// Options of a table that say how its folder is written or followed, and have no meaning for one file that is read.
const NOT_OF_A_FILE: &[&str] =
    &["scan.", "source.", "sink.", "partition.", "on-error", DEAD_LETTER, "late-rows"];

/// The dead letters in one table's folder. See the module's page.
pub struct DeadLetterFiles {
    /// As it is written.
    table: Table,
    folder: PathBuf,
    /// The tables whose letters go there, and whether the text writes them and does not read them.
    senders: Vec<(Table, bool)>,
    registry: Registry,
    clock: ClockRef,
}

/// One of them, as far as the table's columns have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Letter {
    /// The row as it was to be delivered, or as it came.
    pub payload: Option<Vec<u8>>,
    /// What was wrong with it.
    pub error: Option<String>,
    /// The table it came from or was going to.
    pub source: Option<String>,
    /// When it became a letter, in milliseconds since 1970.
    pub time_ms: Option<i64>,
}

/// What another try came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// Letters that were delivered.
    pub delivered: u64,
    /// Letters that were refused once more, and are letters with the new reason.
    pub refused: u64,
    /// Letters that are no rows of their table, and stay what they are.
    pub unreadable: u64,
}

/// Where letters of a sender go again.
struct Again {
    pusher: Pusher,
    decoder: PayloadDecoder,
    /// Of the letters that the decoder has, the place in their batch.
    gathered: Vec<usize>,
}

impl DeadLetterFiles {
    /// Those of all tables that the tables of `program` name as theirs.
    ///
    /// # Errors
    /// If such a table keeps its letters elsewhere than in a folder of files, not in partitions.
    pub fn of(program: &Program, registry: &Registry) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for table in &program.tables {
            let sends_here = |sender: &&Table| sender.options.get(DEAD_LETTER) == Some(table.name.as_str());
            let senders: Vec<(Table, bool)> = program
                .tables
                .iter()
                .filter(sends_here)
                .map(|sender| {
                    // A letter of a table that is read as well may be a message that could not be decoded.
                    let is_read = program.graph.sources().any(|id| table_of(id) == sender.name);
                    (sender.clone(), program.written.contains(&sender.name) && !is_read)
                })
                .collect();
            if !senders.is_empty() {
                all.push(Self {
                    folder: folder(table)?,
                    table: table.clone(),
                    senders,
                    registry: registry.clone(),
                    clock: SystemClock::shared(),
                });
            }
        }
        Ok(all)
    }

    /// The table that has them.
    pub fn table(&self) -> &str {
        &self.table.name
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The names of the tables whose letters go there.
    pub fn senders(&self) -> impl Iterator<Item = &str> {
        self.senders.iter().map(|(sender, _)| sender.name.as_str())
    }

    /// Its finished files, in order of their names.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            // Nothing was ever refused.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
            Err(error) => return Err(unusable(&self.folder, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| unusable(&self.folder, &error))?;
            let is_hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
            if !is_hidden && entry.path().is_file() {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }

    /// All letters in finished files, in order.
    ///
    /// # Errors
    /// If a file cannot be read, or has a line that is no letter; and those of `visit`.
    pub fn each(&self, mut visit: impl FnMut(&Letter) -> Result<()>) -> Result<()> {
        for file in self.files()? {
            self.read(&file, &mut |rows| letters(&rows)?.iter().try_for_each(&mut visit))?;
        }
        Ok(())
    }

    /// Gives the letters of `of`, or of all tables, another try, and waits until each is delivered or refused.
    ///
    /// # Errors
    /// If letters of such a table cannot be sent again, a file cannot be read or written, or a sink's job ends.
    pub fn retry(&self, of: Option<&str>) -> Result<Retried> {
        let senders: Vec<&(Table, bool)> =
            self.senders.iter().filter(|(sender, _)| of.is_none_or(|of| sender.name == of)).collect();
        let mut codecs = BTreeMap::new();
        for (sender, is_only_written) in senders {
            // Of all tables those that can be; one that was asked for has to.
            match (is_only_written, of) {
                (true, _) => {
                    codecs.insert(sender.name.clone(), self.registry.connector(sender)?.letters(sender)?);
                }
                (false, None) => {}
                (false, Some(_)) => {
                    return Err(Error::config(format!("the text reads the table '{}'", sender.name)).remedy(
                        "only letters of a table that is only written can be sent again: rows that could not be read \
                         belong to a time that has passed",
                    ));
                }
            }
        }
        self.rewrite(&codecs, None)
    }

    /// Takes the letters of `of`, or all, away. How many they were.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn purge(&self, of: Option<&str>) -> Result<u64> {
        let mut count = 0;
        self.each(|letter| {
            count += u64::from(is_of(letter.source.as_deref(), of));
            Ok(())
        })?;
        match of {
            Some(_) => self.rewrite(&BTreeMap::new(), of).map(|_| count),
            None => remove(&self.files()?).map(|()| count),
        }
    }

    /// Sends letters of the tables of `codecs` again, leaves those of `purged` out, and writes all others anew, of the files
    /// that have any of the first two.
    fn rewrite(&self, codecs: &BTreeMap<String, Arc<dyn Codec>>, purged: Option<&str>) -> Result<Retried> {
        let is_meant = |source: Option<&str>| match purged {
            Some(purged) => is_of(source, Some(purged)),
            None => {
                source.is_some_and(|source| codecs.contains_key(table_of(source))) || self.is_only(codecs)
            }
        };
        let mut files = Vec::new();
        for file in self.files()? {
            let mut is_found = false;
            self.read(&file, &mut |rows| {
                is_found |= letters(&rows)?.iter().any(|letter| is_meant(letter.source.as_deref()));
                Ok(())
            })?;
            if is_found {
                files.push(file);
            }
        }
        if files.is_empty() {
            return Ok(Retried::default());
        }
        let (graph, kept, mut again) = self.graph(codecs)?;
        let job = Job::start(&graph, self.config())?;
        let mut done = Retried::default();
        for file in &files {
            let sent = self.read(file, &mut |rows| {
                let letters = letters(&rows)?;
                for (place, letter) in letters.iter().enumerate() {
                    let source = letter.source.as_deref();
                    if !is_meant(source) {
                        kept.push(rows.slice(place, 1))?;
                    } else if purged.is_none() {
                        self.send(&mut again, &rows, place, letter, &kept, &mut done)?;
                    }
                }
                self.flush(&mut again, &rows, &kept, &mut done)
            });
            // What ended the sinks is why nothing could be pushed.
            sent.map_err(|error| job.error().unwrap_or(error))?;
        }
        drop((kept, again));
        job.wait()?;
        let of_senders = job.metrics().iter().filter(|metrics| codecs.contains_key(&metrics.operator));
        done.refused = of_senders.map(|metrics| metrics.rows_dead_letter.get()).sum();
        done.delivered = done.delivered.saturating_sub(done.refused);
        remove(&files)?;
        Ok(done)
    }

    /// True when there are no names in the letters, and one table is the only one that they can be of.
    fn is_only(&self, codecs: &BTreeMap<String, Arc<dyn Codec>>) -> bool {
        self.table.schema.index_of("source").is_err() && self.senders.len() == 1 && codecs.len() == 1
    }

    /// Gathers a letter for its table's sink.
    fn send(
        &self,
        again: &mut BTreeMap<String, Again>,
        rows: &RecordBatch,
        place: usize,
        letter: &Letter,
        kept: &Pusher,
        done: &mut Retried,
    ) -> Result<()> {
        let only = again.keys().next().cloned().unwrap_or_default();
        let name = letter.source.as_deref().map_or(only.as_str(), table_of);
        let to = again.get_mut(name).ok_or_else(|| Error::internal("no sink for a letter"))?;
        let is_gathered = match &letter.payload {
            Some(payload) => to.decoder.push(payload, &self.skipping())?,
            None => false,
        };
        if is_gathered {
            to.gathered.push(place);
        } else {
            done.unreadable += 1;
            kept.push(rows.slice(place, 1))?;
        }
        Ok(())
    }

    /// Hands gathered letters of a batch over.
    fn flush(
        &self,
        again: &mut BTreeMap<String, Again>,
        rows: &RecordBatch,
        kept: &Pusher,
        done: &mut Retried,
    ) -> Result<()> {
        for Again { pusher, decoder, gathered } in again.values_mut() {
            if decoder.is_empty() {
                continue;
            }
            let decoded = decoder.flush_with(&mut |number, _, _| {
                done.unreadable += 1;
                kept.push(rows.slice(gathered[number as usize], 1))
            })?;
            gathered.clear();
            done.delivered += decoded.rows.num_rows() as u64;
            if decoded.rows.num_rows() > 0 {
                pusher.push(decoded.rows)?;
            }
        }
        Ok(())
    }

    /// Sinks of the tables of `codecs`, whose dead letters go to the table's folder, as what is kept does.
    fn graph(
        &self,
        codecs: &BTreeMap<String, Arc<dyn Codec>>,
    ) -> Result<(Graph, Pusher, BTreeMap<String, Again>)> {
        let mut graph = Graph::new();
        let (source, kept) = MemorySource::channel(Arc::clone(&self.table.schema), EXCHANGE_BYTES_MAX);
        let node = graph.source("kept letters", "", Arc::new(source), Arc::clone(&self.table.schema));
        let (mut inputs, mut again) = (vec![Input::gather(node)], BTreeMap::new());
        for (sender, _) in self.senders.iter() {
            let Some(codec) = codecs.get(&sender.name) else { continue };
            let options = PayloadOptions::from_options(&sender.options)?;
            let decoder = PayloadDecoder::new(Arc::clone(&sender.schema), codec.as_ref(), &options)?;
            let (source, pusher) = MemorySource::channel(Arc::clone(&sender.schema), EXCHANGE_BYTES_MAX);
            let id = format!("letters of {}", sender.name);
            let node = graph.source(id, "", Arc::new(source), Arc::clone(&sender.schema));
            let provider = self.registry.connector(sender)?.sink(sender)?;
            let node = graph.sink(sender.name.clone(), provider.describe(), provider, Input::gather(node));
            inputs.push(graph.dead_letters(node, Arc::clone(&self.table.schema))?);
            again.insert(sender.name.clone(), Again { pusher, decoder, gathered: Vec::new() });
        }
        let union =
            graph.operator("union", "union", "", inputs, Arc::new(|| Ok(Box::new(Union::default()) as _)));
        let provider = self.registry.connector(&self.table)?.sink(&self.table)?;
        graph.sink(self.table.name.clone(), provider.describe(), provider, Input::gather(union));
        Ok((graph, kept, again))
    }

    /// Reads one file as the table's rows.
    fn read(&self, file: &Path, visit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let mut table = self.table.clone();
        table.options = self.options_of(file);
        let provider = self.registry.connector(&table)?.source(&table)?;
        let (sink, puller) = MemorySink::channel(EXCHANGE_BYTES_MAX);
        let mut graph = Graph::new();
        let source = graph.source(file.display().to_string(), "", provider, Arc::clone(&table.schema));
        graph.sink("letters", "", Arc::new(sink), Input::gather(source));
        let job = Job::start(&graph, self.config())?;
        while let Some(batch) = puller.recv() {
            visit(batch.rows)?;
        }
        job.wait()
    }

    /// The table's options for reading `file`. A line that is no letter is not passed over: the file will be removed.
    fn options_of(&self, file: &Path) -> Options {
        let own = &self.table.options;
        let is_kept = |key: &&str| !NOT_OF_A_FILE.iter().any(|prefix| key.starts_with(prefix));
        let mut options = Options::new(own.owner(), BTreeMap::new());
        for key in own.keys().filter(is_kept) {
            options.set(key, own.get(key).unwrap_or_default());
        }
        options.set("path", file.display().to_string());
        options.set("on-error", "fail");
        options
    }

    fn config(&self) -> JobConfig {
        JobConfig { name: format!("{} by hand", self.table.name), workers: 1, ..JobConfig::default() }
    }

    /// What is told of letters that are too large to be rows: nothing, since they are kept.
    fn skipping(&self) -> RowErrors {
        let metrics = OperatorMetrics::new(&self.table.name, "letters", 0);
        RowErrors::new(OnError::Skip, Arc::default(), metrics, Arc::clone(&self.clock))
    }
}

/// The folder that `table` keeps its letters in.
fn folder(table: &Table) -> Result<PathBuf> {
    let options = &table.options;
    check_schema(&table.schema).map_err(|error| error.at(options.owner()))?;
    let connector = options.get("connector").unwrap_or_default();
    if connector != "filesystem" {
        return Err(Error::config(format!("the dead letters of '{}' are not in files: its connector is '{connector}'", table.name))
            .remedy("look at them there; those in a 'filesystem' table with a folder for its path can be seen to here"));
    }
    let path = PathBuf::from(options.require("path")?);
    let is_folder = path.is_dir() || path.to_string_lossy().ends_with('/');
    if !is_folder || options.get("sink.partition-by").is_some() {
        return Err(Error::config(format!("the dead letters of '{}' are not in one folder of files", table.name))
            .at(options.owner())
            .remedy("give the table a folder, 'path' = '…/', without partitions: its files can be taken away one by one"));
    }
    Ok(path)
}

/// The table of an operator: of several that write the same, others than the first have a number.
fn table_of(operator: &str) -> &str {
    operator.split_once('#').map_or(operator, |(table, _)| table)
}

/// Whether a letter of `source` is meant.
fn is_of(source: Option<&str>, of: Option<&str>) -> bool {
    of.is_none_or(|of| source.is_some_and(|source| table_of(source) == of))
}

/// The rows of a table of dead letters.
fn letters(rows: &RecordBatch) -> Result<Vec<Letter>> {
    let mut letters = vec![Letter::default(); rows.num_rows()];
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let texts = column.as_any().downcast_ref::<StringArray>();
        let text =
            |row: usize| texts.filter(|texts| texts.is_valid(row)).map(|texts| texts.value(row).to_owned());
        let bytes = column.as_any().downcast_ref::<BinaryArray>();
        let times = column.as_any().downcast_ref::<TimestampMillisecondArray>();
        for (row, letter) in letters.iter_mut().enumerate() {
            match field.name().as_str() {
                "payload" => {
                    letter.payload = match bytes {
                        Some(bytes) => bytes.is_valid(row).then(|| bytes.value(row).to_vec()),
                        None => text(row).map(String::into_bytes),
                    };
                }
                "error" => letter.error = text(row),
                "source" => letter.source = text(row),
                "time" => {
                    letter.time_ms = times.filter(|times| times.is_valid(row)).map(|times| times.value(row));
                }
                // The schema was checked: there is no other.
                _ => {}
            }
        }
    }
    Ok(letters)
}

fn remove(files: &[PathBuf]) -> Result<()> {
    files.iter().try_for_each(|file| fs::remove_file(file).map_err(|error| unusable(file, &error)))
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::unavailable(format!("{} cannot be used: {error}", path.display()))
        .remedy("check the rights of this user")
}
