//! See `tierlog_fuzz::manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tierlog_fuzz::manifest::run(data));
