//! Bytes are the segments that a foreign peer sends.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::judge("segments", bytes));
