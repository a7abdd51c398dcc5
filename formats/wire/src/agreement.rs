//! `Agreement`: the answer to `verify`, which has grades and nothing of the row that they were given for.

use crate::reply::{close, open_ok, print};
use crate::request::Id;

/// The answer to `verify`. What was not asked is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Whether there is a row with the CPF.
    pub cpf: bool,
    /// How far its name agrees.
    pub name: Option<NameAgreement>,
    /// Whether its birth day agrees.
    pub birth: Option<bool>,
    /// Whether the check digits of the CPF do not hold.
    pub check_digits_warning: bool,
}

/// How far two names agree, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameAgreement {
    /// Not at all.
    No,
    /// As `fuzzy` finds, all words whole.
    Fuzzy,
    /// As `words` finds, all words whole.
    Words,
    /// The normalised names are equal.
    Exact,
}

impl NameAgreement {
    /// The text on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Fuzzy => "fuzzy",
            Self::Words => "words",
            Self::Exact => "exact",
        }
    }
}

/// Writes the answer to `verify`.
pub fn write_agreement(out: &mut Vec<u8>, id: &Id, agreement: &Agreement) {
    open_ok(out, id);
    print(out, format_args!(",\"cpf\":{}", agreement.cpf));
    if let Some(name) = agreement.name {
        print(out, format_args!(",\"nome\":\"{}\"", name.as_str()));
    }
    if let Some(birth) = agreement.birth {
        print(out, format_args!(",\"nasc\":{birth}"));
    }
    close(out, agreement.check_digits_warning);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(agreement: &Agreement, id: &Id, expected: &str) {
        let mut out = Vec::new();
        write_agreement(&mut out, id, agreement);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn golden_lines() {
        let none = Agreement { cpf: false, name: None, birth: None, check_digits_warning: false };
        check(&none, &Id::Absent, r#"{"status":"ok","cpf":false}"#);
        let all =
            Agreement { cpf: true, name: Some(NameAgreement::Words), birth: Some(false), check_digits_warning: true };
        check(
            &all,
            &Id::Integer(7),
            r#"{"id":7,"status":"ok","cpf":true,"nome":"words","nasc":false,"warning":"check_digits"}"#,
        );
    }

    #[test]
    fn grades_in_their_order() {
        let grades = [NameAgreement::No, NameAgreement::Fuzzy, NameAgreement::Words, NameAgreement::Exact];
        assert!(grades.is_sorted());
        assert_eq!(grades.map(NameAgreement::as_str), ["no", "fuzzy", "words", "exact"]);
    }
}
