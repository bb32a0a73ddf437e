//! Checkpoints away from the machine: it is lost, and another goes on from what was copied. To another disk, and to a real S3
//! server (s3s-fs, which scripts/test installs; ignored without being asked for).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::durable::{assert_complete, assert_complete_to, sql, sql_to, written};
use crate::receiver::Receiver;
use crate::relay::Relay;
use crate::support::{Ran, command, ended, file, free_address, metric, run, signal, wait_until};

const KEY: &str = "AKIAMILLSTREAM";
const SECRET: &str = "hunter2-and-more";
/// Copies come often in tests.
const OFTEN: [&str; 2] = ["--set", "execution.checkpointing.dir.interval=100 ms"];

/// The whole copies in a folder of copies, by name, the newest first.
fn copies(folder: &Path) -> Vec<String> {
    let folders = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let whole = folders.filter(|folder| folder.path().join("manifest").exists());
    let mut names: Vec<String> = whole.map(|folder| folder.file_name().into_string().unwrap()).collect();
    names.sort_by(|one, other| other.cmp(one));
    names
}

#[test]
fn a_machine_is_lost_and_another_goes_on_from_the_other_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (query, state) = (sql(folder.path(), "5"), folder.path().join("state").display().to_string());
    let there = folder.path().join("disk/gateway-7");
    std::fs::create_dir(folder.path().join("disk")).unwrap();
    let url = format!("file://{}", there.display());
    let arguments = [&["run", &query, "--state", &state, "--checkpoints", &url][..], &OFTEN].concat();
    let mut first = command(&arguments).spawn().unwrap();
    wait_until("windows and copies", || written(folder.path()).1 > 30 && copies(&there).len() >= 3);
    first.kill().unwrap();
    first.wait().unwrap();
    let lost = copies(&there);
    std::fs::remove_dir_all(&state).unwrap();
    // Not by itself: what is there is another's as long as nobody says that it is to be gone on from.
    let alone = folder.path().join("alone").display().to_string();
    let refused = run(&[
        &["run", &sql_to(folder.path(), "60", 1, "x.json"), "--state", &alone, "--checkpoints", &url][..],
        &OFTEN,
    ]
    .concat());
    assert!(refused.code == Some(0) && refused.err.contains("another pipeline's"), "{refused:?}");
    assert_eq!(copies(&there), lost);
    let arguments = [&arguments[..], &["--from", &url, "--workers", "3"]].concat();
    let ran = run(&arguments);
    assert!(ran.code == Some(0) && ran.err.contains("going on from checkpoint"), "{ran:?}");
    assert_complete(&written(folder.path()).0);
    // The last one is copied before it ends, and the lost machine's go.
    let kept = copies(&there);
    assert!(kept.len() == 3 && kept[0] > lost[0], "{kept:?} behind {lost:?}");
    let newest =
        std::fs::read_dir(&state).unwrap().flatten().map(|file| file.file_name().into_string().unwrap());
    assert_eq!(newest.filter(|name| name.starts_with("checkpoint-")).max().as_ref(), Some(&kept[0]));
}

/// What the lost machine had not delivered is in its outbox, which was copied with its checkpoints: the other one sends it, and what
/// came behind the copy is made anew.
#[test]
fn alerts_that_wait_on_a_lost_machine_are_sent_by_another() {
    const LAST: i64 = 3_000;
    let (folder, address) = (tempfile::tempdir().unwrap(), free_address());
    let sql = format!(
        "SET 'execution.checkpointing.interval' = '50 ms';
         CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '500',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{LAST}');
         CREATE TABLE alerts (n BIGINT) WITH ('connector' = 'webhook', 'url' = 'http://{address}/hook',
           'private-addresses' = 'allow', 'retry.backoff.max' = '200 ms');
         INSERT INTO alerts SELECT n FROM numbers;"
    );
    let (state, there) = (folder.path().join("state"), folder.path().join("gateway-7"));
    let (state_text, url) = (state.display().to_string(), format!("file://{}", there.display()));
    let arguments = [&["sql", &sql, "--state", &state_text, "--checkpoints", &url][..], &OFTEN].concat();
    let mut first = command(&arguments).spawn().unwrap();
    // A copy behind the first ones, so that rows wait in its outbox that no position of the source brings again.
    let mut seen = BTreeSet::new();
    wait_until("copies", || {
        seen.extend(copies(&there));
        seen.len() > 6
    });
    first.kill().unwrap();
    first.wait().unwrap();
    std::fs::remove_dir_all(&state).unwrap();
    let newest = there.join(&copies(&there)[0]).join("outbox-alerts-0");
    let waits: u64 =
        std::fs::read_dir(newest).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(waits > 1_000, "{waits} bytes wait");
    let receiver = Receiver::start_on(address);
    let ran = run(&[&arguments[..], &["--from", &url]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let arrived: BTreeSet<i64> = receiver.bodies().iter().map(|body| body["n"].as_i64().unwrap()).collect();
    assert!(arrived.iter().copied().eq(1..=LAST), "{} of {LAST}", arrived.len());
}

#[test]
fn urls_and_folders_that_cannot_be_are_refused_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state").display().to_string();
    for (url, part) in
        [("gs://bucket/x", "s3://BUCKET/FOLDER"), ("s3://key:hunter2@bucket", "AWS_ACCESS_KEY_ID")]
    {
        let ran = run(&["sql", "SELECT 1", "--state", &state, "--checkpoints", url]);
        assert!(ran.code == Some(3) && ran.err.contains(part) && !ran.err.contains("hunter2"), "{ran:?}");
    }
    let ran = run(&["sql", "SET 'execution.checkpointing.dir' = 's3://bucket/x'; SELECT 1"]);
    assert!(ran.code == Some(3) && ran.err.contains("--state FOLDER"), "{ran:?}");
    let from = format!("file://{}/nothing", folder.path().display());
    let ran = run(&["sql", "SELECT 1", "--state", &state, "--from", &from]);
    assert!(ran.code == Some(1) && ran.err.contains("no whole checkpoint"), "{ran:?}");
    // A disk that is away does not keep rows from coming.
    let away = format!("file://{}/not/mounted", folder.path().display());
    let ran = run(&["sql", "SELECT 1 AS one", "--state", &state, "--checkpoints", &away, "--format", "json"]);
    assert!(ran.code == Some(0) && ran.out.contains("{\"one\":1}"), "{ran:?}");
    assert!(
        ran.err.contains("mount the disk") && ran.err.contains("last checkpoint was not copied"),
        "{ran:?}"
    );
}

/// A server of a test's own, whose buckets are folders.
struct S3 {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl S3 {
    fn start(folder: PathBuf) -> Self {
        let program = std::env::var("MILLSTREAM_S3")
            .expect("set MILLSTREAM_S3 to the program s3s-fs, as scripts/test does");
        std::fs::create_dir_all(folder.join("fleet")).unwrap();
        let address = free_address();
        let child = Command::new(program)
            .args(["--access-key", KEY, "--secret-key", SECRET, "--host", "127.0.0.1", "--port"])
            .arg(address.port().to_string())
            .arg(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the S3 server", || std::net::TcpStream::connect(address).is_ok());
        Self { child, address, folder }
    }

    /// What is below a folder of the bucket.
    fn path(&self, prefix: &str) -> PathBuf {
        self.folder.join("fleet").join(prefix)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command, signed in at `address`.
fn at(address: SocketAddr, secret: &str, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    command
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_REGION", "eu-central-1")
        .env("AWS_ENDPOINT_URL", format!("http://{address}"))
        .env("AWS_ALLOW_HTTP", "true");
    command
}

fn ran_at(address: SocketAddr, arguments: &[&str]) -> Ran {
    ended(at(address, SECRET, arguments).spawn().unwrap())
}

/// Copies while the uplink comes and goes; then the machine is lost with its disk.
#[test]
#[ignore = "needs an S3 server; scripts/test runs it"]
fn s3_a_machine_is_lost_and_another_goes_on_from_the_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::start(folder.path().join("s3"));
    let (uplink, http) = (free_address(), free_address().to_string());
    let relay = Relay::start(uplink, s3.address);
    // Its end is said when the uplink has been away and back, however long that took.
    let to = "sums.json', 'sink.append' = 'true";
    let query = sql_to(folder.path(), "5", 1_000_000_000, to);
    let state = folder.path().join("state").display().to_string();
    let (url, there) = ("s3://fleet/site-1/gateway-7", s3.path("site-1/gateway-7"));
    let arguments =
        [&["run", &query, "--state", &state, "--checkpoints", url, "--http", &http][..], &OFTEN].concat();
    let mut first = at(uplink, SECRET, &arguments).spawn().unwrap();
    let copy = |name: &str| metric(&http, &format!("millstream_checkpoint_copy_{name}"), url).unwrap_or(0.0);
    let local = || metric(&http, "millstream_checkpoint_last", "pipeline").unwrap_or(0.0);
    wait_until("copies", || copies(&there).len() >= 3 && copy("last") > 0.0);
    assert!(
        copy("bytes") > 100.0 && copy("sent_bytes_total") >= copy("bytes") && copy("failures_total") == 0.0
    );
    relay.cut();
    let (at_cut, rows_at_cut) = (local(), written(folder.path()).1);
    wait_until("a copy to fail", || copy("failures_total") > 0.0);
    let copied = copy("last");
    assert!(local() > at_cut + 20.0, "checkpoints go on: {} behind {at_cut}", local());
    assert!(written(folder.path()).1 > rows_at_cut + 100, "rows go on");
    assert!(copied <= at_cut + 2.0 && copy("age_seconds") > 5.0, "{copied} {at_cut} {}", copy("age_seconds"));
    relay.mend();
    wait_until("copies again", || copy("last") > copied + 5.0);
    // Once more, so that what is said about the first has been said.
    let again = copy("last");
    wait_until("one more copy", || copy("last") > again);
    assert!(copy("age_seconds") < 60.0);
    first.kill().unwrap();
    let killed = ended(first);
    assert!(killed.err.contains("checkpoints are not copied") && killed.err.contains("again"), "{killed:?}");
    assert!(!killed.err.contains(SECRET));
    std::fs::remove_dir_all(&state).unwrap();
    let again = [&arguments[..], &["--from", url, "--workers", "3"]].concat();
    let second = at(uplink, SECRET, &again).spawn().unwrap();
    // Past all that the first wrote behind its last copy, which comes again.
    let of_first = written(folder.path()).0.len();
    wait_until("it to go on", || local() > 1e9 && written(folder.path()).0.len() > of_first);
    signal(&second, "TERM");
    let stopped = ended(second);
    assert!(stopped.code == Some(0) && stopped.err.contains("for another machine"), "{stopped:?}");
    // And another one from what that left, which is exact: no window of it is there twice.
    let (windows_before, lines_before) = written(folder.path());
    std::fs::remove_dir_all(&state).unwrap();
    let windows = windows_before.keys().map(|(_, start)| start).collect::<BTreeSet<_>>().len();
    let last = 500 * (i64::try_from(windows).unwrap() + 40);
    assert_eq!(sql_to(folder.path(), "5", last, to), query);
    let third = ran_at(s3.address, &again);
    assert!(third.code == Some(0) && third.err.contains("going on from checkpoint"), "{third:?}");
    let (all, lines) = written(folder.path());
    assert_complete_to(&all, last);
    let (new_windows, new_lines) = (all.len() - windows_before.len(), lines - lines_before);
    assert!(new_windows > 0 && new_lines == new_windows, "{new_lines} rows of {new_windows} windows");
}

#[test]
#[ignore = "needs an S3 server; scripts/test runs it"]
fn s3_what_the_store_refuses_is_said_and_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::start(folder.path().join("s3"));
    let (query, state) = (sql(folder.path(), "5"), folder.path().join("state").display().to_string());
    let url = "s3://fleet/gateway-7";
    let arguments = [&["run", &query, "--state", &state, "--checkpoints", url][..], &OFTEN].concat();
    let ran = ended(at(s3.address, "another secret", &arguments).spawn().unwrap());
    assert!(
        ran.code == Some(0)
            && ran.err.contains("AWS_SECRET_ACCESS_KEY")
            && !ran.err.contains("another secret"),
        "{ran:?}"
    );
    assert_complete(&written(folder.path()).0);
    let savepoint = |address, secret, to| {
        ended(at(address, secret, &["savepoint", "--state", &state, "--to", to]).spawn().unwrap())
    };
    let wrong = savepoint(s3.address, "another secret", "s3://fleet/saved");
    assert!(wrong.code == Some(3) && wrong.err.contains("AWS_SECRET_ACCESS_KEY"), "{wrong:?}");
    let missing = savepoint(s3.address, SECRET, "s3://no-such-bucket/saved");
    assert!(missing.code == Some(3) && missing.err.contains("make the bucket"), "{missing:?}");
    let away = savepoint(free_address(), SECRET, "s3://fleet/saved");
    assert!(away.code == Some(1) && away.err.contains("check the uplink"), "{away:?}");
    let good = savepoint(s3.address, SECRET, "s3://fleet/saved");
    assert!(good.code == Some(0) && good.err.contains("is safe in s3://fleet/saved"), "{good:?}");
    let taken = savepoint(s3.address, SECRET, "s3://fleet/saved");
    assert!(taken.code == Some(3) && taken.err.contains("not there yet"), "{taken:?}");
    // It has come to its end, so another machine has nothing to do.
    let other = folder.path().join("other").display().to_string();
    let lines = written(folder.path()).1;
    let begun = ran_at(s3.address, &["run", &query, "--state", &other, "--from", "s3://fleet/saved"]);
    assert!(begun.code == Some(0) && begun.err.contains("going on from checkpoint"), "{begun:?}");
    assert_eq!(written(folder.path()).1, lines);
}

#[test]
#[ignore = "needs an S3 server; scripts/test runs it"]
fn s3_a_damaged_copy_is_refused_and_the_one_before_is_begun_from() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::start(folder.path().join("s3"));
    let (query, state) = (sql(folder.path(), "5"), folder.path().join("state").display().to_string());
    let (url, there) = ("s3://fleet/gateway-7", s3.path("gateway-7"));
    let arguments = [&["run", &query, "--state", &state, "--checkpoints", url][..], &OFTEN].concat();
    let mut first = at(s3.address, SECRET, &arguments).spawn().unwrap();
    wait_until("windows and copies", || written(folder.path()).1 > 30 && copies(&there).len() >= 3);
    first.kill().unwrap();
    first.wait().unwrap();
    let kept = copies(&there);
    let object = there.join(&kept[0]).join(&kept[0]);
    let good = std::fs::read(&object).unwrap();
    let from = |from: &str, number: u32| {
        let state = folder.path().join(format!("other-{number}")).display().to_string();
        ran_at(s3.address, &["run", &query, "--state", &state, "--from", from])
    };
    let before = format!("{url}/{}", kept[1]);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (number, bad) in (0..).zip([good[..good.len() / 2].to_vec(), flipped]) {
        std::fs::write(&object, bad).unwrap();
        let refused = from(url, number);
        assert!(refused.code == Some(1) && refused.err.contains(&format!("--from {before}")), "{refused:?}");
    }
    // One whose copy was cut off is passed over, and it is said.
    std::fs::remove_file(there.join(&kept[0]).join("manifest")).unwrap();
    let passed = from(url, 2);
    assert!(passed.code == Some(0) && passed.err.contains("is not whole"), "{passed:?}");
    assert_complete(&written(folder.path()).0);
    assert_eq!(from(&before, 3).code, Some(0));
}

/// State of many parts goes to the bucket and comes back, of a pipeline that runs.
#[test]
#[ignore = "needs an S3 server; scripts/test runs it"]
fn s3_state_of_many_parts_goes_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::start(folder.path().join("s3"));
    let state = folder.path().join("state");
    let query = file(
        folder.path(),
        "many.sql",
        "SET 'execution.checkpointing.interval' = '300 ms'; SET 'table.exec.state.ttl' = '1 d';
             CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '400000', 'fields.n.kind' = 'sequence',
               'fields.n.start' = '1', 'fields.n.end' = '1000000');
             CREATE TABLE nothing (n BIGINT, c BIGINT, PRIMARY KEY (n) NOT ENFORCED) WITH ('connector' = 'blackhole');
             INSERT INTO nothing SELECT n, COUNT(*) FROM numbers GROUP BY n;",
    );
    let state_text = state.display().to_string();
    let mut first = command(&["run", &query, "--state", &state_text]).spawn().unwrap();
    let biggest = || {
        let files = std::fs::read_dir(&state).into_iter().flatten().flatten();
        let named = files.filter(|file| !file.file_name().to_string_lossy().ends_with("writing"));
        named.filter_map(|file| Some(file.metadata().ok()?.len())).max().unwrap_or(0)
    };
    wait_until("much state", || biggest() > 12 << 20 || first.try_wait().unwrap().is_some());
    let saved = ran_at(s3.address, &["savepoint", "--state", &state_text, "--to", "s3://fleet/much"]);
    assert!(saved.code == Some(0), "{saved:?}");
    let _ = first.kill();
    first.wait().unwrap();
    let other = folder.path().join("other").display().to_string();
    let begun = ran_at(s3.address, &["run", &query, "--state", &other, "--from", "s3://fleet/much"]);
    assert!(begun.code == Some(0) && begun.err.contains("going on from checkpoint"), "{begun:?}");
}
