//! The time of row 0: `'base-time'`, and when it was due by the clock.

use chrono::{DateTime, NaiveDateTime};
use millstream_engine::options::Options;
use millstream_engine::{Clock, Result};

/// What `'base-time'` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BaseTime {
    /// The clock when the source starts.
    Now,
    /// Milliseconds since 1970.
    At(i64),
}

impl BaseTime {
    /// Reads `'base-time'`: `'now'`, a date and time in UTC, or milliseconds since 1970.
    ///
    /// # Errors
    /// If the text is none of them.
    pub fn from_options(options: &Options) -> Result<Option<Self>> {
        let Some(text) = options.get("base-time") else { return Ok(None) };
        let text = text.trim();
        if text.eq_ignore_ascii_case("now") {
            return Ok(Some(Self::Now));
        }
        let zoned = DateTime::parse_from_rfc3339(text).map(|time| time.timestamp_millis());
        let plain = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
            .map(|time| time.and_utc().timestamp_millis());
        let time = text.parse::<i64>().ok().or(zoned.ok()).or(plain);
        time.map(|time| Some(Self::At(time))).ok_or_else(|| {
            options
                .invalid("base-time", "'now', a time such as '2026-01-01T00:00:00' (UTC), or ms since 1970")
        })
    }
}

/// Where the source's time begins; the same for all instances, and kept in checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Event time of row 0, in ms since 1970.
    pub base_ms: i64,
    /// When row 0 was due by the wall clock, in ms since 1970.
    pub started_ms: i64,
}

impl Origin {
    pub fn starting(base: BaseTime, clock: &dyn Clock) -> Self {
        let started_ms = clock.now_ms();
        let base_ms = match base {
            BaseTime::Now => started_ms,
            BaseTime::At(time) => time,
        };
        Self { base_ms, started_ms }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_time_has_four_forms() {
        let read = |text| BaseTime::from_options(&Options::from_pairs("table t", [("base-time", text)]));
        assert_eq!(read("now").unwrap(), Some(BaseTime::Now));
        for text in
            ["1767225600000", "2026-01-01T00:00:00", "2026-01-01 00:00:00.000", "2026-01-01T01:00:00+01:00"]
        {
            assert_eq!(read(text).unwrap(), Some(BaseTime::At(1_767_225_600_000)), "{text}");
        }
        let error = read("yesterday").unwrap_err().to_string();
        assert!(error.contains("'base-time'") && error.contains("found 'yesterday'"), "{error}");
    }
}
