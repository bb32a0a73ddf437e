//! Payloads of the csv format.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream_fuzz::decode(&[("format", "csv")], data));
