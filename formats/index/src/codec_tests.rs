//! Tests of the small codecs against plain arithmetic: bit-packed numbers, varints, and the sparse index over any bytes.

use std::collections::BTreeMap;

use fst::raw::Fst;
use proptest::prelude::*;

use crate::bits::{self, PADDING, Packer};
use crate::sparse::{SparseWriter, first_at_or_above};
use crate::varint;

/// A varint as the page defines it: `None` where the bytes end too early or say more than 64 bits.
fn plain_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
    let number = bytes[..length].iter().rev().fold(0_u128, |number, byte| number << 7 | u128::from(byte & 0x7f));
    Some((u64::try_from(number).ok()?, length))
}

fn number_at(bytes: &[u8], width: u32, index: u64) -> Option<u64> {
    let bit = index * u64::from(width);
    bits::get_at(bytes.get(bit as usize / 8..)?, width, (bit % 8) as u32)
}

proptest! {
    #[test]
    fn varints_are_as_short_as_can_be(bits in 0..=64_u32, seed in any::<u64>()) {
        let value = seed.checked_shr(64 - bits).unwrap_or(0);
        let mut out = vec![7];
        varint::write(&mut out, value);
        prop_assert_eq!(out.len() - 1, (bits::width_of(value).max(1)).div_ceil(7) as usize);
        prop_assert_eq!(plain_varint(&out[1..]), Some((value, out.len() - 1)));
    }

    #[test]
    fn any_varint_is_read_as_the_page_says(
        high in prop::collection::vec(0x80..=0xff_u8, 0..11),
        rest in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let bytes = [high, rest].concat();
        let mut left = bytes.as_slice();
        let read = varint::read(&mut left);
        prop_assert_eq!(read.map(|value| (value, bytes.len() - left.len())), plain_varint(&bytes));
    }

    /// One long number in which each value stands at its place.
    #[test]
    fn packed_numbers_stand_bit_by_bit(width in 0..=64_u32, seeds in prop::collection::vec(any::<u64>(), 1..60)) {
        let values: Vec<u64> = seeds.iter().map(|seed| seed.checked_shr(64 - width).unwrap_or(0)).collect();
        let mut packer = Packer::new(width);
        let mut out = Vec::new();
        values.iter().for_each(|&value| packer.push(value, &mut out));
        packer.finish(&mut out);
        let stream: Vec<u8> = values.iter().flat_map(|value| (0..width).map(move |bit| (value >> bit & 1) as u8)).collect();
        let expected: Vec<u8> = stream.chunks(8).map(|bits| bits.iter().rev().fold(0, |byte, bit| byte << 1 | bit)).collect();
        prop_assert_eq!(&out, &expected);
        prop_assert_eq!(bits::bytes_of(values.len() as u64, width), Some(expected.len() as u64));
        // Behind the last number there is none, and no byte beyond the padding is read.
        out.resize(out.len() + PADDING, 0);
        for (index, value) in (0..).zip(&values) {
            prop_assert_eq!(number_at(&out, width, index), Some(*value));
        }
    }

    #[test]
    fn windows_that_are_too_short_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..20), width in 0..=64_u32, shift in 0..8_u32) {
        let needed = if width <= 56 { 8 } else { 16 };
        let read = bits::get_at(&bytes, width, shift);
        prop_assert_eq!(read.is_some(), bytes.len() >= needed);
        if let Some(value) = read {
            let bit = |at: u32| u64::from(bytes[(at / 8) as usize] >> (at % 8) & 1);
            prop_assert_eq!(value, (0..width).map(|i| bit(shift + i) << i).sum::<u64>());
        }
    }

    /// Keys of any bytes, zeros and 255 among them, some the beginnings of others.
    #[test]
    fn sparse_indexes_hold_any_keys(
        keys in prop::collection::btree_map(prop::collection::vec(prop_oneof![Just(0), Just(1), Just(255), any::<u8>()], 0..6), any::<u64>(), 1..60),
        asked in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0), Just(2), Just(254), any::<u8>()], 0..7), 20),
    ) {
        let model: BTreeMap<Vec<u8>, u64> = keys;
        let mut writer = SparseWriter::new();
        model.iter().for_each(|(key, place)| writer.push(key, *place).unwrap());
        let bytes = writer.finish().unwrap();
        let fst = Fst::new(bytes.as_slice()).unwrap();
        for key in asked.iter().chain(model.keys()) {
            let expected = model.range(key.clone()..).next().map(|(_, &place)| place);
            prop_assert_eq!(first_at_or_above(&fst, key), expected);
        }
    }
}
