//! Webhooks with state on disk: a receiver that is away, one that fails, and a process that is killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Child;
use std::sync::atomic::{AtomicU64, Ordering};

use millstream::engine::{Clock, SystemClock};

use crate::receiver::Receiver;
use crate::support::{command, ended, free_address, get, parts, run, signal, wait_until};

/// Starts a query with its state in `folder`.
fn start(sql: &str, folder: &Path, more: &[&str]) -> Child {
    let state = folder.join("state").display().to_string();
    command(&[&["sql", sql, "--state", &state], more].concat()).spawn().unwrap()
}

/// Alerts that the receiver will not have.
fn is_refused(n: i64) -> bool {
    n % 50 == 7
}

fn number(body: &str) -> i64 {
    serde_json::from_str::<serde_json::Value>(body).unwrap()["n"].as_i64().unwrap()
}

/// Three attempts in ten fail; what is refused is refused for good.
fn answer(body: &str) -> &'static str {
    static ATTEMPTS: AtomicU64 = AtomicU64::new(1);
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let mixed =
        attempt.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    match () {
        () if (mixed >> 32) % 10 < 3 => "503 Service Unavailable",
        () if is_refused(number(body)) => "422 Unprocessable Content",
        () => "204 No Content",
    }
}

#[test]
fn killed_with_a_receiver_that_fails_every_alert_arrives_with_one_id_and_the_dead_letters_are_exact() {
    const LAST: i64 = 4_000;
    let (folder, receiver) = (tempfile::tempdir().unwrap(), Receiver::answering(answer));
    let dead = folder.path().join("dead");
    let sql = format!(
        "SET 'execution.checkpointing.interval' = '200 ms';
         CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '2000',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{LAST}');
         CREATE TABLE dead (payload STRING, error STRING)
         WITH ('connector' = 'filesystem', 'path' = '{}/', 'format' = 'json');
         CREATE TABLE alerts (n BIGINT, device BIGINT) WITH ('connector' = 'webhook', 'url' = '{}',
           'private-addresses' = 'allow', 'key' = 'device', 'retry.backoff.initial' = '5 ms',
           'retry.backoff.max' = '20 ms', 'retry.max-attempts' = '60', 'dead-letter' = 'dead');
         INSERT INTO alerts SELECT n, MOD(n, 40) FROM numbers;",
        dead.display(),
        receiver.url
    );
    let received = || receiver.count();
    // The first is killed before it can have made a checkpoint, or soon after.
    for more in [20, 600, 1_200, 900] {
        let (before, mut child) = (received(), start(&sql, folder.path(), &[]));
        wait_until("more requests", || received() > before + more || child.try_wait().unwrap().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let ran = ended(start(&sql, folder.path(), &[]));
    assert!(ran.code == Some(0), "{ran:?}");
    let (mut ids, mut arrived) = (BTreeMap::<i64, BTreeSet<String>>::new(), BTreeSet::new());
    let mut newest = BTreeMap::<i64, i64>::new();
    for request in receiver.requests() {
        let n = number(&request.body);
        ids.entry(n).or_default().insert(request.headers["webhook-id"].clone());
        if request.answer.is_taken() && arrived.insert(n) {
            let before = newest.insert(n % 40, n);
            assert!(before.is_none_or(|before| before < n), "{n} came behind {before:?}");
        }
    }
    assert!(ids.values().all(|ids| ids.len() == 1), "an alert has several ids");
    assert_eq!(ids.values().flatten().collect::<BTreeSet<_>>().len(), ids.len(), "alerts share an id");
    assert_eq!(arrived, (1..=LAST).filter(|n| !is_refused(*n)).collect());
    let mut letters: Vec<i64> =
        parts(&dead).iter().map(|line| number(line["payload"].as_str().unwrap())).collect();
    letters.sort_unstable();
    assert_eq!(letters, (1..=LAST).filter(|n| is_refused(*n)).collect::<Vec<_>>());
}

#[test]
fn a_receiver_that_is_away_holds_up_nothing_and_gets_everything_in_order_when_it_is_back() {
    const LAST: i64 = 3_000;
    let (folder, address, http) = (tempfile::tempdir().unwrap(), free_address(), free_address().to_string());
    let file = folder.path().join("all.json");
    let sql = format!(
        "SET 'execution.checkpointing.interval' = '100 ms';
         CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '3000',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{LAST}');
         CREATE TABLE kept (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         CREATE TABLE alerts (n BIGINT, device BIGINT) WITH ('connector' = 'webhook', 'url' = 'http://{address}/hook',
           'private-addresses' = 'allow', 'key' = 'device', 'retry.backoff.max' = '200 ms', 'retry.max-attempts' = '2');
         INSERT INTO kept SELECT n FROM numbers;
         INSERT INTO alerts SELECT n, MOD(n, 10) FROM numbers;",
        file.display(),
    );
    let written = || std::fs::read_to_string(&file).unwrap_or_default().lines().count();
    let mut child = start(&sql, folder.path(), &[]);
    wait_until("rows of the other sink", || written() > 1_000);
    child.kill().unwrap();
    child.wait().unwrap();
    let child = start(&sql, folder.path(), &["--http", &http]);
    let metric = |name: &str| {
        let (_, text) = get(&http, "/metrics")?;
        let line = text.lines().find(|line| line.starts_with(name) && line.contains("alerts"))?.to_owned();
        line.rsplit(' ').next()?.parse::<f64>().ok()
    };
    wait_until("all rows of the other sink", || written() == LAST as usize);
    wait_until("all alerts to wait", || metric("millstream_outbox_depth") == Some(LAST as f64));
    assert!(metric("millstream_outbox_bytes").unwrap() > 100_000.0);
    assert!(metric("millstream_outbox_oldest_seconds").unwrap() > 0.0);
    let receiver = Receiver::start_on(address);
    let ran = ended(child);
    assert!(ran.code == Some(0) && !ran.err.contains("dead letter"), "{ran:?}");
    let mut newest = BTreeMap::<i64, i64>::new();
    let mut arrived = BTreeSet::new();
    for request in receiver.requests() {
        let n = number(&request.body);
        if arrived.insert(n) {
            let before = newest.insert(n % 10, n);
            assert!(before.is_none_or(|before| before < n), "{n} came behind {before:?}");
        }
    }
    assert_eq!(arrived, (1..=LAST).collect());
    assert_eq!(written(), LAST as usize);
}

/// Stopped in an outage, it ends at once, and the next run sends what waits.
#[test]
fn stopped_while_the_receiver_is_away_the_next_run_sends_what_waits() {
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let sql = format!(
        "CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '500',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '100000000');
         CREATE TABLE alerts (n BIGINT) WITH ('connector' = 'webhook', 'url' = 'http://{address}/hook',
           'private-addresses' = 'allow', 'retry.backoff.max' = '200 ms', 'outbox.order' = 'live-first');
         INSERT INTO alerts SELECT n FROM numbers;"
    );
    let child = start(&sql, folder.path(), &[]);
    let outbox = folder.path().join("state/outbox-alerts-0");
    let bytes = || {
        let files = std::fs::read_dir(&outbox).into_iter().flatten().flatten();
        files.map(|file| file.metadata().map_or(0, |data| data.len())).sum::<u64>()
    };
    wait_until("requests to wait", || bytes() > 20_000);
    signal(&child, "TERM");
    let ran = ended(child);
    assert!(ran.code == Some(0) && ran.err.contains("the next run goes on from checkpoint"), "{ran:?}");
    let receiver = Receiver::start_on(address);
    let child = start(&sql, folder.path(), &[]);
    let arrived =
        || -> BTreeSet<i64> { receiver.requests().iter().map(|request| number(&request.body)).collect() };
    wait_until("what waited, and more", || {
        receiver.count() > 200 && (1..=200).all(|n| arrived().contains(&n))
    });
    signal(&child, "TERM");
    assert_eq!(ended(child).code, Some(0));
}

/// Killed in an outage: what waits is listed, row by row, and taken away; the next run sends what comes behind it.
#[test]
fn what_waits_is_listed_and_taken_away_while_no_pipeline_runs() {
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let sql = format!(
        "SET 'execution.checkpointing.interval' = '50 ms';
         CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '500',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '100000000');
         CREATE TABLE alerts (n BIGINT) WITH ('connector' = 'webhook', 'url' = 'http://{address}/hook',
           'private-addresses' = 'allow', 'retry.backoff.max' = '200 ms');
         INSERT INTO alerts SELECT n FROM numbers;"
    );
    let state = folder.path().join("state").display().to_string();
    let outbox = |arguments: &[&str]| run(&[&["outbox"], arguments, &["--state", &state]].concat());
    let ran = outbox(&["list"]);
    assert!(ran.code == Some(3) && ran.err.contains("is no state folder"), "{ran:?}");
    let mut child = start(&sql, folder.path(), &[]);
    let checkpoints = || {
        let names = std::fs::read_dir(&state).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter_map(|name| name.strip_prefix("checkpoint-")?.parse::<u64>().ok()).max().unwrap_or(0)
    };
    wait_until("some checkpoints", || checkpoints() > 10);
    let ran = outbox(&["list"]);
    assert!(ran.code == Some(1) && ran.err.contains("a pipeline runs with the state folder"), "{ran:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = outbox(&["list", "alerts"]);
    let line = &ran.rows()[0];
    let waiting = line["waiting"].as_i64().unwrap();
    assert!(
        waiting > 100 && line["oldest_seconds"].as_i64().is_some() && line["table"] == "alerts",
        "{ran:?}"
    );
    let requests = outbox(&["list", "--rows"]).rows();
    let listed: Vec<i64> = requests.iter().map(|request| request["rows"][0]["n"].as_i64().unwrap()).collect();
    assert_eq!(listed, (1..=waiting).collect::<Vec<_>>());
    assert!(requests.iter().all(|request| request["title"].as_str().unwrap().starts_with("msg_")));
    let ran = outbox(&["list", "alert"]);
    assert!(ran.code == Some(2) && ran.err.contains("did you mean 'alerts'?"), "{ran:?}");
    let ran = outbox(&["purge"]);
    assert!(ran.code == Some(2) && ran.err.contains("--yes"), "{ran:?}");
    assert_eq!(outbox(&["list"]).rows()[0]["waiting"], waiting);
    let ran = outbox(&["purge", "--yes"]);
    assert!(ran.code == Some(0) && ran.err.contains("were taken away"), "{ran:?}");
    let ran = outbox(&["purge", "--yes"]);
    assert!(ran.code == Some(0) && ran.err.contains("nothing waits"), "{ran:?}");
    let receiver = Receiver::start_on(address);
    let child = start(&sql, folder.path(), &[]);
    wait_until("what comes now", || receiver.count() > 300);
    signal(&child, "TERM");
    assert_eq!(ended(child).code, Some(0));
    let arrived: BTreeSet<i64> = receiver.requests().iter().map(|request| number(&request.body)).collect();
    let first = *arrived.first().unwrap();
    assert_eq!(
        first,
        waiting + 1,
        "of what was taken away nothing is sent, of what was behind it everything"
    );
    assert!((first..first + 300).all(|n| arrived.contains(&n)));
}

/// How fast an outage's backlog goes out, and in how much memory: 1,000 rows a second for OUTAGE_SECONDS.
#[test]
#[ignore = "takes a minute, and says how fast the machine is"]
fn a_backlog_drains_at_least_five_times_faster_than_it_grew() {
    let seconds: u64 = std::env::var("OUTAGE_SECONDS").map_or(60, |seconds| seconds.parse().unwrap());
    let last = seconds * 1_000;
    let (folder, address, http) = (tempfile::tempdir().unwrap(), free_address(), free_address().to_string());
    let sql = format!(
        "SET 'execution.checkpointing.interval' = '1 s';
         CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '1000',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{last}');
         CREATE TABLE alerts (n BIGINT, device BIGINT) WITH ('connector' = 'webhook', 'url' = 'http://{address}/hook',
           'private-addresses' = 'allow', 'key' = 'device', 'max-in-flight' = '32', 'retry.backoff.max' = '1 s',
           'outbox.max-bytes' = '1 gb');
         INSERT INTO alerts SELECT n, MOD(n, 1000) FROM numbers;"
    );
    let mut child = start(&sql, folder.path(), &["--http", &http]);
    let depth = || {
        let (_, text) = get(&http, "/metrics")?;
        let line = text.lines().find(|line| line.starts_with("millstream_outbox_depth{"))?.to_owned();
        line.rsplit(' ').next()?.parse::<u64>().ok()
    };
    let process = format!("/proc/{}/status", child.id());
    let resident_kb = || -> u64 {
        let status = std::fs::read_to_string(&process).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    std::thread::sleep(std::time::Duration::from_secs(5));
    let mut resident = vec![resident_kb()];
    while depth() != Some(last) {
        assert!(child.try_wait().unwrap().is_none(), "{:?}", ended(child));
        std::thread::sleep(std::time::Duration::from_millis(500));
        resident.push(resident_kb());
    }
    let receiver = Receiver::start_on(address);
    let clock = SystemClock::default();
    let began_ns = clock.monotonic_ns();
    while receiver.count() < last as usize {
        assert!(child.try_wait().unwrap().is_none(), "it ended with {} of {last}", receiver.count());
        std::thread::sleep(std::time::Duration::from_millis(100));
        resident.push(resident_kb());
    }
    let drained = (clock.monotonic_ns() - began_ns) as f64 / 1e9;
    assert_eq!(ended(child).code, Some(0));
    let mut newest = BTreeMap::<i64, i64>::new();
    for n in receiver.requests().iter().map(|request| number(&request.body)) {
        let before = newest.insert(n % 1_000, n);
        assert!(before.is_none_or(|before| before < n), "{n} came behind {before:?}");
    }
    assert_eq!(receiver.count(), last as usize);
    let (first_kb, most_kb) = (resident[0], resident.iter().max().unwrap());
    eprintln!(
        "{last} requests of {seconds} s went out in {drained:.1} s: {:.1} times faster than they came; \
         RSS {first_kb} kB after 5 s, at most {most_kb} kB",
        seconds as f64 / drained
    );
    assert!(drained * 5.0 < seconds as f64, "{drained}");
    assert!(*most_kb < first_kb + 65_536, "{first_kb} {most_kb}");
}
