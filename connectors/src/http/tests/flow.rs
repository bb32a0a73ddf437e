//! A query that does not keep up, an end in the middle, senders that go, and tables that share an address.

use super::*;

/// A body of one row of about `bytes` bytes.
fn row(n: i64, bytes: usize) -> Vec<u8> {
    format!("{{\"n\":{n},\"s\":\"{}\"}}", "x".repeat(bytes)).into_bytes()
}

/// A table whose queue takes one row and whose inlet takes few.
fn narrow(options: &[(&str, &str)]) -> Table {
    let options = [&[("inlet.max-bytes", "16 kb")], options].concat();
    Table::start_with(&declared("t", &[], &options), free_address(), 1).unwrap()
}

/// Posts until the table is full: those that wait for their answers, and how many rows they have.
fn fill(table: &Table) -> (Vec<Sender>, i64) {
    let (mut waiting, mut n) = (Vec::new(), 0);
    loop {
        let mut sender = table.sender();
        sender.begin("/t", &[], &row(n, 2_000));
        sender.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut first = [0; 12];
        match sender.stream.peek(&mut first) {
            Err(_) => waiting.push(sender),
            Ok(_) => {
                sender.stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let answer = sender.answer();
                match answer.status {
                    200 => {}
                    _ => {
                        assert_eq!((answer.status, answer.header("retry-after")), (429, "1"), "{answer:?}");
                        return (waiting, n);
                    }
                }
            }
        }
        n += 1;
        assert!(n < 50, "the table takes rows without end");
    }
}

#[test]
fn a_stopped_sink_holds_senders_back_and_loses_nothing() {
    let mut table = narrow(&[]);
    let (mut waiting, count) = fill(&table);
    assert!(waiting.len() > 2, "{}", waiting.len());
    assert_eq!(table.metrics().retries.get(), 1);
    assert!(table.metrics().queue_bytes.load(Ordering::Relaxed) <= 16 << 10);
    // Chunked bodies have to ask for room as they come.
    let mut sender = table.sender();
    sender.send("POST /t HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n");
    sender.send(format!("{:x}\r\n", 9_000));
    sender.send(vec![b' '; 9_000]);
    sender.send("\r\n0\r\n\r\n");
    assert_eq!(sender.answer().status, 429);
    // The sink goes on: who waited is answered, in time, and everybody may send again.
    let mut numbers = table.numbers(count as usize);
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..count), "{numbers:?}");
    for sender in &mut waiting {
        sender.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(sender.answer().counts(), (1, 0));
    }
    let mut sender = table.sender();
    sender.begin("/t", &[], &row(99, 10));
    assert_eq!(table.numbers(1), [99]);
    assert_eq!(sender.answer().status, 200);
}

#[test]
fn rows_that_wait_too_long_are_given_back() {
    let mut table = narrow(&[("answer.timeout", "600 ms")]);
    let (waiting, count) = fill(&table);
    let given_back = waiting.len() as i64;
    for mut sender in waiting {
        sender.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let answer = sender.answer();
        assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
    }
    // Told to come again, so they must not come out now.
    let mut numbers = table.numbers((count - given_back) as usize);
    let mut last = table.sender();
    last.begin("/t", &[], &row(99, 10));
    while !numbers.contains(&99) {
        numbers.extend(table.numbers(1));
    }
    assert_eq!(numbers.len() as i64, count - given_back + 1, "{numbers:?}");
    assert_eq!(last.answer().status, 200);
}

#[test]
fn who_breaks_off_is_counted_and_nothing_is_half_taken() {
    let mut table = narrow(&[]);
    // In the middle of a body of which whole rows are there.
    let mut sender = table.sender();
    sender.send("POST /t HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n{\"n\":1}\n{\"n\":2}\n{\"n\":");
    drop(sender);
    wait_until("the first to be counted", || table.metrics().retries.get() == 1);
    // In the middle of a chunk, and with one that is no chunk.
    let mut sender = table.sender();
    sender
        .send("POST /t HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{\"n\":3}\n\r\nzz\r\n");
    assert!(sender.try_answer().is_none_or(|answer| answer.status == 400));
    wait_until("the second to be counted", || table.metrics().retries.get() == 2);
    assert_eq!(table.metrics().rows_in.get(), 0);
    // While rows wait for the query: they are dropped whole.
    let (waiting, count) = fill(&table);
    let gone = waiting.len();
    drop(waiting);
    wait_until("all to be counted", || table.metrics().retries.get() == 3 + gone as u64);
    let mut numbers = table.numbers(count as usize - gone);
    let mut last = table.sender();
    last.begin("/t", &[], &row(99, 10));
    while !numbers.contains(&99) {
        numbers.extend(table.numbers(1));
    }
    assert_eq!(numbers.len(), count as usize - gone + 1);
    assert_eq!(last.answer().status, 200);
}

#[test]
fn draining_answers_who_was_admitted_and_turns_the_others_away() {
    let mut table = narrow(&[]);
    let mut resting = table.sender();
    let rest_begun = |sender: &mut Sender| {
        sender.begin("/t", &[], &row(1_000, 10));
    };
    rest_begun(&mut resting);
    assert_eq!(table.numbers(1), [1_000]);
    assert_eq!(resting.answer().status, 200);
    let (mut waiting, count) = fill(&table);
    table.job.drain();
    // The worker hears of it when its sink has room again.
    let mut numbers = Vec::new();
    wait_until("the table to turn senders away", || {
        if numbers.is_empty() && table.take() > 0 {
            numbers = table.numbers(1);
        }
        let Ok(stream) = TcpStream::connect(table.address) else { return true };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut sender = Sender { reader: BufReader::new(stream.try_clone().unwrap()), stream };
        sender.begin("/t", &[], &row(2_000, 10_000));
        let answer = sender.try_answer();
        assert!(answer.as_ref().is_none_or(|answer| matches!(answer.status, 429 | 503)), "{answer:?}");
        answer.is_none_or(|answer| answer.status == 503)
    });
    wait_until("the job's end", || {
        table.take();
        table.job.wait_for(Duration::from_millis(2))
    });
    numbers.extend(table.numbers(0));
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..count), "{numbers:?}");
    for sender in &mut waiting {
        sender.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(sender.answer().counts(), (1, 0));
    }
    // Answered or at rest, they are all closed in order.
    assert!(waiting.into_iter().all(Sender::ends_silently));
    assert!(resting.ends_silently());
    assert!(table.job.error().is_none());
    drop(table.job);
}

#[test]
fn tables_share_an_address_also_over_pipelines() {
    let address = free_address();
    let start = |name: &str, options: &[(&str, &str)]| {
        Table::start_with(&declared(name, &[], options), address, 1 << 20)
    };
    let mut one = start("one", &[]).unwrap();
    let mut two = start("two", &[("path", "/two/*")]).unwrap();
    let mut inner = start("inner", &[("path", "/two/inner")]).unwrap();
    let mut sender = one.sender();
    for (path, n) in [("/one", 1), ("/two/x", 2), ("/two/inner", 3), ("/two/inner/x", 4)] {
        assert_eq!(sender.post(path, &[], &row(n, 1)).status, 200, "{path}");
    }
    assert_eq!((one.numbers(1), two.numbers(2), inner.numbers(1)), (vec![1], vec![2, 4], vec![3]));
    let error = start("more", &[("path", "/one")]).err().unwrap().to_string();
    assert!(error.contains("belongs to table one already"), "{error}");
    // One goes, the others stay.
    drop(one.job);
    wait_until("one to be gone", || Sender::connect(address).post("/one", &[], b"{}").status == 404);
    assert_eq!(Sender::connect(address).post("/two/x", &[], &row(5, 1)).status, 200);
    assert_eq!(two.numbers(1), [5]);
    // With the last the port is free, and may be taken again at once.
    drop((two.job, inner.job));
    wait_until("the port to be free", || TcpListener::bind(address).is_ok());
    let mut again = start("one", &[]).unwrap();
    assert_eq!(Sender::connect(address).post("/one", &[], &row(6, 1)).status, 200);
    assert_eq!(again.numbers(1), [6]);
}

#[test]
fn a_port_that_is_taken_is_an_error_that_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error =
        Table::start_with(&declared("t", &[], &[]), taken.local_addr().unwrap(), 1 << 20).err().unwrap();
    assert!(error.to_string().contains("cannot be listened on"), "{error}");
}

#[test]
fn more_connections_than_allowed_wait_their_turn() {
    let mut table = Table::start(&[("connections.max", "2")]);
    let (first, second) = (table.sender(), table.sender());
    let mut third = table.sender();
    third.begin("/t", &[], &row(1, 1));
    third.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(third.stream.peek(&mut [0]).is_err());
    drop(first);
    third.stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(third.answer().status, 200);
    assert_eq!(table.numbers(1), [1]);
    drop(second);
}
