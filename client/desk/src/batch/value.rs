//! A cell as a spreadsheet writes it, and the value that somebody typed there.

/// What a cell asks by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// Nothing.
    Blank,
    /// This.
    Text(&'a str),
    /// A number that lost its digits: `1,23457E+10`.
    Scientific,
}

/// A cell of CPFs.
pub(crate) fn cpf(cell: &str) -> Value<'_> {
    let text = typed(cell);
    // An apostrophe in front makes a text of a number.
    let text = text.strip_prefix('\'').unwrap_or(text).trim();
    if text.is_empty() {
        Value::Blank
    } else if is_scientific(text) {
        Value::Scientific
    } else {
        Value::Text(text)
    }
}

/// A cell of names.
pub(crate) fn name(cell: &str) -> Value<'_> {
    match typed(cell) {
        "" => Value::Blank,
        text => Value::Text(text),
    }
}

/// The cell without blanks around it, and without the `="…"` by which spreadsheets keep a number a text.
fn typed(cell: &str) -> &str {
    let cell = cell.trim();
    cell.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"')).unwrap_or(cell).trim()
}

/// Digits, perhaps with a fraction behind `,` or `.`, then `E+` and digits.
fn is_scientific(text: &str) -> bool {
    let Some((number, exponent)) = text.split_once(['e', 'E']) else {
        return false;
    };
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let is_number = |text: &str, more: &[char]| {
        text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(|c| c.is_ascii_digit() || more.contains(&c))
    };
    is_number(number, &[',', '.']) && is_number(exponent, &[])
}

/// Whether a cell looks like a CPF and like no name: digits, and what stands between them.
pub(crate) fn is_like_cpf(cell: &str) -> bool {
    match cpf(cell) {
        Value::Text(text) => text.contains(|c: char| c.is_ascii_digit()) && !text.contains(|c: char| c.is_alphabetic()),
        Value::Scientific => true,
        Value::Blank => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_as_spreadsheets_write_them() {
        for (cell, expected) in [
            ("123.456.789-09", Value::Text("123.456.789-09")),
            (" 191 ", Value::Text("191")),
            ("=\"00000000191\"", Value::Text("00000000191")),
            ("'00000000191", Value::Text("00000000191")),
            ("\u{a0}", Value::Blank),
            ("=\"\"", Value::Blank),
            ("'", Value::Blank),
            ("1,23457E+10", Value::Scientific),
            ("1.23457e+10", Value::Scientific),
            ("1E10", Value::Scientific),
            ("E10", Value::Text("E10")),
            ("1E", Value::Text("1E")),
            ("12345678909E", Value::Text("12345678909E")),
        ] {
            assert_eq!(cpf(cell), expected, "{cell}");
        }
        assert_eq!(name("=\"ANA\""), Value::Text("ANA"));
        assert_eq!(name(" 'ANA "), Value::Text("'ANA"));
        assert_eq!(name(" "), Value::Blank);
    }

    #[test]
    fn cpfs_are_told_from_names() {
        for cell in ["191", "123.456.789-09", "=\"00191\"", "1,23E+10"] {
            assert!(is_like_cpf(cell), "{cell}");
        }
        for cell in ["ANA", "JOÃO 2", "", "-", "A1"] {
            assert!(!is_like_cpf(cell), "{cell}");
        }
    }
}
