//! Where async I/O meets a worker: an [`inlet`] carries payloads from a tokio task to a source, an [`outlet`] carries
//! encoded batches from a sink to a tokio task.
//!
//! Invariants: both are bounded by bytes. A full inlet makes the task wait (so the broker is pushed back), a full
//! outlet makes the sink not ready (so its stage does not run). One item larger than the whole limit passes when the
//! queue is empty, so nothing is stuck forever. The worker never blocks; it is rung when there is something to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::error::{Error, Result};
use crate::park::Signal;

/// From a tokio task to a worker, `bytes_max` at a time.
pub fn inlet<T>(bytes_max: usize, worker: Arc<Signal>) -> (InletSender<T>, InletReceiver<T>) {
    let bytes_max =
        u32::try_from(bytes_max.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize))).unwrap_or(u32::MAX);
    let (items, queue) = mpsc::unbounded_channel();
    let room = Arc::new(Semaphore::new(bytes_max as usize));
    let queued = Arc::new(AtomicU64::new(0));
    (
        InletSender { items: Some(items), room, bytes_max, worker, queued: Arc::clone(&queued) },
        InletReceiver { queue, queued },
    )
}

/// The task's end of an inlet.
pub struct InletSender<T> {
    /// There until dropped: the worker must be rung after the queue is closed, not before.
    items: Option<mpsc::UnboundedSender<(T, OwnedSemaphorePermit)>>,
    room: Arc<Semaphore>,
    bytes_max: u32,
    worker: Arc<Signal>,
    queued: Arc<AtomicU64>,
}

impl<T> Clone for InletSender<T> {
    fn clone(&self) -> Self {
        Self {
            items: self.items.clone(),
            room: Arc::clone(&self.room),
            bytes_max: self.bytes_max,
            worker: Arc::clone(&self.worker),
            queued: Arc::clone(&self.queued),
        }
    }
}

impl<T> InletSender<T> {
    /// Hands `item` over, waiting while the inlet is full.
    ///
    /// # Errors
    /// `Closed` when the source is gone.
    pub async fn send(&self, item: T, bytes: usize) -> Result<()> {
        let closed = || Error::closed("the source has stopped");
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.bytes_max);
        let permit = Arc::clone(&self.room).acquire_many_owned(permits).await.map_err(|_| closed())?;
        self.queued.fetch_add(u64::from(permits), Ordering::Relaxed);
        self.items.as_ref().ok_or_else(closed)?.send((item, permit)).map_err(|_| closed())?;
        self.worker.notify();
        Ok(())
    }

    /// Takes room for an item of `bytes` that is still on its way, without waiting; `None` while there is too little.
    pub fn try_reserve(&self, bytes: usize) -> Option<Room> {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.bytes_max);
        let permit = Arc::clone(&self.room).try_acquire_many_owned(permits).ok()?;
        Some(Room { permit, bytes_max: self.bytes_max })
    }

    /// Hands `item` over in the room that was taken for it.
    ///
    /// # Errors
    /// `Closed` when the source is gone.
    pub fn send_reserved(&self, item: T, room: Room) -> Result<()> {
        let closed = || Error::closed("the source has stopped");
        self.queued.fetch_add(room.permit.num_permits() as u64, Ordering::Relaxed);
        self.items.as_ref().ok_or_else(closed)?.send((item, room.permit)).map_err(|_| closed())?;
        self.worker.notify();
        Ok(())
    }

    /// True when the source is gone.
    pub fn is_closed(&self) -> bool {
        self.items.as_ref().is_none_or(mpsc::UnboundedSender::is_closed)
    }

    /// Waits until the source is gone. Beside it in a `select!`, a task that waits for its socket or device ends with its
    /// source although nothing comes.
    pub async fn closed(&self) {
        if let Some(items) = &self.items {
            items.closed().await;
        }
    }

    /// Rings the worker without handing anything over.
    pub fn wake(&self) {
        self.worker.notify();
    }
}

impl<T> Drop for InletSender<T> {
    fn drop(&mut self) {
        self.items = None;
        self.worker.notify();
    }
}

/// Room in an inlet for an item that is still on its way; given back when dropped.
#[derive(Debug)]
pub struct Room {
    permit: OwnedSemaphorePermit,
    bytes_max: u32,
}

impl Room {
    /// Makes it room for `bytes` in all, without waiting. False, and as it was, while there is too little; an item
    /// needs no more than the whole inlet.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max);
        let more = wanted.saturating_sub(u32::try_from(self.permit.num_permits()).unwrap_or(u32::MAX));
        if more == 0 {
            return true;
        }
        match Arc::clone(self.permit.semaphore()).try_acquire_many_owned(more) {
            Ok(permit) => {
                self.permit.merge(permit);
                true
            }
            Err(_) => false,
        }
    }
}

/// The source's end of an inlet.
pub struct InletReceiver<T> {
    queue: mpsc::UnboundedReceiver<(T, OwnedSemaphorePermit)>,
    queued: Arc<AtomicU64>,
}

impl<T> InletReceiver<T> {
    /// The next item, if one is there.
    pub fn try_recv(&mut self) -> Option<T> {
        let (item, permit) = self.queue.try_recv().ok()?;
        self.queued.fetch_sub(permit.num_permits() as u64, Ordering::Relaxed);
        Some(item)
    }

    /// True when every sender is gone and nothing is left.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed() && self.queue.is_empty()
    }

    /// Bytes waiting.
    pub fn queue_bytes(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }
}

/// From a worker to a tokio task. Items count until the task says they are done (drops their [`InFlight`]).
pub fn outlet<T>(bytes_max: usize, worker: Arc<Signal>) -> (OutletSender<T>, OutletReceiver<T>) {
    let (items, queue) = mpsc::unbounded_channel();
    let gauge = Arc::new(Gauge { bytes: AtomicUsize::new(0), bytes_max: bytes_max.max(1), worker });
    (OutletSender { items, gauge }, OutletReceiver { queue })
}

struct Gauge {
    bytes: AtomicUsize,
    bytes_max: usize,
    worker: Arc<Signal>,
}

/// The sink's end of an outlet.
pub struct OutletSender<T> {
    items: mpsc::UnboundedSender<(T, InFlight)>,
    gauge: Arc<Gauge>,
}

impl<T> OutletSender<T> {
    /// Hands `item` over. Never refused for lack of room: ask [`OutletSender::is_ready`] first.
    ///
    /// # Errors
    /// `Closed` when the task is gone.
    pub fn send(&self, item: T, bytes: usize) -> Result<()> {
        self.gauge.bytes.fetch_add(bytes, Ordering::AcqRel);
        let in_flight = InFlight { bytes, gauge: Arc::clone(&self.gauge) };
        self.items.send((item, in_flight)).map_err(|_| Error::closed("the sink's delivery task has stopped"))
    }

    /// True while less than the limit is in flight.
    pub fn is_ready(&self) -> bool {
        self.gauge.bytes.load(Ordering::Acquire) < self.gauge.bytes_max
    }

    /// True when everything handed over is done.
    pub fn is_drained(&self) -> bool {
        self.gauge.bytes.load(Ordering::Acquire) == 0
    }

    /// True when the task is gone.
    pub fn is_closed(&self) -> bool {
        self.items.is_closed()
    }

    /// Bytes in flight.
    pub fn in_flight_bytes(&self) -> usize {
        self.gauge.bytes.load(Ordering::Acquire)
    }
}

/// The task's end of an outlet.
pub struct OutletReceiver<T> {
    queue: mpsc::UnboundedReceiver<(T, InFlight)>,
}

impl<T> OutletReceiver<T> {
    /// The next item; `None` when the sink is gone and nothing is left.
    pub async fn recv(&mut self) -> Option<(T, InFlight)> {
        self.queue.recv().await
    }

    /// The next item, if one is there.
    pub fn try_recv(&mut self) -> Option<(T, InFlight)> {
        self.queue.try_recv().ok()
    }
}

/// Keeps an item counted as in flight until dropped.
pub struct InFlight {
    bytes: usize,
    gauge: Arc<Gauge>,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let before = self.gauge.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        let after = before - self.bytes;
        // Ring when the limit is crossed or the last item is done: those are what a worker waits for.
        if after == 0 || (before >= self.gauge.bytes_max && after < self.gauge.bytes_max) {
            self.gauge.worker.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_inlet_waits_when_full_and_lets_one_giant_through() {
        let (tx, mut rx) = inlet::<u8>(10, Arc::default());
        tx.send(1, 1_000).await.unwrap();
        let second = tokio::spawn(async move { tx.send(2, 5).await });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        assert_eq!(rx.queue_bytes(), 10);
        assert_eq!(rx.try_recv(), Some(1));
        second.await.unwrap().unwrap();
        assert_eq!(rx.try_recv(), Some(2));
        assert!(rx.is_closed());
    }

    #[tokio::test]
    async fn a_waiting_task_learns_that_its_source_is_gone() {
        let (tx, rx) = inlet::<u8>(10, Arc::default());
        let waiting = tokio::spawn(async move { tx.closed().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(rx);
        waiting.await.unwrap();
    }

    #[test]
    fn room_is_taken_before_the_item_is_there_and_given_back() {
        let (tx, mut rx) = inlet::<u8>(10, Arc::default());
        let mut first = tx.try_reserve(4).unwrap();
        let second = tx.try_reserve(5).unwrap();
        assert!(tx.try_reserve(2).is_none() && first.try_grow(5) && !first.try_grow(6));
        drop(second);
        // No item needs more than the whole.
        assert!(first.try_grow(1_000));
        tx.send_reserved(7, first).unwrap();
        assert_eq!((rx.queue_bytes(), tx.try_reserve(1).is_none()), (10, true));
        assert_eq!((rx.try_recv(), rx.queue_bytes()), (Some(7), 0));
        assert!(tx.try_reserve(10).is_some());
    }

    #[tokio::test]
    async fn an_outlet_is_ready_again_when_items_are_done() {
        let (tx, mut rx) = outlet::<u8>(10, Arc::default());
        tx.send(1, 12).unwrap();
        assert!(!tx.is_ready());
        let (_, in_flight) = rx.recv().await.unwrap();
        assert!(!tx.is_drained());
        drop(in_flight);
        assert!(tx.is_ready() && tx.is_drained());
        drop(rx);
        assert!(tx.send(2, 1).is_err());
    }
}
