//! A publisher to Mosquitto that has each message acknowledged, over restarts of the broker.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use crate::support::Publisher;

use super::feed::Writer;
use super::ledger;

/// Publishes until each message is acknowledged.
pub struct Publishing {
    address: SocketAddr,
    /// What is published for a number: topics, and the record's number.
    messages: fn(u64) -> Vec<(&'static str, u64)>,
    publisher: Option<Publisher>,
    /// Records that were published more than once because one had no acknowledgement.
    again: BTreeSet<u64>,
}

impl Publishing {
    pub fn to(address: SocketAddr, messages: fn(u64) -> Vec<(&'static str, u64)>) -> Self {
        Self { address, messages, publisher: None, again: BTreeSet::new() }
    }

    fn publish(&mut self, topic: &str, n: u64) {
        let payload = ledger::record(n).to_string();
        loop {
            if self.publisher.is_none() {
                self.publisher = Publisher::connect(self.address).ok();
            }
            match self.publisher.as_mut().map(|to| to.publish(topic, payload.as_bytes())) {
                Some(Ok(())) => return,
                Some(Err(_)) => {
                    self.again.insert(n);
                    self.publisher = None;
                }
                None => {}
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Writer for Publishing {
    type Account = BTreeSet<u64>;

    fn write(&mut self, numbers: Range<u64>) {
        for (topic, n) in numbers.flat_map(self.messages) {
            self.publish(topic, n);
        }
    }

    fn close(self) -> BTreeSet<u64> {
        self.again
    }
}
