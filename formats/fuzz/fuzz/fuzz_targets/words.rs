//! The target `words`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| balcao_fuzz::words(data));
