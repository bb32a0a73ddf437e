//! Literals of time in the syntax: INTERVAL '1 10:00' DAY TO MINUTE and TIMESTAMP '2024-02-09 01:02:03'.
//!
//! check.rs refuses what is none at its place; rewrite.rs brings the rest into the two forms that the planner reads: so
//! many months, or so many seconds. Flink: SqlIntervalQualifier.

use sqlparser::ast::{self, DateTimeField, Expr, Spanned, UnaryOperator, Value};

use super::error::PlanError;
use crate::functions::time::{LiteralKind, literal_precision};

/// An interval: months, or milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interval {
    Months(i64),
    Ms(i64),
}

/// What is wrong with a literal of time, if `expr` is one.
pub(super) fn check(expr: &Expr) -> Option<PlanError> {
    match expr {
        Expr::Interval(interval) => self::interval(interval).err(),
        Expr::TypedString(literal) => {
            let (kind, form) = match &literal.data_type {
                ast::DataType::Date => (LiteralKind::Date, "DATE 'yyyy-MM-dd'"),
                ast::DataType::Time(..) => (LiteralKind::Time, "TIME 'HH:mm:ss'"),
                ast::DataType::Timestamp(..) => (LiteralKind::Timestamp, "TIMESTAMP 'yyyy-MM-dd HH:mm:ss'"),
                _ => return None,
            };
            let text = literal.value.value.clone().into_string().unwrap_or_default();
            let wrong = literal_precision(kind, &text).is_none();
            let name = form.split(' ').next().unwrap_or(form);
            wrong.then(|| {
                PlanError::at(format!("'{text}' is no {name}"), literal.value.span)
                    .remedy(format!("write {form}"))
            })
        }
        _ => None,
    }
}

/// A literal in the form that the planner reads: intervals in seconds or months, timestamps with their precision.
pub(super) fn plain(expr: &mut Expr) {
    match expr {
        Expr::Interval(literal) => {
            let Ok(value) = interval(literal) else { return };
            let (text, unit) = match value {
                Interval::Months(months) => (months.to_string(), DateTimeField::Month),
                Interval::Ms(ms) => {
                    let sign = if ms < 0 { "-" } else { "" };
                    let ms = ms.unsigned_abs();
                    (format!("{sign}{}.{:03}", ms / 1_000, ms % 1_000), DateTimeField::Second)
                }
            };
            let value = Value::SingleQuotedString(text).with_span(literal.value.span());
            *literal.value = Expr::Value(value);
            literal.leading_field = Some(unit);
            literal.leading_precision = None;
            literal.last_field = None;
            literal.fractional_seconds_precision = None;
        }
        Expr::TypedString(literal) => {
            let ast::DataType::Timestamp(precision @ None, _) = &mut literal.data_type else { return };
            let text = literal.value.value.clone().into_string().unwrap_or_default();
            *precision = literal_precision(LiteralKind::Timestamp, &text)
                .and_then(|digits| u64::try_from(digits).ok());
        }
        _ => {}
    }
}

/// The units of interval literals, largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
}

impl Unit {
    fn of(field: &DateTimeField) -> Option<Self> {
        use DateTimeField as Field;
        Some(match field {
            Field::Year | Field::Years => Self::Year,
            Field::Quarter => Self::Quarter,
            Field::Month | Field::Months => Self::Month,
            Field::Week(_) | Field::Weeks => Self::Week,
            Field::Day | Field::Days => Self::Day,
            Field::Hour | Field::Hours => Self::Hour,
            Field::Minute | Field::Minutes => Self::Minute,
            Field::Second | Field::Seconds => Self::Second,
            Field::Millisecond | Field::Milliseconds => Self::Millisecond,
            _ => return None,
        })
    }

    /// In milliseconds, or months where those are counted.
    fn length(self) -> (bool, i64) {
        match self {
            Self::Year => (true, 12),
            Self::Quarter => (true, 3),
            Self::Month => (true, 1),
            Self::Week => (false, 604_800_000),
            Self::Day => (false, 86_400_000),
            Self::Hour => (false, 3_600_000),
            Self::Minute => (false, 60_000),
            Self::Second => (false, 1_000),
            Self::Millisecond => (false, 1),
        }
    }

    /// The units of `self TO last` and how each is separated from the one before.
    fn parts(self, last: Self) -> Option<Vec<(Self, char)>> {
        let all: &[(Self, char)] = match self {
            Self::Year | Self::Month => &[(Self::Year, '-'), (Self::Month, '-')],
            _ => &[(Self::Day, ' '), (Self::Hour, ' '), (Self::Minute, ':'), (Self::Second, ':')],
        };
        let at = |unit: Self| all.iter().position(|(known, _)| *known == unit);
        let (first, last) = (at(self)?, at(last)?);
        (first < last).then(|| all[first..=last].to_vec())
    }

    /// How many of it make one of the next larger.
    fn limit(self) -> i64 {
        match self {
            Self::Month => 12,
            Self::Hour => 24,
            _ => 60,
        }
    }
}

/// The value of an interval literal.
///
/// # Errors
/// With its place, if it is none.
pub(super) fn interval(literal: &ast::Interval) -> Result<Interval, PlanError> {
    let wrong = |message: String| {
        PlanError::at(message, literal.value.span()).remedy(
            "write INTERVAL '10' SECOND, INTERVAL '1 10:00' DAY TO MINUTE or INTERVAL '1-6' YEAR TO MONTH",
        )
    };
    let (mut negative, text) =
        text_of(&literal.value).ok_or_else(|| wrong("an interval is a string and a unit".into()))?;
    let none = || wrong(format!("'{text}' is no interval of that unit"));
    let unit = match &literal.leading_field {
        None => return Err(wrong(format!("the interval '{text}' has no unit"))),
        Some(field) => {
            Unit::of(field).ok_or_else(|| wrong(format!("an interval cannot be measured in {field}")))?
        }
    };
    let mut rest = text.trim();
    if let Some(digits) = rest.strip_prefix(['-', '+']) {
        negative ^= rest.starts_with('-');
        rest = digits;
    }
    let parts = match &literal.last_field {
        None => vec![(unit, ' ')],
        Some(last) => {
            let first = literal.leading_field.as_ref().map(ToString::to_string).unwrap_or_default();
            let parts = Unit::of(last).and_then(|last| unit.parts(last));
            parts.ok_or_else(|| wrong(format!("there is no interval of {first} TO {last}")))?
        }
    };
    let mut total = 0_i64;
    let (by_month, _) = unit.length();
    for (index, (part, _)) in parts.iter().enumerate() {
        let digits = match parts.get(index + 1) {
            Some((_, separator)) => {
                let (digits, after) = rest.split_once(*separator).ok_or_else(none)?;
                rest = after;
                digits
            }
            None => rest,
        };
        let value = scaled(digits, part.length().1, !by_month).ok_or_else(none)?;
        if index > 0 && value >= part.length().1.saturating_mul(part.limit()) {
            return Err(none());
        }
        total = total.checked_add(value).ok_or_else(|| wrong("the interval is too long".into()))?;
    }
    let total = if negative { -total } else { total };
    Ok(if by_month { Interval::Months(total) } else { Interval::Ms(total) })
}

fn text_of(value: &Expr) -> Option<(bool, String)> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some((false, text.clone())),
            _ => None,
        },
        Expr::UnaryOp { op: op @ (UnaryOperator::Minus | UnaryOperator::Plus), expr } => {
            let (negative, text) = text_of(expr)?;
            Some((negative ^ (*op == UnaryOperator::Minus), text))
        }
        _ => None,
    }
}

/// `1.5` times `length`, cut.
fn scaled(digits: &str, length: i64, fraction: bool) -> Option<i64> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, part) = match digits.split_once('.') {
        Some((whole, part)) if fraction && is_number(part) => (whole, &part[..part.len().min(9)]),
        Some(_) => return None,
        None => (digits, ""),
    };
    if !is_number(whole) {
        return None;
    }
    let whole = whole.parse::<i64>().ok()?.checked_mul(length)?;
    if part.is_empty() {
        return Some(whole);
    }
    let scale = 10_i64.pow(u32::try_from(part.len()).ok()?);
    let part = i128::from(part.parse::<i64>().ok()?) * i128::from(length) / i128::from(scale);
    whole.checked_add(i64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::GenericDialect;
    use sqlparser::parser::Parser;

    fn of(text: &str) -> Result<Interval, String> {
        let expr = Parser::new(&GenericDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap();
        match expr {
            Expr::Interval(literal) => interval(&literal).map_err(|error| error.message),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn intervals_over_several_units() {
        assert_eq!(of("INTERVAL '1 10:00' DAY TO MINUTE"), Ok(Interval::Ms(122_400_000)));
        assert_eq!(of("INTERVAL '1 10:20:30.123' DAY TO SECOND(3)"), Ok(Interval::Ms(123_630_123)));
        assert_eq!(of("INTERVAL '10:30' HOUR TO MINUTE"), Ok(Interval::Ms(37_800_000)));
        assert_eq!(of("INTERVAL '2-10' YEAR TO MONTH"), Ok(Interval::Months(34)));
        assert_eq!(of("INTERVAL '-2-10' YEAR TO MONTH"), Ok(Interval::Months(-34)));
        assert_eq!(of("INTERVAL '0.5' SECOND"), Ok(Interval::Ms(500)));
        assert_eq!(of("INTERVAL -'3' DAY"), Ok(Interval::Ms(-259_200_000)));
        assert_eq!(of("INTERVAL '2' WEEK"), Ok(Interval::Ms(1_209_600_000)));
    }

    #[test]
    fn what_is_no_interval_says_so() {
        assert_eq!(
            of("INTERVAL '1 25:00' DAY TO MINUTE"),
            Err("'1 25:00' is no interval of that unit".into())
        );
        assert_eq!(of("INTERVAL 'x' DAY"), Err("'x' is no interval of that unit".into()));
        assert_eq!(
            of("INTERVAL '1:00' MINUTE TO HOUR"),
            Err("there is no interval of MINUTE TO HOUR".into())
        );
        assert_eq!(of("INTERVAL '5'"), Err("the interval '5' has no unit".into()));
        assert_eq!(of("INTERVAL '5' CENTURY"), Err("an interval cannot be measured in CENTURY".into()));
    }
}
