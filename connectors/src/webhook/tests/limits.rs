//! What the sink will not do: reach where it must not, or hold more than it may.

use millstream_engine::registry::Connector;

use super::*;
use crate::webhook::client::{Outcome, Receiver as Client};
use crate::webhook::ids::Ids;
use crate::webhook::settings::Settings;

#[tokio::test]
async fn private_addresses_are_denied_unless_allowed() {
    for url in ["http://10.1.2.3/", "http://127.0.0.1:80/", "https://[::1]/", "http://localhost/"] {
        let denied = [("private-addresses", "deny")];
        let error = Webhook.sink(&table(url, &denied)).err().unwrap().to_string();
        assert!(error.contains("'private-addresses' = 'allow'"), "{error}");
        let mut unsaid = table(url, &[]);
        let values = unsaid.options.keys().filter(|key| *key != "private-addresses");
        let values =
            values.map(|key| (key.to_owned(), unsaid.options.get(key).unwrap().to_owned())).collect();
        unsaid.options = Options::new("table alerts", values);
        assert!(Webhook.sink(&unsaid).is_err());
        Webhook.sink(&table(url, &[])).unwrap();
    }
}

/// A name is judged when it is resolved, on every connection.
#[tokio::test]
async fn resolved_addresses_are_judged() {
    let receiver = Receiver::ok().await;
    let mut settings = Settings::read(&table(&receiver.url.replace("127.0.0.1", "localhost"), &[])).unwrap();
    let id = Ids::new("t", 1).next(b"{}");
    let taken = Client::new(&settings).unwrap().attempt(&settings, None, id, Bytes::from("{}"), 0).await;
    assert!(matches!(taken, Outcome::Delivered), "{taken:?}");
    settings.addresses.allow_private = false;
    let outcome = Client::new(&settings).unwrap().attempt(&settings, None, id, Bytes::from("{}"), 0).await;
    let Outcome::Failed { why, reached: false, .. } = outcome else { panic!("{outcome:?}") };
    assert!(why.contains("'private-addresses' = 'allow'"), "{why}");
    assert_eq!(receiver.seen().len(), 1);
}

#[test]
fn link_local_addresses_are_denied_even_when_allowed() {
    for url in ["http://169.254.169.254/latest", "http://[fe80::1]/", "http://[::ffff:169.254.1.1]/"] {
        let error = Webhook.sink(&table(url, &[])).err().unwrap().to_string();
        assert!(error.contains("never reach"), "{error}");
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_back_the_query() {
    let receiver = Receiver::start(|_| Reply::Hang).await;
    let mut rig = Rig::new(&receiver.url, &[("outlet.max-bytes", "8 kb"), ("key", "device")]);
    let mut written = 0;
    while rig.sink.is_ready() {
        rig.send(&[("a", written), ("b", written)]);
        written += 1;
        assert!(written < 100, "the sink takes rows without end");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!rig.sink.is_ready());
    // One of each key, and nothing behind them.
    assert_eq!(receiver.seen().len(), 2);
    let mut state = StateWriter::default();
    assert_eq!(rig.sink.on_barrier(1, &mut state).unwrap(), Ready::NotYet);
    assert_eq!(rig.sink.on_end(1, &mut StateWriter::default()).unwrap(), Ready::NotYet);
    drop(rig.sink);
}

#[tokio::test]
async fn a_barrier_passes_when_all_before_it_is_delivered() {
    let receiver = Receiver::start(|seen| Reply::Status(if seen.attempt == 1 { 502 } else { 200 })).await;
    let mut rig = Rig::new(&receiver.url, &[("batch.max-rows", "100")]);
    rig.sink.write(rows(&[("a", 1), ("b", 2)])).unwrap();
    rig.barrier().await;
    assert_eq!((receiver.accepted().len(), rig.metrics().rows_out.get()), (1, 2));
}

#[tokio::test]
async fn at_most_so_many_requests_are_in_flight() {
    let receiver = Receiver::start(|_| Reply::Hang).await;
    let mut rig = Rig::new(&receiver.url, &[("max-in-flight", "3")]);
    for n in 0..20 {
        rig.send(&[("a", n)]);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(receiver.seen().len(), 3);
}
