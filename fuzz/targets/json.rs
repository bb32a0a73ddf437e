//! Payloads of the json format.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream_fuzz::decode(&[("format", "json")], data));
