//! See `tierlog_fuzz::seal`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tierlog_fuzz::seal::run(data));
