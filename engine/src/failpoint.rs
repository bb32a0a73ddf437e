//! Named places where a test has the process die: `MILLSTREAM_FAILPOINT=kafka-before-commit:3` kills it, as `kill -9`
//! does, when it comes to that place for the third time. And a disk that is slow: `MILLSTREAM_SLOW_DISK=200` makes each
//! sync take up to 200 ms, and one in twenty ten times as long, as cards do that are worn or busy.
//!
//! Invariants: a release build has none of it; what is not named costs one look at a value that is read once. The
//! places are where a crash would show a mistake of the commit protocol: before and after a barrier's state is handed
//! over, a rename, a commit. tests/end_to_end/kill/blows.rs names them.

/// Dies here if the environment says so.
#[inline]
pub fn hit(name: &str) {
    #[cfg(debug_assertions)]
    armed::hit(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// Takes as long as a slow disk if the environment says so.
#[inline]
pub fn sync() {
    #[cfg(debug_assertions)]
    armed::sync();
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    /// One in so many syncs takes so many times as long.
    const STALLS_ONE_IN: u64 = 20;
    const STALL: u64 = 10;

    pub(super) fn sync() {
        static SLOWEST_MS: OnceLock<Option<u64>> = OnceLock::new();
        static SYNCS: AtomicU64 = AtomicU64::new(0);
        let read = || std::env::var("MILLSTREAM_SLOW_DISK").ok()?.parse::<u64>().ok();
        if let Some(slowest_ms) = *SLOWEST_MS.get_or_init(read) {
            std::thread::sleep(lasts(SYNCS.fetch_add(1, Ordering::Relaxed), slowest_ms));
        }
    }

    /// How long a sync lasts, by its number: as if by chance, and the same in each run.
    fn lasts(number: u64, slowest_ms: u64) -> Duration {
        let mixed = (number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let chance = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32;
        let stall = if number % STALLS_ONE_IN == STALLS_ONE_IN - 1 { STALL } else { 1 };
        Duration::from_millis(chance % (slowest_ms + 1) * stall)
    }

    /// The place, and how often it may still be passed.
    static ARMED: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();

    pub(super) fn hit(name: &str) {
        let armed = ARMED.get_or_init(|| read(&std::env::var("MILLSTREAM_FAILPOINT").ok()?));
        let Some((place, left)) = armed else { return };
        if place == name && left.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Without running anything on the way out, as a power cut.
            std::process::abort();
        }
    }

    fn read(text: &str) -> Option<(String, AtomicU64)> {
        let (place, times) = text.split_once(':').unwrap_or((text, "1"));
        Some((place.to_owned(), AtomicU64::new(times.parse().ok()?)))
    }

    #[cfg(test)]
    mod tests {
        #[test]
        fn a_slow_sync_has_a_limit_and_a_stall_comes_now_and_then() {
            let ms = |number| super::lasts(number, 100).as_millis();
            assert!((0..200).all(|number| ms(number) <= if number % 20 == 19 { 1_000 } else { 100 }));
            assert!((0..200).any(|number| ms(number) > 100) && (0..200).any(|number| ms(number) < 50));
        }

        #[test]
        fn a_place_has_a_name_and_a_count() {
            let (place, left) = super::read("a-place:3").unwrap();
            assert_eq!((place.as_str(), left.into_inner()), ("a-place", 3));
            assert_eq!(super::read("a-place").unwrap().1.into_inner(), 1);
            assert!(super::read("a-place:soon").is_none());
        }
    }
}
