//! What becomes of rows when the receiver fails, refuses, or is slow.

use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_engine::metrics::Link;

use super::*;

#[tokio::test]
async fn retried_until_taken_with_one_id() {
    let receiver = Receiver::start(|seen| Reply::Status([500, 503, 200][seen.attempt.min(3) - 1])).await;
    let mut rig = Rig::new(&receiver.url, &[]);
    rig.send(&[("a", 1)]);
    rig.finish().await.unwrap();
    let ids: Vec<_> = receiver.seen().iter().map(|seen| seen.id().to_owned()).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!((rig.metrics().retries.get(), rig.metrics().rows_out.get()), (2, 1));
    assert!(rig.letters().is_empty());
}

#[tokio::test]
async fn retry_after_is_waited_and_holds_back_fresh_requests() {
    let receiver = Receiver::start(|seen| match (seen.n(), seen.attempt) {
        (1, 1) => Reply::With(429, vec![("retry-after", "1".into())], String::new()),
        _ => Reply::Status(200),
    })
    .await;
    let mut rig = Rig::new(&receiver.url, &[]);
    let start_ns = rig.context.clock.monotonic_ns();
    rig.send(&[("a", 1)]);
    while receiver.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.send(&[("b", 2)]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.seen().len(), 1);
    rig.finish().await.unwrap();
    assert!(rig.context.clock.monotonic_ns() - start_ns >= 1_000_000_000);
    assert_eq!(receiver.accepted().len(), 2);
}

#[tokio::test]
async fn broken_connections_and_timeouts_are_retried() {
    let receiver = Receiver::start(|seen| match seen.attempt {
        1 => Reply::Reset,
        2 => Reply::Hang,
        _ => Reply::Status(204),
    })
    .await;
    let mut rig = Rig::new(&receiver.url, &[("timeout", "150 ms")]);
    rig.send(&[("a", 1)]);
    rig.finish().await.unwrap();
    assert_eq!((receiver.seen().len(), rig.metrics().rows_out.get(), rig.metrics().retries.get()), (3, 1, 2));
    assert_eq!(rig.metrics().link(), Link::Up);
}

#[tokio::test]
async fn a_status_of_success_is_the_delivery_even_if_the_body_stalls() {
    let receiver = Receiver::start(|_| Reply::Stall).await;
    let mut rig = Rig::new(&receiver.url, &[("timeout", "300 ms")]);
    rig.send(&[("a", 1)]);
    rig.finish().await.unwrap();
    assert_eq!((receiver.seen().len(), rig.metrics().rows_out.get(), rig.metrics().retries.get()), (1, 1, 0));
}

#[tokio::test]
async fn refused_rows_are_dead_letters_at_once_each_on_its_own() {
    let receiver = Receiver::start(|_| Reply::With(404, Vec::new(), "no such\nhook".into())).await;
    let mut rig = Rig::new(&receiver.url, &[("batch.max-rows", "5"), ("content", "cloudevents")]);
    rig.send(&[("a", 1), ("b", 2)]);
    rig.finish().await.unwrap();
    let error = format!("{} answered 404 Not Found: no such hook", receiver.url.trim_end_matches("/hook"));
    let expected = [r#"{"device":"a","n":1}"#, r#"{"device":"b","n":2}"#];
    assert_eq!(rig.letters(), expected.map(|row| (row.to_owned(), error.clone())));
    assert_eq!((receiver.seen().len(), rig.metrics().rows_dead_letter.get()), (1, 2));
    assert_eq!(rig.metrics().rows_out.get(), 0);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let target = Receiver::ok().await;
    let to = target.url.clone();
    let receiver =
        Receiver::start(move |_| Reply::With(307, vec![("location", to.clone())], String::new())).await;
    let mut rig = Rig::new(&receiver.url, &[]);
    rig.send(&[("a", 1)]);
    rig.finish().await.unwrap();
    assert!(target.seen().is_empty());
    let error = rig.letters().remove(0).1;
    assert!(error.contains(&target.url) && error.contains("set 'url' to the final address"), "{error}");
}

#[tokio::test]
async fn attempts_and_deadline_end_in_dead_letters() {
    let receiver = Receiver::start(|_| Reply::Status(500)).await;
    let mut rig = Rig::new(&receiver.url, &[("retry.max-attempts", "3")]);
    rig.send(&[("a", 1)]);
    rig.finish().await.unwrap();
    assert_eq!((receiver.seen().len(), rig.metrics().retries.get()), (3, 2));
    let error = rig.letters().remove(0).1;
    assert!(error.contains("not delivered in 3 attempts") && error.contains("500"), "{error}");

    // The receiver asks for an hour: the last attempt is at the deadline, not after the hour.
    let late = |_: &Seen| Reply::With(503, vec![("retry-after", "3600".into())], String::new());
    let receiver = Receiver::start(late).await;
    let mut rig = Rig::new(&receiver.url, &[("retry.deadline", "300 ms"), ("retry.max-attempts", "1000")]);
    let start_ns = rig.context.clock.monotonic_ns();
    rig.send(&[("a", 1)]);
    rig.finish().await.unwrap();
    let took_ms = (rig.context.clock.monotonic_ns() - start_ns) / 1_000_000;
    assert!((300..5_000).contains(&took_ms), "{took_ms} ms");
    assert_eq!((receiver.seen().len(), rig.letters().len()), (2, 1));
}

#[tokio::test]
async fn nobody_listening_is_a_link_that_is_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut rig = Rig::new(&url, &[("retry.max-attempts", "2")]);
    rig.send(&[("a", 1)]);
    rig.finish().await.unwrap();
    assert_eq!((rig.metrics().link(), rig.metrics().rows_dead_letter.get()), (Link::Down, 1));
    assert!(rig.letters()[0].1.contains("cannot be reached"), "{:?}", rig.letters());
    // TLS needs nothing that the process would have to set up; a plain port refuses it.
    let receiver = Receiver::ok().await;
    let mut rig = Rig::new(&receiver.url.replace("http:", "https:"), &[("retry.max-attempts", "0")]);
    rig.send(&[("a", 1)]);
    rig.finish().await.unwrap();
    assert!(rig.letters()[0].1.contains("cannot be reached"), "{:?}", rig.letters());
}

#[tokio::test]
async fn a_batch_too_large_is_halved() {
    let receiver = Receiver::start(|seen| {
        let rows = seen.json();
        let rows = rows.as_array().unwrap();
        let is_giant = rows.iter().any(|row| row["n"] == 3);
        Reply::Status(if rows.len() > 2 || is_giant { 413 } else { 200 })
    })
    .await;
    let mut rig =
        Rig::new(&receiver.url, &[("batch.max-rows", "10"), ("key", "device"), ("max-in-flight", "1")]);
    rig.send(&[("a", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5), ("a", 6), ("a", 7)]);
    rig.finish().await.unwrap();
    let taken: Vec<i64> = receiver
        .accepted()
        .iter()
        .flat_map(|seen| seen.json().as_array().unwrap().clone())
        .map(|row| row["n"].as_i64().unwrap())
        .collect();
    assert_eq!(taken, [1, 2, 4, 5, 6, 7]);
    assert_eq!(rig.letters().len(), 1);
    assert_eq!(rig.letters()[0].0, r#"{"device":"a","n":3}"#);
    assert_eq!(rig.metrics().rows_out.get(), 6);
}

#[tokio::test]
async fn on_error_skip_counts_and_fail_ends_the_job() {
    let receiver = Receiver::start(|seen| Reply::Status(if seen.n() == 2 { 400 } else { 200 })).await;
    let mut rig = Rig::new(&receiver.url, &[("on-error", "skip")]);
    rig.send(&[("a", 1), ("a", 2)]);
    rig.finish().await.unwrap();
    assert_eq!((rig.metrics().rows_skipped.get(), rig.letters().len()), (1, 0));

    let mut rig = Rig::new(&receiver.url, &[("on-error", "fail"), ("outlet.max-bytes", "1")]);
    rig.send(&[("a", 1), ("a", 2), ("a", 3)]);
    let error = rig.finish().await.unwrap_err().to_string();
    assert!(error.contains("400 Bad Request") && error.contains("alerts"), "{error}");
    let mut state = StateWriter::default();
    assert!(rig.sink.on_barrier(1, &mut state).is_err());
    while !rig.sink.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(rig.sink.write(rows(&[("a", 4)])).is_err());
}

#[tokio::test]
async fn an_outage_is_probed_by_few_requests() {
    let (down, most) = (Arc::new(AtomicUsize::new(1)), Arc::<AtomicUsize>::default());
    let (away, ids) = (Arc::clone(&down), Arc::clone(&most));
    let tried = Mutex::new(std::collections::BTreeSet::new());
    let receiver = Receiver::start(move |seen| {
        if away.load(Ordering::SeqCst) == 0 {
            return Reply::Status(200);
        }
        tried.lock().insert(seen.id().to_owned());
        ids.store(tried.lock().len(), Ordering::SeqCst);
        Reply::Status(503)
    })
    .await;
    let mut rig = Rig::new(&receiver.url, &[("max-in-flight", "3"), ("retry.max-attempts", "1000")]);
    for n in 0..200 {
        rig.send(&[("a", n)]);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Those begun before the third failure came back, and no more.
    assert!(most.load(Ordering::SeqCst) <= 6, "{most:?}");
    down.store(0, Ordering::SeqCst);
    rig.finish().await.unwrap();
    assert_eq!((receiver.accepted().len(), rig.letters().len()), (200, 0));
}
