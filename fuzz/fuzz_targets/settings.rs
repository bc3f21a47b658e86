//! See `tierlog_fuzz::settings`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tierlog_fuzz::settings::run(data));
