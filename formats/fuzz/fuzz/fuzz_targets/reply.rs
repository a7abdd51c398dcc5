//! The target `reply`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| balcao_fuzz::reply(data));
