//! `Anomaly`: what is odd about a row's keys. Each is counted, and listed with its rowid.

use balcao_record::{Cell, NAME_KEY_BYTES_MAX};

/// A kind of anomaly. The numbers are the order in the list of one row's anomalies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Anomaly {
    /// The CPF cell would be `invalid_cpf` as a question: no CPF key.
    CpfUnreadable,
    /// Eleven digits whose check digits do not hold: a key of its own.
    CpfCheckDigits,
    /// Nothing is left of the name: no name key.
    NameEmpty,
    /// The name's key was cut at its greatest length.
    NameCut,
    /// CPF or name is a text that is not UTF-8.
    TextInvalidUtf8,
    /// Neither a CPF key nor a name key: the row can only be listed.
    Unreachable,
}

impl Anomaly {
    pub(crate) const ALL: [Self; 6] = [
        Self::CpfUnreadable,
        Self::CpfCheckDigits,
        Self::NameEmpty,
        Self::NameCut,
        Self::TextInvalidUtf8,
        Self::Unreachable,
    ];

    /// The word for it in summaries and lists.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::CpfUnreadable => "cpf_unreadable",
            Self::CpfCheckDigits => "cpf_check_digits",
            Self::NameEmpty => "name_empty",
            Self::NameCut => "name_cut",
            Self::TextInvalidUtf8 => "text_invalid_utf8",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The keys of a row.
pub(crate) struct Keys<'k> {
    /// The code of its CPF.
    pub(crate) cpf_code: Option<u64>,
    /// Its name's key; empty where it has none.
    pub(crate) name: &'k [u8],
}

/// Reads the keys of a row, and reports what is odd. A name that is not normalised is written into `buffer`.
pub(crate) fn keys<'k>(
    cpf: Cell<'_>,
    name: Cell<'k>,
    buffer: &'k mut String,
    mut report: impl FnMut(Anomaly),
) -> Keys<'k> {
    let read = cpf.cpf();
    let cpf_code = read.map(balcao_index::cpf_code);
    match read {
        None => report(Anomaly::CpfUnreadable),
        Some(cpf) if !cpf.has_right_check_digits() => report(Anomaly::CpfCheckDigits),
        Some(_) => {}
    }
    let key = name.name_key_in(buffer);
    if key.is_empty() {
        report(Anomaly::NameEmpty);
    } else if key.len() + 4 > NAME_KEY_BYTES_MAX {
        // A cut key ends at a character, up to three bytes below the greatest length.
        report(Anomaly::NameCut);
    }
    if cpf.is_invalid_utf8() || name.is_invalid_utf8() {
        report(Anomaly::TextInvalidUtf8);
    }
    if read.is_none() && key.is_empty() {
        report(Anomaly::Unreachable);
    }
    Keys { cpf_code, name: key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cpf: Cell<'_>, name: Cell<'_>, expected: &[&str]) {
        let mut found = Vec::new();
        keys(cpf, name, &mut String::new(), |anomaly| found.push(anomaly.as_str()));
        assert_eq!(found, expected);
    }

    #[test]
    fn each_kind() {
        let (cpf, name) = (Cell::Text(b"00000000191"), Cell::Text(b"ANA"));
        check(cpf, name, &[]);
        check(Cell::Null, name, &["cpf_unreadable"]);
        check(Cell::Text(b"00000000192"), name, &["cpf_check_digits"]);
        check(cpf, Cell::Text(b" - "), &["name_empty"]);
        check(cpf, Cell::Text(b"ANA\xff"), &["text_invalid_utf8"]);
        check(Cell::Text(b"\xff"), Cell::Null, &["cpf_unreadable", "name_empty", "text_invalid_utf8", "unreachable"]);
        check(cpf, Cell::Text(&vec![b'A'; NAME_KEY_BYTES_MAX + 1]), &["name_cut"]);
    }
}
