//! The registry's form against a registry in this process.

use std::convert::Infallible;
use std::net::SocketAddr;

use arrow_array::Int64Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

const OLDER: &str = r#"{"type":"record","name":"R","fields":[{"name":"n","type":"int"}]}"#;

/// Knows schema 7 and gives number 9 to whatever is registered, to a user who says who he is.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let has_password = request.headers().get("authorization").is_some_and(|sent| sent == "Basic dTpwdw==");
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let (status, text) = match path.as_str() {
        _ if !has_password => (401, "who are you?".to_owned()),
        "/schemas/ids/7" => (200, serde_json::json!({"schema": OLDER}).to_string()),
        "/schemas/ids/8" => (503, "later".to_owned()),
        "/subjects/a%2Fb-value/versions" if String::from_utf8_lossy(&body).contains("null") => {
            (200, r#"{"id":9}"#.to_owned())
        }
        _ => (404, "{}".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

async fn stub() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    address
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]))
}

fn codec(address: SocketAddr, user_info: &str) -> Arc<dyn Codec> {
    let url = format!("http://{address}/");
    let pairs = [
        ("avro-confluent.url", url.as_str()),
        ("avro-confluent.basic-auth.user-info", user_info),
        ("topic", "a/b"),
    ];
    AvroConfluent.codec(&Options::from_pairs("table t", pairs), &schema()).unwrap()
}

#[tokio::test]
async fn schemas_are_fetched_once_and_resolved_by_name() {
    let codec = codec(stub().await, "u:pw");
    let (good, unknown, away) = (b"\0\0\0\0\x07\x05", b"\0\0\0\0\x01\x05", b"\0\0\0\0\x08\x05");
    codec.prepare(good).unwrap().await.unwrap();
    assert!(codec.prepare(good).is_none());
    assert_eq!(codec.prepare(unknown).unwrap().await.unwrap_err().kind(), millstream_engine::ErrorKind::Data);
    assert!(codec.prepare(unknown).is_none(), "it is not asked for again");
    let error = codec.prepare(away).unwrap().await.unwrap_err();
    assert_eq!(error.kind(), millstream_engine::ErrorKind::Unavailable);
    assert!(codec.prepare(away).is_some() && codec.prepare(b"{}").is_none());
    let payloads: Vec<&[u8]> = vec![good, b"{}", unknown, b"\0\0", b"\0\0\0\0\x07\x02", good];
    let mut ends = Vec::new();
    payloads.iter().fold(0, |end, payload| {
        ends.push(end + payload.len());
        end + payload.len()
    });
    let mut decoder = codec.decoder(schema()).unwrap();
    let decoded = decoder.decode(Payloads::new(&payloads.concat(), &ends)).unwrap();
    assert_eq!(decoded.rows.column(0).as_primitive::<Int64Type>().values(), &[-3, 1, -3]);
    assert_eq!(decoded.payload_of, Some(vec![0, 4, 5]));
    assert_eq!(decoded.rejected.iter().map(|(number, _)| *number).collect::<Vec<_>>(), vec![1, 2, 3]);
}

#[tokio::test]
async fn a_sink_registers_its_schema_before_it_writes() {
    let codec = codec(stub().await, "u:pw");
    let rows =
        RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(vec![Some(-3), None]))]).unwrap();
    let mut encoder = codec.encoder(schema()).unwrap();
    assert!(encoder.encode(&Batch::new(rows.clone())).is_err());
    codec.prepare_encoder(&schema()).unwrap().await.unwrap();
    assert!(codec.prepare_encoder(&schema()).is_none());
    encoder.encode(&Batch::new(rows)).unwrap();
    let written: Vec<&[u8]> = encoder.encoded().rows().collect();
    assert_eq!(written, vec![&b"\0\0\0\0\x09\x02\x05"[..], b"\0\0\0\0\x09\0"]);
}

#[tokio::test]
async fn a_refusal_shows_no_password() {
    let codec = codec(stub().await, "u:hunter2");
    let error = codec.prepare(b"\0\0\0\0\x07").unwrap().await.unwrap_err().to_string();
    assert!(error.contains("401") && !error.contains("hunter2"), "{error}");
}
