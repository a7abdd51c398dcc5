//! A row's values in bytes, one behind the other, for the short while between two SQLite files. These bytes are never written anywhere.

use balcao_index::varint;
use rusqlite::types::ValueRef;

const NULL: u8 = 0;
const INTEGER: u8 = 1;
const REAL: u8 = 2;
const TEXT: u8 = 3;
const BLOB: u8 = 4;

/// The most that stands before a value's own bytes: its type, and a length.
const HEAD_BYTES_MAX: usize = 11;

/// Appends a value, where `out` does not pass `bytes_max` with it: whether it did.
pub(crate) fn pack(value: ValueRef<'_>, out: &mut Vec<u8>, bytes_max: usize) -> bool {
    let own = match value {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => 8,
    };
    if own.saturating_add(HEAD_BYTES_MAX) > bytes_max.saturating_sub(out.len()) {
        return false;
    }
    let mut put = |kind: u8, length: Option<usize>, bytes: &[u8]| {
        out.push(kind);
        if let Some(length) = length {
            varint::write(out, length as u64);
        }
        out.extend_from_slice(bytes);
    };
    match value {
        ValueRef::Null => put(NULL, None, &[]),
        ValueRef::Integer(value) => put(INTEGER, None, &value.to_le_bytes()),
        ValueRef::Real(value) => put(REAL, None, &value.to_le_bytes()),
        ValueRef::Text(bytes) => put(TEXT, Some(bytes.len()), bytes),
        ValueRef::Blob(bytes) => put(BLOB, Some(bytes.len()), bytes),
    }
    true
}

/// The values of a row, in the order of its columns.
#[derive(Clone, Debug)]
pub(crate) struct Values<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Values<'a> {
    /// The first `columns` values that were packed into `bytes`.
    pub(crate) fn new(bytes: &'a [u8], columns: usize) -> Self {
        Self { rest: bytes, left: columns }
    }

    fn unpack(&mut self) -> Option<ValueRef<'a>> {
        let (&kind, tail) = self.rest.split_first()?;
        self.rest = tail;
        Some(match kind {
            NULL => ValueRef::Null,
            INTEGER | REAL => {
                let (bytes, tail) = self.rest.split_first_chunk()?;
                self.rest = tail;
                if kind == INTEGER {
                    ValueRef::Integer(i64::from_le_bytes(*bytes))
                } else {
                    ValueRef::Real(f64::from_le_bytes(*bytes))
                }
            }
            _ => {
                let length = usize::try_from(varint::read(&mut self.rest)?).ok()?;
                let (bytes, tail) = self.rest.split_at_checked(length)?;
                self.rest = tail;
                if kind == TEXT { ValueRef::Text(bytes) } else { ValueRef::Blob(bytes) }
            }
        })
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = ValueRef<'a>;

    fn next(&mut self) -> Option<ValueRef<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.unpack()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value_comes_out_as_it_went_in() {
        let long = vec![7; 300];
        let values = [
            ValueRef::Null,
            ValueRef::Integer(i64::MIN),
            ValueRef::Integer(0),
            ValueRef::Real(-0.0),
            ValueRef::Real(f64::INFINITY),
            ValueRef::Text(b""),
            ValueRef::Text(b"\xff\0\xc3"),
            ValueRef::Text(&long),
            ValueRef::Blob(b""),
            ValueRef::Blob(b"\0\xff"),
            ValueRef::Blob(&long),
        ];
        let mut bytes = Vec::new();
        assert!(values.iter().all(|&value| pack(value, &mut bytes, 10_000)));
        let behind = bytes.len();
        assert!(pack(ValueRef::Integer(9), &mut bytes, 10_000));
        let found: Vec<_> = Values::new(&bytes, values.len()).collect();
        assert_eq!(found, values);
        // -0.0 equals 0.0, and is another value all the same.
        assert!(matches!(found[3], ValueRef::Real(value) if value.is_sign_negative()));
        assert_eq!(Values::new(&bytes[behind..], 5).collect::<Vec<_>>(), [ValueRef::Integer(9)]);
    }

    #[test]
    fn what_has_no_room_is_not_begun() {
        let mut bytes = Vec::new();
        for (value, own) in [(ValueRef::Text(&[1; 50]), 50), (ValueRef::Null, 8), (ValueRef::Integer(1), 8)] {
            assert!(!pack(value, &mut bytes, own + HEAD_BYTES_MAX - 1));
            assert!(bytes.is_empty());
            assert!(pack(value, &mut bytes, own + HEAD_BYTES_MAX));
            assert!(bytes.len() <= own + HEAD_BYTES_MAX);
            bytes.clear();
        }
    }
}
