//! Whole pipelines into a real PostgreSQL. Ignored without being asked for; scripts/test installs it, and asks.

use crate::support::{command, ended, file};

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
