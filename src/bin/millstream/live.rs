//! `GET /rows`: the rows of bare SELECTs as server-sent events, while they go where they go anyway.
//!
//! [`Live::results`] puts a sink around each SELECT's own that encodes a batch once and hands it to whoever listens; http.rs
//! serves what [`Live::listen`] gives. Invariants: nobody who listens slows the pipeline down, and nobody is shown a gap: who
//! is [`QUEUE_BYTES_MAX`] behind is disconnected, and counted. Without listeners a batch costs one atomic load.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame};
use millstream::connectors::format::JsonEncoder;
use millstream::engine::{Batch, Encoder, Result, Sink, SinkProvider};
use millstream::sql::{QueryResult, ResultSinks};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Interval, interval};

use crate::tapped::Tapped;

/// Bytes that wait for one listener.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// Who may listen at a time; the endpoint keeps connections for probes and scrapers.
const LISTENERS_MAX: usize = 16;
/// How often a comment keeps a quiet connection from being taken for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The rows as they come, for whoever listens.
#[derive(Default)]
pub struct Live {
    listeners: Mutex<Vec<Listener>>,
    /// As many as are in `listeners`.
    count: AtomicUsize,
    dropped: AtomicU64,
    /// Bare SELECTs of the text.
    queries: AtomicUsize,
}

struct Listener {
    /// The only query that it wants.
    query: Option<usize>,
    events: UnboundedSender<Bytes>,
    queued: Arc<AtomicUsize>,
    /// Ends its connection.
    cut: Arc<Notify>,
}

impl Live {
    /// Results that go to `results`, and to whoever listens.
    pub fn results(self: &Arc<Self>, results: ResultSinks) -> ResultSinks {
        let live = Arc::clone(self);
        Arc::new(move |query: &QueryResult| {
            live.queries.fetch_max(query.index + 1, Ordering::Relaxed);
            let inner = results(query);
            Arc::new(Tee { inner, live: Arc::clone(&live), query: query.index }) as Arc<dyn SinkProvider>
        })
    }

    /// How many bare SELECTs there are.
    pub fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }

    /// Who listens now.
    pub fn listeners(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Who was disconnected for being too slow.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Begins to listen to one query, or to all; `None` when too many do. `cut` is rung when the connection is to end.
    pub fn listen(self: &Arc<Self>, query: Option<usize>, cut: Arc<Notify>) -> Option<Events> {
        let mut listeners = self.listeners.lock();
        if listeners.len() >= LISTENERS_MAX {
            return None;
        }
        let ((sender, receiver), queued) = (unbounded_channel(), Arc::<AtomicUsize>::default());
        listeners.push(Listener { query, events: sender, queued: Arc::clone(&queued), cut });
        self.count.store(listeners.len(), Ordering::Relaxed);
        Some(Events { events: receiver, queued, heartbeat: interval(HEARTBEAT), live: Arc::clone(self) })
    }

    fn publish(&self, query: usize, events: &Bytes) {
        let mut listeners = self.listeners.lock();
        listeners.retain(|listener| {
            if listener.query.is_some_and(|wanted| wanted != query) {
                return true;
            }
            // A batch that is larger than the whole queue passes when that is empty.
            let behind = listener.queued.load(Ordering::Relaxed);
            if behind > 0 && behind + events.len() > QUEUE_BYTES_MAX {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                listener.cut.notify_one();
                return false;
            }
            listener.queued.fetch_add(events.len(), Ordering::Relaxed);
            listener.events.send(events.clone()).is_ok()
        });
        self.count.store(listeners.len(), Ordering::Relaxed);
    }
}

/// What a listener is sent.
pub struct Events {
    events: UnboundedReceiver<Bytes>,
    queued: Arc<AtomicUsize>,
    heartbeat: Interval,
    live: Arc<Live>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.events.close();
        let mut listeners = self.live.listeners.lock();
        listeners.retain(|listener| !listener.events.is_closed());
        self.live.count.store(listeners.len(), Ordering::Relaxed);
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Poll::Ready(events) = self.events.poll_recv(context) {
            return Poll::Ready(events.map(|events| {
                self.queued.fetch_sub(events.len(), Ordering::Relaxed);
                Ok(Frame::data(events))
            }));
        }
        // The first comes at once, so that a listener knows that it is heard.
        self.heartbeat.poll_tick(context).map(|_| Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))))
    }
}

/// The sink of a SELECT, and whoever listens.
struct Tee {
    inner: Arc<dyn SinkProvider>,
    live: Arc<Live>,
    query: usize,
}

impl SinkProvider for Tee {
    fn parallelism(&self, workers: usize) -> usize {
        self.inner.parallelism(workers)
    }

    fn accepts_updates(&self) -> bool {
        self.inner.accepts_updates()
    }

    fn order_keys(&self) -> Vec<usize> {
        self.inner.order_keys()
    }

    fn create(&self, instance: usize, parallelism: usize) -> Result<Box<dyn Sink>> {
        let inner = self.inner.create(instance, parallelism)?;
        let (live, query) = (Arc::clone(&self.live), self.query);
        let (mut plain, mut with_op) = (JsonEncoder::new(false), JsonEncoder::new(true));
        let write = move |inner: &mut dyn Sink, batch: Batch| {
            if live.listeners() > 0 {
                let encoder = if batch.changes.is_some() { &mut with_op } else { &mut plain };
                encoder.encode(&batch)?;
                let rows = encoder.encoded();
                let mut events = Vec::with_capacity(rows.bytes.len() + 8 * rows.ends.len());
                for row in rows.rows() {
                    events.extend_from_slice(b"data: ");
                    events.extend_from_slice(row);
                    events.extend_from_slice(b"\n\n");
                }
                live.publish(query, &events.into());
            }
            inner.write(batch)
        };
        Ok(Box::new(Tapped { inner, write }))
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
