//! Rows of every type, fleets of devices, pacing, and the messages for wrong options.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, TimeUnit};
use millstream_engine::state::MemoryStateStore;
use millstream_engine::{JobConfig, ManualClock, Table};

use super::Datagen;
use crate::generator::testing::{error, lines, rows, start, table};

fn field(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

/// Device, temperature and time.
fn fleet(options: &[(&str, &str)]) -> Table {
    let fields = vec![
        field("device_id", DataType::Utf8),
        field("temperature", DataType::Float64),
        field("ts", time()),
    ];
    let base = [("connector", "datagen"), ("rows-per-second", "1000000"), ("base-time", "0")];
    table(fields, &[&base[..], options].concat())
}

fn all(table: &Table) -> RecordBatch {
    rows(&Datagen, table, &table.schema, 1, 4096)
}

#[test]
fn every_type_is_made_and_batch_sizes_change_nothing() {
    let list = DataType::List(Arc::new(field("item", DataType::Int32)));
    let row = DataType::Struct(vec![field("a", DataType::Float32), field("b", DataType::Boolean)].into());
    let fields = vec![
        field("tiny", DataType::Int8),
        field("small", DataType::Int16),
        field("int", DataType::Int32),
        field("big", DataType::Int64),
        field("money", DataType::Decimal128(10, 2)),
        field("real", DataType::Float64),
        field("yes", DataType::Boolean),
        field("text", DataType::Utf8),
        field("bytes", DataType::Binary),
        field("day", DataType::Date32),
        field("clock", DataType::Time32(TimeUnit::Millisecond)),
        field("ts", time()),
        field("micros", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))),
        field("nanos", DataType::Timestamp(TimeUnit::Nanosecond, None)),
        field("row", row),
        field("list", list),
    ];
    let table = table(
        fields,
        &[
            ("connector", "datagen"),
            ("rows-per-second", "1000000"),
            ("number-of-rows", "500"),
            ("base-time", "2026-01-01T10:00:00"),
            ("fields.tiny.min", "1"),
            ("fields.tiny.max", "3"),
            ("fields.money.min", "-1.50"),
            ("fields.money.max", "2.25"),
            ("fields.text.length", "8"),
            ("fields.bytes.var-len", "true"),
            ("fields.real.null-rate", "0.25"),
            ("fields.row.a.max", "5"),
            ("fields.list.length", "2"),
            ("fields.list.element.min", "7"),
            ("fields.list.element.max", "9"),
        ],
    );
    let made = all(&table);
    for batch in [1, 7] {
        assert_eq!(lines(&rows(&Datagen, &table, &table.schema, 2, batch)), lines(&made));
    }
    let first: serde_json::Value = serde_json::from_str(&lines(&made)[0]).unwrap();
    assert_eq!((&first["day"], &first["clock"]), (&"2026-01-01".into(), &"10:00:00".into()), "{first}");
    assert_eq!(first["text"].as_str().map(str::len), Some(8));
    assert_eq!(made.num_rows(), 500);
    let nulls = made.column_by_name("real").unwrap().null_count();
    assert!((95..155).contains(&nulls), "{nulls}");
    for line in lines(&made) {
        let row: serde_json::Value = serde_json::from_str(&line).unwrap();
        let number =
            |value: &serde_json::Value| value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap();
        assert!((1.0..=3.0).contains(&number(&row["tiny"])), "{line}");
        assert!((-1.5..=2.25).contains(&number(&row["money"])), "{line}");
        assert!((0.0..=5.0).contains(&number(&row["row"]["a"])), "{line}");
        assert_eq!(row["list"].as_array().map(Vec::len), Some(2));
        assert!(
            row["list"].as_array().unwrap().iter().all(|item| (7.0..=9.0).contains(&number(item))),
            "{line}"
        );
    }
}

#[test]
fn a_sequence_ends_the_table() {
    let fields = vec![field("n", DataType::Int64), field("name", DataType::Utf8)];
    let table = table(
        fields,
        &[
            ("connector", "datagen"),
            ("rows-per-second", "1000000"),
            ("fields.n.kind", "sequence"),
            ("fields.n.start", "-3"),
            ("fields.n.end", "6"),
            ("fields.name.kind", "sequence"),
            ("fields.name.start", "1"),
            ("fields.name.end", "1000"),
        ],
    );
    let made = all(&table);
    assert_eq!(made.column(0).as_primitive::<Int64Type>().values(), &(-3..=6).collect::<Vec<_>>()[..]);
    assert_eq!(made.column(1).as_string::<i32>().value(9), "10");
}

#[test]
fn devices_take_turns_and_walk_each_on_its_own() {
    let table = fleet(&[
        ("number-of-rows", "3000"),
        ("devices", "12"),
        ("fields.temperature.kind", "walk"),
        ("fields.temperature.min", "15"),
        ("fields.temperature.max", "30"),
        ("fields.temperature.step", "0.5"),
        ("out-of-order", "0.1"),
        ("out-of-order.max", "20 ms"),
    ]);
    let made = all(&table);
    let names = made.column(0).as_string::<i32>();
    let readings = made.column(1).as_primitive::<Float64Type>().values();
    assert_eq!((names.value(0), names.value(11), names.value(12)), ("device-00", "device-11", "device-00"));
    for at in 12..3_000 {
        assert!((15.0..=30.0).contains(&readings[at]) && (readings[at] - readings[at - 12]).abs() <= 0.5);
    }
    assert!((1..12).any(|device| (readings[device] - readings[0]).abs() > 1.0));
    let times = made.column(2).as_primitive::<TimestampMillisecondType>().values();
    let late = times.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!((200..400).contains(&late), "{late}");
}

#[test]
fn rows_come_at_their_rate_and_once_over_a_restore() {
    let table = fleet(&[("rows-per-second", "100"), ("number-of-rows", "400")]);
    let store = Arc::new(MemoryStateStore::default());
    let clock = ManualClock::at(5_000);
    let config =
        || JobConfig { workers: 2, store: store.clone(), clock: clock.clone(), ..JobConfig::default() };
    let (job, kept) = start(&Datagen, &table, &table.schema, config()).unwrap();
    kept.wait_for(1);
    clock.advance(1_999);
    kept.wait_for(200);
    let epoch = job.checkpoint().unwrap();
    // The 201st row is due at 2,000 ms.
    assert_eq!(kept.at_barrier(), 200);
    job.stop();
    job.wait().unwrap();
    let mut found = lines(&kept.rows(&table.schema).slice(0, 200));

    let (job, kept) =
        start(&Datagen, &table, &table.schema, JobConfig { restore: epoch, ..config() }).unwrap();
    clock.advance(60_000);
    job.wait().unwrap();
    found.extend(lines(&kept.rows(&table.schema)));
    found.sort();
    let fast = fleet(&[("rows-per-second", "100"), ("number-of-rows", "400")]);
    let clock = ManualClock::at(0);
    let (job, kept) =
        start(&Datagen, &fast, &fast.schema, JobConfig { clock: clock.clone(), ..JobConfig::default() })
            .unwrap();
    kept.wait_for(1);
    clock.advance(60_000);
    job.wait().unwrap();
    assert_eq!(found, lines(&kept.rows(&fast.schema)));
}

#[test]
fn wrong_options_are_explained() {
    let message = |options: &[(&str, &str)]| error(Arc::new(Datagen), &fleet(options));
    assert_eq!(
        message(&[("fields.temperature.kind", "sine"), ("fields.temperature.period", "1 min")]),
        "no error"
    );
    let typo = message(&[("fields.temprature.min", "1")]);
    assert!(
        typo.contains("no option 'fields.temprature.min'")
            && typo.contains("did you mean 'fields.temperature.min'?"),
        "{typo}"
    );
    let other = message(&[("fields.temperature.step", "1")]);
    assert!(
        other.contains("this field and kind take: fields.temperature.kind, fields.temperature.max"),
        "{other}"
    );
    assert!(message(&[("rows-per-secnd", "1")]).contains("did you mean 'rows-per-second'?"));
    assert!(message(&[("rows-per-second", "0")]).contains("at least 1"));
    assert!(
        message(&[("fields.temperature.kind", "walks")]).contains("'random', 'sequence', 'walk', 'sine'")
    );
    assert!(
        message(&[("fields.temperature.min", "5"), ("fields.temperature.max", "1")])
            .contains("leave no values")
    );
    assert!(
        message(&[("fields.temperature.kind", "sequence")]).contains("'fields.temperature.start' is missing")
    );
    assert!(
        message(&[("devices", "5"), ("device-column", "device")]).contains("there is no column 'device'")
    );
    assert!(message(&[("fields.temperature.null-rate", "1.5")]).contains("a share"));
    let map = DataType::Map(
        Arc::new(Field::new(
            "entries",
            DataType::Struct(
                vec![Field::new("key", DataType::Utf8, false), field("value", DataType::Utf8)].into(),
            ),
            false,
        )),
        false,
    );
    assert!(
        error(Arc::new(Datagen), &table(vec![field("m", map)], &[("connector", "datagen")]))
            .contains("does not make columns like 'm'")
    );
}
