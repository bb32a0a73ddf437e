//! The calendar: days since 1970 to years, months, days, weeks and back, and Flink's units of time.
//!
//! All dates are Gregorian, also before 1582. Where Flink cuts towards zero instead of down (moments before 1970), so
//! does this. Flink: DateTimeUtils.

/// Milliseconds of a day.
pub(super) const DAY_MS: i64 = 86_400_000;

/// A unit of time that SQL names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Nanosecond,
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    IsoYear,
    Decade,
    Century,
    Millennium,
    DayOfWeek,
    IsoDayOfWeek,
    DayOfYear,
    Epoch,
}

const UNITS: &[(&str, Unit)] = &[
    ("NANOSECOND", Unit::Nanosecond),
    ("MICROSECOND", Unit::Microsecond),
    ("MILLISECOND", Unit::Millisecond),
    ("SECOND", Unit::Second),
    ("MINUTE", Unit::Minute),
    ("HOUR", Unit::Hour),
    ("DAY", Unit::Day),
    ("WEEK", Unit::Week),
    ("MONTH", Unit::Month),
    ("QUARTER", Unit::Quarter),
    ("YEAR", Unit::Year),
    ("ISOYEAR", Unit::IsoYear),
    ("DECADE", Unit::Decade),
    ("CENTURY", Unit::Century),
    ("MILLENNIUM", Unit::Millennium),
    ("DOW", Unit::DayOfWeek),
    ("ISODOW", Unit::IsoDayOfWeek),
    ("DOY", Unit::DayOfYear),
    ("EPOCH", Unit::Epoch),
];

impl Unit {
    /// The unit of a name in any case, `SQL_TSI_` and a plural `S` before and behind it allowed.
    pub fn named(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let plain = upper.strip_prefix("SQL_TSI_").unwrap_or(&upper);
        let find = |wanted: &str| UNITS.iter().find(|(known, _)| *known == wanted).map(|(_, unit)| *unit);
        find(plain).or_else(|| find(plain.strip_suffix('S')?))
    }

    pub fn name(self) -> &'static str {
        UNITS.iter().find(|(_, unit)| *unit == self).map_or("", |(name, _)| name)
    }

    /// Its length, if it has one in milliseconds.
    pub fn ms(self) -> Option<i64> {
        Some(match self {
            Self::Millisecond => 1,
            Self::Second => 1_000,
            Self::Minute => 60_000,
            Self::Hour => 3_600_000,
            Self::Day => DAY_MS,
            Self::Week => 7 * DAY_MS,
            _ => return None,
        })
    }

    /// Its length, if it has one in months.
    pub fn months(self) -> Option<i64> {
        Some(match self {
            Self::Month => 1,
            Self::Quarter => 3,
            Self::Year => 12,
            Self::Decade => 120,
            Self::Century => 1_200,
            Self::Millennium => 12_000,
            _ => return None,
        })
    }

    /// True for units that a date has and a time of day lacks.
    pub fn is_of_date(self) -> bool {
        !matches!(
            self,
            Self::Nanosecond
                | Self::Microsecond
                | Self::Millisecond
                | Self::Second
                | Self::Minute
                | Self::Hour
                | Self::Epoch
        )
    }
}

/// Year, month from 1, day from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    pub year: i64,
    pub month: i64,
    pub day: i64,
}

/// The date of a count of days since 1970.
pub(super) fn civil(days: i64) -> Civil {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    Civil { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
}

/// Days since 1970; months and days beyond their range run over into the next.
pub(super) fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year.saturating_add((month - 1).div_euclid(12));
    let month = (month - 1).rem_euclid(12) + 1;
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    era.saturating_mul(146_097)
        .saturating_add(of_era * 365 + of_era / 4 - of_era / 100 + of_year)
        .saturating_add(day - 1)
        .saturating_sub(719_468)
}

/// The last day of a month.
pub(super) fn last_day(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Monday is 1.
pub(super) fn iso_day_of_week(days: i64) -> i64 {
    days.saturating_add(3).rem_euclid(7) + 1
}

/// Sunday is 1.
pub(super) fn day_of_week(days: i64) -> i64 {
    days.saturating_add(4).rem_euclid(7) + 1
}

pub(super) fn day_of_year(days: i64) -> i64 {
    days - days_of(civil(days).year, 1, 1) + 1
}

/// Year and number of the ISO week.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    let thursday = days - iso_day_of_week(days) + 4;
    let year = civil(thursday).year;
    (year, (thursday - days_of(year, 1, 1)) / 7 + 1)
}

/// Year and number of the week as the United States count: weeks begin on Sunday, January 1 is in the first.
pub(super) fn us_week(days: i64) -> (i64, i64) {
    let saturday = days - day_of_week(days) + 7;
    let year = civil(saturday).year;
    let first = days_of(year, 1, 1);
    (year, (days - (first - day_of_week(first) + 1)) / 7 + 1)
}

/// Adds months to a date; a day that the month lacks becomes its last.
pub(super) fn add_months(days: i64, months: i64) -> i64 {
    let Civil { year, month, day } = civil(days);
    let month = (month - 1).saturating_add(months);
    let (year, month) = (year.saturating_add(month.div_euclid(12)), month.rem_euclid(12) + 1);
    days_of(year, month, day.min(last_day(year, month)))
}

/// Whole months from the date `earlier` to `later`.
fn months_between_days(later: i64, earlier: i64) -> i64 {
    if later < earlier {
        return -months_between_days(earlier, later);
    }
    let (a, b) = (civil(later), civil(earlier));
    let mut months = (a.year - b.year) * 12 + a.month - b.month;
    while add_months(earlier, months) > later {
        months -= 1;
    }
    while add_months(earlier, months + 1) <= later {
        months += 1;
    }
    months
}

/// Whole months from one moment to another, both in milliseconds.
pub(super) fn months_between(later_ms: i64, earlier_ms: i64) -> i64 {
    let split = |ms: i64| (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let ((later, later_ms), (earlier, earlier_ms)) = (split(later_ms), split(earlier_ms));
    let months = months_between_days(later, earlier);
    if add_months(earlier, months) == later && later_ms < earlier_ms { months - 1 } else { months }
}

/// A field of a date.
pub(super) fn date_field(unit: Unit, days: i64) -> Option<i64> {
    let Civil { year, month, day } = civil(days);
    let spans =
        |length: i64| if year > 0 { (year + length - 1) / length } else { (year - length + 1) / length };
    Some(match unit {
        Unit::Year => year,
        Unit::Quarter => (month + 2) / 3,
        Unit::Month => month,
        Unit::Week => iso_week(days).1,
        Unit::Day => day,
        Unit::DayOfYear => day_of_year(days),
        Unit::DayOfWeek => day_of_week(days),
        Unit::IsoDayOfWeek => iso_day_of_week(days),
        Unit::IsoYear => iso_week(days).0,
        Unit::Decade => year / 10,
        Unit::Century => spans(100),
        Unit::Millennium => spans(1_000),
        _ => return None,
    })
}

/// The first day of the unit that a day is in, or of the next unit.
pub(super) fn round_date(unit: Unit, days: i64, up: bool) -> Option<i64> {
    let Civil { year, month, day } = civil(days);
    let is_first = |month: i64, day: i64| month == 1 && day == 1;
    Some(match unit {
        Unit::Millennium | Unit::Century => {
            let length = if unit == Unit::Century { 100 } else { 1_000 };
            let end = length * ((year + length - 1) / length);
            days_of(if up { end + 1 } else { end - length + 1 }, 1, 1)
        }
        Unit::Decade => days_of(10 * (year / 10 + i64::from(up)), 1, 1),
        Unit::Year => days_of(year + i64::from(up && !is_first(month, day)), 1, 1),
        // Flink rounds up unless it is January 1, also on the first day of another quarter.
        Unit::Quarter => days_of(year, ((month + 2) / 3 + i64::from(up && !is_first(month, day))) * 3 - 2, 1),
        Unit::Month => days_of(year, month + i64::from(up && day > 1), 1),
        Unit::Week => {
            let since_sunday = day_of_week(days) - 1;
            days - since_sunday + if up && since_sunday > 0 { 7 } else { 0 }
        }
        Unit::Day => days + i64::from(up),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for days in -150_000..150_000 {
            let date = civil(days);
            assert_eq!(days_of(date.year, date.month, date.day), days);
        }
        assert_eq!(civil(-1), Civil { year: 1969, month: 12, day: 31 });
        assert_eq!(days_of(2024, 2, 29), 19_782);
    }

    #[test]
    fn weeks_at_the_ends_of_years() {
        let week = |year, month, day| iso_week(days_of(year, month, day));
        assert_eq!(week(2021, 1, 3), (2020, 53));
        assert_eq!(week(2024, 12, 30), (2025, 1));
        assert_eq!(week(2026, 1, 1), (2026, 1));
        assert_eq!(us_week(days_of(2024, 12, 29)), (2025, 1));
        assert_eq!(us_week(days_of(2024, 12, 28)), (2024, 52));
        assert_eq!(us_week(days_of(2023, 1, 1)), (2023, 1));
    }

    #[test]
    fn months_end_where_they_end() {
        assert_eq!(add_months(days_of(2024, 1, 31), 1), days_of(2024, 2, 29));
        assert_eq!(add_months(days_of(2024, 2, 29), 12), days_of(2025, 2, 28));
        assert_eq!(add_months(days_of(2024, 1, 31), -2), days_of(2023, 11, 30));
        assert_eq!(months_between(days_of(2024, 2, 29) * DAY_MS, days_of(2024, 1, 31) * DAY_MS), 1);
        assert_eq!(months_between(days_of(2024, 1, 31) * DAY_MS, days_of(2024, 2, 29) * DAY_MS), -1);
    }
}
