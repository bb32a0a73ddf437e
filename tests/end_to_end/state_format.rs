//! Checkpoints that former versions wrote: each kind of state of each version is gone on from, and no byte of them changes
//! unseen. scripts/make-state-fixtures makes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use millstream::engine::state::{DiskStateStore, StateStore};

use crate::support::{command, ended};

/// The name of each fixture's epoch.
const CHECKPOINT: &str = "checkpoint-00000000000000000001";

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/state");
    let files = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<PathBuf> = files(&root).flat_map(|version| files(&version)).collect();
    all.retain(|file| file.extension().is_some_and(|kind| kind == "checkpoint"));
    all.sort();
    all
}

fn state_of(fixture: &Path) -> tempfile::TempDir {
    let state = tempfile::tempdir().unwrap();
    fs::copy(fixture, state.path().join(CHECKPOINT)).unwrap();
    state
}

#[test]
fn every_kind_of_state_that_a_former_version_wrote_is_gone_on_from() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 24, "{fixtures:?}");
    // It was written by two workers.
    for workers in ["1", "2", "3"] {
        let running: Vec<_> = fixtures
            .iter()
            .filter(|fixture| !is_of_former_plan(fixture))
            .map(|fixture| {
                let (state, query) = (state_of(fixture), fixture.with_extension("sql"));
                let arguments = ["run", query.to_str().unwrap(), "--state", state.path().to_str().unwrap()];
                let child = command(&[&arguments[..], &["--workers", workers, "--format", "json"]].concat())
                    .spawn()
                    .unwrap();
                (fixture, state, child)
            })
            .collect();
        for (fixture, _state, child) in running {
            let ran = ended(child);
            assert_eq!(ran.code, Some(0), "{}: {}", fixture.display(), ran.err);
            assert!(ran.err.contains("going on from checkpoint 1"), "{}: {}", fixture.display(), ran.err);
            assert_eq!(
                counted(&ran.rows()),
                expected(fixture),
                "{} with {workers} workers",
                fixture.display()
            );
        }
    }
}

/// Written before `n = m * 2` was a key: the join's rows are kept by another column now, and their state is told to be of
/// another operator. Such a pipeline starts without it when that is allowed.
const OF_FORMER_PLANS: [&str; 2] = ["version-1/join.checkpoint", "version-2/join.checkpoint"];

fn is_of_former_plan(fixture: &Path) -> bool {
    OF_FORMER_PLANS.iter().any(|name| fixture.ends_with(name))
}

#[test]
fn state_of_a_former_plan_is_named_and_dropped_only_when_allowed() {
    for fixture in fixtures().iter().filter(|fixture| is_of_former_plan(fixture)) {
        let (state, query) = (state_of(fixture), fixture.with_extension("sql"));
        let arguments = ["run", query.to_str().unwrap(), "--state", state.path().to_str().unwrap()];
        let refused = ended(command(&arguments).spawn().unwrap());
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains("join Inner on n = m * 2, by a computed key"), "{}", refused.err);
        assert!(refused.err.contains("--allow-dropped-state"), "{}", refused.err);
        let allowed = [&arguments[..], &["--allow-dropped-state"]].concat();
        let ran = ended(command(&allowed).spawn().unwrap());
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

/// What is still to come of a fixture.
fn expected(fixture: &Path) -> BTreeMap<String, i64> {
    let text = fs::read_to_string(fixture.with_extension("rows")).unwrap();
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let (count, row) = line.split_once(' ').unwrap();
        *counts.entry(spelled(serde_json::from_str(row).unwrap())).or_default() +=
            count.parse::<i64>().unwrap();
    }
    counts
}

/// A row with its keys sorted. The last digits of a DOUBLE depend on the order in which parts of it were added up.
fn spelled(row: BTreeMap<String, serde_json::Value>) -> String {
    let cell = |value: &serde_json::Value| match value.as_f64() {
        Some(number) if !value.is_i64() => format!("{number:.9}"),
        _ => value.to_string(),
    };
    row.iter().map(|(name, value)| format!("{name}={} ", cell(value))).collect()
}

/// How often each row is there, when updates have taken back what they take back.
fn counted(rows: &[serde_json::Value]) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::<String, i64>::new();
    for row in rows {
        let mut row: BTreeMap<String, serde_json::Value> = serde_json::from_value(row.clone()).unwrap();
        let taken_back = row.remove("op").is_some_and(|op| op.as_str().unwrap().starts_with('-'));
        *counts.entry(spelled(row)).or_default() += if taken_back { -1 } else { 1 };
    }
    counts.retain(|_, count| *count != 0);
    counts
}

/// One bit of each byte, everywhere in what stands in front of state and behind it, and all along between; lengths it can be
/// cut to; a piece of it twice. Each is refused by name, none is read or panics.
#[test]
fn no_byte_of_a_checkpoint_changes_unseen() {
    for fixture in fixtures() {
        let state = state_of(&fixture);
        let (path, good) = (state.path().join(CHECKPOINT), fs::read(&fixture).unwrap());
        // A process that another test is just starting has this one's lock, until it has its own program.
        let open = || loop {
            match DiskStateStore::open(state.path(), Vec::new(), true) {
                Err(error) if error.to_string().contains("is in use") => std::thread::yield_now(),
                opened => break opened,
            }
        };
        assert_eq!(open().unwrap().latest(), Some(1));
        let ends = (0..400).chain(good.len() - 40..good.len());
        for at in ends.chain((400..good.len()).step_by(131)) {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            let error = open().map(drop).unwrap_err().to_string();
            assert!(error.contains(CHECKPOINT), "byte {at} of {}: {error}", fixture.display());
        }
        for length in (0..good.len()).step_by(487) {
            fs::write(&path, &good[..length]).unwrap();
            assert!(open().is_err(), "{} cut to {length}", fixture.display());
        }
        fs::write(&path, [&good[..], &good[good.len() - 64..]].concat()).unwrap();
        assert!(open().is_err(), "{}", fixture.display());
    }
}
