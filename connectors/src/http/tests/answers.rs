//! What a sender is answered that does not get through.

use super::*;

#[test]
fn the_token_is_asked_for_and_never_shown() {
    let options = [("token", "hunter2")];
    let mut table = Table::start_with(&declared("t", &[], &options), free_address(), 1 << 20).unwrap();
    let mut sender = table.sender();
    let without = sender.post("/t", &[], b"{\"n\":1}");
    assert_eq!((without.status, without.header("www-authenticate")), (401, "Bearer realm=\"millstream\""));
    for wrong in ["Bearer hunter3", "Bearer hunter", "Bearer hunter2hunter2", "Basic hunter2", "hunter2"] {
        let answer = sender.post("/t", &[("authorization", wrong)], b"{\"n\":1}");
        assert!(answer.header("www-authenticate").contains("invalid_token"), "{wrong}: {answer:?}");
        assert!(answer.status == 401 && !answer.body.contains("hunter"), "{wrong}: {answer:?}");
    }
    assert_eq!(sender.post("/t", &[("authorization", "Bearer hunter2")], b"{\"n\":2}").status, 200);
    assert_eq!(table.numbers(1), [2]);
    assert_eq!(table.metrics().rows_in.get(), 1);

    let listening = [("listen", "127.0.0.1:1"), ("token", "hunter2"), ("tls.key", "hunter2")];
    let declared = declared("t", &[], &listening);
    let error = Http.source(&declared).err().unwrap();
    assert!(!format!("{error} {:?}", declared.options).contains("hunter2"), "{error}");
    let provider = Http.source(&super::declared("t", &[], &listening[..2])).unwrap();
    assert_eq!(provider.describe(), "http://127.0.0.1:1/t");
    let settings =
        super::super::settings::Settings::read(&super::declared("t", &[], &listening[..2])).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    for bad in ["", "two words", "umläut"] {
        let error = Http.source(&super::declared("t", &[], &[listening[0], ("token", bad)])).err().unwrap();
        assert!(
            error.to_string().contains("visible ASCII") && !error.to_string().contains("umläut"),
            "{error}"
        );
    }
}

#[test]
fn wrong_paths_methods_and_bodies_are_told() {
    let table = Table::start(&[("body.max-bytes", "1 kb")]);
    let mut sender = table.sender();
    assert_eq!(sender.post("/elsewhere", &[], b"{}").status, 404);
    assert_eq!(sender.post("/t/below", &[], b"{}").status, 404);
    assert_eq!(sender.post("/t?key=value", &[], b"{}").status, 200);
    sender.send("GET /t HTTP/1.1\r\nhost: x\r\n\r\n");
    let answer = sender.answer();
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    for empty in ["", " \n"] {
        let answer = sender.post("/t", &[], empty.as_bytes());
        assert!(answer.status == 400 && answer.body.contains("empty"), "{answer:?}");
    }
    let large = vec![b' '; 2_000];
    assert_eq!(sender.post("/t", &[], &large).status, 413);
    // By chunks: only the bytes tell.
    let mut sender = table.sender();
    sender.send("POST /t HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n");
    sender.send(&large);
    sender.send("\r\n0\r\n\r\n");
    assert_eq!(sender.answer().status, 413);
    // Small on the way, large inside.
    for (coding, body) in [
        ("gzip", {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(&vec![b' '; 200_000]).unwrap();
            encoder.finish().unwrap()
        }),
        ("zstd", zstd::encode_all(&vec![b' '; 50_000_000][..], 3).unwrap()),
    ] {
        let answer =
            table.sender().post("/t", &[("content-encoding", coding)], &body[..body.len().min(1_000)]);
        assert_eq!(answer.status, 413, "{coding}");
    }
    // Who asks first is not made to send.
    let mut asking = table.sender();
    asking.send("POST /t HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(asking.answer().status, 413);
    let mut asking = table.sender();
    asking.send("POST /t HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\nexpect: 100-continue\r\n\r\n");
    assert_eq!(asking.answer().status, 100);
    asking.send("{\"n\":1}");
    assert_eq!(asking.answer().status, 200);
}

#[test]
fn what_is_no_http_or_too_slow_is_cut_off() {
    let mut table = Table::start(&[("header.timeout", "300 ms"), ("body.timeout", "200 ms")]);
    for malformed in
        ["\0\x01\x02\r\n\r\n", "POST /t\r\n\r\n", "POST /t HTTP/1.1\r\ncontent-length: many\r\n\r\n"]
    {
        let mut sender = table.sender();
        sender.send(malformed);
        assert_eq!(sender.answer().status, 400, "{malformed:?}");
        assert!(sender.ends_silently());
    }
    let mut sender = table.sender();
    let head = format!("POST /t HTTP/1.1\r\nx: {}\r\n", "y".repeat(100_000));
    // It may be cut off before all is sent.
    let _ = sender.stream.write_all(head.as_bytes());
    assert!(sender.try_answer().is_none_or(|answer| answer.status == 431));
    // A head that does not end, and a connection that asks nothing.
    let mut slow = table.sender();
    slow.send("POST /t HTTP/1.1\r\nhost:");
    let idle = table.sender();
    assert!(slow.ends_silently() && idle.ends_silently());
    // A body that does not come.
    let mut slow = table.sender();
    slow.send("POST /t HTTP/1.1\r\nhost: x\r\ncontent-length: 7\r\n\r\n{\"n");
    let answer = slow.answer();
    assert_eq!((answer.status, answer.header("connection")), (408, "close"));
    assert_eq!(table.metrics().retries.get(), 1);
    // Others were served all the while.
    assert_eq!(table.post("{\"n\":1}").status, 200);
    assert_eq!(table.numbers(1), [1]);
}

#[test]
fn wrong_options_say_what_is_wrong() {
    for (key, value, expected) in [
        ("listen", "8090", "'127.0.0.1:8090' is for programs on this machine"),
        ("path", "ingest", "no path that a request can have"),
        ("connections.max", "0", "from 1 to 65536"),
        ("tls.cert", "/no/such.pem", "/no/such.pem"),
        ("body.max-bytes", "much", "a size"),
    ] {
        let mut table = declared("t", &[], &[("listen", "127.0.0.1:1")]);
        table.options.set(key, value);
        let error = Http.source(&table).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains("table t"), "{key}: {error}");
    }
    let error = Http.sink(&declared("t", &[], &[])).err().unwrap().to_string();
    assert!(error.contains("can be read from, not written to"), "{error}");
}
