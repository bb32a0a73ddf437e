//! PRINTF: values in a text, as Java's Formatter has it with Locale.US.
//!
//! A format is read piece by piece, and each conversion writes its argument: general (%s %b %h), characters (%c), whole numbers
//! (%d %o %x), real ones (%f %e %g; real.rs has their digits), and %% and %n. What Java's Formatter throws at, a flag that does not
//! go with its conversion, an argument of another kind or none, makes the result NULL, as in Flink (PrintfFunction).

mod arguments;
mod real;

use std::fmt::Write;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;

use crate::functions::call::Call;
use crate::functions::function::{Function, Kind, Subject};
use arguments::{Argument, Value};

/// No width may be larger: one row must not fill the memory.
const WIDTH_MAX: usize = 1 << 20;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![
        Function::new(
            Subject::Text,
            "printf",
            "PRINTF(format, value, …)",
            "The format with values in it, as Java's String.format: %s %d %x %o %f %e %g %b %c %h %% %n with flags, width, precision and places (%2$s). NULL if a value does not go with its conversion; a DECIMAL goes with %s alone.",
            &[Kind::Text],
            DataType::Utf8,
            printf,
        )
        .rest(Kind::Any)
        .checks(|given| given.types[1..].iter().try_for_each(arguments::check))
        .build(),
    ]
}

fn printf(call: &Call<'_>) -> Result<ArrayRef> {
    let formats = call.texts(0)?;
    let arguments = (1..call.len()).map(|index| Argument::of(call, index)).collect::<Result<Vec<_>>>()?;
    call.text(|row, out| {
        let Some(format) = formats.get(row) else { return Ok(false) };
        let values: Vec<Value<'_>> = arguments.iter().map(|argument| argument.value(row)).collect();
        Ok(write(format, &values, out).is_some())
    })
}

/// What stands between % and the conversion.
#[derive(Debug, Default, Clone, Copy)]
struct Spec {
    /// `-`, `#`, `+`, ` `, `0`, `,`, `(`, each as the bit of its place in [`FLAGS`].
    flags: u8,
    width: Option<usize>,
    precision: Option<usize>,
    is_upper: bool,
}

const FLAGS: &[u8] = b"-#+ 0,(";

impl Spec {
    fn has(&self, flag: u8) -> bool {
        FLAGS.iter().position(|known| *known == flag).is_some_and(|at| self.flags & 1 << at != 0)
    }

    /// None where one of `flags` is set.
    fn without(&self, flags: &[u8]) -> Option<()> {
        (!flags.iter().any(|flag| self.has(*flag))).then_some(())
    }

    /// None where a flag wants a width and there is none, or two flags contradict each other.
    fn check_numeric(&self) -> Option<()> {
        let fills = self.has(b'-') || self.has(b'0');
        let contradicts = self.has(b'+') && self.has(b' ') || self.has(b'-') && self.has(b'0');
        (!(contradicts || fills && self.width.is_none())).then_some(())
    }

    /// `text` filled up with blanks to the width.
    fn justified(&self, text: &str, out: &mut String) {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if !self.has(b'-') {
            out.extend(std::iter::repeat_n(' ', missing));
        }
        out.push_str(text);
        if self.has(b'-') {
            out.extend(std::iter::repeat_n(' ', missing));
        }
    }

    /// `text` cut to the precision and filled up to the width, in capitals for a conversion in one.
    fn text(&self, text: &str, out: &mut String) {
        let end =
            self.precision.and_then(|most| text.char_indices().nth(most)).map_or(text.len(), |(at, _)| at);
        if self.is_upper {
            self.justified(&text[..end].to_uppercase(), out);
        } else {
            self.justified(&text[..end], out);
        }
    }

    /// A number of `digits`, perhaps with a point in it, as sign, groups and zeros want it; `behind` is its exponent.
    fn number(&self, digits: &str, behind: &str, is_negative: bool, out: &mut String) {
        let mut text = String::new();
        let in_brackets = is_negative && self.has(b'(');
        match (is_negative, self.has(b'+'), self.has(b' ')) {
            (true, ..) => text.push(if in_brackets { '(' } else { '-' }),
            (false, true, _) => text.push('+'),
            (false, false, true) => text.push(' '),
            _ => {}
        }
        let whole = digits.find('.').unwrap_or(digits.len());
        let groups = if self.has(b',') { whole.saturating_sub(1) / 3 } else { 0 };
        if self.has(b'0') {
            let taken = text.len() + digits.len() + groups + behind.len() + usize::from(in_brackets);
            let missing = self.width.unwrap_or(0).saturating_sub(taken);
            text.extend(std::iter::repeat_n('0', missing));
        }
        for (at, digit) in digits.chars().enumerate() {
            if groups > 0 && at > 0 && at < whole && (whole - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text.push_str(behind);
        if in_brackets {
            text.push(')');
        }
        self.justified(&text, out);
    }
}

/// Writes `format`; none where Java throws.
fn write(format: &str, values: &[Value<'_>], out: &mut String) -> Option<()> {
    let (mut rest, mut next, mut last) = (format, 0, None);
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut index = None;
        if let Some(behind) = rest[digits..].strip_prefix('$') {
            index = Some(rest[..digits].parse::<usize>().ok().filter(|index| *index > 0)?);
            rest = behind;
        }
        let mut spec = Spec::default();
        let mut is_same = false;
        while let Some(flag) = rest.bytes().next() {
            if flag == b'<' {
                (!is_same).then_some(())?;
                is_same = true;
            } else {
                let Some(place) = FLAGS.iter().position(|known| *known == flag) else { break };
                (spec.flags & 1 << place == 0).then_some(())?;
                spec.flags |= 1 << place;
            }
            rest = &rest[1..];
        }
        spec.width = number(&mut rest);
        if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
            spec.precision = Some(number(&mut rest)?);
        }
        (spec.width.unwrap_or(0).max(spec.precision.unwrap_or(0)) <= WIDTH_MAX).then_some(())?;
        let conversion = rest.chars().next()?;
        rest = &rest[conversion.len_utf8()..];
        match conversion {
            '%' => {
                (spec.precision.is_none() && spec.flags & !1 == 0).then_some(())?;
                (!spec.has(b'-') || spec.width.is_some()).then_some(())?;
                spec.justified("%", out);
                continue;
            }
            'n' => {
                (spec.precision.is_none() && spec.flags == 0 && spec.width.is_none()).then_some(())?;
                out.push('\n');
                continue;
            }
            _ => {}
        }
        let place = match (index, is_same) {
            (_, true) => last?,
            (Some(index), _) => index - 1,
            _ => {
                next += 1;
                next - 1
            }
        };
        last = Some(place);
        let kind = conversion.to_ascii_lowercase();
        spec.is_upper = conversion.is_ascii_uppercase() && "bhscxeg".contains(kind);
        (spec.is_upper || conversion.is_ascii_lowercase()).then_some(())?;
        convert(kind, spec, values.get(place)?, out)?;
    }
    out.push_str(rest);
    Some(())
}

/// The number that `text` begins with, and the text behind it.
fn number(text: &mut &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (head, tail) = text.split_at(digits);
    let found = head.parse().ok()?;
    *text = tail;
    Some(found)
}

fn convert(kind: char, spec: Spec, value: &Value<'_>, out: &mut String) -> Option<()> {
    match kind {
        's' | 'b' | 'h' => {
            spec.without(b"+ 0,(")?;
            (!spec.has(b'-') || spec.width.is_some()).then_some(())?;
            let mut text = String::new();
            match (kind, value) {
                ('b', _) => {
                    spec.without(b"#")?;
                    let is_true = !matches!(value, Value::Null | Value::Boolean(false));
                    text.push_str(if is_true { "true" } else { "false" });
                }
                ('h', Value::Null) => {
                    spec.without(b"#")?;
                    text.push_str("null");
                }
                ('h', value) => {
                    spec.without(b"#")?;
                    write!(text, "{:x}", value.java_hash()?).ok()?;
                }
                (_, value) => {
                    spec.without(b"#")?;
                    value.show(&mut text);
                }
            }
            spec.text(&text, out);
        }
        'c' => {
            spec.precision.is_none().then_some(())?;
            spec.without(b"#+ 0,(")?;
            (!spec.has(b'-') || spec.width.is_some()).then_some(())?;
            match value {
                Value::Null => spec.text("null", out),
                Value::Whole(code, bits) if *bits < 64 => {
                    spec.text(char::from_u32(u32::try_from(*code).ok()?)?.encode_utf8(&mut [0; 4]), out);
                }
                _ => return None,
            }
        }
        'd' | 'o' | 'x' => {
            spec.check_numeric()?;
            spec.precision.is_none().then_some(())?;
            spec.without(if kind == 'd' { b"#" } else { b"," })?;
            match value {
                Value::Null => spec.text("null", out),
                Value::Whole(number, _) if kind == 'd' => {
                    spec.number(&number.unsigned_abs().to_string(), "", *number < 0, out);
                }
                Value::Whole(number, bits) => {
                    spec.without(b"(+ ")?;
                    let bits = if *bits == 64 { *number as u64 } else { *number as u64 & ((1 << bits) - 1) };
                    let digits = if kind == 'o' { format!("{bits:o}") } else { format!("{bits:x}") };
                    let head = match (spec.has(b'#'), kind) {
                        (true, 'o') => "0",
                        (true, _) => "0x",
                        _ => "",
                    };
                    let zeros = if spec.has(b'0') { spec.width.unwrap_or(0) } else { 0 };
                    let zeros = "0".repeat(zeros.saturating_sub(head.len() + digits.len()));
                    spec.text(&[head, &zeros, &digits].concat(), out);
                }
                _ => return None,
            }
        }
        'f' | 'e' | 'g' => {
            spec.check_numeric()?;
            spec.without(match kind {
                'e' => b",",
                'g' => b"#",
                _ => b"",
            })?;
            match value {
                Value::Null => spec.text("null", out),
                Value::Real(number, _) => real::write(kind, spec, *number, out),
                _ => return None,
            }
        }
        _ => return None,
    }
    Some(())
}
