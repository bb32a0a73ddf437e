//! Arrow batches in and out of a program: the library's own source and sink.
//!
//! [`MemorySource::bounded`] reads a list of batches; [`MemorySource::channel`] gives a [`Pusher`], which waits (or says
//! so) while the pipeline is behind. [`MemorySink::channel`] gives a [`Puller`]. Both queues are bounded in bytes; a full
//! one pushes back, none drops.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use millstream_engine::park::Signal;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{
    Batch, Error, InstanceContext, Output, Ready, Result, Sink, SinkProvider, Source, SourcePoll,
    SourceProvider, Stop, prune,
};
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

/// A source of batches from memory.
pub struct MemorySource {
    schema: SchemaRef,
    kind: SourceKind,
}

enum SourceKind {
    Bounded { batches: Arc<[RecordBatch]>, parallelism: usize },
    Pushed(Arc<Queue>),
}

impl MemorySource {
    /// Reads `batches` once. With `parallelism` above 1, instances take them in turn.
    pub fn bounded(schema: SchemaRef, batches: Vec<RecordBatch>, parallelism: usize) -> Self {
        Self { schema, kind: SourceKind::Bounded { batches: batches.into(), parallelism } }
    }

    /// Reads what is pushed into the handle, until that is closed or dropped.
    pub fn channel(schema: SchemaRef, bytes_max: usize) -> (Self, Pusher) {
        let queue = Queue::new(bytes_max);
        let pusher = Pusher { schema: Arc::clone(&schema), queue: Arc::clone(&queue) };
        (Self { schema, kind: SourceKind::Pushed(queue) }, pusher)
    }

    /// The columns that come in.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl SourceProvider for MemorySource {
    fn is_bounded(&self) -> bool {
        true
    }
    fn parallelism(&self, workers: usize) -> usize {
        match self.kind {
            SourceKind::Bounded { parallelism, .. } => parallelism.min(workers),
            SourceKind::Pushed(_) => 1,
        }
    }
    fn create(&self, schema: SchemaRef, instance: usize, parallelism: usize) -> Result<Box<dyn Source>> {
        Ok(match &self.kind {
            SourceKind::Bounded { batches, .. } => Box::new(BoundedInstance {
                batches: Arc::clone(batches),
                schema,
                next: instance,
                stride: parallelism,
            }),
            SourceKind::Pushed(queue) => Box::new(PushedInstance { queue: Arc::clone(queue), schema }),
        })
    }
}

struct BoundedInstance {
    batches: Arc<[RecordBatch]>,
    schema: SchemaRef,
    next: usize,
    stride: usize,
}

impl Source for BoundedInstance {
    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        let Some(rows) = self.batches.get(self.next) else { return Ok(SourcePoll::Finished) };
        self.next += self.stride;
        out.emit(Batch::new(prune(rows, &self.schema)?))?;
        Ok(SourcePoll::Ready)
    }
    fn snapshot(&mut self, state: &mut StateWriter) -> Result<()> {
        state.put_blob((self.next as u64).to_le_bytes().to_vec());
        Ok(())
    }
    fn restore(&mut self, state: &StateReader) -> Result<()> {
        // Taken up again only by one instance: with several, who has read what depends on their number.
        if let Some(next) =
            state.blobs().filter_map(|blob| Some(u64::from_le_bytes(blob.try_into().ok()?))).min()
        {
            self.next = usize::try_from(next).unwrap_or(usize::MAX);
        }
        Ok(())
    }
}

/// A queue of batches between a program and a worker.
struct Queue {
    inner: Mutex<QueueInner>,
    changed: Condvar,
    /// The same bell for those who wait in async code.
    changed_async: Notify,
    bytes_max: usize,
}

#[derive(Default)]
struct QueueInner {
    batches: VecDeque<(usize, Batch)>,
    bytes: usize,
    closed: bool,
    worker: Option<Arc<Signal>>,
}

impl Queue {
    fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::default(),
            changed: Condvar::new(),
            changed_async: Notify::new(),
            bytes_max: bytes_max.max(1),
        })
    }

    /// True while there is room; one batch always fits an empty queue.
    fn has_room(&self, inner: &QueueInner) -> bool {
        inner.bytes < self.bytes_max || inner.batches.is_empty()
    }

    fn add(inner: &mut QueueInner, batch: Batch) {
        let bytes = batch.num_bytes();
        inner.bytes += bytes;
        inner.batches.push_back((bytes, batch));
    }

    fn take(inner: &mut QueueInner) -> Option<Batch> {
        let (bytes, batch) = inner.batches.pop_front()?;
        inner.bytes -= bytes;
        Some(batch)
    }

    fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        if let Some(worker) = &inner.worker {
            worker.notify();
        }
        self.ring();
    }

    /// Wakes the program's side.
    fn ring(&self) {
        self.changed.notify_all();
        self.changed_async.notify_waiters();
    }

    /// Waits in async code until `attempt` gives something; asked again after every change.
    async fn until<T>(&self, mut attempt: impl FnMut(&mut QueueInner) -> Option<T>) -> T {
        loop {
            // Listening begins before the attempt, so that a change in between is not missed.
            let mut changed = std::pin::pin!(self.changed_async.notified());
            changed.as_mut().enable();
            if let Some(found) = attempt(&mut self.inner.lock()) {
                return found;
            }
            changed.await;
        }
    }
}

/// Pushes batches into a pipeline. Dropping it ends the source.
pub struct Pusher {
    schema: SchemaRef,
    queue: Arc<Queue>,
}

impl Pusher {
    /// Hands `rows` over, waiting while the pipeline is behind.
    ///
    /// # Errors
    /// `Closed` when the pipeline has ended, `Config` when the columns are not the source's.
    pub fn push(&self, rows: RecordBatch) -> Result<()> {
        self.check(&rows)?;
        let mut inner = self.queue.inner.lock();
        while !self.queue.has_room(&inner) && !inner.closed {
            self.queue.changed.wait(&mut inner);
        }
        Self::add(&mut inner, rows)
    }

    /// Hands `rows` over, waiting in async code while the pipeline is behind.
    ///
    /// # Errors
    /// As [`Pusher::push`].
    pub async fn push_async(&self, rows: RecordBatch) -> Result<()> {
        self.check(&rows)?;
        let mut rows = Some(rows);
        let queue = &self.queue;
        queue
            .until(|inner| {
                (queue.has_room(inner) || inner.closed)
                    .then(|| rows.take().map_or(Ok(()), |rows| Self::add(inner, rows)))
            })
            .await
    }

    /// Hands `rows` over if there is room, and gives them back if not.
    ///
    /// # Errors
    /// As [`Pusher::push`].
    pub fn try_push(&self, rows: RecordBatch) -> Result<Option<RecordBatch>> {
        self.check(&rows)?;
        let mut inner = self.queue.inner.lock();
        if !self.queue.has_room(&inner) {
            return Ok(Some(rows));
        }
        Self::add(&mut inner, rows).map(|()| None)
    }

    /// Nothing more will be pushed.
    pub fn close(&self) {
        self.queue.close();
    }

    fn add(inner: &mut QueueInner, rows: RecordBatch) -> Result<()> {
        if inner.closed {
            return Err(Error::closed("the pipeline has ended"));
        }
        Queue::add(inner, Batch::new(rows));
        if let Some(worker) = &inner.worker {
            worker.notify();
        }
        Ok(())
    }

    fn check(&self, rows: &RecordBatch) -> Result<()> {
        prune(rows, &self.schema).map(|_| ())
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.queue.close();
    }
}

struct PushedInstance {
    queue: Arc<Queue>,
    schema: SchemaRef,
}

impl Source for PushedInstance {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.queue.inner.lock().worker = Some(Arc::clone(&context.waker));
        Ok(())
    }
    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        let (batch, closed) = {
            let mut inner = self.queue.inner.lock();
            let batch = Queue::take(&mut inner);
            (batch, inner.closed)
        };
        match batch {
            Some(batch) => {
                self.queue.ring();
                out.emit(Batch::new(prune(&batch.rows, &self.schema)?))?;
                Ok(SourcePoll::Ready)
            }
            None if closed => Ok(SourcePoll::Finished),
            None => Ok(SourcePoll::Waiting),
        }
    }
    fn stop(&mut self) -> Stop {
        self.queue.close();
        Stop::WhenFinished
    }
}

impl Drop for PushedInstance {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// A sink into a program.
pub struct MemorySink {
    queue: Arc<Queue>,
}

impl MemorySink {
    /// A sink, and the handle its batches are received through.
    pub fn channel(bytes_max: usize) -> (Self, Puller) {
        let queue = Queue::new(bytes_max);
        (Self { queue: Arc::clone(&queue) }, Puller { queue })
    }
}

impl SinkProvider for MemorySink {
    fn accepts_updates(&self) -> bool {
        true
    }
    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(MemorySinkInstance { queue: Arc::clone(&self.queue) }))
    }
}

struct MemorySinkInstance {
    queue: Arc<Queue>,
}

impl Sink for MemorySinkInstance {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        self.queue.inner.lock().worker = Some(Arc::clone(&context.waker));
        Ok(())
    }
    fn write(&mut self, batch: Batch) -> Result<()> {
        let mut inner = self.queue.inner.lock();
        if inner.closed {
            return Err(Error::closed("the receiver of the rows is gone"));
        }
        Queue::add(&mut inner, batch);
        drop(inner);
        self.queue.ring();
        Ok(())
    }
    fn is_ready(&self) -> bool {
        let inner = self.queue.inner.lock();
        inner.closed || self.queue.has_room(&inner)
    }
    fn finish(&mut self) -> Result<Ready> {
        self.queue.close();
        Ok(Ready::Yes)
    }
}

impl Drop for MemorySinkInstance {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Receives batches from a pipeline. Dropping it fails the pipeline's next write.
pub struct Puller {
    queue: Arc<Queue>,
}

impl Puller {
    /// The next batch; `None` when the pipeline has ended and everything was received.
    pub fn recv(&self) -> Option<Batch> {
        let mut inner = self.queue.inner.lock();
        loop {
            if let Some(batch) = Queue::take(&mut inner) {
                Self::taken(&inner);
                return Some(batch);
            }
            if inner.closed {
                return None;
            }
            self.queue.changed.wait(&mut inner);
        }
    }

    /// The next batch, waiting for it in async code; `None` as with [`Puller::recv`].
    pub async fn recv_async(&self) -> Option<Batch> {
        self.queue
            .until(|inner| match Queue::take(inner) {
                Some(batch) => {
                    Self::taken(inner);
                    Some(Some(batch))
                }
                None => inner.closed.then_some(None),
            })
            .await
    }

    /// The next batch, waiting at most `limit` for it.
    pub fn recv_timeout(&self, limit: Duration) -> Option<Batch> {
        let mut inner = self.queue.inner.lock();
        if inner.batches.is_empty() && !inner.closed {
            self.queue.changed.wait_for(&mut inner, limit);
        }
        let batch = Queue::take(&mut inner);
        Self::taken(&inner);
        batch
    }

    /// The next batch, if one is there.
    pub fn try_recv(&self) -> Option<Batch> {
        let mut inner = self.queue.inner.lock();
        let batch = Queue::take(&mut inner);
        Self::taken(&inner);
        batch
    }

    fn taken(inner: &QueueInner) {
        if let Some(worker) = &inner.worker {
            worker.notify();
        }
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(worker) = &self.queue.inner.lock().worker {
            worker.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int64Array;
    use arrow_schema::{DataType, Field, Schema};
    use millstream_engine::{Graph, Input, Job, JobConfig};

    fn rows(value: i64) -> RecordBatch {
        let schema = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(Int64Array::from(vec![value; 100]))]).unwrap()
    }

    #[tokio::test]
    async fn async_handles_push_back_and_end_as_the_others_do() {
        // Two batches fill each queue, so that both sides have to wait for each other many times.
        let (source, pusher) = MemorySource::channel(rows(0).schema(), 1_000);
        let (sink, puller) = MemorySink::channel(1_000);
        let mut graph = Graph::new();
        let schema = Arc::clone(source.schema());
        let node = graph.source("in", "", Arc::new(source), schema);
        graph.sink("out", "", Arc::new(sink), Input::forward(node));
        let job = Job::start(&graph, JobConfig { workers: 1, ..JobConfig::default() }).unwrap();
        let pushing = tokio::spawn(async move {
            for value in 0..200 {
                pusher.push_async(rows(value)).await.unwrap();
            }
        });
        let mut seen = 0;
        while let Some(batch) = puller.recv_async().await {
            seen += batch.num_rows();
        }
        pushing.await.unwrap();
        assert_eq!(seen, 20_000);
        job.wait().unwrap();
        assert!(puller.recv_async().await.is_none());
    }
}
