//! See `tierlog_fuzz::frame`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tierlog_fuzz::frame::run(data));
