//! What the demo says in the end: every message accounted for, how fast alerts were, what it took.

use nix::sys::resource::{UsageWho, getrusage};

use super::Running;
use super::board::Seen;
use crate::status::{Totals, count};

/// The 50th, 99th and 99.9th percentile from publish to webhook.
pub fn quantiles(seen: &Seen) -> String {
    match &seen.latency {
        Some(latency) if !latency.is_empty() => {
            let at = |quantile: f64| latency.value_at_quantile(quantile) as f64 / 1e6;
            format!("p50 {:.1} ms  p99 {:.1} ms  p99.9 {:.1} ms", at(0.5), at(0.99), at(0.999))
        }
        _ => "-".to_owned(),
    }
}

/// Prints the summary.
pub fn print(demo: &Running) {
    let totals = Totals::of(demo.pipeline.metrics());
    let seen = demo.board.seen();
    let seconds = demo.clock.monotonic_ns().saturating_sub(demo.started_ns) as f64 / 1e9;
    println!();
    println!("Summary of {seconds:.1} s");
    println!(
        "  published            {:>12}   acknowledged by the broker, QoS 1",
        count(demo.fleet.published())
    );
    println!("  in                   {:>12}   rows that the pipeline has read", count(totals.rows_in));
    println!(
        "  late                 {:>12}   came after their device's window had closed",
        count(totals.late)
    );
    println!(
        "  dead letter          {:>12}   cut-off messages, and a clock that is ten years ahead",
        count(totals.dead)
    );
    println!("  alerts delivered     {:>12}   {} of them more than once", count(seen.alerts), seen.repeated);
    println!("  publish to webhook   {}", quantiles(&seen));
    if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
        let cpu = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        let used = cpu(usage.user_time()) + cpu(usage.system_time());
        // Linux counts kilobytes, macOS bytes.
        let scale = if cfg!(target_os = "macos") { 1 << 20 } else { 1 << 10 };
        println!(
            "  CPU                  {used:>10.1} s   {:.0} % of a core; broker, fleet and receiver included",
            100.0 * used / seconds.max(0.001)
        );
        println!(
            "  memory               {:>9} MB   at its peak; broker, fleet and receiver included",
            usage.max_rss() / scale
        );
    }
    if let Some(letter) = demo.pipeline.dead_letters().last().last() {
        println!("  last dead letter     {}: {}", letter.operator, letter.error);
    }
}
