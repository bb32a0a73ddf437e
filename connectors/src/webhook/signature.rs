//! Signatures after Standard Webhooks: the receiver proves that a request is ours and fresh.
//!
//! `webhook-signature` is `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, where id and timestamp (seconds
//! since 1970) are the headers `webhook-id` and `webhook-timestamp`. The id stays the same over all attempts of a
//! request, the timestamp is that of the attempt. The key never leaves this file and is not shown by `Debug`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use millstream_engine::options::Options;
use millstream_engine::{Error, Result};

/// The option that holds the secret.
pub(super) const OPTION: &str = "signature.secret";

/// Signs requests with one secret.
pub(super) struct Signer {
    key: hmac::Key,
}

impl Signer {
    /// Reads the secret: `whsec_` and base64 as Standard Webhooks write it, or any other text as it is.
    pub fn from_options(options: &Options) -> Result<Option<Self>> {
        let Some(secret) = options.get(OPTION) else { return Ok(None) };
        let wrong = |what: &str| Error::config(format!("option '{OPTION}': {what}")).at(options.owner());
        let bytes = match secret.trim().strip_prefix("whsec_") {
            Some(encoded) => {
                STANDARD.decode(encoded).map_err(|_| wrong("what follows 'whsec_' must be base64"))?
            }
            None => secret.as_bytes().to_vec(),
        };
        if bytes.is_empty() {
            return Err(wrong("the secret is empty").remedy("drop the option to send unsigned requests"));
        }
        Ok(Some(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes) }))
    }

    /// The value of `webhook-signature`.
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{id}.{timestamp_s}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(secret: &str) -> Result<Option<Signer>> {
        Signer::from_options(&Options::from_pairs("table t", [(OPTION, secret)]))
    }

    /// The example of the Standard Webhooks reference libraries.
    #[test]
    fn signs_as_the_reference_does() {
        let signer = signer("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap().unwrap();
        let signature =
            signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_wrong_secret_is_refused_without_being_shown() {
        let error = signer("whsec_not-base64!").unwrap_err().to_string();
        assert!(error.contains("base64") && !error.contains("not-base64!"), "{error}");
        assert!(signer("whsec_").is_err());
        assert!(!format!("{:?}", signer("plain text").unwrap()).contains("plain"));
    }
}
