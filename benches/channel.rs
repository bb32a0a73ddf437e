//! The queue between two workers: time per element handed over from one thread to another.
//!
//! `cargo bench --bench channel -- --rows 20000000 --rounds 7`
//!
//! `stream` keeps the queue supplied, as an exchange under load does; `ping-pong` hands single elements to and fro, so
//! that each one wakes a parked thread, as at rest. Both check that every element came, in order.

mod support;

use std::sync::Arc;

use millstream::engine::channel::{Receiver, Sender, channel};
use millstream::engine::park::Signal;
use support::{flag, rounds, wanted};

fn main() {
    let count: u64 = flag("rows", 4_000_000);
    if wanted("stream") {
        let took = rounds(|| stream(count));
        println!("stream      {:>8.1} ns/element", took.seconds * 1e9 / count as f64);
    }
    if wanted("ping-pong") {
        let count = count / 100;
        let took = rounds(|| ping_pong(count));
        println!("ping-pong   {:>8.1} ns/handover", took.seconds * 1e9 / count as f64 / 2.0);
    }
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
