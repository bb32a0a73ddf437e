//! A device of the demo's fleet: what its sensor says, and what is wrong with it. Plain data, no clock of its own.
//!
//! The faults are those of real fleets: clocks that are minutes off (one device in twenty), one that is years ahead,
//! devices that fall silent for a while, readings that come late, firmware that cuts a message off, and heat bursts.

use std::fmt::Write;

use rand::Rng;
use rand::rngs::SmallRng;

/// Above the limit of examples/fleet.sql's alerts at the height of a burst.
const BURST_DEGREES: f64 = 68.0;
/// A burst rises, stays and falls for this long each.
const BURST_PHASE_MS: i64 = 6_000;
const SITES: [&str; 5] = ["berlin", "lyon", "osaka", "porto", "turku"];

/// One device.
pub struct Device {
    pub topic: String,
    /// What its clock shows beyond the true time.
    clock_ahead_ms: i64,
    base_degrees: f64,
    phase: f64,
    battery: f64,
    /// Cuts one message in this many off; 0 for none.
    cuts_off_one_in: u32,
    burst_since_ms: Option<i64>,
    silent_until_ms: i64,
    pub next_ms: i64,
}

impl Device {
    /// Device `number` of a fleet, whose first message is due at about `start_ms`.
    pub fn new(number: u32, start_ms: i64, interval_ms: i64, random: &mut SmallRng) -> Self {
        let site = SITES[number as usize % SITES.len()];
        let clock_ahead_ms = match number {
            // A clock that lost its battery and came up years ahead: its rows are bad rows, and hold up nobody.
            7 => 10 * 365 * 86_400_000,
            number if number % 20 == 3 => random.random_range(-600_000..=600_000),
            _ => random.random_range(-300..=300),
        };
        Self {
            topic: format!("fleet/{site}/dev-{number:04}/telemetry"),
            clock_ahead_ms,
            base_degrees: random.random_range(17.0..24.0),
            phase: random.random_range(0.0..std::f64::consts::TAU),
            battery: random.random_range(30.0..100.0),
            cuts_off_one_in: if number == 11 { 20 } else { 0 },
            burst_since_ms: None,
            silent_until_ms: i64::MIN,
            next_ms: start_ms + random.random_range(0..interval_ms.max(1)),
        }
    }

    /// The message due at `now_ms`, if the device sends one, into `payload`. `sent_us` is the demo's stopwatch.
    pub fn message(
        &mut self,
        now_ms: i64,
        interval_ms: i64,
        sent_us: u64,
        random: &mut SmallRng,
        payload: &mut String,
    ) -> bool {
        self.next_ms += interval_ms;
        // After a pause of the whole process a device does not send what it missed.
        self.next_ms = self.next_ms.max(now_ms - interval_ms);
        if now_ms < self.silent_until_ms {
            return false;
        }
        let seconds = interval_ms as f64 / 1e3;
        if random.random_bool((seconds / 600.0).min(1.0)) {
            self.silent_until_ms = now_ms + random.random_range(5_000..20_000);
            return false;
        }
        if self.burst_since_ms.is_none() && random.random_bool((seconds / 240.0).min(1.0)) {
            self.burst_since_ms = Some(now_ms);
        }
        self.battery = (self.battery - seconds / 3_600.0).max(1.0);
        // Most readings are sent at once; some wait in the device for a moment, a few for so long that they are late.
        let waited_ms = match random.random_range(0..10_000_u32) {
            0..5 => random.random_range(15_000..30_000),
            5..300 => random.random_range(0..1_500),
            _ => 0,
        };
        let at_ms = now_ms + self.clock_ahead_ms - waited_ms;
        let temperature = self.temperature(now_ms) + random.random_range(-0.3..0.3);
        let humidity = 45.0 + 10.0 * (self.phase + now_ms as f64 / 90_000.0).cos();
        let time = chrono::DateTime::from_timestamp_millis(at_ms).unwrap_or_default();
        payload.clear();
        let _ = write!(
            payload,
            "{{\"ts\":\"{}\",\"temperature\":{temperature:.2},\"humidity\":{humidity:.1},\"battery\":{:.0},\"sent_us\":{sent_us}}}",
            time.format("%Y-%m-%dT%H:%M:%S%.3f"),
            self.battery,
        );
        if self.cuts_off_one_in > 0 && random.random_ratio(1, self.cuts_off_one_in) {
            payload.truncate(payload.len() / 2);
        }
        true
    }

    fn temperature(&mut self, now_ms: i64) -> f64 {
        let calm = self.base_degrees + 2.0 * (self.phase + now_ms as f64 / 60_000.0).sin();
        let Some(since_ms) = self.burst_since_ms else { return calm };
        let at = (now_ms - since_ms) as f64 / BURST_PHASE_MS as f64;
        let heat = match at {
            at if at < 1.0 => at,
            at if at < 2.0 => 1.0,
            at if at < 3.0 => 3.0 - at,
            _ => {
                self.burst_since_ms = None;
                0.0
            }
        };
        calm + heat * BURST_DEGREES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn messages(number: u32, count: usize) -> Vec<String> {
        let random = &mut SmallRng::seed_from_u64(1);
        let mut device = Device::new(number, 0, 200, random);
        let mut payload = String::new();
        let mut all = Vec::new();
        while all.len() < count {
            let now_ms = device.next_ms;
            if device.message(now_ms, 200, 5, random, &mut payload) {
                all.push(payload.clone());
            }
        }
        all
    }

    #[test]
    fn readings_are_json_and_bursts_pass_the_limits() {
        let mut hottest = 0.0_f64;
        for text in messages(1, 20_000) {
            let reading: serde_json::Value = serde_json::from_str(&text).unwrap();
            hottest = hottest.max(reading["temperature"].as_f64().unwrap());
        }
        assert!(hottest > 85.0, "{hottest}");
    }

    #[test]
    fn one_device_cuts_messages_off_and_one_is_years_ahead() {
        let broken = messages(11, 2_000).iter().filter(|text| !text.ends_with('}')).count();
        assert!((50..200).contains(&broken), "{broken}");
        assert!(messages(7, 1)[0].contains("\"ts\":\"1979"));
    }

    #[test]
    fn devices_fall_silent_and_come_back() {
        let random = &mut SmallRng::seed_from_u64(2);
        let mut device = Device::new(1, 0, 200, random);
        let mut payload = String::new();
        let sent: Vec<bool> =
            (0..20_000).map(|_| device.message(device.next_ms, 200, 0, random, &mut payload)).collect();
        let silent = sent.iter().filter(|sent| !**sent).count();
        assert!(silent > 25 && silent < 5_000, "{silent}");
        assert!(sent[sent.len() - 200..].iter().any(|sent| *sent));
    }
}
