//! State that outlives the process: killed, suspended, changed, taken by two.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::support::{command, ended, run, signal, wait_until};

/// The generator's last number.
const LAST: i64 = 40_000;
/// Numbers in a window.
const IN_WINDOW: i64 = 500;

/// Windows of a counting generator, appended to a file: a number is 10 ms of event time.
pub fn sql(folder: &Path, window: &str) -> String {
    sql_to(folder, window, LAST, "sums.json', 'sink.append' = 'true")
}

/// Up to the number `last`, to the file `to`, options of which may follow.
pub fn sql_to(folder: &Path, window: &str, last: i64, to: &str) -> String {
    let text = format!(
        "SET 'execution.checkpointing.interval' = '100 ms';
         CREATE TABLE numbers (n BIGINT, d AS MOD(n, 7), ts AS TO_TIMESTAMP_LTZ(n * 10, 3), WATERMARK FOR ts AS ts)
         WITH ('connector' = 'datagen', 'rows-per-second' = '10000', 'fields.n.kind' = 'sequence',
               'fields.n.start' = '0', 'fields.n.end' = '{last}');
         CREATE TABLE sums (d BIGINT, starts TIMESTAMP_LTZ(3), numbers BIGINT, total BIGINT)
         WITH ('connector' = 'filesystem', 'path' = '{}');
         INSERT INTO sums SELECT d, window_start, COUNT(*), SUM(n)
         FROM TABLE(TUMBLE(TABLE numbers, DESCRIPTOR(ts), INTERVAL '{window}' SECOND))
         GROUP BY d, window_start, window_end;",
        folder.join(to).display()
    );
    let path = folder.join(format!("windows-of-{window}.sql"));
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// (key, start of the window) to the (count, sum)s that were written of it, and the number of lines.
pub type Written = BTreeMap<(i64, String), BTreeSet<(i64, i64)>>;
pub fn written(folder: &Path) -> (Written, usize) {
    let mut text = std::fs::read_to_string(folder.join("sums.json")).unwrap_or_default();
    // Files of a folder that have their names.
    let parts = std::fs::read_dir(folder.join("sums")).into_iter().flatten().flatten();
    for part in parts.filter(|part| part.file_name().to_string_lossy().starts_with("part-")) {
        text += &std::fs::read_to_string(part.path()).unwrap_or_default();
    }
    let mut all = Written::new();
    let mut lines = 0;
    for line in text.lines() {
        // A kill may leave half a line; its rows come again.
        let Ok(row) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        lines += 1;
        let int = |name: &str| row[name].as_i64().unwrap();
        let key = (int("d"), row["starts"].as_str().unwrap().to_owned());
        all.entry(key).or_default().insert((int("numbers"), int("total")));
    }
    (all, lines)
}

/// Every window with its one right answer.
pub fn assert_complete(all: &Written) {
    assert_complete_to(all, LAST);
}

/// The same of a generator that ends at `last`.
pub fn assert_complete_to(all: &Written, last: i64) {
    let mut expected = BTreeMap::<(i64, i64), (i64, i64)>::new();
    for n in 0..=last {
        let sum = expected.entry((n % 7, n / IN_WINDOW)).or_default();
        *sum = (sum.0 + 1, sum.1 + n);
    }
    let starts: BTreeSet<&str> = all.keys().map(|(_, start)| start.as_str()).collect();
    assert_eq!(all.len(), expected.len());
    for ((key, window), right) in expected {
        let start = starts.iter().nth(usize::try_from(window).unwrap()).unwrap();
        let found = &all[&(key, (*start).to_owned())];
        assert_eq!(found, &BTreeSet::from([right]), "key {key}, window {window}");
    }
}

#[test]
fn killed_again_and_again_every_window_comes_with_its_right_answer() {
    let folder = tempfile::tempdir().unwrap();
    let (query, state) = (sql(folder.path(), "5"), folder.path().join("state"));
    let state = state.display().to_string();
    for (kill, workers) in ["1", "3", "2"].into_iter().enumerate() {
        let mut child = command(&["run", &query, "--state", &state, "--workers", workers]).spawn().unwrap();
        let before = written(folder.path()).1;
        wait_until("more windows", || {
            let lines = written(folder.path()).1;
            lines > before + 30 + kill || child.try_wait().unwrap().is_some()
        });
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = run(&["run", &query, "--state", &state, "--workers", "4"]);
    assert!(last.code == Some(0) && last.err.contains("going on from checkpoint"), "{last:?}");
    let (all, lines) = written(folder.path());
    assert_complete(&all);
    // It has come to its end, and another run has nothing to do.
    assert_eq!(run(&["run", &query, "--state", &state]).code, Some(0));
    assert_eq!(written(folder.path()).1, lines);
}

/// Files that nobody else writes to: each row once, whatever was killed.
#[test]
fn killed_again_and_again_a_file_and_a_folder_have_every_row_once() {
    for to in ["sums.json", "sums/', 'sink.rolling-policy.file-size' = '2 kb"] {
        let folder = tempfile::tempdir().unwrap();
        let (query, state) = (sql_to(folder.path(), "5", LAST, to), folder.path().join("state"));
        let state = state.display().to_string();
        for (kill, workers) in ["1", "3", "2", "1"].into_iter().enumerate() {
            let mut child =
                command(&["run", &query, "--state", &state, "--workers", workers]).spawn().unwrap();
            let before = written(folder.path()).1;
            wait_until("more windows", || {
                written(folder.path()).1 > before + 20 + kill || child.try_wait().unwrap().is_some()
            });
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let last = run(&["run", &query, "--state", &state, "--workers", "2"]);
        assert!(last.code == Some(0) && last.err.contains("going on from checkpoint"), "{last:?}");
        let (all, lines) = written(folder.path());
        assert_complete(&all);
        assert_eq!(lines, all.len(), "{to}");
        // Run once more, with nothing to do, it leaves them as they are.
        assert_eq!(run(&["run", &query, "--state", &state]).code, Some(0));
        assert_eq!(written(folder.path()).1, lines, "{to}");
    }
}

#[test]
fn suspended_it_goes_on_with_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let (query, state) = (sql(folder.path(), "5"), folder.path().join("state"));
    let state = state.display().to_string();
    for _ in 0..2 {
        let child = command(&["run", &query, "--state", &state]).spawn().unwrap();
        let before = written(folder.path()).1;
        wait_until("more windows", || written(folder.path()).1 > before + 30);
        signal(&child, "TERM");
        let ran = ended(child);
        assert!(ran.code == Some(0) && ran.err.contains("the next run goes on from checkpoint"), "{ran:?}");
    }
    assert_eq!(run(&["run", &query, "--state", &state]).code, Some(0));
    let (all, lines) = written(folder.path());
    assert_complete(&all);
    assert_eq!(lines, all.len());
}

#[test]
fn a_folder_in_use_or_of_another_query_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // One that does not come to its end by itself, however slow the machine is.
    let (query, state) =
        (sql_to(folder.path(), "5", 1_000_000_000, "sums.json"), folder.path().join("state"));
    let state = state.display().to_string();
    let mut first = command(&["run", &query, "--state", &state]).spawn().unwrap();
    wait_until("windows", || written(folder.path()).1 > 30);
    let second = run(&["run", &query, "--state", &state]);
    assert!(second.code == Some(1) && second.err.contains("is in use"), "{second:?}");
    first.kill().unwrap();
    let mut err = BufReader::new(first.stderr.take().unwrap());
    assert_eq!(err.read_line(&mut String::new()).unwrap(), 0, "a killed process says nothing");
    first.wait().unwrap();
    let other = sql_to(folder.path(), "60", 1, "sums.json");
    let refused = run(&["run", &other, "--state", &state]);
    assert!(
        refused.code == Some(1)
            && refused.err.contains("'window' was")
            && refused.err.contains("--allow-dropped-state"),
        "{refused:?}"
    );
    assert_eq!(run(&["run", &other, "--state", &state, "--allow-dropped-state"]).code, Some(0));
}

/// A savepoint is taken of a pipeline that runs, which goes on; another begins from it, and has every window from there.
#[test]
fn another_begins_from_a_savepoint() {
    let folder = tempfile::tempdir().unwrap();
    let (query, state) = (sql(folder.path(), "5"), folder.path().join("state").display().to_string());
    let saved = folder.path().join("saved").display().to_string();
    let mut first = command(&["run", &query, "--state", &state, "--workers", "2"]).spawn().unwrap();
    wait_until("windows", || written(folder.path()).1 > 30);
    let taken = run(&["savepoint", "--state", &state, "--to", &saved]);
    assert!(taken.code == Some(0) && taken.err.contains("is safe in"), "{taken:?}");
    assert!(first.try_wait().unwrap().is_none(), "the pipeline goes on");
    first.kill().unwrap();
    first.wait().unwrap();
    let other = folder.path().join("other").display().to_string();
    let ran = run(&["run", &query, "--state", &other, "--from", &saved, "--workers", "3"]);
    assert!(ran.code == Some(0) && ran.err.contains("going on from checkpoint"), "{ran:?}");
    assert_complete(&written(folder.path()).0);
    let again = run(&["run", &query, "--state", &other, "--from", &saved]);
    assert!(again.code == Some(3) && again.err.contains("has state already"), "{again:?}");
}

/// Two windows over one source, told apart by what they do and not by their order: one is edited, one is moved and one put
/// in front; the source and the window that is as it was go on.
#[test]
fn an_edited_query_keeps_the_state_of_what_is_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").display().to_string();
    let write = |name: &str, inserts: &[String]| {
        let tables = ["sums", "others", "more"].map(|table| {
            format!(
                "CREATE TABLE {table} (d BIGINT, starts TIMESTAMP_LTZ(3), numbers BIGINT, total BIGINT)
                 WITH ('connector' = 'filesystem', 'path' = '{}', 'sink.append' = 'true');\n",
                folder.path().join(format!("{table}.json")).display()
            )
        });
        let text = format!(
            "SET 'execution.checkpointing.interval' = '100 ms';
             CREATE TABLE numbers (n BIGINT, d AS MOD(n, 7), ts AS TO_TIMESTAMP_LTZ(n * 10, 3), WATERMARK FOR ts AS ts)
             WITH ('connector' = 'datagen', 'rows-per-second' = '10000', 'fields.n.kind' = 'sequence',
                   'fields.n.start' = '0', 'fields.n.end' = '{LAST}');
             {} BEGIN STATEMENT SET; {} END;",
            tables.concat(),
            inserts.concat()
        );
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let insert = |table: &str, of: &str, seconds: u32| {
        format!(
            "INSERT INTO {table} SELECT d, window_start, COUNT(*), SUM(n)
             FROM TABLE(TUMBLE(TABLE {of}, DESCRIPTOR(ts), INTERVAL '{seconds}' SECOND))
             GROUP BY d, window_start, window_end;\n"
        )
    };
    let before = write("before.sql", &[insert("others", "numbers", 7), insert("sums", "numbers", 5)]);
    let child = command(&["run", &before, "--state", &state, "--workers", "2"]).spawn().unwrap();
    wait_until("windows", || written(folder.path()).1 > 30);
    signal(&child, "TERM");
    assert_eq!(ended(child).code, Some(0));

    let edited = write(
        "after.sql",
        &[insert("more", "numbers", 3), insert("sums", "numbers", 5), insert("others", "numbers", 8)],
    );
    let refused = run(&["run", &edited, "--state", &state]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for part in ["TUMBLE(7 s)", "'numbers'", "fits", "--allow-dropped-state"] {
        assert!(refused.err.contains(part), "{part} in {refused:?}");
    }
    assert!(!refused.err.contains("TUMBLE(5 s)"), "{refused:?}");
    let ran = run(&["run", &edited, "--state", &state, "--allow-dropped-state", "--workers", "1"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // Every window of the one that is as it was, those that were open at the edit included.
    assert_complete(&written(folder.path()).0);
}
