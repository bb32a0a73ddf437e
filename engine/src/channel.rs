//! The queue between two workers: one producer, one consumer, lock-free, bounded by bytes.
//!
//! Invariants: order is kept; nothing pushed is lost unless the consumer is dropped. `is_full` turns true at
//! `bytes_max`; a push is never refused, because a callback that is under way must be able to finish: what does not
//! fit the ring waits in the sender's own overflow, which is no larger than what one callback emits, since a stage
//! whose output is full does not run. Elements come from an exchange (exchange.rs) and go to a gate (gate.rs).
//!
//! The ring has `SLOTS` places. `tail` is written by the sender only, `head` by the receiver only; each publishes
//! with Release what the other acquires, so a slot is owned by exactly one side at a time.

use std::collections::VecDeque;
use std::mem::MaybeUninit;

use crate::park::Signal;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell, fence};

#[cfg(not(loom))]
const SLOTS: usize = 256;
#[cfg(loom)]
const SLOTS: usize = 2;

/// A place for an element and the bytes it counts.
type Slot<T> = UnsafeCell<MaybeUninit<(usize, T)>>;

struct Ring<T> {
    slots: Box<[Slot<T>]>,
    head: AtomicUsize,
    tail: AtomicUsize,
    bytes: AtomicUsize,
    bytes_max: usize,
    /// The sender found the queue full and wants to be woken.
    sender_waits: AtomicBool,
    receiver_gone: AtomicBool,
    sender_gone: AtomicBool,
    sender_signal: std::sync::Arc<Signal>,
    receiver_signal: std::sync::Arc<Signal>,
}

// SAFETY: a slot is touched by the sender before its Release store of `tail` and by the receiver after its Acquire
// load of it (and the other way round for `head`), never by both at once; T itself moves between threads.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: as above; the ring owns its elements.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        let tail = self.tail.load(Ordering::Acquire);
        let mut head = self.head.load(Ordering::Acquire);
        while head != tail {
            self.slots[head % SLOTS].with_mut(|slot| {
                // SAFETY: slots in head..tail were written and not yet read; both ends are gone.
                unsafe { (*slot).assume_init_drop() }
            });
            head = head.wrapping_add(1);
        }
    }
}

/// The producing end. Lives on one worker.
pub struct Sender<T> {
    ring: Arc<Ring<T>>,
    overflow: VecDeque<(usize, T)>,
}

/// The consuming end. Lives on one worker.
pub struct Receiver<T> {
    ring: Arc<Ring<T>>,
}

/// A queue that calls itself full at `bytes_max`. Each end's signal wakes the worker that end lives on.
pub fn channel<T>(
    bytes_max: usize,
    sender_signal: std::sync::Arc<Signal>,
    receiver_signal: std::sync::Arc<Signal>,
) -> (Sender<T>, Receiver<T>) {
    let slots = (0..SLOTS).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let ring = Arc::new(Ring {
        slots,
        head: AtomicUsize::new(0),
        tail: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        bytes_max: bytes_max.max(1),
        sender_waits: AtomicBool::new(false),
        receiver_gone: AtomicBool::new(false),
        sender_gone: AtomicBool::new(false),
        sender_signal,
        receiver_signal,
    });
    (Sender { ring: Arc::clone(&ring), overflow: VecDeque::new() }, Receiver { ring })
}

impl<T> Sender<T> {
    /// Appends `value`, which counts `bytes` against the limit, and wakes the receiver.
    pub fn push(&mut self, value: T, bytes: usize) {
        self.ring.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.overflow.push_back((bytes, value));
        self.flush();
    }

    /// Moves what waits in the overflow into the ring as far as it fits.
    pub fn flush(&mut self) {
        if self.overflow.is_empty() {
            return;
        }
        let ring = &*self.ring;
        let mut tail = ring.tail.load(Ordering::Relaxed);
        // Acquire: the receiver's reads of the slots it freed are over.
        let head = ring.head.load(Ordering::Acquire);
        let mut moved = false;
        while tail.wrapping_sub(head) < SLOTS {
            let Some(entry) = self.overflow.pop_front() else { break };
            ring.slots[tail % SLOTS].with_mut(|slot| {
                // SAFETY: this slot is outside head..tail, so it is the sender's.
                unsafe { (*slot).write(entry) };
            });
            tail = tail.wrapping_add(1);
            moved = true;
        }
        if moved {
            // Release: the slots written above are visible to whoever acquires the new tail.
            ring.tail.store(tail, Ordering::Release);
            ring.receiver_signal.notify();
        }
    }

    /// True at the byte limit, or while an overflow waits. The sender is then woken once there is room.
    pub fn is_full(&mut self) -> bool {
        self.flush();
        if !self.full_now() {
            return false;
        }
        // Ask to be woken, then look again: the receiver subtracts, then looks whether we asked. The fences put
        // each side's write before its read, so not both can miss the other (Dekker's pattern).
        self.ring.sender_waits.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.flush();
        self.full_now()
    }

    /// True when nothing waits in the overflow any more.
    pub fn is_flushed(&mut self) -> bool {
        self.flush();
        self.overflow.is_empty()
    }

    fn full_now(&self) -> bool {
        !self.ring.receiver_gone.load(Ordering::Relaxed)
            && (!self.overflow.is_empty() || self.ring.bytes.load(Ordering::Relaxed) >= self.ring.bytes_max)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.flush();
        self.ring.sender_gone.store(true, Ordering::Release);
        self.ring.receiver_signal.notify();
    }
}

impl<T> Receiver<T> {
    /// The oldest element, if there is one.
    pub fn pop(&mut self) -> Option<T> {
        let ring = &*self.ring;
        let head = ring.head.load(Ordering::Relaxed);
        // Acquire: the sender's writes to the slots before `tail` are visible.
        if head == ring.tail.load(Ordering::Acquire) {
            return None;
        }
        let (bytes, value) = ring.slots[head % SLOTS].with(|slot| {
            // SAFETY: this slot is inside head..tail, so it was written and is the receiver's; moving `head` on
            // below gives it back, so it is read once.
            unsafe { (*slot).assume_init_read() }
        });
        // Release: our read of the slot is over before the sender may write it again.
        ring.head.store(head.wrapping_add(1), Ordering::Release);
        let left = ring.bytes.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        fence(Ordering::SeqCst);
        // Half empty before waking, so that the two do not hand over one element at a time; or the ring itself
        // has drained while the rest waits in the sender's overflow.
        if ring.sender_waits.load(Ordering::Relaxed)
            && (left <= ring.bytes_max / 2 || head.wrapping_add(1) == ring.tail.load(Ordering::Relaxed))
            && ring.sender_waits.swap(false, Ordering::Relaxed)
        {
            ring.sender_signal.notify();
        }
        Some(value)
    }

    /// True when nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.ring.head.load(Ordering::Relaxed) == self.ring.tail.load(Ordering::Acquire)
    }

    /// True when the sender is gone and everything it sent was popped.
    pub fn is_closed(&self) -> bool {
        self.ring.sender_gone.load(Ordering::Acquire) && self.is_empty()
    }

    /// Bytes pushed and not yet popped.
    pub fn queue_bytes(&self) -> usize {
        self.ring.bytes.load(Ordering::Relaxed)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.ring.receiver_gone.store(true, Ordering::Release);
        self.ring.sender_signal.notify();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn pair(bytes_max: usize) -> (Sender<u64>, Receiver<u64>) {
        channel(bytes_max, std::sync::Arc::default(), std::sync::Arc::default())
    }

    #[test]
    fn keeps_order_beyond_the_ring() {
        let (mut tx, mut rx) = pair(usize::MAX);
        for value in 0..1000 {
            tx.push(value, 1);
        }
        let mut seen = Vec::new();
        while seen.len() < 1000 {
            tx.flush();
            while let Some(value) = rx.pop() {
                seen.push(value);
            }
        }
        assert_eq!(seen, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn is_full_at_the_byte_limit_and_has_room_again() {
        let (mut tx, mut rx) = pair(100);
        tx.push(1, 60);
        assert!(!tx.is_full());
        tx.push(2, 60);
        assert!(tx.is_full());
        assert_eq!(rx.pop(), Some(1));
        assert!(!tx.is_full());
        assert_eq!(rx.queue_bytes(), 60);
    }

    #[test]
    fn what_was_sent_before_the_sender_went_is_still_there() {
        let (mut tx, mut rx) = pair(100);
        tx.push(1, 1);
        drop(tx);
        assert!(!rx.is_closed());
        assert_eq!(rx.pop(), Some(1));
        assert!(rx.is_closed());
    }

    #[test]
    fn elements_left_inside_are_dropped_once() {
        let marker = std::sync::Arc::new(());
        let (mut tx, rx) = channel(10, std::sync::Arc::default(), std::sync::Arc::default());
        for _ in 0..3 {
            tx.push(std::sync::Arc::clone(&marker), 1);
        }
        drop((tx, rx));
        assert_eq!(std::sync::Arc::strong_count(&marker), 1);
    }

    #[test]
    fn two_threads_hand_over_everything() {
        let (sender_signal, receiver_signal) =
            (std::sync::Arc::<Signal>::default(), std::sync::Arc::default());
        let (mut tx, mut rx) =
            channel(1000, std::sync::Arc::clone(&sender_signal), std::sync::Arc::clone(&receiver_signal));
        let producer = std::thread::spawn(move || {
            sender_signal.own();
            for value in 0..100_000_u64 {
                while tx.is_full() {
                    sender_signal.park(None);
                }
                tx.push(value, 8);
            }
            while !tx.overflow.is_empty() {
                tx.flush();
            }
        });
        receiver_signal.own();
        let mut next = 0;
        while next < 100_000 {
            match rx.pop() {
                Some(value) => {
                    assert_eq!(value, next);
                    next += 1;
                }
                None => receiver_signal.park(None),
            }
        }
        producer.join().unwrap();
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use crate::sync::thread;

    /// Three elements through a ring of two slots and a limit of one element: order, no loss, no lost wake-up on
    /// either side, whatever the interleaving.
    #[test]
    fn hands_over_in_order_and_wakes_both_sides() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| {
            let sender_signal = std::sync::Arc::<Signal>::default();
            let receiver_signal = std::sync::Arc::<Signal>::default();
            let (mut tx, mut rx) =
                channel(1, std::sync::Arc::clone(&sender_signal), std::sync::Arc::clone(&receiver_signal));
            let producer = thread::spawn(move || {
                sender_signal.own();
                for value in 0..3 {
                    while tx.is_full() {
                        sender_signal.park(None);
                    }
                    tx.push(value, 1);
                }
                // A stage has not finished before its exchanges are flushed; a sender that goes earlier takes what is
                // left in its overflow with it.
                while !tx.is_flushed() {
                    if tx.is_full() {
                        sender_signal.park(None);
                    }
                }
            });
            receiver_signal.own();
            let mut next = 0;
            while next < 3 {
                match rx.pop() {
                    Some(value) => {
                        assert_eq!(value, next);
                        next += 1;
                    }
                    None => receiver_signal.park(None),
                }
            }
            producer.join().unwrap();
        });
    }
}
