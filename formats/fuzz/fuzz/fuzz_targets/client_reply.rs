//! The target `client_reply`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| balcao_fuzz::client_reply(data));
