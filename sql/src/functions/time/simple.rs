//! Reads instants with a SimpleDateFormat's pattern, leniently: blanks before numbers are skipped, what follows the
//! pattern is ignored, month 13 is January of the next year.
//!
//! Flink: DateTimeUtils.unixTimestamp, parseDate with a format, convertTz, formatTimestampString.

use super::calendar::{DAY_MS, days_of};
use super::format::{MONTHS, WEEKDAYS};
use super::pattern::{Adjacent, Field, Item, Pattern};
use super::zone::{Overlap, Zone};

/// The instant that `text` means on the clocks of `zone`; `this_year` places years of two digits.
pub(super) fn read(pattern: &Pattern, text: &str, zone: Zone, this_year: i64) -> Option<i64> {
    let mut reader = Reader { text, at: 0, fields: Fields::default(), this_year };
    for item in &pattern.items {
        reader.item(item)?;
    }
    reader.fields.resolve(zone)
}

#[derive(Debug, Default)]
struct Fields {
    year: Option<i64>,
    before_christ: bool,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    afternoon: Option<bool>,
    hour: Option<i64>,
    hour_of_half: Option<i64>,
    minute: i64,
    second: i64,
    ms: i64,
    offset_ms: Option<i64>,
}

impl Fields {
    fn resolve(self, zone: Zone) -> Option<i64> {
        let year = match (self.year.unwrap_or(1970), self.before_christ) {
            (year, true) => 1_i64.checked_sub(year)?,
            (year, false) => year,
        };
        // Years beyond what fits into milliseconds are none that a clock shows.
        if year.abs() > 290_000_000 {
            return None;
        }
        let days = match (self.day_of_year, self.month, self.day) {
            (Some(of_year), None, None) => days_of(year, 1, 1).checked_add(of_year - 1)?,
            (_, month, day) => days_of(year, month.unwrap_or(1), 1).checked_add(day.unwrap_or(1) - 1)?,
        };
        let half = || 12 * i64::from(self.afternoon.unwrap_or(false)) + self.hour_of_half.unwrap_or(0);
        let hour = self.hour.unwrap_or_else(half);
        let seconds =
            hour.checked_mul(3_600)?.checked_add(self.minute.checked_mul(60)?)?.checked_add(self.second)?;
        let local_ms =
            days.checked_mul(DAY_MS)?.checked_add(seconds.checked_mul(1_000)?)?.checked_add(self.ms)?;
        match self.offset_ms {
            Some(offset) => local_ms.checked_sub(offset),
            None => Some(zone.to_utc(local_ms, Overlap::Later)),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    fields: Fields,
    this_year: i64,
}

impl Reader<'_> {
    fn item(&mut self, item: &Item) -> Option<()> {
        match item {
            Item::Literal(literal) => {
                self.text.get(self.at..)?.strip_prefix(literal.as_str())?;
                self.at += literal.len();
            }
            Item::Number { field, least, adjacent, .. } => {
                let (value, _) = self.number(*least, *adjacent)?;
                self.set(*field, value);
            }
            Item::TwoDigitYear { field, adjacent } => {
                let (value, digits) = self.number(2, *adjacent)?;
                self.set(*field, if digits == 2 { self.century(value) } else { value });
            }
            Item::Name { field, .. } => {
                self.skip_blanks();
                let rest = self.text.get(self.at..)?;
                let (value, width) = match field {
                    Field::Month => longest(rest, &MONTHS)?,
                    Field::IsoDayOfWeek => longest(rest, &WEEKDAYS)?,
                    Field::Era => longest(rest, &["BC", "AD"])?,
                    _ => longest(rest, &["AM", "PM"])?,
                };
                self.at += width;
                self.set(*field, if *field == Field::Month { value + 1 } else { value });
            }
            Item::Offset(_) => {
                self.skip_blanks();
                let (offset_ms, width) = offset(self.text.get(self.at..)?)?;
                self.fields.offset_ms = Some(offset_ms);
                self.at += width;
            }
            // A SimpleDateFormat has neither.
            Item::Fraction { .. } | Item::Optional(_) => return None,
        }
        Some(())
    }

    fn skip_blanks(&mut self) {
        while matches!(self.text.as_bytes().get(self.at), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// A number, and how many digits it has without a sign.
    fn number(&mut self, width: usize, adjacent: Adjacent) -> Option<(i64, usize)> {
        self.skip_blanks();
        let bytes = self.text.as_bytes();
        let negative = bytes.get(self.at) == Some(&b'-');
        let start = self.at + usize::from(negative);
        let most =
            if adjacent == Adjacent::Fixed { width - usize::from(negative).min(width) } else { usize::MAX };
        if adjacent == Adjacent::Fixed && self.at + width > bytes.len() {
            return None;
        }
        let digits = bytes.get(start..)?.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let value: i64 = self.text.get(start..start + digits)?.parse().ok()?;
        self.at = start + digits;
        Some(if negative { (-value, 0) } else { (value, digits) })
    }

    /// Two digits mean a year at most 80 years back and less than 20 ahead.
    fn century(&self, two_digits: i64) -> i64 {
        let oldest = self.this_year - 80;
        let year = oldest - oldest.rem_euclid(100) + two_digits;
        if year < oldest { year + 100 } else { year }
    }

    fn set(&mut self, field: Field, value: i64) {
        let fields = &mut self.fields;
        match field {
            Field::Era => fields.before_christ = value == 0,
            Field::YearOfEra | Field::Year | Field::WeekYear => fields.year = Some(value),
            Field::Month => fields.month = Some(value),
            Field::Day => fields.day = Some(value),
            Field::DayOfYear => fields.day_of_year = Some(value),
            Field::AmPm => fields.afternoon = Some(value == 1),
            Field::Hour => fields.hour = Some(value),
            Field::HourFrom1 => fields.hour = Some(if value == 24 { 0 } else { value }),
            Field::HourOfHalf => fields.hour_of_half = Some(value),
            Field::HourOfHalfFrom1 => fields.hour_of_half = Some(if value == 12 { 0 } else { value }),
            Field::Minute => fields.minute = value,
            Field::Second => fields.second = value,
            Field::Millisecond => fields.ms = value,
            // Weekdays and weeks do not move a date that has a day.
            _ => {}
        }
    }
}

/// The name that `text` begins with in any case, in full or by three letters: its index and width.
fn longest(text: &str, names: &[&str]) -> Option<(i64, usize)> {
    let begins = |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let full = names.iter().position(|name| begins(name)).map(|index| (index, names[index].len()));
    let (index, width) = full.or_else(|| {
        let index = names.iter().position(|name| name.len() > 3 && begins(&name[..3]))?;
        Some((index, 3))
    })?;
    Some((i64::try_from(index).ok()?, width))
}

/// `+0100`, `+01:00`, `Z`, `GMT+1:00`, `CET`, `Europe/Berlin`: the offset and its width.
fn offset(text: &str) -> Option<(i64, usize)> {
    let run = text.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"/_+-:".contains(byte)).count();
    let word = &text[..run];
    if word == "Z" {
        return Some((0, 1));
    }
    if let Some(digits) = word.strip_prefix(['+', '-']) {
        let plain: String = digits.chars().filter(|digit| *digit != ':').collect();
        if !matches!(plain.len(), 2 | 4) || !plain.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let hours: i64 = plain[..2].parse().ok()?;
        let minutes: i64 =
            plain.get(2..).filter(|rest| !rest.is_empty()).map_or(Some(0), |rest| rest.parse().ok())?;
        let ms = (hours * 60 + minutes) * 60_000;
        return (hours <= 23 && minutes <= 59).then_some((if word.starts_with('-') { -ms } else { ms }, run));
    }
    // A zone's name stands for its standard time.
    Zone::named(word).map(|zone| (zone.offset_ms(0), run))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::time::pattern::Flavour;

    fn at(pattern: &str, text: &str) -> Option<i64> {
        read(&Pattern::compile(pattern, Flavour::Simple).unwrap(), text, Zone::UTC, 2026)
    }

    #[test]
    fn it_is_lenient() {
        assert_eq!(at("yyyy-MM-dd", "2024-02-09 and more"), Some(1_707_436_800_000));
        assert_eq!(at("yyyy-MM-dd", "2023-14-09"), Some(1_707_436_800_000));
        assert_eq!(at("yyyyMMdd", "20240209"), Some(1_707_436_800_000));
        assert_eq!(at("yyyy-MM-dd", "x"), None);
        assert_eq!(at("dd.MM.yy", "09.02.24"), Some(1_707_436_800_000));
        assert_eq!(at("dd.MM.yy", "09.02.70"), Some(3_369_600_000));
    }

    #[test]
    fn offsets_count() {
        assert_eq!(at("yyyy-MM-dd HH:mm:ss Z", "2024-02-09 01:00:00 +0100"), Some(1_707_436_800_000));
        assert_eq!(at("yyyy-MM-dd'T'HH:mm:ssXXX", "2024-02-08T19:00:00-05:00"), Some(1_707_436_800_000));
        assert_eq!(at("d MMM yyyy h a", "9 february 2024 12 am"), Some(1_707_436_800_000));
    }
}
