//! Marks partitions whose rows are all there with a file `_SUCCESS`, under Flink's options `sink.partition-commit.*`.
//!
//! A partition is due when the watermark has passed its time (which its values say) by the delay, or the clock its first
//! row; it is marked once all files of it have their names, and all that are left are marked at the end. A row that comes
//! after is written all the same, and marks the partition anew. rolling.rs says when files have their names.
//! Flink: PartitionTimeCommitTrigger, ProcTimeCommitTrigger, DefaultPartTimeExtractor, SuccessFileCommitPolicy.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use millstream_engine::element::WATERMARK_MIN_MS;
use millstream_engine::options::OptionSpec;
use millstream_engine::{Error, Result, Table};

use super::part::failed;

/// What this file reads.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "sink.partition-commit.policy.kind",
        "success-file",
        "",
        "Marks partitions whose rows are all there with a file; without it none is marked.",
    ),
    OptionSpec::new(
        "sink.partition-commit.trigger",
        "process-time | partition-time",
        "process-time",
        "A partition is due when the delay has passed since its first row, or when the watermark has passed its time by the delay.",
    ),
    OptionSpec::new(
        "sink.partition-commit.delay",
        "duration",
        "0 s",
        "How long a partition waits for more rows.",
    ),
    OptionSpec::new("sink.partition-commit.success-file.name", "text", "_SUCCESS", "Name of the file."),
    OptionSpec::new(
        "partition.time-extractor.kind",
        "default",
        "default",
        "How a partition's time is had from its values: by the pattern.",
    ),
    OptionSpec::new(
        "partition.time-extractor.timestamp-pattern",
        "text",
        "the first value",
        "A time with the partition's columns in it, such as '$day $hour:00:00'.",
    ),
];

/// What the options say.
#[derive(Debug, Clone)]
pub(super) struct CommitPolicy {
    trigger: Trigger,
    delay_ms: i64,
    file: String,
}

#[derive(Debug, Clone)]
enum Trigger {
    /// By the clock, since the partition's first row.
    Clock,
    /// By the watermark; a time with `$column` in it, the first value where there is none.
    Watermark(Option<String>),
}

impl CommitPolicy {
    /// Reads `table`'s options; none where partitions are not marked.
    pub fn read(table: &Table) -> Result<Option<Self>> {
        let options = &table.options;
        if options.choice("sink.partition-commit.policy.kind", &[("success-file", ())])?.is_none() {
            let others = ["sink.partition-commit.trigger", "sink.partition-commit.delay"];
            return match others.iter().find(|key| options.get(key).is_some()) {
                Some(key) => Err(Error::config(format!(
                    "'{key}' says when partitions are marked, and nothing says how"
                ))
                .at(options.owner())
                .remedy("add 'sink.partition-commit.policy.kind' = 'success-file'")),
                None => Ok(None),
            };
        }
        options.choice("partition.time-extractor.kind", &[("default", ())])?;
        let by_time = options
            .choice("sink.partition-commit.trigger", &[("process-time", false), ("partition-time", true)])?
            .unwrap_or(false);
        let pattern = options.get("partition.time-extractor.timestamp-pattern").map(str::to_owned);
        let file = options.get("sink.partition-commit.success-file.name").unwrap_or("_SUCCESS");
        if file.is_empty() || file.contains(['/', '\\']) {
            return Err(options.invalid("sink.partition-commit.success-file.name", "the name of a file"));
        }
        Ok(Some(Self {
            trigger: if by_time { Trigger::Watermark(pattern) } else { Trigger::Clock },
            delay_ms: options.duration_ms("sink.partition-commit.delay")?.unwrap_or(0),
            file: file.to_owned(),
        }))
    }

    /// True when partitions are due by the watermark.
    pub fn goes_by_watermark(&self) -> bool {
        matches!(self.trigger, Trigger::Watermark(_))
    }

    /// The time of the partition in `folder`, `day=2026-01-31/hour=07/`; none if its values are no time.
    fn time_ms(&self, pattern: Option<&str>, folder: &str) -> Option<i64> {
        let values = || folder.split('/').filter_map(|level| level.split_once('='));
        let text = match pattern {
            None => unescaped(values().next()?.1),
            Some(pattern) => {
                // Longer names first: `$day_part` is no `$day`.
                let mut columns: Vec<(&str, &str)> = values().collect();
                columns.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
                columns.iter().fold(pattern.to_owned(), |text, (name, value)| {
                    text.replace(&format!("${}", unescaped(name)), &unescaped(value))
                })
            }
        };
        time_ms(&text)
    }
}

/// `2026-01-31 07:00:00`, or the day alone; as Flink reads it, with one digit where one is enough.
fn time_ms(text: &str) -> Option<i64> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .or_else(|_| NaiveDate::parse_from_str(text, "%Y-%m-%d").map(|day| day.and_time(NaiveTime::MIN)));
    time.ok().map(|time| time.and_utc().timestamp_millis())
}

/// A folder's name as it was before partition.rs escaped it.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let code =
            others.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match code.filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The partitions that are not marked yet.
pub(super) struct Commits {
    policy: CommitPolicy,
    /// By folder: when its first row came, by the clock.
    waiting: BTreeMap<String, i64>,
    watermark_ms: i64,
}

impl Commits {
    pub fn new(policy: CommitPolicy) -> Self {
        Self { policy, waiting: BTreeMap::new(), watermark_ms: WATERMARK_MIN_MS }
    }

    /// Rows were written to `folder`.
    pub fn touch(&mut self, folder: &str, now_ms: i64) {
        if !self.waiting.contains_key(folder) {
            self.waiting.insert(folder.to_owned(), now_ms);
        }
    }

    /// The stream's time has moved on.
    pub fn on_watermark(&mut self, time_ms: i64) {
        self.watermark_ms = self.watermark_ms.max(time_ms);
    }

    /// The partitions whose rows are all there.
    pub fn due(&self, now_ms: i64) -> Vec<String> {
        let is_due = |(folder, since_ms): &(&String, &i64)| match &self.policy.trigger {
            Trigger::Clock => now_ms > since_ms.saturating_add(self.policy.delay_ms),
            Trigger::Watermark(pattern) => self
                .policy
                .time_ms(pattern.as_deref(), folder)
                .is_some_and(|time| self.watermark_ms > time.saturating_add(self.policy.delay_ms)),
        };
        self.waiting.iter().filter(is_due).map(|(folder, _)| folder.clone()).collect()
    }

    /// All that are not marked.
    pub fn all(&self) -> Vec<String> {
        self.waiting.keys().cloned().collect()
    }

    /// Marks partition `folder` below `root`, whose files all have their names.
    pub fn mark(&mut self, root: &Path, folder: &str) -> Result<()> {
        let folder_path = root.join(folder);
        let path = folder_path.join(&self.policy.file);
        let marked = File::create(&path).and_then(|file| file.sync_all());
        marked.and_then(|()| File::open(&folder_path)?.sync_all()).map_err(|error| failed(&path, &error))?;
        self.waiting.remove(folder);
        Ok(())
    }

    /// What a later run has to mark.
    pub fn save(&self) -> String {
        let lines: Vec<String> =
            self.waiting.iter().map(|(folder, since)| format!("{since} {folder}")).collect();
        lines.join("\n")
    }

    /// Takes over what [`Commits::save`] gave.
    pub fn load(&mut self, text: &str) {
        for (since, folder) in text.lines().filter_map(|line| line.split_once(' ')) {
            if let Ok(since) = since.parse() {
                self.waiting.insert(folder.to_owned(), since);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(pattern: &str) -> CommitPolicy {
        CommitPolicy {
            trigger: Trigger::Watermark(Some(pattern.to_owned())),
            delay_ms: 60_000,
            file: "_SUCCESS".to_owned(),
        }
    }

    #[test]
    fn a_partition_is_due_when_the_watermark_has_passed_its_time_and_the_delay() {
        let mut commits = Commits::new(policy("$dt $hm:00"));
        commits.touch("dt=1970-01-01/hm=00%3A01/", 0);
        commits.touch("dt=1970-01-01/hm=00%3A02/", 0);
        commits.touch("dt=never/hm=00%3A00/", 0);
        commits.on_watermark(120_000);
        assert!(commits.due(i64::MAX).is_empty());
        commits.on_watermark(120_001);
        assert_eq!(commits.due(i64::MAX), ["dt=1970-01-01/hm=00%3A01/"]);
        assert_eq!(commits.all().len(), 3);
    }

    #[test]
    fn what_waits_is_taken_over() {
        let mut commits = Commits::new(CommitPolicy { trigger: Trigger::Clock, ..policy("") });
        commits.touch("site=a b/", 5);
        commits.touch("site=a b/", 90_000);
        let mut later = Commits::new(CommitPolicy { trigger: Trigger::Clock, ..policy("") });
        later.load(&commits.save());
        assert!(later.due(60_005).is_empty());
        assert_eq!(later.due(60_006), ["site=a b/"]);
    }
}
