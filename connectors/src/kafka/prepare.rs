//! What formats fetch before they can work, such as schemas from a registry: waited for on the I/O side.
//!
//! Invariants: the worker never waits. A source's thread asks for each message before it is handed over; a sink is not
//! ready before what its formats and its partitioner need is there. What is away is asked for again until it answers or
//! the instance ends; only a bad payload is passed on, so that the decoder says what is wrong with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow_schema::SchemaRef;
use rdkafka::error::KafkaResult;
use tokio::runtime::Handle;
use tokio::time::sleep;

use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::{Codec, ErrorKind, InstanceContext, Result, Task};

use super::watch::Watch;

/// How long to wait before asking again; twice as long each time, up to the second.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// How long to wait before attempt `attempt`, counted from 1.
fn pause(attempt: u32) -> Duration {
    PAUSE_MIN.saturating_mul(1 << attempt.saturating_sub(1).min(6)).min(PAUSE_MAX)
}

/// Fetches what decoding `payload` needs, as long as that takes. False when `has_to_end` said so before.
pub(super) fn payload(
    codec: &dyn Codec,
    payload: &[u8],
    (io, watch, metrics): (&Handle, &Watch, &OperatorMetrics),
    has_to_end: impl Fn() -> bool,
) -> bool {
    let mut attempt = 0;
    while let Some(prepare) = codec.prepare(payload) {
        match io.block_on(prepare) {
            Err(error) if error.kind() != ErrorKind::Data => {
                attempt += 1;
                metrics.retries.add(1);
                watch.down(&format!("messages wait for their format: {error}"));
                // In short steps, since the source may end meanwhile.
                let steps = (pause(attempt).as_millis() / PAUSE_MIN.as_millis()).max(1);
                for _ in 0..steps {
                    if has_to_end() {
                        return false;
                    }
                    std::thread::sleep(PAUSE_MIN);
                }
            }
            _ => break,
        }
    }
    if attempt > 0 {
        watch.up();
    }
    true
}

/// Asks the brokers, waiting for their answer; how many partitions the sink's topic has.
pub(super) type Ask = Arc<dyn Fn() -> KafkaResult<usize> + Send + Sync>;

/// What one sink instance waits for before its first row, and then the keeper of its link's state.
pub(super) struct Preparation {
    shared: Arc<Progress>,
    _task: Task,
}

#[derive(Default)]
struct Progress {
    is_ready: AtomicBool,
    partitions: AtomicUsize,
}

impl Preparation {
    /// Registers what the encoders of `formats` need, then asks the brokers whenever they may be away; rows wait for
    /// their first answer if `is_counting`. `fail` is told what trying again would not mend.
    ///
    /// # Errors
    /// If the I/O runtime does not start.
    pub fn start(
        formats: Vec<(Arc<dyn Codec>, SchemaRef)>,
        (ask, is_counting): (Ask, bool),
        context: &InstanceContext,
        watch: &Arc<Watch>,
        fail: impl Fn(millstream_engine::Error) + Send + 'static,
    ) -> Result<Self> {
        let shared = Arc::<Progress>::default();
        let has_to_wait =
            is_counting || formats.iter().any(|(codec, schema)| codec.prepare_encoder(schema).is_some());
        shared.is_ready.store(!has_to_wait, Ordering::Release);
        let (progress, watch, context_of) = (Arc::clone(&shared), Arc::clone(watch), context.clone());
        let run = async move {
            let context = context_of;
            for (codec, schema) in formats {
                if let Err(error) = encoder(codec.as_ref(), &schema, &watch, &context).await {
                    return fail(error);
                }
            }
            let ready = || {
                if !progress.is_ready.swap(true, Ordering::AcqRel) {
                    context.waker.notify();
                }
            };
            if !is_counting {
                ready();
            }
            loop {
                watch.suspected().await;
                let ask = Arc::clone(&ask);
                match tokio::task::spawn_blocking(move || ask()).await {
                    Ok(Ok(partitions)) => {
                        progress.partitions.store(partitions, Ordering::Relaxed);
                        watch.up();
                        ready();
                    }
                    Ok(Err(error)) => {
                        watch.down(&error.to_string());
                        sleep(context.clock.sleep_for(PAUSE_MIN)).await;
                    }
                    // The runtime ends.
                    Err(_) => return,
                }
            }
        };
        Ok(Self { shared, _task: context.spawn(run)? })
    }

    /// True when rows can be encoded and sent.
    pub fn is_done(&self) -> bool {
        self.shared.is_ready.load(Ordering::Acquire)
    }

    /// How many partitions the topic has; 0 as long as that is not known.
    pub fn partitions(&self) -> usize {
        self.shared.partitions.load(Ordering::Relaxed)
    }
}

/// Fetches what encoding needs, as long as that takes.
async fn encoder(
    codec: &dyn Codec,
    schema: &SchemaRef,
    watch: &Watch,
    context: &InstanceContext,
) -> Result<()> {
    let mut attempt = 0;
    while let Some(prepare) = codec.prepare_encoder(schema) {
        match prepare.await {
            Ok(()) => break,
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                attempt += 1;
                context.metrics.retries.add(1);
                watch.down(&format!("rows wait for their format: {error}"));
                sleep(context.clock.sleep_for(pause(attempt))).await;
            }
            Err(error) => return Err(error),
        }
    }
    if attempt > 0 {
        watch.up();
    }
    Ok(())
}
