//! Bodies, URLs and headers that are made of the row, and TLS with certificates of one's own.

use millstream_engine::registry::Connector;

use super::*;

#[tokio::test]
async fn a_template_makes_the_body_and_the_dead_letter_is_the_row() {
    let receiver = Receiver::start(|seen| Reply::Status(if seen.json()["n"] == 2 { 400 } else { 200 })).await;
    let template = r#"{"text":"{{device}} has {{n}}","n":{{n}}}"#;
    let mut rig = Rig::new(&receiver.url, &[("body.template", template)]);
    rig.send(&[("a \"b\"", 1), ("c", 2)]);
    rig.finish().await.unwrap();
    let mut seen = receiver.seen();
    seen.sort_by_key(Seen::n);
    assert_eq!(seen[0].body, r#"{"text":"a \"b\" has 1","n":1}"#);
    assert_eq!(seen[0].header("content-type"), "application/json");
    assert_eq!(rig.letters()[0].0, r#"{"device":"c","n":2}"#);

    // Several to a request are an array, taken apart when it is too large.
    let receiver = Receiver::start(|seen| {
        Reply::Status(match seen.json().as_array().unwrap().as_slice() {
            [_] => 422,
            _ => 413,
        })
    })
    .await;
    let mut rig = Rig::new(&receiver.url, &[("body.template", template), ("batch.max-rows", "4")]);
    rig.send(&[("a", 1), ("b", 2), ("c", 3)]);
    rig.finish().await.unwrap();
    assert_eq!(receiver.seen()[0].json()[2]["text"], "c has 3");
    let mut letters: Vec<_> = rig.letters().into_iter().map(|(row, _)| row).collect();
    letters.sort();
    let rows = [r#"{"device":"a","n":1}"#, r#"{"device":"b","n":2}"#, r#"{"device":"c","n":3}"#];
    assert_eq!(letters, rows);
}

#[tokio::test]
async fn other_media_types_have_other_rules() {
    let receiver = Receiver::ok().await;
    for (options, body, kind) in [
        ([("content-type", "text/plain"), ("body.template", "{{device}}: {{n}}")], "a&\"b: 1", "text/plain"),
        (
            [
                ("headers.Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
                ("body.template", "d={{device}}&n={{n}}"),
            ],
            "d=a%26%22b&n=1",
            "application/x-www-form-urlencoded; charset=utf-8",
        ),
        (
            [("content-type", "application/problem+json"), ("body.template", "{{device}}")],
            r#""a&\"b""#,
            "application/problem+json",
        ),
    ] {
        let mut rig = Rig::new(&receiver.url, &options);
        rig.send(&[("a&\"b", 1)]);
        rig.finish().await.unwrap();
        let seen = receiver.seen().pop().unwrap();
        assert_eq!((&seen.body[..], seen.header("content-type")), (body.as_bytes(), kind));
    }
}

#[tokio::test]
async fn url_and_headers_take_columns_and_no_value_leaves_its_place() {
    let receiver = Receiver::ok().await;
    let url = receiver.url.replace("/hook", "/rooms/{{device}}/x?n={{n}}");
    let mut rig =
        Rig::new(&url, &[("headers.X-Device", "<{{device}}>"), ("key", "device"), ("max-in-flight", "1")]);
    let evil = "../?a=b#/@host:1";
    rig.send(&[("a b", 1), (evil, 2), ("..", 3), ("", 4), ("line\nbreak", 5), ("é", 6)]);
    rig.finish().await.unwrap();
    let mut seen = receiver.seen();
    seen.sort_by_key(Seen::n);
    let paths: Vec<_> = seen.iter().map(|seen| seen.path.as_str()).collect();
    assert_eq!(paths, ["/rooms/a%20b/x", "/rooms/..%2F%3Fa%3Db%23%2F%40host%3A1/x", "/rooms/%C3%A9/x"]);
    assert_eq!((seen[0].header("x-device"), seen[0].header("x-device").len()), ("<a b>", 5));
    let mut letters = rig.letters();
    letters.sort();
    let errors: Vec<_> = letters.iter().map(|(_, error)| error.as_str()).collect();
    assert_eq!(letters.len(), 3, "{errors:?}");
    for expected in ["'..' a level of the path", "NULL or empty", "no header may hold"] {
        assert!(errors.iter().any(|error| error.contains(expected)), "{expected}: {errors:?}");
    }
    assert_eq!(rig.metrics().rows_dead_letter.get(), 3);
}

#[test]
fn wrong_templates_say_what_is_wrong_and_show_no_secret() {
    let receiver = "https://example.com/";
    for (options, expected) in [
        (vec![("body.template", "{{devise}}")], "option 'body.template': '{{devise}}'"),
        (vec![("body.template", "{\"a\": {{device}")], "not closed"),
        (vec![("body.template", "text {{device}}")], "it is no JSON"),
        (vec![("body.template", "{}"), ("content", "cloudevents")], "exclude each other"),
        (
            vec![("body.template", "x"), ("content-type", "text/plain"), ("batch.max-rows", "2")],
            "needs 'batch.max-rows' = '1'",
        ),
        (vec![("headers.X", "{{device}}"), ("batch.max-rows", "2")], "need 'batch.max-rows' = '1'"),
        (vec![("headers.X", "hunter2 {{devise}}")], "option 'headers.X': '{{devise}}'"),
        (vec![("content-type", "a\nb")], "option 'content-type'"),
        (vec![("url", "https://{{device}}.example.com/hunter2")], "path and query only"),
        (vec![("url", "https://example.com{{device}}/hunter2")], "path and query only"),
        (vec![("url", "{{device}}")], "path and query only"),
        (vec![("url", "http://example.com/"), ("tls.ca", "ca.pem")], "'tls.ca' is given, but"),
        (vec![("tls.cert", "/no/such.pem"), ("tls.key", "x")], "/no/such.pem"),
    ] {
        let error = Webhook.sink(&table(receiver, &options)).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains("alerts"), "{options:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    let provider = Webhook.sink(&table("https://example.com/{{device}}?key=hunter2", &[])).unwrap();
    assert_eq!(provider.describe(), "POST https://example.com");
}

#[cfg(feature = "http")]
#[tokio::test]
async fn a_receiver_may_ask_for_our_certificate() {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
    };
    let ((cert, key), (own_cert, own_key), ca) = (signed("localhost"), signed("gateway"), authority.pem());
    let server = [("tls.cert", cert.as_str()), ("tls.key", key.as_str()), ("tls.client-ca", ca.as_str())];
    let config = crate::tls::server_config(&Options::from_pairs("receiver", server)).unwrap();
    let receiver = Receiver::start_with(Some(config), |_| Reply::Status(200)).await;

    let quick = ("retry.max-attempts", "1");
    for (options, expected) in [
        (vec![quick], "UnknownIssuer"),
        (vec![quick, ("tls.ca", ca.as_str())], "cannot be reached"),
        (vec![("tls.ca", ca.as_str()), ("tls.cert", own_cert.as_str()), ("tls.key", own_key.as_str())], ""),
    ] {
        let mut rig = Rig::new(&receiver.url, &options);
        rig.send(&[("a", 1)]);
        rig.finish().await.unwrap();
        let letters = rig.letters();
        match expected {
            "" => assert_eq!((letters.len(), receiver.accepted().len()), (0, 1), "{letters:?}"),
            expected => assert!(letters[0].1.contains(expected), "{letters:?}"),
        }
    }
}
