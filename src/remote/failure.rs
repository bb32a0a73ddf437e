//! What an object store answers instead of what was asked for, and what to do about it.
//!
//! Every error names the URL and the remedy. Bodies of answers are taken apart and not passed on: they say who asked.

use millstream_engine::{Error, ErrorKind, causes};

/// What an error of the store's means, and what to do about it. Bodies of answers are not passed on: they say who asked.
pub fn failed(what: &str, url: &str, is_disk: bool, error: &object_store::Error) -> Error {
    let text = causes(error);
    let (code, message) = (between(&text, "<Code>", "</Code>"), between(&text, "<Message>", "</Message>"));
    let said = match (code, message) {
        (Some(code), Some(message)) if !message.is_empty() => format!("{code}: {message}"),
        (Some(code), _) => code.to_owned(),
        // In front of the last " - " is what was asked and how often.
        _ => {
            let cause = text.split("<?xml").next().unwrap_or_default();
            cause.rsplit(" - ").next().unwrap_or_default().chars().take(400).collect()
        }
    };
    let is = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
    if matches!(error, object_store::Error::NotFound { .. }) && !is(&["NoSuchBucket"]) {
        return Error::state("there is no such object").at(url);
    }
    let (kind, remedy) = if is(&["NoSuchBucket"]) {
        (
            ErrorKind::Config,
            "make the bucket, or give the URL of one that is there; AWS_ENDPOINT_URL and AWS_REGION say where it is looked for",
        )
    } else if is(&["169.254.169.254", "169.254.170.2"]) {
        (ErrorKind::Config, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
    } else if matches!(
        error,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    ) || is(&["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"])
    {
        (
            ErrorKind::Config,
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, where there is one) to those of a user \
             who may list, read, write and delete there; a clock that is wrong by minutes is refused too",
        )
    } else if is(&["without LOCATION", "PermanentRedirect", "AuthorizationHeaderMalformed"]) {
        (ErrorKind::Config, "set AWS_REGION to the region of the bucket")
    } else if is_disk {
        (ErrorKind::Unavailable, "check the disk's space and health, and the folder's rights")
    } else {
        (ErrorKind::Unavailable, "check the uplink, and AWS_ENDPOINT_URL where the store is not Amazon's")
    };
    Error::new(kind, format!("cannot be {what}: {said}")).at(url).remedy(remedy)
}

fn between<'a>(text: &'a str, from: &str, to: &str) -> Option<&'a str> {
    text.split_once(from)?.1.split_once(to).map(|(found, _)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_answers_is_said_without_who_asked() {
        let body = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code>\
                    <Message>The signature does not match</Message><AWSAccessKeyId>AKIA7</AWSAccessKeyId></Error>";
        let error = object_store::Error::Generic { store: "S3", source: body.into() };
        let error = failed("written", "s3://bucket/x/checkpoint-1/manifest", false, &error);
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(
            text.starts_with(
                "s3://bucket/x/checkpoint-1/manifest: cannot be written: SignatureDoesNotMatch: The signature"
            ) && text.contains("AWS_SECRET_ACCESS_KEY")
                && !text.contains("AKIA7"),
            "{text}"
        );
        let away = "Error performing GET http://s3/x in 4.07s, after 10 retries, max_retries: 10 - HTTP error: connection refused";
        let away = failed(
            "listed",
            "s3://bucket/x",
            false,
            &object_store::Error::Generic { store: "S3", source: away.into() },
        );
        assert_eq!(away.message(), "cannot be listed: HTTP error: connection refused");
    }
}
