//! The target `cpf_reader`.
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| balcao_fuzz::cpf_reader(data));
