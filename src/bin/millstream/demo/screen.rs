//! The demo on a terminal, redrawn in place; without one, a line every few seconds.

use std::io::{IsTerminal, Write};

use super::Running;
use super::board::{SHOWN, Seen};
use super::summary::quantiles;
use crate::status::{Totals, count, millis};

/// Frames between two lines where there is no terminal.
const FRAMES_A_LINE: u64 = 20;

/// What is on the screen.
pub struct Screen {
    terminal: bool,
    lines: usize,
    frames: u64,
    /// Published and time at earlier frames, to tell the rate over the last second.
    earlier: std::collections::VecDeque<(u64, u64)>,
}

impl Screen {
    pub fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            lines: 0,
            frames: 0,
            earlier: std::collections::VecDeque::new(),
        }
    }

    /// Shows the demo as it is now.
    pub fn draw(&mut self, demo: &Running) {
        let now_ns = demo.clock.monotonic_ns();
        let published = demo.fleet.published();
        self.earlier.push_back((now_ns, published));
        if self.earlier.len() > 5 {
            self.earlier.pop_front();
        }
        let (then_ns, then) = self.earlier.front().copied().unwrap_or((now_ns, published));
        let rate = (published - then).saturating_mul(1_000_000_000) / now_ns.saturating_sub(then_ns).max(1);
        let totals = Totals::of(demo.pipeline.metrics());
        self.frames += 1;
        if !self.terminal {
            if self.frames.is_multiple_of(FRAMES_A_LINE) {
                let seconds = now_ns.saturating_sub(demo.started_ns) / 1_000_000_000;
                let seen = demo.board.seen();
                eprintln!(
                    "{seconds:>4} s  published {}  in {}  late {}  dead letter {}  alerts {}  publish to webhook {}",
                    count(published),
                    count(totals.rows_in),
                    count(totals.late),
                    count(totals.dead),
                    count(seen.alerts),
                    quantiles(&seen),
                );
            }
            return;
        }
        let text = self.text(demo, &totals, published, rate, now_ns);
        let mut out = String::new();
        if self.lines > 0 {
            out.push_str(&format!("\x1b[{}A", self.lines));
        }
        for line in &text {
            out.push_str("\r\x1b[2K");
            out.push_str(line);
            out.push('\n');
        }
        self.lines = text.len();
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(out.as_bytes()).and_then(|()| stdout.flush());
    }

    fn text(&self, demo: &Running, totals: &Totals, published: u64, rate: u64, now_ns: u64) -> Vec<String> {
        let seen = demo.board.seen();
        let seconds = now_ns.saturating_sub(demo.started_ns) / 1_000_000_000;
        let behind = totals.watermark_ms.map_or_else(
            || "-".to_owned(),
            |watermark| format!("{} behind", millis(demo.clock.now_ms().saturating_sub(watermark))),
        );
        let mut lines = vec![
            format!("\x1b[1mMillstream\x1b[0m  {}", demo.title),
            String::new(),
            format!(
                "  {:>4} s    published {:>11}   {:>8}/s    in {:>11}    slowest clock {behind}",
                seconds,
                count(published),
                count(rate),
                count(totals.rows_in),
            ),
            format!(
                "            late {:>16}   dead letter {:>5}    alerts {:>7}    publish to webhook {}",
                count(totals.late),
                count(totals.dead),
                count(seen.alerts),
                quantiles(&seen),
            ),
            String::new(),
            format!("  \x1b[1m{:<44}{}\x1b[0m", "hottest devices (windows of 5 s)", "latest alerts"),
        ];
        lines.extend((0..SHOWN).map(|row| row_of(&seen, row)));
        lines.push(String::new());
        lines.push("  Ctrl-C ends the demo with a summary. The SQL is examples/fleet.sql.".to_owned());
        lines
    }
}

fn row_of(seen: &Seen, row: usize) -> String {
    let device = seen.hottest.get(row).map_or_else(String::new, |mean| {
        format!("{:<8}{:<10}{:>6.1} °C   peak {:>5.1}", mean.site, mean.device, mean.mean, mean.peak)
    });
    let alert = seen.latest.get(row).map_or_else(String::new, |alert| {
        let time = alert.at.split('T').nth(1).unwrap_or_default();
        format!("{time:<13} {:<12} {}/{} {:.1} °C", alert.rule, alert.site, alert.device, alert.temperature)
    });
    let pad = 44_usize.saturating_sub(device.chars().count());
    format!("  {device}{}{alert}", " ".repeat(pad))
}
