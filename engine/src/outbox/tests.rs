use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;

use super::feed::{Fed, Feed};
use super::ledger::{Ledger, Refused};
use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::context::IoRuntime;
use crate::dead_letter::{DeadLetters, OnError};
use crate::disk::simulated::{Random, SimulatedDisk};
use crate::io::{InFlight, OutletReceiver, outlet};
use crate::journal::simulation::{Log, frames};

/// A checkpoint: how many rows were put in, the ledger's snapshot, the letters that are safe with it.
#[derive(Clone, Default)]
struct Checkpoint {
    rows: u64,
    blob: Option<Vec<u8>>,
    letters: Vec<u64>,
}

fn is_bad(row: u64) -> bool {
    row.is_multiple_of(7)
}

/// Rows have three keys.
fn key(row: u64) -> u64 {
    row % 3
}

fn row_of(bytes: &Bytes) -> u64 {
    u64::from_le_bytes(*record::Record::read(bytes.clone()).unwrap().body.first_chunk().unwrap())
}

/// One process of a life, on what the ones before left.
struct Process {
    log: Log,
    ledger: Ledger,
    feed: Feed,
    /// Rows put in, the number of the last record, and whether it is safe.
    rows: u64,
    last: u64,
    is_safe: bool,
    /// Number and row of what is on its way.
    in_flight: Vec<(u64, u64)>,
    letters: Vec<u64>,
}

impl Process {
    fn start(disk: &SimulatedDisk, from: &Checkpoint, is_first: bool, order: Order, seed: u64) -> Self {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let log =
            Log::open(Arc::clone(&disk), Limits { bytes_max: 1 << 20, segment_bytes: 400, records_kept: 0 })
                .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert_eq!(log.damaged(), 0, "seed {seed}");
        let (mut ledger, mut last) = (Ledger::default(), log.last());
        match &from.blob {
            Some(blob) => {
                ledger.restore(blob, last).unwrap();
                last = last.max(Ledger::read_snapshot(blob).unwrap().0);
            }
            None => ledger.begin(last, is_first),
        }
        let feed = Feed::new(&disk, order, ledger.todo(), last);
        let (rows, letters) = (from.rows, from.letters.clone());
        Self { log, ledger, feed, rows, last, is_safe: true, in_flight: Vec::new(), letters }
    }

    fn put(&mut self, count: u64, salt: u32) -> std::result::Result<(), ()> {
        // As the log's thread does: a commit is safe before the next is written.
        self.sync()?;
        let mut written = Vec::new();
        for row in self.rows + 1..=self.rows + count {
            written.push(record(0, row));
        }
        match self.log.write_frames(&mut frames(self.last + 1, &written), self.last + count, salt) {
            Ok(()) => {}
            // A full disk: the sink tries again.
            Err(crate::journal::simulation::CommitError::NoRoom(_)) => return Ok(()),
            Err(_) => return Err(()),
        }
        for _ in 0..count {
            self.last += 1;
            self.ledger.put(self.last, 0);
        }
        (self.rows, self.is_safe) = (self.rows + count, false);
        Ok(())
    }

    fn sync(&mut self) -> std::result::Result<(), ()> {
        self.log.sync().map_err(|_| ())?;
        self.is_safe = true;
        Ok(())
    }

    fn feed(&mut self) -> bool {
        match self.feed.next(self.last, 0, true).unwrap() {
            Fed::Record { number, bytes, .. } => {
                assert!(self.ledger.todo().iter().any(|(from, to)| (*from..=*to).contains(&number)));
                self.in_flight.push((number, row_of(&bytes)));
                true
            }
            Fed::Gap(first, last) => {
                self.ledger.done(first, last);
                true
            }
            Fed::Nothing => false,
        }
    }

    /// The first on its way of some key is through.
    fn settle(&mut self, random: &mut Random, received: &mut Vec<u64>) {
        let wanted = random.below(3);
        let Some(place) = self.in_flight.iter().position(|(_, row)| key(*row) == wanted) else { return };
        let (number, row) = self.in_flight.remove(place);
        if is_bad(row) {
            let rows = vec![(Bytes::copy_from_slice(&row.to_le_bytes()), Error::data("bad"))];
            self.ledger.refuse(Refused { number, rows });
        } else {
            received.push(row);
            self.ledger.done(number, number);
        }
    }

    fn snapshot(&mut self, epoch: Epoch) -> Checkpoint {
        for refused in self.ledger.take_refused() {
            self.letters
                .extend(refused.rows.iter().map(|(row, _)| u64::from_le_bytes(*row.first_chunk().unwrap())));
        }
        let blob = Some(self.ledger.snapshot(epoch));
        Checkpoint { rows: self.rows, blob, letters: self.letters.clone() }
    }

    fn release(&mut self) {
        self.log.release(self.ledger.released()).unwrap();
    }
}

/// A record whose connector's bytes are a number.
fn record(time_ms: i64, number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    record::head(&mut bytes, time_ms, "text", b"row");
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes
}

/// Random lives of an outbox: rows put in, sent out of order of their keys, refused, barriers, a full disk, failing syncs,
/// kills and power cuts, again and again. Every row arrives, the first time in the order of its key; every refused row is
/// exactly once with the dead letters.
#[test]
fn power_cuts_and_kills_leave_every_row_delivered_in_order_and_the_letters_exact() {
    let seeds = std::env::var("SIMULATION_SEEDS").map_or(2_000, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let mut random = Random(seed);
        let order = if random.one_in(2) { Order::OldestFirst } else { Order::LiveFirst };
        let mut disk = SimulatedDisk::default();
        let (mut checkpoint, mut epoch, mut received) = (Checkpoint::default(), 0, Vec::new());
        for life in 0..5 {
            let mut process = Process::start(&disk, &checkpoint, life == 0, order, seed);
            let is_last = life == 4;
            for _ in 0..random.below(60) {
                let done = match random.below(12) {
                    0..3 => process.put(1 + random.below(4), random.number() as u32),
                    3 => process.sync(),
                    4..7 => {
                        process.feed();
                        Ok(())
                    }
                    7..9 => {
                        process.settle(&mut random, &mut received);
                        Ok(())
                    }
                    9 => {
                        process.release();
                        Ok(())
                    }
                    10 if !is_last => {
                        match random.below(4) {
                            0 => disk.fail_sync_in(random.below(3)),
                            1 => disk.set_room(Some(random.below(300) as usize)),
                            _ => disk.set_room(None),
                        }
                        Ok(())
                    }
                    _ => process.sync().map(|()| {
                        epoch += 1;
                        let taken = process.snapshot(epoch);
                        // Killed in between, or not.
                        if !random.one_in(8) {
                            checkpoint = taken;
                            process.ledger.on_checkpoint_complete(epoch);
                        }
                    }),
                };
                if done.is_err() {
                    break;
                }
            }
            if is_last {
                while process.feed() || !process.in_flight.is_empty() {
                    process.settle(&mut random, &mut received);
                }
                process.release();
                let end = process.snapshot(epoch + 1);
                assert_eq!(process.ledger.pending(), 0, "seed {seed}");
                let expected: BTreeSet<u64> = (1..=process.rows).filter(|row| !is_bad(*row)).collect();
                let arrived: BTreeSet<u64> =
                    received.iter().copied().filter(|row| *row <= process.rows).collect();
                assert_eq!(arrived, expected, "seed {seed}");
                let bad: Vec<u64> = (1..=process.rows).filter(|row| is_bad(*row)).collect();
                let mut letters = end.letters.clone();
                letters.sort_unstable();
                assert_eq!(letters, bad, "seed {seed}");
                let (mut firsts, mut seen) = (BTreeMap::<u64, u64>::new(), BTreeSet::new());
                for row in received.iter().filter(|row| seen.insert(**row)) {
                    let last = firsts.insert(key(*row), *row);
                    let is_in_order = order == Order::LiveFirst || last.is_none_or(|last| last < *row);
                    assert!(is_in_order, "seed {seed}: {row} behind {last:?}");
                }
            }
            disk = disk.restart(&mut random);
        }
    }
}

/// Every bit of an outbox flipped: what is sent is as it was put in, and what is not sent is a gap that is counted off.
#[test]
fn no_bit_changes_unseen() {
    let whole = SimulatedDisk::default();
    let mut process = Process::start(&whole, &Checkpoint::default(), true, Order::OldestFirst, 0);
    for _ in 0..20 {
        process.put(1, 7).unwrap();
        process.sync().unwrap();
    }
    let mut random = Random(1);
    for name in whole.names().unwrap() {
        for byte in 0..whole.read(&name).unwrap().len() {
            let disk = whole.cut_power(&mut random);
            // As it runs, and after a restart, which mends.
            for is_restarted in [false, true] {
                let clean: Arc<dyn Disk> = Arc::new(disk.clone());
                if !is_restarted {
                    disk.flip(&name, byte, (byte % 8) as u8);
                } else {
                    Log::open(
                        Arc::clone(&clean),
                        Limits { bytes_max: 1 << 20, segment_bytes: 400, records_kept: 0 },
                    )
                    .unwrap();
                }
                let mut feed = Feed::new(&clean, Order::OldestFirst, vec![(1, 20)], 20);
                let mut numbers = BTreeSet::new();
                loop {
                    match feed.next(20, 0, true).unwrap() {
                        Fed::Record { number, bytes, .. } => {
                            assert_eq!(row_of(&bytes), number, "byte {byte} of {name}");
                            numbers.insert(number);
                        }
                        Fed::Gap(first, last) => numbers.extend(first..=last),
                        Fed::Nothing => break,
                    }
                }
                assert_eq!(numbers, (1..=20).collect(), "byte {byte} of {name}");
            }
        }
    }
}

#[test]
fn live_first_sends_what_comes_now_before_what_waited() {
    let disk = SimulatedDisk::default();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log =
        Log::open(Arc::clone(&shared), Limits { bytes_max: 1 << 20, segment_bytes: 400, records_kept: 0 })
            .unwrap();
    let mut put = |number: u64, time_ms: i64| {
        let record = record(time_ms, number);
        log.write_frames(&mut frames(number, &[record]), number, 7).unwrap();
    };
    (1..=10).for_each(|number| put(number, 0));
    let next = |feed: &mut Feed, written, now_ms| match feed.next(written, now_ms, true).unwrap() {
        Fed::Record { number, is_live, .. } => (number, is_live),
        other => panic!("{other:?}"),
    };
    // Two of an earlier run wait; of the others one is sent, and then the far end is away.
    let mut feed = Feed::new(&shared, Order::LiveFirst, vec![(1, 2)], 2);
    assert_eq!(next(&mut feed, 10, 500), (3, true));
    put(11, 9_900);
    put(12, 9_950);
    // The first that is looked at has waited too long, so all that is there has.
    assert_eq!(next(&mut feed, 11, 10_000), (1, false));
    assert_eq!(next(&mut feed, 12, 10_000), (12, true));
    let rest: Vec<_> = (0..9).map(|_| next(&mut feed, 12, 10_000)).collect();
    assert_eq!(rest, [2, 4, 5, 6, 7, 8, 9, 10, 11].map(|number| (number, false)));
    let mut oldest = Feed::new(&shared, Order::OldestFirst, vec![(1, 2)], 2);
    assert_eq!(
        (0..12).map(|_| next(&mut oldest, 12, 10_000).0).collect::<Vec<_>>(),
        (1..=12).collect::<Vec<_>>()
    );
}

struct Text {
    bytes: Bytes,
    ticket: Arc<Ticket>,
}

impl Parcel for Text {
    fn read(bytes: Bytes, ticket: Arc<Ticket>) -> Result<Self> {
        Ok(Self { bytes, ticket })
    }

    fn num_bytes(&self) -> usize {
        self.bytes.len()
    }

    fn rows(&self) -> Vec<Bytes> {
        vec![self.bytes.clone()]
    }
}

/// An outbox on a real folder, with its threads, and the receiving end of what it sends.
struct Rig {
    outbox: Outbox,
    receiver: OutletReceiver<Text>,
    errors: RowErrors,
    letters: Arc<DeadLetters>,
    context: InstanceContext,
}

impl Rig {
    fn open(folder: &Path, ttl_ms: Option<u64>, clock: ClockRef, state: Option<&StateReader>) -> Self {
        let context = InstanceContext {
            job: "test".into(),
            instance: 0,
            parallelism: 1,
            key_groups: 0..128,
            batch_rows_max: 100,
            clock,
            waker: Arc::default(),
            metrics: OperatorMetrics::new("alerts", "sink", 0),
            dead_letters: Arc::default(),
            dead_letter_route: None,
            io: IoRuntime::default(),
            journal_folder: Some(folder.to_owned()),
        };
        let settings = OutboxSettings {
            bytes_max: 20_000,
            ttl: ttl_ms.map(Duration::from_millis),
            order: Order::default(),
        };
        let mut outbox = Outbox::of(&context, "text", Some(settings)).unwrap().unwrap();
        let (sender, receiver) = outlet(1_000, outbox.signal());
        outbox.send_into(sender, 1_000);
        if let Some(state) = state {
            outbox.restore(state).unwrap();
        }
        let errors = context.row_errors(OnError::DeadLetter);
        outbox.attend(&errors).unwrap();
        let letters = Arc::clone(&context.dead_letters);
        Self { outbox, receiver, errors, letters, context }
    }

    fn next(&mut self) -> (Text, InFlight) {
        loop {
            if let Some(item) = self.receiver.try_recv() {
                return item;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn barrier(&mut self, epoch: Epoch) -> StateReader {
        loop {
            let mut state = StateWriter::default();
            if self.outbox.on_barrier(epoch, &mut state, &self.errors).unwrap() == Ready::Yes {
                return StateReader::gather([&state.finish()], &(0..128));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn what_is_pending_at_a_checkpoint_is_sent_by_the_next_run_and_what_is_behind_it_is_not() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), SystemClock::shared());
    let mut rig = Rig::open(folder.path(), None, Arc::clone(&clock), None);
    ["a", "b", "c"].into_iter().for_each(|text| rig.outbox.put(b"", text.as_bytes()));
    let (first, _in_flight) = rig.next();
    assert_eq!(&first.bytes[..], b"a");
    let (second, _in_flight) = rig.next();
    second.ticket.settle();
    let state = rig.barrier(1);
    rig.outbox.on_checkpoint_complete(1).unwrap();
    rig.outbox.put(b"", b"behind");
    assert_eq!(rig.context.metrics.outbox_depth.load(Ordering::Relaxed), 3);
    drop(rig);
    let mut rig = Rig::open(folder.path(), None, clock, Some(&state));
    rig.outbox.put(b"", b"behind, made again");
    let texts: Vec<_> = (0..3)
        .map(|_| {
            let (text, _in_flight) = rig.next();
            text.ticket.settle();
            text.bytes
        })
        .collect();
    assert_eq!(texts, ["a", "c", "behind, made again"]);
    assert_eq!(rig.context.metrics.outbox_depth.load(Ordering::Relaxed), 0);
    while rig.outbox.on_end(2, &mut StateWriter::default(), &rig.errors).unwrap() == Ready::NotYet {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn killed_before_its_first_checkpoint_it_begins_anew_with_the_same_number() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), SystemClock::shared());
    let open = |proposed| {
        let mut rig = Rig::open(folder.path(), None, Arc::clone(&clock), None);
        let number = rig.outbox.first_run(proposed);
        (rig, number)
    };
    // The number is asked for before the first time the worker comes by, as a sink does when it is opened.
    std::fs::write(folder.path().join(FIRST_RUN), 7_u64.to_le_bytes()).unwrap();
    let (mut rig, number) = open(9);
    assert_eq!(number, 7);
    rig.outbox.put(b"", b"old");
    drop(rig.next());
    drop(rig);
    let (mut rig, number) = open(10);
    rig.outbox.put(b"", b"new");
    assert_eq!((number, rig.next().0.bytes), (7, Bytes::from_static(b"new")));
    rig.barrier(1);
    rig.outbox.on_checkpoint_complete(1).unwrap();
    drop(rig);
    // A checkpoint was there, and its state is not given: what waits is sent all the same.
    let (mut rig, number) = open(11);
    assert_eq!((number, rig.next().0.bytes), (0, Bytes::from_static(b"new")));
}

#[test]
fn refused_and_expired_rows_are_with_the_dead_letters_in_front_of_the_barrier() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::at(1_000_000));
    let mut rig = Rig::open(folder.path(), Some(5_000), Arc::clone(&clock) as ClockRef, None);
    rig.outbox.put(b"", b"refused");
    let (text, in_flight) = rig.next();
    text.ticket.split(1);
    text.ticket.refuse(text.bytes.clone(), Error::data("no"));
    text.ticket.settle();
    assert_eq!(rig.letters.last().len(), 0, "its other part is on its way");
    text.ticket.settle();
    drop(in_flight);
    rig.barrier(1);
    let letters = rig.letters.last();
    assert_eq!((letters.len(), &letters[0].payload[..]), (1, &b"refused"[..]));
    // One on its way fills the outlet; what is behind it grows too old.
    rig.outbox.put(b"", &[b'x'; 2_000]);
    let (_big, in_flight) = rig.next();
    rig.outbox.put(b"", b"old");
    // The wall clock is set to another time, which makes nothing old.
    clock.step(600_000);
    clock.advance(6_000);
    drop(in_flight);
    while rig.letters.last().len() < 2 {
        rig.outbox.attend(&rig.errors).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let letter = rig.letters.last().pop().unwrap();
    assert_eq!(letter.payload, b"old");
    assert!(letter.error.contains("6 s in the outbox"), "{}", letter.error);
}

#[test]
fn full_it_takes_nothing_until_something_is_through() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), SystemClock::shared());
    let mut rig = Rig::open(folder.path(), None, clock, None);
    let mut put = 0;
    while rig.outbox.has_room() {
        rig.outbox.put(b"", &[b'x'; 500]);
        put += 1;
        rig.barrier(1);
    }
    assert!((20..60).contains(&put), "{put}");
    for _ in 0..put {
        let (text, _in_flight) = rig.next();
        text.ticket.settle();
    }
    while !rig.outbox.has_room() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_sink_without_an_outbox_leaves_one_that_is_empty_and_no_other() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), SystemClock::shared());
    let mut rig = Rig::open(folder.path(), None, Arc::clone(&clock), None);
    ["a", "b"].into_iter().for_each(|text| rig.outbox.put(b"", text.as_bytes()));
    let (first, _in_flight) = rig.next();
    first.ticket.settle();
    let state = rig.barrier(1);
    rig.outbox.on_checkpoint_complete(1).unwrap();
    // Behind the checkpoint: its row comes again, so nobody misses it.
    rig.outbox.put(b"", b"behind");
    let context = rig.context.clone();
    drop(rig);
    let error = leave(&context, &state).unwrap_err();
    assert!(error.to_string().contains("1 records wait in the outbox of 'alerts'"), "{error}");
    let mut rig = Rig::open(folder.path(), None, Arc::clone(&clock), Some(&state));
    let (second, _in_flight) = rig.next();
    assert_eq!(&second.bytes[..], b"b");
    second.ticket.settle();
    let state = rig.barrier(2);
    drop(rig);
    leave(&context, &state).unwrap();
    assert!(!folder.path().exists());
    leave(&context, &state).unwrap();
    // With an outbox again, nothing of before is sent, and numbers go on.
    std::fs::create_dir(folder.path()).unwrap();
    let mut rig = Rig::open(folder.path(), None, clock, Some(&state));
    rig.outbox.put(b"", b"new");
    let (new, _in_flight) = rig.next();
    assert_eq!((&new.bytes[..], new.ticket.number()), (&b"new"[..], 4));
}
