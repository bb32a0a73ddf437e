//! `${NAME}`, `${NAME:-default}` and `${file:/path}` in a text. `$${` stands for `${` itself.
//!
//! Invariant: errors show the text as written, never what a variable holds.

use crate::program::Variables;

/// Files named by `${file:…}` hold a secret or a number, not a disk image.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// `text` with its variables filled in; the error is a message and its remedy.
pub(super) fn fill(text: &str, variables: &Variables) -> Result<String, (String, String)> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at - 1]);
            out.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let Some(length) = rest[at..].find('}') else {
            return Err((
                "a '${' is not closed".into(),
                "write ${NAME}; for the characters themselves write $${".into(),
            ));
        };
        out.push_str(&value(&rest[at + 2..at + length], variables)?);
        rest = &rest[at + length + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn value(inside: &str, variables: &Variables) -> Result<String, (String, String)> {
    if let Some(path) = inside.strip_prefix("file:") {
        let size = std::fs::metadata(path).map(|meta| meta.len());
        if matches!(size, Ok(size) if size > FILE_BYTES_MAX) {
            return Err((
                format!("the file '{path}' is larger than 1 MiB"),
                "name a file that holds one value".into(),
            ));
        }
        return std::fs::read_to_string(path).map(|text| text.trim_end().to_owned()).map_err(|error| {
            (
                format!("the file '{path}' cannot be read: {error}"),
                "check the path and its permissions".into(),
            )
        });
    }
    let (name, default) =
        inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
    variables(name).or_else(|| default.map(str::to_owned)).ok_or_else(|| {
        (
            format!("the variable {name} is not set"),
            format!("set it in the environment ({name}=…), or give a default: ${{{name}:-value}}"),
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn variables_defaults_and_escapes() {
        let variables: Variables = Arc::new(|name| (name == "A").then(|| "1".to_owned()));
        assert_eq!(fill("x${A}y${B:-2}z$${A}", &variables).unwrap(), "x1y2z${A}");
        assert_eq!(fill("${B}", &variables).unwrap_err().0, "the variable B is not set");
        assert!(fill("${A", &variables).is_err());
    }
}
