//! Brokers that do what no real one does on request, in a few bytes on a socket.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use millstream_engine::JobState;
use millstream_engine::metrics::Link;

use super::rig::{Reader, Writer, wait_until};

/// A packet from the client: its first byte and its body.
type Packet = (u8, Vec<u8>);

/// A broker that answers each packet as `answer` says (`None` closes the connection). Answers its port, and how many
/// connections there were.
fn broker(
    answer: impl Fn(usize, &Packet) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (count, answer) = (Arc::<AtomicUsize>::default(), Arc::new(answer));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let (number, answer) = (counted.fetch_add(1, Ordering::SeqCst), Arc::clone(&answer));
            std::thread::spawn(move || {
                while let Ok(packet) = read(&mut stream) {
                    match answer(number, &packet) {
                        Some(bytes) if stream.write_all(&bytes).is_ok() => {}
                        _ => break,
                    }
                }
            });
        }
    });
    (port, count)
}

fn read(stream: &mut TcpStream) -> std::io::Result<Packet> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    let first = byte[0];
    let (mut length, mut shift) = (0, 0);
    loop {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((first, body))
}

const WELCOME_5: &[u8] = &[0x20, 3, 0, 0, 0];
const WELCOME_311: &[u8] = &[0x20, 2, 0, 0];

/// The packet id of a QoS 1 publish.
fn id(body: &[u8]) -> [u8; 2] {
    let at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    [body[at], body[at + 1]]
}

fn options(port: u16, more: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    let mut options = vec![
        ("url", format!("mqtt://127.0.0.1:{port}")),
        ("topic", "t/{device}".to_owned()),
        ("reconnect.backoff.initial", "5 ms".to_owned()),
        ("reconnect.backoff.max", "10 ms".to_owned()),
    ];
    options.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
    options
}

const COLUMNS: &[&str] = &["device STRING", "n BIGINT"];

fn rows(writer: &Writer, devices: &[&str]) {
    let devices: ArrayRef = Arc::new(StringArray::from(devices.to_vec()));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..devices.len() as i64));
    let batch = RecordBatch::try_new(Arc::clone(&writer.schema), vec![devices, numbers]).unwrap();
    writer.pusher.as_ref().unwrap().push(batch).unwrap();
}

#[test]
fn a_refused_row_goes_to_the_dead_letters_with_the_brokers_reason() {
    let (port, _) = broker(|_, (first, body)| match first >> 4 {
        1 => Some(WELCOME_5.to_vec()),
        3 => {
            let [high, low] = id(body);
            let reason = if body.starts_with(&[0, 5, b't', b'/', b'b', b'a', b'd']) { 0x97 } else { 0x10 };
            Some(vec![0x40, 3, high, low, reason])
        }
        _ => Some(Vec::new()),
    });
    let mut writer = Writer::start(COLUMNS, &options(port, &[])).unwrap();
    rows(&writer, &["a", "bad", "c"]);
    writer.finish();
    let letters = writer.dead_letters();
    assert!(letters.len() == 1 && letters[0].contains("'t/bad': quota exceeded"), "{letters:?}");
    assert_eq!(writer.metrics().rows_out.get(), 2);
}

#[test]
fn a_row_over_the_brokers_limit_goes_to_the_dead_letters_at_once() {
    // Maximum Packet Size 100, Receive Maximum 1.
    let (port, connections) = broker(|_, (first, body)| match first >> 4 {
        1 => Some(vec![0x20, 11, 0, 0, 8, 0x27, 0, 0, 0, 100, 0x21, 0, 1]),
        3 => Some([vec![0x40, 2], id(body).to_vec()].concat()),
        _ => Some(Vec::new()),
    });
    let mut writer = Writer::start(COLUMNS, &options(port, &[])).unwrap();
    rows(&writer, &["a", &"x".repeat(100), "c"]);
    writer.finish();
    let letters = writer.dead_letters();
    assert!(letters.len() == 1 && letters[0].contains("over the broker's limit of 100"), "{letters:?}");
    assert_eq!((writer.metrics().rows_out.get(), connections.load(Ordering::SeqCst)), (2, 1));
}

#[test]
fn a_row_that_closes_every_connection_does_not_stop_the_others() {
    let (port, _) = broker(|_, (first, body)| match first >> 4 {
        1 => Some(WELCOME_311.to_vec()),
        3 if body.len() > 100 => None,
        3 => Some([vec![0x40, 2], id(body).to_vec()].concat()),
        _ => Some(Vec::new()),
    });
    let mut writer = Writer::start(COLUMNS, &options(port, &[("version", "3.1.1")])).unwrap();
    rows(&writer, &["a", &"x".repeat(100), "c", "d"]);
    writer.finish();
    let letters = writer.dead_letters();
    assert!(letters.len() == 1 && letters[0].contains("the broker closed 8 connections"), "{letters:?}");
    assert_eq!(writer.metrics().rows_out.get(), 3);
}

#[test]
fn a_broker_that_keeps_nothing_is_not_sent_retained_messages() {
    let (port, connections) = broker(|_, (first, _)| match first >> 4 {
        // Retain Available 0.
        1 => Some(vec![0x20, 5, 0, 0, 2, 0x25, 0]),
        3 => panic!("a publish came"),
        _ => Some(Vec::new()),
    });
    let writer = Writer::start(COLUMNS, &options(port, &[("retain", "true")])).unwrap();
    rows(&writer, &["a"]);
    wait_until("another attempt", || connections.load(Ordering::SeqCst) > 1);
    assert_eq!((writer.metrics().link(), writer.job.state()), (Link::Down, JobState::Running));
}

#[test]
fn a_refused_subscription_is_asked_for_again() {
    let (port, _) = broker(|number, (first, _)| match first >> 4 {
        1 => Some(WELCOME_5.to_vec()),
        8 => Some(vec![0x90, 4, 0, 1, 0, if number < 2 { 0x87 } else { 1 }]),
        _ => Some(Vec::new()),
    });
    let reader = Reader::start(&["device STRING"], &options(port, &[]));
    assert_eq!(reader.metrics().link(), Link::Up);
}

#[test]
fn a_broker_of_the_other_version_is_told_apart() {
    let (port, connections) = broker(|_, (first, body)| match first >> 4 {
        // Protocol level 5 is refused as a 3.1.1 broker does.
        1 if body[6] == 5 => Some(vec![0x20, 2, 0, 1]),
        1 => Some(WELCOME_311.to_vec()),
        8 => Some(vec![0x90, 3, 0, 1, 1]),
        _ => Some(Vec::new()),
    });
    let reader = Reader::start_with(&["device STRING"], &options(port, &[]), 1 << 20, "told-apart").unwrap();
    wait_until("another attempt", || connections.load(Ordering::SeqCst) > 1);
    assert_eq!((reader.metrics().link(), reader.job.state()), (Link::Down, JobState::Running));
    Reader::start(&["device STRING"], &options(port, &[("version", "3.1.1")]));
}

#[test]
fn acknowledgements_follow_the_rows_and_their_order() {
    let acknowledged = Arc::<parking_lot::Mutex<Vec<u8>>>::default();
    let seen = Arc::clone(&acknowledged);
    let publish = |id: u8| [&[0x32, 10, 0, 3, b't', b'/', b'a', 0, id, 0, b'{', b'}'][..]].concat();
    let (port, _) = broker(move |_, (first, body)| match first >> 4 {
        1 => Some(WELCOME_5.to_vec()),
        8 => Some([vec![0x90, 4, 0, 1, 0, 1], publish(9), publish(4), publish(7)].concat()),
        4 => {
            seen.lock().push(body[1]);
            Some(Vec::new())
        }
        _ => Some(Vec::new()),
    });
    // The queue behind the source has room for one row, and nobody takes it.
    let mut reader = Reader::start(&["device STRING"], &options(port, &[]));
    assert_eq!(reader.rows(3).len(), 3);
    wait_until("acknowledgements", || acknowledged.lock().len() == 3);
    assert_eq!(*acknowledged.lock(), [9, 4, 7]);
}

#[test]
fn a_message_of_qos_2_is_received_released_and_completed() {
    let said = Arc::<parking_lot::Mutex<Vec<(u8, u8)>>>::default();
    let seen = Arc::clone(&said);
    let (port, _) = broker(move |_, (first, body)| match first >> 4 {
        1 => Some(WELCOME_5.to_vec()),
        8 => {
            assert_eq!(body.last().unwrap() & 3, 2, "the QoS that is asked for");
            let publish = |first: u8, id: u8| vec![first, 10, 0, 3, b't', b'/', b'a', 0, id, 0, b'{', b'}'];
            // A PUBREL of a session that a former run had.
            Some(
                [vec![0x90, 4, 0, 1, 0, 2], publish(0x34, 9), publish(0x32, 4), vec![0x62, 2, 0, 77]]
                    .concat(),
            )
        }
        kind @ (4 | 5 | 7) => {
            seen.lock().push((kind, body[1]));
            Some(if kind == 5 { vec![0x62, 2, 0, body[1]] } else { Vec::new() })
        }
        _ => Some(Vec::new()),
    });
    let mut reader = Reader::start(&["device STRING", "qos FROM qos"], &options(port, &[("qos", "2")]));
    let rows = reader.rows(2);
    assert!(rows[0].contains("\"qos\":2") && rows[1].contains("\"qos\":1"), "{rows:?}");
    wait_until("acknowledgements", || said.lock().len() == 4);
    let mut said = said.lock().clone();
    said.sort_unstable();
    assert_eq!(said, [(4, 4), (5, 9), (7, 9), (7, 77)]);
}

#[test]
fn what_is_not_mqtt_does_not_end_the_job() {
    let (port, connections) = broker(|_, _| Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    let quick = options(port, &[("connect.timeout", "100 ms")]);
    let reader = Reader::start_with(&["device STRING"], &quick, 1 << 20, "http").unwrap();
    wait_until("another attempt", || connections.load(Ordering::SeqCst) > 1);
    assert_eq!((reader.metrics().link(), reader.job.state()), (Link::Down, JobState::Running));
}
