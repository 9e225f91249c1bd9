//! Bytes are what goes wrong in a scenario with a bug.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::judge("faults", bytes));
