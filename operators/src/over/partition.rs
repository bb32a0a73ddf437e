//! What a partition of OVER keeps of its rows: those that wait for the watermark, and those in the frame.

use std::collections::VecDeque;

use super::Frame;

/// A row by its time and number.
pub(super) type Row = (i64, u32);

/// A row that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub time_ms: i64,
    pub slot: u32,
    /// The clock that it came behind; the least there is where it came before its clock.
    pub clock_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Partition {
    /// Rows that wait for the watermark to pass their time, by time, equal times as they came.
    pub waiting: VecDeque<Waiting>,
    /// Rows that came behind their clock, by that clock, and leave with the first watermark above it.
    pub behind: VecDeque<Waiting>,
    /// Rows in the frame of the last row that was answered; for bounded frames.
    pub frame: VecDeque<Row>,
    /// The time of the last row that was answered.
    pub answered_ms: Option<i64>,
    /// When it was last written, by the job's time.
    pub written_ms: i64,
}

impl Partition {
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.behind.is_empty()
    }

    /// The time of the last row that is answered once the watermark is `clock_ms`.
    pub fn answered_by(&self, clock_ms: i64) -> Option<i64> {
        let until = self.waiting.partition_point(|row| row.time_ms <= clock_ms);
        until.checked_sub(1).map(|last| self.waiting[last].time_ms).or(self.answered_ms)
    }

    pub fn wait_behind(&mut self, row: Waiting) {
        let at = self.behind.partition_point(|other| other.clock_ms <= row.clock_ms);
        self.behind.insert(at, row);
    }

    /// Takes the first row that came behind a clock before `clock_ms`.
    pub fn next_behind(&mut self, clock_ms: i64) -> Option<Waiting> {
        self.behind.pop_front_if(|row| row.clock_ms < clock_ms)
    }

    /// Takes the rows that leave `frame` with a row at `time_ms`.
    pub fn leave(&mut self, frame: Frame, time_ms: i64, leaving: &mut Vec<Row>) {
        match frame {
            Frame::RowsBefore(rows) => {
                while self.frame.len() > rows + 1 {
                    leaving.extend(self.frame.pop_front());
                }
            }
            Frame::RangeBefore(ms) => {
                while self.frame.front().is_some_and(|(time, _)| *time < time_ms.saturating_sub(ms)) {
                    leaving.extend(self.frame.pop_front());
                }
            }
            Frame::Rows | Frame::Range => {}
        }
    }
}
