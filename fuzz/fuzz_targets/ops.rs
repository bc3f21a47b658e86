//! See `tierlog_fuzz::ops`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tierlog_fuzz::ops::run(data));
