//! `Record`: the values of one row as SQLite keeps them in a page. It reads bytes that were handed to it and knows no page.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#record_format>. Whatever is not plainly a record is `None`.

use rusqlite::types::ValueRef;

/// The bytes of the longest number of variable length.
pub(crate) const VARINT_BYTES_MAX: usize = 9;

/// A row's values, whose lengths were added up and fit.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The kinds of the values, without the header's own length.
    kinds: &'a [u8],
    body: &'a [u8],
    given: Given<'a>,
}

/// What SQLite gives otherwise than it is stored.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Given<'a> {
    /// The column that is the rowid by another name, and the rowid: whatever is stored there is not looked at.
    pub(crate) alias: Option<(usize, i64)>,
    /// Columns of reals, ascending: whole numbers are stored as integers there.
    pub(crate) reals: &'a [usize],
}

impl<'a> Record<'a> {
    /// Takes the payload of a cell, if it is a record, and counts its values.
    #[inline]
    pub(crate) fn parse(payload: &'a [u8], given: Given<'a>) -> Option<(Self, usize)> {
        let (header_bytes, at) = varint(payload)?;
        let header_bytes = usize::try_from(header_bytes).ok().filter(|bytes| (at..=payload.len()).contains(bytes))?;
        let record = Self { kinds: &payload[at..header_bytes], body: &payload[header_bytes..], given };
        let (mut kinds, mut count, mut bytes) = (record.kinds, 0, 0_usize);
        while !kinds.is_empty() {
            let (kind, length) = varint(kinds)?;
            kinds = &kinds[length..];
            bytes = bytes.checked_add(bytes_of(kind)?)?;
            count += 1;
        }
        (bytes == record.body.len()).then_some((record, count))
    }

    /// The values in the order of the columns.
    #[inline]
    #[must_use]
    pub fn values(self) -> Values<'a> {
        Values { kinds: self.kinds, body: self.body, at: 0, given: self.given }
    }

    /// The value of column `at`, from 0.
    #[inline]
    #[must_use]
    pub fn value(self, at: usize) -> Option<ValueRef<'a>> {
        self.values().nth(at)
    }
}

/// The values of a [`Record`], one after the other.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    kinds: &'a [u8],
    body: &'a [u8],
    at: usize,
    /// Of the columns from `at` on.
    given: Given<'a>,
}

impl<'a> Iterator for Values<'a> {
    type Item = ValueRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<ValueRef<'a>> {
        let (kind, length) = varint(self.kinds)?;
        self.kinds = &self.kinds[length..];
        let (value, rest) = self.body.split_at_checked(bytes_of(kind)?)?;
        self.body = rest;
        let value = match kind {
            0 => ValueRef::Null,
            1..=6 => ValueRef::Integer(integer(value)),
            7 => real(value),
            8 => ValueRef::Integer(0),
            9 => ValueRef::Integer(1),
            _ if kind % 2 == 0 => ValueRef::Blob(value),
            _ => ValueRef::Text(value),
        };
        let at = self.at;
        self.at += 1;
        Some(self.given.instead(at, value))
    }
}

impl Given<'_> {
    /// What SQLite gives for the `stored` value of column `at`; to be asked for one column after the other.
    #[inline]
    fn instead<'v>(&mut self, at: usize, stored: ValueRef<'v>) -> ValueRef<'v> {
        if let Some((alias, rowid)) = self.alias
            && alias == at
        {
            return ValueRef::Integer(rowid);
        }
        match self.reals {
            [real, after @ ..] if *real == at => {
                self.reals = after;
                if let ValueRef::Integer(whole) = stored { ValueRef::Real(whole as f64) } else { stored }
            }
            _ => stored,
        }
    }
}

/// The bytes of a value of this kind; `None` for one that is reserved, or too long for any file.
#[inline]
fn bytes_of(kind: u64) -> Option<usize> {
    match kind {
        12.. => usize::try_from((kind - 12) / 2).ok(),
        0 | 8 | 9 => Some(0),
        1..=4 => Some(kind as usize),
        5 => Some(6),
        6 | 7 => Some(8),
        10 | 11 => None,
    }
}

/// An integer of one to eight bytes, big endian, with its sign.
fn integer(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|&byte| byte >= 0x80) { -1 } else { 0 };
    bytes.iter().fold(sign, |value, &byte| value << 8 | i64::from(byte))
}

/// SQLite gives NULL for what is no number.
fn real(bytes: &[u8]) -> ValueRef<'static> {
    let value = f64::from_bits(integer(bytes) as u64);
    if value.is_nan() { ValueRef::Null } else { ValueRef::Real(value) }
}

/// A number of variable length at the beginning of `bytes`, and how many of them it takes.
#[inline]
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let seven = |byte: u8| u64::from(byte & 0x7f);
    // Nearly all of a record are one byte, and nearly all rowids up to four: these without a loop, since a search reads some twenty of them.
    match *bytes {
        [a @ 0..0x80, ..] => Some((u64::from(a), 1)),
        [a, b @ 0..0x80, ..] => Some((seven(a) << 7 | u64::from(b), 2)),
        [a, b, c @ 0..0x80, ..] => Some((seven(a) << 14 | seven(b) << 7 | u64::from(c), 3)),
        [a, b, c, d @ 0..0x80, ..] => Some((seven(a) << 21 | seven(b) << 14 | seven(c) << 7 | u64::from(d), 4)),
        _ => long_varint(bytes),
    }
}

fn long_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (at, &byte) in bytes.iter().take(VARINT_BYTES_MAX - 1).enumerate() {
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            return Some((value, at + 1));
        }
    }
    // The ninth byte gives all of its bits.
    let &last = bytes.get(VARINT_BYTES_MAX - 1)?;
    Some((value << 8 | u64::from(last), VARINT_BYTES_MAX))
}
