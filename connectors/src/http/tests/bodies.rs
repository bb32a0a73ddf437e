//! What a body may be, and what becomes of its rows.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn lines_arrays_and_single_objects_are_rows() {
    let mut table = Table::start(&[]);
    let mut sender = table.sender();
    for (body, rows) in [
        ("{\"n\":1,\"s\":\"a\"}\n{\"n\":2}\n", 2),
        ("[{\"n\":3},{\"n\":4,\"s\":\"[,\"}]", 2),
        ("{\n  \"n\": 5,\n  \"s\": \"b\"\n}\n", 1),
        ("{\"n\":6}", 1),
        ("[]", 0),
    ] {
        // All over one connection, with whatever type a sender may say.
        let answer =
            sender.post("/t", &[("content-type", "application/x-www-form-urlencoded")], body.as_bytes());
        assert_eq!((answer.status, answer.counts()), (200, (rows, 0)), "{body}: {answer:?}");
        assert_eq!(answer.body, format!("{{\"rows\":{rows},\"rejected\":0}}\n"));
    }
    let rows = table.rows(6);
    assert_eq!(rows.iter().map(|row| row["n"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!((&rows[1]["s"], &rows[3]["s"]), (&json!(null), &json!("[,")));
    let metrics = table.metrics();
    assert_eq!((metrics.rows_in.get(), metrics.rows_out.get(), metrics.retries.get()), (6, 6, 0));
}

#[test]
fn bodies_come_in_chunks_in_gzip_and_in_zstd() {
    let mut table = Table::start(&[]);
    let mut sender = table.sender();
    let lines = b"{\"n\":1}\n{\"n\":2}\n";
    assert_eq!(sender.post("/t", &[("content-encoding", "gzip")], &gzip(lines)).counts(), (2, 0));
    let members = [gzip(b"{\"n\":3}\n"), gzip(b"{\"n\":4}\n")].concat();
    assert_eq!(sender.post("/t", &[("content-encoding", "GZIP")], &members).counts(), (2, 0));
    let zstd = zstd::encode_all(&b"[{\"n\":5}]"[..], 3).unwrap();
    assert_eq!(sender.post("/t", &[("content-encoding", "zstd")], &zstd).counts(), (1, 0));
    sender.send("POST /t HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{\"n\"\r\n");
    sender.send("3\r\n:6}\r\n0\r\n\r\n");
    assert_eq!(sender.answer().counts(), (1, 0));
    // What is cut off is no row, neither is what is not what it says.
    for (coding, body) in [("gzip", &gzip(lines)[..20]), ("zstd", &zstd[..zstd.len() - 3]), ("gzip", lines)] {
        let answer = sender.post("/t", &[("content-encoding", coding)], body);
        assert!(answer.status == 400 && answer.body.contains("Content-Encoding"), "{answer:?}");
    }
    let answer = sender.post("/t", &[("content-encoding", "br")], b"x");
    assert_eq!((answer.status, answer.header("accept-encoding")), (415, "gzip, zstd"));
    assert_eq!(table.numbers(6), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn bad_rows_cost_only_themselves_and_are_named() {
    let mut table = Table::start(&[("payload.max-bytes", "100")]);
    let long = format!("{{\"n\":3,\"s\":\"{}\"}}", "x".repeat(200));
    let body = format!("{{\"n\":1}}\nnonsense\n{long}\n\n{{\"n\":\"x\"}}\n{{\"n\":5}}\n");
    let answer = table.post(&body);
    assert_eq!((answer.status, answer.counts()), (200, (2, 3)));
    let said = answer.json();
    let errors: Vec<_> = said["errors"].as_array().unwrap().iter().map(|error| &error["row"]).collect();
    // In the order in which they were found: sizes are seen before the rest is decoded.
    assert_eq!(errors, [3, 2, 4], "{answer:?}");
    assert!(
        answer.body.contains("over the limit of 100") && answer.body.contains("not valid JSON"),
        "{answer:?}"
    );
    assert_eq!(table.numbers(2), [1, 5]);
    assert_eq!(table.metrics().rows_dead_letter.get(), 3);
    assert_eq!(table.letters().len(), 3);

    let answer = table.post("[{\"n\":[1]},{\"n\":6},7]");
    assert_eq!((answer.status, answer.counts()), (200, (1, 2)));
    let answer = table.post("nonsense\nmore\n");
    assert_eq!((answer.status, answer.counts()), (400, (0, 2)));
    assert_eq!(answer.json()["errors"][1]["row"], 2);
    assert_eq!(table.numbers(1), [6]);

    let mut table = Table::start(&[("on-error", "skip")]);
    assert_eq!(table.post("{\"n\":1}\n?").counts(), (1, 1));
    assert_eq!((table.metrics().rows_skipped.get(), table.letters().len()), (1, 0));
    assert_eq!(table.numbers(1), [1]);
}

#[test]
fn other_formats_are_a_line_or_a_whole_body() {
    let json = "{\"n\":1}\n{\"n\":2}\n";
    let mut table = Table::start(&[("format", "json"), ("time-format", "epoch-millis")]);
    assert_eq!(table.post(json).counts(), (2, 0));
    assert_eq!(table.numbers(2), [1, 2]);
    let error =
        Http.source(&declared("t", &[], &[("listen", "127.0.0.1:1"), ("format", "jsn")])).err().unwrap();
    assert!(error.to_string().contains("did you mean 'json'?"), "{error}");
}

#[test]
fn ten_megabytes_are_taken_whole_in_any_coding() {
    let mut table = Table::start(&[]);
    let mut body = Vec::new();
    let mut count = 0;
    while body.len() < 10 << 20 {
        writeln!(body, "{{\"n\":{count},\"s\":\"{}\"}}", "x".repeat(80)).unwrap();
        count += 1;
    }
    assert_eq!(table.sender().post("/t", &[], &body).counts(), (count, 0));
    let numbers = table.numbers(count as usize);
    assert!(numbers.iter().copied().eq(0..count as i64));
    let packed = gzip(&body);
    assert!(packed.len() < body.len() / 5);
    assert_eq!(table.sender().post("/t", &[("content-encoding", "gzip")], &packed).counts(), (count, 0));
    assert!(table.numbers(count as usize).iter().copied().eq(0..count as i64));
}

#[test]
fn metadata_is_that_of_the_request() {
    let all = ["path", "remote-address", "headers", "received", "content-type"];
    let options = [("path", "/in/*"), ("token", "hunter2")];
    let mut table = Table::start_with(&declared("t", &all, &options), free_address(), 1 << 20).unwrap();
    let mut sender = table.sender();
    let token = ("authorization", "Bearer hunter2");
    let typed = [token, ("content-type", "application/x-ndjson"), ("X-Site", "a"), ("x-site", "b")];
    assert_eq!(sender.post("/in/one", &typed, b"{\"n\":1}\n{\"n\":2}").counts(), (2, 0));
    assert_eq!(sender.post("/in/two/x", &[token], b"{\"n\":3}").counts(), (1, 0));
    let rows = table.rows(3);
    let of = |key: &str| rows.iter().map(|row| row[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("path"), ["/in/one", "/in/one", "/in/two/x"]);
    assert_eq!(of("remote-address"), ["127.0.0.1"; 3]);
    assert_eq!(
        of("content-type"),
        [json!("application/x-ndjson"), json!("application/x-ndjson"), json!(null)]
    );
    let received = rows[2]["received"].as_str().unwrap();
    assert!(received.starts_with("20") && received.ends_with('Z'), "{received}");
    let headers = rows[1]["headers"].to_string();
    assert!(headers.contains("x-site") && headers.contains("a, b") && headers.contains("host"), "{headers}");
    assert!(!headers.contains("hunter2") && !headers.contains("authorization"), "{headers}");
}
