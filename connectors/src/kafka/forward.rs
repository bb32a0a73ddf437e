//! The task behind an outbox: hands its records to the producer, in their order.
//!
//! Invariants: a record keeps its share of the outlet's bytes until each of its messages is delivered or with the dead
//! letters (consignment.rs), so librdkafka holds no more than 'outlet.max-bytes', and the outbox the rest. The order of a
//! partition is that of the records, for librdkafka keeps it. Ends with its sink; what is then on its way, the next run
//! sends again.

use std::sync::Arc;

use millstream_engine::Result;
use millstream_engine::io::OutletReceiver;

use crate::delivery::DeliveryTask;

use super::consignment::Consignment;
use super::producer::Producer;
use super::stored::Stored;

/// See the module's page.
pub(super) struct Forwarder {
    pub producer: Arc<Producer>,
}

impl DeliveryTask<Stored> for Forwarder {
    async fn run(&mut self, outlet: &mut OutletReceiver<Stored>) -> Result<()> {
        while let Some((record, share)) = outlet.recv().await {
            let consignment = Consignment::of_record(Arc::clone(&record.ticket), record.len(), share);
            for message in record.messages() {
                self.producer.send(&message?, &consignment)?;
            }
        }
        Ok(())
    }
}
