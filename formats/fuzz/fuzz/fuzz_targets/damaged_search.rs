//! The target `damaged_search`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| balcao_fuzz::damaged_search(data));
