//! The dead letters that a text's tables keep in folders of files, for people: what they are, another try for them, and
//! taking them away, while a pipeline runs or not.
//!
//! Invariants: files that are still being written are hidden, and not looked at. A file is removed when each of its letters
//! is delivered, or is in a new file: one that was refused again, with the new reason, or one that was not meant. So a kill
//! leaves letters twice, and none is lost. What a letter becomes again is its connector's
//! ([`Connector::letters`](millstream_engine::Connector::letters)); it is sent as a new row, behind all that were sent since
//! (again.rs).

mod again;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, BinaryArray, RecordBatch, StringArray, TimestampMillisecondArray};
use millstream_connectors::memory::MemorySink;
use millstream_engine::dead_letter::check_schema;
use millstream_engine::options::Options;
use millstream_engine::{
    ClockRef, Error, Graph, Input, Job, JobConfig, Registry, Result, SystemClock, Table,
};
use millstream_sql::Program;

pub use again::Retried;

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

    /// The table that `letter` is of; where letters do not say it, the only one that has any.
    pub fn sender_of<'a>(&'a self, letter: &'a Letter) -> Option<&'a str> {
        match (letter.source.as_deref(), self.senders.as_slice()) {
            (Some(source), _) => Some(table_of(source)),
            (None, [(only, _)]) => Some(&only.name),
            (None, _) => None,
        }
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
            count += u64::from(of.is_none() || self.sender_of(letter) == of);
            Ok(())
        })?;
        match of {
            Some(_) => self.rewrite(&BTreeMap::new(), of).map(|_| count),
            None => remove(&self.files()?).map(|()| count),
        }
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
    match operator.rsplit_once('#') {
        Some((table, number)) if number.parse::<usize>().is_ok() => table,
        _ => operator,
    }
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
