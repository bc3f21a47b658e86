//! See `tierlog_fuzz::pointers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tierlog_fuzz::pointers::run(data));
