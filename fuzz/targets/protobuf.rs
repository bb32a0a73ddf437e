//! Payloads of the protobuf format.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| millstream_fuzz::decode(
    &[
        ("format", "protobuf"),
        ("protobuf.descriptor-file", concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz.desc")),
        ("protobuf.message-class-name", "millstream.fuzz.Row"),
    ],
    data,
));
