//! How often to read from the broker: at once while messages are few, in millisecond steps while they are many.
//!
//! A broker that is flat out writes every message by itself. Read as they come, each costs a wake-up of this task and
//! one of the worker, which is several times what decoding it costs. Above [`RATE_PER_S_MIN`] the task therefore lets a
//! millisecond's messages come together in the socket before it reads on. Below it nothing ever waits. Only messages of
//! QoS 0 count: at QoS 1 the broker waits for acknowledgements, which must not come late.

use std::time::Duration;

/// Messages a second from which on reading is paced.
const RATE_PER_S_MIN: usize = 20_000;
/// The rate is taken anew this often.
const WINDOW_NS: u64 = 10_000_000;
/// Messages of one read that are many enough to read on at once: the broker is ahead of us.
const READ_MESSAGES_MANY: usize = 256;
/// How long messages gather. The timer's resolution makes it up to twice as long.
const GATHER: Duration = Duration::from_millis(1);

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Pace {
    window_from_ns: u64,
    messages: usize,
    is_fast: bool,
}

impl Pace {
    /// A read brought `messages` at QoS 0 by `now_ns`: how long to leave the socket alone, if at all.
    pub fn after(&mut self, messages: usize, now_ns: u64) -> Option<Duration> {
        self.messages += messages;
        let passed_ns = now_ns.saturating_sub(self.window_from_ns);
        if passed_ns >= WINDOW_NS {
            let rate_per_s = self.messages as u128 * 1_000_000_000 / u128::from(passed_ns);
            self.is_fast = rate_per_s >= RATE_PER_S_MIN as u128;
            self.window_from_ns = now_ns;
            self.messages = 0;
        }
        (self.is_fast && messages > 0 && messages < READ_MESSAGES_MANY).then_some(GATHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads of `messages` every `every_ns` for a tenth of a second; the last answer.
    fn reads(pace: &mut Pace, from_ns: &mut u64, messages: usize, every_ns: u64) -> Option<Duration> {
        let mut last = None;
        for _ in 0..100_000_000 / every_ns {
            *from_ns += every_ns;
            last = pace.after(messages, *from_ns);
        }
        last
    }

    #[test]
    fn only_a_high_rate_of_small_reads_is_paced() {
        let (mut pace, mut now_ns) = (Pace::default(), 1);
        assert_eq!(reads(&mut pace, &mut now_ns, 1, 100_000), None, "10,000 a second");
        assert_eq!(reads(&mut pace, &mut now_ns, 1, 20_000), Some(GATHER), "50,000 a second");
        assert_eq!(reads(&mut pace, &mut now_ns, 50, 1_000_000), Some(GATHER), "the same, gathered");
        assert_eq!(reads(&mut pace, &mut now_ns, 1_000, 1_000_000), None, "a million: read on");
        assert_eq!(reads(&mut pace, &mut now_ns, 0, 1_000_000), None, "QoS 1");
        assert_eq!(reads(&mut pace, &mut now_ns, 1, 1_000_000), None, "quiet again");
    }
}
