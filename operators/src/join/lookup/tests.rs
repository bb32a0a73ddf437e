//! Lookup joins against a table that says when it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use millstream_engine::harness::{Emitted, OperatorHarness};
use millstream_engine::lookup::{Lookup, LookupCache, LookupProvider, LookupSettings, Rows};
use millstream_engine::{Batch, Error, InstanceContext, Result};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::*;
use crate::join::JoinKind;

/// Key `k` below 100 has `k % 3` rows; others have none. A request goes on when there is a permit for it.
struct Table {
    settings: LookupSettings,
    go: Semaphore,
    asked: Mutex<Vec<Vec<i64>>>,
    /// Requests that fail before one succeeds.
    failures: AtomicUsize,
}

impl Table {
    fn new(cache: LookupCache) -> Arc<Self> {
        let timeout = Duration::from_secs(60);
        let settings = LookupSettings { cache, requests_max: 2, keys_max: 3, retries_max: 2, timeout };
        let (asked, failures) = (Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { settings, go: Semaphore::new(1_000), asked, failures })
    }

    fn asked(&self) -> Vec<i64> {
        let mut keys = std::mem::take(&mut *self.asked.lock()).concat();
        keys.sort_unstable();
        keys
    }
}

struct Provided(Arc<Table>);

impl LookupProvider for Provided {
    fn settings(&self) -> LookupSettings {
        self.0.settings.clone()
    }
    fn create(
        &self,
        _schema: SchemaRef,
        keys: &[usize],
        _context: &InstanceContext,
    ) -> Result<Arc<dyn Lookup>> {
        assert_eq!(keys, [0]);
        Ok(Arc::new(Provided(Arc::clone(&self.0))))
    }
}

impl Lookup for Provided {
    fn find(&self, keys: Option<RecordBatch>) -> Rows {
        let table = Arc::clone(&self.0);
        Box::pin(async move {
            table.go.acquire().await.unwrap().forget();
            let wanted: Vec<i64> = match &keys {
                Some(keys) => keys.column(0).as_primitive::<Int64Type>().values().to_vec(),
                None => (0..100).collect(),
            };
            table.asked.lock().push(wanted.clone());
            let fails =
                table.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            if fails.is_ok() {
                return Err(Error::unavailable("away"));
            }
            let rows =
                wanted.iter().filter(|key| **key < 100).flat_map(|key| (0..key % 3).map(|n| (*key, n)));
            let (keys, names): (Vec<i64>, Vec<String>) =
                rows.map(|(key, n)| (key, format!("{key}-{n}"))).unzip();
            Ok(vec![RecordBatch::try_new(
                right(),
                vec![Arc::new(Int64Array::from(keys)) as ArrayRef, Arc::new(StringArray::from(names))],
            )?])
        })
    }
}

fn right() -> SchemaRef {
    let fields = vec![Field::new("key", DataType::Int64, true), Field::new("name", DataType::Utf8, true)];
    Arc::new(Schema::new(fields))
}

fn join(table: &Arc<Table>, kind: JoinKind) -> OperatorHarness {
    let left = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
    let spec = JoinSpec {
        inputs: [left, right()],
        keys: [vec![0], vec![0]],
        filter: None,
        kind,
        nulls_equal: false,
        updates: [false, false],
        ttl_ms: None,
    };
    let join = LookupJoin::new(&spec, Arc::new(Provided(Arc::clone(table))), None).unwrap();
    OperatorHarness::new(Box::new(join)).unwrap()
}

fn keys(keys: &[Option<i64>]) -> Batch {
    let column: ArrayRef = Arc::new(keys.iter().copied().collect::<Int64Array>());
    Batch::new(RecordBatch::try_from_iter([("k", column)]).unwrap())
}

/// What came out, as text: a watermark by its time.
fn shown(emitted: &[Emitted]) -> Vec<String> {
    let of = |item: &Emitted| match item {
        Emitted::Rows(batch) => {
            let (keys, names) = (batch.rows.column(0).as_primitive::<Int64Type>(), batch.rows.column(2));
            let mut rows: Vec<String> = keys
                .iter()
                .zip(names.as_string::<i32>())
                .map(|(key, name)| {
                    format!("{}:{}", key.map_or("-".into(), |key| key.to_string()), name.unwrap_or("-"))
                })
                .collect();
            rows.sort();
            rows
        }
        Emitted::Watermark(time_ms) => vec![time_ms.to_string()],
        Emitted::Late(_) => panic!("nothing is late here"),
    };
    emitted.iter().flat_map(of).collect()
}

/// Waits for the answers, and gives what came out with them.
fn answered(harness: &mut OperatorHarness) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for _ in 0..60_000 {
        if !harness.is_waiting() {
            return Ok(all);
        }
        all.extend(shown(&harness.ring()?));
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no answer within a minute");
}

fn partial(keys_max: usize, ttl_ms: Option<i64>, keeps_missing: bool) -> LookupCache {
    LookupCache::Partial { keys_max, ttl_ms, keeps_missing }
}

#[test]
fn what_comes_behind_waits_and_order_stays() {
    let table = Table::new(partial(100, None, true));
    table.go.forget_permits(1_000);
    let mut harness = join(&table, JoinKind::Inner);
    let mut out = harness.batch(keys(&[Some(1), Some(2), None, Some(1)])).unwrap();
    out.extend(harness.watermark(10).unwrap());
    out.extend(harness.batch(keys(&[Some(2), Some(3)])).unwrap());
    out.extend(harness.watermark(20).unwrap());
    assert!(out.is_empty() && harness.is_waiting());
    table.go.add_permits(100);
    let all = answered(&mut harness).unwrap();
    assert_eq!(all, ["1:1-0", "1:1-0", "2:2-0", "2:2-1", "10", "2:2-0", "2:2-1", "20"]);
    assert_eq!(table.asked(), [1, 2, 3]);
    // All are known by now, and nothing is asked.
    assert_eq!(shown(&harness.batch(keys(&[Some(2), Some(3)])).unwrap()), ["2:2-0", "2:2-1"]);
    assert!(table.asked().is_empty() && !harness.is_waiting());
}

#[test]
fn a_left_join_keeps_rows_without_a_match() {
    let table = Table::new(LookupCache::None);
    let mut harness = join(&table, JoinKind::Left);
    harness.batch(keys(&[Some(3), None, Some(4), Some(500)])).unwrap();
    assert_eq!(answered(&mut harness).unwrap(), ["-:-", "3:-", "4:4-0", "500:-"]);
    // Nothing was kept.
    harness.batch(keys(&[Some(4)])).unwrap();
    answered(&mut harness).unwrap();
    assert_eq!(table.asked(), [3, 4, 4, 500]);
}

#[test]
fn what_is_kept_grows_old_and_makes_room() {
    let table = Table::new(partial(4, Some(1_000), false));
    let mut harness = join(&table, JoinKind::Inner);
    let ask = |harness: &mut OperatorHarness, wanted: &[i64]| {
        harness.batch(keys(&wanted.iter().map(|key| Some(*key)).collect::<Vec<_>>())).unwrap();
        answered(harness).unwrap();
        table.asked()
    };
    assert_eq!(ask(&mut harness, &[1, 2]), [1, 2]);
    harness.advance(999).unwrap();
    assert_eq!(ask(&mut harness, &[1, 2, 4]), [4]);
    harness.advance(1).unwrap();
    assert_eq!(ask(&mut harness, &[1, 4]), [1]);
    // A key without rows is asked for again.
    assert_eq!(ask(&mut harness, &[3]), [3]);
    assert_eq!(ask(&mut harness, &[3]), [3]);
    // Of six keys three are kept, those that were found last.
    harness.advance(1).unwrap();
    assert_eq!(ask(&mut harness, &[5, 7]), [5, 7]);
    harness.advance(1).unwrap();
    assert_eq!(ask(&mut harness, &[5, 7]), Vec::<i64>::new());
    assert!(ask(&mut harness, &[2]).contains(&2));
}

#[test]
fn a_whole_table_is_read_once_and_again_when_it_is_due() {
    let table = Table::new(LookupCache::Full { reload_ms: Some(1_000) });
    let mut harness = join(&table, JoinKind::Inner);
    harness.batch(keys(&[Some(1), Some(200)])).unwrap();
    assert_eq!(answered(&mut harness).unwrap(), ["1:1-0"]);
    assert_eq!(shown(&harness.batch(keys(&[Some(2)])).unwrap()), ["2:2-0", "2:2-1"]);
    assert_eq!(table.asked().len(), 100);
    harness.advance(1_000).unwrap();
    // Meanwhile what is known holds.
    assert_eq!(shown(&harness.batch(keys(&[Some(2)])).unwrap()), ["2:2-0", "2:2-1"]);
    for _ in 0..60_000 {
        if !table.asked.lock().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(table.asked().len(), 100);
    assert_eq!(shown(&harness.batch(keys(&[Some(4)])).unwrap()), ["4:4-0"]);
}

#[test]
fn a_failed_request_is_tried_again_as_often_as_allowed() {
    let table = Table::new(partial(100, None, true));
    table.failures.store(2, Ordering::SeqCst);
    let mut harness = join(&table, JoinKind::Inner);
    harness.batch(keys(&[Some(1)])).unwrap();
    assert_eq!(answered(&mut harness).unwrap(), ["1:1-0"]);
    table.failures.store(3, Ordering::SeqCst);
    harness.batch(keys(&[Some(2)])).unwrap();
    let error = answered(&mut harness).unwrap_err().to_string();
    assert!(error.contains("away"), "{error}");
}
