//! See `tierlog_fuzz::segment`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tierlog_fuzz::segment::run(data));
