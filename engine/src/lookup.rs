//! Tables that rows are looked up in while a stream passes, and the requests that do it.
//!
//! A connector that can be looked up in gives a [`LookupProvider`]; an operator (operators/src/join/lookup.rs) makes a
//! [`LookupClient`] of it, asks, and is rung when an answer has come. Invariants: at most
//! [`LookupSettings::requests_max`] requests are on their way at a time, each with at most [`LookupSettings::keys_max`] keys;
//! one that fails for want of the far end is tried again, with a wait that doubles, as often as the settings say and then
//! ends the job; an attempt that takes too long counts as failed. Nothing here blocks the worker.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::clock::ClockRef;
use crate::context::InstanceContext;
use crate::error::{Error, ErrorKind, Result};
use crate::options::{OptionSpec, Options};

/// Rows of a table, on their way.
pub type Rows = Pin<Box<dyn Future<Output = Result<Vec<RecordBatch>>> + Send>>;

/// A table that can be looked up in.
pub trait LookupProvider: Send + Sync {
    /// How it is asked, and what of it is kept.
    fn settings(&self) -> LookupSettings;

    /// Makes what finds rows with the columns of `schema` by those of its columns that are `keys`, for an operator instance.
    ///
    /// # Errors
    /// If it cannot be looked up by these.
    fn create(&self, schema: SchemaRef, keys: &[usize], context: &InstanceContext)
    -> Result<Arc<dyn Lookup>>;

    /// What EXPLAIN shows beside the table's name; never a secret.
    fn describe(&self) -> String {
        String::new()
    }
}

/// Finds rows of a table.
pub trait Lookup: Send + Sync {
    /// All rows whose key columns are a row of `keys`: distinct keys without NULL. Without keys, all rows of the table. Rows
    /// under other keys do no harm.
    fn find(&self, keys: Option<RecordBatch>) -> Rows;
}

/// What of a table is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupCache {
    /// Nothing beyond the rows that wait together.
    None,
    /// The keys that were asked for: so many, so long, those without rows too if it says so.
    Partial {
        /// Keys at most.
        keys_max: usize,
        /// How long what was found holds, in ms.
        ttl_ms: Option<i64>,
        /// Whether it is kept too that a key has no rows.
        keeps_missing: bool,
    },
    /// The whole table, read before the first row, and again after so many ms.
    Full {
        /// From one reading to the next.
        reload_ms: Option<i64>,
    },
}

/// How a table is asked, and what of it is kept.
#[derive(Debug, Clone)]
pub struct LookupSettings {
    /// What is kept.
    pub cache: LookupCache,
    /// Requests on their way at a time.
    pub requests_max: usize,
    /// Keys of one request.
    pub keys_max: usize,
    /// Attempts after the first.
    pub retries_max: u32,
    /// How long an attempt may take.
    pub timeout: Duration,
}

/// The options of a table whose keys are asked for one by one, by Flink's names.
pub const LOOKUP_OPTIONS: &[OptionSpec] = &[
    OptionSpec::new(
        "lookup.cache",
        "NONE | PARTIAL",
        "NONE",
        "Whether what was looked up is kept for other rows.",
    ),
    OptionSpec::new("lookup.partial-cache.max-rows", "integer", "10000", "Keys that are kept at most."),
    OptionSpec::new(
        "lookup.partial-cache.expire-after-write",
        "duration",
        "",
        "How long what was found holds; for ever when not given.",
    ),
    OptionSpec::new(
        "lookup.partial-cache.cache-missing-key",
        "boolean",
        "true",
        "Whether it is kept too that there is no such key.",
    ),
    OptionSpec::new("lookup.max-retries", "integer", "3", "Attempts after the first, before the job ends."),
    OptionSpec::new("lookup.timeout", "duration", "60 s", "How long an attempt may take."),
    OptionSpec::new("lookup.max-requests", "integer", "16", "Requests on their way at a time."),
];

impl LookupSettings {
    /// Reads [`LOOKUP_OPTIONS`], for a table that is asked for at most `keys_max` keys at a time.
    ///
    /// # Errors
    /// If a value is wrong.
    pub fn from_options(options: &Options, keys_max: usize) -> Result<Self> {
        let count =
            |key: &str, default: usize| match options.parse::<usize>(key, "a number from 1 to 1000000")? {
                None => Ok(default),
                Some(count @ 1..=1_000_000) => Ok(count),
                Some(_) => Err(options.invalid(key, "a number from 1 to 1000000")),
            };
        let keeps = options.choice("lookup.cache", &[("NONE", false), ("PARTIAL", true)])?.unwrap_or(false);
        let partial = LookupCache::Partial {
            keys_max: count("lookup.partial-cache.max-rows", 10_000)?,
            ttl_ms: options.duration_ms("lookup.partial-cache.expire-after-write")?,
            keeps_missing: options.bool("lookup.partial-cache.cache-missing-key")?.unwrap_or(true),
        };
        let timeout_ms = options.duration_ms("lookup.timeout")?.unwrap_or(60_000).max(1);
        Ok(Self {
            cache: if keeps { partial } else { LookupCache::None },
            requests_max: count("lookup.max-requests", 16)?,
            keys_max,
            retries_max: options.parse("lookup.max-retries", "a number of attempts")?.unwrap_or(3),
            timeout: Duration::from_millis(timeout_ms.unsigned_abs()),
        })
    }
}

/// What came of a request.
pub struct Answer {
    /// What the request was sent with; none for the whole table.
    pub numbers: Option<Vec<u32>>,
    /// The rows.
    pub rows: Result<Vec<RecordBatch>>,
}

/// Asks a table for rows, and rings the worker that asked.
pub struct LookupClient {
    lookup: Arc<dyn Lookup>,
    settings: LookupSettings,
    context: InstanceContext,
    room: Arc<Semaphore>,
    answers: Arc<Mutex<Vec<Answer>>>,
    under_way: usize,
}

impl LookupClient {
    /// A client of `lookup` for the operator instance of `context`.
    pub fn new(lookup: Arc<dyn Lookup>, settings: LookupSettings, context: InstanceContext) -> Self {
        let room = Arc::new(Semaphore::new(settings.requests_max));
        Self { lookup, settings, context, room, answers: Arc::default(), under_way: 0 }
    }

    /// Asks for the rows of `keys`, which the operator knows by `numbers`; for all rows without.
    ///
    /// # Errors
    /// If the I/O runtime does not start.
    pub fn ask(&mut self, keys: Option<(RecordBatch, Vec<u32>)>) -> Result<()> {
        let Some((keys, numbers)) = keys else { return self.send(None, None) };
        let mut from = 0;
        while from < numbers.len() {
            let count = self.settings.keys_max.min(numbers.len() - from);
            self.send(Some(keys.slice(from, count)), Some(numbers[from..from + count].to_vec()))?;
            from += count;
        }
        Ok(())
    }

    fn send(&mut self, keys: Option<RecordBatch>, numbers: Option<Vec<u32>>) -> Result<()> {
        self.under_way += 1;
        let (lookup, settings, room) =
            (Arc::clone(&self.lookup), self.settings.clone(), Arc::clone(&self.room));
        let (answers, waker) = (Arc::clone(&self.answers), Arc::clone(&self.context.waker));
        let (clock, metrics) = (Arc::clone(&self.context.clock), Arc::clone(&self.context.metrics));
        self.context.io.handle()?.spawn(async move {
            let permit = room.acquire_owned().await;
            let retried = || metrics.retries.add(1);
            let rows = attempts(lookup.as_ref(), keys, &settings, &clock, retried).await;
            answers.lock().push(Answer { numbers, rows });
            drop(permit);
            waker.notify();
        });
        Ok(())
    }

    /// The answers that have come.
    pub fn take(&mut self) -> Vec<Answer> {
        let answers = std::mem::take(&mut *self.answers.lock());
        self.under_way -= answers.len();
        answers
    }

    /// Requests without an answer.
    pub fn under_way(&self) -> usize {
        self.under_way
    }
}

/// The rows, at the first attempt that succeeds.
async fn attempts(
    lookup: &dyn Lookup,
    keys: Option<RecordBatch>,
    settings: &LookupSettings,
    clock: &ClockRef,
    retried: impl Fn(),
) -> Result<Vec<RecordBatch>> {
    let mut wait = BACKOFF_INITIAL;
    for _ in 0..settings.retries_max {
        match attempt(lookup, keys.clone(), settings).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!("a lookup failed and is tried again: {error}");
                retried();
            }
            done => return done,
        }
        tokio::time::sleep(clock.sleep_for(wait)).await;
        wait = (wait * 2).min(BACKOFF_MAX);
    }
    attempt(lookup, keys, settings).await
}

const BACKOFF_INITIAL: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

async fn attempt(
    lookup: &dyn Lookup,
    keys: Option<RecordBatch>,
    settings: &LookupSettings,
) -> Result<Vec<RecordBatch>> {
    match timeout(settings.timeout, lookup.find(keys)).await {
        Ok(rows) => rows,
        Err(_) => Err(Error::unavailable(format!("a lookup had no answer within {:?}", settings.timeout))
            .remedy("raise 'lookup.timeout' if the table is slow")),
    }
}
