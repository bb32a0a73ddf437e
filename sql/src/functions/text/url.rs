//! PARSE_URL: parts of a URL, cut as Java's URL class cuts them. URL_ENCODE and URL_DECODE: text as in an HTML form.

use std::sync::Arc;

use arrow_schema::DataType;
use datafusion_expr::ScalarUDF;

use crate::functions::function::{Function, Kind, Subject};

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    use Kind::Text;
    vec![
        Function::new(Subject::Text, "parse_url", "PARSE_URL(url, part [, key])", "A part of a URL: 'HOST', 'PATH', 'QUERY', 'REF', 'PROTOCOL', 'FILE', 'AUTHORITY' or 'USERINFO'; with 'QUERY' and a key, the key's value. NULL without it.", &[Text, Text], DataType::Utf8, |call| {
            let (urls, parts) = (call.texts(0)?, call.texts(1)?);
            let keys = if call.len() > 2 { Some(call.texts(2)?) } else { None };
            call.piece(|row| {
                let (url, part) = (Url::cut(urls.get(row)?)?, parts.get(row)?);
                match &keys {
                    None => url.part(part),
                    Some(keys) => {
                        let key = keys.get(row)?;
                        let query = url.query.filter(|_| part == "QUERY")?;
                        query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
                    }
                }
            })
        })
        .optional(&[Text])
        .build(),
        Function::new(
            Subject::Text,
            "url_encode",
            "URL_ENCODE(string)",
            "The string as in an HTML form: UTF-8 with `%20` for what is special and `+` for a blank.",
            &[Text],
            DataType::Utf8,
            |call| {
                let texts = call.texts(0)?;
                call.text(|row, out| Ok(texts.get(row).map(|text| encode(text, out)).is_some()))
            },
        )
        .build(),
        Function::new(
            Subject::Text,
            "url_decode",
            "URL_DECODE(string)",
            "The string that URL_ENCODE makes this of; NULL if a `%` is not followed by two hexadecimal digits.",
            &[Text],
            DataType::Utf8,
            |call| {
                let texts = call.texts(0)?;
                let mut bytes = Vec::new();
                call.text(|row, out| Ok(texts.get(row).and_then(|text| decode(text, &mut bytes, out)).is_some()))
            },
        )
        .build(),
    ]
}

fn encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => out.push(byte.into()),
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)].into());
                out.push(HEX[usize::from(byte & 15)].into());
            }
        }
    }
}

/// `bytes` is room to work in. What is no UTF-8 becomes U+FFFD, as in Java.
fn decode(text: &str, bytes: &mut Vec<u8>, out: &mut String) -> Option<()> {
    bytes.clear();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    out.push_str(&String::from_utf8_lossy(bytes));
    Some(())
}

/// The pieces of a URL.
struct Url<'a> {
    protocol: &'a str,
    authority: Option<&'a str>,
    path: &'a str,
    /// Path and query.
    file: &'a str,
    query: Option<&'a str>,
    reference: Option<&'a str>,
}

impl<'a> Url<'a> {
    fn cut(text: &'a str) -> Option<Self> {
        let (protocol, rest) = text.trim().split_once(':')?;
        // Java knows these without further libraries; of others it says that the URL is malformed.
        if !["http", "https", "ftp", "file", "jar"].iter().any(|known| known.eq_ignore_ascii_case(protocol)) {
            return None;
        }
        let (rest, reference) = match rest.split_once('#') {
            Some((rest, reference)) => (rest, Some(reference)),
            None => (rest, None),
        };
        let (authority, file) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, rest),
        };
        let (path, query) = match file.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (file, None),
        };
        Some(Self { protocol, authority, path, file, query, reference })
    }

    fn part(&self, name: &str) -> Option<&'a str> {
        match name {
            "PROTOCOL" => Some(self.protocol),
            "AUTHORITY" => self.authority,
            "HOST" => {
                let Some(authority) = self.authority else { return Some("") };
                let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
                // The colons of an IPv6 address stand in brackets.
                match host.rfind(']') {
                    Some(end) => host.get(..=end),
                    None => host.split(':').next(),
                }
            }
            "USERINFO" => self.authority?.rsplit_once('@').map(|(user, _)| user),
            "PATH" => Some(self.path),
            "FILE" => Some(self.file),
            "QUERY" => self.query,
            "REF" => self.reference,
            _ => None,
        }
    }
}
