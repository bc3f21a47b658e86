//! See `tierlog_fuzz::catalog`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tierlog_fuzz::catalog::run(data));
