//! Writes moments with a compiled pattern. Names are English, weeks as the United States count them, as in a Java of
//! that locale.

use super::calendar::{Civil, DAY_MS, civil, day_of_week, day_of_year, days_of, iso_day_of_week, us_week};
use super::pattern::{Field, Item, OffsetStyle, Pattern, Sign, Style};
use super::zone::Zone;

pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(super) const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const QUARTERS: [&str; 4] = ["1st quarter", "2nd quarter", "3rd quarter", "4th quarter"];

/// What a pattern is written from: a wall clock, and for patterns that show the zone, the instant in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub local_ms: i64,
    pub nanos_of_ms: i64,
    pub zone: Zone,
    pub utc_ms: i64,
}

impl Shown {
    /// A wall clock without a zone.
    pub fn local(local_ms: i64, nanos_of_ms: i64) -> Self {
        Self { local_ms, nanos_of_ms, zone: Zone::UTC, utc_ms: local_ms }
    }

    /// What a clock of `zone` shows at an instant.
    pub fn at(utc_ms: i64, zone: Zone) -> Self {
        Self { local_ms: zone.to_local(utc_ms), nanos_of_ms: 0, zone, utc_ms }
    }
}

/// Appends `shown` to `out`.
pub(super) fn write(pattern: &Pattern, shown: &Shown, out: &mut String) {
    let days = shown.local_ms.div_euclid(DAY_MS);
    let writer = Writer { shown, days, date: civil(days), ms_of_day: shown.local_ms.rem_euclid(DAY_MS) };
    writer.items(&pattern.items, out);
}

struct Writer<'a> {
    shown: &'a Shown,
    days: i64,
    date: Civil,
    ms_of_day: i64,
}

impl Writer<'_> {
    fn items(&self, items: &[Item], out: &mut String) {
        for item in items {
            match item {
                Item::Literal(text) => out.push_str(text),
                Item::Number { field, least, sign, .. } => {
                    self.number(self.field(*field), *least, *sign, out)
                }
                Item::TwoDigitYear { field, .. } => {
                    push_padded(self.field(*field).rem_euclid(100).unsigned_abs(), 2, out)
                }
                Item::Name { field, style } => self.name(*field, *style, out),
                Item::Fraction { least, most, point, .. } => self.fraction(*least, *most, *point, out),
                Item::Offset(style) => self.offset(*style, out),
                Item::Optional(inner) => self.items(inner, out),
            }
        }
    }

    fn field(&self, field: Field) -> i64 {
        let Civil { year, month, day } = self.date;
        let ms = self.ms_of_day;
        let hour = ms / 3_600_000;
        let from_1 = |hour: i64, of: i64| if hour % of == 0 { of } else { hour % of };
        match field {
            Field::Era => i64::from(year > 0),
            Field::YearOfEra => {
                if year > 0 {
                    year
                } else {
                    1 - year
                }
            }
            Field::Year => year,
            Field::WeekYear => us_week(self.days).0,
            Field::Quarter => (month + 2) / 3,
            Field::Month => month,
            Field::Week => us_week(self.days).1,
            Field::WeekOfMonth => (day - 1 + day_of_week(days_of(year, month, 1)) - 1) / 7 + 1,
            Field::Day => day,
            Field::DayOfYear => day_of_year(self.days),
            Field::WeekdayInMonth => (day - 1) / 7 + 1,
            Field::DayOfSeven => (day - 1) % 7 + 1,
            Field::DayOfWeek => day_of_week(self.days),
            Field::IsoDayOfWeek => iso_day_of_week(self.days),
            Field::AmPm => hour / 12,
            Field::Hour => hour,
            Field::HourFrom1 => from_1(hour, 24),
            Field::HourOfHalf => hour % 12,
            Field::HourOfHalfFrom1 => from_1(hour, 12),
            Field::Minute => ms / 60_000 % 60,
            Field::Second => ms / 1_000 % 60,
            Field::Millisecond => ms % 1_000,
            Field::Nanosecond => ms % 1_000 * 1_000_000 + self.shown.nanos_of_ms,
            Field::MillisecondOfDay => ms,
            Field::NanosecondOfDay => ms * 1_000_000 + self.shown.nanos_of_ms,
        }
    }

    fn number(&self, value: i64, least: usize, sign: Sign, out: &mut String) {
        if value < 0 {
            out.push('-');
        } else if sign == Sign::ExceedsPad && value.checked_ilog10().map_or(1, |log| log as usize + 1) > least
        {
            out.push('+');
        }
        push_padded(value.unsigned_abs(), least, out);
    }

    fn name(&self, field: Field, style: Style, out: &mut String) {
        let index = |most: i64| usize::try_from((self.field(field) - 1).clamp(0, most - 1)).unwrap_or(0);
        let cut = |name: &str, out: &mut String| match style {
            Style::Full => out.push_str(name),
            Style::Short => out.extend(name.chars().take(3)),
            Style::Narrow => out.extend(name.chars().take(1)),
        };
        match field {
            Field::Month => cut(MONTHS[index(12)], out),
            Field::IsoDayOfWeek => cut(WEEKDAYS[index(7)], out),
            Field::Quarter => match style {
                Style::Full => out.push_str(QUARTERS[index(4)]),
                Style::Short => {
                    out.push('Q');
                    push_padded(self.field(field).unsigned_abs(), 1, out);
                }
                Style::Narrow => push_padded(self.field(field).unsigned_abs(), 1, out),
            },
            Field::AmPm => out.push_str(if self.field(field) == 0 { "AM" } else { "PM" }),
            _ => out.push_str(match (style, self.field(field) > 0) {
                (Style::Short, true) => "AD",
                (Style::Short, false) => "BC",
                (Style::Full, true) => "Anno Domini",
                (Style::Full, false) => "Before Christ",
                (Style::Narrow, true) => "A",
                (Style::Narrow, false) => "B",
            }),
        }
    }

    fn fraction(&self, least: usize, most: usize, point: bool, out: &mut String) {
        let mut digits = String::new();
        push_padded(self.field(Field::Nanosecond).unsigned_abs(), 9, &mut digits);
        digits.truncate(most);
        while digits.len() > least && digits.ends_with('0') {
            digits.pop();
        }
        if point && !digits.is_empty() {
            out.push('.');
        }
        out.push_str(&digits);
    }

    fn offset(&self, style: OffsetStyle, out: &mut String) {
        let zone = self.shown.zone;
        let offset_ms = zone.offset_ms(self.shown.utc_ms);
        let minutes = offset_ms.unsigned_abs() / 60_000;
        match style {
            OffsetStyle::Name => out.push_str(&zone.abbreviation(self.shown.utc_ms)),
            OffsetStyle::Id => match zone {
                Zone::Named(zone) => out.push_str(zone.name()),
                Zone::Fixed(_) => out.push_str(&zone.abbreviation(0)),
            },
            OffsetStyle::Iso(_) if offset_ms == 0 => out.push('Z'),
            OffsetStyle::Iso(_) | OffsetStyle::Plain => {
                out.push(if offset_ms < 0 { '-' } else { '+' });
                push_padded(minutes / 60, 2, out);
                if style == OffsetStyle::Iso(3) {
                    out.push(':');
                }
                if style != OffsetStyle::Iso(1) {
                    push_padded(minutes % 60, 2, out);
                }
            }
        }
    }
}

/// Appends a number with at least `width` digits.
pub(super) fn push_padded(value: u64, width: usize, out: &mut String) {
    let digits = value.checked_ilog10().map_or(1, |log| log as usize + 1);
    out.extend(std::iter::repeat_n('0', width.saturating_sub(digits)));
    let mut power = 10_u64.pow(u32::try_from(digits - 1).unwrap_or(0));
    while power > 0 {
        out.push(char::from(b'0' + u8::try_from(value / power % 10).unwrap_or(0)));
        power /= 10;
    }
}
