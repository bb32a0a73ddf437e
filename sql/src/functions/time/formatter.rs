//! Reads wall clocks with a DateTimeFormatter's pattern, as Flink's TO_TIMESTAMP does: strict about widths, a day beyond
//! the end of its month is the month's last, and what the pattern leaves out is that of 1970-01-01 00:00.
//!
//! Text goes to [`Fields`] item by item; fields are then resolved to a moment. Flink: DateTimeUtils.parseTimestampData.

use std::sync::LazyLock;

use super::calendar::{DAY_MS, days_of, iso_day_of_week, last_day};
use super::format::{MONTHS, WEEKDAYS};
use super::pattern::{Adjacent, Field, Flavour, Item, OffsetStyle, Pattern, Sign, Style};

/// A wall clock in milliseconds since 1970, and the nanoseconds of its last millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub ms: i64,
    pub nanos: i64,
}

/// What TO_TIMESTAMP reads without a pattern: `2024-2-9`, `2024-02-09 1:2:3.456789`.
static DEFAULT: LazyLock<Option<Pattern>> = LazyLock::new(|| {
    let mut pattern =
        Pattern::compile("yyyy-[MM][M]-[dd][d][ [HH][H]:[mm][m]:[ss][s]]", Flavour::Formatter).ok()?;
    if let Some(Item::Optional(time)) = pattern.items.last_mut() {
        time.push(Item::Fraction { least: 0, most: 9, point: true, adjacent: Adjacent::Leaves(0) });
    }
    Some(pattern)
});

/// A timestamp in the default form.
pub(super) fn read_default(text: &str) -> Option<Moment> {
    read_usual(text.as_bytes()).or_else(|| read(DEFAULT.as_ref()?, text))
}

/// `2024-02-09 01:02:03` with up to three digits more, which is what nearly all strings are.
fn read_usual(text: &[u8]) -> Option<Moment> {
    let (date, rest) = text.split_at_checked(19)?;
    let number = |range: std::ops::Range<usize>| {
        date[range]
            .iter()
            .try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let punctuation = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
    if punctuation.iter().any(|(at, byte)| date[*at] != *byte) {
        return None;
    }
    let fraction = match rest {
        [] => 0,
        [b'.', digits @ ..] if (1..=3).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            let value = digits.iter().fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0'));
            value * [100, 10, 1][digits.len() - 1]
        }
        _ => return None,
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let usual = year > 0 && (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    (usual && (1..=last_day(year, month)).contains(&day)).then(|| Moment {
        ms: days_of(year, month, day) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + fraction,
        nanos: 0,
    })
}

/// A timestamp as `pattern` has it, or else in a form of `1999-9-10 05:20:10`; `None` if it is neither.
pub(super) fn read_with_fallback(pattern: &Pattern, text: &str) -> Option<Moment> {
    read(pattern, text).or_else(|| read_fallback(text.trim()))
}

/// The whole of `text` as `pattern` has it.
pub(super) fn read(pattern: &Pattern, text: &str) -> Option<Moment> {
    let mut fields = Fields::default();
    let end = items(&pattern.items, text, 0, &mut fields)?;
    if end == text.len() { fields.resolve() } else { None }
}

/// java.sql.Timestamp.valueOf with a space in the text, else java.sql.Date.valueOf.
fn read_fallback(text: &str) -> Option<Moment> {
    let (date, time) = match text.split_once(' ') {
        Some((date, time)) => (date, Some(time.trim())),
        None => (text, None),
    };
    let digits = |part: &str, widths: std::ops::RangeInclusive<usize>| {
        let fits = widths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| part.parse::<i64>().ok()).flatten()
    };
    let mut parts = date.split('-');
    let (year, month, day) =
        (digits(parts.next()?, 4..=4)?, digits(parts.next()?, 1..=2)?, digits(parts.next()?, 1..=2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let days = days_of(year, month, day);
    let Some(time) = time else { return Some(Moment { ms: days * DAY_MS, nanos: 0 }) };
    let (time, fraction) =
        time.split_once('.').map_or((time, None), |(time, fraction)| (time, Some(fraction)));
    let mut parts = time.split(':');
    let mut next = || digits(parts.next()?, 1..=9);
    let (hour, minute, second) = (next()?, next()?, next()?);
    if parts.next().is_some() {
        return None;
    }
    let nanos = match fraction {
        None => 0,
        Some(fraction) => digits(fraction, 1..=9)? * 10_i64.pow(9 - u32::try_from(fraction.len()).ok()?),
    };
    let ms = days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1_000 + nanos / 1_000_000;
    Some(Moment { ms, nanos: nanos % 1_000_000 })
}

/// The values that a text gives; each may be given twice if it is the same.
#[derive(Debug, Clone, Default)]
struct Fields {
    values: Vec<(Field, i64)>,
}

impl Fields {
    fn set(&mut self, field: Field, value: i64) -> Option<()> {
        match self.get(field) {
            Some(other) => (other == value).then_some(()),
            None => {
                self.values.push((field, value));
                Some(())
            }
        }
    }

    fn get(&self, field: Field) -> Option<i64> {
        self.values.iter().find(|(known, _)| *known == field).map(|(_, value)| *value)
    }

    fn resolve(self) -> Option<Moment> {
        for (field, value) in &self.values {
            if !range(*field).contains(value) {
                return None;
            }
        }
        let year = match (self.get(Field::Year), self.get(Field::YearOfEra)) {
            (Some(year), None) => Some(year),
            (year, Some(of_era)) => {
                let of_era = if self.get(Field::Era) == Some(0) { 1 - of_era } else { of_era };
                if year.is_some_and(|year| year != of_era) {
                    return None;
                }
                Some(of_era)
            }
            (None, None) => None,
        };
        let month = self.get(Field::Month);
        let day = self.get(Field::Day);
        let mut days = match (year, month, day, self.get(Field::DayOfYear)) {
            (Some(year), Some(month), Some(day), _) => days_of(year, month, day.min(last_day(year, month))),
            (Some(year), None, None, Some(of_year)) => {
                if of_year > 365 + i64::from(last_day(year, 2) == 29) {
                    return None;
                }
                days_of(year, 1, of_year)
            }
            (year, month, day, _) => {
                let (year, month, day) = (year.unwrap_or(1970), month.unwrap_or(1), day.unwrap_or(1));
                if day > last_day(year, month) {
                    return None;
                }
                days_of(year, month, day)
            }
        };
        let whole_date = year.is_some() && month.is_some() && day.is_some();
        if whole_date && self.get(Field::IsoDayOfWeek).is_some_and(|weekday| weekday != iso_day_of_week(days))
        {
            return None;
        }
        let half = self.get(Field::AmPm);
        let of_half =
            self.get(Field::HourOfHalf).or_else(|| self.get(Field::HourOfHalfFrom1).map(|hour| hour % 12));
        let hour = self
            .get(Field::Hour)
            .or_else(|| self.get(Field::HourFrom1).map(|hour| hour % 24))
            .or_else(|| Some(half? * 12 + of_half?));
        let (minute, second) = (self.get(Field::Minute).unwrap_or(0), self.get(Field::Second).unwrap_or(0));
        let nanosecond = self.get(Field::Nanosecond).unwrap_or(0);
        let mut hour = hour.unwrap_or(0);
        if hour == 24 {
            // Midnight at the end of the day.
            if (minute, second, nanosecond) != (0, 0, 0) {
                return None;
            }
            hour = 0;
            days += i64::from(whole_date);
        }
        let (ms_of_day, nanos) = match (self.get(Field::NanosecondOfDay), self.get(Field::MillisecondOfDay)) {
            (Some(nanos), _) => (nanos / 1_000_000, nanos % 1_000_000),
            (None, Some(ms)) => (ms, 0),
            (None, None) => (
                ((hour * 60 + minute) * 60 + second) * 1_000 + nanosecond / 1_000_000,
                nanosecond % 1_000_000,
            ),
        };
        Some(Moment { ms: days * DAY_MS + ms_of_day, nanos })
    }
}

/// What a field may be.
fn range(field: Field) -> std::ops::RangeInclusive<i64> {
    match field {
        Field::Era | Field::AmPm => 0..=1,
        Field::YearOfEra => 1..=999_999_999,
        Field::Year | Field::WeekYear => -999_999_999..=999_999_999,
        Field::Quarter => 1..=4,
        Field::Month => 1..=12,
        Field::Week => 0..=53,
        Field::WeekOfMonth => 0..=6,
        Field::Day => 1..=31,
        Field::DayOfYear => 1..=366,
        Field::WeekdayInMonth => 1..=5,
        Field::DayOfSeven | Field::DayOfWeek | Field::IsoDayOfWeek => 1..=7,
        Field::Hour | Field::HourFrom1 => 0..=24,
        Field::HourOfHalf => 0..=11,
        Field::HourOfHalfFrom1 => 0..=12,
        Field::Minute | Field::Second => 0..=59,
        Field::Millisecond => 0..=999,
        Field::Nanosecond => 0..=999_999_999,
        Field::MillisecondOfDay => 0..=DAY_MS - 1,
        Field::NanosecondOfDay => 0..=DAY_MS * 1_000_000 - 1,
    }
}

/// Reads `items` at `at`; where they end, if they fit.
fn items(items_: &[Item], text: &str, mut at: usize, fields: &mut Fields) -> Option<usize> {
    for item in items_ {
        at = match item {
            Item::Literal(literal) => {
                text.get(at..)?.starts_with(literal.as_str()).then_some(at + literal.len())?
            }
            Item::Number { field, least, most, sign, adjacent } => {
                let (value, end) = number(text, at, *least, *most, *sign, *adjacent)?;
                fields.set(*field, value)?;
                end
            }
            Item::TwoDigitYear { field, adjacent } => {
                let (value, end) = number(text, at, 2, 2, Sign::Never, *adjacent)?;
                fields.set(*field, 2_000 + value)?;
                end
            }
            Item::Name { field, style } => {
                let (value, end) = name(text, at, *field, *style)?;
                fields.set(*field, value)?;
                end
            }
            Item::Fraction { least, most, point, .. } => {
                let (nanos, end) = fraction(text, at, *least, *most, *point)?;
                fields.set(Field::Nanosecond, nanos)?;
                end
            }
            Item::Offset(style) => offset(text, at, *style)?,
            Item::Optional(inner) => {
                let mut tried = fields.clone();
                match items(inner, text, at, &mut tried) {
                    Some(end) => {
                        *fields = tried;
                        end
                    }
                    None => at,
                }
            }
        };
    }
    Some(at)
}

fn number(
    text: &str,
    at: usize,
    least: usize,
    most: usize,
    sign: Sign,
    adjacent: Adjacent,
) -> Option<(i64, usize)> {
    let bytes = text.as_bytes();
    let (negative, plus, start) = match bytes.get(at)? {
        b'-' if sign != Sign::Never => (true, false, at + 1),
        b'+' if sign == Sign::ExceedsPad => (false, true, at + 1),
        _ => (false, false, at),
    };
    let run = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let taken = match adjacent {
        Adjacent::Fixed => run.min(most),
        Adjacent::Leaves(reserved) => {
            let available = run.min(most.saturating_add(reserved));
            if reserved > 0 {
                least.max(available.saturating_sub(reserved)).min(available)
            } else {
                available
            }
        }
    };
    if taken < least.max(1) || taken > 18 {
        return None;
    }
    if sign == Sign::ExceedsPad && !negative && (plus != (taken > least)) {
        return None;
    }
    let value: i64 = text.get(start..start + taken)?.parse().ok()?;
    if negative && value == 0 {
        return None;
    }
    Some((if negative { -value } else { value }, start + taken))
}

fn fraction(text: &str, at: usize, least: usize, most: usize, point: bool) -> Option<(i64, usize)> {
    let start = match (point, text.as_bytes().get(at)) {
        (false, _) => at,
        (true, Some(b'.')) => at + 1,
        (true, _) => return (least == 0).then_some((0, at)),
    };
    let digits: &str = text.get(start..)?;
    let taken = digits.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if taken < least.max(usize::from(!point)) {
        return None;
    }
    let value: i64 = if taken == 0 { 0 } else { digits.get(..taken)?.parse().ok()? };
    Some((value * 10_i64.pow(9 - u32::try_from(taken).ok()?), start + taken))
}

fn name(text: &str, at: usize, field: Field, style: Style) -> Option<(i64, usize)> {
    let rest = text.get(at..)?;
    let choose = |names: &[&str], first: i64| {
        let cut = |name: &str| match style {
            Style::Full => name.len(),
            Style::Short => name.len().min(3),
            Style::Narrow => 1,
        };
        let found = names.iter().position(|name| rest.starts_with(&name[..cut(name)]))?;
        Some((first + i64::try_from(found).ok()?, at + cut(names[found])))
    };
    match field {
        Field::Month if style != Style::Narrow => choose(&MONTHS, 1),
        Field::IsoDayOfWeek if style != Style::Narrow => choose(&WEEKDAYS, 1),
        Field::AmPm => choose(&["AM", "PM"], 0),
        Field::Era if style == Style::Short => choose(&["BC", "AD"], 0),
        Field::Era => choose(&["Before Christ", "Anno Domini"], 0),
        Field::Quarter if style == Style::Short => {
            let (value, end) =
                number(text, at + usize::from(rest.starts_with('Q')), 1, 1, Sign::Never, Adjacent::Fixed)?;
            (rest.starts_with('Q')).then_some((value, end))
        }
        _ => None,
    }
}

/// Offsets are read and make no difference: the timestamp has no zone.
fn offset(text: &str, at: usize, style: OffsetStyle) -> Option<usize> {
    let rest = text.get(at..)?;
    match style {
        OffsetStyle::Iso(_) if rest.starts_with('Z') => Some(at + 1),
        OffsetStyle::Iso(_) | OffsetStyle::Plain => {
            let bytes = rest.as_bytes();
            if !matches!(bytes.first(), Some(b'+' | b'-')) {
                return None;
            }
            let digits = |range: std::ops::Range<usize>| {
                bytes.get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
            };
            match style {
                OffsetStyle::Iso(3) => {
                    (digits(1..3) && bytes.get(3) == Some(&b':') && digits(4..6)).then_some(at + 6)
                }
                OffsetStyle::Iso(1) => digits(1..3).then(|| at + if digits(3..5) { 5 } else { 3 }),
                _ => (digits(1..5)).then_some(at + 5),
            }
        }
        OffsetStyle::Name | OffsetStyle::Id => {
            let run = rest
                .bytes()
                .take_while(|byte| byte.is_ascii_alphanumeric() || b"/_+-:".contains(byte))
                .count();
            super::zone::Zone::named(&rest[..run]).map(|_| at + run)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(pattern: &str, text: &str) -> Option<i64> {
        read(&Pattern::compile(pattern, Flavour::Formatter).unwrap(), text).map(|moment| moment.ms)
    }

    #[test]
    fn the_quick_way_reads_what_the_default_pattern_reads() {
        for text in
            ["2024-02-09 01:02:03", "2024-02-09 01:02:03.4", "1969-12-28 23:59:59.999", "0001-01-01 00:00:00"]
        {
            assert_eq!(read_usual(text.as_bytes()), read(DEFAULT.as_ref().unwrap(), text), "{text}");
            assert!(read_usual(text.as_bytes()).is_some(), "{text}");
        }
        for text in [
            "2024-02-09T01:02:03",
            "2024-13-09 01:02:03",
            "2024-02-09 24:00:01",
            "2024-02-09 01:02:03.",
            "2024-02",
        ] {
            assert_eq!(read_usual(text.as_bytes()), None, "{text}");
        }
        assert_eq!(read_default("2024-2-30"), read_default("2024-02-29 00:00:00"));
        assert_eq!(read_default("2024-02-09 01:02:03.123456").map(|moment| moment.nanos), Some(456_000));
    }

    #[test]
    fn runs_of_digits() {
        assert_eq!(at("yyyyMMddHHmmssSSS", "20240209010203456"), Some(1_707_440_523_456));
        assert_eq!(at("yyyyMMdd", "2024029"), None);
        assert_eq!(at("yyyyMMdd", "120240209"), None, "five digits of a year need a sign");
        assert_eq!(at("d/M/yyyy", "9/2/2024"), Some(1_707_436_800_000));
        assert_eq!(at("dd/MM/yy", "09/02/24"), Some(1_707_436_800_000));
    }

    #[test]
    fn names_halves_and_what_contradicts() {
        assert_eq!(at("EEE, d MMM yyyy", "Fri, 9 Feb 2024"), Some(1_707_436_800_000));
        assert_eq!(at("EEE, d MMM yyyy", "Mon, 9 Feb 2024"), None);
        assert_eq!(at("h:mm a", "12:05 AM"), Some(300_000));
        assert_eq!(at("h:mm a", "12:05 PM"), Some(43_500_000));
        assert_eq!(at("yyyy-MM-dd'T'HH:mm:ssXXX", "2024-02-09T01:02:03+01:00"), Some(1_707_440_523_000));
        assert_eq!(at("yyyy-MM-dd HH:mm", "2024-02-09 24:00"), Some(1_707_523_200_000));
        assert_eq!(at("yyyy-DDD", "2024-366"), Some(1_735_603_200_000));
        assert_eq!(at("yyyy-DDD", "2023-366"), None);
    }
}
