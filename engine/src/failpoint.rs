//! Named places where a test has the process die: `MILLSTREAM_FAILPOINT=kafka-before-commit:3` kills it, as `kill -9`
//! does, when it comes to that place for the third time.
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

#[cfg(debug_assertions)]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

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
        fn a_place_has_a_name_and_a_count() {
            let (place, left) = super::read("a-place:3").unwrap();
            assert_eq!((place.as_str(), left.into_inner()), ("a-place", 3));
            assert_eq!(super::read("a-place").unwrap().1.into_inner(), 1);
            assert!(super::read("a-place:soon").is_none());
        }
    }
}
