//! The queue between two workers: time per element handed over from one thread to another.
//!
//! `cargo bench --bench channel`
//!
//! `stream` keeps the queue supplied, as an exchange under load does; `ping-pong` hands single elements to and fro, so
//! that each one wakes a parked thread, as at rest. Both check that every element came, in order.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_main};
use millstream::engine::channel::{Receiver, Sender, channel};
use millstream::engine::park::Signal;

const STREAMED: u64 = 4_000_000;
/// Elements that go there and back.
const RETURNED: u64 = 20_000;

criterion_main!(run_all);

/// What `criterion_main` calls, with the command line read.
fn run_all() {
    let mut criterion = Criterion::default().configure_from_args();
    run(&mut criterion);
    criterion.final_summary();
}

fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("channel");
    group.sample_size(10);
    group.throughput(Throughput::Elements(STREAMED));
    group.bench_function("stream", |bencher| bencher.iter(|| stream(STREAMED)));
    group.throughput(Throughput::Elements(2 * RETURNED));
    group.bench_function("ping-pong", |bencher| bencher.iter(|| ping_pong(RETURNED)));
    group.finish();
}

/// Parks until there is an element.
fn receive(queue: &mut Receiver<u64>, signal: &Signal) -> u64 {
    loop {
        match queue.pop() {
            Some(value) => return value,
            None => signal.park(None),
        }
    }
}

/// Pushes `values`, parking while the queue is full, until all have left.
fn send(queue: &mut Sender<u64>, signal: &Signal, values: std::ops::Range<u64>) {
    for value in values {
        while queue.is_full() {
            signal.park(None);
        }
        queue.push(value, 64);
    }
    while !queue.is_flushed() {
        std::hint::spin_loop();
    }
}

fn stream(count: u64) {
    let (sender_signal, receiver_signal) = (Arc::<Signal>::default(), Arc::<Signal>::default());
    let (mut tx, mut rx) = channel(1 << 20, Arc::clone(&sender_signal), Arc::clone(&receiver_signal));
    let producer = std::thread::spawn(move || {
        sender_signal.own();
        send(&mut tx, &sender_signal, 0..count);
    });
    receiver_signal.own();
    for expected in 0..count {
        assert_eq!(receive(&mut rx, &receiver_signal), expected);
    }
    producer.join().expect("the producer ends well");
}

fn ping_pong(count: u64) {
    let (here, there) = (Arc::<Signal>::default(), Arc::<Signal>::default());
    let (mut ping_tx, mut ping_rx) = channel(1 << 20, Arc::clone(&here), Arc::clone(&there));
    let (mut pong_tx, mut pong_rx) = channel(1 << 20, Arc::clone(&there), Arc::clone(&here));
    let echo = std::thread::spawn(move || {
        there.own();
        for _ in 0..count {
            let value = receive(&mut ping_rx, &there);
            pong_tx.push(value, 64);
        }
    });
    here.own();
    for value in 0..count {
        ping_tx.push(value, 64);
        assert_eq!(receive(&mut pong_rx, &here), value);
    }
    echo.join().expect("the echo ends well");
}
