//! Payloads of the avro format.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream_fuzz::decode(&[("format", "avro")], data));
