//! From exec to the first row, and what waiting costs.
//!
//! `cargo bench --bench startup -- --rounds 21`
//!
//! Runs the binary as a user does. `values` ends by itself and is timed to its first line of output; `idle` follows an
//! empty file for `--seconds` (5) and reads the process's processor time and memory from /proc.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{cpu_seconds, flag, median, seconds, wanted};

fn main() {
    if wanted("values") {
        let query = "SELECT name, n * 2 AS twice FROM (VALUES ('a', 1), ('b', 2)) AS t(name, n)";
        let rounds = flag("rounds", 21_usize).max(1);
        let times: Vec<f64> = (0..rounds).map(|_| first_row(&["sql", "--format", "json", query])).collect();
        let slowest = times.iter().copied().fold(0.0, f64::max);
        println!(
            "values      exec to first row {:>6.1} ms (slowest of {rounds}: {:.1} ms)",
            median(times) * 1e3,
            slowest * 1e3
        );
    }
    if wanted("idle") && cfg!(target_os = "linux") {
        idle();
    }
}

fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

fn first_row(arguments: &[&str]) -> f64 {
    let mut line = String::new();
    let mut child = None;
    let time = seconds(|| {
        let mut started = start(arguments);
        let mut output = BufReader::new(started.stdout.take().expect("output is piped"));
        output.read_line(&mut line).expect("output is text");
        child = Some((started, output));
    });
    assert_eq!(line.trim_end(), r#"{"name":"a","twice":2}"#);
    if let Some((mut child, mut output)) = child {
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("output is text");
        assert_eq!(rest.lines().count(), 1, "two rows in all");
        assert!(child.wait().expect("it ends").success());
    }
    time
}

fn idle() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let query = format!(
        "CREATE TABLE t (n INT) WITH ('connector' = 'filesystem', 'path' = '{}', 'scan.mode' = 'follow');
         SELECT n FROM t",
        file.path().display()
    );
    let mut child = start(&["sql", &query]);
    let length: u64 = flag("seconds", 5);
    std::thread::sleep(Duration::from_secs(1));
    let pid = child.id().to_string();
    let before = cpu_seconds(&pid);
    std::thread::sleep(Duration::from_secs(length));
    let busy = cpu_seconds(&pid) - before;
    let resident_kb = status_kb(&pid, "VmRSS:");
    child.kill().expect("it runs still");
    child.wait().expect("it ends");
    println!(
        "idle        {:.2} % of a core, {:.1} MB resident",
        busy * 100.0 / length as f64,
        resident_kb as f64 / 1024.0
    );
}

fn status_kb(pid: &str, key: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}
