use std::sync::Arc;

use super::log::{CommitError, Limits, Log};
use super::*;
use crate::clock::SystemClock;
use crate::disk::simulated::{Random, SimulatedDisk};

const SMALL: Limits = Limits { bytes_max: 1 << 20, segment_bytes: 400, records_kept: 0 };

fn frames(numbers: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut frames = Vec::new();
    numbers.for_each(|number| segment::push(&mut frames, number, &[b"payload of ", &payload(number)]));
    frames
}

/// Of any length, and any bytes.
fn payload(number: u64) -> Vec<u8> {
    let mut random = Random(number);
    (0..random.below(60)).map(|_| random.number() as u8).collect()
}

fn all(log: &Log, behind: u64) -> Vec<(u64, Vec<u8>)> {
    let record = |(number, payload): (u64, bytes::Bytes)| {
        (number, payload.strip_prefix(b"payload of ").unwrap().to_vec())
    };
    log.replay(behind).map(|found| record(found.unwrap())).collect()
}

fn expected(numbers: impl Iterator<Item = u64>) -> Vec<(u64, Vec<u8>)> {
    numbers.map(|number| (number, payload(number))).collect()
}

#[test]
fn what_is_safe_is_replayed_and_what_is_released_is_gone() {
    let disk = SimulatedDisk::default();
    let mut log = Log::open(Arc::new(disk.clone()), SMALL).unwrap();
    for n in 0..20 {
        log.commit(&mut frames(n * 5 + 1..n * 5 + 6), n * 5 + 5, 7).unwrap();
    }
    let before = log.bytes();
    assert!(log.release(60).unwrap() && log.bytes() < before);
    drop(log);
    let log = Log::open(Arc::new(disk.clone()), SMALL).unwrap();
    assert_eq!((all(&log, 60), log.last(), log.damaged()), (expected(61..101), 100, 0));
}

#[test]
fn the_last_records_stay_in_a_quarter_of_the_room() {
    for (bytes_max, oldest) in [(1 << 20, 51..=71), (4_000, 75..=96)] {
        let limits = Limits { bytes_max, records_kept: 30, ..SMALL };
        let mut log = Log::open(Arc::new(SimulatedDisk::default()), limits).unwrap();
        for n in 0..20 {
            log.commit(&mut frames(n * 5 + 1..n * 5 + 6), n * 5 + 5, 7).unwrap();
        }
        log.release(100).unwrap();
        let mut replay = log.replay(0);
        let first = replay.next_until(100).unwrap().unwrap().0;
        assert!(oldest.contains(&first), "{first}");
        assert_eq!(replay.next_until(first).unwrap(), None);
        assert_eq!(replay.next_until(first + 1).unwrap().map(|(number, _)| number), Some(first + 1));
    }
}

#[test]
fn a_full_disk_changes_nothing_and_a_failed_sync_ends_it() {
    let disk = SimulatedDisk::default();
    let mut log = Log::open(Arc::new(disk.clone()), SMALL).unwrap();
    for room in [0, 10, 30, 60] {
        disk.set_room(Some(room));
        assert!(matches!(log.commit(&mut frames(1..9), 8, 7), Err(CommitError::NoRoom(_))));
    }
    disk.set_room(None);
    log.commit(&mut frames(1..9), 8, 7).unwrap();
    disk.set_room(Some(20));
    assert!(matches!(log.commit(&mut frames(9..12), 11, 7), Err(CommitError::NoRoom(_))));
    disk.set_room(None);
    log.commit(&mut frames(9..12), 11, 7).unwrap();
    let log = Log::open(Arc::new(disk.clone()), SMALL).unwrap();
    assert_eq!((all(&log, 0), log.damaged()), (expected(1..12), 0));
    let mut log = log;
    disk.fail_sync_in(0);
    assert!(matches!(log.commit(&mut frames(12..13), 12, 7), Err(CommitError::Broken(_))));
}

/// Every bit of a journal of three segments flipped: each record that is still given is as it was written, at most one
/// is missing, and the loss of one that has others behind it is counted. What is missing at the very end cannot be told
/// from what a power cut left.
#[test]
fn no_bit_changes_unseen() {
    let whole = SimulatedDisk::default();
    let mut log = Log::open(Arc::new(whole.clone()), SMALL).unwrap();
    for n in 1..25 {
        log.commit(&mut frames(n..n + 1), n, 7).unwrap();
    }
    let whole_rows = expected(1..25);
    let mut random = Random(1);
    for name in whole.names().unwrap() {
        for byte in 0..whole.read(&name).unwrap().len() {
            let disk = whole.cut_power(&mut random);
            disk.flip(&name, byte, (byte % 8) as u8);
            let log = match Log::open(Arc::new(disk.clone()), SMALL) {
                Ok(log) => log,
                Err(error) => panic!("byte {byte} of {name}: {error}"),
            };
            let rows = all(&log, 0);
            assert!(rows.iter().all(|row| whole_rows.contains(row)), "byte {byte} of {name}");
            let missing = whole_rows.len() - rows.len();
            let is_head = byte < segment::HEAD_BYTES;
            let is_end = rows.last() != whole_rows.last();
            assert!(missing == 1 || is_head, "byte {byte} of {name}: {missing} missing");
            assert!(log.damaged() == 1 || (is_end && !is_head), "byte {byte} of {name}: not counted");
            // And it is found so once: the second opening has nothing to mend.
            let again = Log::open(Arc::new(disk), SMALL).unwrap();
            assert_eq!((all(&again, 0), again.damaged()), (rows, 0), "byte {byte} of {name}");
        }
    }
}

/// Random lives of a journal: appended to, released, its disk full, its syncs failing, its process killed, its power cut,
/// again and again.
/// What was said to be safe is there after each cut, as it was written and in order, and nothing that never was.
#[test]
fn power_cuts_lose_nothing_that_was_safe() {
    let seeds = std::env::var("SIMULATION_SEEDS").map_or(2_000, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let mut random = Random(seed);
        let mut disk = SimulatedDisk::default();
        // Numbers that are safe; up to which they were released; the last that was given.
        let (mut safe, mut released, mut given) = (Vec::<u64>::new(), 0, 0_u64);
        for _ in 0..4 {
            let mut log = Log::open(Arc::new(disk.clone()), SMALL)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let rows = all(&log, released);
            assert_eq!(log.damaged(), 0, "seed {seed}");
            // Those that were not safe may be there or not.
            let there: Vec<u64> = rows.iter().map(|(number, _)| *number).collect();
            assert!(there.is_sorted() && there.iter().all(|number| *number <= given), "seed {seed}");
            let missing = safe.iter().find(|number| **number > released && !there.contains(number));
            assert_eq!(missing, None, "seed {seed}");
            assert!(rows.iter().all(|(number, bytes)| *bytes == payload(*number)), "seed {seed}");
            (given, safe) = (log.last().max(released), there);
            for _ in 0..random.below(30) {
                match random.below(12) {
                    0 => {
                        released += random.below(given - released + 1);
                        log.release(released).unwrap();
                    }
                    1 => disk.set_room(Some(random.below(300) as usize)),
                    2 => disk.set_room(None),
                    3 if random.one_in(3) => disk.fail_sync_in(random.below(4)),
                    _ => {
                        let last = given + 1 + random.below(4);
                        match log.commit(&mut frames(given + 1..last + 1), last, random.number() as u32) {
                            Ok(()) => {
                                safe.extend(given + 1..last + 1);
                                given = last;
                            }
                            Err(CommitError::NoRoom(_)) => {}
                            // Written or not, nobody knows.
                            Err(CommitError::Broken(_)) => {
                                given = last;
                                break;
                            }
                        }
                    }
                }
            }
            disk = disk.restart(&mut random);
        }
    }
}

#[test]
fn records_become_safe_and_ring_and_their_room_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let open = |counted| {
        let (limits, clock) =
            (Limits { bytes_max: 2_000, segment_bytes: 500, records_kept: 0 }, SystemClock::default());
        let mut journal = Journal::open(folder.path(), limits, Arc::default(), Arc::new(clock)).unwrap();
        // A checkpoint may count more than the journal has: no number is given twice.
        journal.go_on_behind(counted, counted);
        assert!(journal.last() >= counted);
        journal
    };
    let mut journal = open(0);
    assert!(journal.replay().unwrap().next().is_none() && journal.replay().is_none());
    let mut last = 0;
    while journal.has_room() {
        last = journal.appending().push(&[b"device/1", &[0; 40]]);
        while journal.safe().unwrap() < last {
            std::thread::yield_now();
        }
    }
    let metrics = OperatorMetrics::new("source", "memory", 0);
    journal.report(&metrics);
    let [bytes, syncs] =
        [&metrics.journal_bytes, &metrics.journal_syncs].map(|of| of.load(Ordering::Relaxed));
    assert!(bytes >= 2_000 && syncs >= 1 && last > 20);
    journal.release(last);
    while !journal.has_room() {
        std::thread::yield_now();
    }
    let more = journal.appending().push(&[b"one more"]);
    // Dropped with a record that waits: it is written all the same.
    drop(journal);
    let mut replay = open(last).replay().unwrap().behind(last);
    assert_eq!(replay.next().unwrap().unwrap(), (more, bytes::Bytes::from_static(b"one more")));
    assert!(replay.next().is_none());
}

#[test]
fn a_journals_folder_has_a_name_that_any_disk_takes() {
    let folder = folder(Path::new("/state"), "journal", "plant/1 .ä", 2);
    assert_eq!(folder, Path::new("/state/journal-plant%2f1%20%2e%c3%a4-2"));
}

/// However small the limit: what is released makes room, a commit that is larger than everything included.
#[test]
fn a_journal_with_little_room_goes_on_when_all_of_it_is_released() {
    for bytes_max in [1, 100, 4_096, 100_000] {
        let limits = Limits { bytes_max, segment_bytes: bytes_max / SEGMENTS, records_kept: 0 };
        let mut log = Log::open(Arc::new(SimulatedDisk::default()), limits).unwrap();
        for round in 0..3 {
            let (first, last) = (round * 2_000 + 1, round * 2_000 + 2_000);
            log.commit(&mut frames(first..last + 1), last, 7).unwrap();
            assert!(log.bytes() >= bytes_max);
            log.release(last).unwrap();
            assert_eq!(log.bytes(), 0);
        }
    }
}

/// A checkpoint may count records that a kill kept from the journal: their senders send again and must be answered,
/// or nobody sends anything else.
#[test]
fn what_a_restored_checkpoint_counts_is_safe() {
    let (disk, clock) = (SimulatedDisk::default(), Arc::new(SystemClock::default()));
    let mut journal = Journal::on(Arc::new(disk), SMALL, Arc::default(), None, clock).unwrap();
    assert_eq!(journal.safe().unwrap(), 0);
    journal.go_on_behind(40, 41);
    assert_eq!((journal.safe().unwrap(), journal.last()), (40, 41));
}

/// Segments that the restored checkpoint counts are given back while later ones are replayed.
#[test]
fn what_is_released_is_not_replayed() {
    let disk = SimulatedDisk::default();
    let mut log = Log::open(Arc::new(disk.clone()), SMALL).unwrap();
    for n in 1..60 {
        log.commit(&mut frames(n..n + 1), n, 7).unwrap();
    }
    drop(log);
    let mut log = Log::open(Arc::new(disk), SMALL).unwrap();
    let mut replay = log.replay(0).behind(40);
    assert!(log.release(40).unwrap());
    assert_eq!(replay.next().unwrap().unwrap().0, 41);
}
