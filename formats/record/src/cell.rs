//! `Cell`: one value of a database row, and the keys that it gives. Indexer and server read cells by this one rule, so that a row
//! that was indexed under a key is recognised by the same key when it is answered.

use crate::birth::BirthDay;
use crate::cpf::Cpf;
use crate::name::{is_normalized_ascii, normalize_into};
use crate::sex::Sex;

/// The longest name key, in bytes. A question line has at most 65,536 bytes and NFKD makes at most 11 bytes of one, so that no
/// question reaches this length: cutting a longer cell here changes no answer, only the order among names that agree so far.
pub const NAME_KEY_BYTES_MAX: usize = 1 << 20;

/// A value as SQLite holds it. A text need not be UTF-8.
#[derive(Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// NULL.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// A text, as its bytes.
    Text(&'a [u8]),
    /// A BLOB.
    Blob(&'a [u8]),
}

/// What a name cell came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKey {
    /// The key is in the buffer that was passed.
    Key,
    /// Nothing was left after normalisation, or the cell is neither text nor integer: no key.
    Empty,
}

impl<'a> Cell<'a> {
    /// The CPF in this cell, read exactly as a question; `None` where a question would be `invalid_cpf`.
    #[must_use]
    pub fn cpf(self) -> Option<Cpf> {
        match self {
            Cell::Integer(number) => Cpf::from_integer(number).ok(),
            // A lossy reading adds only U+FFFD, which no CPF holds: what is not UTF-8 is no CPF.
            Cell::Text(bytes) => Cpf::from_eleven(bytes)
                .or_else(|| std::str::from_utf8(bytes).ok().and_then(|text| Cpf::parse(text).ok())),
            Cell::Null | Cell::Real(_) | Cell::Blob(_) => None,
        }
    }

    /// The normalised name of this cell, as [`Cell::name_key`] writes it into a buffer, which is used only where the name is not normalised
    /// already; empty where there is no key.
    pub fn name_key_in<'k>(self, buffer: &'k mut String) -> &'k [u8]
    where
        'a: 'k,
    {
        match self {
            Cell::Text(bytes) if bytes.len() <= NAME_KEY_BYTES_MAX && is_normalized_ascii(bytes) => bytes,
            _ => {
                self.name_key(buffer);
                buffer.as_bytes()
            }
        }
    }

    /// Writes the normalised name of this cell into `key`, cut at [`NAME_KEY_BYTES_MAX`]. An integer is read as its decimal text; each sequence of a
    /// text that is not UTF-8 as U+FFFD.
    pub fn name_key(self, key: &mut String) -> NameKey {
        key.clear();
        match self {
            Cell::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => normalize_into(text, key),
                Err(_) => normalize_into(&String::from_utf8_lossy(bytes), key),
            },
            Cell::Integer(number) => normalize_into(&number.to_string(), key),
            Cell::Null | Cell::Real(_) | Cell::Blob(_) => {}
        }
        if key.len() > NAME_KEY_BYTES_MAX {
            key.truncate(key.floor_char_boundary(NAME_KEY_BYTES_MAX));
        }
        if key.is_empty() { NameKey::Empty } else { NameKey::Key }
    }

    /// The birth day in this cell, a text or the integer `YYYYMMDD`; see [`BirthDay::parse`].
    #[must_use]
    pub fn birth(self) -> Option<BirthDay> {
        match self {
            Cell::Integer(number) => BirthDay::from_integer(number),
            // As with a CPF: no date holds U+FFFD.
            Cell::Text(bytes) => {
                BirthDay::from_bytes(bytes).or_else(|| std::str::from_utf8(bytes).ok().and_then(BirthDay::parse))
            }
            Cell::Null | Cell::Real(_) | Cell::Blob(_) => None,
        }
    }

    /// The sex in this cell, read as a name is: an integer by its decimal text, what is not UTF-8 as U+FFFD; see [`Sex::parse`].
    #[must_use]
    pub fn sex(self) -> Option<Sex> {
        match self {
            // A letter or digit of ASCII comes to itself, whatever stands behind it.
            Cell::Text([first, ..]) if first.is_ascii_alphanumeric() => Sex::of(char::from(first.to_ascii_uppercase())),
            Cell::Text(bytes) => Sex::parse(&String::from_utf8_lossy(bytes)),
            Cell::Integer(number) => Sex::parse(&number.to_string()),
            Cell::Null | Cell::Real(_) | Cell::Blob(_) => None,
        }
    }

    /// Whether this is a text that is not UTF-8.
    #[must_use]
    pub fn is_invalid_utf8(self) -> bool {
        matches!(self, Cell::Text(bytes) if !bytes.is_ascii() && std::str::from_utf8(bytes).is_err())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpf_of_a_cell() {
        let expected = Cpf::parse("00000000191").ok();
        assert_eq!(Cell::Integer(191).cpf(), expected);
        assert_eq!(Cell::Text(b"000.000.001-91").cpf(), expected);
        assert_eq!(Cell::Text(b"191").cpf(), expected);
        for none in [Cell::Null, Cell::Real(191.0), Cell::Blob(b"191"), Cell::Text(b"191\xff"), Cell::Text(b"")] {
            assert!(none.cpf().is_none());
        }
    }

    #[test]
    fn birth_of_a_cell() {
        let expected = BirthDay::parse("1980-01-02");
        assert!(expected.is_some());
        for cell in [
            Cell::Integer(19_800_102),
            Cell::Text(b"19800102"),
            Cell::Text(b" 02/01/1980 "),
            Cell::Text("\u{2003}1980-01-02".as_bytes()),
        ] {
            assert_eq!(cell.birth(), expected);
        }
        for none in [
            Cell::Null,
            Cell::Real(19_800_102.0),
            Cell::Blob(b"19800102"),
            Cell::Text(b"19800102\xff"),
            Cell::Text(b""),
            Cell::Integer(-19_800_102),
            Cell::Integer(i64::MIN),
            Cell::Integer((1 << 32) + 19_800_102),
            Cell::Integer(800_102),
        ] {
            assert_eq!(none.birth(), None);
        }
    }

    #[test]
    fn sex_of_a_cell() {
        let code = |cell: Cell<'_>| cell.sex().map(Sex::code);
        assert_eq!(code(Cell::Text(b"f")), Some(6));
        assert_eq!(code(Cell::Text(b"Masculino\xff")), Some(13));
        assert_eq!(code(Cell::Text(b"\xff\xfe m")), Some(13));
        assert_eq!(code(Cell::Text("\u{301}É".as_bytes())), Some(5));
        assert_eq!(code(Cell::Integer(1)), Some(28));
        assert_eq!(code(Cell::Integer(-20)), Some(29));
        for none in [
            Cell::Null,
            Cell::Real(1.0),
            Cell::Blob(b"F"),
            Cell::Text(b""),
            Cell::Text(b"?"),
            Cell::Text("Ø".as_bytes()),
        ] {
            assert_eq!(none.sex(), None);
        }
    }

    #[test]
    fn name_of_a_cell() {
        #[track_caller]
        fn check(cell: Cell<'_>, expected: &str) {
            let mut key = String::from("left over");
            let found = cell.name_key(&mut key);
            assert_eq!(key, expected);
            assert_eq!(found == NameKey::Empty, expected.is_empty());
            assert_eq!(cell.name_key_in(&mut key), expected.as_bytes());
        }
        check(Cell::Text(b"JOSE DA SILVA"), "JOSE DA SILVA");
        check(Cell::Text("José".as_bytes()), "JOSE");
        check(Cell::Text(b"ANA\xff\xfeLIMA"), "ANA LIMA");
        check(Cell::Integer(-12), "12");
        check(Cell::Null, "");
        check(Cell::Real(1.5), "");
        check(Cell::Blob(b"ANA"), "");
        check(Cell::Text(b" . "), "");
    }

    #[test]
    fn a_name_beyond_the_cap_is_cut_at_a_character() {
        let mut key = String::new();
        Cell::Text("Ø".repeat(NAME_KEY_BYTES_MAX).as_bytes()).name_key(&mut key);
        assert_eq!(key.len(), NAME_KEY_BYTES_MAX);
        Cell::Text(format!("A{}", "Ø".repeat(NAME_KEY_BYTES_MAX)).as_bytes()).name_key(&mut key);
        assert_eq!(key.len(), NAME_KEY_BYTES_MAX - 1);
        let plain = vec![b'A'; NAME_KEY_BYTES_MAX + 1];
        assert_eq!(Cell::Text(&plain).name_key_in(&mut key).len(), NAME_KEY_BYTES_MAX);
    }
}
