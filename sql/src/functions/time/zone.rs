//! Time zones with Java's meaning, which Flink's functions inherit: names that Java knows, wall clocks in the gaps and
//! overlaps of daylight saving.
//!
//! Everything here counts milliseconds since 1970; a *local* count is what a clock on the wall of the zone shows, read
//! as if it were UTC.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::{OffsetName, Tz};

/// A zone by name or by a fixed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    Named(Tz),
    /// Milliseconds east of Greenwich.
    Fixed(i64),
}

/// Which of the two instants a wall clock means when it is set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overlap {
    /// The first, in summer time: java.time.
    Earlier,
    /// The second, in winter time: SimpleDateFormat.
    Later,
}

const DAY_MS: i64 = 86_400_000;

/// Java's three-letter names.
const SHORT_NAMES: &[(&str, Tz)] = &[
    ("ACT", Tz::Australia__Darwin),
    ("AET", Tz::Australia__Sydney),
    ("AGT", Tz::America__Argentina__Buenos_Aires),
    ("ART", Tz::Africa__Cairo),
    ("AST", Tz::America__Anchorage),
    ("BET", Tz::America__Sao_Paulo),
    ("BST", Tz::Asia__Dhaka),
    ("CAT", Tz::Africa__Harare),
    ("CNT", Tz::America__St_Johns),
    ("CST", Tz::America__Chicago),
    ("CTT", Tz::Asia__Shanghai),
    ("EAT", Tz::Africa__Addis_Ababa),
    ("ECT", Tz::Europe__Paris),
    ("IET", Tz::America__Indiana__Indianapolis),
    ("IST", Tz::Asia__Kolkata),
    ("JST", Tz::Asia__Tokyo),
    ("MIT", Tz::Pacific__Apia),
    ("NET", Tz::Asia__Yerevan),
    ("NST", Tz::Pacific__Auckland),
    ("PLT", Tz::Asia__Karachi),
    ("PNT", Tz::America__Phoenix),
    ("PRT", Tz::America__Puerto_Rico),
    ("PST", Tz::America__Los_Angeles),
    ("SST", Tz::Pacific__Guadalcanal),
    ("VST", Tz::Asia__Ho_Chi_Minh),
];

impl Zone {
    pub const UTC: Self = Self::Fixed(0);

    /// The session's zone; UTC without look-ups.
    pub fn of(zone: Tz) -> Self {
        if zone == Tz::UTC { Self::UTC } else { Self::Named(zone) }
    }

    /// A zone by a name of Java's: `Europe/Berlin`, `PST`, `GMT+05:30`.
    pub fn named(name: &str) -> Option<Self> {
        if let Some((_, zone)) = SHORT_NAMES.iter().find(|(short, _)| *short == name) {
            return Some(Self::Named(*zone));
        }
        if let Some(offset) = name.strip_prefix("GMT").filter(|offset| offset.starts_with(['+', '-'])) {
            return custom_offset_ms(offset).map(Self::Fixed);
        }
        name.parse().ok().map(Self::of)
    }

    /// How far the wall clock is ahead of UTC at an instant.
    pub fn offset_ms(self, utc_ms: i64) -> i64 {
        match self {
            Self::Fixed(offset) => offset,
            Self::Named(zone) => naive(utc_ms).map_or(0, |utc| {
                i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()) * 1_000
            }),
        }
    }

    /// What the wall clock shows at an instant.
    pub fn to_local(self, utc_ms: i64) -> i64 {
        utc_ms.saturating_add(self.offset_ms(utc_ms))
    }

    /// The instant at which the wall clock shows `local_ms`. A time that the clock skips is as much later as the clock
    /// is put forward.
    pub fn to_utc(self, local_ms: i64, overlap: Overlap) -> i64 {
        let zone = match self {
            Self::Fixed(offset) => return local_ms.saturating_sub(offset),
            Self::Named(zone) => zone,
        };
        let Some(local) = naive(local_ms) else { return local_ms };
        let offset_ms = match zone.offset_from_local_datetime(&local) {
            MappedLocalTime::Single(offset) => i64::from(offset.fix().local_minus_utc()) * 1_000,
            MappedLocalTime::Ambiguous(earlier, later) => {
                let offset = if overlap == Overlap::Earlier { earlier } else { later };
                i64::from(offset.fix().local_minus_utc()) * 1_000
            }
            MappedLocalTime::None => self.offset_ms(local_ms.saturating_sub(DAY_MS)),
        };
        local_ms.saturating_sub(offset_ms)
    }

    /// `CEST`; of a fixed offset, `GMT+05:30`.
    pub fn abbreviation(self, utc_ms: i64) -> String {
        match self {
            Self::Fixed(0) => "UTC".to_owned(),
            Self::Fixed(offset) => {
                let sign = if offset < 0 { '-' } else { '+' };
                let minutes = offset.unsigned_abs() / 60_000;
                format!("GMT{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
            Self::Named(zone) => naive(utc_ms)
                .and_then(|utc| zone.offset_from_utc_datetime(&utc).abbreviation().map(str::to_owned))
                .unwrap_or_else(|| zone.name().to_owned()),
        }
    }
}

fn naive(ms: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp_millis(ms).map(|instant| instant.naive_utc())
}

/// `+5`, `+05`, `+0530`, `+5:30` behind `GMT`.
fn custom_offset_ms(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) if minutes.len() == 2 => (hours, minutes),
        Some(_) => return None,
        None if digits.len() > 2 => digits.split_at_checked(digits.len() - 2)?,
        None => (digits, "0"),
    };
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (hours <= 23 && minutes <= 59).then(|| sign * (hours * 60 + minutes) * 60_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_javas() {
        assert_eq!(Zone::named("UTC"), Some(Zone::UTC));
        assert_eq!(Zone::named("PST"), Some(Zone::Named(Tz::America__Los_Angeles)));
        assert_eq!(Zone::named("GMT+05:30"), Some(Zone::Fixed(19_800_000)));
        assert_eq!(Zone::named("GMT-5"), Some(Zone::Fixed(-18_000_000)));
        assert_eq!(Zone::named("No/Where"), None);
    }

    #[test]
    fn a_skipped_time_is_later_and_a_doubled_time_is_either() {
        let berlin = Zone::Named(Tz::Europe__Berlin);
        // 2024-03-31 02:30 does not exist; 2024-10-27 02:30 exists twice.
        assert_eq!(berlin.to_utc(1_711_852_200_000, Overlap::Earlier), 1_711_848_600_000);
        assert_eq!(berlin.to_utc(1_729_996_200_000, Overlap::Earlier), 1_729_989_000_000);
        assert_eq!(berlin.to_utc(1_729_996_200_000, Overlap::Later), 1_729_992_600_000);
        assert_eq!(berlin.to_local(1_729_992_600_000), 1_729_996_200_000);
    }
}
