//! Numbers of JSON as Java writes them: whole ones without a sign in front of zero, others as `BigDecimal.toString` does,
//! with all their digits: `1.50`, `1E+10`, `1E-7`.

use std::cmp::Ordering;
use std::fmt::Write;

/// Writes the number that stands as `raw` in a JSON text.
pub(super) fn write(raw: &str, is_whole: bool, out: &mut String) {
    if is_whole {
        out.push_str(if raw == "-0" { "0" } else { raw });
        return;
    }
    let (sign, magnitude) = raw.strip_prefix('-').map_or(("", raw), |magnitude| ("-", magnitude));
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // The reader lets exponents of nine digits pass, so nothing here overflows.
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let scale = fraction.len() as i64 - exponent;
    let all = || whole.chars().chain(fraction.chars());
    let zeros = all().take_while(|digit| *digit == '0').count();
    let count = (all().count() - zeros).max(1);
    let skipped = all().count() - count;
    let digits = || all().skip(skipped);
    if zeros < all().count() {
        out.push_str(sign);
    }
    let adjusted = count as i64 - 1 - scale;
    if scale == 0 {
        out.extend(digits());
    } else if scale > 0 && adjusted >= -6 {
        // The fraction has `scale` digits, some of them zeros that are not among the digits.
        let before = (count as i64 - scale).max(0) as usize;
        out.extend(digits().take(before));
        out.push_str(if before == 0 { "0." } else { "." });
        out.extend(std::iter::repeat_n('0', (scale - count as i64).max(0) as usize));
        out.extend(digits().skip(before));
    } else {
        out.extend(digits().take(1));
        if count > 1 {
            out.push('.');
            out.extend(digits().skip(1));
        }
        if adjusted != 0 {
            let _ = write!(out, "E{adjusted:+}");
        }
    }
}

/// Compares two numbers by value, however many digits they have.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let ((a_sign, a_size, a_digits), (b_sign, b_size, b_digits)) = (parts(a), parts(b));
    let magnitude = || a_size.cmp(&b_size).then_with(|| a_digits.cmp(&b_digits));
    a_sign.cmp(&b_sign).then_with(|| if a_sign < 0 { magnitude().reverse() } else { magnitude() })
}

/// The sign, the power of ten of the first digit, and the digits without zeros around them.
fn parts(raw: &str) -> (i8, i64, String) {
    let (sign, magnitude) = raw.strip_prefix('-').map_or((1, raw), |magnitude| (-1, magnitude));
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    if digits.is_empty() {
        return (0, 0, String::new());
    }
    let zeros = (all.len() - digits.len()) as i64;
    let size = whole.len() as i64 - zeros + exponent.parse().unwrap_or(0);
    (sign, size, digits.trim_end_matches('0').to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_written_as_bigdecimal_does() {
        let cases = [
            ("1.50", "1.50"),
            ("1e10", "1E+10"),
            ("1.0e+2", "1.0E+2"),
            ("1E-7", "1E-7"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1E-7"),
            ("0.00000012", "1.2E-7"),
            ("-0.0", "0.0"),
            ("0e5", "0E+5"),
            ("100.00", "100.00"),
            ("1.50e2", "150"),
            ("-12.345e1", "-123.45"),
            ("12.5e-3", "0.0125"),
        ];
        for (raw, written) in cases {
            let mut out = String::new();
            super::write(raw, false, &mut out);
            assert_eq!(out, written, "{raw}");
        }
    }

    #[test]
    fn numbers_compare_by_value() {
        let ascending =
            ["-1e3", "-12.5", "-0.001", "0", "1e-9", "0.5", "8.95", "9", "10", "1e2", "12345678901234567890"];
        for (at, a) in ascending.iter().enumerate() {
            for (other, b) in ascending.iter().enumerate() {
                assert_eq!(super::compare(a, b), at.cmp(&other), "{a} and {b}");
            }
        }
        for (a, b) in [("8.95", "8.950"), ("1e2", "100"), ("-0.0", "0"), ("0.1E1", "1")] {
            assert_eq!(super::compare(a, b), std::cmp::Ordering::Equal);
        }
    }
}
