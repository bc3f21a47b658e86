//! See `tierlog_fuzz::names`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tierlog_fuzz::names::run(data));
