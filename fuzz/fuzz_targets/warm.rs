//! See `tierlog_fuzz::warm`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tierlog_fuzz::warm::run(data));
