//! Where channels meet: the head of every stage that is fed by an exchange.
//!
//! A gate pops its channels in turn, merges their watermarks by minimum (idle and ended channels left out), aligns
//! their barriers (a channel whose barrier came waits until all others' have), gathers small batches, and hands the
//! stage one element at a time together with the watermark of the channel it came through.
//!
//! Invariants: per channel order is kept; a merged watermark never goes back; a barrier passes exactly when every
//! live channel has delivered it, and nothing that came after it on any channel passes before. Gathering may move rows
//! in front of a watermark that came before them on their channel, only if every one of them lies above it, and never
//! makes anything wait: when the channels are empty, what was gathered goes.

use std::collections::VecDeque;

use crate::batch::Batch;
use crate::channel::Receiver;
use crate::element::{Element, Epoch, WATERMARK_MAX_MS, WATERMARK_MIN_MS};
use crate::error::Result;

/// Batches that are popped from a channel without a watermark between them before the others are looked at: one that never
/// runs empty must not keep the rows and barriers of others waiting.
const BATCHES_PER_CHANNEL: u32 = 8;

struct Channel {
    queue: Receiver<Element>,
    port: usize,
    watermark_ms: i64,
    idle: bool,
    ended: bool,
    /// Its barrier has come: nothing more is popped until the others' have.
    at_barrier: bool,
    gathered: Vec<Batch>,
    gathered_rows: usize,
    /// A watermark that came after the first gathered batch: time and stamp.
    held_watermark: Option<(i64, u64)>,
}

/// An element for the stage.
pub(crate) struct Arrival {
    pub port: usize,
    pub element: Element,
    /// The watermark of the channel it came through, which lateness is judged against.
    pub clock_ms: i64,
}

/// The merged input of one stage instance.
pub(crate) struct Gate {
    channels: Vec<Channel>,
    ready: VecDeque<Arrival>,
    merged_ms: i64,
    idle: bool,
    next: usize,
    /// Batches popped in a row from channel `next`.
    stayed: u32,
    /// The epoch whose barriers are being aligned.
    aligning: Option<Epoch>,
    /// Batches below this many rows are gathered; 0 turns gathering off.
    gather_rows: usize,
}

impl Gate {
    /// A gate over `channels`, each with the input port it belongs to.
    pub fn new(channels: Vec<(usize, Receiver<Element>)>, gather_rows: usize) -> Self {
        let channels = channels
            .into_iter()
            .map(|(port, queue)| Channel {
                queue,
                port,
                watermark_ms: WATERMARK_MIN_MS,
                idle: false,
                ended: false,
                at_barrier: false,
                gathered: Vec::new(),
                gathered_rows: 0,
                held_watermark: None,
            })
            .collect();
        Self {
            channels,
            ready: VecDeque::new(),
            merged_ms: WATERMARK_MIN_MS,
            idle: false,
            next: 0,
            stayed: 0,
            aligning: None,
            gather_rows,
        }
    }

    /// The next element for the stage, or `None` when nothing is there.
    pub fn next(&mut self) -> Result<Option<Arrival>> {
        loop {
            if let Some(arrival) = self.ready.pop_front() {
                return Ok(Some(arrival));
            }
            if !self.pop_one()? {
                for index in 0..self.channels.len() {
                    self.flush(index)?;
                }
                return Ok(self.ready.pop_front());
            }
        }
    }

    /// Bytes waiting in all channels.
    pub fn queue_bytes(&self) -> u64 {
        self.channels.iter().map(|channel| channel.queue.queue_bytes() as u64).sum()
    }

    /// Pops one element from the next channel that has one. False when none has.
    fn pop_one(&mut self) -> Result<bool> {
        let count = self.channels.len();
        for step in 0..count {
            let index = (self.next + step) % count;
            let channel = &mut self.channels[index];
            if channel.at_barrier || channel.ended {
                continue;
            }
            let Some(element) = channel.queue.pop() else { continue };
            // Stay on a channel for a while: the watermark after a batch belongs to it.
            self.stayed = if step == 0 { self.stayed + 1 } else { 1 };
            if matches!(element, Element::Batch(_)) && self.stayed < BATCHES_PER_CHANNEL {
                self.next = index;
            } else {
                (self.next, self.stayed) = ((index + 1) % count, 0);
            }
            self.accept(index, element)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn accept(&mut self, index: usize, element: Element) -> Result<()> {
        match element {
            Element::Batch(batch) => self.accept_batch(index, batch)?,
            Element::Watermark { time_ms, ingested_ns } => {
                let channel = &mut self.channels[index];
                if channel.gathered.is_empty() {
                    self.move_watermark(index, time_ms, ingested_ns);
                } else {
                    channel.held_watermark = Some((time_ms, ingested_ns));
                }
            }
            Element::Idle => {
                self.flush(index)?;
                self.channels[index].idle = true;
                self.merge(0);
            }
            Element::Barrier(epoch) => {
                self.flush(index)?;
                self.channels[index].at_barrier = true;
                self.aligning = Some(epoch);
                self.align();
            }
            Element::End => {
                self.flush(index)?;
                let channel = &mut self.channels[index];
                channel.ended = true;
                let reached_ms = channel.watermark_ms;
                if self.channels.iter().all(|channel| channel.ended) {
                    if reached_ms == WATERMARK_MAX_MS {
                        self.emit_watermark(WATERMARK_MAX_MS, 0);
                    }
                    self.push(0, Element::End, self.merged_ms);
                } else {
                    self.merge(0);
                    self.align();
                }
            }
        }
        Ok(())
    }

    fn accept_batch(&mut self, index: usize, batch: Batch) -> Result<()> {
        let channel = &mut self.channels[index];
        channel.idle = false;
        self.idle = false;
        let rows = batch.num_rows();
        if channel.gathered.is_empty() && rows >= self.gather_rows {
            let (port, clock_ms) = (channel.port, channel.watermark_ms);
            self.push(port, Element::Batch(batch), clock_ms);
            return Ok(());
        }
        // A session that ends one above the watermark has closed, and must not take the row in.
        let below =
            channel.held_watermark.is_some_and(|(held_ms, _)| batch.time_min_ms <= held_ms.saturating_add(1));
        if below
            || channel.gathered.first().is_some_and(|first| first.clocks.is_some() != batch.clocks.is_some())
        {
            self.flush(index)?;
        }
        let channel = &mut self.channels[index];
        channel.gathered_rows += rows;
        channel.gathered.push(batch);
        if channel.gathered_rows >= self.gather_rows {
            self.flush(index)?;
        }
        Ok(())
    }

    /// Hands over what was gathered from a channel, then the watermark that came after it.
    fn flush(&mut self, index: usize) -> Result<()> {
        let channel = &mut self.channels[index];
        if channel.gathered.is_empty() {
            return Ok(());
        }
        let batch = Batch::concat(&channel.gathered)?;
        channel.gathered.clear();
        channel.gathered_rows = 0;
        let held = channel.held_watermark.take();
        let (port, clock_ms) = (channel.port, channel.watermark_ms);
        self.push(port, Element::Batch(batch), clock_ms);
        if let Some((time_ms, ingested_ns)) = held {
            self.move_watermark(index, time_ms, ingested_ns);
        }
        Ok(())
    }

    fn move_watermark(&mut self, index: usize, time_ms: i64, ingested_ns: u64) {
        let channel = &mut self.channels[index];
        channel.idle = false;
        self.idle = false;
        channel.watermark_ms = channel.watermark_ms.max(time_ms);
        self.merge(ingested_ns);
    }

    fn merge(&mut self, ingested_ns: u64) {
        let live = self.channels.iter().filter(|channel| !channel.ended);
        match live.clone().filter(|channel| !channel.idle).map(|channel| channel.watermark_ms).min() {
            Some(time_ms) => self.emit_watermark(time_ms, ingested_ns),
            None if !self.idle && live.clone().count() > 0 => {
                // Of channels that fell idle together, those that never had a row hold back nothing.
                let heard =
                    live.map(|channel| channel.watermark_ms).filter(|time_ms| *time_ms > WATERMARK_MIN_MS);
                if let Some(time_ms) = heard.min() {
                    self.emit_watermark(time_ms, ingested_ns);
                }
                self.idle = true;
                self.push(0, Element::Idle, self.merged_ms);
            }
            None => {}
        }
    }

    fn emit_watermark(&mut self, time_ms: i64, ingested_ns: u64) {
        if time_ms > self.merged_ms {
            self.merged_ms = time_ms;
            self.push(0, Element::Watermark { time_ms, ingested_ns }, time_ms);
        }
    }

    /// Lets the barrier pass when no live channel is without it. An ended channel counts as having delivered it.
    fn align(&mut self) {
        let Some(epoch) = self.aligning else { return };
        if self.channels.iter().all(|channel| channel.ended || channel.at_barrier) {
            self.aligning = None;
            self.channels.iter_mut().for_each(|channel| channel.at_barrier = false);
            self.push(0, Element::Barrier(epoch), self.merged_ms);
        }
    }

    fn push(&mut self, port: usize, element: Element, clock_ms: i64) {
        self.ready.push_back(Arrival { port, element, clock_ms });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::{RecordBatch, TimestampMillisecondArray};
    use arrow_schema::{DataType, Field, Schema, TimeUnit};

    use crate::channel::{Sender, channel};

    fn gate(channels: usize, gather_rows: usize) -> (Vec<Sender<Element>>, Gate) {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..channels).map(|_| channel(1 << 20, Arc::default(), Arc::default())).unzip();
        (senders, Gate::new(receivers.into_iter().map(|receiver| (0, receiver)).collect(), gather_rows))
    }

    fn rows(times: &[i64]) -> Element {
        let kind = DataType::Timestamp(TimeUnit::Millisecond, None);
        let schema = Arc::new(Schema::new(vec![Field::new("ts", kind, false)]));
        let column = Arc::new(TimestampMillisecondArray::from(times.to_vec()));
        let rows = RecordBatch::try_new(schema, vec![column]).unwrap();
        let mut batch = Batch::with_event_time(rows, 0).unwrap();
        batch.time_min_ms = times.iter().copied().min().unwrap();
        Element::Batch(batch)
    }

    fn watermark(time_ms: i64) -> Element {
        Element::Watermark { time_ms, ingested_ns: 0 }
    }

    fn send(sender: &mut Sender<Element>, elements: impl IntoIterator<Item = Element>) {
        for element in elements {
            let bytes = element.num_bytes();
            sender.push(element, bytes);
        }
    }

    /// Everything the gate has, as text: `[1,2]@clock`, `w5`, `b1`, `idle`, `end`.
    fn drain(gate: &mut Gate) -> String {
        let mut seen = Vec::new();
        while let Some(arrival) = gate.next().unwrap() {
            seen.push(match arrival.element {
                Element::Batch(batch) => {
                    let clock =
                        if arrival.clock_ms == i64::MIN { "-".into() } else { arrival.clock_ms.to_string() };
                    format!("{:?}@{clock}", batch.event_times_ms().unwrap())
                }
                Element::Watermark { time_ms: i64::MAX, .. } => "wmax".into(),
                Element::Watermark { time_ms, .. } => format!("w{time_ms}"),
                Element::Idle => "idle".into(),
                Element::Barrier(epoch) => format!("b{epoch}"),
                Element::End => "end".into(),
            });
        }
        seen.join(" ")
    }

    #[test]
    fn watermarks_merge_by_minimum_and_idle_channels_leave_it() {
        let (mut tx, mut gate) = gate(2, 0);
        send(&mut tx[0], [watermark(10)]);
        assert_eq!(drain(&mut gate), "");
        send(&mut tx[1], [watermark(5)]);
        assert_eq!(drain(&mut gate), "w5");
        send(&mut tx[1], [Element::Idle]);
        assert_eq!(drain(&mut gate), "w10");
        send(&mut tx[0], [Element::Idle]);
        assert_eq!(drain(&mut gate), "idle");
        // A channel that comes back behind the others is late, and does not pull the watermark back.
        send(&mut tx[1], [rows(&[7]), watermark(7)]);
        assert_eq!(drain(&mut gate), "[7]@5");
        send(&mut tx[1], [watermark(12)]);
        assert_eq!(drain(&mut gate), "w12");
    }

    #[test]
    fn a_channel_without_rows_holds_nothing_back_when_all_fall_idle() {
        let (mut tx, mut gate) = gate(3, 0);
        send(&mut tx[0], [watermark(10), Element::Idle]);
        send(&mut tx[1], [watermark(12), Element::Idle]);
        assert_eq!(drain(&mut gate), "");
        send(&mut tx[2], [Element::Idle]);
        assert_eq!(drain(&mut gate), "w10 idle");
    }

    #[test]
    fn rows_come_with_the_watermark_of_their_own_channel() {
        let (mut tx, mut gate) = gate(2, 0);
        send(&mut tx[0], [watermark(100), rows(&[101])]);
        send(&mut tx[1], [rows(&[3])]);
        assert_eq!(drain(&mut gate), "[3]@- [101]@100");
    }

    #[test]
    fn a_channel_that_never_runs_empty_keeps_no_other_waiting() {
        let (mut tx, mut gate) = gate(2, 0);
        send(&mut tx[0], (0..3 * i64::from(BATCHES_PER_CHANNEL)).map(|at| rows(&[at])));
        send(&mut tx[1], [rows(&[100]), Element::Barrier(1), rows(&[101])]);
        let seen = drain(&mut gate);
        let place = |text: &str| seen.split(' ').position(|element| element.starts_with(text)).unwrap();
        assert_eq!(place("[100]") as u32, BATCHES_PER_CHANNEL, "{seen}");
        // Behind its barrier it waits.
        assert!(
            !seen.contains("[101]") && seen.ends_with(&format!("[{}]@-", 3 * BATCHES_PER_CHANNEL - 1)),
            "{seen}"
        );
    }

    #[test]
    fn barriers_wait_for_each_other_and_hold_back_what_follows() {
        let (mut tx, mut gate) = gate(2, 0);
        send(&mut tx[0], [rows(&[1]), Element::Barrier(1), rows(&[2])]);
        assert_eq!(drain(&mut gate), "[1]@-");
        send(&mut tx[1], [rows(&[3]), Element::Barrier(1), rows(&[4])]);
        assert_eq!(drain(&mut gate), "[3]@- b1 [2]@- [4]@-");
    }

    #[test]
    fn an_ended_channel_holds_back_neither_barrier_nor_watermark() {
        let (mut tx, mut gate) = gate(2, 0);
        send(&mut tx[0], [watermark(10), watermark(i64::MAX), Element::End]);
        send(&mut tx[1], [watermark(7), Element::Barrier(1)]);
        assert_eq!(drain(&mut gate), "w7 b1");
        send(&mut tx[1], [watermark(i64::MAX), Element::End]);
        assert_eq!(drain(&mut gate), "wmax end");
    }

    #[test]
    fn an_end_completes_an_alignment() {
        let (mut tx, mut gate) = gate(2, 0);
        send(&mut tx[0], [Element::Barrier(1), rows(&[1])]);
        send(&mut tx[1], [Element::End]);
        assert_eq!(drain(&mut gate), "b1 [1]@-");
    }

    #[test]
    fn small_batches_are_gathered_and_never_wait() {
        let (mut tx, mut gate) = gate(1, 4);
        send(&mut tx[0], [rows(&[1]), watermark(0), rows(&[2]), rows(&[3]), rows(&[4]), rows(&[5])]);
        assert_eq!(drain(&mut gate), "[1, 2, 3, 4]@- w0 [5]@0");
        // A row at or below a watermark that came before it must see that watermark.
        send(&mut tx[0], [rows(&[6]), watermark(5), rows(&[4])]);
        assert_eq!(drain(&mut gate), "[6]@0 w5 [4]@5");
        send(&mut tx[0], [rows(&[8]), Element::Barrier(2)]);
        assert_eq!(drain(&mut gate), "[8]@5 b2");
    }
}
