//! The live status line on a terminal, and the closing line about rows that did not make it.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use millstream::Pipeline;
use millstream::engine::metrics::{Link, OperatorMetrics};

use crate::terminal::{WIPE, fitting};

/// How often the line is drawn.
const EVERY: Duration = Duration::from_millis(500);

/// What the counters of a pipeline come to.
#[derive(Debug, Default, Clone, Copy)]
pub struct Totals {
    pub rows_in: u64,
    pub rows_out: u64,
    pub late: u64,
    pub dead: u64,
    pub skipped: u64,
    pub retries: u64,
    /// The lowest watermark of the operators that have one, in ms.
    pub watermark_ms: Option<i64>,
    /// 99th percentile from entering the process to the sink, in ns.
    pub p99_ns: Option<u64>,
    /// Connections that are down.
    pub down: usize,
    /// What waits in outboxes, and since when.
    pub waiting: u64,
    pub oldest_ms: Option<i64>,
}

impl Totals {
    /// Adds all counters up.
    pub fn of(metrics: &[Arc<OperatorMetrics>]) -> Self {
        let mut totals = Self::default();
        let mut latency: Option<hdrhistogram::Histogram<u64>> = None;
        for operator in metrics {
            match operator.kind.as_str() {
                "source" => totals.rows_in += operator.rows_out.get(),
                "sink" => totals.rows_out += operator.rows_in.get(),
                _ => {}
            }
            totals.late += operator.rows_late.get();
            totals.dead += operator.rows_dead_letter.get();
            totals.skipped += operator.rows_skipped.get();
            totals.retries += operator.retries.get();
            totals.down += usize::from(operator.link() == Link::Down);
            totals.waiting += operator.outbox_depth.load(Ordering::Relaxed);
            totals.oldest_ms = totals.oldest_ms.into_iter().chain(operator.outbox_oldest_ms()).min();
            if let Some(watermark_ms) = operator.watermark_ms() {
                totals.watermark_ms =
                    Some(totals.watermark_ms.map_or(watermark_ms, |least| least.min(watermark_ms)));
            }
            if let Some(own) = operator.latency() {
                match &mut latency {
                    Some(all) => {
                        let _ = all.add(&own);
                    }
                    None => latency = Some(own),
                }
            }
        }
        totals.p99_ns = latency.map(|latency| latency.value_at_quantile(0.99));
        totals
    }
}

/// The status line; ends when dropped. It exists only where standard error is a terminal; rows and messages on the same
/// terminal take its place (terminal.rs), and it is drawn again below them.
pub struct Line {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    /// Draws the status of `pipeline`, if there is a terminal to draw on.
    pub fn start(pipeline: Arc<Pipeline>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        if !std::io::stderr().is_terminal() {
            return Self { ended, thread: None };
        }
        let stop = Arc::clone(&ended);
        let draw = move || {
            let mut last = Totals::of(pipeline.metrics());
            while !stop.load(Ordering::Acquire) {
                std::thread::park_timeout(EVERY);
                let now = Totals::of(pipeline.metrics());
                let line = line(&pipeline, &last, &now);
                eprint!("{WIPE}{}", fitting(&line));
                let _ = std::io::stderr().flush();
                last = now;
            }
            eprint!("{WIPE}");
        };
        Self { ended, thread: std::thread::Builder::new().name("status".into()).spawn(draw).ok() }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn line(pipeline: &Pipeline, last: &Totals, now: &Totals) -> String {
    let rate = |now: u64, last: u64| {
        let a_second = (now.saturating_sub(last)) * 1_000 / u64::try_from(EVERY.as_millis()).unwrap_or(500);
        count(a_second)
    };
    let lag = now.watermark_ms.map_or_else(
        || "-".to_owned(),
        |watermark| millis(pipeline.clock().now_ms().saturating_sub(watermark)),
    );
    let p99 = now.p99_ns.map_or_else(|| "-".to_owned(), |ns| format!("{:.2} ms", ns as f64 / 1e6));
    let down = if now.down == 0 { String::new() } else { format!(" · {} connection(s) down", now.down) };
    let outbox = match now.oldest_ms {
        Some(oldest_ms) if now.waiting > 0 => {
            let waited = millis(pipeline.clock().steady_ms().saturating_sub(oldest_ms).max(0));
            format!(" · outbox {}, oldest {waited}", count(now.waiting))
        }
        _ => String::new(),
    };
    format!(
        "{} in {} rows/s · out {} rows/s · watermark {lag} behind · late {} · dead letter {} · p99 {p99}{outbox}{down}",
        pipeline.name(),
        rate(now.rows_in, last.rows_in),
        rate(now.rows_out, last.rows_out),
        count(now.late),
        count(now.dead),
    )
}

/// Says what was not delivered, if anything; nothing is lost silently.
pub fn summary(pipeline: &Pipeline) {
    let totals = Totals::of(pipeline.metrics());
    let mut parts = Vec::new();
    for (rows, what) in [
        (totals.late, "late (their windows had closed)"),
        (totals.dead, "bad (dead letter)"),
        (totals.skipped, "bad and skipped as the table says"),
    ] {
        if rows > 0 {
            parts.push(format!("{} {what}", count(rows)));
        }
    }
    if parts.is_empty() {
        return;
    }
    eprintln!(
        "{} rows in, {} out; not delivered: {}",
        count(totals.rows_in),
        count(totals.rows_out),
        parts.join(", ")
    );
    if let Some(letter) = pipeline.dead_letters().last().last() {
        eprintln!("the last bad row, from {}: {}", letter.operator, letter.error);
    }
}

/// 12_345 as "12,345".
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time span for people.
pub fn millis(ms: i64) -> String {
    match ms {
        ms if ms < 10_000 => format!("{ms} ms"),
        ms if ms < 120_000 => format!("{} s", ms / 1_000),
        ms if ms < 7_200_000 => format!("{} min", ms / 60_000),
        ms if ms < 172_800_000 => format!("{} h", ms / 3_600_000),
        ms => format!("{} days", ms / 86_400_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([count(7), count(1_234), count(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!([millis(70), millis(65_000), millis(7_200_000)], ["70 ms", "65 s", "2 h"]);
    }
}
