//! Whole pipelines into a real PostgreSQL, and lookups in one. Ignored without being asked for; scripts/test installs it, and asks.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{command, ended, file, lines, wait_until};

#[path = "../../connectors/tests/postgres/server.rs"]
mod server;

use server::Server;

#[test]
#[ignore = "needs PostgreSQL; scripts/test runs it"]
fn inventory_keeps_the_last_word_on_an_item_and_hour() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    server.ask(
        "CREATE TABLE hourly_moves (item text, hour timestamp, moved bigint, scans bigint, PRIMARY KEY (item, hour))",
    );
    // What was known before is written over.
    server.ask("INSERT INTO hourly_moves VALUES ('screws M6', '2026-01-01 08:00', 1, 1)");
    file(
        folder.path(),
        "aisle-3.csv",
        "2026-01-01 08:00:12,aisle-3,screws M6,-40\n2026-01-01 08:10:00,aisle-3,nuts M6,300\nnot a scan at all\n\
         2026-01-01 08:30:00,aisle-3,screws M6,-80\n2026-01-01 09:00:00,aisle-3,nuts M6,-20\n",
    );
    let path = format!("{}/examples/inventory.sql", env!("CARGO_MANIFEST_DIR"));
    let child = command(&["run", &path])
        .env("INVENTORY_DIR", folder.path())
        .env("DATA_DIR", folder.path())
        .env("SCAN_MODE", "once")
        .env("POSTGRES_URL", format!("postgresql://postgres:hunter2@127.0.0.1:{}/postgres", server.port))
        .spawn()
        .unwrap();
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let moves = server.ask("SELECT item, hour, moved, scans FROM hourly_moves ORDER BY item, hour");
    assert_eq!(
        moves.trim(),
        "nuts M6|2026-01-01 08:00:00|300|1\nnuts M6|2026-01-01 09:00:00|-20|1\nscrews M6|2026-01-01 08:00:00|-120|2"
    );
    // What nobody brings any more.
    let rows = ran.rows();
    assert_eq!((rows.len(), &rows[0]["item"], &rows[0]["moved"]), (1, &"screws M6".into(), &(-120).into()));
    let unreadable = std::fs::read_to_string(folder.path().join("unreadable.json")).unwrap();
    assert!(unreadable.contains("not a scan at all") && unreadable.lines().count() == 1, "{unreadable}");
}

#[test]
#[ignore = "needs PostgreSQL; scripts/test runs it"]
fn rows_are_looked_up_in_a_table() {
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    server.ask("CREATE TYPE state AS ENUM ('on', 'off')");
    server.ask(
        "CREATE TABLE devices (id bigint, site text, state state, at timestamp, seen timestamptz, price numeric(10, 2), \
         raw bytea, ok boolean)",
    );
    server.ask(
        "INSERT INTO devices VALUES (1, 'cellar', 'on', '2026-01-01 08:00:00.25', '2026-01-01 08:00+01', 1.50, '\\x00ff', true), \
         (2, 'roof', NULL, NULL, NULL, NULL, NULL, NULL), (2, 'roof \"two\"', 'off', NULL, NULL, -0.05, NULL, false)",
    );
    // More rows than keys of one statement, of which few are there.
    let rows: String = (1..=3_000).map(|n| format!("{{\"id\":{n},\"n\":{n}}}\n")).collect();
    let input = file(folder.path(), "in.json", rows + "{\"id\":null,\"n\":0}\n{\"id\":1,\"n\":3001}\n");
    let sql = format!(
        "CREATE TABLE r (id BIGINT, n INT, p AS PROCTIME()) WITH ('connector' = 'filesystem', 'path' = '{input}', 'format' = 'json');
         CREATE TABLE devices (id BIGINT, site STRING, state STRING, at TIMESTAMP(3), seen TIMESTAMP_LTZ(3), price DECIMAL(10, 2),
             raw BYTES, ok BOOLEAN)
         WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://127.0.0.1:{}/postgres', 'username' = 'postgres',
             'password' = 'hunter2', 'table-name' = 'devices', 'lookup.cache' = 'PARTIAL');
         SELECT r.n, d.* FROM r LEFT JOIN devices FOR SYSTEM_TIME AS OF r.p AS d ON r.id = d.id AND (d.ok OR d.id = 2);",
        server.port
    );
    let ran = ended(command(&["sql", &sql]).spawn().unwrap());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let rows = ran.rows();
    assert_eq!(rows.len(), 3_003);
    let of = |n: i64| rows.iter().filter(|row| row["n"] == n).cloned().collect::<Vec<_>>();
    let first = serde_json::json!({
        "n": 1, "id": 1, "site": "cellar", "state": "on", "at": "2026-01-01T08:00:00.25", "seen": "2026-01-01T07:00:00Z",
        "price": 1.5, "raw": "00ff", "ok": true,
    });
    assert_eq!(of(1), std::slice::from_ref(&first));
    assert_eq!(of(3_001)[0]["site"], first["site"]);
    let mut sites: Vec<_> = of(2).iter().map(|row| row["site"].as_str().unwrap().to_owned()).collect();
    sites.sort();
    assert_eq!(sites, ["roof", "roof \"two\""]);
    assert!(of(0)[0]["site"].is_null() && of(2_500)[0]["id"].is_null());
}

#[test]
#[ignore = "needs PostgreSQL; scripts/test runs it"]
fn killed_while_the_server_comes_and_goes_every_row_arrives_in_order() {
    const LAST: i64 = 6_000;
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    server.ask("CREATE TABLE out (seq bigserial, device bigint, n bigint)");
    server.ask("CREATE TABLE newest (device bigint PRIMARY KEY, n bigint)");
    let (kept, state) = (folder.path().join("kept.json"), folder.path().join("state").display().to_string());
    let url = format!("'url' = 'postgresql://postgres:hunter2@127.0.0.1:{}/postgres'", server.port);
    let sql = format!(
        "SET 'execution.checkpointing.interval' = '100 ms';
         CREATE TABLE numbers (n BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '800',
           'fields.n.kind' = 'sequence', 'fields.n.start' = '1', 'fields.n.end' = '{LAST}');
         CREATE TABLE kept (n BIGINT) WITH ('connector' = 'filesystem', 'path' = '{}', 'format' = 'json');
         CREATE TABLE out (device BIGINT, n BIGINT)
         WITH ('connector' = 'postgres', {url}, 'table-name' = 'out', 'reconnect.backoff.max' = '200 ms');
         CREATE TABLE newest (device BIGINT, n BIGINT, PRIMARY KEY (device) NOT ENFORCED)
         WITH ('connector' = 'postgres', {url}, 'table-name' = 'newest', 'reconnect.backoff.max' = '200 ms');
         INSERT INTO kept SELECT n FROM numbers;
         INSERT INTO out SELECT MOD(n, 10), n FROM numbers;
         INSERT INTO newest SELECT MOD(n, 10), n FROM numbers;",
        kept.display()
    );
    let start = || command(&["sql", &sql, "--state", &state]).spawn().unwrap();
    for round in 1..=3 {
        let (before, mut child) = (lines(&kept), start());
        wait_until("more rows", || lines(&kept) > before + 200 || child.try_wait().unwrap().is_some());
        // Away when it is killed, back before or after the next start; the rows of the other sink go on.
        server.stop();
        let before = lines(&kept);
        wait_until("more rows", || lines(&kept) > before + 300 || child.try_wait().unwrap().is_some());
        if round == 2 {
            server.start_again();
        }
        let _ = child.kill();
        child.wait().unwrap();
        if round != 2 {
            server.start_again();
        }
    }
    let ran = ended(start());
    assert!(ran.code == Some(0) && !ran.err.contains("dead letter"), "{ran:?}");
    let (mut seen, mut newest) = (BTreeSet::new(), BTreeMap::<i64, i64>::new());
    for n in server.ask("SELECT n FROM out ORDER BY seq").lines().map(|n| n.parse::<i64>().unwrap()) {
        if seen.insert(n) {
            let before = newest.insert(n % 10, n);
            assert!(before.is_none_or(|before| before < n), "{n} came behind {before:?}");
        }
    }
    assert_eq!(seen, (1..=LAST).collect());
    assert_eq!(lines(&kept), LAST as usize);
    let last = server.ask("SELECT n FROM newest ORDER BY n");
    let expected: Vec<String> = (LAST - 9..=LAST).map(|n| n.to_string()).collect();
    assert_eq!(last, expected.join("\n"));
}
