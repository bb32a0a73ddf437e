//! Java's two pattern languages for dates, compiled: DateTimeFormatter (DATE_FORMAT and TO_TIMESTAMP of timestamps) and
//! SimpleDateFormat (everything Flink reads or writes as a string of the session's zone).
//!
//! They share their syntax (letters, `'quotes'`) and differ in what letters mean. A pattern is compiled to a list of
//! [`Item`]s once; format.rs writes with it, formatter.rs and simple.rs read with it.

/// Which of Java's classes a pattern is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Flavour {
    /// java.time.format.DateTimeFormatter.
    Formatter,
    /// java.text.SimpleDateFormat.
    Simple,
}

/// A part of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Era,
    /// Counts backwards before year 1.
    YearOfEra,
    Year,
    WeekYear,
    Quarter,
    Month,
    Week,
    WeekOfMonth,
    Day,
    DayOfYear,
    /// The how manyth of its weekday in the month.
    WeekdayInMonth,
    /// Day 1 to 7 of the month's sevens.
    DayOfSeven,
    /// 1 is Sunday.
    DayOfWeek,
    /// 1 is Monday.
    IsoDayOfWeek,
    AmPm,
    /// 0 to 23.
    Hour,
    /// 1 to 24.
    HourFrom1,
    /// 0 to 11.
    HourOfHalf,
    /// 1 to 12.
    HourOfHalfFrom1,
    Minute,
    Second,
    Millisecond,
    Nanosecond,
    MillisecondOfDay,
    NanosecondOfDay,
}

/// How names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Short,
    Full,
    Narrow,
}

/// When a number is written with a sign, and taken with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Normal,
    Never,
    /// A plus where there are more digits than the least.
    ExceedsPad,
}

/// How an offset from UTC is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OffsetStyle {
    /// Letters of `X`, which writes `Z` for zero.
    Iso(usize),
    /// `+0100`.
    Plain,
    /// `CET`.
    Name,
    /// `Europe/Berlin`.
    Id,
}

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Literal(String),
    Number {
        field: Field,
        least: usize,
        most: usize,
        sign: Sign,
        adjacent: Adjacent,
    },
    /// The last two digits of a year.
    TwoDigitYear {
        field: Field,
        adjacent: Adjacent,
    },
    Name {
        field: Field,
        style: Style,
    },
    /// Digits of the fraction of a second.
    Fraction {
        least: usize,
        most: usize,
        point: bool,
        adjacent: Adjacent,
    },
    Offset(OffsetStyle),
    /// May be missing when reading.
    Optional(Vec<Item>),
}

/// How a number shares a run of digits with its neighbours when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Adjacent {
    /// Takes all the digits it may, but leaves this many to those that follow.
    Leaves(usize),
    /// Takes its exact width.
    Fixed,
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern {
    pub items: Vec<Item>,
}

/// Nested optional parts beyond this are refused.
const DEPTH_MAX: usize = 16;

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// With what is wrong with it, if it is no pattern.
    pub fn compile(text: &str, flavour: Flavour) -> Result<Self, String> {
        let mut compiler = Compiler { flavour, stack: vec![Vec::new()], value: None };
        let chars: Vec<char> = text.chars().collect();
        let mut at = 0;
        while at < chars.len() {
            let letter = chars[at];
            if letter.is_ascii_alphabetic() {
                let run = chars[at..].iter().take_while(|other| **other == letter).count();
                compiler.letters(letter, run)?;
                at += run;
                continue;
            }
            at += 1;
            match letter {
                '\'' if chars.get(at) == Some(&'\'') => {
                    compiler.literal('\'');
                    at += 1;
                }
                '\'' => loop {
                    match (chars.get(at), chars.get(at + 1)) {
                        (Some('\''), Some('\'')) => {
                            compiler.literal('\'');
                            at += 2;
                        }
                        (Some('\''), _) => {
                            at += 1;
                            break;
                        }
                        (Some(other), _) => {
                            compiler.literal(*other);
                            at += 1;
                        }
                        (None, _) => return Err("a quote is not closed".into()),
                    }
                },
                '[' if flavour == Flavour::Formatter => compiler.open()?,
                ']' if flavour == Flavour::Formatter => compiler.close()?,
                '{' | '}' | '#' if flavour == Flavour::Formatter => {
                    return Err(format!("'{letter}' is reserved, quote it"));
                }
                other => compiler.literal(other),
            }
        }
        compiler.finish()
    }

    /// True if writing it needs a zone, which a TIMESTAMP has not.
    pub fn needs_zone(&self) -> bool {
        any(&self.items, |item| matches!(item, Item::Offset(_)))
    }

    /// True if it shows nothing below a minute: what it writes is the same for all of one.
    pub fn is_of_minutes(&self) -> bool {
        !any(&self.items, |item| match item {
            Item::Number { field, .. } => matches!(
                field,
                Field::Second
                    | Field::Millisecond
                    | Field::Nanosecond
                    | Field::MillisecondOfDay
                    | Field::NanosecondOfDay
            ),
            Item::Fraction { .. } => true,
            _ => false,
        })
    }
}

/// True if `is` says so of an item, also of one in an optional part.
fn any(items: &[Item], is: fn(&Item) -> bool) -> bool {
    items.iter().any(|item| match item {
        Item::Optional(inner) => any(inner, is),
        item => is(item),
    })
}

struct Compiler {
    flavour: Flavour,
    /// The items of each open optional part.
    stack: Vec<Vec<Item>>,
    /// Index of the number that digits following it may be taken from.
    value: Option<usize>,
}

impl Compiler {
    fn items(&mut self) -> &mut Vec<Item> {
        if self.stack.is_empty() {
            self.stack.push(Vec::new());
        }
        let last = self.stack.len() - 1;
        &mut self.stack[last]
    }

    fn literal(&mut self, letter: char) {
        self.value = None;
        match self.items().last_mut() {
            Some(Item::Literal(text)) => text.push(letter),
            _ => self.items().push(Item::Literal(letter.into())),
        }
    }

    fn open(&mut self) -> Result<(), String> {
        self.value = None;
        if self.stack.len() > DEPTH_MAX {
            return Err("optional parts are nested too deeply".into());
        }
        self.stack.push(Vec::new());
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        self.value = None;
        if self.stack.len() < 2 {
            return Err("']' closes nothing".into());
        }
        let inner = self.stack.pop().unwrap_or_default();
        self.items().push(Item::Optional(inner));
        Ok(())
    }

    fn finish(mut self) -> Result<Pattern, String> {
        // Java takes an optional part that is not closed as closed at the end.
        while self.stack.len() > 1 {
            self.close()?;
        }
        let mut items = self.stack.pop().unwrap_or_default();
        if self.flavour == Flavour::Simple {
            obey_counts(&mut items);
        }
        Ok(Pattern { items })
    }

    fn plain(&mut self, item: Item) {
        self.value = None;
        self.items().push(item);
    }

    /// Adds a number that may follow another without a gap: `yyyyMMdd`.
    fn number(&mut self, mut item: Item, fixed_width: Option<usize>) {
        let before = self.value;
        let fixed = fixed_width.filter(|_| before.is_some());
        if let (Some(width), Some(first)) = (fixed, before) {
            if let Some(Adjacent::Leaves(reserved)) = self.items().get_mut(first).and_then(adjacent) {
                *reserved += width;
            }
            if let Some(own) = adjacent(&mut item) {
                *own = Adjacent::Fixed;
            }
            self.items().push(item);
            return;
        }
        if let Some(own) = before.and_then(|first| self.items().get_mut(first)).and_then(adjacent) {
            *own = Adjacent::Fixed;
        }
        self.items().push(item);
        self.value = Some(self.items().len() - 1);
    }

    fn letters(&mut self, letter: char, count: usize) -> Result<(), String> {
        match self.flavour {
            Flavour::Formatter => self.formatter(letter, count),
            Flavour::Simple => self.simple(letter, count),
        }
    }

    fn formatter(&mut self, letter: char, count: usize) -> Result<(), String> {
        let too_many = || Err(format!("there are too many letters '{letter}'"));
        let leaves = Adjacent::Leaves(0);
        match letter {
            'y' | 'u' | 'Y' => {
                let field = match letter {
                    'y' => Field::YearOfEra,
                    'u' => Field::Year,
                    _ => Field::WeekYear,
                };
                match count {
                    2 => self.number(Item::TwoDigitYear { field, adjacent: leaves }, Some(2)),
                    _ => {
                        let sign = if count < 4 { Sign::Normal } else { Sign::ExceedsPad };
                        if count > 19 {
                            return too_many();
                        }
                        self.number(
                            Item::Number { field, least: count, most: 19, sign, adjacent: leaves },
                            None,
                        );
                    }
                }
            }
            'M' | 'L' | 'Q' | 'q' | 'E' | 'e' | 'c' => {
                let field = match letter {
                    'M' | 'L' => Field::Month,
                    'Q' | 'q' => Field::Quarter,
                    'E' => Field::IsoDayOfWeek,
                    _ => Field::DayOfWeek,
                };
                let style = match count {
                    1 | 2 if letter == 'c' && count == 2 => return Err("'cc' is no pattern".into()),
                    1 | 2 if letter != 'E' => {
                        self.one_or_two(field, count);
                        return Ok(());
                    }
                    1..=3 => Style::Short,
                    4 => Style::Full,
                    5 => Style::Narrow,
                    _ => return too_many(),
                };
                let field = if field == Field::DayOfWeek { Field::IsoDayOfWeek } else { field };
                self.plain(Item::Name { field, style });
            }
            'G' => {
                let style = match count {
                    1..=3 => Style::Short,
                    4 => Style::Full,
                    5 => Style::Narrow,
                    _ => return too_many(),
                };
                self.plain(Item::Name { field: Field::Era, style });
            }
            'a' if count == 1 => self.plain(Item::Name { field: Field::AmPm, style: Style::Short }),
            'd' | 'H' | 'k' | 'K' | 'h' | 'm' | 's' | 'w' => {
                let field = match letter {
                    'd' => Field::Day,
                    'H' => Field::Hour,
                    'k' => Field::HourFrom1,
                    'K' => Field::HourOfHalf,
                    'h' => Field::HourOfHalfFrom1,
                    'm' => Field::Minute,
                    's' => Field::Second,
                    _ => Field::Week,
                };
                if count > 2 {
                    return too_many();
                }
                self.one_or_two(field, count);
            }
            'W' if count == 1 => self.one_or_two(Field::WeekOfMonth, 1),
            'F' if count == 1 => self.one_or_two(Field::DayOfSeven, 1),
            'D' if count <= 3 => {
                let (most, sign) = if count == 1 { (19, Sign::Normal) } else { (3, Sign::Never) };
                let fixed = (count == 3).then_some(3);
                self.number(
                    Item::Number { field: Field::DayOfYear, least: count, most, sign, adjacent: leaves },
                    fixed,
                );
            }
            'S' if count <= 9 => {
                self.number(
                    Item::Fraction { least: count, most: count, point: false, adjacent: leaves },
                    Some(count),
                );
            }
            'A' | 'n' | 'N' if count <= 19 => {
                let field = match letter {
                    'A' => Field::MillisecondOfDay,
                    'n' => Field::Nanosecond,
                    _ => Field::NanosecondOfDay,
                };
                self.number(
                    Item::Number { field, least: count, most: 19, sign: Sign::Never, adjacent: leaves },
                    None,
                );
            }
            'X' if count <= 3 => self.plain(Item::Offset(OffsetStyle::Iso(count))),
            'Z' if count <= 3 => self.plain(Item::Offset(OffsetStyle::Plain)),
            'Z' if count == 5 => self.plain(Item::Offset(OffsetStyle::Iso(3))),
            'z' if count <= 3 => self.plain(Item::Offset(OffsetStyle::Name)),
            'V' if count == 2 => self.plain(Item::Offset(OffsetStyle::Id)),
            'a' | 'W' | 'F' | 'D' | 'S' | 'A' | 'n' | 'N' => return too_many(),
            _ => return Err(format!("{} stands for nothing", letter.to_string().repeat(count))),
        }
        Ok(())
    }

    /// A number as written with one letter (any width) or two (exactly two digits).
    fn one_or_two(&mut self, field: Field, count: usize) {
        let adjacent = Adjacent::Leaves(0);
        if count == 1 {
            self.number(Item::Number { field, least: 1, most: 19, sign: Sign::Normal, adjacent }, None);
        } else {
            self.number(Item::Number { field, least: 2, most: 2, sign: Sign::Never, adjacent }, Some(2));
        }
    }

    fn simple(&mut self, letter: char, count: usize) -> Result<(), String> {
        let name = |field| Item::Name { field, style: if count >= 4 { Style::Full } else { Style::Short } };
        let number = |field| Item::Number {
            field,
            least: count.min(WIDTH_MAX),
            most: WIDTH_MAX,
            sign: Sign::Normal,
            adjacent: Adjacent::Leaves(0),
        };
        let item = match letter {
            'y' | 'Y' => {
                let field = if letter == 'y' { Field::YearOfEra } else { Field::WeekYear };
                if count == 2 {
                    Item::TwoDigitYear { field, adjacent: Adjacent::Leaves(0) }
                } else {
                    number(field)
                }
            }
            'M' | 'L' if count >= 3 => name(Field::Month),
            'M' | 'L' => number(Field::Month),
            'E' => name(Field::IsoDayOfWeek),
            'G' => Item::Name { field: Field::Era, style: Style::Short },
            'a' => Item::Name { field: Field::AmPm, style: Style::Short },
            'w' => number(Field::Week),
            'W' => number(Field::WeekOfMonth),
            'd' => number(Field::Day),
            'D' => number(Field::DayOfYear),
            'F' => number(Field::WeekdayInMonth),
            'u' => number(Field::IsoDayOfWeek),
            'H' => number(Field::Hour),
            'k' => number(Field::HourFrom1),
            'K' => number(Field::HourOfHalf),
            'h' => number(Field::HourOfHalfFrom1),
            'm' => number(Field::Minute),
            's' => number(Field::Second),
            'S' => number(Field::Millisecond),
            'z' if count <= 3 => Item::Offset(OffsetStyle::Name),
            'z' => return Err("the long names of zones (zzzz) are not supported, write z".into()),
            'Z' => Item::Offset(OffsetStyle::Plain),
            'X' if count <= 3 => Item::Offset(OffsetStyle::Iso(count)),
            _ => return Err(format!("{} stands for nothing", letter.to_string().repeat(count))),
        };
        self.items().push(item);
        Ok(())
    }
}

/// Wider numbers are padded no further.
const WIDTH_MAX: usize = 40;

/// SimpleDateFormat reads a number that another follows without a gap in its exact width.
fn obey_counts(items: &mut [Item]) {
    for at in 0..items.len() {
        let next_is_number =
            matches!(items.get(at + 1), Some(Item::Number { .. } | Item::TwoDigitYear { .. }));
        if next_is_number && let Some(own) = adjacent(&mut items[at]) {
            *own = Adjacent::Fixed;
        }
    }
}

fn adjacent(item: &mut Item) -> Option<&mut Adjacent> {
    match item {
        Item::Number { adjacent, .. }
        | Item::TwoDigitYear { adjacent, .. }
        | Item::Fraction { adjacent, .. } => Some(adjacent),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_in_a_run_are_shared_out() {
        let pattern = Pattern::compile("yyyyMMdd", Flavour::Formatter).unwrap();
        let widths: Vec<_> =
            pattern.items.iter().cloned().map(|mut item| *adjacent(&mut item).unwrap()).collect();
        assert_eq!(widths, [Adjacent::Leaves(4), Adjacent::Fixed, Adjacent::Fixed]);
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        let error = |text: &str, flavour| Pattern::compile(text, flavour).unwrap_err();
        assert_eq!(error("yyyy-bb", Flavour::Formatter), "bb stands for nothing");
        assert_eq!(error("HHH", Flavour::Formatter), "there are too many letters 'H'");
        assert_eq!(error("yyyy'T", Flavour::Simple), "a quote is not closed");
        assert_eq!(error("yyyy]", Flavour::Formatter), "']' closes nothing");
        assert!(Pattern::compile("HHH", Flavour::Simple).is_ok());
    }
}
