//! The target `manifest`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| balcao_fuzz::manifest(data));
