//! Bytes are the text of a plan.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::judge("plans", bytes));
