//! Every example runs, and says what it promises.

use std::process::Child;

use serde_json::json;

use crate::receiver::Receiver;
use crate::support::{Publisher, broker, command, ended, free_address, get, signal, wait_until};

#[path = "../../examples/embed_gateway.rs"]
mod embed_gateway;

#[path = "../../examples/custom_connector.rs"]
mod custom_connector;
#[path = "../../examples/custom_function.rs"]
mod custom_function;
#[path = "../../examples/custom_operator.rs"]
mod custom_operator;
#[path = "../../examples/custom_source.rs"]
mod custom_source;
#[path = "../../examples/table_function.rs"]
mod table_function;

#[test]
fn programs_run() {
    embed_gateway::main().unwrap();
    custom_connector::main().unwrap();
    custom_operator::main().unwrap();
    custom_function::main().unwrap();
    custom_source::main().unwrap();
    table_function::main().unwrap();
}

/// Runs an SQL file of examples/ against a broker and a receiver, once its source is connected.
fn start(file: &str, broker: std::net::SocketAddr, receiver: &Receiver) -> Child {
    start_in(".", file, broker, receiver)
}

/// The same, with files in `folder`.
fn start_in(folder: &str, file: &str, broker: std::net::SocketAddr, receiver: &Receiver) -> Child {
    let path = format!("{}/examples/{file}", env!("CARGO_MANIFEST_DIR"));
    let address = free_address().to_string();
    let child = command(&["run", &path, "--http", &address])
        .env("MQTT_URL", format!("mqtt://{broker}"))
        .env("ALERT_URL", &receiver.url)
        .env("DATA_DIR", folder)
        .spawn()
        .unwrap();
    wait_until("the source to connect", || {
        get(&address, "/readyz").is_some_and(|(status, _)| status.contains("200"))
    });
    child
}

#[test]
fn cold_chain_tells_a_spoiled_box_from_one_that_was_opened() {
    let ((five, three), receiver) = (broker(), Receiver::start());
    let child = start("cold_chain.sql", five, &receiver);
    let mut publisher = Publisher::connect(three).unwrap();
    for minute in 0..3 {
        for second in (0..60).step_by(10) {
            // Box b1 is warm for the whole second minute, b2 only for half of it, b3 may be warm.
            let warm = minute == 1;
            for (name, degrees, max) in [
                ("b1", if warm { 9.5 } else { 4.0 }, 8.0),
                ("b2", if warm && second < 30 { 9.5 } else { 4.0 }, 8.0),
                ("b3", 20.0, 25.0),
            ] {
                let payload = json!({"ts": format!("2026-01-01T00:{minute:02}:{second:02}"), "temperature": degrees, "limits": {"max": max}});
                publisher
                    .publish(&format!("coldchain/truck-7/{name}"), payload.to_string().as_bytes())
                    .unwrap();
            }
        }
    }
    wait_until("an alert", || !receiver.requests().is_empty());
    signal(&child, "INT");
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].headers["content-type"].starts_with("application/cloudevents+json"));
    let event: serde_json::Value = serde_json::from_str(&requests[0].body).unwrap();
    assert_eq!(
        (event["type"].as_str(), event["source"].as_str()),
        (Some("box.spoiled"), Some("/cold-chain"))
    );
    let expected = json!({
        "truck": "truck-7", "box": "b1", "since": "2026-01-01T00:01:00", "until": "2026-01-01T00:02:00",
        "coldest": 9.5, "warmest": 9.5, "readings": 6
    });
    assert_eq!(event["data"], expected);
}

#[test]
fn fleet_alerts_at_once_and_after_a_window_by_each_devices_clock() {
    let ((five, three), receiver) = (broker(), Receiver::start());
    let child = start("fleet.sql", five, &receiver);
    let mut publisher = Publisher::connect(three).unwrap();
    let mut send = |device: &str, time: &str, degrees: f64| {
        let payload = json!({"ts": time, "temperature": degrees, "humidity": 40.0, "battery": 80});
        publisher.publish(&format!("fleet/lyon/{device}/telemetry"), payload.to_string().as_bytes()).unwrap();
    };
    // slow's clock is an hour behind fast's; neither makes the other late.
    for second in 0..12 {
        send("fast", &format!("2026-01-01T12:00:{second:02}"), if second == 3 { 91.0 } else { 21.0 });
        send("slow", &format!("2026-01-01T11:00:{second:02}"), 70.0);
    }
    wait_until("an alert at once and one of a window", || receiver.requests().len() >= 2);
    signal(&child, "INT");
    let ran = ended(child);
    assert!(ran.code == Some(0) && !ran.err.contains("late"), "{ran:?}");
    let mut alerts: Vec<(String, String, String)> = receiver
        .bodies()
        .iter()
        .map(|alert| ["rule", "device", "at"].map(|name| alert[name].as_str().unwrap().to_owned()).into())
        .collect();
    alerts.sort();
    let alert = |rule: &str, device: &str, at: &str| (rule.to_owned(), device.to_owned(), at.to_owned());
    // Draining closes the last window, of which two seconds were seen.
    assert_eq!(
        alerts,
        [
            alert("hot for 5 s", "slow", "2026-01-01T11:00:05"),
            alert("hot for 5 s", "slow", "2026-01-01T11:00:10"),
            alert("hot for 5 s", "slow", "2026-01-01T11:00:15"),
            alert("overheated", "fast", "2026-01-01T12:00:03"),
        ]
    );
    for request in receiver.requests() {
        assert!(
            request.headers["webhook-signature"].starts_with("v1,")
                && !request.headers["webhook-id"].is_empty()
        );
    }
    // The hottest windows of the bare SELECT: slow's three, and fast's one with the peak.
    assert_eq!(ran.rows().len(), 4, "{}", ran.out);
}

/// The rows of a JSON lines file.
fn rows_of(path: std::path::PathBuf) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn patient_vitals_tells_a_patient_in_need_from_a_flicker() {
    let ((five, three), receiver, folder) = (broker(), Receiver::start(), tempfile::tempdir().unwrap());
    let child = start_in(&folder.path().display().to_string(), "patient_vitals.sql", five, &receiver);
    let mut publisher = Publisher::connect(three).unwrap();
    let mut send = |bed: &str, payload: String| {
        publisher.publish(&format!("ward/north/{bed}/vitals"), payload.as_bytes()).unwrap();
    };
    for second in 0..30 {
        // Bed 1 is well but for a flicker, bed 2 is short of oxygen from second 10 on, bed 3's heart races once.
        for (bed, pulse, spo2) in [
            ("1", 72, if second == 5 { 40 } else { 98 }),
            ("2", 80, if second >= 10 { 85 } else { 97 }),
            ("3", if second == 20 { 190 } else { 75 }, 97),
        ] {
            send(
                bed,
                json!({"ts": format!("2026-01-01T08:00:{second:02}"), "pulse": pulse, "spo2": spo2})
                    .to_string(),
            );
        }
    }
    send("1", json!({"ts": "2026-01-01T08:00:01", "pulse": 72, "spo2": 98}).to_string());
    send("1", "{\"ts\":\"2026-01-01T08:00:30\",\"pulse\":\"fast\"}".into());
    wait_until("three alerts", || receiver.requests().len() >= 3);
    signal(&child, "INT");
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let alerts = receiver.bodies();
    let of = |bed: &str, what: &str| {
        alerts.iter().filter(|alert| alert["bed"] == bed && alert["what"] == what).count()
    };
    assert_eq!(of("1", "low oxygen") + of("1", "racing heart"), 0, "{alerts:?}");
    assert!(of("2", "low oxygen") >= 2 && of("3", "racing heart") == 1, "{alerts:?}");
    assert_eq!(rows_of(folder.path().join("unreadable.json"))[0]["source"], "vitals");
    assert_eq!(rows_of(folder.path().join("late_vitals.json"))[0]["bed"], "1");
}

#[test]
fn energy_meters_sheds_load_before_the_quarter_ends() {
    let ((five, three), receiver, folder) = (broker(), Receiver::start(), tempfile::tempdir().unwrap());
    let child = start_in(&folder.path().display().to_string(), "energy_meters.sql", five, &receiver);
    let mut publisher = Publisher::connect(three).unwrap();
    // Fifteen minutes from 08:00 on, a reading a minute that stands for 60 seconds' worth of watts.
    for minute in 0..15 {
        for (meter, watts) in [("m1", 1_000.0), ("m2", 20_000.0)] {
            let payload = json!({"t": 1_767_254_400 + minute * 60, "watts": watts * 60.0});
            publisher.publish(&format!("grid/f7/{meter}"), payload.to_string().as_bytes()).unwrap();
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    signal(&child, "INT");
    let ran = ended(child);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let folder = folder.path().join("energy");
    let mut lines: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "csv"))
        .flat_map(|path| {
            std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    lines.sort();
    // A window a minute and meter, each with what came since the quarter began.
    assert_eq!(lines.len(), 30, "{lines:?}");
    let last = "f7,m1,2026-01-01 08:00:00,2026-01-01 08:15:00,0.25,60000.0";
    assert!(lines.iter().any(|line| line == last), "{lines:?}");
}

#[test]
fn api_backend_calls_who_is_on_duty() {
    let (receiver, listen) = (Receiver::start(), free_address().to_string());
    let path = format!("{}/examples/api_backend.sql", env!("CARGO_MANIFEST_DIR"));
    let mut child = command(&["run", &path])
        .env("LISTEN", &listen)
        .env("API_TOKEN", "secret")
        .env("ALERT_URL", &receiver.url)
        .spawn()
        .unwrap();
    let row = |second: usize, status: u16| {
        json!({"ts": format!("2026-01-01T08:00:{second:02}"), "route": "/cart", "status": status, "ms": 12.5})
            .to_string()
    };
    // Three of 25 requests of the first ten seconds fail; then the clock goes on.
    let mut lines: Vec<String> = (0..25).map(|n| row(n % 10, if n % 10 == 3 { 503 } else { 200 })).collect();
    lines.push(row(30, 200));
    let body = lines.join("\n");
    let post = || {
        let mut stream = std::net::TcpStream::connect(&listen).ok()?;
        let head = format!(
            "POST /access HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        std::io::Write::write_all(&mut stream, head.as_bytes()).ok()?;
        std::io::read_to_string(stream).ok()
    };
    let mut answer = None;
    wait_until("the listener", || {
        answer = post();
        answer.is_some()
    });
    assert!(answer.as_ref().unwrap().starts_with("HTTP/1.1 200"), "{answer:?}");
    wait_until("an alert", || !receiver.requests().is_empty());
    signal(&child, "INT");
    let _ = child.wait();
    let alert = &receiver.bodies()[0];
    assert_eq!(
        (&alert["route"], &alert["requests"], &alert["errors"]),
        (&json!("/cart"), &json!(25), &json!(3))
    );
}

/// A table of the example's connector of which a query reads no column.
#[test]
fn the_example_connector_is_read_without_columns() {
    let mut builder = millstream::Pipeline::builder()
        .connector(std::sync::Arc::new(custom_connector::Ramp))
        .sql("CREATE TABLE sensor (n BIGINT) WITH ('connector' = 'ramp', 'until' = '3'); SELECT 1 AS one FROM sensor");
    let rows = builder.result();
    let pipeline = builder.start().unwrap();
    let mut count = 0;
    while let Some(batch) = rows.recv() {
        count += batch.num_rows();
    }
    pipeline.wait().unwrap();
    assert_eq!(count, 3);
}
