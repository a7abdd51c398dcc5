//! LEB128 numbers: seven bits a byte, the low ones first, the high bit where more follow. The indexer packs its runs with them too.

/// The longest encoding of a `u64`.
pub(crate) const VARINT_BYTES_MAX: usize = 10;

/// Appends `value`.
#[inline]
pub fn write(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number off the front of `bytes`; `None` where they end too early or hold more than 64 bits.
#[must_use]
#[inline]
pub fn read(bytes: &mut &[u8]) -> Option<u64> {
    match bytes {
        [byte, rest @ ..] if *byte < 0x80 => {
            let value = u64::from(*byte);
            *bytes = rest;
            Some(value)
        }
        _ => read_long(bytes),
    }
}

fn read_long(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        let shift = 7 * i as u32;
        let part = u64::from(byte & 0x7f);
        if (part << shift) >> shift != part {
            return None;
        }
        value |= part << shift;
        if byte < 0x80 {
            *bytes = &bytes[i + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn reads_back(values in prop::collection::vec(any::<u64>(), 0..20)) {
            let mut out = Vec::new();
            values.iter().for_each(|&value| write(&mut out, value));
            let mut rest = out.as_slice();
            for &value in &values {
                prop_assert_eq!(read(&mut rest), Some(value));
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(read(&mut rest), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let _ = read(&mut bytes.as_slice());
        }
    }
}
