//! The target `damaged_generation`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| balcao_fuzz::damaged_generation(data));
