//! Digests of strings, in hexadecimal.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::ScalarUDF;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use super::call::Call;
use super::function::{Function, Kind, Subject};
use super::text::push_hex;

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    let make = |name, usage, about, kernel: fn(&Call<'_>) -> Result<ArrayRef>| {
        Function::new(Subject::Hash, name, usage, about, &[Kind::Text], DataType::Utf8, kernel)
    };
    vec![
        make("md5", "MD5(string)", "The MD5 digest, 32 digits.", digest::<Md5>).build(),
        make("sha1", "SHA1(string)", "The SHA-1 digest, 40 digits.", digest::<Sha1>).build(),
        make("sha224", "SHA224(string)", "The SHA-224 digest, 56 digits.", digest::<Sha224>).build(),
        make("sha256", "SHA256(string)", "The SHA-256 digest, 64 digits.", digest::<Sha256>).build(),
        make("sha384", "SHA384(string)", "The SHA-384 digest, 96 digits.", digest::<Sha384>).build(),
        make("sha512", "SHA512(string)", "The SHA-512 digest, 128 digits.", digest::<Sha512>).build(),
        Function::new(
            Subject::Hash,
            "sha2",
            "SHA2(string, bits)",
            "The SHA-2 digest of 224, 256, 384 or 512 bits.",
            &[Kind::Text, Kind::Whole],
            DataType::Utf8,
            sha2,
        )
        .build(),
    ]
}

fn push<D: Digest>(text: &str, out: &mut String) {
    push_hex(out, D::digest(text).as_slice(), b"0123456789abcdef");
}

fn digest<D: Digest>(call: &Call<'_>) -> Result<ArrayRef> {
    let texts = call.texts(0)?;
    call.text(|row, out| {
        let Some(text) = texts.get(row) else { return Ok(false) };
        push::<D>(text, out);
        Ok(true)
    })
}

fn sha2(call: &Call<'_>) -> Result<ArrayRef> {
    let (texts, sizes) = (call.texts(0)?, call.wholes(1)?);
    call.text(|row, out| {
        let (Some(text), Some(bits)) = (texts.get(row), sizes.get(row)) else { return Ok(false) };
        match bits {
            224 => push::<Sha224>(text, out),
            256 => push::<Sha256>(text, out),
            384 => push::<Sha384>(text, out),
            512 => push::<Sha512>(text, out),
            _ => return exec_err!("SHA2 takes 224, 256, 384 or 512 bits, not {bits}"),
        }
        Ok(true)
    })
}
