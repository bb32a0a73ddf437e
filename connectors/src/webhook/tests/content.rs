//! What a receiver is sent: bodies, headers, ids, signatures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use millstream_engine::registry::Connector;

use super::*;

#[tokio::test]
async fn a_row_is_one_object() {
    let receiver = Receiver::ok().await;
    let mut rig = Rig::new(&receiver.url, &[("headers.X-Api-Key", "k"), ("headers.Content-Type", "a/b")]);
    rig.send(&[("a", 1), ("b", 2)]);
    rig.finish().await.unwrap();
    let mut seen = receiver.seen();
    seen.sort_by_key(Seen::n);
    let first = &seen[0];
    assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/hook"));
    assert_eq!(first.body, r#"{"device":"a","n":1}"#);
    assert_eq!((first.header("x-api-key"), first.header("content-type")), ("k", "a/b"));
    assert!(first.header("user-agent").starts_with("millstream/"));
    assert_eq!(first.header("idempotency-key"), first.id());
    assert_ne!(first.id(), seen[1].id());
    let metrics = rig.metrics();
    let bytes: usize = seen.iter().map(|seen| seen.body.len()).sum();
    assert_eq!(
        (metrics.rows_out.get(), metrics.bytes_out.get(), metrics.retries.get()),
        (2, bytes as u64, 0)
    );
    assert_eq!(metrics.link(), millstream_engine::metrics::Link::Up);
}

#[tokio::test]
async fn several_rows_are_an_array_closed_by_count_bytes_or_quiet() {
    let receiver = Receiver::ok().await;
    let options =
        [("batch.max-rows", "3"), ("batch.max-bytes", "50"), ("method", "put"), ("max-in-flight", "1")];
    let mut rig = Rig::new(&receiver.url, &options);
    let long = "x".repeat(60);
    rig.send(&[("a", 1), ("a", 2), ("a", 3), (&long, 4), ("a", 5)]);
    rig.send(&[("a", 6)]);
    rig.finish().await.unwrap();
    let bodies: Vec<_> = receiver.seen().iter().map(Seen::json).collect();
    let row = |n: i64| json!({"device": "a", "n": n});
    assert_eq!(
        bodies,
        [
            json!([row(1), row(2)]),
            json!([row(3)]),
            json!([{"device": long, "n": 4}]),
            json!([row(5)]),
            json!([row(6)])
        ]
    );
    assert_eq!((receiver.seen()[0].method.as_str(), rig.metrics().rows_out.get()), ("PUT", 6));
}

#[tokio::test]
async fn cloudevents_are_structured_single_or_batched() {
    let receiver = Receiver::ok().await;
    let options =
        [("content", "cloudevents"), ("cloudevents.source", "/gate\"way"), ("cloudevents.type", "alert")];
    let mut rig = Rig::new(&receiver.url, &options);
    rig.send(&[("a", 1)]);
    rig.finish().await.unwrap();
    let seen = receiver.seen().remove(0);
    let event = seen.json();
    assert_eq!(seen.header("content-type"), "application/cloudevents+json");
    assert_eq!(event["specversion"], "1.0");
    assert_eq!((&event["source"], &event["type"]), (&json!("/gate\"way"), &json!("alert")));
    assert_eq!((&event["datacontenttype"], &event["data"]["n"]), (&json!("application/json"), &json!(1)));
    assert_eq!(event["id"], seen.id());
    assert!(event["time"].as_str().unwrap().ends_with('Z'));

    let mut rig = Rig::new(&receiver.url, &[("content", "cloudevents"), ("batch.max-rows", "10")]);
    rig.send(&[("a", 1), ("a", 1)]);
    rig.finish().await.unwrap();
    let seen = receiver.seen().remove(1);
    assert_eq!(seen.header("content-type"), "application/cloudevents-batch+json");
    let events = seen.json();
    assert_eq!(events.as_array().unwrap().len(), 2);
    assert_eq!(
        (&events[0]["source"], &events[0]["type"]),
        (&json!("/millstream/alerts"), &json!("millstream.alerts"))
    );
    assert_ne!(events[0]["id"], events[1]["id"]);
}

#[tokio::test]
async fn signatures_hold_with_a_fresh_timestamp_and_a_stable_id() {
    let receiver = Receiver::start(|seen| Reply::Status(if seen.attempt == 1 { 500 } else { 200 })).await;
    let options = [
        ("signature.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("retry.backoff.initial", "2200 ms"),
        ("retry.backoff.max", "2200 ms"),
    ];
    let mut rig = Rig::new(&receiver.url, &options);
    rig.send(&[("a", 1)]);
    rig.finish().await.unwrap();
    let seen = receiver.seen();
    assert_eq!((seen.len(), seen[0].id()), (2, seen[1].id()));
    let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    for seen in &seen {
        let mut signed = format!("{}.{}.", seen.id(), seen.header("webhook-timestamp")).into_bytes();
        signed.extend_from_slice(&seen.body);
        let given = seen.header("webhook-signature").strip_prefix("v1,").unwrap();
        ring::hmac::verify(&key, &signed, &STANDARD.decode(given).unwrap()).unwrap();
    }
    let at = |seen: &Seen| seen.header("webhook-timestamp").parse::<i64>().unwrap();
    assert!(at(&seen[1]) > at(&seen[0]));
}

#[tokio::test]
async fn a_replay_after_a_restore_has_the_same_ids() {
    let receiver = Receiver::ok().await;
    let mut rig = Rig::new(&receiver.url, &[("key", "device")]);
    rig.send(&[("a", 1)]);
    let state = rig.barrier().await;
    rig.send(&[("a", 1), ("a", 1), ("b", 2)]);
    rig.finish().await.unwrap();
    let mut again = Rig::new(&receiver.url, &[("key", "device")]);
    again.sink.restore(&state).unwrap();
    again.send(&[("b", 2), ("a", 1), ("a", 1)]);
    again.finish().await.unwrap();
    let ids: Vec<_> = receiver.seen().iter().map(|seen| seen.id().to_owned()).collect();
    let sorted = |ids: &[String]| {
        let mut ids = ids.to_vec();
        ids.sort();
        ids
    };
    assert_eq!(sorted(&ids[1..4]), sorted(&ids[4..7]));
    let mut distinct = sorted(&ids);
    distinct.dedup();
    assert_eq!(distinct.len(), 4);
}

#[test]
fn wrong_options_say_what_is_wrong_and_show_no_secret() {
    let cases = [
        ("url", "ftp://x", "'http://' or 'https://'"),
        ("url", "http://user:hunter2@example.com/", "'headers.Authorization'"),
        ("url", "https://exa mple.com/hunter2", "no URL"),
        ("key", "devise", "did you mean 'device'?"),
        ("headers.bad name", "x", "no name of a header"),
        ("headers.X", "hunter2\n", "no header may hold"),
        ("headers.Webhook-Id", "x", "set by the connector"),
        ("batch.max-rows", "0", "a number from 1"),
        ("cloudevents.type", "x", "'content' = 'cloudevents'"),
        ("signature.secret", "whsec_hunter2!", "base64"),
        ("method", "GET", "'post', 'put'"),
    ];
    for (key, value, expected) in cases {
        let error = Webhook.sink(&table("https://example.com/", &[(key, value)])).err().unwrap().to_string();
        assert!(error.contains(expected), "{key}: {error}");
        assert!(error.contains("alerts") && !error.contains("hunter2"), "{key}: {error}");
    }
    let provider = Webhook.sink(&table("https://example.com/hunter2", &[("key", "n, device")])).unwrap();
    assert_eq!(
        (provider.describe().as_str(), provider.order_keys()),
        ("POST https://example.com", vec![1, 0])
    );
}
