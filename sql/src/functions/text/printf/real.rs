//! %f, %e and %g: the shortest digits that stand for a number, rounded half up, as Java's FormattedFloatingDecimal has it.

use super::Spec;

pub(super) fn write(kind: char, spec: Spec, number: f64, out: &mut String) {
    let cased = |text: &str| if spec.is_upper { text.to_uppercase() } else { text.to_owned() };
    if number.is_nan() {
        return spec.justified(&cased("NaN"), out);
    }
    let is_negative = number.is_sign_negative();
    if number.is_infinite() {
        let plain = Spec { flags: spec.flags & 0b000_1111, ..spec };
        let in_brackets = Spec { flags: spec.flags & 0b100_1111, ..spec };
        let spec = if spec.has(b'(') { in_brackets } else { plain };
        return spec.number(&cased("Infinity"), "", is_negative, out);
    }
    let shortest = Digits::of(number.abs());
    let most = spec.precision.unwrap_or(6);
    let (mut digits, exponent) = match kind {
        'f' => (shortest.fixed(most), None),
        'e' => shortest.scientific(most),
        _ => {
            let most = most.max(1);
            let rounded = shortest.rounded(most as i64);
            let is_plain = (-4..most as i64).contains(&rounded.exponent);
            match (rounded.is_zero(), is_plain) {
                (true, _) => (shortest.fixed(most - 1), None),
                (false, true) => (rounded.fixed((most as i64 - 1 - rounded.exponent) as usize), None),
                (false, false) => rounded.scientific(most - 1),
            }
        }
    };
    if spec.has(b'#') && !digits.contains('.') {
        digits.push('.');
    }
    let behind = exponent.map_or_else(String::new, |exponent| {
        format!("e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    });
    spec.number(&digits, &cased(&behind), is_negative, out);
}

/// `d.ddd * 10^exponent`
struct Digits {
    digits: Vec<u8>,
    exponent: i64,
}

impl Digits {
    fn of(number: f64) -> Self {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let digits = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        Self { digits, exponent: exponent.parse().unwrap_or(0) }
    }

    fn is_zero(&self) -> bool {
        self.digits.iter().all(|digit| *digit == b'0')
    }

    /// So many of its digits, the last one rounded half up.
    fn rounded(&self, keep: i64) -> Self {
        let Ok(keep) = usize::try_from(keep) else { return Self { digits: vec![b'0'], exponent: 0 } };
        let (mut digits, mut exponent) = (self.digits.clone(), self.exponent);
        if keep >= digits.len() {
            return Self { digits, exponent };
        }
        let goes_up = digits[keep] >= b'5';
        digits.truncate(keep);
        if goes_up {
            let nines = digits.iter().rev().take_while(|digit| **digit == b'9').count();
            let place = digits.len() - nines;
            digits[place..].fill(b'0');
            match place.checked_sub(1) {
                Some(place) => digits[place] += 1,
                None => {
                    digits.insert(0, b'1');
                    exponent += 1;
                }
            }
        }
        if digits.is_empty() {
            return Self { digits: vec![b'0'], exponent: 0 };
        }
        Self { digits, exponent }
    }

    /// The digit in front of the point for place 0, behind it for -1.
    fn at(&self, place: i64) -> char {
        let index = usize::try_from(self.exponent - place).ok();
        index.and_then(|index| self.digits.get(index)).map_or('0', |digit| char::from(*digit))
    }

    /// In full, with so many digits behind the point.
    fn fixed(&self, behind: usize) -> String {
        let rounded = self.rounded(self.exponent + 1 + behind as i64);
        let mut text: String = (0..=rounded.exponent.max(0)).rev().map(|place| rounded.at(place)).collect();
        if behind > 0 {
            text.push('.');
            text.extend((1..=behind as i64).map(|place| rounded.at(-place)));
        }
        text
    }

    /// With one digit in front of the point and so many behind it, and the exponent.
    fn scientific(&self, behind: usize) -> (String, Option<i64>) {
        let rounded = self.rounded(behind as i64 + 1);
        let mut text = String::from(rounded.at(rounded.exponent));
        if behind > 0 {
            text.push('.');
            text.extend((1..=behind as i64).map(|place| rounded.at(rounded.exponent - place)));
        }
        (text, Some(rounded.exponent))
    }
}
