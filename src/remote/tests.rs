//! Copies and the way back, over a store in memory: cut off anywhere, damaged, taken by two.

use std::fs;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use millstream_engine::state::{DiskStateStore, InstanceSnapshot, OperatorShape, StateStore, savepoint};
use millstream_engine::{ErrorKind, SystemClock};
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tempfile::TempDir;

use super::copier::CopyStatus;
use super::fetch::{fetch, find};
use super::found::{epochs, folder_of};
use super::owner::Owner;
use super::place::Place;
use super::rounds::Rounds;

/// A state folder that a pipeline runs with.
struct Gateway {
    folder: TempDir,
    store: DiskStateStore,
}

fn shape() -> Vec<OperatorShape> {
    vec![OperatorShape { identity: "t: source".into(), id: "t".into(), does: "source".into() }]
}

impl Gateway {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStateStore::open(folder.path(), shape(), false).unwrap();
        Self { folder, store }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Completes a checkpoint that says which it is, and adds to its journal.
    fn checkpoint(&self, epoch: u64) {
        let blobs = vec![format!("of {epoch}").into_bytes().into()];
        self.store.put(epoch, "t", 0, InstanceSnapshot { blobs, ..InstanceSnapshot::default() }).unwrap();
        self.store.complete(epoch).unwrap();
        let journal = self.path().join("journal-t-0");
        fs::create_dir_all(&journal).unwrap();
        fs::write(journal.join("journal-1"), vec![7; 100_000]).unwrap();
        fs::write(journal.join("journal-2"), format!("up to {epoch}")).unwrap();
    }

    fn rounds(&self, place: &Place, before: Option<&str>) -> Rounds {
        let clock = SystemClock::shared();
        let owner = match before {
            Some(before) => Owner::begin(self.path(), Some(before.to_owned()), &clock).unwrap(),
            None => Owner::of(self.path(), &clock).unwrap(),
        };
        let status = Arc::<CopyStatus>::default();
        Rounds { state: self.path().to_owned(), place: place.clone(), owner, retained: 2, status }
    }
}

/// What a new machine begins from, or why it does not.
async fn restored(place: &Place) -> Result<(String, String), String> {
    let (found, epochs) = find(place).await.map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().unwrap();
    let fetched = folder.path().join("fetched");
    fs::create_dir(&fetched).unwrap();
    fetch(place, &found, &epochs, &fetched).await.map_err(|error| error.to_string())?;
    let state = folder.path().join("state");
    savepoint::begin_from(&fetched, &state, 0).map_err(|error| error.to_string())?;
    let store = DiskStateStore::open(&state, shape(), false).unwrap();
    let reader = store.read(store.latest().unwrap(), "t", &(0..128)).unwrap();
    let blob = String::from_utf8(reader.blobs().next().unwrap().to_vec()).unwrap();
    assert_eq!(fs::read(state.join("journal-t-0/journal-1")).unwrap(), vec![7; 100_000]);
    let journal = fs::read_to_string(state.join("journal-t-0/journal-2")).unwrap();
    Ok((blob, journal))
}

fn of(epoch: u64) -> Result<(String, String), String> {
    Ok((format!("of {epoch}"), format!("up to {epoch}")))
}

fn in_memory() -> (Arc<InMemory>, Place) {
    let store = Arc::new(InMemory::new());
    (Arc::clone(&store), Place::in_memory(store))
}

fn object(epoch: u64, name: &str) -> ObjectPath {
    ObjectPath::parse(format!("fleet/gateway-7/{}/{name}", folder_of(epoch))).unwrap()
}

#[tokio::test]
async fn the_newest_checkpoint_is_copied_and_two_stay() {
    let (gateway, (_, place)) = (Gateway::new(), in_memory());
    let rounds = gateway.rounds(&place, None);
    rounds.round().await.unwrap();
    assert_eq!(rounds.status.last(), 0);
    assert!(restored(&place).await.unwrap_err().contains("no whole checkpoint"));
    gateway.checkpoint(1);
    rounds.round().await.unwrap();
    let sent_bytes = rounds.status.sent_bytes();
    assert!(rounds.status.last() == 1 && sent_bytes > 100_000 && rounds.status.last_bytes() == sent_bytes);
    assert_eq!(restored(&place).await, of(1));
    // Nothing is new, and then little is.
    rounds.round().await.unwrap();
    assert_eq!(rounds.status.sent_bytes(), sent_bytes);
    for epoch in 2..=5 {
        gateway.checkpoint(epoch);
        // One is passed over: what is newest when it is looked for is copied.
        if epoch != 3 {
            rounds.round().await.unwrap();
        }
    }
    assert!(rounds.status.sent_bytes() < sent_bytes + 1_000, "{}", rounds.status.sent_bytes());
    assert_eq!(epochs(&place).await.unwrap(), [5, 4]);
    assert_eq!(restored(&place).await, of(5));
    // Another run with the folder knows what is there.
    let again = gateway.rounds(&place, None);
    again.round().await.unwrap();
    assert_eq!((again.status.last(), again.status.sent_bytes()), (5, 0));
}

/// Gives up on `future` when it has waited `waits` times; true when it came to its end.
async fn cut_after<T>(waits: usize, future: impl Future<Output = T>) -> bool {
    let (mut future, mut left) = (pin!(future), waits);
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending if left == 0 => Poll::Ready(false),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Every request waits, and the machine is lost at each: what is there then is whole, the newest or the one before.
#[tokio::test]
async fn cut_off_anywhere_a_whole_checkpoint_is_there() {
    let wait = Duration::from_millis(1);
    let config = ThrottleConfig {
        wait_put_per_call: wait,
        wait_get_per_call: wait,
        wait_delete_per_call: wait,
        wait_list_per_call: wait,
        wait_list_with_delimiter_per_call: wait,
        ..ThrottleConfig::default()
    };
    let mut cuts = 0;
    for waits in 0.. {
        let gateway = Gateway::new();
        let place = Place::in_memory(Arc::new(ThrottledStore::new(InMemory::new(), config)));
        let rounds = gateway.rounds(&place, None);
        for epoch in 1..=2 {
            gateway.checkpoint(epoch);
            rounds.round().await.unwrap();
        }
        gateway.checkpoint(3);
        let is_done = cut_after(waits, rounds.round()).await;
        let found = restored(&place).await;
        assert!(found == of(2) || found == of(3), "cut at {waits}: {found:?}");
        // The next copy is as if nothing had been, and what was half is gone.
        gateway.checkpoint(4);
        rounds.round().await.unwrap();
        assert_eq!(restored(&place).await, of(4), "cut at {waits}");
        let left = epochs(&place).await.unwrap();
        assert!(left == [4, 3] || left == [4, 2], "cut at {waits}: {left:?}");
        if is_done {
            break;
        }
        cuts += 1;
    }
    assert!(cuts >= 10, "{cuts} places to cut at");
}

#[tokio::test]
async fn a_half_checkpoint_is_passed_over_and_goes() {
    let (gateway, (store, place)) = (Gateway::new(), in_memory());
    let rounds = gateway.rounds(&place, None);
    for epoch in 1..=2 {
        gateway.checkpoint(epoch);
        rounds.round().await.unwrap();
    }
    store.delete(&object(2, "manifest")).await.unwrap();
    assert_eq!(restored(&place).await, of(1));
    gateway.checkpoint(3);
    rounds.round().await.unwrap();
    assert_eq!(epochs(&place).await.unwrap(), [3, 1]);
}

#[tokio::test]
async fn a_damaged_checkpoint_is_refused_with_the_one_before_it() {
    for name in ["checkpoint", "journal-t-0/journal-1", "manifest"] {
        let (gateway, (store, place)) = (Gateway::new(), in_memory());
        let rounds = gateway.rounds(&place, None);
        for epoch in 1..=2 {
            gateway.checkpoint(epoch);
            rounds.round().await.unwrap();
        }
        let name = if name == "checkpoint" { folder_of(2) } else { name.to_owned() };
        let path = object(2, &name);
        let good = store.get(&path).await.unwrap().bytes().await.unwrap();
        let mut flipped = good.to_vec();
        flipped[good.len() / 2] ^= 1;
        for bad in [Some(good[..good.len() - 1].to_vec()), Some(flipped), None] {
            match bad {
                Some(bad) => drop(store.put(&path, bad.into()).await.unwrap()),
                // Without its manifest it is half, which another test has.
                None if name == "manifest" => continue,
                None => store.delete(&path).await.unwrap(),
            }
            let error = restored(&place).await.unwrap_err();
            assert!(
                error.contains(&name) && error.contains(&format!("--from memory://tests/{}", folder_of(1))),
                "{error}"
            );
        }
        // What comes behind it is whole, and does not take the damage over.
        store.put(&path, good[..good.len() - 1].to_vec().into()).await.unwrap();
        gateway.checkpoint(3);
        rounds.round().await.unwrap();
        assert_eq!(restored(&place).await, of(3), "{name}");
    }
}

#[tokio::test]
async fn one_place_is_of_one_pipeline_and_of_who_began_from_it() {
    let (first, other, next, (_, place)) = (Gateway::new(), Gateway::new(), Gateway::new(), in_memory());
    let rounds = first.rounds(&place, None);
    first.checkpoint(1);
    rounds.round().await.unwrap();
    other.checkpoint(50);
    let error = other.rounds(&place, None).round().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("another pipeline's"), "{error}");
    // One that took its place goes on there, and the first, come back, takes nothing away any more.
    let taken = next.rounds(&place, Some(&rounds.owner.own));
    taken.round().await.unwrap();
    next.checkpoint(100);
    taken.round().await.unwrap();
    first.checkpoint(2);
    assert!(rounds.round().await.is_err());
    assert_eq!(epochs(&place).await.unwrap(), [100, 1]);
    assert_eq!(restored(&place).await, of(100));
}

#[test]
fn a_savepoint_is_a_folder_of_its_own() {
    let (gateway, other, clock) = (Gateway::new(), tempfile::tempdir().unwrap(), SystemClock::shared());
    let url = format!("file://{}", other.path().join("saved").display());
    assert!(super::save_savepoint(gateway.path(), &url, &clock).is_err(), "there is no checkpoint");
    gateway.checkpoint(7);
    assert_eq!(super::save_savepoint(gateway.path(), &url, &clock).unwrap(), 7);
    let error = super::save_savepoint(gateway.path(), &url, &clock).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("not there yet"), "{error}");
    let state = other.path().join("state");
    let first = super::begin_from(&url, &state, &clock).unwrap();
    assert!(first > 7);
    let error = super::begin_from(&url, &state, &clock).unwrap_err().to_string();
    assert!(error.contains("has state already"), "{error}");
    let store = DiskStateStore::open(&state, shape(), false).unwrap();
    assert_eq!(store.latest(), Some(first));
    assert_eq!(fs::read_to_string(state.join("journal-t-0/journal-2")).unwrap(), "up to 7");
    assert!(!state.join("savepoint.writing").exists());
    // It follows the folder that the savepoint is of.
    let owner = Owner::of(&state, &clock).unwrap();
    assert!(owner.follows(&Owner::of(gateway.path(), &clock).unwrap().own));
}

/// An object of several parts, read back piece by piece.
#[tokio::test]
async fn what_is_bigger_than_a_part_is_sent_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let on_disk = Place::open(&format!("file://{}/copies", folder.path().display()), 0).unwrap();
    for place in [in_memory().1, on_disk] {
        let bytes: Vec<u8> = (0..(11_u32 << 20) + 3).map(|n| (n % 251) as u8).collect();
        let read = |offset: u64, bytes_max: usize| {
            let from = offset as usize;
            Ok(bytes::Bytes::copy_from_slice(&bytes[from..bytes.len().min(from + bytes_max)]))
        };
        place.write("big", bytes.len() as u64, read).await.unwrap();
        let mut back = Vec::new();
        place
            .stream("big", |piece| {
                back.extend_from_slice(piece);
                Ok(())
            })
            .await
            .unwrap();
        assert!(back == bytes);
        // One that cannot be read to its end is not there.
        let broken = |offset: u64, bytes_max: usize| match offset {
            0 => read(0, bytes_max),
            _ => Err(millstream_engine::Error::state("the disk is gone")),
        };
        assert!(place.write("half", bytes.len() as u64, broken).await.is_err());
        assert_eq!(place.read("half", 1 << 30).await.unwrap(), None);
    }
}
